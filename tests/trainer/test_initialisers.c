/* SPDX-License-Identifier: Apache-2.0 */
/* What each initialiser gives to 60,000 weights and to biases. */
#include "kit.h"
#include "trainer/operators.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FAN_IN 300
#define FAN_OUT 200
#define COUNT (FAN_IN * FAN_OUT)

static bp_real values[COUNT], others[COUNT];

static bp_layer layer_of(bp_init_kind kind, double parameter) {
    bp_layer layer = kit_dense(FAN_OUT, BP_ACTIVATION_TANH);
    layer.fan_in = FAN_IN;
    layer.fan_out = FAN_OUT;
    layer.weight_init = layer.bias_init = (bp_init){kind, parameter};
    return layer;
}

/* Over 60,000 values: the mean is off by 4 of its deviations once in 16,000 seeds. */
static void check_moments(const bp_layer *layer, bp_slot slot, double std, double bound) {
    double sum = 0, sum_squares = 0, largest = 0;
    bp_initialise(layer, slot, 1, 3, COUNT, values);
    for (int i = 0; i < COUNT; i++) {
        const double value = (double)values[i];
        sum += value;
        sum_squares += value * value;
        largest = fmax(largest, fabs(value));
    }
    assert_true(fabs(sum / COUNT) < 4 * std / sqrt(COUNT));
    assert_true(fabs(sqrt(sum_squares / COUNT) / std - 1) < 0.015);
    assert_true(largest <= bound);
    assert_true(largest > 0.99 * fmin(bound, 3.5 * std));
}

static void check_constant(const bp_layer *layer, bp_slot slot, double expected) {
    bp_initialise(layer, slot, 1, 3, COUNT, values);
    for (int i = 0; i < COUNT; i++) assert_true((double)values[i] == expected);
    assert_int_equal(signbit(values[0]) != 0, 0); /* no -0 from 0 * a negative number */
}

static void test_weights(void **state) {
    (void)state;
    bp_layer layer = layer_of(BP_INIT_ZEROS, 0);
    check_constant(&layer, BP_SLOT_WEIGHT, 0);
    layer = layer_of(BP_INIT_CONSTANT, 0.25);
    check_constant(&layer, BP_SLOT_WEIGHT, 0.25);
    layer = layer_of(BP_INIT_NORMAL, 0.3);
    check_moments(&layer, BP_SLOT_WEIGHT, 0.3, INFINITY);
    layer = layer_of(BP_INIT_UNIFORM, 0.3);
    check_moments(&layer, BP_SLOT_WEIGHT, 0.3 / sqrt(3), 0.3);
    layer = layer_of(BP_INIT_XAVIER, 1.5);
    check_moments(&layer, BP_SLOT_WEIGHT, 1.5 * sqrt(2.0 / (FAN_IN + FAN_OUT)), INFINITY);
    layer = layer_of(BP_INIT_HE, 3);
    check_moments(&layer, BP_SLOT_WEIGHT, 3 * sqrt(2.0 / FAN_IN), INFINITY);
    layer = layer_of(BP_INIT_PYTORCH_DEFAULT, 0);
    check_moments(&layer, BP_SLOT_WEIGHT, 1 / sqrt(3.0 * FAN_IN), 1 / sqrt(FAN_IN) * (1 + 1e-7));
}

/* He et al. 2015: the slope of leaky_relu is part of the critical value. */
static void test_he_of_leaky_relu(void **state) {
    (void)state;
    bp_layer layer = layer_of(BP_INIT_HE, 1);
    layer.activation = BP_ACTIVATION_LEAKY_RELU;
    layer.activation_slope = 0.5;
    check_moments(&layer, BP_SLOT_WEIGHT, sqrt(2 / 1.25 / FAN_IN), INFINITY);
}

static void test_biases(void **state) {
    (void)state;
    bp_layer layer = layer_of(BP_INIT_XAVIER, 1);
    check_constant(&layer, BP_SLOT_BIAS, 0);
    layer = layer_of(BP_INIT_HE, 1);
    check_constant(&layer, BP_SLOT_BIAS, 0);
    layer = layer_of(BP_INIT_CONSTANT, -2);
    bp_initialise(&layer, BP_SLOT_BIAS, 1, 3, 1, values);
    assert_true((double)values[0] == -2);
    layer = layer_of(BP_INIT_NORMAL, 0.3);
    check_moments(&layer, BP_SLOT_BIAS, 0.3, INFINITY);
    layer = layer_of(BP_INIT_PYTORCH_DEFAULT, 0);
    check_moments(&layer, BP_SLOT_BIAS, 1 / sqrt(3.0 * FAN_IN), 1 / sqrt(FAN_IN) * (1 + 1e-7));
}

static void test_norms(void **state) {
    (void)state;
    const bp_layer layer = layer_of(BP_INIT_NORMAL, 1);
    check_constant(&layer, BP_SLOT_NORM_GAIN, 1);
    check_constant(&layer, BP_SLOT_NORM_BIAS, 0);
}

/* Every parameter and every seed has numbers of its own. */
static void test_independence(void **state) {
    (void)state;
    const bp_layer layer = layer_of(BP_INIT_NORMAL, 1);
    bp_initialise(&layer, BP_SLOT_WEIGHT, 1, 3, COUNT, values);
    const uint64_t seeds[3] = {1, 1, 2};
    const size_t parameters[3] = {3, 4, 3};
    for (int i = 0; i < 3; i++) {
        double product = 0;
        bp_initialise(&layer, BP_SLOT_WEIGHT, seeds[i], parameters[i], COUNT, others);
        for (int j = 0; j < COUNT; j++) product += (double)values[j] * (double)others[j] / COUNT;
        if (i == 0)
            assert_memory_equal(values, others, sizeof values);
        else
            assert_true(fabs(product) < 4 / sqrt(COUNT));
    }
}

/* Rows, or columns where those are fewer, times gain: products are gain^2 or 0. */
static void check_orthogonal(double gain, int64_t rows, int64_t columns, const bp_real *matrix) {
    const bool wide = rows <= columns;
    const int64_t n = wide ? rows : columns, length = wide ? columns : rows;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t k = 0; k < length; k++)
                sum += (double)matrix[wide ? i * columns + k : k * columns + i] *
                       (double)matrix[wide ? j * columns + k : k * columns + j];
            assert_true(fabs(sum / (gain * gain) - (i == j ? 1 : 0)) < 1e-6);
        }
}

static void test_orthogonal(void **state) {
    (void)state;
    bp_layer layer = layer_of(BP_INIT_ORTHOGONAL, 1.5);
    bp_initialise(&layer, BP_SLOT_WEIGHT, 1, 3, COUNT, values);
    check_orthogonal(1.5, FAN_OUT, FAN_IN, values);
    layer.fan_in = FAN_OUT;
    layer.fan_out = FAN_IN;
    bp_initialise(&layer, BP_SLOT_WEIGHT, 1, 3, COUNT, values);
    check_orthogonal(1.5, FAN_IN, FAN_OUT, values);
    check_constant(&layer, BP_SLOT_BIAS, 0);
    layer = layer_of(BP_INIT_LECUN, 1.5);
    check_moments(&layer, BP_SLOT_WEIGHT, 1.5 / sqrt(FAN_IN), INFINITY);
}

/* Gate by gate, with the fans of what a matrix reads. */
static void test_recurrent(void **state) {
    (void)state;
    const int64_t units = 30, features = 20;
    bp_layer lstm = layer_of(BP_INIT_ORTHOGONAL, 1);
    lstm.kind = BP_LAYER_LSTM;
    lstm.fan_in = features;
    lstm.fan_out = units;
    lstm.forget_bias = 2;
    bp_initialise(&lstm, BP_SLOT_WEIGHT, 1, 3, 4 * units * features, values);
    for (int gate = 0; gate < 4; gate++)
        check_orthogonal(1, units, features, values + gate * units * features);
    bp_initialise(&lstm, BP_SLOT_RECURRENT_WEIGHT, 1, 3, 4 * units * units, values);
    for (int gate = 0; gate < 4; gate++)
        check_orthogonal(1, units, units, values + gate * units * units);
    bp_initialise(&lstm, BP_SLOT_BIAS, 1, 3, 4 * units, values);
    for (int i = 0; i < 4 * units; i++) assert_true((double)values[i] == (i / units == 1 ? 2 : 0));
    bp_initialise(&lstm, BP_SLOT_RECURRENT_BIAS, 1, 3, 4 * units, values);
    for (int i = 0; i < 4 * units; i++) assert_true((double)values[i] == 0);
    const bp_slot slots[] = {BP_SLOT_WEIGHT, BP_SLOT_RECURRENT_WEIGHT, BP_SLOT_RECURRENT_BIAS};
    lstm.weight_init = lstm.bias_init = (bp_init){BP_INIT_PYTORCH_DEFAULT, 0};
    for (int i = 0; i < 3; i++)
        check_moments(&lstm, slots[i], 1 / sqrt(3.0 * 30), 1 / sqrt(30) * (1 + 1e-7));
    bp_layer embedding = layer_of(BP_INIT_PYTORCH_DEFAULT, 0);
    embedding.kind = BP_LAYER_EMBEDDING;
    check_moments(&embedding, BP_SLOT_WEIGHT, 1, INFINITY);
}

/* Deviations of all layers' outputs in the first step: without activations they are what lsuv
 * scaled. The batch is that of the first step. */
typedef struct deviations {
    uint32_t wanted[8];
    double of[8];
    uint32_t n_layers;
} deviations;

static bp_plan on_begin(void *context, const bp_step *step) {
    (void)step;
    deviations *d = context;
    for (uint32_t l = 0; l <= d->n_layers; l++) d->wanted[l] = 1u << BP_ROLE_ACTIVATION;
    return (bp_plan){d->wanted, d->n_layers};
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    (void)role, (void)slot;
    bp_summary summary;
    bp_summarise(&summary, tensor);
    const double mean = summary.sum / (double)summary.count, rms = bp_summary_rms(&summary);
    ((deviations *)context)->of[layer] = sqrt(rms * rms - mean * mean);
}

static void test_lsuv(void **state) {
    (void)state;
    const int64_t image[3] = {1, 6, 6};
    const bp_layer layers[] = {
        kit_conv(4, 3, 1, 1, BP_ACTIVATION_LINEAR), kit_dense(40, BP_ACTIVATION_LINEAR),
        kit_dense(20, BP_ACTIVATION_LINEAR),        kit_dense(30, BP_ACTIVATION_LINEAR),
        kit_dense(3, BP_ACTIVATION_LINEAR),         {0}};
    bp_layer own[6];
    memcpy(own, layers, sizeof own);
    for (int i = 0; i < 5; i++) {
        own[i].weight_init = (bp_init){BP_INIT_LSUV, i == 3 ? 0.5 : 1};
        own[i].bias_init = (bp_init){BP_INIT_ZEROS, 0};
    }
    const bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 32);
    bp_model *model = kit_model(own, &recipe, image);
    bp_dataset *dataset = kit_data(image, 3, true, 64);
    bp_trainer *trainer = kit_trainer(model, dataset);
    deviations d = {.n_layers = bp_model_n_layers(model)};
    const bp_observer observer = {.context = &d, .step_begin = on_begin, .tensor = on_tensor};
    bp_trainer_observe(trainer, &observer);
    bp_trainer_step(trainer);
    assert_int_equal(d.n_layers, 5);
    for (uint32_t l = 1; l <= d.n_layers; l++)
        assert_true(fabs(d.of[l] / (l == 4 ? 0.5 : 1) - 1) < 0.03);
    bp_trainer_close(trainer);
    bp_dataset_close(dataset);
    bp_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),      cmocka_unit_test(test_he_of_leaky_relu),
        cmocka_unit_test(test_biases),       cmocka_unit_test(test_norms),
        cmocka_unit_test(test_independence), cmocka_unit_test(test_orthogonal),
        cmocka_unit_test(test_recurrent),    cmocka_unit_test(test_lsuv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
