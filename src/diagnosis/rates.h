/* SPDX-License-Identifier: Apache-2.0 */
/* Size and direction of updates: learning rate too high or too low, updates that stall, layers that
 * are updated at very different rates. */
#ifndef BP_DIAGNOSIS_RATES_H
#define BP_DIAGNOSIS_RATES_H

#include "diagnosis/diagnosis.h"

typedef struct bp_rates {
    uint64_t n_records; /* seen so far */
} bp_rates;

#endif
