/* SPDX-License-Identifier: Apache-2.0 */
/* Small files made by hand, for the tests of readers. */
#ifndef BP_TESTS_FORMATS_FILES_H
#define BP_TESTS_FORMATS_FILES_H

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct made_file {
    uint8_t bytes[4096];
    size_t n;
} made_file;

static inline void put(made_file *file, const void *bytes, size_t n) {
    if (file->n + n > sizeof file->bytes) abort();
    if (n > 0) memcpy(file->bytes + file->n, bytes, n);
    file->n += n;
}

static inline void put_number(made_file *file, uint64_t value, int n_bytes) { /* little-endian */
    for (int i = 0; i < n_bytes; i++) put(file, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static inline made_file make_idx(uint8_t type, int ndim, const uint32_t *sizes, const void *data,
                                 size_t n_data) {
    made_file file = {.n = 0};
    put(&file, (uint8_t[]){0, 0, type, (uint8_t)ndim}, 4);
    for (int i = 0; i < ndim; i++)
        for (int byte = 3; byte >= 0; byte--)
            put(&file, &(uint8_t){(uint8_t)(sizes[i] >> 8 * byte)}, 1);
    put(&file, data, n_data);
    return file;
}

static inline made_file make_npy_of(int major, const char *header, const void *data,
                                    size_t n_data) {
    made_file file = {.n = 0};
    put(&file, "\x93NUMPY", 6);
    put(&file, (uint8_t[]){(uint8_t)major, 0}, 2);
    put_number(&file, strlen(header), major == 1 ? 2 : 4);
    put(&file, header, strlen(header));
    put(&file, data, n_data);
    return file;
}

static inline made_file make_npy(const char *descr, bool fortran, const char *shape,
                                 const void *data, size_t n_data) {
    char header[300];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr,
             fortran ? "True" : "False", shape);
    return make_npy_of(1, header, data, n_data);
}

/* Window bits as zlib has them: 31 gzip, -15 raw. */
static inline made_file deflated(const made_file *plain, int window_bits) {
    made_file packed = {.n = 0};
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)plain->bytes, .avail_in = (uInt)plain->n};
    stream.next_out = packed.bytes;
    stream.avail_out = sizeof packed.bytes;
    if (deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) abort();
    packed.n = stream.total_out;
    deflateEnd(&stream);
    return packed;
}

typedef struct made_member {
    const char *name;
    const made_file *file;
} made_member;

static inline void put_sizes(made_file *zip, const made_member *member, const made_file *packed,
                             int method) {
    put_number(zip, (uint64_t)method, 2);
    put_number(zip, 0x00210000, 4); /* the first of January 1980 */
    put_number(zip, crc32(0, member->file->bytes, (uInt)member->file->n), 4);
    put_number(zip, packed->n, 4);
    put_number(zip, member->file->n, 4);
    put_number(zip, strlen(member->name), 2);
    put_number(zip, 0, 2);
}

/* Method 0 stored, 8 deflated. */
static inline made_file make_npz(int method, const made_member *members, int n) {
    made_file zip = {.n = 0}, directory = {.n = 0};
    for (int i = 0; i < n; i++) {
        const made_file packed = method ? deflated(members[i].file, -15) : *members[i].file;
        const size_t place = zip.n;
        put(&zip, "PK\3\4\x14\0\0\0", 8);
        put_sizes(&zip, &members[i], &packed, method);
        put(&zip, members[i].name, strlen(members[i].name));
        put(&zip, packed.bytes, packed.n);
        put(&directory, "PK\1\2\x14\3\x14\0\0\0", 10);
        put_sizes(&directory, &members[i], &packed, method);
        put(&directory, "\0\0\0\0\0\0\0\0\0", 10); /* no comment, disk 0, no attributes */
        put_number(&directory, place, 4);
        put(&directory, members[i].name, strlen(members[i].name));
    }
    const size_t place = zip.n;
    put(&zip, directory.bytes, directory.n);
    put(&zip, "PK\5\6\0\0\0\0", 8);
    put_number(&zip, (uint64_t)n, 2);
    put_number(&zip, (uint64_t)n, 2);
    put_number(&zip, directory.n, 4);
    put_number(&zip, place, 4);
    put_number(&zip, 0, 2);
    return zip;
}

#endif
