/* SPDX-License-Identifier: Apache-2.0 */
/* Which records of a segment stay when it is thinned (docs/runlog-format.md, "Thinned segments").
 * Pure: no files. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_KEEP_H
#define BP_RUNLOG_KEEP_H

#include "runlog/walk.h"

/* A segment of level l keeps every 2^l-th of the steps that no rule keeps; 0 is a whole one. */
#define BP_KEEP_MAX_LEVEL 20u
/* Up to this level the windows around findings and all non-finite records are whole; behind it the
 * windows halve from level to level. */
#define BP_KEEP_GENTLE_LEVEL 10u
#define BP_KEEP_WINDOW_STEPS ((int64_t)64) /* before and after */
/* Losses are small, and histograms few: up to this level all are kept, behind it every second,
 * fourth ... frame of losses, and step with histograms. */
#define BP_KEEP_LOSSES_LEVEL 3u

/* Steps at which findings began or changed; ascending, each once. */
typedef struct bp_keep_points {
    int64_t *step;
    size_t n, capacity;
} bp_keep_points;
#define BP_KEEP_MAX_POINTS ((size_t)65536)

/* Above BP_KEEP_MAX_POINTS those that stand closest are forgotten. BP_ERROR_MEMORY without a word.
 */
BP_MUST_USE bp_status bp_keep_add(bp_keep_points *points, int64_t step,
                                  const bp_allocator *allocator);
void bp_keep_free(bp_keep_points *points, const bp_allocator *allocator);
/* Steps between [first, last] and the nearest point; INT64_MAX when there is none. */
int64_t bp_keep_distance(const bp_keep_points *points, int64_t first, int64_t last);

/* The walk through one segment, from the level at which it is to another. */
typedef struct bp_keep {
    unsigned from, level;
    uint64_t first, last; /* sequence numbers of its first and last data record's last number */
    uint64_t n_steps, n_losses; /* frames that no rule kept */
    bool odd_step, odd_losses;  /* the last frame of the kind was non-finite */
    uint64_t n_moments;         /* steps with histograms that no rule kept */
    bool has_moment, keeps_moment;
    int64_t moment; /* the step of the last histogram, and whether its histograms stay */
} bp_keep;

/* Whether the frame stays; in the order of the segment. distance: of its steps. */
bool bp_keep_asks(bp_keep *keep, const bp_walk_step *step, int64_t distance);

#endif
