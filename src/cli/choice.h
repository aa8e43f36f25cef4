/* SPDX-License-Identifier: Apache-2.0 */
/* --select, --ignore and --fail-on: the options that say which findings count. */
#ifndef BP_CLI_CHOICE_H
#define BP_CLI_CHOICE_H

#include "cli/option.h"
#include "report/choice.h"

typedef struct bp_choice_options {
    bp_words select, ignore;
    const char *fail_on; /* "error", "warning", "hint", "never" */
} bp_choice_options;

/* The options' member is called `choice`; counts: what the default of --fail-on means. */
#define BP_CHOICE_OPTIONS(options, counts)                                                 \
    {"select",                                                                             \
     0,                                                                                    \
     BP_OPTION_LIST,                                                                       \
     "PROBLEM[:LAYERS],…",                                                                 \
     NULL,                                                                                 \
     0,                                                                                    \
     0,                                                                                    \
     "only these problems, of these layers; * and ? stand for any characters",             \
     offsetof(options, choice.select)},                                                    \
        {"ignore",                                                                         \
         0,                                                                                \
         BP_OPTION_LIST,                                                                   \
         "PROBLEM[:LAYERS],…",                                                             \
         NULL,                                                                             \
         0,                                                                                \
         0,                                                                                \
         "all but these problems; with layers, where all layers of the finding are named", \
         offsetof(options, choice.ignore)},                                                \
    {                                                                                      \
        "fail-on", 0, BP_OPTION_CHOICE, "SEVERITY", "error|warning|hint|never", 0, 0,      \
            "the mildest finding for which the exit code is 1; " counts,                   \
            offsetof(options, choice.fail_on)                                              \
    }

/* -1 to go on; otherwise the exit code of a usage error. *choice is to be freed in any case. */
int bp_choice_read(const bp_command *command, bp_choice *choice, const bp_choice_options *given);
/* The bp_severity, 0: never. */
int bp_fail_on(const bp_choice_options *given);

#endif
