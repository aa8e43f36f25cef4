/* SPDX-License-Identifier: Apache-2.0 */
/* vanishing-gradient: what flows backward (or forward) has shrunk by more than 1e3 AND layers are
 * starved of learning. Either alone is no finding: pooled, normalised and scaled networks have tiny
 * gradients and learn; a layer may rest without anything having vanished. */
#include "diagnosis/state.h"

#include <math.h>

static void update_starved(bp_diagnosis *d) {
    const bp_window *window = &d->window;
    const double level = bp_trivial_level(d);
    const bool learning_is_due = isnan(level) || bp_window_mean_loss(window) > 0.1 * level;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        bp_layer_history *layer = &d->history.layer[id];
        const uint32_t counted = window->counted[id];
        const bool below = counted >= WINDOW_MIN && 2 * window->below[id] > counted;
        const bool above_3 = counted < WINDOW_MIN || 2 * window->below_3[id] <= counted;
        if (!layer->starved && below && learning_is_due) {
            layer->starved = true;
            layer->starved_since = bp_window_onset_of_layer(window, id, d->limit);
        } else if (layer->starved && (above_3 || !learning_is_due)) {
            layer->starved = false;
        }
    }
}

/* Starved layers up to the cut point where the error signal is still strong. */
static uint32_t count_starved(const bp_diagnosis *d, uint32_t last_layer, bp_onset *since) {
    uint32_t n = 0;
    for (uint32_t id = 1; id <= last_layer; id++) {
        const bp_layer_history *layer = &d->history.layer[id];
        if (!layer->starved) continue;
        if (n == 0 || layer->starved_since.step < since->step) *since = layer->starved_since;
        n++;
    }
    return n;
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot, int64_t step) {
    const bp_profile *profile = &slot->profile;
    const uint32_t first = slot->finding.n_layers ? slot->layers[0] : 0;
    bp_finding_add_evidence(slot, "backward_span_log",
                            "ln of the error signal's fall from the loss to the input", 0,
                            profile->step, profile->vanish_span, profile->measured);
    if (profile->measured && profile->vanish_to > profile->vanish_from) {
        const double n = profile->vanish_to - profile->vanish_from;
        bp_finding_add_evidence(slot, "mean_gain", "geometric mean of the layers' gains", 0,
                                profile->step, exp(-profile->vanish_span / n), true);
    }
    bp_finding_add_evidence(
        slot, "forward_variation", "smallest spread over samples / size of an activation",
        bp_model_cut(d->model, d->forward_cut), step, d->forward_worst, !isnan(d->forward_worst));
    const double share = first ? bp_window_median_share(&d->window, first) : (double)NAN;
    bp_finding_add_evidence(slot, "share_of_learning", "median share of the first such layer",
                            first, step, share, !isnan(share));
    bp_finding_add_evidence(slot, "share_limit", "a layer below it is starved", 0, step, d->limit,
                            true);
    bp_finding_add_evidence(slot, "loss", "mean over the window", 0, step,
                            bp_window_mean_loss(&d->window), true);
    bp_finding_add_evidence(slot, "trivial_loss", "of the best constant prediction", 0, step,
                            bp_model_recipe(d->model)->trivial_loss,
                            !isnan(bp_model_recipe(d->model)->trivial_loss));
    if (slot->narrow && slot->blamed_to - slot->blamed_from == 1)
        bp_finding_add_evidence(slot, "blamed_layer", "where most of the fall happens",
                                bp_model_cut(d->model, slot->blamed_to), step,
                                bp_model_cut(d->model, slot->blamed_to), true);
}

/* last: the layer up to which starved ones count, as count_starved was told. */
static uint32_t update_finding(bp_diagnosis *d, int64_t step, bool backward, const bp_onset *since,
                               uint32_t last) {
    const bool existed = d->slots[BP_PROBLEM_VANISHING_GRADIENT].exists;
    bp_finding_slot *slot = bp_finding_open_within(d, BP_PROBLEM_VANISHING_GRADIENT, since, step);
    slot->forward = !backward;
    slot->through_time = false;
    slot->forward_cut = d->forward_cut;
    const bool faded = d->now.measured && d->now.vanish_span > LN_SPAN;
    if (faded)
        bp_profile_copy(&slot->profile, &d->now);
    else if (!slot->profile.measured && d->first.measured)
        bp_profile_copy(&slot->profile, &d->first);
    if (backward && slot->profile.measured)
        slot->narrow = bp_profile_narrow(&slot->profile, 1, &slot->blamed_from, &slot->blamed_to);
    for (uint32_t id = 1; id <= last; id++)
        if (d->history.layer[id].starved) bp_finding_add_layer(slot, id);
    add_evidence(d, slot, step);
    const bp_severity before = existed ? slot->finding.severity : 0;
    slot->finding.severity = bp_loss_left_trivial(d) ? BP_WARNING : BP_ERROR;
    return before != slot->finding.severity;
}

/* Two things are needed, so the later one decides; so do their bounds. */
static bp_onset later(const bp_onset *a, const bp_onset *b) {
    return (bp_onset){a->step > b->step ? a->step : b->step,
                      a->earliest > b->earliest ? a->earliest : b->earliest,
                      a->latest > b->latest ? a->latest : b->latest};
}

uint32_t bp_judge_vanishing(bp_diagnosis *d, const bp_record *record) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_VANISHING_GRADIENT];
    if (d->non_finite.seen || bp_window_length(&d->window) < WINDOW_MIN) return 0;
    update_starved(d);
    const bool backward = bp_window_majority(&d->window, d->window.backward);
    const bool forward = bp_window_majority(&d->window, d->window.forward);
    /* A single record may be no candidate while most of the window is. */
    const bool faded = d->now.measured && d->now.vanish_span > LN_SPAN;
    const bp_profile *profile = faded || !slot->exists ? &d->now : &slot->profile;
    const uint32_t last = backward && profile->measured && profile->vanish_span > LN_SPAN
                              ? bp_model_cut(d->model, profile->vanish_to)
                              : d->n_layers;
    bp_onset since = {0, 0, 0};
    if ((backward || forward) && count_starved(d, last, &since) > 0) {
        const uint8_t *flags = backward ? d->window.backward : d->window.forward;
        const bp_onset flow = bp_window_onset(&d->window, flags);
        const bp_onset both = later(&since, &flow);
        return update_finding(d, record->step, backward, &both, last);
    }
    /* Healed is what learns again; a loss that stays at the trivial level has not healed. */
    if (!slot->exists || slot->through_time || !bp_loss_left_trivial(d)) return 0;
    const bp_severity before = slot->finding.severity;
    slot->finding.open = false;
    slot->finding.severity =
        bp_finding_still_costs(d, &slot->finding, record->step) ? BP_WARNING : BP_HINT;
    return slot->finding.severity != before;
}
