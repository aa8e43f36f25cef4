/* SPDX-License-Identifier: Apache-2.0 */
#include "chain.h"

static double gain_after(bp_activation activation, double sigma_w, double sigma_b, int n_layers) {
    bp_mean_field field;
    bp_mean_field_init(&field, 0.5);
    for (int i = 0; i < n_layers; i++)
        bp_mean_field_layer(&field, activation, 0.01, sigma_w, sigma_b);
    return field.gain;
}

/* Closed forms: ReLU's E phi'^2 is 1/2, He makes the gain 1; linear's is sigma_w. */
static void closed_forms_hold(void **state) {
    (void)state;
    assert_true(fabs(gain_after(BP_ACTIVATION_RELU, sqrt(2), 0, 10) - 1) < 1e-6);
    assert_true(fabs(gain_after(BP_ACTIVATION_RELU, 3 * sqrt(2), 0, 5) - 3) < 1e-6);
    assert_true(fabs(gain_after(BP_ACTIVATION_LINEAR, 0.5, 0, 3) - 0.5) < 1e-9);
    const double leaky = sqrt(0.5 * (1 + 1e-4));
    assert_true(fabs(gain_after(BP_ACTIVATION_LEAKY_RELU, 1, 0, 3) - leaky) < 1e-6);
}

/* Measured on real digits, width 64 (docs: PyTorch's default, 5 seeds): sigmoid 0.1410, ReLU 0.401.
 */
static void agrees_with_what_was_measured(void **state) {
    (void)state;
    const double bias = 1 / sqrt(3 * 64.0), weight = 1 / sqrt(3.0);
    assert_true(fabs(gain_after(BP_ACTIVATION_SIGMOID, weight, bias, 10) / 0.1410 - 1) < 0.03);
    assert_true(fabs(gain_after(BP_ACTIVATION_RELU, weight, bias, 10) / 0.401 - 1) < 0.03);
}

/* Two samples under ReLU and He grow alike, by the arc-cosine kernel (Cho & Saul 2009). */
static void correlation_follows_the_arc_cosine_kernel(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    bp_mean_field field;
    bp_mean_field_init(&field, 0.5);
    bp_mean_field_layer(&field, BP_ACTIVATION_RELU, 0, sqrt(2), 0);
    const double expected = (sqrt(1 - 0.25) + 0.5 * (pi - acos(0.5))) / pi;
    assert_true(fabs(field.correlation - expected) < 1e-6);
}

/* He gives a convolution over 2 x 2 pixels with a kernel of 3 and zeros around them 4 of 9 weights
 * that see something; without the zeros all of them. */
static double gain_of_convolutions(int32_t padding, int64_t side) {
    const bp_layer layer = {.kind = BP_LAYER_CONV,
                            .activation = BP_ACTIVATION_RELU,
                            .output_shape = {8, 1, 1},
                            .kernel = 3,
                            .stride = 1,
                            .padding = padding,
                            .weight_init = {BP_INIT_HE, 1},
                            .bias_init = {BP_INIT_ZEROS, 0}};
    bp_model *model;
    const int64_t input[3] = {8, side, side};
    const bp_chain_choice none = {0};
    bp_chain_prediction found;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (int i = 0; i < 6; i++)
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    bp_predict_chain(model, &none, &found);
    assert_int_equal(found.n_layers, 4);
    bp_model_close(model);
    return found.mean_gain;
}

static void a_convolution_sees_zeros_around_the_image(void **state) {
    (void)state;
    assert_true(fabs(gain_of_convolutions(1, 2) - 2.0 / 3) < 1e-3);
    assert_true(fabs(gain_of_convolutions(0, 20) - 1) < 1e-3);
}

static void a_chain_with_another_choice(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 21, BP_ACTIVATION_SIGMOID, BP_NORM_NONE);
    const bp_chain_choice none = {0}, tanh_xavier = {.from = BP_ACTIVATION_SIGMOID,
                                                     .activation = BP_ACTIVATION_TANH,
                                                     .init = {BP_INIT_XAVIER, 1}};
    bp_chain_prediction now, then;
    bp_predict_chain(c.model, &none, &now);
    bp_predict_chain(c.model, &tanh_xavier, &then);
    assert_int_equal(now.n_layers, 19);
    assert_true(now.log_gain < -20);
    assert_true(fabs(then.log_gain) < 3);
    const bp_chain_choice other = {.from = BP_ACTIVATION_RELU, .activation = BP_ACTIVATION_TANH};
    bp_predict_chain(c.model, &other, &then); /* there is none to change */
    assert_true(then.log_gain == now.log_gain);
    bp_predict_chain(c.model, &tanh_xavier, &then);
    assert_true(then.variation > 0.5 && now.variation < 0.01);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms_hold),
        cmocka_unit_test(agrees_with_what_was_measured),
        cmocka_unit_test(correlation_follows_the_arc_cosine_kernel),
        cmocka_unit_test(a_convolution_sees_zeros_around_the_image),
        cmocka_unit_test(a_chain_with_another_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
