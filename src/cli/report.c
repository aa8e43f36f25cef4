/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe report RUN [RUN]`: runs as one file to be looked at, mailed or pasted. */
#include "cli/cli.h"
#include "replay/replay.h"
#include "report/html.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RUNS 2u

typedef struct report_options {
    bp_common_options common;
    const char *format, *output, *max_size;
    uint64_t max_bytes;
} report_options;

static const bp_option options[] = {
    {"output", 'o', BP_OPTION_FILE, "FILE", NULL, 0, 0,
     "write there, - is stdout; else the run's name and the format, in this folder",
     offsetof(report_options, output)},
    {"format", 'f', BP_OPTION_CHOICE, "FORMAT", "html", 0, 0,
     "html: a page that opens offline; else as FILE's name ends, or html",
     offsetof(report_options, format)},
    {"max-size", 0, BP_OPTION_TEXT, "SIZE", NULL, 0, 0,
     "html: draw fewer columns of steps, then less, until the file is no larger: 5M, unless told "
     "otherwise",
     offsetof(report_options, max_size)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe report runs/net-1", "net-1.html, to be opened or mailed"},
    {"backprobe report runs/net-1 runs/net-2 -o both.html", "two runs side by side"},
    {NULL, NULL},
};

/* --- runs ---------------------------------------------------------------------------------------
 */

typedef struct opened {
    bp_replay replays[MAX_RUNS];
    char *names[MAX_RUNS]; /* what a reader of the report is told: no path of this machine */
    uint32_t n;
} opened;

/* "runs/net-1/" and "." have names, too. */
static char *name_of(const char *path) {
    char *whole = realpath(path, NULL);
    char *name = whole ? strdup(basename(whole)) : NULL;
    free(whole);
    return name;
}

static bp_status open_runs(opened *runs, const bp_words *paths, bp_error *error) {
    for (size_t i = 0; i < paths->n; i++) {
        bp_status status = bp_replay_open(&runs->replays[i], paths->items[i], error);
        if (status != BP_OK) return status;
        runs->n++;
        runs->names[i] = name_of(paths->items[i]);
        if (!runs->names[i]) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a name");
    }
    /* Of two runs of one name the paths tell them apart. */
    for (uint32_t i = 0; runs->n == 2 && i < 2 && strcmp(runs->names[0], runs->names[1]) == 0;
         i++) {
        free(runs->names[i]);
        runs->names[i] = strdup(paths->items[i]);
        if (!runs->names[i]) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a name");
    }
    return BP_OK;
}

static void close_runs(opened *runs) {
    for (uint32_t i = 0; i < runs->n; i++) bp_replay_close(&runs->replays[i]);
    for (uint32_t i = 0; i < MAX_RUNS; i++) free(runs->names[i]);
}

static bp_report_run run_of(opened *runs, uint32_t index) {
    bp_report_run run = bp_replay_report(&runs->replays[index]);
    run.name = runs->names[index];
    return run;
}

/* --- what is written ----------------------------------------------------------------------------
 */

typedef struct document {
    char *text;
    size_t n_bytes;
    char note[sizeof((bp_html *)NULL)->note];
} document;

/* A line on the terminal that nobody sees when it goes fast. */
typedef struct waiting {
    double begun;
    bool drawn;
} waiting;

static void on_part(void *context, double done) {
    waiting *w = context;
    if (bp_io_system.steady_clock(bp_io_system.context) - w->begun < 1) return;
    fprintf(stderr, "\rreading the log %3d%%", (int)(done * 100));
    fflush(stderr);
    w->drawn = true;
}

static bp_status make_html(document *made, const report_options *given, opened *runs,
                           bp_error *error) {
    bp_html html;
    bp_html_run inside[MAX_RUNS];
    waiting w = {.begun = bp_io_system.steady_clock(bp_io_system.context)};
    const bp_html_options how = {.max_bytes = given->max_bytes,
                                 .told = isatty(STDERR_FILENO) ? on_part : NULL,
                                 .context = &w};
    for (uint32_t i = 0; i < runs->n; i++)
        inside[i] = (bp_html_run){.report = run_of(runs, i),
                                  .folder = runs->replays[i].path,
                                  .columns = runs->replays[i].columns};
    const bp_status status = bp_html_make(&html, inside, runs->n, &how, error);
    if (w.drawn) fputs("\r\033[K", stderr);
    if (status != BP_OK) return status;
    *made = (document){.text = html.text, .n_bytes = html.n_bytes};
    memcpy(made->note, html.note, sizeof made->note);
    return BP_OK;
}

/* "412 kB", "1.2 MB": powers of 1,000, as mail programs count. */
static void say_where(const char *path, size_t n_bytes) {
    char size[32];
    const double kilobytes = (double)n_bytes / 1e3;
    const bool is_large = kilobytes >= 1000;
    bp_number_text(size, sizeof size, is_large ? kilobytes / 1e3 : kilobytes, 2);
    bp_report_escaped(stdout, path);
    printf(": %s %s\n", size, is_large ? "MB" : "kB");
}

static bp_status write_document(const document *made, const char *path, bp_error *error) {
    if (made->note[0]) bp_say("%s: %s", path, made->note);
    if (strcmp(path, "-") == 0) {
        fwrite(made->text, 1, made->n_bytes, stdout);
        return BP_OK;
    }
    const bp_status status =
        bp_io_write_file_atomic(&bp_io_system, path, made->text, made->n_bytes, NULL, error);
    if (status == BP_OK) say_where(path, made->n_bytes);
    return status;
}

/* "net-1.html", "net-1-net-2.html". */
static char *default_path(const opened *runs, const char *ending) {
    char *path = NULL, first[NAME_MAX + 1], second[NAME_MAX + 1] = "";
    snprintf(first, sizeof first, "%s", basename(runs->names[0]));
    if (runs->n > 1) snprintf(second, sizeof second, "%s", basename(runs->names[1]));
    return asprintf(&path, "%s%s%s.%s", first, runs->n > 1 ? "-" : "", second, ending) < 0 ? NULL
                                                                                           : path;
}

static bp_status report(const report_options *given, opened *runs, const bp_words *paths,
                        bp_error *error) {
    document made = {0};
    bp_status status = open_runs(runs, paths, error);
    if (status == BP_OK) status = make_html(&made, given, runs, error);
    if (status != BP_OK) return status;
    char *named = given->output ? NULL : default_path(runs, given->format);
    const char *path = given->output ? given->output : named;
    status = path ? write_document(&made, path, error)
                  : bp_fail(error, BP_ERROR_MEMORY, "out of memory for a name");
    free(named);
    free(made.text);
    return status;
}

/* --- the command --------------------------------------------------------------------------------
 */

static int check_given(report_options *given) {
    if (!bp_parse_size(given->max_size, &given->max_bytes))
        return bp_usage_error(&bp_command_report,
                              "--max-size: expected a size such as 500K or 5M, got '%s'",
                              given->max_size);
    return -1;
}

static int run(int argc, char **argv) {
    report_options given = {.common = BP_COMMON_DEFAULTS, .format = "html", .max_size = "5M"};
    bp_words paths;
    int code = bp_options_parse(&bp_command_report, argc, argv, &given, &paths);
    if (code < 0) code = check_given(&given);
    if (code >= 0) return code;
    opened runs = {.n = 0};
    bp_error error = {.status = BP_OK};
    const bp_status status = report(&given, &runs, &paths, &error);
    if (status != BP_OK) bp_say_error(NULL, &error);
    close_runs(&runs);
    return status == BP_OK ? BP_EXIT_GOOD : BP_EXIT_FAILED;
}

const bp_command bp_command_report = {
    .name = "report",
    .summary = "a run as one file, to be looked at and mailed",
    .arguments = "RUN [RUN]",
    .description =
        "Writes a page with the findings of a run, the map of its layers over its steps, "
        "its loss curves and the chain rule at every step. It is one file that opens "
        "offline in any browser and asks nobody for anything. Two runs stand side by "
        "side.",
    .exits = "0 written, 2 could not",
    .options = options,
    .examples = examples,
    .min_arguments = 1,
    .max_arguments = MAX_RUNS,
    .run = run,
};
