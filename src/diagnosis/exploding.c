/* SPDX-License-Identifier: Apache-2.0 */
/* exploding-gradient: the error signal grows towards the input by more than 1e3 AND that harms: the
 * loss is far above guessing, an update is larger than the weights, or numbers stop being finite.
 * One record suffices: with plain SGD the second is NaN. The other way in is growth over steps:
 * updates larger than the weights and a loss far above guessing although depth is not to blame. */
#include "diagnosis/state.h"

#include <math.h>

#define WEIGHT_GROWTH 10
/* `then` was a moment ago: RUN_UP steps, or two distances where full records are rare. Steps may go
 * back (a resumed run). */
static bool recent(const bp_diagnosis *d, int64_t then, int64_t now) {
    const int64_t run_up = d->full_distance > RUN_UP / 2 ? 2 * d->full_distance : RUN_UP;
    return then >= 0 && now >= then && now - then <= run_up;
}

static double largest_update_ratio(const bp_diagnosis *d, uint32_t *layer) {
    double largest = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const double ratio = d->history.layer[id].last_update_ratio;
        if (!(ratio > largest)) continue; /* NaN: not measured */
        largest = ratio;
        *layer = id;
    }
    return largest;
}

static bool loss_out_of_bounds(const bp_diagnosis *d) {
    return d->history.last_loss > 10 * bp_trivial_level(d);
}

/* Where the loss tells nothing, weights tell: a layer's have grown tenfold since the start, and
 * updates still are larger than weights. */
static bool weights_have_grown(const bp_diagnosis *d, int64_t step) {
    if (bp_loss_is_judged(d) || !recent(d, d->jump_step, step)) return false;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_history *layer = &d->history.layer[id];
        if (layer->largest_update_ratio > 1 &&
            layer->last_weight_rms > WEIGHT_GROWTH * layer->first_weight_rms)
            return true;
    }
    return false;
}

/* The error signal has grown over depth for a whole window in which nothing was learnt. */
static bool is_stuck(const bp_diagnosis *d) {
    return bp_window_length(&d->window) == d->window.size &&
           bp_window_majority(&d->window, d->window.explode) && !bp_loss_left_trivial(d);
}

/* Layers whose error signal is more than 1e3 times what arrived nearer the loss. */
static void add_layers(bp_diagnosis *d, bp_finding_slot *slot) {
    const bp_profile *profile = &slot->profile;
    double lowest = profile->level[profile->n_cuts];
    uint32_t last = 0;
    for (uint32_t k = profile->n_cuts; k >= 1; k--) {
        lowest = fmin(lowest, profile->level[k]);
        if (profile->level[k] - lowest > LN_SPAN) {
            last = k;
            break;
        }
    }
    for (uint32_t id = 1; id <= bp_model_cut(d->model, last); id++)
        if (bp_layer_is_trained(bp_model_layer(d->model, id))) bp_finding_add_layer(slot, id);
    if (slot->finding.n_layers == 0) /* all of them are frozen */
        bp_finding_add_layer(slot, bp_model_cut(d->model, last));
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot, int64_t step) {
    const bp_profile *profile = &slot->profile;
    uint32_t layer = d->jump_layer;
    const double ratio = slot->temporal ? d->jump_ratio : largest_update_ratio(d, &layer);
    bp_finding_add_evidence(slot, "backward_span_log",
                            "ln of the error signal's growth from the loss to the input", 0,
                            profile->step, profile->explode_span, profile->measured);
    if (profile->measured && profile->explode_to > profile->explode_from) {
        const double n = profile->explode_to - profile->explode_from;
        bp_finding_add_evidence(slot, "mean_gain", "geometric mean of the layers' gains", 0,
                                profile->step, exp(profile->explode_span / n), true);
    }
    bp_finding_add_evidence(slot, "update_ratio", "largest rms(update) / rms(weight)", layer, step,
                            ratio, layer > 0);
    bp_finding_add_evidence(slot, "loss", "at its largest", 0, step, d->history.largest_loss, true);
    bp_finding_add_evidence(slot, "trivial_loss", "of the best constant prediction", 0, step,
                            bp_model_recipe(d->model)->trivial_loss,
                            !isnan(bp_model_recipe(d->model)->trivial_loss));
    bp_finding_add_evidence(slot, "learning_rate", "of the optimiser", 0, step,
                            bp_model_recipe(d->model)->learning_rate, true);
    if (d->history.clipping > 0)
        bp_finding_add_evidence(slot, "clipping",
                                "largest norm of the gradients before / after they were clipped", 0,
                                step, d->history.clipping, true);
    if (slot->narrow && slot->blamed_to - slot->blamed_from == 1)
        bp_finding_add_evidence(slot, "blamed_layer", "where most of the growth happens",
                                bp_model_cut(d->model, slot->blamed_to), step,
                                bp_model_cut(d->model, slot->blamed_to), true);
    if (slot->temporal)
        bp_finding_add_evidence(slot, "over_steps", "it grows from step to step, not over depth", 0,
                                step, 1, true);
}

static bool has_recovered(const bp_diagnosis *d) {
    return !d->non_finite.seen && bp_loss_left_trivial(d) && !loss_out_of_bounds(d) &&
           !weights_have_grown(d, d->history.last_step);
}

static uint32_t update_severity(bp_diagnosis *d, bp_finding_slot *slot, bool existed) {
    const bp_severity before = existed ? slot->finding.severity : 0;
    if (!has_recovered(d))
        slot->finding.severity = BP_ERROR;
    else
        slot->finding.severity = slot->finding.open ? BP_WARNING : BP_HINT; /* hint: it passed */
    return before != slot->finding.severity;
}

/* The loss came back to the trivial level because nothing was left to lose: units that a jump has
 * driven into saturation or death pass nothing on, and have not since. */
static bool has_died(const bp_diagnosis *d) {
    const bp_finding_slot *vanishing = &d->slots[BP_PROBLEM_VANISHING_GRADIENT];
    if (!vanishing->exists || !vanishing->finding.open || bp_loss_left_trivial(d)) return false;
    const int64_t since = vanishing->finding.since_step;
    return d->shot_step >= 0 && since > d->history.first_step && since >= d->shot_since &&
           since - d->shot_step <= RUN_UP;
}

static uint32_t open_over_depth(bp_diagnosis *d, int64_t step) {
    const bool existed = d->slots[BP_PROBLEM_EXPLODING_GRADIENT].exists;
    bp_finding_slot *slot =
        bp_finding_open(d, BP_PROBLEM_EXPLODING_GRADIENT, d->explode_since, step);
    slot->temporal = slot->through_time = false;
    bp_profile_copy(&slot->profile, &d->explode);
    slot->narrow = bp_profile_narrow(&slot->profile, -1, &slot->blamed_from, &slot->blamed_to);
    add_layers(d, slot);
    add_evidence(d, slot, step);
    return update_severity(d, slot, existed);
}

static uint32_t open_over_steps(bp_diagnosis *d, int64_t step) {
    const bool existed = d->slots[BP_PROBLEM_EXPLODING_GRADIENT].exists;
    const int64_t since = has_died(d) ? d->shot_since : d->jump_since;
    bp_finding_slot *slot = bp_finding_open(d, BP_PROBLEM_EXPLODING_GRADIENT, since, step);
    slot->temporal = true;
    slot->through_time = false;
    if (!existed && d->now.measured) bp_profile_copy(&slot->profile, &d->now);
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (d->history.layer[id].largest_update_ratio > 1) bp_finding_add_layer(slot, id);
    add_evidence(d, slot, step);
    return update_severity(d, slot, existed);
}

static void note_candidates(bp_diagnosis *d, const bp_record *record) {
    uint32_t layer = 0;
    if (d->now.measured && d->now.step == record->step && d->now.explode_span > LN_SPAN) {
        if (!recent(d, d->explode_step, record->step)) d->explode_since = record->step;
        d->explode_step = record->step;
        bp_profile_copy(&d->explode, &d->now);
    }
    const double ratio = largest_update_ratio(d, &layer);
    if (ratio > 1) {
        if (!recent(d, d->jump_step, record->step)) {
            d->jump_since = record->step;
            d->jump_ratio = ratio;
            d->jump_layer = layer;
        }
        d->jump_step = record->step;
    }
    if (d->history.n_out_of_bounds == 0)
        d->out_by_jump = false;
    else if (recent(d, d->jump_step, record->step))
        d->out_by_jump = true;
    if (recent(d, d->jump_step, record->step) &&
        recent(d, d->history.out_of_bounds_step, record->step)) {
        d->shot_since = d->jump_since;
        d->shot_step = record->step;
    }
}

uint32_t bp_judge_exploding(bp_diagnosis *d, const bp_record *record) {
    uint32_t layer = 0;
    if (!d->non_finite.seen) note_candidates(d, record);
    const int64_t step = record->step;
    const bool over_steps = recent(d, d->jump_step, step);
    const bool over_depth = recent(d, d->explode_step, step);
    const bool steps_first = over_steps && d->jump_since < d->explode_since;
    const bool grown = weights_have_grown(d, step);
    const bool harm = d->non_finite.seen || loss_out_of_bounds(d) || is_stuck(d) || grown;
    /* A long step that the loss soon forgets is no explosion: residual networks start so. */
    const bool lasting = grown || (d->out_by_jump && d->history.n_out_of_bounds >= WINDOW_MIN);
    const bool blown_up = (over_steps && d->non_finite.seen) || lasting;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_EXPLODING_GRADIENT];
    /* What one began, the other continues. */
    const bool is_depth = slot->exists && !slot->temporal && !slot->through_time;
    const bool is_steps = slot->exists && slot->temporal;
    const bool long_step = d->explode_step == step && largest_update_ratio(d, &layer) > 1;
    if (over_depth && (harm || long_step) && !is_steps && (is_depth || !steps_first))
        return open_over_depth(d, step);
    if (!is_depth && (blown_up || has_died(d) || (is_steps && over_steps && harm)))
        return open_over_steps(d, step);
    if (!slot->exists || slot->through_time) return 0;
    if (!over_depth && !over_steps && has_recovered(d)) slot->finding.open = false;
    return update_severity(d, slot, true);
}
