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

/* --- what is along the activations themselves ---------------------------------------------------
 * Layers without biases whose activation is straight on both sides of 0 keep <x, dL/dx>: it is the
 * same at input and output (Euler's theorem for functions of degree 1). Where the forward signal
 * grows faster than the error signal, as in a residual stream that branches of positive mean add
 * to, the error signal turns into that direction, in which branch and skip add up. */

static bool is_straight(const bp_prediction *p, const bp_layer *layer) {
    return bp_layer_is_weighted_sum(layer) && layer->norm == BP_NORM_NONE &&
           (layer->activation == BP_ACTIVATION_RELU || layer->activation == BP_ACTIVATION_LINEAR ||
            layer->activation == BP_ACTIVATION_LEAKY_RELU) &&
           bp_predicted_bias_std(p, layer) == 0;
}

/* Of an error signal that came by no such way one direction of all. */
static double aligned_of(const bp_prediction *p, uint32_t id) {
    const bp_station *s = &p->stations[id];
    if (s->aligned > 0) return s->aligned;
    return bp_signal_trace(p, s->out.k) / (double)bp_model_units(p->model, id);
}

static void align(bp_prediction *p, const bp_layer *layer) {
    const bp_station *s = &p->stations[layer->id];
    bp_station *in = &p->stations[s->input];
    if (s->begins_branch || !is_straight(p, layer) || !(in->size > 0)) return;
    in->aligned += aligned_of(p, layer->id) * s->size / in->size;
}

/* A sum y = x + s b: what of dL/dy goes past the branch, and what the two ways share, 2 <e, s J^T
 * e> with e = dL/dy: along y, <y, J y> / |y|^2, for J x = b; in no special direction the mean of
 * that over all, which is <x, b> / |x|^2 for one of them. */
static double past_branch(bp_prediction *p, const bp_layer *layer) {
    const bp_station *y = &p->stations[layer->id], *branch = &p->stations[y->input];
    bp_station *x = &p->stations[layer->skip_from];
    const double s = layer->branch_scale, b = s * s * branch->size;
    const double trace = bp_signal_trace(p, y->out.k);
    if (!(x->size > 0) || !(trace > 0) || layer->skip_from != layer->id - layer->n_branch - 1)
        return 1;
    for (uint32_t id = layer->skip_from + 1; id < layer->id; id++)
        if (!is_straight(p, bp_model_layer(p->model, id))) return 1;
    const double shared = fmax(0, 0.5 * (y->size - x->size - b)); /* <x, s b> */
    const double aligned = fmin(trace, aligned_of(p, layer->id));
    x->aligned += aligned * y->size / x->size;
    const double usual = trace / (double)bp_model_units(p->model, layer->id);
    const double along = (x->size + shared) * (b + shared) / (x->size * y->size);
    return 1 + 2 / trace * (usual * shared / x->size + fmax(0, aligned - usual) * along);
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
    align(p, layer);
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
            add(p, layer->skip_from, s->out.k, past_branch(p, layer));
            add(p, s->input, s->out.k, layer->branch_scale * layer->branch_scale);
            continue;
        }
        backward(p, layer, s);
    }
}
