/* SPDX-License-Identifier: Apache-2.0 */
/* One segment file as a stream of whole frames, and of the damage between them. Resynchronises on
 * the next valid header. Trusts no length: memory grows only as bytes really arrive. It knows
 * checksums, not meanings. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_SCAN_H
#define BP_RUNLOG_SCAN_H

#include "runlog/frame.h"

typedef struct bp_scan {
    const bp_io *io;
    const bp_allocator *allocator;
    const char *path; /* borrowed, for messages */
    bp_segment_id salt;
    int file;       /* -1 when closed */
    bool in_memory; /* there is no file, and the buffer is borrowed */
    uint8_t *buffer;
    size_t capacity, start, end; /* buffer[start, end) is what was read and not yet used */
    uint64_t place;              /* of buffer[start] in the file */
    bool jumped;                 /* the file is read by place */
    bool at_eof;
    uint64_t rechecked; /* bytes of payloads that failed their checksum */
    uint64_t cut_place; /* a cut frame that the next call tells of; 0: none */
    uint64_t only;      /* bits of the types whose payloads are wanted, those of others are passed
                           over unchecked, and NULL where they are large; 0: all */
    bool passes;        /* such a one was passed over */
    uint64_t torn;      /* at the end: how many of the last bytes may be a cut frame */
} bp_scan;

typedef enum bp_scan_kind {
    BP_SCAN_FRAME,
    BP_SCAN_DAMAGE, /* bytes that are no valid frame */
    BP_SCAN_CUT,    /* the start of a frame that the end of the file cuts */
    BP_SCAN_END
} bp_scan_kind;

typedef struct bp_scan_event {
    bp_scan_kind kind;
    uint64_t place; /* in the file */
    uint64_t n_bytes;
    bp_frame frame;         /* FRAME; DAMAGE: the last whole header in it, if has_header */
    const uint8_t *payload; /* FRAME: frame.n_bytes of them, borrowed until the next call */
    bool has_header;        /* DAMAGE: of a frame whose payload alone is bad */
    uint64_t header_place;  /* DAMAGE: where that header stands */
} bp_scan_event;

/* Opens a file. io, allocator and path are borrowed until close. */
BP_MUST_USE bp_status bp_scan_open(bp_scan *scan, const bp_io *io, const char *path,
                                   const bp_allocator *allocator, bp_error *error);
/* The same over bytes in memory, borrowed. path: for messages. */
void bp_scan_open_memory(bp_scan *scan, uint8_t *bytes, size_t n_bytes, const char *path,
                         const bp_allocator *allocator);
void bp_scan_close(bp_scan *scan);

/* What a file begins with. */
typedef struct bp_scan_start {
    bp_segment_header header; /* of the first good copy */
    bool good[BP_SEGMENT_HEADER_COPIES];
    bool found;                      /* one is good */
    uint8_t bytes[BP_SEGMENT_START]; /* as they stand there */
    size_t n_bytes;                  /* fewer when the file ends before */
} bp_scan_start;
/* Once, before bp_scan_next. */
BP_MUST_USE bp_status bp_scan_header(bp_scan *scan, bp_scan_start *start, bp_error *error);
/* A copy of the header further on (BP_RUNLOG_HEADER), for a file whose start is gone. The scan is
 * of no other use then. */
BP_MUST_USE bp_status bp_scan_find_header(bp_scan *scan, bp_segment_header *header, bool *found,
                                          bp_error *error);
/* Goes on at a place in the file, after bp_scan_header. *fits: a whole frame header that was
 * written there stands there, or the file ends there. */
BP_MUST_USE bp_status bp_scan_jump(bp_scan *scan, uint64_t place, bool *fits, bp_frame *frame,
                                   bp_error *error);
/* What comes next. scan->salt must be right by then. */
BP_MUST_USE bp_status bp_scan_next(bp_scan *scan, bp_scan_event *event, bp_error *error);
/* After BP_SCAN_END: the file may have grown since. A cut frame at its end is looked at again. */
void bp_scan_go_on(bp_scan *scan);

#endif
