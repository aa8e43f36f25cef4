/* SPDX-License-Identifier: Apache-2.0 */
/* Units that no longer take part: dead ones (never active) and saturated ones (their phi' is 0). */
#ifndef BP_DIAGNOSIS_UNITS_H
#define BP_DIAGNOSIS_UNITS_H

#include "diagnosis/diagnosis.h"

#define BP_DEAD_LEVELS 4 /* shares of a layer's units whose silence is followed: units.c */

/* When so large a share of the layer's units fell silent, or saturated, to stay so. */
typedef struct bp_silence {
    int64_t last_below;  /* the last record in which fewer were; -1: none */
    int64_t first_above; /* the record after it; -1: none */
    double update_ratio; /* of the layer's weights in the record last_below; NaN: not measured */
    double rate;         /* the learning rate of that update; NaN: not known */
    double loss_before;  /* at last_below and first_above */
    double loss_after;
} bp_silence;

typedef struct bp_layer_units {
    bool can_die; /* its activation has a flat side, and no normalisation comes after it */
    bool can_saturate;
    uint64_t units, silent, dead, saturated; /* as told last */
    bool is_dead_told;
    bp_silence silence[BP_DEAD_LEVELS];
    double last_update_ratio; /* of the record before */
    int64_t last_step;        /* at which silent was told; -1: never */
    /* Records in a row up to now in which every unit was silent and nothing came back. */
    uint32_t n_still;
    uint64_t still_samples;
    double still_loss; /* sum of their losses */
    int64_t still_step;
    /* One bit a record, the newest is bit 0: most units were saturated and that layer is what holds
     * the error signal up. */
    uint64_t blamed;
    uint32_t n_blamed;     /* records that are in it, up to 64 */
    bp_silence saturation; /* when most of its units were saturated to stay so */
    uint8_t severity;      /* of its dead units, 0: none to speak of */
    bool is_saturated;
} bp_layer_units;

typedef struct bp_unit_health {
    bp_layer_units *layer; /* [n_layers + 1] */
    uint64_t samples;      /* N: silent for so many is dead */
    uint64_t n_records;
    double last_loss, last_rate; /* of the record before */
    uint32_t output;             /* the last layer with weights: no hidden one */
    uint32_t dead_layer;         /* that the findings' words are about */
    uint32_t saturated_layer;
} bp_unit_health;

#endif
