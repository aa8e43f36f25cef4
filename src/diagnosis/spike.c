/* SPDX-License-Identifier: Apache-2.0 */
/* loss-spike: losses far above those just before, for longer than chance would have it. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

#define WARM 50           /* losses before a spike is looked for */
#define DEVIATIONS 8      /* robust ones above the level */
#define LOST 0.1          /* share of the progress so far that a spike must undo */
#define CHANCE 0.01       /* of a run of such losses anywhere, were they independent */
#define N_BACK 5          /* losses in a row below the limit: it is over */
#define LASTING 100       /* steps, or a tenth of the run: it is the new level */
#define OUTLIER 10        /* one loss alone: that many times the largest before */
#define RISEN 3           /* factor of a gradient that rose */
#define RATE_REACTION 100 /* steps in which a risen learning rate explains a risen loss */
#define MANY_SPIKES 3
#define LARGE_BATCH 16 /* samples: of fewer, one alone makes a batch's loss */
#define NOTABLE 8      /* steps */
#define UPPER 1.2816   /* the normal distribution's 90% point */

/* --- the level -------------------------------------------------------------------------------- */

static uint32_t place_in(const bp_level *level, double value) {
    uint32_t low = 0, high = level->n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (level->sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void level_add(bp_level *level, double value) {
    if (level->n == SPIKE_WINDOW) {
        const uint32_t old = place_in(level, level->ring[level->at]);
        level->n--;
        memmove(level->sorted + old, level->sorted + old + 1,
                (level->n - old) * sizeof *level->sorted);
    }
    const uint32_t at = place_in(level, value);
    memmove(level->sorted + at + 1, level->sorted + at, (level->n - at) * sizeof *level->sorted);
    level->sorted[at] = value;
    level->n++;
    level->ring[level->at] = value;
    level->at = (level->at + 1) % SPIKE_WINDOW;
}

static double level_at(const bp_level *level, double fraction) {
    return level->sorted[(uint32_t)(fraction * (level->n - 1) + 0.5)];
}

/* --- what is a spike -------------------------------------------------------------------------- */

/* What the loss was before anything was learnt. */
static double start_of(const bp_diagnosis *d) {
    const double trivial = bp_model_recipe(d->model)->trivial_loss;
    return trivial > 0 ? trivial : d->loss_shape.spikes.start;
}

static void measure(const bp_diagnosis *d, bp_spike *spike) {
    const bp_spikes *s = &d->loss_shape.spikes;
    const double middle = level_at(&s->level, 0.5);
    const double up = level_at(&s->level, 0.9) - middle, down = middle - level_at(&s->level, 0.1);
    const double start = start_of(d);
    const double lost = fmax(LOST * (start - s->best), 0.5 * LOST * fabs(start));
    spike->level = middle;
    spike->deviation = fmax(up, down) / UPPER;
    spike->limit = middle + fmax(fmax(DEVIATIONS * spike->deviation, fabs(middle)), lost);
}

/* A run of n losses above the limit is told from chance by how often one is: heavy tails of small
 * batches cross it now and then, one at a time. */
static bool is_no_chance(const bp_spikes *s, double samples, double loss) {
    const double n = (double)s->n_losses, p = ((double)s->n_above + 1) / (n + 1);
    if (log(n) + s->n_run * log(p) < log(CHANCE)) return true;
    return s->n_run == 1 && samples >= LARGE_BATCH && s->largest > 0 &&
           loss > OUTLIER * s->largest && n > 2 * WARM;
}

/* A short one that is no higher than the loss of guessing costs nothing. */
static bool counts(const bp_diagnosis *d, const bp_spike *spike, int64_t end) {
    return end - spike->begin >= NOTABLE || spike->peak > 3 * fabs(start_of(d));
}

void bp_spikes_rewind(bp_spikes *s) {
    s->level.n = s->level.at = s->n_run = 0;
    s->declared = s->lasting = false;
}

static void declare(bp_spikes *s) {
    s->declared = true;
    s->counted = false;
    s->n_back = 0;
}

static void count_it(bp_spikes *s) {
    s->counted = true;
    s->n_spikes++;
    s->news = true;
    if (s->n_spikes == 1) s->first = s->worst = s->now;
}

static double height(const bp_spike *spike) {
    return spike->peak - spike->level;
}

static void finish(bp_spikes *s, int64_t end, bool lasting) {
    s->now.end = lasting ? -1 : end;
    s->declared = false;
    s->n_run = 0;
    if (!s->counted) return;
    if (!lasting) s->lost_steps += end - s->now.begin;
    if (height(&s->now) >= height(&s->worst)) s->worst = s->now;
    s->lasting = lasting;
    if (lasting) s->stuck = s->now;
    s->news = true;
    if (lasting) s->level.n = s->level.at = 0; /* measured anew */
}

static void in_spike(bp_diagnosis *d, int64_t step, double loss) {
    bp_spikes *s = &d->loss_shape.spikes;
    if (loss > s->now.peak) {
        s->now.peak = loss;
        s->now.peak_step = step;
    }
    if (loss <= s->now.limit) {
        if (s->n_back++ == 0) s->now.end = step;
        if (s->n_back >= N_BACK) finish(s, s->now.end, false);
        return;
    }
    s->n_back = 0;
    if (!s->counted && counts(d, &s->now, step)) count_it(s);
    const int64_t run = step - d->history.first_step, length = step - s->now.begin;
    if (length >= LASTING && length * 10 >= run) finish(s, step, true);
}

static void begin_run(bp_diagnosis *d, const bp_spike *now, int64_t step, double loss) {
    bp_spikes *s = &d->loss_shape.spikes;
    s->now = *now;
    s->now.begin = s->now.peak_step = step;
    s->now.end = -1;
    s->now.peak = loss;
}

static void look(bp_diagnosis *d, int64_t step, double loss) {
    bp_spikes *s = &d->loss_shape.spikes;
    bp_spike now = s->now;
    if (s->n_run == 0) measure(d, &now);
    if (loss <= now.limit) {
        s->n_above += s->n_run;
        s->n_run = 0;
        return;
    }
    if (s->n_run == 0) begin_run(d, &now, step, loss);
    s->n_run++;
    if (loss > s->now.peak) {
        s->now.peak = loss;
        s->now.peak_step = step;
    }
    if (!is_no_chance(s, d->loss_shape.samples, loss)) return;
    declare(s);
    if (counts(d, &s->now, step)) count_it(s);
}

void bp_spikes_note(bp_diagnosis *d, int64_t step, double loss) {
    bp_spikes *s = &d->loss_shape.spikes;
    if (s->declared) {
        in_spike(d, step, loss);
        return;
    }
    s->n_losses++;
    const bool warm = s->n_losses > WARM && s->level.n >= SPIKE_WINDOW / 2;
    if (warm) look(d, step, loss);
    if (s->declared) return;
    if (s->n_losses > WARM) s->largest = fmax(s->largest, loss);
    level_add(&s->level, loss);
    if (s->level.n < SPIKE_WINDOW / 2) return;
    const double middle = level_at(&s->level, 0.5);
    if (isnan(s->start)) s->start = s->best = middle;
    s->best = fmin(s->best, middle);
    if (s->lasting && middle < s->stuck.limit && s->level.n == SPIKE_WINDOW) {
        s->lasting = false; /* it came back after all */
        s->lost_steps = s->lost_steps + step - s->stuck.begin;
        if (s->worst.begin == s->stuck.begin) s->worst.end = step;
        s->news = true;
    }
}

/* --- which layer ------------------------------------------------------------------------------ */

void bp_spikes_note_gradients(bp_diagnosis *d, const bp_record *record) {
    bp_spikes *s = &d->loss_shape.spikes;
    const uint32_t at = (uint32_t)(s->n_gradients % SPIKE_GRADIENTS);
    float *row = s->gradient + (size_t)at * (d->n_layers + 1u);
    bool any = false;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_quantity q =
            bp_record_has(record, BP_Q_UNCLIPPED_RMS, id) ? BP_Q_UNCLIPPED_RMS : BP_Q_GRADIENT_RMS;
        const double rms =
            bp_record_has(record, q, id) ? bp_record_get(record, q, id) : (double)NAN;
        row[id] = rms > 0 && isfinite(rms) ? (float)log(rms) : NAN;
        any = any || !isnan(row[id]);
    }
    if (!any) return;
    s->gradient_step[at] = record->step;
    s->n_gradients++;
}

/* ln of a layer's gradient over its median before the spike, at the first record from two steps
 * before the spike on in which it had risen; the step is -1 where it never had. */
static double rise_of(const bp_diagnosis *d, uint32_t id, const bp_spike *spike, int64_t *step) {
    const bp_spikes *s = &d->loss_shape.spikes;
    const uint64_t n = s->n_gradients < SPIKE_GRADIENTS ? s->n_gradients : SPIKE_GRADIENTS;
    double before[SPIKE_GRADIENTS];
    uint32_t n_before = 0;
    *step = -1;
    for (uint64_t i = s->n_gradients - n; i < s->n_gradients; i++) {
        const uint32_t at = (uint32_t)(i % SPIKE_GRADIENTS);
        const float value = s->gradient[(size_t)at * (d->n_layers + 1u) + id];
        if (s->gradient_step[at] < spike->begin - 2 && !isnan(value))
            before[n_before++] = (double)value;
    }
    if (n_before < 5) return 0;
    const double middle = bp_median_of(before, n_before);
    for (uint64_t i = s->n_gradients - n; i < s->n_gradients; i++) {
        const uint32_t at = (uint32_t)(i % SPIKE_GRADIENTS);
        const double value = (double)s->gradient[(size_t)at * (d->n_layers + 1u) + id];
        if (s->gradient_step[at] < spike->begin - 2 || !(value - middle > log(RISEN))) continue;
        *step = s->gradient_step[at];
        return value - middle;
    }
    return 0;
}

static void blame(bp_diagnosis *d) {
    bp_spikes *s = &d->loss_shape.spikes;
    s->blamed_layer = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        int64_t step;
        const double rise = rise_of(d, id, &s->now, &step);
        if (step < 0) continue;
        const bool earlier = !s->blamed_layer || step < s->blamed_step;
        if (!earlier && (step > s->blamed_step || exp(rise) <= s->blamed_factor)) continue;
        s->blamed_layer = id;
        s->blamed_step = step;
        s->blamed_factor = exp(rise);
    }
}

/* --- the finding ------------------------------------------------------------------------------ */

static bool explained_by_rate(const bp_diagnosis *d, const bp_spike *spike) {
    const bp_loss_shape *shape = &d->loss_shape;
    return shape->rate_rose >= 0 && shape->rate_rose >= spike->begin - RATE_REACTION &&
           shape->rate_rose <= spike->begin + 1;
}

static void add(bp_finding_slot *slot, const char *name, const char *meaning, int64_t step,
                double value) {
    bp_finding_add_evidence(slot, name, meaning, 0, step, value, true);
}

static void add_spike(bp_diagnosis *d, bp_finding_slot *slot, const bp_spike *spike) {
    const bp_spikes *s = &d->loss_shape.spikes;
    add(slot, "loss_before", "median of the losses before the spike", spike->begin, spike->level);
    add(slot, "loss_at_peak", "the largest one of the spike", spike->peak_step, spike->peak);
    add(slot, "spike_ratio", "of these two", spike->peak_step, spike->peak / spike->level);
    add(slot, "deviations", "that many robust deviations above the median", spike->peak_step,
        spike->deviation > 0 ? height(spike) / spike->deviation : (double)INFINITY);
    bp_finding_add_evidence(slot, "steps_to_recover", "until the loss was back for 5 steps", 0,
                            spike->end, spike->end >= 0 ? (double)(spike->end - spike->begin) : 0,
                            spike->end >= 0);
    add(slot, "spikes", "of this kind so far", spike->begin, s->n_spikes);
    if (s->blamed_layer)
        bp_finding_add_evidence(slot, "gradient_rise",
                                "gradient of the layer that rose first, by its median before",
                                s->blamed_layer, s->blamed_step, s->blamed_factor, true);
}

/* Many spikes that leave no time to learn, or one that did not pass, cost; one that passed does
 * not. */
static bool is_costly(const bp_diagnosis *d, int64_t step) {
    const bp_spikes *s = &d->loss_shape.spikes;
    const int64_t run = step - d->history.first_step + 1;
    int64_t lost = s->lost_steps;
    if (s->declared) lost += step - s->now.begin;
    return s->lasting || (s->n_spikes >= MANY_SPIKES && lost * 10 >= run);
}

uint32_t bp_judge_spikes(bp_diagnosis *d, int64_t step) {
    bp_spikes *s = &d->loss_shape.spikes;
    if (!s->news && !(s->declared && s->counted)) return 0;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LOSS_SPIKE];
    if (!slot->exists && explained_by_rate(d, &s->now)) return 0;
    const bool existed = slot->exists;
    s->news = false;
    if (s->declared && height(&s->now) >= height(&s->worst)) s->worst = s->now;
    if (s->worst.begin == s->now.begin && s->judged_begin != s->now.begin) blame(d);
    s->judged_begin = s->now.begin;
    slot = bp_finding_open(d, BP_PROBLEM_LOSS_SPIKE, s->first.begin, step);
    slot->finding.open = (s->declared && s->counted) || s->lasting;
    if (!slot->finding.open) slot->finding.last_step = s->now.end;
    if (s->blamed_layer) bp_finding_add_layer(slot, s->blamed_layer);
    add_spike(d, slot, &s->worst);
    const bp_severity severity = is_costly(d, step) ? BP_WARNING : BP_HINT;
    const bool changed = !existed || slot->finding.severity != severity;
    slot->finding.severity = severity;
    return changed;
}
