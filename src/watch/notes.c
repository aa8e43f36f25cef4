/* SPDX-License-Identifier: Apache-2.0 */
/* From tensors and summaries to the quantities of a record. */
#include "watch/state.h"

#include <math.h>

#define VARIATION_SAMPLES 32 /* fewer samples do not tell how much an activation varies */

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

static void note_parameter(bp_watch *watch, uint32_t layer, bp_slot slot,
                           const bp_summary *summary) {
    add(watch, BP_Q_PARAMETER_NAN, layer, (double)summary->nan);
    add(watch, BP_Q_PARAMETER_INF, layer, inf_count(summary));
    if (summary->count == 0) return; /* an empty shard has no size */
    if (slot == BP_SLOT_WEIGHT) {
        set(watch, BP_Q_WEIGHT_RMS, layer, bp_summary_rms(summary));
        set(watch, BP_Q_WEIGHT_MAX, layer, bp_summary_max_abs(summary));
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

BP_GUARDED void take_units(bp_watch *watch, uint32_t layer, const bp_tensor *tensor) {
    bp_units *units = &watch->units[layer];
    double variation;
    bp_units_add(units, tensor);
    if (units->samples < VARIATION_SAMPLES) return;
    if (bp_units_variation(units, VARIATION_SAMPLES, &variation))
        set(watch, BP_Q_VARIATION, layer, variation);
    else if (!units->non_finite)
        set(watch, BP_Q_VARIATION, layer, 0); /* all outputs are 0: a dead layer tells nothing */
    bp_units_reset(units);
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
    bp_summarise(&summary, tensor);
    bp_note_summary(watch, layer, role, slot, &summary);
    if (role == BP_ROLE_ACTIVATION && watch->governor.full) {
        const bp_float_guard guard = bp_float_guard_enter();
        take_units(watch, layer, tensor);
        bp_float_guard_leave(&guard);
    }
}

void bp_note_update(bp_watch *watch, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                    const bp_tensor *before, const bp_tensor *after) {
    if (!watch->governor.full) return; /* was not asked for */
    const bp_float_guard guard = bp_float_guard_enter();
    take_update(watch, layer, slot, gradient, before, after);
    bp_float_guard_leave(&guard);
}
