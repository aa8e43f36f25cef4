/* SPDX-License-Identifier: Apache-2.0 */
/* rank-mismatch: copies that part, in which layers, since when; silence about those that do not. */
#include "chain.h"
#include "record/merge.h"

#define CODE 3.045e-3 /* one step of the log16 codec */

/* One record of a healthy chain, with what merging told of the ranks' copies. Where 0: nothing. */
typedef struct told {
    uint32_t layer;
    double parameters, gradients;
} told;

static uint32_t step_of(chain *c, int64_t step, const told *differ, size_t n) {
    chain_fill(c, step);
    bp_record_set(&c->record, BP_Q_RANKS, 0, 4);
    for (uint32_t id = 1; id <= c->n_layers; id++) {
        bp_record_set(&c->record, BP_Q_PARAMETER_SPREAD, id, 0);
        bp_record_set(&c->record, BP_Q_GRADIENT_SPREAD, id, 0);
    }
    for (size_t i = 0; i < n; i++) {
        bp_record_set(&c->record, BP_Q_PARAMETER_SPREAD, differ[i].layer, differ[i].parameters);
        bp_record_set(&c->record, BP_Q_GRADIENT_SPREAD, differ[i].layer, differ[i].gradients);
        bp_record_set(&c->record, BP_Q_RANK_APART, differ[i].layer, 3);
    }
    return bp_diagnosis_step(c->diagnosis, &c->record);
}

static void equal_steps(chain *c, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; step++) assert_int_equal(step_of(c, step, NULL, 0), 0);
}

static void open(chain *c) {
    chain_open(c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
}

static double evidence(const bp_finding *f, const char *name) {
    return bp_finding_evidence(f, name);
}

static void assert_says(const char *text, const char *words) {
    if (!strstr(text, words)) fail_msg("'%s' lacks '%s'", text, words);
}

static void equal_copies_are_silent(void **state) {
    (void)state;
    chain c;
    open(&c);
    equal_steps(&c, 0, 300);
    assert_int_equal(chain_n_findings(&c), 0);
    chain_run(&c, 300, 330); /* light or of one rank: nothing was compared */
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

/* A value on the edge between two codes, rounded by another device. */
static void single_codes_are_rounding(void **state) {
    (void)state;
    chain c;
    open(&c);
    for (int64_t step = 0; step < 200; step++) {
        const told differ = {(uint32_t)(step % 5) + 1, step % 7 == 0 ? CODE : 0,
                             step % 7 == 1 ? CODE : 0};
        assert_int_equal(step_of(&c, step, &differ, step % 7 < 2), 0);
    }
    assert_int_equal(chain_n_findings(&c), 0);
    chain_close(&c);
}

static void single_codes_that_stay_are_none(void **state) {
    (void)state;
    chain c;
    open(&c);
    const told differ = {2, CODE, 0};
    equal_steps(&c, 0, 5);
    assert_int_equal(step_of(&c, 5, &differ, 1), 0);
    assert_int_equal(step_of(&c, 6, &differ, 1), 0);
    assert_int_equal(step_of(&c, 7, &differ, 1), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 5);
    chain_close(&c);
}

/* Two codes are none, either; in the first layer and in the last. */
static void two_codes_count_at_once(void **state) {
    (void)state;
    chain c;
    open(&c);
    const told differ[] = {{1, 6.07e-3, 0}, {6, 6.07e-3, 0}};
    assert_int_equal(step_of(&c, 0, differ, 2), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_int_equal(f->n_layers, 2);
    assert_int_equal(f->layers[1], 6);
    chain_close(&c);
}

/* What was rounded before counts neither for the steps nor for the layers that come later. */
static void gradients_that_stay_a_code_apart(void **state) {
    (void)state;
    chain c;
    open(&c);
    const told before[] = {{1, 0, CODE}, {6, 0, CODE}}, differ = {4, 0, CODE};
    assert_int_equal(step_of(&c, 0, before, 2), 0);
    equal_steps(&c, 1, 3);
    assert_int_equal(step_of(&c, 3, &differ, 1), 0);
    assert_int_equal(step_of(&c, 4, &differ, 1), 0);
    assert_int_equal(step_of(&c, 5, &differ, 1), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_int_equal(f->severity, BP_WARNING);
    assert_int_equal(f->since_step, 3);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 4);
    chain_close(&c);
}

static void both_at_once(void **state) {
    (void)state;
    chain c;
    open(&c);
    equal_steps(&c, 0, 7);
    const told differ = {2, 0.96, 0.97};
    assert_int_equal(step_of(&c, 7, &differ, 1), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_int_equal(f->since_step, 7);
    assert_says(f->cause, "differ by 96% at step 7; they part since step 7; gradients differ since "
                          "step 7, by up to 97%:");
    chain_close(&c);
}

static void different_from_the_start(void **state) {
    (void)state;
    chain c;
    open(&c);
    const told differ[] = {{1, 0.02, 0.5}, {2, 0.11, 0.9}, {5, 0.01, 0.2}};
    assert_int_equal(step_of(&c, 0, differ, 3), 1);
    assert_int_equal(step_of(&c, 1, differ, 2), 0);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_non_null(f);
    assert_int_equal(chain_n_findings(&c), 1);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->last_step, 1);
    assert_true(f->open);
    assert_int_equal(f->parent, -1);
    assert_int_equal(f->n_layers, 3);
    assert_int_equal(f->layers[0], 1);
    assert_int_equal(f->layers[2], 5);
    assert_int_equal(f->n_symptoms, 0);
    assert_true(evidence(f, "parameter_spread") == 0.11);
    assert_true(evidence(f, "gradient_spread") == 0.9);
    assert_true(evidence(f, "rank") == 3);
    assert_true(evidence(f, "ranks") == 4);
    assert_string_equal(f->title, "4 ranks hold different parameters in layers 1, 2, 5 of 6");
    assert_says(f->cause, "rank 3's parameters of layer 2");
    assert_says(f->cause, "differ by 11% at step 0");
    assert_says(f->cause, "began with different parameters");
    assert_says(f->cause, "not averaged");
    assert_says(f->note, "on purpose (stages");
    chain_close(&c);
}

/* First the gradients, a warning; then what they do to the parameters: an error with one onset. */
static void gradients_alone_are_a_warning(void **state) {
    (void)state;
    chain c;
    open(&c);
    equal_steps(&c, 0, 40);
    const told gradients = {4, 0, 0.3}, both = {4, 0.006, 0.2};
    assert_int_equal(step_of(&c, 40, &gradients, 1), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_WARNING);
    assert_int_equal(f->since_step, 40);
    assert_int_equal(f->n_layers, 1);
    assert_string_equal(f->title, "4 ranks get different gradients in layer 4 of 6");
    assert_says(f->cause, "gradients of layer 4");
    assert_says(f->note, "averages inside its own step");
    assert_true(isnan(evidence(f, "parameter_spread")));
    assert_int_equal(step_of(&c, 41, &gradients, 1), 0);
    assert_int_equal(step_of(&c, 42, &both, 1), 1);
    f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 40);
    assert_says(f->title, "hold different parameters in layer 4");
    assert_says(f->cause, "they part since step 42");
    assert_says(f->cause, "gradients differ since step 40, by up to 30%");
    chain_close(&c);
}

static void one_rank_changed_its_parameters(void **state) {
    (void)state;
    chain c;
    open(&c);
    equal_steps(&c, 0, 10);
    const told differ = {3, 0.5, 0};
    assert_int_equal(step_of(&c, 10, &differ, 1), 1);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 10);
    assert_says(f->cause, "one rank changed its parameters alone");
    chain_close(&c);
}

static void ranks_that_agree_again(void **state) {
    (void)state;
    chain c;
    open(&c);
    const told differ = {3, 0.5, 0};
    step_of(&c, 0, &differ, 1);
    equal_steps(&c, 1, 15);
    step_of(&c, 15, &differ, 1); /* not over yet: the steps are counted anew */
    equal_steps(&c, 16, 35);
    assert_true(chain_find(&c, BP_PROBLEM_RANK_MISMATCH)->open);
    equal_steps(&c, 35, 36);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_RANK_MISMATCH);
    assert_false(f->open);
    assert_int_equal(f->last_step, 15);
    assert_says(f->note, "equal again after step 15");
    chain_close(&c);
}

/* From two ranks' own records, through merging. */
static void two_ranks(void **state) {
    (void)state;
    chain a, b;
    open(&a);
    open(&b);
    bp_record merged;
    assert_int_equal(bp_record_init(&merged, 6, NULL), BP_OK);
    const bp_record *records[] = {&a.record, &b.record};
    const uint32_t ranks[] = {0, 1};
    const bp_rank_records from = {records, ranks, 2, 2};
    for (int64_t step = 0; step < 60; step++) {
        if (step == 30) b.weight_rms[5] *= 1.01;
        chain_fill(&a, step);
        chain_fill(&b, step);
        bp_record_merge(&merged, &from);
        assert_int_equal(bp_diagnosis_step(a.diagnosis, &merged), step == 30);
    }
    const bp_finding *f = chain_find(&a, BP_PROBLEM_RANK_MISMATCH);
    assert_int_equal(f->since_step, 30);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 5);
    assert_true(evidence(f, "rank") == 1);
    assert_true(evidence(f, "ranks") == 2);
    bp_record_finish(&merged, NULL);
    chain_close(&a);
    chain_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_copies_are_silent),
        cmocka_unit_test(single_codes_are_rounding),
        cmocka_unit_test(single_codes_that_stay_are_none),
        cmocka_unit_test(two_codes_count_at_once),
        cmocka_unit_test(gradients_that_stay_a_code_apart),
        cmocka_unit_test(both_at_once),
        cmocka_unit_test(different_from_the_start),
        cmocka_unit_test(gradients_alone_are_a_warning),
        cmocka_unit_test(one_rank_changed_its_parameters),
        cmocka_unit_test(ranks_that_agree_again),
        cmocka_unit_test(two_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
