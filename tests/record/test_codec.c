/* SPDX-License-Identifier: Apache-2.0 */
#include "record/log16.h"
#include "record/quantity.h"
#include "record/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 11 }; /* layers: rows do not fill whole bytes of a bitmap */

static const bp_random_key KEY = {.seed = 20, .purpose = 1};

static double some_value(bp_quantity_codec codec, uint64_t index) {
    static const double odd[] = {0.0, -0.0, (double)NAN, (double)INFINITY, 5e-324, 1.7e308};
    uint32_t block[4];
    bp_random_block(&KEY, index, block);
    if (codec == BP_CODEC_COUNT) return ldexp((double)block[0], (int)(block[1] % 21));
    if (block[1] % 4 == 0) return odd[block[2] % (sizeof odd / sizeof *odd)];
    const double value = exp(40.0 * (bp_random_uniform(&KEY, index) - 0.5));
    return codec == BP_CODEC_REAL && block[3] % 2 ? -value : value;
}

/* Quantity q is measured on rows by q mod 5: none, row 0, all, the layers, some. */
static void fill(bp_record *record, uint64_t seed) {
    bp_record_clear(record);
    record->step = (int64_t)seed * 1000003;
    record->wall_time = 1.7e9 + (double)seed;
    record->stream = 3;
    record->micro_step = 300;
    record->flags = BP_RECORD_UPDATE_SKIPPED;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row <= record->n_layers; row++) {
            const uint64_t index = seed * 100000 + q * 1000 + row;
            const unsigned form = (q + (unsigned)seed) % 5;
            const bool some = bp_random_uniform(&KEY, index + 500) < 0.5;
            if (form == 1 ? row == 0 : form == 2 || (form == 3 && row > 0) || (form == 4 && some))
                bp_record_set(record, (bp_quantity)q, row,
                              some_value(bp_quantity_table[q].codec, index));
        }
}

static bool same_bits(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

static double through_codec(bp_quantity_codec codec, double value) {
    return codec == BP_CODEC_LOG ? bp_log16_decode(bp_log16_encode(value)) : value;
}

static void assert_decoded(const bp_record *original, const bp_record *decoded) {
    assert_int_equal(decoded->step, original->step);
    assert_true(same_bits(decoded->wall_time, original->wall_time));
    assert_int_equal(decoded->stream, original->stream);
    assert_int_equal(decoded->micro_step, original->micro_step);
    assert_int_equal(decoded->flags, original->flags);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row <= original->n_layers; row++) {
            const bp_quantity quantity = (bp_quantity)q;
            const double was = bp_record_get(original, quantity, row);
            const double is = bp_record_get(decoded, quantity, row);
            assert_int_equal(bp_record_has(decoded, quantity, row),
                             bp_record_has(original, quantity, row));
            const double expected = through_codec(bp_quantity_table[q].codec, was);
            assert_true(same_bits(is, expected) || (isnan(is) && isnan(expected)));
        }
}

typedef struct bench {
    bp_record record, decoded;
    uint8_t *bytes;
    size_t capacity, length;
} bench;

static void start(bench *b, uint32_t n_layers) {
    assert_int_equal(bp_record_init(&b->record, n_layers, NULL), BP_OK);
    assert_int_equal(bp_record_init(&b->decoded, n_layers, NULL), BP_OK);
    b->capacity = bp_record_max_bytes(n_layers);
    b->bytes = malloc(b->capacity + 64);
    assert_non_null(b->bytes);
}

static void stop(bench *b) {
    bp_record_finish(&b->record, NULL);
    bp_record_finish(&b->decoded, NULL);
    free(b->bytes);
}

static void encode(bench *b) {
    bp_writer writer;
    bp_writer_init(&writer, b->bytes, b->capacity);
    bp_record_encode(&b->record, &writer);
    assert_false(writer.cut);
    b->length = writer.length;
}

static bp_status decode(bench *b, size_t length) {
    bp_cursor cursor;
    bp_error error;
    /* In a block of its own, so that a sanitizer sees a byte too many. */
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, b->bytes, length);
    bp_cursor_init(&cursor, copy, length);
    const bp_status status = bp_record_decode(&b->decoded, &cursor, &error);
    free(copy);
    return status;
}

static void assert_refused(bench *b) {
    assert_int_equal(decode(b, b->length), BP_ERROR_INPUT);
    for (size_t i = 0; i < BP_N_QUANTITIES * ((size_t)b->decoded.n_layers + 1); i++)
        assert_int_equal(b->decoded.measured[i], 0);
    assert_int_equal(b->decoded.step, 0);
}

static void what_goes_in_comes_out(void **state) {
    (void)state;
    bench b;
    for (uint32_t n_layers = 0; n_layers < 20; n_layers++) {
        start(&b, n_layers);
        for (uint64_t seed = 0; seed < 20; seed++) {
            fill(&b.record, seed);
            encode(&b);
            assert_int_equal(decode(&b, b.length), BP_OK);
            assert_decoded(&b.record, &b.decoded);
        }
        stop(&b);
    }
}

static void decoding_again_changes_nothing(void **state) {
    (void)state;
    bench b;
    start(&b, N);
    fill(&b.record, 5);
    encode(&b);
    assert_int_equal(decode(&b, b.length), BP_OK);
    const bp_record swap = b.record;
    b.record = b.decoded;
    b.decoded = swap;
    uint8_t *first = malloc(b.length);
    const size_t length = b.length;
    memcpy(first, b.bytes, length);
    encode(&b);
    assert_int_equal(b.length, length);
    assert_memory_equal(first, b.bytes, length);
    free(first);
    stop(&b);
}

static void the_largest_record_fits(void **state) {
    (void)state;
    bench b;
    start(&b, N);
    b.record.step = INT64_MAX;
    b.record.stream = b.record.micro_step = b.record.flags = UINT32_MAX;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row < N; row++) /* the last row is missing: with a bitmap */
            bp_record_set(&b.record, (bp_quantity)q, row, 1e19);
    encode(&b);
    assert_int_equal(decode(&b, b.length), BP_OK);
    assert_decoded(&b.record, &b.decoded);
    stop(&b);
}

static void impossible_counts_are_defined(void **state) {
    (void)state;
    bench b;
    start(&b, 4);
    const double counts[] = {-1.0, (double)NAN, (double)INFINITY, 1e300, 2.75};
    const double expected[] = {0.0, 0.0, 0x1p64, 0x1p64, 2.0};
    for (uint32_t row = 0; row <= 4; row++)
        bp_record_set(&b.record, BP_Q_STALLED, row, counts[row]);
    encode(&b);
    assert_int_equal(decode(&b, b.length), BP_OK);
    for (uint32_t row = 0; row <= 4; row++)
        assert_true(bp_record_get(&b.decoded, BP_Q_STALLED, row) == expected[row]);
    stop(&b);
}

static void truncated_and_trailing_are_refused(void **state) {
    (void)state;
    bench b;
    start(&b, N);
    fill(&b.record, 2);
    encode(&b);
    const size_t length = b.length;
    for (b.length = 0; b.length < length; b.length++) assert_refused(&b);
    b.bytes[length] = 0;
    b.length = length + 1;
    assert_refused(&b);
    stop(&b);
}

static void every_flip_is_survived(void **state) {
    (void)state;
    bench b;
    start(&b, N);
    fill(&b.record, 3);
    encode(&b);
    for (size_t bit = 0; bit < 8 * b.length; bit++) {
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const bp_status status = decode(&b, b.length);
        assert_true(status == BP_OK || status == BP_ERROR_INPUT);
        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    stop(&b);
}

/* Records made by hand: a head, then columns as they stand in `columns`. */
static void by_hand(bench *b, uint64_t n_layers, uint64_t n_columns, const uint8_t *columns,
                    size_t n_bytes) {
    bp_writer writer;
    bp_writer_init(&writer, b->bytes, b->capacity);
    bp_write_varint(&writer, n_layers);
    bp_write_varint(&writer, 42); /* step */
    bp_write_f64(&writer, 0.0);
    for (int i = 0; i < 3; i++) bp_write_varint(&writer, 0);
    bp_write_varint(&writer, n_columns);
    bp_write_bytes(&writer, columns, n_bytes);
    b->length = writer.length;
}

#define BY_HAND(b, n_layers, n_columns, ...)                        \
    by_hand(b, n_layers, n_columns, (const uint8_t[]){__VA_ARGS__}, \
            sizeof((const uint8_t[]){__VA_ARGS__}))

static void unknown_quantities_are_skipped(void **state) {
    (void)state;
    bench b;
    start(&b, 2);
    /* samples = 9; 15 (unknown), 3 bytes; update_bad of the layers = 5, 6; 200 (unknown), none */
    BY_HAND(&b, 2, 4, 2, 2, 0, 9, 15, 3, 0xff, 0xff, 0xff, 82, 3, 2, 5, 6, 0xc8, 1, 0);
    assert_int_equal(decode(&b, b.length), BP_OK);
    assert_int_equal(b.decoded.step, 42);
    assert_true(bp_record_get(&b.decoded, BP_Q_SAMPLES, 0) == 9.0);
    assert_true(bp_record_get(&b.decoded, BP_Q_UPDATE_BAD, 1) == 5.0);
    assert_true(bp_record_get(&b.decoded, BP_Q_UPDATE_BAD, 2) == 6.0);
    assert_false(bp_record_has(&b.decoded, BP_Q_UPDATE_BAD, 0));
    stop(&b);
}

static void wrong_columns_are_refused(void **state) {
    (void)state;
    bench b;
    start(&b, 2);
    BY_HAND(&b, 2, 1, 2, 2, 0, 9); /* the good one that the others vary */
    assert_int_equal(decode(&b, b.length), BP_OK);
    BY_HAND(&b, 3, 1, 2, 2, 0, 9); /* of another network */
    assert_refused(&b);
    BY_HAND(&b, 2, 2, 2, 2, 0, 9, 2, 2, 0, 9); /* twice */
    assert_refused(&b);
    BY_HAND(&b, 2, 2, 3, 2, 0, 9, 2, 2, 0, 9); /* descending */
    assert_refused(&b);
    BY_HAND(&b, 2, 2, 15, 0, 15, 0); /* an unknown one twice */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 2, 3, 0, 9, 9); /* longer than its value */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 2, 1, 0, 9); /* shorter */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 2, 200, 0, 9); /* longer than the record */
    assert_refused(&b);
    BY_HAND(&b, 2, 2, 2, 2, 0, 9); /* a column is missing */
    assert_refused(&b);
    BY_HAND(&b, 2, 0, 2, 2, 0, 9); /* one that was not announced */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 2, 4, 1, 9, 9, 9); /* a number of the network in all rows */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 82, 2, 4, 9); /* presence that is none */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 82, 3, 3, 0x04, 9);
    assert_int_equal(decode(&b, b.length), BP_OK);
    BY_HAND(&b, 2, 1, 82, 3, 3, 0x0c, 9); /* a row that is none */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 48, 3, 0, 0xf0, 0xff); /* a logarithm that is none */
    assert_refused(&b);
    BY_HAND(&b, 2, 1, 2, 11, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f);
    assert_refused(&b);                                       /* a count above 2^64 */
    BY_HAND(&b, 2, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 2, 0, 9); /* a number above 2^32 */
    assert_refused(&b);
    stop(&b);
}

/* What a record held before is gone, whatever columns and rows the next one has. */
static void one_behind_another(void **state) {
    (void)state;
    static double table[BP_LOG16_CODES];
    bp_record fresh;
    bench b, narrow;
    start(&b, 17);
    start(&narrow, 9);
    bp_log16_fill_table(table);
    for (uint64_t seed = 0; seed < 300; seed++) {
        bench *from = seed % 3 == 2 ? &narrow : &b;
        bp_cursor cursor;
        fill(&from->record, seed);
        for (unsigned q = 0; q < BP_N_QUANTITIES; q++) /* whole columns come and go */
            if ((seed * 31 + q * 17) % 5 == 0)
                for (uint32_t row = 0; row <= from->record.n_layers; row++) {
                    const size_t cell = bp_record_cell(&from->record, (bp_quantity)q, row);
                    from->record.measured[cell] = 0;
                }
        encode(from);
        assert_int_equal(bp_record_init(&fresh, 17, NULL), BP_OK);
        bp_cursor_init(&cursor, from->bytes, from->length);
        assert_int_equal(bp_record_decode(&fresh, &cursor, NULL), BP_OK);
        bp_cursor_init(&cursor, from->bytes, from->length);
        assert_int_equal(bp_record_decode_by(seed % 2 ? table : NULL, &b.decoded, &cursor, NULL),
                         BP_OK);
        for (size_t i = 0; i < BP_N_QUANTITIES * 18; i++) {
            assert_int_equal(b.decoded.measured[i], fresh.measured[i]);
            assert_true(isnan(b.decoded.value[i]) ? isnan(fresh.value[i])
                                                  : b.decoded.value[i] == fresh.value[i]);
        }
        bp_record_finish(&fresh, NULL);
    }
    stop(&b);
    stop(&narrow);
}

/* What one value costs in a step of a plain network, everything measured. */
static void bytes_of_a_value(void **state) {
    (void)state;
    bench b;
    start(&b, 20);
    size_t n_values = 0;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        const bp_quantity_entry *entry = &bp_quantity_table[q];
        if (q == BP_Q_VALIDATION_LOSS || q == BP_Q_VALIDATION_ACCURACY) continue;
        for (uint32_t row = entry->rows == BP_ROWS_LAYER; row <= 20; row++) {
            if (entry->rows == BP_ROWS_NETWORK && row > 0) break;
            const bool is_size = q == BP_Q_PARAMETERS || q == BP_Q_SAMPLES;
            const double value = entry->codec == BP_CODEC_COUNT && !is_size ? 0.0 : 4160.0;
            bp_record_set(&b.record, (bp_quantity)q, row, value);
            n_values++;
        }
    }
    encode(&b);
    print_message("%zu values in %zu bytes: %.2f bytes a value\n", n_values, b.length,
                  (double)b.length / (double)n_values);
    assert_true(n_values > 500);
    stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(decoding_again_changes_nothing),
        cmocka_unit_test(the_largest_record_fits),
        cmocka_unit_test(impossible_counts_are_defined),
        cmocka_unit_test(truncated_and_trailing_are_refused),
        cmocka_unit_test(every_flip_is_survived),
        cmocka_unit_test(unknown_quantities_are_skipped),
        cmocka_unit_test(wrong_columns_are_refused),
        cmocka_unit_test(one_behind_another),
        cmocka_unit_test(bytes_of_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
