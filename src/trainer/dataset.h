/* SPDX-License-Identifier: Apache-2.0 */
/* How a data set is made: all memory at once, then filled, then finished. */
#ifndef BP_TRAINER_DATASET_H
#define BP_TRAINER_DATASET_H

#include "base/base.h"
#include <backprobe/train.h>

typedef struct bp_part_memory { /* a part while it is filled */
    bp_real *inputs;            /* [n, units] */
    int32_t *classes;           /* [n]; NULL without */
    bp_real *targets;           /* [n, n_outputs] */
} bp_part_memory;

/* Parts in the order train, validation, test: n[i] samples each. */
BP_MUST_USE bp_status bp_dataset_new(bp_dataset **dataset, bp_part_memory parts[3],
                                     const char *name, const int64_t input_shape[3],
                                     int64_t n_outputs, bool has_classes, const int64_t n[3],
                                     const bp_allocator *allocator, bp_error *error);
/* One-hot targets from the classes, and what is counted over the training part. */
void bp_dataset_finish(bp_dataset *dataset, const bp_part_memory parts[3]);

#endif
