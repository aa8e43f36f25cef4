/* SPDX-License-Identifier: Apache-2.0 */
/* Run logs of any size, made without a training run. */
#ifndef BP_BENCH_SYNTHETIC_H
#define BP_BENCH_SYNTHETIC_H

#include "record/record.h"

typedef struct synthetic_log {
    const char *folder;
    uint32_t n_layers;
    int64_t n_steps;
    const bp_quantity *quantities; /* of each layer, at each step */
    size_t n_quantities;
} synthetic_log;

/* Writes its segments. Exits with a message when it cannot. Returns their bytes. */
uint64_t synthetic_write(const synthetic_log *log);
/* What it says of a layer at a step, before it is coded. */
double synthetic_value(int64_t step, uint32_t layer, size_t quantity);

#endif
