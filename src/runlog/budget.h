/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the log of a run that is being written within its budget: looks whenever a segment was
 * begun, and has the old ones thinned when it is due. Used by who writes; memory for it comes from
 * malloc, for that may be a thread that must not ask the caller's allocator. For the files of this
 * room and its tests only. */
#ifndef BP_RUNLOG_BUDGET_H
#define BP_RUNLOG_BUDGET_H

#include "runlog/segment_writer.h"
#include "runlog/thin.h"

typedef struct bp_budget {
    uint64_t max_bytes;
    uint64_t before;    /* bytes of segments that were there when the run was resumed */
    uint32_t looked_at; /* the segment that was open when it was looked last */
    bool has_thinner;
    bp_thinner thinner;
    bp_error error; /* the last trouble; status BP_OK when the log is within its budget */
} bp_budget;

#define BP_RUNLOG_MIN_SEGMENT_BYTES ((uint64_t)64 << 10)

/* max_bytes: 0 is BP_RUNLOG_MAX_BYTES. */
void bp_budget_init(bp_budget *budget, const char *folder, uint64_t max_bytes);
void bp_budget_finish(bp_budget *budget);
/* How long segments are that nothing else is said of: a sixteenth of the budget, so that the one
 * that is written and the one that is thinned are small parts of it; at most
 * BP_RUNLOG_SEGMENT_BYTES, and enough for the network that each begins with. */
uint64_t bp_budget_segment_bytes(const bp_budget *budget, uint64_t model_bytes);
/* meanwhile: see bp_thin_budget. */
void bp_budget_look(bp_budget *budget, const bp_segment_writer *writer, bp_meanwhile meanwhile);

#endif
