/* SPDX-License-Identifier: Apache-2.0 */
/* One table of options per command yields parsing, --help, the man page and shell completion. */
#ifndef BP_CLI_OPTION_H
#define BP_CLI_OPTION_H

#include "base/base.h"
#include <stdio.h>

typedef enum bp_option_kind {
    BP_OPTION_FLAG,    /* bool: --name sets it */
    BP_OPTION_SWITCH,  /* bool: --name sets it, --no-name clears it */
    BP_OPTION_TEXT,    /* const char * */
    BP_OPTION_FILE,    /* const char *, completed as a path */
    BP_OPTION_CHOICE,  /* const char *, one of `choices` */
    BP_OPTION_INTEGER, /* int64_t in min ... max */
    BP_OPTION_LIST     /* bp_words: may be given several times */
} bp_option_kind;

typedef struct bp_words {
    char **items; /* into argv */
    size_t n;
} bp_words;

typedef struct bp_option {
    const char *name; /* without dashes; NULL ends a table */
    char letter;      /* short form, 0 when it has none */
    bp_option_kind kind;
    const char *value;   /* what stands for its value in help: "N"; NULL for flags */
    const char *choices; /* "auto|always|never" */
    int64_t min, max;
    const char *help; /* one sentence without a full stop */
    size_t offset;    /* of its variable in the struct of the command's options */
} bp_option;

typedef struct bp_example {
    const char *line; /* as typed; NULL ends a table */
    const char *does;
} bp_example;

typedef struct bp_command {
    const char *name;
    const char *summary;     /* a phrase for the list of commands */
    const char *arguments;   /* "NET.yaml", "PATH…"; "" when it takes none */
    const char *description; /* a paragraph */
    const char *exits;       /* "0 trained, 1 …" */
    const bp_option *options;
    const bp_example *examples;
    size_t min_arguments, max_arguments;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; gives the exit code */
} bp_command;

/* First member of every options struct. */
typedef struct bp_common_options {
    bool help;
    const char *colour; /* "auto", "always", "never" */
} bp_common_options;

#define BP_COMMON_OPTIONS                                                                   \
    {"color",                                                                               \
     0,                                                                                     \
     BP_OPTION_CHOICE,                                                                      \
     "WHEN",                                                                                \
     "auto|always|never",                                                                   \
     0,                                                                                     \
     0,                                                                                     \
     "when to use colours; else NO_COLOR, FORCE_COLOR and whether it is a terminal decide", \
     offsetof(bp_common_options, colour)},                                                  \
        {"help",                                                                            \
         'h',                                                                               \
         BP_OPTION_FLAG,                                                                    \
         NULL,                                                                              \
         NULL,                                                                              \
         0,                                                                                 \
         0,                                                                                 \
         "show this help",                                                                  \
         offsetof(bp_common_options, help)},                                                \
        {NULL, 0, BP_OPTION_FLAG, NULL, NULL, 0, 0, NULL, 0}
#define BP_COMMON_DEFAULTS {false, "auto"}

/* Parses argv[1 ...] into *options (a struct that begins with bp_common_options, holding the
 * defaults) and *arguments. Lists and arguments are views of argv, which is reordered.
 * Returns -1 to go on; otherwise the exit code: 0 after --help, 2 after a usage error. */
int bp_options_parse(const bp_command *command, int argc, char **argv, void *options,
                     bp_words *arguments);
/* "500M", "2G" or bytes, at least 1; K, M, G, T are powers of 1024. */
BP_MUST_USE bool bp_parse_size(const char *text, uint64_t *n_bytes);
/* "train: text" and where help is; gives the exit code. */
int bp_usage_error(const bp_command *command, const char *format, ...) BP_PRINTF(2, 3);
void bp_options_free(const bp_command *command, void *options);

/* help.c */
void bp_command_help(FILE *out, const bp_command *command);

#endif
