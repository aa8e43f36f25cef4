/* SPDX-License-Identifier: Apache-2.0 */
/* Which problems silence says nothing of. */
#include "chain.h"

static void expect(const chain *c, bp_problem problem, const char *words) {
    const char *missing = bp_diagnosis_unjudged(c->diagnosis, problem);
    if (!words && missing) fail_msg("%s: '%s'", bp_problem_name(problem), missing);
    if (!words) return;
    if (!missing) fail_msg("%s was judged", bp_problem_name(problem));
    chain_assert_says(missing, words);
}

static void without_a_record_nothing_is(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 5, BP_ACTIVATION_RELU, BP_NORM_NONE);
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++)
        expect(&c, (bp_problem)problem, "any step");
    assert_null(bp_diagnosis_unjudged(c.diagnosis, (bp_problem)0));
    assert_null(bp_diagnosis_unjudged(c.diagnosis, BP_N_PROBLEMS));
    chain_close(&c);
}

/* The losses of light steps judge the loss, and nothing else. */
static void of_losses_only_their_shape(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 5, BP_ACTIVATION_RELU, BP_NORM_NONE);
    for (int64_t step = 0; step < 50; step++) bp_diagnosis_loss(c.diagnosis, step, 1);
    expect(&c, BP_PROBLEM_PLATEAU, NULL);
    expect(&c, BP_PROBLEM_LOSS_SPIKE, NULL);
    expect(&c, BP_PROBLEM_VANISHING_GRADIENT, "20 records");
    expect(&c, BP_PROBLEM_EXPLODING_GRADIENT, "error signals over depth");
    expect(&c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, "updates");
    expect(&c, BP_PROBLEM_DEAD_UNITS, "units");
    chain_close(&c);
}

static void validated(const chain *c, bp_record *record) {
    (void)c;
    bp_record_set(record, BP_Q_VALIDATION_LOSS, 0, 1.5);
    bp_record_set(record, BP_Q_SILENT_UNITS, 1, 0);
}

static void what_was_seen_is(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 5, BP_ACTIVATION_RELU, BP_NORM_NONE);
    chain_run(&c, 0, 30);
    expect(&c, BP_PROBLEM_VANISHING_GRADIENT, NULL);
    expect(&c, BP_PROBLEM_EXPLODING_GRADIENT, NULL);
    expect(&c, BP_PROBLEM_OVERFITTING, "validation");
    expect(&c, BP_PROBLEM_MEMORISING, "validation");
    expect(&c, BP_PROBLEM_DEAD_UNITS, "units");
    expect(&c, BP_PROBLEM_SATURATED_UNITS, NULL); /* none of these units can be */
    expect(&c, BP_PROBLEM_RANK_MISMATCH, "several processes");
    c.more = validated;
    chain_run(&c, 30, 32);
    expect(&c, BP_PROBLEM_OVERFITTING, NULL);
    expect(&c, BP_PROBLEM_MEMORISING, NULL);
    expect(&c, BP_PROBLEM_DEAD_UNITS, NULL);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_record_nothing_is),
        cmocka_unit_test(of_losses_only_their_shape),
        cmocka_unit_test(what_was_seen_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
