/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html.h"
#include "report/drawn.h"
#include "report/pack.h"
#include "report/page_html.h"
#include "report/run_document.h"
#include "report/tile.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is drawn, the least dispensable first. */
static const char *const wanted[] = {
    "loss",
    "gradient_rms",
    "gain",
    "non_finite",
    "error_norm",
    "gradient_norm",
    "validation_loss",
    "update_ratio",
    "learning_rate",
    "train_accuracy",
    "dead_fraction",
    "validation_accuracy",
    "saturated_fraction",
    "activation_rms",
    "weight_rms",
};
#define N_WANTED (sizeof wanted / sizeof *wanted)

/* From the finest: the first that fits is taken. */
typedef struct level {
    uint32_t columns;
    size_t n_series; /* of those that are wanted */
} level;
static const level levels[] = {{1600, N_WANTED}, {1200, N_WANTED}, {800, N_WANTED}, {600, N_WANTED},
                               {400, N_WANTED},  {300, N_WANTED},  {200, N_WANTED}, {200, 10},
                               {200, 7},         {100, 7},         {100, 4},        {50, 4},
                               {50, 1}};
#define N_LEVELS (sizeof levels / sizeof *levels)

/* A run with what is drawn of it. */
typedef struct entry {
    const bp_html_run *run;
    int64_t first, last;      /* steps; last -1: there is none */
    bp_drawn drawn[N_WANTED]; /* pyramid NULL: the run does not have it */
} entry;

typedef struct job {
    const bp_html_options *options;
    entry *entries;
    uint32_t n_entries, n_opened;
    const level *level;
    FILE *out;
    uint64_t most_steps; /* in one column */
    bool is_full;
} job;

/* --- what there is ------------------------------------------------------------------------------
 */

static bp_status open_entry(job *j, entry *e, bp_error *error) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(e->run->report.diagnosis, &overview);
    e->first = overview.first_step;
    e->last = overview.last_step;
    for (size_t i = 0; i < N_WANTED; i++) {
        bp_series series;
        if (e->last < 0 || !bp_series_find(&series, wanted[i]) ||
            !bp_series_is_in(series, e->run->columns))
            continue;
        const bp_status status = bp_drawn_open(&e->drawn[i], e->run->folder, series, error);
        if (status != BP_OK) return status;
        const double done = (double)(j->n_opened * N_WANTED + i + 1);
        if (j->options->told)
            j->options->told(j->options->context, done / (double)(j->n_entries * N_WANTED));
    }
    j->n_opened++;
    return BP_OK;
}

static void close_entry(entry *e) {
    for (size_t i = 0; i < N_WANTED; i++) bp_drawn_close(&e->drawn[i]);
}

/* --- the data -----------------------------------------------------------------------------------
 */

/* Inside a script element a "<" could end it. */
static void put_json(FILE *out, const char *json) {
    for (; *json && *json != '\n'; json++)
        if (*json == '<')
            fputs("\\u003c", out);
        else
            fputc(*json, out);
}

static bool is_within(job *j) {
    const off_t written = ftello(j->out);
    j->is_full = written < 0 || (uint64_t)written > j->options->max_bytes;
    return !j->is_full;
}

static bp_status put_tile(job *j, entry *e, size_t index, bool *any, bp_error *error) {
    bp_drawn *drawn = &e->drawn[index];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    char *packed = NULL;
    bp_status status = bp_drawn_view(drawn, e->first, e->last, j->level->columns, error);
    if (status == BP_OK)
        status = bp_tile_encode(&bytes, &n_bytes, &drawn->view, bp_series_is_log16(drawn->series),
                                bp_pyramid_last_step(drawn->pyramid), 0, error);
    if (status == BP_OK) status = bp_pack(&packed, bytes, n_bytes, error);
    free(bytes);
    if (status != BP_OK) return status;
    const uint64_t steps = bp_drawn_most_steps(&drawn->view);
    if (steps > j->most_steps) j->most_steps = steps;
    fprintf(j->out, "%s\"%s\":\"%s\"", *any ? "," : "", wanted[index], packed);
    *any = true;
    free(packed);
    return BP_OK;
}

static bp_status put_tiles(job *j, entry *e, bp_error *error) {
    bool any = false;
    fputs("\"tiles\":{", j->out);
    for (size_t i = 0; i < j->level->n_series && is_within(j); i++) {
        if (!e->drawn[i].pyramid) continue;
        const bp_status status = put_tile(j, e, i, &any, error);
        if (status != BP_OK) return status;
    }
    fputc('}', j->out);
    return BP_OK;
}

static bp_status put_run(job *j, uint32_t index, bp_error *error) {
    entry *e = &j->entries[index];
    char id[16], *document = NULL;
    snprintf(id, sizeof id, "%u", index + 1);
    const bp_run_facts facts = {.id = id,
                                .read_fraction = 1,
                                .columns = e->run->columns,
                                .view_columns = j->level->columns};
    bp_status status = bp_run_document(&document, &e->run->report, &facts, error);
    if (status != BP_OK) return status;
    fputs(index > 0 ? ",{\"run\":" : "{\"run\":", j->out);
    put_json(j->out, document);
    free(document);
    fputc(',', j->out);
    status = put_tiles(j, e, error);
    fputs(",\"histograms\":{}}", j->out);
    return status;
}

/* What of the runs is not in the file, as a clause for people. */
static void say_note(const job *j, char *note, size_t capacity) {
    bp_text text;
    bool any = false;
    bp_text_init(&text, note, capacity);
    if (j->most_steps > 1)
        bp_text_add(&text,
                    "up to %" PRIu64 " steps share a column, as their mean, smallest and largest",
                    j->most_steps);
    for (size_t i = j->level->n_series; i < N_WANTED; i++) {
        bool is_there = false;
        for (uint32_t r = 0; r < j->n_entries; r++)
            if (j->entries[r].drawn[i].pyramid) is_there = true;
        if (!is_there) continue;
        bp_text_add(&text, "%s%s",
                    any                 ? ", "
                    : j->most_steps > 1 ? "; without "
                                        : "without ",
                    wanted[i]);
        any = true;
    }
}

static bp_status put_data(job *j, char *note, size_t note_bytes, bp_error *error) {
    fputs("<script type=\"application/json\" id=\"backprobe-data\">"
          "{\"schema\":\"backprobe.page/1\",\"version\":\"" BP_VERSION "\",\"runs\":[",
          j->out);
    for (uint32_t r = 0; r < j->n_entries && is_within(j); r++) {
        const bp_status status = put_run(j, r, error);
        if (status != BP_OK) return status;
    }
    say_note(j, note, note_bytes);
    fprintf(j->out, "],\"note\":\"%s\"}</script>", note);
    return BP_OK;
}

/* --- the file -----------------------------------------------------------------------------------
 */

static bp_status put_page(job *j, bp_html *html, bp_error *error) {
    size_t n_bytes;
    const char *page = bp_page_html(&n_bytes), *marker = strstr(page, BP_PAGE_MARKER);
    if (!marker) return bp_fail(error, BP_ERROR_NOT_SUPPORTED, "the page takes no data");
    const size_t before = (size_t)(marker - page), mark = strlen(BP_PAGE_MARKER);
    fwrite(page, 1, before, j->out);
    const bp_status status = put_data(j, html->note, sizeof html->note, error);
    fwrite(marker + mark, 1, n_bytes - before - mark, j->out);
    if (status == BP_OK) (void)is_within(j);
    return status;
}

static bp_status try_level(job *j, bp_html *html, bp_error *error) {
    j->most_steps = 0;
    j->out = open_memstream(&html->text, &html->n_bytes);
    if (!j->out) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the report");
    bp_status status = put_page(j, html, error);
    const bool failed = ferror(j->out) != 0;
    if ((fclose(j->out) != 0 || failed) && status == BP_OK)
        status = bp_fail(error, BP_ERROR_MEMORY, "out of memory for the report");
    if (status != BP_OK || j->is_full) {
        free(html->text);
        html->text = NULL;
    }
    return status;
}

static bp_status fit(job *j, bp_html *html, bp_error *error) {
    for (size_t i = 0; i < N_LEVELS; i++) {
        j->level = &levels[i];
        const bp_status status = try_level(j, html, error);
        if (status != BP_OK || html->text) return status;
    }
    size_t n_bytes;
    (void)bp_page_html(&n_bytes);
    return bp_fail(error, BP_ERROR_LIMIT,
                   "the report cannot be as small as %" PRIu64 " bytes: the page alone has %zu",
                   j->options->max_bytes, n_bytes);
}

bp_status bp_html_make(bp_html *html, const bp_html_run *runs, uint32_t n_runs,
                       const bp_html_options *options, bp_error *error) {
    *html = (bp_html){0};
    if (!bp_page_is_whole())
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                       "this backprobe was built without its page: run tools/page.sh in the source "
                       "folder and build again");
    job j = {.options = options, .n_entries = n_runs};
    j.entries = calloc(n_runs, sizeof *j.entries);
    if (!j.entries) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the report");
    bp_status status = BP_OK;
    for (uint32_t r = 0; r < n_runs && status == BP_OK; r++) {
        j.entries[r].run = &runs[r];
        status = open_entry(&j, &j.entries[r], error);
    }
    if (status == BP_OK) status = fit(&j, html, error);
    for (uint32_t r = 0; r < n_runs; r++) close_entry(&j.entries[r]);
    free(j.entries);
    return status;
}

void bp_html_free(bp_html *html) {
    free(html->text);
    *html = (bp_html){0};
}
