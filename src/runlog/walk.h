/* SPDX-License-Identifier: Apache-2.0 */
/* A closed segment without damage, frame after frame, with what thinning must know of each. It ends
 * early where something is not as this version writes it: such a segment is left as it is. For the
 * files of this room and its tests only. */
#ifndef BP_RUNLOG_WALK_H
#define BP_RUNLOG_WALK_H

#include "runlog/scan.h"

/* Between pieces of work that may last: false when it shall stop. */
typedef struct bp_meanwhile {
    bool (*go_on)(void *context); /* NULL: nothing else is to be done */
    void *context;
} bp_meanwhile;
/* Bytes that are read or written between two calls. */
#define BP_MEANWHILE_BYTES ((uint64_t)1 << 20)

typedef struct bp_walk {
    bp_scan scan;
    bp_scan_start start;
    bp_meanwhile meanwhile;
    uint64_t ask_at;   /* place at which `meanwhile` is called next */
    uint64_t expected; /* the next sequence number */
} bp_walk;

typedef enum bp_walk_kind {
    BP_WALK_FRAME,
    BP_WALK_END,     /* of the segment; a frame that a kill cut there is not told of */
    BP_WALK_FOREIGN, /* damaged, or of another's making */
    BP_WALK_STOPPED  /* `meanwhile` said so */
} bp_walk_kind;

typedef struct bp_walk_step {
    bp_walk_kind kind;
    bp_frame frame;
    const uint8_t *payload; /* borrowed until the next call */
    uint64_t n_numbers;     /* sequence numbers that it spends */
    bool may_go;            /* of type STEP, LOSSES or HISTOGRAM: what is below is known */
    int64_t first_step, last_step;
    bool non_finite;
} bp_walk_step;

/* *found: the segment can be walked. io, allocator and path are borrowed until close. */
BP_MUST_USE bp_status bp_walk_open(bp_walk *walk, const bp_io *io, const char *path,
                                   bp_segment_id id, const bp_allocator *allocator,
                                   bp_meanwhile meanwhile, bool *found, bp_error *error);
void bp_walk_close(bp_walk *walk);
BP_MUST_USE bp_status bp_walk_next(bp_walk *walk, bp_walk_step *step, bp_error *error);

#endif
