/* SPDX-License-Identifier: Apache-2.0 */
/* Room runlog: the file that a run leaves. Segments of framed, checksummed records; a reader that
 * resynchronises behind damage and says what it lost. It does not know what a finding is.
 * Invariants: a record is written whole by one put; sequence numbers grow by one from what is told
 * of the run to what is told next; header checksums are salted per segment, so a record inside a
 * payload is never taken for one; what was acknowledged survives the death of the process. */
#ifndef BP_RUNLOG_RUNLOG_H
#define BP_RUNLOG_RUNLOG_H

#include "record/record.h"
#include <backprobe/runlog.h>

#define BP_RUNLOG_SEGMENT_BYTES ((uint64_t)64 << 20)
#define BP_RUNLOG_RING_BYTES ((uint64_t)8 << 20)
#define BP_RUNLOG_MAX_BYTES ((uint64_t)2 << 30)

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
    BP_RUNLOG_THINNED = 12,    /* what a segment that was thinned lacks */
    BP_RUNLOG_HISTOGRAM = 13   /* of the exponents of a tensor; the last type that is known */
} bp_runlog_type;

/* Where whole frames go. */
typedef struct bp_sink {
    void *context;
    /* All or nothing as far as a reader can tell; 0 or an errno. */
    int (*put)(void *context, const void *bytes, size_t n_bytes);
    int (*close)(void *context);
} bp_sink;

typedef struct bp_runlog_writer bp_runlog_writer;

typedef struct bp_runlog_options {
    const bp_io *io;         /* borrowed; NULL: the system */
    bp_allocator allocator;  /* resize NULL: malloc */
    uint64_t segment_bytes;  /* a new segment file above this; 0: by max_log_bytes (budget.h) */
    bool resumes;            /* go on with the log in the folder, if there is one */
    int64_t resume_step;     /* the next step; what the log has of it and later ones is void */
    bool direct;             /* no ring and no thread: each record is written by its caller */
    uint64_t ring_bytes;     /* 0: BP_RUNLOG_RING_BYTES; rounded up to a power of two */
    const char *ring_folder; /* copied; NULL: /dev/shm */
    uint64_t max_log_bytes;  /* above this old segments are thinned; 0: BP_RUNLOG_MAX_BYTES */
} bp_runlog_options;

/* Creates the first segment `log-000001.bplog` in folder (which must exist and, but for a run that
 * resumes, hold no log yet) and writes the model. What a killed run left there unwritten is
 * salvaged first. With a ring, a thread writes from then on, and a record is handed over without a
 * system call: acknowledged is what survives the process. io must then stay until the writer is
 * closed, or for ever if the disk hangs. Nothing is allocated later but by bp_runlog_writer_model,
 * and from malloc when old segments are thinned. After a fork the child's copy does nothing. */
BP_MUST_USE bp_status bp_runlog_writer_open(bp_runlog_writer **writer, const char *folder,
                                            const bp_model *model, const bp_runlog_options *options,
                                            bp_error *error);

/* How records go to the disk. */
typedef struct bp_runlog_transport {
    bool ring; /* through shared memory: a kill loses nothing, a slow disk holds nobody up */
    const char *reason; /* why not; static; NULL with a ring */
} bp_runlog_transport;
bp_runlog_transport bp_runlog_writer_transport(const bp_runlog_writer *writer);

/* A step: bytes as bp_record_encode gives them, copied. BP_ERROR_IO when it could not be recorded;
 * its number is spent, and a gap record will tell. BP_ERROR_IO with os_errno comes once, too, when
 * the thread that writes meets trouble: this record and those that follow wait in the ring.
 * In direct mode the append after a failed write tries a new segment, never behind a torn fragment,
 * and writes a gap record first. */
BP_MUST_USE bp_status bp_runlog_writer_step(bp_runlog_writer *writer, int64_t step,
                                            const void *bytes, size_t n_bytes, bp_error *error);
/* A step of which only the loss is known; some tens of nanoseconds. */
BP_MUST_USE bp_status bp_runlog_writer_loss(bp_runlog_writer *writer, int64_t step, double loss,
                                            bp_error *error);
/* FINDING, CHECKPOINT, WATCH, HISTOGRAM: an encoded event (record/event.h) of at most
 * BP_RUNLOG_EVENT_BYTES, copied. */
#define BP_RUNLOG_EVENT_BYTES ((size_t)1024)
BP_MUST_USE bp_status bp_runlog_writer_event(bp_runlog_writer *writer, bp_runlog_type type,
                                             const void *payload, size_t n_bytes, bp_error *error);
/* The network has more layers at its end. Between steps; allocates. */
BP_MUST_USE bp_status bp_runlog_writer_model(bp_runlog_writer *writer, const bp_model *model,
                                             bp_error *error);
/* Writes the end record, fsyncs, closes: in at most about 2 s, even when the disk hangs. What is
 * not written then stays in the ring, for a reader to salvage when the process has ended; memory
 * that the hanging thread uses is never freed. The writer is gone whatever is returned.
 * BP_ERROR_LIMIT when all is well but that the log could not be thinned to max_log_bytes. */
bp_status bp_runlog_writer_close(bp_runlog_writer *writer, bp_run_end end, bp_error *error);

/* Whether a folder holds segments of a log. */
bool bp_runlog_exists(const char *folder, const bp_allocator *allocator);
/* Where a log ends: what a run that goes on with it must know. Reads all of it. */
typedef struct bp_runlog_tail {
    uint64_t run, sequence; /* of the next record */
    uint32_t segment;       /* index of the last one */
} bp_runlog_tail;
BP_MUST_USE bp_status bp_runlog_find_tail(bp_runlog_tail *tail, const bp_io *io, const char *folder,
                                          const bp_allocator *allocator, bp_error *error);

/* --- reading while a run goes on ---------------------------------------------------------------
 */

/* From now on a step that one rank of several tells of waits so many seconds (by the records'
 * clock) for those that have no end and may only be slow to write; until then bp_runlog_ranks_next
 * gives nothing. At first 0: for logs that will not grow. */
void bp_runlog_ranks_wait(bp_runlog_ranks *ranks, double seconds);
/* Share of the logs' bytes that was read, 0 ... 1; looks at their files' sizes. */
double bp_runlog_ranks_read_fraction(const bp_runlog_ranks *ranks);
/* Roles of which the main log had histograms so far, a bit each (bp_role). */
uint32_t bp_runlog_ranks_histogram_roles(const bp_runlog_ranks *ranks);
/* How often the run was resumed. When it grows, steps that were given are void. */
uint32_t bp_runlog_ranks_n_rewinds(const bp_runlog_ranks *ranks);

/* If a process that is gone left records of this folder's run in its ring, appends them as a new
 * segment and removes the ring; *n_records is how many. Where there is nothing of the kind, or the
 * run goes on, does nothing. When it fails the ring stays as it is. */
BP_MUST_USE bp_status bp_runlog_salvage(const bp_io *io, const char *folder,
                                        const bp_allocator *allocator, uint64_t *n_records,
                                        bp_error *error);
/* The segment that bp_runlog_salvage would append, for a folder that cannot be written; changes
 * nothing. *bytes is NULL when there is none; freed with bp_release(allocator, bytes, n_bytes, 1).
 */
BP_MUST_USE bp_status bp_runlog_salvage_image(const bp_io *io, const char *folder,
                                              const bp_allocator *allocator, uint8_t **bytes,
                                              size_t *n_bytes, bp_error *error);

#endif
