/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BP_TESTS_FUZZ_ARRAY_PROPERTY_H
#define BP_TESTS_FUZZ_ARRAY_PROPERTY_H

#include "formats/array.h"
#include "property.h"

/* The elements lie within the bytes, are as many as the shape says, and can be read. */
static inline void check_array(const bp_array *array, const uint8_t *bytes, size_t n_bytes) {
    int64_t count = 1;
    PROPERTY(array->ndim >= 0 && array->ndim <= BP_TENSOR_MAX_NDIM);
    for (int32_t i = 0; i < array->ndim; i++) {
        PROPERTY(array->shape[i] >= 0);
        count *= array->count == 0 ? 1 : array->shape[i];
    }
    PROPERTY(array->count == 0 || array->count == count);
    PROPERTY(array->data >= bytes && array->data <= bytes + n_bytes);
    const uint64_t left = n_bytes - (size_t)(array->data - bytes);
    PROPERTY((uint64_t)array->count <= left / (uint64_t)array->element_bytes);
    double sum = 0;
    for (int64_t i = 0; i < array->count; i++) sum += bp_array_get(array, i);
    volatile double seen = sum; /* else nothing need be read */
    (void)seen;
}

#endif
