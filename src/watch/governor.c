/* SPDX-License-Identifier: Apache-2.0 */
#include "watch/governor.h"

#include <math.h>

/* What the statistics cost the host beside our calls (copies of weights for the update, cold
 * caches) shows in the step's length; a page fault or a neighbour's noise does, too. Beyond this
 * multiple of our calls it is noise. */
#define MOST_BESIDE 2.0
#define OUTLIER 2.0 /* a plain step that took so many times the usual was held up */
#define LEARN_AFTER_STEPS 64
#define RECENT 0.1 /* weight of the newest cost and loss in the running means */
#define ALARM_DEVIATIONS 8.0
#define ALARM_FRACTION 0.5 /* of the mean loss: what is less is noise, however quiet it was */

void bp_governor_init(bp_governor *governor, int64_t every, double budget, double now) {
    if (!isfinite(now)) now = 0;
    *governor = (bp_governor){.every = every,
                              .budget = budget,
                              .opened = now,
                              .read = now,
                              .plain_step = (double)NAN,
                              .full_cost = (double)NAN,
                              .loss_mean = (double)NAN};
}

static bool is_nth(const bp_governor *g, int64_t step) {
    return g->every > 0 && step % g->every == 0;
}

void bp_governor_share(bp_governor *governor) {
    governor->shared = true;
}

/* Whether all ranks may look at this step: from one such step to the next it is as far as the
 * budget asks for, up to the next power of two. What comes free is seen whole. */
static bool is_common(const bp_governor *g, int64_t step) {
    if (!g->shared) return true;
    if (!(g->watching + g->full_cost > BP_GOVERNOR_FREE_SECONDS)) return true;
    const double wanted = g->full_cost / (g->budget * g->plain_step);
    int64_t stride = 1;
    while ((double)stride < wanted && stride < INT64_C(1) << 40) stride *= 2;
    return step % stride == 0;
}

/* A step that is or was timed, one that may be full, and now and then. */
bool bp_governor_wants_clock(const bp_governor *g, int64_t step) {
    return g->timed || g->recovers || g->look > 0 || g->n_full == 0 || is_nth(g, step) ||
           (g->shared && g->every == 0 && is_common(g, step)) ||
           g->n_since_read >= BP_GOVERNOR_CLOCK_STEPS;
}

double bp_governor_run_seconds(const bp_governor *governor) {
    return governor->read - governor->opened;
}

static double running(double mean, double newest) {
    return isnan(mean) ? newest : mean + RECENT * (newest - mean);
}

static double outlier(const bp_governor *g) {
    return isnan(g->plain_step) ? (double)INFINITY : OUTLIER * g->plain_step;
}

/* How much longer than a plain step, as far as it can be the watch's doing. */
static double longer(const bp_governor *g, double seconds, double most) {
    const double beyond = seconds - g->plain_step;
    return beyond > 0 ? fmin(beyond, most) : 0; /* no plain step was seen yet: NaN is not above 0 */
}

/* The step that just ended was full and took `seconds` with all that came with it. */
static void settle_full(bp_governor *g, double seconds) {
    const double cost = fmax(g->called, longer(g, seconds, MOST_BESIDE * g->called));
    if (!isnan(g->plain_step) && !g->knows_beside && g->called > 0) {
        g->knows_beside = true; /* the steps before cost as much */
        g->watching *= cost / g->called;
        g->full_cost = cost;
    }
    g->watching += cost;
    g->last_called = g->called;
    g->full_cost = running(g->full_cost, cost + g->recovery_cost);
}

/* The light step behind a full one finds its caches full of what the statistics read. */
static void settle_recovery(bp_governor *g, double seconds) {
    const double cost = longer(g, seconds, MOST_BESIDE * g->last_called);
    g->watching += cost;
    g->recovery_cost += RECENT * (cost - g->recovery_cost);
}

static void settle_plain(bp_governor *g, double seconds) {
    const double each = seconds / (double)g->n_since_read;
    if (seconds > 0) g->plain_step = running(g->plain_step, fmin(each, outlier(g)));
}

/* With a clock that goes back, or tells no number, time stands still. */
static void settle(bp_governor *g, double now) {
    if (!isfinite(now) || now < g->read) now = g->read;
    const double seconds = now - g->read;
    if (g->full)
        settle_full(g, seconds);
    else if (g->recovers)
        settle_recovery(g, seconds);
    else if (g->timed)
        g->watching += g->called * BP_GOVERNOR_TIMED_STEPS;
    else if (g->n_since_read > 0)
        settle_plain(g, seconds);
    g->read = now;
    g->n_since_read = 0;
}

/* Whether one more full step is paid for. Early on some steps are left plain whatever they would
 * cost: without them nobody could tell what a full one costs the host. */
static bool is_paid(const bp_governor *g) {
    if (isnan(g->full_cost)) return true;
    if (isnan(g->plain_step) && g->n_full >= LEARN_AFTER_STEPS) return false;
    const double paid = g->budget * bp_governor_run_seconds(g) + BP_GOVERNOR_FREE_SECONDS;
    /* An alarm may overdraw, but not without end. */
    return g->watching + g->full_cost <= (g->look > 0 ? 2 * paid : paid);
}

void bp_governor_begin(bp_governor *g, int64_t step, double now) {
    const bool reads = bp_governor_wants_clock(g, step);
    if (reads) settle(g, now);
    g->recovers = reads && g->full;
    g->n_since_read++;
    g->called = 0;
    const bool may = g->look > 0 || is_common(g, step);
    g->full = g->every > 0 ? is_nth(g, step) : reads && may && is_paid(g);
    if (g->full) g->recovers = false;
    if (g->look > 0) g->look--;
    if (g->full)
        g->n_full++;
    else
        g->n_light++;
    g->timed = g->full || g->n_light % BP_GOVERNOR_TIMED_STEPS == 1;
}

void bp_governor_observed(bp_governor *g, bool full) {
    if (g->full == full) return;
    g->full = full;
    if (full) {
        g->n_full++;
        g->n_light--;
    } else {
        g->n_full--;
        g->n_light++;
    }
    g->recovers = false;
    g->timed = full || g->n_light % BP_GOVERNOR_TIMED_STEPS == 1;
}

void bp_governor_charge(bp_governor *g, double seconds) {
    if (seconds > 0 && isfinite(seconds)) g->called += seconds;
}

void bp_governor_alarm(bp_governor *g) {
    g->look = BP_GOVERNOR_LOOK_STEPS;
}

/* Far above the recent losses in units of their own mean deviation. A loss that is not finite is
 * told by the tripwire and never averaged. */
void bp_governor_note_loss(bp_governor *g, double loss) {
    if (!isfinite(loss)) return;
    if (isnan(g->loss_mean)) {
        g->loss_mean = loss;
        return;
    }
    const double above = loss - g->loss_mean;
    if (above > ALARM_DEVIATIONS * g->loss_deviation && above > ALARM_FRACTION * fabs(g->loss_mean))
        bp_governor_alarm(g);
    g->loss_mean = running(g->loss_mean, loss);
    g->loss_deviation = running(g->loss_deviation, fabs(above));
}
