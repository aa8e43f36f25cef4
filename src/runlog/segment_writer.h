/* SPDX-License-Identifier: Apache-2.0 */
/* Records into segments: frames, headers and their copies, a new segment when one is full or a
 * write failed, gap and rewind records. It gives no numbers: who hands over a record does. Called
 * by one thread at a time. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_SEGMENT_WRITER_H
#define BP_RUNLOG_SEGMENT_WRITER_H

#include "runlog/sink.h"

#define BP_GAP_WRITE_FAILED 1u /* reasons in a gap record; pinned */
#define BP_GAP_DISK_SLOW 2u
#define BP_GAP_MEMORY_DAMAGED 3u
#define BP_SMALL_PAYLOAD_BYTES 64u /* gap, rewind and end records */

typedef struct bp_gap {
    uint64_t reason;
    uint64_t n_lost; /* 0: none */
    int64_t first_step, last_step;
} bp_gap;
size_t bp_gap_encode(const bp_gap *gap, uint8_t bytes[BP_SMALL_PAYLOAD_BYTES]);

/* Memory that a writer needs and that grows with the network; made by who may allocate. */
typedef struct bp_segment_memory {
    uint8_t *model; /* encoded */
    size_t model_bytes, model_capacity;
    uint8_t *buffer; /* segment headers, or frames that wait for one write */
    size_t buffer_bytes;
} bp_segment_memory;
/* BP_ERROR_MEMORY, or BP_ERROR_LIMIT when the model is larger than a record may be. On failure
 * nothing is left. */
BP_MUST_USE bp_status bp_segment_memory_open(bp_segment_memory *memory, const bp_model *model,
                                             const bp_allocator *allocator);
void bp_segment_memory_close(bp_segment_memory *memory, const bp_allocator *allocator);

#define BP_SEGMENT_BATCH_BYTES ((size_t)64 << 10)
#define BP_SEGMENT_BATCH_FRAMES 256

typedef struct bp_segment_writer {
    const bp_io *io;    /* borrowed */
    const char *folder; /* borrowed */
    char *path;         /* borrowed; room for folder, '/' and a segment's name */
    size_t path_bytes;
    uint64_t segment_bytes;
    bp_segment_memory memory; /* borrowed */
    bp_sink sink;             /* of the open segment */
    const bp_sink *own;       /* borrowed; takes the segment instead of a file; NULL: a file */
    bp_file_sink file;
    bool is_open;        /* the sink takes frames */
    bool has_copies;     /* of this segment's header and model */
    uint32_t compatible; /* features of the next segment, besides a rewind */
    uint64_t run, first_sequence;
    uint32_t segment;      /* index of the open or last one */
    int64_t rewind_step;   /* of the next segment; -1: it goes on behind the one before */
    bp_gap gap;            /* told at the begin of the next segment */
    uint64_t closed_bytes; /* of the segments that were closed */
    uint64_t flushed;      /* bytes of the segment that the sink was given */
    size_t used;           /* bytes that wait in the buffer */
    size_t n_waiting;      /* frames of them; where each ends, and the caller's mark for it */
    struct {
        size_t end;
        uint64_t mark;
    } waiting[BP_SEGMENT_BATCH_FRAMES];
    uint64_t settled; /* mark of the last record that the sink took whole */
    uint64_t mark;    /* of the last one that was put */
    int late;         /* trouble of closing a segment, which cost no record; the caller clears it */
} bp_segment_writer;

typedef struct bp_segment_record {
    bp_runlog_type type;
    uint64_t sequence;
    const void *payload; /* borrowed for the call */
    size_t n_bytes;
    uint64_t mark; /* ascending; what `settled` becomes when it is written */
} bp_segment_record;

/* All return 0 or an errno. After trouble the segment is closed, `settled` tells what was written
 * whole, and the next record begins a new segment. */
int bp_segment_writer_start(bp_segment_writer *writer, uint64_t sequence);
/* May wait in the buffer until bp_segment_writer_flush. */
int bp_segment_writer_put(bp_segment_writer *writer, const bp_segment_record *record);
int bp_segment_writer_flush(bp_segment_writer *writer);
/* Makes durable what was written, if it is about a second since that was done. */
int bp_segment_writer_sync(bp_segment_writer *writer);
/* The next segment has another model. What was put before must be flushed. */
void bp_segment_writer_grow(bp_segment_writer *writer, const bp_segment_memory *memory);
int bp_segment_writer_close(bp_segment_writer *writer);

#endif
