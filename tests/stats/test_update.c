/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fenced.h"
#include "levels.h"
#include "planted.h"
#include "stats/kernels/wide.h"

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

/* f64 goes one by one, the others by rounds: the same values must give the same bits. Values that
 * are not at hand lie unaligned, all before the end of memory. */
static void compare_ways(const bp_dtype dtypes[3], size_t n, int which, size_t planted) {
    enum { MOST = 9000 };
    static double exact[3][MOST];
    bp_tensor given[3], f64[3];
    fenced memory[3];
    for (size_t t = 0; t < 3; t++) {
        const size_t n_bytes = n * bp_dtype_bytes(dtypes[t]);
        memory[t] = fence(n_bytes + t % 2);
        uint8_t *narrow = memory[t].end - n_bytes - t % 2;
        for (size_t i = 0; i < n; i++) {
            const bool is_planted = which >= 0 && i % 20 == planted / 3 && t == planted % 3;
            const bool is_stalled = t == 2 && i % 3 == 1 && dtypes[1] == dtypes[2];
            const uint64_t bits = is_planted ? special_bits(dtypes[t], (special)which)
                                             : ordinary_bits(dtypes[t], is_stalled ? 1 : t, i);
            put_bits(narrow, dtypes[t], i, bits);
            exact[t][i] = decode(dtypes[t], bits);
        }
        given[t] = bp_tensor_matrix(narrow, dtypes[t], (int64_t)n, 0);
        f64[t] = bp_tensor_matrix(exact[t], BP_F64, (int64_t)n, 0);
    }
    bp_update_stats fast = {0}, plain = {0};
    bp_update_stats_add(&fast, &given[0], &given[1], &given[2]);
    bp_update_stats_add(&plain, &f64[0], &f64[1], &f64[2]);
    assert_memory_equal(&fast, &plain, sizeof plain);
    for (size_t t = 0; t < 3; t++) unfence(&memory[t]);
    if (n > 20) assert_true(plain.sum_squares_change > 0);
    if (n > 20 && dtypes[1] == dtypes[2]) assert_true(plain.stalled > n / 6);
}

static void each_level_has_its_loops(void **state) {
    NEEDS_LEVEL(state);
    const bp_wide *loops = bp_wide_of_cpu();
#if defined(__x86_64__)
    const char *const level = *state;
    assert_ptr_equal(loops, strcmp(level, "avx512") == 0 ? &bp_wide_avx512
                            : strcmp(level, "avx2") == 0 ? &bp_wide_avx2
                                                         : &bp_wide_plain);
#else
    assert_ptr_equal(loops, &bp_wide_plain);
#endif
}

static void all_ways_give_the_same_bits(void **state) {
    NEEDS_LEVEL(state);
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtypes[3] = {all_dtypes[d], all_dtypes[d], all_dtypes[d]};
        for (int which = -1; which < N_SPECIALS; which++)
            for (size_t planted = 0; planted < 60; planted++)
                compare_ways(dtypes, 60, which, planted);
        for (size_t n = 0; n < 70; n++) compare_ways(dtypes, n, -1, 0);
        compare_ways(dtypes, 9000, -1, 0); /* several blocks */
        compare_ways(dtypes, 9000, SPECIAL_NAN, 5);
        compare_ways((bp_dtype[]){all_dtypes[d], BP_F32, BP_F32}, 1050, -1, 0);
        compare_ways((bp_dtype[]){BP_F32, all_dtypes[d], BP_F32}, 1050, -1, 0);
        compare_ways((bp_dtype[]){BP_F32, BP_BF16, all_dtypes[d]}, 1050, SPECIAL_INF, 7);
    }
}

/* Every f16 and bf16 that is finite, as weight and as gradient. */
static void all_halves(void **state) {
    NEEDS_LEVEL(state);
    enum { N = 1 << 16 };
    static uint16_t halves[N], zeros[N], ones[N];
    static double exact[3][N];
    for (size_t d = 2; d < N_DTYPES; d++)
        for (size_t i = 0; i < N; i++) {
            const uint64_t one = d == 2 ? 0x3c00 : 0x3f80;
            halves[i] = (uint16_t)i;
            ones[i] = (uint16_t)one;
            exact[0][i] = decode(all_dtypes[d], i);
            exact[1][i] = 0;
            exact[2][i] = 1;
            if (i + 1 < N) continue;
            const void *data[] = {halves, zeros, ones};
            bp_tensor given[3], f64[3];
            for (size_t t = 0; t < 3; t++) {
                given[t] = bp_tensor_matrix(data[t], all_dtypes[d], N, 0);
                f64[t] = bp_tensor_matrix(exact[t], BP_F64, N, 0);
            }
            for (size_t t = 0; t < 3; t++) {
                bp_update_stats fast = {0}, plain = {0};
                bp_update_stats_add(&fast, &given[t], &given[(t + 1) % 3], &given[(t + 2) % 3]);
                bp_update_stats_add(&plain, &f64[t], &f64[(t + 1) % 3], &f64[(t + 2) % 3]);
                assert_memory_equal(&fast, &plain, sizeof plain);
            }
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
        AT_EACH_LEVEL(each_level_has_its_loops),
        AT_EACH_LEVEL(all_ways_give_the_same_bits),
        AT_EACH_LEVEL(all_halves),
        cmocka_unit_test(a_sign_of_zero_is_a_move),
        cmocka_unit_test(each_tensor_has_its_own_strides),
        cmocka_unit_test(other_sizes_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
