/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/frame.h"

#include <string.h>

enum { HEADER_CRC_AT = BP_SEGMENT_HEADER_BYTES - 4, FRAME_CRC_AT = BP_FRAME_HEADER_BYTES - 4 };

void bp_segment_header_put(uint8_t *bytes, const bp_segment_header *header) {
    memcpy(bytes, BP_SEGMENT_MAGIC, BP_SEGMENT_MAGIC_BYTES);
    bp_put_u16(bytes + 8, header->major);
    bp_put_u16(bytes + 10, header->minor);
    bp_put_u32(bytes + 12, header->compatible);
    bp_put_u32(bytes + 16, header->incompatible);
    bp_put_u32(bytes + 20, header->id.index);
    bp_put_u64(bytes + 24, header->id.run);
    bp_put_u64(bytes + 32, header->first_sequence);
    bp_put_u32(bytes + 40, 0);
    bp_put_u32(bytes + HEADER_CRC_AT, bp_crc32c(0, bytes, HEADER_CRC_AT));
}

bool bp_segment_header_get(bp_segment_header *header, const uint8_t *bytes) {
    if (memcmp(bytes, BP_SEGMENT_MAGIC, BP_SEGMENT_MAGIC_BYTES) != 0) return false;
    if (bp_get_u32(bytes + HEADER_CRC_AT) != bp_crc32c(0, bytes, HEADER_CRC_AT)) return false;
    *header = (bp_segment_header){.major = bp_get_u16(bytes + 8),
                                  .minor = bp_get_u16(bytes + 10),
                                  .compatible = bp_get_u32(bytes + 12),
                                  .incompatible = bp_get_u32(bytes + 16),
                                  .id = {bp_get_u64(bytes + 24), bp_get_u32(bytes + 20)},
                                  .first_sequence = bp_get_u64(bytes + 32)};
    return header->major != BP_RUNLOG_MAJOR || header->first_sequence < BP_RUNLOG_MAX_SEQUENCE;
}

/* A frame of another run or segment, say one inside a payload, does not pass for one of this. */
static uint32_t salted_crc(const uint8_t *bytes, bp_segment_id salt) {
    uint8_t id[12];
    bp_put_u64(id, salt.run);
    bp_put_u32(id + 8, salt.index);
    return bp_crc32c(bp_crc32c(0, id, sizeof id), bytes, FRAME_CRC_AT);
}

void bp_frame_put(uint8_t *bytes, const bp_frame *frame, bp_segment_id salt) {
    bp_put_u32(bytes, BP_FRAME_MAGIC);
    bp_put_u16(bytes + 4, frame->type);
    bp_put_u16(bytes + 6, frame->flags);
    bp_put_u32(bytes + 8, frame->n_bytes);
    bp_put_u32(bytes + 12, frame->payload_crc);
    bp_put_u64(bytes + 16, frame->sequence);
    bp_put_u64(bytes + 24, frame->offset);
    bp_put_u32(bytes + FRAME_CRC_AT, salted_crc(bytes, salt));
}

bool bp_frame_get(bp_frame *frame, const uint8_t *bytes, bp_segment_id salt) {
    if (bp_get_u32(bytes) != BP_FRAME_MAGIC) return false;
    if (bp_get_u32(bytes + FRAME_CRC_AT) != salted_crc(bytes, salt)) return false;
    *frame = (bp_frame){.type = bp_get_u16(bytes + 4),
                        .flags = bp_get_u16(bytes + 6),
                        .n_bytes = bp_get_u32(bytes + 8),
                        .payload_crc = bp_get_u32(bytes + 12),
                        .sequence = bp_get_u64(bytes + 16),
                        .offset = bp_get_u64(bytes + 24)};
    return frame->n_bytes <= BP_FRAME_MAX_PAYLOAD && frame->sequence < BP_RUNLOG_MAX_SEQUENCE &&
           frame->offset < (uint64_t)1 << 62;
}
