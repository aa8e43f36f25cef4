/* SPDX-License-Identifier: Apache-2.0 */
/* Units that are copies of each other: weights that begin all equal, or all zero, get equal
 * gradients and stay equal. */
#ifndef BP_DIAGNOSIS_SYMMETRY_H
#define BP_DIAGNOSIS_SYMMETRY_H

#include "diagnosis/diagnosis.h"

typedef struct bp_symmetry {
    uint64_t n_records; /* seen so far */
} bp_symmetry;

#endif
