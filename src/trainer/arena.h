/* SPDX-License-Identifier: Apache-2.0 */
/* Many arrays in one block, laid out once. The same code runs twice: over an empty arena it
 * measures, over a full one it hands out. Arrays are aligned to cache lines, so that neither speed
 * nor the order of a BLAS's sums depends on where the block happens to lie. */
#ifndef BP_TRAINER_ARENA_H
#define BP_TRAINER_ARENA_H

#include "base/base.h"

#define BP_ARENA_ALIGNMENT ((size_t)64)
#define BP_ARENA_MAX_BYTES ((int64_t)8 << 30)

typedef struct bp_arena {
    uint8_t *memory; /* NULL while it measures */
    size_t used;
    double wanted; /* bytes; a double, so that no size can overflow it */
    void *block;   /* what was allocated */
    size_t block_bytes;
} bp_arena;

/* rows * columns elements; NULL while it measures. */
void *bp_arena_take(bp_arena *arena, int64_t rows, int64_t columns, size_t size);
/* Ends the measuring and takes the memory, zeroed. `what` begins the sentence when it is too much:
 * "the network needs ...". */
BP_MUST_USE bp_status bp_arena_fill(bp_arena *arena, const char *what,
                                    const bp_allocator *allocator, bp_error *error);
void bp_arena_release(bp_arena *arena, const bp_allocator *allocator);

#endif
