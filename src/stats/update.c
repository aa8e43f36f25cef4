/* SPDX-License-Identifier: Apache-2.0 */
/* What an optimiser's update did to one parameter. */
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/kernels/kernel.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

typedef struct update_lanes {
    double squares[BP_LANES];
    double product[BP_LANES];
} update_lanes;

static void add_block(bp_update_stats *stats, update_lanes *lanes, size_t n, const double *gradient,
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
    double values[3][BP_BLOCK_ELEMENTS];
    bp_blocks blocks[3];
    bp_blocks_init(&blocks[0], gradient);
    bp_blocks_init(&blocks[1], before);
    bp_blocks_init(&blocks[2], after);
    uint64_t count = blocks[0].remaining;
    if (blocks[1].remaining != count || blocks[2].remaining != count) return;
    stats->count += count;
    update_lanes lanes = {.squares = {0}};
    size_t n;
    while ((n = bp_blocks_next_f64(&blocks[0], values[0])) > 0) {
        bp_blocks_next_f64(&blocks[1], values[1]);
        bp_blocks_next_f64(&blocks[2], values[2]);
        add_block(stats, &lanes, n, values[0], values[1], values[2]);
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
