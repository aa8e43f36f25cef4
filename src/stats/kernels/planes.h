/* SPDX-License-Identifier: Apache-2.0 */
/* Counts of elements by octave, 32 (f32) or 64 (f64) octaves at once: an element becomes one bit,
 * exponent mod 32 or 64, in its lane; vectors of such bits are added as columns of binary numbers,
 * lowest digits in plane 0. So a count costs two operations a vector, whatever the octaves are. All
 * elements since the last flush lie in one window of 32 or 64 exponents: then a bit says which. */
#ifndef BP_STATS_KERNELS_PLANES_H
#define BP_STATS_KERNELS_PLANES_H

#include "stats/kernels/kernel.h"

#include <stdbool.h>

#define BP_PLANES 24 /* digits: a flush every 2^24 vectors */

typedef struct bp_planes {
    int32_t low;      /* exponent field where the window begins */
    int32_t depth;    /* planes that are in use; the others are not even written */
    uint64_t vectors; /* added since the last flush; below 2^depth */
    _Alignas(64) uint8_t plane[BP_PLANES][64];
} bp_planes;

static inline void bp_planes_init(bp_planes *planes) {
    planes->low = 1;
    planes->depth = 0;
    planes->vectors = 0;
}

/* Makes room for as many vectors; false where a flush must come first. */
static inline bool bp_planes_grow(bp_planes *planes, uint64_t vectors) {
    planes->vectors += vectors;
    while (planes->vectors >> planes->depth) {
        if (planes->depth == BP_PLANES) {
            planes->vectors -= vectors;
            return false;
        }
        memset(planes->plane[planes->depth++], 0, sizeof planes->plane[0]);
    }
    return true;
}

/* Where a window that holds the exponents from low to high begins: most of the room lies below,
 * where tails are long. No exponent field of a normal number is 0. */
static inline int32_t bp_planes_window(int32_t low, int32_t high, int32_t width) {
    const int32_t room = width - 1 - (high - low), begin = low - (room - room / 4);
    return begin > 1 ? begin : 1;
}

/* Which exponent of the window a bit means. */
static inline int32_t bp_planes_exponent(int32_t low, int32_t bit, int32_t width) {
    return low + ((bit - low) & (width - 1));
}

#endif
