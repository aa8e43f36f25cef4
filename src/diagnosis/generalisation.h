/* SPDX-License-Identifier: Apache-2.0 */
/* What the validation set says: overfitting, overconfidence, memorising. */
#ifndef BP_DIAGNOSIS_GENERALISATION_H
#define BP_DIAGNOSIS_GENERALISATION_H

#include "diagnosis/diagnosis.h"

typedef struct bp_generalisation {
    uint64_t n_records; /* seen so far */
} bp_generalisation;

#endif
