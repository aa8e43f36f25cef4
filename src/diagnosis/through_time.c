/* SPDX-License-Identifier: Apache-2.0 */
/* vanishing-gradient (and exploding-gradient) of another kind: through time, inside a recurrent
 * layer. The error signal at the first time steps is by a factor of 1000 smaller (larger) than at
 * the last ones AND nothing is learnt. Either alone is no finding: many sequences are told by their
 * end, and a fresh LSTM that vanishes learns all the same. */
#include "diagnosis/state.h"

#include <math.h>
#include <stdlib.h>

#define LIMIT 1e-3
#define STUCK_STEPS 200
#define GATED_STEPS 1000 /* GRU, LSTM: fresh gates forget, and soon learn what to keep */
#define OPENING 3        /* newer / older half of the window */

static int64_t steps_into(const bp_diagnosis *d, uint32_t id) {
    const int64_t *shape =
        id > 1 ? bp_model_layer(d->model, id - 1)->output_shape : bp_model_input(d->model);
    int64_t steps = 0, features = 0;
    bp_sequence_of(shape, &steps, &features);
    return steps > 1 ? steps : 0;
}

bool bp_through_time_open(bp_diagnosis *d) {
    bp_through_time *time = &d->through_time;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (bp_layer_is_recurrent(bp_model_layer(d->model, id))) time->n++;
    if (time->n == 0) return true;
    time->layer = bp_allocate(&d->allocator, time->n, sizeof *time->layer);
    if (!time->layer) return false;
    uint32_t at = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!bp_layer_is_recurrent(bp_model_layer(d->model, id))) continue;
        time->layer[at].layer = id;
        time->layer[at++].steps = steps_into(d, id);
    }
    return true;
}

void bp_through_time_close(bp_diagnosis *d) {
    bp_through_time *time = &d->through_time;
    if (time->layer) bp_release(&d->allocator, time->layer, time->n, sizeof *time->layer);
}

/* --- what a record says ----------------------------------------------------------------------- */

static void note(bp_layer_time *layer, const bp_record *record) {
    if (!bp_record_has(record, BP_Q_ERROR_THROUGH_TIME, layer->layer)) return;
    const double ratio = bp_record_get(record, BP_Q_ERROR_THROUGH_TIME, layer->layer);
    const uint32_t at = (uint32_t)(layer->n_total % BP_TIME_WINDOW);
    if (layer->n_total >= BP_TIME_WINDOW) {
        layer->n_vanishes -= layer->vanishes[at];
        layer->n_explodes -= layer->explodes[at];
    }
    layer->step[at] = record->step;
    layer->ratio[at] = ratio;
    layer->vanishes[at] = ratio < LIMIT;
    /* Nothing at all at the end is padding, no explosion. */
    layer->explodes[at] = ratio > 1 / LIMIT && isfinite(ratio);
    layer->n_vanishes += layer->vanishes[at];
    layer->n_explodes += layer->explodes[at];
    layer->n_total++;
}

static uint32_t length(const bp_layer_time *layer) {
    return layer->n_total < BP_TIME_WINDOW ? (uint32_t)layer->n_total : BP_TIME_WINDOW;
}

static bool is_affected(const bp_layer_time *layer, bool vanishing) {
    const uint32_t n = vanishing ? layer->n_vanishes : layer->n_explodes;
    return length(layer) >= WINDOW_MIN && 2 * n > length(layer);
}

/* Noted when it begins to hold: the ring does not reach back to it later. */
static void note_onset(bp_layer_time *layer, bool vanishing) {
    bp_time_onset *onset = vanishing ? &layer->vanishing : &layer->exploding;
    const bool held = onset->holds;
    onset->holds = is_affected(layer, vanishing);
    if (held || !onset->holds) return;
    const bp_onset since = bp_onset_of_flags(
        layer->step, vanishing ? layer->vanishes : layer->explodes, BP_TIME_WINDOW, layer->n_total);
    *onset = (bp_time_onset){true, since.step, since.earliest, since.latest};
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the records from `newest` on, back to `oldest` (0 is the last one). */
static double median(const bp_layer_time *layer, uint32_t newest, uint32_t oldest) {
    double values[BP_TIME_WINDOW];
    uint32_t n = 0;
    for (uint32_t back = newest; back < oldest; back++) {
        const double ratio = layer->ratio[(layer->n_total - 1 - back) % BP_TIME_WINDOW];
        if (!isnan(ratio)) values[n++] = ratio;
    }
    if (n == 0) return (double)NAN;
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

/* Training opens it: gates of a fresh GRU forget, and learn not to. */
static bool is_opening(const bp_layer_time *layer) {
    const uint32_t n = length(layer);
    return median(layer, 0, n / 2) > OPENING * median(layer, n / 2, n);
}

/* The factor of one time step: the ratio lies between the middles of the two ends. */
static double gain_of(double ratio, int64_t steps) {
    if (steps < 2) return (double)NAN;
    const int64_t end = steps / 10 > 1 ? steps / 10 : 1;
    return pow(ratio, 1 / (double)(steps - end));
}

/* --- judging ---------------------------------------------------------------------------------- */

static bool is_stuck(const bp_diagnosis *d, int64_t step) {
    if (!bp_loss_is_judged(d) || isnan(d->history.last_mean)) return false;
    return step - d->history.first_step >= STUCK_STEPS && !bp_loss_left_trivial(d);
}

/* Further down than where it was called stuck: single windows waver. */
static bool has_healed(const bp_diagnosis *d) {
    return bp_loss_left_trivial(d) && !(d->history.last_mean >= 0.9 * bp_trivial_level(d));
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot, const bp_layer_time *layer,
                         int64_t step) {
    const double ratio = median(layer, 0, length(layer)), gain = gain_of(ratio, layer->steps);
    bp_finding_add_evidence(slot, "error_through_time",
                            "error signal at the first time steps / at the last ones, median",
                            layer->layer, step, ratio, true);
    bp_finding_add_evidence(slot, "gain_per_time_step", "its root", layer->layer, step, gain,
                            isfinite(gain));
    bp_finding_add_evidence(slot, "time_steps", "of a sequence", layer->layer, step,
                            (double)layer->steps, layer->steps > 0);
    bp_finding_add_evidence(slot, "through_time", "inside the layer, not over depth", layer->layer,
                            step, 1, true);
    bp_finding_add_evidence(slot, "loss", "mean over the window", 0, step, d->history.last_mean,
                            !isnan(d->history.last_mean));
    bp_finding_add_evidence(slot, "trivial_loss", "of the best constant prediction", 0, step,
                            bp_model_recipe(d->model)->trivial_loss,
                            !isnan(bp_model_recipe(d->model)->trivial_loss));
}

static bool holds(const bp_layer_time *layer, bool vanishing) {
    return vanishing ? layer->vanishing.holds : layer->exploding.holds;
}

static uint32_t judge(bp_diagnosis *d, bp_problem problem, bool harm, int64_t step) {
    bp_finding_slot *slot = &d->slots[problem];
    if (slot->exists && !slot->through_time) return 0; /* over depth or steps: another finding */
    const bool vanishing = problem == BP_PROBLEM_VANISHING_GRADIENT;
    const bp_layer_time *last = NULL; /* nearest the loss: those below it only pass on */
    for (uint32_t i = 0; i < d->through_time.n; i++)
        if (holds(&d->through_time.layer[i], vanishing)) last = &d->through_time.layer[i];
    const bp_severity before = slot->exists ? slot->finding.severity : (bp_severity)0;
    /* Gates may open yet, after whatever time it takes. */
    const bool plain = last && bp_model_layer(d->model, last->layer)->kind == BP_LAYER_RNN;
    const bool early = !plain && step - d->history.first_step < GATED_STEPS;
    const bool opening = last && vanishing && !slot->exists && (early || is_opening(last));
    if (last && harm && !opening) {
        const bp_time_onset *onset = vanishing ? &last->vanishing : &last->exploding;
        const bp_onset since = {onset->step, onset->earliest, onset->latest};
        bp_finding_open_within(d, problem, &since, step);
        slot->through_time = true;
        slot->finding.severity = plain ? BP_ERROR : BP_WARNING;
        for (uint32_t i = 0; i < d->through_time.n; i++)
            if (holds(&d->through_time.layer[i], vanishing))
                bp_finding_add_layer(slot, d->through_time.layer[i].layer);
        add_evidence(d, slot, last, step);
    } else if (slot->exists && has_healed(d)) {
        slot->finding.open = false;
        slot->finding.severity = BP_HINT;
    }
    return slot->exists && before != slot->finding.severity;
}

uint32_t bp_judge_through_time(bp_diagnosis *d, const bp_record *record) {
    if (d->through_time.n == 0 || d->non_finite.seen) return 0;
    for (uint32_t i = 0; i < d->through_time.n; i++) {
        note(&d->through_time.layer[i], record);
        note_onset(&d->through_time.layer[i], true);
        note_onset(&d->through_time.layer[i], false);
    }
    const bool stuck = is_stuck(d, record->step);
    const bool out = d->history.n_out_of_bounds >= WINDOW_MIN;
    return judge(d, BP_PROBLEM_VANISHING_GRADIENT, stuck, record->step) +
           judge(d, BP_PROBLEM_EXPLODING_GRADIENT, stuck || out, record->step);
}

/* --- in words --------------------------------------------------------------------------------- */

void bp_through_time_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bool vanishing = slot->finding.problem == BP_PROBLEM_VANISHING_GRADIENT;
    const bool one = slot->finding.n_layers == 1, open = slot->finding.open;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
    bp_text_add(text, " of %u ", d->n_layers);
    if (vanishing)
        bp_text_add(text, "%s not learn from early time steps%s",
                    !open ? "did"
                    : one ? "does"
                          : "do",
                    open ? "" : " for a while");
    else
        bp_text_add(text,
                    "%s gradients grown beyond \xc3\x97"
                    "1000 through time",
                    !open ? "got"
                    : one ? "gets"
                          : "get");
}

void bp_through_time_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                           bp_text *note) {
    const bp_finding *finding = &slot->finding;
    const bool vanishing = finding->problem == BP_PROBLEM_VANISHING_GRADIENT;
    const bp_layer *layer = bp_model_layer(d->model, slot->evidence[0].layer);
    const double ratio = bp_finding_evidence(finding, "error_through_time");
    const double gain = bp_finding_evidence(finding, "gain_per_time_step");
    const double steps = bp_finding_evidence(finding, "time_steps");
    if (!layer) return;
    bp_text_add(cause,
                "the error signal that reaches the first time steps of layer %u (%s) is \xc3\x97",
                layer->id, layer->name);
    bp_text_add_number(cause, ratio, 2);
    bp_text_add(
        cause, " of that at the last ones: the chain rule multiplies it by dh_t/dh_(t-1), %s",
        layer->kind == BP_LAYER_RNN ? "here U' diag(phi'(z_t))," : "here through the gates,");
    bp_text_add(cause, " at every step back");
    if (isfinite(gain)) {
        bp_text_add(cause, ", about ");
        bp_text_add_number(cause, gain, 2);
        bp_text_add(cause, " each over %d steps", (int)steps);
    }
    bp_text_add(cause, "; meanwhile the loss stays at ");
    bp_text_add_number(cause, bp_finding_evidence(finding, "loss"), 3);
    if (isfinite(bp_finding_evidence(finding, "trivial_loss"))) {
        bp_text_add(cause, ", where guessing is ");
        bp_text_add_number(cause, bp_finding_evidence(finding, "trivial_loss"), 3);
    }
    if (vanishing && finding->open && layer->kind != BP_LAYER_RNN)
        bp_text_add(note, "gates may open yet, as training goes on: it costs the steps until then");
    else if (vanishing && finding->open)
        bp_text_add(note, "a task that the last time steps decide would be learnt all the same: "
                          "what has to be remembered here lies further back");
    if (!finding->open)
        bp_text_add(note, "it healed by itself after step %lld", (long long)finding->last_step);
}
