/* SPDX-License-Identifier: Apache-2.0 */
/* The list of commands, and which of them a command line means. */
#include "cli/cli.h"

#include <backprobe/stats.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

const bp_command *const bp_commands[] = {&bp_command_demo,
                                         &bp_command_train,
                                         &bp_command_predict,
                                         &bp_command_check,
                                         &bp_command_show,
                                         &bp_command_report,
                                         &bp_command_serve,
                                         &bp_command_diff,
                                         &bp_command_explain,
                                         &bp_command_version,
                                         &bp_command_help_command,
                                         &bp_command_completion,
                                         NULL};

const bp_command *bp_command_find(const char *name) {
    for (const bp_command *const *c = bp_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0) return *c;
    return NULL;
}

int bp_command_unknown(const char *what, const char *given, const char *const *words,
                       size_t n_words) {
    const char *nearest = bp_nearest_word(given, words, n_words);
    if (nearest)
        bp_say("unknown %s '%s': did you mean '%s'?", what, given, nearest);
    else
        bp_say("unknown %s '%s'", what, given);
    return BP_EXIT_FAILED;
}

static int unknown_command(const char *given) {
    static const char *const top_options[] = {"--help", "--version"};
    const char *names[32];
    size_t n = 0;
    for (const bp_command *const *c = bp_commands; *c; c++) names[n++] = (*c)->name;
    int code = given[0] == '-' ? bp_command_unknown("option", given, top_options, 2)
                               : bp_command_unknown("command", given, names, n);
    bp_say("try 'backprobe help'");
    return code;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        bp_overview(stderr);
        return BP_EXIT_FAILED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        bp_overview(stdout);
        return BP_EXIT_GOOD;
    }
    bool version = strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0;
    const bp_command *command = version ? &bp_command_version : bp_command_find(argv[1]);
    return command ? command->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

/* BP_CPU=avx2 and so on: no better level is used. The library does not read the environment. */
static bool choose_cpu(void) {
    const char *name = getenv("BP_CPU");
    unsigned mask;
    if (!name || !*name) return true;
    if (bp_cpu_mask_of(&mask, name) == BP_OK) {
        bp_cpu_set_mask(mask);
        return true;
    }
    bp_say("BP_CPU is '%s': expected scalar, avx2, avx512 or neon", name);
    return false;
}

int bp_cli(int argc, char **argv) {
    /* A closed pipe or a limit on files is an error of one write, not the death of a run. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (!choose_cpu()) return BP_EXIT_FAILED;
    return bp_close_output(run(argc, argv));
}
