/* SPDX-License-Identifier: Apache-2.0 */
/* NPZ: a zip archive of NPY files, stored or deflated. Found by the central directory, whose sizes
 * and checksum must be right; zip64 where a number does not fit. */
#include "formats/array.h"
#include "formats/utf8.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { END_BYTES = 22, ENTRY_BYTES = 46, LOCAL_BYTES = 30, LOCATOR_BYTES = 20, END64_BYTES = 56 };
enum { ZIP64 = 1, OTHER_NAME = 0x7075 }; /* extra fields */
enum { ENCRYPTED = 1, PATCH = 0x20, STRONGLY_ENCRYPTED = 0x40, UTF8_NAME = 0x800 }; /* flags */
#define MAX_VERSION 63 /* of the zip format, times 10 */
#define MAX_COMMENT 65535
#define MAX_ENTRIES 100000

typedef struct member {
    const char *name;
    size_t name_bytes;
    uint16_t flags, method;
    uint32_t crc;
    uint64_t packed, plain, place; /* bytes in the archive, bytes unpacked, local header */
} member;

typedef struct archive {
    const uint8_t *bytes;
    size_t n_bytes;
    uint64_t n_entries, directory, directory_bytes;
    bp_error *error;
} archive;

static bp_status refuse(const archive *a, const char *what) {
    return bp_fail(a->error, BP_ERROR_INPUT, "the NPZ archive is damaged: %s", what);
}

static bool is_signature(const uint8_t *bytes, uint8_t third, uint8_t fourth) {
    return bytes[0] == 'P' && bytes[1] == 'K' && bytes[2] == third && bytes[3] == fourth;
}

/* With a zip64 record, the numbers are there; moves *end to its begin. */
static bool read_end64(archive *a, size_t *end) {
    if (*end < LOCATOR_BYTES) return true;
    const uint8_t *locator = a->bytes + *end - LOCATOR_BYTES;
    if (!is_signature(locator, 6, 7)) return true;
    if (*end < LOCATOR_BYTES + END64_BYTES) return false;
    *end -= LOCATOR_BYTES + END64_BYTES;
    const uint8_t *record = a->bytes + *end;
    if (bp_get_u32(locator + 4) != 0 || bp_get_u64(locator + 8) != *end ||
        bp_get_u32(locator + 16) > 1 || !is_signature(record, 6, 6))
        return false;
    a->n_entries = bp_get_u64(record + 32);
    a->directory_bytes = bp_get_u64(record + 40);
    a->directory = bp_get_u64(record + 48);
    return true;
}

/* The last signature counts, as it does for Python's zipfile; what it says must be right. */
static bool find_end(const archive *a, size_t *end) {
    const size_t reach = END_BYTES + MAX_COMMENT;
    for (size_t back = 4; back <= a->n_bytes && back <= reach; back++) {
        const uint8_t *record = a->bytes + a->n_bytes - back;
        if (!is_signature(record, 5, 6)) continue;
        *end = a->n_bytes - back;
        return back >= END_BYTES && bp_get_u16(record + 20) == back - END_BYTES;
    }
    return false;
}

static bp_status find_directory(archive *a) {
    size_t end;
    if (!find_end(a, &end)) return refuse(a, "it has no directory at its end");
    const uint8_t *record = a->bytes + end;
    a->n_entries = bp_get_u16(record + 10);
    a->directory_bytes = bp_get_u32(record + 12);
    a->directory = bp_get_u32(record + 16);
    if (!read_end64(a, &end)) return refuse(a, "its zip64 record");
    if (a->n_entries > MAX_ENTRIES || a->directory > end ||
        a->directory_bytes != end - a->directory)
        return refuse(a, "its directory does not lie before its end");
    return BP_OK;
}

/* Sizes of a member that do not fit stand in its zip64 field, in this order. */
static bool read_extra(member *m, const uint8_t *extra, size_t n_bytes) {
    uint64_t *wanted[3];
    size_t n = 0;
    if (m->plain == UINT32_MAX) wanted[n++] = &m->plain;
    if (m->packed == UINT32_MAX) wanted[n++] = &m->packed;
    if (m->place == UINT32_MAX) wanted[n++] = &m->place;
    for (size_t at = 0; n_bytes - at >= 4;) {
        const unsigned what = bp_get_u16(extra + at);
        const size_t size = bp_get_u16(extra + at + 2);
        if (size > n_bytes - at - 4 || what == OTHER_NAME) return false;
        if (what == ZIP64) {
            if (size < 8 * n) return false;
            for (size_t i = 0; i < n; i++) *wanted[i] = bp_get_u64(extra + at + 4 + 8 * i);
            n = 0;
        }
        at += 4 + size;
    }
    return n == 0;
}

/* As Python has it: a name with the UTF-8 flag must be UTF-8, in all entries. */
static bool name_is_text(const member *m) {
    const uint8_t *name = (const uint8_t *)m->name;
    for (size_t at = 0, n; (m->flags & UTF8_NAME) && at < m->name_bytes; at += n) {
        n = bp_utf8_length(name + at, m->name_bytes - at);
        if (n == 0) return false;
    }
    return true;
}

/* The entry at *at of the directory; moves *at behind it. */
static bool read_entry(const archive *a, uint64_t *at, member *m) {
    const uint64_t end = a->directory + a->directory_bytes;
    if (end - *at < ENTRY_BYTES) return false;
    const uint8_t *entry = a->bytes + *at;
    if (!is_signature(entry, 1, 2) || entry[6] > MAX_VERSION) return false;
    const size_t name = bp_get_u16(entry + 28), extra = bp_get_u16(entry + 30);
    const size_t whole = ENTRY_BYTES + name + extra + bp_get_u16(entry + 32);
    if (end - *at < whole) return false;
    *m = (member){.name = (const char *)entry + ENTRY_BYTES,
                  .name_bytes = name,
                  .flags = bp_get_u16(entry + 8),
                  .method = bp_get_u16(entry + 10),
                  .crc = bp_get_u32(entry + 16),
                  .packed = bp_get_u32(entry + 20),
                  .plain = bp_get_u32(entry + 24),
                  .place = bp_get_u32(entry + 42)};
    *at += whole;
    return name_is_text(m) && read_extra(m, entry + ENTRY_BYTES + name, extra);
}

static bool has_name(const member *m, const char *name) {
    const size_t n = strlen(name);
    return m->name_bytes == n + 4 && memcmp(m->name, name, n) == 0 &&
           memcmp(m->name + n, ".npy", 4) == 0;
}

static bp_status find_member(const archive *a, const char *name, member *found) {
    uint64_t at = a->directory;
    bool any = false;
    for (uint64_t i = 0; i < a->n_entries; i++) {
        member m;
        if (!read_entry(a, &at, &m)) return refuse(a, "an entry of its directory");
        if (!has_name(&m, name)) continue;
        if (any) return refuse(a, "two arrays have the wanted name");
        any = true;
        *found = m;
    }
    if (at != a->directory + a->directory_bytes) return refuse(a, "its directory has more entries");
    if (any) return BP_OK;
    return bp_fail(a->error, BP_ERROR_INPUT, "the NPZ archive has no array '%.100s'", name);
}

/* No other member begins in these bytes. */
static bool is_alone(const archive *a, uint64_t begin, uint64_t end) {
    uint64_t at = a->directory;
    int n = 0;
    for (uint64_t i = 0; i < a->n_entries; i++) {
        member m;
        if (!read_entry(a, &at, &m)) return false;
        n += m.place >= begin && m.place < end;
    }
    return n == 1;
}

/* Its bytes in the archive. */
static bp_status locate(const archive *a, const member *m, const uint8_t **data) {
    if (m->flags & (ENCRYPTED | PATCH | STRONGLY_ENCRYPTED))
        return refuse(a, "the array is encrypted or patched");
    if (m->place > a->n_bytes || a->n_bytes - m->place < LOCAL_BYTES)
        return refuse(a, "a local header lies outside of it");
    const uint8_t *local = a->bytes + m->place;
    if (!is_signature(local, 3, 4)) return refuse(a, "a local header");
    const uint64_t name_bytes = bp_get_u16(local + 26);
    const uint64_t start = m->place + LOCAL_BYTES + name_bytes + bp_get_u16(local + 28);
    if (start > a->directory || m->packed > a->directory - start)
        return refuse(a, "an array lies outside of it");
    if (!is_alone(a, m->place, start + m->packed)) return refuse(a, "arrays overlap");
    if (name_bytes != m->name_bytes || memcmp(local + LOCAL_BYTES, m->name, m->name_bytes) != 0)
        return refuse(a, "directory and local header name different files");
    *data = a->bytes + start;
    return BP_OK;
}

static bool crc_is(uint32_t wanted, const uint8_t *bytes, size_t n_bytes) {
    uLong crc = crc32(0, NULL, 0);
    while (n_bytes > 0) {
        const size_t n = n_bytes < ((size_t)1 << 30) ? n_bytes : (size_t)1 << 30;
        crc = crc32(crc, bytes, (uInt)n);
        bytes += n;
        n_bytes -= n;
    }
    return crc == wanted;
}

static bp_status unpack(const archive *a, const member *m, const uint8_t *data,
                        const bp_allocator *allocator, uint8_t **plain, bp_error *error) {
    size_t n_plain = (size_t)m->plain;
    if (m->plain > BP_ARRAY_MAX_BYTES)
        return bp_fail(error, BP_ERROR_LIMIT, "an array of %llu bytes, the limit is %zu",
                       (unsigned long long)m->plain, BP_ARRAY_MAX_BYTES);
    if (m->method == 8) {
        const bp_status status = bp_inflate(BP_DEFLATE_RAW, data, (size_t)m->packed, n_plain + 1,
                                            allocator, plain, &n_plain, error);
        if (status != BP_OK) return status;
    } else {
        if (m->method != 0) return refuse(a, "a method other than stored and deflated");
        if (m->packed != m->plain) return refuse(a, "a stored array with two sizes");
        *plain = bp_allocate(allocator, n_plain + 1, 1);
        if (!*plain) return bp_fail(error, BP_ERROR_MEMORY, "no memory for an array");
        memcpy(*plain, data, n_plain);
    }
    if (n_plain == m->plain && crc_is(m->crc, *plain, n_plain)) return BP_OK;
    bp_release(allocator, *plain, n_plain + 1, 1);
    return refuse(a, "an array's size or checksum is not that of the directory");
}

bp_status bp_npz_read(bp_array *array, const uint8_t *bytes, size_t n_bytes, const char *name,
                      const bp_allocator *allocator, bp_error *error) {
    archive a = {.bytes = bytes, .n_bytes = n_bytes, .error = error};
    member m = {.name = NULL};
    const uint8_t *data = NULL;
    uint8_t *plain = NULL;
    allocator = bp_allocator_or_system(allocator);
    bp_status status = find_directory(&a);
    if (status == BP_OK) status = find_member(&a, name, &m);
    if (status == BP_OK) status = locate(&a, &m, &data);
    if (status == BP_OK) status = unpack(&a, &m, data, allocator, &plain, error);
    if (status != BP_OK) return status;
    bp_array read = {.allocator = *allocator};
    status = bp_npy_read(&read, plain, (size_t)m.plain, error);
    if (status != BP_OK) {
        bp_release(allocator, plain, (size_t)m.plain + 1, 1);
        return status;
    }
    read.owned = plain;
    read.n_owned = (size_t)m.plain;
    *array = read;
    return BP_OK;
}
