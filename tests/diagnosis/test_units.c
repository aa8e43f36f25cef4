/* SPDX-License-Identifier: Apache-2.0 */
/* dead-units and saturated-units: how many of a layer, since which update, and silence about those
 * that a healthy network has. */
#include "chain.h"

/* What the records say of units, by layer. */
typedef struct facts {
    uint64_t silent[CHAIN_MAX + 1], dead[CHAIN_MAX + 1], saturated[CHAIN_MAX + 1];
    bool dead_told;
    bool cut_off[CHAIN_MAX + 1]; /* nothing comes back through the activation */
    uint64_t samples;
} facts;

static facts now;

static void tell_units(const chain *c, bp_record *record) {
    bp_record_set(record, BP_Q_SAMPLES, 0, (double)now.samples);
    bp_record_set(record, BP_Q_LEARNING_RATE, 0, 0.1);
    for (uint32_t id = 1; id < c->n_layers; id++) {
        const bp_layer *layer = bp_model_layer(c->model, id);
        bp_record_set(record, BP_Q_UNITS, id, CHAIN_UNITS);
        if (layer->activation == BP_ACTIVATION_TANH || layer->activation == BP_ACTIVATION_SIGMOID) {
            bp_record_set(record, BP_Q_SATURATED_UNITS, id, (double)now.saturated[id]);
            continue;
        }
        bp_record_set(record, BP_Q_SILENT_UNITS, id, (double)now.silent[id]);
        if (now.dead_told) bp_record_set(record, BP_Q_DEAD_UNITS, id, (double)now.dead[id]);
        if (now.cut_off[id]) bp_record_set(record, BP_Q_ERROR_PRE_ACTIVATION, id, 0);
        if (now.cut_off[id]) bp_record_set(record, BP_Q_GRADIENT_RMS, id, 0);
    }
}

/* Of these problems: what other detectors say of such a run is their tests' matter. */
static int n_found(chain *c) {
    return (chain_find(c, BP_PROBLEM_DEAD_UNITS) != NULL) +
           (chain_find(c, BP_PROBLEM_SATURATED_UNITS) != NULL);
}

static void open(chain *c, uint32_t n_layers, bp_activation activation) {
    memset(&now, 0, sizeof now);
    now.samples = 64;
    now.dead_told = true;
    chain_open(c, n_layers, activation, BP_NORM_NONE);
    c->more = tell_units;
}

static void silence(uint32_t layer, uint64_t units) {
    now.silent[layer] = now.dead[layer] = units;
}

static void sparse_activity_is_healthy(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_RELU);
    for (int64_t step = 0; step < 300; step++) {
        for (uint32_t id = 1; id < 6; id++) {
            now.silent[id] = 20 + (uint64_t)((step * 7 + id * 3) % 25); /* others in each batch */
            now.dead[id] = id + 1;                                      /* below a tenth */
        }
        chain_step(&c, step);
        assert_int_equal(n_found(&c), 0);
    }
    chain_close(&c);
}

static void a_part_of_a_layer_is_a_hint(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_RELU);
    chain_run(&c, 0, 40);
    silence(3, 20);
    chain_run(&c, 40, 100);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_HINT);
    assert_true(f->open);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 3);
    assert_int_equal(f->since_step, 40);
    assert_int_equal(f->since_earliest, 40);
    assert_int_equal(f->since_latest, 40);
    chain_assert_says(f->title, "31% of the units of layer 3 of 6 are dead");
    chain_assert_says(f->cause, "20 of 64 units of layer 3 (dense_3)");
    chain_assert_says(f->cause, "in 10000 samples: active in fewer than 0.0003 of them");
    chain_assert_says(f->cause, "since the update of step 39 (learning rate 0.1)");
    chain_assert_says(f->note, "does not show");
    silence(3, 0);
    chain_run(&c, 100, 101);
    assert_false(f->open);
    assert_int_equal(f->last_step, 99);
    chain_find(&c, BP_PROBLEM_DEAD_UNITS);
    chain_assert_says(f->note, "active again after step 99");
    chain_close(&c);
}

/* Half of a layer while the loss is high; most of it while it is middling; with nothing left to
 * learn it costs nothing. */
static void what_it_costs_shows_in_the_loss(void **state) {
    (void)state;
    static const struct {
        double loss;
        uint64_t dead;
        bp_severity severity;
    } cases[] = {{0.9, 31, BP_HINT},    {0.9, 33, BP_WARNING}, {0.3, 33, BP_HINT},
                 {0.3, 52, BP_WARNING}, {0.05, 52, BP_HINT},   {0.05, 31, (bp_severity)0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chain c;
        open(&c, 4, BP_ACTIVATION_GELU);
        c.loss = cases[i].loss * CHAIN_TRIVIAL;
        silence(2, cases[i].dead);
        chain_run(&c, 0, 60);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
        assert_int_equal(f ? f->severity : 0, cases[i].severity);
        if (f) chain_assert_says(f->cause, "in the first record already");
        chain_close(&c);
    }
}

/* Batches of 20: units are told of every two records, and died somewhere within. */
static void told_of_two_records(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    for (int64_t step = 0; step < 100; step++) {
        if (step == 41) silence(2, 40);
        c.more = step % 2 ? tell_units : NULL;
        chain_step(&c, step);
    }
    const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
    assert_non_null(f);
    assert_int_equal(f->since_step, 40);     /* told at 41 of 40 and 41 */
    assert_int_equal(f->since_earliest, 39); /* active in 38 or in 39 */
    assert_int_equal(f->since_latest, 40);
    chain_assert_says(f->cause, "since an update of steps 38 to 39");
    chain_close(&c);
}

static void neighbours_multiply(void **state) {
    (void)state;
    for (int n = 2; n <= 3; n++) {
        chain c;
        open(&c, 7, BP_ACTIVATION_SILU);
        for (int i = 0; i < n; i++) silence(2 + (uint32_t)i, 20);
        silence(6, 20);
        chain_run(&c, 0, 60);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
        assert_int_equal(f->severity, n == 3 ? BP_WARNING : BP_HINT);
        assert_int_equal(f->n_layers, n + 1);
        chain_close(&c);
    }
}

/* A tenth is told when one long update did it, not when units die one by one. */
static void a_long_update_is_an_event(void **state) {
    (void)state;
    for (int event = 0; event < 2; event++) {
        chain c;
        open(&c, 4, BP_ACTIVATION_RELU);
        chain_run(&c, 0, 39);
        if (event) c.update_rms[2] = 0.8 * c.weight_rms[2];
        c.loss = 1;
        chain_step(&c, 39);
        c.update_rms[2] = 1e-4;
        c.loss = 2.2;
        silence(2, 8);
        chain_run(&c, 40, 80);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
        if (!event) assert_null(f);
        if (event) {
            assert_non_null(f);
            assert_int_equal(f->severity, BP_HINT);
            chain_assert_says(f->cause, "step 39: it changed the layer's weights by 0.8 of their "
                                        "size (learning rate 0.1); the loss went from 1 to 2.2");
        }
        chain_close(&c);
    }
}

/* Long before N samples were seen: all silent, nothing comes back. */
static void a_whole_layer_is_told_at_once(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_RELU);
    now.dead_told = false;
    chain_run(&c, 0, 10);
    for (uint32_t id = 3; id < 6; id++) now.silent[id] = CHAIN_UNITS;
    now.cut_off[3] = now.cut_off[4] = true; /* layer 5 still has some way through */
    c.loss = CHAIN_TRIVIAL;
    c.update_rms[3] = 3 * c.weight_rms[3];
    chain_run(&c, 10, 14);
    assert_null(chain_find(&c, BP_PROBLEM_DEAD_UNITS));
    chain_run(&c, 14, 15);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 10);
    assert_int_equal(f->n_layers, 2);
    assert_int_equal(f->layers[0], 3);
    assert_int_equal(bp_finding_blamed_layer(f), 3);
    chain_assert_says(f->title, "all units of layer 3 of 6 are dead");
    chain_assert_says(f->cause, "64 of 64 units of layer 3 (dense_3) were not active once in 320");
    chain_assert_says(f->note, "nothing runs past layer 3");
    chain_close(&c);
}

/* Few samples a record: five records are not enough. */
static void small_batches_take_longer(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.dead_told = false;
    now.samples = 10;
    now.silent[2] = CHAIN_UNITS;
    now.cut_off[2] = true;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 19);
    assert_null(chain_find(&c, BP_PROBLEM_DEAD_UNITS));
    chain_run(&c, 19, 20);
    assert_int_equal(chain_find(&c, BP_PROBLEM_DEAD_UNITS)->severity, BP_ERROR);
    chain_close(&c);
}

/* All silent in these batches, and the error signal gets through: a batch without its kind. */
static void what_still_gets_through_is_not_dead(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.dead_told = false;
    now.silent[2] = CHAIN_UNITS;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 100);
    assert_null(chain_find(&c, BP_PROBLEM_DEAD_UNITS));
    chain_close(&c);
}

/* A loss well below guessing cannot be that of a network whose layer is dead. */
static void the_loss_contradicts(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.silent[2] = now.dead[2] = CHAIN_UNITS;
    now.cut_off[2] = true;
    c.loss = 0.5 * CHAIN_TRIVIAL;
    chain_run(&c, 0, 60);
    assert_int_equal(chain_find(&c, BP_PROBLEM_DEAD_UNITS)->severity, BP_WARNING);
    chain_close(&c);
}

/* Logs of older versions tell no units. */
static void nothing_told_is_nothing_found(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_RELU);
    c.more = NULL;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 60);
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

static void leaky_units_do_not_die(void **state) {
    (void)state;
    static const bp_activation others[] = {BP_ACTIVATION_LEAKY_RELU, BP_ACTIVATION_ELU,
                                           BP_ACTIVATION_SELU, BP_ACTIVATION_SOFTPLUS};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        chain c;
        open(&c, 4, others[i]);
        now.silent[2] = now.dead[2] = CHAIN_UNITS;
        now.cut_off[2] = true;
        chain_run(&c, 0, 60);
        assert_null(chain_find(&c, BP_PROBLEM_DEAD_UNITS));
        chain_close(&c);
    }
}

/* What comes in is nearly the same for every sample: each unit follows its bias. */
static void input_without_spread(void **state) {
    (void)state;
    for (int alike = 0; alike < 2; alike++) {
        chain c;
        open(&c, 6, BP_ACTIVATION_RELU);
        c.variation[3] = alike ? 0.05 : 0.5;
        silence(4, CHAIN_UNITS);
        now.cut_off[4] = true;
        c.loss = CHAIN_TRIVIAL;
        chain_run(&c, 0, 60);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_DEAD_UNITS);
        if (alike) assert_null(f);
        if (!alike) assert_non_null(f);
        chain_close(&c);
    }
}

/* --- saturated-units -------------------------------------------------------------------------- */

static void saturate(chain *c, uint32_t layer, uint64_t units, double passes) {
    now.saturated[layer] = units;
    c->activation_part[layer] = passes;
}

static void saturated_and_starving(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_TANH);
    chain_run(&c, 0, 30);
    saturate(&c, 3, 40, 0.02);
    c.update_rms[3] = 1e-4;
    chain_starve_below(&c, 4);
    chain_run(&c, 30, 200);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_SATURATED_UNITS);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_WARNING);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 3);
    assert_int_equal(f->since_step, 30);
    chain_assert_says(f->title, "62% of the units of layer 3 of 6 are saturated");
    chain_assert_says(f->cause, "tanh of layer 3 (dense_3) is at its ends");
    chain_assert_says(f->cause, "it passes on 0.02 of the error signal, where up to 1 would");
    chain_close(&c);
}

static void saturated_and_stuck(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_SIGMOID);
    saturate(&c, 1, 64, 0.001);
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 200);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_SATURATED_UNITS);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    chain_close(&c);
}

/* Each of the conditions is missing once. */
static void saturation_alone_is_none(void **state) {
    (void)state;
    for (int missing = 0; missing < 5; missing++) {
        chain c;
        open(&c, 6, BP_ACTIVATION_TANH);
        saturate(&c, 3, missing == 0 ? 30 : 40, missing == 1 ? 0.3 : 0.02);
        if (missing != 2) chain_starve_below(&c, 4);
        if (missing == 3) c.loss = 0.01;         /* nothing left to learn */
        if (missing == 4) c.variation[2] = 0.05; /* nothing comes in */
        chain_run(&c, 0, 200);
        assert_null(chain_find(&c, BP_PROBLEM_SATURATED_UNITS));
        chain_close(&c);
    }
}

static void the_output_may_be_saturated(void **state) {
    (void)state;
    for (int hidden = 0; hidden < 2; hidden++) {
        chain c;
        memset(&now, 0, sizeof now);
        chain_open_with(&c, 4, BP_LAYER_DENSE, BP_ACTIVATION_TANH, BP_NORM_NONE,
                        BP_ACTIVATION_TANH);
        const uint32_t layer = hidden ? 3 : 4;
        c.activation_part[layer] = 0.01;
        c.loss = CHAIN_TRIVIAL;
        for (int64_t step = 0; step < 200; step++) {
            chain_fill(&c, step);
            bp_record_set(&c.record, BP_Q_UNITS, layer, 64);
            bp_record_set(&c.record, BP_Q_SATURATED_UNITS, layer, 64);
            bp_diagnosis_step(c.diagnosis, &c.record);
        }
        assert_int_equal(chain_find(&c, BP_PROBLEM_SATURATED_UNITS) != NULL, hidden);
        chain_close(&c);
    }
}

static void it_is_over_when_it_learns_again(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_TANH);
    saturate(&c, 1, 64, 0.001);
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 100);
    saturate(&c, 1, 0, 0.8);
    c.loss = 0.5;
    chain_run(&c, 100, 300);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_SATURATED_UNITS);
    assert_non_null(f);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sparse_activity_is_healthy),
        cmocka_unit_test(a_part_of_a_layer_is_a_hint),
        cmocka_unit_test(what_it_costs_shows_in_the_loss),
        cmocka_unit_test(told_of_two_records),
        cmocka_unit_test(neighbours_multiply),
        cmocka_unit_test(a_long_update_is_an_event),
        cmocka_unit_test(a_whole_layer_is_told_at_once),
        cmocka_unit_test(small_batches_take_longer),
        cmocka_unit_test(what_still_gets_through_is_not_dead),
        cmocka_unit_test(the_loss_contradicts),
        cmocka_unit_test(nothing_told_is_nothing_found),
        cmocka_unit_test(leaky_units_do_not_die),
        cmocka_unit_test(input_without_spread),
        cmocka_unit_test(saturated_and_starving),
        cmocka_unit_test(saturated_and_stuck),
        cmocka_unit_test(saturation_alone_is_none),
        cmocka_unit_test(the_output_may_be_saturated),
        cmocka_unit_test(it_is_over_when_it_learns_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
