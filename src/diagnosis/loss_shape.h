/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the loss over steps: spikes, oscillation, plateaus, slow convergence, underfitting;
 * a constant output. */
#ifndef BP_DIAGNOSIS_LOSS_SHAPE_H
#define BP_DIAGNOSIS_LOSS_SHAPE_H

#include "diagnosis/curve.h"
#include "diagnosis/diagnosis.h"

#define SPIKE_WINDOW 64    /* losses that a spike is measured against */
#define SPIKE_GRADIENTS 32 /* full records whose gradients are kept, layer by layer */
#define SHAPE_WINDOW 64    /* full records: cosines, update ratios */

/* The last losses, as they came and in order of size. A spike does not enter. */
typedef struct bp_level {
    uint32_t n, at;
    double ring[SPIKE_WINDOW], sorted[SPIKE_WINDOW];
} bp_level;

typedef struct bp_spike {
    int64_t begin, end; /* end: the first step back at the level; -1 not yet */
    int64_t peak_step;
    double level, deviation, limit, peak;
} bp_spike;

typedef struct bp_spikes {
    bp_level level;
    uint64_t n_losses, n_above;   /* so far; of them above their limit without being a spike */
    double start, best;           /* medians: of the first losses, the lowest one */
    double largest;               /* of the losses that were no spike, the first ones left out */
    bp_spike now;                 /* a candidate while n_run > 0, a spike once declared */
    uint32_t n_run, n_back;       /* losses in a row above the limit, and back below it */
    bool declared, counted;       /* counted: long or high enough to be told */
    bool lasting;                 /* it became the new level */
    bp_spike worst, first, stuck; /* stuck: the lasting one */
    uint32_t n_spikes;
    int64_t lost_steps; /* in spikes */
    bool news;
    /* of full records */
    float *gradient; /* [SPIKE_GRADIENTS][n_layers + 1], ln rms; NaN not measured */
    int64_t gradient_step[SPIKE_GRADIENTS];
    uint64_t n_gradients;
    int64_t judged_begin;  /* of the spike that was looked at for it */
    uint32_t blamed_layer; /* its gradient rose first, or most; 0 not known */
    int64_t blamed_step;
    double blamed_factor;
} bp_spikes;

typedef struct bp_loss_shape {
    uint64_t n_records;
    int64_t last_step; /* of the losses; -1 before the first */
    bp_curve curve;
    bp_spikes spikes;
    double samples;                        /* of the last full record's batch */
    double rate_low, rate_high, rate_last; /* learning rates; NaN unknown */
    int64_t rate_rose;                     /* the last step at which it was above the lowest; -1 */
    uint64_t n_shapes;                     /* records in the two rings */
    float cosine[SHAPE_WINDOW], ratio[SHAPE_WINDOW];
    double accuracy; /* mean training accuracy over about 64 full records */
    uint64_t n_accuracy;
    uint32_t n_constant; /* full records in a row in which the output was the same for all inputs */
    int64_t constant_since, constant_latest;
    double output_variation, target_spread;
} bp_loss_shape;

/* Median of a ring of records, of which n_all were ever written; NaN where fewer than 16 told it.
 */
double bp_shape_median(const float *ring, uint64_t n_all); /* loss_shape.c */

/* oscillation.c */
uint32_t bp_judge_oscillation(bp_diagnosis *d, int64_t step);

/* spike.c */
void bp_spikes_note(bp_diagnosis *d, int64_t step, double loss);
void bp_spikes_rewind(bp_spikes *spikes);
void bp_spikes_note_gradients(bp_diagnosis *d, const bp_record *record);
uint32_t bp_judge_spikes(bp_diagnosis *d, int64_t step);

/* stagnation.c: called every 16 records. */
uint32_t bp_judge_constant_output(bp_diagnosis *d, const bp_record *record);
uint32_t bp_judge_stagnation(bp_diagnosis *d, int64_t step);

#endif
