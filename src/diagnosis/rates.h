/* SPDX-License-Identifier: Apache-2.0 */
/* Size and direction of updates: learning rate too high or too low, updates that stall, layers that
 * are updated at very different rates. */
#ifndef BP_DIAGNOSIS_RATES_H
#define BP_DIAGNOSIS_RATES_H

#include "diagnosis/diagnosis.h"

#define BP_RATES_MEMORY 64 /* records of the running means */

/* Running means over about so many records in which the learning rate was settled. */
typedef struct bp_layer_rate {
    float log_ratio; /* ln of rms(update) / rms(weight), norm or not */
    float cosine;    /* of the gradient and the last one */
    float stalled;   /* share of records in which more than half of the weights did not move */
    uint16_t n_ratio, n_cosine, n_stalled;
    uint16_t precision; /* significand bits of the weights; 0: not told */
} bp_layer_rate;

/* A long step, and the loss that it threw away. */
typedef struct bp_throw {
    int64_t step;       /* of the update; -1: none */
    double ratio, loss; /* its size, and the largest loss soon after */
    double before;      /* the loss that had been reached; NaN: it began so */
    uint32_t layer;
    uint64_t record; /* full records until then */
    bool by_batch;   /* the loss was thrown already when the step was taken: the batch did it */
} bp_throw;

typedef struct bp_rates {
    uint64_t n_records;
    double lr, lr_max;  /* NaN: not told */
    uint64_t risen_at;  /* the last record at which the learning rate rose */
    bool is_settled;    /* no warm-up, and not yet decayed to half of the largest */
    double calm;        /* the loss at the full record before; NaN: none */
    double loudest;     /* the largest loss since the last full record */
    bp_throw long_step; /* the last series of them, whatever the loss did */
    int64_t long_until; /* its last step */
    bp_throw thrown;    /* one that threw the loss */
    uint32_t n_flat;    /* judgements in a row in which gradients turned back and nothing fell */
    int64_t flat_since;
    double through_time;  /* largest growth of the error signal through time; 0: not told */
    bp_layer_rate *layer; /* [n_layers + 1] */
    double *scratch;      /* [n_layers + 1] */
    /* of the last judgement */
    double ratio, cosine;        /* medians over layers; NaN: not told */
    double scaled_ratio;         /* of layers without a norm alone */
    double level;                /* median loss of the window */
    double first_at, first_mean; /* middle and loss of the first window */
    double fall; /* of the loss a step since then: what it may be within its standard errors */
    bool output_is_saturated; /* the last activation passes on next to nothing */
    bool is_falling;          /* by more than 2% between the window's halves */
    double horizon;           /* steps that the run has, or may be expected to have */
} bp_rates;

/* Every finite loss, of light steps too. */
void bp_rates_note_loss(bp_diagnosis *d, double loss);
/* learning-rate-too-low, stalled-update, update-imbalance; rates_low.c */
uint32_t bp_judge_low_rates(bp_diagnosis *d, int64_t step);

#endif
