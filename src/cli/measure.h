/* SPDX-License-Identifier: Apache-2.0 */
/* One batch through the trainer's own forward and backward pass, under each of several seeds,
 * beside what theory says of that batch. Nothing is learnt: each trainer is thrown away after it.
 */
#ifndef BP_CLI_MEASURE_H
#define BP_CLI_MEASURE_H

#include "report/report.h"
#include <backprobe/train.h>

typedef struct bp_measurement {
    bp_prediction *prediction; /* for the first seed's batch */
    uint32_t n_gains;
    bp_gain *gains;             /* predicted; mean over seeds */
    bp_measured_gain *measured; /* [n_gains] */
    double *squares;            /* [n_gains] sum of squares, for the standard error */
    int64_t n_seeds, n_samples;
    double loss;
    bp_problem
        problem; /* that is to be expected, by theory or, where it says nothing, by the batch */
    uint32_t blamed_layer;
    const char *verdict; /* NULL: neither says anything */
    char by_batch[200];
} bp_measurement;

/* model: complete; its recipe's seed is the first of n_seeds. */
BP_MUST_USE bp_status bp_measurement_open(bp_measurement *measurement, bp_model *model,
                                          const bp_dataset *dataset, int64_t n_seeds,
                                          bp_error *error);
/* Theory alone. */
BP_MUST_USE bp_status bp_measurement_open_theory(bp_measurement *measurement, const bp_model *model,
                                                 bp_error *error);
void bp_measurement_close(bp_measurement *measurement);

#endif
