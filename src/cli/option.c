/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of a command line by its table of options. */
#include "cli/option.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS 32

static void *variable(void *options, const bp_option *option) {
    return (char *)options + option->offset;
}

static bool has_value(const bp_option *option) {
    return option->kind != BP_OPTION_FLAG && option->kind != BP_OPTION_SWITCH;
}

static const bp_option *find_long(const bp_option *options, const char *name, size_t n_bytes) {
    for (; options->name; options++)
        if (strlen(options->name) == n_bytes && memcmp(options->name, name, n_bytes) == 0)
            return options;
    return NULL;
}

static const bp_option *find_letter(const bp_option *options, char letter) {
    for (; options->name; options++)
        if (options->letter == letter) return options;
    return NULL;
}

int bp_usage_error(const bp_command *command, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bp_say("%s: %s", command->name, text);
    bp_say("try 'backprobe %s --help'", command->name);
    return BP_EXIT_FAILED;
}

static int unknown_option(const bp_command *command, const char *given) {
    const char *names[2 * MAX_OPTIONS];
    char negated[MAX_OPTIONS][32];
    size_t n = 0, n_negated = 0;
    for (const bp_option *o = command->options; o->name && n_negated < MAX_OPTIONS; o++) {
        names[n++] = o->name;
        if (o->kind != BP_OPTION_SWITCH) continue;
        snprintf(negated[n_negated], sizeof *negated, "no-%s", o->name);
        names[n++] = negated[n_negated++];
    }
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(given + 2, "="), given + 2);
    const char *nearest = bp_nearest_word(name, names, n);
    if (nearest)
        return bp_usage_error(command, "unknown option '--%s': did you mean '--%s'?", name,
                              nearest);
    return bp_usage_error(command, "unknown option '--%s'", name);
}

static bool is_choice(const char *choices, const char *value) {
    size_t length = strlen(value);
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");
        if (n == length && memcmp(at, value, n) == 0) return true;
        at += n + (at[n] == '|');
    }
    return false;
}

static int set_integer(const bp_command *command, const bp_option *option, int64_t *number,
                       char *value) {
    int64_t parsed;
    if (bp_parse_integer(value, &parsed) && parsed >= option->min && parsed <= option->max) {
        *number = parsed;
        return -1;
    }
    if (option->max == INT64_MAX)
        return bp_usage_error(command,
                              "--%s: expected a whole number from %" PRId64 " on, got '%s'",
                              option->name, option->min, value);
    return bp_usage_error(command,
                          "--%s: expected a whole number from %" PRId64 " to %" PRId64 ", got '%s'",
                          option->name, option->min, option->max, value);
}

static int set_list(const bp_command *command, bp_words *list, int argc, char *value) {
    if (!list->items) list->items = calloc((size_t)argc, sizeof *list->items);
    if (!list->items) return bp_usage_error(command, "out of memory");
    list->items[list->n++] = value;
    return -1;
}

static int set_value(const bp_command *command, const bp_option *option, void *options, int argc,
                     char *value) {
    void *to = variable(options, option);
    switch (option->kind) {
    case BP_OPTION_INTEGER:
        return set_integer(command, option, to, value);
    case BP_OPTION_LIST:
        return set_list(command, to, argc, value);
    case BP_OPTION_CHOICE:
        if (!is_choice(option->choices, value))
            return bp_usage_error(command, "--%s: expected %s, got '%s'", option->name,
                                  option->choices, value);
        break;
    case BP_OPTION_TEXT:
    case BP_OPTION_FILE:
    case BP_OPTION_FLAG:
    case BP_OPTION_SWITCH:
        break;
    }
    *(const char **)to = value;
    return -1;
}

typedef struct reading {
    int argc;
    char **argv;
    int at;
} reading;

static int take_long(const bp_command *command, void *options, reading *line) {
    char *given = line->argv[line->at], *name = given + 2;
    size_t n = strcspn(name, "=");
    char *value = name[n] == '=' ? name + n + 1 : NULL;
    const bp_option *option = find_long(command->options, name, n);
    bool on = true;
    if (!option && strncmp(name, "no-", 3) == 0) {
        option = find_long(command->options, name + 3, n - 3);
        if (option && option->kind != BP_OPTION_SWITCH) option = NULL;
        on = false;
    }
    if (!option) return unknown_option(command, given);
    if (!has_value(option)) {
        if (value) return bp_usage_error(command, "--%s takes no value", option->name);
        *(bool *)variable(options, option) = on;
        return -1;
    }
    if (!value && line->at + 1 < line->argc) value = line->argv[++line->at];
    if (!value)
        return bp_usage_error(command, "--%s needs a value: %s", option->name, option->value);
    return set_value(command, option, options, line->argc, value);
}

static int take_short(const bp_command *command, void *options, reading *line) {
    char *given = line->argv[line->at];
    const bp_option *option = find_letter(command->options, given[1]);
    if (!option) return bp_usage_error(command, "unknown option '-%c'", given[1]);
    if (!has_value(option)) {
        if (given[2]) return bp_usage_error(command, "-%c takes no value", given[1]);
        *(bool *)variable(options, option) = true;
        return -1;
    }
    char *value = given[2] ? given + 2 : NULL;
    if (!value && line->at + 1 < line->argc) value = line->argv[++line->at];
    if (!value) return bp_usage_error(command, "-%c needs a value: %s", given[1], option->value);
    return set_value(command, option, options, line->argc, value);
}

int bp_options_parse(const bp_command *command, int argc, char **argv, void *options,
                     bp_words *arguments) {
    reading line = {argc, argv, 1};
    bool only_arguments = false;
    arguments->items = argv;
    arguments->n = 0;
    for (; line.at < argc; line.at++) {
        char *given = argv[line.at];
        int code = -1;
        if (only_arguments || given[0] != '-' || given[1] == '\0')
            arguments->items[arguments->n++] = given; /* never ahead of what is read */
        else if (strcmp(given, "--") == 0)
            only_arguments = true;
        else if (given[1] == '-')
            code = take_long(command, options, &line);
        else
            code = take_short(command, options, &line);
        if (code >= 0) return code;
    }
    if (((bp_common_options *)options)->help) {
        bp_command_help(stdout, command);
        return BP_EXIT_GOOD;
    }
    if (arguments->n < command->min_arguments)
        return bp_usage_error(command, "expected %s", command->arguments);
    if (arguments->n > command->max_arguments)
        return bp_usage_error(command, "unexpected argument '%s'",
                              arguments->items[command->max_arguments]);
    return -1;
}

bool bp_parse_size(const char *text, uint64_t *n_bytes) {
    static const char units[] = "KMGT";
    char number[32];
    int64_t size = 0;
    const size_t length = strlen(text);
    const char *unit = length > 0 ? strchr(units, text[length - 1]) : NULL;
    const unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    snprintf(number, sizeof number, "%.*s", (int)(length - (unit ? 1 : 0)), text);
    if (length >= sizeof number || !bp_parse_integer(number, &size)) return false;
    if (size <= 0 || size > INT64_MAX >> shift) return false;
    *n_bytes = (uint64_t)size << shift;
    return true;
}

void bp_options_free(const bp_command *command, void *options) {
    for (const bp_option *o = command->options; o->name; o++)
        if (o->kind == BP_OPTION_LIST) free(((bp_words *)variable(options, o))->items);
}
