/* SPDX-License-Identifier: Apache-2.0 */
/* What the watch tells of tensors with planted faults, exactly. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "watch/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 32768 };

typedef struct host {
    bp_model *model;
    bp_watch *watch;
    const bp_observer *observer;
    bp_plan plan;
    int64_t step;
    float values[MOST_VALUES];
} host;

static host h; /* large */

static void open_host_every(int64_t every, const bp_layer *layers, const int64_t input[3],
                            int64_t train_samples) {
    memset(&h, 0, sizeof h);
    assert_int_equal(bp_model_open(&h.model, NULL), BP_OK);
    for (; layers->kind; layers++)
        assert_int_equal(bp_model_add_layer(h.model, layers, NULL, NULL), BP_OK);
    assert_int_equal(bp_model_set_input(h.model, input, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_MSE,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.1,
                              .epoch_steps = 40,
                              .train_samples = train_samples,
                              .trivial_loss = 1};
    bp_model_set_recipe(h.model, &recipe);
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.every = every;
    assert_int_equal(bp_watch_open(&h.watch, h.model, &options, NULL), BP_OK);
    h.observer = bp_watch_observer(h.watch);
}

static void open_host(const bp_layer *layers, const int64_t input[3], int64_t train_samples) {
    open_host_every(1, layers, input, train_samples);
}

static void close_host(void) {
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_model_close(h.model);
}

static void begin(int64_t samples) {
    const bp_step step = {sizeof step, h.step++, samples, 4, 0.1, 0};
    h.plan = h.observer->step_begin(h.observer->context, &step);
    h.observer->scalar(h.observer->context, BP_METRIC_LOSS, 0.5);
}

static void tell(uint32_t layer, bp_role role, const bp_tensor *tensor) {
    assert_true(bp_plan_wants(&h.plan, layer, role));
    h.observer->tensor(h.observer->context, layer, role, BP_SLOT_WEIGHT, tensor);
}

static const bp_record *end(void) {
    h.observer->step_end(h.observer->context);
    const bp_record *record = bp_watch_record(h.watch);
    assert_non_null(record);
    return record;
}

static bool is(const bp_record *record, bp_quantity quantity, uint32_t row, double value) {
    return bp_record_has(record, quantity, row) && bp_record_get(record, quantity, row) == value;
}

static bool is_near(const bp_record *record, bp_quantity quantity, uint32_t row, double value) {
    return bp_record_has(record, quantity, row) &&
           fabs(bp_record_get(record, quantity, row) / value - 1) < 0.002;
}

static bp_layer dense(int64_t units, bp_activation activation) {
    return (bp_layer){.kind = BP_LAYER_DENSE,
                      .activation = activation,
                      .has_bias = true,
                      .output_shape = {units, 1, 1}};
}

static bp_layer recurrent(int64_t units, bool sequences) {
    return (bp_layer){.kind = BP_LAYER_RNN,
                      .activation = BP_ACTIVATION_TANH,
                      .has_bias = true,
                      .return_sequences = sequences,
                      .output_shape = {units, 1, 1}};
}

/* Numbers that differ, above 0. */
static void fill(int64_t samples, int64_t outer, int64_t units, int64_t inner) {
    assert_true(samples * outer * units * inner <= MOST_VALUES);
    for (int64_t i = 0; i < samples * outer * units * inner; i++)
        h.values[i] = 0.1f + (float)(i * 7919 % 1009) / 1009;
}

/* All values of a unit, times a factor plus a term. */
static void plant(int64_t samples, int64_t outer, int64_t units, int64_t inner, int64_t unit,
                  float factor, float term) {
    for (int64_t row = 0; row < samples * outer; row++)
        for (int64_t i = 0; i < inner; i++) {
            float *value = &h.values[(row * units + unit) * inner + i];
            *value = *value * factor + term;
        }
}

/* --- units ------------------------------------------------------------------------------------ */

static void units_of_a_vector(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(20, BP_ACTIVATION_RELU), dense(20, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {20, 1, 1};
    open_host(layers, input, 0);
    const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 1000, 20);
    for (int step = 0; step < 12; step++) {
        fill(1000, 1, 20, 1);
        plant(1000, 1, 20, 1, 3, 0, 0);
        plant(1000, 1, 20, 1, 11, 0, step == 4 ? 1 : 0);
        begin(1000);
        for (uint32_t layer = 0; layer <= 2; layer++) tell(layer, BP_ROLE_ACTIVATION, &batch);
        const bp_record *r = end();
        assert_true(is(r, BP_Q_UNITS, 1, 20) && is(r, BP_Q_UNITS, 2, 20));
        assert_true(is(r, BP_Q_SILENT_UNITS, 1, step == 4 ? 1 : 2));
        assert_true(is(r, BP_Q_DISTINCT_UNITS, 1, step == 4 ? 20 : 19));
        assert_false(bp_record_has(r, BP_Q_SILENT_UNITS, 2)); /* linear */
        assert_false(bp_record_has(r, BP_Q_SATURATED_UNITS, 1));
        assert_false(bp_record_has(r, BP_Q_UNITS, 0)); /* the input has features */
        /* 10,000 samples were seen with the tenth batch. */
        assert_int_equal(bp_record_has(r, BP_Q_DEAD_UNITS, 1), step >= 9);
        if (step >= 9) assert_true(is(r, BP_Q_DEAD_UNITS, 1, 1)); /* the other one lived later */
    }
    close_host();
}

/* An epoch that is longer than 10,000 samples. */
static void the_dead_of_a_long_epoch(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(2, BP_ACTIVATION_RELU), {0}};
    const int64_t input[3] = {2, 1, 1};
    open_host(layers, input, 40001);
    const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 10000, 2);
    for (int step = 0; step < 5; step++) {
        begin(10000);
        tell(1, BP_ROLE_ACTIVATION, &batch);
        const bp_record *r = end();
        assert_int_equal(bp_record_has(r, BP_Q_DEAD_UNITS, 1), step == 4);
        if (step == 4) assert_true(is(r, BP_Q_DEAD_UNITS, 1, 2));
    }
    close_host();
}

static void units_of_an_image(void **state) {
    (void)state;
    bp_layer conv = dense(6, BP_ACTIVATION_RELU);
    conv.kind = BP_LAYER_CONV;
    conv.kernel = 3;
    conv.stride = 1;
    conv.padding = 1;
    const bp_layer layers[] = {conv, {.kind = BP_LAYER_FLATTEN}, {0}};
    const int64_t input[3] = {3, 4, 5};
    open_host(layers, input, 0);
    fill(32, 1, 6, 20);
    plant(32, 1, 6, 20, 2, 0, 0);
    plant(32, 1, 6, 20, 5, 0, 0);
    h.values[31 * 120 + 5 * 20 + 19] = 1e-20f; /* one pixel of one image */
    const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 32, 120);
    begin(32);
    tell(1, BP_ROLE_ACTIVATION, &batch);
    tell(2, BP_ROLE_ACTIVATION, &batch);
    const bp_record *r = end();
    assert_true(is(r, BP_Q_UNITS, 1, 6));
    assert_true(is(r, BP_Q_SILENT_UNITS, 1, 1));
    assert_true(is(r, BP_Q_DISTINCT_UNITS, 1, 6));
    assert_true(is(r, BP_Q_UNITS, 2, 120)); /* flattened each pixel is a unit */
    /* As the framework lays images out. */
    const bp_tensor images = {.data = h.values,
                              .dtype = BP_F32,
                              .ndim = 4,
                              .shape = {32, 6, 4, 5},
                              .stride = {120, 20, 5, 1}};
    begin(32);
    tell(1, BP_ROLE_ACTIVATION, &images);
    r = end();
    assert_true(is(r, BP_Q_UNITS, 1, 6) && is(r, BP_Q_SILENT_UNITS, 1, 1));
    close_host();
}

static void units_of_a_sequence(void **state) {
    (void)state;
    const bp_layer layers[] = {
        recurrent(5, true), {.kind = BP_LAYER_DROPOUT}, recurrent(4, false), {0}};
    const int64_t input[3] = {7, 2, 1};
    open_host(layers, input, 0);
    fill(40, 7, 5, 1);
    for (int i = 0; i < 40 * 35; i++) h.values[i] -= 0.6f;
    plant(40, 7, 5, 1, 1, 0, 0.9951f); /* 1 - x^2 = 0.0098 */
    plant(40, 7, 5, 1, 2, 0, -0.9949f);
    plant(40, 7, 5, 1, 4, 0, 0.9951f);
    const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 40, 35);
    const bp_tensor last = bp_tensor_matrix(h.values, BP_F32, 40, 4);
    begin(40);
    tell(1, BP_ROLE_ACTIVATION, &batch);
    tell(2, BP_ROLE_ACTIVATION, &batch);
    tell(3, BP_ROLE_ACTIVATION, &last);
    const bp_record *r = end();
    assert_true(is(r, BP_Q_UNITS, 1, 5));
    assert_true(is(r, BP_Q_SATURATED_UNITS, 1, 2));
    assert_true(is(r, BP_Q_DISTINCT_UNITS, 1, 4));
    assert_true(is(r, BP_Q_UNITS, 2, 5)); /* dropout keeps the arrangement */
    assert_false(bp_record_has(r, BP_Q_SATURATED_UNITS, 2));
    assert_true(is(r, BP_Q_UNITS, 3, 4));
    close_host();
}

/* A normalisation before the activation hides nothing; one behind it does. */
static void units_behind_a_normalisation(void **state) {
    (void)state;
    bp_layer before = dense(8, BP_ACTIVATION_RELU), behind = before;
    before.norm = behind.norm = BP_NORM_BATCH;
    behind.norm_after_activation = true;
    const bp_layer layers[] = {before, behind, {0}};
    const int64_t input[3] = {8, 1, 1};
    open_host(layers, input, 0);
    fill(32, 1, 8, 1);
    plant(32, 1, 8, 1, 7, 0, 0);
    const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 32, 8);
    begin(32);
    tell(1, BP_ROLE_ACTIVATION, &batch);
    tell(2, BP_ROLE_ACTIVATION, &batch);
    const bp_record *r = end();
    assert_true(is(r, BP_Q_SILENT_UNITS, 1, 1));
    assert_false(bp_record_has(r, BP_Q_SILENT_UNITS, 2));
    assert_true(is(r, BP_Q_DISTINCT_UNITS, 2, 8));
    close_host();
}

/* Batches of 12: the third makes 36. What is not finite tells nothing, and does not stay. */
static void units_of_small_batches(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(8, BP_ACTIVATION_RELU), {0}};
    const int64_t input[3] = {8, 1, 1};
    open_host(layers, input, 0);
    for (int step = 0; step < 9; step++) {
        fill(12, 1, 8, 1);
        plant(12, 1, 8, 1, step == 1 ? 0 : 5, 0, 0); /* 5 was active once */
        if (step == 3) h.values[17] = NAN;
        const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 12, 8);
        begin(12);
        tell(1, BP_ROLE_ACTIVATION, &batch);
        const bp_record *r = end();
        assert_int_equal(bp_record_has(r, BP_Q_UNITS, 1), step == 2 || step == 8);
        if (step == 2) assert_true(is(r, BP_Q_SILENT_UNITS, 1, 0));
        if (step == 8) assert_true(is(r, BP_Q_SILENT_UNITS, 1, 1));
    }
    close_host();
}

static void scales_of_features(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {5, 1, 1};
    open_host(layers, input, 0);
    for (int i = 0; i < 32 * 5; i++) h.values[i] = i / 5 % 2 ? 1 : -1;
    plant(32, 1, 5, 1, 0, 300, 1e4f);
    plant(32, 1, 5, 1, 1, 3, 0);
    plant(32, 1, 5, 1, 4, 0, 8); /* does not vary: 300, 3, 1, 1 have the lower median 1 */
    const bp_tensor batch = bp_tensor_matrix(h.values, BP_F32, 32, 5);
    begin(32);
    tell(0, BP_ROLE_ACTIVATION, &batch);
    assert_true(is_near(end(), BP_Q_FEATURE_SCALES, 0, 300));
    close_host();
    /* The channels of an image. */
    const int64_t image[3] = {3, 2, 2};
    open_host(layers, image, 0);
    for (int i = 0; i < 32 * 12; i++) h.values[i] = i % 2 ? 1 : -1;
    plant(32, 1, 3, 4, 2, 40, 0);
    plant(32, 1, 3, 4, 1, 0.5f, 0);
    const bp_tensor images = bp_tensor_matrix(h.values, BP_F32, 32, 12);
    begin(32);
    tell(0, BP_ROLE_ACTIVATION, &images);
    assert_true(is_near(end(), BP_Q_FEATURE_SCALES, 0, 40));
    close_host();
}

/* --- formats ---------------------------------------------------------------------------------- */

static void formats(void **state) {
    (void)state;
    /* f16: 1, -2^-14, six subnormal numbers, zeros, NaN and Inf. */
    static const uint16_t f16[12] = {0x3c00, 0x8400, 1,      0x8001, 0x03ff, 0x83ff,
                                     0x200,  0x100,  0x8000, 0,      0x7e00, 0xfc00};
    static const uint16_t bf16[4] = {0x3f80, 0x0001, 0, 0x0080};
    static const double f64[4] = {1, 5e-324, 2, 3};
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {4, 1, 1};
    open_host(layers, input, 0);
    const bp_tensor half = bp_tensor_matrix(f16, BP_F16, 3, 4);
    const bp_tensor brain = bp_tensor_matrix(bf16, BP_BF16, 1, 4);
    const bp_tensor wide = bp_tensor_matrix(f64, BP_F64, 1, 4);
    const bp_tensor zeros = bp_tensor_matrix(f16 + 8, BP_F16, 1, 2);
    begin(3);
    tell(1, BP_ROLE_ACTIVATION, &half);
    tell(2, BP_ROLE_ACTIVATION, &wide);
    tell(1, BP_ROLE_PARAMETER, &brain);
    tell(2, BP_ROLE_PARAMETER, &wide);
    tell(1, BP_ROLE_ERROR_OUTPUT, &half);
    tell(2, BP_ROLE_ERROR_OUTPUT, &wide);
    tell(1, BP_ROLE_GRADIENT, &brain);
    tell(2, BP_ROLE_GRADIENT, &zeros);
    const bp_record *r = end();
    assert_true(is(r, BP_Q_ACTIVATION_PRECISION, 1, 11));
    assert_true(is(r, BP_Q_ACTIVATION_PRECISION, 2, 53));
    assert_true(is(r, BP_Q_PARAMETER_PRECISION, 1, 8));
    assert_true(is(r, BP_Q_ERROR_PRECISION, 1, 11));
    assert_true(is(r, BP_Q_ERROR_PRECISION, 2, 53));
    assert_true(is(r, BP_Q_ERROR_TINY, 1, 6.0 / 8));    /* zeros, NaN and Inf left out */
    assert_false(bp_record_has(r, BP_Q_ERROR_TINY, 2)); /* no half format */
    assert_true(is(r, BP_Q_GRADIENT_TINY, 1, 1.0 / 3));
    assert_false(bp_record_has(r, BP_Q_GRADIENT_TINY, 2)); /* all are 0 */
    close_host();
}

/* --- weights ---------------------------------------------------------------------------------- */

static double spread_of(const float *weights, int64_t n) {
    const bp_tensor tensor = bp_tensor_matrix(weights, BP_F32, n, 1);
    begin(1);
    tell(1, BP_ROLE_PARAMETER, &tensor);
    const bp_record *r = end();
    return bp_record_has(r, BP_Q_WEIGHT_SPREAD, 1) ? bp_record_get(r, BP_Q_WEIGHT_SPREAD, 1) : -1;
}

static void spread_of_weights(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {4, 1, 1};
    open_host(layers, input, 0);
    const float apart[4] = {1, 3, 1, 3}; /* mean 2, deviation 1, rms sqrt(5) */
    assert_true(fabs(spread_of(apart, 4) * sqrt(5) - 1) < 0.002);
    const float around_zero[4] = {-2, 2, 2, -2};
    assert_true(fabs(spread_of(around_zero, 4) - 1) < 0.002);
    for (int i = 0; i < MOST_VALUES; i++) h.values[i] = 0.7f;
    assert_true(spread_of(h.values, MOST_VALUES) == 0);
    for (int i = 0; i < MOST_VALUES; i += 2) h.values[i] = 0.7f + 3e-7f; /* rounding */
    assert_true(spread_of(h.values, MOST_VALUES) == 0);
    for (int i = 0; i < MOST_VALUES; i++) h.values[i] = 0.7f + (i % 2 ? 1e-5f : 0);
    assert_true(fabs(spread_of(h.values, MOST_VALUES) / (0.5e-5 / 0.7) - 1) < 0.02);
    /* Of ten million equal ones the sum of squares is rounded: as if they were 4e-6 apart. */
    const float equal = 0.3f;
    const bp_tensor many = {.data = &equal, .dtype = BP_F32, .ndim = 1, .shape = {10000000}};
    begin(1);
    tell(1, BP_ROLE_PARAMETER, &many);
    assert_true(is(end(), BP_Q_WEIGHT_SPREAD, 1, 0));
    const float zeros[4] = {0, 0, -0.0f, 0};
    assert_true(spread_of(zeros, 4) == 0);
    const float bad[4] = {1, 2, NAN, 3};
    assert_true(spread_of(bad, 4) == -1);
    close_host();
}

/* --- gradients -------------------------------------------------------------------------------- */

static double cosine_of(const float *gradient, int64_t rows, bp_slot slot) {
    static const float weights[4096], after[4096];
    const bp_tensor g = bp_tensor_matrix(gradient, BP_F32, rows, 4);
    const bp_tensor w = bp_tensor_matrix(weights, BP_F32, rows, 4);
    const bp_tensor a = bp_tensor_matrix(after, BP_F32, rows, 4);
    begin(1);
    h.observer->update(h.observer->context, 1, slot, &g, &w, &a);
    const bp_record *r = end();
    return bp_record_has(r, BP_Q_GRADIENT_COSINE, 1) ? bp_record_get(r, BP_Q_GRADIENT_COSINE, 1)
                                                     : -7;
}

static void gradients_that_turn(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {4, 1, 1};
    float g[16], bad[16];
    for (int i = 0; i < 16; i++) g[i] = i < 8 ? 1 : 0;
    open_host(layers, input, 0);
    assert_true(cosine_of(g, 4, BP_SLOT_WEIGHT) == -7); /* there is no last one */
    assert_true(cosine_of(g, 4, BP_SLOT_BIAS) == -7);
    assert_true(fabs(cosine_of(g, 4, BP_SLOT_WEIGHT) - 1) < 1e-12);
    for (int i = 0; i < 16; i++) g[i] = i < 8 ? -1e30f : 0;
    assert_true(fabs(cosine_of(g, 4, BP_SLOT_WEIGHT) + 1) < 1e-12);
    for (int i = 0; i < 16; i++) g[i] = i < 8 ? 0 : -3;
    assert_true(cosine_of(g, 4, BP_SLOT_WEIGHT) == 0);
    for (int i = 0; i < 16; i++) g[i] = i >= 8 && i < 10 ? -3 : 0; /* 2 of 8 */
    assert_true(fabs(cosine_of(g, 4, BP_SLOT_WEIGHT) - 0.5) < 1e-12);
    for (int i = 0; i < 16; i++) bad[i] = i < 10 ? g[i] : NAN;
    assert_true(fabs(cosine_of(bad, 4, BP_SLOT_WEIGHT) - 1) < 1e-12); /* over what is finite */
    assert_true(cosine_of((float[16]){0}, 4, BP_SLOT_WEIGHT) == -7);
    assert_true(cosine_of(g, 4, BP_SLOT_WEIGHT) == -7); /* the last one was 0 */
    assert_true(cosine_of(g, 2, BP_SLOT_WEIGHT) == -7); /* of another size */
    assert_true(cosine_of(g, 2, BP_SLOT_WEIGHT) == -7); /* and 0 */
    close_host();
}

static void the_norm_of_all_gradients(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {4, 1, 1};
    float first[4] = {2, 0, 0, 0}, second[4] = {0, 3, 0, 6};
    const bp_tensor a = bp_tensor_matrix(first, BP_F32, 4, 0);
    const bp_tensor b = bp_tensor_matrix(second, BP_F32, 4, 0);
    open_host(layers, input, 0);
    const float planted[3] = {6, INFINITY, NAN};
    for (int i = 0; i < 3; i++) {
        second[3] = planted[i];
        begin(1);
        tell(1, BP_ROLE_GRADIENT, &a);
        tell(2, BP_ROLE_GRADIENT, &b);
        const bp_record *r = end();
        if (i == 0) assert_true(is_near(r, BP_Q_GRADIENT_NORM, 0, 7));
        if (i == 1) assert_true(isinf(bp_record_get(r, BP_Q_GRADIENT_NORM, 0)));
        if (i == 2) assert_true(isnan(bp_record_get(r, BP_Q_GRADIENT_NORM, 0)));
        assert_true(bp_record_has(r, BP_Q_GRADIENT_NORM, 0));
    }
    close_host();
}

/* --- through time ----------------------------------------------------------------------------- */

/* Of a layer's input [8, steps, 3]: `first` in the first steps, `last` in the last, 5 between. */
static double ratio_of(uint32_t layer, bp_role role, int64_t steps, float first, float last,
                       bool flat) {
    const int64_t tenth = steps / 10 > 1 ? steps / 10 : 1;
    for (int64_t i = 0; i < 8 * steps * 3; i++) {
        const int64_t t = i / 3 % steps;
        const float size = t < tenth ? first : t >= steps - tenth ? last : 5;
        h.values[i] = i % 2 ? size : -size;
    }
    bp_tensor tensor = bp_tensor_matrix(h.values, BP_F32, 8, steps * 3);
    if (!flat)
        tensor = (bp_tensor){.data = h.values,
                             .dtype = BP_F32,
                             .ndim = 3,
                             .shape = {8, steps, 3},
                             .stride = {steps * 3, 3, 1}};
    begin(8);
    tell(layer, role, &tensor);
    const uint32_t reader = role == BP_ROLE_ERROR_INPUT ? layer : layer + 1;
    const bp_record *r = end();
    return bp_record_has(r, BP_Q_ERROR_THROUGH_TIME, reader)
               ? bp_record_get(r, BP_Q_ERROR_THROUGH_TIME, reader)
               : -7;
}

static void error_signals_through_time(void **state) {
    (void)state;
    const bp_layer layers[] = {
        recurrent(3, true), recurrent(3, false), dense(2, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {40, 3, 1};
    open_host(layers, input, 0);
    for (int flat = 0; flat < 2; flat++) {
        assert_true(fabs(ratio_of(1, BP_ROLE_ERROR_INPUT, 40, 2e-6f, 0.5f, flat) / 4e-6 - 1) <
                    0.002);
        assert_true(ratio_of(1, BP_ROLE_ERROR_INPUT, 40, 0, 0.5f, flat) == 0);
        assert_true(isinf(ratio_of(1, BP_ROLE_ERROR_INPUT, 40, 0.5f, 0, flat)));
        assert_true(ratio_of(1, BP_ROLE_ERROR_INPUT, 40, 0, 0, flat) == -7);
        assert_true(ratio_of(1, BP_ROLE_ERROR_INPUT, 40, NAN, 1, flat) == -7);
        /* What comes out of the layer before is the second one's input. */
        assert_true(fabs(ratio_of(1, BP_ROLE_ERROR_OUTPUT, 40, 6, 0.5f, flat) / 12 - 1) < 0.002);
    }
    /* Shorter sequences, as a framework cuts them. */
    assert_true(fabs(ratio_of(1, BP_ROLE_ERROR_INPUT, 7, 1, 4, false) / 0.25 - 1) < 0.002);
    assert_true(ratio_of(1, BP_ROLE_ERROR_INPUT, 7, 1, 4, true) == -7); /* of no known shape */
    assert_true(ratio_of(2, BP_ROLE_ERROR_OUTPUT, 40, 1, 4, false) ==
                -7); /* a dense one reads it */
    close_host();
    const bp_layer none[] = {dense(3, BP_ACTIVATION_TANH), {0}};
    open_host(none, input, 0);
    begin(8);
    assert_false(bp_plan_wants(&h.plan, 1, BP_ROLE_ERROR_INPUT)); /* it costs a product */
    end();
    close_host();
}

/* A block's first layer tells apart what came back through it and what came by the skip. */
static void a_skip_around_a_recurrent_layer(void **state) {
    (void)state;
    const bp_layer layers[] = {
        recurrent(3, true),
        recurrent(3, true),
        {.kind = BP_LAYER_RESIDUAL, .n_branch = 1, .skip_from = 1, .branch_scale = 1},
        {0}};
    const int64_t input[3] = {4, 3, 1};
    open_host(layers, input, 0);
    static const float through[12] = {1, 1, 1, 5, 5, 5, 5, 5, 5, 4, 4, 4}, both[12] = {9, 9, 9};
    const bp_tensor branch = bp_tensor_matrix(through, BP_F32, 1, 12);
    const bp_tensor sum = bp_tensor_matrix(both, BP_F32, 1, 12);
    begin(1);
    tell(2, BP_ROLE_ERROR_INPUT, &branch);
    tell(1, BP_ROLE_ERROR_OUTPUT, &sum);
    assert_true(is_near(end(), BP_Q_ERROR_THROUGH_TIME, 2, 0.25));
    close_host();
}

/* --- scalars ---------------------------------------------------------------------------------- */

static void scalars_of_a_step(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {4, 1, 1};
    const struct {
        bp_metric metric;
        bp_quantity quantity;
        double value;
    } told[] = {{BP_METRIC_TARGET_MIN, BP_Q_TARGET_MIN, -3},
                {BP_METRIC_TARGET_MAX, BP_Q_TARGET_MAX, 9.5},
                {BP_METRIC_TRAIN_ACCURACY, BP_Q_TRAIN_ACCURACY, 0.75},
                {BP_METRIC_UNCLIPPED_NORM, BP_Q_UNCLIPPED_NORM, 64}};
    open_host(layers, input, 0);
    begin(1);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        h.observer->scalar(h.observer->context, told[i].metric, told[i].value);
    const bp_record *r = end();
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        assert_true(is(r, told[i].quantity, 0, told[i].value));
    close_host();
}

/* A light step tells its loss alone; a validation behind it makes it a record, with the accuracy
 * that was told before. */
static void a_validation_behind_a_light_step(void **state) {
    (void)state;
    const bp_layer layers[] = {dense(4, BP_ACTIVATION_LINEAR), {0}};
    const int64_t input[3] = {4, 1, 1};
    open_host_every(4, layers, input, 0);
    for (int step = 0; step < 4; step++) {
        begin(1);
        if (step < 3)
            h.observer->scalar(h.observer->context, BP_METRIC_TRAIN_ACCURACY, 0.25 * step);
        h.observer->scalar(h.observer->context, BP_METRIC_TARGET_MAX, 7);
        h.observer->step_end(h.observer->context);
        if (step >= 2) {
            h.observer->scalar(h.observer->context, BP_METRIC_VALIDATION_LOSS, 0.75);
            h.observer->scalar(h.observer->context, BP_METRIC_VALIDATION_ACCURACY, 0.625);
        }
        const bp_record *r = bp_watch_record(h.watch);
        assert_int_equal(r->step, step < 2 ? 0 : step); /* the last one that is more than a loss */
        if (step < 2) assert_true(is(r, BP_Q_TARGET_MAX, 0, 7));
        if (step < 2) continue;
        assert_true(is(r, BP_Q_LOSS, 0, 0.5));
        assert_int_equal(is(r, BP_Q_TRAIN_ACCURACY, 0, 0.5), step == 2);
        assert_int_equal(bp_record_has(r, BP_Q_TRAIN_ACCURACY, 0), step == 2);
        assert_true(is(r, BP_Q_VALIDATION_LOSS, 0, 0.75));
        assert_true(is(r, BP_Q_VALIDATION_ACCURACY, 0, 0.625));
        assert_false(bp_record_has(r, BP_Q_TARGET_MAX, 0));
    }
    close_host();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_of_a_vector),
        cmocka_unit_test(the_dead_of_a_long_epoch),
        cmocka_unit_test(units_of_an_image),
        cmocka_unit_test(units_of_a_sequence),
        cmocka_unit_test(units_behind_a_normalisation),
        cmocka_unit_test(units_of_small_batches),
        cmocka_unit_test(scales_of_features),
        cmocka_unit_test(formats),
        cmocka_unit_test(spread_of_weights),
        cmocka_unit_test(gradients_that_turn),
        cmocka_unit_test(the_norm_of_all_gradients),
        cmocka_unit_test(error_signals_through_time),
        cmocka_unit_test(a_skip_around_a_recurrent_layer),
        cmocka_unit_test(scalars_of_a_step),
        cmocka_unit_test(a_validation_behind_a_light_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
