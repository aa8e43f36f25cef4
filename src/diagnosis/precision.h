/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the number format: underflow, overflow, clipping by a norm that overflowed. */
#ifndef BP_DIAGNOSIS_PRECISION_H
#define BP_DIAGNOSIS_PRECISION_H

#include "diagnosis/diagnosis.h"

typedef struct bp_precision {
    uint64_t n_records; /* seen so far */
} bp_precision;

#endif
