/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong before the first step, or with what the optimiser was given: data, targets, last
 * layer, parameters that get no gradient. */
#ifndef BP_DIAGNOSIS_SETUP_H
#define BP_DIAGNOSIS_SETUP_H

#include "diagnosis/diagnosis.h"

typedef struct bp_setup {
    uint64_t n_records; /* seen so far */
} bp_setup;

#endif
