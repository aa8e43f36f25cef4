/* SPDX-License-Identifier: Apache-2.0 */
#include "report/tile.h"
#include "record/column.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 32, CODEC_LOG16 = 0, CODEC_F64 = 1 };

/* Where what lies. */
typedef struct tile {
    uint8_t *bytes;
    size_t rows, columns;
    size_t mean, min, max, flags; /* offsets */
    size_t n_bytes;
    bool log16;
} tile;

static tile layout(const bp_view *view, bool log16) {
    tile t = {.rows = view->n_rows, .columns = view->n_columns, .log16 = log16};
    const size_t cells = t.rows * t.columns;
    const size_t plane = log16 ? (2 * cells + 7) / 8 * 8 : 8 * cells;
    t.mean = HEAD_BYTES + 8 * (t.columns + 1);
    t.min = t.mean + plane;
    t.max = t.min + plane;
    t.flags = t.max + plane;
    t.n_bytes = t.flags + cells;
    return t;
}

static void put_real(uint8_t *at, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bp_put_u64(at, bits);
}

static void put_head(const tile *t, const bp_view *view, int64_t last_step, int32_t first_octave) {
    uint8_t *at = t->bytes;
    memcpy(at, "BPT1", 4);
    bp_put_u32(at + 4, t->log16 ? CODEC_LOG16 : CODEC_F64);
    bp_put_u32(at + 8, view->n_rows);
    bp_put_u32(at + 12, view->n_columns);
    bp_put_u64(at + 16, (uint64_t)last_step);
    bp_put_u32(at + 24, (uint32_t)first_octave);
    for (size_t c = 0; c <= t->columns; c++)
        put_real(at + HEAD_BYTES + 8 * c, (double)view->starts[c]);
}

/* A bin without a finite value has NaN in all three. */
static void put_value(const tile *t, size_t plane, size_t cell, bool measured, double value) {
    uint8_t *at = t->bytes + plane + cell * (t->log16 ? 2 : 8);
    if (t->log16)
        bp_put_u16(at, measured ? bp_log16_encode(value) : BP_CODE_ABSENT);
    else if (!measured)
        bp_put_u64(at, BP_BITS_ABSENT);
    else
        put_real(at, isnan(value) ? (double)NAN : value);
}

/* From columns of cells to rows of values. */
static void put_cells(const tile *t, const bp_view *view) {
    const bp_view_cell *from = view->cells;
    for (size_t c = 0; c < t->columns; c++)
        for (size_t r = 0; r < t->rows; r++, from++) {
            const size_t cell = r * t->columns + c;
            const bool measured = from->count > 0;
            put_value(t, t->mean, cell, measured, from->mean);
            put_value(t, t->min, cell, measured, from->min);
            put_value(t, t->max, cell, measured, from->max);
            t->bytes[t->flags + cell] = (uint8_t)from->flags;
        }
}

bp_status bp_tile_encode(uint8_t **bytes, size_t *n_bytes, const bp_view *view, bool log16,
                         int64_t last_step, int32_t first_octave, bp_error *error) {
    tile t = layout(view, log16);
    t.bytes = calloc(t.n_bytes, 1);
    if (!t.bytes) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a tile");
    put_head(&t, view, last_step, first_octave);
    put_cells(&t, view);
    *bytes = t.bytes;
    *n_bytes = t.n_bytes;
    return BP_OK;
}
