/* SPDX-License-Identifier: Apache-2.0 */
/* The thinned twin of a closed segment: written aside, made durable, read back, then renamed over
 * it. A kill at any moment leaves the one or the other whole. For the files of this room and its
 * tests only. */
#ifndef BP_RUNLOG_TWIN_H
#define BP_RUNLOG_TWIN_H

#include "runlog/keep.h"

/* All borrowed for the call. */
typedef struct bp_twin {
    const bp_io *io;
    const bp_allocator *allocator;
    const char *folder, *path; /* of the run, of the segment */
    const char *aside;         /* where the twin is written; a leftover there is removed */
    mode_t mode;
    bp_segment_id id;
    bp_keep keep;      /* as at the segment's begin */
    uint64_t dropped;  /* data records of the whole segment that the twin will lack */
    uint64_t n_frames; /* that will stand in it, but for the one that says so */
    const bp_keep_points *points;
    bp_meanwhile meanwhile;
} bp_twin;

typedef enum bp_twin_end {
    BP_TWIN_MADE,    /* it stands in the segment's place */
    BP_TWIN_STOPPED, /* the caller said so */
    BP_TWIN_CHANGED  /* the segment is not as it was when it was looked at */
} bp_twin_end;

/* *n_bytes: of what was made. Where nothing was made the segment is as it was, and nothing is left
 * of the twin. BP_ERROR_IO when it could not be written; with *end MADE only its name may not
 * survive a power cut. */
BP_MUST_USE bp_status bp_twin_make(const bp_twin *twin, bp_twin_end *end, uint64_t *n_bytes,
                                   bp_error *error);

#endif
