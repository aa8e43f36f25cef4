/* SPDX-License-Identifier: Apache-2.0 */
#include "report/look.h"
#include "report/markdown.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { LINES = 34, MAX_ROWS = 24, COLUMNS = 200 };

/* --- the picture --------------------------------------------------------------------------------
 */

/* NULL where the run does not have it. */
static bp_status open_if_there(bp_drawn *drawn, bp_drawn **there, const bp_markdown_pictures *p,
                               bp_series series, bp_error *error) {
    *drawn = (bp_drawn){.pyramid = NULL};
    *there = NULL;
    if (series == BP_N_SERIES || !bp_series_is_in(series, p->columns)) return BP_OK;
    *there = drawn;
    return bp_drawn_open(drawn, p->folder, series, error);
}

static bp_status draw(FILE *out, const bp_look *look, bp_error *error) {
    bp_findings findings;
    bp_diagnosis_overview overview;
    bp_findings_choose(&findings, look->run->diagnosis, look->run->model, look->run->choice);
    bp_diagnosis_overview_of(look->run->diagnosis, &overview);
    bp_chart chart = {.out = out,
                      .depth = BP_COLOURS_NONE,
                      .characters = BP_CHARACTERS_ALL,
                      .width = BP_REPORT_WIDTH,
                      .first = overview.first_step,
                      .last = overview.last_step};
    const bp_status status = bp_look_picture(&chart, look, &findings, error);
    if (status == BP_OK) bp_look_headlines(&chart, &findings);
    return status;
}

static bp_status put_picture(FILE *out, const bp_look *look, bp_error *error) {
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *picture = open_memstream(&text, &n_bytes);
    bp_status status = picture ? draw(picture, look, error) : BP_OK;
    if (!picture || fclose(picture) != 0)
        status = bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
    if (status == BP_OK) bp_markdown_fenced(out, text);
    free(text);
    return status;
}

static bp_status put_look(FILE *out, const bp_markdown_pictures *p, bp_error *error) {
    bp_drawn map = {0}, loss = {0}, validation = {0};
    bp_look look = {.run = p->run, .lines = LINES};
    bp_status status = open_if_there(&map, &look.map, p, p->series, error);
    if (status == BP_OK) status = open_if_there(&loss, &look.loss, p, (bp_series)BP_Q_LOSS, error);
    if (status == BP_OK)
        status =
            open_if_there(&validation, &look.validation, p, (bp_series)BP_Q_VALIDATION_LOSS, error);
    if (status == BP_OK && (look.map || look.loss)) status = put_picture(out, &look, error);
    bp_drawn_close(&map);
    bp_drawn_close(&loss);
    bp_drawn_close(&validation);
    return status;
}

/* --- the table ----------------------------------------------------------------------------------
 */

/* A layer's first and last values; NaN without any. */
typedef struct ends {
    double first, last;
} ends;

static ends ends_of(const bp_drawn *drawn, uint32_t row) {
    ends found = {NAN, NAN};
    const bp_view *view = &drawn->view;
    bool any = false;
    for (uint32_t c = 0; c < view->n_columns && row < view->n_rows; c++) {
        const bp_view_cell *cell = &view->cells[(size_t)c * view->n_rows + row];
        if (cell->count == 0) continue;
        if (!any) found.first = cell->count == 1 ? cell->last : cell->mean;
        found.last = cell->last;
        any = true;
    }
    return found;
}

typedef struct column {
    bp_series series;
    const char *title;
    bool both; /* first and last, else the last alone */
} column;
static const column columns[] = {{(bp_series)BP_Q_GRADIENT_RMS, "gradient", true},
                                 {BP_SERIES_GAIN, "gain", true},
                                 {BP_SERIES_UPDATE_RATIO, "update / weights", false}};
#define N_COLUMNS (sizeof columns / sizeof *columns)

static bp_status open_columns(bp_drawn drawn[N_COLUMNS], const bp_markdown_pictures *p,
                              bp_error *error) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(p->run->diagnosis, &overview);
    for (size_t i = 0; i < N_COLUMNS; i++) {
        bp_drawn *there;
        bp_status status = open_if_there(&drawn[i], &there, p, columns[i].series, error);
        if (status == BP_OK && there)
            status = bp_drawn_view(there, overview.first_step, overview.last_step, COLUMNS, error);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

static void put_row(FILE *out, const bp_model *model, const bp_drawn drawn[N_COLUMNS],
                    uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    fprintf(out, "| %" PRIu32 " | ", id);
    bp_markdown_name(out, layer && layer->name ? layer->name : "?", true);
    for (size_t i = 0; i < N_COLUMNS; i++) {
        const ends found = ends_of(&drawn[i], id);
        if (columns[i].both) bp_markdown_number(out, found.first);
        bp_markdown_number(out, found.last);
    }
    fputs(" |\n", out);
}

/* Folded, for issues are read on the way to something else. */
static void put_table(FILE *out, const bp_model *model, const bp_drawn drawn[N_COLUMNS]) {
    const uint32_t n = bp_model_n_layers(model), shown = n < MAX_ROWS ? n : MAX_ROWS;
    fprintf(out, "\n<details><summary>Layers: gradient and gain, first and last</summary>\n\n"
                 "| | layer");
    for (size_t i = 0; i < N_COLUMNS; i++)
        fprintf(out, columns[i].both ? " | %s, first | last" : " | %s", columns[i].title);
    fputs(" |\n| --: | :--", out);
    for (size_t i = 0; i < N_COLUMNS; i++) fputs(columns[i].both ? " | --: | --:" : " | --:", out);
    fputs(" |\n", out);
    for (uint32_t i = 0; i < shown; i++) /* evenly, with the first and the last */
        put_row(out, model, drawn, shown > 1 ? 1 + (n - 1) * i / (shown - 1) : 1);
    if (shown < n) fprintf(out, "\n%" PRIu32 " of %" PRIu32 " layers are shown.\n", shown, n);
    fputs("\n</details>\n", out);
}

bp_status bp_markdown_put_pictures(FILE *out, const bp_markdown_pictures *pictures,
                                   bp_error *error) {
    bp_drawn drawn[N_COLUMNS] = {{0}};
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(pictures->run->diagnosis, &overview);
    if (overview.n_records == 0) return BP_OK;
    bp_status status = put_look(out, pictures, error);
    if (status == BP_OK) status = open_columns(drawn, pictures, error);
    if (status == BP_OK) put_table(out, pictures->run->model, drawn);
    for (size_t i = 0; i < N_COLUMNS; i++) bp_drawn_close(&drawn[i]);
    return status;
}
