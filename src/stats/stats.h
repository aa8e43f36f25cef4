/* SPDX-License-Identifier: Apache-2.0 */
/* Room stats: one pass over a tensor gives a mergeable summary. kernels/ holds one file per CPU
 * level. Knows no layer and no step. Called by watch. */
#ifndef BP_STATS_STATS_H
#define BP_STATS_STATS_H

#include "tensor/tensor.h"
#include <backprobe/stats.h>

/* Empties an initialised histogram; cheap where few octaves are in use. */
void bp_exponents_clear(bp_exponents *exponents);

/* Three tensors of one shape. Adds to *stats (zero it first), so that the parameters of a layer add
 * up. Same lane rule as the summary. */
void bp_update_stats_add(bp_update_stats *stats, const bp_tensor *gradient, const bp_tensor *before,
                         const bp_tensor *after);

/* Where a tensor pointed last, seen at a few fixed places of it: all elements where there are no
 * more than BP_DIRECTION_PLACES. Over many independent elements a cosine is off by 0.06. */
#define BP_DIRECTION_PLACES 256

typedef struct bp_direction {
    uint64_t count, n; /* elements of the tensor, places */
    double *numbers;   /* [n]: what stood there last, scaled; borrowed */
    size_t capacity;   /* a tensor that needs more has no direction */
    bool held;
} bp_direction;

/* Of numbers that a tensor of `count` elements takes. */
size_t bp_direction_numbers(uint64_t count);
/* numbers: borrowed as long as the direction is used. */
void bp_direction_init(bp_direction *direction, double *numbers, size_t n_numbers);
/* Remembers the tensor, borrowed for the call, of any dtype and any strides. The cosine of it and
 * the last one; false, and *cosine untouched, where there is none of the same size, or one of them
 * is 0. Pairs with a value that is not finite are left out. */
bool bp_direction_turn(bp_direction *direction, const bp_tensor *tensor, double *cosine);

#endif
