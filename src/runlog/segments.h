/* SPDX-License-Identifier: Apache-2.0 */
/* The segment files of a run folder: their names and their order. For the files of this room and
 * its tests only. */
#ifndef BP_RUNLOG_SEGMENTS_H
#define BP_RUNLOG_SEGMENTS_H

#include "runlog/runlog.h"

#define BP_SEGMENT_NAME_BYTES 32
#define BP_SEGMENTS_MAX 1000000u

/* "log-000001.bplog" into name (BP_SEGMENT_NAME_BYTES); returns name. */
char *bp_segment_name(char *name, uint32_t index);

/* The numbers in the names of a folder's segment files, ascending. */
typedef struct bp_segments {
    uint32_t *index;
    size_t n, capacity;
} bp_segments;
/* BP_ERROR_IO when the folder cannot be read. An empty list is no error. */
BP_MUST_USE bp_status bp_segments_list(bp_segments *segments, const char *folder,
                                       const bp_allocator *allocator, bp_error *error);
void bp_segments_free(bp_segments *segments, const bp_allocator *allocator);

#endif
