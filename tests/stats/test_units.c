/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

enum { MOST_UNITS = 700 };
static double arrays[3][MOST_UNITS];

static bp_units open_units(uint64_t n_units) {
    bp_units units;
    memset(arrays, 0x5a, sizeof arrays); /* nothing may rely on what was there */
    bp_units_init(&units, arrays[0], arrays[1], arrays[2], n_units);
    return units;
}

/* Two passes over all values, in wide arithmetic. */
static double slow_variation(const double *values, size_t n_samples, size_t n_units) {
    wide variances = 0, squares = 0;
    for (size_t u = 0; u < n_units; u++) {
        wide mean = 0, variance = 0;
        for (size_t s = 0; s < n_samples; s++) mean += (wide)values[s * n_units + u];
        mean /= (wide)n_samples;
        for (size_t s = 0; s < n_samples; s++) {
            const wide value = (wide)values[s * n_units + u];
            variance += (value - mean) * (value - mean) / (wide)n_samples;
            squares += value * value;
        }
        variances += variance / (wide)n_units;
    }
    return sqrt((double)(variances / (squares / (wide)(n_samples * n_units))));
}

static bool near(double found, double expected, double tolerance) {
    return fabs(found - expected) <= tolerance * expected;
}

/* Batches of different sizes; rows shorter and longer than the blocks of the walk. */
static void variation_against_plain_code(void **state) {
    (void)state;
    static double values[90 * MOST_UNITS];
    const size_t unit_counts[] = {1, 3, 64, 511, 512, 513, MOST_UNITS};
    for (size_t c = 0; c < sizeof unit_counts / sizeof *unit_counts; c++) {
        const size_t n_units = unit_counts[c], n_samples = 90;
        const bp_random_key key = {.seed = c};
        for (size_t i = 0; i < n_samples * n_units; i++)
            values[i] = 3 + (double)(i % n_units) + 0.5 * bp_random_normal(&key, i);
        bp_units units = open_units(n_units);
        size_t done = 0;
        for (size_t batch = 1; done < n_samples; batch *= 2) {
            const size_t n = batch < n_samples - done ? batch : n_samples - done;
            const bp_tensor tensor =
                bp_tensor_matrix(values + done * n_units, BP_F64, (int64_t)n, (int64_t)n_units);
            bp_units_add(&units, &tensor);
            done += n;
        }
        double variation = 0;
        assert_int_equal(units.samples, n_samples);
        assert_true(bp_units_variation(&units, n_samples, &variation));
        assert_true(near(variation, slow_variation(values, n_samples, n_units), 1e-12));
        assert_false(bp_units_variation(&units, n_samples + 1, &variation));
        bp_units_reset(&units); /* the second round must not see the first one's shift */
        for (size_t i = 0; i < n_samples * n_units; i++) values[i] = values[i] * 1e-6 - 7;
        const bp_tensor again =
            bp_tensor_matrix(values, BP_F64, (int64_t)n_samples, (int64_t)n_units);
        bp_units_add(&units, &again);
        assert_true(bp_units_variation(&units, 2, &variation));
        assert_true(near(variation, slow_variation(values, n_samples, n_units), 1e-7));
    }
}

/* A collapsed layer: all samples alike. Without the shift rounding would invent a variation. */
static void samples_that_look_alike_do_not_vary(void **state) {
    (void)state;
    static float values[50 * 10];
    for (size_t i = 0; i < 500; i++) values[i] = 0.1f + (float)(i % 10);
    bp_units units = open_units(10);
    const bp_tensor tensor = bp_tensor_matrix(values, BP_F32, 50, 10);
    bp_units_add(&units, &tensor);
    double variation = 42;
    assert_true(bp_units_variation(&units, 32, &variation));
    assert_true(variation == 0);
    for (size_t i = 0; i < 500; i++) values[i] += i / 10 % 2 ? 1e-6f : 0.0f;
    double wide_values[500];
    for (size_t i = 0; i < 500; i++) wide_values[i] = (double)values[i];
    bp_units_reset(&units);
    bp_units_add(&units, &tensor);
    assert_true(bp_units_variation(&units, 32, &variation));
    assert_true(variation > 0 && near(variation, slow_variation(wide_values, 50, 10), 1e-9));
}

static void images_are_flattened(void **state) {
    (void)state;
    static float values[6 * 2 * 3 * 4];
    double wide_values[144];
    const bp_random_key key = {.seed = 8};
    for (size_t i = 0; i < 144; i++) values[i] = (float)bp_random_normal(&key, i);
    for (size_t i = 0; i < 144; i++) wide_values[i] = (double)values[i];
    bp_tensor images = {.data = values,
                        .dtype = BP_F32,
                        .ndim = 4,
                        .shape = {6, 2, 3, 4},
                        .stride = {24, 12, 4, 1}};
    bp_units units = open_units(24);
    double variation;
    bp_units_add(&units, &images);
    assert_true(bp_units_variation(&units, 6, &variation));
    assert_true(near(variation, slow_variation(wide_values, 6, 24), 1e-12));
    /* [samples] alone is one unit. */
    const bp_tensor column = bp_tensor_matrix(values, BP_F32, 144, 0);
    units = open_units(1);
    bp_units_add(&units, &column);
    assert_true(bp_units_variation(&units, 144, &variation));
    assert_true(near(variation, slow_variation(wide_values, 144, 1), 1e-12));
}

static void what_cannot_be_measured_is_not(void **state) {
    (void)state;
    float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const bp_tensor tensor = bp_tensor_matrix(values, BP_F32, 4, 2);
    const bp_tensor other = bp_tensor_matrix(values, BP_F32, 2, 4);
    const bp_tensor empty = bp_tensor_matrix(values, BP_F32, 0, 2);
    const bp_tensor scalar = {.data = values, .dtype = BP_F32, .ndim = 0};
    const bp_tensor missing = bp_tensor_matrix(NULL, BP_F32, 4, 2);
    double variation = 42;
    bp_units units = open_units(2);
    assert_false(bp_units_variation(&units, 0, &variation));
    bp_units_add(&units, &other);
    bp_units_add(&units, &empty);
    bp_units_add(&units, &scalar);
    bp_units_add(&units, &missing);
    assert_int_equal(units.samples, 0);
    const float bad[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
    for (size_t i = 0; i < 3; i++) {
        for (size_t at = 0; at < 8; at++) {
            const float kept = values[at];
            values[at] = bad[i];
            bp_units_add(&units, &tensor);
            values[at] = kept;
            bp_units_add(&units, &tensor); /* good ones do not heal it */
            assert_false(bp_units_variation(&units, 1, &variation));
            bp_units_reset(&units);
        }
    }
    bp_units_add(&units, &tensor);
    assert_true(bp_units_variation(&units, 4, &variation));
    memset(values, 0, sizeof values);
    bp_units_reset(&units);
    bp_units_add(&units, &tensor);
    variation = 42;
    assert_false(bp_units_variation(&units, 4, &variation)); /* rms 0 */
    assert_true(variation == 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variation_against_plain_code),
        cmocka_unit_test(samples_that_look_alike_do_not_vary),
        cmocka_unit_test(images_are_flattened),
        cmocka_unit_test(what_cannot_be_measured_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
