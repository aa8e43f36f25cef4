/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

#include <fenv.h>

enum { MOST_WORDS = 4 * BP_PANEL_POSITIONS, ROWS = 300, COLUMNS = 1000, LARGE = ROWS * COLUMNS };
static uint64_t memory[2][MOST_WORDS + 1];

#define GUARD_WORD UINT64_C(0x5a5a5a5a5a5a5a5a)

static bp_panel open_panel(int which, uint64_t count, uint32_t number) {
    bp_panel panel;
    memset(memory[which], 0x5a, sizeof memory[which]);
    assert_true(bp_panel_words(count) <= MOST_WORDS);
    bp_panel_init(&panel, memory[which], count, number);
    return panel;
}

static void assert_within(int which, uint64_t count) {
    assert_true(memory[which][bp_panel_words(count)] == GUARD_WORD);
}

typedef struct three {
    bp_tensor gradient, before, after;
} three;

static bp_panel_reading read_update(bp_panel *panel, const three *t) {
    bp_panel_reading reading;
    memset(&reading, 0x5a, sizeof reading);
    bp_panel_before(panel, &t->gradient, &t->before);
    assert_true(bp_panel_after(panel, &t->after, &reading));
    return reading;
}

/* --- small tensors ---------------------------------------------------------------------------- */

static void up_to_2048_elements_it_is_exact(void **state) {
    (void)state;
    static double g[2048], before[2048], after[2048];
    const size_t counts[] = {1, 2, 17, 600, 2047, 2048};
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int which = -1; which < N_SPECIALS; which++)
            for (size_t c = 0; c < 6; c++) {
                const bp_dtype dtype = all_dtypes[d];
                const size_t n = counts[c];
                double *const data[3] = {g, before, after};
                for (size_t t = 0; t < 3; t++)
                    for (size_t i = 0; i < n; i++) {
                        const bool is_planted = which >= 0 && i % 11 == t;
                        put_bits(data[t], dtype, i,
                                 is_planted ? special_bits(dtype, (special)which)
                                            : ordinary_bits(dtype, i % 7 ? t : t % 2, i));
                    }
                const three t = {bp_tensor_matrix(g, dtype, (int64_t)n, 0),
                                 bp_tensor_matrix(before, dtype, (int64_t)n, 0),
                                 bp_tensor_matrix(after, dtype, (int64_t)n, 0)};
                bp_panel panel = open_panel(0, n, 3);
                const bp_panel_reading reading = read_update(&panel, &t);
                bp_update_stats exact = {0};
                bp_update_stats_add(&exact, &t.gradient, &t.before, &t.after);
                assert_memory_equal(&reading.update, &exact, sizeof exact);
                assert_int_equal(reading.update.count, n);
                const double rms = sqrt(exact.sum_squares_change / (double)n);
                assert_memory_equal(&reading.change_rms, &rms, sizeof rms);
                assert_memory_equal(&reading.effect, &exact.effect, sizeof rms);
                assert_true(reading.stalled_fraction == (double)exact.stalled / (double)n);
                assert_false(reading.has_cosine);
                assert_within(0, n);
            }
}

/* --- places ----------------------------------------------------------------------------------- */

static void one_place_in_each_stretch(void **state) {
    (void)state;
    const uint64_t counts[] = {2049, 4096, 1000003, UINT64_C(1) << 20, (UINT64_C(1) << 62) + 12345};
    for (size_t c = 0; c < 5; c++) {
        const uint64_t count = counts[c];
        const bp_panel panel = open_panel(0, count, 0), again = open_panel(1, count, 0);
        assert_int_equal(panel.n, BP_PANEL_POSITIONS);
        assert_memory_equal(panel.places, again.places, BP_PANEL_POSITIONS * sizeof(uint64_t));
        for (uint64_t k = 0; k < BP_PANEL_POSITIONS; k++) {
            const wide stretch = (wide)count / BP_PANEL_POSITIONS;
            assert_true(panel.places[k] < count);
            assert_true((wide)panel.places[k] + 1 > (wide)k * stretch);
            assert_true((wide)panel.places[k] < (wide)(k + 1) * stretch);
        }
        const bp_panel other = open_panel(1, count, 1);
        assert_memory_not_equal(panel.places, other.places, BP_PANEL_POSITIONS * sizeof(uint64_t));
        assert_within(1, count);
    }
}

/* A row length that divides the distance of the places would leave them in one column. */
static void not_in_step_with_rows(void **state) {
    (void)state;
    const uint64_t lengths[] = {64, 512, 1024, 4096};
    const bp_panel panel = open_panel(0, UINT64_C(4096) * 4096, 0);
    for (size_t c = 0; c < 4; c++) {
        uint64_t in_part[16] = {0};
        for (uint64_t k = 0; k < BP_PANEL_POSITIONS; k++)
            in_part[panel.places[k] % lengths[c] * 16 / lengths[c]]++;
        for (int i = 0; i < 16; i++) /* 128 +- 11 expected */
            assert_true(in_part[i] > 128 - 55 && in_part[i] < 128 + 55);
    }
}

static void each_element_is_as_likely(void **state) {
    (void)state;
    enum { COUNT = 3000, PANELS = 1000 };
    static uint32_t drawn[COUNT];
    for (uint32_t number = 0; number < PANELS; number++) {
        const bp_panel panel = open_panel(0, COUNT, number);
        for (size_t k = 0; k < BP_PANEL_POSITIONS; k++) drawn[panel.places[k]]++;
    }
    const double expected = (double)PANELS * BP_PANEL_POSITIONS / COUNT; /* +- 20 */
    for (size_t i = 0; i < COUNT; i++) assert_true(fabs(drawn[i] - expected) < 120);
}

/* --- large tensors ---------------------------------------------------------------------------- */

static float large[3][LARGE];

static three fill_large(void) {
    for (size_t i = 0; i < LARGE; i++) {
        const bp_random_key key = {.seed = 5};
        large[0][i] = (float)bp_random_normal(&key, 2 * i);
        large[1][i] = (float)bp_random_normal(&key, 2 * i + 1);
        large[2][i] = large[1][i];
        if (i % 4) large[2][i] -= 0.01f * large[0][i];
    }
    return (three){bp_tensor_matrix(large[0], BP_F32, ROWS, COLUMNS),
                   bp_tensor_matrix(large[1], BP_F32, ROWS, COLUMNS),
                   bp_tensor_matrix(large[2], BP_F32, ROWS, COLUMNS)};
}

/* g * dw is proportional to a squared normal in three of four places: coefficient of variation
 * sqrt(3 / 0.75 - 1); stalled is a coin. */
static void estimates_are_unbiased_within_their_error(void **state) {
    (void)state;
    enum { PANELS = 64 };
    const three t = fill_large();
    bp_update_stats exact = {0};
    bp_update_stats_add(&exact, &t.gradient, &t.before, &t.after);
    const double rms = sqrt(exact.sum_squares_change / LARGE), stalled = 0.25;
    const double errors[3] = {0.5 * 1.73 / sqrt(BP_PANEL_POSITIONS),
                              1.73 / sqrt(BP_PANEL_POSITIONS),
                              sqrt(0.25 * 0.75) / 0.25 / sqrt(BP_PANEL_POSITIONS)};
    double mean[3] = {0}, spread[3] = {0};
    for (uint32_t number = 0; number < PANELS; number++) {
        bp_panel panel = open_panel(0, LARGE, number);
        const bp_panel_reading reading = read_update(&panel, &t);
        assert_int_equal(reading.update.count, BP_PANEL_POSITIONS);
        const double off[3] = {reading.change_rms / rms - 1, reading.effect / exact.effect - 1,
                               reading.stalled_fraction / stalled - 1};
        for (int i = 0; i < 3; i++) {
            assert_true(fabs(off[i]) < 5 * errors[i]);
            mean[i] += off[i] / PANELS;
            spread[i] += off[i] * off[i] / PANELS;
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(mean[i]) < 4 * errors[i] / sqrt(PANELS));
        assert_true(sqrt(spread[i]) > errors[i] / 2 && sqrt(spread[i]) < 1.5 * errors[i]);
    }
}

static void the_places_alone_count(void **state) {
    (void)state;
    three t = fill_large();
    bp_panel panel = open_panel(0, LARGE, 9);
    const bp_panel_reading clean = read_update(&panel, &t);
    for (size_t i = 0, k = 0; i < LARGE; i++) { /* everything else is NaN */
        if (i == panel.places[k])
            k++;
        else
            large[0][i] = large[1][i] = large[2][i] = (float)NAN;
    }
    bp_panel again = open_panel(1, LARGE, 9);
    const bp_panel_reading same = read_update(&again, &t);
    assert_memory_equal(&same.update, &clean.update, sizeof same.update);
    large[2][panel.places[2047]] = (float)INFINITY;
    large[2][panel.places[0]] = (float)NAN;
    assert_int_equal(read_update(&again, &t).update.made_non_finite, 2);
}

/* --- strides ---------------------------------------------------------------------------------- */

static void fill_words(void *to, bp_dtype dtype, size_t at, size_t value) {
    put_bits(to, dtype, at, (uint64_t)value & (dtype == BP_F16 || dtype == BP_BF16 ? 0x3fff : ~0u));
}

static void any_strides(void **state) {
    (void)state;
    enum { A = 6, B = 20, C = 4, D = 30, N = A * B * C * D };
    static uint8_t straight[N * 8], other[N * 8 * 3];
    const bp_tensor shape = {.ndim = 4, .shape = {A, B, C, D}};
    const int64_t strides[][4] = {
        {B * C * D, C * D, D, 1},             /* contiguous */
        {B * C * D, 1, B * D, B},             /* channels last */
        {1, A, A * B, A * B * C},             /* all turned */
        {-B * C * D, -C * D, -D, -1},         /* from behind */
        {2 * B * C * D, 2 * C * D, 2 * D, 2}, /* gaps */
        {C * D, A * C * D, D, 1},             /* the last two are one */
        {0, C * D, D, 1},                     /* expanded */
    };
    for (size_t d = 0; d < N_DTYPES; d++)
        for (size_t s = 0; s < sizeof strides / sizeof *strides; s++) {
            bp_tensor strided = shape;
            strided.dtype = all_dtypes[d];
            memcpy(strided.stride, strides[s], sizeof strides[s]);
            const size_t base = strides[s][3] < 0 ? N - 1 : 0;
            strided.data = other + base * bp_dtype_bytes(all_dtypes[d]);
            for (size_t i = 0; i < N; i++) {
                const int64_t index[4] = {(int64_t)(i / (B * C * D)), (int64_t)(i / (C * D) % B),
                                          (int64_t)(i / D % C), (int64_t)(i % D)};
                int64_t at = (int64_t)base;
                for (int k = 0; k < 4; k++) at += index[k] * strides[s][k];
                const size_t value = strides[s][0] == 0 ? i % (B * C * D) : i;
                fill_words(straight, all_dtypes[d], i, value);
                fill_words(other, all_dtypes[d], (size_t)at, value);
            }
            const bp_tensor plain = bp_tensor_matrix(straight, all_dtypes[d], N, 0);
            bp_panel expected = open_panel(0, N, 2), found = open_panel(1, N, 2);
            bp_panel_before(&expected, &plain, &plain);
            bp_panel_before(&found, &strided, &strided);
            assert_true(found.gradient.held && found.weights.held);
            assert_memory_equal(memory[1], memory[0], sizeof memory[0]);
            for (size_t k = 0; k < BP_PANEL_POSITIONS; k++)
                assert_true(get_bits(found.weights.words, all_dtypes[d], (int64_t)k) ==
                            get_bits(straight, all_dtypes[d], (int64_t)found.places[k]));
        }
}

static void small_and_turned(void **state) {
    (void)state;
    enum { R = 30, C = 60, N = R * C };
    static float straight[N], turned[N];
    for (size_t i = 0; i < N; i++) straight[i] = turned[i % C * R + i / C] = (float)i;
    const bp_tensor plain = bp_tensor_matrix(straight, BP_F32, R, C);
    const bp_tensor other = {
        .data = turned, .dtype = BP_F32, .ndim = 2, .shape = {R, C}, .stride = {1, R}};
    bp_panel expected = open_panel(0, N, 0), found = open_panel(1, N, 0);
    bp_panel_before(&expected, &plain, &plain);
    bp_panel_before(&found, &other, &other);
    assert_memory_equal(memory[1], memory[0], sizeof memory[0]);
    assert_memory_equal(memory[0], straight, sizeof straight);
}

/* --- cosine ----------------------------------------------------------------------------------- */

static bool cosine(bp_dtype dtype, size_t n, const double *last, const double *now, double *found) {
    static double data[2][2048];
    bp_panel panel = open_panel(0, n, 0);
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < 2; t++) {
            const double value = t ? now[i] : last[i];
            const float narrow = (float)value;
            if (dtype == BP_F32)
                memcpy((uint8_t *)data[t] + i * sizeof narrow, &narrow, sizeof narrow);
            else
                data[t][i] = value;
        }
    bp_panel_reading reading = {.has_cosine = false};
    for (size_t t = 0; t < 2; t++) {
        const bp_tensor g = bp_tensor_matrix(data[t], dtype, (int64_t)n, 0);
        reading = read_update(&panel, &(three){g, g, g});
        if (t == 0) assert_false(reading.has_cosine);
    }
    *found = reading.cosine;
    return reading.has_cosine;
}

static void cosines(void **state) {
    (void)state;
    enum { N = 900 };
    static double a[N], b[N];
    const bp_dtype dtypes[] = {BP_F32, BP_F64};
    for (size_t d = 0; d < 2; d++) {
        const bp_random_key key = {.seed = 6};
        wide ab = 0, aa = 0, bb = 0;
        double found;
        for (size_t i = 0; i < N; i++) {
            a[i] = (double)(float)bp_random_normal(&key, i);
            b[i] = (double)(float)(a[i] + 2 * bp_random_normal(&key, N + i));
            ab += (wide)a[i] * (wide)b[i];
            aa += (wide)a[i] * (wide)a[i];
            bb += (wide)b[i] * (wide)b[i];
        }
        const double expected = (double)ab / sqrt((double)aa * (double)bb);
        assert_true(cosine(dtypes[d], N, a, b, &found));
        assert_true(expected > 0.3 && fabs(found - expected) < 1e-14);
        assert_true(cosine(dtypes[d], N, a, a, &found) && found > 1 - 1e-15 && found <= 1);
        for (size_t i = 0; i < N; i++) b[i] = -2 * a[i];
        assert_true(cosine(dtypes[d], N, a, b, &found) && found < -1 + 1e-15 && found >= -1);
        assert_true(cosine(dtypes[d], 1, a, b, &found) && found == -1);
        b[512] = 0;
        assert_true(cosine(dtypes[d], 513, a, b, &found) && found > -1 + 1e-6 && found < -0.9);
        assert_true(cosine(dtypes[d], 2, (double[]){1, 0}, (double[]){0, 3}, &found) && found == 0);
        assert_false(cosine(dtypes[d], 2, (double[]){0, 0}, (double[]){1, 3}, &found));
        assert_false(cosine(dtypes[d], 2, (double[]){1, 3}, (double[]){0, -0.0}, &found));
    }
}

static void cosines_of_large_and_small(void **state) {
    (void)state;
    double found;
    const double small[] = {3e-200, 4e-200}, large_values[] = {4e200, 3e200};
    const double subnormal[] = {DBL_TRUE_MIN, 0}, largest[] = {DBL_MAX, -DBL_MAX};
    assert_true(cosine(BP_F64, 2, small, large_values, &found) && fabs(found - 0.96) < 1e-15);
    assert_true(cosine(BP_F64, 2, subnormal, largest, &found) && fabs(found - sqrt(0.5)) < 1e-15);
    assert_true(cosine(BP_F32, 2, (double[]){1e-45, 0}, (double[]){3e38, 3e38}, &found));
    assert_true(fabs(found - sqrt(0.5)) < 1e-15);
    const double with_nan[] = {1, (double)NAN, 2}, with_inf[] = {1, 5, (double)INFINITY};
    assert_true(cosine(BP_F64, 3, with_nan, (double[]){1, 7, 1}, &found));
    assert_true(fabs(found - 3 / sqrt(10)) < 1e-15);
    assert_true(cosine(BP_F32, 3, (double[]){2, 0, 9}, with_inf, &found));
    assert_true(fabs(found - 1 / sqrt(26)) < 1e-15);
    assert_false(cosine(BP_F32, 2, (double[]){(double)NAN, 1}, (double[]){1, (double)NAN}, &found));
}

/* --- what goes wrong -------------------------------------------------------------------------- */

static void what_was_not_given_is_not_read(void **state) {
    (void)state;
    const float values[4] = {1, 2, 3, 4};
    const bp_tensor good = bp_tensor_matrix(values, BP_F32, 4, 0);
    const bp_tensor bad[] = {
        bp_tensor_matrix(values, BP_F32, 3, 0), bp_tensor_matrix(NULL, BP_F32, 4, 0),
        bp_tensor_matrix(values, (bp_dtype)99, 4, 0), bp_tensor_matrix(values, BP_F32, 0, 0)};
    bp_panel panel = open_panel(0, 4, 0);
    bp_panel_reading reading;
    memset(&reading, 0x5a, sizeof reading);
    const bp_panel_reading untouched = reading;
    assert_false(bp_panel_after(&panel, &good, &reading));
    for (size_t i = 0; i < 4; i++) {
        bp_panel_before(&panel, &bad[i], &good);
        assert_false(bp_panel_after(&panel, &good, &reading));
        bp_panel_before(&panel, &good, &bad[i]);
        assert_false(bp_panel_after(&panel, &good, &reading));
        bp_panel_before(&panel, &good, &good);
        assert_false(bp_panel_after(&panel, &bad[i], &reading));
        assert_false(bp_panel_after(&panel, &good, &reading)); /* once a step */
    }
    assert_memory_equal(&reading, &untouched, sizeof reading);
    bp_panel_before(&panel, &bad[0], &good);
    assert_false(read_update(&panel, &(three){good, good, good}).has_cosine);
    assert_true(read_update(&panel, &(three){good, good, good}).has_cosine);
    bp_panel_reset(&panel);
    assert_false(bp_panel_after(&panel, &good, &reading));
    assert_false(read_update(&panel, &(three){good, good, good}).has_cosine);
    bp_panel_before(&panel, &good, &good);
    bp_panel_reset(&panel);
    assert_false(bp_panel_after(&panel, &good, &reading));
}

static void nothing_is_read_of_nothing(void **state) {
    (void)state;
    const bp_tensor none = bp_tensor_matrix(NULL, BP_F32, 0, 0);
    bp_panel panel = open_panel(0, 0, 0);
    for (int twice = 0; twice < 2; twice++) {
        const bp_panel_reading reading = read_update(&panel, &(three){none, none, none});
        assert_true(reading.update.count == 0 && reading.change_rms == 0 && reading.effect == 0);
        assert_true(reading.stalled_fraction == 0 && !reading.has_cosine);
    }
    assert_int_equal(bp_panel_words(0), 0);
    assert_within(0, 0);
}

/* Gradients and weights of different formats, as in mixed precision; and they may change. */
static void formats_are_each_tensors_own(void **state) {
    (void)state;
    const uint16_t g16[] = {0x3f80, 0xbf80}; /* bf16: 1, -1 */
    const double g64[] = {3, -3};
    const float before[] = {1, 1}, after[] = {0.5f, 2};
    const bp_tensor w = bp_tensor_matrix(before, BP_F32, 2, 0);
    const bp_tensor moved = bp_tensor_matrix(after, BP_F32, 2, 0);
    bp_panel panel = open_panel(0, 2, 0);
    bp_panel_reading reading =
        read_update(&panel, &(three){bp_tensor_matrix(g16, BP_BF16, 2, 0), w, moved});
    assert_true(reading.effect == 1.5);
    reading = read_update(&panel, &(three){bp_tensor_matrix(g64, BP_F64, 2, 0), w, moved});
    assert_true(reading.effect == 4.5 && reading.has_cosine && fabs(reading.cosine - 1) < 1e-15);
}

/* A host that rounds upward gets the same bits. */
static void the_hosts_rounding_does_not_matter(void **state) {
    (void)state;
    const three t = fill_large();
    const three back = {t.before, t.before, t.after};
    bp_panel_reading readings[2][2];
    for (int up = 0; up < 2; up++) {
        const int kept = fegetround();
        assert_int_equal(fesetround(up ? FE_UPWARD : FE_TONEAREST), 0);
        bp_panel panel = open_panel(up, LARGE, 4);
        readings[up][0] = read_update(&panel, &t);
        readings[up][1] = read_update(&panel, &back);
        assert_int_equal(fegetround(), up ? FE_UPWARD : FE_TONEAREST);
        assert_int_equal(fesetround(kept), 0);
    }
    assert_memory_equal(memory[1], memory[0], sizeof memory[0]);
    for (int i = 0; i < 2; i++) {
        const bp_panel_reading *plain = &readings[0][i], *same = &readings[1][i];
        assert_memory_equal(&same->update, &plain->update, sizeof plain->update);
        assert_true(same->effect == plain->effect && same->change_rms == plain->change_rms);
        assert_true(same->stalled_fraction == plain->stalled_fraction);
        assert_true(same->has_cosine == (i == 1) && same->cosine == plain->cosine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(up_to_2048_elements_it_is_exact),
        cmocka_unit_test(one_place_in_each_stretch),
        cmocka_unit_test(not_in_step_with_rows),
        cmocka_unit_test(each_element_is_as_likely),
        cmocka_unit_test(estimates_are_unbiased_within_their_error),
        cmocka_unit_test(the_places_alone_count),
        cmocka_unit_test(any_strides),
        cmocka_unit_test(small_and_turned),
        cmocka_unit_test(cosines),
        cmocka_unit_test(cosines_of_large_and_small),
        cmocka_unit_test(what_was_not_given_is_not_read),
        cmocka_unit_test(nothing_is_read_of_nothing),
        cmocka_unit_test(formats_are_each_tensors_own),
        cmocka_unit_test(the_hosts_rounding_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
