/* SPDX-License-Identifier: Apache-2.0 */
/* What all judgements about the size of updates rest on, and learning-rate-too-high: a step that is
 * too long throws the loss away, and it stays away; or gradients turn back at each step and nothing
 * is gained. A long step alone is none: residual networks start so, and training at the edge of
 * stability wiggles while its loss falls. What moves too little is judged in rates_low.c. */
#include "diagnosis/state.h"

#include <math.h>
#include <stdlib.h>

#define SATURATED 0.02    /* part of the error signal that gets through the last activation */
#define SETTLED_AFTER 10u /* records since the learning rate last rose */
#define LONG_STEP 0.1     /* of the weights that it changes */
#define THROWN 3.0        /* times the trivial level, and times where it came from */
#define WILD_STEP 0.5     /* of the weights: twice is enough */
#define THROWN_WILDLY 2.0
#define TOO_LARGE 3.0 /* times the critical size: initial weights that are to blame themselves */
#define ENOUGH 100u   /* records, where an epoch is not known or longer */
#define FAR 0.5       /* of the trivial level */
#define ALMOST_CONVERGED 0.1
#define WORSE 1.1         /* than before the throw */
#define TURNS_BACK -0.2   /* mean cosine of successive gradients */
#define WIDE_STEP 0.01    /* of the weights, typical of a step that may be too long */
#define NO_FALL 0.98      /* later half of a window / earlier half */
#define THROUGH_TIME 10.0 /* growth of the error signal within a recurrent layer */

bool bp_rates_open(bp_diagnosis *d) {
    bp_rates *rates = &d->rates;
    const size_t rows = (size_t)d->n_layers + 1;
    rates->layer = bp_allocate(&d->allocator, rows, sizeof *rates->layer);
    rates->scratch = bp_allocate(&d->allocator, rows, sizeof *rates->scratch);
    rates->lr = rates->ratio = rates->cosine = rates->level = rates->calm = (double)NAN;
    rates->is_settled = true;
    rates->long_step.step = rates->thrown.step = rates->flat_since = rates->long_until = -1;
    return rates->layer && rates->scratch;
}

void bp_rates_close(bp_diagnosis *d) {
    const size_t rows = (size_t)d->n_layers + 1;
    bp_release(&d->allocator, d->rates.layer, rows, sizeof *d->rates.layer);
    bp_release(&d->allocator, d->rates.scratch, rows, sizeof *d->rates.scratch);
}

void bp_rates_note_loss(bp_diagnosis *d, double loss) {
    d->rates.loudest = fmax(d->rates.loudest, loss);
}

/* --- running means -----------------------------------------------------------------------------
 */

static void note_schedule(bp_rates *rates, const bp_record *record) {
    if (!bp_record_has(record, BP_Q_LEARNING_RATE, 0)) return;
    const double lr = bp_record_get(record, BP_Q_LEARNING_RATE, 0);
    if (!isfinite(lr)) return;
    if (!isnan(rates->lr) && lr > 1.001 * rates->lr && lr > 0.999 * rates->lr_max)
        rates->risen_at = rates->n_records;
    rates->lr = lr;
    rates->lr_max = fmax(rates->lr_max, lr);
    rates->is_rising = rates->risen_at && rates->n_records - rates->risen_at < SETTLED_AFTER;
    rates->is_settled = !rates->is_rising && lr >= 0.5 * rates->lr_max;
}

static void average(float *mean, uint16_t *n, double value) {
    if (*n < BP_RATES_MEMORY) ++*n;
    *mean += ((float)value - *mean) / (float)*n;
}

static void note_layer(bp_diagnosis *d, const bp_record *record, uint32_t id) {
    const bp_layer *spec = bp_model_layer(d->model, id);
    bp_layer_rate *layer = &d->rates.layer[id];
    if (!bp_layer_has_weights(spec) || spec->frozen || spec->fan_in < 1) return;
    if (bp_record_has(record, BP_Q_UPDATE_RMS, id) && bp_record_has(record, BP_Q_WEIGHT_RMS, id)) {
        const double floor = 0.1 / sqrt((double)spec->fan_in);
        const double ratio = bp_record_get(record, BP_Q_UPDATE_RMS, id) /
                             fmax(bp_record_get(record, BP_Q_WEIGHT_RMS, id), floor);
        /* What does not move at all is not slow: it is dead, frozen or stalled. */
        if (ratio > 0 && isfinite(ratio)) average(&layer->log_ratio, &layer->n_ratio, log(ratio));
    }
    if (bp_record_has(record, BP_Q_GRADIENT_COSINE, id)) {
        const double cosine = bp_record_get(record, BP_Q_GRADIENT_COSINE, id);
        if (isfinite(cosine)) average(&layer->cosine, &layer->n_cosine, cosine);
    }
    if (bp_record_has(record, BP_Q_PARAMETER_PRECISION, id))
        layer->precision = (uint16_t)bp_count_of(record, BP_Q_PARAMETER_PRECISION, id);
    if (!bp_record_has(record, BP_Q_STALLED, id) || !bp_record_has(record, BP_Q_PARAMETERS, id))
        return;
    const double n = bp_record_get(record, BP_Q_PARAMETERS, id);
    const bool most = n > 0 && bp_record_get(record, BP_Q_STALLED, id) > 0.5 * n;
    average(&layer->stalled, &layer->n_stalled, most);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n) {
    if (n == 0) return (double)NAN;
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2] + values[n / 2 - 1]);
}

/* Weights before a normalisation have no scale: of them a step may be as long as it likes. */
static double typical_ratio(bp_diagnosis *d, bool scaled_only) {
    bp_rates *rates = &d->rates;
    uint32_t n = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (rates->layer[id].n_ratio < WINDOW_MIN) continue;
        if (scaled_only && bp_model_layer(d->model, id)->norm != BP_NORM_NONE) continue;
        rates->scratch[n++] = (double)rates->layer[id].log_ratio;
    }
    return exp(median(rates->scratch, n));
}

static void summarise_layers(bp_diagnosis *d) {
    bp_rates *rates = &d->rates;
    rates->ratio = typical_ratio(d, false);
    rates->scaled_ratio = typical_ratio(d, true);
    uint32_t n = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (rates->layer[id].n_cosine >= WINDOW_MIN)
            rates->scratch[n++] = (double)rates->layer[id].cosine;
    rates->cosine = median(rates->scratch, n);
}

/* The window's losses: their median, and by how much a step they fall between its halves. */
static void summarise_losses(bp_diagnosis *d) {
    bp_rates *rates = &d->rates;
    const bp_window *window = &d->window;
    const uint32_t n = bp_window_length(window), half = n / 2;
    double values[WINDOW_MAX], sum[2] = {0, 0}, at[2] = {0, 0};
    for (uint32_t back = 0; back < n; back++) {
        const uint32_t i = (uint32_t)((window->n_total - 1 - back) % window->size);
        values[back] = window->loss[i];
        if (back >= 2 * half) continue;
        sum[back < half] += window->loss[i] / half;
        at[back < half] += (double)window->step[i] / half;
    }
    rates->level = median(values, n);
    rates->fall = at[1] > at[0] ? (sum[0] - sum[1]) / (at[1] - at[0]) : 0;
    rates->is_falling = sum[1] < NO_FALL * sum[0];
    const bp_recipe *recipe = bp_model_recipe(d->model);
    const double total = (double)recipe->epochs * (double)recipe->epoch_steps;
    const double so_far = (double)(d->history.last_step - d->history.first_step + 1);
    rates->horizon = total > 0 ? fmax(total, so_far) : fmax(4 * so_far, 1000);
}

/* --- learning-rate-too-high --------------------------------------------------------------------
 */

/* Where the loss had come to before a step threw it. */
static double loss_before(const bp_diagnosis *d) {
    return bp_window_length(&d->window) >= WINDOW_MIN ? d->history.best_mean : (double)NAN;
}

/* What guessing costs; where it is not known, how the loss began. */
static double level_of(const bp_diagnosis *d) {
    const double trivial = bp_model_recipe(d->model)->trivial_loss;
    return trivial > 0 ? fmax(trivial, d->history.first_loss) : d->history.first_loss;
}

static void note_long_step(bp_diagnosis *d, const bp_record *record) {
    bp_rates *rates = &d->rates;
    double largest = 0;
    uint32_t layer = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!(d->history.layer[id].last_update_ratio > largest)) continue; /* NaN: not measured */
        largest = d->history.layer[id].last_update_ratio;
        layer = id;
    }
    if (!(largest > LONG_STEP)) return;
    const double loss = d->history.last_loss;
    const bool goes_on = rates->long_until >= 0 && record->step >= rates->long_until &&
                         record->step - rates->long_until <= RUN_UP + d->full_distance;
    if (!goes_on)
        rates->long_step =
            (bp_throw){.step = record->step,
                       .before = loss_before(d),
                       .by_batch = d->full_distance == 1 && loss > THROWN * rates->calm &&
                                   loss > THROWN * level_of(d)};
    rates->long_until = record->step;
    if (largest > rates->long_step.ratio) {
        rates->long_step.ratio = largest;
        rates->long_step.layer = layer;
    }
}

/* The loss soon after a long step is far above guessing and above where it came from. */
static void note_throw(bp_diagnosis *d, const bp_record *record) {
    bp_rates *rates = &d->rates;
    const double loudest = rates->loudest;
    const double factor = rates->long_step.ratio > WILD_STEP ? THROWN_WILDLY : THROWN;
    rates->loudest = 0;
    rates->calm = d->history.last_loss;
    if (rates->long_step.step < 0 || record->step - rates->long_until > RUN_UP + d->full_distance)
        return;
    if (!(loudest > factor * level_of(d)) || rates->long_step.by_batch) return;
    if (rates->thrown.step != rates->long_step.step) {
        rates->thrown = rates->long_step;
        rates->thrown.record = rates->n_records;
    }
    rates->thrown.ratio = rates->long_step.ratio;
    rates->thrown.layer = rates->long_step.layer;
    rates->thrown.loss = fmax(rates->thrown.loss, loudest);
}

static void note_output(bp_diagnosis *d, const bp_record *record) {
    const uint32_t id = bp_model_output_layer(d->model);
    if (!bp_record_has(record, BP_Q_ERROR_PRE_ACTIVATION, id) ||
        !bp_record_has(record, BP_Q_ERROR_RMS, id))
        return;
    d->rates.output_is_saturated = bp_record_get(record, BP_Q_ERROR_PRE_ACTIVATION, id) <
                                   SATURATED * bp_record_get(record, BP_Q_ERROR_RMS, id);
}

static void note_through_time(bp_diagnosis *d, const bp_record *record) {
    if (!(record->columns & (UINT64_C(1) << BP_Q_ERROR_THROUGH_TIME))) return;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!bp_record_has(record, BP_Q_ERROR_THROUGH_TIME, id)) continue;
        const double growth = bp_record_get(record, BP_Q_ERROR_THROUGH_TIME, id);
        if (isfinite(growth)) d->rates.through_time = fmax(d->rates.through_time, growth);
    }
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot, int64_t step) {
    const bp_rates *rates = &d->rates;
    const bp_throw *thrown = &rates->thrown;
    const bool was_thrown = thrown->step >= 0;
    bp_finding_add_evidence(slot, "update_ratio", "largest rms(update) / rms(weight)",
                            was_thrown ? thrown->layer : 0, was_thrown ? thrown->step : step,
                            was_thrown ? thrown->ratio : rates->ratio, true);
    bp_finding_add_evidence(slot, "typical_update_ratio", "median over layers, lately", 0, step,
                            rates->ratio, !isnan(rates->ratio));
    bp_finding_add_evidence(slot, "gradient_cosine", "of successive gradients, median over layers",
                            0, step, rates->cosine, !isnan(rates->cosine));
    bp_finding_add_evidence(slot, "loss_thrown_to", "the largest loss soon after", 0, thrown->step,
                            thrown->loss, was_thrown && thrown->loss > 0);
    bp_finding_add_evidence(slot, "loss", "median over the window", 0, step, rates->level,
                            !isnan(rates->level));
    bp_finding_add_evidence(slot, "trivial_loss", "of the best constant prediction", 0, step,
                            bp_model_recipe(d->model)->trivial_loss,
                            !isnan(bp_model_recipe(d->model)->trivial_loss));
    bp_finding_add_evidence(
        slot, "learning_rate", "the largest so far", 0, step,
        rates->lr_max > 0 ? rates->lr_max : bp_model_recipe(d->model)->learning_rate, true);
}

static uint32_t tell(bp_diagnosis *d, const bp_onset *since, int64_t step, bp_severity severity) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH];
    const bool existed = slot->exists;
    const bp_severity before = slot->finding.severity;
    bp_finding_open_within(d, BP_PROBLEM_LEARNING_RATE_TOO_HIGH, since, step);
    add_evidence(d, slot, step);
    slot->finding.severity = severity;
    return !existed || before != severity;
}

/* The network was well when it began: error signals kept their size over depth, and no layer began
 * with weights that are far too large. What is wrong since, steps have made so. */
static bool has_large_weights(const bp_diagnosis *d) {
    if (d->slots[BP_PROBLEM_WEIGHTS_TOO_LARGE].exists) return true;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (bp_weight_scale(d, id, d->history.layer[id].first_weight_rms) > TOO_LARGE) return true;
    return false;
}

static bool began_well(const bp_diagnosis *d) {
    return d->first.measured && d->first.explode_span < SPAN_HEALTHY &&
           d->first.vanish_span < SPAN_HEALTHY && !has_large_weights(d);
}

/* `since` lies soon behind a step that was too long, and the batch was not to blame for it. */
static bool follows_long_step(const bp_diagnosis *d, int64_t since) {
    const bp_throw *step = &d->rates.long_step;
    return step->step >= 0 && !step->by_batch && step->step < since &&
           since - d->rates.long_until <= RUN_UP + d->full_distance;
}

/* An explosion that steps have made: from step to step, or over depth once weights were thrown. */
static const bp_finding_slot *explosion_by_steps(const bp_diagnosis *d) {
    const bp_finding_slot *slot = &d->slots[BP_PROBLEM_EXPLODING_GRADIENT];
    if (!slot->exists || slot->through_time || d->rates.through_time > THROUGH_TIME ||
        d->slots[BP_PROBLEM_WEIGHTS_TOO_LARGE].exists)
        return NULL;
    if (d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH].exists) return slot;
    if (d->rates.long_step.by_batch || has_large_weights(d)) return NULL;
    if (slot->temporal) return slot;
    return began_well(d) && follows_long_step(d, slot->finding.since_step) ? slot : NULL;
}

/* A step that was seen; others like it may lie between the full records before. */
static bp_onset onset_of_step(const bp_diagnosis *d, int64_t step) {
    const int64_t before = bp_window_step_before(&d->window, step);
    return (bp_onset){step, before < 0 ? step : before + 1, step};
}

static uint32_t follow_explosion(bp_diagnosis *d, const bp_finding_slot *explosion) {
    const bp_finding *finding = &explosion->finding;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH];
    bp_onset since = {finding->since_step, finding->since_earliest, finding->since_latest};
    const bp_throw *step = &d->rates.long_step;
    if (!explosion->temporal && step->step >= 0 && step->step < since.step)
        since = onset_of_step(d, step->step);
    const uint32_t changed = tell(d, &since, finding->last_step, finding->severity);
    slot->finding.open = finding->open;
    for (uint32_t i = 0; i < finding->n_layers; i++) bp_finding_add_layer(slot, finding->layers[i]);
    slot->evidence[0] = (bp_evidence){"update_ratio", "largest rms(update) / rms(weight)",
                                      d->jump_layer,  finding->since_step,
                                      d->jump_ratio,  true};
    bp_finding_add_evidence(slot, "over_steps", "it grows from step to step, not over depth", 0,
                            finding->last_step, 1, true);
    return changed;
}

/* Records that show what came of something. */
static uint32_t enough(const bp_diagnosis *d) {
    return d->window.size < ENOUGH ? d->window.size : ENOUGH;
}

/* Units died or were driven into saturation by the first long steps of a network that was well, and
 * nothing has been learnt since: the loss need not have shown it. */
static uint32_t judge_killing(bp_diagnosis *d, int64_t step) {
    static const bp_problem deaths[] = {BP_PROBLEM_VANISHING_GRADIENT, BP_PROBLEM_DEAD_UNITS,
                                        BP_PROBLEM_SATURATED_UNITS};
    if (d->rates.level < 0.95 * bp_trivial_level(d) || !began_well(d)) return 0;
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        const bp_finding_slot *slot = &d->slots[deaths[i]];
        if (!slot->exists || !slot->finding.open || slot->finding.severity < BP_WARNING ||
            !follows_long_step(d, slot->finding.since_step))
            continue;
        const bp_onset since = onset_of_step(d, d->rates.long_step.step);
        d->rates.thrown = d->rates.long_step;
        d->rates.thrown.record = d->rates.n_records;
        const uint32_t changed = tell(d, &since, step, BP_ERROR);
        bp_finding_add_layer(&d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH],
                             d->rates.long_step.layer);
        return changed;
    }
    return 0;
}

static uint32_t judge_throw(bp_diagnosis *d, int64_t step) {
    const bp_rates *rates = &d->rates;
    const bp_throw *thrown = &rates->thrown;
    const double trivial = bp_trivial_level(d);
    if (thrown->step < 0 || rates->n_records - thrown->record < enough(d)) return 0;
    if (!(rates->level > FAR * trivial)) return 0;
    if (rates->level < WORSE * thrown->before) return 0; /* it came back: no lasting harm */
    const bp_onset since = onset_of_step(d, thrown->step);
    const uint32_t changed =
        tell(d, &since, step, rates->level > 0.95 * trivial ? BP_ERROR : BP_WARNING);
    bp_finding_add_layer(&d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH], thrown->layer);
    return changed;
}

/* Gradients turn back at each step, steps are wide, and for a whole window nothing is gained. */
static uint32_t judge_turning(bp_diagnosis *d, int64_t step) {
    bp_rates *rates = &d->rates;
    const bool flat = rates->is_settled && rates->cosine < TURNS_BACK &&
                      rates->scaled_ratio > WIDE_STEP && !rates->is_falling &&
                      rates->level > ALMOST_CONVERGED * bp_trivial_level(d);
    if (flat && rates->n_flat++ == 0) rates->flat_since = step;
    if (!flat) rates->n_flat = 0;
    if (16u * rates->n_flat < d->window.size + 16u) return 0;
    const int64_t before = rates->flat_since - (int64_t)d->window.size;
    const bp_onset since = {rates->flat_since, before > 0 ? before : 0, rates->flat_since};
    const uint32_t changed = tell(d, &since, step, BP_WARNING);
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (rates->layer[id].n_ratio >= WINDOW_MIN &&
            rates->layer[id].log_ratio > (float)log(WIDE_STEP))
            bp_finding_add_layer(&d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH], id);
    return changed;
}

static uint32_t judge_high(bp_diagnosis *d, int64_t step, bool due) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH];
    const bp_finding_slot *explosion = explosion_by_steps(d);
    if (explosion) return follow_explosion(d, explosion);
    if (!due || !bp_loss_is_judged(d) || d->non_finite.seen) return 0;
    const bool is_old = d->slots[BP_PROBLEM_WEIGHTS_TOO_LARGE].exists ||
                        d->slots[BP_PROBLEM_EXPLODING_GRADIENT].exists;
    if (!is_old) {
        uint32_t changed = judge_throw(d, step);
        if (changed || slot->finding.last_step == step) return changed;
        changed = judge_killing(d, step);
        if (changed || slot->finding.last_step == step) return changed;
        changed = judge_turning(d, step);
        if (changed || slot->finding.last_step == step) return changed;
    }
    const bool converged = d->rates.level < ALMOST_CONVERGED * bp_trivial_level(d);
    if (!slot->exists || (!converged && !d->rates.is_falling)) return 0;
    const bp_severity before = slot->finding.severity;
    slot->finding.open = false;
    if (converged) slot->finding.severity = BP_HINT; /* it did no lasting harm */
    return before != slot->finding.severity;
}

uint32_t bp_judge_rates(bp_diagnosis *d, const bp_record *record) {
    bp_rates *rates = &d->rates;
    if (d->non_finite.seen)
        return record->step == d->non_finite.step ? judge_high(d, record->step, false) : 0;
    if (d->full_step != record->step) return 0; /* nothing was updated, or not looked at */
    rates->n_records++;
    note_schedule(rates, record);
    note_through_time(d, record);
    note_output(d, record);
    note_long_step(d, record);
    note_throw(d, record);
    if (rates->is_settled)
        for (uint32_t id = 1; id <= d->n_layers; id++) note_layer(d, record, id);
    const bool due = rates->n_records % 16 == 0 && bp_window_length(&d->window) >= enough(d);
    if (due) {
        summarise_layers(d);
        summarise_losses(d);
    }
    uint32_t changed = judge_high(d, record->step, due);
    return due ? changed + bp_judge_low_rates(d, record->step) : changed;
}
