/* SPDX-License-Identifier: Apache-2.0 */
/* The way forward: Gram matrices of the activations, layer by layer. */
#include "diagnosis/predict.h"

#include <math.h>
#include <string.h>

#define EPSILON 1e-5 /* of the normalisations */

double bp_signal_trace(const bp_prediction *p, const double *k) {
    double sum = 0;
    for (uint32_t i = 0; i < p->n; i++) sum += k[i * p->n + i];
    return sum / p->n;
}

static double mean_of(const bp_prediction *p, const double *k) {
    double sum = 0;
    for (uint32_t i = 0; i < p->n * p->n; i++) sum += k[i];
    return sum / ((double)p->n * p->n);
}

static bool starts_at_zero(bp_init_kind kind) {
    return kind == BP_INIT_XAVIER || kind == BP_INIT_HE || kind == BP_INIT_ORTHOGONAL ||
           kind == BP_INIT_LECUN || kind == BP_INIT_LSUV;
}

/* He's rule counts leaky_relu's slope (He et al. 2015, equation 15). */
double bp_predicted_weight_std(const bp_prediction *p, const bp_layer *layer) {
    const double *given = p->input.weight_std;
    if (given && !isnan(given[layer->id])) return given[layer->id];
    if (layer->weight_init.kind == BP_INIT_CONSTANT) return (double)NAN; /* no unit is its own */
    if (layer->kind == BP_LAYER_EMBEDDING && layer->weight_init.kind == BP_INIT_PYTORCH_DEFAULT)
        return 1;
    const double std = bp_init_std(&layer->weight_init, layer->fan_in, layer->fan_out);
    const bool leaky =
        layer->weight_init.kind == BP_INIT_HE && layer->activation == BP_ACTIVATION_LEAKY_RELU;
    return leaky ? std / sqrt(1 + layer->activation_slope * layer->activation_slope) : std;
}

double bp_predicted_bias_std(const bp_prediction *p, const bp_layer *layer) {
    const double *given = p->input.bias_std;
    if (!layer->has_bias) return 0;
    if (given && !isnan(given[layer->id])) return given[layer->id];
    if (starts_at_zero(layer->bias_init.kind) || layer->bias_init.kind == BP_INIT_UNKNOWN) return 0;
    return bp_init_std(&layer->bias_init, layer->fan_in, layer->fan_out);
}

static double bias_mean(const bp_prediction *p, const bp_layer *layer) {
    const bool given = p->input.bias_std && !isnan(p->input.bias_std[layer->id]);
    return layer->has_bias && !given && layer->bias_init.kind == BP_INIT_CONSTANT
               ? layer->bias_init.parameter
               : 0;
}

static double places_of(const bp_layer *layer) {
    const int64_t *shape = layer->output_shape;
    return shape[1] > 1 && shape[2] > 1 ? (double)shape[1] * (double)shape[2] : 1;
}

/* --- operators: from x to z --------------------------------------------------------------------
 */

/* Units of z are independent given x: their covariance is sigma_w^2 K + sigma_b^2. False where the
 * weights are not known. */
static bool weighted_sum(bp_prediction *p, const bp_layer *layer, bp_station *s,
                         const bp_signal *in, double *cov) {
    const double fan_in = bp_model_mean_fan_in(p->model, layer->id);
    const double square = bp_signal_trace(p, in->k), b = bp_predicted_bias_std(p, layer);
    double w = bp_predicted_weight_std(p, layer) * sqrt(fan_in);
    const bool scaled = layer->weight_init.kind == BP_INIT_LSUV &&
                        (!p->input.weight_std || isnan(p->input.weight_std[layer->id]));
    if (scaled && square > 0) w = layer->weight_init.parameter / sqrt(square);
    if (isnan(w)) return false;
    s->weight = w * w;
    p->layers[layer->id].sigma_w = w;
    for (uint32_t i = 0; i < p->n * p->n; i++) cov[i] = s->weight * in->k[i] + b * b;
    for (uint32_t i = 0; i < p->n; i++) s->out.mean[i] = bias_mean(p, layer);
    const double q = s->weight * square + b * b;
    s->out.places = layer->kind == BP_LAYER_CONV ? places_of(layer) : 1;
    s->out.near = q > 0 ? (s->weight * square * in->near + b * b) / q : 1;
    s->out.far = q > 0 ? (s->weight * square * in->far + b * b) / q : 1;
    return true;
}

/* Of a signal that goes through unchanged, the covariance over its units. */
static void covariance(const bp_prediction *p, const bp_signal *in, bp_signal *out, double *cov) {
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t j = 0; j < p->n; j++)
            cov[i * p->n + j] = in->k[i * p->n + j] - in->mean[i] * in->mean[j];
    memcpy(out->mean, in->mean, p->n * sizeof *out->mean);
    out->near = in->near;
    out->far = in->far;
    out->places = in->places;
}

static void layer_norm(bp_prediction *p, bp_station *s, double *cov) {
    const uint32_t n = p->n;
    for (uint32_t i = 0; i < n; i++)
        s->norm.inverse[i] = 1 / sqrt(fmax(0, cov[i * n + i]) + EPSILON);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) cov[i * n + j] *= s->norm.inverse[i] * s->norm.inverse[j];
    memset(s->out.mean, 0, n * sizeof *s->out.mean);
}

static void normalise(bp_prediction *p, bp_norm kind, bp_station *s, double *cov) {
    if (kind == BP_NORM_LAYER) layer_norm(p, s, cov);
    if (kind == BP_NORM_BATCH) bp_batch_norm_forward(p, &s->norm, cov, &s->out);
}

/* --- activations: from z to phi(z) --------------------------------------------------------------
 */

static double correlation(double cov, double a, double b) {
    return a > 0 && b > 0 ? cov / sqrt(a * b) : 1;
}

/* Pairs of places see what pairs of samples see: the kernel of the mean sample. */
static void spread_over_places(bp_prediction *p, const bp_layer *layer, bp_station *s) {
    double *const ratios[2] = {&s->out.near, &s->out.far};
    const double variance = s->z_square, mean = s->z_mean, square = variance + mean * mean;
    bp_expansion e;
    if (s->out.places <= 1) return;
    bp_expansion_init(&e, layer->activation, layer->activation_slope, mean, variance);
    for (int i = 0; i < 2; i++) {
        const double c = variance > 0 ? (*ratios[i] * square - mean * mean) / variance : 1;
        if (e.moments.square > 0) *ratios[i] = bp_expansion_values(&e, &e, c) / e.moments.square;
    }
    (void)p;
}

/* z to softmax: e^z / (N E e^z) where no unit takes it all. */
static void softmax(bp_prediction *p, const bp_layer *layer, bp_station *s, const double *cov) {
    const uint32_t n = p->n;
    const double units = (double)bp_model_units(p->model, layer->id);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            const double most = i == j ? 1 / units : 1 / (units * units);
            const double k = fmin(exp(cov[i * n + j]) / (units * units), fmax(most, 1e-300));
            s->out.k[i * n + j] = i == j ? k : fmin(exp(cov[i * n + j]) / (units * units), k);
            s->slopes[i * n + j] = k * (i == j ? 1 + units * k : 1);
        }
    for (uint32_t i = 0; i < n; i++) s->out.mean[i] = 1 / units;
}

static void activate(bp_prediction *p, const bp_layer *layer, bp_station *s, const double *cov) {
    const uint32_t n = p->n;
    double *const k = s->out.k;
    s->z_mean = s->z_square = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->z_mean += s->out.mean[i] / n;
        s->z_square += cov[i * n + i] / n;
    }
    s->has_slopes = layer->activation != BP_ACTIVATION_LINEAR;
    if (layer->activation == BP_ACTIVATION_SOFTMAX) {
        softmax(p, layer, s, cov);
        return;
    }
    if (!s->has_slopes) {
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++)
                k[i * n + j] = cov[i * n + j] + s->out.mean[i] * s->out.mean[j];
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        bp_expansion_init(&p->expansions[i], layer->activation, layer->activation_slope,
                          s->out.mean[i], cov[i * n + i]);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            const bp_expansion *a = &p->expansions[i], *b = &p->expansions[j];
            const double c = correlation(cov[i * n + j], cov[i * n + i], cov[j * n + j]);
            k[i * n + j] = k[j * n + i] = i == j ? a->moments.square : bp_expansion_values(a, b, c);
            s->slopes[i * n + j] = s->slopes[j * n + i] =
                i == j ? a->moments.slope_square : bp_expansion_slopes(a, b, c);
        }
    spread_over_places(p, layer, s);
    for (uint32_t i = 0; i < n; i++) s->out.mean[i] = p->expansions[i].moments.mean;
}

/* --- layers without weights ---------------------------------------------------------------------
 */

static void copy(const bp_prediction *p, const bp_signal *in, bp_signal *out, double factor) {
    for (uint32_t i = 0; i < p->n * p->n; i++) out->k[i] = factor * in->k[i];
    memcpy(out->mean, in->mean, p->n * sizeof *out->mean);
    out->near = in->near;
    out->far = in->far;
    out->places = in->places;
}

/* Neighbouring units of a vector share no more than their mean. */
static double neighbours(const bp_prediction *p, const bp_signal *in) {
    const double square = bp_signal_trace(p, in->k);
    double mean = 0;
    if (in->places > 1) return in->near;
    for (uint32_t i = 0; i < p->n; i++) mean += in->mean[i] * in->mean[i] / p->n;
    return square > 0 ? mean / square : 1;
}

static double window_of(const bp_prediction *p, const bp_layer *layer, uint32_t input) {
    const double in = (double)bp_model_units(p->model, input);
    return in / (double)bp_model_units(p->model, layer->id);
}

static void average(bp_prediction *p, const bp_layer *layer, bp_station *s, const bp_signal *in) {
    const double k = window_of(p, layer, s->input);
    const bool all = layer->kind == BP_LAYER_GLOBAL_AVG_POOL;
    const double alike = all ? in->far : neighbours(p, in);
    const double factor = (1 + (k - 1) * alike) / k;
    copy(p, in, &s->out, factor);
    s->out.places = fmax(1, in->places / k);
    const double middle = 0.5 * (in->near + in->far);
    s->out.near = factor > 0 ? fmin(1, middle / factor) : 1;
    s->out.far = factor > 0 ? fmin(1, in->far / factor) : 1;
}

/* The winners of the windows are what the layer before passes on, and what it is asked for on the
 * way back. */
static void largest(bp_prediction *p, const bp_layer *layer, bp_station *s) {
    bp_station *before = &p->stations[s->input];
    const bp_layer *source = bp_model_layer(p->model, s->input);
    const int64_t k = (int64_t)window_of(p, layer, s->input);
    const bool known = source && before->has_slopes && !source->norm_after_activation &&
                       source->activation != BP_ACTIVATION_SOFTMAX;
    const bp_activation activation = known ? source->activation : BP_ACTIVATION_LINEAR;
    const double slope = known ? source->activation_slope : 0;
    double mean = before->z_mean, variance = before->z_square;
    if (!known) {
        mean = 0;
        for (uint32_t i = 0; i < p->n; i++) mean += before->out.mean[i] / p->n;
        variance = fmax(0, bp_signal_trace(p, before->out.k) - mean * mean);
    }
    const bp_moments all = bp_gauss_moments(activation, slope, mean, variance);
    /* of z; of phi(z) it is known */
    const double r = neighbours(p, &before->out), own = all.mean * all.mean / all.square;
    const double alike = own < 1 ? fmax(0, (r - own) / (1 - own)) : 1;
    const bp_moments top = bp_gauss_largest(activation, slope, mean, variance, k, alike);
    copy(p, &before->out, &s->out, all.square > 0 ? top.square / all.square : 1);
    for (uint32_t i = 0; i < p->n; i++)
        s->out.mean[i] = all.mean != 0 ? s->out.mean[i] * top.mean / all.mean : top.mean;
    s->out.places = fmax(1, before->out.places / (double)k);
    s->out.near = 0.5 * (before->out.near + before->out.far);
    if (!known || !(all.slope_square > 0)) return;
    const double factor = top.slope_square / all.slope_square;
    for (uint32_t i = 0; i < p->n * p->n; i++) before->slopes[i] *= factor;
}

/* Kept units grow by 1 / (1 - p); who is dropped differs from sample to sample. */
static void drop(bp_prediction *p, const bp_layer *layer, bp_station *s, const bp_signal *in) {
    copy(p, in, &s->out, 1);
    for (uint32_t i = 0; i < p->n; i++) s->out.k[i * p->n + i] /= 1 - layer->drop_fraction;
    s->out.near *= 1 - layer->drop_fraction;
    s->out.far *= 1 - layer->drop_fraction;
}

/* x + scale * branch: what the branch ends with was drawn by itself, so the two share no more than
 * their means. */
static void add_up(bp_prediction *p, const bp_layer *layer, bp_station *s, const bp_signal *skip) {
    const bp_signal *branch = &p->stations[s->input].out;
    const double scale = layer->branch_scale;
    const uint32_t n = p->n;
    copy(p, skip, &s->out, 1);
    const double a = bp_signal_trace(p, skip->k), b = scale * scale * bp_signal_trace(p, branch->k);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            s->out.k[i * n + j] +=
                scale * scale * branch->k[i * n + j] +
                scale * (skip->mean[i] * branch->mean[j] + branch->mean[i] * skip->mean[j]);
    for (uint32_t i = 0; i < n; i++) s->out.mean[i] += scale * branch->mean[i];
    if (!(a + b > 0)) return;
    s->out.near = (a * skip->near + b * branch->near) / (a + b);
    s->out.far = (a * skip->far + b * branch->far) / (a + b);
}

/* Rows of a table, drawn by themselves: samples share those of the tokens that they share, of which
 * nothing is known. */
static bool look_up(bp_prediction *p, const bp_layer *layer, bp_station *s) {
    const double std = bp_predicted_weight_std(p, layer);
    if (isnan(std)) return false;
    for (uint32_t i = 0; i < p->n * p->n; i++) s->out.k[i] = i % (p->n + 1) == 0 ? std * std : 0;
    memset(s->out.mean, 0, p->n * sizeof *s->out.mean);
    s->out.near = s->out.far = 0;
    s->out.places = 1;
    return true;
}

/* --- a layer ------------------------------------------------------------------------------------
 */

/* Operator, norm, activation, in the layer's own order. */
static bool pass_layer(bp_prediction *p, const bp_layer *layer, bp_station *s,
                       const bp_signal *in) {
    double *cov = p->scratch[0];
    if (bp_layer_is_weighted_sum(layer)) {
        if (!weighted_sum(p, layer, s, in, cov)) return false;
    } else {
        covariance(p, in, &s->out, cov);
    }
    p->layers[layer->id].q = bp_signal_trace(p, cov);
    if (!layer->norm_after_activation) normalise(p, layer->norm, s, cov);
    activate(p, layer, s, cov);
    if (!layer->norm_after_activation || layer->norm == BP_NORM_NONE) return true;
    bp_signal activated = s->out;
    activated.mean = p->scratch[3];
    memcpy(activated.mean, s->out.mean, p->n * sizeof *activated.mean);
    covariance(p, &activated, &s->out, cov);
    normalise(p, layer->norm, s, cov);
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t j = 0; j < p->n; j++)
            s->out.k[i * p->n + j] = cov[i * p->n + j] + s->out.mean[i] * s->out.mean[j];
    return true;
}

static bool forward(bp_prediction *p, const bp_layer *layer, bp_station *s) {
    const bp_signal *in = &p->stations[s->input].out;
    switch (layer->kind) {
    case BP_LAYER_DENSE:
    case BP_LAYER_CONV:
    case BP_LAYER_ACTIVATION:
    case BP_LAYER_LAYER_NORM:
    case BP_LAYER_BATCH_NORM:
        return pass_layer(p, layer, s, in);
    case BP_LAYER_AVG_POOL:
    case BP_LAYER_GLOBAL_AVG_POOL:
        average(p, layer, s, in);
        return true;
    case BP_LAYER_MAX_POOL:
        largest(p, layer, s);
        return true;
    case BP_LAYER_FLATTEN:
        copy(p, in, &s->out, 1);
        return true;
    case BP_LAYER_DROPOUT:
        drop(p, layer, s, in);
        return true;
    case BP_LAYER_RESIDUAL:
        if (!p->stations[layer->skip_from].known) return false;
        add_up(p, layer, s, &p->stations[layer->skip_from].out);
        return true;
    case BP_LAYER_EMBEDDING:
        return look_up(p, layer, s);
    case BP_LAYER_OTHER:
    case BP_LAYER_RNN:
    case BP_LAYER_GRU:
    case BP_LAYER_LSTM:
        return false;
    }
    return false;
}

static void describe(bp_prediction *p, uint32_t id) {
    const bp_signal *out = &p->stations[id].out;
    bp_layer_prediction *told = &p->layers[id];
    const double square = bp_signal_trace(p, out->k), all = mean_of(p, out->k), n = p->n;
    p->stations[id].size = square * (double)bp_model_units(p->model, id);
    const double pairs = n > 1 ? (all * n - square) / (n - 1) : square;
    told->activation_rms = sqrt(square);
    told->mean = 0;
    for (uint32_t i = 0; i < p->n; i++) told->mean += out->mean[i] / n;
    if (!(square > 0)) return;
    told->correlation = pairs / square;
    told->variation = sqrt(fmax(0, 1 - all / square));
    if (id == 0) return;
    const uint32_t input = p->stations[id].input;
    const double size = told->activation_rms * sqrt((double)bp_model_units(p->model, id));
    const double before =
        p->layers[input].activation_rms * sqrt((double)bp_model_units(p->model, input));
    if (before > 0) told->forward = size / before;
}

void bp_predict_forward(bp_prediction *p) {
    describe(p, 0);
    for (uint32_t id = 1; id <= p->n_layers; id++) {
        const bp_layer *layer = bp_model_layer(p->model, id);
        bp_station *s = &p->stations[id];
        s->known = p->stations[s->input].known && forward(p, layer, s);
        if (s->known)
            describe(p, id);
        else if (p->stopped_at == 0)
            p->stopped_at = id;
    }
}
