/* SPDX-License-Identifier: Apache-2.0 */
#include "record/column.h"
#include "record/log16.h"
#include "record/quantity.h"

#include <math.h>
#include <string.h>

static size_t bitmap_bytes(uint32_t n_layers) {
    return ((size_t)n_layers + 1 + 7) / 8;
}

static void find_rows(bp_column *column, bp_cursor *cursor) {
    column->presence = bp_read_u8(cursor);
    const bool layers = bp_quantity_table[column->quantity].rows == BP_ROWS_LAYER;
    if (column->presence > (layers ? BP_PRESENT_MAPPED : BP_PRESENT_NETWORK)) cursor->bad = true;
    if (column->presence == BP_PRESENT_MAPPED)
        column->bitmap = bp_read_bytes(cursor, bitmap_bytes(column->n_layers));
    if (cursor->bad) return;
    column->values = cursor->bytes + cursor->position;
    column->n_bytes = cursor->length - cursor->position;
}

bp_status bp_column_find(bp_column *column, bool *found, bp_quantity quantity, const uint8_t *bytes,
                         size_t n_bytes) {
    bp_cursor cursor;
    bp_cursor_init(&cursor, bytes, n_bytes);
    *found = false;
    *column = (bp_column){.quantity = quantity};
    const uint64_t n_layers = bp_read_varint(&cursor), step = bp_read_varint(&cursor);
    (void)bp_read_f64(&cursor);                                /* wall time */
    for (int i = 0; i < 3; i++) (void)bp_read_varint(&cursor); /* stream, micro-step, flags */
    if (n_layers > UINT32_MAX - 1 || step > INT64_MAX) cursor.bad = true;
    column->n_layers = (uint32_t)n_layers;
    column->step = (int64_t)step;
    const uint32_t number = bp_quantity_table[quantity].number;
    uint64_t n_columns = bp_read_varint(&cursor);
    for (; n_columns > 0 && !cursor.bad; n_columns--) {
        const uint64_t this_number = bp_read_varint(&cursor), length = bp_read_varint(&cursor);
        if (cursor.bad || length > cursor.length - cursor.position) return BP_ERROR_INPUT;
        const uint8_t *at = bp_read_bytes(&cursor, (size_t)length);
        if (this_number > number) return BP_OK;
        if (this_number < number) continue;
        bp_cursor inside;
        bp_cursor_init(&inside, at, (size_t)length);
        find_rows(column, &inside);
        *found = !inside.bad;
        return inside.bad ? BP_ERROR_INPUT : BP_OK;
    }
    return cursor.bad ? BP_ERROR_INPUT : BP_OK;
}

bp_column bp_column_of_loss(int64_t step, const uint8_t *loss) {
    return (bp_column){.quantity = BP_Q_LOSS,
                       .step = step,
                       .presence = BP_PRESENT_NETWORK,
                       .values = loss,
                       .n_bytes = 8};
}

size_t bp_column_element_bytes(bp_quantity quantity) {
    return bp_quantity_table[quantity].codec == BP_CODEC_LOG ? 2 : 8;
}

uint32_t bp_column_rows(bp_quantity quantity, uint32_t n_layers) {
    return bp_quantity_table[quantity].rows == BP_ROWS_LAYER ? n_layers + 1 : 1;
}

/* --- elements ------------------------------------------------------------------------------- */

static bool is_present(const bp_column *column, uint32_t row) {
    switch (column->presence) {
    case BP_PRESENT_NETWORK:
        return row == 0;
    case BP_PRESENT_ALL:
        return row <= column->n_layers;
    case BP_PRESENT_LAYERS:
        return row >= 1 && row <= column->n_layers;
    default:
        return row <= column->n_layers && (column->bitmap[row / 8] >> (row % 8) & 1);
    }
}

static bool spread_codes(const bp_column *column, uint8_t *codes, uint32_t n_rows) {
    bp_cursor cursor;
    bool good = true;
    bp_cursor_init(&cursor, column->values, column->n_bytes);
    for (uint32_t row = 0; row < n_rows; row++) {
        uint16_t code = BP_CODE_ABSENT;
        if (is_present(column, row)) {
            code = bp_read_u16(&cursor);
            good = good && bp_log16_is_valid(code);
        }
        memcpy(codes + 2 * (size_t)row, &code, sizeof code);
    }
    return good && !cursor.bad && cursor.position == cursor.length;
}

static bool spread_reals(const bp_column *column, uint8_t *reals, uint32_t n_rows) {
    const bool counts = bp_quantity_table[column->quantity].codec == BP_CODEC_COUNT;
    const uint64_t absent = BP_BITS_ABSENT;
    bp_cursor cursor;
    bp_cursor_init(&cursor, column->values, column->n_bytes);
    for (uint32_t row = 0; row < n_rows; row++) {
        uint8_t *to = reals + 8 * (size_t)row;
        if (!is_present(column, row)) {
            memcpy(to, &absent, sizeof absent);
            continue;
        }
        double value = counts ? (double)bp_read_varint(&cursor) : bp_read_f64(&cursor);
        if (isnan(value)) value = (double)NAN; /* none that means absent */
        memcpy(to, &value, sizeof value);
    }
    return !cursor.bad && cursor.position == cursor.length;
}

/* Rows in one block are copied as they stand: the codes are little endian, as our platforms are. */
static bool copy_block(const bp_column *column, uint8_t *codes, uint32_t n_rows) {
    const uint32_t first = column->presence == BP_PRESENT_LAYERS ? 1 : 0;
    const size_t n = (size_t)column->n_layers + 1 - first;
    const uint16_t absent = BP_CODE_ABSENT;
    if (column->n_bytes != 2 * n) return false;
    if (first) memcpy(codes, &absent, sizeof absent);
    memcpy(codes + 2 * (size_t)first, column->values, 2 * n);
    for (size_t row = first + n; row < n_rows; row++)
        memcpy(codes + 2 * row, &absent, sizeof absent);
    bool good = true;
    for (size_t row = first; row < first + n; row++) {
        uint16_t code;
        memcpy(&code, codes + 2 * row, sizeof code);
        good = good && bp_log16_is_valid(code);
    }
    return good;
}

bool bp_column_spread(const bp_column *column, void *elements, uint32_t n_rows) {
    if (bp_column_rows(column->quantity, column->n_layers) > n_rows) return false;
    if (bp_quantity_table[column->quantity].codec != BP_CODEC_LOG)
        return spread_reals(column, elements, n_rows);
    if (column->presence == BP_PRESENT_ALL || column->presence == BP_PRESENT_LAYERS)
        return copy_block(column, elements, n_rows);
    return spread_codes(column, elements, n_rows);
}
