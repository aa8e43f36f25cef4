/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe explain PROBLEM`: what it is, how it is recognised, why it happens, what helps. */
#include "cli/cli.h"

#include <string.h>

typedef struct explain_options {
    bp_common_options common;
} explain_options;

static const bp_option options[] = {BP_COMMON_OPTIONS};

static const bp_example examples[] = {
    {"backprobe explain", "the problems that are known"},
    {"backprobe explain vanishing-gradient", "all about one of them"},
    {NULL, NULL},
};

static void put_problem(bp_page *page, bp_problem problem) {
    enum { NAME = 27 }; /* "wrong-last-layer-for-loss" */
    char bytes[1024];
    bp_text paragraph;
    bp_text_init(&paragraph, bytes, sizeof bytes);
    bp_report_problem(&paragraph, problem);
    bp_page_put(page, BP_INK_BOLD, bp_problem_name(problem));
    bp_page_pad(page, NAME);
    bp_page_wrap(page, BP_INK_PLAIN, NAME, bytes, paragraph.length);
    bp_page_end_line(page);
}

static int run(int argc, char **argv) {
    explain_options given = {.common = BP_COMMON_DEFAULTS};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_explain, argc, argv, &given, &arguments);
    if (code >= 0) return code;
    bp_report_style style = bp_style_of(stdout, &given.common);
    bp_page page = bp_page_begin(stdout, &style);
    const char *names[BP_N_PROBLEMS];
    size_t n = 0;
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++) {
        const char *name = bp_problem_name((bp_problem)problem);
        if (!name) continue;
        names[n++] = name;
        if (arguments.n == 0) put_problem(&page, (bp_problem)problem);
        if (arguments.n == 0 || strcmp(name, arguments.items[0]) != 0) continue;
        const char *text = bp_problem_explanation((bp_problem)problem);
        printf("%s\n\n%s", name, text ? text : "");
        if (text && *text && text[strlen(text) - 1] != '\n') putchar('\n');
        return BP_EXIT_GOOD;
    }
    if (arguments.n == 0) return BP_EXIT_GOOD;
    code = bp_command_unknown("problem", arguments.items[0], names, n);
    bp_say("'backprobe explain' lists them");
    return code;
}

const bp_command bp_command_explain = {
    .name = "explain",
    .summary = "what a problem is, why it happens and what helps",
    .arguments = "[PROBLEM]",
    .description = "Explains a problem: what it is, how it is recognised, why it happens, what "
                   "helps, with the formulas and their sources. Without PROBLEM it lists them.",
    .exits = "0 explained, 2 unknown problem",
    .options = options,
    .examples = examples,
    .max_arguments = 1,
    .run = run,
};
