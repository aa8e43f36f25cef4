/* SPDX-License-Identifier: Apache-2.0 */
/* What a step tells the watch. */
#include "probe.h"

#include <math.h>

/* --- sites ------------------------------------------------------------------------------------ */

static void tell_format(bp_watch *watch, const native_place *place, const native_format *format) {
    const bool is_activation = place->role == BP_ROLE_ACTIVATION;
    if (format->precision == 0 || !(is_activation || place->role == BP_ROLE_ERROR_OUTPUT)) return;
    bp_watch_tell(watch, is_activation ? BP_Q_ACTIVATION_PRECISION : BP_Q_ERROR_PRECISION,
                  place->layer, format->precision);
    if (!is_activation && format->all > 0)
        bp_watch_tell(watch, BP_Q_ERROR_TINY, place->layer, format->tiny / format->all);
}

static void tell_units(bp_watch *watch, uint32_t layer, const native_site *site) {
    const bp_unit_counts *counts = &site->counts;
    if (layer == 0 && site->has_scales) bp_watch_tell(watch, BP_Q_FEATURE_SCALES, 0, site->scales);
    if (layer == 0 || !site->has_counts) return;
    bp_watch_tell(watch, BP_Q_UNITS, layer, (double)counts->n_units);
    if (counts->has_silent) bp_watch_tell(watch, BP_Q_SILENT_UNITS, layer, (double)counts->silent);
    if (counts->has_dead) bp_watch_tell(watch, BP_Q_DEAD_UNITS, layer, (double)counts->dead);
    if (counts->has_saturated)
        bp_watch_tell(watch, BP_Q_SATURATED_UNITS, layer, (double)counts->saturated);
    if (counts->has_distinct)
        bp_watch_tell(watch, BP_Q_DISTINCT_UNITS, layer, (double)counts->distinct);
}

/* What reaches the first time steps against the last ones. 0 / 0 says nothing. */
static void tell_through_time(native_probe *probe, const native_place *place) {
    if (place->site + 1 >= probe->stage.n_sites) return;
    const native_site *first = &probe->stage.sites[place->site], *last = first + 1;
    if (!first->n_errors || !last->n_errors) return;
    if (bp_summary_non_finite(&first->error) || bp_summary_non_finite(&last->error)) return;
    const double ratio = bp_summary_rms(&first->error) / bp_summary_rms(&last->error);
    if (!isnan(ratio)) bp_watch_tell(probe->watch, BP_Q_ERROR_THROUGH_TIME, place->layer, ratio);
}

static void tell_place(native_probe *probe, const bp_observer *observer,
                       const native_place *place) {
    if (place->role == NATIVE_ROLE_THROUGH_TIME) {
        tell_through_time(probe, place);
        return;
    }
    if (place->site >= probe->stage.n_sites) return;
    const native_site *site = &probe->stage.sites[place->site];
    const bool is_activation = place->role == BP_ROLE_ACTIVATION;
    if (is_activation) tell_units(probe->watch, place->layer, site);
    if (is_activation && site->has_variation)
        bp_watch_tell(probe->watch, BP_Q_VARIATION, place->layer, site->variation);
    const uint32_t n = is_activation ? site->n_activations : site->n_errors;
    if (!n) return;
    tell_format(probe->watch, place,
                is_activation ? &site->activation_format : &site->error_format);
    observer->summary(observer->context, place->layer, place->role, BP_SLOT_WEIGHT,
                      is_activation ? &site->activation : &site->error);
}

/* --- parameters ------------------------------------------------------------------------------- */

static void scale_gradient(bp_summary *summary, double factor) {
    const double low = summary->min / factor, high = summary->max / factor;
    const bool has_finite = summary->min <= summary->max;
    int exponent;
    const double fraction = frexp(factor, &exponent);
    summary->sum /= fraction;
    summary->sum_squares /= fraction * fraction;
    summary->sum_exponent -= exponent;
    summary->square_exponent -= exponent;
    if (!has_finite) return;
    summary->min = fmin(low, high);
    summary->max = fmax(low, high);
}

static void join(bp_summary *into, bool *has, const bp_summary *summary, bool has_it) {
    if (!has_it) return;
    bp_summary_merge(into, summary);
    *has = true;
}

static void clear_joint(native_joint *joint) {
    *joint = (native_joint){.has_value = false};
    bp_summary_init(&joint->value);
    bp_summary_init(&joint->gradient);
    bp_summary_init(&joint->unclipped);
}

static void join_parameters(native_probe *probe) {
    for (size_t i = 0; i < probe->n_cells; i++) clear_joint(&probe->joints[i]);
    for (size_t i = 0; i < probe->n_parameters; i++) {
        const native_parameter *p = &probe->parameters[i];
        native_joint *joint = &probe->joints[p->cell];
        join(&joint->value, &joint->has_value, &p->value, p->has_value);
        join(&joint->gradient, &joint->has_gradient, &p->gradient, p->has_gradient);
        join(&joint->unclipped, &joint->has_unclipped, &p->unclipped, p->has_unclipped);
        joint->is_shard |= p->shard > 0;
    }
}

static void tell_cell(native_probe *probe, const bp_observer *observer, uint32_t number) {
    const native_cell *cell = &probe->cells[number];
    const native_joint *joint = &probe->joints[number];
    const bool is_weight = cell->slot == BP_SLOT_WEIGHT;
    if (joint->has_value)
        observer->summary(observer->context, cell->layer, BP_ROLE_PARAMETER, cell->slot,
                          &joint->value);
    if (joint->has_gradient)
        observer->summary(observer->context, cell->layer, BP_ROLE_GRADIENT, cell->slot,
                          &joint->gradient);
    if (is_weight && joint->has_unclipped && bp_summary_non_finite(&joint->unclipped) == 0)
        bp_watch_tell(probe->watch, BP_Q_UNCLIPPED_RMS, cell->layer,
                      bp_summary_rms(&joint->unclipped));
    if (is_weight && joint->has_value && joint->is_shard)
        bp_watch_tell(probe->watch, BP_Q_SHARD_WEIGHTS, cell->layer, (double)joint->value.count);
}

/* --- histograms of exponents ------------------------------------------------------------------ */

/* Divided by a power of two all elements change their octave by as much; false: it is none. */
static bool scale_exponents(bp_histogram *histogram, double factor) {
    int exponent;
    if (frexp(factor, &exponent) != 0.5) return false;
    if (histogram->n_octaves > 0) histogram->first_octave -= exponent - 1;
    return true;
}

/* Of one that was taken the value is always there. */
static void join_exponents(native_exponents *into, const native_exponents *other) {
    bp_histogram_join(&into->value, &other->value);
    if (!other->has_gradient) return;
    if (into->has_gradient)
        bp_histogram_join(&into->gradient, &other->gradient);
    else
        into->gradient = other->gradient;
    into->has_gradient = true;
}

static void tell_exponents(native_probe *probe) {
    for (uint32_t i = 0; i < probe->n_cells; i++) probe->joints[i].exponents = NULL;
    for (size_t i = 0; i < probe->n_parameters; i++) {
        native_joint *joint = &probe->joints[probe->parameters[i].cell];
        native_exponents *taken = &probe->exponents[i];
        if (taken->has_gradient)
            taken->has_gradient = scale_exponents(&taken->gradient, probe->factor);
        if (!taken->has_value) continue;
        if (joint->exponents)
            join_exponents(joint->exponents, taken);
        else
            joint->exponents = taken;
    }
    for (uint32_t i = 0; i < probe->n_cells; i++) {
        const native_exponents *taken = probe->joints[i].exponents;
        const uint32_t layer = probe->cells[i].layer;
        if (!taken) continue;
        bp_watch_tell_histogram(probe->watch, layer, BP_ROLE_PARAMETER, &taken->value);
        if (taken->has_gradient)
            bp_watch_tell_histogram(probe->watch, layer, BP_ROLE_GRADIENT, &taken->gradient);
    }
}

/* --- updates ---------------------------------------------------------------------------------- */

static void add_update(native_update *sum, const native_parameter *p, double factor) {
    const double count = (double)p->count, per_place = p->looked > 0 ? count / p->looked : 0;
    if (p->has_adaptivity) {
        sum->adaptivity += p->adaptivity * count;
        sum->adaptivity_weights += count;
    }
    if (!p->has_update) return;
    sum->effect += p->effect * per_place / factor;
    sum->bad += p->bad > 0 ? fmax(1, round(p->bad * per_place)) : 0;
    sum->stalled += p->stalled > 0 ? fmax(1, round(p->stalled * per_place)) : 0;
    sum->parameters += count;
    if (p->slot != BP_SLOT_WEIGHT) return;
    sum->squares += p->squares * per_place;
    sum->weights += count;
    if (!p->has_cosine) return;
    sum->cosine += p->cosine * count;
    sum->cosine_weights += count;
}

/* A gradient counts as the backward pass left it: before anybody unscaled it. */
static void add_formats(native_update *sum, const native_parameter *p, bool is_stored) {
    if (p->has_value && p->slot == BP_SLOT_WEIGHT)
        native_format_add(&sum->weights_format, p->value_bits, &p->value);
    if (p->slot == BP_SLOT_WEIGHT && p->has_unclipped)
        native_format_add(&sum->gradient_format, p->unclipped_bits, &p->unclipped);
    else if (p->slot == BP_SLOT_WEIGHT && p->has_gradient && is_stored)
        native_format_add(&sum->gradient_format, p->gradient_bits, &p->gradient);
    if (!p->has_value) return;
    sum->was_seen = true;
    if (p->is_missing) sum->missing += (double)p->value.count;
}

static void tell_formats(bp_watch *watch, uint32_t layer, const native_update *sum) {
    const native_format *gradient = &sum->gradient_format;
    if (sum->was_seen) bp_watch_tell(watch, BP_Q_MISSING_GRADIENTS, layer, sum->missing);
    if (sum->weights_format.precision)
        bp_watch_tell(watch, BP_Q_PARAMETER_PRECISION, layer, sum->weights_format.precision);
    if (gradient->all > 0)
        bp_watch_tell(watch, BP_Q_GRADIENT_TINY, layer, gradient->tiny / gradient->all);
}

static void tell_update(bp_watch *watch, uint32_t layer, const native_update *sum, bool skipped) {
    if (sum->cosine_weights > 0)
        bp_watch_tell(watch, BP_Q_GRADIENT_COSINE, layer, sum->cosine / sum->cosine_weights);
    if (sum->adaptivity_weights > 0)
        bp_watch_tell(watch, BP_Q_ADAPTIVITY, layer, sum->adaptivity / sum->adaptivity_weights);
    if (skipped || !(sum->parameters > 0)) return;
    bp_watch_tell(watch, BP_Q_EFFECT, layer, sum->effect);
    bp_watch_tell(watch, BP_Q_UPDATE_BAD, layer, sum->bad);
    bp_watch_tell(watch, BP_Q_STALLED, layer, sum->stalled);
    bp_watch_tell(watch, BP_Q_PARAMETERS, layer, sum->parameters);
    if (sum->weights > 0)
        bp_watch_tell(watch, BP_Q_UPDATE_RMS, layer, sqrt(sum->squares / sum->weights));
}

static void tell_updates(native_probe *probe, bool skipped, bool is_stored) {
    for (uint32_t layer = 0; layer <= probe->n_layers; layer++)
        probe->updates[layer] = (native_update){.effect = 0};
    for (size_t i = 0; i < probe->n_parameters; i++) {
        const native_parameter *p = &probe->parameters[i];
        add_update(&probe->updates[p->layer], p, probe->factor);
        add_formats(&probe->updates[p->layer], p, is_stored);
    }
    for (uint32_t layer = 0; layer <= probe->n_layers; layer++) {
        tell_update(probe->watch, layer, &probe->updates[layer], skipped);
        tell_formats(probe->watch, layer, &probe->updates[layer]);
    }
}

/* --- norms of all gradients ------------------------------------------------------------------- */

static void tell_norm(native_probe *probe, bp_quantity quantity, bool unclipped) {
    bp_summary all;
    bool any = false;
    bp_summary_init(&all);
    for (size_t i = 0; i < probe->n_parameters; i++) {
        const native_parameter *p = &probe->parameters[i];
        join(&all, &any, unclipped ? &p->unclipped : &p->gradient,
             unclipped ? p->has_unclipped : p->has_gradient);
    }
    if (any && bp_summary_non_finite(&all) == 0)
        bp_watch_tell(probe->watch, quantity, 0, bp_summary_norm(&all));
}

/* Those of the backward pass are multiplied by the loss scale, whoever is going to divide by it. */
static void scale_gradients(native_probe *probe, double loss_scale) {
    const bool is_scaled = loss_scale != 1 && loss_scale > 0 && isfinite(loss_scale);
    if (probe->factor == 1 && !is_scaled) return;
    for (size_t i = 0; i < probe->n_parameters; i++) {
        native_parameter *p = &probe->parameters[i];
        if (p->has_gradient && probe->factor != 1) scale_gradient(&p->gradient, probe->factor);
        if (p->has_unclipped && is_scaled) scale_gradient(&p->unclipped, loss_scale);
    }
}

static void tell_readings(native_probe *probe, const bp_observer *observer, bool skipped,
                          double loss_scale) {
    for (size_t i = 0; i < probe->n_places; i++) tell_place(probe, observer, &probe->places[i]);
    if (probe->factor == 0 || !isfinite(probe->factor)) return;
    scale_gradients(probe, loss_scale);
    join_parameters(probe);
    for (uint32_t i = 0; i < probe->n_cells; i++) tell_cell(probe, observer, i);
    if (probe->has_exponents) tell_exponents(probe);
    tell_updates(probe, skipped, loss_scale == 1 || probe->factor != 1);
    tell_norm(probe, BP_Q_GRADIENT_NORM, false);
    tell_norm(probe, BP_Q_UNCLIPPED_NORM, true);
}

/* What the network was to give, and how often it did. */
static void tell_outputs(native_probe *probe, const bp_observer *observer) {
    const native_outputs *outputs = &probe->outputs;
    if (outputs->target_min <= outputs->target_max) {
        bp_watch_tell(probe->watch, BP_Q_TARGET_MIN, 0, outputs->target_min);
        bp_watch_tell(probe->watch, BP_Q_TARGET_MAX, 0, outputs->target_max);
    }
    if (outputs->guesses > 0)
        observer->scalar(observer->context, BP_METRIC_TRAIN_ACCURACY,
                         outputs->right / outputs->guesses);
}

void native_tell_step(native_probe *probe, const bp_step *step, const native_outcome *outcome,
                      double loss_scale) {
    const bp_observer *observer = bp_watch_observer(probe->watch);
    observer->step_begin(observer->context, step);
    if (outcome->has_loss) observer->scalar(observer->context, BP_METRIC_LOSS, outcome->loss);
    if (probe->full)
        tell_readings(probe, observer, step->flags & BP_STEP_UPDATE_SKIPPED, loss_scale);
    if (probe->full) tell_outputs(probe, observer);
    if (loss_scale != 1) bp_watch_tell(probe->watch, BP_Q_LOSS_SCALE, 0, loss_scale);
    observer->step_end(observer->context);
}
