/* SPDX-License-Identifier: Apache-2.0 */
/* symmetric-units, constant-init, zero-init: copies that stay copies, named by how weights began;
 * silence about zeros that an update ends. */
#include "chain.h"

typedef struct facts {
    double spread[CHAIN_MAX + 1];
    uint64_t distinct[CHAIN_MAX + 1], silent[CHAIN_MAX + 1], saturated[CHAIN_MAX + 1];
    double activation_rms[CHAIN_MAX + 1], gradient_rms[CHAIN_MAX + 1];
    double error_rms[CHAIN_MAX + 1]; /* NaN: the chain's */
} facts;

static facts now;

static void tell_units(const chain *c, bp_record *record) {
    bp_record_set(record, BP_Q_SAMPLES, 0, 64);
    for (uint32_t id = 1; id <= c->n_layers; id++) {
        bp_record_set(record, BP_Q_WEIGHT_SPREAD, id, now.spread[id]);
        bp_record_set(record, BP_Q_GRADIENT_RMS, id, now.gradient_rms[id]);
        bp_record_set(record, BP_Q_ACTIVATION_RMS, id, now.activation_rms[id]);
        bp_record_set(record, BP_Q_UNITS, id, CHAIN_UNITS);
        bp_record_set(record, BP_Q_DISTINCT_UNITS, id, (double)now.distinct[id]);
        bp_record_set(record, BP_Q_SILENT_UNITS, id, (double)now.silent[id]);
        bp_record_set(record, BP_Q_SATURATED_UNITS, id, (double)now.saturated[id]);
        if (!isnan(now.error_rms[id])) bp_record_set(record, BP_Q_ERROR_RMS, id, now.error_rms[id]);
    }
}

/* Of these problems: what other detectors say of such a run is their tests' matter. */
static int n_found(chain *c) {
    return (chain_find(c, BP_PROBLEM_SYMMETRIC_UNITS) != NULL) +
           (chain_find(c, BP_PROBLEM_CONSTANT_INIT) != NULL) +
           (chain_find(c, BP_PROBLEM_ZERO_INIT) != NULL);
}

static void open(chain *c, uint32_t n_layers, bp_activation activation) {
    chain_open(c, n_layers, activation, BP_NORM_NONE);
    memset(&now, 0, sizeof now);
    for (uint32_t id = 1; id <= n_layers; id++) {
        now.spread[id] = now.activation_rms[id] = 1;
        now.distinct[id] = CHAIN_UNITS;
        now.gradient_rms[id] = 0.01;
        now.error_rms[id] = (double)NAN;
    }
    c->more = tell_units;
}

static void different_units_are_healthy(void **state) {
    (void)state;
    chain c;
    open(&c, 5, BP_ACTIVATION_RELU);
    now.distinct[2] = 7; /* 57 are dead and count as one, 6 of 7 differ */
    now.silent[2] = 57;
    now.distinct[3] = 7; /* more than a tenth */
    chain_run(&c, 0, 100);
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

static void constant_weights(void **state) {
    (void)state;
    chain c;
    open(&c, 5, BP_ACTIVATION_TANH);
    for (uint32_t id = 2; id <= 3; id++) {
        now.spread[id] = 0;
        now.distinct[id] = 1;
    }
    c.loss = 2;
    chain_run(&c, 0, 2);
    for (uint32_t id = 2; id <= 3; id++) now.spread[id] = 0.1; /* by inputs, not by units */
    assert_int_equal(n_found(&c), 0); /* nothing is decided on the first two steps */
    chain_run(&c, 2, 3);
    const bp_finding *root = bp_diagnosis_finding(c.diagnosis, 0);
    assert_non_null(root);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_CONSTANT_INIT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->n_layers, 2);
    assert_int_equal(f->layers[0], 2);
    assert_string_equal(f->title, "layers 2, 3 of 5 start with weights that are all the same");
    chain_assert_says(f->cause, "of size 0.125: equal weights give equal outputs");
    chain_assert_says(f->cause, "the 64 units are copies");
    const bp_finding *symmetric = chain_find(&c, BP_PROBLEM_SYMMETRIC_UNITS);
    assert_non_null(symmetric);
    assert_int_equal(symmetric->severity, BP_ERROR);
    assert_int_equal(symmetric->since_step, 0);
    assert_string_equal(symmetric->title, "units of layers 2, 3 of 5 are copies of each other");
    chain_assert_says(symmetric->cause, "the 64 units of layer 2 (dense_2) give only 1 different "
                                        "output:");
    assert_null(chain_find(&c, BP_PROBLEM_ZERO_INIT));
    chain_close(&c);
}

/* They die together, and what they were before is the cause. */
static void copies_that_died(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.spread[1] = 0;
    now.distinct[1] = 1;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 2);
    now.silent[1] = CHAIN_UNITS;
    now.activation_rms[1] = 0;
    c.update_rms[1] = now.gradient_rms[1] = 0;
    chain_run(&c, 2, 40);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_CONSTANT_INIT);
    assert_non_null(f);
    assert_true(f->open);
    assert_int_equal(f->severity, BP_ERROR);
    chain_assert_says(f->cause, "the 64 units are copies");
    chain_close(&c);
}

/* Whose weights are not all the same: one update killed all of them, and one or two come and go. */
static void copied_rows_that_died(void **state) {
    (void)state;
    for (int late = 0; late < 2; late++) {
        chain c;
        open(&c, 4, BP_ACTIVATION_RELU);
        now.distinct[2] = 1;
        c.loss = CHAIN_TRIVIAL;
        chain_run(&c, 0, 1);
        if (late) now.distinct[2] = CHAIN_UNITS; /* they came apart, and died for another reason */
        chain_run(&c, 1, late ? 30 : 2);
        now.silent[2] = CHAIN_UNITS;
        now.distinct[2] = 1;
        c.activation_part[2] = 0;
        c.update_rms[2] = 0;
        chain_run(&c, late ? 30 : 2, 60);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_SYMMETRIC_UNITS);
        if (late) assert_null(f);
        if (!late) {
            assert_non_null(f);
            assert_int_equal(f->severity, BP_ERROR);
            assert_int_equal(f->since_step, 0);
        }
        chain_close(&c);
    }
}

/* Constants that saturate are equal to the last bit, too: for those it is no excuse. */
static void constants_that_saturate(void **state) {
    (void)state;
    for (int began_equal = 0; began_equal < 2; began_equal++) {
        chain c;
        open(&c, 4, BP_ACTIVATION_TANH);
        now.spread[2] = began_equal ? 0 : 1;
        now.distinct[2] = 1;
        now.saturated[2] = CHAIN_UNITS;
        c.variation[2] = 0;
        c.update_rms[2] = 0; /* and nothing moves them */
        chain_run(&c, 0, 30);
        assert_int_equal(n_found(&c), began_equal ? 2 : 0);
        chain_close(&c);
    }
}

/* Rows that are copies although the weights are not all the same: no initialiser is to blame. */
static void copied_rows(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.distinct[2] = 6;
    chain_run(&c, 0, 60);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_SYMMETRIC_UNITS);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_WARNING); /* six are more than one */
    assert_int_equal(n_found(&c), 1);
    now.distinct[2] = CHAIN_UNITS;
    chain_run(&c, 60, 61);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_close(&c);
}

/* 57 are dead and count as one, the other seven are copies of each other. */
static void copies_beside_dead_units(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.distinct[2] = 2;
    now.silent[2] = 57;
    chain_run(&c, 0, 30);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_SYMMETRIC_UNITS);
    assert_non_null(f);
    chain_assert_says(f->cause, "the 7 units of layer 2 (dense_2) give only 1 different output:");
    chain_close(&c);
}

static void what_is_learnt_all_the_same_is_a_warning(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_RELU);
    now.distinct[2] = 1;
    c.loss = 0.01;
    chain_run(&c, 0, 60);
    assert_int_equal(chain_find(&c, BP_PROBLEM_SYMMETRIC_UNITS)->severity, BP_WARNING);
    chain_close(&c);
}

/* Equal outputs that say nothing about weights. */
static void other_equal_outputs(void **state) {
    (void)state;
    for (int why = 0; why < 5; why++) {
        chain c;
        open(&c, 4, BP_ACTIVATION_TANH);
        now.distinct[2] = 1;
        if (why == 0) c.variation[2] = 0;        /* the same for every sample */
        if (why == 1) now.activation_rms[2] = 0; /* nothing */
        if (why == 2) now.saturated[2] = 60;     /* at their ends, to the last bit */
        if (why == 3) c.update_rms[2] = 0;       /* not trained yet */
        if (why == 4)
            now.distinct[2] = CHAIN_UNITS, now.distinct[4] = 1; /* outputs, unused classes */
        chain_run(&c, 0, 60);
        assert_int_equal(n_found(&c), 0);
        chain_close(&c);
    }
}

/* --- zeros ------------------------------------------------------------------------------------ */

static void zeros(chain *c, uint32_t layer) {
    c->weight_rms[layer] = 0;
    c->update_rms[layer] = 0;
    now.spread[layer] = 0;
    now.gradient_rms[layer] = 0;
}

/* Its gradient is 0 at the first step only. */
static void zeros_that_an_update_ends(void **state) {
    (void)state;
    chain c;
    open(&c, 5, BP_ACTIVATION_RELU);
    zeros(&c, 5); /* the output layer: the last one before the loss gets a gradient at once */
    now.gradient_rms[5] = 0.1;
    zeros(&c, 3);
    chain_run(&c, 0, 1);
    c.update_rms[5] = c.update_rms[3] = 1e-3;
    chain_run(&c, 1, 2);
    c.weight_rms[5] = c.weight_rms[3] = 1e-3;
    now.spread[5] = now.spread[3] = 1;
    now.gradient_rms[3] = 0.1;
    chain_run(&c, 2, 100);
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

/* relu is flat at 0: what arrives does not get through. */
static void one_layer_of_relu(void **state) {
    (void)state;
    chain c;
    open(&c, 5, BP_ACTIVATION_RELU);
    zeros(&c, 3);
    now.distinct[3] = 1;
    now.activation_rms[3] = 0;
    c.activation_part[3] = 0;
    now.silent[3] = CHAIN_UNITS;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 4);
    assert_int_equal(n_found(&c), 0);
    chain_run(&c, 4, 5);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_ZERO_INIT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 3);
    assert_string_equal(f->title, "layer 3 of 5 starts with weights that are all 0");
    chain_assert_says(f->cause, "exactly 0, so nothing can move them");
    chain_close(&c);
}

/* What is above gets nothing but its biases, and stops the error signal in its turn. */
static void zeros_below_other_dead_layers(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_RELU);
    zeros(&c, 3);
    for (uint32_t id = 3; id < 6; id++) now.activation_rms[id] = 0;
    for (uint32_t id = 1; id < 5; id++) now.error_rms[id] = 0;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 10);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_ZERO_INIT);
    assert_non_null(f);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 3);
    chain_close(&c);
}

/* Ends of branches, begun as zeros, behind a layer that is dead for another reason. */
static void zeros_behind_a_dead_layer(void **state) {
    (void)state;
    chain c;
    open(&c, 6, BP_ACTIVATION_TANH);
    zeros(&c, 3);
    zeros(&c, 5);
    for (uint32_t id = 2; id < 6; id++) now.activation_rms[id] = 0;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 30);
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

static void all_zeros(void **state) {
    (void)state;
    chain c;
    open(&c, 4, BP_ACTIVATION_TANH);
    for (uint32_t id = 1; id <= 4; id++) {
        zeros(&c, id);
        now.distinct[id] = 1;
        now.activation_rms[id] = 0;
        if (id < 4) now.error_rms[id] = 0;
    }
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 30);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_ZERO_INIT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->n_layers, 4);
    chain_close(&c);
}

/* With sigmoid the output layer moves, by the same amount for each unit. */
static void zeros_of_sigmoid_become_copies(void **state) {
    (void)state;
    chain c;
    open(&c, 3, BP_ACTIVATION_SIGMOID);
    for (uint32_t id = 1; id <= 3; id++) {
        zeros(&c, id);
        now.distinct[id] = id < 3 ? 1 : CHAIN_UNITS;
    }
    chain_run(&c, 0, 2);
    for (uint32_t id = 1; id <= 3; id++) {
        c.weight_rms[id] = c.update_rms[id] = now.gradient_rms[id] = 1e-3;
        now.spread[id] = 0.5;
    }
    chain_run(&c, 2, 30);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_ZERO_INIT);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->n_layers, 3);
    chain_assert_says(f->cause, "the 64 units are copies");
    assert_non_null(chain_find(&c, BP_PROBLEM_SYMMETRIC_UNITS));
    chain_close(&c);
}

/* One layer of zeros that gets nothing because something else is dead is not to blame. */
static void zeros_cut_off_by_others(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        chain c;
        open(&c, 5, BP_ACTIVATION_TANH);
        const uint32_t layer = way == 0 ? 5 : 3;
        zeros(&c, layer);
        if (way == 1) now.error_rms[3] = 0;
        if (way == 2) { /* a rate that is 0 alone keeps it so */
            now.gradient_rms[3] = 0.1;
            now.activation_rms[3] = 0;
        }
        chain_run(&c, 0, 60);
        assert_int_equal(n_found(&c), 0);
        chain_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(different_units_are_healthy),
        cmocka_unit_test(constant_weights),
        cmocka_unit_test(copies_that_died),
        cmocka_unit_test(copied_rows_that_died),
        cmocka_unit_test(constants_that_saturate),
        cmocka_unit_test(copied_rows),
        cmocka_unit_test(copies_beside_dead_units),
        cmocka_unit_test(what_is_learnt_all_the_same_is_a_warning),
        cmocka_unit_test(other_equal_outputs),
        cmocka_unit_test(zeros_that_an_update_ends),
        cmocka_unit_test(one_layer_of_relu),
        cmocka_unit_test(zeros_below_other_dead_layers),
        cmocka_unit_test(zeros_behind_a_dead_layer),
        cmocka_unit_test(all_zeros),
        cmocka_unit_test(zeros_of_sigmoid_become_copies),
        cmocka_unit_test(zeros_cut_off_by_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
