/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a tensor still points where it pointed last. */
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/products.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

_Static_assert(BP_DIRECTION_PLACES <= BP_BLOCK_ELEMENTS, "a block holds them all");

size_t bp_direction_numbers(uint64_t count) {
    return count < BP_DIRECTION_PLACES ? (size_t)count : BP_DIRECTION_PLACES;
}

void bp_direction_init(bp_direction *direction, double *numbers, size_t n_numbers) {
    *direction = (bp_direction){.numbers = numbers, .capacity = n_numbers};
}

#define AT_ONCE 4 /* neighbours: fewer lines of memory are touched */

/* As many stretches as there are groups of neighbours, as even as can be, and in each one
 * somewhere: evenly spread, yet in step with no row length. */
typedef struct stretches {
    uint64_t length, longer; /* so many first ones are longer by one */
} stretches;

static inline uint64_t place_of(const stretches *s, uint64_t k) {
    const uint64_t hash = (k + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return k * s->length + (k < s->longer ? k : s->longer) +
           (hash * (s->length - AT_ONCE + 1) >> 32);
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

/* So many bytes as a constant: then a copy is one instruction. */
#define DEFINE_TAKE(bytes)                                                            \
    static void take_##bytes(uint8_t *out, const uint8_t *data, const stretches *s) { \
        for (uint64_t k = 0; k < BP_DIRECTION_PLACES / AT_ONCE; k++)                  \
            memcpy(out + k * AT_ONCE * (bytes), data + place_of(s, k) * (bytes),      \
                   AT_ONCE * (bytes));                                                \
    }
DEFINE_TAKE(2)
DEFINE_TAKE(4)
DEFINE_TAKE(8)

static void take_strided(uint8_t *out, const bp_tensor *tensor, uint64_t n, const stretches *s) {
    const size_t size = bp_dtype_bytes(tensor->dtype);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t place = s ? place_of(s, i / AT_ONCE) + i % AT_ONCE : i;
        memcpy(out + i * size,
               (const uint8_t *)tensor->data + offset_of(tensor, place) * (int64_t)size, size);
    }
}

/* All elements, or BP_DIRECTION_PLACES of them. */
static void take_places(const bp_tensor *tensor, uint64_t n, double *values) {
    const uint64_t count = (uint64_t)bp_tensor_count(tensor);
    const uint64_t groups = BP_DIRECTION_PLACES / AT_ONCE;
    const stretches s = {count / groups, count % groups};
    const size_t size = bp_dtype_bytes(tensor->dtype);
    const void *elements = tensor->data;
    bp_block block;
    if (!bp_tensor_is_contiguous(tensor))
        take_strided(block.bytes, tensor, n, n < count ? &s : NULL);
    else if (n < count)
        (size == 2 ? take_2 : size == 4 ? take_4 : take_8)(block.bytes, tensor->data, &s);
    if (!bp_tensor_is_contiguous(tensor) || n < count) elements = block.bytes;
    bp_block_to_f64(tensor->dtype, elements, (size_t)n, values);
}

/* The largest magnitude becomes 1 ... 2 where squares would overflow or vanish; those of the other
 * formats are at home in f64. */
static void scale(double *values, uint64_t n) {
    double largest = 0;
    for (uint64_t i = 0; i < n; i++) {
        const double magnitude = fabs(values[i]);
        if (magnitude <= DBL_MAX && magnitude > largest) largest = magnitude;
    }
    if (largest == 0 || (largest > 0x1p-400 && largest < 0x1p400)) return;
    const int exponent = ilogb(largest);
    for (uint64_t i = 0; i < n; i++) values[i] = ldexp(values[i], -exponent);
}

BP_GUARDED bool turn(bp_direction *direction, const bp_tensor *tensor, double *cosine) {
    double values[BP_DIRECTION_PLACES];
    bp_products sums = {.ab = {0}};
    take_places(tensor, direction->n, values);
    if (tensor->dtype == BP_F64) scale(values, direction->n);
    if (direction->held) bp_products_add(&sums, values, direction->numbers, (size_t)direction->n);
    const bool known = direction->held && bp_products_cosine(&sums, cosine);
    memcpy(direction->numbers, values, (size_t)direction->n * sizeof *values);
    direction->held = true;
    return known;
}

bool bp_direction_turn(bp_direction *direction, const bp_tensor *tensor, double *cosine) {
    const uint64_t count = (uint64_t)bp_tensor_count(tensor);
    const bool readable = count > 0 && tensor->data && bp_dtype_bytes(tensor->dtype) > 0;
    const size_t n = bp_direction_numbers(count);
    if (direction->count != count || !readable) direction->held = false;
    if (!readable || n > direction->capacity) return false;
    direction->count = count;
    direction->n = n;
    const bp_float_guard guard = bp_float_guard_enter();
    const bool known = turn(direction, tensor, cosine);
    bp_float_guard_leave(&guard);
    return known;
}
