/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the loss over steps: spikes, oscillation, plateaus, slow convergence, underfitting;
 * a constant output. */
#ifndef BP_DIAGNOSIS_LOSS_SHAPE_H
#define BP_DIAGNOSIS_LOSS_SHAPE_H

#include "diagnosis/diagnosis.h"

typedef struct bp_loss_shape {
    uint64_t n_records; /* seen so far */
} bp_loss_shape;

#endif
