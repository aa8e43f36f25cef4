/* SPDX-License-Identifier: Apache-2.0 */
/* What was never there to be looked at is said, and only that. */
#include "chain.h"
#include "diagnosis/state.h"

static const char *told(chain *c) {
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(c->diagnosis, &overview);
    return overview.not_observed;
}

static bool says(chain *c, const char *words) {
    return strstr(told(c), words) != NULL;
}

/* Evidence that a chain's records lack, one problem after the other. */
static void add_all(chain *c, bp_quantity but) {
    const bp_quantity quantities[] = {
        BP_Q_FEATURE_SCALES,  BP_Q_SATURATED_UNITS,   BP_Q_DISTINCT_UNITS,  BP_Q_GRADIENT_COSINE,
        BP_Q_STALLED,         BP_Q_GRADIENT_RMS,      BP_Q_ERROR_PRECISION, BP_Q_TARGET_MIN,
        BP_Q_VALIDATION_LOSS, BP_Q_ERROR_THROUGH_TIME};
    for (size_t i = 0; i < sizeof quantities / sizeof *quantities; i++)
        if (quantities[i] != but) bp_record_set(&c->record, quantities[i], 0, 1);
}

static void run_without(chain *c, bp_quantity but) {
    for (int64_t step = 0; step < 30; step++) {
        chain_fill(c, step);
        add_all(c, but);
        bp_diagnosis_step(c->diagnosis, &c->record);
    }
}

static void a_run_with_everything_lacks_nothing(void **state) {
    (void)state;
    chain c;
    chain_open_of(&c, 4, BP_LAYER_RNN, BP_ACTIVATION_TANH, BP_NORM_NONE);
    assert_string_equal(told(&c), "");
    run_without(&c, BP_N_QUANTITIES);
    assert_string_equal(told(&c), "");
    chain_close(&c);
}

static void what_is_missing_is_named_once(void **state) {
    (void)state;
    static const struct {
        bp_quantity quantity;
        const char *words;
    } cases[] = {
        {BP_Q_FEATURE_SCALES, "inputs"},
        {BP_Q_SATURATED_UNITS, "units"},
        {BP_Q_DISTINCT_UNITS, "units"},
        {BP_Q_GRADIENT_COSINE, "directions of gradients"},
        {BP_Q_STALLED, "stalled weights"},
        {BP_Q_GRADIENT_RMS, "gradients"},
        {BP_Q_ERROR_PRECISION, "number formats"},
        {BP_Q_TARGET_MIN, "targets"},
        {BP_Q_VALIDATION_LOSS, "validation"},
        {BP_Q_ERROR_THROUGH_TIME, "error signals through time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chain c;
        chain_open_of(&c, 4, BP_LAYER_RNN, BP_ACTIVATION_TANH, BP_NORM_NONE);
        run_without(&c, cases[i].quantity);
        assert_string_equal(told(&c), cases[i].words);
        chain_close(&c);
    }
}

static void what_does_not_concern_the_network_is_not_missed(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 4, BP_ACTIVATION_ELU, BP_NORM_NONE); /* neither dies nor saturates, no time */
    run_without(&c, BP_Q_SATURATED_UNITS);
    assert_string_equal(told(&c), "");
    chain_close(&c);
    chain_open(&c, 4, BP_ACTIVATION_ELU, BP_NORM_NONE);
    bp_recipe recipe = *bp_model_recipe(c.model);
    recipe.unsupervised = true;
    bp_model_set_recipe(c.model, &recipe);
    run_without(&c, BP_Q_TARGET_MIN);
    assert_false(says(&c, "targets"));
    chain_close(&c);
}

static void losses_alone_are_not_an_observation_of_layers(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 4, BP_ACTIVATION_TANH, BP_NORM_NONE);
    for (int64_t step = 0; step < 50; step++) bp_diagnosis_loss(c.diagnosis, step, 2);
    assert_string_equal(told(&c), "error signals over depth, updates of the parameters");
    assert_true(bp_was_observed(c.diagnosis, BP_PROBLEM_PLATEAU));
    assert_false(bp_was_observed(c.diagnosis, BP_PROBLEM_SATURATED_UNITS));
    chain_close(&c);
}

static void a_few_steps_tell_not_whether_layers_learn(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 4, BP_ACTIVATION_TANH, BP_NORM_NONE);
    chain_run(&c, 0, 5);
    assert_string_equal(told(&c), "whether layers learn (it takes 20 records)");
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_with_everything_lacks_nothing),
        cmocka_unit_test(what_is_missing_is_named_once),
        cmocka_unit_test(what_does_not_concern_the_network_is_not_missed),
        cmocka_unit_test(losses_alone_are_not_an_observation_of_layers),
        cmocka_unit_test(a_few_steps_tell_not_whether_layers_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
