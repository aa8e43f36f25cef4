/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that are too long or too short, updates that are rounded away, layers that are left behind;
 * and what looks like each of them. */
#include "chain.h"

typedef struct rated {
    chain c;
    double cosine;    /* of successive gradients, all layers; NaN: not told */
    double lr;        /* NaN: not told */
    double stalled;   /* share of weights that did not move, in layers 1 and 2; NaN: not told */
    double precision; /* of the weights */
    int64_t total;    /* steps of the run, 0 unknown */
} rated;

static void rated_open(rated *r) {
    memset(r, 0, sizeof *r);
    chain_open(&r->c, 6, BP_ACTIVATION_RELU, BP_NORM_NONE);
    r->cosine = r->lr = r->stalled = (double)NAN;
    r->precision = 24;
}

static void of_total(rated *r, int64_t epochs) {
    bp_recipe recipe = *bp_model_recipe(r->c.model);
    recipe.epochs = epochs;
    bp_model_set_recipe(r->c.model, &recipe);
}

static void all_move_by(rated *r, double ratio) {
    for (uint32_t i = 1; i <= r->c.n_layers; i++) r->c.update_rms[i] = ratio * r->c.weight_rms[i];
}

static void rated_step(rated *r, int64_t step) {
    chain *c = &r->c;
    chain_fill(c, step);
    if (!isnan(r->lr)) bp_record_set(&c->record, BP_Q_LEARNING_RATE, 0, r->lr);
    for (uint32_t id = 1; id <= c->n_layers; id++) {
        if (!isnan(r->cosine)) bp_record_set(&c->record, BP_Q_GRADIENT_COSINE, id, r->cosine);
        if (isnan(r->stalled)) continue;
        bp_record_set(&c->record, BP_Q_PARAMETERS, id, 4160);
        bp_record_set(&c->record, BP_Q_STALLED, id, id <= 2 ? floor(4160 * r->stalled) : 3);
        bp_record_set(&c->record, BP_Q_PARAMETER_PRECISION, id, r->precision);
    }
    bp_diagnosis_step(c->diagnosis, &c->record);
}

static void rated_run(rated *r, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; step++) rated_step(r, step);
}

static void expect(rated *r, bp_problem problem, bp_severity severity) {
    const bp_finding *f = chain_find(&r->c, problem);
    assert_non_null(f);
    assert_int_equal(f->severity, severity);
    assert_true(strlen(f->title) > 20 && strlen(f->cause) > 20);
}

/* --- too high ----------------------------------------------------------------------------------
 */

static void throw_at(rated *r, int64_t step, double ratio, double loss, double after) {
    all_move_by(r, ratio);
    rated_step(r, step);
    all_move_by(r, 1e-3);
    r->c.loss = loss;
    rated_run(r, step + 1, step + 4);
    r->c.loss = after;
}

static void a_loss_that_a_long_step_threw_and_that_stays_away(void **state) {
    (void)state;
    static const struct {
        double ratio, loss, after;
        bp_severity severity;
    } cases[] = {
        {0.4, 40, 2.3, BP_ERROR}, {0.4, 40, 1.6, BP_WARNING}, {0.4, 40, 0.9, 0}, /* forgotten */
        {0.4, 4, 2.3, 0},                                                        /* not thrown */
        {0.02, 40, 2.3, 0},                                                      /* no long step */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rated r;
        rated_open(&r);
        r.c.loss = 2.4;
        throw_at(&r, 0, cases[i].ratio, cases[i].loss, cases[i].after);
        rated_run(&r, 4, 120);
        if (cases[i].severity) {
            expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, cases[i].severity);
            assert_int_equal(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH)->since_step, 0);
        } else {
            assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
        }
        chain_close(&r.c);
    }
}

static void a_late_throw_counts_when_what_was_reached_is_lost(void **state) {
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        rated r;
        rated_open(&r);
        r.c.loss = 1.4;
        rated_run(&r, 0, 100);
        throw_at(&r, 100, 0.5, 60, lost ? 2 : 1.4);
        rated_run(&r, 104, 220);
        if (lost)
            expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, BP_WARNING);
        else
            assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
        chain_close(&r.c);
    }
}

static void a_throw_that_was_made_good_is_a_closed_hint(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    r.c.loss = 2.4;
    throw_at(&r, 0, 0.4, 40, 1.6);
    rated_run(&r, 4, 120);
    expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, BP_WARNING);
    r.c.loss = 0.1;
    rated_run(&r, 120, 260);
    expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, BP_HINT);
    assert_false(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH)->open);
    chain_close(&r.c);
}

static void divergence_is_the_rates_fault_and_the_explosion_its_consequence(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    rated_run(&r, 0, 3);
    all_move_by(&r, 40);
    rated_step(&r, 3);
    r.c.loss = 1e4;
    rated_run(&r, 4, 40);
    const bp_finding *root = bp_diagnosis_finding(r.c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_LEARNING_RATE_TOO_HIGH);
    assert_int_equal(root->severity, BP_ERROR);
    assert_int_equal(root->since_step, 3);
    assert_true(bp_finding_evidence(root, "over_steps") > 0);
    assert_true(fabs(bp_finding_evidence(root, "update_ratio") - 40) < 0.1);
    const bp_finding *explosion = chain_find(&r.c, BP_PROBLEM_EXPLODING_GRADIENT);
    assert_int_equal(explosion->parent, 0);
    assert_int_equal(root->n_layers, explosion->n_layers);
    assert_null(strstr(explosion->cause, "times their size")); /* the root has said it */
    chain_close(&r.c);
}

/* The loss was thrown in the step itself: what went in did it, and the long step followed. */
static void a_bad_batch_is_not_the_rates_fault(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    rated_run(&r, 0, 50);
    all_move_by(&r, 40);
    r.c.loss = 1e3;
    rated_step(&r, 50);
    r.c.loss = 1e4;
    rated_run(&r, 51, 90);
    assert_non_null(chain_find(&r.c, BP_PROBLEM_EXPLODING_GRADIENT));
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
    chain_close(&r.c);
}

/* Depth was well at the first step; long steps have made the weights so that it is not. */
static void growth_over_depth_that_steps_have_made(void **state) {
    (void)state;
    for (int well = 0; well < 2; well++) {
        rated r;
        rated_open(&r);
        if (!well) chain_all_gains(&r.c, 3); /* x200 over depth from the start */
        all_move_by(&r, 0.3);
        rated_run(&r, 0, 3);
        chain_all_gains(&r.c, 20);
        r.c.loss = 1e5;
        rated_run(&r, 3, 10);
        assert_non_null(chain_find(&r.c, BP_PROBLEM_EXPLODING_GRADIENT));
        const bp_finding *f = chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH);
        assert_int_equal(f != NULL, well);
        if (f) assert_int_equal(f->since_step, 0);
        if (f) assert_int_equal(chain_find(&r.c, BP_PROBLEM_EXPLODING_GRADIENT)->parent, 0);
        chain_close(&r.c);
    }
}

static void units_that_the_first_steps_killed(void **state) {
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        rated r;
        rated_open(&r);
        all_move_by(&r, killed ? 0.4 : 1e-3);
        r.c.loss = 2.4;
        rated_run(&r, 0, 3);
        r.c.gain[5] = 1e-9; /* nothing gets past it any more; the loss never showed it */
        chain_starve_below(&r.c, 5);
        all_move_by(&r, 1e-5);
        rated_run(&r, 3, 120);
        assert_non_null(chain_find(&r.c, BP_PROBLEM_VANISHING_GRADIENT));
        if (killed)
            expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, BP_ERROR);
        else
            assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
        chain_close(&r.c);
    }
}

static void weights_that_began_too_large_are_not_the_rates_fault(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    r.c.weight_rms[1] = 60 * sqrt(2.0 / 64); /* the first layer's gain is in no profile */
    all_move_by(&r, 5);
    rated_run(&r, 0, 2);
    r.c.loss = 1e5;
    rated_run(&r, 2, 40);
    const bp_finding *root = bp_diagnosis_finding(r.c.diagnosis, 0);
    assert_int_equal(root->problem, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    assert_int_equal(root->n_layers, 1);
    assert_int_equal(root->layers[0], 1);
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
    chain_close(&r.c);
}

/* An output that is pinned to its limit passes nothing on: longer steps would not help. */
static void a_saturated_output_is_not_a_low_rate(void **state) {
    (void)state;
    for (int saturated = 0; saturated < 2; saturated++) {
        rated r;
        rated_open(&r);
        of_total(&r, 10);
        all_move_by(&r, 1e-6);
        r.cosine = 0.7;
        r.c.loss = 2.4;
        if (saturated) r.c.activation_part[r.c.n_layers] = 0.001;
        rated_run(&r, 0, 100);
        assert_int_equal(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW) == NULL, saturated);
        chain_close(&r.c);
    }
}

static void what_would_end_worse_than_guessing(void **state) {
    (void)state;
    for (int healthy = 0; healthy < 2; healthy++) {
        rated r;
        rated_open(&r);
        of_total(&r, 10);
        all_move_by(&r, 1e-4);
        r.cosine = 0.6;
        for (int64_t step = 0; step < 100; step++) {
            r.c.loss = 2.9 - (healthy ? 2e-3 : 2e-4) * (double)step;
            rated_step(&r, step);
        }
        assert_int_equal(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW) == NULL, healthy);
        chain_close(&r.c);
    }
}

static void growth_over_depth_is_not_the_rates_fault(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    chain_all_gains(&r.c, 20);
    all_move_by(&r, 5);
    r.c.loss = 1e5;
    rated_run(&r, 0, 40);
    assert_non_null(chain_find(&r.c, BP_PROBLEM_EXPLODING_GRADIENT));
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
    chain_close(&r.c);
}

static void growth_through_time_is_not_the_rates_fault(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    rated_run(&r, 0, 3);
    all_move_by(&r, 40);
    for (int64_t step = 3; step < 40; step++) {
        chain_fill(&r.c, step);
        bp_record_set(&r.c.record, BP_Q_ERROR_THROUGH_TIME, 2, 1e4);
        bp_diagnosis_step(r.c.diagnosis, &r.c.record);
        r.c.loss = 1e4;
    }
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
    chain_close(&r.c);
}

static void gradients_that_turn_back_while_nothing_is_gained(void **state) {
    (void)state;
    for (int healthy = 0; healthy < 4; healthy++) {
        rated r;
        rated_open(&r);
        all_move_by(&r, healthy == 3 ? 1e-3 : 0.05);
        r.cosine = healthy == 2 ? 0 : -0.4;
        for (int64_t step = 0; step < 300; step++) {
            r.c.loss = healthy == 1 ? 1.6 * exp(-(double)step / 300) : 1.2; /* edge of stability */
            rated_step(&r, step);
        }
        if (healthy)
            assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
        else
            expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, BP_WARNING);
        chain_close(&r.c);
    }
}

static void weights_before_a_norm_may_take_any_step(void **state) {
    (void)state;
    rated r;
    memset(&r, 0, sizeof r);
    chain_open(&r.c, 6, BP_ACTIVATION_RELU, BP_NORM_BATCH);
    r.lr = r.stalled = (double)NAN;
    r.cosine = -0.4;
    for (uint32_t i = 1; i < 6; i++) r.c.update_rms[i] = 0.3;
    r.c.loss = 40;
    rated_run(&r, 0, 3);
    r.c.loss = 1.5;
    rated_run(&r, 3, 200);
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_HIGH));
    chain_close(&r.c);
}

/* --- too low -----------------------------------------------------------------------------------
 */

static void steady_gradients_and_weights_that_hardly_move(void **state) {
    (void)state;
    static const struct {
        double ratio, cosine, loss;
        bp_severity severity;
    } cases[] = {
        {1e-6, 0.7, 2.3, BP_ERROR}, {1e-6, 0.7, 1.8, BP_WARNING},
        {1e-6, 0.2, 2.3, BP_ERROR}, {1e-6, 0.02, 2.3, 0}, /* noise: there is nothing to gain */
        {1e-3, 0.7, 2.3, 0},                              /* the steps are usual */
        {1e-4, 0.2, 2.3, 0},        {1e-6, 0.7, 0.9, 0},  /* most is learnt: fine-tuning */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rated r;
        rated_open(&r);
        of_total(&r, 10);
        all_move_by(&r, cases[i].ratio);
        r.cosine = cases[i].cosine;
        r.c.loss = cases[i].loss;
        rated_run(&r, 0, 100);
        if (cases[i].severity)
            expect(&r, BP_PROBLEM_LEARNING_RATE_TOO_LOW, cases[i].severity);
        else
            assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW));
        chain_close(&r.c);
    }
}

static void a_long_run_may_take_short_steps(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    of_total(&r, 100000); /* 4 million steps */
    all_move_by(&r, 1e-6);
    r.cosine = 0.7;
    r.c.loss = 2.3;
    rated_run(&r, 0, 300);
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW));
    chain_close(&r.c);
}

static void warm_up_and_the_end_of_a_schedule_are_no_low_rates(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    of_total(&r, 10);
    r.cosine = 0.7;
    r.c.loss = 2.3;
    for (int64_t step = 0; step < 150; step++) { /* rising */
        r.lr = 1e-7 * (double)(step + 1);
        all_move_by(&r, r.lr);
        rated_step(&r, step);
    }
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW));
    chain_close(&r.c);
    rated_open(&r);
    of_total(&r, 10);
    r.cosine = 0.7;
    r.c.loss = 2.3;
    r.lr = 0.1;
    all_move_by(&r, 1e-3);
    rated_run(&r, 0, 60);
    r.lr = 1e-5;
    all_move_by(&r, 1e-7);
    rated_run(&r, 60, 300);
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW));
    chain_close(&r.c);
}

static void what_falls_fast_enough_is_not_too_slow(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    of_total(&r, 10);
    all_move_by(&r, 1e-5);
    r.cosine = 0.9;
    for (int64_t step = 0; step < 300; step++) {
        r.c.loss = 2.3 - 0.007 * (double)step;
        rated_step(&r, step);
    }
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW));
    chain_close(&r.c);
}

static void vanishing_is_not_a_low_rate(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    chain_all_gains(&r.c, 0.05);
    chain_starve_below(&r.c, 5);
    all_move_by(&r, 1e-6);
    r.cosine = 0.7;
    r.c.loss = 2.3;
    rated_run(&r, 0, 200);
    assert_non_null(chain_find(&r.c, BP_PROBLEM_VANISHING_GRADIENT));
    assert_null(chain_find(&r.c, BP_PROBLEM_LEARNING_RATE_TOO_LOW));
    chain_close(&r.c);
}

/* --- stalled -----------------------------------------------------------------------------------
 */

static void updates_that_are_rounded_away(void **state) {
    (void)state;
    static const struct {
        double stalled, loss;
        bp_severity severity;
    } cases[] = {{0.8, 2.3, BP_ERROR}, {0.8, 1.2, BP_WARNING}, {0.3, 2.3, 0}, {0.9, 0.1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rated r;
        rated_open(&r);
        r.stalled = cases[i].stalled;
        r.precision = 8;
        r.c.loss = cases[i].loss;
        rated_run(&r, 0, 100);
        if (cases[i].severity) {
            expect(&r, BP_PROBLEM_STALLED_UPDATE, cases[i].severity);
            const bp_finding *f = chain_find(&r.c, BP_PROBLEM_STALLED_UPDATE);
            assert_int_equal(f->n_layers, 2);
            assert_non_null(strstr(f->cause, "bfloat16"));
        } else {
            assert_null(chain_find(&r.c, BP_PROBLEM_STALLED_UPDATE));
        }
        chain_close(&r.c);
    }
}

static void stalled_weights_of_a_falling_loss_do_no_harm(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    r.stalled = 0.8;
    r.precision = 8;
    for (int64_t step = 0; step < 200; step++) {
        r.c.loss = 2.3 * exp(-(double)step / 150);
        rated_step(&r, step);
    }
    assert_null(chain_find(&r.c, BP_PROBLEM_STALLED_UPDATE));
    chain_close(&r.c);
}

/* --- imbalance ---------------------------------------------------------------------------------
 */

static void layers_of_one_kind_that_are_left_behind(void **state) {
    (void)state;
    for (int healthy = 0; healthy < 3; healthy++) {
        rated r;
        rated_open(&r);
        all_move_by(&r, 1e-2);
        r.c.update_rms[1] = (healthy == 2 ? 1e-4 : 1e-6) * r.c.weight_rms[1];
        if (healthy != 1) r.c.effect[1] = 1e-9; /* else it has its share of learning all the same */
        r.c.loss = 1.5;
        rated_run(&r, 0, 120);
        if (healthy) {
            assert_null(chain_find(&r.c, BP_PROBLEM_UPDATE_IMBALANCE));
        } else {
            expect(&r, BP_PROBLEM_UPDATE_IMBALANCE, BP_WARNING);
            assert_int_equal(chain_find(&r.c, BP_PROBLEM_UPDATE_IMBALANCE)->n_layers, 1);
            assert_int_equal(chain_find(&r.c, BP_PROBLEM_UPDATE_IMBALANCE)->layers[0], 1);
        }
        chain_close(&r.c);
    }
}

static void a_usual_run_is_silent(void **state) {
    (void)state;
    rated r;
    rated_open(&r);
    of_total(&r, 10);
    r.cosine = 0.1;
    r.lr = 0.1;
    r.stalled = 0.01;
    all_move_by(&r, 2e-3);
    for (int64_t step = 0; step < 400; step++) {
        r.c.loss = 0.3 + 2 * exp(-(double)step / 80);
        rated_step(&r, step);
    }
    assert_int_equal(chain_n_findings(&r.c), 0);
    chain_close(&r.c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_that_a_long_step_threw_and_that_stays_away),
        cmocka_unit_test(a_late_throw_counts_when_what_was_reached_is_lost),
        cmocka_unit_test(a_throw_that_was_made_good_is_a_closed_hint),
        cmocka_unit_test(divergence_is_the_rates_fault_and_the_explosion_its_consequence),
        cmocka_unit_test(a_bad_batch_is_not_the_rates_fault),
        cmocka_unit_test(growth_over_depth_that_steps_have_made),
        cmocka_unit_test(units_that_the_first_steps_killed),
        cmocka_unit_test(weights_that_began_too_large_are_not_the_rates_fault),
        cmocka_unit_test(a_saturated_output_is_not_a_low_rate),
        cmocka_unit_test(what_would_end_worse_than_guessing),
        cmocka_unit_test(growth_over_depth_is_not_the_rates_fault),
        cmocka_unit_test(growth_through_time_is_not_the_rates_fault),
        cmocka_unit_test(gradients_that_turn_back_while_nothing_is_gained),
        cmocka_unit_test(weights_before_a_norm_may_take_any_step),
        cmocka_unit_test(steady_gradients_and_weights_that_hardly_move),
        cmocka_unit_test(a_long_run_may_take_short_steps),
        cmocka_unit_test(warm_up_and_the_end_of_a_schedule_are_no_low_rates),
        cmocka_unit_test(what_falls_fast_enough_is_not_too_slow),
        cmocka_unit_test(vanishing_is_not_a_low_rate),
        cmocka_unit_test(updates_that_are_rounded_away),
        cmocka_unit_test(stalled_weights_of_a_falling_loss_do_no_harm),
        cmocka_unit_test(layers_of_one_kind_that_are_left_behind),
        cmocka_unit_test(a_usual_run_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
