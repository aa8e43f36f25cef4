/* SPDX-License-Identifier: Apache-2.0 */
/* Room stats: one pass over a tensor gives a mergeable summary. kernels/ holds one file per CPU
 * level. Knows no layer and no step. Called by watch. */
#ifndef BP_STATS_STATS_H
#define BP_STATS_STATS_H

#include "tensor/tensor.h"
#include <backprobe/stats.h>

/* Empties an initialised histogram; cheap where few octaves are in use. */
void bp_exponents_clear(bp_exponents *exponents);

/* What the update of one parameter did: exact, in f64. */
typedef struct bp_update_stats {
    uint64_t count;
    uint64_t made_non_finite;  /* finite before, not finite after */
    uint64_t stalled;          /* gradient not zero, bits of w unchanged */
    double sum_squares_change; /* of w_after - w_before where both are finite */
    double effect;             /* -sum g * (w_after - w_before) where all three are finite */
} bp_update_stats;
/* Three tensors of one shape. Adds to *stats (zero it first), so that the parameters of a layer add
 * up. Same lane rule as the summary. */
void bp_update_stats_add(bp_update_stats *stats, const bp_tensor *gradient, const bp_tensor *before,
                         const bp_tensor *after);

/* What each unit gave over samples, accumulated over calls until there are enough of them. Sums are
 * shifted by the unit's first value: exact where all samples look alike (mean and rms cancel). */
typedef struct bp_units {
    uint64_t n_units;
    uint64_t n_inner; /* values of a unit in one sample; 1 unless set before the first bp_units_add:
                         a convolution's channels as units have their pixels */
    uint64_t samples;
    double *shift; /* three arrays of n_units, borrowed from the caller */
    double *sum;
    double *sum_squares;
    bool non_finite; /* a value was NaN or Inf, or beyond +-1e154: the variation is not measured */
} bp_units;
void bp_units_init(bp_units *units, double *shift, double *sum, double *sum_squares,
                   uint64_t n_units);
/* tensor: [samples, ...], row-major within a sample: the units, each with its n_inner values.
 * Ignored when their number differs. The same bits on every CPU level; a unit of one value a sample
 * adds them in their order. */
void bp_units_add(bp_units *units, const bp_tensor *tensor);
/* sqrt(mean over units of the variance over samples) / rms. False (not measured) with fewer than
 * min_samples, after a non-finite value, or when rms is 0. */
bool bp_units_variation(const bp_units *units, uint64_t min_samples, double *variation);

/* One unit over all its values. Others' non-finite values do not matter. */
typedef struct bp_unit {
    bool ever_non_zero; /* false: a dead unit */
    bool measured; /* false: a value was not finite, or f64 whose squares f64 cannot hold; then what
                      follows is 0 */
    double mean, variance, rms;
} bp_unit;
/* out: [n], for the units first ... first + n - 1. */
void bp_units_read(const bp_units *units, uint64_t first, uint64_t n, bp_unit *out);
/* Forgets the samples, keeps the arrays. */
void bp_units_reset(bp_units *units);

#endif
