/* SPDX-License-Identifier: Apache-2.0 */
/* The lecture's table "how to identify which gradient the model is suffering from", filled with
 * this run's numbers. */
#include "diagnosis/state.h"

#include <math.h>

/* Early and late layers: the first and the last third of those with weights to train. */
typedef struct third {
    double growth; /* geometric mean of rms(w) now / at the start */
    double change; /* geometric mean of the mean update ratio */
    double largest_growth;
    uint32_t n;
} third;

static bool has_trained_weights(const bp_diagnosis *d, uint32_t id) {
    const bp_layer *layer = bp_model_layer(d->model, id);
    return bp_layer_has_weights(layer) && !layer->frozen && d->history.layer[id].n_update_ratio > 0;
}

static third measure_third(const bp_diagnosis *d, bool late) {
    uint32_t total = 0, index = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) total += has_trained_weights(d, id);
    const uint32_t size = (total + 2) / 3;
    third found = {0, 0, 0, 0};
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!has_trained_weights(d, id)) continue;
        const uint32_t at = index++;
        if (late ? at + size < total : at >= size) continue;
        const bp_layer_history *layer = &d->history.layer[id];
        const double growth = layer->last_weight_rms / fmax(layer->first_weight_rms, 1e-300);
        found.growth += log(fmax(growth, 1e-300));
        found.largest_growth = fmax(found.largest_growth, growth);
        found.change += log(fmax(layer->sum_update_ratio / (double)layer->n_update_ratio, 1e-46));
        found.n++;
    }
    if (found.n) {
        found.growth = exp(found.growth / found.n);
        found.change = exp(found.change / found.n);
        if (found.change < 1e-40) found.change = 0; /* not a bit has moved */
    }
    return found;
}

static void growth_row(const bp_diagnosis *d, bp_symptom *symptom, bp_text *text) {
    symptom->exploding = "exponential growth of the parameters of the lower (initial) layers";
    symptom->vanishing = "parameters of the higher layers change significantly, those of the lower "
                         "layers little or not at all";
    const third early = measure_third(d, false), late = measure_third(d, true);
    if (!early.n) {
        bp_text_add(text, "not measured");
        return;
    }
    bp_text_add(text, "a step changes early layers by ");
    bp_text_add_number(text, early.change, 2);
    bp_text_add(text, " of their size, late ones by ");
    bp_text_add_number(text, late.change, 2);
    bp_text_add(text, "; grown since the start: early \xc3\x97");
    bp_text_add_number(text, early.growth, 3);
    bp_text_add(text, ", late \xc3\x97");
    bp_text_add_number(text, late.growth, 3);
    symptom->speaks_for_exploding = early.largest_growth > 10 || early.change > 1;
    symptom->speaks_for_vanishing = early.change < 1e-3 * late.change;
}

static void weights_row(const bp_diagnosis *d, bp_symptom *symptom, bp_text *text) {
    symptom->exploding = "weights may become NaN during training";
    symptom->vanishing = "weights may become close to 0";
    double furthest = 0, its_scale = 1;
    uint32_t its_layer = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const double scale = bp_weight_scale(d, id, d->history.layer[id].last_weight_rms);
        if (isnan(scale)) continue;
        const double distance = fabs(log(fmax(scale, 1e-300)));
        if (its_layer && !(distance > furthest)) continue;
        furthest = distance;
        its_scale = scale;
        its_layer = id;
    }
    if (d->history.nan_since >= 0) {
        bp_text_add(text, "%llu parameters are not finite since step %lld",
                    (unsigned long long)d->history.nan_parameters, (long long)d->history.nan_since);
        symptom->speaks_for_exploding = true;
    } else if (its_layer) {
        bp_text_add(text,
                    "all finite; furthest from the critical size are those of layer %u, "
                    "\xc3\x97",
                    its_layer);
        bp_text_add_number(text, its_scale, 2);
        bp_text_add(text, " of it");
        symptom->speaks_for_vanishing = its_scale < 0.5;
        symptom->speaks_for_exploding = its_scale > 10;
    } else {
        bp_text_add(text, "not measured");
    }
}

static void loss_row(const bp_diagnosis *d, bp_symptom *symptom, bp_text *text) {
    symptom->exploding = "the loss abruptly increases by a large amount";
    symptom->vanishing = "the model learns very slowly; training stagnates at a very early stage";
    const bp_history *history = &d->history;
    const bool judged = bp_loss_is_judged(d);
    const double level = judged ? bp_model_recipe(d->model)->trivial_loss : (double)NAN;
    const double trivial = level > 0 ? level : (double)NAN;
    bp_text_add(text, "loss ");
    bp_text_add_number(text, history->first_loss, 3);
    bp_text_add(text, " \xe2\x86\x92 ");
    bp_text_add_number(text, isnan(history->last_mean) ? history->last_loss : history->last_mean,
                       3);
    bp_text_add(text, " over %llu steps", (unsigned long long)history->n_records);
    if (isfinite(trivial)) {
        bp_text_add(text, " (guessing is ");
        bp_text_add_number(text, trivial, 3);
        bp_text_add(text, ")");
    }
    if (history->largest_jump > 2) {
        bp_text_add(text, "; largest jump \xc3\x97");
        bp_text_add_number(text, history->largest_jump, 2);
        bp_text_add(text, " at step %lld", (long long)history->largest_jump_step);
    }
    if (d->non_finite.loss_is_bad)
        bp_text_add(text, "; no finite loss after step %lld", (long long)d->non_finite.step);
    symptom->speaks_for_exploding =
        judged && (history->largest_jump > 10 || history->largest_loss > 10 * trivial);
    symptom->speaks_for_vanishing = !d->non_finite.seen && !symptom->speaks_for_exploding &&
                                    !isnan(history->first_mean) && !bp_loss_left_trivial(d);
}

void bp_text_symptoms(bp_diagnosis *d, bp_finding_slot *slot) {
    static void (*const rows[])(const bp_diagnosis *, bp_symptom *,
                                bp_text *) = {growth_row, weights_row, loss_row};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bp_text text;
        bp_text_init(&text, slot->symptom_text[i], sizeof slot->symptom_text[i]);
        slot->symptoms[i] = (bp_symptom){.measured = slot->symptom_text[i]};
        rows[i](d, &slot->symptoms[i], &text);
    }
}
