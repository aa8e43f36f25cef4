/* SPDX-License-Identifier: Apache-2.0 */
/* "How to identify which gradient the model is suffering from?": the textbook table of symptoms
 * with this run's numbers beside it. */
#include "report/report.h"

#include <string.h>

#define MAX_CELL_LINES 12

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

static void put_row(bp_page *page, cell cells[3], const bool marks[2], int columns) {
    for (int line = 0; line < MAX_CELL_LINES; line++) {
        bool more = false;
        bp_page_pad(page, 2);
        for (int i = 0; i < 3; i++) {
            if (i > 0) bp_page_put(page, BP_INK_DIM, " │ ");
            if (i < 2) bp_page_put(page, cells[i].ink, line == 0 && marks[i] ? "● " : "  ");
            put_line_of(page, &cells[i], columns, i < 2);
            more = more || *cells[i].text != '\0';
        }
        bp_page_end_line(page);
        if (!more) return;
    }
}

static void put_rule(bp_page *page, int columns) {
    static const char dashes[] = "────────────────────────────────────────────────────────────";
    int most = (int)(sizeof dashes - 1) / 3;
    bp_page_pad(page, 2);
    for (int i = 0; i < 3; i++) {
        int wanted = columns + (i < 2 ? 2 : 0);
        if (i > 0) bp_page_put(page, BP_INK_DIM, "─┼─");
        bp_page_put(page, BP_INK_DIM, dashes + 3 * (wanted < most ? most - wanted : 0));
    }
    bp_page_end_line(page);
}

void bp_symptoms(bp_page *page, const bp_finding *finding) {
    static const bool unmarked[2];
    if (finding->n_symptoms == 0) return;
    int columns = (page->width - page->indent - 2 - 3 * 2 - 2 * 2) / 3;
    bp_page_pad(page, 2);
    bp_page_put(page, BP_INK_BOLD, "symptoms");
    bp_page_put(page, BP_INK_DIM, " (● this run shows it)");
    bp_page_end_line(page);
    cell head[3] = {{"exploding gradient", BP_INK_BOLD},
                    {"vanishing gradient", BP_INK_BOLD},
                    {"measured here", BP_INK_BOLD}};
    put_row(page, head, unmarked, columns);
    for (uint32_t i = 0; i < finding->n_symptoms; i++) {
        const bp_symptom *symptom = &finding->symptoms[i];
        bool marks[2] = {symptom->speaks_for_exploding, symptom->speaks_for_vanishing};
        cell row[3] = {{symptom->exploding, marks[0] ? BP_INK_WARNING : BP_INK_PLAIN},
                       {symptom->vanishing, marks[1] ? BP_INK_WARNING : BP_INK_PLAIN},
                       {symptom->measured, BP_INK_PLAIN}};
        put_rule(page, columns);
        put_row(page, row, marks, columns);
    }
}
