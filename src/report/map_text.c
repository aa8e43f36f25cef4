/* SPDX-License-Identifier: Apache-2.0 */
#include "report/map_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 2, MIN_LABEL = 7, MAX_LABEL = 26, LEGEND_COLUMNS = 16 };
#define MIN_COLUMNS 8

/* What is drawn for a cell that is a letter: in the whole of a character, in its upper or lower
 * half. */
static const char *const letters[BP_N_GRID_KINDS] = {
    [BP_GRID_ZERO] = "0", [BP_GRID_INF] = "I", [BP_GRID_NAN] = "N"};
static const char *const upper_letters[BP_N_GRID_KINDS] = {
    [BP_GRID_ZERO] = "⁰", [BP_GRID_INF] = "ⁱ", [BP_GRID_NAN] = "ⁿ"};
static const char *const lower_letters[BP_N_GRID_KINDS] = {
    [BP_GRID_ZERO] = "₀", [BP_GRID_INF] = "ᵢ", [BP_GRID_NAN] = "ₙ"};

typedef struct drawing {
    bp_chart *chart;
    const bp_map *map;
    bp_grid grid;
    bool half;   /* two groups a line, in half blocks */
    int n_lines; /* of layers */
} drawing;

/* --- names ------------------------------------------------------------------------------------ */

static const char *name_of(const drawing *d, uint32_t row) {
    if (d->map->view->n_rows == 1) return "network";
    if (row == 0) return "input";
    const bp_layer *layer = bp_model_layer(d->map->model, row);
    return layer && layer->name ? layer->name : "";
}

/* Bytes of what both names begin with, up to a point. */
static size_t common_block(const char *a, size_t n_bytes, const char *b) {
    size_t block = 0;
    for (size_t i = 0; i < n_bytes && a[i] == b[i]; i++)
        if (a[i] == '.') block = i + 1;
    return block;
}

/* "12 trunk.3"; of several "12–15 trunk.*"; row 0 is the input. */
static void label_of(const drawing *d, bp_text *text, uint32_t first, uint32_t end) {
    const char *name = name_of(d, first);
    if (first == 0 && end == 1) {
        bp_text_add(text, "%s", name);
        return;
    }
    const int digits = snprintf(NULL, 0, "%" PRIu32, d->map->view->n_rows - 1);
    bp_text_add(text, "%*" PRIu32, end - first == 1 ? digits : 0, first);
    if (end - first == 1) {
        bp_text_add(text, " %s", name);
        return;
    }
    bp_text_add(text, "%s%" PRIu32, bp_chart_either(d->chart, "–", "-"), end - 1);
    size_t block = strlen(name);
    for (uint32_t row = first + 1; row < end; row++)
        block = common_block(name, block, name_of(d, row));
    if (block > 0) bp_text_add(text, " %.*s*", (int)block, name);
}

static void rows_of_line(const drawing *d, int line, uint32_t *first, uint32_t *end) {
    const uint32_t a_line = d->half ? 2 : 1;
    const uint32_t group = (uint32_t)line * a_line, behind = group + a_line;
    *first = bp_grid_start(&d->grid, group);
    *end = bp_grid_start(&d->grid, behind < d->grid.n_groups ? behind : d->grid.n_groups);
}

#define LABEL_BYTES 512

static int label_columns(const drawing *d) {
    int columns = MIN_LABEL;
    for (int line = 0; line < d->n_lines; line++) {
        uint32_t first, end;
        char bytes[LABEL_BYTES];
        bp_text text;
        bp_text_init(&text, bytes, sizeof bytes);
        rows_of_line(d, line, &first, &end);
        label_of(d, &text, first, end);
        const int wanted = bp_text_columns(bytes);
        if (wanted > columns) columns = wanted;
    }
    const int third = d->chart->width / 3;
    const int most = third < MAX_LABEL ? third : MAX_LABEL;
    return columns < most ? columns : most;
}

/* --- findings --------------------------------------------------------------------------------- */

static bool concerns(const bp_finding *finding, uint32_t first, uint32_t end) {
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (finding->layers[i] >= first && finding->layers[i] < end) return true;
    return false;
}

static uint32_t accent_of(const bp_chart *chart, bp_severity severity) {
    return bp_chart_accent(chart, severity == BP_ERROR ? 1 : severity == BP_WARNING ? 3 : 6);
}

/* The number of the first root that is about these layers: the worst come first. */
static void put_side(const drawing *d, uint32_t first, uint32_t end) {
    const bp_findings *findings = d->map->findings;
    for (uint32_t i = 0; findings && i < findings->n; i++) {
        const uint32_t root = bp_findings_number(findings, i);
        if (root == 0 || !concerns(&findings->list[i], first, end)) continue;
        char number[12];
        bp_chart_paint(d->chart,
                       (bp_paint){.ink = accent_of(d->chart, findings->list[i].severity)});
        fprintf(d->chart->out, "%s", bp_chart_number(d->chart, number, root));
        bp_chart_paint(d->chart, (bp_paint){0});
        fprintf(d->chart->out, "%*s", SIDE - bp_text_columns(number), "");
        return;
    }
    fprintf(d->chart->out, "%*s", SIDE, "");
}

/* A line of marks: what stands in each column; NULL: nothing. */
typedef struct mark {
    char text[12];
    bp_severity severity;
} mark;

static bool is_free(const mark *marks, int columns, int from, int n) {
    if (from < 0 || from + n > columns) return false;
    for (int i = 0; i < n; i++)
        if (marks[from + i].text[0]) return false;
    return true;
}

/* The number left of the arrow, or else right of it; where an arrow stands already, beside what
 * belongs to that one. A number that finds no room is left to the list of findings. */
static void place_mark(const drawing *d, mark *marks, uint32_t index) {
    const bp_finding *finding = &d->map->findings->list[index];
    const int columns = d->chart->columns, at = bp_chart_column(d->chart, finding->since_step);
    char number[12];
    const uint32_t root = bp_findings_number(d->map->findings, index);
    const int n = bp_text_columns(bp_chart_number(d->chart, number, root));
    if (at < 0 || root == 0) return;
    const bool arrow = is_free(marks, columns, at, 1);
    if (arrow)
        (void)snprintf(marks[at].text, sizeof marks[at].text, "%s",
                       bp_chart_either(d->chart, "▼", "v"));
    if (arrow) marks[at].severity = finding->severity;
    int from = at - n;
    if (!is_free(marks, columns, from, n))
        for (from = at + 1; from < columns && marks[from].text[0]; from++) {}
    if (!is_free(marks, columns, from, n)) return;
    memcpy(marks[from].text, number, sizeof number);
    marks[from].severity = finding->severity;
    for (int i = 1; i < n; i++) memcpy(marks[from + i].text, " ", 2); /* is behind the number */
}

static bp_status put_marks(const drawing *d, bp_error *error) {
    if (!d->map->findings || d->map->findings->n == 0) return BP_OK;
    bp_chart *chart = d->chart;
    mark *marks = calloc((size_t)chart->columns, sizeof *marks);
    if (!marks) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
    for (uint32_t i = 0; i < d->map->findings->n; i++) place_mark(d, marks, i);
    int last = chart->columns - 1;
    while (last >= 0 && !marks[last].text[0]) last--;
    fprintf(chart->out, "%*s", last < 0 ? 0 : chart->margin, "");
    for (int column = 0; column <= last; column++) {
        bp_chart_paint(chart, marks[column].text[0]
                                  ? (bp_paint){.ink = accent_of(chart, marks[column].severity)}
                                  : (bp_paint){0});
        fputs(marks[column].text[0] ? marks[column].text : " ", chart->out);
        column += marks[column].text[0] ? bp_text_columns(marks[column].text) - 1 : 0;
    }
    bp_chart_end_line(chart);
    free(marks);
    return BP_OK;
}

/* --- cells ------------------------------------------------------------------------------------ */

static const char *bar_of(const bp_chart *chart, double place) {
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const dense[] = {".", ":", "-", "=", "+", "*", "#", "@"};
    const int at = place >= 1 ? 7 : (int)(place * 8);
    return bp_chart_either(chart, bars[at], dense[at]);
}

static void put(bp_chart *chart, bp_paint paint, const char *text) {
    bp_chart_paint(chart, paint);
    fputs(text, chart->out);
}

static void put_whole(const drawing *d, const bp_grid_cell *cell) {
    bp_chart *chart = d->chart;
    const bp_colour_map map = d->grid.scale.map;
    switch (cell->kind) {
    case BP_GRID_VALUE:
        if (chart->depth == BP_COLOURS_NONE)
            put(chart, (bp_paint){0}, bar_of(chart, cell->place));
        else
            put(chart, (bp_paint){.ground = bp_chart_colour(chart, map, cell->place)}, " ");
        break;
    case BP_GRID_ZERO:
        put(chart,
            (bp_paint){.ink = bp_chart_contrast(chart, map, 0),
                       .ground = bp_chart_colour(chart, map, 0)},
            letters[cell->kind]);
        break;
    case BP_GRID_INF:
    case BP_GRID_NAN:
        put(chart, (bp_paint){.reverse = true, .bold = true}, letters[cell->kind]);
        break;
    default:
        put(chart, (bp_paint){0}, " ");
        break;
    }
}

/* A letter in one half of the character, on the colour of the other. */
static void put_half_letter(const drawing *d, const char *letter, const bp_grid_cell *other) {
    bp_paint paint = {.reverse = true, .bold = true};
    if (other->kind == BP_GRID_VALUE)
        paint = (bp_paint){.ink = bp_chart_contrast(d->chart, d->grid.scale.map, other->place),
                           .ground = bp_chart_colour(d->chart, d->grid.scale.map, other->place),
                           .bold = true};
    put(d->chart, paint, letter);
}

static void put_halves(const drawing *d, const bp_grid_cell *upper, const bp_grid_cell *lower) {
    const bool upper_letter = letters[upper->kind] != NULL;
    const bool lower_letter = letters[lower->kind] != NULL;
    if (upper_letter && lower_letter)
        put_whole(d, upper->kind >= lower->kind ? upper : lower);
    else if (upper_letter)
        put_half_letter(d, upper_letters[upper->kind], lower);
    else if (lower_letter)
        put_half_letter(d, lower_letters[lower->kind], upper);
    else if (upper->kind == BP_GRID_ABSENT && lower->kind == BP_GRID_ABSENT)
        put_whole(d, upper);
    else {
        const bp_colour_map map = d->grid.scale.map;
        const uint32_t above = bp_chart_colour(d->chart, map, upper->place);
        const uint32_t below = bp_chart_colour(d->chart, map, lower->place);
        if (upper->kind == BP_GRID_ABSENT)
            put(d->chart, (bp_paint){.ink = below}, "▄");
        else if (lower->kind == BP_GRID_ABSENT)
            put(d->chart, (bp_paint){.ink = above}, "▀");
        else if (above == below)
            put(d->chart, (bp_paint){.ground = above}, " ");
        else
            put(d->chart, (bp_paint){.ink = above, .ground = below}, "▀");
    }
}

static void put_line(const drawing *d, int line) {
    static const bp_grid_cell absent = {0};
    bp_chart *chart = d->chart;
    uint32_t first, end;
    char bytes[LABEL_BYTES];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    rows_of_line(d, line, &first, &end);
    label_of(d, &text, first, end);
    put_side(d, first, end);
    bp_page page = bp_page_begin(chart->out, &(bp_report_style){false, chart->width});
    bp_page_cell(&page, BP_INK_PLAIN, chart->margin - SIDE - 1, false, bytes);
    fputc(' ', chart->out);
    const size_t columns = (size_t)chart->columns;
    const size_t group = (size_t)line * (d->half ? 2 : 1);
    for (size_t column = 0; column < columns; column++) {
        const bp_grid_cell *cell = &d->grid.cells[group * columns + column];
        if (!d->half)
            put_whole(d, cell);
        else
            put_halves(d, cell, group + 1 < d->grid.n_groups ? cell + columns : &absent);
    }
    bp_chart_end_line(chart);
}

/* --- title and legend ------------------------------------------------------------------------- */

static void put_legend(const drawing *d) {
    static const char *const meanings[BP_N_GRID_KINDS] = {
        [BP_GRID_ZERO] = "zero", [BP_GRID_INF] = "infinite", [BP_GRID_NAN] = "NaN"};
    bp_chart *chart = d->chart;
    char bytes[64];
    bp_text text;
    fprintf(chart->out, "%*s", SIDE, "");
    for (int end = 0; end < 2; end++) {
        bp_text_init(&text, bytes, sizeof bytes);
        bp_scale_words(&text, &d->grid.scale, end, chart->characters == BP_CHARACTERS_ASCII);
        fprintf(chart->out, end ? " %s" : "%s ", bytes);
        for (int i = 0; !end && i < LEGEND_COLUMNS; i++)
            put_whole(d, &(bp_grid_cell){(double)i / (double)(LEGEND_COLUMNS - 1), BP_GRID_VALUE});
        bp_chart_paint(chart, (bp_paint){0});
    }
    for (int kind = BP_GRID_ZERO; kind < BP_N_GRID_KINDS; kind++) {
        if (!d->grid.has[kind]) continue;
        fputs("  ", chart->out);
        put_whole(d, &(bp_grid_cell){0, (bp_grid_kind)kind});
        bp_chart_paint(chart, (bp_paint){0});
        if (d->half) fprintf(chart->out, " %s %s", upper_letters[kind], lower_letters[kind]);
        fprintf(chart->out, " %s", meanings[kind]);
    }
    if (d->grid.has[BP_GRID_ABSENT]) fputs("  blank: not measured", chart->out);
    bp_chart_end_line(chart);
}

static void put_title(const drawing *d) {
    const bp_series series = d->map->series;
    bp_page page = bp_page_begin(
        d->chart->out, &(bp_report_style){d->chart->depth != BP_COLOURS_NONE, d->chart->width});
    char bytes[256];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_text_add(&text, ": %s (%s of a column's steps)", bp_series_meaning(series),
                d->map->largest ? "largest" : "mean");
    bp_page_pad(&page, SIDE);
    bp_page_put(&page, BP_INK_BOLD, bp_series_name(series));
    const int room = d->chart->width - page.column, wanted = bp_text_columns(bytes);
    bp_page_cell(&page, BP_INK_PLAIN, wanted < room ? wanted : room, false, bytes);
    bp_chart_end_line(d->chart);
}

int bp_map_text_head(const bp_map *map) {
    return 2 + (map->findings && map->findings->n > 0);
}

bp_status bp_map_text(bp_chart *chart, const bp_map *map, bp_error *error) {
    drawing d = {.chart = chart, .map = map};
    const uint32_t lines = map->lines > 0 ? (uint32_t)map->lines : 1;
    bp_grid_rows(&d.grid, map->view);
    d.half = d.grid.n_rows > lines && chart->depth != BP_COLOURS_NONE &&
             chart->characters != BP_CHARACTERS_ASCII;
    const uint32_t most = d.half ? 2 * lines : lines;
    d.grid.n_groups = d.grid.n_rows < most ? d.grid.n_rows : most;
    d.n_lines = (int)(d.half ? (d.grid.n_groups + 1) / 2 : d.grid.n_groups);
    chart->margin = SIDE + label_columns(&d) + 1;
    chart->columns = chart->width - chart->margin;
    if (chart->columns < MIN_COLUMNS) chart->columns = MIN_COLUMNS;
    bp_status status = bp_grid_fill(&d.grid, map->view, map->series, map->largest, chart, error);
    if (status == BP_OK) {
        put_title(&d);
        put_legend(&d);
        status = put_marks(&d, error);
    }
    for (int line = 0; line < d.n_lines && status == BP_OK; line++) put_line(&d, line);
    bp_grid_free(&d.grid);
    return status;
}
