/* SPDX-License-Identifier: Apache-2.0 */
#include "report/tile.h"
#include "record/column.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Columns come one by one, and the tile has rows: so many columns are turned at a time. */
#define TURNED 32u

enum { HEAD_BYTES = 32, CODEC_LOG16 = 0, CODEC_F64 = 1 };
enum { MEAN, MIN, MAX, FLAGS, PLANES };

typedef struct tile {
    uint8_t *bytes;
    size_t n_bytes;
    size_t rows, columns;
    size_t size[PLANES];  /* of an element */
    size_t place[PLANES]; /* in bytes */
    bool log16;
    int64_t last_step;
    int32_t first_octave;
    uint8_t *staged[PLANES]; /* columns that are not in bytes yet, [TURNED][rows] */
    size_t first_staged, n_staged;
} tile;

static bp_status no_memory(bp_error *error) {
    return bp_fail(error, BP_ERROR_MEMORY, "no memory for a tile");
}

static void forget(tile *t) {
    free(t->bytes);
    t->bytes = NULL;
    for (int p = 0; p < PLANES; p++) {
        free(t->staged[p]);
        t->staged[p] = NULL;
    }
}

static void put_real(uint8_t *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bp_put_u64(at, bits);
}

static void put_head(const tile *t, const uint64_t *starts) {
    uint8_t *at = t->bytes;
    memcpy(at, "BPT1", 4);
    bp_put_u32(at + 4, t->log16 ? CODEC_LOG16 : CODEC_F64);
    bp_put_u32(at + 8, (uint32_t)t->rows);
    bp_put_u32(at + 12, (uint32_t)t->columns);
    bp_put_u64(at + 16, (uint64_t)t->last_step);
    bp_put_u32(at + 24, (uint32_t)t->first_octave);
    for (size_t c = 0; c <= t->columns; c++) put_real(at + HEAD_BYTES + 8 * c, (double)starts[c]);
}

static size_t padded(size_t n_bytes) {
    return (n_bytes + 7) / 8 * 8;
}

static bp_status begin(void *context, uint32_t n_rows, uint32_t n_columns, const uint64_t *starts,
                       bp_error *error) {
    tile *t = context;
    forget(t);
    t->rows = n_rows;
    t->columns = n_columns;
    t->first_staged = t->n_staged = 0;
    t->n_bytes = HEAD_BYTES + 8 * (t->columns + 1);
    bool good = true;
    for (int p = 0; p < PLANES; p++) {
        t->size[p] = p == FLAGS ? 1 : t->log16 ? 2 : 8;
        t->place[p] = t->n_bytes;
        t->n_bytes += padded(t->rows * t->columns * t->size[p]);
        t->staged[p] = malloc(TURNED * t->rows * t->size[p] + 1);
        good = good && t->staged[p];
    }
    t->bytes = good ? calloc(t->n_bytes, 1) : NULL;
    if (!t->bytes) return no_memory(error);
    put_head(t, starts);
    return BP_OK;
}

/* --- columns ---------------------------------------------------------------------------------- */

/* Elements are little endian, as our platforms are. Each size has its own copy of the loop. */
static inline void turn(uint8_t *to, size_t a_row, const uint8_t *from, size_t n_rows,
                        size_t n_columns, size_t size) {
    for (size_t r = 0; r < n_rows; r++, to += a_row)
        for (size_t c = 0; c < n_columns; c++)
            memcpy(to + c * size, from + (c * n_rows + r) * size, size);
}

static void flush(tile *t) {
    for (int p = 0; p < PLANES; p++) {
        const size_t size = t->size[p], a_row = t->columns * size;
        uint8_t *to = t->bytes + t->place[p] + t->first_staged * size;
        if (size == 1)
            turn(to, a_row, t->staged[p], t->rows, t->n_staged, 1);
        else if (size == 2)
            turn(to, a_row, t->staged[p], t->rows, t->n_staged, 2);
        else
            turn(to, a_row, t->staged[p], t->rows, t->n_staged, 8);
    }
    t->first_staged += t->n_staged;
    t->n_staged = 0;
}

static void strip(void *context, uint32_t column, const bp_view_strip *from) {
    tile *t = context;
    const void *planes[PLANES] = {from->mean, from->min, from->max, from->flags};
    for (int p = 0; p < PLANES; p++) {
        const size_t n = t->rows * t->size[p];
        memcpy(t->staged[p] + t->n_staged * n, planes[p], n);
    }
    if (++t->n_staged == TURNED || column + 1 == t->columns) flush(t);
}

static bp_status end(tile *t, bp_status status, uint8_t **bytes, size_t *n_bytes) {
    if (status == BP_OK) {
        *bytes = t->bytes;
        *n_bytes = t->n_bytes;
        t->bytes = NULL;
    }
    forget(t);
    return status;
}

bp_status bp_tile_draw(uint8_t **bytes, size_t *n_bytes, bp_pyramid *pyramid, int64_t first,
                       int64_t last, uint32_t n_columns, bp_error *error) {
    tile t = {.log16 = bp_series_is_log16(bp_pyramid_series(pyramid)),
              .last_step = bp_pyramid_last_step(pyramid)};
    const bp_view_sink sink = {&t, begin, strip};
    const bp_status status = bp_pyramid_draw(pyramid, &sink, first, last, n_columns, error);
    return end(&t, status, bytes, n_bytes);
}

/* --- of a view -------------------------------------------------------------------------------- */

/* A bin without a finite value has NaN in all three. */
static void put_value(uint8_t *plane, size_t row, bool log16, bool measured, double value) {
    if (log16)
        bp_put_u16(plane + 2 * row, measured ? bp_log16_encode(value) : BP_CODE_ABSENT);
    else if (!measured)
        bp_put_u64(plane + 8 * row, BP_BITS_ABSENT);
    else
        put_real(plane + 8 * row, isnan(value) ? (double)NAN : value);
}

static void put_column(tile *t, uint32_t column, const bp_view_cell *cells, uint8_t *elements) {
    const size_t plane = t->rows * 8;
    uint8_t *mean = elements, *min = mean + plane, *max = min + plane, *flags = max + plane;
    for (size_t r = 0; r < t->rows; r++) {
        const bool measured = cells[r].count > 0;
        put_value(mean, r, t->log16, measured, cells[r].mean);
        put_value(min, r, t->log16, measured, cells[r].min);
        put_value(max, r, t->log16, measured, cells[r].max);
        flags[r] = (uint8_t)cells[r].flags;
    }
    const bp_view_strip whole = {mean, min, max, flags};
    strip(t, column, &whole);
}

bp_status bp_tile_encode(uint8_t **bytes, size_t *n_bytes, const bp_view *view, bool log16,
                         int64_t last_step, int32_t first_octave, bp_error *error) {
    tile t = {.log16 = log16, .last_step = last_step, .first_octave = first_octave};
    uint8_t *elements = malloc(view->n_rows * (3 * sizeof(double) + 1) + 1);
    if (!elements) return no_memory(error);
    const bp_status status = begin(&t, view->n_rows, view->n_columns, view->starts, error);
    for (uint32_t c = 0; status == BP_OK && c < view->n_columns; c++)
        put_column(&t, c, view->cells + (size_t)c * view->n_rows, elements);
    free(elements);
    return end(&t, status, bytes, n_bytes);
}
