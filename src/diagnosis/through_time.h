/* SPDX-License-Identifier: Apache-2.0 */
/* vanishing-gradient (and exploding-gradient) of another kind: through time, inside a recurrent
 * layer. */
#ifndef BP_DIAGNOSIS_THROUGH_TIME_H
#define BP_DIAGNOSIS_THROUGH_TIME_H

#include "diagnosis/diagnosis.h"

#define BP_TIME_WINDOW 64 /* records */

typedef struct bp_time_onset {
    bool holds;
    int64_t step, earliest, latest;
} bp_time_onset;

typedef struct bp_layer_time {
    uint32_t layer;
    int64_t steps; /* of a sequence; 0: not known */
    uint64_t n_total;
    int64_t step[BP_TIME_WINDOW]; /* rings by record modulo size */
    double ratio[BP_TIME_WINDOW]; /* error signal at the first time steps / at the last ones */
    uint8_t vanishes[BP_TIME_WINDOW], explodes[BP_TIME_WINDOW];
    uint32_t n_vanishes, n_explodes;
    bp_time_onset vanishing, exploding; /* since when most records do */
} bp_layer_time;

typedef struct bp_through_time {
    bp_layer_time *layer; /* [n], the recurrent ones, in ascending order */
    uint32_t n;
} bp_through_time;

#endif
