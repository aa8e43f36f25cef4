/* SPDX-License-Identifier: Apache-2.0 */
/* The budget of a run's log: above it, closed segments are replaced by thinned ones, old ones first
 * and more (docs/runlog-format.md, "Thinned segments"). The segment being written is never touched.
 * Called by who writes the log, after a new segment was begun. */
#ifndef BP_RUNLOG_THIN_H
#define BP_RUNLOG_THIN_H

#include "runlog/keep.h"

/* A segment as the thinner knows it. */
typedef struct bp_thin_segment {
    uint32_t index;
    uint64_t n_bytes;
    mode_t mode;
    bool surveyed; /* what is below is known */
    bool is_left;  /* as it is: damaged, another's, unreadable, or nothing more can be dropped */
    bp_keep keep;  /* its level, and at which next it would lose enough */
    uint64_t dropped;
} bp_thin_segment;

/* Remembers what it learnt of the segments from one call to the next. */
typedef struct bp_thinner {
    const bp_io *io;        /* borrowed */
    bp_allocator allocator; /* copied */
    char *folder, *path, *aside;
    size_t path_bytes;
    uint64_t run;
    bp_thin_segment *segments; /* ascending */
    size_t n_segments, capacity;
    bp_keep_points points;
    bool told; /* that the budget cannot be met */
} bp_thinner;

/* folder: copied. run: the run's id; segments of another one are not touched. */
BP_MUST_USE bp_status bp_thinner_init(bp_thinner *thinner, const bp_io *io, const char *folder,
                                      uint64_t run, const bp_allocator *allocator, bp_error *error);
/* Also of a thinner that is all zeros. */
void bp_thinner_finish(bp_thinner *thinner);

typedef struct bp_thin_budget {
    uint64_t max_bytes;
    uint64_t reserved_bytes; /* of them, for what comes: a segment */
    uint32_t current;        /* the segment being written; this and later ones are not touched */
    bp_meanwhile meanwhile;  /* called at least after every few MiB; false: leave it at that */
} bp_thin_budget;

/* Brings the log below max_bytes - reserved_bytes, if it is above, by a tenth more than needed.
 * BP_ERROR_LIMIT when nothing more can be dropped, told once; other errors: a twin could not be
 * written, and its segment is as it was. After each of them the log is whole. */
BP_MUST_USE bp_status bp_thinner_run(bp_thinner *thinner, const bp_thin_budget *budget,
                                     bp_error *error);

#endif
