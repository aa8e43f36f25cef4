/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a tensor still points where it pointed last. */
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/kernels/kernel.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

size_t bp_direction_numbers(uint64_t count) {
    return count < BP_DIRECTION_PLACES ? (size_t)count : BP_DIRECTION_PLACES;
}

void bp_direction_init(bp_direction *direction, double *numbers, size_t n_numbers) {
    *direction = (bp_direction){.numbers = numbers, .capacity = n_numbers};
}

/* As many equal stretches as there are places, and in each one somewhere: evenly spread, yet in
 * step with no row length. */
static uint64_t place_of(uint64_t k, uint64_t n, uint64_t count) {
    if (n == count) return k;
    const uint64_t hash = (k + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return (uint64_t)((wide)(k << 32 | hash) * count / n >> 32);
}

/* Elements in front of it in memory. */
static int64_t offset_of(const bp_tensor *tensor, uint64_t place) {
    int64_t offset = 0;
    for (int32_t d = tensor->ndim - 1; d >= 0; d--) {
        const uint64_t size = (uint64_t)tensor->shape[d];
        offset += (int64_t)(place % size) * tensor->stride[d];
        place /= size;
    }
    return offset;
}

static void take_places(const bp_tensor *tensor, uint64_t n, double *values) {
    const size_t size = bp_dtype_bytes(tensor->dtype);
    const uint64_t count = (uint64_t)bp_tensor_count(tensor);
    const bool contiguous = bp_tensor_is_contiguous(tensor);
    bp_block block;
    for (uint64_t first = 0; first < n; first += BP_BLOCK_ELEMENTS) {
        const size_t some = n - first < BP_BLOCK_ELEMENTS ? (size_t)(n - first) : BP_BLOCK_ELEMENTS;
        for (size_t i = 0; i < some; i++) {
            const uint64_t place = place_of(first + i, n, count);
            const int64_t offset = contiguous ? (int64_t)place : offset_of(tensor, place);
            memcpy(block.bytes + i * size, (const uint8_t *)tensor->data + offset * (int64_t)size,
                   size);
        }
        bp_block_to_f64(tensor->dtype, block.bytes, some, values + first);
    }
}

/* The largest magnitude becomes 1 ... 2, so that no square overflows or vanishes that matters. */
static void scale(double *values, uint64_t n) {
    double largest = 0;
    for (uint64_t i = 0; i < n; i++)
        if (fabs(values[i]) <= DBL_MAX) largest = fmax(largest, fabs(values[i]));
    if (largest == 0 || (largest > 0x1p-400 && largest < 0x1p400)) return;
    const int exponent = ilogb(largest);
    for (uint64_t i = 0; i < n; i++) values[i] = ldexp(values[i], -exponent);
}

/* Pairs of which one is not finite are left out. */
static bool cosine_of(const double *a, const double *b, uint64_t n, double *cosine) {
    double ab[BP_LANES] = {0}, aa[BP_LANES] = {0}, bb[BP_LANES] = {0};
    for (uint64_t i = 0; i < n; i++) {
        if (!(fabs(a[i]) <= DBL_MAX && fabs(b[i]) <= DBL_MAX)) continue;
        ab[i % BP_LANES] += a[i] * b[i];
        aa[i % BP_LANES] += a[i] * a[i];
        bb[i % BP_LANES] += b[i] * b[i];
    }
    const double lengths = sqrt(bp_lanes_total(aa)) * sqrt(bp_lanes_total(bb));
    if (!(lengths > 0)) return false;
    *cosine = fmin(fmax(bp_lanes_total(ab) / lengths, -1), 1);
    return true;
}

BP_GUARDED bool turn(bp_direction *direction, const bp_tensor *tensor, double *cosine) {
    double values[BP_DIRECTION_PLACES];
    take_places(tensor, direction->n, values);
    scale(values, direction->n);
    const bool known =
        direction->held && cosine_of(values, direction->numbers, direction->n, cosine);
    memcpy(direction->numbers, values, (size_t)direction->n * sizeof *values);
    direction->held = true;
    return known;
}

bool bp_direction_turn(bp_direction *direction, const bp_tensor *tensor, double *cosine) {
    const uint64_t count = (uint64_t)bp_tensor_count(tensor);
    const bool readable = count > 0 && tensor->data && bp_dtype_bytes(tensor->dtype) > 0;
    if (direction->count != count || !readable) direction->held = false;
    if (!readable || direction->capacity == 0) return false;
    direction->count = count;
    direction->n = count < direction->capacity ? count : direction->capacity;
    const bp_float_guard guard = bp_float_guard_enter();
    const bool known = turn(direction, tensor, cosine);
    bp_float_guard_leave(&guard);
    return known;
}
