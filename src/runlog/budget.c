/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/budget.h"

#define SEGMENTS_IN_BUDGET 16u /* so that what is thinned, and what is not yet, are small parts */

static uint64_t segment_bytes_for(uint64_t max_bytes, uint64_t model_bytes) {
    const uint64_t share = max_bytes / SEGMENTS_IN_BUDGET;
    uint64_t least = 8 * model_bytes; /* each segment has it twice */
    if (least < BP_RUNLOG_MIN_SEGMENT_BYTES) least = BP_RUNLOG_MIN_SEGMENT_BYTES;
    if (share > BP_RUNLOG_SEGMENT_BYTES) return BP_RUNLOG_SEGMENT_BYTES;
    return share > least ? share : least;
}

bp_status bp_log_budget_open(bp_log_budget *budget, const bp_io *io, const char *folder,
                             uint64_t run, uint64_t max_bytes, uint64_t wanted,
                             uint64_t model_bytes, const bp_allocator *allocator, bp_error *error) {
    *budget = (bp_log_budget){.max_bytes = max_bytes ? max_bytes : BP_RUNLOG_MAX_BYTES};
    budget->segment_bytes = wanted ? wanted : segment_bytes_for(budget->max_bytes, model_bytes);
    return bp_thinner_init(&budget->thinner, io, folder, run, allocator, error);
}

void bp_log_budget_close(bp_log_budget *budget) {
    bp_thinner_finish(&budget->thinner);
}

void bp_log_budget_keep(bp_log_budget *budget, uint32_t segment, bp_meanwhile meanwhile) {
    if (segment <= 1 || segment == budget->done_for) return; /* there is no closed one, or no new */
    budget->done_for = segment;
    bp_error error = {.status = BP_OK};
    const bp_thin_budget asked = {.max_bytes = budget->max_bytes,
                                  .reserved_bytes = budget->segment_bytes,
                                  .current = segment,
                                  .meanwhile = meanwhile};
    const bp_status status = bp_thinner_run(&budget->thinner, &asked, &error);
    if (status != BP_OK || !budget->thinner.told) budget->trouble = error;
}
