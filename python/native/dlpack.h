/* SPDX-License-Identifier: Apache-2.0 */
/* What is needed of DLPack (https://dmlc.github.io/dlpack, version 1): how array libraries tell
 * each other where their numbers lie, and the table of C functions that such a library hangs on its
 * array type. The layouts are theirs and pinned by the major version. */
#ifndef BP_NATIVE_DLPACK_H
#define BP_NATIVE_DLPACK_H

#include <stdint.h>

#define DLPACK_MAJOR 1
#define DLPACK_TABLE_ATTRIBUTE "__dlpack_c_exchange_api__"
#define DLPACK_TABLE_CAPSULE "dlpack_exchange_api"
#define DLPACK_CAPSULE "dltensor"

enum { DLPACK_CPU = 1, DLPACK_CUDA_HOST = 3, DLPACK_ROCM_HOST = 11 }; /* memory that we can read */
enum {
    DLPACK_INT = 0,
    DLPACK_UINT = 1,
    DLPACK_FLOAT = 2,
    DLPACK_BFLOAT = 4,
    DLPACK_COMPLEX = 5,
    DLPACK_BOOL = 6,
    DLPACK_FLOAT8_FIRST = 7 /* from here on: floats of 8 and fewer bits */
};

typedef struct dlpack_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape;
    int64_t *strides; /* elements; NULL: row-major */
    uint64_t byte_offset;
} dlpack_tensor;

/* 0, or -1 with a Python exception. What it fills in is borrowed from the Python object. */
typedef int dlpack_read(void *object, dlpack_tensor *out);

typedef struct dlpack_table {
    struct {
        uint32_t major, minor;
    } version;
    void *older; /* a table of an older version */
    void *allocate, *managed_from_object, *managed_to_object;
    dlpack_read *tensor_from_object; /* may be NULL */
    void *current_stream;
} dlpack_table;

#endif
