/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/keep.h"

#include <string.h>

/* --- points --------------------------------------------------------------------------------- */

/* The number of points below step. */
static size_t n_below(const bp_keep_points *points, int64_t step) {
    size_t low = 0, high = points->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (points->step[middle] < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Half of them or more, and those that stand closest: what they kept, their neighbours keep. */
static void forget_close_ones(bp_keep_points *points) {
    for (int64_t gap = 2; points->n > BP_KEEP_MAX_POINTS / 2; gap *= 2) {
        size_t n = 1;
        for (size_t i = 1; i < points->n; i++)
            if (points->step[i] - points->step[n - 1] >= gap) points->step[n++] = points->step[i];
        points->n = n;
    }
}

static bp_status grow(bp_keep_points *points, const bp_allocator *allocator) {
    if (points->n < points->capacity) return BP_OK;
    const size_t wanted = points->capacity ? 2 * points->capacity : 64;
    int64_t *grown = allocator->resize(allocator->context, points->step,
                                       points->capacity * sizeof *grown, wanted * sizeof *grown);
    if (!grown) return BP_ERROR_MEMORY;
    points->step = grown;
    points->capacity = wanted;
    return BP_OK;
}

bp_status bp_keep_add(bp_keep_points *points, int64_t step, const bp_allocator *allocator) {
    if (points->n == BP_KEEP_MAX_POINTS) forget_close_ones(points);
    const size_t at = n_below(points, step);
    if (at < points->n && points->step[at] == step) return BP_OK;
    const bp_status status = grow(points, allocator);
    if (status != BP_OK) return status;
    memmove(points->step + at + 1, points->step + at, (points->n - at) * sizeof *points->step);
    points->step[at] = step;
    points->n++;
    return BP_OK;
}

void bp_keep_free(bp_keep_points *points, const bp_allocator *allocator) {
    bp_release(allocator, points->step, points->capacity, sizeof *points->step);
    *points = (bp_keep_points){0};
}

int64_t bp_keep_distance(const bp_keep_points *points, int64_t first, int64_t last) {
    const size_t at = n_below(points, first);
    int64_t distance = INT64_MAX;
    if (at > 0) distance = first - points->step[at - 1];
    if (at == points->n) return distance;
    const int64_t ahead = points->step[at] <= last ? 0 : points->step[at] - last;
    return ahead < distance ? ahead : distance;
}

/* --- rules ---------------------------------------------------------------------------------- */

static int64_t window_steps(unsigned level) {
    return level <= BP_KEEP_GENTLE_LEVEL ? BP_KEEP_WINDOW_STEPS
                                         : BP_KEEP_WINDOW_STEPS >> (level - BP_KEEP_GENTLE_LEVEL);
}

static unsigned losses_level(unsigned level) {
    return level <= BP_KEEP_LOSSES_LEVEL ? 0 : level - BP_KEEP_LOSSES_LEVEL;
}

/* Of a run that diverged every record is non-finite: behind the gentle levels only where that
 * changes, and behind the last window none for that reason. */
static bool is_kept_as_non_finite(unsigned level, bool non_finite, bool before) {
    if (level <= BP_KEEP_GENTLE_LEVEL) return non_finite;
    return window_steps(level) > 0 && non_finite != before;
}

/* Of a step's histograms all stay or none. */
static bool asks_histogram(bp_keep *keep, int64_t step, int64_t distance) {
    if (keep->has_moment && step == keep->moment) return keep->keeps_moment;
    const unsigned doublings = losses_level(keep->level) - losses_level(keep->from);
    keep->has_moment = true;
    keep->moment = step;
    keep->keeps_moment = distance <= window_steps(keep->level) ||
                         ++keep->n_moments % ((uint64_t)1 << doublings) == 0;
    return keep->keeps_moment;
}

static bool asks_record(bp_keep *keep, const bp_walk_step *step, int64_t distance, bool before) {
    const bool is_losses = step->frame.type == BP_RUNLOG_LOSSES;
    if (distance <= window_steps(keep->level)) return true;
    if (is_kept_as_non_finite(keep->level, step->non_finite, before)) return true;
    const unsigned doublings =
        is_losses ? losses_level(keep->level) - losses_level(keep->from) : keep->level - keep->from;
    uint64_t *n = is_losses ? &keep->n_losses : &keep->n_steps;
    return ++*n % ((uint64_t)1 << doublings) == 0;
}

bool bp_keep_asks(bp_keep *keep, const bp_walk_step *step, int64_t distance) {
    if (!step->may_go) return true;
    const bool is_histogram = step->frame.type == BP_RUNLOG_HISTOGRAM;
    bool *odd = step->frame.type == BP_RUNLOG_LOSSES ? &keep->odd_losses : &keep->odd_step;
    const bool before = *odd;
    if (!is_histogram) *odd = step->non_finite;
    if (step->frame.sequence == keep->first ||
        step->frame.sequence + step->n_numbers - 1 == keep->last)
        return true;
    return is_histogram ? asks_histogram(keep, step->first_step, distance)
                        : asks_record(keep, step, distance, before);
}
