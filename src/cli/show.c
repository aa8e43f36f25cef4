/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe show RUN`: a run as a picture of characters, once or while it goes on. */
#include "cli/cli.h"
#include "cli/folder.h"
#include "cli/screen.h"
#include "replay/replay.h"
#include "report/look.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_BETWEEN 0.5
#define RECORDS_AT_ONCE 4096u
#define HEIGHT 40 /* where no terminal says another */

typedef struct show_options {
    bp_common_options common;
    const char *series, *steps, *plane, *colours;
    int64_t width, height; /* 0: the terminal's */
    bool follow;
} show_options;

static const bp_option options[] = {
    {"follow", 'f', BP_OPTION_FLAG, NULL, NULL, 0, 0,
     "draw it again as the run goes on, until it ends; without a terminal a line for each finding",
     offsetof(show_options, follow)},
    {"series", 's', BP_OPTION_TEXT, "NAME", NULL, 0, 0,
     "what the map shows: gradient_rms unless told otherwise, gain, update_ratio, dead_fraction, "
     "saturated_fraction, non_finite, or any quantity of the log",
     offsetof(show_options, series)},
    {"steps", 0, BP_OPTION_TEXT, "A:B", NULL, 0, 0, "only these steps; A: and :B go to the ends",
     offsetof(show_options, steps)},
    {"plane", 0, BP_OPTION_CHOICE, "PLANE", "mean|max", 0, 0,
     "what stands for the steps of a column", offsetof(show_options, plane)},
    {"colors", 0, BP_OPTION_CHOICE, "DEPTH", "auto|24bit|256|16|none", 0, 0,
     "which colours the terminal has; auto asks COLORTERM and TERM",
     offsetof(show_options, colours)},
    {"width", 0, BP_OPTION_INTEGER, "COLUMNS", NULL, 60, 500, "else as wide as the terminal",
     offsetof(show_options, width)},
    {"height", 0, BP_OPTION_INTEGER, "LINES", NULL, 10, 500, "else as high as the terminal",
     offsetof(show_options, height)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe show runs/net-1", "the gradients of all layers over all steps"},
    {"backprobe show runs/net-1 --follow", "the same while it trains"},
    {"backprobe show runs/net-1 --series gain --steps 0:500",
     "each layer's factor at the beginning"},
    {NULL, NULL},
};

typedef struct showing {
    const show_options *given;
    const char *path;
    bp_replay replay;
    bp_series series; /* of the map; BP_N_SERIES: the first that was measured */
    bp_drawn map, loss, validation;
    int64_t first, last; /* asked for; -1: to that end of the run */
    bp_chart how;        /* what does not change from picture to picture */
} showing;

/* --- what was asked for -----------------------------------------------------------------------
 */

static int read_series(showing *s) {
    s->series = BP_N_SERIES;
    if (!s->given->series || bp_series_find(&s->series, s->given->series)) return -1;
    const char *names[BP_N_SERIES];
    for (int i = 0; i < BP_N_SERIES; i++) names[i] = bp_series_name((bp_series)i);
    return bp_command_unknown("series", s->given->series, names, BP_N_SERIES);
}

static bool read_step(char *text, int64_t *step) {
    return !*text || (bp_parse_integer(text, step) && *step >= 0);
}

static int read_steps(showing *s) {
    s->first = s->last = -1;
    if (!s->given->steps) return -1;
    char text[64];
    const size_t n = strlen(s->given->steps);
    memcpy(text, s->given->steps, n < sizeof text ? n + 1 : 1);
    char *colon = n < sizeof text ? strchr(text, ':') : NULL;
    if (colon) *colon = '\0';
    if (!colon || !read_step(text, &s->first) || !read_step(colon + 1, &s->last) ||
        (s->last >= 0 && s->first > s->last))
        return bp_usage_error(&bp_command_show, "--steps: expected A:B, such as 100:200, got '%s'",
                              s->given->steps);
    return -1;
}

static bp_colour_depth depth_of(const showing *s, bool colour) {
    const char *given = s->given->colours;
    if (strcmp(s->given->common.colour, "never") == 0 || strcmp(given, "none") == 0)
        return BP_COLOURS_NONE;
    if (strcmp(given, "24bit") == 0) return BP_COLOURS_24BIT;
    if (strcmp(given, "256") == 0) return BP_COLOURS_256;
    if (strcmp(given, "16") == 0) return BP_COLOURS_16;
    const char *all = getenv("COLORTERM"), *terminal = getenv("TERM");
    if (!colour) return BP_COLOURS_NONE;
    if (all && (strcmp(all, "truecolor") == 0 || strcmp(all, "24bit") == 0))
        return BP_COLOURS_24BIT;
    return terminal && strstr(terminal, "256color") ? BP_COLOURS_256 : BP_COLOURS_16;
}

/* As setlocale would read it. Where nothing is said, as in many containers, it is UTF-8 that works.
 */
static bp_characters characters_of(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    const char *locale = NULL, *terminal = getenv("TERM");
    for (int i = 0; i < 3 && (!locale || !*locale); i++) locale = getenv(names[i]);
    if (locale && *locale && !strcasestr(locale, "utf-8") && !strcasestr(locale, "utf8"))
        return BP_CHARACTERS_ASCII;
    return terminal && strcmp(terminal, "linux") == 0 ? BP_CHARACTERS_PLAIN : BP_CHARACTERS_ALL;
}

/* --- data ---------------------------------------------------------------------------------------
 */

/* What a map is made of where nothing was asked for. */
static const bp_series preferred[] = {(bp_series)BP_Q_GRADIENT_RMS, (bp_series)BP_Q_ERROR_NORM,
                                      (bp_series)BP_Q_UPDATE_RMS, (bp_series)BP_Q_ACTIVATION_RMS,
                                      (bp_series)BP_Q_WEIGHT_RMS};

static bp_series series_to_show(const showing *s) {
    if (s->series != BP_N_SERIES)
        return bp_series_is_in(s->series, s->replay.columns) ? s->series : BP_N_SERIES;
    for (size_t i = 0; i < sizeof preferred / sizeof *preferred; i++)
        if (bp_series_is_in(preferred[i], s->replay.columns)) return preferred[i];
    return BP_N_SERIES;
}

static bp_status bring_up(bp_drawn *drawn, const char *path, bp_series series, bp_error *error) {
    if (!drawn->pyramid) return bp_drawn_open(drawn, path, series, error);
    return bp_pyramid_update(drawn->pyramid, error);
}

/* All that the log has now. */
static bp_status take(showing *s, uint64_t *n_taken, bp_error *error) {
    bp_status status = BP_OK;
    uint64_t n = RECORDS_AT_ONCE;
    for (*n_taken = 0; n == RECORDS_AT_ONCE && status == BP_OK; *n_taken += n)
        status = bp_replay_take(&s->replay, RECORDS_AT_ONCE, &n, error);
    if (status == BP_OK) status = bring_up(&s->loss, s->path, (bp_series)BP_Q_LOSS, error);
    if (status == BP_OK)
        status = bring_up(&s->validation, s->path, (bp_series)BP_Q_VALIDATION_LOSS, error);
    const bp_series series = series_to_show(s);
    if (status == BP_OK && series != BP_N_SERIES)
        status = bring_up(&s->map, s->path, series, error);
    return status;
}

static bp_status no_such_series(const showing *s, bp_error *error) {
    char bytes[1500];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    for (int i = 0; i < BP_N_SERIES; i++)
        if (bp_series_is_of_layers((bp_series)i) &&
            bp_series_is_in((bp_series)i, s->replay.columns))
            bp_text_add(&text, "%s%s", text.length ? ", " : "", bp_series_name((bp_series)i));
    return bp_fail(error, BP_ERROR_ARGUMENT, "%s: nothing of %s was measured; there is %s", s->path,
                   bp_series_name(s->series), text.length ? bytes : "nothing of any layer");
}

/* --- pictures -----------------------------------------------------------------------------------
 */

/* While a run goes on its axis ends at one of a few steps, so that a picture grows to the right
 * instead of changing everywhere. */
static int64_t round_up(int64_t last) {
    int64_t grain = 1;
    while (last / grain >= 8) grain *= 2;
    return last / grain < INT64_MAX / grain - 1 ? (last / grain + 1) * grain - 1 : last;
}

static void set_axis(const showing *s, bp_chart *chart, bool grows) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(s->replay.diagnosis, &overview);
    chart->first = s->first >= 0 ? s->first : overview.first_step > 0 ? overview.first_step : 0;
    chart->last = s->last;
    if (s->last >= 0) return;
    chart->last = grows ? round_up(overview.last_step) : overview.last_step;
    if (chart->last < chart->first) chart->last = chart->first;
}

static void set_size(const showing *s, bp_chart *chart, int *lines) {
    int width = BP_REPORT_WIDTH, height = HEIGHT + 1;
    (void)bp_screen_size(&width, &height);
    chart->width = s->given->width ? (int)s->given->width : width < 60 ? 60 : width;
    if (chart->width > 500) chart->width = 500;
    *lines = s->given->height ? (int)s->given->height : height - 1; /* a prompt will follow */
}

/* Of a locale that is not UTF-8; what names have of it is shown by question marks. */
static void make_ascii(char *text) {
    static const struct {
        uint32_t code;
        char ascii;
    } known[] = {{0x2013, '-'}, {0x2014, '-'},  {0xB7, '|'},   {0x2026, '~'}, {0xD7, 'x'},
                 {0x2514, '`'}, {0x2019, '\''}, {0x2192, '>'}, {0x2212, '-'}};
    char *to = text;
    for (size_t left = strlen(text); left > 0;) {
        if ((unsigned char)*text < 0x80) { /* and the sequences of colours */
            *to++ = *text++;
            left--;
            continue;
        }
        const bp_glyph glyph = bp_glyph_next(text, left);
        *to = '?';
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (known[i].code == glyph.code) *to = known[i].ascii;
        to++;
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    *to = '\0';
}

/* *text is released with free(). */
static bp_status draw(showing *s, char **text, bool grows, bp_error *error) {
    size_t n_bytes = 0;
    bp_report_run run = bp_replay_report(&s->replay);
    bp_look look = {.run = &run,
                    .map = s->map.pyramid ? &s->map : NULL,
                    .loss = &s->loss,
                    .validation = &s->validation,
                    .largest = strcmp(s->given->plane, "max") == 0};
    bp_chart chart = s->how;
    *text = NULL;
    chart.out = open_memstream(text, &n_bytes);
    if (!chart.out) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
    set_axis(s, &chart, grows);
    set_size(s, &chart, &look.lines);
    bp_status status = bp_look_text(&chart, &look, error);
    if (fclose(chart.out) != 0 && status == BP_OK)
        status = bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
    if (status == BP_OK && chart.characters == BP_CHARACTERS_ASCII) make_ascii(*text);
    if (status != BP_OK) free(*text);
    return status;
}

static bp_status print(showing *s, bp_error *error) {
    char *text = NULL;
    const bp_status status = draw(s, &text, false, error);
    if (status != BP_OK) return status;
    fputs(text, stdout);
    free(text);
    return BP_OK;
}

/* --- while it goes on ---------------------------------------------------------------------------
 */

static bool has_ended(const showing *s) {
    return bp_runlog_ranks_end(s->replay.logs) != BP_RUN_OPEN;
}

/* On a terminal. *interrupted: by the user. */
static bp_status follow_on_screen(showing *s, bool *interrupted, bp_error *error) {
    bp_screen screen;
    bp_status status = BP_OK;
    bp_screen_begin(&screen);
    while (status == BP_OK) {
        char *text = NULL;
        uint64_t n_taken;
        status = draw(s, &text, true, error);
        if (status != BP_OK) break;
        bp_screen_put(&screen, text);
        *interrupted = !bp_screen_wait(&screen, SECONDS_BETWEEN);
        if (*interrupted || ferror(stdout)) break;
        status = take(s, &n_taken, error);
        if (has_ended(s)) break;
    }
    bp_screen_end(&screen);
    return status;
}

/* Findings as they were told: what is new is told again. */
typedef struct told {
    bool open[BP_N_PROBLEMS];
    int64_t since[BP_N_PROBLEMS];
} told;

static void tell(showing *s, told *before) {
    bp_report_run run = bp_replay_report(&s->replay);
    bp_diagnosis_overview overview;
    bp_findings findings;
    bp_diagnosis_overview_of(run.diagnosis, &overview);
    bp_findings_choose(&findings, run.diagnosis, run.model, NULL);
    for (uint32_t i = 0; i < findings.n; i++) {
        const bp_finding *finding = &findings.list[i];
        const int problem = (int)finding->problem;
        const bool known = before->since[problem] == finding->since_step + 1;
        if (known && before->open[problem] == finding->open) continue;
        before->since[problem] = finding->since_step + 1; /* 0: never told */
        before->open[problem] = finding->open;
        printf("step %" PRId64 ": %s", overview.last_step, finding->open ? "" : "over: ");
        bp_report_headline(stdout, &(bp_report_style){s->how.depth != BP_COLOURS_NONE, 10000},
                           finding);
        fflush(stdout);
    }
}

static bp_status follow_in_lines(showing *s, bp_error *error) {
    const struct timespec pause = {0, (long)(SECONDS_BETWEEN * 1e9)};
    told before = {0};
    bp_status status = BP_OK;
    for (;;) {
        uint64_t n_taken;
        tell(s, &before);
        if (has_ended(s) || status != BP_OK || ferror(stdout)) return status;
        nanosleep(&pause, NULL);
        status = take(s, &n_taken, error);
    }
}

/* --- the command
 * ----------------------------------------------------------------------------------
 */

static bp_status begin(showing *s, bp_error *error) {
    uint64_t n_taken;
    if (access(s->path, F_OK) == 0 && !bp_path_is_folder(s->path))
        return bp_fail(error, BP_ERROR_ARGUMENT, "%s is no run folder but a file", s->path);
    const bp_status status = bp_replay_begin(&s->replay, s->path, error);
    return status == BP_OK ? take(s, &n_taken, error) : status;
}

static int show(showing *s) {
    bp_error error = {.status = BP_OK};
    bool interrupted = false;
    bp_status status = begin(s, &error);
    const bool follows = s->given->follow && status == BP_OK && !has_ended(s);
    if (follows && isatty(STDOUT_FILENO))
        status = follow_on_screen(s, &interrupted, &error);
    else if (follows)
        status = follow_in_lines(s, &error);
    if (status == BP_OK && s->series != BP_N_SERIES && !s->map.pyramid)
        status = no_such_series(s, &error);
    if (status == BP_OK) status = print(s, &error);
    if (status != BP_OK) bp_say_error(s->path, &error);
    return status != BP_OK ? BP_EXIT_FAILED : interrupted ? BP_EXIT_INTERRUPTED : BP_EXIT_GOOD;
}

static int run(int argc, char **argv) {
    show_options given = {.common = BP_COMMON_DEFAULTS, .plane = "mean", .colours = "auto"};
    bp_words paths;
    int code = bp_options_parse(&bp_command_show, argc, argv, &given, &paths);
    if (code >= 0) return code;
    showing s = {.given = &given, .path = paths.items[0]};
    code = read_series(&s);
    if (code < 0) code = read_steps(&s);
    if (code >= 0) return code;
    s.how.depth = depth_of(&s, bp_style_of(stdout, &given.common).colour);
    s.how.characters = characters_of();
    code = show(&s);
    bp_drawn_close(&s.map);
    bp_drawn_close(&s.loss);
    bp_drawn_close(&s.validation);
    bp_replay_close(&s.replay);
    return code;
}

const bp_command bp_command_show = {
    .name = "show",
    .summary = "a run as a picture in the terminal, also while it goes on",
    .arguments = "RUN",
    .description = "Draws the layers of a run over its steps as a heat map of characters, the "
                   "losses beneath it, and the findings with their numbers at the steps and layers "
                   "that they are about: for a look over ssh. NaN is N, infinite I, zero 0, and "
                   "what was not measured is blank; without colours the height of a bar tells.",
    .exits = "0 shown, 2 could not, 130 interrupted",
    .options = options,
    .examples = examples,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
