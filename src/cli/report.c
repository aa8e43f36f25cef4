/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe report RUN [RUN]`: runs as one file to be looked at, mailed or pasted. */
#include "cli/report.h"
#include "cli/cli.h"
#include "replay/replay.h"
#include "report/drawn.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/svg.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RUNS BP_REPORT_MAX_RUNS
#define DEFAULT_MAX_BYTES ((uint64_t)5 << 20)

typedef struct report_options {
    bp_common_options common;
    const char *format, *output, *max_size, *series;
    uint64_t max_bytes;
} report_options;

static const bp_option options[] = {
    {"output", 'o', BP_OPTION_FILE, "FILE", NULL, 0, 0,
     "write there, - is stdout; else the run's name and the format, in this folder",
     offsetof(report_options, output)},
    {"format", 'f', BP_OPTION_CHOICE, "FORMAT", "html|svg|md", 0, 0,
     "html: a page that opens offline; svg: the map of layers over steps, for papers; md: for "
     "issues "
     "and pull requests; else as FILE's name ends, or html",
     offsetof(report_options, format)},
    {"series", 's', BP_OPTION_TEXT, "NAME", NULL, 0, 0,
     "svg, md: what is shown of the layers, such as gain or activation_rms; else gradient_rms",
     offsetof(report_options, series)},
    {"max-size", 0, BP_OPTION_TEXT, "SIZE", NULL, 0, 0,
     "html: draw fewer columns of steps, then less, until the file is no larger: 5M, unless told "
     "otherwise",
     offsetof(report_options, max_size)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe report runs/net-1", "net-1.html, to be opened or mailed"},
    {"backprobe report runs/net-1 runs/net-2 -o both.html", "two runs side by side"},
    {"backprobe report runs/net-1 --series gain -o gain.svg", "a figure"},
    {"backprobe report runs/net-1 -f md -o - | gh issue create -F - -t 'It does not learn'",
     "an issue"},
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
    char *name = whole ? strdup(basename(whole)) : NULL; /* "" of the root folder */
    free(whole);
    return name;
}

static bp_status open_runs(opened *runs, char *const *paths, size_t n_paths, bp_error *error) {
    for (size_t i = 0; i < n_paths; i++) {
        bp_status status = bp_replay_open(&runs->replays[i], paths[i], error);
        if (status != BP_OK) return status;
        runs->n++;
        runs->names[i] = name_of(paths[i]);
        if (!runs->names[i]) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a name");
    }
    const bool alike = runs->n == 2 && strcmp(runs->names[0], runs->names[1]) == 0;
    for (uint32_t i = 0; alike && i < 2; i++) { /* their paths tell them apart */
        free(runs->names[i]);
        runs->names[i] = strdup(paths[i]);
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

static bp_status make_html(document *made, uint64_t max_bytes, opened *runs, bp_error *error) {
    bp_html html;
    bp_html_run inside[MAX_RUNS];
    waiting w = {.begun = bp_io_system.steady_clock(bp_io_system.context)};
    const bp_html_options how = {
        .max_bytes = max_bytes, .told = isatty(STDERR_FILENO) ? on_part : NULL, .context = &w};
    for (uint32_t i = 0; i < runs->n; i++)
        inside[i] = (bp_html_run){.report = run_of(runs, i),
                                  .folder = runs->replays[i].path,
                                  .columns = runs->replays[i].columns,
                                  .histogram_roles = runs->replays[i].histogram_roles};
    const bp_status status = bp_html_make(&html, inside, runs->n, &how, error);
    if (w.drawn) fputs("\r\033[K", stderr);
    if (status != BP_OK) return status;
    *made = (document){.text = html.text, .n_bytes = html.n_bytes};
    memcpy(made->note, html.note, sizeof made->note);
    return BP_OK;
}

/* name NULL: what there is, or BP_N_SERIES. */
static bp_status find_series(bp_series *series, const char *name, const bp_replay *replay,
                             bp_error *error) {
    const uint64_t columns = replay->columns;
    *series = bp_drawn_preferred(columns);
    if (!name) return BP_OK;
    const char *known[BP_N_SERIES];
    size_t n = 0;
    for (bp_series each = 0; each < BP_N_SERIES; each++)
        if (bp_series_is_of_layers(each) && bp_series_is_in(each, columns))
            known[n++] = bp_series_name(each);
    for (size_t i = 0; i < n; i++)
        if (strcmp(known[i], name) == 0 && bp_series_find(series, name)) return BP_OK;
    const char *meant = bp_nearest_word(name, known, n);
    return bp_fail(error, BP_ERROR_ARGUMENT, "%s: the run has no series '%s' of layers%s%s%s",
                   replay->path, name, meant ? ": did you mean '" : "", meant ? meant : "",
                   meant ? "'?" : "");
}

static bp_status draw_svg(FILE *out, const bp_report_run *run, const bp_drawn *drawn,
                          const bp_diagnosis_overview *overview, bp_error *error) {
    const bp_svg svg = {.run = run,
                        .series = drawn->series,
                        .view = &drawn->view,
                        .first = overview->first_step,
                        .last = overview->last_step};
    return bp_svg_write(out, &svg, error);
}

static bp_status put_svg(FILE *out, const report_options *given, opened *runs, bp_error *error) {
    const bp_replay *replay = &runs->replays[0];
    const bp_report_run run = run_of(runs, 0);
    bp_series series;
    bp_drawn drawn = {.pyramid = NULL};
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run.diagnosis, &overview);
    bp_status status = find_series(&series, given->series, replay, error);
    if (status == BP_OK && series == BP_N_SERIES)
        status = bp_fail(error, BP_ERROR_INPUT,
                         "%s: the run has nothing to draw: no layer was measured", replay->path);
    if (status == BP_OK) status = bp_drawn_open(&drawn, replay->path, series, error);
    if (status == BP_OK)
        status =
            bp_drawn_view(&drawn, overview.first_step, overview.last_step, BP_SVG_COLUMNS, error);
    if (status == BP_OK) status = draw_svg(out, &run, &drawn, &overview, error);
    bp_drawn_close(&drawn);
    return status;
}

static bp_status put_markdown(FILE *out, const report_options *given, opened *runs,
                              bp_error *error) {
    static const bp_report_style style = {false, BP_REPORT_WIDTH};
    for (uint32_t i = 0; i < runs->n; i++) {
        const bp_replay *replay = &runs->replays[i];
        const bp_report_run run = run_of(runs, i);
        bp_markdown_pictures pictures = {
            .run = &run, .folder = replay->path, .columns = replay->columns};
        bp_status status = find_series(&pictures.series, given->series, replay, error);
        if (status == BP_OK) status = bp_markdown_run(out, &style, &run, i, error);
        if (status == BP_OK) status = bp_markdown_put_pictures(out, &pictures, error);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

/* A document of text in memory, so that it is written whole or not at all. */
static bp_status make_text(document *made, const report_options *given, opened *runs,
                           bp_error *error) {
    FILE *out = open_memstream(&made->text, &made->n_bytes);
    if (!out) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the report");
    bp_status status = strcmp(given->format, "svg") == 0 ? put_svg(out, given, runs, error)
                                                         : put_markdown(out, given, runs, error);
    const bool failed = ferror(out) != 0;
    if ((fclose(out) != 0 || failed) && status == BP_OK)
        status = bp_fail(error, BP_ERROR_MEMORY, "out of memory for the report");
    return status;
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

/* "net-1.html", "net-1-net-2.html"; NULL without memory. */
static char *default_path(const opened *runs, const char *ending) {
    char *path = NULL, *names[MAX_RUNS] = {NULL};
    bool good = true;
    for (uint32_t i = 0; i < runs->n; i++) {
        names[i] = name_of(runs->replays[i].path);
        good = good && names[i];
    }
    if (good && asprintf(&path, "%s%s%s.%s", names[0], runs->n > 1 ? "-" : "",
                         runs->n > 1 ? names[1] : "", ending) < 0)
        path = NULL;
    for (uint32_t i = 0; i < runs->n; i++) free(names[i]);
    return path;
}

static bp_status write_to(const document *made, const char *path, bp_error *error) {
    const bool is_stdout = strcmp(path, "-") == 0;
    bp_status status = BP_OK;
    if (is_stdout)
        fwrite(made->text, 1, made->n_bytes, stdout);
    else
        status =
            bp_io_write_file_atomic(&bp_io_system, path, made->text, made->n_bytes, NULL, error);
    if (status != BP_OK) return status;
    if (!is_stdout) say_where(path, made->n_bytes);
    if (made->note[0]) bp_say("%s: %s", is_stdout ? "standard output" : path, made->note);
    return BP_OK;
}

static bp_status write_document(const document *made, const report_options *given,
                                const opened *runs, bp_error *error) {
    if (given->output) return write_to(made, given->output, error);
    char *path = default_path(runs, given->format);
    if (!path) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a name");
    const bp_status status = write_to(made, path, error);
    free(path);
    return status;
}

static bp_status report(const report_options *given, opened *runs, const bp_words *paths,
                        bp_error *error) {
    document made = {0};
    bp_status status = open_runs(runs, paths->items, paths->n, error);
    if (status == BP_OK)
        status = strcmp(given->format, "html") == 0
                     ? make_html(&made, given->max_bytes, runs, error)
                     : make_text(&made, given, runs, error);
    if (status == BP_OK) status = write_document(&made, given, runs, error);
    free(made.text);
    return status;
}

bp_status bp_report_write(char *const *paths, size_t n_paths, const char *output, bp_error *error) {
    opened runs = {.n = 0};
    document made = {0};
    bp_status status = open_runs(&runs, paths, n_paths, error);
    if (status == BP_OK) status = make_html(&made, DEFAULT_MAX_BYTES, &runs, error);
    if (status == BP_OK)
        status =
            bp_io_write_file_atomic(&bp_io_system, output, made.text, made.n_bytes, NULL, error);
    free(made.text);
    close_runs(&runs);
    return status;
}

/* --- the command --------------------------------------------------------------------------------
 */

/* "figure.svg": svg. */
static const char *format_of(const char *output) {
    static const char *const formats[] = {"html", "svg", "md"};
    const char *dot = output ? strrchr(output, '.') : NULL;
    for (size_t i = 0; dot && i < sizeof formats / sizeof *formats; i++)
        if (strcmp(dot + 1, formats[i]) == 0) return formats[i];
    return "html";
}

static int check_given(report_options *given, const bp_words *paths) {
    if (!given->format) given->format = format_of(given->output);
    if (strcmp(given->format, "svg") == 0 && paths->n > 1)
        return bp_usage_error(&bp_command_report, "an svg shows one run, got two");
    if (given->max_size && !bp_parse_size(given->max_size, &given->max_bytes))
        return bp_usage_error(&bp_command_report,
                              "--max-size: expected a size such as 500K or 5M, got '%s'",
                              given->max_size);
    return -1;
}

static int run(int argc, char **argv) {
    report_options given = {.common = BP_COMMON_DEFAULTS, .max_bytes = DEFAULT_MAX_BYTES};
    bp_words paths;
    int code = bp_options_parse(&bp_command_report, argc, argv, &given, &paths);
    if (code < 0) code = check_given(&given, &paths);
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
