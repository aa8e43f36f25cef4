/* SPDX-License-Identifier: Apache-2.0 */
/* A quantity that is picked out of a record is the one that decoding gives. */
#include "encoded.h"
#include "record/column.h"
#include "record/quantity.h"

#include <math.h>
#include <string.h>

static void assert_element(const encoded *b, bp_quantity quantity, uint32_t row,
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
        encoded b;
        encoded_start(&b, seed);
        for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
            const bp_quantity quantity = (bp_quantity)q;
            const uint32_t n_rows = bp_column_rows(quantity, ENCODED_WIDE);
            uint64_t elements[ENCODED_WIDE + 1];
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
            if (n_rows > 1) assert_false(bp_column_spread(&column, elements, ENCODED_LAYERS));
        }
        encoded_stop(&b);
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
    encoded b;
    encoded_start(&b, 4);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        const bp_quantity quantity = (bp_quantity)q;
        uint64_t elements[ENCODED_WIDE + 1];
        bp_column column;
        bool found;
        for (size_t length = 0; length < b.length; length++) {
            uint8_t *cut = malloc(length ? length : 1);
            assert_non_null(cut);
            memcpy(cut, b.bytes, length);
            if (bp_column_find(&column, &found, quantity, cut, length) == BP_OK && found)
                (void)!bp_column_spread(&column, elements, bp_column_rows(quantity, ENCODED_WIDE));
            free(cut);
        }
        for (size_t bit = 0; bit < 8 * b.length; bit += 3) {
            b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bp_column_find(&column, &found, quantity, b.bytes, b.length) == BP_OK && found)
                (void)!bp_column_spread(&column, elements, bp_column_rows(quantity, ENCODED_WIDE));
            b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    encoded_stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_quantity_of_random_records),
        cmocka_unit_test(a_nan_that_looks_absent),
        cmocka_unit_test(truncations_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
