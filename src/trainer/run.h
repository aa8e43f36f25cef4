/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_trainer, for trainer.c and save.c. */
#ifndef BP_TRAINER_RUN_H
#define BP_TRAINER_RUN_H

#include "trainer/batches.h"
#include "trainer/network.h"

struct bp_trainer {
    bp_allocator allocator;
    const bp_model *model;       /* borrowed */
    const bp_dataset *dataset;   /* borrowed */
    const bp_observer *observer; /* borrowed; NULL: nobody listens */
    bp_recipe recipe;
    bp_ranks ranks; /* n_ranks 1: alone, without functions */
    bp_batches batches;
    bp_network network;
    int64_t steps_done;
};

#endif
