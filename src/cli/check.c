/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe check PATH…`: the findings of runs, from their logs. */
#include "cli/choice.h"
#include "cli/cli.h"
#include "replay/replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct check_options {
    bp_common_options common;
    const char *format, *output, *network;
    bp_choice_options choice;
} check_options;

static const bp_option options[] = {
    {"format", 'f', BP_OPTION_CHOICE, "FORMAT", BP_REPORT_FORMATS, 0, 0,
     "text for people; json: a document a run on one line; jsonl: a finding a line; github: "
     "workflow "
     "commands, shown at the lines of a pull request; markdown for issues; sarif and junit for "
     "other "
     "tools",
     offsetof(check_options, format)},
    {"output", 'o', BP_OPTION_FILE, "FILE", NULL, 0, 0, "write there instead of to stdout",
     offsetof(check_options, output)},
    BP_CHOICE_OPTIONS(check_options, "any finding counts, unless told otherwise"),
    {"network", 0, BP_OPTION_FILE, "FILE", NULL, 0, 0,
     "where the network file lies that github and sarif point at; else the run's copy",
     offsetof(check_options, network)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe check runs/net-1", "the findings of a run"},
    {"backprobe check runs/* --format json | jq .findings", "of all runs, for a program"},
    {"backprobe check runs/net-1 --format github --network net.yaml --fail-on error",
     "in a workflow: findings at their lines; errors make it fail"},
    {"backprobe check runs/net-1 --ignore 'dead-units:trunk.*,plateau'",
     "without two things that are meant to be so"},
    {NULL, NULL},
};

static void say_damage(const char *path, const bp_runlog_damage *damage) {
    if (damage->damaged_places > 0 || damage->lost_records > 0)
        bp_say("%s: the log is damaged: %" PRIu64 " record%s lost, %" PRIu64
               " damaged place%s (%" PRIu64 " bytes)%s%s",
               path, damage->lost_records, damage->lost_records == 1 ? "" : "s",
               damage->damaged_places, damage->damaged_places == 1 ? "" : "s", damage->lost_bytes,
               damage->first.status != BP_OK ? "; first: " : "",
               damage->first.status != BP_OK ? damage->first.text : "");
    if (damage->unknown > 0)
        bp_say("%s: %" PRIu64 " records of a newer version were skipped", path, damage->unknown);
    if (damage->torn_tail)
        bp_say("%s: the last record is cut, as after a kill; all before it was read", path);
}

static int64_t last_step_of(const bp_report_run *run) {
    int64_t last = -1;
    for (uint32_t i = 0; i < run->n_ranks; i++)
        if (run->ranks[i].last_step > last) last = run->ranks[i].last_step;
    return last;
}

/* What a rank's log lacks; of steps that it lacks the others' records were taken. */
static void say_ranks(const char *path, const bp_report_run *run) {
    const int64_t last = last_step_of(run);
    for (uint32_t i = 0; i < run->n_ranks; i++) {
        const bp_runlog_rank *rank = &run->ranks[i];
        if (rank->error.status != BP_OK)
            bp_say("%s: rank %u takes no part: %s", path, (unsigned)rank->rank, rank->error.text);
        else if (rank->last_step < last)
            bp_say("%s: the log of rank %u ends at step %" PRId64
                   ", that of others at step %" PRId64,
                   path, (unsigned)rank->rank, rank->last_step, last);
        if (rank->missing_steps > 0)
            bp_say("%s: the log of rank %u lacks %" PRIu64 " step%s that others have", path,
                   (unsigned)rank->rank, rank->missing_steps, rank->missing_steps == 1 ? "" : "s");
    }
}

/* What every path is checked with. */
typedef struct checking {
    FILE *out;
    const check_options *given;
    const bp_report_format *format;
    const bp_report_style *style;
    const bp_choice *choice;
    uint32_t n_done; /* runs in the document so far */
} checking;

static int check_run(checking *check, bp_replay *replay, bp_error *error) {
    bp_report_run run = bp_replay_report(replay);
    run.choice = check->choice;
    run.fail_on = bp_fail_on(&check->given->choice);
    if (check->given->network) run.network_path = check->given->network;
    say_damage(replay->path, run.damage);
    say_ranks(replay->path, &run);
    if (check->format->run(check->out, check->style, &run, check->n_done++, error) != BP_OK) {
        bp_say_error(replay->path, error);
        return BP_EXIT_FAILED;
    }
    bp_findings findings;
    bp_findings_choose(&findings, run.diagnosis, run.model, run.choice);
    const bool fails = run.fail_on && bp_findings_worst(&findings) >= run.fail_on;
    return fails ? BP_EXIT_FINDINGS : BP_EXIT_GOOD;
}

static int check_one(checking *check, const char *path) {
    bp_replay replay;
    bp_error error = {.status = BP_OK};
    if (bp_replay_open(&replay, path, &error) != BP_OK) {
        bp_say_error(path, &error);
        if (check->format->failed) check->format->failed(check->out, path, &error, check->n_done++);
        return BP_EXIT_FAILED;
    }
    const int code = check_run(check, &replay, &error);
    bp_replay_close(&replay);
    return code;
}

/* The worst code of all: 2 could not, 1 findings, 0 none. */
static int check_all(checking *check, const bp_words *paths) {
    int worst = BP_EXIT_GOOD;
    if (check->format->begin) check->format->begin(check->out);
    for (size_t i = 0; i < paths->n; i++) {
        const int code = check_one(check, paths->items[i]);
        if (code > worst) worst = code;
        if (fflush(check->out) != 0) break; /* nobody reads on: bp_close_output says why */
    }
    if (check->format->end) check->format->end(check->out);
    return worst;
}

/* Into memory first, so that the file is written whole or not at all. */
static int check_into_file(checking *check, const bp_words *paths) {
    char *text = NULL;
    size_t n_bytes = 0;
    bp_error error = {.status = BP_OK};
    FILE *out = check->out = open_memstream(&text, &n_bytes);
    int code = out ? check_all(check, paths) : BP_EXIT_FAILED;
    bool whole = out && fclose(out) == 0;
    bp_status status = whole ? bp_io_write_file_atomic(&bp_io_system, check->given->output, text,
                                                       n_bytes, NULL, &error)
                             : bp_fail(&error, BP_ERROR_MEMORY, "out of memory for the report");
    free(text);
    if (status == BP_OK) return code;
    bp_say_error(NULL, &error);
    return BP_EXIT_FAILED;
}

static int check(const check_options *given, const bp_words *paths) {
    bp_choice choice = {0};
    int code = bp_choice_read(&bp_command_check, &choice, &given->choice);
    bp_report_style style = bp_style_of(stdout, &given->common);
    checking check = {.out = stdout,
                      .given = given,
                      .format = bp_report_format_named(given->format),
                      .style = &style,
                      .choice = &choice};
    if (code < 0 && given->output) {
        style = (bp_report_style){strcmp(given->common.colour, "always") == 0, BP_REPORT_WIDTH};
        code = check_into_file(&check, paths);
    } else if (code < 0) {
        code = check_all(&check, paths);
    }
    bp_choice_free(&choice);
    return code;
}

static int run(int argc, char **argv) {
    check_options given = {.common = BP_COMMON_DEFAULTS, .format = "text"};
    bp_words paths;
    given.choice.fail_on = "hint";
    int code = bp_options_parse(&bp_command_check, argc, argv, &given, &paths);
    if (code < 0) code = check(&given, &paths);
    bp_options_free(&bp_command_check, &given);
    return code;
}

const bp_command bp_command_check = {
    .name = "check",
    .summary = "the findings of runs, from their logs",
    .arguments = "PATH…",
    .description = "Reads the logs of runs (run folders or single log files) and prints what is "
                   "wrong with their gradients: layers, onset, cause with the measured numbers, "
                   "and a remedy as a change of the network file. A healthy run gets one line. "
                   "A run of several processes is checked as one: their logs are read together.",
    .exits = "0 no findings that count, 1 findings, 2 could not; the worst of several paths",
    .options = options,
    .examples = examples,
    .min_arguments = 1,
    .max_arguments = SIZE_MAX,
    .run = run,
};
