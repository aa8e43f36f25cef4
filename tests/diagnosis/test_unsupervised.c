/* SPDX-License-Identifier: Apache-2.0 */
/* A loss that tells nothing about learning: adversarial, reinforcement, … Its level is no evidence,
 * for or against; what flows and what grows still is. */
#include "chain.h"

static void unsupervised(chain *c) {
    bp_recipe recipe = *bp_model_recipe(c->model);
    recipe.unsupervised = true;
    bp_model_set_recipe(c->model, &recipe);
}

/* The same run twice: a loss that stands still is an error only where it means something. */
static void a_loss_that_stands_still_makes_no_error(void **state) {
    (void)state;
    for (int judged = 0; judged < 2; judged++) {
        chain c;
        chain_open(&c, 20, BP_ACTIVATION_TANH, BP_NORM_NONE);
        if (!judged) unsupervised(&c);
        chain_all_gains(&c, 0.14);
        chain_starve_below(&c, 18);
        c.loss = CHAIN_TRIVIAL;
        chain_run(&c, 0, 100);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
        assert_non_null(f);
        assert_int_equal(f->severity, judged ? BP_ERROR : BP_WARNING);
        assert_null(strstr(f->note, "the loss falls all the same"));
        assert_int_equal(f->symptoms[2].speaks_for_vanishing, judged);
        chain_close(&c);
    }
}

static void a_loss_near_zero_does_not_excuse_starved_layers(void **state) {
    (void)state;
    for (int judged = 0; judged < 2; judged++) {
        chain c;
        chain_open(&c, 20, BP_ACTIVATION_TANH, BP_NORM_NONE);
        if (!judged) unsupervised(&c);
        chain_all_gains(&c, 0.14);
        chain_starve_below(&c, 18);
        c.loss = 1e-3; /* a discriminator that wins */
        chain_run(&c, 0, 100);
        assert_int_equal(chain_n_findings(&c), judged ? 0 : 1);
        chain_close(&c);
    }
}

static void a_loss_that_rises_is_no_harm(void **state) {
    (void)state;
    for (int judged = 0; judged < 2; judged++) {
        chain c;
        chain_open(&c, 4, BP_ACTIVATION_RELU, BP_NORM_NONE);
        if (!judged) unsupervised(&c);
        chain_run(&c, 0, 3);
        c.update_rms[2] = 5;
        chain_step(&c, 3);
        c.loss = 1e4;
        chain_run(&c, 4, 40);
        assert_int_equal(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT) != NULL, judged);
        chain_close(&c);
    }
}

static void weights_that_grow_are(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 4, BP_ACTIVATION_RELU, BP_NORM_NONE);
    unsupervised(&c);
    chain_run(&c, 0, 3);
    for (int64_t step = 3; step < 30; step++) {
        c.update_rms[2] = 2 * c.weight_rms[2];
        c.weight_rms[2] *= 1.5;
        chain_step(&c, step);
    }
    const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 3);
    assert_int_equal(f->layers[0], 2);
    c.update_rms[2] = 1e-4 * c.weight_rms[2];
    chain_run(&c, 30, 60); /* they stay large, and nothing grows any longer */
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_close(&c);
}

static void nan_is_an_error_all_the_same(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_RELU, BP_NORM_NONE);
    unsupervised(&c);
    for (uint32_t i = 1; i <= 20; i++) {
        c.activation_part[i] = i < 20 ? sqrt(0.5) : 1;
        c.weight_rms[i] = 3 * sqrt(2.0 / 64);
        c.gain[i] = 3;
    }
    chain_run(&c, 0, 30);
    assert_int_equal(chain_n_findings(&c), 0); /* growth over depth alone, and no harm known */
    chain_fill(&c, 30);
    bp_record_set(&c.record, BP_Q_UPDATE_BAD, 1, 10);
    bp_diagnosis_step(c.diagnosis, &c.record);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(root->severity, BP_ERROR);
    assert_int_equal(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT)->severity, BP_ERROR);
    assert_int_equal(chain_find(&c, BP_PROBLEM_NON_FINITE)->severity, BP_ERROR);
    chain_close(&c);
}

/* Growth over depth with a long step is shown, as a warning: whether it harms is not known. */
static void what_only_might_harm_is_a_warning(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 20, BP_ACTIVATION_RELU, BP_NORM_NONE);
    unsupervised(&c);
    for (uint32_t i = 1; i <= 20; i++) {
        c.activation_part[i] = i < 20 ? sqrt(0.5) : 1;
        c.weight_rms[i] = 3 * sqrt(2.0 / 64);
        c.gain[i] = 3;
    }
    c.update_rms[1] = 2;
    chain_step(&c, 0);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_non_null(root);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(root->severity, BP_WARNING);
    assert_int_equal(chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT)->severity, BP_WARNING);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_that_stands_still_makes_no_error),
        cmocka_unit_test(a_loss_near_zero_does_not_excuse_starved_layers),
        cmocka_unit_test(a_loss_that_rises_is_no_harm),
        cmocka_unit_test(weights_that_grow_are),
        cmocka_unit_test(nan_is_an_error_all_the_same),
        cmocka_unit_test(what_only_might_harm_is_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
