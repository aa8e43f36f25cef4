/* SPDX-License-Identifier: Apache-2.0 */
/* A step record as bytes (docs/runlog-format.md): a head, then one column for each quantity that
 * was measured anywhere, in ascending order of the pinned numbers. */
#include "record/log16.h"
#include "record/quantity.h"
#include "record/record.h"

#include <math.h>
#include <string.h>

#define MAX_VARINT_BYTES 10u
#define MAX_HEAD_BYTES (4 * MAX_VARINT_BYTES + 8 + 2 * MAX_VARINT_BYTES)
#define MAX_COLUMN_HEAD_BYTES (2 * MAX_VARINT_BYTES + 1)

static size_t bitmap_bytes(uint32_t n_layers) {
    return ((size_t)n_layers + 1 + 7) / 8;
}

size_t bp_record_max_bytes(uint32_t n_layers) {
    static const size_t value_bytes[] = {
        [BP_CODEC_REAL] = 8, [BP_CODEC_LOG] = 2, [BP_CODEC_COUNT] = MAX_VARINT_BYTES};
    size_t bytes = MAX_HEAD_BYTES;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        const bool layers = bp_quantity_table[q].rows == BP_ROWS_LAYER;
        const size_t rows = layers ? (size_t)n_layers + 1 : 1;
        bytes += MAX_COLUMN_HEAD_BYTES + (layers ? bitmap_bytes(n_layers) : 0) +
                 rows * value_bytes[bp_quantity_table[q].codec];
    }
    return bytes;
}

/* --- encode --------------------------------------------------------------------------------- */

static size_t varint_bytes(uint64_t value) {
    size_t n = 1;
    while (value >>= 7) n++;
    return n;
}

/* Counts are whole and not negative by construction; the conversion must be defined all the same.
 */
static uint64_t count_of(double value) {
    if (!(value > 0.0)) return 0;
    return value < 0x1p64 ? (uint64_t)value : UINT64_MAX;
}

static int presence_of(const uint8_t *measured, uint32_t n_layers) {
    uint32_t n = 0;
    for (uint32_t row = 1; row <= n_layers; row++) n += measured[row];
    if (n == 0) return measured[0] ? BP_PRESENT_NETWORK : -1;
    if (n < n_layers) return BP_PRESENT_MAPPED;
    return measured[0] ? BP_PRESENT_ALL : BP_PRESENT_LAYERS;
}

static void write_value(bp_writer *writer, bp_quantity_codec codec, double value) {
    switch (codec) {
    case BP_CODEC_REAL:
        bp_write_f64(writer, value);
        break;
    case BP_CODEC_LOG:
        bp_write_u16(writer, bp_log16_encode(value));
        break;
    case BP_CODEC_COUNT:
        bp_write_varint(writer, count_of(value));
        break;
    }
}

static size_t column_bytes(const uint8_t *measured, const double *value, uint32_t n_rows,
                           bp_quantity_codec codec) {
    size_t bytes = 1;
    for (uint32_t row = 0; row < n_rows; row++) {
        if (!measured[row]) continue;
        if (codec == BP_CODEC_REAL) bytes += 8;
        if (codec == BP_CODEC_LOG) bytes += 2;
        if (codec == BP_CODEC_COUNT) bytes += varint_bytes(count_of(value[row]));
    }
    return bytes;
}

static void write_bitmap(bp_writer *writer, const uint8_t *measured, uint32_t n_rows) {
    for (uint32_t row = 0; row < n_rows; row += 8) {
        unsigned byte = 0;
        for (uint32_t bit = 0; bit < 8 && row + bit < n_rows; bit++)
            byte |= (unsigned)measured[row + bit] << bit;
        bp_write_u8(writer, (uint8_t)byte);
    }
}

static void encode_column(const bp_record *record, bp_quantity quantity, int presence,
                          bp_writer *writer) {
    const bp_quantity_entry *entry = &bp_quantity_table[quantity];
    const size_t cell = bp_record_cell(record, quantity, 0);
    const uint8_t *measured = record->measured + cell;
    const double *value = record->value + cell;
    const uint32_t n_rows = presence == BP_PRESENT_NETWORK ? 1 : record->n_layers + 1;
    const bool mapped = presence == BP_PRESENT_MAPPED;
    bp_write_varint(writer, entry->number);
    bp_write_varint(writer, column_bytes(measured, value, n_rows, entry->codec) +
                                (mapped ? bitmap_bytes(record->n_layers) : 0));
    bp_write_u8(writer, (uint8_t)presence);
    if (mapped) write_bitmap(writer, measured, n_rows);
    for (uint32_t row = 0; row < n_rows; row++)
        if (measured[row]) write_value(writer, entry->codec, value[row]);
}

void bp_record_encode(const bp_record *record, bp_writer *writer) {
    int presence[BP_N_QUANTITIES];
    uint64_t n_columns = 0;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        presence[q] = presence_of(record->measured + bp_record_cell(record, (bp_quantity)q, 0),
                                  record->n_layers);
        if (presence[q] >= 0) n_columns++;
    }
    bp_write_varint(writer, record->n_layers);
    bp_write_varint(writer, (uint64_t)record->step);
    bp_write_f64(writer, record->wall_time);
    bp_write_varint(writer, record->stream);
    bp_write_varint(writer, record->micro_step);
    bp_write_varint(writer, record->flags);
    bp_write_varint(writer, n_columns);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        if (presence[q] >= 0) encode_column(record, (bp_quantity)q, presence[q], writer);
}

/* --- decode --------------------------------------------------------------------------------- */

static uint32_t read_u32_varint(bp_cursor *cursor) {
    const uint64_t value = bp_read_varint(cursor);
    if (value > UINT32_MAX) cursor->bad = true;
    return cursor->bad ? 0 : (uint32_t)value;
}

static void read_counts(bp_cursor *cursor, double *values, size_t n) {
    for (size_t i = 0; i < n; i++) values[i] = (double)bp_read_varint(cursor);
}

/* n values of neighbouring rows. */
static void read_values(bp_cursor *cursor, bp_quantity_codec codec, const double *table,
                        double *values, size_t n) {
    if (codec == BP_CODEC_COUNT) {
        read_counts(cursor, values, n);
        return;
    }
    const uint8_t *bytes = bp_read_bytes(cursor, n * (codec == BP_CODEC_LOG ? 2 : 8));
    if (!bytes) return;
    if (codec == BP_CODEC_REAL)
        memcpy(values, bytes, 8 * n); /* little endian, as all our platforms are */
    else if (!(table ? bp_log16_decode_by(table, values, bytes, n)
                     : bp_log16_decode_all(values, bytes, n)))
        cursor->bad = true;
}

/* Where a record goes. What the one before it left is written over, or forgotten at the end. */
typedef struct target {
    bp_record *record;
    const double *table;
    uint32_t n_layers; /* of the encoded record */
    uint64_t before;   /* columns that held something */
} target;

/* Says that they are measured first, so that clearing finds what a damaged column leaves. */
static void decode_rows(const target *to, bp_quantity quantity, uint32_t first, uint32_t n_rows,
                        bp_cursor *cursor) {
    bp_record *record = to->record;
    const size_t cell = bp_record_cell(record, quantity, first);
    record->columns |= UINT64_C(1) << quantity;
    memset(record->measured + cell, 1, n_rows);
    read_values(cursor, bp_quantity_table[quantity].codec, to->table, record->value + cell, n_rows);
}

static void decode_block(const target *to, bp_quantity quantity, uint32_t first, uint32_t n_rows,
                         bp_cursor *cursor) {
    if (to->before >> quantity & 1) {
        bp_record_forget(to->record, quantity, 0, first);
        bp_record_forget(to->record, quantity, first + n_rows,
                         to->record->n_layers + 1 - (first + n_rows));
    }
    decode_rows(to, quantity, first, n_rows, cursor);
}

static void decode_mapped(const target *to, bp_quantity quantity, bp_cursor *cursor) {
    const size_t n_bytes = bitmap_bytes(to->n_layers);
    const unsigned last_bits = to->n_layers % 8 + 1;
    const uint8_t *bitmap = bp_read_bytes(cursor, n_bytes);
    if (!bitmap) return;
    if (bitmap[n_bytes - 1] >> last_bits != 0) cursor->bad = true;
    bp_record_forget(to->record, quantity, 0, to->record->n_layers + 1);
    for (uint32_t row = 0; row <= to->n_layers && !cursor->bad; row++)
        if (bitmap[row / 8] >> (row % 8) & 1) decode_rows(to, quantity, row, 1, cursor);
}

static void decode_column(const target *to, bp_quantity quantity, bp_cursor *cursor) {
    const unsigned presence = bp_read_u8(cursor);
    const bool layers = bp_quantity_table[quantity].rows == BP_ROWS_LAYER;
    if (presence > (layers ? BP_PRESENT_MAPPED : BP_PRESENT_NETWORK)) cursor->bad = true;
    if (cursor->bad) return;
    if (presence == BP_PRESENT_MAPPED)
        decode_mapped(to, quantity, cursor);
    else if (presence == BP_PRESENT_NETWORK)
        decode_block(to, quantity, 0, 1, cursor);
    else if (presence == BP_PRESENT_ALL)
        decode_block(to, quantity, 0, to->n_layers + 1, cursor);
    else
        decode_block(to, quantity, 1, to->n_layers, cursor);
}

static void decode_columns(const target *to, bp_cursor *cursor) {
    const uint64_t n_columns = bp_read_varint(cursor);
    unsigned q = 0;
    uint32_t previous = 0;
    for (uint64_t i = 0; i < n_columns && !cursor->bad; i++) {
        const uint32_t number = read_u32_varint(cursor);
        const uint64_t n_bytes = bp_read_varint(cursor);
        /* Strictly ascending: no column can come twice. */
        if (number <= previous || n_bytes > cursor->length - cursor->position) cursor->bad = true;
        if (cursor->bad) return;
        previous = number;
        bp_cursor column;
        bp_cursor_init(&column, bp_read_bytes(cursor, (size_t)n_bytes), (size_t)n_bytes);
        while (q < BP_N_QUANTITIES && bp_quantity_table[q].number < number) q++;
        if (q == BP_N_QUANTITIES || bp_quantity_table[q].number != number) continue;
        decode_column(to, (bp_quantity)q, &column);
        if (column.bad || column.position != column.length) cursor->bad = true;
    }
}

/* Of columns that the record before had and this one has not. */
static void forget_others(const target *to) {
    const uint64_t others = to->before & ~to->record->columns;
    for (unsigned q = 0; others && q < BP_N_QUANTITIES; q++)
        if (others >> q & 1)
            bp_record_forget(to->record, (bp_quantity)q, 0, to->record->n_layers + 1);
}

static void decode_body(const target *to, bp_cursor *cursor) {
    bp_record *record = to->record;
    const uint64_t step = bp_read_varint(cursor);
    record->step = (int64_t)step;
    if (step > INT64_MAX) cursor->bad = true;
    record->wall_time = bp_read_f64(cursor);
    record->stream = read_u32_varint(cursor);
    record->micro_step = read_u32_varint(cursor);
    record->flags = read_u32_varint(cursor);
    record->columns = 0;
    decode_columns(to, cursor);
    forget_others(to);
}

bp_status bp_record_decode_by(const double *table, bp_record *record, bp_cursor *cursor,
                              bp_error *error) {
    const uint32_t n_layers = read_u32_varint(cursor);
    if (!cursor->bad && n_layers > record->n_layers) {
        bp_record_clear(record);
        return bp_fail(error, BP_ERROR_INPUT,
                       "a step record has %u layers, expected at most the network's %u",
                       (unsigned)n_layers, (unsigned)record->n_layers);
    }
    const target to = {record, table, n_layers, record->columns};
    if (!cursor->bad) decode_body(&to, cursor);
    if (!cursor->bad && cursor->position == cursor->length) return BP_OK;
    const size_t place = cursor->position;
    bp_record_clear(record);
    return bp_fail(error, BP_ERROR_INPUT,
                   "a step record is damaged at its byte %zu of %zu, expected whole columns in "
                   "ascending order and nothing behind them",
                   place, cursor->length);
}

bp_status bp_record_decode(bp_record *record, bp_cursor *cursor, bp_error *error) {
    return bp_record_decode_by(NULL, record, cursor, error);
}
