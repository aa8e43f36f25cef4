/* SPDX-License-Identifier: Apache-2.0 */
/* What the validation set says: overfitting, overconfidence, memorising. */
#include "diagnosis/state.h"

#include <math.h>

#define MIN_EVALUATIONS 5
#define MIN_WORSE 3       /* evaluations in a row, up to now */
#define WORSE_FRACTION 10 /* 1/10 of the run */
#define BY_NOISE 3.0
#define BY_IMPROVEMENT 0.05
#define WON 0.1            /* of the way from guessing to perfect: less is nothing learnt */
#define OVERCONFIDENT 0.15 /* of the improvement: less is usual in runs that end well */
#define SMALL_TRAIN 0.02   /* of the trivial level: a training loss that has no way left to fall */
#define FAR 0.2            /* of the trivial level, of the way from chance to 1: far from perfect */
#define MIN_STEPS 100      /* before anything is said of a gap */
#define STILL_FALLS 0.01   /* of guessing, from the third quarter to the last */
#define APART 0.03         /* of the loss of guessing: a validation loss that does not follow */
#define GAP 10             /* validation loss / training loss */

bool bp_generalisation_open(bp_diagnosis *d) {
    (void)d;
    return true;
}

void bp_generalisation_close(bp_diagnosis *d) {
    (void)d;
}

/* --- what is kept ----------------------------------------------------------------------------- */

static void note_train(bp_metric_history *metric, double loss) {
    metric->n_train++;
    metric->train_sum += (loss - metric->train_sum) / (double)metric->n_train;
}

void bp_generalisation_note(bp_generalisation *g, double loss) {
    note_train(&g->loss, loss);
    note_train(&g->accuracy, loss);
}

void bp_generalisation_rewind(bp_generalisation *g, int64_t step) {
    bp_curve_rewind(&g->loss.value, step);
    bp_curve_rewind(&g->loss.train, step);
    bp_curve_rewind(&g->accuracy.value, step);
    bp_curve_rewind(&g->accuracy.train, step);
}

void bp_generalisation_overview(const bp_generalisation *g, bp_diagnosis_overview *overview) {
    const bool by_accuracy = g->accuracy.n > 0;
    const bp_metric_history *metric = by_accuracy ? &g->accuracy : &g->loss;
    overview->n_validations = metric->n;
    overview->best_is_accuracy = by_accuracy;
    overview->best_validation = (double)NAN;
    overview->best_validation_step = -1;
    if (metric->n == 0) return;
    overview->best_validation = by_accuracy ? -metric->best : metric->best;
    overview->best_validation_step = metric->best_step;
}

/* True when there is something new to judge: after many evaluations each 1/64 more is enough. */
static bool note_evaluation(bp_metric_history *metric, int64_t step, double value) {
    if (!isfinite(value)) return false;
    if (metric->n_train) metric->last_train = metric->train_sum;
    metric->n_train = 0;
    metric->train_sum = 0;
    if (metric->n == 0) {
        metric->first = metric->best = value;
        metric->first_step = metric->best_step = step;
    }
    if (value < metric->best) {
        metric->best = value;
        metric->best_step = step;
    }
    metric->n++;
    bp_curve_add(&metric->value, step, value);
    bp_curve_add(&metric->train, step, metric->last_train);
    if (metric->n - metric->judged_at <= metric->n / 64) return false;
    metric->judged_at = metric->n;
    return true;
}

/* --- whether a metric is worse than it was ---------------------------------------------------- */

/* The median of an entry and its neighbours, 3 or a twentieth of all: one lucky evaluation is no
 * best. */
static double smoothed(const bp_curve *curve, uint32_t i) {
    const uint32_t reach = 1 + curve->n / 40;
    const uint32_t from = i > reach ? i - reach : 0;
    const uint32_t to = i + reach + 1 < curve->n ? i + reach + 1 : curve->n;
    return bp_curve_median(curve, from, to);
}

static uint32_t best_of(const bp_curve *curve) {
    uint32_t best = 0;
    double lowest = smoothed(curve, 0);
    for (uint32_t i = 1; i < curve->n; i++) {
        const double value = smoothed(curve, i);
        if (value < lowest) {
            lowest = value;
            best = i;
        }
    }
    return best;
}

static double noise_of(const bp_curve *curve, uint32_t best) {
    double scratch[CURVE_BLOCKS];
    const double whole = bp_noise_of(curve->mean, curve->n, scratch);
    return fmax(whole, bp_noise_of(curve->mean + best, curve->n - best, scratch));
}

/* Where the metric is as good as the best, as far as the noise tells: the onset lies therein. */
static void place_onset(const bp_metric_history *metric, uint32_t best, bp_decline *decline) {
    const bp_curve *curve = &metric->value;
    const double good = decline->best + fmax(2 * decline->noise, 0.2 * decline->limit);
    uint32_t from = best, to = best;
    while (from > 0 && smoothed(curve, from - 1) <= good) from--;
    while (to + 1 < curve->n && smoothed(curve, to + 1) <= good) to++;
    decline->earliest = curve->step[from];
    decline->latest = curve->last[to];
    decline->best_step = curve->last[best];
    if (metric->best_step >= decline->earliest && metric->best_step <= decline->latest)
        decline->best_step = metric->best_step;
}

static double train_around(const bp_curve *train, uint32_t i) {
    return bp_curve_mean(train, i ? i - 1 : 0, i + 2 < train->n ? i + 2 : train->n);
}

/* start: what the metric is before anything is learnt; NaN where only the first evaluation tells;
 * scale: from there to perfect.
 * by_improvement: share of the improvement that counts. */
static void measure_decline(const bp_diagnosis *d, const bp_metric_history *metric, double start,
                            double scale, double by_improvement, bp_decline *decline) {
    const bp_curve *curve = &metric->value;
    decline->holds = false;
    if (curve->n < MIN_EVALUATIONS) return;
    const uint32_t best = best_of(curve);
    const bool knows_start = !isnan(start);
    /* A first evaluation far above guessing is no level that anything was won from. */
    start = start > 0 ? fmax(start, fmin(metric->first, 3 * start))
                      : fmax(start, metric->first); /* NaN: the other */
    decline->best = smoothed(curve, best);
    /* Few differences tell their own spread badly, and too small more often than not. */
    decline->noise = noise_of(curve, best) * (1 + 5.0 / curve->n);
    decline->improvement = fmax(start - decline->best, 0.1 * fabs(start));
    const uint32_t threes = 1 + curve->n / 40; /* that a smoothed entry is the median of, about */
    const double averaged = sqrt(1.0 / threes);
    decline->limit =
        fmax(BY_NOISE * averaged * decline->noise, by_improvement * decline->improvement);
    uint32_t from = curve->n;
    while (from > best + 1 && smoothed(curve, from - 1) > decline->best + decline->limit) from--;
    decline->n_worse = curve->n - from;
    place_onset(metric, best, decline);
    decline->now = bp_curve_median(curve, from < curve->n ? from : curve->n - 1, curve->n);
    if (decline->n_worse < MIN_WORSE) return;
    /* What was never learnt cannot be lost again. */
    if (knows_start && start - decline->best < fmax(WON * scale, decline->limit)) return;
    decline->from = curve->step[from];
    const int64_t last = curve->last[curve->n - 1];
    if ((last - decline->from) * WORSE_FRACTION < last - d->history.first_step) return;
    decline->train_best = train_around(&metric->train, best);
    decline->train_now = bp_curve_mean(&metric->train, from, metric->train.n);
    decline->holds = true;
}

/* The loss of guessing where the recipe knows it; NaN else. */
static double guessing(const bp_diagnosis *d) {
    const double level = bp_model_recipe(d->model)->trivial_loss;
    return level > 0 && isfinite(level) ? level : (double)NAN;
}

/* The accuracy of guessing: of equal shares where no more is known; NaN without any classes. */
static double chance_of(const bp_diagnosis *d) {
    const bp_recipe *recipe = bp_model_recipe(d->model);
    if (recipe->chance_accuracy > 0 && recipe->chance_accuracy < 1) return recipe->chance_accuracy;
    if (recipe->n_outputs < 1) return (double)NAN;
    return recipe->n_outputs > 1 ? 1.0 / (double)recipe->n_outputs : 0.5;
}

/* A size for losses: that of guessing, or the first one. */
static double level_of(const bp_diagnosis *d) {
    const double level = bp_trivial_level(d);
    return level > 0 ? level : fabs(d->generalisation.loss.first);
}

static bool training_goes_on(const bp_diagnosis *d, const bp_decline *decline) {
    if (decline->train_now > 0.95 * guessing(d)) return false; /* nothing is fitted */
    return decline->train_now < decline->train_best - 0.02 * fabs(decline->train_best) ||
           decline->train_now < SMALL_TRAIN * level_of(d);
}

/* --- findings --------------------------------------------------------------------------------- */

static void add(bp_finding_slot *slot, const char *name, const char *meaning, int64_t step,
                double value) {
    bp_finding_add_evidence(slot, name, meaning, 0, step, value, true);
}

/* sign: -1 for an accuracy, which is kept as minus itself. */
static void add_decline(bp_finding_slot *slot, const bp_decline *decline, double sign,
                        int64_t step) {
    add(slot, "best_metric", "the validation metric at its best (median of 3 evaluations)",
        decline->best_step, sign * decline->best);
    add(slot, "best_step", "of the best evaluation", decline->best_step,
        (double)decline->best_step);
    add(slot, "validation", "the same now (median of the evaluations that are worse)", step,
        sign * decline->now);
    add(slot, "validation_noise", "deviation of single evaluations about their trend", step,
        decline->noise);
    add(slot, "validation_limit", "how much worse counts: max(3 noise, a share of the improvement)",
        step, decline->limit);
    add(slot, "worse_evaluations", "evaluations in a row that are worse than that", step,
        decline->n_worse);
    add(slot, "train_loss_at_best", "mean training loss around the best evaluation",
        decline->best_step, decline->train_best);
    add(slot, "train_loss", "mean training loss of the evaluations that are worse", step,
        decline->train_now);
}

static uint32_t open_decline(bp_diagnosis *d, bp_problem problem, const bp_decline *decline,
                             bool by_accuracy, bp_severity severity, int64_t step) {
    const bool existed = d->slots[problem].exists;
    bp_finding_slot *slot = bp_finding_open(d, problem, decline->best_step, step);
    slot->finding.since_step = decline->best_step;
    slot->finding.since_earliest = decline->earliest;
    slot->finding.since_latest = decline->latest;
    add_decline(slot, decline, by_accuracy ? -1 : 1, step);
    if (by_accuracy)
        add(slot, "by_accuracy", "1: judged by the validation accuracy, not by its loss", step, 1);
    return bp_finding_settle(slot, existed, severity);
}

static bool is_single_pass(const bp_diagnosis *d, int64_t step) {
    const int64_t epoch = bp_model_recipe(d->model)->epoch_steps;
    return epoch > 0 && step - d->history.first_step + 1 < 2 * epoch;
}

/* It stands until the metric is back: half of the limit away, by the median of 3. */
static bool still_stands(const bp_diagnosis *d, bp_problem problem, const bp_decline *decline,
                         const bp_metric_history *metric) {
    const bp_curve *curve = &metric->value;
    return d->slots[problem].exists && d->slots[problem].finding.open && curve->n >= MIN_WORSE &&
           bp_curve_median(curve, curve->n - MIN_WORSE, curve->n) >
               decline->best + 0.5 * decline->limit;
}

/* --- memorising ------------------------------------------------------------------------------- */

typedef struct gap {
    double validation, train, train_before, accuracy; /* last quarter; the second one */
    int64_t since;
    bool flat, far, nothing; /* nothing: what was learnt holds for no other sample */
} gap;

/* How far from perfect the validation set was at its best: 1 is guessing. */
static double shortfall(const bp_diagnosis *d, bool by_accuracy) {
    const bp_generalisation *all = &d->generalisation;
    const bp_curve *loss = &all->loss.value, *accuracy = &all->accuracy.value;
    const double chance = chance_of(d);
    if (by_accuracy) {
        const double best = -smoothed(accuracy, best_of(accuracy));
        if (best <= 1) return (1 - best) / (chance > 0 && chance < 1 ? 1 - chance : 1);
    }
    return smoothed(loss, best_of(loss)) / level_of(d);
}

/* Than guessing, at any time: by the loss and, where there is one, by the accuracy. */
static bool was_never_better(const bp_diagnosis *d, bool by_accuracy) {
    const bp_curve *loss = &d->generalisation.loss.value;
    const bp_curve *accuracy = &d->generalisation.accuracy.value;
    if (!(smoothed(loss, best_of(loss)) > 0.98 * guessing(d))) return false;
    if (!by_accuracy) return true;
    const double chance = chance_of(d);
    const double best = -smoothed(accuracy, best_of(accuracy));
    return chance > 0 && best < chance + WON * (1 - chance);
}

static bool measure_gap(const bp_diagnosis *d, gap *g) {
    const bp_generalisation *all = &d->generalisation;
    const bp_curve *loss = &all->loss.value, *train = &all->loss.train;
    const bp_curve *accuracy = &all->accuracy.value;
    const uint32_t n = loss->n, last = n - (n < 8 ? 2 : n / 4), second = n / 4, half = n / 2;
    if (n <= MIN_EVALUATIONS) return false;
    const bool by_accuracy = accuracy->n > MIN_EVALUATIONS;
    const bp_curve *judged = by_accuracy ? accuracy : loss;
    const uint32_t m = judged->n;
    *g = (gap){.validation = bp_curve_median(loss, last, n),
               .train = bp_curve_median(train, last, n),
               .train_before = bp_curve_median(train, second, half),
               .since = loss->step[second]};
    g->accuracy = by_accuracy ? -bp_curve_median(accuracy, m - m / 4, m) : (double)NAN;
    const double before = bp_curve_median(judged, m / 4, m / 2);
    const double now = bp_curve_median(judged, m - m / 4, m);
    const double start = by_accuracy ? 1 : level_of(d);
    g->flat = n >= 2 * MIN_EVALUATIONS && before - now < 0.5 * BY_IMPROVEMENT * start;
    g->far = shortfall(d, by_accuracy) > FAR;
    double scratch[CURVE_BLOCKS];
    const double guess = guessing(d);
    const double doubt = 2.5 * bp_noise_of(loss->mean, n, scratch) / sqrt(n - last);
    /* What still falls may get there: text begins above guessing. */
    const bool falls =
        bp_curve_median(loss, half, last) - g->validation > fmax(STILL_FALLS * guess, doubt);
    g->nothing = was_never_better(d, by_accuracy) && !falls && g->validation > guess &&
                 g->train < guess && g->validation - g->train > fmax(APART * guess, doubt);
    return true;
}

static uint32_t judge_memorising(bp_diagnosis *d, int64_t step, bool overfits, bool *holds) {
    gap g = {.validation = 0};
    if (step - d->history.first_step < MIN_STEPS) return 0;
    *holds = measure_gap(d, &g) && g.train > 0 && !overfits &&
             (g.nothing ||
              (g.flat && g.far && g.validation > GAP * g.train && g.train < 0.3 * g.train_before));
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_MEMORISING];
    const bool stands =
        slot->exists && slot->finding.open && !overfits && g.far && g.validation > GAP * g.train;
    if (!*holds && stands) *holds = true;
    if (!*holds) return bp_finding_close(d, BP_PROBLEM_MEMORISING);
    const bool existed = slot->exists;
    slot = bp_finding_open(d, BP_PROBLEM_MEMORISING, g.since, step);
    slot->finding.since_earliest = d->history.first_step;
    slot->finding.since_latest = step;
    add(slot, "validation", "validation loss over the last quarter of the evaluations", step,
        g.validation);
    add(slot, "train_loss", "mean training loss over the same", step, g.train);
    add(slot, "train_loss_before", "the same over the second quarter", g.since, g.train_before);
    if (!isnan(g.accuracy))
        add(slot, "validation_accuracy", "over the last quarter of the evaluations", step,
            g.accuracy);
    add(slot, "nothing_holds", "1: the validation set was never better than guessing", step,
        g.nothing);
    return bp_finding_settle(slot, existed, g.nothing ? BP_WARNING : BP_HINT);
}

/* --- the judge -------------------------------------------------------------------------------- */

static uint32_t judge_overfitting(bp_diagnosis *d, int64_t step, bool *holds) {
    bp_generalisation *g = &d->generalisation;
    const bool by_accuracy = g->accuracy.value.n >= MIN_EVALUATIONS;
    const bp_decline *decline = by_accuracy ? &g->by_accuracy : &g->by_loss;
    const bp_metric_history *metric = by_accuracy ? &g->accuracy : &g->loss;
    if (decline->holds && training_goes_on(d, decline)) {
        *holds = true;
        const bool slight = decline->now - decline->best < 1.5 * decline->limit;
        return open_decline(d, BP_PROBLEM_OVERFITTING, decline, by_accuracy,
                            slight ? BP_HINT : BP_WARNING, step);
    }
    *holds = still_stands(d, BP_PROBLEM_OVERFITTING, decline, metric);
    return *holds ? 0 : bp_finding_close(d, BP_PROBLEM_OVERFITTING);
}

static uint32_t judge_overconfident(bp_diagnosis *d, int64_t step) {
    bp_generalisation *g = &d->generalisation;
    const bool has_accuracy = g->accuracy.value.n >= MIN_EVALUATIONS;
    if (has_accuracy && g->by_loss.holds && training_goes_on(d, &g->by_loss))
        return open_decline(d, BP_PROBLEM_OVERCONFIDENT, &g->by_loss, false, BP_HINT, step);
    if (still_stands(d, BP_PROBLEM_OVERCONFIDENT, &g->by_loss, &g->loss)) return 0;
    return bp_finding_close(d, BP_PROBLEM_OVERCONFIDENT);
}

static uint32_t judge(bp_diagnosis *d, int64_t step) {
    bp_generalisation *g = &d->generalisation;
    const double chance = chance_of(d);
    const double level = guessing(d);
    const bool by_accuracy = g->accuracy.value.n >= MIN_EVALUATIONS;
    measure_decline(d, &g->accuracy, chance > 0 ? -chance : (double)NAN, 1 - chance, BY_IMPROVEMENT,
                    &g->by_accuracy);
    measure_decline(d, &g->loss, level, level, by_accuracy ? OVERCONFIDENT : BY_IMPROVEMENT,
                    &g->by_loss);
    bool memorises = false, overfits = false;
    uint32_t changed = judge_overfitting(d, step, &overfits);
    changed += judge_memorising(d, step, overfits, &memorises);
    if (memorises || overfits) return changed + bp_finding_close(d, BP_PROBLEM_OVERCONFIDENT);
    return changed + judge_overconfident(d, step);
}

uint32_t bp_judge_generalisation(bp_diagnosis *d, const bp_record *record) {
    bp_generalisation *g = &d->generalisation;
    if (d->non_finite.seen || !bp_loss_is_judged(d)) return 0;
    bool due = false;
    if (bp_record_has(record, BP_Q_VALIDATION_LOSS, 0))
        due =
            note_evaluation(&g->loss, record->step, bp_record_get(record, BP_Q_VALIDATION_LOSS, 0));
    if (bp_record_has(record, BP_Q_VALIDATION_ACCURACY, 0))
        due = note_evaluation(&g->accuracy, record->step,
                              -bp_record_get(record, BP_Q_VALIDATION_ACCURACY, 0)) ||
              due;
    return due && !is_single_pass(d, record->step) ? judge(d, record->step) : 0;
}

/* --- in words --------------------------------------------------------------------------------- */

static void number(bp_text *text, const char *before, double value, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, value, 3);
    bp_text_add(text, "%s", after);
}

void bp_generalisation_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_finding *finding = &slot->finding;
    const bool by_accuracy = bp_finding_evidence(finding, "by_accuracy") > 0;
    const double best = bp_finding_evidence(finding, "best_metric");
    const double now = bp_finding_evidence(finding, "validation");
    (void)d;
    if (finding->problem == BP_PROBLEM_MEMORISING) {
        if (bp_finding_evidence(finding, "nothing_holds") > 0)
            bp_text_add(text, "what is learnt holds for the training set alone: validation is no "
                              "better than guessing");
        else
            number(text, "the training loss fell to ", bp_finding_evidence(finding, "train_loss"),
                   " while validation stands still");
        return;
    }
    number(text, by_accuracy ? "validation accuracy fell from " : "validation loss rose from ",
           best, "");
    bp_text_add(text, " at step %lld", (long long)finding->since_step);
    number(text, " to ", now, "");
    if (!finding->open)
        bp_text_add(text, " (no longer so)");
    else if (finding->problem == BP_PROBLEM_OVERCONFIDENT)
        bp_text_add(text, " while the accuracy holds");
}

static void words_of_memorising(const bp_diagnosis *d, const bp_finding *finding, bp_text *cause,
                                bp_text *note) {
    const double accuracy = bp_finding_evidence(finding, "validation_accuracy");
    number(cause, "the training loss went from ", bp_finding_evidence(finding, "train_loss_before"),
           "");
    number(cause, " to ", bp_finding_evidence(finding, "train_loss"), ", the validation loss is ");
    bp_text_add_number(cause, bp_finding_evidence(finding, "validation"), 3);
    if (isfinite(guessing(d))) number(cause, " where guessing is ", guessing(d), "");
    if (isfinite(accuracy)) number(cause, ", the accuracy there ", accuracy, "");
    if (bp_finding_evidence(finding, "nothing_holds") > 0)
        bp_text_add(note, "the samples are learnt one by one: are labels and inputs in the same "
                          "order, and is the validation set made like the training set?");
    else
        bp_text_add(note, "nothing is lost by training on, and nothing won: more or augmented "
                          "data, weight decay or dropout would move it");
}

void bp_generalisation_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                             bp_text *note) {
    const bp_finding *finding = &slot->finding;
    if (finding->problem == BP_PROBLEM_MEMORISING) {
        words_of_memorising(d, finding, cause, note);
        return;
    }
    number(cause, "the training loss went on, from ",
           bp_finding_evidence(finding, "train_loss_at_best"), "");
    number(cause, " to ", bp_finding_evidence(finding, "train_loss"), "; ");
    bp_text_add(cause, "%u evaluations in a row are worse than the best by more than ",
                (unsigned)bp_finding_evidence(finding, "worse_evaluations"));
    bp_text_add_number(cause, bp_finding_evidence(finding, "validation_limit"), 2);
    number(cause, " (noise of one evaluation: ", bp_finding_evidence(finding, "validation_noise"),
           "): the network fits what only the training samples have");
    if (finding->problem == BP_PROBLEM_OVERCONFIDENT)
        bp_text_add(note, "the answers stay as good, the stated probabilities become too sure: it "
                          "matters where they are used");
    else
        bp_text_add(note, "the state of step %lld generalised best: stop there",
                    (long long)finding->since_step);
}
