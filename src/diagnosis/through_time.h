/* SPDX-License-Identifier: Apache-2.0 */
/* vanishing-gradient of another kind: through time, inside a recurrent layer. */
#ifndef BP_DIAGNOSIS_THROUGH_TIME_H
#define BP_DIAGNOSIS_THROUGH_TIME_H

#include "diagnosis/diagnosis.h"

typedef struct bp_through_time {
    uint64_t n_records; /* seen so far */
} bp_through_time;

#endif
