/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe help`: the list of commands, or the help of one, from its table of options. */
#include "cli/cli.h"

#include <string.h>

#define OPTION_COLUMNS 22

static const bp_report_style plain = {false, BP_REPORT_WIDTH};

static void put_wrapped(bp_page *page, int indent, const char *text) {
    bp_page_pad(page, indent);
    bp_page_wrap(page, BP_INK_PLAIN, indent, text, strlen(text));
    bp_page_end_line(page);
}

void bp_overview(FILE *out) {
    fprintf(out, "Backprobe watches the gradients of deep networks while they train, says which\n"
                 "layers suffer, since when and why, and what would mend it.\n\n"
                 "usage: backprobe COMMAND [OPTION]…\n\ncommands:\n");
    for (const bp_command *const *c = bp_commands; *c; c++)
        fprintf(out, "  %-12s %s\n", (*c)->name, (*c)->summary);
    fprintf(out, "\n'backprobe COMMAND --help' shows the options of a command.\n"
                 "Start with: backprobe demo\n");
}

static void put_option(bp_page *page, const bp_option *option) {
    char left[64];
    const char *no = option->kind == BP_OPTION_SWITCH ? "[no-]" : "";
    int n = option->letter ? snprintf(left, sizeof left, "-%c, ", option->letter)
                           : snprintf(left, sizeof left, "    ");
    snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s%s", no, option->name,
             option->value ? " " : "", option->value ? option->value : "");
    bp_page_pad(page, 2);
    bp_page_put(page, BP_INK_PLAIN, left);
    int column = 2 + 4 + OPTION_COLUMNS;
    if (page->column + 1 > column) bp_page_end_line(page);
    bp_page_pad(page, column);
    char help[512];
    int length = snprintf(help, sizeof help, option->choices ? "%s (%s)" : "%s", option->help,
                          option->choices);
    bp_page_wrap(page, BP_INK_PLAIN, column, help, (size_t)length);
    bp_page_end_line(page);
}

void bp_command_help(FILE *out, const bp_command *command) {
    bp_page page = bp_page_begin(out, &plain);
    fprintf(out, "usage: backprobe %s%s%s [OPTION]…\n\n", command->name,
            *command->arguments ? " " : "", command->arguments);
    put_wrapped(&page, 0, command->description);
    fprintf(out, "\noptions:\n");
    for (const bp_option *o = command->options; o->name; o++) put_option(&page, o);
    fprintf(out, "\nexamples:\n");
    for (const bp_example *e = command->examples; e->line; e++) {
        put_wrapped(&page, 2, e->line);
        put_wrapped(&page, 6, e->does);
    }
    fprintf(out, "\nexit code: %s\n", command->exits);
}

typedef struct help_options {
    bp_common_options common;
    bool man;
} help_options;

static const bp_option options[] = {
    {"man", 0, BP_OPTION_FLAG, NULL, NULL, 0, 0, "print the manual page (troff) instead",
     offsetof(help_options, man)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe help train", "the options of train"},
    {"backprobe help --man | man -l -", "the manual page"},
    {NULL, NULL},
};

static int run(int argc, char **argv) {
    help_options given = {.common = BP_COMMON_DEFAULTS};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_help_command, argc, argv, &given, &arguments);
    if (code >= 0) return code;
    if (given.man) {
        bp_man_page(stdout);
        return BP_EXIT_GOOD;
    }
    if (arguments.n == 0) {
        bp_overview(stdout);
        return BP_EXIT_GOOD;
    }
    const bp_command *command = bp_command_find(arguments.items[0]);
    if (command) {
        bp_command_help(stdout, command);
        return BP_EXIT_GOOD;
    }
    const char *names[32];
    size_t n = 0;
    for (const bp_command *const *c = bp_commands; *c; c++) names[n++] = (*c)->name;
    return bp_command_unknown("command", arguments.items[0], names, n);
}

const bp_command bp_command_help_command = {
    .name = "help",
    .summary = "the list of commands, or the options of one",
    .arguments = "[COMMAND]",
    .description = "Shows the list of commands, the options of one command, or the manual page.",
    .exits = "0 shown, 2 unknown command",
    .options = options,
    .examples = examples,
    .max_arguments = 1,
    .run = run,
};
