/* SPDX-License-Identifier: Apache-2.0 */
/* clip-to-zero, low-precision-underflow, low-precision-overflow: what the format does not hold, and
 * silence about what it does. */
#include "chain.h"

typedef struct facts {
    double unclipped, gradient_norm; /* NaN: not told */
    double tiny_error[CHAIN_MAX + 1], tiny_gradient[CHAIN_MAX + 1], error_rms[CHAIN_MAX + 1];
    uint64_t bits, parameter_bits; /* 0: not told */
    double loss_scale;
    double activation_max[CHAIN_MAX + 1];
} facts;

static facts now;

static void tell_formats(const chain *c, bp_record *record) {
    if (!isnan(now.unclipped)) bp_record_set(record, BP_Q_UNCLIPPED_NORM, 0, now.unclipped);
    if (!isnan(now.gradient_norm)) bp_record_set(record, BP_Q_GRADIENT_NORM, 0, now.gradient_norm);
    if (!isnan(now.loss_scale)) bp_record_set(record, BP_Q_LOSS_SCALE, 0, now.loss_scale);
    for (uint32_t id = 1; id <= c->n_layers; id++) {
        bp_record_set(record, BP_Q_ACTIVATION_MAX, id, now.activation_max[id]);
        if (now.bits) {
            bp_record_set(record, BP_Q_ACTIVATION_PRECISION, id, (double)now.bits);
            bp_record_set(record, BP_Q_ERROR_PRECISION, id, (double)now.bits);
            bp_record_set(record, BP_Q_ERROR_TINY, id, now.tiny_error[id]);
        }
        if (now.parameter_bits) {
            bp_record_set(record, BP_Q_PARAMETER_PRECISION, id, (double)now.parameter_bits);
            bp_record_set(record, BP_Q_GRADIENT_TINY, id, now.tiny_gradient[id]);
        }
        if (!isnan(now.error_rms[id])) bp_record_set(record, BP_Q_ERROR_RMS, id, now.error_rms[id]);
    }
}

/* Of these problems: what other detectors say of such a run is their tests' matter. */
static int n_found(chain *c) {
    return (chain_find(c, BP_PROBLEM_CLIP_TO_ZERO) != NULL) +
           (chain_find(c, BP_PROBLEM_LOW_PRECISION_UNDERFLOW) != NULL) +
           (chain_find(c, BP_PROBLEM_LOW_PRECISION_OVERFLOW) != NULL);
}

static void open(chain *c, uint32_t n_layers) {
    chain_open(c, n_layers, BP_ACTIVATION_TANH, BP_NORM_NONE);
    memset(&now, 0, sizeof now);
    now.unclipped = now.gradient_norm = now.loss_scale = (double)NAN;
    for (uint32_t id = 0; id <= CHAIN_MAX; id++) {
        now.error_rms[id] = (double)NAN;
        now.activation_max[id] = 3;
    }
    c->more = tell_formats;
}

/* --- clipping --------------------------------------------------------------------------------- */

static void clipping_is_healthy(void **state) {
    (void)state;
    chain c;
    open(&c, 4);
    now.gradient_norm = 1;
    for (int64_t step = 0; step < 100; step++) {
        now.unclipped = step % 10 ? 5 : 1e30;
        chain_step(&c, step);
    }
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

static void a_norm_that_overflowed(void **state) {
    (void)state;
    chain c;
    open(&c, 4);
    now.gradient_norm = 1;
    now.unclipped = 5;
    chain_run(&c, 0, 30);
    now.unclipped = (double)INFINITY;
    now.gradient_norm = 0;
    chain_run(&c, 30, 31);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_CLIP_TO_ZERO);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_WARNING);
    assert_int_equal(f->since_step, 30);
    assert_string_equal(f->title, "clipping set all gradients to 0 at 1 step");
    chain_assert_says(f->cause, "the norm of all gradients is Infinity although the loss is 1.5");
    assert_true(isinf(bp_finding_evidence(f, "unclipped_norm")));
    chain_run(&c, 31, 33);
    assert_int_equal(f->severity, BP_ERROR); /* three in a row */
    assert_int_equal(f->last_step, 32);
    now.unclipped = 5;
    now.gradient_norm = 1;
    chain_run(&c, 33, 160);
    assert_true(f->open); /* three of the last 128 records */
    chain_run(&c, 160, 161);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_close(&c);
}

/* The same seen by the updates, where the norm after clipping is not told. */
static void seen_by_the_updates(void **state) {
    (void)state;
    for (int moves = 0; moves < 2; moves++) {
        chain c;
        open(&c, 4);
        now.unclipped = (double)NAN;
        chain_run(&c, 0, 10);
        now.unclipped = (double)INFINITY;
        for (uint32_t id = 1; id <= 4; id++) c.update_rms[id] = 0;
        if (moves) c.update_rms[3] = 1e-4;
        chain_run(&c, 10, 20);
        assert_int_equal(n_found(&c), moves ? 0 : 1);
        chain_close(&c);
    }
}

/* The norm before clipping is not told: an error signal reaches the output, and nothing arrives. */
static void zeros_out_of_nothing(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        chain c;
        open(&c, 4);
        now.gradient_norm = way == 1 ? 0.1 : 0; /* of the biases */
        if (way == 2) now.error_rms[4] = 0;     /* nothing to be lost */
        for (int64_t step = 0; step < 30; step++) {
            chain_fill(&c, step);
            for (uint32_t id = 1; id <= 4; id++) bp_record_set(&c.record, BP_Q_GRADIENT_RMS, id, 0);
            bp_diagnosis_step(c.diagnosis, &c.record);
        }
        const bp_finding *f = chain_find(&c, BP_PROBLEM_CLIP_TO_ZERO);
        if (way > 0) assert_null(f);
        if (way == 0) {
            assert_non_null(f);
            assert_int_equal(f->severity, BP_ERROR);
            assert_string_equal(f->title, "something sets all gradients to 0 at 30 steps");
            chain_assert_says(f->cause, "an error signal of 0.125 reaches the output layer");
        }
        chain_close(&c);
    }
}

static void a_skipped_step_is_no_clipping(void **state) {
    (void)state;
    chain c;
    open(&c, 4);
    for (int64_t step = 0; step < 20; step++) {
        chain_fill(&c, step);
        bp_record_set(&c.record, BP_Q_UNCLIPPED_NORM, 0, (double)INFINITY);
        bp_record_set(&c.record, BP_Q_GRADIENT_NORM, 0, 0);
        if (step % 10 == 0) c.record.flags |= BP_RECORD_UPDATE_SKIPPED;
        if (step % 10) bp_record_set(&c.record, BP_Q_UNCLIPPED_NORM, 0, 1);
        bp_diagnosis_step(c.diagnosis, &c.record);
    }
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

/* --- underflow -------------------------------------------------------------------------------- */

static void half_without_a_scale(chain *c, double loss) {
    open(c, 6);
    now.bits = 11;
    for (uint32_t id = 1; id <= 4; id++) now.tiny_error[id] = 0.6;
    c->loss = loss;
    chain_run(c, 0, 100);
}

static void too_small_for_half(void **state) {
    (void)state;
    chain c;
    half_without_a_scale(&c, CHAIN_TRIVIAL);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_LOW_PRECISION_UNDERFLOW);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    assert_int_equal(f->n_layers, 4);
    assert_string_equal(f->title, "gradients of layers 1\xe2\x80\x93"
                                  "4 of 6 are too small for "
                                  "float16");
    chain_assert_says(f->cause, "60% of the values of layer 1 that are not 0");
    chain_assert_says(f->cause, "there is no loss scale");
    chain_close(&c);
    half_without_a_scale(&c, 1.5);
    assert_int_equal(chain_find(&c, BP_PROBLEM_LOW_PRECISION_UNDERFLOW)->severity, BP_HINT);
    chain_close(&c);
    half_without_a_scale(&c, 0.05); /* nothing is missed */
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

/* A stretch of three of ten layers counts, or most of them; two neighbours or three that are
 * scattered do not, however many layers there are. */
static void a_stretch_of_layers(void **state) {
    (void)state;
    for (int way = 0; way < 5; way++) {
        chain c;
        open(&c, way == 3 ? 6 : 10);
        now.bits = 11;
        c.loss = CHAIN_TRIVIAL;
        now.tiny_error[2] = now.tiny_error[3] = 0.5;
        if (way == 0) now.tiny_error[4] = 0.5;
        if (way == 1) now.tiny_error[6] = 0.5;
        if (way == 4)
            now.tiny_error[5] = now.tiny_error[6] = now.tiny_error[8] = now.tiny_error[9] = 0.5;
        chain_run(&c, 0, 60);
        assert_int_equal(n_found(&c), way == 0 || way == 4 ? 1 : 0);
        chain_close(&c);
    }
}

static void formats_with_a_wide_range(void **state) {
    (void)state;
    static const uint64_t wide[] = {8, 24, 53, 0};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        chain c;
        open(&c, 6);
        now.bits = now.parameter_bits = wide[i];
        for (uint32_t id = 1; id <= 6; id++) now.tiny_error[id] = now.tiny_gradient[id] = 0.9;
        c.loss = CHAIN_TRIVIAL;
        chain_run(&c, 0, 100);
        assert_int_equal(n_found(&c), 0);
        chain_close(&c);
    }
}

static void gradients_of_half_parameters(void **state) {
    (void)state;
    chain c;
    open(&c, 6);
    now.parameter_bits = 11;
    for (uint32_t id = 1; id <= 6; id++) now.tiny_gradient[id] = id <= 4 ? 0.9 : 0.2;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 100);
    assert_int_equal(chain_find(&c, BP_PROBLEM_LOW_PRECISION_UNDERFLOW)->n_layers, 4);
    chain_close(&c);
}

/* A scaler's scale is enough as long as something reaches every layer and the loss falls. */
static void a_scale_that_is_enough(void **state) {
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        chain c;
        open(&c, 6);
        now.bits = 11;
        now.loss_scale = 65536;
        for (uint32_t id = 1; id <= 4; id++) now.tiny_error[id] = 0.6;
        if (lost) now.error_rms[1] = now.error_rms[2] = now.tiny_error[1] = now.tiny_error[2] = 0;
        chain_run(&c, 0, 100);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_LOW_PRECISION_UNDERFLOW);
        if (!lost) assert_null(f);
        if (lost) {
            assert_non_null(f);
            assert_int_equal(f->severity, BP_WARNING);
            chain_assert_says(f->cause, "from layer 2 down the error signal is exactly 0");
            chain_assert_says(f->cause, "the loss scale is 65500");
        }
        chain_close(&c);
    }
}

/* Zeros below a layer whose values are far from the format's end have another reason. */
static void zeros_of_another_kind(void **state) {
    (void)state;
    chain c;
    open(&c, 6);
    now.bits = 11;
    for (uint32_t id = 1; id <= 4; id++) now.error_rms[id] = 0;
    c.loss = CHAIN_TRIVIAL;
    chain_run(&c, 0, 100);
    assert_null(chain_find(&c, BP_PROBLEM_LOW_PRECISION_UNDERFLOW));
    chain_close(&c);
}

/* --- overflow --------------------------------------------------------------------------------- */

static void overflow_at(chain *c, uint64_t bits, double before) {
    open(c, 6);
    now.bits = bits;
    now.activation_max[4] = before;
    chain_run(c, 0, 10);
    now.activation_max[4] = 3; /* what is finite still */
    chain_fill(c, 10);
    bp_record_set(&c->record, BP_Q_ACTIVATION_INF, 4, 3);
    bp_diagnosis_step(c->diagnosis, &c->record);
}

static void activations_outgrow_half(void **state) {
    (void)state;
    chain c;
    overflow_at(&c, 11, 6e4);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 10);
    assert_int_equal(f->n_layers, 1);
    assert_int_equal(f->layers[0], 4);
    assert_string_equal(f->title, "the activation of layer 4 (dense_4) outgrew float16");
    chain_assert_says(f->cause, "magnitude is 60000; float16 ends at 65504");
    assert_non_null(chain_find(&c, BP_PROBLEM_NON_FINITE));
    chain_run(&c, 11, 20);
    assert_int_equal(chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW)->last_step, 10);
    chain_close(&c);
}

/* 1/0 is no overflow; wider formats end elsewhere. */
static void other_infinities(void **state) {
    (void)state;
    static const struct {
        uint64_t bits;
        double before;
    } others[] = {{11, 3}, {8, 6e4}, {24, 6e4}, {0, 6e4}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        chain c;
        overflow_at(&c, others[i].bits, others[i].before);
        assert_non_null(chain_find(&c, BP_PROBLEM_NON_FINITE));
        assert_null(chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW));
        chain_close(&c);
    }
}

static void skipped_step(chain *c, int64_t step, bool skip) {
    chain_fill(c, step);
    bp_record_set(&c->record, BP_Q_LOSS_SCALE, 0, 1024);
    if (skip) {
        c->record.flags |= BP_RECORD_UPDATE_SKIPPED;
        for (uint32_t id = 1; id <= 4; id++) bp_record_set(&c->record, BP_Q_GRADIENT_NAN, id, 5);
    }
    bp_diagnosis_step(c->diagnosis, &c->record);
}

static void a_scaler_that_finds_its_scale(void **state) {
    (void)state;
    chain c;
    open(&c, 6);
    for (int64_t step = 0; step < 300; step++) skipped_step(&c, step, step < 10 || step % 50 == 0);
    assert_int_equal(n_found(&c), 0);
    chain_close(&c);
}

static void eleven_in_a_row(void **state) {
    (void)state;
    chain c;
    open(&c, 6);
    for (int64_t step = 0; step < 20; step++) skipped_step(&c, step, false);
    for (int64_t step = 20; step < 31; step++) {
        assert_int_equal(n_found(&c), 0);
        skipped_step(&c, step, true);
    }
    const bp_finding *f = chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 20);
    assert_int_equal(f->layers[0], 4);
    chain_assert_says(f->title, "gradients overflow: the loss scaler skipped 11 of 31 steps");
    chain_assert_says(f->cause, "begins in layer 4; the loss scale is 1020");
    skipped_step(&c, 31, false);
    assert_false(f->open);
    assert_int_equal(f->severity, BP_HINT);
    chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW);
    chain_assert_says(f->title, "overflowed for a while: the loss scaler skipped 11 of 31 steps");
    chain_close(&c);
}

/* No scale is low enough: the forward pass itself overflows, say. */
static void not_one_step(void **state) {
    (void)state;
    chain c;
    open(&c, 6);
    for (int64_t step = 0; step < 11; step++) skipped_step(&c, step, true);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_ERROR);
    assert_int_equal(f->since_step, 0);
    chain_close(&c);
}

static void more_than_a_tenth(void **state) {
    (void)state;
    chain c;
    open(&c, 6);
    for (int64_t step = 0; step < 99; step++) skipped_step(&c, step, step % 8 == 7);
    assert_int_equal(n_found(&c), 0);
    skipped_step(&c, 99, false);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_LOW_PRECISION_OVERFLOW);
    assert_non_null(f);
    assert_int_equal(f->severity, BP_WARNING);
    assert_int_equal(f->since_step, 7);
    chain_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clipping_is_healthy),
        cmocka_unit_test(a_norm_that_overflowed),
        cmocka_unit_test(seen_by_the_updates),
        cmocka_unit_test(zeros_out_of_nothing),
        cmocka_unit_test(a_skipped_step_is_no_clipping),
        cmocka_unit_test(too_small_for_half),
        cmocka_unit_test(a_stretch_of_layers),
        cmocka_unit_test(formats_with_a_wide_range),
        cmocka_unit_test(gradients_of_half_parameters),
        cmocka_unit_test(a_scale_that_is_enough),
        cmocka_unit_test(zeros_of_another_kind),
        cmocka_unit_test(activations_outgrow_half),
        cmocka_unit_test(other_infinities),
        cmocka_unit_test(a_scaler_that_finds_its_scale),
        cmocka_unit_test(eleven_in_a_row),
        cmocka_unit_test(not_one_step),
        cmocka_unit_test(more_than_a_tenth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
