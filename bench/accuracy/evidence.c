/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16
#define QUANTILES_UNTIL \
    100 /* steps: the rule that wants percentiles looks at the first ten lines */

/* What is written of a layer's output and of a parameter; rivals.py reads them by these names. */
static const char header[] =
    "{\"activations\": [\"layer\", \"mean\", \"variance\", \"non_positive\", \"inactive_units\", "
    "\"beyond_5\", \"saturated_units\", \"non_finite\"], \"parameters\": [\"layer\", \"slot\", "
    "\"gradient_norm\", \"gradient_mean_abs\", \"gradient_mean\", \"gradient_zeros\", "
    "\"gradient_range\", \"count\", \"weight_mean\", \"weight_variance\", \"weight_max\", "
    "\"update_ratio\", \"unchanged\", \"non_finite\"]}\n";

typedef struct row {
    int n;
    double value[COLUMNS_MAX];
} row;

struct evidence {
    bp_observer observer;
    const bp_observer *watch;
    const bp_model *model;
    FILE *file;
    int64_t every, step;
    bool wanted; /* this step */
    bp_plan plan, watched;
    uint32_t *both; /* the plan: what the watch wants, and what is wanted here */
    row *activations, *parameters;
    uint32_t n_activations, n_parameters, capacity;
    double loss;
    float *sorted; /* of a gradient */
    size_t n_sorted;
};

void evidence_number(FILE *file, double value) {
    if (isnan(value))
        fputs("NaN", file);
    else if (isinf(value))
        fputs(value > 0 ? "Infinity" : "-Infinity", file);
    else
        fprintf(file, "%.6g", value);
}

/* --- a layer's output --------------------------------------------------------------------------
 */

/* Outputs where |z| passes a limit, for the two-sided activations: their inputs are not told, but
 * the functions rise. `strict` is SageMaker Debugger's limit (tanh 9.4999; sigmoid -23, 16.99999),
 * else it is DeepDiagnosis' 5. */
static bool is_beyond(bp_activation activation, double x, bool strict) {
    if (activation == BP_ACTIVATION_SIGMOID)
        return strict ? x <= 1.03e-10 || x >= 0.99999996 : x <= 0.0066928509 || x >= 0.9933071491;
    if (activation == BP_ACTIVATION_TANH) return fabs(x) >= (strict ? 0.99999999 : 0.9999092043);
    return false;
}

typedef struct sums {
    double sum, squares, n, low, beyond, bad;
    double inactive, saturated; /* units */
} sums;

/* One unit: its values lie `stride` apart in a sample, or it is a channel of `inner` values. */
static void add_unit(sums *s, const float *data, int64_t samples, int64_t sample, int64_t inner,
                     bp_activation activation) {
    int64_t positive = 0, strict = 0;
    for (int64_t i = 0; i < samples; i++)
        for (int64_t j = 0; j < inner; j++) {
            const double x = (double)data[i * sample + j];
            if (!isfinite(x)) {
                s->bad++;
                continue;
            }
            s->sum += x;
            s->squares += x * x;
            s->n++;
            s->low += x <= 0;
            s->beyond += is_beyond(activation, x, false);
            positive += x > 0;
            strict += is_beyond(activation, x, true);
        }
    const double all = (double)(samples * inner);
    s->inactive += (double)positive < 0.01 * all; /* active in less than 1% */
    s->saturated += (double)(samples * inner - strict) < 0.01 * all;
}

static bool is_plain(const bp_tensor *tensor) {
    int64_t expected = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != expected) return false;
        expected *= tensor->shape[i];
    }
    return tensor->dtype == BP_F32 && tensor->ndim >= 2;
}

static void see_activation(evidence *e, uint32_t layer, const bp_tensor *tensor) {
    const bp_layer *about = bp_model_layer(e->model, layer);
    sums s = {0};
    if (layer == 0 || !about || !is_plain(tensor) || e->n_activations >= e->capacity) return;
    const int64_t samples = tensor->shape[0];
    const int64_t units = tensor->ndim > 3 ? tensor->shape[1] : tensor->shape[tensor->ndim - 1];
    const int64_t sample = bp_tensor_count(tensor) / (samples > 0 ? samples : 1);
    const float *data = tensor->data;
    if (tensor->ndim > 3)
        for (int64_t u = 0; u < units; u++)
            add_unit(&s, data + u * (sample / units), samples, sample, sample / units,
                     about->activation);
    else
        for (int64_t u = 0; u < units; u++)
            add_unit(&s, data + u, samples * (sample / units), units, 1, about->activation);
    const double n = s.n > 0 ? s.n : 1, mean = s.sum / n;
    e->activations[e->n_activations++] =
        (row){8,
              {layer, s.n > 0 ? mean : (double)NAN, s.squares / n - mean * mean, s.low / n,
               s.inactive / (double)units, s.beyond / n, s.saturated / (double)units, s.bad}};
}

/* --- a parameter --------------------------------------------------------------------------------
 */

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* From the 5th to the 95th percentile. */
static double range_of(evidence *e, const float *values, size_t n) {
    if (e->step >= QUANTILES_UNTIL) return NAN;
    if (n > e->n_sorted) {
        float *larger = realloc(e->sorted, n * sizeof *larger);
        if (!larger) return NAN;
        e->sorted = larger;
        e->n_sorted = n;
    }
    memcpy(e->sorted, values, n * sizeof *values);
    qsort(e->sorted, n, sizeof *e->sorted, compare);
    return (double)e->sorted[(size_t)(0.95 * (double)(n - 1))] -
           (double)e->sorted[(size_t)(0.05 * (double)(n - 1))];
}

static void see_update(evidence *e, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                       const bp_tensor *before, const bp_tensor *after) {
    const float *g = gradient->data, *w = before->data, *v = after->data;
    const int64_t n = bp_tensor_count(before);
    double squares = 0, absolute = 0, sum = 0, zeros = 0, bad = 0;
    double w_sum = 0, w_squares = 0, w_absolute = 0, w_max = 0, moved = 0, same = 1;
    if (!is_plain(before) && before->ndim != 1) return;
    if (n == 0 || e->n_parameters >= e->capacity) return;
    for (int64_t i = 0; i < n; i++) {
        const double gi = (double)g[i], wi = (double)w[i];
        bad += !isfinite(gi) || !isfinite(wi);
        squares += gi * gi;
        absolute += fabs(gi);
        sum += gi;
        zeros += g[i] == 0;
        w_sum += wi;
        w_squares += wi * wi;
        w_absolute += fabs(wi);
        if (fabs(wi) > w_max) w_max = fabs(wi);
        moved += fabs((double)v[i] - wi);
        if (!(fabs((double)v[i] - wi) <= 1e-8 + 1e-5 * fabs(wi))) same = 0; /* numpy.allclose */
    }
    const double m = (double)n, mean = w_sum / m;
    e->parameters[e->n_parameters++] = (row){
        14,
        {layer, slot, sqrt(squares), absolute / m, sum / m, zeros, range_of(e, g, (size_t)n), m,
         mean, w_squares / m - mean * mean, w_max, moved / (w_absolute + 1e-30), same, bad}};
}

/* --- the observer -------------------------------------------------------------------------------
 */

static bp_plan step_begin(void *context, const bp_step *step) {
    evidence *e = context;
    e->watched = e->watch->step_begin(e->watch->context, step);
    e->step = step->step;
    e->wanted = step->step % e->every == 0;
    e->n_activations = e->n_parameters = 0;
    if (!e->wanted) return e->watched;
    const uint32_t n_layers = bp_model_n_layers(e->model);
    for (uint32_t i = 0; i <= n_layers; i++) {
        e->both[i] = 1u << BP_ROLE_ACTIVATION | 1u << BP_ROLE_UPDATE;
        if (i <= e->watched.n_layers && e->watched.wanted) e->both[i] |= e->watched.wanted[i];
    }
    e->plan = (bp_plan){e->both, n_layers};
    return e->plan;
}

static bool is_watched(const evidence *e, uint32_t layer, bp_role role) {
    return e->watched.wanted && bp_plan_wants(&e->watched, layer, role);
}

static void tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                   const bp_tensor *given) {
    evidence *e = context;
    if (is_watched(e, layer, role)) e->watch->tensor(e->watch->context, layer, role, slot, given);
    if (e->wanted && role == BP_ROLE_ACTIVATION) see_activation(e, layer, given);
}

static void summary(void *context, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_summary *given) {
    evidence *e = context;
    e->watch->summary(e->watch->context, layer, role, slot, given);
}

static void update(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                   const bp_tensor *before, const bp_tensor *after) {
    evidence *e = context;
    if (is_watched(e, layer, BP_ROLE_UPDATE))
        e->watch->update(e->watch->context, layer, slot, gradient, before, after);
    if (e->wanted) see_update(e, layer, slot, gradient, before, after);
}

static void scalar(void *context, bp_metric metric, double value) {
    evidence *e = context;
    e->watch->scalar(e->watch->context, metric, value);
    if (metric == BP_METRIC_LOSS) e->loss = value;
}

static void write_rows(FILE *file, const row *rows, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        fputs(i > 0 ? ", [" : "[", file);
        for (int j = 0; j < rows[i].n; j++) {
            if (j > 0) fputs(", ", file);
            evidence_number(file, rows[i].value[j]);
        }
        fputc(']', file);
    }
}

static void step_end(void *context) {
    evidence *e = context;
    e->watch->step_end(e->watch->context);
    if (!e->wanted) return;
    fprintf(e->file, "{\"step\": %lld, \"loss\": ", (long long)e->step);
    evidence_number(e->file, e->loss);
    fputs(", \"activations\": [", e->file);
    write_rows(e->file, e->activations, e->n_activations);
    fputs("], \"parameters\": [", e->file);
    write_rows(e->file, e->parameters, e->n_parameters);
    fputs("]}\n", e->file);
}

evidence *evidence_open(const bp_model *model, const bp_observer *watch, FILE *file,
                        int64_t every) {
    evidence *e = calloc(1, sizeof *e);
    const uint32_t n = bp_model_n_layers(model);
    if (!e) return NULL;
    e->capacity = (n + 1) * BP_N_SLOTS;
    e->both = calloc(n + 1, sizeof *e->both);
    e->activations = calloc(e->capacity, sizeof *e->activations);
    e->parameters = calloc(e->capacity, sizeof *e->parameters);
    if (!e->both || !e->activations || !e->parameters) {
        evidence_close(e);
        return NULL;
    }
    e->observer = (bp_observer){e, step_begin, tensor, summary, update, scalar, step_end};
    e->watch = watch;
    e->model = model;
    e->file = file;
    e->every = every;
    fputs(header, file);
    return e;
}

void evidence_close(evidence *e) {
    if (!e) return;
    free(e->both);
    free(e->activations);
    free(e->parameters);
    free(e->sorted);
    free(e);
}

const bp_observer *evidence_observer(evidence *e) {
    return &e->observer;
}
