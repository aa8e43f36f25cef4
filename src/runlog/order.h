/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a whole, good frame stands where it belongs. Blocks of a damaged file may lie swapped,
 * doubled or missing; a frame knows its offset, so one that was moved is told from one behind a
 * change of the file that moved all the rest. For the files of this room only. */
#ifndef BP_RUNLOG_ORDER_H
#define BP_RUNLOG_ORDER_H

#include "runlog/scan.h"

typedef struct bp_order {
    int64_t shift;     /* place - offset of the frames that are taken */
    unsigned n_shifts; /* how often it changed */
    bp_scan ahead;     /* looks for the next frame with this shift; file -1 when not needed */
    uint64_t found;    /* its place */
} bp_order;

void bp_order_init(bp_order *order);
void bp_order_finish(bp_order *order);

/* event: a frame that `scan` just gave. *belongs: may be taken; a frame with another shift only
 * when none with the old one and a number of at least `expected` follows in the file. Linear in the
 * file's size over all calls. */
BP_MUST_USE bp_status bp_order_check(bp_order *order, const bp_scan *scan,
                                     const bp_scan_event *event, uint64_t expected, bool *belongs,
                                     bp_error *error);

#endif
