/* SPDX-License-Identifier: Apache-2.0 */
/* The profile over depth: the chain rule made visible, one row a layer, from the input to the loss.
 */
#include "report/report.h"

#include <math.h>
#include <string.h>

#define MAX_BAR 28
#define MIN_BAR 6
#define MAX_NAME 24
/* A profile is drawn over at least this many powers of e, so that a flat one looks flat. */
#define MIN_SPAN_LOG 6.9 /* ln 1e3, where a backward span becomes a candidate */

/* Layers that take more than this many times the mean contribution stand out. */
#define STANDS_OUT 2.0

static bool is_chosen(const uint32_t *rows, uint32_t n, uint32_t row) {
    for (uint32_t i = 0; i < n; i++)
        if (rows[i] == row) return true;
    return false;
}

static void insert(uint32_t *rows, uint32_t *n, uint32_t row) {
    uint32_t at = *n;
    for (; at > 0 && rows[at - 1] > row; at--) rows[at] = rows[at - 1];
    rows[at] = row;
    ++*n;
}

/* The largest contribution that is not chosen yet and stands out; n_gains when there is none. */
static uint32_t next_outstanding(const uint32_t *rows, uint32_t n, const bp_gain *gains,
                                 uint32_t n_gains) {
    double sum = 0;
    for (uint32_t i = 0; i < n_gains; i++)
        if (gains[i].contribution > 0) sum += gains[i].contribution;
    double best = STANDS_OUT * sum / n_gains;
    uint32_t found = n_gains;
    for (uint32_t i = 0; i < n_gains; i++)
        if (gains[i].contribution > best && !is_chosen(rows, n, i))
            best = gains[i].contribution, found = i;
    return found;
}

static uint32_t middle_of_largest_gap(const uint32_t *rows, uint32_t n) {
    uint32_t gap = 0, middle = 0;
    for (uint32_t i = 1; i < n; i++)
        if (rows[i] - rows[i - 1] > gap) {
            gap = rows[i] - rows[i - 1];
            middle = rows[i - 1] + gap / 2;
        }
    return middle;
}

uint32_t bp_picture_rows(uint32_t rows[BP_PICTURE_ROWS], const bp_gain *gains, uint32_t n_gains) {
    uint32_t n = 0;
    if (n_gains <= BP_PICTURE_ROWS) {
        while (n < n_gains) rows[n] = n, n++;
        return n;
    }
    insert(rows, &n, 0);
    insert(rows, &n, n_gains - 1);
    while (n < (BP_PICTURE_ROWS + 1) / 2) {
        uint32_t row = next_outstanding(rows, n, gains, n_gains);
        if (row == n_gains) break;
        insert(rows, &n, row);
    }
    while (n < BP_PICTURE_ROWS) insert(rows, &n, middle_of_largest_gap(rows, n));
    return n;
}

bp_bar_scale bp_bar_scale_of(const bp_gain *gains, uint32_t n_gains) {
    bp_bar_scale s = {.low = INFINITY, .high = -INFINITY};
    for (uint32_t i = 0; i < n_gains; i++) {
        double value = gains[i].error_norm;
        if (!(value > 0) || isinf(value)) continue;
        s.low = fmin(s.low, log(value));
        s.high = fmax(s.high, log(value));
    }
    if (s.high - s.low < MIN_SPAN_LOG) s.low = s.high - MIN_SPAN_LOG;
    return s;
}

void bp_bar_fit(bp_bar_scale *s, int room) {
    s->columns = room < MIN_BAR || isinf(s->high) ? 0 : room > MAX_BAR ? MAX_BAR : room;
}

void bp_bar(bp_page *page, bp_ink ink, const bp_bar_scale *s, double value) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int units = 0;
    if (isinf(value))
        units = s->columns * 8;
    else if (value > 0)
        units = (int)lround((log(value) - s->low) / (s->high - s->low) * s->columns * 8);
    if (value > 0 && units < 1) units = 1;
    char bar[MAX_BAR * 3 + 4] = "";
    for (int i = 0; i < units / 8; i++) strcat(bar, "█");
    strcat(bar, eighths[units % 8]);
    bp_page_cell(page, ink, s->columns, false, bar);
}

/* A part that was not measured is NaN. */
static void put_number(bp_page *page, int columns, double value) {
    char number[32];
    bool measured = !isnan(value);
    bp_page_cell(page, measured ? BP_INK_PLAIN : BP_INK_DIM, columns, true,
                 measured ? bp_number_text(number, sizeof number, value, 2) : "–");
}

static bool is_concerned(const bp_finding *finding, uint32_t layer) {
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (finding->layers[i] == layer) return true;
    return false;
}

static const char *name_of(const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    return layer && layer->name ? layer->name : "";
}

enum { MARGIN = 2, ERROR_COLUMNS = 14, GAIN_COLUMNS = 9, SHARE_COLUMNS = 19 };

/* Where there is room it says how many of the layers are shown. */
static void put_head(bp_page *page, int label, const bp_bar_scale *s, uint32_t n,
                     uint32_t n_gains) {
    char text[64] = " (log scale)";
    if (n < n_gains && s->columns == MAX_BAR)
        snprintf(text, sizeof text, " (log; %u of %u layers)", n, n_gains);
    bp_page_pad(page, MARGIN);
    bp_page_cell(page, BP_INK_DIM, label, false, "layer");
    if (s->columns > 0) bp_page_cell(page, BP_INK_DIM, s->columns + 1, false, text);
    bp_page_cell(page, BP_INK_DIM, ERROR_COLUMNS, true, "error signal");
    bp_page_cell(page, BP_INK_DIM, GAIN_COLUMNS, true, "gain");
    bp_page_cell(page, BP_INK_DIM, SHARE_COLUMNS, true, "share of learning");
    bp_page_end_line(page);
}

void bp_picture(bp_page *page, const bp_model *model, const bp_finding *finding) {
    const bp_gain *gains = finding->gains;
    if (finding->n_gains == 0) return;
    uint32_t rows[BP_PICTURE_ROWS];
    uint32_t n = bp_picture_rows(rows, gains, finding->n_gains);
    int digits = snprintf(NULL, 0, "%u", gains[rows[n - 1]].layer), name = 0;
    for (uint32_t i = 0; i < n; i++) {
        int columns = bp_text_columns(name_of(model, gains[rows[i]].layer));
        if (columns > name) name = columns < MAX_NAME ? columns : MAX_NAME;
    }
    int rest = page->width - page->indent - MARGIN - ERROR_COLUMNS - GAIN_COLUMNS - SHARE_COLUMNS;
    if (name > rest - digits - 1) name = rest - digits - 1;
    int label = digits + 1 + name; /* "12 dense_12" */
    if (label < 5) label = 5;
    bp_bar_scale s = bp_bar_scale_of(gains, finding->n_gains);
    bp_bar_fit(&s, rest - label - 1);
    put_head(page, label, &s, n, finding->n_gains);
    for (uint32_t i = 0; i < n; i++) {
        const bp_gain *gain = &gains[rows[i]];
        bool concerned = is_concerned(finding, gain->layer);
        bp_page_pad(page, MARGIN);
        bp_page_add(page, BP_INK_PLAIN, "%*u ", digits, gain->layer);
        bp_page_cell(page, BP_INK_PLAIN, label - 1 - digits, false, name_of(model, gain->layer));
        if (s.columns > 0) {
            bp_page_put(page, BP_INK_PLAIN, " ");
            bp_bar(page, concerned ? BP_INK_WARNING : BP_INK_HINT, &s, gain->error_norm);
        }
        put_number(page, ERROR_COLUMNS, gain->error_norm);
        put_number(page, GAIN_COLUMNS, gain->gain);
        put_number(page, SHARE_COLUMNS, gain->share);
        bp_page_end_line(page);
    }
    if (n < finding->n_gains && s.columns < MAX_BAR) {
        bp_page_pad(page, MARGIN);
        bp_page_add(page, BP_INK_DIM, "(%u of %u layers are shown)", n, finding->n_gains);
        bp_page_end_line(page);
    }
}
