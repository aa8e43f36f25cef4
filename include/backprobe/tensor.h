/* SPDX-License-Identifier: Apache-2.0 */
/* A view of numbers in someone else's memory. It owns nothing. */
#ifndef BACKPROBE_TENSOR_H
#define BACKPROBE_TENSOR_H

#include <backprobe/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BP_TENSOR_MAX_NDIM 8

/* Pinned numbers. */
typedef enum bp_dtype { BP_F32 = 1, BP_F64 = 2, BP_F16 = 3, BP_BF16 = 4 } bp_dtype;

typedef struct bp_tensor {
    const void *data; /* borrowed for the call that it is given to; may be NULL when empty */
    bp_dtype dtype;
    int32_t ndim;                       /* 0 is a scalar */
    int64_t shape[BP_TENSOR_MAX_NDIM];  /* elements, >= 0 */
    int64_t stride[BP_TENSOR_MAX_NDIM]; /* elements, may be 0 or negative */
} bp_tensor;

/* A contiguous (row-major) view; columns 0 makes a vector of `rows` elements. */
BP_API bp_tensor bp_tensor_matrix(const void *data, bp_dtype dtype, int64_t rows, int64_t columns);

/* Number of elements; 0 when a dimension is 0. */
BP_API int64_t bp_tensor_count(const bp_tensor *tensor);

/* Bytes of one element; 0 for an unknown dtype. */
BP_API size_t bp_dtype_bytes(bp_dtype dtype);

/* Bits of a normal number's significand, the hidden one too: 53, 24, 11 (f16), 8 (bf16); 0 for an
 * unknown dtype. */
BP_API int bp_dtype_precision(bp_dtype dtype);

/* "f32"; static, never NULL. */
BP_API const char *bp_dtype_name(bp_dtype dtype);

#ifdef __cplusplus
}
#endif
#endif
