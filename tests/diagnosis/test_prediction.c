/* SPDX-License-Identifier: Apache-2.0 */
/* bp_prediction: theory of whole networks against what is known in closed form. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "diagnosis/diagnosis.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bp_model *opened(void) {
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    return model;
}

static void add(bp_model *model, bp_layer layer) {
    if (layer.kind == BP_LAYER_DENSE && !layer.output_shape[0]) layer.output_shape[0] = 64;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
}

static bp_layer dense(bp_activation activation, bp_init_kind init, double parameter) {
    return (bp_layer){.kind = BP_LAYER_DENSE,
                      .activation = activation,
                      .weight_init = {init, parameter},
                      .bias_init = {BP_INIT_ZEROS, 0}};
}

static bp_prediction *predicted(bp_model *model) {
    const int64_t input[3] = {64, 1, 1};
    bp_prediction *p = NULL;
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    assert_int_equal(bp_prediction_open(&p, model, NULL, NULL, NULL), BP_OK);
    bp_model_close(model);
    return p;
}

static double gain_of(const bp_prediction *p, uint32_t cut) {
    const bp_gain *gains;
    assert_true(cut < bp_prediction_profile(p, &gains));
    return gains[cut].gain;
}

/* He x 2 doubles the error signal at each ReLU layer; half of it halves it. */
static void rectifiers_grow_and_shrink(void **state) {
    (void)state;
    bp_model *model = opened();
    for (int i = 0; i < 15; i++) add(model, dense(BP_ACTIVATION_RELU, BP_INIT_HE, 2));
    bp_prediction *p = predicted(model);
    const bp_prediction_overview *o = bp_prediction_overview_of(p);
    assert_true(fabs(gain_of(p, 5) - 2) < 1e-6);
    assert_true(fabs(o->log_gain - 14 * log(2)) < 1e-6);
    assert_int_equal(o->problem, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_int_equal(o->blamed_layer, 0);
    assert_true(fabs(o->depth_backward - 1 / log(4)) < 1e-6);
    const bp_layer_prediction *layer = bp_prediction_layer(p, 3);
    assert_true(fabs(layer->chi - 4) < 1e-6 && fabs(layer->critical_sigma - sqrt(2)) < 1e-6);
    assert_true(fabs(layer->critical_std - sqrt(2) / 8) < 1e-6);
    assert_true(fabs(layer->q - 8 * 16) < 1e-3); /* 2 sigma^2 = 8, and twice 4 */
    assert_null(bp_prediction_layer(p, 16));
    bp_prediction_close(p);
}

/* The angle between two samples under ReLU: arc-cosine kernel, layer by layer. */
static void correlation_goes_through_depth(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    bp_model *model = opened();
    for (int i = 0; i < 4; i++) add(model, dense(BP_ACTIVATION_RELU, BP_INIT_HE, 1));
    bp_prediction *p = predicted(model);
    double c = 0.5;
    for (uint32_t id = 1; id <= 4; id++) {
        c = (sqrt(1 - c * c) + c * (pi - acos(c))) / pi;
        assert_true(fabs(bp_prediction_layer(p, id)->correlation - c) < 1e-6);
    }
    assert_true(isinf(bp_prediction_overview_of(p)->depth_backward));
    assert_int_equal(bp_prediction_overview_of(p)->problem, 0);
    bp_prediction_close(p);
}

/* x + branch(x), the branch one linear layer that keeps the size: g^2 = 1 + 1. */
static void a_skip_adds_squares(void **state) {
    (void)state;
    bp_model *model = opened();
    add(model, dense(BP_ACTIVATION_LINEAR, BP_INIT_LECUN, 1));
    bp_layer branch = dense(BP_ACTIVATION_LINEAR, BP_INIT_LECUN, 1);
    branch.depth_in_blocks = 1;
    add(model, branch);
    add(model,
        (bp_layer){.kind = BP_LAYER_RESIDUAL, .skip_from = 1, .n_branch = 1, .branch_scale = 1});
    add(model, dense(BP_ACTIVATION_LINEAR, BP_INIT_LECUN, 1));
    bp_prediction *p = predicted(model);
    const bp_gain *gains;
    assert_int_equal(bp_prediction_profile(p, &gains), 3);
    assert_true(fabs(gains[1].gain - sqrt(2)) < 1e-6 && fabs(gains[1].branch - 1) < 1e-6);
    assert_true(fabs(bp_prediction_layer(p, 3)->activation_rms - sqrt(2)) < 1e-6);
    bp_prediction_close(p);
}

/* Linear layers with batch norm and no batch: the centred samples are equally apart. In high
 * dimension nothing happens; n - 2 of n directions get through. */
static void batch_norm_keeps_a_linear_chain(void **state) {
    (void)state;
    bp_model *model = opened();
    for (int i = 0; i < 4; i++) {
        bp_layer layer = dense(BP_ACTIVATION_LINEAR, BP_INIT_LECUN, 3);
        layer.norm = BP_NORM_BATCH;
        add(model, layer);
    }
    bp_prediction *p = predicted(model);
    /* of 32 samples: |G e|^2 = 31 / 32, (31 - 1) / 31 of it, E 1/chi^2_31 = 1 / 29 */
    for (uint32_t cut = 1; cut < 3; cut++) assert_true(fabs(gain_of(p, cut) - 1) < 0.03);
    for (uint32_t id = 1; id <= 4; id++)
        assert_true(fabs(bp_prediction_layer(p, id)->activation_rms - 1) < 1e-3);
    bp_prediction_close(p);
}

static void layer_norm_undoes_the_scale(void **state) {
    (void)state;
    bp_model *model = opened();
    for (int i = 0; i < 6; i++) {
        bp_layer layer = dense(BP_ACTIVATION_RELU, BP_INIT_HE, 50);
        layer.norm = BP_NORM_LAYER;
        add(model, layer);
    }
    bp_prediction *p = predicted(model);
    assert_true(fabs(gain_of(p, 3) - 1) < 1e-3);
    bp_prediction_close(p);
}

static void one_layer_is_to_blame(void **state) {
    (void)state;
    bp_model *model = opened();
    for (int i = 0; i < 9; i++)
        add(model, dense(BP_ACTIVATION_RELU, BP_INIT_HE, i == 4 ? 1e-5 : 1));
    bp_prediction *p = predicted(model);
    assert_int_equal(bp_prediction_overview_of(p)->problem, BP_PROBLEM_VANISHING_GRADIENT);
    assert_int_equal(bp_prediction_overview_of(p)->blamed_layer, 5);
    bp_prediction_close(p);
}

static void what_is_not_known_is_said(void **state) {
    (void)state;
    bp_model *model = opened();
    add(model, dense(BP_ACTIVATION_TANH, BP_INIT_XAVIER, 1));
    add(model, dense(BP_ACTIVATION_TANH, BP_INIT_CONSTANT, 0.1));
    bp_prediction *p = predicted(model);
    const bp_prediction_overview *o = bp_prediction_overview_of(p);
    assert_non_null(strstr(o->not_predicted, "from layer 2 (dense_2) on"));
    assert_true(isnan(gain_of(p, 1)) && o->n_gains == 0);
    assert_true(bp_prediction_layer(p, 1)->q > 0.9); /* as far as it reaches */
    bp_prediction_close(p);
}

static int left;

static void *resize(void *context, void *block, size_t old_size, size_t new_size) {
    (void)context, (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return left-- > 0 ? realloc(block, new_size) : NULL;
}

static void memory_may_be_refused(void **state) {
    (void)state;
    const bp_allocator allocator = {.resize = resize};
    const int64_t input[3] = {8, 1, 1};
    bp_model *model = opened();
    add(model, dense(BP_ACTIVATION_TANH, BP_INIT_XAVIER, 1));
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    for (int n = 0; n < 20; n++) {
        bp_prediction *p = NULL;
        left = n;
        const bp_status status = bp_prediction_open(&p, model, NULL, &allocator, NULL);
        if (status == BP_OK) {
            assert_true(n > 3);
            bp_prediction_close(p);
            bp_model_close(model);
            return;
        }
        assert_int_equal(status, BP_ERROR_MEMORY);
    }
    fail();
}

static void inputs_must_fit_together(void **state) {
    (void)state;
    bp_model *model = opened();
    bp_prediction *p = NULL;
    bp_prediction_input input = BP_PREDICTION_INPUT_INIT;
    input.n_samples = 2;
    assert_int_equal(bp_prediction_open(&p, model, &input, NULL, NULL), BP_ERROR_ARGUMENT);
    bp_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rectifiers_grow_and_shrink),
        cmocka_unit_test(correlation_goes_through_depth),
        cmocka_unit_test(a_skip_adds_squares),
        cmocka_unit_test(batch_norm_keeps_a_linear_chain),
        cmocka_unit_test(layer_norm_undoes_the_scale),
        cmocka_unit_test(one_layer_is_to_blame),
        cmocka_unit_test(what_is_not_known_is_said),
        cmocka_unit_test(memory_may_be_refused),
        cmocka_unit_test(inputs_must_fit_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
