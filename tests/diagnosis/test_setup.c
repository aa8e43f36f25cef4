/* SPDX-License-Identifier: Apache-2.0 */
/* Data, targets, last layers and parameters that get no gradient, each with what looks like it. */
#include "chain.h"

typedef struct given {
    chain c;
    double target_min, target_max;
    double input_rms, input_scales;
    uint32_t missing_to, zero_to; /* layers 1 ... have no gradient, or one of 0 */
    uint32_t uncalled;            /* this layer is in no forward pass */
} given;

static void given_open(given *g, bp_loss loss, bp_activation last) {
    memset(g, 0, sizeof *g);
    chain_open(&g->c, 4, BP_ACTIVATION_TANH, BP_NORM_NONE);
    bp_recipe recipe = *bp_model_recipe(g->c.model);
    recipe.loss = loss;
    recipe.n_outputs = CHAIN_UNITS;
    bp_model_set_recipe(g->c.model, &recipe);
    ((bp_layer *)(uintptr_t)bp_model_layer(g->c.model, 4))->activation = last;
    g->target_min = g->target_max = g->input_rms = g->input_scales = (double)NAN;
}

static void given_run(given *g, int64_t from, int64_t to) {
    chain *c = &g->c;
    for (int64_t step = from; step < to; step++) {
        chain_fill(c, step);
        bp_record *record = &c->record;
        if (!isnan(g->target_min)) bp_record_set(record, BP_Q_TARGET_MIN, 0, g->target_min);
        if (!isnan(g->target_max)) bp_record_set(record, BP_Q_TARGET_MAX, 0, g->target_max);
        if (!isnan(g->input_rms)) bp_record_set(record, BP_Q_ACTIVATION_RMS, 0, g->input_rms);
        if (!isnan(g->input_scales)) bp_record_set(record, BP_Q_FEATURE_SCALES, 0, g->input_scales);
        for (uint32_t id = 1; id <= c->n_layers; id++) {
            if (id <= g->missing_to)
                bp_record_set(record, BP_Q_MISSING_GRADIENTS, id, 4160);
            else
                bp_record_set(record, BP_Q_GRADIENT_RMS, id, id <= g->zero_to ? 0 : 1e-2);
            if (id == g->uncalled)
                record->measured[bp_record_cell(record, BP_Q_ACTIVATION_NORM, id)] = 0;
        }
        bp_diagnosis_step(c->diagnosis, record);
    }
}

static const bp_finding *found(given *g, bp_problem problem) {
    return chain_find(&g->c, problem);
}

static void expect(given *g, bp_problem problem, bp_severity severity) {
    const bp_finding *f = found(g, problem);
    assert_non_null(f);
    assert_int_equal(f->severity, severity);
    assert_true(strlen(f->title) > 10 && strlen(f->cause) > 10);
}

/* --- targets -----------------------------------------------------------------------------------
 */

static void classes_beyond_the_outputs(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.target_min = 0, g.target_max = CHAIN_UNITS - 1;
    given_run(&g, 0, 5);
    assert_int_equal(chain_n_findings(&g.c), 0);
    g.target_max = CHAIN_UNITS; /* numbered from 1 */
    given_run(&g, 5, 6);
    expect(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_ERROR);
    assert_int_equal(found(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE)->since_step, 5);
    chain_close(&g.c);
}

static void shares_of_classes_are_targets_too(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.target_min = 0, g.target_max = 1;
    given_run(&g, 0, 5);
    assert_int_equal(chain_n_findings(&g.c), 0);
    chain_close(&g.c);
}

static void probabilities_are_0_to_1(void **state) {
    (void)state;
    static const struct {
        double min, max;
        bp_severity severity;
    } cases[] = {
        {0, 1, 0}, {0.05, 0.95, 0}, {-1, 1, BP_ERROR}, {0, 255, BP_ERROR}, {0, 1.02, BP_WARNING}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        given g;
        given_open(&g, BP_BINARY_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
        g.target_min = cases[i].min, g.target_max = cases[i].max;
        given_run(&g, 0, 5);
        if (cases[i].severity)
            expect(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE, cases[i].severity);
        else
            assert_int_equal(chain_n_findings(&g.c), 0);
        chain_close(&g.c);
    }
}

static void targets_that_the_last_layer_cannot_reach(void **state) {
    (void)state;
    static const struct {
        bp_activation last;
        double min, max;
        bp_problem problem;
        bp_severity severity;
    } cases[] = {
        {BP_ACTIVATION_LINEAR, -50, 900, 0, 0},
        {BP_ACTIVATION_SIGMOID, 0, 1, 0, 0},
        {BP_ACTIVATION_SIGMOID, -2, 2.5, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_WARNING},
        {BP_ACTIVATION_SIGMOID, 20, 90, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_ERROR},
        {BP_ACTIVATION_TANH, -1, 1.02, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_HINT},
        {BP_ACTIVATION_TANH, -1, 1, 0, 0},
        {BP_ACTIVATION_RELU, 0, 7, 0, 0},
        {BP_ACTIVATION_RELU, -2, 7, BP_PROBLEM_WRONG_LAST_LAYER, BP_WARNING},
        {BP_ACTIVATION_RELU, -7, 2, BP_PROBLEM_WRONG_LAST_LAYER, BP_ERROR},
        {BP_ACTIVATION_LEAKY_RELU, -7, 2, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        given g;
        given_open(&g, BP_MSE, cases[i].last);
        g.target_min = cases[i].min, g.target_max = cases[i].max;
        given_run(&g, 0, 5);
        assert_int_equal(chain_n_findings(&g.c), cases[i].severity ? 1 : 0);
        if (cases[i].severity) expect(&g, cases[i].problem, cases[i].severity);
        chain_close(&g.c);
    }
}

static void unreachable_targets_are_an_error_when_nothing_is_learnt(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_MSE, BP_ACTIVATION_SIGMOID);
    g.target_min = -2, g.target_max = 2.5;
    given_run(&g, 0, 39);
    expect(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_WARNING);
    chain_close(&g.c);
    given_open(&g, BP_MSE, BP_ACTIVATION_SIGMOID);
    g.target_min = -2, g.target_max = 2.5;
    g.c.loss = CHAIN_TRIVIAL;
    given_run(&g, 0, 41);
    expect(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_ERROR);
    chain_close(&g.c);
}

static void squares_beyond_the_format(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_MSE, BP_ACTIVATION_LINEAR);
    g.target_min = -1e18, g.target_max = 1e19;
    given_run(&g, 0, 3);
    assert_int_equal(chain_n_findings(&g.c), 0);
    g.target_max = 1e20;
    given_run(&g, 3, 4);
    expect(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_ERROR);
    chain_close(&g.c);
}

static void another_head_than_the_last_is_not_judged(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_MSE, BP_ACTIVATION_SIGMOID);
    bp_recipe recipe = *bp_model_recipe(g.c.model);
    recipe.n_outputs = 7;
    bp_model_set_recipe(g.c.model, &recipe);
    g.target_min = 20, g.target_max = 90;
    given_run(&g, 0, 50);
    assert_int_equal(chain_n_findings(&g.c), 0);
    chain_close(&g.c);
}

/* --- the last layer ----------------------------------------------------------------------------
 */

static void what_squashes_logits(void **state) {
    (void)state;
    static const struct {
        bp_loss loss;
        bp_activation last;
        double level;
        bp_severity severity;
    } cases[] = {
        {BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR, 1.5, 0},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_SOFTMAX, 1.5, BP_WARNING},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_SOFTMAX, CHAIN_TRIVIAL, BP_ERROR},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_SIGMOID, 1.5, BP_WARNING},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_TANH, 1.5, BP_WARNING},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_RELU, 1.5, BP_WARNING},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_RELU, 0.5, BP_HINT},
        {BP_CROSS_ENTROPY, BP_ACTIVATION_LEAKY_RELU, 1.5, 0},
        {BP_BINARY_CROSS_ENTROPY, BP_ACTIVATION_SIGMOID, 1.5, BP_WARNING},
        {BP_BINARY_CROSS_ENTROPY, BP_ACTIVATION_LINEAR, 1.5, 0},
        {BP_MSE, BP_ACTIVATION_SOFTMAX, 1.5, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        given g;
        given_open(&g, cases[i].loss, cases[i].last);
        g.c.loss = cases[i].level;
        given_run(&g, 0, 49);
        assert_int_equal(chain_n_findings(&g.c), cases[i].severity ? 1 : 0);
        if (cases[i].severity) expect(&g, BP_PROBLEM_WRONG_LAST_LAYER, cases[i].severity);
        chain_close(&g.c);
    }
}

/* relu behind the last layer costs where an output has died: its class is never told. */
static void outputs_that_a_relu_kills(void **state) {
    (void)state;
    for (int rare = 0; rare < 2; rare++) {
        given g;
        given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_RELU);
        bp_recipe recipe = *bp_model_recipe(g.c.model);
        recipe.n_outputs = 10;
        bp_model_set_recipe(g.c.model, &recipe);
        ((bp_layer *)(uintptr_t)bp_model_layer(g.c.model, 4))->output_shape[0] = 10;
        g.c.loss = 0.3;
        for (int64_t step = 0; step < 130; step++) {
            chain_fill(&g.c, step);
            bp_record_set(&g.c.record, BP_Q_SAMPLES, 0, 32);
            bp_record_set(&g.c.record, BP_Q_SILENT_UNITS, 4, step % (rare ? 20 : 2) == 0);
            bp_diagnosis_step(g.c.diagnosis, &g.c.record);
        }
        expect(&g, BP_PROBLEM_WRONG_LAST_LAYER, rare ? BP_HINT : BP_WARNING);
        chain_close(&g.c);
    }
}

static void the_floor_of_the_loss_is_told(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_SOFTMAX);
    given_run(&g, 0, 1);
    const bp_finding *f = found(&g, BP_PROBLEM_WRONG_LAST_LAYER);
    assert_true(fabs(bp_finding_evidence(f, "loss_floor") - log(1 + 63 * exp(-1))) < 1e-9);
    assert_int_equal(f->layers[0], 4);
    chain_close(&g.c);
}

static void what_takes_probabilities_needs_the_squashing(void **state) {
    (void)state;
    const bp_loss losses[] = {BP_CROSS_ENTROPY, BP_BINARY_CROSS_ENTROPY};
    for (size_t i = 0; i < 2; i++) {
        given g;
        given_open(&g, losses[i], i ? BP_ACTIVATION_SIGMOID : BP_ACTIVATION_SOFTMAX);
        bp_recipe recipe = *bp_model_recipe(g.c.model);
        recipe.from_probabilities = true;
        bp_model_set_recipe(g.c.model, &recipe);
        given_run(&g, 0, 50);
        assert_int_equal(chain_n_findings(&g.c), 0);
        chain_close(&g.c);
    }
}

static void one_class_is_always_right(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    bp_recipe recipe = *bp_model_recipe(g.c.model);
    recipe.n_outputs = 1;
    bp_model_set_recipe(g.c.model, &recipe);
    ((bp_layer *)(uintptr_t)bp_model_layer(g.c.model, 4))->output_shape[0] = 1;
    g.c.loss = 0;
    given_run(&g, 0, 1);
    expect(&g, BP_PROBLEM_WRONG_LAST_LAYER, BP_ERROR);
    chain_close(&g.c);
}

/* --- inputs ------------------------------------------------------------------------------------
 */

static void raw_inputs_that_harm(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.input_rms = 90;
    given_run(&g, 0, 60); /* they have a size, but it learns as if they had not */
    expect(&g, BP_PROBLEM_INPUT_NOT_NORMALISED, BP_WARNING); /* slowly: 1.5 of 2.3 is left */
    chain_close(&g.c);
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.input_rms = 90;
    g.c.loss = 0.7;
    given_run(&g, 0, 60);
    expect(&g, BP_PROBLEM_INPUT_NOT_NORMALISED, BP_HINT);
    chain_close(&g.c);
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.input_rms = 90;
    g.c.loss = 30;
    given_run(&g, 0, 1);
    expect(&g, BP_PROBLEM_INPUT_NOT_NORMALISED, BP_WARNING);
    g.c.loss = CHAIN_TRIVIAL;
    given_run(&g, 1, 90);
    expect(&g, BP_PROBLEM_INPUT_NOT_NORMALISED, BP_ERROR);
    chain_close(&g.c);
}

static void features_of_unequal_scales_and_offsets(void **state) {
    (void)state;
    for (int offset = 0; offset < 2; offset++) {
        for (int slow = 0; slow < 2; slow++) {
            given g;
            given_open(&g, BP_MSE, BP_ACTIVATION_LINEAR);
            g.input_rms = 1;
            if (offset)
                g.c.variation[0] = 0.01;
            else
                g.input_scales = 4000;
            g.c.loss = slow ? 1.5 : 0.5;
            given_run(&g, 0, 60);
            if (slow)
                expect(&g, BP_PROBLEM_INPUT_NOT_NORMALISED, BP_WARNING);
            else
                assert_int_equal(chain_n_findings(&g.c), 0);
            chain_close(&g.c);
        }
    }
}

static void normalised_inputs_are_silent(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.input_rms = 1.2;
    g.input_scales = 12;
    g.c.loss = 1.9;
    given_run(&g, 0, 60);
    assert_null(found(&g, BP_PROBLEM_INPUT_NOT_NORMALISED));
    chain_close(&g.c);
}

static void what_normalises_or_looks_up_first_takes_raw_inputs(void **state) {
    (void)state;
    for (int token = 0; token < 2; token++) {
        given g;
        given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
        bp_layer *first = (bp_layer *)(uintptr_t)bp_model_layer(g.c.model, 1);
        if (token)
            first->kind = BP_LAYER_EMBEDDING;
        else
            first->norm = BP_NORM_BATCH;
        g.input_rms = 5000;
        given_run(&g, 0, 60);
        assert_null(found(&g, BP_PROBLEM_INPUT_NOT_NORMALISED));
        chain_close(&g.c);
    }
}

/* --- parameters without a gradient -------------------------------------------------------------
 */

static void parameters_that_no_pass_uses(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.missing_to = 1;
    g.uncalled = 1;
    given_run(&g, 0, 99);
    assert_null(found(&g, BP_PROBLEM_UNUSED_PARAMETER));
    given_run(&g, 99, 130);
    expect(&g, BP_PROBLEM_UNUSED_PARAMETER, BP_WARNING);
    assert_int_equal(found(&g, BP_PROBLEM_UNUSED_PARAMETER)->layers[0], 1);
    assert_null(found(&g, BP_PROBLEM_FROZEN_PARAMETER));
    chain_close(&g.c);
}

static void layers_that_run_and_get_no_gradient(void **state) {
    (void)state;
    for (int zero = 0; zero < 2; zero++) {
        given g;
        given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
        if (zero)
            g.zero_to = 2;
        else
            g.missing_to = 2;
        given_run(&g, 0, 130);
        expect(&g, BP_PROBLEM_FROZEN_PARAMETER, BP_WARNING);
        assert_int_equal(found(&g, BP_PROBLEM_FROZEN_PARAMETER)->n_layers, 2);
        assert_null(found(&g, BP_PROBLEM_UNUSED_PARAMETER));
        chain_close(&g.c);
    }
}

static void nothing_learnt_behind_a_detached_trunk_is_an_error(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    g.missing_to = 3;
    g.c.loss = CHAIN_TRIVIAL;
    given_run(&g, 0, 130);
    expect(&g, BP_PROBLEM_FROZEN_PARAMETER, BP_ERROR);
    chain_close(&g.c);
}

static void resting_layers_are_silent(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    for (int64_t step = 0; step < 400; step++) { /* an expert, a dropped layer: now and then */
        g.missing_to = step % 30 ? 1 : 0;
        given_run(&g, step, step + 1);
    }
    assert_null(found(&g, BP_PROBLEM_FROZEN_PARAMETER));
    assert_null(found(&g, BP_PROBLEM_UNUSED_PARAMETER));
    chain_close(&g.c);
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    ((bp_layer *)(uintptr_t)bp_model_layer(g.c.model, 1))->frozen = true; /* on purpose */
    g.missing_to = 1;
    given_run(&g, 0, 200);
    assert_int_equal(chain_n_findings(&g.c), 0);
    chain_close(&g.c);
}

static void what_is_given_a_gradient_again_is_over(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_LINEAR);
    given_run(&g, 0, 50);
    g.missing_to = 2;
    given_run(&g, 50, 200);
    const bp_finding *f = found(&g, BP_PROBLEM_FROZEN_PARAMETER);
    assert_non_null(f);
    assert_int_equal(f->since_step, 50);
    g.missing_to = 0;
    given_run(&g, 200, 240);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_close(&g.c);
}

static void after_a_nan_nothing_opens(void **state) {
    (void)state;
    given g;
    given_open(&g, BP_CROSS_ENTROPY, BP_ACTIVATION_SOFTMAX);
    g.missing_to = 2;
    g.c.loss = (double)NAN;
    given_run(&g, 0, 1);
    expect(&g, BP_PROBLEM_WRONG_LAST_LAYER, BP_ERROR); /* of the same step */
    g.target_min = 0, g.target_max = 1000;
    given_run(&g, 1, 300);
    assert_null(found(&g, BP_PROBLEM_LABELS_OUT_OF_RANGE));
    assert_null(found(&g, BP_PROBLEM_FROZEN_PARAMETER));
    chain_close(&g.c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_beyond_the_outputs),
        cmocka_unit_test(shares_of_classes_are_targets_too),
        cmocka_unit_test(probabilities_are_0_to_1),
        cmocka_unit_test(targets_that_the_last_layer_cannot_reach),
        cmocka_unit_test(unreachable_targets_are_an_error_when_nothing_is_learnt),
        cmocka_unit_test(squares_beyond_the_format),
        cmocka_unit_test(another_head_than_the_last_is_not_judged),
        cmocka_unit_test(what_squashes_logits),
        cmocka_unit_test(outputs_that_a_relu_kills),
        cmocka_unit_test(the_floor_of_the_loss_is_told),
        cmocka_unit_test(what_takes_probabilities_needs_the_squashing),
        cmocka_unit_test(one_class_is_always_right),
        cmocka_unit_test(raw_inputs_that_harm),
        cmocka_unit_test(features_of_unequal_scales_and_offsets),
        cmocka_unit_test(normalised_inputs_are_silent),
        cmocka_unit_test(what_normalises_or_looks_up_first_takes_raw_inputs),
        cmocka_unit_test(parameters_that_no_pass_uses),
        cmocka_unit_test(layers_that_run_and_get_no_gradient),
        cmocka_unit_test(nothing_learnt_behind_a_detached_trunk_is_an_error),
        cmocka_unit_test(resting_layers_are_silent),
        cmocka_unit_test(what_is_given_a_gradient_again_is_over),
        cmocka_unit_test(after_a_nan_nothing_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
