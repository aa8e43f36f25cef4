/* SPDX-License-Identifier: Apache-2.0 */
#include "report/look.h"
#include "report/curve_text.h"
#include "report/map_text.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MIN_LINES = 3, MIN_CURVE = 3, MAX_CURVE = 8, MAX_HEADLINES = 8, SMALL = 24 };
#define MAX_CELLS ((uint32_t)1 << 20)
#define MARGIN 10 /* of a curve without a map above it */

static bp_status view(bp_drawn *drawn, const bp_chart *chart, uint32_t n_columns, bp_error *error) {
    return bp_drawn_view(drawn, chart->first, chart->last, n_columns, error);
}

static bool has_values(const bp_drawn *drawn) {
    return drawn && drawn->pyramid && bp_pyramid_last_step(drawn->pyramid) >= 0;
}

static bp_status put_map(bp_chart *chart, const bp_look *look, const bp_findings *findings,
                         int lines, bp_error *error) {
    bp_map map = {.series = look->map->series,
                  .largest = look->largest,
                  .model = look->run->model,
                  .findings = findings};
    /* Twice as fine as the picture, so that its columns begin where they should. */
    const uint32_t wanted = 2 * (uint32_t)chart->width;
    const uint32_t most = MAX_CELLS / (bp_model_n_layers(look->run->model) + 1) + 1;
    const bp_status status = view(look->map, chart, wanted < most ? wanted : most, error);
    if (status != BP_OK) return status;
    map.view = &look->map->view;
    map.lines = lines - bp_map_text_head(&map);
    if (map.lines < MIN_LINES) map.lines = MIN_LINES;
    return bp_map_text(chart, &map, error);
}

static bp_status put_curve(bp_chart *chart, const bp_look *look, int lines, bp_error *error) {
    bp_curve curve = {.loss = &look->loss->view, .lines = lines};
    const uint32_t n_columns = 4 * (uint32_t)chart->width;
    bp_status status = view(look->loss, chart, n_columns, error);
    if (status == BP_OK && has_values(look->validation)) {
        status = view(look->validation, chart, n_columns, error);
        curve.validation = &look->validation->view;
    }
    return status == BP_OK ? bp_curve_text(chart, &curve, error) : status;
}

bp_status bp_look_picture(bp_chart *chart, const bp_look *look, const bp_findings *findings,
                          bp_error *error) {
    bp_status status = BP_OK;
    int curve = look->lines / 6;
    if (curve < MIN_CURVE) curve = MIN_CURVE;
    if (curve > MAX_CURVE) curve = MAX_CURVE;
    chart->margin = MARGIN;
    chart->columns = chart->width - MARGIN;
    if (!has_values(look->loss)) curve = -1; /* nor its legend */
    if (look->map) status = put_map(chart, look, findings, look->lines - curve - 2, error);
    if (status == BP_OK) bp_chart_axis(chart);
    if (status == BP_OK && curve > 0) status = put_curve(chart, look, curve, error);
    return status;
}

/* --- with words ---------------------------------------------------------------------------------
 */

static void put_overview(const bp_chart *chart, const bp_look *look, const bp_findings *findings) {
    const bp_report_style style = {chart->depth != BP_COLOURS_NONE, chart->width};
    bp_report_run run = *look->run;
    run.watching = NULL; /* a picture has little room for what it cost */
    bp_report_overview(chart->out, &style, &run, findings);
    if (look->lines >= SMALL) fputc('\n', chart->out);
}

void bp_look_headlines(const bp_chart *chart, const bp_findings *findings) {
    const bool colour = chart->depth != BP_COLOURS_NONE;
    for (uint32_t i = 0; i < findings->n && i < MAX_HEADLINES; i++) {
        char number[12];
        const uint32_t root = bp_findings_number(findings, i);
        fprintf(chart->out, "%s ", root ? bp_chart_number(chart, number, root) : "  └");
        bp_report_headline(chart->out, &(bp_report_style){colour, chart->width - (root ? 3 : 4)},
                           &findings->list[i]);
    }
    if (findings->n > MAX_HEADLINES)
        fprintf(chart->out, "and %" PRIu32 " more\n", findings->n - MAX_HEADLINES);
}

static void put_findings(const bp_chart *chart, const bp_look *look, const bp_findings *findings) {
    bp_look_headlines(chart, findings);
    if (findings->n > 0) {
        fputs("more: backprobe check ", chart->out);
        bp_report_escaped(chart->out, look->run->name);
        fputc('\n', chart->out);
    }
}

static int lines_of(const char *text) {
    int lines = 0;
    for (; *text; text++) lines += *text == '\n';
    return lines;
}

/* What stands above and below is written first: what they leave of the lines is the picture's. */
bp_status bp_look_text(bp_chart *chart, const bp_look *look, bp_error *error) {
    bp_findings findings;
    bp_findings_choose(&findings, look->run->diagnosis, look->run->model, look->run->choice);
    char *words[2] = {NULL, NULL};
    int lines = look->lines;
    bp_status status = BP_OK;
    for (int part = 0; part < 2 && status == BP_OK; part++) {
        size_t n_bytes = 0;
        bp_chart beside = *chart;
        beside.out = open_memstream(&words[part], &n_bytes);
        if (beside.out) (part == 0 ? put_overview : put_findings)(&beside, look, &findings);
        if (!beside.out || fclose(beside.out) != 0)
            status = bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
        else
            lines -= lines_of(words[part]);
    }
    if (status == BP_OK) {
        bp_look picture = *look;
        picture.lines = lines;
        fputs(words[0], chart->out);
        status = bp_look_picture(chart, &picture, &findings, error);
        if (status == BP_OK) fputs(words[1], chart->out);
    }
    free(words[0]);
    free(words[1]);
    return status;
}
