/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up runs for the diagnosis' tests: a plain chain of layers and its records, in which each
 * layer's gain, share of learning and loss are what the test says. */
#ifndef BP_TESTS_DIAGNOSIS_CHAIN_H
#define BP_TESTS_DIAGNOSIS_CHAIN_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "diagnosis/diagnosis.h"

#include <math.h>
#include <string.h>

#define CHAIN_MAX 64
#define CHAIN_UNITS 64
#define CHAIN_TRIVIAL 2.302585

typedef struct chain {
    bp_model *model;
    bp_record record;
    bp_diagnosis *diagnosis;
    uint32_t n_layers;
    bp_norm norm;
    /* what the next record says */
    double gain[CHAIN_MAX + 1]; /* of layer l: s_(l-1) / s_l, l = 2 ... n */
    double activation_norm[CHAIN_MAX + 1];
    double activation_part[CHAIN_MAX + 1];
    double effect[CHAIN_MAX + 1];
    double weight_rms[CHAIN_MAX + 1];
    double update_rms[CHAIN_MAX + 1];
    double variation[CHAIN_MAX + 1]; /* 0 ... n; NaN: not measured */
    double loss;
    void (*more)(const struct chain *c,
                 bp_record *record); /* sets what else it says; may be NULL */
    const void *facts;               /* for it */
} chain;

/* kind, activation, norm: of all layers but the last, which is dense. */
static inline void chain_open_with(chain *c, uint32_t n_layers, bp_layer_kind kind,
                                   bp_activation activation, bp_norm norm, bp_activation output) {
    memset(c, 0, sizeof *c);
    c->n_layers = n_layers;
    assert_int_equal(bp_model_open(&c->model, NULL), BP_OK);
    for (uint32_t i = 1; i <= n_layers; i++) {
        const bp_layer layer = {.kind = i < n_layers ? kind : BP_LAYER_DENSE,
                                .activation = i < n_layers ? activation : output,
                                .norm = i < n_layers ? norm : BP_NORM_NONE,
                                .has_bias = true,
                                .output_shape = {CHAIN_UNITS, 1, 1},
                                .weight_init = {BP_INIT_NORMAL, 0.1},
                                .bias_init = {BP_INIT_ZEROS, 0},
                                .item = i - 1};
        assert_int_equal(bp_model_add_layer(c->model, &layer, NULL, NULL), BP_OK);
    }
    const int64_t input[3] = {CHAIN_UNITS, 1, 1};
    assert_int_equal(bp_model_set_input(c->model, input, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.1,
                              .batch = 32,
                              .epochs = 10,
                              .epoch_steps = 40,
                              .train_samples = 1280,
                              .trivial_loss = CHAIN_TRIVIAL,
                              .n_outputs = 10,
                              .chance_accuracy = 0.1};
    bp_model_set_recipe(c->model, &recipe);
    assert_int_equal(bp_record_init(&c->record, n_layers, &bp_allocator_system), BP_OK);
    assert_int_equal(bp_diagnosis_open(&c->diagnosis, c->model, NULL, NULL), BP_OK);
    for (uint32_t i = 0; i <= n_layers; i++) {
        c->gain[i] = c->activation_part[i] = c->activation_norm[i] = 1;
        c->effect[i] = 1;
        c->weight_rms[i] = 0.125; /* gain 1 for linear layers of 64 units */
        c->update_rms[i] = 1e-4;
        c->variation[i] = 0.5;
    }
    c->loss = 1.5;
}

static inline void chain_open_of(chain *c, uint32_t n_layers, bp_layer_kind kind,
                                 bp_activation activation, bp_norm norm) {
    chain_open_with(c, n_layers, kind, activation, norm, BP_ACTIVATION_LINEAR);
}

static inline void chain_open(chain *c, uint32_t n_layers, bp_activation activation, bp_norm norm) {
    chain_open_of(c, n_layers, BP_LAYER_DENSE, activation, norm);
}

static inline void chain_close(chain *c) {
    bp_diagnosis_close(c->diagnosis);
    bp_record_finish(&c->record, &bp_allocator_system);
    bp_model_close(c->model);
}

static inline void chain_fill(chain *c, int64_t step) {
    bp_record *record = &c->record;
    bp_record_clear(record);
    record->step = step;
    bp_record_set(record, BP_Q_LOSS, 0, c->loss);
    double s = 1;
    bp_record_set(record, BP_Q_VARIATION, 0, c->variation[0]);
    for (uint32_t id = c->n_layers; id >= 1; id--) {
        bp_record_set(record, BP_Q_ERROR_NORM, id, s);
        bp_record_set(record, BP_Q_ERROR_RMS, id, s / 8);
        bp_record_set(record, BP_Q_ERROR_PRE_ACTIVATION, id, s / 8 * c->activation_part[id]);
        bp_record_set(record, BP_Q_ERROR_PRE_NORM, id, s / 8 * c->activation_part[id]);
        bp_record_set(record, BP_Q_ERROR_NAN, id, 0);
        bp_record_set(record, BP_Q_ERROR_INF, id, 0);
        bp_record_set(record, BP_Q_ACTIVATION_NORM, id, c->activation_norm[id]);
        bp_record_set(record, BP_Q_ACTIVATION_NAN, id, 0);
        bp_record_set(record, BP_Q_ACTIVATION_INF, id, 0);
        bp_record_set(record, BP_Q_WEIGHT_RMS, id, c->weight_rms[id]);
        bp_record_set(record, BP_Q_UPDATE_RMS, id, c->update_rms[id]);
        bp_record_set(record, BP_Q_EFFECT, id, c->effect[id]);
        if (!isnan(c->variation[id])) bp_record_set(record, BP_Q_VARIATION, id, c->variation[id]);
        s *= c->gain[id];
    }
    if (c->more) c->more(c, record);
}

static inline void chain_step(chain *c, int64_t step) {
    chain_fill(c, step);
    bp_diagnosis_step(c->diagnosis, &c->record);
}

static inline void chain_run(chain *c, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; step++) chain_step(c, step);
}

static inline uint32_t chain_n_findings(const chain *c) {
    return bp_diagnosis_n_findings(c->diagnosis);
}

static inline const bp_finding *chain_find(chain *c, bp_problem problem) {
    for (uint32_t i = 0; i < chain_n_findings(c); i++) {
        const bp_finding *finding = bp_diagnosis_finding(c->diagnosis, i);
        if (finding->problem == problem) return finding;
    }
    return NULL;
}

static inline void chain_assert_says(const char *text, const char *words) {
    if (!strstr(text, words)) fail_msg("'%s' lacks '%s'", text, words);
}

/* Gains g over all layers; learning concentrated in layers `first_learning` ... n. */
static inline void chain_all_gains(chain *c, double gain) {
    for (uint32_t i = 1; i <= c->n_layers; i++) c->gain[i] = gain;
}

static inline void chain_starve_below(chain *c, uint32_t first_learning) {
    for (uint32_t i = 1; i <= c->n_layers; i++) c->effect[i] = i < first_learning ? 1e-12 : 1;
}

#endif
