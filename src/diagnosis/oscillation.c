/* SPDX-License-Identifier: Apache-2.0 */
/* oscillating-loss: a loss that bounces at a high level and does not come down while the learning
 * rate stands, with updates that show why. */
#include "diagnosis/state.h"

#include <math.h>

#define MIN_BLOCKS 50
#define MIN_STEPS 200
#define HIGH 0.25      /* of the loss at the start: the level */
#define SWING 0.5      /* of the level: between the losses' 10% and 90% points */
#define OVERSHOOT 0.05 /* update / weights, the largest layer's, median over records */
#define OPPOSED -0.25  /* cosine of gradients in a row, median over records */

typedef struct swing {
    double low, middle, high; /* of the last losses */
    double level, before;     /* mean of the last third of the run, of the third before */
    double slope_by_error;    /* over both */
    double best, ratio, cosine;
} swing;

static bool measure(const bp_diagnosis *d, swing *w) {
    const bp_loss_shape *shape = &d->loss_shape;
    const bp_curve *curve = &shape->curve;
    const bp_level *last = &shape->spikes.level;
    if (curve->n < MIN_BLOCKS || last->n < SPIKE_WINDOW) return false;
    const uint32_t third = curve->n / 3;
    *w = (swing){.low = last->sorted[SPIKE_WINDOW / 10],
                 .middle = last->sorted[SPIKE_WINDOW / 2],
                 .high = last->sorted[SPIKE_WINDOW - 1 - SPIKE_WINDOW / 10],
                 .level = bp_curve_mean(curve, curve->n - third, curve->n),
                 .before = bp_curve_mean(curve, curve->n - 2 * third, curve->n - third),
                 .best = shape->spikes.best,
                 .ratio = bp_shape_median(shape->ratio, shape->n_shapes),
                 .cosine = bp_shape_median(shape->cosine, shape->n_shapes)};
    bp_curve_slope(curve, curve->n - 2 * third, curve->n, &w->slope_by_error);
    return true;
}

static bool oscillates(const bp_diagnosis *d, const swing *w) {
    const bp_loss_shape *shape = &d->loss_shape;
    const double trivial = bp_model_recipe(d->model)->trivial_loss;
    const double start = trivial > 0 ? trivial : shape->spikes.start;
    const bool high = w->level > HIGH * start && w->middle > 0;
    const bool swings = w->high - w->low > SWING * w->middle;
    const bool stood = d->slots[BP_PROBLEM_OSCILLATING_LOSS].finding.open;
    const bool comes_down =
        w->level < (stood ? 0.85 : 0.97) * w->before || w->slope_by_error < (stood ? -6 : -3);
    const bool rate_stands = !(shape->rate_last < 0.5 * shape->rate_high);
    return high && swings && !comes_down && rate_stands &&
           (w->ratio > OVERSHOOT || w->cosine < OPPOSED);
}

static void add(bp_finding_slot *slot, const char *name, const char *meaning, int64_t step,
                double value) {
    bp_finding_add_evidence(slot, name, meaning, 0, step, value, !isnan(value));
}

uint32_t bp_judge_oscillation(bp_diagnosis *d, int64_t step) {
    swing w;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_OSCILLATING_LOSS];
    const bool existed = slot->exists;
    if (step - d->history.first_step < MIN_STEPS || !measure(d, &w)) return 0;
    if (!oscillates(d, &w)) {
        if (!existed || !slot->finding.open) return 0;
        slot->finding.open = false;
        slot->finding.severity = BP_HINT;
        return 1;
    }
    const bp_curve *curve = &d->loss_shape.curve;
    slot = bp_finding_open(d, BP_PROBLEM_OSCILLATING_LOSS, d->history.first_step, step);
    slot->finding.since_latest = curve->step[curve->n - 2 * (curve->n / 3)];
    add(slot, "loss_low", "10% of the last 64 losses are lower", step, w.low);
    add(slot, "loss_high", "10% are higher", step, w.high);
    add(slot, "loss", "mean over the last third of the run", step, w.level);
    add(slot, "best_loss", "the lowest median of 64 losses", step, w.best);
    add(slot, "update_ratio", "update / weights, largest layer, median", step, w.ratio);
    add(slot, "gradient_cosine", "of gradients in a row, median", step, w.cosine);
    const bp_severity severity = bp_loss_left_trivial(d) ? BP_WARNING : BP_ERROR;
    const bool changed = !existed || slot->finding.severity != severity;
    slot->finding.severity = severity;
    return changed;
}
