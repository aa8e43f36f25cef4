/* SPDX-License-Identifier: Apache-2.0 */
#include "report/html.h"
#include "report/drawn.h"
#include "report/pack.h"
#include "report/page_html.h"
#include "report/run_document.h"
#include "report/tile.h"
#include "runlog/histograms.h"

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
enum { N_WANTED = sizeof wanted / sizeof *wanted };

/* Of which layers there are histograms. */
typedef enum reach { NONE, OF_FINDINGS, ALL } reach;

/* From the finest: the first that fits is taken. Columns are not always fewer: those of a run that
 * is hardly longer hold several steps each, and pack worse than the steps. */
typedef struct level {
    uint32_t columns;
    size_t n_series; /* of those that are wanted */
    reach histograms;
    uint32_t histogram_columns;
} level;
static const level levels[] = {{1600, N_WANTED, ALL, 200},
                               {1200, N_WANTED, ALL, 160},
                               {800, N_WANTED, ALL, 120},
                               {600, N_WANTED, ALL, 100},
                               {400, N_WANTED, ALL, 80},
                               {600, N_WANTED, OF_FINDINGS, 80},
                               {400, N_WANTED, OF_FINDINGS, 80},
                               {600, N_WANTED, NONE, 0},
                               {400, N_WANTED, NONE, 0},
                               {300, N_WANTED, NONE, 0},
                               {200, N_WANTED, NONE, 0},
                               {200, 10, NONE, 0},
                               {200, 7, NONE, 0},
                               {100, 7, NONE, 0},
                               {100, 4, NONE, 0},
                               {50, 4, NONE, 0},
                               {50, 1, NONE, 0}};
#define N_LEVELS (sizeof levels / sizeof *levels)

/* A run with what is drawn of it. */
typedef struct entry {
    const bp_html_run *run;
    int64_t first, last;       /* steps; last -1: there is none */
    bp_drawn drawn[N_WANTED];  /* pyramid NULL: the run does not have it */
    bp_histograms *histograms; /* NULL: there are none */
    uint8_t *is_found;         /* [n_layers + 1]: a finding names the layer */
} entry;

typedef struct job {
    const bp_html_options *options;
    entry *entries;
    uint32_t n_entries, n_opened;
    const level *level;
    FILE *out;
    uint64_t most_steps; /* in one column */
    uint32_t n_wide;     /* tiles of layers that were written */
    bool is_full;
} job;

/* --- what there is ------------------------------------------------------------------------------
 */

static bp_status open_histograms(entry *e, bp_error *error) {
    const bp_report_run *run = &e->run->report;
    const uint32_t n_layers = bp_model_n_layers(run->model);
    bp_findings findings;
    e->is_found = calloc((size_t)n_layers + 1, 1);
    if (!e->is_found) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the report");
    bp_findings_choose(&findings, run->diagnosis, run->model, run->choice);
    for (uint32_t f = 0; f < findings.n; f++)
        for (uint32_t i = 0; i < findings.list[f].n_layers; i++)
            if (findings.list[f].layers[i] <= n_layers) e->is_found[findings.list[f].layers[i]] = 1;
    return bp_histograms_open(&e->histograms, e->run->folder, NULL, NULL, error);
}

static bp_status open_entry(job *j, entry *e, bp_error *error) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(e->run->report.diagnosis, &overview);
    e->first = overview.first_step;
    e->last = overview.last_step;
    if (e->last >= 0 && e->run->histogram_roles) {
        const bp_status status = open_histograms(e, error);
        if (status != BP_OK) return status;
    }
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
    bp_histograms_close(e->histograms);
    free(e->is_found);
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

/* Of layers there may be a thousand: no view of them is held. */
static bp_status draw_layers(job *j, entry *e, bp_drawn *drawn, uint8_t **bytes, size_t *n_bytes,
                             bp_error *error) {
    j->n_wide++;
    return bp_tile_draw(bytes, n_bytes, drawn->pyramid, e->first, e->last, j->level->columns,
                        error);
}

/* Of losses there is one at every step: they tell how many steps share a column. */
static bp_status draw_network(job *j, entry *e, bp_drawn *drawn, uint8_t **bytes, size_t *n_bytes,
                              bp_error *error) {
    const bp_status status = bp_drawn_view(drawn, e->first, e->last, j->level->columns, error);
    if (status != BP_OK) return status;
    const uint64_t steps = bp_drawn_most_steps(&drawn->view);
    if (steps > j->most_steps) j->most_steps = steps;
    return bp_tile_encode(bytes, n_bytes, &drawn->view, bp_series_is_log16(drawn->series),
                          bp_pyramid_last_step(drawn->pyramid), 0, error);
}

static bp_status put_tile(job *j, entry *e, size_t index, bool *any, bp_error *error) {
    bp_drawn *drawn = &e->drawn[index];
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    char *packed = NULL;
    bp_status status = bp_series_is_of_layers(drawn->series)
                           ? draw_layers(j, e, drawn, &bytes, &n_bytes, error)
                           : draw_network(j, e, drawn, &bytes, &n_bytes, error);
    if (status == BP_OK) status = bp_pack(&packed, bytes, n_bytes, error);
    free(bytes);
    if (status != BP_OK) return status;
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

/* "7":"…", where the layer has one. */
static bp_status put_histogram(job *j, entry *e, unsigned role, uint32_t layer, bool *any,
                               bp_error *error) {
    bp_view view = {0};
    int32_t first_octave = 0;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    char *packed = NULL;
    bp_status status = bp_histograms_view(e->histograms, &view, &first_octave, role, layer,
                                          e->first, e->last, j->level->histogram_columns, error);
    if (status == BP_OK && view.n_rows > 0)
        status = bp_tile_encode(&bytes, &n_bytes, &view, true,
                                bp_histograms_last_step(e->histograms, role), first_octave, error);
    bp_view_free(&view);
    if (status == BP_OK && bytes) status = bp_pack(&packed, bytes, n_bytes, error);
    free(bytes);
    if (packed) fprintf(j->out, "%s\"%" PRIu32 "\":\"%s\"", *any ? "," : "", layer, packed);
    *any = *any || packed;
    free(packed);
    return status;
}

static bp_status put_role(job *j, entry *e, unsigned role, bool is_first, bp_error *error) {
    const uint32_t n_layers = bp_model_n_layers(e->run->report.model);
    bool any = false;
    fprintf(j->out, "%s\"%s\":{", is_first ? "" : ",", bp_histogram_role_name(role));
    for (uint32_t layer = 0; layer <= n_layers && is_within(j); layer++) {
        if (j->level->histograms == OF_FINDINGS && !e->is_found[layer]) continue;
        const bp_status status = put_histogram(j, e, role, layer, &any, error);
        if (status != BP_OK) return status;
    }
    fputc('}', j->out);
    return BP_OK;
}

/* The roles that there are, and that have a name. */
static uint32_t roles_of(const job *j, const entry *e) {
    uint32_t roles = 0;
    for (unsigned role = 0; e->histograms && j->level->histograms != NONE && role < 32; role++)
        if (e->run->histogram_roles >> role & 1u && bp_histogram_role_name(role))
            roles |= UINT32_C(1) << role;
    return roles;
}

static bp_status put_histograms(job *j, entry *e, bp_error *error) {
    const uint32_t roles = roles_of(j, e);
    bool is_first = true;
    fputs(",\"histograms\":{", j->out);
    for (unsigned role = 0; role < 32; role++) {
        if (!(roles >> role & 1u)) continue;
        const bp_status status = put_role(j, e, role, is_first, error);
        if (status != BP_OK) return status;
        is_first = false;
    }
    fputs("}}", j->out);
    return BP_OK;
}

static bp_status put_run(job *j, uint32_t index, bp_error *error) {
    entry *e = &j->entries[index];
    char id[16], *document = NULL;
    snprintf(id, sizeof id, "%u", index + 1);
    const bp_run_facts facts = {.id = id,
                                .read_fraction = 1,
                                .columns = e->run->columns,
                                .view_columns = j->level->columns,
                                .histogram_roles = roles_of(j, e)};
    bp_status status = bp_run_document(&document, &e->run->report, &facts, error);
    if (status != BP_OK) return status;
    fputs(index > 0 ? ",{\"run\":" : "{\"run\":", j->out);
    put_json(j->out, document);
    free(document);
    fputc(',', j->out);
    status = put_tiles(j, e, error);
    return status == BP_OK ? put_histograms(j, e, error) : status;
}

static bool any_has_series(const job *j, size_t index) {
    for (uint32_t r = 0; r < j->n_entries; r++)
        if (j->entries[r].drawn[index].pyramid) return true;
    return false;
}

static bool any_has_histograms(const job *j) {
    for (uint32_t r = 0; r < j->n_entries; r++)
        if (j->entries[r].histograms) return true;
    return false;
}

/* What of the runs is not in the file, as clauses for people. */
static void say_note(const job *j, char *note, size_t capacity) {
    bp_text text;
    bp_text_init(&text, note, capacity);
    if (j->most_steps > 1)
        bp_text_add(&text,
                    "up to %" PRIu64 " steps share a column, as their mean, smallest and largest",
                    j->most_steps);
    if (j->level->histograms != ALL && any_has_histograms(j))
        bp_text_add(&text, "%s%s", note[0] ? "; " : "",
                    j->level->histograms == NONE ? "without histograms"
                                                 : "histograms only of layers that findings name");
    const char *before = note[0] ? "; without " : "without ";
    for (size_t i = j->level->n_series; i < N_WANTED; i++) {
        if (!any_has_series(j, i)) continue;
        bp_text_add(&text, "%s%s", before, wanted[i]);
        before = ", ";
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
    j->n_wide = 0;
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

/* Columns of all tiles of layers that a level has. */
static double width_of(const job *j, const level *l) {
    uint32_t n = 0;
    for (uint32_t r = 0; r < j->n_entries; r++)
        for (size_t i = 0; i < l->n_series; i++) {
            const bp_drawn *drawn = &j->entries[r].drawn[i];
            if (drawn->pyramid && bp_series_is_of_layers(drawn->series)) n++;
        }
    return (double)n * l->columns;
}

/* Of a network of a thousand layers the finest levels are far too large: a level is not tried where
 * what the last one wrote before it was full says that it would be half as large again as it may.
 */
static bool is_hopeless(const job *j, const level *next) {
    const double written = (double)j->n_wide * j->level->columns;
    return j->n_wide > 0 && width_of(j, next) > 1.5 * written;
}

static bp_status fit(job *j, bp_html *html, bp_error *error) {
    for (size_t i = 0; i < N_LEVELS; i++) {
        if (i > 0 && is_hopeless(j, &levels[i])) continue;
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
