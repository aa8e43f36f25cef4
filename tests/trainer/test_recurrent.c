/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent layers in f64: gradients through time against finite differences, the cells against
 * their formulas written out for one unit. */
#include "differences.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const bp_layer_kind kinds[] = {BP_LAYER_RNN, BP_LAYER_GRU, BP_LAYER_LSTM};

static void check(const char *what, const int64_t shape[3], const bp_layer *layers) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[64];
        net checked = {.loss = BP_MSE};
        snprintf(name, sizeof name, "%s %s", bp_layer_kind_name(kinds[i]), what);
        checked.name = name;
        memcpy(checked.shape, shape, sizeof checked.shape);
        for (int l = 0; layers[l].kind; l++) {
            checked.layers[l] = layers[l];
            if (!bp_layer_is_recurrent(&layers[l])) continue;
            checked.layers[l].kind = kinds[i];
            if (kinds[i] != BP_LAYER_RNN) checked.layers[l].activation = BP_ACTIVATION_LINEAR;
        }
        assert_true(net_check(&checked) < 1e-6);
    }
}

#define LAYERS(...)      \
    (const bp_layer[]) { \
        __VA_ARGS__, {0} \
    }

static void test_gradients(void **state) {
    (void)state;
    const int64_t sequence[3] = {5, 3, 1}, narrow[3] = {6, 1, 1}, image[3] = {1, 4, 3};
    const bp_layer last = kit_dense(2, BP_ACTIVATION_LINEAR), first = kit_norm(BP_NORM_LAYER);
    const bp_layer one = kit_recurrent(BP_LAYER_RNN, 4, false);
    const bp_layer all = kit_recurrent(BP_LAYER_RNN, 4, true);
    bp_layer bare = all, frozen = one;
    bare.has_bias = false;
    frozen.frozen = true;
    check("gives its last state", sequence, LAYERS(first, one, last));
    check("gives all states", sequence, LAYERS(first, all, last));
    check("without biases", sequence, LAYERS(first, bare, last));
    check("frozen", sequence, LAYERS(first, frozen, last));
    check("of one feature", narrow, LAYERS(first, one, last));
    check("reads an image row by row", image, LAYERS(first, one, last));
    check("of one time step", (int64_t[]){1, 3, 1}, LAYERS(first, one, last));
    check("stacked", sequence, LAYERS(first, all, kit_recurrent(BP_LAYER_RNN, 3, false), last));
    check("without a layer behind", sequence, LAYERS(first, kit_recurrent(BP_LAYER_RNN, 2, false)));
}

static void test_relu(void **state) {
    (void)state;
    net checked = {.name = "rnn of relu", .shape = {5, 3, 1}, .loss = BP_MSE};
    checked.layers[0] = kit_recurrent(BP_LAYER_RNN, 4, true);
    checked.layers[0].activation = BP_ACTIVATION_RELU;
    checked.layers[1] = kit_dense(2, BP_ACTIVATION_LINEAR);
    assert_true(net_check(&checked) < 1e-6);
}

/* --- one unit, one feature, three time steps ---------------------------------------------------
 */

static double sigmoid(double z) {
    return 1 / (1 + exp(-z));
}

/* w, u, b, c: of the gates in PyTorch's order. */
static double next_state(bp_layer_kind kind, const double *w, const double *u, const double *b,
                         const double *c, double x, double h, double *cell) {
    double in[4], back[4];
    for (int gate = 0; gate < 4; gate++) {
        in[gate] = w[gate] * x + b[gate];
        back[gate] = u[gate] * h + c[gate];
    }
    if (kind == BP_LAYER_RNN) return tanh(in[0] + back[0]);
    if (kind == BP_LAYER_GRU) {
        const double r = sigmoid(in[0] + back[0]), z = sigmoid(in[1] + back[1]);
        return (1 - z) * tanh(in[2] + r * back[2]) + z * h;
    }
    *cell = sigmoid(in[1] + back[1]) * *cell + sigmoid(in[0] + back[0]) * tanh(in[2] + back[2]);
    return sigmoid(in[3] + back[3]) * tanh(*cell);
}

static void test_formulas(void **state) {
    (void)state;
    const bp_real x[6] = {0.5, -1, 2, 1.5, 0.25, -0.75}; /* two samples */
    const double w[4] = {0.5, -0.3, 0.8, 1.1}, u[4] = {0.7, 0.2, -0.9, 0.4};
    const double b[4] = {0.1, -0.2, 0.3, 0.05}, c[4] = {-0.15, 0.25, 0.35, -0.45};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const bp_layer layer = kit_recurrent(kinds[k], 1, true);
        kit_operator alone = kit_operator_open(layer, (int64_t[]){3, 1, 1}, 2);
        bp_real own[4][4];
        const double *const from[4] = {w, u, b, c};
        const bp_slot slots[4] = {BP_SLOT_WEIGHT, BP_SLOT_RECURRENT_WEIGHT, BP_SLOT_BIAS,
                                  BP_SLOT_RECURRENT_BIAS};
        for (int i = 0; i < 4; i++) {
            for (int gate = 0; gate < 4; gate++) own[i][gate] = (bp_real)from[i][gate];
            alone.op.value[slots[i]] = own[i];
        }
        bp_real y[6];
        const bp_pass pass = {.training = true};
        alone.op.class->forward(&alone.op, &pass, 2, x, y);
        for (int sample = 0; sample < 2; sample++) {
            double h = 0, cell = 0;
            for (int t = 0; t < 3; t++) {
                h = next_state(kinds[k], w, u, b, c, x[sample * 3 + t], h, &cell);
                assert_true(fabs(y[sample * 3 + t] - h) < 1e-12);
            }
        }
        kit_operator_close(&alone);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_relu),
        cmocka_unit_test(test_formulas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
