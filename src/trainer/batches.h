/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which samples are learnt: a fresh permutation each epoch, cut into batches. */
#ifndef BP_TRAINER_BATCHES_H
#define BP_TRAINER_BATCHES_H

#include "trainer/arena.h"
#include <backprobe/train.h>

typedef struct bp_batches {
    const bp_dataset *dataset; /* borrowed */
    int64_t size, epoch_steps, units;
    uint64_t seed;
    int64_t epoch;   /* that order is of; -1 before the first */
    uint32_t *order; /* [train.n] */
    bp_real *inputs; /* the gathered batch: [size, units] */
    int32_t *classes;
    bp_real *targets;
    bp_arena arena;
} bp_batches;

/* Steps of an epoch. With batch norm a last batch of one sample, which has no variance, is left
 * out; shuffling makes it another sample each epoch. */
int64_t bp_epoch_steps(int64_t samples, int64_t batch, bool has_batch_norm);

BP_MUST_USE bp_status bp_batches_open(bp_batches *batches, const bp_dataset *dataset,
                                      const bp_recipe *recipe, const bp_allocator *allocator,
                                      bp_error *error);
void bp_batches_close(bp_batches *batches, const bp_allocator *allocator);
/* Gathers the batch of a step; a part of `size` samples or less, valid until the next call. */
bp_part bp_batches_gather(bp_batches *batches, int64_t step);

#endif
