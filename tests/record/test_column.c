/* SPDX-License-Identifier: Apache-2.0 */
/* A quantity that is picked out of a record is the one that decoding gives. */
#include "record/column.h"
#include "record/log16.h"
#include "record/quantity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 11, WIDE = 13, BYTES = 1 << 16 };

typedef struct bench {
    bp_record record, decoded;
    uint8_t *bytes;
    size_t length;
} bench;

static uint32_t draw(uint64_t seed, uint64_t i) {
    const bp_random_key key = {.seed = seed, .purpose = 3};
    uint32_t block[4];
    bp_random_block(&key, i, block);
    return block[0];
}

static double some_value(uint32_t bits) {
    static const double special[] = {0.0, 1.0, 0x1p-200, 1e300};
    if (bits % 11 == 0) return (double)NAN;
    if (bits % 11 == 1) return (double)INFINITY;
    return bits % 11 < 6 ? special[bits % 4] : ldexp(1.0 + bits % 97 / 97.0, (int)(bits % 60) - 30);
}

static void fill(bp_record *record, uint64_t seed) {
    bp_record_clear(record);
    record->step = (int64_t)draw(seed, 9999);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        const uint32_t kind = draw(seed, 10000 + q) % 5; /* none, network, layers, all, some */
        for (uint32_t row = 0; row <= LAYERS; row++) {
            const uint32_t bits = draw(seed, 100 * (uint64_t)q + row);
            const bool has = kind == 3 || (kind == 1 && row == 0) || (kind == 2 && row > 0) ||
                             (kind == 4 && bits >> 16 & 1);
            if (has) bp_record_set(record, (bp_quantity)q, row, some_value(bits));
        }
    }
}

static void start(bench *b, uint64_t seed) {
    bp_writer writer;
    bp_cursor cursor;
    assert_int_equal(bp_record_init(&b->record, LAYERS, NULL), BP_OK);
    assert_int_equal(bp_record_init(&b->decoded, WIDE, NULL), BP_OK);
    b->bytes = malloc(BYTES);
    assert_non_null(b->bytes);
    fill(&b->record, seed);
    bp_writer_init(&writer, b->bytes, BYTES);
    bp_record_encode(&b->record, &writer);
    assert_false(writer.cut);
    b->length = writer.length;
    uint8_t *shrunk = realloc(b->bytes, b->length); /* a sanitizer sees a byte too many */
    assert_non_null(shrunk);
    b->bytes = shrunk;
    bp_cursor_init(&cursor, b->bytes, b->length);
    assert_int_equal(bp_record_decode(&b->decoded, &cursor, NULL), BP_OK);
}

static void stop(bench *b) {
    bp_record_finish(&b->record, NULL);
    bp_record_finish(&b->decoded, NULL);
    free(b->bytes);
}

static void assert_element(const bench *b, bp_quantity quantity, uint32_t row,
                           const uint8_t *elements) {
    const bool has = bp_record_has(&b->decoded, quantity, row);
    const double expected = bp_record_get(&b->decoded, quantity, row);
    if (bp_column_element_bytes(quantity) == 2) {
        uint16_t code;
        memcpy(&code, elements + 2 * row, sizeof code);
        assert_int_equal(code == BP_CODE_ABSENT, !has);
        const double value = bp_log16_decode(code);
        if (has) assert_true(value == expected || (isnan(value) && isnan(expected)));
    } else {
        uint64_t bits;
        double value;
        memcpy(&bits, elements + 8 * row, sizeof bits);
        memcpy(&value, &bits, sizeof value);
        assert_int_equal(bits == BP_BITS_ABSENT, !has);
        if (has) assert_true(value == expected || (isnan(value) && isnan(expected)));
    }
}

static void every_quantity_of_random_records(void **state) {
    (void)state;
    size_t n_found = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        bench b;
        start(&b, seed);
        for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
            const bp_quantity quantity = (bp_quantity)q;
            const uint32_t n_rows = bp_column_rows(quantity, WIDE);
            uint64_t elements[WIDE + 1];
            bp_column column;
            bool found, any = false;
            assert_int_equal(bp_column_find(&column, &found, quantity, b.bytes, b.length), BP_OK);
            for (uint32_t row = 0; row < n_rows; row++)
                any = any || bp_record_has(&b.decoded, quantity, row);
            assert_int_equal(found, any);
            if (!found) continue;
            n_found++;
            assert_int_equal(column.step, b.decoded.step);
            assert_true(bp_column_spread(&column, elements, n_rows));
            for (uint32_t row = 0; row < n_rows; row++)
                assert_element(&b, quantity, row, (const uint8_t *)elements);
            if (n_rows > 1) assert_false(bp_column_spread(&column, elements, LAYERS));
        }
        stop(&b);
    }
    assert_true(n_found > 500);
}

/* A NaN of any bits in the log is never taken for a value that was not measured. */
static void a_nan_that_looks_absent(void **state) {
    (void)state;
    uint8_t loss[8];
    double element;
    bp_put_u64(loss, BP_BITS_ABSENT);
    const bp_column column = bp_column_of_loss(7, loss);
    uint64_t bits;
    assert_true(bp_column_spread(&column, &element, 1));
    memcpy(&bits, &element, sizeof bits);
    assert_true(isnan(element) && bits != BP_BITS_ABSENT);
}

static void truncations_and_flips(void **state) {
    (void)state;
    bench b;
    start(&b, 4);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        const bp_quantity quantity = (bp_quantity)q;
        uint64_t elements[WIDE + 1];
        bp_column column;
        bool found;
        for (size_t length = 0; length < b.length; length++) {
            uint8_t *cut = malloc(length ? length : 1);
            assert_non_null(cut);
            memcpy(cut, b.bytes, length);
            if (bp_column_find(&column, &found, quantity, cut, length) == BP_OK && found)
                (void)!bp_column_spread(&column, elements, bp_column_rows(quantity, WIDE));
            free(cut);
        }
        for (size_t bit = 0; bit < 8 * b.length; bit += 3) {
            b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bp_column_find(&column, &found, quantity, b.bytes, b.length) == BP_OK && found)
                (void)!bp_column_spread(&column, elements, bp_column_rows(quantity, WIDE));
            b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_quantity_of_random_records),
        cmocka_unit_test(a_nan_that_looks_absent),
        cmocka_unit_test(truncations_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
