/* SPDX-License-Identifier: Apache-2.0 */
/* Units that no longer take part: dead ones (never active) and saturated ones (their phi' is 0). */
#ifndef BP_DIAGNOSIS_UNITS_H
#define BP_DIAGNOSIS_UNITS_H

#include "diagnosis/diagnosis.h"

typedef struct bp_units {
    uint64_t n_records; /* seen so far */
} bp_units;

#endif
