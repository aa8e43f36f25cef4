/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor of any strides as contiguous blocks in row-major order. */
#ifndef BP_STATS_BLOCKS_H
#define BP_STATS_BLOCKS_H

#include "tensor/tensor.h"

/* A multiple of the 16 lanes, so that every block but the last fills them all. */
#define BP_BLOCK_ELEMENTS 512

typedef struct bp_block {
    _Alignas(64) uint8_t bytes[BP_BLOCK_ELEMENTS * sizeof(double)];
} bp_block;

typedef struct bp_blocks {
    const bp_tensor *tensor; /* borrowed */
    uint64_t remaining;
    size_t element_bytes;
    bool contiguous;
    const uint8_t *next;
    int64_t index[BP_TENSOR_MAX_NDIM];
} bp_blocks;

/* Elements; 0 where there is no data or the format is unknown. */
uint64_t bp_readable_count(const bp_tensor *tensor);

void bp_blocks_init(bp_blocks *blocks, const bp_tensor *tensor);
/* The next at most `limit` elements (a multiple of 16): a pointer into the tensor where it is
 * contiguous, else gathered into *buffer, at most BP_BLOCK_ELEMENTS. Returns their number, 0 at the
 * end. */
size_t bp_blocks_next(bp_blocks *blocks, bp_block *buffer, size_t limit, const void **elements);
/* The same without a limit, and without gathering where long rows lie without gaps. */
size_t bp_blocks_next_row(bp_blocks *blocks, bp_block *buffer, const void **elements);
/* n elements as f64. */
void bp_block_to_f64(bp_dtype dtype, const void *elements, size_t n, double *values);
/* The next at most BP_BLOCK_ELEMENTS elements as f64. */
size_t bp_blocks_next_f64(bp_blocks *blocks, double values[BP_BLOCK_ELEMENTS]);

#endif
