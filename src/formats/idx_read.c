/* SPDX-License-Identifier: Apache-2.0 */
/* IDX (LeCun's MNIST files): 00 00 type ndim, ndim sizes as u32be, then big-endian elements. */
#include "formats/array.h"

static const struct {
    uint8_t code;
    bp_number_type type;
    int32_t n_bytes;
} types[] = {{0x08, BP_NUMBER_UNSIGNED, 1}, {0x09, BP_NUMBER_SIGNED, 1},
             {0x0B, BP_NUMBER_SIGNED, 2},   {0x0C, BP_NUMBER_SIGNED, 4},
             {0x0D, BP_NUMBER_FLOAT, 4},    {0x0E, BP_NUMBER_FLOAT, 8}};

static bool set_type(bp_array *array, uint8_t code) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].code != code) continue;
        array->type = types[i].type;
        array->element_bytes = types[i].n_bytes;
        return true;
    }
    return false;
}

static int64_t size_at(const uint8_t *bytes) {
    return (int64_t)((uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
                     bytes[3]);
}

bp_status bp_idx_read(bp_array *array, const uint8_t *bytes, size_t n_bytes, bp_error *error) {
    bp_array read = {.allocator = array->allocator, .big_endian = true};
    if (n_bytes < 4 || bytes[0] != 0 || bytes[1] != 0)
        return bp_fail(error, BP_ERROR_INPUT, "expected an IDX file, which begins with 00 00");
    if (!set_type(&read, bytes[2]))
        return bp_fail(error, BP_ERROR_INPUT, "byte 2: unknown IDX type 0x%02x", bytes[2]);
    read.ndim = bytes[3];
    if (read.ndim < 1 || read.ndim > BP_TENSOR_MAX_NDIM)
        return bp_fail(error, BP_ERROR_INPUT, "byte 3: %d dimensions, expected 1 to %d", read.ndim,
                       BP_TENSOR_MAX_NDIM);
    const size_t start = 4 + 4 * (size_t)read.ndim;
    if (n_bytes < start)
        return bp_fail(error, BP_ERROR_INPUT, "the header of %zu bytes is cut after %zu", start,
                       n_bytes);
    for (int32_t i = 0; i < read.ndim; i++) read.shape[i] = size_at(bytes + 4 + 4 * i);
    if (!bp_array_count(&read) ||
        (uint64_t)read.count * (uint64_t)read.element_bytes != n_bytes - start)
        return bp_fail(error, BP_ERROR_INPUT,
                       "the sizes in the header do not give the %zu bytes of data that follow",
                       n_bytes - start);
    read.data = bytes + start;
    *array = read;
    return BP_OK;
}
