/* SPDX-License-Identifier: Apache-2.0 */
/* Where the segments of a folder end: what must be known to add another one. Reads the last ones
 * only. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_LOG_END_H
#define BP_RUNLOG_LOG_END_H

#include "runlog/frame.h"

typedef struct bp_log_end {
    uint32_t last_index; /* in a name or a header; 0: there is no segment */
    uint64_t sequence;   /* of the next data record */
    double written;      /* when the last segment was, seconds since 1970 */
    uint8_t *model;      /* encoded, of the last segment that has one; NULL: none has */
    size_t model_bytes, model_capacity;
} bp_log_end;

/* Segments of other runs count for last_index alone. */
BP_MUST_USE bp_status bp_log_end_find(bp_log_end *end, const bp_io *io, const char *folder,
                                      uint64_t run, const bp_allocator *allocator, bp_error *error);
void bp_log_end_free(bp_log_end *end, const bp_allocator *allocator);

#endif
