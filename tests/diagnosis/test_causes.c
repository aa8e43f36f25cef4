/* SPDX-License-Identifier: Apache-2.0 */
/* Which finding explains which: no circles, one root, and only what came first or still holds. */
#include "chain.h"
#include "diagnosis/state.h"

/* --- the graph ---------------------------------------------------------------------------------
 */

/* Underflow and vanishing may explain each other; one condition decides, so one way is there. */
static bool explains(uint32_t cause, uint32_t effect, bool format) {
    if (cause == BP_PROBLEM_VANISHING_GRADIENT && effect == BP_PROBLEM_LOW_PRECISION_UNDERFLOW &&
        format)
        return false;
    if (cause == BP_PROBLEM_LOW_PRECISION_UNDERFLOW && effect == BP_PROBLEM_VANISHING_GRADIENT &&
        !format)
        return false;
    return bp_may_explain((bp_problem)cause, (bp_problem)effect);
}

/* 0: not yet, 1: on the way, 2: done */
static bool has_circle(uint32_t problem, uint8_t *seen, bool format) {
    if (seen[problem] == 1) return true;
    if (seen[problem] == 2) return false;
    seen[problem] = 1;
    for (uint32_t effect = 1; effect < BP_N_PROBLEMS; effect++)
        if (explains(problem, effect, format) && has_circle(effect, seen, format)) return true;
    seen[problem] = 2;
    return false;
}

static void no_chain_of_causes_leads_back(void **state) {
    (void)state;
    uint32_t n_edges = 0;
    for (int format = 0; format < 2; format++) {
        uint8_t seen[BP_N_PROBLEMS] = {0};
        for (uint32_t cause = 1; cause < BP_N_PROBLEMS; cause++) {
            assert_false(has_circle(cause, seen, format));
            for (uint32_t effect = 1; effect < BP_N_PROBLEMS; effect++)
                n_edges += explains(cause, effect, format);
        }
    }
    assert_true(n_edges > 250);
}

static void what_is_wrong_from_outside_is_a_root(void **state) {
    (void)state;
    const bp_problem roots[] = {BP_PROBLEM_LABELS_OUT_OF_RANGE, BP_PROBLEM_INPUT_NOT_NORMALISED,
                                BP_PROBLEM_WRONG_LAST_LAYER,    BP_PROBLEM_ZERO_INIT,
                                BP_PROBLEM_CONSTANT_INIT,       BP_PROBLEM_RANK_MISMATCH,
                                BP_PROBLEM_UNUSED_PARAMETER};
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++)
        for (uint32_t cause = 1; cause < BP_N_PROBLEMS; cause++)
            assert_false(bp_may_explain((bp_problem)cause, roots[i]));
}

static void symptoms_of_the_loss_explain_no_mechanism(void **state) {
    (void)state;
    const bp_problem symptoms[] = {BP_PROBLEM_PLATEAU, BP_PROBLEM_SLOW_CONVERGENCE,
                                   BP_PROBLEM_UNDERFITTING, BP_PROBLEM_OSCILLATING_LOSS};
    for (size_t i = 0; i < sizeof symptoms / sizeof *symptoms; i++)
        for (uint32_t effect = 1; effect < BP_N_PROBLEMS; effect++)
            assert_false(bp_may_explain(symptoms[i], (bp_problem)effect) &&
                         effect != BP_PROBLEM_UNDERFITTING &&
                         effect != BP_PROBLEM_SLOW_CONVERGENCE);
}

/* --- conditions, on findings that are put there ------------------------------------------------
 */

static bp_finding_slot *put(chain *c, bp_problem problem, int64_t since, bp_severity severity) {
    bp_finding_slot *slot = bp_finding_open(c->diagnosis, problem, since, 100);
    slot->finding.severity = severity;
    return slot;
}

static bp_problem cause_of(chain *c, bp_problem problem) {
    return bp_cause_of(c->diagnosis, problem);
}

static void open_seen(chain *c) {
    chain_open(c, 6, BP_ACTIVATION_TANH, BP_NORM_NONE);
    c->loss = 1;
    chain_run(c, 0, 100);
}

static void a_plateau_hangs_under_what_holds(void **state) {
    (void)state;
    chain c;
    open_seen(&c);
    put(&c, BP_PROBLEM_PLATEAU, 60, BP_WARNING);
    assert_int_equal(cause_of(&c, BP_PROBLEM_PLATEAU), 0);
    bp_finding_slot *low = put(&c, BP_PROBLEM_LEARNING_RATE_TOO_LOW, 0, BP_WARNING);
    assert_int_equal(cause_of(&c, BP_PROBLEM_PLATEAU), BP_PROBLEM_LEARNING_RATE_TOO_LOW);
    low->finding.severity = BP_HINT; /* what does no harm explains none */
    assert_int_equal(cause_of(&c, BP_PROBLEM_PLATEAU), 0);
    low->finding.severity = BP_WARNING;
    low->finding.open = false;
    low->finding.last_step = 40; /* it was over before */
    assert_int_equal(cause_of(&c, BP_PROBLEM_PLATEAU), 0);
    low->finding.open = true;
    low->finding.since_step = low->finding.since_earliest = low->finding.since_latest = 80;
    assert_int_equal(cause_of(&c, BP_PROBLEM_PLATEAU), 0); /* it came later */
    chain_close(&c);
}

static void a_blocked_path_explains_what_lies_before_it(void **state) {
    (void)state;
    chain c;
    open_seen(&c);
    bp_finding_slot *vanishing = put(&c, BP_PROBLEM_VANISHING_GRADIENT, 50, BP_ERROR);
    bp_finding_add_layer(vanishing, 3);
    bp_finding_slot *dead = put(&c, BP_PROBLEM_DEAD_UNITS, 50, BP_ERROR);
    bp_finding_add_layer(dead, 4);
    assert_int_equal(cause_of(&c, BP_PROBLEM_VANISHING_GRADIENT), BP_PROBLEM_DEAD_UNITS);
    dead->finding.n_layers = 0;
    bp_finding_add_layer(dead, 2); /* dead units nearer the input stop nothing above them */
    assert_int_equal(cause_of(&c, BP_PROBLEM_VANISHING_GRADIENT), 0);
    chain_close(&c);
}

static void raw_inputs_explain_what_they_may(void **state) {
    (void)state;
    chain c;
    open_seen(&c);
    put(&c, BP_PROBLEM_INPUT_NOT_NORMALISED, 0, BP_WARNING);
    put(&c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, 90, BP_ERROR);
    assert_int_equal(cause_of(&c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH),
                     BP_PROBLEM_INPUT_NOT_NORMALISED);
    bp_finding_slot *dead = put(&c, BP_PROBLEM_DEAD_UNITS, 2, BP_ERROR);
    c.diagnosis->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH].exists = false;
    assert_int_equal(cause_of(&c, BP_PROBLEM_DEAD_UNITS), BP_PROBLEM_INPUT_NOT_NORMALISED);
    dead->finding.since_latest = -1; /* before there was an input */
    assert_int_equal(cause_of(&c, BP_PROBLEM_DEAD_UNITS), 0);
    chain_close(&c);
}

static void a_chain_of_three_has_one_root(void **state) {
    (void)state;
    chain c;
    open_seen(&c);
    bp_diagnosis *d = c.diagnosis;
    put(&c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, 10, BP_ERROR);
    put(&c, BP_PROBLEM_EXPLODING_GRADIENT, 10, BP_ERROR)->temporal = true;
    put(&c, BP_PROBLEM_DEAD_UNITS, 12, BP_ERROR);
    put(&c, BP_PROBLEM_PLATEAU, 40, BP_WARNING);
    bp_finding_sort(d);
    assert_int_equal(bp_diagnosis_n_findings(d), 4);
    uint32_t n_roots = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const bp_finding *f = &d->slots[d->order[i]].finding;
        assert_true(f->parent < (int32_t)i);
        n_roots += f->parent < 0;
    }
    assert_int_equal(n_roots, 1);
    assert_int_equal(d->order[0], BP_PROBLEM_LEARNING_RATE_TOO_HIGH);
    d->slots[BP_PROBLEM_EXPLODING_GRADIENT].temporal = false; /* over depth it has its own cause */
    assert_int_equal(bp_cause_of(d, BP_PROBLEM_EXPLODING_GRADIENT), 0);
    chain_close(&c);
}

static void bad_data_are_no_explosions_fault(void **state) {
    (void)state;
    chain c;
    open_seen(&c);
    put(&c, BP_PROBLEM_EXPLODING_GRADIENT, 10, BP_ERROR);
    chain_fill(&c, 100);
    bp_record_set(&c.record, BP_Q_ACTIVATION_NAN, 0, 5);
    bp_diagnosis_step(c.diagnosis, &c.record);
    assert_int_equal(cause_of(&c, BP_PROBLEM_NON_FINITE), 0);
    chain_close(&c);
}

static void short_steps_stall_full_precision_only(void **state) {
    (void)state;
    chain c;
    open_seen(&c);
    put(&c, BP_PROBLEM_LEARNING_RATE_TOO_LOW, 0, BP_ERROR);
    bp_finding_slot *stalled = put(&c, BP_PROBLEM_STALLED_UPDATE, 0, BP_ERROR);
    bp_finding_add_evidence(stalled, "precision", "", 1, 100, 8, true);
    assert_int_equal(cause_of(&c, BP_PROBLEM_STALLED_UPDATE), 0);
    stalled->evidence[0].value = 24;
    assert_int_equal(cause_of(&c, BP_PROBLEM_STALLED_UPDATE), BP_PROBLEM_LEARNING_RATE_TOO_LOW);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_chain_of_causes_leads_back),
        cmocka_unit_test(what_is_wrong_from_outside_is_a_root),
        cmocka_unit_test(symptoms_of_the_loss_explain_no_mechanism),
        cmocka_unit_test(a_plateau_hangs_under_what_holds),
        cmocka_unit_test(a_blocked_path_explains_what_lies_before_it),
        cmocka_unit_test(raw_inputs_explain_what_they_may),
        cmocka_unit_test(a_chain_of_three_has_one_root),
        cmocka_unit_test(bad_data_are_no_explosions_fault),
        cmocka_unit_test(short_steps_stall_full_precision_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
