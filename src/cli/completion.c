/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe completion bash`: a script from the tables of options. */
#include "cli/cli.h"
#include <backprobe/diagnosis.h>

#include <string.h>

static void put_options(const bp_command *command) {
    for (const bp_option *o = command->options; o->name; o++) {
        printf(" --%s", o->name);
        if (o->kind == BP_OPTION_SWITCH) printf(" --no-%s", o->name);
    }
}

/* What may follow an option that takes a value. */
static void put_values(const bp_command *command) {
    for (const bp_option *o = command->options; o->name; o++) {
        if (o->kind == BP_OPTION_CHOICE) {
            printf("        %s:--%s) words='", command->name, o->name);
            for (const char *at = o->choices; *at; at++) putchar(*at == '|' ? ' ' : *at);
            printf("' ;;\n");
        } else if (o->kind == BP_OPTION_FILE) {
            printf("        %s:--%s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n",
                   command->name, o->name);
        } else if (o->kind != BP_OPTION_FLAG && o->kind != BP_OPTION_SWITCH) {
            printf("        %s:--%s) return ;;\n", command->name, o->name);
        }
    }
}

static void put_arguments(const bp_command *command) {
    printf("        %s) words='", command->name);
    if (command == &bp_command_explain)
        for (int problem = 1; problem < BP_N_PROBLEMS; problem++)
            printf(" %s", bp_problem_name((bp_problem)problem));
    else if (command == &bp_command_help_command)
        for (const bp_command *const *c = bp_commands; *c; c++) printf(" %s", (*c)->name);
    else if (command == &bp_command_completion)
        printf(" bash");
    printf("' ;;\n");
}

static void put_bash(void) {
    printf("# bash completion of backprobe; source it, or put it where bash-completion looks\n"
           "_backprobe() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    local command=${COMP_WORDS[1]} words=''\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    for (const bp_command *const *c = bp_commands; *c; c++) printf(" %s", (*c)->name);
    printf(" --help --version' -- \"$word\"))\n        return\n    fi\n"
           "    case $command:$before in\n");
    for (const bp_command *const *c = bp_commands; *c; c++) put_values(*c);
    printf("    esac\n"
           "    if [ -z \"$words\" ]; then case $word in\n"
           "    -*) case $command in\n");
    for (const bp_command *const *c = bp_commands; *c; c++) {
        printf("        %s) words='", (*c)->name);
        put_options(*c);
        printf("' ;;\n");
    }
    printf("        esac ;;\n    *) case $command in\n");
    for (const bp_command *const *c = bp_commands; *c; c++) put_arguments(*c);
    printf("        esac ;;\n    esac; fi\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "    if [ -z \"$words\" ]; then COMPREPLY=($(compgen -f -- \"$word\")); fi\n"
           "}\n"
           "complete -o filenames -F _backprobe backprobe\n");
}

typedef struct completion_options {
    bp_common_options common;
} completion_options;

static const bp_option options[] = {BP_COMMON_OPTIONS};

static const bp_example examples[] = {
    {"source <(backprobe completion bash)", "complete in this shell"},
    {NULL, NULL},
};

static int run(int argc, char **argv) {
    static const char *const shells[] = {"bash"};
    completion_options given = {.common = BP_COMMON_DEFAULTS};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_completion, argc, argv, &given, &arguments);
    if (code >= 0) return code;
    if (strcmp(arguments.items[0], "bash") != 0)
        return bp_command_unknown("shell", arguments.items[0], shells, 1);
    put_bash();
    return BP_EXIT_GOOD;
}

const bp_command bp_command_completion = {
    .name = "completion",
    .summary = "a script that completes commands and options",
    .arguments = "SHELL",
    .description = "Prints a completion script. SHELL is bash.",
    .exits = "0 printed, 2 unknown shell",
    .options = options,
    .examples = examples,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
