/* SPDX-License-Identifier: Apache-2.0 */
/* Units that no longer take part: dead ones (never active) and saturated ones (their phi' is 0). */
#ifndef BP_DIAGNOSIS_UNITS_H
#define BP_DIAGNOSIS_UNITS_H

#include "diagnosis/diagnosis.h"

#define BP_DEAD_LEVELS 4 /* shares of a layer's units whose silence is followed: units.c */

/* When so large a share of the layer's units fell silent, or saturated, to stay so. */
typedef struct bp_silence {
    /* Units are told of all samples since they were told before, of one record or several. */
    int64_t last_from, last_below; /* the last such stretch in which fewer were; -1: none */
    int64_t first_above;           /* where the stretch after it begins; -1: they are fewer */
    double update_ratio; /* of the layer's weights in the record last_below; NaN: not measured */
    double rate;         /* the learning rate of that update; NaN: not known */
    double loss_before;  /* at last_below and first_above */
    double loss_after;
} bp_silence;

typedef struct bp_layer_units {
    bool can_die; /* its activation has a flat side, and no normalisation comes after it */
    bool can_saturate;
    bool is_cut;   /* every path from the input to the loss crosses its output */
    bool was_told; /* silent or saturated units, at last_step */
    bool is_dead_told;
    bool is_saturated;
    uint8_t severity;  /* of its dead units, 0: none to speak of */
    uint8_t n_reached; /* levels that the share of silent (saturated) units has reached */
    uint32_t n_still;  /* records in a row up to now in which every unit was silent and nothing
                          came back */
    uint32_t n_blamed; /* records that are in `blamed`, up to 64 */
    uint64_t blamed;   /* one bit a record, the newest is bit 0: most units were saturated and that
                          layer is what holds the error signal up */
    uint64_t units, silent, dead, saturated; /* as told last */
    int64_t last_from, last_step;            /* of which records they were */
    double last_update_ratio;                /* of the record before */
    uint64_t still_samples;                  /* of the records that n_still counts */
    double still_loss;                       /* the sum of their losses */
    bp_silence silence[BP_DEAD_LEVELS];      /* of saturated units the first alone */
} bp_layer_units;

typedef struct bp_unit_health {
    bp_layer_units *layer; /* [n_layers + 1] */
    uint64_t samples;      /* N: silent for so many is dead */
    uint64_t n_records;
    double last_loss, last_rate; /* of the record before */
    int64_t from;                /* the first record after the last one that told units; -1 */
    uint32_t output;             /* the last layer with weights: no hidden one */
    uint32_t dead_layer;         /* that the findings' words are about */
    uint32_t saturated_layer;
} bp_unit_health;

#endif
