/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the loss over steps: what is kept of it, oscillation, and all of it in words. Spikes
 * are judged in spike.c, runs that do not get on in stagnation.c. */
#include "diagnosis/state.h"

#include <math.h>

#define FEW_WEIGHTS 64
#define EVERY 16 /* records between two judgements of the whole curve */

bool bp_loss_shape_open(bp_diagnosis *d) {
    bp_loss_shape *shape = &d->loss_shape;
    const size_t rows = (size_t)d->n_layers + 1;
    shape->spikes.start = shape->spikes.best = (double)NAN;
    shape->rate_low = shape->rate_high = shape->rate_last = (double)NAN;
    shape->rate_rose = shape->last_step = shape->spikes.judged_begin = -1;
    shape->target_spread = -1;
    shape->output_variation = (double)NAN;
    shape->spikes.gradient =
        bp_allocate(&d->allocator, rows * SPIKE_GRADIENTS, sizeof *shape->spikes.gradient);
    return shape->spikes.gradient != NULL;
}

void bp_loss_shape_close(bp_diagnosis *d) {
    const size_t rows = (size_t)d->n_layers + 1;
    bp_release(&d->allocator, d->loss_shape.spikes.gradient, rows * SPIKE_GRADIENTS,
               sizeof *d->loss_shape.spikes.gradient);
}

/* --- what is kept ----------------------------------------------------------------------------- */

static void rewind_to(bp_diagnosis *d, int64_t step) {
    bp_curve_rewind(&d->loss_shape.curve, step);
    bp_spikes_rewind(&d->loss_shape.spikes);
    bp_generalisation_rewind(&d->generalisation, step);
}

void bp_loss_shape_note(bp_diagnosis *d, int64_t step, double loss) {
    if (!bp_loss_is_judged(d)) return;
    if (step <= d->loss_shape.last_step) rewind_to(d, step);
    d->loss_shape.last_step = step;
    bp_curve_add(&d->loss_shape.curve, step, loss);
    bp_spikes_note(d, step, loss);
    bp_generalisation_note(&d->generalisation, loss);
}

static void note_rate(bp_loss_shape *shape, int64_t step, double rate) {
    if (!isfinite(rate) || rate < 0) return;
    if (isnan(shape->rate_low)) shape->rate_low = shape->rate_high = rate;
    if (rate > 1.2 * shape->rate_low) {
        shape->rate_rose = step;
        shape->rate_low = rate; /* the next rise is measured from here */
    }
    shape->rate_low = fmin(shape->rate_low, rate);
    shape->rate_high = fmax(shape->rate_high, rate);
    shape->rate_last = rate;
}

/* Of the layers' gradients with those before: the mean over the layers that tell it. */
static double cosine_of(const bp_diagnosis *d, const bp_record *record) {
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer *layer = bp_model_layer(d->model, id);
        if (!bp_record_has(record, BP_Q_GRADIENT_COSINE, id)) continue;
        /* In few dimensions any two directions are near each other. */
        if (layer->fan_in > 0 && layer->fan_in * layer->fan_out < FEW_WEIGHTS) continue;
        const double cosine = bp_record_get(record, BP_Q_GRADIENT_COSINE, id);
        if (!isfinite(cosine)) continue;
        sum += cosine;
        n++;
    }
    return n ? sum / n : (double)NAN;
}

static double largest_ratio(const bp_diagnosis *d) {
    double largest = (double)NAN;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const double ratio = d->history.layer[id].own_update_ratio;
        if (!(ratio <= largest) && !isnan(ratio)) largest = ratio;
    }
    return largest;
}

double bp_shape_median(const float *ring, uint64_t n_all) {
    double values[SHAPE_WINDOW];
    uint32_t n = 0;
    for (uint32_t i = 0; i < SHAPE_WINDOW && i < n_all; i++)
        if (!isnan(ring[i])) values[n++] = (double)ring[i];
    return n >= SHAPE_WINDOW / 4 ? bp_median_of(values, n) : (double)NAN;
}

static void note_shape(bp_diagnosis *d, const bp_record *record) {
    bp_loss_shape *shape = &d->loss_shape;
    if (bp_record_has(record, BP_Q_LEARNING_RATE, 0))
        note_rate(shape, record->step, bp_record_get(record, BP_Q_LEARNING_RATE, 0));
    if (bp_record_has(record, BP_Q_SAMPLES, 0))
        shape->samples = bp_record_get(record, BP_Q_SAMPLES, 0);
    if (bp_record_has(record, BP_Q_TRAIN_ACCURACY, 0)) {
        const double accuracy = bp_record_get(record, BP_Q_TRAIN_ACCURACY, 0);
        if (isfinite(accuracy)) {
            if (shape->n_accuracy < SHAPE_WINDOW) shape->n_accuracy++;
            shape->accuracy += (accuracy - shape->accuracy) / (double)shape->n_accuracy;
        }
    }
    const float cosine = (float)cosine_of(d, record), ratio = (float)largest_ratio(d);
    if (isnan(cosine) && isnan(ratio)) return;
    const uint32_t at = (uint32_t)(shape->n_shapes++ % SHAPE_WINDOW);
    shape->cosine[at] = cosine;
    shape->ratio[at] = ratio;
}

uint32_t bp_judge_loss_shape(bp_diagnosis *d, const bp_record *record) {
    bp_loss_shape *shape = &d->loss_shape;
    if (d->non_finite.seen || !bp_loss_is_judged(d)) return 0;
    note_shape(d, record);
    bp_spikes_note_gradients(d, record);
    uint32_t changed = bp_judge_spikes(d, record->step);
    changed += bp_judge_constant_output(d, record);
    if (++shape->n_records % EVERY) return changed;
    changed += bp_judge_oscillation(d, record->step);
    return changed + bp_judge_stagnation(d, record->step);
}

/* --- in words --------------------------------------------------------------------------------- */

static double of(const bp_finding_slot *slot, const char *name) {
    return bp_finding_evidence(&slot->finding, name);
}

static void number(bp_text *text, const char *before, double value, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, value, 3);
    bp_text_add(text, "%s", after);
}

static void title_spike(const bp_finding_slot *slot, bp_text *text) {
    const double back = of(slot, "steps_to_recover"), spikes = of(slot, "spikes");
    number(text, "the loss jumped from ", of(slot, "loss_before"), "");
    number(text, " to ", of(slot, "loss_at_peak"), "");
    if (spikes > 1)
        number(text, ", the largest of ", spikes, " spikes");
    else
        bp_text_add(text, " at step %lld", (long long)slot->finding.since_step);
    if (back >= 0) {
        number(text, " and took ", back, back > 1 ? " steps to come back" : " step to come back");
    } else {
        bp_text_add(text, " and has not come back");
    }
}

static void title_oscillating(const bp_finding_slot *slot, bp_text *text) {
    number(text, "the loss bounces between ", of(slot, "loss_low"), "");
    number(text, " and ", of(slot, "loss_high"), " and does not come down");
}

static void title_plateau(const bp_finding_slot *slot, bp_text *text) {
    number(text, "the loss is that of guessing, ", of(slot, "loss"), "");
    number(text, " of ", of(slot, "trivial_loss"), "");
    number(text, of(slot, "fell_back") > 0 ? ", again for " : ", after ", of(slot, "steps"),
           " steps");
}

static void title_slow(const bp_finding_slot *slot, bp_text *text) {
    number(text, "at this pace it takes ", of(slot, "steps_to_half"),
           " steps more to halve the loss");
}

void bp_loss_shape_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    switch (slot->finding.problem) {
    case BP_PROBLEM_LOSS_SPIKE:
        title_spike(slot, text);
        break;
    case BP_PROBLEM_OSCILLATING_LOSS:
        title_oscillating(slot, text);
        break;
    case BP_PROBLEM_PLATEAU:
        title_plateau(slot, text);
        break;
    case BP_PROBLEM_SLOW_CONVERGENCE:
        title_slow(slot, text);
        break;
    case BP_PROBLEM_CONSTANT_OUTPUT:
        bp_text_add(text, "the prediction is the same for every input");
        break;
    default:
        number(text, "the training loss stands at ", of(slot, "loss"), "");
        number(text, " where guessing is ", of(slot, "trivial_loss"), "");
        break;
    }
    if (!slot->finding.open && slot->finding.problem != BP_PROBLEM_LOSS_SPIKE)
        bp_text_add(text, " (no longer since step %lld)", (long long)slot->finding.last_step);
    (void)d;
}

static void words_of_spike(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                           bp_text *note) {
    const bp_spikes *s = &d->loss_shape.spikes;
    bp_text_add(cause, "at step %lld the loss left its level", (long long)s->worst.begin);
    number(cause, " by ", of(slot, "deviations"), " of its usual deviations");
    if (s->blamed_layer) {
        bp_text_add(cause, "; the gradient of layer %u (%s) rose first, at step %lld",
                    s->blamed_layer, bp_model_layer(d->model, s->blamed_layer)->name,
                    (long long)s->blamed_step);
        number(cause, ", \xc3\x97", s->blamed_factor, " of its median before");
    } else {
        bp_text_add(cause, "; no gradient was seen to rise before it");
    }
    if (slot->finding.severity == BP_HINT)
        bp_text_add(note, "it passed: look at the batch of that step; clipping by norm would have "
                          "kept the step short");
    else
        bp_text_add(note, "go back to a state before it; a shorter step, clipping by norm or "
                          "leaving that batch out");
}

static void words_of_oscillating(const bp_finding_slot *slot, bp_text *cause, bp_text *note) {
    const double ratio = of(slot, "update_ratio"), cosine = of(slot, "gradient_cosine");
    number(cause, "the level stands at ", of(slot, "loss"), "");
    number(cause, " (its best was ", of(slot, "best_loss"), ")");
    if (isfinite(ratio)) number(cause, "; updates are ", ratio, " of the weights that they change");
    if (isfinite(cosine))
        number(cause, "; gradients in a row point ", cosine,
               cosine < 0 ? " (cosine) against each other" : " (cosine) alike");
    bp_text_add(note, "steps overshoot: a lower learning rate lets the loss come down");
}

static void words_of_plateau(const bp_finding_slot *slot, bp_text *cause, bp_text *note) {
    if (of(slot, "learning_rate") <= 0) {
        bp_text_add(cause, "the learning rate is 0");
        return;
    }
    bp_text_add(cause, "nothing was learnt beyond what the targets' distribution alone tells, and "
                       "no layer's signals say why");
    bp_text_add(note, "candidates: labels that do not belong to their inputs (shuffled apart, read "
                      "wrongly), inputs without information, a learning rate that is far too low "
                      "or too high");
}

void bp_loss_shape_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                         bp_text *note) {
    switch (slot->finding.problem) {
    case BP_PROBLEM_LOSS_SPIKE:
        words_of_spike(d, slot, cause, note);
        break;
    case BP_PROBLEM_OSCILLATING_LOSS:
        words_of_oscillating(slot, cause, note);
        break;
    case BP_PROBLEM_PLATEAU:
        words_of_plateau(slot, cause, note);
        break;
    case BP_PROBLEM_SLOW_CONVERGENCE:
        number(cause, "the loss falls steadily and gradients in a row point the same way (cosine ",
               of(slot, "gradient_cosine"), "): the steps are short for where they lead");
        break;
    case BP_PROBLEM_CONSTANT_OUTPUT:
        number(cause, "the outputs of different samples differ by ", of(slot, "output_variation"),
               " of their size");
        number(cause, ", the inputs by ", of(slot, "input_variation"), "");
        number(cause, "; the loss, ", of(slot, "loss"), ", is that of guessing, ");
        bp_text_add_number(cause, of(slot, "trivial_loss"), 3);
        break;
    default:
        bp_text_add(cause, "it no longer moves, and is far from what was to be learnt");
        if (isfinite(of(slot, "train_accuracy")))
            number(cause, "; training accuracy ", of(slot, "train_accuracy"), "");
        bp_text_add(note, "a larger network or a longer, faster training may help; so much of the "
                          "loss may also be noise in the targets, which cannot be learnt");
        break;
    }
}
