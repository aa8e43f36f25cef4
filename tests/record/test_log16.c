/* SPDX-License-Identifier: Apache-2.0 */
#include "record/log16.h"
#include "record/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void every_code_comes_back(void **state) {
    (void)state;
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        const double value = bp_log16_decode((uint16_t)code);
        const uint16_t again = bp_log16_encode(value);
        if (bp_log16_is_valid((uint16_t)code)) assert_int_equal(again, code);
        const double second = bp_log16_decode(again);
        assert_true(second == value || (isnan(second) && isnan(value)));
    }
}

static void codes_are_powers_of_two(void **state) {
    (void)state;
    for (uint32_t code = BP_LOG16_FIRST; code <= BP_LOG16_LAST; code++) {
        const double exact = exp2((double)(code - BP_LOG16_FIRST) / BP_LOG16_PER_OCTAVE - 152.0);
        assert_true(fabs(bp_log16_decode((uint16_t)code) - exact) <= 1e-13 * exact);
        assert_true(bp_log16_decode((uint16_t)code) > bp_log16_decode((uint16_t)(code - 1)));
    }
    assert_true(bp_log16_decode(BP_LOG16_FIRST) == 0x1p-152);
    assert_true(bp_log16_decode(BP_LOG16_LAST) == 0x1p134);
    for (uint32_t code = BP_LOG16_LAST + 1; code < BP_LOG16_INF; code++)
        assert_true(isnan(bp_log16_decode((uint16_t)code)));
}

/* Around the middle between two codes: there the error is largest and the choice changes. */
static void nearest_code_within_the_error(void **state) {
    (void)state;
    double worst = 0.0;
    for (uint32_t code = BP_LOG16_FIRST; code < BP_LOG16_LAST; code++) {
        const double low = bp_log16_decode((uint16_t)code);
        const double high = bp_log16_decode((uint16_t)(code + 1));
        const double middle = sqrt(low) * sqrt(high);
        assert_int_equal(bp_log16_encode(middle * (1.0 - 1e-12)), code);
        assert_int_equal(bp_log16_encode(middle * (1.0 + 1e-12)), code + 1);
        worst = fmax(worst, fmax(middle / low - 1.0, 1.0 - middle / high));
    }
    print_message("largest relative error of a 16-bit logarithm: %.4f%%\n", 100.0 * worst);
    assert_true(worst <= 0.0016);
}

static void monotone_everywhere(void **state) {
    (void)state;
    uint16_t last = 0;
    for (double value = 0x1p-160; value < 0x1p140; value *= 1.00037) {
        const uint16_t code = bp_log16_encode(value);
        assert_true(code >= last);
        last = code;
    }
}

static void the_special_ones(void **state) {
    (void)state;
    assert_int_equal(bp_log16_encode(0.0), 0);
    assert_int_equal(bp_log16_encode(-0.0), 0);
    assert_true(bp_log16_decode(0) == 0.0);
    assert_true(isinf(bp_log16_decode(bp_log16_encode((double)INFINITY))));
    assert_true(isnan(bp_log16_decode(bp_log16_encode((double)NAN))));
    assert_int_equal(bp_log16_encode(-3.0), bp_log16_encode(3.0));
    /* never 0 and never Inf for what is neither */
    assert_int_equal(bp_log16_encode(5e-324), BP_LOG16_FIRST);
    assert_int_equal(bp_log16_encode(1.7e308), BP_LOG16_LAST);
}

/* Bit for bit, at every place of an array. */
static void all_at_once_is_one_by_one(void **state) {
    (void)state;
    static uint8_t codes[2 * 65536];
    static double values[65536];
    for (uint32_t code = 0; code < 65536; code++) bp_put_u16(codes + 2 * code, (uint16_t)code);
    assert_false(bp_log16_decode_all(values, codes, 65536));
    for (uint32_t code = 0; code < 65536; code++) {
        const double expected = bp_log16_decode((uint16_t)code);
        assert_memory_equal(&values[code], &expected, sizeof expected);
        assert_int_equal(bp_log16_decode_all(&values[0], codes + 2 * code, 1),
                         bp_log16_is_valid((uint16_t)code));
    }
    assert_true(bp_log16_decode_all(values, codes, BP_LOG16_LAST + 1));
    assert_false(bp_log16_decode_all(values, codes, BP_LOG16_LAST + 2));
    assert_true(bp_log16_decode_all(values, codes, 0));
}

static void by_table_is_one_by_one(void **state) {
    (void)state;
    static double table[BP_LOG16_CODES];
    bp_log16_fill_table(table);
    for (uint32_t code = 0; code < 65536; code++) {
        uint8_t bytes[2];
        double value;
        const double expected = bp_log16_decode((uint16_t)code);
        bp_put_u16(bytes, (uint16_t)code);
        assert_int_equal(bp_log16_decode_by(table, &value, bytes, 1),
                         bp_log16_is_valid((uint16_t)code));
        assert_memory_equal(&value, &expected, sizeof expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_comes_back),
        cmocka_unit_test(codes_are_powers_of_two),
        cmocka_unit_test(nearest_code_within_the_error),
        cmocka_unit_test(monotone_everywhere),
        cmocka_unit_test(the_special_ones),
        cmocka_unit_test(all_at_once_is_one_by_one),
        cmocka_unit_test(by_table_is_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
