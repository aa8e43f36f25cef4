/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

static bool near(double found, wide expected, wide magnitude) {
    return wide_abs((wide)found - expected) <= (wide)1e-13 * magnitude;
}

/* Ordinary values, some parameters not moved, some gradients zero. */
static void sums_against_plain_code(void **state) {
    (void)state;
    enum { N = 1303 };
    static double g[N], before[N], after[N];
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        uint64_t stalled = 0;
        wide squares = 0, product = 0, magnitude = 0;
        for (size_t i = 0; i < N; i++) {
            const uint64_t w = ordinary_bits(dtype, 1, i), gradient = ordinary_bits(dtype, 2, i);
            put_bits(g, dtype, i,
                     i % 5 ? gradient
                           : (uint64_t)(i % 2) * special_bits(dtype, SPECIAL_NEGATIVE_ZERO));
            put_bits(before, dtype, i, w);
            put_bits(after, dtype, i, i % 3 ? w ^ 5 : w);
            stalled += i % 5 && i % 3 == 0;
            const wide change = (wide)decode(dtype, i % 3 ? w ^ 5 : w) - (wide)decode(dtype, w);
            const wide part = i % 5 ? change * (wide)decode(dtype, gradient) : 0;
            squares += change * change;
            product += part;
            magnitude += wide_abs(part);
        }
        const bp_tensor tensors[3] = {bp_tensor_matrix(g, dtype, N, 0),
                                      bp_tensor_matrix(before, dtype, N, 0),
                                      bp_tensor_matrix(after, dtype, N, 0)};
        bp_update_stats stats = {0};
        bp_update_stats_add(&stats, &tensors[0], &tensors[1], &tensors[2]);
        assert_int_equal(stats.count, N);
        assert_int_equal(stats.stalled, stalled);
        assert_int_equal(stats.made_non_finite, 0);
        assert_true(squares > 0 && near(stats.sum_squares_change, squares, squares));
        assert_true(near(stats.effect, -product, magnitude));
        bp_update_stats_add(&stats, &tensors[0], &tensors[1], &tensors[2]); /* adds up */
        assert_int_equal(stats.count, 2 * N);
        assert_int_equal(stats.stalled, 2 * stalled);
        assert_true(near(stats.sum_squares_change, 2 * squares, 2 * squares));
        assert_true(near(stats.effect, -2 * product, 2 * magnitude));
    }
}

static void gradient_descent_has_a_positive_effect(void **state) {
    (void)state;
    const float g[] = {1, -2, 0.5f}, before[] = {1, 1, 1}, after[] = {0.5f, 2, 0.75f};
    const bp_tensor tensors[3] = {bp_tensor_matrix(g, BP_F32, 3, 0),
                                  bp_tensor_matrix(before, BP_F32, 3, 0),
                                  bp_tensor_matrix(after, BP_F32, 3, 0)};
    bp_update_stats stats = {0};
    bp_update_stats_add(&stats, &tensors[0], &tensors[1], &tensors[2]);
    assert_true(stats.effect == 0.5 + 2 + 0.125);
    assert_true(stats.sum_squares_change == 0.25 + 1 + 0.0625);
}

static void non_finite_values_are_counted_not_summed(void **state) {
    (void)state;
    const float nan = (float)NAN, inf = (float)INFINITY;
    const float g[] = {1, 1, nan, 1, inf, nan, 0}, before[] = {1, 1, 1, nan, 1, 1, 0};
    const float after[] = {nan, -inf, 2, 1, 3, 1, -0.0f};
    const bp_tensor tensors[3] = {bp_tensor_matrix(g, BP_F32, 7, 0),
                                  bp_tensor_matrix(before, BP_F32, 7, 0),
                                  bp_tensor_matrix(after, BP_F32, 7, 0)};
    bp_update_stats stats = {0};
    bp_update_stats_add(&stats, &tensors[0], &tensors[1], &tensors[2]);
    assert_int_equal(stats.count, 7);
    assert_int_equal(stats.made_non_finite, 2);
    assert_int_equal(stats.stalled, 1); /* a NaN gradient is not zero and moved nothing */
    assert_true(stats.sum_squares_change == 1 + 4);
    assert_true(stats.effect == 0);
}

/* f32 goes by lanes, f64 one by one: the same values must give the same bits. */
static void both_ways_give_the_same_bits(void **state) {
    (void)state;
    enum { N = 560 };
    static float narrow[3][N];
    static double exact[3][N];
    for (int which = -1; which < N_SPECIALS; which++)
        for (size_t planted = 0; planted < 60; planted++) {
            for (size_t t = 0; t < 3; t++)
                for (size_t i = 0; i < N; i++) {
                    const bool is_planted = which >= 0 && i % 20 == planted / 3 && t == planted % 3;
                    const bool is_stalled = t == 2 && i % 4 == 1;
                    put_bits(narrow[t], BP_F32, i,
                             is_planted ? special_bits(BP_F32, (special)which)
                                        : ordinary_bits(BP_F32, is_stalled ? 1 : t, i));
                    exact[t][i] = (double)narrow[t][i];
                }
            bp_tensor f32[3], f64[3];
            for (size_t t = 0; t < 3; t++) {
                f32[t] = bp_tensor_matrix(narrow[t], BP_F32, N, 0);
                f64[t] = bp_tensor_matrix(exact[t], BP_F64, N, 0);
            }
            bp_update_stats fast = {0}, plain = {0};
            bp_update_stats_add(&fast, &f32[0], &f32[1], &f32[2]);
            bp_update_stats_add(&plain, &f64[0], &f64[1], &f64[2]);
            assert_memory_equal(&fast, &plain, sizeof plain);
            assert_true(plain.stalled > N / 6 && plain.sum_squares_change > 0);
        }
}

static void a_sign_of_zero_is_a_move(void **state) {
    (void)state;
    const float g[] = {1, 1}, before[] = {0.0f, 0.0f}, after[] = {-0.0f, 0.0f};
    const bp_tensor tensors[3] = {bp_tensor_matrix(g, BP_F32, 2, 0),
                                  bp_tensor_matrix(before, BP_F32, 2, 0),
                                  bp_tensor_matrix(after, BP_F32, 2, 0)};
    bp_update_stats stats = {0};
    bp_update_stats_add(&stats, &tensors[0], &tensors[1], &tensors[2]);
    assert_int_equal(stats.stalled, 1);
}

static void each_tensor_has_its_own_strides(void **state) {
    (void)state;
    enum { ROWS = 40, COLUMNS = 30, N = ROWS * COLUMNS };
    static float g[N], before[N], after[N], turned[N];
    for (size_t i = 0; i < N; i++) {
        g[i] = (float)(i % 7) - 3;
        before[i] = (float)i;
        after[i] = (float)i + (float)(i % 3);
        turned[i % COLUMNS * ROWS + i / COLUMNS] = after[i];
    }
    const bp_tensor straight[3] = {bp_tensor_matrix(g, BP_F32, ROWS, COLUMNS),
                                   bp_tensor_matrix(before, BP_F32, ROWS, COLUMNS),
                                   bp_tensor_matrix(after, BP_F32, ROWS, COLUMNS)};
    const bp_tensor transposed = {
        .data = turned, .dtype = BP_F32, .ndim = 2, .shape = {ROWS, COLUMNS}, .stride = {1, ROWS}};
    bp_update_stats plain = {0}, mixed = {0};
    bp_update_stats_add(&plain, &straight[0], &straight[1], &straight[2]);
    bp_update_stats_add(&mixed, &straight[0], &straight[1], &transposed);
    assert_memory_equal(&mixed, &plain, sizeof plain);
    assert_true(plain.sum_squares_change > 0);
}

static void other_sizes_are_ignored(void **state) {
    (void)state;
    const float values[4] = {1, 2, 3, 4};
    const bp_tensor four = bp_tensor_matrix(values, BP_F32, 4, 0);
    const bp_tensor three = bp_tensor_matrix(values, BP_F32, 3, 0);
    const bp_tensor none = bp_tensor_matrix(NULL, BP_F32, 0, 0);
    bp_update_stats stats = {0};
    const bp_update_stats nothing = {0};
    bp_update_stats_add(&stats, &four, &three, &four);
    bp_update_stats_add(&stats, &four, &four, &three);
    bp_update_stats_add(&stats, &none, &none, &none);
    assert_memory_equal(&stats, &nothing, sizeof stats);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_against_plain_code),
        cmocka_unit_test(gradient_descent_has_a_positive_effect),
        cmocka_unit_test(non_finite_values_are_counted_not_summed),
        cmocka_unit_test(both_ways_give_the_same_bits),
        cmocka_unit_test(a_sign_of_zero_is_a_move),
        cmocka_unit_test(each_tensor_has_its_own_strides),
        cmocka_unit_test(other_sizes_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
