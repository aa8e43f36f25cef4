/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fenced.h"
#include "levels.h"
#include "planted.h"

#include <fenv.h>

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

/* --- bits ------------------------------------------------------------------------------------- */

typedef struct sums {
    double shift[MOST_UNITS], sum[MOST_UNITS], squares[MOST_UNITS];
} sums;

static double lanes_total(const double lanes[16]) {
    double part[8];
    for (int i = 0; i < 8; i++) part[i] = lanes[i] + lanes[i + 8];
    for (int half = 4; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

/* The definition, for samples without gaps: a unit of one value a sample adds them in their order;
 * one of more first adds whole rounds of 16, then the rest of each sample, in lanes. */
static void plain_add(sums *s, bool is_first, bp_dtype dtype, const void *data, size_t n_samples,
                      size_t n_units, size_t n_inner) {
    for (size_t u = 0; u < n_units; u++) {
        if (is_first) {
            s->shift[u] = decode(dtype, get_bits(data, dtype, (int64_t)(u * n_inner)));
            s->sum[u] = s->squares[u] = 0;
        }
        double sum[16] = {0}, squares[16] = {0};
        if (n_inner == 1) {
            sum[0] = s->sum[u];
            squares[0] = s->squares[u];
        }
        for (int is_rest = 0; is_rest < 2; is_rest++)
            for (size_t i = 0; i < n_samples; i++)
                for (size_t k = is_rest ? n_inner - n_inner % 16 : 0;
                     k < (is_rest ? n_inner : n_inner - n_inner % 16); k++) {
                    const size_t at = (i * n_units + u) * n_inner + k;
                    const double d =
                        decode(dtype, get_bits(data, dtype, (int64_t)at)) - s->shift[u];
                    sum[k % 16] += d;
                    squares[k % 16] += d * d;
                }
        s->sum[u] = n_inner == 1 ? sum[0] : s->sum[u] + lanes_total(sum);
        s->squares[u] = n_inner == 1 ? squares[0] : s->squares[u] + lanes_total(squares);
    }
}

/* A NaN has many bit patterns, and which one comes out of a sum is nobody's promise. */
static void assert_same_numbers(const double *found, const double *expected, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isnan(found[i]) || !isnan(expected[i]))
            assert_memory_equal(&found[i], &expected[i], sizeof found[i]);
}

static void assert_same_sums(const bp_units *units, const sums *expected) {
    const size_t n = (size_t)units->n_units;
    bool finite = true;
    assert_same_numbers(units->shift, expected->shift, n);
    assert_same_numbers(units->sum, expected->sum, n);
    assert_same_numbers(units->sum_squares, expected->squares, n);
    for (size_t u = 0; u < n; u++) finite &= isfinite(expected->squares[u]);
    assert_int_equal(units->non_finite, !finite);
}

static bp_tensor samples_of(const void *data, bp_dtype dtype, size_t n_samples, size_t n_units,
                            size_t n_inner) {
    const int64_t inner = (int64_t)n_inner, units = (int64_t)n_units;
    return (bp_tensor){.data = data,
                       .dtype = dtype,
                       .ndim = 3,
                       .shape = {(int64_t)n_samples, units, inner},
                       .stride = {units * inner, inner, 1}};
}

/* Ordinary values, drawn once: there are many shapes. */
static uint64_t drawn_bits(size_t d, size_t i) {
    enum { DRAWN = 4099 };
    static uint64_t drawn[N_DTYPES][DRAWN];
    static bool is_drawn;
    for (size_t e = 0; e < N_DTYPES && !is_drawn; e++)
        for (size_t k = 0; k < DRAWN; k++) drawn[e][k] = ordinary_bits(all_dtypes[e], 9, k);
    is_drawn = true;
    return drawn[d][i % DRAWN];
}

static void compare_bits(size_t d, size_t n_units, size_t n_inner, int which) {
    const bp_dtype dtype = all_dtypes[d];
    const size_t batches[] = {1, 2, 17, 16}, size = bp_dtype_bytes(dtype);
    static sums expected;
    for (int at_end = 0; at_end < 2; at_end++) {
        bp_units units = open_units(n_units);
        units.n_inner = n_inner;
        for (size_t b = 0; b < 4; b++) {
            const size_t n = batches[b] * n_units * n_inner;
            const fenced memory = fence(n * size);
            uint8_t *data = at_end ? memory.end - n * size : memory.from;
            for (size_t i = 0; i < n; i++) {
                const bool is_planted = which >= 0 && i % 97 == 41 * b;
                put_bits(data, dtype, i,
                         is_planted ? special_bits(dtype, (special)which)
                                    : drawn_bits(d, 1000 * b + n_units + i));
            }
            const bp_tensor tensor = samples_of(data, dtype, batches[b], n_units, n_inner);
            plain_add(&expected, b == 0, dtype, data, batches[b], n_units, n_inner);
            bp_units_add(&units, &tensor);
            unfence(&memory);
        }
        assert_int_equal(units.samples, 36);
        assert_same_sums(&units, &expected);
        double untouched;
        memset(&untouched, 0x5a, sizeof untouched);
        for (int t = 0; t < 3; t++)
            assert_memory_equal(&arrays[t][n_units], &untouched, sizeof untouched);
    }
}

static void bits_of_the_definition(void **state) {
    NEEDS_LEVEL(state);
    const size_t unit_counts[] = {1, 2, 15, 16, 17, 33, 64}, inner[] = {1, 2, 7, 15, 16, 17, 49};
    for (size_t d = 0; d < N_DTYPES; d++)
        for (size_t c = 0; c < sizeof unit_counts / sizeof *unit_counts; c++)
            for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
                compare_bits(d, unit_counts[c], inner[i], -1);
}

static void special_values(void **state) {
    NEEDS_LEVEL(state);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int which = 0; which < N_SPECIALS; which++) {
            compare_bits(d, 19, 1, which);
            compare_bits(d, 3, 19, which);
        }
}

/* --- strides ---------------------------------------------------------------------------------- */

/* Any walk over one value a unit gives the same bits. */
static void strides_do_not_matter(void **state) {
    (void)state;
    enum { S = 21, U = 600 };
    static float data[S * U], spread[S * (U + 3) + 1], turned[S * U];
    for (size_t s = 0; s < S; s++)
        for (size_t u = 0; u < U; u++) {
            put_bits(data, BP_F32, s * U + u, ordinary_bits(BP_F32, 3, s * U + u));
            spread[(S - 1 - s) * (U + 3) + u] = turned[u * S + s] = data[s * U + u];
        }
    static sums expected;
    plain_add(&expected, true, BP_F32, data, S, U, 1);
    const bp_tensor tensors[] = {
        bp_tensor_matrix(data, BP_F32, S, U),
        {.data = spread + (S - 1) * (U + 3),
         .dtype = BP_F32,
         .ndim = 2,
         .shape = {S, U},
         .stride = {-(U + 3), 1}},
        {.data = turned, .dtype = BP_F32, .ndim = 2, .shape = {S, U}, .stride = {1, S}},
        {.data = turned,
         .dtype = BP_F32,
         .ndim = 3,
         .shape = {S, 20, 30},
         .stride = {1, 30 * S, S}},
    };
    for (size_t t = 0; t < 4; t++) {
        bp_units units = open_units(U);
        bp_units_add(&units, &tensors[t]);
        assert_same_sums(&units, &expected);
    }
}

/* Channels last: in memory the channels of a pixel are neighbours. */
static void channels_in_any_order(void **state) {
    (void)state;
    enum { S = 9, C = 5, P = 150, N = S * C * P };
    static double planes[N], pixels[N];
    const bp_random_key key = {.seed = 4};
    for (size_t s = 0; s < S; s++)
        for (size_t c = 0; c < C; c++)
            for (size_t p = 0; p < P; p++)
                planes[(s * C + c) * P + p] = pixels[(s * P + p) * C + c] =
                    (double)c + bp_random_normal(&key, (s * C + c) * P + p);
    const bp_tensor tensors[] = {
        samples_of(planes, BP_F64, S, C, P),
        {.data = pixels, .dtype = BP_F64, .ndim = 3, .shape = {S, C, P}, .stride = {C * P, 1, C}}};
    bp_unit found[2][C];
    for (size_t t = 0; t < 2; t++) {
        bp_units units = open_units(C);
        units.n_inner = P;
        for (int twice = 0; twice < 2; twice++) bp_units_add(&units, &tensors[t]);
        assert_int_equal(units.samples, 2 * S);
        bp_units_read(&units, 0, C, found[t]);
    }
    for (size_t c = 0; c < C; c++) {
        wide sum = 0, squares = 0;
        for (size_t i = 0; i < S * P; i++) sum += (wide)planes[(i / P * C + c) * P + i % P];
        const double mean = (double)(sum / (S * P));
        for (size_t i = 0; i < S * P; i++) {
            const wide d = (wide)planes[(i / P * C + c) * P + i % P] - (wide)mean;
            squares += d * d;
        }
        const double variance = (double)(squares / (S * P));
        for (size_t t = 0; t < 2; t++) {
            assert_true(found[t][c].measured && found[t][c].ever_non_zero);
            assert_true(fabs(found[t][c].mean - mean) <= 1e-13 * (1 + fabs(mean)));
            assert_true(near(found[t][c].variance, variance, 1e-12));
            assert_true(near(found[t][c].rms, sqrt(mean * mean + variance), 1e-12));
        }
    }
}

/* --- units one by one ------------------------------------------------------------------------- */

static void units_are_read_one_by_one(void **state) {
    (void)state;
    enum { S = 6, U = 20 };
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        double data[S * U] = {0};
        /* Unit 7 is alive in one sample, 8 by the smallest number; 9 is -0, 10 and 11 go bad. */
        for (size_t s = 0; s < S; s++)
            put_bits(data, dtype, s * U + 9, special_bits(dtype, SPECIAL_NEGATIVE_ZERO));
        put_bits(data, dtype, 3 * U + 7, special_bits(dtype, SPECIAL_LARGEST_SUBNORMAL) + 1);
        put_bits(data, dtype, 4 * U + 8, special_bits(dtype, SPECIAL_SMALLEST));
        put_bits(data, dtype, 0 * U + 10, special_bits(dtype, SPECIAL_NAN));
        put_bits(data, dtype, 5 * U + 11, special_bits(dtype, SPECIAL_NEGATIVE_INF));
        for (size_t s = 0; s < S; s++)
            put_bits(data, dtype, s * U + 19, ordinary_bits(dtype, 1, 1));
        const bp_tensor tensor = bp_tensor_matrix(data, dtype, S, U);
        bp_units units = open_units(U);
        bp_unit before[2], found[U];
        memset(before, 0x5a, sizeof before);
        bp_units_read(&units, 0, 2, before);
        assert_false(before[1].measured || before[1].ever_non_zero);
        bp_units_add(&units, &tensor);
        bp_units_read(&units, 0, U, found);
        const double value = decode(dtype, ordinary_bits(dtype, 1, 1));
        for (size_t u = 0; u < U; u++) {
            const bool is_bad = u == 10 || u == 11;
            const bool is_tiny = dtype == BP_F64 && (u == 7 || u == 8);
            assert_int_equal(found[u].ever_non_zero, u == 7 || u == 8 || is_bad || u == 19);
            assert_int_equal(found[u].measured, !is_bad && !is_tiny);
            assert_true(isfinite(found[u].rms) && isfinite(found[u].mean));
            assert_int_equal(found[u].rms > 0, found[u].ever_non_zero && found[u].measured);
        }
        assert_true(found[19].mean == value && found[19].variance == 0);
        assert_true(found[19].rms == fabs(value));
        bp_units_read(&units, 19, 1, before);
        assert_true(before[0].mean == value);
        double variation;
        assert_false(bp_units_variation(&units, 1, &variation));
    }
}

/* f64 whose squares vanish beside others that cancel. */
static void small_f64_are_not_dead(void **state) {
    (void)state;
    const double turned[2][3] = {{0, 1e-200, 0}, {-1e-200, 1e-200, 0}};
    const double straight[3][2] = {{0, 0}, {1e-200, 0}, {-1e-200, 0}};
    const bp_tensor tensors[] = {
        bp_tensor_matrix(straight, BP_F64, 3, 2),
        {.data = turned, .dtype = BP_F64, .ndim = 2, .shape = {3, 2}, .stride = {1, 3}}};
    for (size_t t = 0; t < 2; t++) {
        bp_units units = open_units(2);
        bp_unit found[2];
        bp_units_add(&units, &tensors[t]);
        bp_units_read(&units, 0, 2, found);
        assert_true(found[0].ever_non_zero && !found[0].measured);
        assert_int_equal(found[1].ever_non_zero, t == 1);
    }
    const double beside[3][2] = {{1, 0}, {1, 1e-200}, {1, -1e-200}};
    const bp_tensor mixed = bp_tensor_matrix(beside, BP_F64, 3, 2);
    bp_units living = open_units(2);
    bp_unit last;
    bp_units_add(&living, &mixed);
    bp_units_read(&living, 1, 1, &last);
    assert_true(last.ever_non_zero);
    const double huge[2][2] = {{0, 1}, {1e200, 1}};
    const bp_tensor tensor = bp_tensor_matrix(huge, BP_F64, 2, 2);
    bp_units units = open_units(2);
    bp_unit found[2];
    bp_units_add(&units, &tensor);
    bp_units_read(&units, 0, 2, found);
    assert_true(!found[0].measured && found[0].ever_non_zero && found[1].measured);
    assert_true(found[1].rms == 1);
}

/* The first sample may be the odd one out: the others' share of the rms is kept. */
static void an_odd_first_sample(void **state) {
    (void)state;
    enum { S = 1000 };
    static double values[S];
    for (size_t s = 0; s < S; s++) values[s] = s ? 1 + (double)(s % 2) : 1e3;
    const bp_tensor tensor = bp_tensor_matrix(values, BP_F64, S, 1);
    bp_units units = open_units(1);
    double variation;
    bp_units_add(&units, &tensor);
    assert_true(bp_units_variation(&units, S, &variation));
    assert_true(near(variation, slow_variation(values, S, 1), 1e-12));
}

/* A host that rounds upward gets the same bits. */
static void the_hosts_rounding_does_not_matter(void **state) {
    (void)state;
    enum { S = 7, U = 37 };
    float data[S * U];
    bp_unit read[2][U];
    double variation[2];
    for (size_t i = 0; i < S * U; i++) put_bits(data, BP_F32, i, ordinary_bits(BP_F32, 12, i));
    const bp_tensor tensor = bp_tensor_matrix(data, BP_F32, S, U);
    for (int up = 0; up < 2; up++) {
        const int kept = fegetround();
        assert_int_equal(fesetround(up ? FE_UPWARD : FE_TONEAREST), 0);
        bp_units units = open_units(U);
        bp_units_add(&units, &tensor);
        bp_units_read(&units, 0, U, read[up]);
        const bool is_measured = bp_units_variation(&units, S, &variation[up]);
        assert_int_equal(fesetround(kept), 0);
        assert_true(is_measured);
    }
    assert_true(variation[0] == variation[1]);
    for (size_t u = 0; u < U; u++) {
        assert_true(read[0][u].mean == read[1][u].mean && read[0][u].rms == read[1][u].rms);
        assert_true(read[0][u].variance == read[1][u].variance);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variation_against_plain_code),
        cmocka_unit_test(samples_that_look_alike_do_not_vary),
        cmocka_unit_test(images_are_flattened),
        cmocka_unit_test(what_cannot_be_measured_is_not),
        AT_EACH_LEVEL(bits_of_the_definition),
        AT_EACH_LEVEL(special_values),
        cmocka_unit_test(strides_do_not_matter),
        cmocka_unit_test(channels_in_any_order),
        cmocka_unit_test(units_are_read_one_by_one),
        cmocka_unit_test(small_f64_are_not_dead),
        cmocka_unit_test(an_odd_first_sample),
        cmocka_unit_test(the_hosts_rounding_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
