/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bp_histogram histogram_of(const double *numbers, int64_t n) {
    bp_summary summary;
    bp_exponents exponents;
    bp_histogram histogram;
    const bp_tensor tensor = {
        .data = numbers, .dtype = BP_F64, .ndim = 1, .shape = {n}, .stride = {1}};
    bp_exponents_init(&exponents);
    bp_summarise_exponents(&summary, &exponents, &tensor);
    bp_histogram_of(&histogram, &summary, &exponents);
    assert_int_equal(bp_histogram_elements(&histogram), n);
    return histogram;
}

static uint64_t in_octave(const bp_histogram *histogram, int octave) {
    const int i = octave - histogram->first_octave;
    return i >= 0 && i < (int)histogram->n_octaves ? histogram->count[i] : 0;
}

static void each_element_is_counted_in_its_octave(void **state) {
    (void)state;
    const double numbers[] = {
        1, 1.5, -1.99, 2, -0.3, 0.25, 0, -0.0, 0, (double)NAN, (double)INFINITY, 1e3};
    const bp_histogram h = histogram_of(numbers, sizeof numbers / sizeof *numbers);
    assert_int_equal(h.zeros, 3);
    assert_int_equal(h.non_finite, 2);
    assert_int_equal(h.first_octave, -2);
    assert_int_equal(h.n_octaves, 12);
    assert_int_equal(in_octave(&h, -2), 2);
    assert_int_equal(in_octave(&h, -1), 0);
    assert_int_equal(in_octave(&h, 0), 3);
    assert_int_equal(in_octave(&h, 1), 1);
    assert_int_equal(in_octave(&h, 9), 1);
}

static void nothing_has_no_octaves(void **state) {
    (void)state;
    const double numbers[] = {0, 0, -(double)INFINITY};
    const bp_histogram h = histogram_of(numbers, 3), none = histogram_of(numbers, 0);
    assert_true(h.n_octaves == 0 && h.first_octave == 0 && h.zeros == 2 && h.non_finite == 1);
    assert_true(none.n_octaves == 0 && none.zeros == 0 && none.non_finite == 0);
}

static void exactly_as_many_octaves_as_there_is_room_for(void **state) {
    (void)state;
    double numbers[BP_HISTOGRAM_OCTAVES];
    for (int i = 0; i < BP_HISTOGRAM_OCTAVES; i++) numbers[i] = ldexp(1, i - 60);
    const bp_histogram h = histogram_of(numbers, BP_HISTOGRAM_OCTAVES);
    assert_true(h.first_octave == -60 && h.n_octaves == BP_HISTOGRAM_OCTAVES);
    for (int i = 0; i < BP_HISTOGRAM_OCTAVES; i++) assert_int_equal(h.count[i], 1);
}

/* Most lies near 1; a few at both ends of what a number can be. */
static void tails_count_in_the_first_and_the_last(void **state) {
    (void)state;
    const double numbers[] = {1, 1, 1, 2, 0x1p-62, 0x1p-1074, 0x1p-70, 0x1p900, 0x1p901, 0x1p902};
    const bp_histogram h = histogram_of(numbers, sizeof numbers / sizeof *numbers);
    assert_int_equal(h.n_octaves, BP_HISTOGRAM_OCTAVES);
    assert_int_equal(h.first_octave, -62);
    assert_int_equal(h.count[0], 3);
    assert_int_equal(in_octave(&h, 0), 3);
    assert_int_equal(in_octave(&h, 1), 4);
}

static void of_places_that_hold_the_same_the_highest(void **state) {
    (void)state;
    const double numbers[] = {0x1p-500, 1, 0x1p500};
    const bp_histogram h = histogram_of(numbers, 3);
    assert_int_equal(h.first_octave, 500 - BP_HISTOGRAM_OCTAVES + 1);
    assert_int_equal(h.count[0], 2);
    assert_int_equal(h.count[BP_HISTOGRAM_OCTAVES - 1], 1);
}

static void joined_is_as_of_all(void **state) {
    (void)state;
    const double numbers[] = {3, 1e-5, 0, (double)NAN, 7e8, -2, -1e-5, 1e-9, 0, 12};
    const int64_t n = sizeof numbers / sizeof *numbers;
    const bp_histogram all = histogram_of(numbers, n);
    for (int64_t cut = 0; cut <= n; cut++) {
        bp_histogram joined = histogram_of(numbers, cut);
        const bp_histogram rest = histogram_of(numbers + cut, n - cut);
        bp_histogram_join(&joined, &rest);
        assert_memory_equal(&joined, &all, sizeof all);
    }
}

static void joined_beyond_the_room(void **state) {
    (void)state;
    const double low[] = {0x1p-1000, 0x1p-999, 0x1p-999}, high[] = {0x1p1000, 0x1p1001};
    bp_histogram joined = histogram_of(low, 3);
    const bp_histogram other = histogram_of(high, 2);
    bp_histogram_join(&joined, &other);
    assert_int_equal(bp_histogram_elements(&joined), 5);
    assert_int_equal(joined.n_octaves, BP_HISTOGRAM_OCTAVES);
    assert_int_equal(joined.first_octave, -1000);
    assert_true(joined.count[0] == 1 && joined.count[1] == 2);
    assert_int_equal(joined.count[BP_HISTOGRAM_OCTAVES - 1], 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_element_is_counted_in_its_octave),
        cmocka_unit_test(nothing_has_no_octaves),
        cmocka_unit_test(exactly_as_many_octaves_as_there_is_room_for),
        cmocka_unit_test(tails_count_in_the_first_and_the_last),
        cmocka_unit_test(of_places_that_hold_the_same_the_highest),
        cmocka_unit_test(joined_is_as_of_all),
        cmocka_unit_test(joined_beyond_the_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
