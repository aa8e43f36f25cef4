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

/* The coordinate panel: what the updates of one tensor do, seen at fixed places of it, without a
 * copy of all of it. All elements when there are no more than BP_PANEL_POSITIONS: then it is exact.
 * Else so many drawn places, the same in every run. Over independent elements an estimate has the
 * relative standard error c / sqrt(BP_PANEL_POSITIONS), 2.2% times c; c is the coefficient of
 * variation of what is averaged: of g * dw for the effect, half that of dw * dw for change_rms (0.7
 * when dw is normal). A cosine is off by 0.022 at most. */
#define BP_PANEL_POSITIONS 2048

typedef struct bp_panel_values {
    uint64_t *words; /* packed elements */
    bp_dtype dtype;
    bool held;
} bp_panel_values;

typedef struct bp_panel {
    uint64_t count;   /* elements of the tensor */
    uint64_t n;       /* places */
    uint64_t *places; /* rising, in row-major order; NULL: all elements */
    bp_panel_values weights, gradient, previous;
} bp_panel;

typedef struct bp_panel_reading {
    bp_update_stats update; /* of the places alone: update.count says how many */
    double change_rms;      /* from here on of the whole tensor; exact or an estimate */
    double
        stalled_fraction; /* share of weights that did not move although their gradient is not 0 */
    double effect;        /* update.effect * elements / places */
    bool has_cosine;      /* false: no last gradient, or one of the two is 0 */
    double cosine;        /* of this gradient and that of the last bp_panel_before */
} bp_panel_reading;

/* How much memory a tensor of `count` elements takes, at most 64 KiB. */
size_t bp_panel_words(uint64_t count);
/* words: borrowed as long as the panel is used. number: of the tensor; each gets other places. */
void bp_panel_init(bp_panel *panel, uint64_t *words, uint64_t count, uint32_t number);
/* Before the update. Any dtype, any strides; the panel keeps what it needs. */
void bp_panel_before(bp_panel *panel, const bp_tensor *gradient, const bp_tensor *weights);
/* After it. Non-finite values count as in bp_update_stats_add; pairs with one are not in the
 * cosine. False, and *reading untouched, where a tensor was missing or of another size. */
bool bp_panel_after(bp_panel *panel, const bp_tensor *weights, bp_panel_reading *reading);
/* Forgets the last gradient: steps went back, or some were not seen. */
void bp_panel_reset(bp_panel *panel);

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
