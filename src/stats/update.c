/* SPDX-License-Identifier: Apache-2.0 */
/* What an optimiser's update did to one parameter. */
#include "base/vectorised.h"
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/kernels/kernel.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct update_lanes {
    double squares[BP_LANES];
    double product[BP_LANES];
} update_lanes;

static inline float f32_at(const uint8_t *elements, size_t i) {
    float value;
    memcpy(&value, elements + i * sizeof value, sizeof value);
    return value;
}

/* n: a multiple of the lanes. False, and nothing done, where a value is not finite. The same as
 * add_each, in loops that become vectors. */
BP_VECTORISED static bool add_finite(bp_update_stats *stats, update_lanes *lanes, size_t n,
                                     const uint8_t *gradient, const uint8_t *before,
                                     const uint8_t *after) {
    int32_t bad[BP_LANES] = {0}, stalled[BP_LANES] = {0};
    update_lanes sums = *lanes;
    for (size_t i = 0; i < n; i += BP_LANES)
        for (size_t j = 0; j < BP_LANES; j++) {
            const float g = f32_at(gradient, i + j);
            const float old = f32_at(before, i + j), new = f32_at(after, i + j);
            int32_t old_bits, new_bits;
            memcpy(&old_bits, &old, sizeof old);
            memcpy(&new_bits, &new, sizeof new);
            bad[j] |= !(fabsf(old) <= FLT_MAX) | !(fabsf(new) <= FLT_MAX) | !(fabsf(g) <= FLT_MAX);
            stalled[j] += (g != 0) & (old_bits == new_bits);
            const double change = (double)new - (double)old;
            sums.squares[j] += change * change;
            sums.product[j] += (double)g * change;
        }
    for (int j = 1; j < BP_LANES; j++) {
        bad[0] |= bad[j];
        stalled[0] += stalled[j];
    }
    if (bad[0]) return false;
    stats->stalled += (uint64_t)stalled[0];
    *lanes = sums;
    return true;
}

static void add_each(bp_update_stats *stats, update_lanes *lanes, size_t n, const double *gradient,
                     const double *before, const double *after) {
    for (size_t i = 0; i < n; i++) {
        /* Bits, not values: an update from +0 to -0 moved something. */
        if (gradient[i] != 0 && memcmp(&before[i], &after[i], sizeof before[i]) == 0)
            stats->stalled++;
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

BP_GUARDED void add_update(bp_update_stats *stats, const bp_tensor *gradient,
                           const bp_tensor *before, const bp_tensor *after) {
    const bp_tensor *tensors[3] = {gradient, before, after};
    bp_blocks blocks[3];
    bool is_f32 = true;
    for (int t = 0; t < 3; t++) {
        bp_blocks_init(&blocks[t], tensors[t]);
        if (blocks[t].remaining != blocks[0].remaining) return;
        is_f32 &= tensors[t]->dtype == BP_F32;
    }
    stats->count += blocks[0].remaining;
    update_lanes lanes = {.squares = {0}};
    bp_block buffers[3];
    const void *at[3];
    double values[3][BP_BLOCK_ELEMENTS];
    while (blocks[0].remaining) {
        size_t n = 0;
        for (int t = 0; t < 3; t++)
            n = bp_blocks_next(&blocks[t], &buffers[t], BP_BLOCK_ELEMENTS, &at[t]);
        if (is_f32 && n % BP_LANES == 0 && add_finite(stats, &lanes, n, at[0], at[1], at[2]))
            continue;
        for (int t = 0; t < 3; t++) bp_block_to_f64(tensors[t]->dtype, at[t], n, values[t]);
        add_each(stats, &lanes, n, values[0], values[1], values[2]);
    }
    stats->sum_squares_change += bp_lanes_total(lanes.squares);
    stats->effect -= bp_lanes_total(lanes.product);
}

void bp_update_stats_add(bp_update_stats *stats, const bp_tensor *gradient, const bp_tensor *before,
                         const bp_tensor *after) {
    bp_float_guard guard = bp_float_guard_enter();
    add_update(stats, gradient, before, after);
    bp_float_guard_leave(&guard);
}
