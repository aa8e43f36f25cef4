/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes around a record: segment header and frame header (docs/runlog-format.md). Pure bytes,
 * no files. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_FRAME_H
#define BP_RUNLOG_FRAME_H

#include "runlog/runlog.h"

#define BP_SEGMENT_MAGIC \
    "\x89"               \
    "BPLOG\r\n"
#define BP_SEGMENT_MAGIC_BYTES 8
#define BP_SEGMENT_HEADER_BYTES 48
#define BP_SEGMENT_HEADER_COPIES 2 /* a single damaged place does not cost a segment */
#define BP_SEGMENT_START (BP_SEGMENT_HEADER_COPIES * BP_SEGMENT_HEADER_BYTES)
#define BP_RUNLOG_MAJOR 1
#define BP_RUNLOG_MINOR 0
/* Incompatible: only what is told of the run spends sequence numbers; a record that keeps the books
 * (bp_runlog_is_data) carries that of the next one that does. */
#define BP_RUNLOG_NUMBERS_DATA 1u
/* Incompatible features that this reader understands; compatible ones need not be. */
#define BP_RUNLOG_KNOWN_INCOMPATIBLE BP_RUNLOG_NUMBERS_DATA
/* Compatible: the segment begins with a rewind record. */
#define BP_RUNLOG_REWINDS 1u
/* Compatible: what a killed run had not yet written; a kill may have cut the segment before. */
#define BP_RUNLOG_SALVAGED 2u

#define BP_FRAME_MAGIC 0x1E627093u /* bytes 93 70 62 1E: not text, not a usual f64 */
#define BP_FRAME_HEADER_BYTES 36
#define BP_FRAME_MAX_PAYLOAD ((uint32_t)64 << 20)
#define BP_RUNLOG_MAX_SEQUENCE ((uint64_t)1 << 62)

/* What salts the header checksums of a segment. */
typedef struct bp_segment_id {
    uint64_t run;
    uint32_t index; /* 1, 2, ... as in the file's name */
} bp_segment_id;

typedef struct bp_segment_header {
    uint16_t major, minor;
    uint32_t compatible, incompatible;
    bp_segment_id id;
    uint64_t first_sequence;
} bp_segment_header;

typedef struct bp_frame {
    uint16_t type; /* bp_runlog_type */
    uint16_t flags;
    uint32_t n_bytes; /* of the payload */
    uint32_t payload_crc;
    uint64_t sequence;
    uint64_t offset; /* of the frame in its segment when it was written */
} bp_frame;

/* Spends sequence numbers under BP_RUNLOG_NUMBERS_DATA. Whether one of a later version does, only
 * the number of what follows it tells. */
static inline bool bp_runlog_is_data(unsigned type) {
    return type != BP_RUNLOG_MODEL && type != BP_RUNLOG_GAP && type != BP_RUNLOG_HEADER &&
           type != BP_RUNLOG_REWIND && type != BP_RUNLOG_THINNED;
}

/* bytes: BP_SEGMENT_HEADER_BYTES of them. */
void bp_segment_header_put(uint8_t *bytes, const bp_segment_header *header);
/* False when it is none or damaged. A header of another version is read as far as all versions
 * agree: magic, version, checksum. */
bool bp_segment_header_get(bp_segment_header *header, const uint8_t *bytes);

/* bytes: BP_FRAME_HEADER_BYTES of them. */
void bp_frame_put(uint8_t *bytes, const bp_frame *frame, bp_segment_id salt);
/* False when the bytes are no frame header of this segment. */
bool bp_frame_get(bp_frame *frame, const uint8_t *bytes, bp_segment_id salt);

#endif
