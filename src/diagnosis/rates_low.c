/* SPDX-License-Identifier: Apache-2.0 */
/* What moves too little. learning-rate-too-low: over the whole run the weights would move by a
 * small part of their size, although gradients keep pointing the same way and the loss is far from
 * what guessing costs. stalled-update: updates are lost in the rounding of the weights.
 * update-imbalance: of layers of one kind some move a thousand times less and learn nothing. */
#include "diagnosis/state.h"

#include <math.h>

#define FAR 0.5 /* of the trivial level */
#define ALMOST_CONVERGED 0.1
#define SMALL_RATIO 1e-3 /* about what a healthy update is of its weights */
#define STEADY 0.5       /* cosine of successive gradients: nearly all of them is signal ... */
#define STRAIGHT 0.9     /* no noise at all */
#define SHORT_WAY 0.01   /* ... and the weights would move by less than this */
#define NOT_NOISE 0.1    /* a small batch: there is a signal ... */
#define NO_WAY 0.003     /* ... and the weights would not move at all */
#define ABOVE 1.05       /* of the trivial level */
#define LONG_WAY 0.2     /* by which something should be learnt, if only the frequency of classes */
#define LITTLE_WAY 0.03
#define MOST 0.5
#define SPREAD_LOG 6.907755278982137 /* ln 1e3 */
#define MIN_OF_A_KIND 3u

/* The loss as a share of the trivial level; NaN where none is known. */
static double loss_left(const bp_diagnosis *d) {
    return d->rates.level / bp_trivial_level(d);
}

static uint32_t settle(bp_finding_slot *slot, bool existed, bp_severity before,
                       bp_severity severity) {
    slot->finding.severity = severity;
    return !existed || before != severity;
}

/* It no longer holds. */
static uint32_t end(bp_diagnosis *d, bp_problem problem) {
    bp_finding_slot *slot = &d->slots[problem];
    if (!slot->exists) return 0;
    slot->finding.open = false;
    if (slot->finding.severity == BP_HINT || loss_left(d) > FAR) return 0;
    slot->finding.severity = BP_HINT;
    return 1;
}

static bool stands(const bp_diagnosis *d, bp_problem problem) {
    const bp_finding_slot *slot = &d->slots[problem];
    return slot->exists && slot->finding.open && slot->finding.severity > BP_HINT;
}

/* Explained by what came first: nothing flows, or nothing is left of it. */
static bool is_blocked(const bp_diagnosis *d) {
    const bp_finding_slot *slots = d->slots;
    return (slots[BP_PROBLEM_VANISHING_GRADIENT].exists &&
            slots[BP_PROBLEM_VANISHING_GRADIENT].finding.open) ||
           d->rates.output_is_saturated || slots[BP_PROBLEM_EXPLODING_GRADIENT].exists ||
           slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH].exists;
}

/* --- learning-rate-too-low ---------------------------------------------------------------------
 */

static bool is_too_low(const bp_diagnosis *d) {
    const bp_rates *rates = &d->rates;
    const double way = rates->ratio * rates->horizon;
    if (rates->is_rising || !(rates->ratio < SMALL_RATIO)) return false;
    const double level = bp_trivial_level(d);
    const double left = rates->horizon - (double)(d->history.last_step - d->history.first_step);
    const double expected =
        fmin(rates->level, rates->level - fmax(rates->fall, 0) * fmax(left, 0)) / level;
    const bool steady = rates->cosine > STEADY && way < SHORT_WAY;
    const bool still = rates->cosine > NOT_NOISE && way < NO_WAY;
    const bool straight =
        rates->cosine > STRAIGHT && way < LONG_WAY && rates->ratio < SMALL_RATIO / 10;
    if (expected > FAR && (straight || steady || still)) return true;
    /* Worse than guessing, and it would end so: not even the last layer's biases are learnt. */
    const bool on_its_way = rates->cosine > STEADY && way < LONG_WAY;
    const bool little = rates->cosine > NOT_NOISE && way < LITTLE_WAY;
    return expected > ABOVE && (on_its_way || little || way < NO_WAY);
}

static uint32_t judge_low(bp_diagnosis *d, int64_t step) {
    const bp_rates *rates = &d->rates;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LEARNING_RATE_TOO_LOW];
    if (is_blocked(d) || !is_too_low(d)) return end(d, BP_PROBLEM_LEARNING_RATE_TOO_LOW);
    const bool existed = slot->exists;
    const bp_severity before = slot->finding.severity;
    bp_finding_open(d, BP_PROBLEM_LEARNING_RATE_TOO_LOW, d->history.first_step, step);
    const double raise = pow(10, floor(log10(SMALL_RATIO / rates->ratio) + 0.5));
    bp_finding_add_evidence(slot, "update_ratio", "rms(update) / rms(weight), median over layers",
                            0, step, rates->ratio, true);
    bp_finding_add_evidence(slot, "gradient_cosine", "of successive gradients, median over layers",
                            0, step, rates->cosine, true);
    bp_finding_add_evidence(slot, "way", "by what part of their size the weights move in the run",
                            0, step, rates->ratio * rates->horizon, true);
    bp_finding_add_evidence(slot, "steps", "that it has, or may be expected to have", 0, step,
                            rates->horizon, true);
    bp_finding_add_evidence(slot, "loss", "median over the window", 0, step, rates->level, true);
    bp_finding_add_evidence(
        slot, "learning_rate", "now", 0, step,
        rates->lr_max > 0 ? rates->lr : bp_model_recipe(d->model)->learning_rate, true);
    bp_finding_add_evidence(slot, "raise_by", "factor to a usual update", 0, step,
                            fmin(fmax(raise, 10), 1e6), true);
    return settle(slot, existed, before, bp_loss_left_trivial(d) ? BP_WARNING : BP_ERROR);
}

/* --- stalled-update ----------------------------------------------------------------------------
 */

/* The oldest of the records that the running means remember. */
static int64_t first_of_memory(const bp_diagnosis *d) {
    const bp_window *window = &d->window;
    const uint32_t n =
        bp_window_length(window) < BP_RATES_MEMORY ? bp_window_length(window) : BP_RATES_MEMORY;
    return window->step[(window->n_total - n) % window->size];
}

static uint32_t judge_stalled(bp_diagnosis *d, int64_t step) {
    const bp_rates *rates = &d->rates;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_STALLED_UPDATE];
    uint32_t n = 0, first = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_rate *layer = &rates->layer[id];
        if (layer->n_stalled < WINDOW_MIN || !((double)layer->stalled > MOST)) continue;
        if (!first) first = id;
        n++;
    }
    /* Full precision stalls when next to nothing arrives, or when weights have become huge. */
    const bool is_full = first && rates->layer[first].precision >= 24;
    const bool harms = rates->is_settled && !(is_full && is_blocked(d)) && !rates->is_falling &&
                       loss_left(d) > ALMOST_CONVERGED;
    if (n == 0 || !harms)
        return n == 0 || !rates->is_settled ? 0 : end(d, BP_PROBLEM_STALLED_UPDATE);
    const bool existed = slot->exists;
    const bp_severity before = slot->finding.severity;
    bp_finding_open(d, BP_PROBLEM_STALLED_UPDATE, first_of_memory(d), step);
    for (uint32_t id = first; id <= d->n_layers; id++)
        if (rates->layer[id].n_stalled >= WINDOW_MIN && (double)rates->layer[id].stalled > MOST)
            bp_finding_add_layer(slot, id);
    const bp_layer_rate *layer = &rates->layer[first];
    bp_finding_add_evidence(slot, "stalled_records",
                            "share of records in which most weights did not move", first, step,
                            (double)layer->stalled, true);
    bp_finding_add_evidence(slot, "precision", "significand bits of the weights", first, step,
                            layer->precision, layer->precision > 0);
    bp_finding_add_evidence(slot, "update_ratio", "rms(update) / rms(weight)", first, step,
                            exp((double)layer->log_ratio), layer->n_ratio > 0);
    bp_finding_add_evidence(slot, "least_ratio",
                            "that moves a weight: half of its last digit's unit", first, step,
                            ldexp(1, -(int)layer->precision), layer->precision > 0);
    bp_finding_add_evidence(slot, "loss", "median over the window", 0, step, rates->level, true);
    return settle(slot, existed, before, bp_loss_left_trivial(d) ? BP_WARNING : BP_ERROR);
}

/* --- update-imbalance --------------------------------------------------------------------------
 */

typedef struct kind_rates {
    double slowest, fastest; /* ln of the update ratio */
    uint32_t slow_layer, fast_layer, n;
} kind_rates;

static bool takes_part(const bp_diagnosis *d, uint32_t id, bp_layer_kind kind) {
    const bp_layer_rate *layer = &d->rates.layer[id];
    const bp_layer *spec = bp_model_layer(d->model, id);
    return spec->kind == kind && !spec->frozen && layer->n_ratio >= WINDOW_MIN;
}

static kind_rates rates_of(const bp_diagnosis *d, bp_layer_kind kind) {
    kind_rates found = {(double)INFINITY, -(double)INFINITY, 0, 0, 0};
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!takes_part(d, id, kind)) continue;
        const double ratio = (double)d->rates.layer[id].log_ratio;
        found.n++;
        if (ratio < found.slowest) found.slowest = ratio, found.slow_layer = id;
        if (ratio > found.fastest) found.fastest = ratio, found.fast_layer = id;
    }
    return found;
}

static uint32_t tell_imbalance(bp_diagnosis *d, int64_t step, bp_layer_kind kind,
                               const kind_rates *found) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_UPDATE_IMBALANCE];
    const bool existed = slot->exists;
    const bp_severity before = slot->finding.severity;
    int64_t since = step;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (takes_part(d, id, kind) && d->history.layer[id].starved &&
            d->history.layer[id].starved_since.step < since)
            since = d->history.layer[id].starved_since.step;
    bp_finding_open(d, BP_PROBLEM_UPDATE_IMBALANCE, since, step);
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (takes_part(d, id, kind) && d->history.layer[id].starved &&
            (double)d->rates.layer[id].log_ratio < found->fastest - SPREAD_LOG)
            bp_finding_add_layer(slot, id);
    bp_finding_add_evidence(slot, "slowest", "rms(update) / rms(weight)", found->slow_layer, step,
                            exp(found->slowest), true);
    bp_finding_add_evidence(slot, "fastest", "rms(update) / rms(weight)", found->fast_layer, step,
                            exp(found->fastest), true);
    bp_finding_add_evidence(slot, "share_of_learning", "median of the slowest", found->slow_layer,
                            step, bp_window_median_share(&d->window, found->slow_layer), true);
    return settle(slot, existed, before, loss_left(d) > FAR ? BP_WARNING : BP_HINT);
}

static uint32_t judge_imbalance(bp_diagnosis *d, int64_t step) {
    static const bp_layer_kind kinds[] = {BP_LAYER_DENSE, BP_LAYER_CONV, BP_LAYER_RNN, BP_LAYER_GRU,
                                          BP_LAYER_LSTM};
    const bool explained = is_blocked(d) || stands(d, BP_PROBLEM_SATURATED_UNITS) ||
                           stands(d, BP_PROBLEM_INPUT_NOT_NORMALISED) ||
                           stands(d, BP_PROBLEM_DEAD_UNITS) ||
                           stands(d, BP_PROBLEM_WEIGHTS_TOO_LARGE);
    if (!explained && d->rates.is_settled && loss_left(d) > ALMOST_CONVERGED)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            const kind_rates found = rates_of(d, kinds[i]);
            if (found.n >= MIN_OF_A_KIND && found.fastest - found.slowest > SPREAD_LOG &&
                d->history.layer[found.slow_layer].starved)
                return tell_imbalance(d, step, kinds[i], &found);
        }
    return end(d, BP_PROBLEM_UPDATE_IMBALANCE);
}

uint32_t bp_judge_low_rates(bp_diagnosis *d, int64_t step) {
    if (!bp_loss_is_judged(d)) return 0;
    return judge_low(d, step) + judge_stalled(d, step) + judge_imbalance(d, step);
}
