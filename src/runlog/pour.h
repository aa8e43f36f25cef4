/* SPDX-License-Identifier: Apache-2.0 */
/* Items of a ring into frames of a segment: losses of steps that follow one another share a frame.
 * The thread that writes and the salvage of a ring both use it. For the files of this room and its
 * tests only. */
#ifndef BP_RUNLOG_POUR_H
#define BP_RUNLOG_POUR_H

#include "runlog/ring.h"
#include "runlog/segment_writer.h"

#define BP_POUR_LOSSES 512

typedef struct bp_pour {
    bp_segment_writer *writer; /* borrowed */
    double wall_time;          /* of losses */
    uint64_t n_records;        /* that were put */
    uint64_t n_too_long;       /* no producer puts such; passed over */
    /* losses that wait for the next one */
    size_t n_losses;
    uint64_t first_sequence, mark;
    int64_t first_step;
    double losses[BP_POUR_LOSSES];
} bp_pour;

/* writer: borrowed. */
void bp_pour_init(bp_pour *pour, bp_segment_writer *writer);
/* mark: what the writer's `settled` becomes when the item is written. 0 or an errno. */
int bp_pour_item(bp_pour *pour, const bp_ring_item *item, uint64_t mark);
/* Hands the writer what waits here. */
int bp_pour_finish(bp_pour *pour);
/* After trouble: what waits comes again from the ring. */
void bp_pour_forget(bp_pour *pour);

/* The payload of a LOSSES record; returns its length. */
#define BP_LOSSES_BYTES(n) (28 + 8 * (size_t)(n))
size_t bp_losses_encode(uint8_t *bytes, double wall_time, int64_t first_step, const double *losses,
                        size_t n);

#endif
