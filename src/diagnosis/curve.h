/* SPDX-License-Identifier: Apache-2.0 */
/* A series over steps in bounded memory: means of blocks, which double in length when there are too
 * many of them; and robust statistics of short series. */
#ifndef BP_DIAGNOSIS_CURVE_H
#define BP_DIAGNOSIS_CURVE_H

#include <stdbool.h>
#include <stdint.h>

#define CURVE_BLOCKS 256 /* even */

/* Block b covers the steps step[b] ... last[b]. The block that is being filled is not among them.
 */
typedef struct bp_curve {
    uint32_t n;
    uint64_t block_length; /* values that a block is the mean of; 0 reads as 1 */
    uint64_t n_pending;
    double pending;
    int64_t pending_step;
    int64_t step[CURVE_BLOCKS], last[CURVE_BLOCKS];
    double mean[CURVE_BLOCKS];
} bp_curve;

/* value: finite. True when a block was completed. */
bool bp_curve_add(bp_curve *curve, int64_t step, double value);
/* Over the blocks from ... to - 1, of which there must be one. */
double bp_curve_mean(const bp_curve *curve, uint32_t from, uint32_t to);
double bp_curve_median(const bp_curve *curve, uint32_t from, uint32_t to);
/* The straight line through them: its rise per block, and that rise by its standard error (0 where
 * there are fewer than 3). */
double bp_curve_slope(const bp_curve *curve, uint32_t from, uint32_t to, double *by_error);
/* A run that goes on from an earlier state: what was seen of this step and later is forgotten. */
void bp_curve_rewind(bp_curve *curve, int64_t step);

/* n >= 1; the values are put in order. */
double bp_median_of(double *values, uint32_t n);
/* The deviation of single values about a slow trend, by the differences of neighbours: 1.4826 times
 * their median deviation from their median, / sqrt 2. scratch: n values. 0 for fewer than 3. */
double bp_noise_of(const double *values, uint32_t n, double *scratch);

#endif
