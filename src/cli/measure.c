/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/measure.h"

#include <backprobe/watch.h>
#include <math.h>
#include <stdlib.h>

#define MAX_SAMPLES 64u

/* --- what theory is told of a batch -------------------------------------------------------------
 */

typedef struct grams {
    const bp_observer *inner; /* the watch's, which is told all that we are */
    uint32_t output, n;
    double inputs[MAX_SAMPLES * MAX_SAMPLES], errors[MAX_SAMPLES * MAX_SAMPLES];
    double means[MAX_SAMPLES], near, far;
    int64_t samples;
    const int64_t *shape;
} grams;

static void multiply(double *gram, uint32_t n, const bp_tensor *tensor, double divisor) {
    const bp_real *x = tensor->data;
    const int64_t units = tensor->shape[1];
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t u = 0; u < units; u++)
                sum += (double)x[i * units + u] * (double)x[j * units + u];
            gram[i * n + j] = gram[j * n + i] = sum / divisor;
        }
}

/* Of each channel of each sample: neighbours to the right and below, and all pairs of places. */
static void look_at_places(grams *g, const bp_tensor *tensor) {
    const int64_t channels = g->shape[0], height = g->shape[1], width = g->shape[2];
    double near = 0, all = 0, squares = 0, n_near = 0, n_all = 0, n = 0;
    const bp_real *x = tensor->data;
    if (height < 2 || width < 2) return;
    for (int64_t plane = 0; plane < (int64_t)g->n * channels; plane++, x += height * width) {
        double sum = 0, own = 0;
        for (int64_t at = 0; at < height * width; at++) {
            const double value = (double)x[at];
            sum += value;
            own += value * value;
            if (at % width + 1 < width) near += value * (double)x[at + 1];
            if (at + width < height * width) near += value * (double)x[at + width];
        }
        squares += own;
        all += sum * sum - own;
    }
    const double planes = (double)g->n * (double)channels, area = (double)(height * width);
    n_near = planes * (double)((width - 1) * height + width * (height - 1));
    n_all = planes * area * (area - 1);
    n = planes * area;
    if (!(squares > 0)) return;
    g->near = near / n_near / (squares / n);
    g->far = all / n_all / (squares / n);
}

static void take_inputs(grams *g, const bp_tensor *tensor) {
    g->samples = tensor->shape[0];
    g->n = tensor->shape[0] < MAX_SAMPLES ? (uint32_t)tensor->shape[0] : MAX_SAMPLES;
    const int64_t units = tensor->shape[1];
    multiply(g->inputs, g->n, tensor, (double)units);
    for (uint32_t i = 0; i < g->n; i++) {
        double sum = 0;
        for (int64_t u = 0; u < units; u++)
            sum += (double)((const bp_real *)tensor->data)[(int64_t)i * units + u];
        g->means[i] = sum / (double)units;
    }
    look_at_places(g, tensor);
}

static bp_plan on_begin(void *context, const bp_step *step) {
    const bp_observer *inner = ((grams *)context)->inner;
    return inner->step_begin(inner->context, step);
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    grams *g = context;
    if (layer == 0 && role == BP_ROLE_ACTIVATION) take_inputs(g, tensor);
    if (layer == g->output && role == BP_ROLE_ERROR_OUTPUT && g->n > 0)
        multiply(g->errors, g->n, tensor, 1);
    g->inner->tensor(g->inner->context, layer, role, slot, tensor);
}

static void on_update(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                      const bp_tensor *before, const bp_tensor *after) {
    const bp_observer *inner = ((grams *)context)->inner;
    inner->update(inner->context, layer, slot, gradient, before, after);
}

static void on_scalar(void *context, bp_metric metric, double value) {
    const bp_observer *inner = ((grams *)context)->inner;
    inner->scalar(inner->context, metric, value);
}

static void on_end(void *context) {
    const bp_observer *inner = ((grams *)context)->inner;
    inner->step_end(inner->context);
}

static bool is_finite(const double *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

static bp_prediction_input input_of(const grams *g) {
    bp_prediction_input input = BP_PREDICTION_INPUT_INIT;
    const size_t square = (size_t)g->n * g->n;
    if (g->n == 0 || !is_finite(g->inputs, square)) return input;
    input.n_samples = g->n;
    input.inputs = g->inputs;
    input.means = g->means;
    input.near = g->near;
    input.far = g->far;
    if (is_finite(g->errors, square) && g->errors[0] > 0) input.errors = g->errors;
    return input;
}

/* --- one seed -----------------------------------------------------------------------------------
 */

static bp_status add_prediction(bp_measurement *m, const bp_model *model, const grams *g,
                                bp_error *error) {
    bp_prediction *prediction = NULL;
    const bp_prediction_input input = input_of(g);
    const bp_gain *gains;
    const bp_status status = bp_prediction_open(&prediction, model, &input, NULL, error);
    if (status != BP_OK) return status;
    const uint32_t n = bp_prediction_profile(prediction, &gains);
    for (uint32_t k = 0; k < n; k++) {
        const double seeds = (double)m->n_seeds;
        bp_gain *sum = &m->gains[k];
        if (!m->prediction) *sum = (bp_gain){.layer = gains[k].layer};
        sum->error_norm += gains[k].error_norm / seeds;
        sum->gain += gains[k].gain / seeds;
        sum->activation += gains[k].activation / seeds;
        sum->norm += gains[k].norm / seeds;
        sum->weight += gains[k].weight / seeds;
        sum->branch += gains[k].branch / seeds;
    }
    if (m->prediction)
        bp_prediction_close(prediction);
    else
        m->prediction = prediction;
    return BP_OK;
}

/* A profile with a number that is not finite is none: then the sums become NaN. */
static void add_measured(bp_measurement *m, bp_diagnosis *diagnosis) {
    const bp_gain *gains;
    const uint32_t n = bp_diagnosis_profile(diagnosis, &gains);
    const double seeds = (double)m->n_seeds;
    for (uint32_t k = 0; k < m->n_gains; k++) {
        const double gain = k < n ? gains[k].gain : (double)NAN;
        m->measured[k].gain += gain / seeds;
        m->squares[k] += gain * gain / seeds;
        m->measured[k].error_norm += (k < n ? gains[k].error_norm : (double)NAN) / seeds;
    }
}

static bp_status measure_watched(bp_measurement *m, bp_model *model, bp_trainer *trainer,
                                 bp_watch *watch, bp_error *error) {
    grams *g = calloc(1, sizeof *g);
    if (!g) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a batch");
    g->inner = bp_watch_observer(watch);
    g->output = bp_model_output_layer(model);
    g->shape = bp_model_input(model);
    g->near = g->far = (double)NAN;
    const bp_observer observer = {.context = g,
                                  .step_begin = on_begin,
                                  .tensor = on_tensor,
                                  .update = on_update,
                                  .scalar = on_scalar,
                                  .step_end = on_end};
    bp_trainer_observe(trainer, &observer);
    m->loss += bp_trainer_step(trainer) / (double)m->n_seeds;
    bp_trainer_observe(trainer, NULL);
    m->n_samples = g->samples;
    add_measured(m, bp_watch_diagnosis(watch));
    const bp_status status = add_prediction(m, model, g, error);
    free(g);
    return status;
}

static bp_status measure_seed(bp_measurement *m, bp_model *model, const bp_dataset *dataset,
                              bp_error *error) {
    bp_trainer *trainer = NULL;
    bp_watch *watch = NULL;
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.every = 1;
    bp_status status = bp_trainer_open(&trainer, model, dataset, NULL, error);
    if (status == BP_OK) status = bp_watch_open(&watch, model, &options, error);
    if (status == BP_OK) status = measure_watched(m, model, trainer, watch, error);
    if (watch) bp_watch_close(watch, BP_RUN_FINISHED, NULL);
    bp_trainer_close(trainer);
    return status;
}

/* --- all of them --------------------------------------------------------------------------------
 */

static bp_status begin(bp_measurement *m, const bp_model *model, int64_t n_seeds, bp_error *error) {
    *m = (bp_measurement){
        .n_gains = bp_model_n_cuts(model), .n_seeds = n_seeds, .loss = (double)NAN};
    const size_t n = m->n_gains ? m->n_gains : 1;
    m->gains = calloc(n, sizeof *m->gains);
    m->measured = calloc(n, sizeof *m->measured);
    m->squares = calloc(n, sizeof *m->squares);
    if (m->gains && m->measured && m->squares) return BP_OK;
    return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a prediction");
}

/* sqrt(variance of the seeds / (n - 1)) */
static void find_errors(bp_measurement *m) {
    for (uint32_t k = 0; k < m->n_gains; k++) {
        bp_measured_gain *measured = &m->measured[k];
        const double variance = m->squares[k] - measured->gain * measured->gain;
        measured->standard_error =
            m->n_seeds > 1 ? sqrt(fmax(0, variance) / (double)(m->n_seeds - 1)) : (double)NAN;
    }
}

#define LN_SPAN 6.907755278982137 /* ln 1e3, as the diagnosis has it */

/* Where theory says nothing, what the batch showed is judged by the same limit. */
static void judge_batch(bp_measurement *m) {
    double level = 0, lowest = 0, highest = 0, rise = 0, fall = 0;
    bp_text text;
    for (uint32_t k = 1; k < m->n_gains; k++) {
        level -= log(m->measured[k].gain); /* towards the loss */
        if (isnan(level)) return;
        rise = fmax(rise, level - lowest);
        fall = fmax(fall, highest - level);
        lowest = fmin(lowest, level);
        highest = fmax(highest, level);
    }
    if (m->n_gains < 2) return;
    const double span = fmax(rise, fall);
    if (span > LN_SPAN)
        m->problem = rise >= fall ? BP_PROBLEM_VANISHING_GRADIENT : BP_PROBLEM_EXPLODING_GRADIENT;
    bp_text_init(&text, m->by_batch, sizeof m->by_batch);
    bp_text_add(&text, "as measured, the error signal ");
    bp_text_add(&text,
                span > LN_SPAN ? rise >= fall ? "falls by x" : "grows by x" : "keeps within x");
    bp_text_add_number(&text, exp(span), 2);
    bp_text_add(&text, " over %u layers", m->n_gains);
    m->verdict = m->by_batch;
}

static void judge(bp_measurement *m, bool was_measured) {
    const bp_prediction_overview *overview = bp_prediction_overview_of(m->prediction);
    if (overview->n_gains == 0) {
        if (was_measured) judge_batch(m);
        return;
    }
    m->problem = overview->problem;
    m->blamed_layer = overview->blamed_layer;
    m->verdict = overview->verdict;
}

bp_status bp_measurement_open(bp_measurement *m, bp_model *model, const bp_dataset *dataset,
                              int64_t n_seeds, bp_error *error) {
    bp_status status = begin(m, model, n_seeds, error);
    m->loss = 0;
    for (int64_t i = 0; i < n_seeds && status == BP_OK; i++) {
        bp_recipe recipe = *bp_model_recipe(model);
        if (i > 0) recipe.seed++;
        bp_model_set_recipe(model, &recipe);
        status = measure_seed(m, model, dataset, error);
    }
    if (status != BP_OK) {
        bp_measurement_close(m);
        return status;
    }
    find_errors(m);
    judge(m, true);
    return BP_OK;
}

bp_status bp_measurement_open_theory(bp_measurement *m, const bp_model *model, bp_error *error) {
    static const grams nothing;
    bp_status status = begin(m, model, 1, error);
    if (status == BP_OK) status = add_prediction(m, model, &nothing, error);
    if (status == BP_OK)
        judge(m, false);
    else
        bp_measurement_close(m);
    return status;
}

void bp_measurement_close(bp_measurement *m) {
    bp_prediction_close(m->prediction);
    free(m->gains);
    free(m->measured);
    free(m->squares);
    *m = (bp_measurement){0};
}
