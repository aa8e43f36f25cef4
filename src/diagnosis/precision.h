/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the number format: underflow, overflow, clipping by a norm that overflowed. */
#ifndef BP_DIAGNOSIS_PRECISION_H
#define BP_DIAGNOSIS_PRECISION_H

#include "diagnosis/diagnosis.h"

typedef struct bp_layer_precision {
    uint64_t low;          /* a bit a record, the newest is bit 0: most of it is below the format */
    double tiny;           /* share of what came to it that is subnormal, as told last */
    double activation_max; /* largest finite magnitude in the record before */
    bool is_lost;          /* the error signal is 0 here and was nearly that one layer later */
} bp_layer_precision;

/* Steps at which something went wrong, among those at which it could be seen. */
typedef struct bp_mishaps {
    uint64_t recent[2]; /* a bit a record, the newest is bit 0 of [0] */
    uint32_t n_seen;    /* records in it, up to 128 */
    uint32_t n_in_a_row;
    uint64_t n_total;
    int64_t first_step, last_step;
    int64_t row_step; /* where the row up to now began */
} bp_mishaps;

typedef struct bp_precision {
    bp_layer_precision *layer; /* [n_layers + 1] */
    bp_mishaps clipped, skipped;
    double unclipped;          /* the norm that zeroed the gradients */
    uint64_t underflow, depth; /* a bit a record: much is below; layers have lost all */
    uint32_t n_underflow;      /* records in them, up to 64 */
    int64_t underflow_below;   /* the last record in which not much was; -1: none */
    int64_t underflow_above;   /* the record after it */
    uint32_t lost_layer;       /* the last one that gets nothing any more; 0: none */
    uint32_t overflow_layer;
    const char *overflow_place; /* static; NULL: steps were skipped */
    double largest;             /* finite magnitude there */
    double loss_scale;          /* as told last; NaN: never */
} bp_precision;

#endif
