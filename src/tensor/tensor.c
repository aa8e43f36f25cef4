/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and element formats. */
#include "tensor/tensor.h"

#include <string.h>

bp_tensor bp_tensor_matrix(const void *data, bp_dtype dtype, int64_t rows, int64_t columns) {
    bp_tensor tensor = {.data = data, .dtype = dtype, .ndim = columns ? 2 : 1};
    tensor.shape[0] = rows;
    tensor.stride[0] = columns ? columns : 1;
    if (columns) {
        tensor.shape[1] = columns;
        tensor.stride[1] = 1;
    }
    return tensor;
}

int64_t bp_tensor_count(const bp_tensor *tensor) {
    if (tensor->ndim < 0 || tensor->ndim > BP_TENSOR_MAX_NDIM) return 0;
    for (int32_t i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] <= 0) return 0;
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->ndim; i++)
        if (__builtin_mul_overflow(count, tensor->shape[i], &count)) return INT64_MAX;
    return count;
}

size_t bp_dtype_bytes(bp_dtype dtype) {
    switch (dtype) {
    case BP_F64:
        return 8;
    case BP_F32:
        return 4;
    case BP_F16:
    case BP_BF16:
        return 2;
    }
    return 0;
}

int bp_dtype_precision(bp_dtype dtype) {
    switch (dtype) {
    case BP_F64:
        return 53;
    case BP_F32:
        return 24;
    case BP_F16:
        return 11;
    case BP_BF16:
        return 8;
    }
    return 0;
}

const char *bp_dtype_name(bp_dtype dtype) {
    switch (dtype) {
    case BP_F64:
        return "f64";
    case BP_F32:
        return "f32";
    case BP_F16:
        return "f16";
    case BP_BF16:
        return "bf16";
    }
    return "unknown";
}

bool bp_tensor_is_contiguous(const bp_tensor *tensor) {
    if (bp_tensor_count(tensor) == 0) return true;
    int64_t expected = 1;
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        /* The stride of a dimension with one element is never used. */
        if (tensor->shape[i] > 1 && tensor->stride[i] != expected) return false;
        if (__builtin_mul_overflow(expected, tensor->shape[i], &expected)) return false;
    }
    return true;
}

static float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* By integers: a host that flushes subnormals to zero must not change what is read. */
float bp_f16_to_f32(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = bits >> 10 & 0x1fu, mantissa = bits & 0x3ffu;
    if (exponent == 0x1f) return float_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        if (mantissa == 0) return float_from_bits(sign);
        /* f16's subnormals are normal in f32: move the leading bit to its place. */
        uint32_t shift = (uint32_t)__builtin_clz(mantissa) - 21;
        mantissa = mantissa << shift & 0x3ffu;
        exponent = 1 - shift;
    }
    return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

float bp_bf16_to_f32(uint16_t bits) {
    return float_from_bits((uint32_t)bits << 16);
}
