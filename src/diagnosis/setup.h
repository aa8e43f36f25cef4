/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong before the first step, or with what the optimiser was given: data, targets, last
 * layer, parameters that get no gradient. */
#ifndef BP_DIAGNOSIS_SETUP_H
#define BP_DIAGNOSIS_SETUP_H

#include "diagnosis/diagnosis.h"

/* A layer whose trained parameters get nothing from the loss. */
typedef struct bp_no_gradient {
    uint32_t n_missing; /* records in a row, up to now, without a gradient */
    uint32_t n_zero;    /* ... with one that is exactly 0 */
    int64_t since;      /* the first of the row */
    bool had_gradient;  /* it has had one before */
    bool was_used;      /* it was seen in the forward pass */
} bp_no_gradient;

typedef struct bp_setup {
    double target_min, target_max;                   /* of all batches so far; NaN: none was told */
    double input_rms, input_variation, input_scales; /* the first that were told; NaN before */
    double start_loss; /* the largest of the first few; NaN before the first */
    int64_t first_step;
    uint64_t n_records;
    double silent_share;   /* of records lately: a unit of the last layer was not active once ... */
    uint32_t n_silent;     /* ... over so many of them */
    bp_no_gradient *layer; /* [n_layers + 1] */
    double n_parameters;   /* that are trained, over all layers */
} bp_setup;

/* What the values of a layer's activation lie between; false where there is no limit. */
bool bp_activation_range(const bp_layer *layer, double *low, double *high);
/* The lowest loss that logits between the limits of an activation can reach; NaN: any. */
double bp_loss_floor(const bp_diagnosis *d, const bp_layer *last);

#endif
