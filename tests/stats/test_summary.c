/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

#include <sys/mman.h>
#include <unistd.h>

/* A page that may not be touched lies right behind the last element. */
typedef struct guarded {
    uint8_t *pages;
    size_t n_bytes, page;
} guarded;

static guarded open_guarded(size_t n_bytes) {
    guarded g = {.page = (size_t)sysconf(_SC_PAGESIZE)};
    g.n_bytes = (n_bytes + g.page - 1) / g.page * g.page;
    g.pages =
        mmap(NULL, g.n_bytes + g.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.pages != MAP_FAILED);
    assert_int_equal(mprotect(g.pages + g.n_bytes, g.page, PROT_NONE), 0);
    return g;
}

static void close_guarded(guarded *g) {
    assert_int_equal(munmap(g->pages, g->n_bytes + g->page), 0);
}

static void *last_bytes(const guarded *g, size_t n_bytes) {
    return g->pages + g->n_bytes - n_bytes;
}

static void assert_summarised(const bp_tensor *tensor) {
    bp_summary found;
    memset(&found, 0x5a, sizeof found);
    bp_summarise(&found, tensor);
    const slow_summary slow = slow_summarise(tensor);
    assert_agrees(&found, &slow);
}

static void fill_ordinary(void *data, bp_dtype dtype, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) put_bits(data, dtype, i, ordinary_bits(dtype, seed, i));
}

/* Lengths around one and two rounds of the lanes; every special at every place. */
static void specials_in_every_lane_and_tail(void **state) {
    (void)state;
    guarded g = open_guarded(64 * sizeof(double));
    for (size_t d = 0; d < N_DTYPES; d++)
        for (size_t n = 1; n <= 35; n++) {
            const bp_dtype dtype = all_dtypes[d];
            void *data = last_bytes(&g, n * bp_dtype_bytes(dtype));
            const bp_tensor tensor = bp_tensor_matrix(data, dtype, (int64_t)n, 0);
            fill_ordinary(data, dtype, n, n);
            assert_summarised(&tensor);
            for (size_t at = 0; at < n; at++) {
                const uint64_t kept = get_bits(data, dtype, (int64_t)at);
                for (int s = 0; s < N_SPECIALS; s++) {
                    put_bits(data, dtype, at, special_bits(dtype, (special)s));
                    assert_summarised(&tensor);
                }
                put_bits(data, dtype, at, kept);
            }
        }
    close_guarded(&g);
}

static void nothing_but_specials(void **state) {
    (void)state;
    double data[64];
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int s = 0; s < N_SPECIALS; s++)
            for (int t = 0; t < N_SPECIALS; t++) {
                const bp_dtype dtype = all_dtypes[d];
                for (size_t i = 0; i < 40; i++)
                    put_bits(data, dtype, i, special_bits(dtype, (special)(i % 3 ? s : t)));
                const bp_tensor tensor = bp_tensor_matrix(data, dtype, 8, 5);
                assert_summarised(&tensor);
            }
}

static void any_alignment(void **state) {
    (void)state;
    uint8_t bytes[100 * sizeof(double) + 16];
    for (size_t d = 0; d < N_DTYPES; d++)
        for (size_t offset = 0; offset < 16; offset++) {
            fill_ordinary(bytes + offset, all_dtypes[d], 100, offset);
            const bp_tensor tensor = bp_tensor_matrix(bytes + offset, all_dtypes[d], 100, 0);
            assert_summarised(&tensor);
        }
}

static void every_16_bit_pattern(void **state) {
    (void)state;
    static uint16_t patterns[65536];
    for (uint32_t i = 0; i < 65536; i++) patterns[i] = (uint16_t)i;
    const bp_dtype halves[] = {BP_F16, BP_BF16};
    for (size_t d = 0; d < 2; d++) {
        const bp_tensor all = bp_tensor_matrix(patterns, halves[d], 65536, 0);
        assert_summarised(&all);
        for (uint32_t i = 0; i < 65536; i++) {
            const bp_tensor one = bp_tensor_matrix(&patterns[i], halves[d], 1, 0);
            assert_summarised(&one);
        }
    }
}

static void empty_and_scalar(void **state) {
    (void)state;
    const float value = -2.5f;
    const bp_tensor scalar = {.data = &value, .dtype = BP_F32, .ndim = 0};
    assert_summarised(&scalar);
    const bp_tensor empties[] = {
        {.data = NULL, .dtype = BP_F32, .ndim = 1, .shape = {0}, .stride = {1}},
        {.data = &value, .dtype = BP_F64, .ndim = 3, .shape = {4, 0, 7}, .stride = {0, 1, -1}},
        {.data = NULL, .dtype = BP_F16, .ndim = 1, .shape = {9}, .stride = {1}}, /* no data */
        {.data = &value, .dtype = (bp_dtype)99, .ndim = 1, .shape = {1}, .stride = {1}},
        {.data = &value, .dtype = BP_F32, .ndim = 77, .shape = {1}, .stride = {1}},
    };
    for (size_t i = 0; i < sizeof empties / sizeof *empties; i++) {
        bp_summary found, nothing;
        bp_summary_init(&nothing);
        memset(&found, 0x5a, sizeof found);
        bp_summarise(&found, &empties[i]);
        const slow_summary slow = slow_nothing();
        assert_agrees(&found, &slow);
        assert_true(isinf(nothing.min) && nothing.min > 0 && isinf(nothing.max) && nothing.max < 0);
        assert_true(bp_summary_mean(&found) == 0 && bp_summary_rms(&found) == 0);
        assert_true(bp_summary_norm(&found) == 0 && bp_summary_max_abs(&found) == 0);
    }
}

/* Random shapes, strides of either sign and zero, offsets; each against the nested counter. */
static void any_strides(void **state) {
    (void)state;
    enum { N = 4096, ROUNDS = 4000 };
    static double data[N];
    const bp_random_key key = {.seed = 77};
    uint64_t draw = 0;
    size_t n_strided = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const bp_dtype dtype = all_dtypes[round % N_DTYPES];
        if (round < 8) fill_ordinary(data, dtype, N, (uint64_t)round);
        const size_t size = bp_dtype_bytes(dtype);
        bp_tensor tensor = {.dtype = dtype};
        tensor.ndim = (int32_t)(bp_random_uniform(&key, draw++) * 9);
        int64_t count = 1, low = 0, high = 0;
        for (int32_t i = 0; i < tensor.ndim; i++) {
            const int64_t most = count > 200 ? 3 : 40 / (1 + tensor.ndim);
            tensor.shape[i] = (int64_t)(bp_random_uniform(&key, draw++) * (double)(most + 1));
            if (tensor.shape[i] == 0 && bp_random_uniform(&key, draw++) < 0.9) tensor.shape[i] = 1;
            tensor.stride[i] = (int64_t)(bp_random_uniform(&key, draw++) * 41) - 20;
            count *= tensor.shape[i];
            if (tensor.shape[i] < 1) continue;
            const int64_t reach = (tensor.shape[i] - 1) * tensor.stride[i];
            *(reach < 0 ? &low : &high) += reach;
        }
        if (high - low >= N || count > 20000) continue;
        tensor.data = (const uint8_t *)data - low * (int64_t)size;
        assert_summarised(&tensor);
        n_strided += !bp_tensor_is_contiguous(&tensor);
    }
    assert_true(n_strided > ROUNDS / 4);
}

/* A long gathered tensor crosses blocks; a transposed view is the same multiset. */
static void blocks_join(void **state) {
    (void)state;
    enum { ROWS = 97, COLUMNS = 61 };
    static double data[ROWS * COLUMNS];
    for (size_t d = 0; d < N_DTYPES; d++) {
        fill_ordinary(data, all_dtypes[d], ROWS * COLUMNS, d);
        bp_tensor tensor = bp_tensor_matrix(data, all_dtypes[d], ROWS, COLUMNS);
        assert_summarised(&tensor);
        const bp_tensor transposed = {.data = data,
                                      .dtype = all_dtypes[d],
                                      .ndim = 2,
                                      .shape = {COLUMNS, ROWS},
                                      .stride = {1, COLUMNS}};
        assert_summarised(&transposed);
    }
}

/* By definition element i of the row-major order adds to lane i mod 16, lanes are combined
 * pairwise. f64 with all its bits in use: any other order rounds differently. */
static void sums_are_those_of_sixteen_lanes(void **state) {
    (void)state;
    enum { N = 3001 };
    static double data[2 * N];
    double sum[16] = {0}, squares[16] = {0};
    fill_ordinary(data, BP_F64, 2 * N, 5);
    for (size_t i = 0; i < N; i++) {
        const double value = data[2 * i];
        sum[i % 16] += value;
        squares[i % 16] += value * value;
    }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++) {
            sum[i] += sum[i + half];
            squares[i] += squares[i + half];
        }
    const bp_tensor strided = {
        .data = data, .dtype = BP_F64, .ndim = 1, .shape = {N}, .stride = {2}};
    bp_summary found;
    bp_summarise(&found, &strided);
    assert_memory_equal(&found.sum, &sum[0], sizeof found.sum);
    assert_memory_equal(&found.sum_squares, &squares[0], sizeof found.sum_squares);
}

/* One f64 tensor per power of ten, and mixtures of huge and tiny elements. */
static void f64_squares_never_leave_the_range(void **state) {
    (void)state;
    enum { N = 100 };
    double data[N] = {0};
    const bp_tensor tensor = bp_tensor_matrix(data, BP_F64, N, 0);
    for (int power = -323; power <= 308; power++) {
        const double scale = pow(10, power);
        for (size_t i = 0; i < N; i++) {
            const bp_random_key key = {.seed = (uint64_t)(power + 400)};
            data[i] = scale * (bp_random_uniform(&key, i) - 0.3);
        }
        bp_summary found;
        bp_summarise(&found, &tensor);
        const slow_summary slow = slow_summarise(&tensor);
        assert_agrees(&found, &slow);
        assert_true(found.sum_squares > 0 || slow.zero == N);
        const bool ordinary = power > -140 && power < 140;
        if (ordinary) assert_int_equal(found.square_exponent, 0);
        if (ordinary) assert_int_equal(found.sum_exponent, 0);
        assert_true(isfinite(bp_summary_rms(&found)) && isfinite(bp_summary_norm(&found)));
        if (power > -300) assert_true(fabs(bp_summary_rms(&found) / scale - 0.35) < 0.1);
        data[N / 2] = (double)NAN;
        data[N / 3] = power < 0 ? 1e300 : 1e-300;
        assert_summarised(&tensor);
        bp_summarise(&found, &tensor);
        assert_int_equal(found.nan, 1);
    }
    for (size_t i = 0; i < N; i++) data[i] = DBL_MAX;
    assert_summarised(&tensor);
    bp_summary found;
    bp_summarise(&found, &tensor);
    assert_true(bp_summary_rms(&found) > 0.999 * DBL_MAX && isfinite(bp_summary_rms(&found)));
    assert_true(bp_summary_mean(&found) > 0.999 * DBL_MAX && isfinite(bp_summary_mean(&found)));
    assert_true(bp_summary_norm(&found) == DBL_MAX); /* the true one is no double */
    for (size_t i = 0; i < N; i++) data[i] = 5e-324;
    bp_summarise(&found, &tensor);
    assert_true(bp_summary_rms(&found) == 5e-324);
}

static void what_a_summary_says(void **state) {
    (void)state;
    const float data[] = {3, -4, 0, (float)NAN, (float)INFINITY, -(float)INFINITY};
    const bp_tensor tensor = bp_tensor_matrix(data, BP_F32, 2, 3);
    bp_summary s;
    bp_summarise(&s, &tensor);
    assert_int_equal(bp_summary_non_finite(&s), 3);
    assert_true(bp_summary_norm(&s) == 5);
    assert_true(bp_summary_rms(&s) == 5 / sqrt(3));
    assert_true(bp_summary_mean(&s) == -1.0 / 3);
    assert_true(bp_summary_max_abs(&s) == 4);
    assert_true(s.min == -4 && s.max == 3);
    const bp_tensor bad = bp_tensor_matrix(data + 3, BP_F32, 3, 0);
    bp_summarise(&s, &bad);
    assert_true(bp_summary_max_abs(&s) == 0 && bp_summary_rms(&s) == 0);
}

/* Sizes from 1e-30 to 1e30, alone and mixed, long enough for rounding to add up. */
static void sums_against_exact_ones(void **state) {
    (void)state;
    enum { N = 60000 };
    static double data[N];
    const bp_dtype dtypes[] = {BP_F32, BP_BF16, BP_F64};
    for (size_t d = 0; d < 3; d++)
        for (int power = -30; power <= 33; power += 3) {
            const bp_random_key key = {.seed = (uint64_t)(power + 50)};
            for (size_t i = 0; i < N; i++) {
                const int p = power <= 30 ? power : (int)(bp_random_uniform(&key, i) * 60) - 30;
                const double value = (bp_random_normal(&key, i + N) + 0.1) * pow(10, p);
                const float narrow = (float)value;
                uint32_t bits;
                memcpy(&bits, &narrow, sizeof bits);
                if (dtypes[d] == BP_F64)
                    data[i] = value;
                else if (dtypes[d] == BP_F32)
                    put_bits(data, BP_F32, i, bits);
                else
                    put_bits(data, BP_BF16, i, bits >> 16);
            }
            const bp_tensor tensor = bp_tensor_matrix(data, dtypes[d], N, 0);
            assert_summarised(&tensor);
        }
}

static void many_are_each(void **state) {
    (void)state;
    enum { MANY = 200 };
    static double data[4096];
    static bp_tensor tensors[MANY];
    static bp_summary summaries[MANY];
    fill_ordinary(data, BP_F64, 4096, 3);
    put_bits(data, BP_F64, 700, special_bits(BP_F64, SPECIAL_NAN));
    for (size_t i = 0; i < MANY; i++)
        tensors[i] =
            bp_tensor_matrix(data + i, i % 7 == 2 ? BP_BF16 : BP_F64, (int64_t)(i * i % 900), 0);
    memset(summaries, 0x5a, sizeof summaries);
    bp_summarise_many(summaries, tensors, MANY);
    for (size_t i = 0; i < MANY; i++) {
        bp_summary one;
        memset(&one, 0x5a, sizeof one);
        bp_summarise(&one, &tensors[i]);
        assert_memory_equal(&summaries[i], &one, sizeof one);
    }
    bp_summarise_many(NULL, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specials_in_every_lane_and_tail),
        cmocka_unit_test(nothing_but_specials),
        cmocka_unit_test(any_alignment),
        cmocka_unit_test(every_16_bit_pattern),
        cmocka_unit_test(empty_and_scalar),
        cmocka_unit_test(any_strides),
        cmocka_unit_test(blocks_join),
        cmocka_unit_test(sums_are_those_of_sixteen_lanes),
        cmocka_unit_test(f64_squares_never_leave_the_range),
        cmocka_unit_test(what_a_summary_says),
        cmocka_unit_test(sums_against_exact_ones),
        cmocka_unit_test(many_are_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
