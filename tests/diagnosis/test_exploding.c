/* SPDX-License-Identifier: Apache-2.0 */
#include "chain.h"

static void exploding_chain(chain *c) {
    chain_open(c, 20, BP_ACTIVATION_RELU, BP_NORM_NONE);
    for (uint32_t i = 1; i <= 20; i++) {
        c->activation_part[i] = i < 20 ? sqrt(0.5) : 1;
        c->weight_rms[i] = 3 * sqrt(2.0 / 64);
        c->gain[i] = 3;
    }
    c->loss = 1e9;
}

static void one_record_suffices(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    chain_step(&c, 0);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->layers[0], 1);
    assert_int_equal(f->n_layers, 13); /* 3^(20-13) = 2187 > 1000 > 3^6 */
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(f->parent, 0);
    assert_true(fabs(bp_finding_evidence(root, "mean_gain") - 3) < 0.05);
    assert_true(fabs(bp_finding_evidence(root, "mended_gain") - 1) < 0.05);
    chain_close(&c);
}

static void growth_without_harm_is_no_finding(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    c.loss = 2.0;
    chain_run(&c, 0, 10);
    assert_int_equal(chain_n_findings(&c), 0);
    c.update_rms[1] = 2; /* an update larger than the weights is harm */
    chain_step(&c, 10);
    assert_non_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
}

static void a_healthy_chain_is_silent(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_all_gains(&c, 1.1);
    chain_run(&c, 0, 400);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void nan_hangs_under_the_explosion_and_ends_all_judging(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    chain_step(&c, 0);
    chain_fill(&c, 1);
    for (uint32_t i = 4; i <= 20; i++) bp_record_set(&c.record, BP_Q_ACTIVATION_NAN, i, 32);
    bp_record_set(&c.record, BP_Q_ACTIVATION_INF, 3, 7);
    bp_record_set(&c.record, BP_Q_ACTIVATION_NAN, 3, 0);
    bp_record_set(&c.record, BP_Q_ACTIVATION_MAX, 2, 1e38);
    bp_record_set(&c.record, BP_Q_LOSS, 0, (double)NAN);
    bp_diagnosis_step(c.diagnosis, &c.record);
    assert_int_equal(chain_n_findings(&c), 3);
    const bp_finding *f = bp_diagnosis_finding(c.diagnosis, 2);
    assert_int_equal(f->problem, BP_PROBLEM_NON_FINITE);
    assert_int_equal(f->parent, 1);
    assert_int_equal(f->since_step, 1);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 3);
    assert_string_equal(f->title, "Inf first in the activation of layer 3 (dense_3)");
    chain_all_gains(&c, 0.01); /* whatever comes now is a consequence */
    chain_starve_below(&c, 19);
    chain_run(&c, 2, 200);
    assert_int_equal(chain_n_findings(&c), 3);
    chain_close(&c);
}

static void a_nan_soon_after_growth_is_blamed_on_it(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    c.loss = 2.0;
    chain_run(&c, 0, 5);
    chain_fill(&c, 5);
    bp_record_set(&c.record, BP_Q_UPDATE_BAD, 1, 10);
    bp_diagnosis_step(c.diagnosis, &c.record);
    assert_non_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    assert_int_equal(chain_find(&c, BP_PROBLEM_NON_FINITE)->layers[0], 1);
    chain_close(&c);
}

static void producers_are_told_from_passers(void **state) {
    (void)state;
    static const struct {
        bp_quantity quantity;
        uint32_t layer;
        const char *title;
    } cases[] = {
        {BP_Q_ACTIVATION_NAN, 0, "NaN first in the input data"},
        {BP_Q_PARAMETER_NAN, 4, "NaN first in the parameter of layer 4 (dense_4)"},
        {BP_Q_ACTIVATION_NAN, 5, "NaN first in the activation of layer 5 (dense_5)"},
        {BP_Q_ERROR_NAN, 7, "NaN first in the error signal of layer 7 (dense_7)"},
        {BP_Q_GRADIENT_INF, 6, "Inf first in the gradient of layer 6 (dense_6)"},
        {BP_Q_UPDATE_BAD, 2, "NaN first in the updated parameter of layer 2 (dense_2)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chain c;
        chain_open(&c, 10, BP_ACTIVATION_TANH, BP_NORM_NONE);
        chain_run(&c, 0, 3);
        chain_fill(&c, 3);
        bp_record_set(&c.record, cases[i].quantity, cases[i].layer, 1);
        /* what passes it on: everything behind the place in the order of computation */
        bp_record_set(&c.record, BP_Q_UPDATE_BAD, 1, 1);
        if (cases[i].quantity != BP_Q_UPDATE_BAD) bp_record_set(&c.record, BP_Q_GRADIENT_NAN, 1, 1);
        if (cases[i].quantity == BP_Q_UPDATE_BAD) bp_record_set(&c.record, BP_Q_UPDATE_BAD, 1, 0);
        bp_diagnosis_step(c.diagnosis, &c.record);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_NON_FINITE);
        assert_non_null(f);
        assert_string_equal(f->title, cases[i].title);
        chain_close(&c);
    }
}

static void a_step_that_is_too_long_is_told_from_depth(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 4, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(&c, 0, 3);
    c.update_rms[2] = 5;
    chain_step(&c, 3);
    c.loss = 1e4;
    c.update_rms[2] = 1e-4; /* the step was long; its consequences stay */
    chain_run(&c, 4, 30);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->since_step, 3);
    assert_int_equal(f->layers[0], 2);
    assert_true(bp_finding_evidence(f, "over_steps") > 0);
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_LARGE));
    chain_close(&c);
}

static void an_explosion_that_passed_is_a_closed_hint(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    chain_step(&c, 0);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_int_equal(f->severity, BP_ERROR);
    chain_all_gains(&c, 1);
    c.loss = 1.5;
    chain_run(&c, 1, 300);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    assert_int_equal(f->last_step, 0);
    chain_close(&c);
}

/* Residual networks with batch norm have such spikes and train. */
static void a_spike_that_the_loss_forgets_is_no_finding(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 4, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(&c, 0, 30);
    c.update_rms[4] = 0.5;
    chain_step(&c, 30);
    c.update_rms[4] = 1e-4;
    c.loss = 40;
    chain_run(&c, 31, 45);
    c.loss = 1.4;
    chain_run(&c, 45, 100);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

/* Batch norm without skips grows error signals by 1.2 a layer: harmless until nothing is learnt. */
static void growth_in_which_nothing_is_learnt_is_found(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 60, BP_ACTIVATION_RELU, BP_NORM_BATCH);
    chain_all_gains(&c, 1.21);
    c.loss = 2.3;
    chain_run(&c, 0, 100);
    assert_non_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
}

/* x960 over depth at step 0 is below a finding's limit, but the first update blew up. */
static void large_weights_in_one_layer_are_the_root_of_the_first_long_step(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 9, BP_ACTIVATION_RELU, BP_NORM_NONE);
    for (uint32_t i = 1; i <= 9; i++) {
        c.activation_part[i] = i < 9 ? sqrt(0.5) : 1;
        c.weight_rms[i] = i < 9 ? sqrt(2.0 / 64) : 0.125;
    }
    c.weight_rms[5] = 100;
    c.gain[5] = 500;
    c.update_rms[5] = 300;
    c.loss = 1700;
    chain_run(&c, 0, 30);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_non_null(root);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(root->n_layers, 1);
    assert_int_equal(root->layers[0], 5);
    chain_close(&c);
}

static void a_loss_below_zero_is_judged_by_its_own_start(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_TANH, BP_NORM_NONE);
    bp_recipe recipe = *bp_model_recipe(c.model);
    recipe.trivial_loss = (double)NAN;
    bp_model_set_recipe(c.model, &recipe);
    for (int64_t step = 0; step < 200; step++) {
        c.loss = -5 - 0.02 * (double)step;
        chain_step(&c, step);
    }
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void steps_that_go_back_forget_what_was_later(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    c.loss = 2.0;
    chain_run(&c, 1000, 1003);
    chain_all_gains(&c, 1);
    chain_run(&c, 500, 640); /* rolled back */
    c.loss = 100;
    chain_step(&c, 640);
    c.loss = 1.5;
    chain_run(&c, 641, 700);
    assert_null(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT));
    chain_close(&c);
}

static void impossible_counts_are_readings_too(void **state) {
    (void)state;
    const double counts[] = {1.8446744073709552e19, (double)NAN, -1, (double)INFINITY};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        chain c;
        chain_open(&c, 4, BP_ACTIVATION_TANH, BP_NORM_NONE);
        chain_fill(&c, 0);
        bp_record_set(&c.record, BP_Q_ACTIVATION_NAN, 2, counts[i]);
        bp_record_set(&c.record, BP_Q_ACTIVATION_INF, 2, counts[i]);
        bp_diagnosis_step(c.diagnosis, &c.record);
        assert_int_equal(chain_n_findings(&c), counts[i] > 0 ? 1 : 0);
        chain_close(&c);
    }
}

static void what_was_not_watched_is_not_called_finite(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_TANH, BP_NORM_NONE);
    chain_run(&c, 0, 3);
    bp_record_clear(&c.record); /* a light record: loss and tripwire */
    c.record.step = 3;
    bp_record_set(&c.record, BP_Q_LOSS, 0, 1);
    bp_record_set(&c.record, BP_Q_ACTIVATION_NAN, 6, 3);
    bp_diagnosis_step(c.diagnosis, &c.record);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_NON_FINITE);
    assert_non_null(f);
    assert_non_null(strstr(f->cause, "not watched at this step, and were finite at step 2"));
    assert_null(strstr(f->symptoms[2].measured, "no finite loss"));
    chain_close(&c);
}

static void a_skipped_update_may_have_overflowed(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_TANH, BP_NORM_NONE);
    chain_fill(&c, 0);
    c.record.flags = BP_RECORD_UPDATE_SKIPPED;
    bp_record_set(&c.record, BP_Q_GRADIENT_INF, 2, 3);
    bp_diagnosis_step(c.diagnosis, &c.record);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

/* A long step makes the weights large, and then the error signal grows over depth too. */
static void what_came_first_is_the_cause(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 8, BP_ACTIVATION_RELU, BP_NORM_NONE);
    c.update_rms[3] = 2;
    chain_step(&c, 0);
    chain_all_gains(&c, 20);
    c.loss = 1e5;
    chain_run(&c, 1, 30);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->since_step, 0);
    assert_true(bp_finding_evidence(f, "over_steps") > 0);
    assert_true(fabs(bp_finding_evidence(f, "update_ratio") / (2 / 0.125) - 1) < 0.01);
    chain_close(&c);
}

static void weights_before_a_norm_have_no_size_to_exceed(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 40, BP_ACTIVATION_RELU, BP_NORM_BATCH);
    chain_all_gains(&c, 1.21); /* sqrt(1.467): what batch norm does without skips (Yang 2019) */
    for (uint32_t i = 1; i <= 39; i++) c.update_rms[i] = 1;
    chain_run(&c, 0, 100);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void layers_that_an_explosion_saturated_hang_under_it(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    chain_step(&c, 0);
    chain_all_gains(&c, 0.2);
    chain_starve_below(&c, 15);
    c.loss = 2.4;
    chain_run(&c, 1, 60);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(bp_diagnosis_finding(c.diagnosis, (uint32_t)f->parent)->problem,
                     BP_PROBLEM_EXPLODING_GRADIENT);
    chain_close(&c);
}

static void a_first_pass_that_overflows_is_blamed_on_the_weights(void **state) {
    (void)state;
    chain c;
    exploding_chain(&c);
    chain_fill(&c, 0);
    for (uint32_t i = 1; i <= 20; i++) bp_record_set(&c.record, BP_Q_ERROR_NORM, i, (double)NAN);
    bp_record_set(&c.record, BP_Q_ACTIVATION_INF, 12, 5);
    bp_diagnosis_step(c.diagnosis, &c.record);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(bp_diagnosis_finding(c.diagnosis, 1)->parent, 0);
    chain_close(&c);
}

static void clipping_is_evidence(void **state) {
    (void)state;
    for (int clipped = 0; clipped < 2; clipped++) {
        chain c;
        exploding_chain(&c);
        chain_fill(&c, 0);
        bp_record_set(&c.record, BP_Q_UNCLIPPED_NORM, 0, clipped ? 3 : 1);
        bp_record_set(&c.record, BP_Q_GRADIENT_NORM, 0, 1);
        bp_diagnosis_step(c.diagnosis, &c.record);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
        const double clipping = bp_finding_evidence(f, "clipping");
        assert_true(clipped ? fabs(clipping - 3) < 0.01 : isnan(clipping));
        chain_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_record_suffices),
        cmocka_unit_test(growth_without_harm_is_no_finding),
        cmocka_unit_test(a_healthy_chain_is_silent),
        cmocka_unit_test(nan_hangs_under_the_explosion_and_ends_all_judging),
        cmocka_unit_test(a_nan_soon_after_growth_is_blamed_on_it),
        cmocka_unit_test(producers_are_told_from_passers),
        cmocka_unit_test(a_step_that_is_too_long_is_told_from_depth),
        cmocka_unit_test(an_explosion_that_passed_is_a_closed_hint),
        cmocka_unit_test(a_spike_that_the_loss_forgets_is_no_finding),
        cmocka_unit_test(growth_in_which_nothing_is_learnt_is_found),
        cmocka_unit_test(large_weights_in_one_layer_are_the_root_of_the_first_long_step),
        cmocka_unit_test(a_loss_below_zero_is_judged_by_its_own_start),
        cmocka_unit_test(steps_that_go_back_forget_what_was_later),
        cmocka_unit_test(impossible_counts_are_readings_too),
        cmocka_unit_test(what_was_not_watched_is_not_called_finite),
        cmocka_unit_test(a_skipped_update_may_have_overflowed),
        cmocka_unit_test(what_came_first_is_the_cause),
        cmocka_unit_test(weights_before_a_norm_have_no_size_to_exceed),
        cmocka_unit_test(layers_that_an_explosion_saturated_hang_under_it),
        cmocka_unit_test(clipping_is_evidence),
        cmocka_unit_test(a_first_pass_that_overflows_is_blamed_on_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
