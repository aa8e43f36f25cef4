/* SPDX-License-Identifier: Apache-2.0 */
/* The error signals of one step over depth: gains, their parts, and the spans that they add up to.
 */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

/* An error signal of exactly 0 has fallen below what the format holds; it counts as the smallest
 * value that the record can tell. */
#define SMALLEST 1e-46

static bp_cut_facts facts_of(const bp_model *model, uint32_t cut) {
    const bp_layer *layer = bp_model_layer(model, bp_model_cut(model, cut));
    const bool is_residual = layer->kind == BP_LAYER_RESIDUAL;
    return (bp_cut_facts){
        .id = layer->id,
        .branch = is_residual && layer->id > layer->n_branch ? layer->id - layer->n_branch : 0,
        .is_residual = is_residual,
        /* of a recurrent layer it is a product over time, of gates and weights alike */
        .has_parts = !is_residual && !bp_layer_is_recurrent(layer),
        .has_activation = layer->activation != BP_ACTIVATION_LINEAR,
        .has_norm = layer->norm != BP_NORM_NONE,
        .norm_after_activation = layer->norm_after_activation,
        .is_normalised = cut > 1 && bp_model_cut_is_normalised(model, cut),
        .root_fan_in = bp_layer_is_weighted_sum(layer)
                           ? sqrt(bp_model_mean_fan_in(model, layer->id))
                           : (double)NAN};
}

bool bp_profile_init(bp_profile *profile, const bp_model *model, const bp_allocator *allocator) {
    const uint32_t n = bp_model_n_cuts(model);
    profile->n_cuts = n;
    profile->error_norm = bp_allocate(allocator, n + 1, sizeof *profile->error_norm);
    profile->level = bp_allocate(allocator, n + 1, sizeof *profile->level);
    profile->gain = bp_allocate(allocator, n + 1, sizeof *profile->gain);
    profile->queue = bp_allocate(allocator, n + 1, sizeof *profile->queue);
    profile->facts = bp_allocate(allocator, n + 1, sizeof *profile->facts);
    for (uint32_t k = 1; profile->facts && k <= n; k++) profile->facts[k] = facts_of(model, k);
    return profile->error_norm && profile->level && profile->gain && profile->queue &&
           profile->facts;
}

void bp_profile_finish(bp_profile *profile, const bp_allocator *allocator) {
    const size_t n = (size_t)profile->n_cuts + 1;
    bp_release(allocator, profile->error_norm, n, sizeof *profile->error_norm);
    bp_release(allocator, profile->level, n, sizeof *profile->level);
    bp_release(allocator, profile->gain, n, sizeof *profile->gain);
    bp_release(allocator, profile->queue, n, sizeof *profile->queue);
    bp_release(allocator, profile->facts, n, sizeof *profile->facts);
}

void bp_profile_copy(bp_profile *to, const bp_profile *from) {
    const size_t n = (size_t)from->n_cuts + 1;
    bp_profile kept = *to;
    *to = *from;
    to->queue = kept.queue;
    to->facts = kept.facts;
    to->error_norm = memcpy(kept.error_norm, from->error_norm, n * sizeof *from->error_norm);
    to->level = memcpy(kept.level, from->level, n * sizeof *from->level);
    to->gain = memcpy(kept.gain, from->gain, n * sizeof *from->gain);
}

/* The parts of the gain of one layer between two cut points; the product of the measured ones is
 * the gain exactly (telescoping). */
static void split_gain(const bp_cut_facts *layer, const bp_record *record, bp_gain *gain) {
    gain->activation = gain->norm = gain->weight = gain->alignment = (double)NAN;
    if (!layer->has_parts) return;
    double at = bp_record_get(record, BP_Q_ERROR_RMS, layer->id); /* going back through the layer */
    const double before_activation = bp_record_get(record, BP_Q_ERROR_PRE_ACTIVATION, layer->id);
    const double before_norm = bp_record_get(record, BP_Q_ERROR_PRE_NORM, layer->id);
    gain->activation = gain->norm = 1;
    if (layer->has_norm && layer->norm_after_activation) {
        gain->norm = before_norm / at;
        at = before_norm;
    }
    if (layer->has_activation) {
        gain->activation = before_activation / at;
        at = before_activation;
    }
    if (layer->has_norm && !layer->norm_after_activation) gain->norm = before_norm / at;
    gain->weight = gain->gain / (gain->activation * gain->norm);
    const double independent =
        bp_record_get(record, BP_Q_WEIGHT_RMS, layer->id) * layer->root_fan_in;
    gain->alignment = gain->weight / independent;
}

static void measure_gain(bp_profile *profile, const bp_record *record, uint32_t cut) {
    const bp_cut_facts *layer = &profile->facts[cut];
    bp_gain *gain = &profile->gain[cut];
    *gain = (bp_gain){.layer = layer->id,
                      .error_norm = profile->error_norm[cut],
                      .share = (double)NAN,
                      .gain = (double)NAN,
                      .branch = (double)NAN};
    if (cut > 1) gain->gain = profile->error_norm[cut - 1] / profile->error_norm[cut];
    split_gain(layer, record, gain);
    if (layer->branch)
        gain->branch =
            bp_record_get(record, BP_Q_ERROR_INPUT_NORM, layer->branch) / profile->error_norm[cut];
}

/* Of a finite number. */
static double log_of(double norm) {
    return log(norm > SMALLEST ? norm : SMALLEST);
}

/* What grows or shrinks between two cut points: the error signal's norm (of which the change of the
 * logarithm is given), times the activation's norm where a normalisation makes the weights' scale
 * meaningless. */
static double log_step(const bp_profile *profile, double step, const bp_record *record,
                       uint32_t cut) {
    if (!profile->facts[cut].is_normalised) return step;
    const double x = bp_record_get(record, BP_Q_ACTIVATION_NORM, profile->facts[cut].id);
    const double before = bp_record_get(record, BP_Q_ACTIVATION_NORM, profile->facts[cut - 1].id);
    if (x > 0 && before > 0 && isfinite(x) && isfinite(before)) step += log(x) - log(before);
    return step;
}

static void find_spans(bp_profile *profile) {
    uint32_t lowest = 1, highest = 1;
    profile->vanish_span = profile->explode_span = 0;
    profile->vanish_from = profile->vanish_to = profile->explode_from = profile->explode_to = 1;
    for (uint32_t k = 2; k <= profile->n_cuts; k++) {
        const double rise = profile->level[k] - profile->level[lowest];
        const double fall = profile->level[highest] - profile->level[k];
        if (rise > profile->vanish_span) {
            profile->vanish_span = rise;
            profile->vanish_from = lowest;
            profile->vanish_to = k;
        }
        if (fall > profile->explode_span) {
            profile->explode_span = fall;
            profile->explode_from = highest;
            profile->explode_to = k;
        }
        if (profile->level[k] < profile->level[lowest]) lowest = k;
        if (profile->level[k] > profile->level[highest]) highest = k;
    }
}

static void find_contributions(bp_profile *profile) {
    double total = 0;
    for (uint32_t k = 2; k <= profile->n_cuts; k++)
        total += fabs(profile->level[k] - profile->level[k - 1]);
    for (uint32_t k = 2; k <= profile->n_cuts; k++)
        profile->gain[k].contribution =
            total > 0 ? fabs(profile->level[k] - profile->level[k - 1]) / total : 0;
}

void bp_profile_measure(bp_profile *profile, const bp_record *record) {
    profile->measured = false;
    profile->step = record->step;
    if (profile->n_cuts == 0) return;
    for (uint32_t k = 1; k <= profile->n_cuts; k++) {
        profile->error_norm[k] = bp_record_get(record, BP_Q_ERROR_NORM, profile->facts[k].id);
        if (!isfinite(profile->error_norm[k])) return;
    }
    if (profile->error_norm[profile->n_cuts] <= 0) return; /* no error is left to pass back */
    profile->level[1] = 0;
    double before = log_of(profile->error_norm[1]);
    measure_gain(profile, record, 1);
    for (uint32_t k = 2; k <= profile->n_cuts; k++) {
        const double now = log_of(profile->error_norm[k]);
        measure_gain(profile, record, k);
        profile->level[k] = profile->level[k - 1] + log_step(profile, now - before, record, k);
        before = now;
    }
    find_spans(profile);
    find_contributions(profile);
    profile->measured = true;
}

bool bp_profile_narrow(const bp_profile *profile, double sign, uint32_t *from, uint32_t *to) {
    const uint32_t first = sign > 0 ? profile->vanish_from : profile->explode_from;
    const uint32_t last = sign > 0 ? profile->vanish_to : profile->explode_to;
    const double span = sign > 0 ? profile->vanish_span : profile->explode_span;
    *from = first;
    *to = last;
    /* The shortest stretch with at least so much, by a queue of rising starts: each cut point
     * enters and leaves it once. */
    uint32_t head = 0, tail = 0;
    for (uint32_t b = first; b <= last; b++) {
        const double level = sign * profile->level[b];
        while (head < tail && level - sign * profile->level[profile->queue[head]] >= 0.8 * span) {
            const uint32_t a = profile->queue[head++];
            if (b - a >= *to - *from) continue;
            *from = a;
            *to = b;
        }
        while (head < tail && sign * profile->level[profile->queue[tail - 1]] >= level) tail--;
        profile->queue[tail++] = b;
    }
    return *to - *from == 1 || 2 * (*to - *from) < last - first;
}
