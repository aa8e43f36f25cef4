/* SPDX-License-Identifier: Apache-2.0 */
#include "chain.h"

static void sick_chain(chain *c) {
    chain_open(c, 20, BP_ACTIVATION_SIGMOID, BP_NORM_NONE);
    chain_all_gains(c, 0.14);
    chain_starve_below(c, 18);
    c->loss = 2.303;
}

static void fading_gradients_and_starved_layers_are_found(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_run(&c, 0, 60);
    assert_int_equal(chain_n_findings(&c), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->last_step, 59);
    assert_true(f->open);
    assert_int_equal(f->n_layers, 17);
    assert_int_equal(f->layers[0], 1);
    assert_int_equal(f->layers[16], 17);
    assert_int_equal(f->parent, -1);
    assert_string_equal(f->title, "layers 1–17 of 20 do not learn");
    assert_true(fabs(bp_finding_evidence(f, "mean_gain") - 0.14) < 1e-3);
    assert_int_equal(bp_finding_blamed_layer(f), 0);
    assert_int_equal(f->n_gains, 20);
    assert_true(fabs(f->gains[5].gain - 0.14) < 1e-3);
    chain_close(&c);
}

static void neither_alone_is_a_finding(void **state) {
    (void)state;
    chain c;
    sick_chain(&c); /* gradients fade, but every layer learns */
    chain_starve_below(&c, 1);
    chain_run(&c, 0, 300);
    assert_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
    chain_close(&c);
    sick_chain(&c); /* layers are starved, but the error signal arrives */
    chain_all_gains(&c, 0.9);
    chain_run(&c, 0, 300);
    assert_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
    chain_close(&c);
}

static void a_converged_run_is_not_starved(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    c.loss = 0.05; /* below a tenth of guessing */
    chain_run(&c, 0, 300);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void fewer_than_twenty_records_are_not_judged(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_run(&c, 0, 19);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_step(&c, 19);
    assert_int_equal(chain_n_findings(&c), 1);
    chain_close(&c);
}

static void the_onset_is_the_change_point(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_all_gains(&c, 0.95);
    chain_starve_below(&c, 1);
    chain_run(&c, 0, 100);
    chain_all_gains(&c, 0.14);
    chain_starve_below(&c, 18);
    chain_run(&c, 100, 200);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->since_step, 100);
    assert_string_equal(f->title, "layers 1–17 of 20 no longer learn");
    chain_close(&c);
}

static void it_is_a_warning_when_the_late_layers_learn(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_run(&c, 0, 60);
    c.loss = 1.0;
    chain_run(&c, 60, 160);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_int_equal(f->severity, BP_WARNING);
    assert_non_null(strstr(f->note, "late layers learn"));
    chain_close(&c);
}

static void healing_makes_it_a_closed_hint(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_run(&c, 0, 40);
    chain_all_gains(&c, 0.95);
    chain_starve_below(&c, 1);
    c.loss = 0.5;
    chain_run(&c, 40, 300);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_close(&c);
}

static void one_strangled_layer_is_named(void **state) {
    (void)state;
    for (uint32_t sick = 2; sick <= 20; sick++) {
        chain c;
        chain_open(&c, 20, BP_ACTIVATION_TANH, BP_NORM_NONE);
        c.gain[sick] = 1e-4;
        c.weight_rms[sick] = 0.125e-4;
        chain_starve_below(&c, sick);
        c.loss = 2.0;
        chain_run(&c, 0, 60);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
        assert_non_null(f);
        assert_int_equal(f->n_layers, sick - 1);
        if (sick > 2) assert_int_equal(bp_finding_blamed_layer(f), sick);
        const bp_finding *root = chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_SMALL);
        assert_non_null(root);
        assert_int_equal(root->n_layers, 1);
        assert_int_equal(root->layers[0], sick);
        assert_int_equal(root->parent, -1);
        assert_int_equal(f->parent, 0);
        chain_close(&c);
    }
}

static void small_weights_are_the_root_where_their_repair_would_help(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_RELU, BP_NORM_NONE);
    const double std = 1 / sqrt(3 * 64.0); /* PyTorch's default: gain 0.41 */
    for (uint32_t i = 1; i <= 20; i++) {
        c.weight_rms[i] = std;
        c.activation_part[i] = i < 20 ? sqrt(0.5) : 1;
        c.gain[i] = c.activation_part[i] * std * 8;
    }
    chain_starve_below(&c, 15);
    c.loss = 2.303;
    chain_run(&c, 0, 60);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_SMALL);
    assert_true(fabs(bp_finding_evidence(root, "weight_scale") - 0.577) < 0.01);
    assert_true(fabs(bp_finding_evidence(root, "critical_scale") - sqrt(2)) < 1e-9);
    assert_int_equal(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT)->parent, 0);
    chain_close(&c);
}

static void learnt_weights_are_not_blamed_on_the_initialiser(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_TANH, BP_NORM_NONE);
    chain_run(&c, 0, 100); /* healthy at step 0 */
    chain_all_gains(&c, 0.3);
    for (uint32_t i = 1; i <= 20; i++) c.weight_rms[i] = 0.04;
    chain_starve_below(&c, 15);
    c.loss = 2.0;
    chain_run(&c, 100, 200);
    assert_non_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_SMALL));
    chain_close(&c);
}

static void the_input_that_no_longer_reaches_the_end(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 10, BP_ACTIVATION_SIGMOID, BP_NORM_NONE);
    chain_starve_below(&c, 5);
    c.variation[9] = 1e-5;
    c.loss = 2.3;
    chain_run(&c, 0, 60);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_non_null(strstr(f->cause, "layer 9"));
    chain_close(&c);
    chain_open(&c, 10, BP_ACTIVATION_SIGMOID, BP_NORM_NONE);
    chain_starve_below(&c, 5);
    c.variation[9] = 1e-5;
    c.variation[0] = 0.01; /* the inputs are alike themselves */
    chain_run(&c, 0, 60);
    assert_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
    chain_close(&c);
}

/* A recurrent layer's gain is a product over time, of gates and weights alike: no part of it is the
 * weights', and what Adam would do is not known. */
static void recurrent_layers_have_no_parts(void **state) {
    (void)state;
    static const bp_layer_kind kinds[] = {BP_LAYER_DENSE, BP_LAYER_RNN, BP_LAYER_GRU,
                                          BP_LAYER_LSTM};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const bool dense = kinds[k] == BP_LAYER_DENSE, rnn = kinds[k] == BP_LAYER_RNN;
        chain c;
        chain_open_of(&c, 10, kinds[k], rnn ? BP_ACTIVATION_TANH : BP_ACTIVATION_LINEAR,
                      BP_NORM_NONE);
        chain_all_gains(&c, 0.14);
        chain_starve_below(&c, 8);
        c.loss = 2.303;
        chain_run(&c, 0, 60);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
        assert_non_null(f);
        assert_non_null(strstr(f->cause, "about 0.14 each"));
        assert_int_equal(strstr(f->cause, "weights pass on") != NULL, dense);
        assert_int_equal(strstr(f->note, "Adam") != NULL, dense);
        assert_int_equal(isfinite(f->gains[5].weight) != 0, dense);
        assert_true(fabs(f->gains[5].gain - 0.14) < 1e-3);
        assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_SMALL));
        chain_close(&c);
    }
}

static void normalised_layers_are_measured_free_of_scale(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 40, BP_ACTIVATION_RELU, BP_NORM_BATCH);
    chain_all_gains(&c, 0.7); /* the error signal falls, the activations grow: nothing is lost */
    for (uint32_t i = 1; i <= 40; i++) c.activation_norm[i] = pow(0.7, i);
    chain_starve_below(&c, 20);
    c.loss = 2.0;
    chain_run(&c, 0, 60);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

/* No size of weights mends a deep sigmoid network: the activation is the cause. */
static void a_deep_sigmoid_is_not_blamed_on_its_weights(void **state) {
    (void)state;
    chain c;
    const double std[] = {1 / sqrt(3 * 64.0), 1e-3};
    for (size_t k = 0; k < sizeof std / sizeof *std; k++) {
        sick_chain(&c);
        for (uint32_t i = 1; i <= 20; i++) {
            c.weight_rms[i] = std[k];
            c.activation_part[i] = i < 20 ? 0.245 : 1;
            c.gain[i] = c.activation_part[i] * c.weight_rms[i] * 8;
        }
        chain_run(&c, 0, 60);
        assert_int_equal(chain_n_findings(&c), 1);
        assert_non_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
        chain_close(&c);
    }
}

static void weights_that_have_moved_are_not_the_initialisers(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_TANH, BP_NORM_NONE);
    chain_all_gains(&c, 0.3);
    for (uint32_t i = 1; i <= 20; i++) c.weight_rms[i] = 0.3 / 8;
    chain_run(&c, 0, 60); /* small weights from the start, and every layer learns */
    for (uint32_t i = 1; i <= 20; i++) c.weight_rms[i] = 0.2 / 8;
    chain_starve_below(&c, 15);
    c.loss = 2.3;
    chain_run(&c, 60, 160);
    assert_non_null(chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT));
    assert_null(chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_SMALL));
    chain_close(&c);
}

static void small_chain(chain *c) {
    chain_open(c, 12, BP_ACTIVATION_TANH, BP_NORM_NONE);
    chain_all_gains(c, 0.3);
    for (uint32_t i = 1; i <= 12; i++) c->weight_rms[i] = 0.3 / 8;
    c->loss = 2.3;
}

/* Adam's noise makes tiny weights large within a few steps; the fault is the initialiser's. */
static void what_held_since_the_first_step_began_with_the_initialiser(void **state) {
    (void)state;
    chain c;
    small_chain(&c);
    chain_starve_below(&c, 8);
    for (int64_t step = 0; step < 60; step++) {
        for (uint32_t i = 1; i <= 12; i++) c.weight_rms[i] = 0.3 / 8 * (1 + 0.1 * (double)step);
        chain_step(&c, step);
    }
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_non_null(root);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_SMALL);
    chain_close(&c);
}

static void a_stuck_start_is_blamed_on_its_weights_even_if_all_layers_move(void **state) {
    (void)state;
    chain c;
    small_chain(&c); /* every layer has its share, as under Adam */
    chain_run(&c, 0, 39);
    assert_int_equal(chain_n_findings(&c), 0); /* not yet a whole window of 40 */
    chain_step(&c, 39);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_SMALL);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    c.loss = 1; /* it learns after all, through the same narrow place: it costs */
    chain_run(&c, 40, 120);
    assert_int_equal(f->severity, BP_WARNING);
    chain_all_gains(&c, 0.95);
    chain_run(&c, 120, 200);
    assert_int_equal(f->severity, BP_HINT);
    assert_false(f->open);
    chain_close(&c);
    small_chain(&c);
    c.loss = 1.9; /* small weights and a loss that falls: healthy */
    chain_run(&c, 0, 200);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void a_first_layer_that_strangles_is_named(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_TANH, BP_NORM_NONE);
    c.weight_rms[1] = 1e-5;
    c.loss = 2.3;
    chain_run(&c, 0, 39);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_step(&c, 39);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_WEIGHTS_TOO_SMALL);
    assert_non_null(f);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 1);
    chain_close(&c);
    chain_open(&c, 6, BP_ACTIVATION_TANH, BP_NORM_BATCH); /* the next norm undoes it */
    c.weight_rms[1] = 1e-5;
    c.loss = 2.3;
    chain_run(&c, 0, 100);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void what_dies_after_learning_is_an_error_and_has_not_healed(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_all_gains(&c, 0.95);
    chain_starve_below(&c, 1);
    c.loss = 1;
    chain_run(&c, 0, 100);
    chain_all_gains(&c, 0.14);
    chain_starve_below(&c, 18);
    c.loss = 2.31;
    chain_run(&c, 100, 200);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    chain_all_gains(&c, 0.95); /* the error signal is back, and the loss does not move */
    chain_starve_below(&c, 1);
    chain_run(&c, 200, 300);
    assert_true(f->open);
    assert_int_equal(f->severity, BP_ERROR);
    chain_close(&c);
}

static void several_layers_that_strangle_together_are_no_single_one(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_RELU, BP_NORM_NONE);
    for (uint32_t i = 7; i <= 10; i++) c.gain[i] = 0.02;
    chain_starve_below(&c, 7);
    c.loss = 2.3;
    chain_run(&c, 0, 60);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(bp_finding_blamed_layer(f), 0);
    assert_non_null(strstr(f->cause, "layers 7"));
    chain_close(&c);
}

static void one_record_of_another_mind_changes_neither_layers_nor_cause(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    chain_run(&c, 0, 19);
    chain_all_gains(&c, 1); /* the record at which the window is first long enough */
    chain_step(&c, 19);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->n_layers, 17);
    assert_non_null(strstr(f->cause, "0.14"));
    chain_close(&c);
}

static void shares_are_relative(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    for (uint32_t i = 1; i <= 20; i++) c.effect[i] = 1e-9; /* a tiny learning rate */
    chain_run(&c, 0, 100);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void single_steps_do_not_move_the_onset(void **state) {
    (void)state;
    chain c;
    sick_chain(&c);
    for (int64_t step = 0; step < 100; step++) {
        const bool bad = step >= 70 || step % 10 == 5;
        chain_all_gains(&c, bad ? 0.14 : 0.95);
        chain_starve_below(&c, bad ? 18 : 1);
        chain_step(&c, step);
    }
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->since_step, 70);
    chain_close(&c);
}

static void the_last_records_profile_is_given(void **state) {
    (void)state;
    chain c;
    const bp_gain *gains;
    chain_open(&c, 20, BP_ACTIVATION_TANH, BP_NORM_NONE);
    assert_int_equal(bp_diagnosis_profile(c.diagnosis, &gains), 0);
    chain_all_gains(&c, 0.5);
    chain_step(&c, 0);
    chain_all_gains(&c, 0.25);
    chain_step(&c, 1);
    assert_int_equal(bp_diagnosis_profile(c.diagnosis, &gains), 20);
    assert_int_equal(gains[0].layer, 1);
    assert_true(isnan(gains[0].gain));
    assert_int_equal(gains[19].layer, 20);
    for (uint32_t i = 1; i < 20; i++) assert_true(fabs(gains[i].gain - 0.25) < 1e-3);
    chain_fill(&c, 2);
    bp_record_set(&c.record, BP_Q_ERROR_NORM, 7, (double)NAN);
    bp_diagnosis_step(c.diagnosis, &c.record);
    assert_int_equal(bp_diagnosis_profile(c.diagnosis, &gains), 0);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fading_gradients_and_starved_layers_are_found),
        cmocka_unit_test(neither_alone_is_a_finding),
        cmocka_unit_test(a_converged_run_is_not_starved),
        cmocka_unit_test(fewer_than_twenty_records_are_not_judged),
        cmocka_unit_test(the_onset_is_the_change_point),
        cmocka_unit_test(it_is_a_warning_when_the_late_layers_learn),
        cmocka_unit_test(healing_makes_it_a_closed_hint),
        cmocka_unit_test(one_strangled_layer_is_named),
        cmocka_unit_test(small_weights_are_the_root_where_their_repair_would_help),
        cmocka_unit_test(learnt_weights_are_not_blamed_on_the_initialiser),
        cmocka_unit_test(the_input_that_no_longer_reaches_the_end),
        cmocka_unit_test(recurrent_layers_have_no_parts),
        cmocka_unit_test(normalised_layers_are_measured_free_of_scale),
        cmocka_unit_test(a_deep_sigmoid_is_not_blamed_on_its_weights),
        cmocka_unit_test(weights_that_have_moved_are_not_the_initialisers),
        cmocka_unit_test(what_held_since_the_first_step_began_with_the_initialiser),
        cmocka_unit_test(a_stuck_start_is_blamed_on_its_weights_even_if_all_layers_move),
        cmocka_unit_test(a_first_layer_that_strangles_is_named),
        cmocka_unit_test(what_dies_after_learning_is_an_error_and_has_not_healed),
        cmocka_unit_test(several_layers_that_strangle_together_are_no_single_one),
        cmocka_unit_test(one_record_of_another_mind_changes_neither_layers_nor_cause),
        cmocka_unit_test(shares_are_relative),
        cmocka_unit_test(single_steps_do_not_move_the_onset),
        cmocka_unit_test(the_last_records_profile_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
