/* SPDX-License-Identifier: Apache-2.0 */
/* What units did: planted ones, in vectors, images and sequences. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "base/base.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

enum { MOST = 4096, SAMPLES = 40 };

/* Units with an activity, and a batch of f32 values [SAMPLES, per sample]. */
typedef struct layer {
    bp_units units;
    bp_activity activity;
    bp_unit_shape shape;
    double numbers[3 * MOST];
    uint64_t quiet[MOST], scratch[8 * MOST];
    float values[SAMPLES * MOST];
} layer;

static layer l; /* large */

static uint64_t per_sample(void) {
    return l.shape.outer * l.shape.n_units * l.shape.inner;
}

/* Random values; ReLU's, so that half of them are 0. */
static void open_layer(bp_unit_kind kind, uint64_t outer, uint64_t n_units, uint64_t inner) {
    memset(&l, 0x5a, sizeof l); /* nothing may rely on what was there */
    l.shape = (bp_unit_shape){outer, n_units, inner};
    assert_true(per_sample() <= MOST);
    bp_units_init(&l.units, l.numbers, l.numbers + per_sample(), l.numbers + 2 * per_sample(),
                  per_sample());
    assert_true(bp_activity_scratch_words(n_units) <= sizeof l.scratch / sizeof *l.scratch);
    bp_activity_init(&l.activity, kind, n_units, 3 * SAMPLES, l.quiet, l.scratch);
    const bp_random_key key = {.seed = n_units + inner};
    for (size_t i = 0; i < SAMPLES * per_sample(); i++)
        l.values[i] = fmaxf((float)bp_random_normal(&key, i), 0);
}

/* One value of every sample. */
static float *value(size_t sample, size_t outer, size_t unit, size_t inner) {
    return &l.values[sample * per_sample() + (outer * l.shape.n_units + unit) * l.shape.inner +
                     inner];
}

static void plant(size_t unit, float value_of_all) {
    for (size_t s = 0; s < SAMPLES; s++)
        for (size_t o = 0; o < l.shape.outer; o++)
            for (size_t i = 0; i < l.shape.inner; i++) *value(s, o, unit, i) = value_of_all;
}

static void plant_copy(size_t of, size_t unit) {
    for (size_t s = 0; s < SAMPLES; s++)
        for (size_t o = 0; o < l.shape.outer; o++)
            for (size_t i = 0; i < l.shape.inner; i++) *value(s, o, unit, i) = *value(s, o, of, i);
}

static bp_unit_counts read_batch(void) {
    bp_unit_counts counts;
    const bp_tensor tensor = bp_tensor_matrix(l.values, BP_F32, SAMPLES, (int64_t)per_sample());
    bp_units_reset(&l.units);
    bp_units_add(&l.units, &tensor);
    assert_true(bp_activity_read(&l.activity, &l.units, &l.shape, 32, &counts));
    assert_int_equal(counts.n_units, l.shape.n_units);
    return counts;
}

/* Vectors, images and sequences, in sizes around the 16 that are read at once. */
static const bp_unit_shape shapes[] = {{1, 5, 1},    {1, 16, 1},  {1, 333, 1}, {1, 6, 4},
                                       {1, 18, 100}, {7, 33, 1},  {20, 5, 1},  {3, 17, 5},
                                       {1, 4, 16},   {12, 16, 1}, {1, 64, 64}};

static void silent_units_are_counted(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        open_layer(BP_UNIT_RELU, shapes[i].outer, shapes[i].n_units, shapes[i].inner);
        bp_unit_counts counts = read_batch();
        assert_true(counts.has_silent && !counts.has_saturated);
        assert_int_equal(counts.silent, 0);
        const size_t last = shapes[i].n_units - 1;
        plant(0, 0);
        plant(last, 0);
        assert_int_equal(read_batch().silent, 2);
        /* One value that is active is enough: the first or the last of its unit. */
        *value(0, 0, last, 0) = 1e-30f;
        assert_int_equal(read_batch().silent, 1);
        plant(last, 0);
        *value(SAMPLES - 1, shapes[i].outer - 1, last, shapes[i].inner - 1) = 1e-30f;
        assert_int_equal(read_batch().silent, 1);
    }
}

static void copies_are_no_units_of_their_own(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const uint64_t n = shapes[i].n_units;
        open_layer(BP_UNIT_PLAIN, shapes[i].outer, n, shapes[i].inner);
        bp_unit_counts counts = read_batch();
        assert_true(counts.has_distinct && !counts.has_silent && !counts.has_dead);
        assert_int_equal(counts.distinct, n);
        plant_copy(0, n - 1);
        assert_int_equal(read_batch().distinct, n - 1);
        /* Units that are 0 throughout are one, +0 or -0. */
        plant(1, 0);
        plant(2, -0.0f);
        assert_int_equal(read_batch().distinct, n - 2);
        for (size_t u = 1; u < n; u++) plant_copy(0, u);
        assert_int_equal(read_batch().distinct, 1);
        /* The last value of the last sample is another. */
        *value(SAMPLES - 1, shapes[i].outer - 1, n - 1, shapes[i].inner - 1) += 0.25f;
        assert_int_equal(read_batch().distinct, 2);
    }
}

/* Of an image's channel the pixels may be saturated here and there: the mean decides. */
static void saturated_units_are_counted(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
            open_layer(sigmoid ? BP_UNIT_SIGMOID : BP_UNIT_TANH, shapes[i].outer, shapes[i].n_units,
                       shapes[i].inner);
            for (size_t k = 0; k < SAMPLES * per_sample(); k++)
                l.values[k] = sigmoid ? 1 / (1 + expf(-l.values[k])) : tanhf(l.values[k]);
            const bp_unit_counts counts = read_batch();
            assert_true(counts.has_saturated && !counts.has_silent);
            assert_int_equal(counts.saturated, 0);
            /* phi' = 0.0099 of its maximum: 1 - x^2, and 4 x (1 - x), at the upper end. */
            plant(1, sigmoid ? 0.5f + 0.5f * sqrtf(1 - 0.0099f) : -sqrtf(1 - 0.0099f));
            assert_int_equal(read_batch().saturated, 1);
            plant(2, sigmoid ? 0.5f - 0.5f * sqrtf(1 - 0.0101f) : sqrtf(1 - 0.0101f));
            assert_int_equal(read_batch().saturated, 1);
            /* At both ends in turns its mean is that of a healthy unit. */
            for (size_t s = 0; s < SAMPLES; s++)
                for (size_t o = 0; o < shapes[i].outer; o++)
                    for (size_t p = 0; p < shapes[i].inner; p++)
                        *value(s, o, 3, p) = s % 2 ? 1 : sigmoid ? 0 : -1;
            assert_int_equal(read_batch().saturated, 2);
        }
}

static void the_flat_tail_is_silence(void **state) {
    (void)state;
    const struct {
        bp_unit_kind kind;
        float tail;
    } tails[] = {{BP_UNIT_GELU, 3e-4f}, {BP_UNIT_SILU, 1.2e-3f}};
    for (size_t t = 0; t < 2; t++) {
        open_layer(tails[t].kind, 1, 20, 1);
        for (size_t k = 0; k < SAMPLES * 20; k++) l.values[k] -= 0.1f;
        assert_int_equal(read_batch().silent, 0);
        plant(3, -0.99f * tails[t].tail);
        plant(4, -1.01f * tails[t].tail);
        plant(5, 0.5f * tails[t].tail); /* above zero it has a slope of a half */
        plant(6, 0);
        for (size_t s = 0; s < SAMPLES; s++)
            *value(s, 0, 7, 0) = -tails[t].tail * (float)s / SAMPLES;
        assert_int_equal(read_batch().silent, 3); /* 3, 6, 7 */
        *value(11, 0, 3, 0) = 0.05f;              /* active once */
        assert_int_equal(read_batch().silent, 2);
    }
}

static void the_dead_are_silent_for_long(void **state) {
    (void)state;
    open_layer(BP_UNIT_RELU, 1, 33, 9);
    plant(5, 0);
    plant(32, 0);
    bp_unit_counts counts = read_batch();
    assert_false(counts.has_dead); /* not seen for long enough */
    assert_int_equal(counts.dead, 0);
    counts = read_batch();
    assert_false(counts.has_dead);
    counts = read_batch();
    assert_true(counts.has_dead);
    assert_int_equal(counts.dead, 2);
    *value(7, 0, 32, 8) = 1; /* active once: it begins anew */
    assert_int_equal(read_batch().dead, 1);
    *value(7, 0, 32, 8) = 0;
    assert_int_equal(read_batch().dead, 1);
    assert_int_equal(read_batch().dead, 1);
    assert_int_equal(read_batch().dead, 2);
    bp_activity_reset(&l.activity);
    assert_false(read_batch().has_dead);
    /* Without words for it nobody is dead. */
    bp_activity_init(&l.activity, BP_UNIT_RELU, 33, 1, NULL, NULL);
    counts = read_batch();
    assert_true(counts.has_silent && !counts.has_dead && !counts.has_distinct);
    assert_int_equal(counts.silent, 2);
    bp_activity_init(&l.activity, BP_UNIT_RELU, 33, 0, l.quiet, l.scratch);
    assert_false(read_batch().has_dead);
}

static void what_was_not_seen_is_not_told(void **state) {
    (void)state;
    open_layer(BP_UNIT_RELU, 1, 12, 1);
    plant(4, 0);
    bp_unit_counts counts = {.silent = 77};
    const bp_tensor tensor = bp_tensor_matrix(l.values, BP_F32, SAMPLES, 12);
    assert_false(bp_activity_read(&l.activity, &l.units, &l.shape, 0, &counts));
    bp_units_add(&l.units, &tensor);
    assert_false(bp_activity_read(&l.activity, &l.units, &l.shape, SAMPLES + 1, &counts));
    const bp_unit_shape other = {1, 6, 2}, larger = {2, 12, 1}, huge = {UINT64_MAX, 12, 2};
    assert_false(bp_activity_read(&l.activity, &l.units, &other, 32, &counts));
    assert_false(bp_activity_read(&l.activity, &l.units, &larger, 32, &counts));
    assert_false(bp_activity_read(&l.activity, &l.units, &huge, 32, &counts));
    *value(3, 0, 0, 0) = NAN;
    bp_units_add(&l.units, &tensor);
    assert_false(bp_activity_read(&l.activity, &l.units, &l.shape, 32, &counts));
    assert_int_equal(counts.silent, 77);
    assert_int_equal(l.activity.observed, 0);
    assert_int_equal(l.quiet[4], 0);
}

/* Whole channels in bp_units, or their values: the same counts. Readings of one's own, too. */
static void channels_may_be_summed_before(void **state) {
    (void)state;
    open_layer(BP_UNIT_RELU, 1, 24, 36);
    plant(3, 0);
    plant_copy(8, 9);
    const bp_unit_counts apart = read_batch();
    assert_int_equal(apart.silent, 1);
    assert_int_equal(apart.distinct, 23);
    bp_units_init(&l.units, l.numbers, l.numbers + 24, l.numbers + 48, 24);
    l.units.n_inner = 36;
    const bp_tensor tensor = bp_tensor_matrix(l.values, BP_F32, SAMPLES, 24 * 36);
    bp_units_add(&l.units, &tensor);
    const bp_unit_shape shape = {1, 24, 1};
    bp_unit_counts counts;
    assert_true(bp_activity_read(&l.activity, &l.units, &shape, 32, &counts));
    assert_int_equal(counts.silent, apart.silent);
    assert_int_equal(counts.distinct, apart.distinct);
    bp_unit_reading readings[24];
    for (size_t u = 0; u < 24; u++) { /* 6 means; of each one unit in four has another variance */
        const size_t group = u / 4;
        readings[u] = (bp_unit_reading){
            .active = u % 2, .mean = (double)group, .variance = u % 4 == 3 ? 2 : 1};
    }
    readings[2].mean = -0.0;
    bp_activity_count(&l.activity, readings, SAMPLES, &counts);
    assert_int_equal(counts.silent, 12);
    assert_int_equal(counts.distinct, 12);
    assert_true(counts.has_dead);
    assert_int_equal(counts.dead, 0); /* 3 was silent all the time, but active in the readings */
}

static void features_of_different_scales(void **state) {
    (void)state;
    double scales = 42, scratch[64];
    open_layer(BP_UNIT_PLAIN, 1, 9, 1);
    for (size_t s = 0; s < SAMPLES; s++)
        for (size_t u = 0; u < 9; u++)
            *value(s, 0, u, 0) = 1000 + (s % 2 ? 1.0f : -1.0f) * (float)(u + 1);
    plant(8, 7); /* it does not vary, so it does not count */
    read_batch();
    /* Deviations 1 ... 8: the lower median is 4. */
    assert_true(bp_units_scales(&l.units, &l.shape, 32, scratch, &scales));
    assert_true(fabs(scales - 2) < 1e-9);
    assert_false(bp_units_scales(&l.units, &l.shape, SAMPLES + 1, scratch, &scales));
    for (size_t u = 0; u < 9; u++) plant(u, (float)u);
    read_batch();
    assert_false(bp_units_scales(&l.units, &l.shape, 32, scratch, &scales));
    assert_true(fabs(scales - 2) < 1e-9);
    /* The features of a sequence over samples and time steps, in any order. */
    open_layer(BP_UNIT_PLAIN, 4, 61, 1);
    for (size_t s = 0; s < SAMPLES; s++)
        for (size_t o = 0; o < 4; o++)
            for (size_t u = 0; u < 61; u++)
                *value(s, o, u, 0) = (o % 2 ? 1.0f : -1.0f) * (float)(u * 37 % 61 + 1);
    read_batch();
    assert_true(bp_units_scales(&l.units, &l.shape, 32, scratch, &scales));
    assert_true(fabs(scales - 61.0 / 31) < 1e-12);
}

static void the_smallest_number_is_no_silence(void **state) {
    (void)state;
    static double wide[SAMPLES * 20];
    open_layer(BP_UNIT_RELU, 1, 20, 1);
    plant(2, 0);
    const bp_unit_counts narrow = read_batch();
    for (size_t i = 0; i < SAMPLES * 20; i++) wide[i] = (double)l.values[i] * 1e-300;
    wide[5 * 20 + 7] = 0;
    for (size_t s = 0; s < SAMPLES; s++) wide[s * 20 + 11] = s == 9 ? 5e-324 : 0;
    const bp_tensor tensor = bp_tensor_matrix(wide, BP_F64, SAMPLES, 20);
    bp_unit_counts counts;
    bp_units_reset(&l.units);
    bp_units_add(&l.units, &tensor);
    assert_true(bp_activity_read(&l.activity, &l.units, &l.shape, 32, &counts));
    assert_int_equal(counts.silent, narrow.silent); /* the smallest number is no silence */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_units_are_counted),
        cmocka_unit_test(copies_are_no_units_of_their_own),
        cmocka_unit_test(saturated_units_are_counted),
        cmocka_unit_test(the_flat_tail_is_silence),
        cmocka_unit_test(the_dead_are_silent_for_long),
        cmocka_unit_test(what_was_not_seen_is_not_told),
        cmocka_unit_test(channels_may_be_summed_before),
        cmocka_unit_test(features_of_different_scales),
        cmocka_unit_test(the_smallest_number_is_no_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
