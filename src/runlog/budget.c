/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/budget.h"
#include "runlog/segments.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define SEGMENTS_IN_BUDGET 16u

static uint64_t bytes_of(const char *folder, uint32_t index) {
    char path[PATH_MAX], name[BP_SEGMENT_NAME_BYTES];
    struct stat found;
    snprintf(path, sizeof path, "%s/%s", folder, bp_segment_name(name, index));
    return stat(path, &found) == 0 ? (uint64_t)found.st_size : 0;
}

void bp_budget_init(bp_budget *budget, const char *folder, uint64_t max_bytes) {
    bp_segments segments;
    *budget = (bp_budget){.max_bytes = max_bytes ? max_bytes : BP_RUNLOG_MAX_BYTES};
    if (bp_segments_list(&segments, folder, &bp_allocator_system, NULL) != BP_OK) return;
    for (size_t i = 0; i < segments.n; i++) budget->before += bytes_of(folder, segments.index[i]);
    bp_segments_free(&segments, &bp_allocator_system);
}

uint64_t bp_budget_segment_bytes(const bp_budget *budget, uint64_t model_bytes) {
    const uint64_t share = budget->max_bytes / SEGMENTS_IN_BUDGET;
    uint64_t least = 8 * model_bytes; /* it comes twice in each */
    if (least < BP_RUNLOG_MIN_SEGMENT_BYTES) least = BP_RUNLOG_MIN_SEGMENT_BYTES;
    if (share > BP_RUNLOG_SEGMENT_BYTES) return BP_RUNLOG_SEGMENT_BYTES;
    return share > least ? share : least;
}

void bp_budget_finish(bp_budget *budget) {
    if (budget->has_thinner) bp_thinner_finish(&budget->thinner);
    budget->has_thinner = false;
}

static bp_status thin(bp_budget *budget, const bp_segment_writer *writer, bp_meanwhile meanwhile,
                      bp_error *error) {
    const bp_thin_budget wanted = {.max_bytes = budget->max_bytes,
                                   .reserved_bytes = writer->segment_bytes,
                                   .current = writer->segment,
                                   .meanwhile = meanwhile};
    if (!budget->has_thinner) {
        const bp_status status = bp_thinner_init(&budget->thinner, writer->io, writer->folder,
                                                 writer->run, &bp_allocator_system, error);
        if (status != BP_OK) return status;
        budget->has_thinner = true;
    }
    return bp_thinner_run(&budget->thinner, &wanted, error);
}

void bp_budget_look(bp_budget *budget, const bp_segment_writer *writer, bp_meanwhile meanwhile) {
    if (!writer->is_open || writer->segment == budget->looked_at) return;
    budget->looked_at = writer->segment;
    /* Thinned segments have become smaller since: then this asks once too often. */
    if (budget->before + writer->closed_bytes + writer->segment_bytes <= budget->max_bytes) return;
    bp_error error = {0};
    const bp_status status = thin(budget, writer, meanwhile, &error);
    if (status != BP_OK || !budget->thinner.told) budget->error = error;
}
