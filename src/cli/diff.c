/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe diff A B`: where two runs part. */
#include "cli/cli.h"
#include "report/apart.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct diff_options {
    bp_common_options common;
    const char *tolerance;
    bool json;
} diff_options;

static const bp_option options[] = {
    {"tolerance", 't', BP_OPTION_TEXT, "SHARE", NULL, 0, 0,
     "differences up to this share of a value are none: 0.1% or 0.001; unless told otherwise the "
     "loss is compared bit by bit, other quantities as finely as the log has them",
     offsetof(diff_options, tolerance)},
    {"json", 0, BP_OPTION_FLAG, NULL, NULL, 0, 0,
     "print every quantity of every layer that differs, as JSON (schema backprobe.diff/1)",
     offsetof(diff_options, json)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe diff runs/net-1 runs/net-2", "the first step at which they part, and in what"},
    {"backprobe diff runs/a runs/b --tolerance 1% --json | jq '.parts[0]'",
     "the first difference of more than a hundredth"},
    {NULL, NULL},
};

/* A run that is read together with another. */
typedef struct side {
    const char *path;
    bp_runlog_ranks *logs;
    bp_diagnosis *diagnosis;
    const bp_record *record; /* the next; NULL at the end */
} side;

static bp_status advance(side *s, bp_error *error) {
    return bp_runlog_ranks_next(s->logs, &s->record, error);
}

static bp_status open_side(side *s, const char *path, bp_error *error) {
    *s = (side){.path = path};
    bp_status status = bp_runlog_ranks_open(&s->logs, path, NULL, error);
    if (status == BP_OK)
        status = bp_diagnosis_open(&s->diagnosis, bp_runlog_ranks_model(s->logs), NULL, error);
    return status == BP_OK ? advance(s, error) : status;
}

static void close_side(side *s) {
    bp_diagnosis_close(s->diagnosis);
    bp_runlog_ranks_close(s->logs);
}

static bp_report_run run_of(const side *s) {
    return (bp_report_run){.name = s->path,
                           .model = bp_runlog_ranks_model(s->logs),
                           .diagnosis = s->diagnosis,
                           .end = bp_runlog_ranks_end(s->logs)};
}

static bp_status take(side *s, bool is_next, bp_error *error) {
    if (!is_next) return BP_OK;
    bp_diagnosis_step(s->diagnosis, s->record);
    return advance(s, error);
}

/* Both logs at once, step by step. */
static bp_status read_both(bp_apart *apart, side sides[2], side **failed, bp_error *error) {
    while (sides[0].record || sides[1].record) {
        const bp_record *a = sides[0].record, *b = sides[1].record;
        const bool has_a = a && (!b || a->step <= b->step);
        const bool has_b = b && (!a || b->step <= a->step);
        bp_apart_step(apart, has_a ? a : NULL, has_b ? b : NULL);
        *failed = &sides[0];
        bp_status status = take(&sides[0], has_a, error);
        if (status != BP_OK) return status;
        *failed = &sides[1];
        status = take(&sides[1], has_b, error);
        if (status != BP_OK) return status;
    }
    *failed = NULL;
    return BP_OK;
}

static bp_status report(const bp_apart *apart, const side sides[2], const diff_options *given,
                        bool *parts, bp_error *error) {
    const bp_report_run a = run_of(&sides[0]), b = run_of(&sides[1]);
    bp_apart_place *places = NULL;
    size_t n = 0;
    bp_status status = bp_apart_places(apart, &places, &n, error);
    const bp_apart_report told = {apart, &a, &b, places, n};
    if (status == BP_OK && given->json) {
        char *text = NULL;
        status = bp_apart_json(&text, &told, error);
        if (status == BP_OK) fputs(text, stdout);
        free(text);
    } else if (status == BP_OK) {
        const bp_report_style style = bp_style_of(stdout, &given->common);
        bp_apart_text(stdout, &style, &told);
    }
    *parts = status == BP_OK && bp_apart_parts(&told);
    free(places);
    return status;
}

static bp_status compare(side sides[2], const diff_options *given, double tolerance, bool *parts,
                         side **failed, bp_error *error) {
    bp_apart apart;
    bp_status status = bp_apart_open(&apart, bp_runlog_ranks_model(sides[0].logs),
                                     bp_runlog_ranks_model(sides[1].logs), tolerance, error);
    if (status != BP_OK) return status;
    status = read_both(&apart, sides, failed, error);
    if (status == BP_OK && apart.n_common == 0)
        status = bp_fail(error, BP_ERROR_INPUT, "%s and %s have no step in common", sides[0].path,
                         sides[1].path);
    if (status == BP_OK) status = report(&apart, sides, given, parts, error);
    bp_apart_close(&apart);
    return status;
}

static int diff(const bp_words *paths, const diff_options *given, double tolerance) {
    bp_error error = {.status = BP_OK};
    side sides[2] = {{0}};
    side *failed = &sides[0];
    bool parts = false;
    bp_status status = open_side(&sides[0], paths->items[0], &error);
    if (status == BP_OK) {
        failed = &sides[1];
        status = open_side(&sides[1], paths->items[1], &error);
    }
    if (status == BP_OK) {
        failed = NULL;
        status = compare(sides, given, tolerance, &parts, &failed, &error);
    }
    if (status != BP_OK) bp_say_error(failed ? failed->path : NULL, &error);
    close_side(&sides[0]);
    close_side(&sides[1]);
    return status != BP_OK ? BP_EXIT_FAILED : parts ? BP_EXIT_FINDINGS : BP_EXIT_GOOD;
}

/* "0.1%" or "0.001"; -1 when it is neither. */
static double read_tolerance(const char *text) {
    char number[32];
    double value = 0;
    if (!text) return 0;
    const size_t length = strlen(text);
    const bool percent = length > 0 && text[length - 1] == '%';
    if (length >= sizeof number) return -1;
    snprintf(number, sizeof number, "%.*s", (int)(length - percent), text);
    if (!bp_parse_number(number, &value) || !(value >= 0)) return -1;
    return percent ? value / 100 : value;
}

static int run(int argc, char **argv) {
    diff_options given = {.common = BP_COMMON_DEFAULTS};
    bp_words paths;
    const int code = bp_options_parse(&bp_command_diff, argc, argv, &given, &paths);
    if (code >= 0) return code;
    const double tolerance = read_tolerance(given.tolerance);
    if (tolerance < 0)
        return bp_usage_error(&bp_command_diff,
                              "--tolerance: expected a share such as 0.1%% or 0.001, got '%s'",
                              given.tolerance);
    return diff(&paths, &given, tolerance);
}

const bp_command bp_command_diff = {
    .name = "diff",
    .summary = "where two runs part: step, layer, quantity",
    .arguments = "A B",
    .description = "Reads the logs of two runs together and tells the first step at which they "
                   "differ and in what: data, parameters, forward pass, loss, backward pass, "
                   "gradient, learning rate, update; in which layers, how far they are apart at "
                   "the end, how recipes and networks differ, and which findings one of them has "
                   "alone. Layers are matched by name.",
    .exits = "0 the same, 1 they part, 2 could not",
    .options = options,
    .examples = examples,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
