/* SPDX-License-Identifier: Apache-2.0 */
/* The diagnosis as a whole: opened on a model, fed records, asked for findings. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

static bool open_slot(bp_diagnosis *d, bp_finding_slot *slot) {
    slot->layers = bp_allocate(&d->allocator, d->n_layers + 1u, sizeof *slot->layers);
    return slot->layers != NULL;
}

/* Findings that show the chain over depth. */
static const bp_problem profiled[] = {BP_PROBLEM_VANISHING_GRADIENT, BP_PROBLEM_EXPLODING_GRADIENT,
                                      BP_PROBLEM_NON_FINITE, BP_PROBLEM_WEIGHTS_TOO_SMALL,
                                      BP_PROBLEM_WEIGHTS_TOO_LARGE};
#define N_PROFILED (sizeof profiled / sizeof *profiled)

#define OPEN_FAMILY(family) good = bp_##family##_open(d) && good;
#define CLOSE_FAMILY(family) bp_##family##_close(d);
#define JUDGE_FAMILY(family) changed += bp_judge_##family(d, record);

static bool open_all(bp_diagnosis *d) {
    const size_t rows = (size_t)d->n_layers + 1;
    d->shares = bp_allocate(&d->allocator, rows, sizeof *d->shares);
    d->not_observed = bp_allocate(&d->allocator, NOT_OBSERVED_BYTES, 1);
    d->history.layer = bp_allocate(&d->allocator, rows, sizeof *d->history.layer);
    d->parameters.layers = bp_allocate(&d->allocator, rows, sizeof *d->parameters.layers);
    d->gradients.layers = bp_allocate(&d->allocator, rows, sizeof *d->gradients.layers);
    bool good = d->shares && d->not_observed && d->history.layer && d->parameters.layers &&
                d->gradients.layers;
    good = bp_profile_init(&d->now, d->model, &d->allocator) && good;
    good = bp_profile_init(&d->first, d->model, &d->allocator) && good;
    good = bp_profile_init(&d->explode, d->model, &d->allocator) && good;
    good = bp_window_init(&d->window, d->n_layers, bp_model_recipe(d->model)->epoch_steps,
                          &d->allocator) &&
           good;
    for (uint32_t i = 1; i < BP_N_PROBLEMS; i++) good = open_slot(d, &d->slots[i]) && good;
    for (size_t i = 0; i < N_PROFILED; i++)
        good = bp_profile_init(&d->slots[profiled[i]].profile, d->model, &d->allocator) && good;
    BP_FAMILIES(OPEN_FAMILY)
    return good;
}

static void begin(bp_diagnosis *d) {
    bp_history_begin(d);
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        bp_layer_history *layer = &d->history.layer[id];
        layer->first_weight_rms = layer->last_weight_rms = layer->last_update_ratio = (double)NAN;
        d->n_learning += layer->is_trained;
    }
    d->limit = 1e-3 / (d->n_learning ? d->n_learning : 1);
    d->history.first_loss = d->history.last_loss = d->history.largest_loss = (double)NAN;
    d->full_step = -1;
    d->history.first_mean = d->history.best_mean = d->history.last_mean = (double)NAN;
    d->history.largest_jump_step = d->history.nan_since = -1;
    d->history.first_step = d->history.last_step = d->history.previous_step = -1;
    d->forward_worst = d->forward_input = (double)NAN;
    d->explode_step = d->explode_since = d->jump_step = d->shot_step = -1;
    d->history.out_of_bounds_step = -1;
    d->parameters.since = d->gradients.since = -1;
}

bp_status bp_diagnosis_open(bp_diagnosis **diagnosis, const bp_model *model,
                            const bp_allocator *allocator, bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    bp_diagnosis *d = bp_allocate(allocator, 1, sizeof *d);
    if (!d) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the diagnosis");
    d->allocator = *allocator;
    d->model = model;
    d->n_layers = bp_model_n_layers(model);
    if (!open_all(d)) {
        bp_diagnosis_close(d);
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for the diagnosis of %u layers",
                       bp_model_n_layers(model));
    }
    begin(d);
    *diagnosis = d;
    return BP_OK;
}

void bp_diagnosis_close(bp_diagnosis *d) {
    if (!d) return;
    const bp_allocator allocator = d->allocator;
    const size_t rows = (size_t)d->n_layers + 1;
    bp_release(&allocator, d->shares, rows, sizeof *d->shares);
    bp_release(&allocator, d->not_observed, NOT_OBSERVED_BYTES, 1);
    bp_release(&allocator, d->history.layer, rows, sizeof *d->history.layer);
    bp_release(&allocator, d->parameters.layers, rows, sizeof *d->parameters.layers);
    bp_release(&allocator, d->gradients.layers, rows, sizeof *d->gradients.layers);
    bp_profile_finish(&d->now, &allocator);
    bp_profile_finish(&d->first, &allocator);
    bp_profile_finish(&d->explode, &allocator);
    bp_window_finish(&d->window, &allocator);
    for (uint32_t i = 1; i < BP_N_PROBLEMS; i++)
        bp_release(&allocator, d->slots[i].layers, rows, sizeof *d->slots[i].layers);
    for (size_t i = 0; i < N_PROFILED; i++)
        bp_profile_finish(&d->slots[profiled[i]].profile, &allocator);
    BP_FAMILIES(CLOSE_FAMILY)
    bp_release(&allocator, d, 1, sizeof *d);
}

/* The spread over samples: the first cut point at which all samples look alike although the inputs
 * differ. */
static bool note_forward(bp_diagnosis *d, const bp_record *record) {
    if (bp_record_has(record, BP_Q_VARIATION, 0))
        d->forward_input = bp_record_get(record, BP_Q_VARIATION, 0);
    double worst = (double)INFINITY;
    uint32_t worst_cut = 0;
    for (uint32_t k = 1; k <= bp_model_n_cuts(d->model) && !(worst < FORWARD_LIMIT); k++) {
        const uint32_t id = bp_model_cut(d->model, k);
        if (!bp_record_has(record, BP_Q_VARIATION, id)) continue;
        const double variation = bp_record_get(record, BP_Q_VARIATION, id);
        if (!(variation < worst)) continue;
        worst = variation;
        worst_cut = k;
    }
    if (worst_cut) { /* else what was seen last still stands */
        d->forward_worst = worst;
        d->forward_cut = worst_cut;
    }
    return d->forward_worst < FORWARD_LIMIT && d->forward_input > 0.1;
}

static void note_depth(bp_diagnosis *d, const bp_record *record) {
    bp_profile_measure(&d->now, record);
    if (!d->now.measured) return;
    if (!d->first.measured && !d->non_finite.seen) bp_profile_copy(&d->first, &d->now);
    d->history.largest_span =
        fmax(d->history.largest_span, fmax(d->now.vanish_span, d->now.explode_span));
}

/* False for a record without updates: nothing over time is judged by it. */
static bool note_window(bp_diagnosis *d, const bp_record *record, bool forward) {
    bp_history *history = &d->history;
    if (!bp_effect_shares(d, record)) return false;
    d->full_distance =
        d->full_step >= 0 && record->step > d->full_step ? record->step - d->full_step : 1;
    d->full_step = record->step;
    bp_window_push(&d->window, record->step, bp_record_get(record, BP_Q_LOSS, 0), d->shares,
                   d->limit, d->now.measured && d->now.vanish_span > LN_SPAN,
                   d->now.measured && d->now.explode_span > LN_SPAN, forward);
    if (bp_window_length(&d->window) < WINDOW_MIN) return true;
    history->last_mean = bp_window_mean_loss(&d->window);
    if (isnan(history->first_mean)) history->first_mean = history->last_mean;
    history->best_mean = fmin(history->best_mean, history->last_mean);
    return true;
}

/* A light step: nothing of it was looked at but its loss. */
static bool is_loss_alone(const bp_record *record) {
    const size_t n = (size_t)BP_N_QUANTITIES * (record->n_layers + 1u);
    const size_t loss = bp_record_cell(record, BP_Q_LOSS, 0);
    if (!record->measured[loss] || !isfinite(record->value[loss])) return false;
    if (record->columns == UINT64_C(1) << BP_Q_LOSS) return true; /* nothing else was ever set */
    return !memchr(record->measured, 1, loss) &&
           !memchr(record->measured + loss + 1, 1, n - loss - 1);
}

void bp_diagnosis_loss(bp_diagnosis *d, int64_t step, double loss) {
    d->seen |= UINT64_C(1) << BP_Q_LOSS;
    bp_history_note_loss(d, step, loss);
    if (d->non_finite.seen) d->slots[BP_PROBLEM_NON_FINITE].finding.last_step = step;
}

uint32_t bp_diagnosis_step(bp_diagnosis *d, const bp_record *record) {
    if (is_loss_alone(record)) {
        bp_diagnosis_loss(d, record->step, bp_record_get(record, BP_Q_LOSS, 0));
        return 0;
    }
    d->seen |= record->columns;
    const bool any_non_finite = bp_any_non_finite(record); /* the tripwire */
    bp_history_note(d, record, any_non_finite);
    uint32_t changed = bp_judge_non_finite(d, record, any_non_finite);
    const bool was_finite = !d->non_finite.seen;
    if (was_finite) {
        note_depth(d, record);
        if (note_window(d, record, note_forward(d, record)))
            changed += bp_judge_vanishing(d, record);
        changed += bp_judge_ranks(d, record);
    }
    if (was_finite || record->step == d->non_finite.step) {
        changed += bp_judge_exploding(d, record);
        changed += bp_judge_weights(d, record);
    }
    BP_FAMILIES(JUDGE_FAMILY)
    bp_finding_sort(d);
    return changed;
}

uint32_t bp_diagnosis_n_findings(const bp_diagnosis *d) {
    return d->n_order;
}

const bp_finding *bp_diagnosis_finding(bp_diagnosis *d, uint32_t index) {
    if (index >= d->n_order) return NULL;
    bp_finding_slot *slot = &d->slots[d->order[index]];
    bp_text_compose(d, slot);
    return &slot->finding;
}

uint32_t bp_diagnosis_profile(const bp_diagnosis *d, const bp_gain **gains) {
    *gains = d->now.gain + 1;
    return d->now.measured ? d->now.n_cuts : 0;
}

void bp_diagnosis_overview_of(const bp_diagnosis *d, bp_diagnosis_overview *overview) {
    const bp_history *history = &d->history;
    const bool has_window = !isnan(history->first_mean);
    *overview = (bp_diagnosis_overview){
        .n_records = history->n_records,
        .first_step = history->first_step,
        .last_step = history->last_step,
        .first_loss = history->first_loss,
        .last_loss = has_window ? history->last_mean : history->last_loss,
        .best_loss = has_window ? history->best_mean : history->last_loss,
        .backward_span_log = d->first.measured ? history->largest_span : (double)NAN,
        .not_observed = bp_not_observed(d),
    };
    bp_generalisation_overview(&d->generalisation, overview);
}
