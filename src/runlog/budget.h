/* SPDX-License-Identifier: Apache-2.0 */
/* What a writer does to stay within its max_log_bytes: how long its segments may be, and thinning
 * after each new one. Trouble is told when the log is closed: the run goes on. For the files of
 * this room and its tests only. */
#ifndef BP_RUNLOG_BUDGET_H
#define BP_RUNLOG_BUDGET_H

#include "runlog/thin.h"

#define BP_RUNLOG_MIN_SEGMENT_BYTES ((uint64_t)64 << 10)

typedef struct bp_log_budget {
    bp_thinner thinner;
    uint64_t max_bytes, segment_bytes;
    uint32_t done_for; /* the segment after whose begin it was looked at last */
    bp_error trouble;  /* status BP_OK when the log is within the budget */
} bp_log_budget;

/* max_bytes: 0 for BP_RUNLOG_MAX_BYTES. wanted: bytes of a segment, 0 for a sixteenth of that, but
 * at most BP_RUNLOG_SEGMENT_BYTES and enough for what each begins with. allocator: used by who
 * calls bp_log_budget_keep. */
BP_MUST_USE bp_status bp_log_budget_open(bp_log_budget *budget, const bp_io *io, const char *folder,
                                         uint64_t run, uint64_t max_bytes, uint64_t wanted,
                                         uint64_t model_bytes, const bp_allocator *allocator,
                                         bp_error *error);
void bp_log_budget_close(bp_log_budget *budget); /* also of one that is all zeros */

/* Nothing when `segment`, the one being written, is that of the last call. May last seconds. */
void bp_log_budget_keep(bp_log_budget *budget, uint32_t segment, bp_meanwhile meanwhile);

#endif
