/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong before the first step, or with what the optimiser was given: data, targets, last
 * layer, parameters that get no gradient. Their words: setup_text.c. */
#include "diagnosis/state.h"

#include <math.h>

#define FIRST_FEW 10           /* records that tell how the loss starts */
#define RAW_RMS 10.0           /* inputs of such a size are raw: pixels to 255, years, prices */
#define RAW_SCALES 100.0       /* one feature's deviation by the median one's */
#define RAW_VARIATION 0.05     /* deviation over samples / size: an offset hides what differs */
#define START_HARM 3.0         /* a loss that starts so many times above guessing */
#define FAR 0.5                /* of the trivial level: there is a lot left to learn */
#define ALMOST_CONVERGED 0.1   /* of the trivial level */
#define ENOUGH 100u            /* records, where an epoch is not known or longer */
#define LARGEST_SQUARE 1.84e19 /* sqrt of float32's largest number */
#define SILENT_RECORDS 60u
#define SILENT_SHARE 0.3       /* of them: an output is dead, not its class rare */
#define WITHIN 1e-3            /* rounding of targets and of what an activation reaches */
#define UNREACHABLE_COSTS 0.05 /* of the targets' range that cannot be reached */
#define UNREACHABLE_FAILS 0.5
#define UNUSED_COSTS 0.05     /* share of all trained parameters */
#define NO_GRADIENT_STEPS 100 /* or an epoch, where that is longer */

bool bp_setup_open(bp_diagnosis *d) {
    bp_setup *setup = &d->setup;
    setup->layer = bp_allocate(&d->allocator, d->n_layers + 1u, sizeof *setup->layer);
    setup->target_min = setup->target_max = setup->start_loss = (double)NAN;
    setup->input_rms = setup->input_variation = setup->input_scales = (double)NAN;
    setup->first_step = -1;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (bp_layer_is_trained(bp_model_layer(d->model, id)))
            setup->n_parameters += (double)bp_layer_n_parameters(bp_model_layer(d->model, id));
    return setup->layer != NULL;
}

void bp_setup_close(bp_diagnosis *d) {
    bp_release(&d->allocator, d->setup.layer, d->n_layers + 1u, sizeof *d->setup.layer);
}

/* --- what all of them ask ----------------------------------------------------------------------
 */

/* A whole window has passed: what would have been learnt by now was. */
static bool had_time(const bp_diagnosis *d) {
    const uint32_t enough = d->window.size < ENOUGH ? d->window.size : ENOUGH;
    return bp_window_length(&d->window) >= enough;
}

static bool has_failed(const bp_diagnosis *d) {
    return d->non_finite.seen || (had_time(d) && !bp_loss_left_trivial(d));
}

/* The window's mean loss as a share of the trivial level; NaN where either is not known. */
static double loss_left(const bp_diagnosis *d) {
    return bp_loss_is_judged(d) ? d->history.last_mean / bp_trivial_level(d) : (double)NAN;
}

/* --- labels-out-of-range and wrong-last-layer-for-loss -----------------------------------------
 */

static bool passes_on(bp_layer_kind kind) {
    return kind == BP_LAYER_FLATTEN || kind == BP_LAYER_DROPOUT || kind == BP_LAYER_AVG_POOL ||
           kind == BP_LAYER_MAX_POOL || kind == BP_LAYER_GLOBAL_AVG_POOL;
}

/* The layer whose activation the loss is given: NULL where a norm comes after it, or where another
 * output than the last one seems to lead to the loss. */
static const bp_layer *last_layer(const bp_diagnosis *d) {
    const bp_recipe *recipe = bp_model_recipe(d->model);
    uint32_t id = bp_model_output_layer(d->model);
    const bp_layer *layer = bp_model_layer(d->model, id);
    if (recipe->n_outputs > 0 && layer->output_shape[0] > 0) {
        bool fits = false;
        for (int i = 0; i < 3; i++) fits = fits || layer->output_shape[i] == recipe->n_outputs;
        if (!fits && bp_model_units(d->model, id) != recipe->n_outputs) return NULL;
    }
    while (id > 1 && passes_on(layer->kind) && layer->activation == BP_ACTIVATION_LINEAR)
        layer = bp_model_layer(d->model, --id);
    const bool is_hidden = layer->norm != BP_NORM_NONE && layer->norm_after_activation;
    return is_hidden || layer->kind == BP_LAYER_RESIDUAL ? NULL : layer;
}

bool bp_activation_range(const bp_layer *layer, double *low, double *high) {
    *low = -(double)INFINITY;
    *high = (double)INFINITY;
    if (layer->kind == BP_LAYER_LSTM || layer->kind == BP_LAYER_GRU) {
        *low = -1, *high = 1;
        return true;
    }
    switch (layer->activation) {
    case BP_ACTIVATION_SIGMOID:
    case BP_ACTIVATION_SOFTMAX:
        *low = 0, *high = 1;
        return true;
    case BP_ACTIVATION_TANH:
        *low = -1, *high = 1;
        return true;
    case BP_ACTIVATION_RELU:
    case BP_ACTIVATION_SOFTPLUS:
        *low = 0;
        return true;
    case BP_ACTIVATION_GELU:
        *low = -0.17;
        return true;
    case BP_ACTIVATION_SILU:
        *low = -0.2785;
        return true;
    case BP_ACTIVATION_ELU:
        *low = -layer->activation_slope;
        return true;
    case BP_ACTIVATION_SELU:
        *low = -BP_SELU_LAMBDA * BP_SELU_ALPHA;
        return true;
    case BP_ACTIVATION_LINEAR:
    case BP_ACTIVATION_LEAKY_RELU:
        return false;
    }
    return false;
}

static void note_targets(bp_diagnosis *d, const bp_record *record) {
    bp_setup *setup = &d->setup;
    if (bp_record_has(record, BP_Q_TARGET_MIN, 0))
        setup->target_min = fmin(setup->target_min,
                                 bp_record_get(record, BP_Q_TARGET_MIN, 0)); /* of NaN and x: x */
    if (bp_record_has(record, BP_Q_TARGET_MAX, 0))
        setup->target_max = fmax(setup->target_max, bp_record_get(record, BP_Q_TARGET_MAX, 0));
}

static bool is_regression(bp_loss loss) {
    return loss == BP_MSE || loss == BP_MAE || loss == BP_HUBER;
}

/* By how much targets lie outside of what they may be or can be reached at, in their own unit. */
static double excess_of(const bp_setup *setup, double low, double high) {
    const double below = low - setup->target_min, above = setup->target_max - high;
    return fmax(fmax(below, above), 0);
}

static uint32_t tell_labels(bp_diagnosis *d, int64_t step, double low, double high,
                            bp_severity severity) {
    const bp_setup *setup = &d->setup;
    const bool existed = d->slots[BP_PROBLEM_LABELS_OUT_OF_RANGE].exists;
    bp_finding_slot *slot = bp_finding_open(d, BP_PROBLEM_LABELS_OUT_OF_RANGE, step, step);
    const bp_layer *last = last_layer(d);
    if (last) bp_finding_add_layer(slot, last->id);
    bp_finding_add_evidence(slot, "target_min", "smallest target so far", 0, step,
                            setup->target_min, true);
    bp_finding_add_evidence(slot, "target_max", "largest target so far", 0, step, setup->target_max,
                            true);
    bp_finding_add_evidence(slot, "lowest", "that the loss or the last layer allows", 0, step, low,
                            isfinite(low));
    bp_finding_add_evidence(slot, "highest", "that the loss or the last layer allows", 0, step,
                            high, isfinite(high));
    return bp_finding_settle(slot, existed, severity);
}

/* Targets that the loss itself gives no meaning to: no class, no probability. */
static uint32_t judge_meaning(bp_diagnosis *d, int64_t step, bool is_cross_entropy) {
    const bp_setup *setup = &d->setup;
    const double n = (double)bp_model_recipe(d->model)->n_outputs;
    if (is_cross_entropy && n < 1) return 0;
    const double high = is_cross_entropy ? fmax(n - 1, 1) : 1; /* 0 ... 1: shares of classes */
    const double excess = excess_of(setup, 0, high);
    if (excess <= WITHIN) return 0;
    /* A little outside are smoothed or noisy probabilities; the loss still has a lowest value. */
    const bool slight = !is_cross_entropy && excess < UNREACHABLE_COSTS;
    return tell_labels(d, step, 0, high, slight ? BP_WARNING : BP_ERROR);
}

static uint32_t judge_reach(bp_diagnosis *d, int64_t step, bp_finding_slot *wrong) {
    const bp_setup *setup = &d->setup;
    const bp_layer *last = last_layer(d);
    double low, high;
    if (!last || !bp_activation_range(last, &low, &high)) return 0;
    const double range = setup->target_max - setup->target_min;
    const double excess = excess_of(setup, low, high);
    if (excess <= WITHIN * fmax(1, range)) return 0;
    const double share = range > 0 ? fmin(1, excess / range) : 1;
    bp_severity severity = share > UNREACHABLE_FAILS || has_failed(d) ? BP_ERROR : BP_WARNING;
    if (share < UNREACHABLE_COSTS && severity == BP_WARNING) severity = BP_HINT;
    if (isfinite(high)) return tell_labels(d, step, low, high, severity);
    /* An activation that is for hidden layers: not the targets are wrong, but the layer. */
    const bool existed = wrong->exists;
    bp_finding_open(d, BP_PROBLEM_WRONG_LAST_LAYER, step, step);
    bp_finding_add_layer(wrong, last->id);
    bp_finding_add_evidence(wrong, "target_min", "smallest target so far", 0, step,
                            setup->target_min, true);
    bp_finding_add_evidence(wrong, "lowest", "that the last layer can give", last->id, step, low,
                            true);
    return bp_finding_settle(wrong, existed, severity);
}

/* In float32 the square of a larger number is none. */
static bool fits_its_square(const bp_diagnosis *d, const bp_record *record) {
    const double bits = bp_record_has(record, BP_Q_ACTIVATION_PRECISION, d->n_layers)
                            ? bp_record_get(record, BP_Q_ACTIVATION_PRECISION, d->n_layers)
                            : 24;
    return bits > 24 || excess_of(&d->setup, -LARGEST_SQUARE, LARGEST_SQUARE) <= 0;
}

static uint32_t judge_targets(bp_diagnosis *d, const bp_record *record) {
    const bp_loss loss = bp_model_recipe(d->model)->loss;
    note_targets(d, record);
    if (isnan(d->setup.target_min) || isnan(d->setup.target_max)) return 0;
    if (loss == BP_CROSS_ENTROPY || loss == BP_BINARY_CROSS_ENTROPY)
        return judge_meaning(d, record->step, loss == BP_CROSS_ENTROPY);
    if (is_regression(loss) && bp_loss_is_judged(d) && loss == BP_MSE &&
        !fits_its_square(d, record))
        return tell_labels(d, record->step, -LARGEST_SQUARE, LARGEST_SQUARE, BP_ERROR);
    if (is_regression(loss) && bp_loss_is_judged(d))
        return judge_reach(d, record->step, &d->slots[BP_PROBLEM_WRONG_LAST_LAYER]);
    return 0;
}

/* The lowest loss that a cross-entropy can reach from logits that an activation keeps to a range.
 * All n - 1 other classes at one end and the right one at the other: ln(1 + (n - 1) e^-width); of
 * sums to 1 (softmax) that is width 1, too. NaN where there is no limit. */
double bp_loss_floor(const bp_diagnosis *d, const bp_layer *last) {
    const bp_recipe *recipe = bp_model_recipe(d->model);
    double low, high;
    if (!bp_activation_range(last, &low, &high) || !isfinite(high)) return (double)NAN;
    if (recipe->loss == BP_CROSS_ENTROPY && recipe->n_outputs > 1)
        return log1p((double)(recipe->n_outputs - 1) * exp(low - high));
    if (recipe->loss != BP_BINARY_CROSS_ENTROPY) return (double)NAN;
    return 0.5 * (log1p(exp(low)) + log1p(exp(-high))); /* targets 0 and 1 in equal shares */
}

/* A cross-entropy makes probabilities of logits itself: an activation before it takes away part of
 * what logits can say. */
static bool takes_logits(const bp_recipe *recipe) {
    return (recipe->loss == BP_CROSS_ENTROPY || recipe->loss == BP_BINARY_CROSS_ENTROPY) &&
           !recipe->from_probabilities;
}

/* One unit of softmax is always 1; so is the probability of the only class. */
static bool is_always_one(const bp_diagnosis *d, const bp_layer *last) {
    const bp_recipe *recipe = bp_model_recipe(d->model);
    const bool is_one = recipe->n_outputs == 1 || bp_model_units(d->model, last->id) == 1;
    return is_one && (last->activation == BP_ACTIVATION_SOFTMAX ||
                      (recipe->loss == BP_CROSS_ENTROPY && recipe->n_outputs == 1 &&
                       d->history.largest_loss < 1e-6));
}

static bool squashes_logits(const bp_diagnosis *d, const bp_layer *last) {
    double low, high;
    if (!takes_logits(bp_model_recipe(d->model)) || !bp_activation_range(last, &low, &high))
        return false;
    if (last->kind == BP_LAYER_LSTM || last->kind == BP_LAYER_GRU) return true;
    return isfinite(high) || last->activation == BP_ACTIVATION_RELU;
}

static bp_severity severity_of_last(const bp_diagnosis *d, const bp_layer *last, bool always_one) {
    if (always_one || has_failed(d)) return BP_ERROR;
    /* relu leaves the larger half of the logits: it costs where classes get no gradient any more.
     */
    const bool rectified = last->activation == BP_ACTIVATION_RELU;
    const bool costs =
        (d->setup.n_silent >= SILENT_RECORDS && d->setup.silent_share > SILENT_SHARE) ||
        (had_time(d) && loss_left(d) > FAR);
    return rectified && !costs ? BP_HINT : BP_WARNING;
}

/* An output that is 0 for all samples of a batch in which its class must have been. */
static void note_silence(bp_diagnosis *d, const bp_record *record, const bp_layer *last) {
    const double n_outputs = (double)bp_model_recipe(d->model)->n_outputs;
    if (!bp_record_has(record, BP_Q_SILENT_UNITS, last->id) || n_outputs < 2 ||
        bp_record_get(record, BP_Q_SAMPLES, 0) < 3 * n_outputs)
        return;
    const double silent = bp_record_get(record, BP_Q_SILENT_UNITS, last->id) > 0;
    if (d->setup.n_silent < SILENT_RECORDS) d->setup.n_silent++;
    d->setup.silent_share += (silent - d->setup.silent_share) / d->setup.n_silent;
}

static uint32_t judge_last_layer(bp_diagnosis *d, const bp_record *record, bool due) {
    const bp_layer *last = last_layer(d);
    if (!last || !bp_loss_is_judged(d)) return 0;
    if (last->activation == BP_ACTIVATION_RELU) note_silence(d, record, last);
    const bool always_one = is_always_one(d, last);
    if (!always_one && !squashes_logits(d, last)) return 0;
    if (!due) return 0;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_WRONG_LAST_LAYER];
    const bool existed = slot->exists;
    bp_finding_open(d, BP_PROBLEM_WRONG_LAST_LAYER, d->history.first_step, record->step);
    bp_finding_add_layer(slot, last->id);
    const double lowest = bp_loss_floor(d, last);
    bp_finding_add_evidence(slot, "loss_floor", "the lowest loss that it can reach", last->id,
                            record->step, lowest, isfinite(lowest));
    bp_finding_add_evidence(slot, "outputs", "units of the last layer", last->id, record->step,
                            (double)bp_model_units(d->model, last->id), true);
    return bp_finding_settle(slot, existed, severity_of_last(d, last, always_one));
}

/* --- input-not-normalised ----------------------------------------------------------------------
 */

static void note_input(bp_diagnosis *d, const bp_record *record) {
    bp_setup *setup = &d->setup;
    const struct {
        bp_quantity quantity;
        double *first;
    } told[] = {{BP_Q_ACTIVATION_RMS, &setup->input_rms},
                {BP_Q_VARIATION, &setup->input_variation},
                {BP_Q_FEATURE_SCALES, &setup->input_scales}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (isnan(*told[i].first) && bp_record_has(record, told[i].quantity, 0))
            *told[i].first = bp_record_get(record, told[i].quantity, 0);
    if (setup->first_step < 0) setup->first_step = record->step;
}

/* Token numbers have no scale, and a normalisation at the entrance gives inputs theirs. */
static bool input_has_a_scale(const bp_diagnosis *d) {
    uint32_t n_weighted = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer *layer = bp_model_layer(d->model, id);
        if (layer->kind == BP_LAYER_EMBEDDING) return false;
        const bool normalises = layer->norm != BP_NORM_NONE || layer->kind == BP_LAYER_LAYER_NORM ||
                                layer->kind == BP_LAYER_BATCH_NORM;
        if (normalises && n_weighted == 0) return false;
        n_weighted += bp_layer_has_weights(layer);
    }
    return true;
}

static bool input_is_raw(const bp_diagnosis *d) {
    const bp_setup *setup = &d->setup;
    return setup->input_rms > RAW_RMS || setup->input_scales > RAW_SCALES ||
           setup->input_variation < RAW_VARIATION;
}

/* 0: nothing shows that it harms, nor is it by its size alone worth a hint. */
static bp_severity severity_of_input(const bp_diagnosis *d) {
    const bp_setup *setup = &d->setup;
    const double left = loss_left(d);
    const bool is_large = setup->input_rms > RAW_RMS;
    if (has_failed(d)) return BP_ERROR;
    if (left < ALMOST_CONVERGED) return is_large ? BP_HINT : (bp_severity)0;
    const bool began_high = is_large && setup->start_loss > START_HARM * bp_trivial_level(d);
    if (began_high || (had_time(d) && left > FAR)) return BP_WARNING;
    return is_large || left > FAR ? BP_HINT : (bp_severity)0;
}

static uint32_t judge_input(bp_diagnosis *d, const bp_record *record) {
    bp_setup *setup = &d->setup;
    note_input(d, record);
    if (setup->n_records <= FIRST_FEW && isfinite(d->history.last_loss))
        setup->start_loss = fmax(setup->start_loss, d->history.last_loss);
    if (!input_is_raw(d) || !bp_loss_is_judged(d) || !input_has_a_scale(d)) return 0;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_INPUT_NOT_NORMALISED];
    const bool existed = slot->exists;
    bp_severity severity = severity_of_input(d);
    if (!severity && !existed) return 0;
    if (!severity) severity = BP_HINT; /* it did no lasting harm */
    if (existed && severity < slot->finding.severity && loss_left(d) > FAR)
        severity = slot->finding.severity;
    bp_finding_open(d, BP_PROBLEM_INPUT_NOT_NORMALISED, setup->first_step, record->step);
    for (uint32_t id = 1; id <= d->n_layers && slot->finding.n_layers == 0; id++)
        if (bp_layer_has_weights(bp_model_layer(d->model, id))) bp_finding_add_layer(slot, id);
    bp_finding_add_evidence(slot, "input_rms", "size of the inputs", 0, setup->first_step,
                            setup->input_rms, !isnan(setup->input_rms));
    bp_finding_add_evidence(slot, "input_variation", "their spread over samples / size", 0,
                            setup->first_step, setup->input_variation,
                            !isnan(setup->input_variation));
    bp_finding_add_evidence(slot, "feature_scales", "largest / median deviation of a feature", 0,
                            setup->first_step, setup->input_scales, !isnan(setup->input_scales));
    bp_finding_add_evidence(slot, "start_loss", "the largest of the first few", 0,
                            setup->first_step, setup->start_loss, !isnan(setup->start_loss));
    return bp_finding_settle(slot, existed, severity);
}

/* --- unused-parameter and frozen-parameter -----------------------------------------------------
 */

static bool gradient_is_zero(const bp_record *record, uint32_t id) {
    if (!bp_record_has(record, BP_Q_GRADIENT_RMS, id)) return false;
    if (bp_record_get(record, BP_Q_GRADIENT_RMS, id) != 0) return false;
    return !bp_record_has(record, BP_Q_BIAS_GRADIENT_RMS, id) ||
           bp_record_get(record, BP_Q_BIAS_GRADIENT_RMS, id) == 0;
}

static void note_gradient(bp_diagnosis *d, const bp_record *record, uint32_t id) {
    bp_no_gradient *layer = &d->setup.layer[id];
    layer->was_used = layer->was_used || bp_record_has(record, BP_Q_ACTIVATION_RMS, id) ||
                      bp_record_has(record, BP_Q_ACTIVATION_NORM, id);
    if (!d->history.layer[id].is_trained || bp_model_layer(d->model, id)->frozen) return;
    const bool has = bp_record_has(record, BP_Q_GRADIENT_RMS, id);
    /* Some of its parameters may lack one on purpose; the layer lacks one when it has none. */
    const bool missing = !has && bp_count_of(record, BP_Q_MISSING_GRADIENTS, id) > 0;
    const bool zero = gradient_is_zero(record, id);
    if ((missing || zero) && layer->n_missing + layer->n_zero == 0) layer->since = record->step;
    layer->n_missing = missing ? layer->n_missing + 1 : 0;
    layer->n_zero = zero ? layer->n_zero + 1 : 0;
    layer->had_gradient = layer->had_gradient || (has && !zero);
}

/* So long that it is no expert, no dropped layer, no start from zeros. */
static bool is_long(const bp_diagnosis *d, const bp_no_gradient *layer, int64_t step) {
    const int64_t epoch = bp_model_recipe(d->model)->epoch_steps;
    return layer->n_missing + layer->n_zero >= WINDOW_MIN &&
           step - layer->since + 1 >= (epoch > NO_GRADIENT_STEPS ? epoch : NO_GRADIENT_STEPS);
}

static bool is_unused(const bp_no_gradient *layer) {
    return layer->n_missing > 0 && !layer->was_used && !layer->had_gradient;
}

static bp_severity severity_without_gradient(const bp_diagnosis *d, double share) {
    if (has_failed(d)) return BP_ERROR;
    if (share < UNUSED_COSTS || loss_left(d) < ALMOST_CONVERGED) return BP_HINT;
    return BP_WARNING;
}

static uint32_t tell_without_gradient(bp_diagnosis *d, int64_t step, bp_problem problem) {
    bp_finding_slot *slot = &d->slots[problem];
    const bool existed = slot->exists, unused = problem == BP_PROBLEM_UNUSED_PARAMETER;
    int64_t since = -1;
    double n = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_no_gradient *layer = &d->setup.layer[id];
        if (!is_long(d, layer, step) || is_unused(layer) != unused) continue;
        if (since < 0) bp_finding_open(d, problem, layer->since, step);
        since = since < 0 || layer->since < since ? layer->since : since;
        bp_finding_add_layer(slot, id);
        n += (double)bp_layer_n_parameters(bp_model_layer(d->model, id));
    }
    if (since < 0) {
        if (!existed || !slot->finding.open) return 0;
        slot->finding.open = false; /* they get one again */
        return bp_finding_settle(slot, true, BP_HINT);
    }
    const double share = n / fmax(d->setup.n_parameters, 1);
    bp_finding_add_evidence(slot, "parameters", "without a gradient", 0, step, n, true);
    bp_finding_add_evidence(slot, "share", "of all that are trained", 0, step, share, true);
    bp_severity severity = severity_without_gradient(d, share);
    if (unused && severity == BP_ERROR && share < 0.5) severity = BP_WARNING; /* not by them */
    return bp_finding_settle(slot, existed, severity);
}

static uint32_t judge_gradients(bp_diagnosis *d, const bp_record *record) {
    const uint64_t gradients =
        (UINT64_C(1) << BP_Q_GRADIENT_RMS) | (UINT64_C(1) << BP_Q_MISSING_GRADIENTS);
    if (!(record->columns & gradients)) return 0; /* they were not looked at */
    for (uint32_t id = 1; id <= d->n_layers; id++) note_gradient(d, record, id);
    if (d->setup.n_records % 16 != 0) return 0;
    return tell_without_gradient(d, record->step, BP_PROBLEM_UNUSED_PARAMETER) +
           tell_without_gradient(d, record->step, BP_PROBLEM_FROZEN_PARAMETER);
}

uint32_t bp_judge_setup(bp_diagnosis *d, const bp_record *record) {
    if (d->non_finite.seen && record->step != d->non_finite.step) return 0;
    d->setup.n_records++;
    uint32_t changed = judge_targets(d, record);
    changed += judge_input(d, record);
    changed += judge_last_layer(
        d, record, d->setup.n_records == 1 || d->setup.n_records % 16 == 0 || d->non_finite.seen);
    return d->non_finite.seen ? changed : changed + judge_gradients(d, record);
}
