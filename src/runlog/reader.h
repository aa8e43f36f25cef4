/* SPDX-License-Identifier: Apache-2.0 */
/* The reader behind another seam to the system; for this room and its tests only. */
#ifndef BP_RUNLOG_READER_H
#define BP_RUNLOG_READER_H

#include "record/series.h"
#include "runlog/runlog.h"

/* io: borrowed until close. */
BP_MUST_USE bp_status bp_runlog_reader_open_through(bp_runlog_reader **reader, const bp_io *io,
                                                    const char *path, const bp_allocator *allocator,
                                                    bp_error *error);

/* --- one series of many steps ---------------------------------------------------------------- */

/* Where a reader stands: behind what it gave last. */
typedef struct bp_runlog_position {
    uint32_t segment;
    uint64_t place;    /* of a frame */
    uint64_t sequence; /* of the next record; those before were given */
} bp_runlog_position;

/* As bp_runlog_reader_next, but only what records that have this series say of it; *sources is
 * borrowed until the next call, NULL at the end. A reader is asked either for this or for records.
 */
BP_MUST_USE bp_status bp_runlog_reader_next_sources(bp_runlog_reader *reader, bp_series series,
                                                    const bp_sources **sources, bp_error *error);
bp_runlog_position bp_runlog_reader_tell(const bp_runlog_reader *reader);
/* Of a reader that gave nothing yet. BP_ERROR_INPUT when the run has no such segment. */
BP_MUST_USE bp_status bp_runlog_reader_jump(bp_runlog_reader *reader,
                                            const bp_runlog_position *position, bp_error *error);

/* --- histograms ------------------------------------------------------------------------------ */

/* The next histogram, and where it stands; *histogram is borrowed until the next call, NULL at the
 * end. Steps are passed over: a reader is asked either for this or for them. */
BP_MUST_USE bp_status bp_runlog_reader_next_histogram(bp_runlog_reader *reader,
                                                      const bp_event_histogram **histogram,
                                                      bp_runlog_position *place, bp_error *error);
/* The next histogram will be the one that stood there, again and again, in any order; what is lost
 * between is not accounted for. *found false: it stands there no more. */
BP_MUST_USE bp_status bp_runlog_reader_seek_histogram(bp_runlog_reader *reader,
                                                      const bp_runlog_position *place, bool *found,
                                                      bp_error *error);
uint64_t bp_runlog_reader_run(const bp_runlog_reader *reader);

/* --- how far ---------------------------------------------------------------------------------- */

/* Bytes of the log that there are now, and how many of them were read. */
typedef struct bp_runlog_progress {
    uint64_t read, there;
} bp_runlog_progress;
bp_runlog_progress bp_runlog_reader_progress(bp_runlog_reader *reader);
/* Roles of which there were histograms so far, a bit each (bp_role). */
uint32_t bp_runlog_reader_histogram_roles(const bp_runlog_reader *reader);
/* How often the run was resumed, as far as its segments are known. */
uint32_t bp_runlog_reader_n_rewinds(const bp_runlog_reader *reader);

#endif
