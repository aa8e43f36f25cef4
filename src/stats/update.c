/* SPDX-License-Identifier: Apache-2.0 */
/* What an optimiser's update did to one parameter. */
#include "base/vectorised.h"
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/kernels/wide.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define IN_PLACE_ELEMENTS ((size_t)4096) /* a multiple of the lanes: little is done twice */

/* --- f32 in whole rounds ---------------------------------------------------------------------- */

BP_VECTORISED static bool all_finite(const double lanes[BP_LANES]) {
    int64_t bad = 0;
    for (int i = 0; i < BP_LANES; i++) bad |= !(fabs(lanes[i]) <= DBL_MAX);
    return !bad;
}

/* n: a multiple of the lanes. False where a value is not finite: it shows in the sums. The same as
 * add_each. */
static bool add_finite(bp_wide_add_update *add, bp_update_lanes *after,
                       const bp_update_lanes *before, size_t n, const void *const at[3]) {
    add(after, before, n, at[0], at[1], at[2]);
    return all_finite(after->squares) && all_finite(after->product);
}

/* A format's values as f32, which holds them all; other bits stay other bits. */
BP_VECTORISED static void f16_to_f32(const uint8_t *at, size_t n, float *values) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, at + i * sizeof half, sizeof half);
        const uint32_t magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
        const uint32_t infinite = magnitude >= 0x7c00 ? UINT32_C(0x38000000) : 0;
        const uint32_t normal = (magnitude << 13) + UINT32_C(0x38000000) + infinite;
        const float small = (float)(int32_t)magnitude * 0x1p-24f; /* exact; 0 and subnormals */
        uint32_t small_bits;
        memcpy(&small_bits, &small, sizeof small_bits);
        const uint32_t bits = (magnitude < 0x0400 ? small_bits : normal) | sign;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

BP_VECTORISED static void bf16_to_f32(const uint8_t *at, size_t n, float *values) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, at + i * sizeof half, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

static const void *as_f32(bp_dtype dtype, const void *elements, size_t n, float *values) {
    if (dtype == BP_F32) return elements;
    (dtype == BP_F16 ? f16_to_f32 : bf16_to_f32)(elements, n, values);
    return values;
}

/* --- one by one ------------------------------------------------------------------------------- */

static void add_each(bp_update_stats *stats, bp_update_lanes *lanes, size_t n,
                     const double *gradient, const double *before, const double *after) {
    for (size_t i = 0; i < n; i++) {
        /* Bits, not values: an update from +0 to -0 moved something. */
        if (gradient[i] != 0 && memcmp(&before[i], &after[i], sizeof before[i]) == 0)
            lanes->stalled++;
        if (!isfinite(before[i])) continue;
        if (!isfinite(after[i])) {
            stats->made_non_finite++;
            continue;
        }
        double change = after[i] - before[i];
        lanes->squares[i % BP_LANES] += change * change;
        if (isfinite(gradient[i])) lanes->product[i % BP_LANES] += gradient[i] * change;
    }
}

/* --- a tensor --------------------------------------------------------------------------------- */

static void add_block(bp_update_stats *stats, bp_update_lanes *lanes, size_t n,
                      const bp_tensor *const tensors[3], const void *const at[3]) {
    double values[3][BP_BLOCK_ELEMENTS];
    for (size_t done = 0, some; done < n; done += some) {
        some = n - done < BP_BLOCK_ELEMENTS ? n - done : BP_BLOCK_ELEMENTS;
        for (size_t t = 0; t < 3; t++) {
            const size_t skipped = done * bp_dtype_bytes(tensors[t]->dtype);
            bp_block_to_f64(tensors[t]->dtype, (const uint8_t *)at[t] + skipped, some, values[t]);
        }
        add_each(stats, lanes, some, values[0], values[1], values[2]);
    }
}

BP_GUARDED void add_update(bp_update_stats *stats, const bp_tensor *gradient,
                           const bp_tensor *before, const bp_tensor *after) {
    const bp_tensor *const tensors[3] = {gradient, before, after};
    bp_blocks blocks[3];
    bool is_narrow = true, in_place = true;
    for (int t = 0; t < 3; t++) {
        bp_blocks_init(&blocks[t], tensors[t]);
        if (blocks[t].remaining != blocks[0].remaining) return;
        is_narrow &= tensors[t]->dtype != BP_F64;
        in_place &= tensors[t]->dtype == BP_F32 && blocks[t].contiguous;
    }
    stats->count += blocks[0].remaining;
    const size_t limit = in_place ? IN_PLACE_ELEMENTS : BP_BLOCK_ELEMENTS;
    bp_wide_add_update *add = bp_wide_of_cpu()->update;
    bp_update_lanes both[2] = {{.stalled = 0}}, *lanes = &both[0], *next = &both[1];
    bp_block buffers[3];
    float values[3][BP_BLOCK_ELEMENTS];
    const void *at[3], *narrow[3];
    while (blocks[0].remaining) {
        size_t n = 0;
        for (int t = 0; t < 3; t++) n = bp_blocks_next(&blocks[t], &buffers[t], limit, &at[t]);
        const size_t whole = n - n % BP_LANES;
        for (int t = 0; t < 3 && is_narrow; t++)
            narrow[t] = as_f32(tensors[t]->dtype, at[t], whole, values[t]);
        if (is_narrow && add_finite(add, next, lanes, whole, narrow)) {
            bp_update_lanes *const done = next;
            next = lanes;
            lanes = done;
            for (int t = 0; t < 3; t++)
                at[t] = (const uint8_t *)at[t] + whole * blocks[t].element_bytes;
            n -= whole;
        }
        add_block(stats, lanes, n, tensors, at);
    }
    stats->stalled += lanes->stalled;
    stats->sum_squares_change += bp_lanes_total(lanes->squares);
    stats->effect -= bp_lanes_total(lanes->product);
}

void bp_update_stats_add(bp_update_stats *stats, const bp_tensor *gradient, const bp_tensor *before,
                         const bp_tensor *after) {
    bp_float_guard guard = bp_float_guard_enter();
    add_update(stats, gradient, before, after);
    bp_float_guard_leave(&guard);
}
