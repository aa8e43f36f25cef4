/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of numbers as files hold them: IDX (plain or gzip), NPY, and NPY in NPZ. Read where they
 * lie, whatever their type, byte order and element order. All sizes are checked against what is
 * there before anything is taken. */
#ifndef BP_FORMATS_ARRAY_H
#define BP_FORMATS_ARRAY_H

#include "base/base.h"
#include "tensor/tensor.h"

#define BP_ARRAY_MAX_BYTES ((size_t)4 << 30) /* of a file, and of what is decompressed from it */

typedef enum bp_number_type {
    BP_NUMBER_UNSIGNED,
    BP_NUMBER_SIGNED,
    BP_NUMBER_FLOAT,
    BP_NUMBER_BOOL
} bp_number_type;

typedef struct bp_array {
    const uint8_t *data; /* count elements */
    bp_number_type type;
    int32_t element_bytes; /* 1, 2, 4 or 8 */
    bool big_endian;
    bool fortran_order; /* the first index runs fastest */
    int32_t ndim;
    int64_t shape[BP_TENSOR_MAX_NDIM], count;
    bp_allocator allocator;
    uint8_t *owned; /* what data points into; NULL when it is the caller's */
    size_t n_owned;
} bp_array;

/* Over bytes in memory, borrowed while the array is used. */
BP_MUST_USE bp_status bp_idx_read(bp_array *array, const uint8_t *bytes, size_t n_bytes,
                                  bp_error *error);
BP_MUST_USE bp_status bp_npy_read(bp_array *array, const uint8_t *bytes, size_t n_bytes,
                                  bp_error *error);
/* The array of that name ("X", a file X.npy in the archive); decompressed into memory of its own.
 */
BP_MUST_USE bp_status bp_npz_read(bp_array *array, const uint8_t *bytes, size_t n_bytes,
                                  const char *name, const bp_allocator *allocator, bp_error *error);

/* A file by its first bytes: IDX, gzip of IDX, NPY or NPZ (then with the name of an array in it,
 * else NULL). The error begins with the path. */
BP_MUST_USE bp_status bp_array_open(bp_array *array, const bp_io *io, const char *path,
                                    const char *name, const bp_allocator *allocator,
                                    bp_error *error);
void bp_array_finish(bp_array *array);

/* Element 0 ... count - 1, counted with the last index fastest, as a double (64-bit integers are
 * rounded to one). */
double bp_array_get(const bp_array *array, int64_t index);

/* --- inflate.c ----------------------------------------------------------------------------------
 */

typedef enum bp_deflate_form { BP_DEFLATE_RAW, BP_DEFLATE_GZIP } bp_deflate_form;
/* Decompresses all of the input into a block of *n_out bytes, released with bp_release(allocator,
 * *out, *n_out + 1, 1). Fails above `limit` bytes, and where the stream does not end with the
 * input. */
BP_MUST_USE bp_status bp_inflate(bp_deflate_form form, const uint8_t *bytes, size_t n_bytes,
                                 size_t limit, const bp_allocator *allocator, uint8_t **out,
                                 size_t *n_out, bp_error *error);

/* Multiplies the shape out into count; false when it overflows or an element count is negative. */
bool bp_array_count(bp_array *array);

#endif
