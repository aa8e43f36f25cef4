/* SPDX-License-Identifier: Apache-2.0 */
/* The way back: inner products of the samples' error signals, as norms. They take the place of the
 * activations' Gram matrices, which are no longer needed. */
#include "diagnosis/predict.h"

#include <math.h>
#include <string.h>

static void add(bp_prediction *p, uint32_t to, const double *error, double factor) {
    double *into = p->stations[to].out.k;
    for (uint32_t i = 0; i < p->n * p->n; i++) into[i] += factor * error[i];
}

static void through_norm(bp_prediction *p, const bp_layer *layer, const bp_station *s,
                         double *error) {
    const uint32_t n = p->n;
    if (layer->norm == BP_NORM_BATCH) bp_batch_norm_backward(p, &s->norm, error, s->out.places > 1);
    if (layer->norm != BP_NORM_LAYER) return;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            error[i * n + j] *= s->norm.inverse[i] * s->norm.inverse[j];
}

static void through_activation(bp_prediction *p, const bp_station *s, double *error) {
    if (!s->has_slopes) return;
    for (uint32_t i = 0; i < p->n * p->n; i++) error[i] *= s->slopes[i];
}

/* How often an operator's input counts in its output, as a factor of the square. */
static void through_operator(bp_prediction *p, const bp_layer *layer, const bp_station *s,
                             double *error) {
    const uint32_t n = p->n;
    double factor = 1;
    if (bp_layer_is_weighted_sum(layer)) factor = s->weight;
    if (layer->kind == BP_LAYER_AVG_POOL || layer->kind == BP_LAYER_GLOBAL_AVG_POOL)
        factor = (double)bp_model_units(p->model, layer->id) /
                 (double)bp_model_units(p->model, s->input);
    for (uint32_t i = 0; i < n * n; i++) error[i] *= factor;
    if (layer->kind != BP_LAYER_DROPOUT) return;
    for (uint32_t i = 0; i < n; i++) error[i * n + i] /= 1 - layer->drop_fraction;
}

/* Traces: of dL/dy, behind the norm and the activation in their order, of dL/dx. */
static void backward(bp_prediction *p, const bp_layer *layer, bp_station *s) {
    double *error = p->scratch[0];
    memcpy(error, s->out.k, (size_t)p->n * p->n * sizeof *error);
    if (layer->norm_after_activation) through_norm(p, layer, s, error);
    if (layer->norm_after_activation) s->at_operator = bp_signal_trace(p, error);
    through_activation(p, s, error);
    s->at_activation = bp_signal_trace(p, error);
    if (!layer->norm_after_activation) {
        through_norm(p, layer, s, error);
        s->at_operator = bp_signal_trace(p, error);
    }
    through_operator(p, layer, s, error);
    s->passed = bp_signal_trace(p, error);
    add(p, s->input, error, 1);
}

static void start(bp_prediction *p, uint32_t last) {
    const uint32_t n = p->n;
    for (uint32_t id = 0; id <= p->n_layers; id++)
        memset(p->stations[id].out.k, 0, (size_t)n * n * sizeof(double));
    double *error = p->stations[last].out.k;
    for (uint32_t i = 0; i < n * n; i++)
        error[i] = p->input.errors ? p->input.errors[i / n * p->input.n_samples + i % n]
                                   : i % (n + 1) == 0;
    const double trace = bp_signal_trace(p, error);
    for (uint32_t i = 0; i < n * n; i++) error[i] = trace > 0 ? error[i] / trace : i % (n + 1) == 0;
}

void bp_predict_backward(bp_prediction *p) {
    const uint32_t last = bp_model_output_layer(p->model);
    if (last == 0 || !p->stations[last].known) return;
    start(p, last);
    for (uint32_t id = last; id >= 1; id--) {
        const bp_layer *layer = bp_model_layer(p->model, id);
        bp_station *s = &p->stations[id];
        if (layer->kind == BP_LAYER_RESIDUAL) {
            add(p, layer->skip_from, s->out.k, 1);
            add(p, s->input, s->out.k, layer->branch_scale * layer->branch_scale);
            continue;
        }
        backward(p, layer, s);
    }
}
