/* SPDX-License-Identifier: Apache-2.0 */
/* Walks a strided tensor. */
#include "stats/blocks.h"
#include "base/vectorised.h"

#include <string.h>

uint64_t bp_readable_count(const bp_tensor *tensor) {
    if (!tensor->data || bp_dtype_bytes(tensor->dtype) == 0) return 0;
    return (uint64_t)bp_tensor_count(tensor);
}

void bp_blocks_init(bp_blocks *blocks, const bp_tensor *tensor) {
    *blocks = (bp_blocks){.tensor = tensor,
                          .remaining = bp_readable_count(tensor),
                          .element_bytes = bp_dtype_bytes(tensor->dtype),
                          .contiguous = bp_tensor_is_contiguous(tensor),
                          .next = tensor->data};
}

static void copy_row(uint8_t *to, const uint8_t *from, size_t n, size_t size, ptrdiff_t stride) {
    if (stride == (ptrdiff_t)size) {
        memcpy(to, from, n * size);
        return;
    }
    /* A constant size becomes one load and one store. */
    switch (size) {
    case 2:
        for (size_t i = 0; i < n; i++) memcpy(to + 2 * i, from + (ptrdiff_t)i * stride, 2);
        break;
    case 4:
        for (size_t i = 0; i < n; i++) memcpy(to + 4 * i, from + (ptrdiff_t)i * stride, 4);
        break;
    default:
        for (size_t i = 0; i < n; i++) memcpy(to + 8 * i, from + (ptrdiff_t)i * stride, 8);
    }
}

/* Steps over n elements of the innermost dimension and carries into the outer ones. */
static void advance(bp_blocks *blocks, int64_t n) {
    const bp_tensor *tensor = blocks->tensor;
    int32_t dimension = tensor->ndim - 1;
    int64_t offset = 0; /* in elements */
    if (dimension >= 0) {
        blocks->index[dimension] += n;
        offset = n * tensor->stride[dimension];
    }
    for (; dimension > 0 && blocks->index[dimension] == tensor->shape[dimension]; dimension--) {
        blocks->index[dimension] = 0;
        blocks->index[dimension - 1]++;
        offset +=
            tensor->stride[dimension - 1] - tensor->shape[dimension] * tensor->stride[dimension];
    }
    /* Past the last element there is no valid place to point to. */
    if (blocks->remaining) blocks->next += offset * (int64_t)blocks->element_bytes;
}

static size_t gather(bp_blocks *blocks, uint8_t *bytes, size_t limit) {
    const bp_tensor *tensor = blocks->tensor;
    size_t done = 0, size = blocks->element_bytes;
    int32_t last = tensor->ndim - 1;
    while (done < limit && blocks->remaining > 0) {
        int64_t row = last < 0 ? 1 : tensor->shape[last] - blocks->index[last];
        ptrdiff_t stride = last < 0 ? 0 : (ptrdiff_t)(tensor->stride[last] * (int64_t)size);
        size_t n = limit - done;
        if ((uint64_t)row < n) n = (size_t)row;
        if (blocks->remaining < n) n = (size_t)blocks->remaining;
        copy_row(bytes + done * size, blocks->next, n, size, stride);
        blocks->remaining -= n;
        done += n;
        advance(blocks, (int64_t)n);
    }
    return done;
}

size_t bp_blocks_next_row(bp_blocks *blocks, bp_block *buffer, const void **elements) {
    const bp_tensor *tensor = blocks->tensor;
    const int32_t last = tensor->ndim - 1;
    /* Every row before it had a multiple of 16, too: this one begins at lane 0. */
    if (last < 0 || tensor->stride[last] != 1 || tensor->shape[last] % 16 != 0 ||
        tensor->shape[last] < BP_BLOCK_ELEMENTS || blocks->remaining == 0)
        return bp_blocks_next(blocks, buffer, SIZE_MAX, elements);
    const size_t n = (size_t)tensor->shape[last];
    *elements = blocks->next;
    blocks->remaining -= n;
    advance(blocks, (int64_t)n);
    return n;
}

size_t bp_blocks_next(bp_blocks *blocks, bp_block *buffer, size_t limit, const void **elements) {
    if (!blocks->contiguous) {
        *elements = buffer->bytes;
        return gather(blocks, buffer->bytes, limit < BP_BLOCK_ELEMENTS ? limit : BP_BLOCK_ELEMENTS);
    }
    size_t n = blocks->remaining < limit ? (size_t)blocks->remaining : limit;
    *elements = blocks->next;
    blocks->remaining -= n;
    if (n) blocks->next += n * blocks->element_bytes;
    return n;
}

/* --- as f64 ----------------------------------------------------------------------------------- */

BP_VECTORISED static void f32_to_f64(const uint8_t *at, size_t n, double *values) {
    for (size_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, at + i * sizeof value, sizeof value);
        values[i] = (double)value;
    }
}

void bp_block_to_f64(bp_dtype dtype, const void *elements, size_t n, double *values) {
    const uint8_t *at = elements;
    switch (dtype) {
    case BP_F64:
        if (n) memcpy(values, at, n * sizeof *values);
        return;
    case BP_F32:
        f32_to_f64(at, n, values);
        return;
    case BP_F16:
    case BP_BF16:
        for (size_t i = 0; i < n; i++) {
            uint16_t bits;
            memcpy(&bits, at + i * sizeof bits, sizeof bits);
            values[i] = (double)(dtype == BP_F16 ? bp_f16_to_f32(bits) : bp_bf16_to_f32(bits));
        }
        return;
    }
}

size_t bp_blocks_next_f64(bp_blocks *blocks, double values[BP_BLOCK_ELEMENTS]) {
    bp_block buffer;
    const void *elements;
    const size_t n = bp_blocks_next(blocks, &buffer, BP_BLOCK_ELEMENTS, &elements);
    bp_block_to_f64(blocks->tensor->dtype, elements, n, values);
    return n;
}
