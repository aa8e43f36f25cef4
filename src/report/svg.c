/* SPDX-License-Identifier: Apache-2.0 */
#include "report/svg.h"
#include "report/grid.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In pixels of a picture of 96 to the inch, as wide as a page of two columns. */
enum {
    WIDTH = 760,
    TOP = 34,
    MARKS = 24, /* room for those of findings */
    RIGHT = 88,
    MAX_HEIGHT = 330,
    MAX_ROW = 18,
    MIN_ROW = 3,
    MIN_LABEL = 60,
    MAX_LABEL = 200,
    LINE = 18,
    TEXT_LINE = 13, /* labels do not come nearer */
    BAR = 11,
    SHADES = 64
};
#define CHARACTER 6.3 /* of the labels, at most */

static const char *const inks[] = {
    [BP_HINT] = "#0b57d0", [BP_WARNING] = "#8a5a00", [BP_ERROR] = "#b3261e"};

typedef struct drawing {
    FILE *out;
    const bp_svg *svg;
    bp_chart chart;   /* steps and columns */
    bp_view view;     /* of the rows that are shown, and row 0 */
    uint32_t *layers; /* [view.n_rows], ascending: what its rows are */
    bp_grid grid;
    bp_findings findings;
    int left, top, width, row, height; /* of the map */
} drawing;

/* --- pieces -------------------------------------------------------------------------------------
 */

/* Escaped, cut with an ellipsis. */
static void put_cut(FILE *out, const char *text, int columns) {
    char bytes[512];
    size_t n = 0, left = strlen(text);
    const bool fits = bp_text_columns(text) <= columns;
    while (left > 0) {
        const bp_glyph glyph = bp_glyph_next(text, left);
        columns -= glyph.columns;
        if ((!fits && columns < 1) || n + glyph.n_read + sizeof "…" > sizeof bytes) break;
        memcpy(bytes + n, text, glyph.n_read);
        n += glyph.n_read;
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    memcpy(bytes + n, left > 0 ? "…" : "", left > 0 ? sizeof "…" : 1);
    bp_report_xml(out, bytes);
}

static void begin_text(FILE *out, int x, int y, const char *attributes) {
    fprintf(out, "<text x=\"%d\" y=\"%d\"%s>", x, y, attributes);
}

static void put_text(FILE *out, int x, int y, const char *attributes, const char *text) {
    begin_text(out, x, y, attributes);
    bp_report_xml(out, text);
    fputs("</text>\n", out);
}

/* Where a step begins, in pixels. */
static int place_of(const drawing *d, int64_t step) {
    const double part = (double)(step - d->svg->first) / (double)(d->svg->last + 1 - d->svg->first);
    return d->left + (int)lround(fmin(fmax(part, 0), 1) * d->width);
}

static const bp_grid_cell *cell_at(const drawing *d, uint32_t group, int column) {
    return &d->grid.cells[(size_t)group * (size_t)d->grid.columns + (size_t)column];
}

/* --- head ---------------------------------------------------------------------------------------
 */

static const char defs[] =
    "<defs>\n"
    "<pattern id=\"bp-nan\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"5\" height=\"5\" fill=\"#fff\"/><path d=\"M-1 6L6-1M-1 1L1-1M4 6L6 4\" "
    "stroke=\"#b3261e\" stroke-width=\"1.6\"/></pattern>\n"
    "<pattern id=\"bp-inf\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"5\" height=\"5\" fill=\"#fff\"/><path d=\"M0 0L5 5M5 0L0 5\" stroke=\"#b3261e\" "
    "stroke-width=\"1\"/></pattern>\n"
    "<pattern id=\"bp-zero\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">"
    "<rect width=\"5\" height=\"5\" fill=\"#fff\"/><circle cx=\"2.5\" cy=\"2.5\" r=\"1\" "
    "fill=\"#1b1b1b\"/></pattern>\n"
    "</defs>\n";

static void put_head(const drawing *d, int height) {
    FILE *out = d->out;
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "viewBox=\"0 0 %d %d\" role=\"img\" font-family=\"Helvetica, Arial, sans-serif\" "
            "font-size=\"11\" fill=\"#1b1b1b\">\n<title>",
            WIDTH, height, WIDTH, height);
    bp_report_xml(out, d->svg->run->name);
    fprintf(out, ": %s</title>\n", bp_series_name(d->svg->series));
    fprintf(out, "%s<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", defs, WIDTH, height);
    begin_text(out, d->left, 20, " font-size=\"13\"");
    fputs("<tspan font-weight=\"bold\">", out);
    put_cut(out, d->svg->run->name, 40);
    fprintf(out, "</tspan>  %s: ", bp_series_name(d->svg->series));
    put_cut(out, bp_series_meaning(d->svg->series), 60);
    fputs("</text>\n", out);
}

/* --- the map ------------------------------------------------------------------------------------
 */

static int shade_of(const bp_grid_cell *cell) {
    return cell->kind == BP_GRID_VALUE ? (int)lround(cell->place * (SHADES - 1)) : -1;
}

/* The cells of a kind and shade as rectangles of whole cells, neighbours in one. */
static void put_cells(const drawing *d, bp_grid_kind kind, int shade, const char *fill) {
    bool any = false;
    for (uint32_t g = 0; g < d->grid.n_groups; g++) {
        for (int column = 0, end; column < d->grid.columns; column = end) {
            const bp_grid_cell *cell = cell_at(d, g, column);
            end = column + 1;
            if (cell->kind != kind || shade_of(cell) != shade) continue;
            while (end < d->grid.columns && cell_at(d, g, end)->kind == kind &&
                   shade_of(cell_at(d, g, end)) == shade)
                end++;
            fprintf(d->out, "%sM%d %" PRIu32 "h%dv1h-%dz", any ? "" : "<path d=\"", column, g,
                    end - column, end - column);
            any = true;
        }
    }
    if (any) fprintf(d->out, "\" fill=\"%s\"/>\n", fill);
}

/* In an inner picture whose unit is a cell, so that all numbers are whole. */
static void put_map(const drawing *d) {
    fprintf(d->out,
            "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %" PRIu32 "\" "
            "preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\">\n",
            d->left, d->top, d->width, d->height, d->grid.columns, d->grid.n_groups);
    for (int shade = 0; shade < SHADES; shade++) {
        char fill[16];
        const bp_rgb c = bp_colour_at(d->grid.scale.map, (double)shade / (SHADES - 1));
        snprintf(fill, sizeof fill, "#%02x%02x%02x", c.red, c.green, c.blue);
        put_cells(d, BP_GRID_VALUE, shade, fill);
    }
    fputs("</svg>\n", d->out);
}

/* Patterns would be stretched in there. */
static void put_patterns(const drawing *d, bp_grid_kind kind, const char *fill) {
    if (!d->grid.has[kind]) return;
    for (uint32_t g = 0; g < d->grid.n_groups; g++)
        for (int column = 0, end; column < d->grid.columns; column = end) {
            end = column + 1;
            if (cell_at(d, g, column)->kind != kind) continue;
            while (end < d->grid.columns && cell_at(d, g, end)->kind == kind) end++;
            const int x = d->left + d->width * column / d->grid.columns;
            const int behind = d->left + d->width * end / d->grid.columns;
            fprintf(d->out,
                    "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"url(#%s)\"/>\n", x,
                    d->top + (int)g * d->row, behind - x > 2 ? behind - x : 2, d->row, fill);
        }
}

static void put_frame(const drawing *d) {
    fprintf(d->out,
            "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#1b1b1b\" "
            "stroke-width=\"0.8\"/>\n",
            d->left, d->top, d->width, d->height);
}

/* --- axes ---------------------------------------------------------------------------------------
 */

static void label_of(const drawing *d, bp_text *text, uint32_t group) {
    const uint32_t first = d->layers[bp_grid_start(&d->grid, group)];
    const uint32_t last = d->layers[bp_grid_start(&d->grid, group + 1) - 1];
    const bp_layer *layer = bp_model_layer(d->svg->run->model, first);
    if (first == 0)
        bp_text_add(text, "input");
    else if (last > first)
        bp_text_add(text, "%" PRIu32 "–%" PRIu32, first, last);
    else
        bp_text_add(text, "%" PRIu32 " %s", first, layer && layer->name ? layer->name : "");
}

/* The width of the labels decides where the map begins. */
static int label_width(const drawing *d) {
    int columns = 0;
    for (uint32_t g = 0; g < d->grid.n_groups; g++) {
        char bytes[400];
        bp_text text;
        bp_text_init(&text, bytes, sizeof bytes);
        label_of(d, &text, g);
        const int wanted = bp_text_columns(bytes);
        if (wanted > columns) columns = wanted;
    }
    const int width = (int)(columns * CHARACTER);
    return width < MIN_LABEL ? MIN_LABEL : width > MAX_LABEL ? MAX_LABEL : width;
}

static void put_layers(const drawing *d) {
    const uint32_t stride = (uint32_t)((TEXT_LINE + d->row - 1) / d->row);
    for (uint32_t g = 0; g < d->grid.n_groups; g += stride) {
        char bytes[400];
        bp_text text;
        bp_text_init(&text, bytes, sizeof bytes);
        label_of(d, &text, g);
        begin_text(d->out, d->left - 6, d->top + (int)g * d->row + d->row / 2 + 4,
                   " text-anchor=\"end\"");
        put_cut(d->out, bytes, (int)((double)MAX_LABEL / CHARACTER));
        fputs("</text>\n", d->out);
    }
}

/* "12 000": a thin space before every three digits. */
static void add_step(bp_text *text, int64_t step) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRId64, step);
    for (int i = 0; i < n; i++)
        bp_text_add(text, "%s%c", i > 0 && n > 4 && (n - i) % 3 == 0 ? "\u202f" : "", digits[i]);
}

/* 1, 2 or 5 times a power of ten, at most six of them in the span. */
static int64_t tick_of(int64_t span) {
    int64_t tick = 1;
    for (int i = 0; span / tick > 6; i++) tick = i % 3 == 1 ? tick / 2 * 5 : tick * 2;
    return tick;
}

static void put_steps(const drawing *d) {
    const int64_t tick = tick_of(d->svg->last - d->svg->first + 1);
    const int y = d->top + d->height;
    for (int64_t step = (d->svg->first + tick - 1) / tick * tick; step <= d->svg->last;
         step += tick) {
        char bytes[48];
        bp_text text;
        bp_text_init(&text, bytes, sizeof bytes);
        add_step(&text, step);
        const int x = place_of(d, step);
        fprintf(d->out, "<path d=\"M%d %dv4\" stroke=\"#1b1b1b\" stroke-width=\"0.8\"/>\n", x, y);
        put_text(d->out, x, y + 16, " text-anchor=\"middle\"", bytes);
    }
    put_text(d->out, d->left + d->width + 8, y + 16, "", "step");
}

/* --- legend -------------------------------------------------------------------------------------
 */

static void put_tick(const drawing *d, int x, int height, double place) {
    char bytes[64];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_scale_words(&text, &d->grid.scale, place, false);
    const int y = d->top + (int)lround((1 - place) * height);
    fprintf(d->out, "<path d=\"M%d %dh3\" stroke=\"#1b1b1b\" stroke-width=\"0.8\"/>\n", x + BAR, y);
    put_text(d->out, x + BAR + 6, y + 4, "", bytes);
}

/* Every power of ten, or every second, third …; of other scales ends and middle. */
static void put_ticks(const drawing *d, int x, int height) {
    const bp_scale *scale = &d->grid.scale;
    const bool powers = scale->kind == BP_SCALE_LOG || scale->kind == BP_SCALE_AROUND;
    const int span = powers ? (int)lround(scale->high - scale->low) : 2;
    const int most = height / (2 * TEXT_LINE);
    const int stride = (span + most - 1) / (most > 0 ? most : 1);
    for (int i = 0; i <= span; i += stride > 0 ? stride : 1)
        put_tick(d, x, height, (double)i / span);
}

static void put_bar(const drawing *d) {
    const int x = d->left + d->width + 16;
    const int height = d->height < 60 ? 60 : d->height > 200 ? 200 : d->height;
    fprintf(d->out,
            "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"0 0 1 %d\" "
            "preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\">\n",
            x, d->top, BAR, height, SHADES);
    for (int shade = 0; shade < SHADES; shade++) {
        const bp_rgb c = bp_colour_at(d->grid.scale.map, (double)shade / (SHADES - 1));
        fprintf(d->out, "<path d=\"M0 %dh1v1h-1z\" fill=\"#%02x%02x%02x\"/>\n", SHADES - 1 - shade,
                c.red, c.green, c.blue);
    }
    fputs("</svg>\n", d->out);
    put_ticks(d, x, height);
}

/* What the patterns mean that are there; returns the next line. */
static int put_kinds(const drawing *d, int y) {
    static const struct {
        bp_grid_kind kind;
        const char *fill, *words;
    } kinds[] = {{BP_GRID_NAN, "url(#bp-nan)", "NaN"},
                 {BP_GRID_INF, "url(#bp-inf)", "infinite"},
                 {BP_GRID_ZERO, "url(#bp-zero)", "zero"},
                 {BP_GRID_ABSENT, "#fff", "not measured"}};
    int x = d->left;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!d->grid.has[kinds[i].kind]) continue;
        fprintf(d->out,
                "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"10\" fill=\"%s\" stroke=\"#1b1b1b\" "
                "stroke-width=\"0.6\"/>\n",
                x, y - 9, kinds[i].fill);
        put_text(d->out, x + 20, y, "", kinds[i].words);
        x += 40 + (int)((double)strlen(kinds[i].words) * CHARACTER);
    }
    return x > d->left ? y + LINE : y;
}

/* --- findings -----------------------------------------------------------------------------------
 */

static void put_disc(const drawing *d, int x, int y, int number, bp_severity severity) {
    fprintf(d->out,
            "<circle cx=\"%d\" cy=\"%d\" r=\"7\" fill=\"%s\"/>"
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#fff\" font-size=\"10\" "
            "font-weight=\"bold\">%d</text>\n",
            x, y, inks[severity], x, y + 4, number);
}

static bool names_one_of(const bp_finding *finding, uint32_t first, uint32_t last) {
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (finding->layers[i] >= first && finding->layers[i] <= last) return true;
    return false;
}

/* The rows from the first of a finding's layers to the last; all where it names none of them. */
static void rows_of(const drawing *d, const bp_finding *finding, int *first_y, int *end_y) {
    uint32_t first = d->grid.n_groups, end = 0;
    for (uint32_t g = 0; g < d->grid.n_groups; g++) {
        if (!names_one_of(finding, d->layers[bp_grid_start(&d->grid, g)],
                          d->layers[bp_grid_start(&d->grid, g + 1) - 1]))
            continue;
        if (g < first) first = g;
        end = g + 1;
    }
    *first_y = d->top + (end > 0 ? (int)first * d->row : 0);
    *end_y = d->top + (end > 0 ? (int)end * d->row : d->height);
}

/* Since when, above the map, and in which layers; the disc not before x. Returns where it is. */
static int put_mark(const drawing *d, uint32_t index, int free_from) {
    const bp_finding *finding = &d->findings.list[index];
    int top, bottom;
    const int x = place_of(d, finding->since_step), y = d->top - 14;
    const int disc = x < free_from ? free_from : x;
    const int line = x > d->left ? x : x - 2; /* what is so from the first step hides none */
    const char *ink = inks[finding->severity];
    rows_of(d, finding, &top, &bottom);
    fprintf(d->out,
            "<path d=\"M%d %dL%d %dV%d\" fill=\"none\" stroke=\"%s\" stroke-width=\"1\" "
            "stroke-dasharray=\"3 2\"/>\n<path d=\"M%d %dV%d\" stroke=\"#fff\" "
            "stroke-width=\"4\"/><path d=\"M%d %dV%d\" stroke=\"%s\" stroke-width=\"2\"/>\n",
            disc, y + 7, line, d->top, top, ink, line, top, bottom, line, top, bottom, ink);
    put_disc(d, disc, y, (int)bp_findings_number(&d->findings, index), finding->severity);
    return disc;
}

/* From the first to the last, so that discs that make room for each other keep their order. */
static void put_marks(const drawing *d) {
    int64_t after = INT64_MIN;
    int free_from = 0;
    for (uint32_t i = 0; i < d->findings.n; i++) {
        int64_t next = INT64_MAX;
        for (uint32_t k = 0; k < d->findings.n; k++) {
            const bp_finding *finding = &d->findings.list[k];
            if (finding->parent < 0 && finding->since_step > after && finding->since_step < next)
                next = finding->since_step;
        }
        for (uint32_t k = 0; k < d->findings.n && next <= d->svg->last; k++)
            if (d->findings.list[k].parent < 0 && d->findings.list[k].since_step == next)
                free_from = put_mark(d, k, free_from) + 16;
        after = next;
    }
}

static void put_findings(const drawing *d, int y) {
    for (uint32_t i = 0; i < d->findings.n; i++) {
        const bp_finding *finding = &d->findings.list[i];
        if (finding->parent >= 0) continue;
        put_disc(d, d->left + 7, y - 4, (int)bp_findings_number(&d->findings, i),
                 finding->severity);
        begin_text(d->out, d->left + 20, y, "");
        fprintf(d->out, "<tspan font-weight=\"bold\">%s</tspan> ",
                bp_severity_name(finding->severity));
        put_cut(d->out, finding->title, (WIDTH - d->left - 60) / 6);
        fputs("</text>\n", d->out);
        y += LINE;
    }
}

/* --- rows ---------------------------------------------------------------------------------------
 */

static bool is_measured(const bp_view *view, uint32_t row) {
    for (uint32_t c = 0; c < view->n_columns; c++)
        if (view->cells[(size_t)c * view->n_rows + row].count > 0) return true;
    return false;
}

/* Residual sums have no weights, and would be blank bands between those that have. */
static bp_status choose_rows(drawing *d, bp_error *error) {
    const bp_view *all = d->svg->view;
    d->view = *all;
    d->view.n_rows = 1;
    d->layers = calloc(all->n_rows, sizeof *d->layers);
    d->view.cells = calloc((size_t)all->n_rows * all->n_columns, sizeof *d->view.cells);
    if (!d->layers || !d->view.cells)
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a picture");
    for (uint32_t row = 1; row < all->n_rows; row++)
        if (is_measured(all, row)) d->layers[d->view.n_rows++] = row;
    for (uint32_t c = 0; c < all->n_columns; c++)
        for (uint32_t i = 0; i < d->view.n_rows; i++)
            d->view.cells[(size_t)c * d->view.n_rows + i] =
                all->cells[(size_t)c * all->n_rows + d->layers[i]];
    if (d->view.n_rows > 1 || is_measured(all, 0)) return BP_OK;
    return bp_fail(error, BP_ERROR_INPUT, "%s: %s was measured of no layer", d->svg->run->name,
                   bp_series_name(d->svg->series));
}

/* How many are left out; returns the next line. */
static int put_left_out(const drawing *d, int y) {
    const uint32_t n = d->svg->view->n_rows - d->view.n_rows;
    if (n == 0) return y;
    begin_text(d->out, d->left, y, " fill=\"#5c5c5c\"");
    fprintf(d->out, "%" PRIu32 " layer%s without %s: not shown</text>\n", n, n == 1 ? "" : "s",
            bp_series_name(d->svg->series));
    return y + LINE;
}

/* --- the picture --------------------------------------------------------------------------------
 */

static int n_roots(const drawing *d) {
    int n = 0;
    for (uint32_t i = 0; i < d->findings.n; i++)
        if (d->findings.list[i].parent < 0) n++;
    return n;
}

static void lay_out(drawing *d) {
    const uint32_t most = MAX_HEIGHT / MIN_ROW;
    bp_grid_rows(&d->grid, &d->view);
    d->grid.n_groups = d->grid.n_rows < most ? d->grid.n_rows : most;
    const int fitting = MAX_HEIGHT / (int)(d->grid.n_groups > 0 ? d->grid.n_groups : 1);
    d->row = fitting < MAX_ROW ? fitting : MAX_ROW;
    d->height = d->row * (int)d->grid.n_groups;
    d->left = label_width(d) + 12;
    d->top = TOP + (n_roots(d) > 0 ? MARKS : 0);
    d->width = WIDTH - RIGHT - d->left;
    d->chart =
        (bp_chart){.first = d->svg->first, .last = d->svg->last, .columns = (int)d->view.n_columns};
}

/* Of the legend below the axis. */
static int n_lines(const drawing *d) {
    const bool *has = d->grid.has;
    const bool kinds =
        has[BP_GRID_NAN] || has[BP_GRID_INF] || has[BP_GRID_ZERO] || has[BP_GRID_ABSENT];
    return n_roots(d) + kinds + (d->svg->view->n_rows > d->view.n_rows);
}

static bp_status draw(drawing *d, bp_error *error) {
    lay_out(d);
    const bp_status status =
        bp_grid_fill(&d->grid, &d->view, d->svg->series, false, &d->chart, error);
    if (status != BP_OK) return status;
    int y = d->top + d->height + 44;
    put_head(d, y + LINE * n_lines(d) - 4);
    put_map(d);
    put_patterns(d, BP_GRID_ZERO, "bp-zero");
    put_patterns(d, BP_GRID_INF, "bp-inf");
    put_patterns(d, BP_GRID_NAN, "bp-nan");
    put_frame(d);
    put_layers(d);
    put_steps(d);
    put_bar(d);
    put_marks(d);
    y = put_left_out(d, put_kinds(d, y));
    put_findings(d, y);
    fputs("</svg>\n", d->out);
    return BP_OK;
}

bp_status bp_svg_write(FILE *out, const bp_svg *svg, bp_error *error) {
    drawing d = {.out = out, .svg = svg};
    bp_findings_choose(&d.findings, svg->run->diagnosis, svg->run->model, svg->run->choice);
    bp_status status = choose_rows(&d, error);
    if (status == BP_OK) status = draw(&d, error);
    bp_grid_free(&d.grid);
    free(d.view.cells);
    free(d.layers);
    return status;
}
