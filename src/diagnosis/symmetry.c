/* SPDX-License-Identifier: Apache-2.0 */
/* Units that are copies of each other: weights that begin all equal, or all zero, get equal
 * gradients and stay equal. Whether they do shows after updates only: weights that begin so are
 * harmless where what comes after them is random (a zero-initialised output layer, the last layer
 * of a residual branch, one half of a low-rank adapter), so nothing is decided on the first two
 * steps, and how weights began only names the cause of what is still seen later. */
#include "diagnosis/state.h"

#include <math.h>

#define RECORDS 3u  /* in a row */
#define MIN_UNITS 4 /* of fewer, equal ones may be chance */
#define SATURATED_SHARE 0.5
#define LOSS_LOW 0.1

bool bp_symmetry_open(bp_diagnosis *d) {
    bp_symmetry *symmetry = &d->symmetry;
    symmetry->layer = bp_allocate(&d->allocator, (size_t)d->n_layers + 1, sizeof *symmetry->layer);
    if (!symmetry->layer) return false;
    uint32_t output = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer *spec = bp_model_layer(d->model, id);
        bp_layer_symmetry *layer = &symmetry->layer[id];
        layer->is_trained = bp_layer_is_trained(spec) &&
                            (bp_layer_is_weighted_sum(spec) || bp_layer_is_recurrent(spec));
        layer->is_hidden = layer->is_trained;
        layer->equal_step = -1;
        if (bp_layer_has_weights(spec)) output = id;
    }
    symmetry->layer[output].is_hidden = false; /* classes that do not occur have equal outputs */
    return true;
}

void bp_symmetry_close(bp_diagnosis *d) {
    bp_release(&d->allocator, d->symmetry.layer, (size_t)d->n_layers + 1,
               sizeof *d->symmetry.layer);
}

/* --- what a record says ----------------------------------------------------------------------- */

static bp_beginning beginning(const bp_record *record, uint32_t id) {
    const double spread = bp_record_get(record, BP_Q_WEIGHT_SPREAD, id);
    const double rms = bp_record_get(record, BP_Q_WEIGHT_RMS, id);
    if (rms <= 0) return BP_BEGAN_ZERO;
    if (isnan(spread)) return BP_BEGAN_UNKNOWN;
    return spread > 0 ? BP_BEGAN_APART : BP_BEGAN_EQUAL;
}

/* Copies of each other among the units that do anything. Outputs that are the same for every sample
 * or are at their ends say nothing about weights, unless those began equal. */
static bool are_equal(const bp_record *record, uint32_t id, bp_layer_symmetry *layer) {
    const uint64_t units = bp_count_of(record, BP_Q_UNITS, id);
    uint64_t distinct = bp_count_of(record, BP_Q_DISTINCT_UNITS, id);
    if (distinct == units) return false;
    const uint64_t silent = bp_count_of(record, BP_Q_SILENT_UNITS, id);
    const uint64_t live = units > silent ? units - silent : 0;
    if (live < MIN_UNITS) return layer->n_equal > 0; /* copies die together */
    if (silent > 0 && distinct > 0) distinct--;
    layer->units = live;
    layer->distinct = distinct;
    if (distinct == 0 || (distinct > 1 && 10 * distinct > live)) return false;
    if (bp_record_get(record, BP_Q_ACTIVATION_RMS, id) <= 0) return false;
    if (layer->began == BP_BEGAN_EQUAL || layer->began == BP_BEGAN_ZERO) return true;
    const double saturated = (double)bp_count_of(record, BP_Q_SATURATED_UNITS, id);
    return saturated < SATURATED_SHARE * (double)units &&
           !(bp_record_get(record, BP_Q_VARIATION, id) <= 0);
}

/* Weights that began as zeros are zeros still, and got nothing that could move them. */
static bool are_stuck(const bp_record *record, uint32_t id, const bp_layer_symmetry *layer) {
    return layer->began == BP_BEGAN_ZERO && layer->n_updates == 0 &&
           bp_record_get(record, BP_Q_WEIGHT_RMS, id) <= 0 &&
           bp_record_get(record, BP_Q_GRADIENT_RMS, id) <= 0 &&
           !(record->flags & BP_RECORD_UPDATE_SKIPPED) &&
           !(bp_record_get(record, BP_Q_LEARNING_RATE, 0) <= 0);
}

static bool are_held(const bp_record *record, const bp_layer_symmetry *layer) {
    return layer->began == BP_BEGAN_EQUAL && layer->n_updates == 0 &&
           !(record->flags & BP_RECORD_UPDATE_SKIPPED) &&
           !(bp_record_get(record, BP_Q_LEARNING_RATE, 0) <= 0);
}

static void note_first(bp_layer_symmetry *layer, bool equal) {
    layer->was_told = true;
    layer->began_as_copies = equal;
    layer->first_units = layer->units;
    layer->first_distinct = layer->distinct;
}

/* Copies die together: the first updates did to all what they did to one. */
static void note_death(const bp_diagnosis *d, uint32_t id) {
    bp_layer_symmetry *layer = &d->symmetry.layer[id];
    const bp_layer_units *units = &d->units.layer[id];
    const int64_t since = units->silence[BP_DEAD_LEVELS - 1].first_above;
    if (!layer->began_as_copies || units->severity != BP_ERROR || since < 0 ||
        since > d->history.first_step + RUN_UP)
        return;
    layer->is_equal = true;
    layer->equal_step = d->history.first_step;
    layer->units = layer->first_units;
    layer->distinct = layer->first_distinct;
}

/* Random weights behind copies part them; but an update has then gone into one direction alone, and
 * it may take long until there is a second one. */
static bool nothing_learnt(const bp_diagnosis *d) {
    return bp_window_length(&d->window) == d->window.size && bp_loss_is_judged(d) &&
           !bp_loss_left_trivial(d);
}

static void set_parted(const bp_diagnosis *d, bp_layer_symmetry *layer) {
    layer->is_equal = true;
    layer->equal_step = d->history.first_step;
    layer->units = layer->first_units;
    layer->distinct = layer->first_distinct;
}

static void note_layer(bp_diagnosis *d, const bp_record *record, uint32_t id) {
    bp_layer_symmetry *layer = &d->symmetry.layer[id];
    if (!layer->is_trained) return;
    if (layer->began == BP_BEGAN_UNKNOWN) layer->began = beginning(record, id);
    const bool late = record->step >= d->history.first_step + 2;
    if (layer->is_hidden && bp_record_has(record, BP_Q_DISTINCT_UNITS, id)) {
        const bool equal = are_equal(record, id, layer);
        if (!equal)
            layer->equal_step = -1;
        else if (layer->equal_step < 0)
            layer->equal_step = record->step;
        layer->n_equal = equal ? layer->n_equal + 1 : 0;
        /* Equal weights that nothing moves stay equal, too. */
        const bool settled = layer->n_updates >= 2 || are_held(record, layer);
        layer->is_equal = layer->n_equal >= RECORDS && settled && late;
        if (!layer->was_told) note_first(layer, equal && layer->began == BP_BEGAN_APART);
        layer->parted = !layer->is_equal && layer->began_as_copies &&
                        d->units.layer[id].severity != BP_ERROR && nothing_learnt(d);
        if (layer->parted) set_parted(d, layer);
    }
    if (layer->began == BP_BEGAN_ZERO && bp_record_has(record, BP_Q_WEIGHT_RMS, id)) {
        const bool stuck = late && are_stuck(record, id, layer);
        layer->n_stuck = stuck ? layer->n_stuck + 1 : 0;
        layer->gets_input = !(bp_record_get(record, BP_Q_ACTIVATION_RMS, id - 1) <= 0);
        layer->gives_nothing = bp_record_get(record, BP_Q_ACTIVATION_RMS, id) <= 0;
        layer->gets_error = bp_record_get(record, BP_Q_ERROR_RMS, id) > 0;
    }
    if (layer->n_updates < 2 && bp_record_get(record, BP_Q_UPDATE_RMS, id) > 0) layer->n_updates++;
}

/* --- judging ---------------------------------------------------------------------------------- */

static bool is_stuck(const bp_layer_symmetry *layer) {
    return layer->is_trained && layer->n_stuck >= RECORDS;
}

/* A layer of zeros is to blame when something comes in and nothing goes out of a hidden one: what
 * comes after it learns nothing of the input, or its own activation, flat at 0, stops the error
 * signal. Two are when each is in the way of the other. One that gets nothing is not. */
static bool zeros_hold_up(const bp_diagnosis *d) {
    const bp_layer_symmetry *first = NULL, *last = NULL;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_symmetry *layer = &d->symmetry.layer[id];
        if (!is_stuck(layer)) continue;
        if (!first) first = layer;
        last = layer;
    }
    if (!first || !first->gets_input) return false;
    return first == last ? first->is_hidden && first->gives_nothing : last->gets_error;
}

/* The loss shows no harm: nearly all is learnt, or it is none that tells. */
static bool is_harmless(const bp_diagnosis *d) {
    if (!bp_loss_is_judged(d)) return true;
    return d->history.last_mean < LOSS_LOW * bp_trivial_level(d);
}

static uint32_t close(bp_diagnosis *d, bp_problem problem, int64_t step) {
    bp_finding_slot *slot = &d->slots[problem];
    if (!slot->exists) return 0;
    const bp_severity before = slot->finding.severity;
    slot->finding.open = false;
    slot->finding.severity =
        before > BP_HINT && bp_finding_still_costs(d, &slot->finding, step) ? BP_WARNING : BP_HINT;
    return slot->finding.severity != before;
}

static void add_evidence(const bp_diagnosis *d, bp_finding_slot *slot, uint32_t id, int64_t step) {
    const bp_layer_symmetry *layer = &d->symmetry.layer[id];
    if (layer->is_equal) {
        bp_finding_add_evidence(slot, "distinct_units", "that differ from each other", id, step,
                                (double)layer->distinct, true);
        bp_finding_add_evidence(slot, "units", "that are active", id, step, (double)layer->units,
                                true);
    }
    const double rms = d->history.layer[id].first_weight_rms;
    bp_finding_add_evidence(slot, "first_weight_rms", "of the weights in the first record", id,
                            d->history.first_step, rms, !isnan(rms));
    bp_finding_add_evidence(slot, "loss", "mean over the window", 0, step, d->history.last_mean,
                            !isnan(d->history.last_mean));
}

static uint32_t tell(bp_diagnosis *d, bp_problem problem, bp_severity severity, int64_t since,
                     int64_t step) {
    bp_finding_slot *slot = &d->slots[problem];
    const bp_severity before = slot->exists ? slot->finding.severity : (bp_severity)0;
    bp_finding_open(d, problem, since, step);
    slot->finding.severity = severity;
    return before != severity;
}

static uint32_t judge_equal(bp_diagnosis *d, int64_t step, bp_severity severity) {
    const uint32_t id = d->symmetry.equal_layer;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_SYMMETRIC_UNITS];
    const int64_t since = d->symmetry.layer[id].equal_step;
    const uint32_t changed = tell(d, BP_PROBLEM_SYMMETRIC_UNITS, severity, since, step);
    for (uint32_t i = 1; i <= d->n_layers; i++)
        if (d->symmetry.layer[i].is_equal) bp_finding_add_layer(slot, i);
    add_evidence(d, slot, id, step);
    return changed;
}

/* Weights that began alike, where units are equal or weights are stuck for it. */
static uint32_t judge_beginning(bp_diagnosis *d, int64_t step, bp_problem problem,
                                bp_beginning beginning, bp_severity severity) {
    bp_finding_slot *slot = &d->slots[problem];
    const uint32_t changed = tell(d, problem, severity, d->history.first_step, step);
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_symmetry *layer = &d->symmetry.layer[id];
        const bool in_branch = bp_model_layer(d->model, id)->depth_in_blocks > 0;
        if (layer->began != beginning) continue;
        if (!in_branch || layer->is_equal || is_stuck(layer)) bp_finding_add_layer(slot, id);
    }
    add_evidence(d, slot, slot->finding.n_layers ? slot->layers[0] : 0, step);
    return changed;
}

/* By the first of them: with all of a hidden layer's units equal the network is as wide as one. */
static bp_severity severity_of(const bp_diagnosis *d, uint32_t id) {
    const bool one = !d->symmetry.layer[id].is_equal || d->symmetry.layer[id].distinct <= 1;
    const bool has_skip = bp_model_layer(d->model, id)->depth_in_blocks > 0;
    return one && !has_skip && !is_harmless(d) ? BP_ERROR : BP_WARNING;
}

uint32_t bp_judge_symmetry(bp_diagnosis *d, const bp_record *record) {
    if (d->non_finite.seen) return 0;
    bp_symmetry *symmetry = &d->symmetry;
    symmetry->equal_layer = symmetry->stuck_layer = 0;
    bool constant = false, zero = false;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        note_layer(d, record, id);
        if (symmetry->layer[id].began_as_copies) note_death(d, id);
        const bp_layer_symmetry *layer = &symmetry->layer[id];
        if (is_stuck(layer) && !symmetry->stuck_layer) symmetry->stuck_layer = id;
        if (!layer->is_equal) continue;
        if (!symmetry->equal_layer) symmetry->equal_layer = id;
        constant = constant || layer->began == BP_BEGAN_EQUAL;
        zero = zero || layer->began == BP_BEGAN_ZERO;
    }
    const bool stuck = symmetry->stuck_layer && zeros_hold_up(d);
    uint32_t changed = 0;
    bp_severity severity = BP_WARNING;
    if (symmetry->equal_layer) {
        severity = severity_of(d, symmetry->equal_layer);
        changed += judge_equal(d, record->step, severity);
    } else {
        changed += close(d, BP_PROBLEM_SYMMETRIC_UNITS, record->step);
    }
    changed += constant ? judge_beginning(d, record->step, BP_PROBLEM_CONSTANT_INIT, BP_BEGAN_EQUAL,
                                          severity)
                        : close(d, BP_PROBLEM_CONSTANT_INIT, record->step);
    if (stuck) severity = severity_of(d, symmetry->stuck_layer);
    changed += stuck || zero
                   ? judge_beginning(d, record->step, BP_PROBLEM_ZERO_INIT, BP_BEGAN_ZERO, severity)
                   : close(d, BP_PROBLEM_ZERO_INIT, record->step);
    return changed;
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_symmetry_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_finding *finding = &slot->finding;
    const bool one = finding->n_layers == 1;
    if (finding->problem == BP_PROBLEM_SYMMETRIC_UNITS) {
        bp_text_add(text, "units of ");
        bp_text_layers_named(text, slot->layers, finding->n_layers);
        bp_text_add(text, " of %u %s copies of each other", d->n_layers,
                    finding->open ? "are" : "were");
        return;
    }
    bp_text_layers_named(text, slot->layers, finding->n_layers);
    bp_text_add(text, " of %u start%s with weights that are all %s", d->n_layers, one ? "s" : "",
                finding->problem == BP_PROBLEM_ZERO_INIT ? "0" : "the same");
}

static void text_equal(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const uint32_t id = slot->evidence[0].layer;
    const uint64_t distinct = (uint64_t)bp_finding_evidence(&slot->finding, "distinct_units");
    const uint64_t units = (uint64_t)bp_finding_evidence(&slot->finding, "units");
    bp_text_add(text, "the %llu units of layer %u (%s) give only %llu different output%s: ",
                (unsigned long long)units, id, bp_model_layer(d->model, id)->name,
                (unsigned long long)distinct, distinct == 1 ? "" : "s");
    if (d->symmetry.layer[id].parted || !slot->finding.open) {
        bp_text_add(text,
                    "so they began; the random weights behind them part them, but all weights "
                    "have moved in one direction until then, and nothing was learnt in it");
        return;
    }
    bp_text_add(text, "they agree to the last bit over all samples; units with equal weights, in "
                      "and out, get equal gradients, and no number of steps tells them apart");
}

static void text_beginning(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bool zero = slot->finding.problem == BP_PROBLEM_ZERO_INIT;
    const double units = bp_finding_evidence(&slot->finding, "units");
    const uint32_t id = slot->finding.n_layers ? slot->layers[0] : 0;
    const bp_layer *spec = bp_model_layer(d->model, id);
    if (!spec) return;
    if (zero) {
        bp_text_add(text, "all weights of layer %u (%s) were 0 in the first record", id,
                    spec->name);
    } else {
        bp_text_add(text,
                    "all weights of layer %u (%s) were the same in the first record, of size ", id,
                    spec->name);
        bp_text_add_number(text, bp_finding_evidence(&slot->finding, "first_weight_rms"), 3);
    }
    if (isnan(units)) {
        bp_text_add(text, ", and they still are: dL/dW = delta x' and dL/dx = W' delta are exactly "
                          "0, so nothing can move them");
        return;
    }
    bp_text_add(text,
                ": equal weights give equal outputs and get equal gradients, and after "
                "updates the %llu units are copies of each other still",
                (unsigned long long)units);
}

void bp_symmetry_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                       bp_text *note) {
    if (slot->finding.problem == BP_PROBLEM_SYMMETRIC_UNITS)
        text_equal(d, slot, cause);
    else
        text_beginning(d, slot, cause);
    if (!slot->finding.open)
        bp_text_add(note, "it was over after step %lld", (long long)slot->finding.last_step);
}
