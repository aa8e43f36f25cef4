/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that do not get on: constant-output, plateau, slow-convergence, underfitting. Judged by the
 * means of blocks over the whole run, against the loss of guessing. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

#define MIN_STEPS 200
#define MIN_BLOCKS 50
#define LEFT 0.95  /* of the loss of guessing: below it something was learnt */
#define BETTER 0.9 /* ... below it much was */
#define ABOVE 1.1  /* ... above it the run does not stand still at guessing */
#define SAME_OUTPUT 1e-3
#define SAME_OUTPUT_BF16 1e-2
#define VARIED_INPUT 0.1
#define MIN_CONSTANT 10 /* records in a row */
#define STEADY 0.5      /* cosine of gradients in a row */
#define CLEAR 3         /* a slope that many of its standard errors below 0 */
#define MOVED 0.01      /* of the loss of guessing: less is no learning */
#define HIDDEN 0.03     /* of the loss of guessing */
#define CREEPS 2.5      /* the same of what is taken for a standstill by the accuracy */
#define TOO_SLOW 3      /* times the run so far, until half of the loss would be gone */

static void add(bp_finding_slot *slot, const char *name, const char *meaning, int64_t step,
                double value) {
    bp_finding_add_evidence(slot, name, meaning, 0, step, value, true);
}

/* The loss of guessing where the recipe knows it; NaN else: the first losses are no level that a
 * run must get away from. */
static double guessing(const bp_diagnosis *d) {
    const double level = bp_model_recipe(d->model)->trivial_loss;
    return level > 0 && isfinite(level) ? level : (double)NAN;
}

static int64_t long_enough(const bp_diagnosis *d, int64_t epochs) {
    const int64_t epoch = bp_model_recipe(d->model)->epoch_steps;
    const int64_t steps = epoch > 0 ? epochs * epoch : 2 * MIN_STEPS;
    return steps > MIN_STEPS ? steps : MIN_STEPS;
}

static int64_t run_of(const bp_diagnosis *d, int64_t step) {
    return step - d->history.first_step + 1;
}

static double now_of(const bp_curve *curve) {
    return bp_curve_median(curve, curve->n - (curve->n + 3) / 4, curve->n);
}

/* --- constant-output -------------------------------------------------------------------------- */

static bool is_constant(const bp_diagnosis *d, const bp_record *record, uint32_t out) {
    const double precision = bp_record_has(record, BP_Q_ACTIVATION_PRECISION, out)
                                 ? bp_record_get(record, BP_Q_ACTIVATION_PRECISION, out)
                                 : 24;
    const double limit = precision <= 8 ? SAME_OUTPUT_BF16 : SAME_OUTPUT;
    return d->loss_shape.output_variation < limit && d->forward_input > VARIED_INPUT;
}

/* The targets themselves hardly differ: a constant is a good answer. */
static bool targets_are_alike(bp_loss_shape *shape, const bp_record *record) {
    if (bp_record_has(record, BP_Q_TARGET_MIN, 0) && bp_record_has(record, BP_Q_TARGET_MAX, 0)) {
        const double low = bp_record_get(record, BP_Q_TARGET_MIN, 0);
        const double high = bp_record_get(record, BP_Q_TARGET_MAX, 0);
        const double spread = (high - low) / fmax(fabs(low), fabs(high));
        if (isfinite(spread))
            shape->target_spread = fmax(shape->target_spread, spread);
        else if (high == low)
            shape->target_spread = fmax(shape->target_spread, 0);
    }
    return shape->target_spread >= 0 && shape->target_spread < 10 * SAME_OUTPUT_BF16;
}

static uint32_t open_constant(bp_diagnosis *d, uint32_t out, int64_t step) {
    bp_loss_shape *shape = &d->loss_shape;
    const bool existed = d->slots[BP_PROBLEM_CONSTANT_OUTPUT].exists;
    bp_finding_slot *slot =
        bp_finding_open(d, BP_PROBLEM_CONSTANT_OUTPUT, shape->constant_since, step);
    slot->finding.since_latest = shape->constant_since;
    slot->finding.since_earliest = shape->constant_latest;
    bp_finding_add_layer(slot, out);
    bp_finding_add_evidence(slot, "output_variation",
                            "spread of the outputs over samples / their size", out, step,
                            shape->output_variation, true);
    bp_finding_add_evidence(slot, "input_variation", "the same of the input", 0, step,
                            d->forward_input, true);
    add(slot, "loss", "median over the last quarter of the run", step, now_of(&shape->curve));
    add(slot, "trivial_loss", "of guessing", step, bp_trivial_level(d));
    return bp_finding_settle(slot, existed, BP_ERROR);
}

uint32_t bp_judge_constant_output(bp_diagnosis *d, const bp_record *record) {
    bp_loss_shape *shape = &d->loss_shape;
    const uint32_t out =
        bp_model_n_cuts(d->model) ? bp_model_cut(d->model, bp_model_n_cuts(d->model)) : d->n_layers;
    const bool alike = targets_are_alike(shape, record);
    if (!bp_record_has(record, BP_Q_VARIATION, out)) return 0;
    shape->output_variation = bp_record_get(record, BP_Q_VARIATION, out);
    if (!is_constant(d, record, out)) {
        shape->n_constant = 0;
        shape->constant_latest = record->step;
        return bp_finding_close(d, BP_PROBLEM_CONSTANT_OUTPUT);
    }
    if (shape->n_constant++ == 0) shape->constant_since = record->step;
    if (shape->n_constant < MIN_CONSTANT || alike || run_of(d, record->step) <= MIN_STEPS ||
        shape->curve.n < MIN_BLOCKS || !(now_of(&shape->curve) > LEFT * bp_trivial_level(d)))
        return 0;
    return open_constant(d, out, record->step);
}

/* --- plateau ---------------------------------------------------------------------------------- */

/* Something that was found, other than but_for, says why nothing is learnt. */
static bool is_explained(const bp_diagnosis *d, bp_problem but_for) {
    static const bp_problem causes[] = {
        BP_PROBLEM_VANISHING_GRADIENT,
        BP_PROBLEM_EXPLODING_GRADIENT,
        BP_PROBLEM_NON_FINITE,
        BP_PROBLEM_WEIGHTS_TOO_LARGE,
        BP_PROBLEM_WEIGHTS_TOO_SMALL,
        BP_PROBLEM_CLIP_TO_ZERO,
        BP_PROBLEM_DEAD_UNITS,
        BP_PROBLEM_SATURATED_UNITS,
        BP_PROBLEM_SYMMETRIC_UNITS,
        BP_PROBLEM_CONSTANT_INIT,
        BP_PROBLEM_ZERO_INIT,
        BP_PROBLEM_LEARNING_RATE_TOO_HIGH,
        BP_PROBLEM_STALLED_UPDATE,
        BP_PROBLEM_LEARNING_RATE_TOO_LOW,
        BP_PROBLEM_OSCILLATING_LOSS,
        BP_PROBLEM_CONSTANT_OUTPUT,
        BP_PROBLEM_LABELS_OUT_OF_RANGE,
        BP_PROBLEM_WRONG_LAST_LAYER,
        BP_PROBLEM_FROZEN_PARAMETER,
        BP_PROBLEM_UNUSED_PARAMETER,
        BP_PROBLEM_LOW_PRECISION_UNDERFLOW,
        BP_PROBLEM_INPUT_NOT_NORMALISED,
    };
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        const bp_finding_slot *slot = &d->slots[causes[i]];
        if (causes[i] != but_for && slot->exists && slot->finding.open &&
            slot->finding.severity >= BP_WARNING)
            return true;
    }
    return false;
}

/* The median of a block and its neighbours, a tenth of the run. */
static double smoothed(const bp_curve *curve, uint32_t i) {
    const uint32_t reach = 2 + curve->n / 20;
    const uint32_t from = i > reach ? i - reach : 0;
    const uint32_t to = i + reach + 1 < curve->n ? i + reach + 1 : curve->n;
    return bp_curve_median(curve, from, to);
}

/* Since when the loss has been that of guessing, as a block; n when it is not. */
static uint32_t guessing_since(const bp_curve *curve, double level) {
    double scratch[CURVE_BLOCKS];
    const double noise = bp_noise_of(curve->mean, curve->n, scratch);
    const uint32_t n_smoothed = 5 + curve->n / 10;
    const double low = LEFT * level - 2.5 * noise / sqrt(n_smoothed);
    uint32_t from = curve->n;
    while (from > 0) {
        const double loss = smoothed(curve, from - 1);
        if (!(loss > low && loss < ABOVE * level)) break;
        from--;
    }
    return from;
}

typedef enum motion { STANDS, FALLS, UNCLEAR } motion;

/* Whether there is a fall that is more than noise, over its second half and at its end; unclear
 * where one could hide in the noise. */
static motion motion_since(const bp_curve *curve, uint32_t from, double level) {
    const uint32_t n = curve->n - from, tail = curve->n - (n + 9) / 10;
    double by_error, scratch[CURVE_BLOCKS];
    const double slope = bp_curve_slope(curve, from + n / 2, curve->n, &by_error);
    const uint32_t n_half = n - n / 2;
    const double fall = -slope * n_half;
    if (by_error < -CLEAR && fall > MOVED * level) return FALLS;
    const double noise = bp_noise_of(curve->mean + from, n, scratch) / sqrt(curve->n - tail);
    const double before = bp_curve_mean(curve, from + n / 2, tail);
    if (bp_curve_mean(curve, tail, curve->n) < before - fmax(4 * noise, 0.5 * MOVED * level))
        return FALLS;
    return by_error != 0 && fall + 2 * fabs(fall / by_error) > HIDDEN * level ? UNCLEAR : STANDS;
}

static bool was_ever_better(const bp_curve *curve, uint32_t from, double level) {
    for (uint32_t i = 0; i < from; i++)
        if (smoothed(curve, i) < BETTER * level) return true;
    return false;
}

static uint32_t judge_plateau(bp_diagnosis *d, int64_t step) {
    const bp_loss_shape *shape = &d->loss_shape;
    const bp_curve *curve = &shape->curve;
    const double level = guessing(d);
    if (isnan(level)) return 0;
    const uint32_t from = guessing_since(curve, level);
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_PLATEAU];
    if (from == curve->n) return bp_finding_close(d, BP_PROBLEM_PLATEAU);
    const bool fell_back = was_ever_better(curve, from, level);
    /* The first losses of a run may lie above: an initialiser's outputs are wrong, not none. */
    const bool all_along = !fell_back && from * 10 < curve->n;
    const int64_t since = all_along ? d->history.first_step : curve->step[from];
    const int64_t length = step - since + 1;
    const motion now = motion_since(curve, from, level);
    if (now == FALLS) return bp_finding_close(d, BP_PROBLEM_PLATEAU);
    const bool stands = slot->exists && slot->finding.open;
    if (!stands && (now == UNCLEAR || now_of(curve) < LEFT * level || length < long_enough(d, 2) ||
                    length * 10 < 3 * run_of(d, step) || is_explained(d, BP_N_PROBLEMS)))
        return 0;
    const bool existed = slot->exists;
    slot = bp_finding_open(d, BP_PROBLEM_PLATEAU, since, step);
    add(slot, "loss", "median over the last quarter of the run", step, now_of(curve));
    add(slot, "trivial_loss", "of guessing", step, level);
    add(slot, "steps", "for which it has been so", step, (double)length);
    add(slot, "fell_back", "1: it was better before", step, fell_back);
    if (shape->rate_high >= 0)
        add(slot, "learning_rate", "the largest so far", step, shape->rate_high);
    const bp_recipe *recipe = bp_model_recipe(d->model);
    const bool has_classes = recipe->chance_accuracy > 0 || recipe->loss == BP_CROSS_ENTROPY;
    return bp_finding_settle(slot, existed,
                             has_classes || shape->rate_high == 0 ? BP_ERROR : BP_WARNING);
}

/* --- slow-convergence, underfitting ----------------------------------------------------------- */

/* A rate that rises, or has fallen on purpose, explains a slow pace. */
static bool rate_is_at_its_height(const bp_loss_shape *shape) {
    return !(shape->rate_last < 0.5 * shape->rate_high);
}

/* At the pace of the last half of the run: steps until half of the loss would be gone, by the steps
 * so far. Of a fall that the noise hides no more is believed than could be. */
static double pace(const bp_curve *curve) {
    double by_error;
    const uint32_t half = curve->n / 2;
    const double fall = -bp_curve_slope(curve, half, curve->n, &by_error) * (curve->n - half);
    const double believed = by_error != 0 ? fall + 2 * fabs(fall / by_error) : fall;
    return believed > 0 ? 0.25 * now_of(curve) / believed : (double)INFINITY;
}

static uint32_t judge_slow(bp_diagnosis *d, int64_t step) {
    const bp_loss_shape *shape = &d->loss_shape;
    const bp_curve *curve = &shape->curve;
    const int64_t run = run_of(d, step);
    const double now = now_of(curve), level = guessing(d), needed = pace(curve);
    const double cosine = bp_shape_median(shape->cosine, shape->n_shapes);
    const bool stood = d->slots[BP_PROBLEM_SLOW_CONVERGENCE].finding.open;
    const bool holds = now > 0.6 * level && needed > (stood ? 0.5 : 1) * TOO_SLOW &&
                       cosine > STEADY && rate_is_at_its_height(shape);
    if (!holds || run < long_enough(d, 3) ||
        (!stood && is_explained(d, BP_PROBLEM_LEARNING_RATE_TOO_LOW)))
        return bp_finding_close(d, BP_PROBLEM_SLOW_CONVERGENCE);
    const bool existed = d->slots[BP_PROBLEM_SLOW_CONVERGENCE].exists;
    bp_finding_slot *slot =
        bp_finding_open(d, BP_PROBLEM_SLOW_CONVERGENCE, d->history.first_step, step);
    add(slot, "loss", "median over the last quarter of the run", step, now);
    add(slot, "trivial_loss", "of guessing", step, level);
    add(slot, "steps_to_half", "until half of it is gone, at the pace of the last half", step,
        needed * (double)run);
    add(slot, "gradient_cosine", "of gradients in a row, median", step, cosine);
    return bp_finding_settle(slot, existed, BP_WARNING);
}

/* Accuracy of the training batches on a scale from chance to 1; NaN where it is not told. */
static double won_over_chance(const bp_diagnosis *d) {
    const double chance = bp_model_recipe(d->model)->chance_accuracy;
    if (!(chance > 0 && chance < 1) || d->loss_shape.n_accuracy < 20) return (double)NAN;
    return (d->loss_shape.accuracy - chance) / (1 - chance);
}

/* It stands; or it creeps, after many epochs, where the accuracy says how little it has come to. */
static bool hardly_moves(const bp_diagnosis *d, int64_t step, double won) {
    const bp_curve *curve = &d->loss_shape.curve;
    const bool stood = d->slots[BP_PROBLEM_UNDERFITTING].finding.open;
    const motion moves = motion_since(curve, curve->n / 2, guessing(d));
    if (moves == STANDS || (stood && moves == UNCLEAR)) return true;
    return won < 0.35 && run_of(d, step) >= long_enough(d, 10) &&
           pace(curve) > (stood ? 0.5 : 1) * CREEPS;
}

static uint32_t judge_underfitting(bp_diagnosis *d, int64_t step) {
    const bp_loss_shape *shape = &d->loss_shape;
    const bp_curve *curve = &shape->curve;
    const double now = now_of(curve), level = guessing(d), won = won_over_chance(d);
    /* Without an accuracy there is only the loss, and long flat stretches are known to end. */
    const int64_t enough = isnan(won) ? long_enough(d, 20) : long_enough(d, 5);
    const bool low = isnan(won) ? now > 0.8 * level : now > 0.6 * level && won < 0.35;
    const bool holds =
        low && now < LEFT * level && run_of(d, step) >= enough &&
        run_of(d, step) >= 2 * MIN_STEPS && hardly_moves(d, step, won) &&
        rate_is_at_its_height(shape) &&
        (!is_explained(d, BP_N_PROBLEMS) || d->slots[BP_PROBLEM_UNDERFITTING].exists);
    if (!holds) return bp_finding_close(d, BP_PROBLEM_UNDERFITTING);
    const bool existed = d->slots[BP_PROBLEM_UNDERFITTING].exists;
    bp_finding_slot *slot =
        bp_finding_open(d, BP_PROBLEM_UNDERFITTING, curve->step[curve->n / 2], step);
    slot->finding.since_earliest = d->history.first_step;
    add(slot, "loss", "median over the last quarter of the run", step, now);
    add(slot, "trivial_loss", "of guessing", step, level);
    if (!isnan(won))
        add(slot, "train_accuracy", "mean over about 64 records", step, shape->accuracy);
    return bp_finding_settle(slot, existed, won < 0.25 ? BP_WARNING : BP_HINT);
}

uint32_t bp_judge_stagnation(bp_diagnosis *d, int64_t step) {
    if (d->loss_shape.curve.n < MIN_BLOCKS || run_of(d, step) < MIN_STEPS) return 0;
    uint32_t changed = judge_plateau(d, step);
    changed += judge_slow(d, step);
    return changed + judge_underfitting(d, step);
}
