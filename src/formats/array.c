/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/array.h"
#include "tensor/tensor.h"

#include <string.h>

bool bp_array_count(bp_array *array) {
    int64_t bound = 1; /* without the sizes that are 0: numpy refuses (0, 2**62), too */
    bool empty = false;
    for (int32_t i = 0; i < array->ndim; i++) {
        const int64_t n = array->shape[i];
        if (n < 0 || (n > 0 && bound > INT64_MAX / 16 / n)) return false;
        if (n == 0) empty = true;
        if (n > 0) bound *= n;
    }
    array->count = empty ? 0 : bound;
    return true;
}

static bp_status read_by_magic(bp_array *array, const uint8_t *bytes, size_t n_bytes,
                               const char *name, bp_error *error) {
    const bool zip =
        n_bytes >= 4 && (memcmp(bytes, "PK\3\4", 4) == 0 || memcmp(bytes, "PK\5\6", 4) == 0);
    if (zip && !name)
        return bp_fail(error, BP_ERROR_INPUT,
                       "an archive of arrays (NPZ), but none of them is named");
    if (zip) return bp_npz_read(array, bytes, n_bytes, name, &array->allocator, error);
    if (name)
        return bp_fail(error, BP_ERROR_INPUT,
                       "expected an archive of arrays (NPZ), which begins with PK");
    if (n_bytes >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0)
        return bp_npy_read(array, bytes, n_bytes, error);
    if (n_bytes >= 2 && bytes[0] == 0 && bytes[1] == 0)
        return bp_idx_read(array, bytes, n_bytes, error);
    return bp_fail(error, BP_ERROR_INPUT,
                   "expected IDX (00 00), gzip (1f 8b), NPY (93 NUMPY) or NPZ (PK), found other "
                   "first bytes");
}

static void drop(bp_array *array) {
    bp_release(&array->allocator, array->owned, array->n_owned + 1, 1);
    array->owned = NULL;
    array->n_owned = 0;
}

static bp_status unpack(bp_array *array, bp_error *error) {
    uint8_t *plain;
    size_t n_plain;
    if (array->n_owned < 2 || array->owned[0] != 0x1f || array->owned[1] != 0x8b) return BP_OK;
    const bp_status status =
        bp_inflate(BP_DEFLATE_GZIP, array->owned, array->n_owned, BP_ARRAY_MAX_BYTES,
                   &array->allocator, &plain, &n_plain, error);
    if (status != BP_OK) return status;
    drop(array);
    array->owned = plain;
    array->n_owned = n_plain;
    return BP_OK;
}

/* The parts that a reader fills in; memory stays. */
static bp_status read_owned(bp_array *array, const char *name, bp_error *error) {
    bp_array read = {.allocator = array->allocator};
    bp_status status = read_by_magic(&read, array->owned, array->n_owned, name, error);
    if (status != BP_OK) return status;
    if (read.owned) { /* decompressed from the archive, which is of no more use */
        drop(array);
    } else {
        read.owned = array->owned;
        read.n_owned = array->n_owned;
    }
    *array = read;
    return BP_OK;
}

bp_status bp_array_open(bp_array *array, const bp_io *io, const char *path, const char *name,
                        const bp_allocator *allocator, bp_error *error) {
    bp_error reason = {.status = BP_OK};
    *array = (bp_array){.allocator = *bp_allocator_or_system(allocator)};
    bp_status status = bp_io_read_file(io, path, BP_ARRAY_MAX_BYTES, &array->allocator,
                                       &array->owned, &array->n_owned, error);
    if (status != BP_OK) return status;
    status = unpack(array, &reason);
    if (status == BP_OK) status = read_owned(array, name, &reason);
    if (status == BP_OK) return BP_OK;
    bp_array_finish(array);
    return bp_fail(error, status, "%.300s: %s", path, reason.text);
}

void bp_array_finish(bp_array *array) {
    drop(array);
}

/* --- elements --------------------------------------------------------------------------------- */

static uint64_t bits_of(const bp_array *array, const uint8_t *at) {
    uint64_t bits = 0;
    for (int32_t i = 0; i < array->element_bytes; i++)
        bits = bits << 8 | at[array->big_endian ? i : array->element_bytes - 1 - i];
    return bits;
}

static double float_of(uint64_t bits, int32_t n_bytes) {
    if (n_bytes == 2) return (double)bp_f16_to_f32((uint16_t)bits);
    if (n_bytes == 4) {
        const uint32_t narrow = (uint32_t)bits;
        float value;
        memcpy(&value, &narrow, sizeof value);
        return (double)value;
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The place of an element, counted in C order, where the first index runs fastest. */
static int64_t fortran_place(const bp_array *array, int64_t index) {
    int64_t place = 0, step = array->count;
    for (int32_t i = array->ndim; i-- > 0;) {
        step /= array->shape[i];
        place += index % array->shape[i] * step;
        index /= array->shape[i];
    }
    return place;
}

double bp_array_get(const bp_array *array, int64_t index) {
    if (array->fortran_order) index = fortran_place(array, index);
    const uint8_t *at = array->data + index * array->element_bytes;
    if (array->type == BP_NUMBER_BOOL) return *at != 0;
    if (array->element_bytes == 1 && array->type == BP_NUMBER_UNSIGNED) return *at;
    const uint64_t bits = bits_of(array, at);
    if (array->type == BP_NUMBER_FLOAT) return float_of(bits, array->element_bytes);
    if (array->type == BP_NUMBER_UNSIGNED) return (double)bits;
    const unsigned unused = 64 - 8 * (unsigned)array->element_bytes;
    return (double)((int64_t)(bits << unused) >> unused);
}
