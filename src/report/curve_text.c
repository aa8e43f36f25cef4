/* SPDX-License-Identifier: Apache-2.0 */
#include "report/curve_text.h"

#include <stdlib.h>
#include <string.h>

enum { TRAIN = 6, VALIDATION = 3 }; /* of 16 colours: cyan and yellow */
#define LOG_RATIO 30.0              /* losses that differ by more are drawn over powers */
#define BRAILLE_UP 4                /* dots of a character */

typedef struct plot {
    bp_chart *chart;
    const bp_curve *curve;
    bool braille, log;
    int across, up;   /* points of a character */
    double low, high; /* of the y axis, as drawn */
    double *train;    /* [columns * across]; NaN: none */
    uint8_t *dots;    /* [lines][columns], braille: bits; else 1 */
    uint8_t *marks;   /* [lines][columns], over the dots: 'x', 'N', 'I' */
    bool has_validation, has_dots;
} plot;

static double drawn(const plot *p, double value) {
    return p->log ? log10(value) : value;
}

static bp_view_cell cell_of(const plot *p, const bp_view *view, int n, int at) {
    return bp_grid_join(view, 0, bp_chart_start(p->chart, n, at),
                        bp_chart_start(p->chart, n, at + 1));
}

/* Row of points, from the top, 0 ... lines * up - 1. */
static int row_of(const plot *p, double value) {
    const int n = p->curve->lines * p->up;
    const double part = (p->high - drawn(p, value)) / (p->high - p->low);
    const int row = (int)lround(part * (n - 1));
    return row < 0 ? 0 : row >= n ? n - 1 : row;
}

static size_t place_of(const plot *p, int line, int column) {
    return (size_t)line * (size_t)p->chart->columns + (size_t)column;
}

static void put_dot(plot *p, int x, int row) {
    static const uint8_t bits[BRAILLE_UP][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    uint8_t *cell = &p->dots[place_of(p, row / p->up, x / p->across)];
    *cell |= p->braille ? bits[row % BRAILLE_UP][x % 2] : 1;
}

/* --- data ------------------------------------------------------------------------------------- */

static void read_train(plot *p, bp_extent *extent) {
    const int n = p->chart->columns * p->across;
    for (int x = 0; x < n; x++) {
        const bp_view_cell cell = cell_of(p, p->curve->loss, n, x);
        p->train[x] = cell.mean;
        bp_extent_add(extent, cell.mean);
        uint8_t *mark = &p->marks[x / p->across];
        if (cell.flags & BP_VIEW_HAS_NAN)
            *mark = 'N';
        else if (cell.flags & BP_VIEW_HAS_INF && *mark != 'N')
            *mark = 'I';
    }
}

static void set_range(plot *p, const bp_extent *extent) {
    double min = extent->min, max = extent->max;
    p->log = min > 0 && max > LOG_RATIO * min;
    if (!(min <= max)) min = max = 0;
    if (min == max) {
        const double around = min == 0 ? 1 : 0.1 * fabs(min);
        min -= around;
        max += around;
    }
    p->low = drawn(p, min);
    p->high = drawn(p, max);
}

static void draw_train(plot *p) {
    int before = -1;
    for (int x = 0; x < p->chart->columns * p->across; x++) {
        if (isnan(p->train[x])) {
            before = -1;
            continue;
        }
        const int row = row_of(p, p->train[x]);
        int from = before < 0 ? row : before;
        if (from != row) from += from < row ? 1 : -1; /* the one before has that row's dot */
        for (int at = from < row ? from : row; at <= (from < row ? row : from); at++)
            put_dot(p, x, at);
        before = row;
        p->has_dots = true;
    }
}

static void draw_validation(plot *p) {
    if (!p->curve->validation) return;
    for (int column = 0; column < p->chart->columns; column++) {
        const bp_view_cell cell = cell_of(p, p->curve->validation, p->chart->columns, column);
        if (isnan(cell.mean)) continue;
        uint8_t *mark = &p->marks[place_of(p, row_of(p, cell.mean) / p->up, column)];
        if (!*mark) *mark = 'x';
        p->has_validation = true;
    }
}

static void find_validation(const plot *p, bp_extent *extent) {
    if (!p->curve->validation) return;
    for (int column = 0; column < p->chart->columns; column++)
        bp_extent_add(extent, cell_of(p, p->curve->validation, p->chart->columns, column).mean);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void put_legend(const plot *p) {
    bp_chart *chart = p->chart;
    fprintf(chart->out, "%*s", chart->margin, "");
    bp_chart_paint(chart, (bp_paint){.ink = bp_chart_accent(chart, TRAIN)});
    fputs(p->braille ? "⠒⠒" : "**", chart->out);
    bp_chart_paint(chart, (bp_paint){0});
    fputs(" loss", chart->out);
    if (p->has_validation) {
        bp_chart_paint(chart, (bp_paint){.ink = bp_chart_accent(chart, VALIDATION)});
        fprintf(chart->out, "  %s", bp_chart_either(chart, "×", "x"));
        bp_chart_paint(chart, (bp_paint){0});
        fputs(" validation loss", chart->out);
    }
    if (p->log) fputs("  (logarithmic)", chart->out);
    bp_chart_end_line(chart);
}

static void put_end(const plot *p, double drawn_value) {
    const double value = p->log ? pow(10, drawn_value) : drawn_value;
    const int room = p->chart->margin - 2;
    char text[32];
    (void)bp_number_text(text, sizeof text, value, 3);
    if (bp_text_columns(text) > room) (void)bp_number_text(text, sizeof text, value, 1);
    fprintf(p->chart->out, "%*s ", room, text);
}

static void put_cell(const plot *p, size_t place) {
    bp_chart *chart = p->chart;
    const uint8_t mark = p->marks[place], dots = p->dots[place];
    if (mark == 'x') {
        bp_chart_paint(chart, (bp_paint){.ink = bp_chart_accent(chart, VALIDATION), .bold = true});
        fputs(bp_chart_either(chart, "×", "x"), chart->out);
    } else if (mark) {
        bp_chart_paint(chart, (bp_paint){.reverse = true, .bold = true});
        fputc(mark, chart->out);
    } else if (!dots) {
        bp_chart_paint(chart, (bp_paint){0});
        fputc(' ', chart->out);
    } else {
        bp_chart_paint(chart, (bp_paint){.ink = bp_chart_accent(chart, TRAIN)});
        if (p->braille) /* U+2800 + dots */
            fprintf(chart->out, "\xE2%c%c", (char)(0xA0 + (dots >> 6)), (char)(0x80 + (dots & 63)));
        else
            fputc('*', chart->out);
    }
}

static void put_lines(const plot *p) {
    bp_chart *chart = p->chart;
    for (int line = 0; line < p->curve->lines; line++) {
        const bool end = line == 0 || line == p->curve->lines - 1;
        if (end && (p->has_dots || p->has_validation))
            put_end(p, line == 0 ? p->high : p->low);
        else
            fprintf(chart->out, "%*s", chart->margin - 1, "");
        fputs(bp_chart_either(chart, end ? "┤" : "│", end ? "+" : "|"), chart->out);
        int last = chart->columns - 1;
        while (last >= 0 && !p->marks[place_of(p, line, last)] && !p->dots[place_of(p, line, last)])
            last--;
        for (int column = 0; column <= last; column++) put_cell(p, place_of(p, line, column));
        bp_chart_end_line(chart);
    }
}

bp_status bp_curve_text(bp_chart *chart, const bp_curve *curve, bp_error *error) {
    plot p = {.chart = chart, .curve = curve};
    p.braille = chart->characters == BP_CHARACTERS_ALL;
    p.across = p.braille ? 2 : 1;
    p.up = p.braille ? BRAILLE_UP : 1;
    const size_t cells = (size_t)curve->lines * (size_t)chart->columns;
    p.train = calloc((size_t)chart->columns * (size_t)p.across, sizeof *p.train);
    p.dots = calloc(cells, 1);
    p.marks = calloc(cells, 1);
    const bool good = p.train && p.dots && p.marks;
    if (good) {
        bp_extent extent = BP_EXTENT_NONE;
        read_train(&p, &extent);
        find_validation(&p, &extent);
        set_range(&p, &extent);
        draw_train(&p);
        draw_validation(&p);
        put_legend(&p);
        put_lines(&p);
    }
    free(p.train);
    free(p.dots);
    free(p.marks);
    return good ? BP_OK : bp_fail(error, BP_ERROR_MEMORY, "out of memory for a curve");
}
