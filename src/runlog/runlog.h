/* SPDX-License-Identifier: Apache-2.0 */
/* Room runlog: the file that a run leaves. Segments of framed, checksummed records; a reader that
 * resynchronises behind damage and says what it lost. It does not know what a finding is.
 * Invariants: a record is written whole by one put; sequence numbers grow by one; header checksums
 * are salted per segment, so a record inside a payload is never taken for one. */
#ifndef BP_RUNLOG_RUNLOG_H
#define BP_RUNLOG_RUNLOG_H

#include "record/record.h"
#include <backprobe/runlog.h>

#define BP_RUNLOG_SEGMENT_BYTES ((uint64_t)64 << 20)

/* Types of a record; pinned. A reader skips unknown ones by their length. */
typedef enum bp_runlog_type {
    BP_RUNLOG_MODEL = 1, /* first of every segment */
    BP_RUNLOG_STEP = 2,
    BP_RUNLOG_GAP = 3, /* steps that could not be recorded */
    BP_RUNLOG_END = 4,
    BP_RUNLOG_HEADER = 5, /* a copy of the segment's header */
    BP_RUNLOG_REWIND = 6, /* the run was resumed: steps from one on come again */
    BP_RUNLOG_FINDING = 7,
    BP_RUNLOG_CHECKPOINT = 8,
    BP_RUNLOG_MODEL_DELTA = 9, /* the network grew */
    BP_RUNLOG_WATCH = 10,      /* what watching costs */
    BP_RUNLOG_LOSSES = 11,     /* steps of which the loss alone is known */
    BP_RUNLOG_THINNED = 12     /* what a segment that was thinned lacks */
} bp_runlog_type;

/* Where whole frames go. A first version writes directly; the ring comes behind the same calls. */
typedef struct bp_sink {
    void *context;
    /* All or nothing as far as a reader can tell; 0 or an errno. */
    int (*put)(void *context, const void *bytes, size_t n_bytes);
    int (*close)(void *context);
} bp_sink;

typedef struct bp_runlog_writer bp_runlog_writer;

typedef struct bp_runlog_options {
    const bp_io *io;        /* borrowed; NULL: the system */
    bp_allocator allocator; /* resize NULL: malloc */
    uint64_t segment_bytes; /* a new segment file above this; 0: BP_RUNLOG_SEGMENT_BYTES */
    bool resumes;           /* go on with the log in the folder, if there is one */
    int64_t resume_step;    /* the next step; what the log has of it and later ones is void */
} bp_runlog_options;

/* Creates the first segment `log-000001.bplog` in folder (which must exist and, but for a run that
 * resumes, hold no log yet) and writes the model. Nothing is allocated later. */
BP_MUST_USE bp_status bp_runlog_writer_open(bp_runlog_writer **writer, const char *folder,
                                            const bp_model *model, const bp_runlog_options *options,
                                            bp_error *error);
/* Whether a folder holds segments of a log. */
bool bp_runlog_exists(const char *folder, const bp_allocator *allocator);
/* Where a log ends: what a run that goes on with it must know. Reads all of it. */
typedef struct bp_runlog_tail {
    uint64_t run, sequence; /* of the next record */
    uint32_t segment;       /* index of the last one */
} bp_runlog_tail;
BP_MUST_USE bp_status bp_runlog_find_tail(bp_runlog_tail *tail, const bp_io *io, const char *folder,
                                          const bp_allocator *allocator, bp_error *error);
/* Encodes and appends. After a failed write the next append tries a new segment, never behind a
 * torn fragment, and writes a gap record first. */
BP_MUST_USE bp_status bp_runlog_writer_step(bp_runlog_writer *writer, const bp_record *record,
                                            bp_error *error);
/* Writes the end record, fsyncs, closes. The writer is gone whatever is returned. */
bp_status bp_runlog_writer_close(bp_runlog_writer *writer, bp_run_end end, bp_error *error);

#endif
