/* SPDX-License-Identifier: Apache-2.0 */
/* vanishing-gradient and exploding-gradient through time: inside a recurrent layer, and only where
 * nothing is learnt. */
#include "chain.h"

static double ratio[CHAIN_MAX + 1]; /* NaN: not told */

static void tell_ratios(const chain *c, bp_record *record) {
    for (uint32_t id = 1; id < c->n_layers; id++)
        if (!isnan(ratio[id])) bp_record_set(record, BP_Q_ERROR_THROUGH_TIME, id, ratio[id]);
}

static void open(chain *c, uint32_t n_layers, double loss) {
    chain_open_of(c, n_layers, BP_LAYER_RNN, BP_ACTIVATION_TANH, BP_NORM_NONE);
    for (uint32_t id = 0; id <= CHAIN_MAX; id++) ratio[id] = 1;
    c->loss = loss;
    c->more = tell_ratios;
}

static const bp_finding *vanishing(chain *c) {
    return chain_find(c, BP_PROBLEM_VANISHING_GRADIENT);
}

static void nothing_is_learnt_and_nothing_arrives(void **state) {
    (void)state;
    chain c;
    open(&c, 3, CHAIN_TRIVIAL);
    ratio[1] = 1e-6;
    chain_run(&c, 0, 200);
    assert_null(vanishing(&c)); /* too early to tell */
    chain_run(&c, 200, 201);
    const bp_finding *f = vanishing(&c);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 1);
    assert_int_equal(f->n_gains, 0);
    assert_true(bp_finding_evidence(f, "error_through_time") == 1e-6);
    assert_true(bp_finding_evidence(f, "through_time") == 1);
    /* 64 steps; the ends are 6 long: 1e-6^(1/58) */
    assert_true(fabs(bp_finding_evidence(f, "gain_per_time_step") - 0.788) < 0.001);
    assert_string_equal(f->title, "layer 1 of 3 does not learn from early time steps");
    chain_assert_says(f->cause, "is \xc3\x97"
                                "1e-6 of that at the last ones");
    chain_assert_says(f->cause, "dh_t/dh_(t-1), here U' diag(phi'(z_t)), at every step back, about "
                                "0.79 each over 64 steps");
    chain_assert_says(f->cause, "stays at 2.3, where guessing is 2.3");
    chain_close(&c);
}

/* Either alone is none: an LSTM that vanishes and learns, and a rate that is too low. */
static void either_alone(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        chain c;
        open(&c, 3, way == 0 ? 0.9 * CHAIN_TRIVIAL : CHAIN_TRIVIAL);
        ratio[1] = way == 1 ? 2e-3 : 1e-6;
        if (way == 2) {
            bp_recipe recipe = *bp_model_recipe(c.model);
            recipe.unsupervised = true;
            bp_model_set_recipe(c.model, &recipe);
        }
        chain_run(&c, 0, 400);
        assert_null(vanishing(&c));
        chain_close(&c);
    }
}

static void it_began_later(void **state) {
    (void)state;
    chain c;
    open(&c, 4, CHAIN_TRIVIAL);
    chain_run(&c, 0, 300);
    ratio[1] = ratio[2] = 0; /* not a bit arrives */
    chain_run(&c, 300, 400);
    const bp_finding *f = vanishing(&c);
    assert_non_null(f);
    assert_int_equal(f->since_step, 300);
    assert_int_equal(f->n_layers, 2);
    assert_string_equal(f->title, "layers 1, 2 of 4 do not learn from early time steps");
    chain_close(&c);
}

/* Gates can open: what costs steps is no error, and what is on its way there is not told. */
static void gates_may_open(void **state) {
    (void)state;
    for (int opening = 0; opening < 2; opening++) {
        chain c;
        chain_open_of(&c, 3, BP_LAYER_GRU, BP_ACTIVATION_LINEAR, BP_NORM_NONE);
        c.loss = CHAIN_TRIVIAL;
        c.more = tell_ratios;
        for (uint32_t id = 0; id <= CHAIN_MAX; id++) ratio[id] = 1;
        ratio[1] = 1e-10;
        for (int64_t step = 0; step < 400; step++) {
            if (opening) ratio[1] *= 1.06;
            chain_step(&c, step);
        }
        const bp_finding *f = vanishing(&c);
        if (opening) assert_null(f);
        if (!opening) {
            assert_non_null(f);
            assert_int_equal(f->severity, BP_WARNING);
            chain_assert_says(f->cause, "here through the gates, at every step back");
            chain_assert_says(f->note, "gates may open yet");
        }
        chain_close(&c);
    }
}

/* Half of the records is not most of them. */
static void a_median_is_judged(void **state) {
    (void)state;
    chain c;
    open(&c, 3, CHAIN_TRIVIAL);
    for (int64_t step = 0; step < 300; step++) {
        ratio[1] = step % 2 ? 1e-6 : 0.5;
        chain_step(&c, step);
    }
    assert_null(vanishing(&c));
    chain_close(&c);
}

static void it_healed(void **state) {
    (void)state;
    chain c;
    open(&c, 3, CHAIN_TRIVIAL);
    ratio[1] = 1e-6;
    chain_run(&c, 0, 300);
    c.loss = 0.94 * CHAIN_TRIVIAL; /* a window that wavers */
    chain_run(&c, 300, 400);
    const bp_finding *f = vanishing(&c);
    assert_true(f->open);
    assert_int_equal(f->severity, BP_ERROR);
    c.loss = 0.5;
    chain_run(&c, 400, 600);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    assert_non_null(vanishing(&c));
    chain_assert_says(f->title, "did not learn from early time steps for a while");
    chain_close(&c);
}

/* Over depth it is the finding that it always was. */
static void depth_comes_first(void **state) {
    (void)state;
    chain c;
    open(&c, 20, CHAIN_TRIVIAL);
    chain_all_gains(&c, 0.3);
    chain_starve_below(&c, 18);
    ratio[1] = 1e-6;
    chain_run(&c, 0, 300);
    const bp_finding *f = vanishing(&c);
    assert_true(f->n_gains > 0);
    assert_true(f->n_layers > 10);
    assert_true(isnan(bp_finding_evidence(f, "through_time")));
    chain_close(&c);
}

static void explosion(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        chain c;
        open(&c, 3, way == 2 ? 1.5 : CHAIN_TRIVIAL);
        ratio[1] = way == 1 ? (double)INFINITY : 1e5; /* Inf: nothing at the end, padding */
        chain_run(&c, 0, 300);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_EXPLODING_GRADIENT);
        if (way > 0) assert_null(f);
        if (way == 0) {
            assert_non_null(f);
            assert_int_equal(f->severity, BP_ERROR);
            assert_true(f->open);
            chain_assert_says(f->title, "layer 1 of 3 gets gradients grown beyond");
            chain_assert_says(f->cause, "about 1.2 each over 64 steps");
        }
        chain_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_learnt_and_nothing_arrives),
        cmocka_unit_test(either_alone),
        cmocka_unit_test(it_began_later),
        cmocka_unit_test(gates_may_open),
        cmocka_unit_test(a_median_is_judged),
        cmocka_unit_test(it_healed),
        cmocka_unit_test(depth_comes_first),
        cmocka_unit_test(explosion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
