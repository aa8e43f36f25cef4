/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the loss: healthy curves of all styles say nothing; spikes, standstill, oscillation
 * and a constant output are found, where and when they are. */
#include "curves.h"

#include <stdlib.h>

#define N_HEALTHY 1500

static void healthy_curves_say_nothing(void **state) {
    (void)state;
    uint32_t n_warnings = 0, n_hints = 0;
    for (uint64_t seed = 0; seed < N_HEALTHY; seed++) {
        curve_run run;
        chain c;
        curve_draw(&run, seed);
        curve_open(&c, &run);
        for (int64_t step = 0; step < run.steps; step++) curve_healthy_step(&c, &run, step);
        for (uint32_t i = 0; i < chain_n_findings(&c); i++) {
            const bp_finding *finding = bp_diagnosis_finding(c.diagnosis, i);
            if (finding->severity > BP_HINT)
                n_warnings++;
            else
                n_hints++;
            print_message("seed %u, %s %s: %s\n", (unsigned)seed,
                          bp_severity_name(finding->severity), bp_problem_name(finding->problem),
                          finding->title);
        }
        chain_close(&c);
    }
    print_message("%u healthy curves: %u warnings, %u hints\n", (unsigned)N_HEALTHY, n_warnings,
                  n_hints);
    assert_int_equal(n_warnings, 0);
    assert_true(n_hints * 100 <= N_HEALTHY);
}

/* --- spikes ----------------------------------------------------------------------------------- */

#define N_PLANTED 300

static void draw_quiet(curve_run *run, uint64_t seed) {
    curve_draw(run, seed);
    run->steps = (int64_t)curve_between_logs(run, 500, 3000);
    run->floor = run->trivial * curve_between_logs(run, 1e-3, 0.3);
    run->time = 0.05 * (double)run->steps;
    run->batch = pow(2, floor(curve_between(run, 3, 10)));
    run->schedule = CURVE_CONSTANT;
    run->warm_up = 0;
    run->epoch = 100;
    run->knows_trivial = true;
    run->is_sparse = false;
}

typedef struct spike {
    int64_t begin, length;
    double height; /* of the loss of guessing */
} spike;

/* The loss is up at once and comes down again in `length` steps; the gradient of layer 2 rises a
 * step before. */
static void spiked_step(chain *c, curve_run *run, const spike *fault, int64_t step) {
    const double since = (double)(step - fault->begin) / (double)fault->length;
    double loss = curve_loss(run, step);
    if (since >= 0 && since < 1) loss += fault->height * run->trivial * (1 - since);
    c->loss = loss;
    chain_fill(c, step);
    for (uint32_t id = 1; id <= 3; id++) {
        const bool risen = step >= fault->begin - (id == 2) && since < 1;
        bp_record_set(&c->record, BP_Q_GRADIENT_RMS, id,
                      (risen ? 10.0 * id : 1) * exp(0.1 * curve_normal(run)));
    }
    bp_record_set(&c->record, BP_Q_SAMPLES, 0, run->batch);
    bp_diagnosis_step(c->diagnosis, &c->record);
}

static void spikes_are_found_at_their_first_step(void **state) {
    (void)state;
    uint32_t n_found = 0, n_exact = 0, n_blamed = 0;
    for (uint64_t seed = 0; seed < N_PLANTED; seed++) {
        curve_run run;
        chain c;
        draw_quiet(&run, seed);
        const spike fault = {(int64_t)(curve_between(&run, 0.3, 0.8) * (double)run.steps),
                             (int64_t)curve_between_logs(&run, 15, 60),
                             curve_between_logs(&run, 0.7, 10)};
        curve_open(&c, &run);
        for (int64_t step = 0; step < run.steps; step++) spiked_step(&c, &run, &fault, step);
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_LOSS_SPIKE);
        if (finding) {
            n_found++;
            n_exact += labs((long)(finding->since_step - fault.begin)) <= 1;
            n_blamed += finding->n_layers == 1 && finding->layers[0] == 2;
            assert_false(finding->open);
            assert_int_equal(finding->severity, BP_HINT);
        } else {
            print_message("seed %u: not found (height %g, %d steps, batch %g)\n", (unsigned)seed,
                          fault.height, (int)fault.length, run.batch);
        }
        chain_close(&c);
    }
    print_message("spikes: %u of %u found, %u at their first step, %u with the right layer\n",
                  n_found, (unsigned)N_PLANTED, n_exact, n_blamed);
    assert_true(n_found * 100 >= N_PLANTED * 95);
    assert_true(n_exact * 100 >= n_found * 95);
    assert_true(n_blamed * 100 >= n_found * 95);
}

static void a_loss_that_stays_up_is_a_warning(void **state) {
    (void)state;
    curve_run run;
    chain c;
    draw_quiet(&run, 3);
    run.steps = 1000;
    run.time = 50;
    spike fault = {500, 100000, 1};
    curve_open(&c, &run);
    for (int64_t step = 0; step < 800; step++) spiked_step(&c, &run, &fault, step);
    const bp_finding *finding = chain_find(&c, BP_PROBLEM_LOSS_SPIKE);
    assert_int_equal(finding->severity, BP_WARNING);
    assert_true(finding->open);
    assert_int_equal(finding->since_step, 500);
    fault.length = 1; /* and it comes back after all */
    for (int64_t step = 800; step < 1000; step++) spiked_step(&c, &run, &fault, step);
    assert_int_equal(chain_find(&c, BP_PROBLEM_LOSS_SPIKE)->severity, BP_HINT);
    assert_false(chain_find(&c, BP_PROBLEM_LOSS_SPIKE)->open);
    chain_close(&c);
}

static void spikes_that_take_the_time_to_learn_are_a_warning(void **state) {
    (void)state;
    curve_run run;
    chain c;
    draw_quiet(&run, 4);
    curve_open(&c, &run);
    for (int64_t step = 0; step < 900; step++) {
        const spike fault = {step < 300 ? 100000 : step / 100 * 100, 40, 1};
        spiked_step(&c, &run, &fault, step);
    }
    const bp_finding *finding = chain_find(&c, BP_PROBLEM_LOSS_SPIKE);
    assert_int_equal(finding->severity, BP_WARNING);
    assert_true(bp_finding_evidence(finding, "spikes") >= 5);
    chain_close(&c);
}

static void a_restart_of_the_learning_rate_is_no_spike(void **state) {
    (void)state;
    for (int restarts = 0; restarts < 2; restarts++) {
        curve_run run;
        chain c;
        draw_quiet(&run, 5);
        run.has_accuracy = false;
        curve_open(&c, &run);
        for (int64_t step = 0; step < 600; step++) {
            double loss = curve_loss(&run, step);
            run.rate = restarts && step >= 400 ? 1 : 0.1;
            if (step >= 400) loss += run.trivial * exp(-(double)(step - 400) / 30);
            curve_step(&c, &run, step, loss, (double)NAN, (double)NAN);
        }
        if (restarts)
            assert_null(chain_find(&c, BP_PROBLEM_LOSS_SPIKE));
        else
            assert_non_null(chain_find(&c, BP_PROBLEM_LOSS_SPIKE));
        chain_close(&c);
    }
}

/* --- runs that do not get on ------------------------------------------------------------------ */

/* Losses about a level that is so many times that of guessing, from the given step on. */
static void stand(chain *c, curve_run *run, double level, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; step++)
        curve_step(c, run, step, curve_noisy(run, level * run->trivial, run->batch), (double)NAN,
                   (double)NAN);
}

static void a_loss_of_guessing_is_a_plateau(void **state) {
    (void)state;
    uint32_t n_found = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        curve_run run;
        chain c;
        draw_quiet(&run, seed);
        run.has_accuracy = true;
        run.is_sparse = seed % 3 == 0;
        run.noise = 0.3; /* of one sample at guessing: they are all alike */
        curve_open(&c, &run);
        stand(&c, &run, 1.4, 0, 10);
        stand(&c, &run, curve_between(&run, 0.98, 1.03), 10, 1200);
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_PLATEAU);
        if (finding) {
            n_found++;
            assert_int_equal(finding->severity, BP_ERROR);
            assert_int_equal(finding->since_step, 0);
            assert_true(finding->open);
        }
        chain_close(&c);
    }
    print_message("plateau: %u of 100 found\n", n_found);
    assert_true(n_found >= 97);
}

static void a_late_start_closes_the_plateau(void **state) {
    (void)state;
    curve_run run;
    chain c;
    draw_quiet(&run, 11);
    run.has_accuracy = true;
    run.noise = 0.3;
    curve_open(&c, &run);
    stand(&c, &run, 1, 0, 600);
    assert_int_equal(chain_find(&c, BP_PROBLEM_PLATEAU)->severity, BP_ERROR);
    for (int64_t step = 600; step < 1200; step++) {
        const double level = run.trivial * exp(-(double)(step - 600) / 100);
        curve_step(&c, &run, step, curve_noisy(&run, level, run.batch), (double)NAN, (double)NAN);
    }
    assert_int_equal(chain_find(&c, BP_PROBLEM_PLATEAU)->severity, BP_HINT);
    assert_false(chain_find(&c, BP_PROBLEM_PLATEAU)->open);
    chain_close(&c);
}

static void a_run_that_falls_back_to_guessing_is_a_plateau_since_then(void **state) {
    (void)state;
    curve_run run;
    chain c;
    draw_quiet(&run, 12);
    run.noise = 0.3;
    run.has_accuracy = true;
    curve_open(&c, &run);
    stand(&c, &run, 0.5, 0, 400);
    stand(&c, &run, 1, 400, 900);
    const bp_finding *finding = chain_find(&c, BP_PROBLEM_PLATEAU);
    assert_int_equal(finding->severity, BP_ERROR);
    assert_true(labs((long)(finding->since_step - 400)) <= 20);
    chain_close(&c);
}

/* Slowly, but it falls: by a fifteenth of the loss over the run. */
static void what_falls_slowly_is_no_plateau(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        curve_run run;
        chain c;
        draw_quiet(&run, seed);
        run.noise = 0.3;
        run.batch = 64;
        curve_open(&c, &run);
        for (int64_t step = 0; step < 1500; step++) {
            const double level = run.trivial * (1.03 - 0.07 * (double)step / 1500);
            curve_step(&c, &run, step, curve_noisy(&run, level, run.batch), (double)NAN,
                       (double)NAN);
        }
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_PLATEAU);
        assert_true(!finding || !finding->open);
        chain_close(&c);
    }
}

/* A loss with these cosines and updates: low and high in turns of `period` steps, or noisy. */
typedef struct bounce {
    double level, swing, fall; /* of the level over the run */
    double ratio, cosine;
} bounce;

static void bounce_run(chain *c, curve_run *run, const bounce *b) {
    for (uint32_t id = 1; id <= 3; id++) c->update_rms[id] = b->ratio * c->weight_rms[id];
    for (int64_t step = 0; step < 800; step++) {
        const double level = b->level * run->trivial * (1 - b->fall * (double)step / 800);
        c->loss = level * (1 + b->swing * (step % 2 ? 1 : -1) * curve_between(run, 0.5, 1));
        chain_fill(c, step);
        for (uint32_t id = 1; id <= 3; id++)
            bp_record_set(&c->record, BP_Q_GRADIENT_COSINE, id,
                          b->cosine + 0.1 * curve_normal(run));
        bp_record_set(&c->record, BP_Q_LEARNING_RATE, 0, 0.1);
        bp_diagnosis_step(c->diagnosis, &c->record);
    }
}

static void a_loss_that_bounces_high_is_oscillating(void **state) {
    (void)state;
    static const struct {
        bounce b;
        bool is_found;
    } cases[] = {
        {{0.6, 0.5, 0, 1e-3, -0.6}, true},    {{0.6, 0.5, 0, 0.3, 0}, true},
        {{0.6, 0.5, 0, 1e-3, 0}, false},      /* small batches do that */
        {{0.6, 0.5, 0.8, 1e-3, -0.6}, false}, /* the edge of stability: it comes down */
        {{0.6, 0.05, 0, 1e-3, -0.6}, false},  /* a wiggle */
        {{0.05, 0.5, 0, 1e-3, -0.6}, false},  /* nearly nothing is left to learn */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        curve_run run;
        chain c;
        draw_quiet(&run, 20 + i);
        curve_open(&c, &run);
        bounce_run(&c, &run, &cases[i].b);
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_OSCILLATING_LOSS);
        if (!!finding != cases[i].is_found) print_message("case %u\n", (unsigned)i);
        if (cases[i].is_found) {
            assert_non_null(finding);
            assert_int_equal(finding->severity, BP_WARNING);
        } else {
            assert_null(finding);
        }
        chain_close(&c);
    }
}

/* Down by `fall` of the loss of guessing over 1,000 steps. */
static const bp_finding *creep(chain *c, uint64_t seed, double fall, double cosine) {
    curve_run run;
    draw_quiet(&run, seed);
    curve_open(c, &run);
    for (int64_t step = 0; step < 1000; step++) {
        const double level = 1 - fall * (double)step / 1000;
        c->loss = run.trivial * level * (1 + 0.003 * curve_normal(&run));
        chain_fill(c, step);
        for (uint32_t id = 1; id <= 3; id++)
            bp_record_set(&c->record, BP_Q_GRADIENT_COSINE, id, cosine + 0.1 * curve_normal(&run));
        bp_record_set(&c->record, BP_Q_LEARNING_RATE, 0, 1e-5);
        bp_diagnosis_step(c->diagnosis, &c->record);
    }
    return chain_find(c, BP_PROBLEM_SLOW_CONVERGENCE);
}

static void a_fall_without_end_is_slow(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        chain c;
        const bp_finding *finding = creep(&c, seed, 0.01, 0.8);
        assert_non_null(finding);
        assert_int_equal(finding->severity, BP_WARNING);
        assert_true(bp_finding_evidence(finding, "steps_to_half") > 10000);
        chain_close(&c);
        assert_null(creep(&c, seed, 0.01, 0.2)); /* the steps are not what is short */
        chain_close(&c);
        assert_null(creep(&c, seed, 0.6, 0.8));
        chain_close(&c);
    }
}

/* --- the same prediction for every input ------------------------------------------------------ */

static void an_output_that_never_varies_is_an_error(void **state) {
    (void)state;
    static const struct {
        double output, input, level, target_min, precision;
        bp_severity severity; /* 0: not found */
    } cases[] = {
        {1e-5, 0.5, 1, 0, 24, BP_ERROR}, {1e-5, 0.5, 0.5, 0, 24, 0}, /* it learnt */
        {1e-2, 0.5, 1, 0, 24, 0},        {1e-5, 0.01, 1, 0, 24, 0},  /* so are the inputs */
        {1e-5, 0.5, 1, 0.99, 24, 0},     {5e-3, 0.5, 1, 0, 8, BP_ERROR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        curve_run run;
        chain c;
        draw_quiet(&run, 30);
        run.noise = 0.3;
        curve_open(&c, &run);
        c.variation[0] = cases[i].input;
        for (int64_t step = 0; step < 400; step++) {
            c.variation[3] = step < 50 ? 0.5 : cases[i].output;
            c.loss = curve_noisy(&run, cases[i].level * run.trivial, 64);
            chain_fill(&c, step);
            bp_record_set(&c.record, BP_Q_TARGET_MIN, 0, cases[i].target_min);
            bp_record_set(&c.record, BP_Q_TARGET_MAX, 0, 1);
            bp_record_set(&c.record, BP_Q_ACTIVATION_PRECISION, 3, cases[i].precision);
            bp_diagnosis_step(c.diagnosis, &c.record);
        }
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_CONSTANT_OUTPUT);
        if (cases[i].severity) {
            assert_non_null(finding);
            assert_int_equal(finding->severity, cases[i].severity);
            assert_int_equal(finding->since_step, 50);
            assert_int_equal(finding->layers[0], 3);
        } else {
            assert_null(finding);
        }
        chain_close(&c);
    }
}

static void a_low_accuracy_that_stands_is_underfitting(void **state) {
    (void)state;
    for (int good = 0; good < 2; good++) {
        curve_run run;
        chain c;
        draw_quiet(&run, 40);
        run.noise = 0.3;
        run.has_accuracy = true;
        curve_open(&c, &run);
        for (int64_t step = 0; step < 2000; step++) {
            c.loss = curve_noisy(&run, 0.85 * run.trivial, 64);
            chain_fill(&c, step);
            bp_record_set(&c.record, BP_Q_TRAIN_ACCURACY, 0, good ? 0.5 : 0.15);
            bp_record_set(&c.record, BP_Q_LEARNING_RATE, 0, 0.1);
            bp_diagnosis_step(c.diagnosis, &c.record);
        }
        const bp_finding *finding = chain_find(&c, BP_PROBLEM_UNDERFITTING);
        if (good)
            assert_null(finding);
        else
            assert_int_equal(finding->severity, BP_WARNING);
        chain_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy_curves_say_nothing),
        cmocka_unit_test(spikes_are_found_at_their_first_step),
        cmocka_unit_test(a_loss_that_stays_up_is_a_warning),
        cmocka_unit_test(spikes_that_take_the_time_to_learn_are_a_warning),
        cmocka_unit_test(a_restart_of_the_learning_rate_is_no_spike),
        cmocka_unit_test(a_loss_of_guessing_is_a_plateau),
        cmocka_unit_test(a_late_start_closes_the_plateau),
        cmocka_unit_test(a_run_that_falls_back_to_guessing_is_a_plateau_since_then),
        cmocka_unit_test(what_falls_slowly_is_no_plateau),
        cmocka_unit_test(a_loss_that_bounces_high_is_oscillating),
        cmocka_unit_test(a_fall_without_end_is_slow),
        cmocka_unit_test(an_output_that_never_varies_is_an_error),
        cmocka_unit_test(a_low_accuracy_that_stands_is_underfitting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
