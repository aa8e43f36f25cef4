/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which samples are learnt: a fresh permutation each epoch, cut into batches. */
#ifndef BP_TRAINER_BATCHES_H
#define BP_TRAINER_BATCHES_H

#include "trainer/arena.h"
#include <backprobe/train.h>

typedef struct bp_batches {
    const bp_dataset *dataset;        /* borrowed */
    int64_t size, epoch_steps, units; /* size: rows of this process at most */
    int32_t rank, n_ranks;
    uint64_t seed;
    int64_t epoch;    /* that order is of; -1 before the first */
    uint32_t *order;  /* [train.n] */
    bp_real *inputs;  /* the gathered batch: [size, units] */
    int32_t *classes; /* NULL: the data have none */
    bool wants_targets;
    bp_real *targets; /* NULL: the loss goes by the classes */
    bp_arena arena;
} bp_batches;

/* This process's part of a step's batch. */
typedef struct bp_share {
    int64_t n;     /* rows; of a short batch some processes may have none */
    int64_t first; /* place of its first row in the whole batch */
    int64_t whole; /* rows of all processes */
} bp_share;

/* Steps of an epoch; batch: rows of all processes. A last batch of fewer rows than `least` is left
 * out: one sample has no variance for batch norm. Shuffling makes it others each epoch. */
int64_t bp_epoch_steps(int64_t samples, int64_t batch, int64_t least);

BP_MUST_USE bp_status bp_batches_open(bp_batches *batches, const bp_dataset *dataset,
                                      const bp_recipe *recipe, const bp_ranks *ranks,
                                      const bp_allocator *allocator, bp_error *error);
void bp_batches_close(bp_batches *batches, const bp_allocator *allocator);
/* Gathers the share of a step's batch; valid until the next call. */
bp_part bp_batches_gather(bp_batches *batches, int64_t step, bp_share *share);

#endif
