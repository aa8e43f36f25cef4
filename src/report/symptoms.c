/* SPDX-License-Identifier: Apache-2.0 */
/* "How to identify which gradient the model is suffering from?": the textbook table of symptoms
 * with this run's numbers beside it. */
#include "report/report.h"

#include <string.h>

#define MAX_CELL_LINES 12
#define MAX_ROWS 8u

typedef struct cell {
    const char *text; /* what is left of it */
    bp_ink ink;
} cell;

/* Takes the words that fit into `columns` off the cell; at least a glyph, so that it ends. */
static size_t take_line(const char *text, int columns) {
    size_t length = strlen(text), fits = 0, at = 0;
    int used = 0;
    while (at < length) {
        bp_glyph glyph = bp_glyph_next(text + at, length - at);
        if (text[at] == ' ') fits = at;
        if (used + glyph.columns > columns) return fits > 0 ? fits : at > 0 ? at : glyph.n_read;
        used += glyph.columns;
        at += glyph.n_read;
    }
    return length;
}

static void put_line_of(bp_page *page, cell *c, int columns, bool pad) {
    char line[256];
    size_t n = take_line(c->text, columns);
    size_t kept = n < sizeof line ? n : sizeof line - 1;
    memcpy(line, c->text, kept);
    line[kept] = '\0';
    if (pad)
        bp_page_cell(page, c->ink, columns, false, line);
    else
        bp_page_put(page, c->ink, line);
    c->text += n;
    while (*c->text == ' ') c->text++;
}

typedef struct row {
    cell cells[3];
    bool marks[2];
} row;

static void put_row(bp_page *page, row *r, const int columns[3]) {
    for (int line = 0; line < MAX_CELL_LINES; line++) {
        bool more = false;
        bp_page_pad(page, 2);
        for (int i = 0; i < 3; i++) {
            if (i > 0) bp_page_put(page, BP_INK_DIM, " │ ");
            if (i < 2) bp_page_put(page, r->cells[i].ink, line == 0 && r->marks[i] ? "● " : "  ");
            put_line_of(page, &r->cells[i], columns[i], i < 2);
            more = more || *r->cells[i].text != '\0';
        }
        bp_page_end_line(page);
        if (!more) return;
    }
}

static void put_rule(bp_page *page, const int columns[3]) {
    bp_page_pad(page, 2);
    for (int i = 0; i < 3; i++) {
        if (i > 0) bp_page_put(page, BP_INK_DIM, "─┼─");
        for (int n = columns[i] + (i < 2 ? 2 : 0); n > 0; n--) bp_page_put(page, BP_INK_DIM, "─");
    }
    bp_page_end_line(page);
}

static int lines_of(const char *text, int columns) {
    int n = 0;
    for (; *text && n < MAX_CELL_LINES; n++) {
        text += take_line(text, columns);
        while (*text == ' ') text++;
    }
    return n;
}

static int height_of(const row *rows, uint32_t n, const int columns[3]) {
    int height = 0;
    for (uint32_t i = 0; i < n; i++) {
        int most = 1;
        for (int c = 0; c < 3; c++) {
            const int lines = lines_of(rows[i].cells[c].text, columns[c]);
            if (lines > most) most = lines;
        }
        height += most;
    }
    return height;
}

/* The widths at which the table is lowest, beginning at equal ones. */
static void choose_columns(int columns[3], const row *rows, uint32_t n, int room) {
    const int even = room / 3, least = even - even / 3;
    for (int i = 0; i < 3; i++) columns[i] = even;
    int best = height_of(rows, n, columns);
    for (int a = least; a <= room - 2 * least; a += 2)
        for (int b = least; b <= room - a - least; b += 2) {
            const int tried[3] = {a, b, room - a - b};
            const int height = height_of(rows, n, tried);
            if (height >= best) continue;
            best = height;
            memcpy(columns, tried, sizeof tried);
        }
}

void bp_symptoms(bp_page *page, const bp_finding *finding) {
    row rows[MAX_ROWS];
    int columns[3];
    const uint32_t n = finding->n_symptoms < MAX_ROWS ? finding->n_symptoms : MAX_ROWS;
    if (n == 0) return;
    for (uint32_t i = 0; i < n; i++) {
        const bp_symptom *symptom = &finding->symptoms[i];
        const bool marks[2] = {symptom->speaks_for_exploding, symptom->speaks_for_vanishing};
        rows[i] = (row){{{symptom->exploding, marks[0] ? BP_INK_WARNING : BP_INK_PLAIN},
                         {symptom->vanishing, marks[1] ? BP_INK_WARNING : BP_INK_PLAIN},
                         {symptom->measured, BP_INK_PLAIN}},
                        {marks[0], marks[1]}};
    }
    choose_columns(columns, rows, n, page->width - page->indent - 2 - 3 * 2 - 2 * 2);
    row head = {{{"exploding gradient", BP_INK_BOLD},
                 {"vanishing gradient", BP_INK_BOLD},
                 {"measured here (● shown)", BP_INK_BOLD}},
                {false, false}};
    put_row(page, &head, columns);
    put_rule(page, columns);
    for (uint32_t i = 0; i < n; i++) put_row(page, &rows[i], columns);
}
