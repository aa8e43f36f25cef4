/* SPDX-License-Identifier: Apache-2.0 */
/* What the validation set says: overfitting with its best step, overconfidence, memorising; and
 * when nothing is said. Healthy validation of all styles is in test_loss_shape.c. */
#include "curves.h"

#include <stdlib.h>

#define N_PLANTED 300

/* A run that has learnt most by a tenth of its steps, validated 20 to 200 times. */
static void draw_validated(curve_run *run, uint64_t seed) {
    curve_draw(run, seed);
    run->steps = (int64_t)curve_between_logs(run, 400, 4000);
    run->epoch = run->steps / (int64_t)curve_between(run, 10, 50);
    run->validation_every = run->steps / (int64_t)curve_between_logs(run, 20, 200);
    run->validation_samples = curve_between_logs(run, 300, 10000);
    run->floor = run->trivial * curve_between_logs(run, 1e-3, 0.3);
    run->gap = 1;
    run->power = 0;
    run->warm_up = 0;
    run->time = curve_between(run, 0.01, 0.03) * (double)run->steps;
}

typedef struct planted {
    int64_t onset;
    double worse; /* at the end, of what was won */
    bool in_loss, in_accuracy;
} planted;

/* How much of what was won is lost again at the step. */
static double lost(const curve_run *run, const planted *fault, int64_t step) {
    if (step <= fault->onset) return 0;
    return fault->worse * (double)(step - fault->onset) / (double)(run->steps - fault->onset);
}

static void planted_step(chain *c, curve_run *run, const planted *fault, int64_t step) {
    double loss = curve_loss(run, step);
    double validation[2] = {(double)NAN, (double)NAN};
    /* The training loss falls on, to a tenth of the floor. */
    loss *= pow(0.1, (double)step / (double)run->steps);
    if (curve_is_validated(run, step)) {
        const double part = lost(run, fault, step);
        validation[0] = curve_validation_loss(run, step);
        if (fault->in_loss) validation[0] += part * (run->trivial - run->floor);
        const double best = 1 - 0.5 * run->floor / run->trivial;
        const double won = (best - 0.1) * (1 - curve_level(run, (double)step));
        if (run->has_accuracy)
            validation[1] = curve_share(run, 0.1 + won * (1 - (fault->in_accuracy ? part : 0)));
    }
    curve_step(c, run, step, loss, validation[0], validation[1]);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void overfitting_is_found_with_its_best_step(void **state) {
    (void)state;
    uint32_t n_found = 0, n_covered = 0;
    double errors[N_PLANTED];
    for (uint64_t seed = 0; seed < N_PLANTED; seed++) {
        curve_run run;
        chain c;
        draw_validated(&run, seed);
        const planted fault = {(int64_t)(curve_between(&run, 0.15, 0.6) * (double)run.steps),
                               curve_between_logs(&run, 0.2, 1), true, true};
        run.time = 0.25 * (double)fault.onset; /* it learns until then */
        curve_open(&c, &run);
        for (int64_t step = 0; step < run.steps; step++) planted_step(&c, &run, &fault, step);
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_OVERFITTING);
        if (finding && finding->severity == BP_WARNING && finding->open) {
            errors[n_found++] =
                fabs((double)(finding->since_step - fault.onset)) / (double)run.steps;
            if (finding->since_earliest <= fault.onset + run.validation_every &&
                finding->since_latest >= fault.onset - run.validation_every)
                n_covered++;
        } else {
            print_message("seed %u: not found (worse by %g, noise of %g samples, accuracy %d)\n",
                          (unsigned)seed, fault.worse, run.validation_samples, run.has_accuracy);
        }
        chain_close(&c);
    }
    assert_true(n_found > 0);
    qsort(errors, n_found, sizeof *errors, compare);
    print_message("overfitting: %u of %u found, onset off by %.3f of the run (median), %.3f (90%%),"
                  " interval holds it in %u\n",
                  n_found, (unsigned)N_PLANTED, errors[n_found / 2], errors[n_found * 9 / 10],
                  n_covered);
    assert_true(n_found * 100 >= N_PLANTED * 97);
    assert_true(n_covered * 100 >= n_found * 90);
    assert_true(errors[n_found / 2] < 0.05 && errors[n_found * 9 / 10] < 0.15);
}

static void a_loss_that_rises_with_the_accuracy_held_is_overconfident(void **state) {
    (void)state;
    uint32_t n_found = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        curve_run run;
        chain c;
        draw_validated(&run, seed);
        run.has_accuracy = true;
        const planted fault = {run.steps / 3, 0.6, true, false};
        curve_open(&c, &run);
        for (int64_t step = 0; step < run.steps; step++) planted_step(&c, &run, &fault, step);
        assert_null(chain_find(&c, BP_PROBLEM_OVERFITTING));
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_OVERCONFIDENT);
        if (finding) {
            n_found++;
            assert_int_equal(finding->severity, BP_HINT);
            assert_true(finding->open);
        }
        chain_close(&c);
    }
    assert_true(n_found >= 95);
}

/* Validation stays where it is: at `level` of guessing, with that accuracy. The training loss goes
 * to a hundredth. */
static void stand_still(chain *c, uint64_t seed, double level, double accuracy) {
    curve_run run;
    draw_validated(&run, seed);
    run.has_accuracy = run.knows_trivial = true;
    run.floor = 0.01 * run.trivial;
    run.time = 0.2 * (double)run.steps;
    curve_open(c, &run);
    for (int64_t step = 0; step < run.steps; step++) {
        const double loss = curve_loss(&run, step);
        double validation[2] = {(double)NAN, (double)NAN};
        if (curve_is_validated(&run, step)) {
            validation[0] = run.trivial * level * (1 + 0.01 * curve_normal(&run));
            validation[1] = curve_share(&run, accuracy);
        }
        curve_step(c, &run, step, loss, validation[0], validation[1]);
    }
}

static void validation_that_stands_still_is_memorising(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        chain c;
        stand_still(&c, seed, 0.6, 0.5);
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_MEMORISING);
        assert_non_null(finding);
        assert_int_equal(finding->severity, BP_HINT);
        chain_close(&c);
        stand_still(&c, seed, 1.05, 0.1); /* no better than guessing */
        finding = chain_find(&c, BP_PROBLEM_MEMORISING);
        assert_non_null(finding);
        assert_int_equal(finding->severity, BP_WARNING);
        chain_close(&c);
        stand_still(&c, seed, 0.1, 0.97); /* good enough: every run ends so */
        assert_int_equal(chain_n_findings(&c), 0);
        chain_close(&c);
    }
}

/* The fault of every seed of these tests; what differs is said by the test. */
static void draw_plain(curve_run *run, planted *fault) {
    draw_validated(run, 7);
    run->steps = 1000;
    run->epoch = 50;
    run->validation_every = 25;
    run->has_accuracy = false;
    *fault = (planted){300, 0.5, true, true};
}

static void without_the_evidence_nothing_is_said(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        curve_run run;
        planted fault;
        chain c;
        draw_plain(&run, &fault);
        if (kind == 1) run.epoch = 1000;           /* each sample is seen once */
        if (kind == 2) run.validation_every = 250; /* four evaluations */
        curve_open(&c, &run);
        if (kind == 3) { /* an adversary's loss, say */
            bp_recipe recipe = *bp_model_recipe(c.model);
            recipe.unsupervised = true;
            bp_model_set_recipe(c.model, &recipe);
        }
        for (int64_t step = 0; step < run.steps; step++) planted_step(&c, &run, &fault, step);
        if (kind == 0)
            assert_non_null(chain_find(&c, BP_PROBLEM_OVERFITTING));
        else
            assert_null(chain_find(&c, BP_PROBLEM_OVERFITTING));
        chain_close(&c);
    }
}

static void what_diverges_is_not_overfitting(void **state) {
    (void)state;
    curve_run run;
    planted fault;
    chain c;
    draw_plain(&run, &fault);
    curve_open(&c, &run);
    for (int64_t step = 0; step < run.steps; step++) { /* the training loss rises as well */
        double validation = (double)NAN;
        const double risen = lost(&run, &fault, step) * run.trivial;
        const double loss = curve_loss(&run, step) + risen;
        if (curve_is_validated(&run, step)) validation = curve_validation_loss(&run, step) + risen;
        curve_step(&c, &run, step, loss, validation, (double)NAN);
    }
    assert_null(chain_find(&c, BP_PROBLEM_OVERFITTING));
    chain_close(&c);
}

static void the_overview_has_the_best_evaluation(void **state) {
    (void)state;
    chain c;
    bp_diagnosis_overview overview;
    curve_run run;
    draw_validated(&run, 3);
    curve_open(&c, &run);
    curve_step(&c, &run, 0, 2, (double)NAN, (double)NAN);
    bp_diagnosis_overview_of(c.diagnosis, &overview);
    assert_int_equal(overview.n_validations, 0);
    assert_true(isnan(overview.best_validation));
    curve_step(&c, &run, 1, 2, 1.5, (double)NAN);
    curve_step(&c, &run, 2, 2, 1.25, (double)NAN);
    curve_step(&c, &run, 3, 2, 1.75, (double)NAN);
    bp_diagnosis_overview_of(c.diagnosis, &overview);
    assert_int_equal(overview.n_validations, 3);
    assert_true(overview.best_validation == 1.25 && !overview.best_is_accuracy);
    assert_int_equal(overview.best_validation_step, 2);
    curve_step(&c, &run, 4, 2, 2, 0.5);
    curve_step(&c, &run, 5, 2, 2, 0.75);
    curve_step(&c, &run, 6, 2, 2, 0.625);
    bp_diagnosis_overview_of(c.diagnosis, &overview);
    assert_true(overview.best_validation == 0.75 && overview.best_is_accuracy);
    assert_int_equal(overview.best_validation_step, 5);
    chain_close(&c);
}

static void what_came_back_is_a_hint(void **state) {
    (void)state;
    curve_run run;
    planted fault;
    chain c;
    draw_plain(&run, &fault);
    curve_open(&c, &run);
    for (int64_t step = 0; step < 700; step++) planted_step(&c, &run, &fault, step);
    assert_int_equal(chain_find(&c, BP_PROBLEM_OVERFITTING)->severity, BP_WARNING);
    fault.worse = 0;
    for (int64_t step = 700; step < run.steps; step++) planted_step(&c, &run, &fault, step);
    const bp_finding *finding = chain_find(&c, BP_PROBLEM_OVERFITTING);
    assert_false(finding->open);
    assert_int_equal(finding->severity, BP_HINT);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overfitting_is_found_with_its_best_step),
        cmocka_unit_test(a_loss_that_rises_with_the_accuracy_held_is_overconfident),
        cmocka_unit_test(validation_that_stands_still_is_memorising),
        cmocka_unit_test(without_the_evidence_nothing_is_said),
        cmocka_unit_test(what_diverges_is_not_overfitting),
        cmocka_unit_test(what_came_back_is_a_hint),
        cmocka_unit_test(the_overview_has_the_best_evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
