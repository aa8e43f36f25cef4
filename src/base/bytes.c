/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in a fixed order: little-endian numbers, a bounded writer and a bounded cursor. */
#include "base/base.h"

#include <string.h>

void bp_put_u16(uint8_t *bytes, uint16_t value) {
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

void bp_put_u32(uint8_t *bytes, uint32_t value) {
    bp_put_u16(bytes, (uint16_t)value);
    bp_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

void bp_put_u64(uint8_t *bytes, uint64_t value) {
    bp_put_u32(bytes, (uint32_t)value);
    bp_put_u32(bytes + 4, (uint32_t)(value >> 32));
}

uint16_t bp_get_u16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

uint32_t bp_get_u32(const uint8_t *bytes) {
    return bp_get_u16(bytes) | (uint32_t)bp_get_u16(bytes + 2) << 16;
}

uint64_t bp_get_u64(const uint8_t *bytes) {
    return bp_get_u32(bytes) | (uint64_t)bp_get_u32(bytes + 4) << 32;
}

void bp_writer_init(bp_writer *writer, void *bytes, size_t capacity) {
    *writer = (bp_writer){.bytes = bytes, .capacity = capacity};
}

void bp_write_bytes(bp_writer *writer, const void *bytes, size_t n_bytes) {
    if (writer->cut || n_bytes > writer->capacity - writer->length) {
        writer->cut = true;
        return;
    }
    if (n_bytes) memcpy(writer->bytes + writer->length, bytes, n_bytes);
    writer->length += n_bytes;
}

void bp_write_u8(bp_writer *writer, uint8_t value) {
    bp_write_bytes(writer, &value, 1);
}

void bp_write_u16(bp_writer *writer, uint16_t value) {
    uint8_t bytes[2];
    bp_put_u16(bytes, value);
    bp_write_bytes(writer, bytes, sizeof bytes);
}

void bp_write_u32(bp_writer *writer, uint32_t value) {
    uint8_t bytes[4];
    bp_put_u32(bytes, value);
    bp_write_bytes(writer, bytes, sizeof bytes);
}

void bp_write_u64(bp_writer *writer, uint64_t value) {
    uint8_t bytes[8];
    bp_put_u64(bytes, value);
    bp_write_bytes(writer, bytes, sizeof bytes);
}

void bp_write_f64(bp_writer *writer, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bp_write_u64(writer, bits);
}

void bp_write_varint(bp_writer *writer, uint64_t value) {
    uint8_t bytes[10];
    size_t n_bytes = 0;
    for (; value >= 0x80; value >>= 7) bytes[n_bytes++] = (uint8_t)(value | 0x80);
    bytes[n_bytes++] = (uint8_t)value;
    bp_write_bytes(writer, bytes, n_bytes);
}

void bp_write_text(bp_writer *writer, const char *text) {
    size_t n_bytes = text ? strlen(text) : 0;
    bp_write_varint(writer, n_bytes);
    bp_write_bytes(writer, text, n_bytes);
}

void bp_cursor_init(bp_cursor *cursor, const void *bytes, size_t n_bytes) {
    *cursor = (bp_cursor){.bytes = bytes, .length = n_bytes};
}

const uint8_t *bp_read_bytes(bp_cursor *cursor, size_t n_bytes) {
    if (cursor->bad || n_bytes > cursor->length - cursor->position) {
        cursor->bad = true;
        return NULL;
    }
    const uint8_t *at = cursor->bytes + cursor->position;
    cursor->position += n_bytes;
    return at;
}

uint8_t bp_read_u8(bp_cursor *cursor) {
    const uint8_t *at = bp_read_bytes(cursor, 1);
    return at ? *at : 0;
}

uint16_t bp_read_u16(bp_cursor *cursor) {
    const uint8_t *at = bp_read_bytes(cursor, 2);
    return at ? bp_get_u16(at) : 0;
}

uint32_t bp_read_u32(bp_cursor *cursor) {
    const uint8_t *at = bp_read_bytes(cursor, 4);
    return at ? bp_get_u32(at) : 0;
}

uint64_t bp_read_u64(bp_cursor *cursor) {
    const uint8_t *at = bp_read_bytes(cursor, 8);
    return at ? bp_get_u64(at) : 0;
}

double bp_read_f64(bp_cursor *cursor) {
    uint64_t bits = bp_read_u64(cursor);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint64_t bp_read_varint(bp_cursor *cursor) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        const uint8_t *at = bp_read_bytes(cursor, 1);
        if (!at) return 0;
        if (shift == 63 && *at > 1) break; /* beyond 64 bits */
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (*at < 0x80) return value;
    }
    cursor->bad = true;
    return 0;
}

void bp_read_text(bp_cursor *cursor, char *text, size_t limit) {
    if (limit == 0) {
        cursor->bad = true;
        return;
    }
    text[0] = '\0';
    uint64_t n_bytes = bp_read_varint(cursor);
    if (n_bytes >= limit) cursor->bad = true;
    const uint8_t *at = bp_read_bytes(cursor, (size_t)n_bytes);
    if (!at) return;
    if (n_bytes && memchr(at, 0, (size_t)n_bytes)) {
        cursor->bad = true;
        return;
    }
    if (n_bytes) memcpy(text, at, (size_t)n_bytes);
    text[n_bytes] = '\0';
}
