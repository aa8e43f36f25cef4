/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of the whole run: losses, growth of parameters, size of updates. */
#include "base/vectorised.h"
#include "diagnosis/state.h"

#include <math.h>

#define CLIPPED 1.01 /* more than a log's rounding */

/* Column by column: a row that was not measured is NaN, which is above nothing. */
BP_VECTORISED static bool any_above_zero(const double *value, size_t n) {
    double above = 0;
    for (size_t i = 0; i < n; i++) above = value[i] > above ? value[i] : above;
    return above > 0;
}

bool bp_any_non_finite(const bp_record *record) {
    static const bp_quantity places[] = {
        BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF, BP_Q_ERROR_NAN,
        BP_Q_ERROR_INF,      BP_Q_PARAMETER_NAN,  BP_Q_PARAMETER_INF,
        BP_Q_GRADIENT_NAN,   BP_Q_GRADIENT_INF,   BP_Q_UPDATE_BAD};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if ((record->columns >> (unsigned)places[i] & 1) &&
            any_above_zero(record->value + bp_record_cell(record, places[i], 0),
                           (size_t)record->n_layers + 1))
            return true;
    return false;
}

/* Weights before a normalisation have no scale: a long step there only shortens the next. Weights
 * near 0 (zeros, tiny initialisers) would make any first update look enormous. */
void bp_history_begin(bp_diagnosis *d) {
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer *spec = bp_model_layer(d->model, id);
        bp_layer_history *layer = &d->history.layer[id];
        const bool has_scale =
            bp_layer_has_weights(spec) && spec->norm == BP_NORM_NONE && spec->fan_in > 0;
        layer->weight_floor = has_scale ? 0.1 / sqrt((double)spec->fan_in) : (double)NAN;
        layer->is_trained = bp_layer_is_trained(spec);
        layer->own_update_ratio = (double)NAN;
    }
}

/* What was not measured is NaN, and so is what is made of it. */
static double update_ratio(const bp_diagnosis *d, const bp_record *record, uint32_t id) {
    const double floor = d->history.layer[id].weight_floor;
    const double rms = bp_record_get(record, BP_Q_WEIGHT_RMS, id);
    return bp_record_get(record, BP_Q_UPDATE_RMS, id) / (rms < floor ? floor : rms + 0 * floor);
}

static void note_loss(bp_diagnosis *d, int64_t step, double loss) {
    bp_history *history = &d->history;
    if (!isfinite(loss)) return;
    bp_loss_shape_note(d, step, loss);
    bp_rates_note_loss(d, loss);
    if (isnan(history->first_loss)) history->first_loss = loss;
    if (history->last_loss > 0 && loss / history->last_loss > history->largest_jump) {
        history->largest_jump = loss / history->last_loss;
        history->largest_jump_step = step;
    }
    history->largest_loss = fmax(history->largest_loss, loss);
    history->last_loss = loss;
    const bool outside = loss > 10 * bp_trivial_level(d);
    if (outside) history->out_of_bounds_step = step;
    history->n_out_of_bounds = outside ? history->n_out_of_bounds + 1 : 0;
}

/* By how much the weights have grown since the full step before, where steps in between were light:
 * a jump among them shows in this alone. */
static double unseen_growth(const bp_diagnosis *d, const bp_record *record, uint32_t id) {
    const double before = d->history.layer[id].last_weight_rms;
    const double floor = d->history.layer[id].weight_floor;
    const int64_t distance = record->step - d->full_step;
    if (d->full_step < 0 || distance < 2 || distance > RUN_UP || isnan(update_ratio(d, record, id)))
        return 0;
    return (bp_record_get(record, BP_Q_WEIGHT_RMS, id) - before) / fmax(before, floor);
}

static void note_layer(bp_diagnosis *d, const bp_record *record, uint32_t id) {
    bp_layer_history *layer = &d->history.layer[id];
    const double growth = unseen_growth(d, record, id);
    if (bp_record_has(record, BP_Q_WEIGHT_RMS, id)) {
        const double rms = bp_record_get(record, BP_Q_WEIGHT_RMS, id);
        if (isfinite(rms)) {
            if (isnan(layer->first_weight_rms)) layer->first_weight_rms = rms;
            layer->last_weight_rms = rms;
        }
    }
    const double own = update_ratio(d, record, id);
    const double ratio = growth > own ? growth : own;
    layer->own_update_ratio = own;
    layer->last_update_ratio = ratio;
    if (!isfinite(ratio)) return;
    layer->largest_update_ratio = fmax(layer->largest_update_ratio, ratio);
    layer->sum_update_ratio += ratio;
    layer->n_update_ratio++;
}

static void note_clipping(bp_diagnosis *d, const bp_record *record) {
    if (!bp_record_has(record, BP_Q_UNCLIPPED_NORM, 0) ||
        !bp_record_has(record, BP_Q_GRADIENT_NORM, 0))
        return;
    const double ratio = bp_record_get(record, BP_Q_UNCLIPPED_NORM, 0) /
                         bp_record_get(record, BP_Q_GRADIENT_NORM, 0);
    if (isfinite(ratio) && ratio > CLIPPED) d->history.clipping = fmax(d->history.clipping, ratio);
}

static void note_nan(bp_diagnosis *d, const bp_record *record) {
    uint64_t count = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_quantity bad[] = {BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF, BP_Q_UPDATE_BAD};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            count += bp_count_of(record, bad[i], id);
    }
    if (count == 0) return;
    if (d->history.nan_since < 0) d->history.nan_since = record->step;
    if (count > d->history.nan_parameters) d->history.nan_parameters = count;
}

static void note_step(bp_history *history, int64_t step) {
    if (!history->began) {
        history->began = true;
        history->first_step = step;
    }
    history->previous_step = history->last_step;
    history->last_step = step;
    history->n_records++;
}

void bp_history_note(bp_diagnosis *d, const bp_record *record, bool any_non_finite) {
    note_step(&d->history, record->step);
    if (any_non_finite) note_nan(d, record);
    if (d->non_finite.seen) return; /* after one, nothing else is measured of the run */
    if (bp_record_has(record, BP_Q_LOSS, 0))
        note_loss(d, record->step, bp_record_get(record, BP_Q_LOSS, 0));
    note_clipping(d, record);
    for (uint32_t id = 1; id <= d->n_layers; id++) note_layer(d, record, id);
}

void bp_history_note_loss(bp_diagnosis *d, int64_t step, double loss) {
    note_step(&d->history, step);
    if (!d->non_finite.seen) note_loss(d, step, loss);
}

bool bp_loss_is_judged(const bp_diagnosis *d) {
    return !bp_model_recipe(d->model)->unsupervised;
}

double bp_trivial_level(const bp_diagnosis *d) {
    if (!bp_loss_is_judged(d)) return (double)NAN;
    const double trivial = bp_model_recipe(d->model)->trivial_loss;
    if (isfinite(trivial) && trivial > 0) return trivial;
    /* A loss that leapt at once began lower than its first mean says. */
    const double mean = d->history.first_mean, first = d->history.first_loss;
    const double level = first > 0 && mean > 1.5 * first ? first : mean;
    return level > 0 ? level : (double)NAN;
}

bool bp_loss_left_trivial(const bp_diagnosis *d) {
    if (!bp_loss_is_judged(d)) return true;
    const double level = bp_trivial_level(d), first = d->history.first_mean;
    if (isnan(level)) return d->history.last_mean < first - 0.05 * fabs(first);
    return d->history.last_mean < 0.95 * level;
}
