/* SPDX-License-Identifier: Apache-2.0 */
/* Room cli: the command `backprobe`, one file per command. The only room that may know all, and the
 * only one that prints, reads the environment and handles signals. Data goes to stdout, talk to
 * stderr. Nobody calls it. */
#ifndef BP_CLI_CLI_H
#define BP_CLI_CLI_H

#include "cli/option.h"
#include "report/report.h"

/* Exit codes; 1 is also "an error finding is open" (train) and "there are findings" (check). */
enum {
    BP_EXIT_GOOD = 0,
    BP_EXIT_FINDINGS = 1,
    BP_EXIT_FAILED = 2,
    BP_EXIT_INTERRUPTED = 130,
};

extern const bp_command bp_command_demo, bp_command_train, bp_command_predict, bp_command_check,
    bp_command_show, bp_command_report, bp_command_serve, bp_command_diff, bp_command_explain,
    bp_command_version, bp_command_help_command, bp_command_completion;

/* All commands in the order of the help; NULL-terminated. */
extern const bp_command *const bp_commands[];

/* The whole program. */
int bp_cli(int argc, char **argv);
const bp_command *bp_command_find(const char *name);
/* "unknown command 'trian': did you mean 'train'?"; gives the exit code. */
int bp_command_unknown(const char *what, const char *given, const char *const *words,
                       size_t n_words);

/* --- talk.c: what goes to stderr ---------------------------------------------------------------
 */

/* "backprobe: text" and a newline, escaped. */
void bp_say(const char *format, ...) BP_PRINTF(1, 2);
/* An error with its place in front: "backprobe: net.yaml:3:7: unknown key ...". path may be NULL.
 */
void bp_say_error(const char *path, const bp_error *error);
/* BP_EXIT_FAILED with a message when stdout could not be written; a closed pipe is quiet. */
int bp_close_output(int code);

/* Width and colours of a stream: --color > NO_COLOR > FORCE_COLOR > is it a terminal. */
bp_report_style bp_style_of(FILE *out, const bp_common_options *options);

/* --- help.c, man.c, completion.c ----------------------------------------------------------------
 */

void bp_overview(FILE *out);
void bp_man_page(FILE *out);

#endif
