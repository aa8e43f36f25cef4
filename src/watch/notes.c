/* SPDX-License-Identifier: Apache-2.0 */
/* From tensors and summaries to the quantities of a record. */
#include "watch/state.h"

#include <math.h>

#define EQUAL_WEIGHTS 1e-6 /* deviation / rms: below it rounding alone makes them differ */

static void set(bp_watch *watch, bp_quantity quantity, uint32_t layer, double value) {
    bp_record_set(&watch->record, quantity, layer, value);
}

/* A layer's parameters add up, so that the tripwires cover all of them. */
static void add(bp_watch *watch, bp_quantity quantity, uint32_t layer, double value) {
    const double before = bp_record_has(&watch->record, quantity, layer)
                              ? bp_record_get(&watch->record, quantity, layer)
                              : 0;
    set(watch, quantity, layer, before + value);
}

static void raise_to(bp_watch *watch, bp_quantity quantity, uint32_t layer, double value) {
    const double before = bp_record_has(&watch->record, quantity, layer)
                              ? bp_record_get(&watch->record, quantity, layer)
                              : 0;
    set(watch, quantity, layer, fmax(before, value));
}

static double inf_count(const bp_summary *summary) {
    return (double)(summary->positive_inf + summary->negative_inf);
}

static double per_sample(const bp_watch *watch, const bp_summary *summary) {
    return bp_summary_norm(summary) / sqrt((double)watch->step.samples);
}

static void note_activation(bp_watch *watch, uint32_t layer, const bp_summary *summary) {
    set(watch, BP_Q_ACTIVATION_NAN, layer, (double)summary->nan);
    set(watch, BP_Q_ACTIVATION_INF, layer, inf_count(summary));
    set(watch, BP_Q_ACTIVATION_MAX, layer, bp_summary_max_abs(summary));
    if (bp_summary_non_finite(summary)) return;
    set(watch, BP_Q_ACTIVATION_RMS, layer, bp_summary_rms(summary));
    set(watch, BP_Q_ACTIVATION_NORM, layer, per_sample(watch, summary));
}

static void note_error(bp_watch *watch, uint32_t layer, const bp_summary *summary) {
    const double terms = (double)watch->step.loss_terms; /* undo the mean: short batches compare */
    set(watch, BP_Q_ERROR_NAN, layer, (double)summary->nan);
    set(watch, BP_Q_ERROR_INF, layer, inf_count(summary));
    set(watch, BP_Q_ERROR_MAX, layer, bp_summary_max_abs(summary) * terms);
    if (bp_summary_non_finite(summary)) return;
    set(watch, BP_Q_ERROR_RMS, layer, bp_summary_rms(summary) * terms);
    set(watch, BP_Q_ERROR_NORM, layer, per_sample(watch, summary) * terms);
}

/* 0: all are equal. */
static double spread_of(const bp_summary *summary) {
    if (summary->min == summary->max) return 0; /* sums of many squares are rounded */
    const double share = bp_summary_mean(summary) / bp_summary_rms(summary);
    const double spread = sqrt(fmax(1 - share * share, 0));
    return spread < EQUAL_WEIGHTS ? 0 : spread;
}

static void note_parameter(bp_watch *watch, uint32_t layer, bp_slot slot,
                           const bp_summary *summary) {
    add(watch, BP_Q_PARAMETER_NAN, layer, (double)summary->nan);
    add(watch, BP_Q_PARAMETER_INF, layer, inf_count(summary));
    if (summary->count == 0) return; /* an empty shard has no size */
    if (slot == BP_SLOT_WEIGHT) {
        set(watch, BP_Q_WEIGHT_RMS, layer, bp_summary_rms(summary));
        set(watch, BP_Q_WEIGHT_MAX, layer, bp_summary_max_abs(summary));
        if (bp_summary_non_finite(summary) == 0)
            set(watch, BP_Q_WEIGHT_SPREAD, layer, spread_of(summary));
    } else if (slot == BP_SLOT_BIAS) {
        set(watch, BP_Q_BIAS_RMS, layer, bp_summary_rms(summary));
    }
}

static void note_gradient(bp_watch *watch, uint32_t layer, bp_slot slot,
                          const bp_summary *summary) {
    add(watch, BP_Q_GRADIENT_NAN, layer, (double)summary->nan);
    add(watch, BP_Q_GRADIENT_INF, layer, inf_count(summary));
    raise_to(watch, BP_Q_GRADIENT_MAX, layer, bp_summary_max_abs(summary));
    if (summary->count == 0) return;
    if (slot == BP_SLOT_WEIGHT) set(watch, BP_Q_GRADIENT_RMS, layer, bp_summary_rms(summary));
    if (slot == BP_SLOT_BIAS) set(watch, BP_Q_BIAS_GRADIENT_RMS, layer, bp_summary_rms(summary));
}

BP_GUARDED void take_summary(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                             const bp_summary *summary) {
    const double terms = (double)watch->step.loss_terms;
    const bool finite = bp_summary_non_finite(summary) == 0;
    switch (role) {
    case BP_ROLE_ACTIVATION:
        note_activation(watch, layer, summary);
        break;
    case BP_ROLE_ERROR_OUTPUT:
        note_error(watch, layer, summary);
        break;
    case BP_ROLE_ERROR_PRE_ACTIVATION:
        if (finite) set(watch, BP_Q_ERROR_PRE_ACTIVATION, layer, bp_summary_rms(summary) * terms);
        break;
    case BP_ROLE_ERROR_PRE_NORM:
        if (finite) set(watch, BP_Q_ERROR_PRE_NORM, layer, bp_summary_rms(summary) * terms);
        break;
    case BP_ROLE_ERROR_INPUT:
        if (finite) set(watch, BP_Q_ERROR_INPUT_NORM, layer, per_sample(watch, summary) * terms);
        break;
    case BP_ROLE_PARAMETER:
        note_parameter(watch, layer, slot, summary);
        break;
    case BP_ROLE_GRADIENT:
        note_gradient(watch, layer, slot, summary);
        break;
    case BP_ROLE_UPDATE:
    case BP_N_ROLES:
        break;
    }
}

/* Of the values that are not zero those that have lost digits; of half formats alone, whose
 * smallest numbers gradients reach. */
static void note_tiny(bp_watch *watch, bp_quantity quantity, uint32_t layer, bp_dtype dtype,
                      const bp_summary *summary) {
    const uint64_t others = summary->zero + bp_summary_non_finite(summary);
    if ((dtype != BP_F16 && dtype != BP_BF16) || summary->count <= others) return;
    set(watch, quantity, layer, (double)summary->subnormal / (double)(summary->count - others));
}

static void note_format(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot, bp_dtype dtype,
                        const bp_summary *summary) {
    const double bits = bp_dtype_precision(dtype);
    if (summary->count == 0) return;
    if (role == BP_ROLE_ACTIVATION) set(watch, BP_Q_ACTIVATION_PRECISION, layer, bits);
    if (role == BP_ROLE_ERROR_OUTPUT) {
        set(watch, BP_Q_ERROR_PRECISION, layer, bits);
        note_tiny(watch, BP_Q_ERROR_TINY, layer, dtype, summary);
    }
    if (slot != BP_SLOT_WEIGHT) return;
    if (role == BP_ROLE_PARAMETER) set(watch, BP_Q_PARAMETER_PRECISION, layer, bits);
    if (role == BP_ROLE_GRADIENT) note_tiny(watch, BP_Q_GRADIENT_TINY, layer, dtype, summary);
}

/* --- through time ----------------------------------------------------------------------------- */

/* Time steps from `first` on of a sequence [samples, time steps, features]. */
static double rms_of_steps(const bp_tensor *sequence, int64_t first, int64_t n) {
    bp_tensor steps = *sequence;
    bp_summary summary;
    steps.data = (const uint8_t *)steps.data +
                 first * steps.stride[1] * (int64_t)bp_dtype_bytes(steps.dtype);
    steps.shape[1] = n;
    bp_summarise(&summary, &steps);
    return bp_summary_non_finite(&summary) ? (double)NAN : bp_summary_rms(&summary);
}

/* A flat sample of the shape that the model gives it as a sequence; false where it has another. */
static bool as_sequence(const bp_watch *watch, uint32_t layer, const bp_tensor *tensor,
                        bp_tensor *sequence) {
    *sequence = *tensor;
    if (tensor->ndim == 3) return tensor->shape[1] > 1;
    const bp_layer *before = bp_model_layer(watch->model, layer - 1);
    int64_t steps, features;
    bp_sequence_of(before ? before->output_shape : bp_model_input(watch->model), &steps, &features);
    if (tensor->ndim != 2 || steps < 2 || tensor->shape[1] != steps * features) return false;
    sequence->ndim = 3;
    sequence->shape[1] = steps;
    sequence->shape[2] = features;
    sequence->stride[2] = tensor->stride[1];
    sequence->stride[1] = features * tensor->stride[1];
    return true;
}

/* The error signal of a recurrent layer's input: how much of it comes back to the first steps. */
static void note_through_time(bp_watch *watch, uint32_t layer, const bp_tensor *tensor) {
    bp_tensor sequence;
    if (!as_sequence(watch, layer, tensor, &sequence)) return;
    const int64_t steps = sequence.shape[1], tenth = steps < 20 ? 1 : steps / 10;
    const double first = rms_of_steps(&sequence, 0, tenth);
    const double last = rms_of_steps(&sequence, steps - tenth, tenth);
    if (isnan(first) || isnan(last) || (first == 0 && last == 0)) return;
    set(watch, BP_Q_ERROR_THROUGH_TIME, layer, first / last);
}

/* Of all gradients that were given as tensors: their norms are sides of a box. */
static void add_gradient_norm(bp_watch *watch, const bp_summary *summary) {
    double norm = bp_summary_norm(summary);
    if (bp_summary_non_finite(summary)) norm = summary->nan ? (double)NAN : (double)INFINITY;
    const double before = bp_record_has(&watch->record, BP_Q_GRADIENT_NORM, 0)
                              ? bp_record_get(&watch->record, BP_Q_GRADIENT_NORM, 0)
                              : 0;
    set(watch, BP_Q_GRADIENT_NORM, 0, hypot(before, norm));
}

BP_GUARDED void take_tensor(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                            const bp_tensor *tensor, const bp_summary *summary) {
    note_format(watch, layer, role, slot, tensor->dtype, summary);
    if (role == BP_ROLE_ACTIVATION) bp_note_units(watch, layer, tensor);
    if (role == BP_ROLE_GRADIENT) add_gradient_norm(watch, summary);
    /* What comes out of the layer before is this one's input. */
    const bool before = role == BP_ROLE_ERROR_OUTPUT;
    const bp_layer *reader = bp_model_layer(watch->model, before ? layer + 1 : layer);
    if (!(before || role == BP_ROLE_ERROR_INPUT) || !reader || !bp_layer_is_recurrent(reader))
        return;
    if (before && bp_record_has(&watch->record, BP_Q_ERROR_THROUGH_TIME, reader->id))
        return; /* it was told apart from what came back by a skip */
    note_through_time(watch, reader->id, tensor);
}

BP_GUARDED void take_update(bp_watch *watch, uint32_t layer, bp_slot slot,
                            const bp_tensor *gradient, const bp_tensor *before,
                            const bp_tensor *after) {
    bp_update_stats stats = {0};
    bp_update_stats_add(&stats, gradient, before, after);
    add(watch, BP_Q_EFFECT, layer, stats.effect);
    add(watch, BP_Q_UPDATE_BAD, layer, (double)stats.made_non_finite);
    add(watch, BP_Q_STALLED, layer, (double)stats.stalled);
    add(watch, BP_Q_PARAMETERS, layer, (double)stats.count);
    if (slot == BP_SLOT_WEIGHT && stats.count)
        set(watch, BP_Q_UPDATE_RMS, layer, sqrt(stats.sum_squares_change / (double)stats.count));
    double cosine;
    if (slot == BP_SLOT_WEIGHT && bp_direction_turn(&watch->directions[layer], gradient, &cosine))
        set(watch, BP_Q_GRADIENT_COSINE, layer, cosine);
}

/* A light step tells its loss alone, unless the tripwire meets a NaN or Inf: then the step gets a
 * record, and the next ones are looked at in full. */
static bool is_silent(bp_watch *watch, const bp_summary *summary) {
    if (watch->governor.full) return false;
    if (bp_summary_non_finite(summary) > 0) {
        bp_governor_alarm(&watch->governor);
        bp_watch_begin_record(watch);
    }
    return !watch->has_record;
}

/* A host may trap on NaN or overflow: what comes from it is reckoned with in our environment. */

void bp_note_summary(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                     const bp_summary *summary) {
    if (is_silent(watch, summary)) return;
    const bp_float_guard guard = bp_float_guard_enter();
    take_summary(watch, layer, role, slot, summary);
    bp_float_guard_leave(&guard);
}

void bp_note_tensor(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_tensor *tensor) {
    bp_summary summary;
    const bool by_octaves = bp_watch_takes_histogram(watch, role, slot);
    if (by_octaves)
        bp_summarise_exponents(&summary, &watch->exponents, tensor);
    else
        bp_summarise(&summary, tensor);
    bp_note_summary(watch, layer, role, slot, &summary);
    if (!watch->governor.full) return;
    const bp_float_guard guard = bp_float_guard_enter();
    take_tensor(watch, layer, role, slot, tensor, &summary);
    if (by_octaves) bp_note_exponents(watch, layer, role, &summary);
    bp_float_guard_leave(&guard);
}

void bp_note_update(bp_watch *watch, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                    const bp_tensor *before, const bp_tensor *after) {
    if (!watch->governor.full) return; /* was not asked for */
    const bp_float_guard guard = bp_float_guard_enter();
    take_update(watch, layer, slot, gradient, before, after);
    bp_float_guard_leave(&guard);
}
