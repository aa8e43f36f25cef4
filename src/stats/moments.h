/* SPDX-License-Identifier: Apache-2.0 */
/* From the sums of a bp_units to mean and variance. */
#ifndef BP_STATS_MOMENTS_H
#define BP_STATS_MOMENTS_H

#include <backprobe/stats.h>

/* One over the number of values of a unit. */
static inline double bp_one_over_n(const bp_units *units) {
    return 1 / ((double)units->samples * (double)units->n_inner);
}

static inline double bp_variance_of(double sum, double squares, double factor) {
    const double mean = sum * factor, variance = squares * factor - mean * mean;
    return variance > 0 ? variance : 0; /* rounding alone makes it negative */
}

#endif
