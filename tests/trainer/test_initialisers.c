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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),      cmocka_unit_test(test_he_of_leaky_relu),
        cmocka_unit_test(test_biases),       cmocka_unit_test(test_norms),
        cmocka_unit_test(test_independence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
