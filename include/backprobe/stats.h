/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over a tensor gives a mergeable summary. Non-finite values are counted, never summed. */
#ifndef BACKPROBE_STATS_H
#define BACKPROBE_STATS_H

#include <backprobe/base.h>
#include <backprobe/tensor.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sums by definition (decision 6 in ARCHITECTURE.md): element i of the row-major order adds to f64
 * lane i mod 16, lanes are combined pairwise. The sum of squares is scaled so that it is never inf
 * or 0 for finite non-zero input: sum of squares = sum_squares * 4^square_exponent (the exponent is
 * 0 unless an f64 tensor needs it; likewise sum * 2^sum_exponent). */
typedef struct bp_summary {
    uint64_t count; /* all elements, non-finite ones too */
    uint64_t nan;
    uint64_t positive_inf;
    uint64_t negative_inf;
    uint64_t zero;      /* +0 and -0 */
    uint64_t subnormal; /* in the tensor's own format */
    double min;         /* over finite elements; +Inf when there is none */
    double max;         /* over finite elements; -Inf when there is none */
    double sum;         /* over finite elements */
    double sum_squares; /* over finite elements */
    int32_t sum_exponent;
    int32_t square_exponent;
} bp_summary;

/* The summary of nothing: the neutral element of bp_summary_merge. */
BP_API void bp_summary_init(bp_summary *summary);

/* Any dtype, any strides, any alignment. Preserves errno and the floating-point environment. */
BP_API void bp_summarise(bp_summary *summary, const bp_tensor *tensor);

/* The same for n tensors; with many small ones it is faster than n calls. */
BP_API void bp_summarise_many(bp_summary *summaries, const bp_tensor *tensors, size_t n);

/* into := into joined with other: counts and extremes exactly, sums in f64. */
BP_API void bp_summary_merge(bp_summary *into, const bp_summary *other);

/* All over the finite elements; 0 when there is none. */
BP_API double bp_summary_mean(const bp_summary *summary);
BP_API double bp_summary_rms(const bp_summary *summary);
BP_API double bp_summary_norm(const bp_summary *summary); /* L2 */
BP_API double bp_summary_max_abs(const bp_summary *summary);
BP_API uint64_t bp_summary_non_finite(const bp_summary *summary);

/* --- exponents ------------------------------------------------------------------------------- */

/* How many elements lie in each octave 2^k <= |x| < 2^(k + 1): one axis for all formats, subnormal
 * elements in the octave of their value. Zeros and non-finite elements are in none. */
#define BP_EXPONENT_MIN (-1074)
#define BP_EXPONENT_MAX 1023

typedef struct bp_exponents {
    int32_t lowest, highest; /* no element lies outside; lowest > highest: there is none */
    uint64_t count[BP_EXPONENT_MAX - BP_EXPONENT_MIN + 1]; /* of octave k: [k - BP_EXPONENT_MIN] */
} bp_exponents;

/* The histogram of nothing: the neutral element of bp_exponents_merge. */
BP_API void bp_exponents_init(bp_exponents *exponents);

/* bp_summarise in the same pass. *exponents was initialised once; what it held is replaced. */
BP_API void bp_summarise_exponents(bp_summary *summary, bp_exponents *exponents,
                                   const bp_tensor *tensor);

/* into := into joined with other, exactly. */
BP_API void bp_exponents_merge(bp_exponents *into, const bp_exponents *other);

/* Elements with 2^from <= |x| < 2^to; any octaves. Those that are not zero but below float16's
 * smallest number, 2^-24: bp_exponents_between(e, BP_EXPONENT_MIN, -24). */
BP_API uint64_t bp_exponents_between(const bp_exponents *exponents, int32_t from, int32_t to);

/* --- updates --------------------------------------------------------------------------------- */

/* What the update of one parameter did: exact, in f64. */
typedef struct bp_update_stats {
    uint64_t count;
    uint64_t made_non_finite;  /* finite before, not finite after */
    uint64_t stalled;          /* gradient not zero, bits of w unchanged */
    double sum_squares_change; /* of w_after - w_before where both are finite */
    double effect;             /* -sum g * (w_after - w_before) where all three are finite */
} bp_update_stats;

/* The coordinate panel: what the updates of one tensor do, seen at fixed places of it, without a
 * copy of all of it. All elements when there are no more than BP_PANEL_POSITIONS: then it is exact.
 * Else so many drawn places, the same in every run. Over independent elements an estimate has the
 * relative standard error c / sqrt(BP_PANEL_POSITIONS), 2.2% times c; c is the coefficient of
 * variation of what is averaged: of g * dw for the effect, half that of dw * dw for change_rms (0.7
 * when dw is normal). A cosine is off by 0.022 at most. */
#define BP_PANEL_POSITIONS 2048

/* For the functions below only. */
typedef struct bp_panel_values {
    uint64_t *words; /* packed elements */
    bp_dtype dtype;
    bool held;
} bp_panel_values;

/* Filled by bp_panel_init; it owns nothing, so there is no way to close it. */
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

/* How many words of memory a tensor of `count` elements takes, at most 64 KiB. */
BP_API size_t bp_panel_words(uint64_t count);
/* words: bp_panel_words(count) of them, borrowed as long as the panel is used. number: of the
 * tensor; each gets other places. */
BP_API void bp_panel_init(bp_panel *panel, uint64_t *words, uint64_t count, uint32_t number);
/* Before the update. Two tensors of `count` elements, borrowed for the call, of any dtype and any
 * strides; the panel keeps what it needs. One of another size is taken as missing. */
BP_API void bp_panel_before(bp_panel *panel, const bp_tensor *gradient, const bp_tensor *weights);
/* After it; weights: borrowed for the call. Non-finite values are counted, never summed; pairs with
 * one are not in the cosine. False, and *reading untouched, where a tensor was missing or of
 * another size. */
BP_API bool bp_panel_after(bp_panel *panel, const bp_tensor *weights, bp_panel_reading *reading);
/* Forgets the last gradient: steps went back, or some were not seen. */
BP_API void bp_panel_reset(bp_panel *panel);

/* --- units ----------------------------------------------------------------------------------- */

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

/* Three arrays of n_units numbers, borrowed as long as the units are used; what they hold does not
 * matter. */
BP_API void bp_units_init(bp_units *units, double *shift, double *sum, double *sum_squares,
                          uint64_t n_units);
/* tensor: [samples, ...], borrowed for the call; row-major within a sample: the units, each with
 * its n_inner values. Ignored when their number differs. The same bits on every CPU level; a unit
 * of one value a sample adds them in their order. */
BP_API void bp_units_add(bp_units *units, const bp_tensor *tensor);
/* sqrt(mean over units of the variance over samples) / rms. False (not measured), and *variation
 * untouched, with fewer than min_samples, after a non-finite value, or when rms is 0. */
BP_API bool bp_units_variation(const bp_units *units, uint64_t min_samples, double *variation);

/* One unit over all its values. Others' non-finite values do not matter. */
typedef struct bp_unit {
    bool ever_non_zero; /* false: a dead unit */
    bool measured; /* false: a value was not finite, or f64 whose squares f64 cannot hold; then what
                      follows is 0 */
    double mean, variance, rms;
} bp_unit;

/* out: [n], for the units first ... first + n - 1, which must be there. */
BP_API void bp_units_read(const bp_units *units, uint64_t first, uint64_t n, bp_unit *out);
/* Forgets the samples, keeps the arrays. */
BP_API void bp_units_reset(bp_units *units);

/* --- what units do ---------------------------------------------------------------------------- */

/* Where the units lie in the numbers of a sample: row-major [outer, n_units, inner]. A vector is
 * {1, n, 1}, an image {1, channels, pixels}, a sequence {time steps, features, 1}. */
typedef struct bp_unit_shape {
    uint64_t outer, n_units, inner;
} bp_unit_shape;

/* By the activation that made the values. PLAIN: neither silence nor saturation is told. */
typedef enum bp_unit_kind {
    BP_UNIT_PLAIN,
    BP_UNIT_RELU,    /* silent: all its values are 0 */
    BP_UNIT_GELU,    /* silent: its values stay in the flat tail below zero, [-3e-4, 0] */
    BP_UNIT_SILU,    /* the same, [-1.2e-3, 0] */
    BP_UNIT_SIGMOID, /* saturated: the mean of phi' = x (1 - x) is below 1% of 0.25 */
    BP_UNIT_TANH     /* the same of 1 - x^2 and 1 */
} bp_unit_kind;

/* One unit over all its values of some samples. */
typedef struct bp_unit_reading {
    bool active; /* false: silent */
    double mean, variance;
} bp_unit_reading;

typedef struct bp_unit_counts {
    uint64_t n_units;
    uint64_t silent; /* never active in these samples */
    uint64_t dead;   /* not active in the last dead_samples observed ones; known once so many were
                        observed */
    uint64_t saturated; /* by mean phi' over these samples */
    uint64_t distinct;  /* that differ in the bits of mean or variance: a unit and its copy are one,
                           and so are all that are 0 throughout */
    bool has_silent, has_dead, has_saturated, has_distinct; /* false: not known, and 0 */
} bp_unit_counts;

/* Remembers of each unit of a layer how many samples ago it was last active. It owns nothing:
 * opened by bp_activity_init, no way to close it. */
typedef struct bp_activity {
    bp_unit_kind kind;
    uint64_t n_units;
    uint64_t dead_samples; /* 0: dead units are not counted */
    uint64_t observed;     /* samples so far */
    uint64_t *quiet;       /* [n_units] samples since a unit was last active */
    uint64_t *scratch;
} bp_activity;

/* Whether units of this kind can be silent: only then words of `quiet` are of use. */
BP_API bool bp_unit_kind_has_silence(bp_unit_kind kind);
/* Words of scratch for so many units: at most 64 bytes a unit. */
BP_API size_t bp_activity_scratch_words(uint64_t n_units);
/* quiet: [n_units], and scratch: [bp_activity_scratch_words(n_units)], both borrowed as long as the
 * activity is used; what they hold does not matter. Scratch may be shared by all activities of a
 * thread. quiet NULL: dead units are not counted; scratch NULL: distinct ones are not. */
BP_API void bp_activity_init(bp_activity *activity, bp_unit_kind kind, uint64_t n_units,
                             uint64_t dead_samples, uint64_t *quiet, uint64_t *scratch);
/* Nothing was observed: a run that starts anew. */
BP_API void bp_activity_reset(bp_activity *activity);

/* What the units did in the samples that *units holds (borrowed for the call; then it is the
 * caller's to reset). shape says where the activity's units lie among those of *units: of one
 * with n_inner 1 they are the values of a sample; one that holds whole channels (n_inner > 1) has
 * the shape {1, channels, 1}. GELU and SiLU: a value of *units counts as in the tail when its
 * root mean square over the samples is below the tail's lower end and its mean not above 0: no
 * single value of n is then beyond sqrt(n) times that end. False, *counts untouched and nothing
 * remembered, with fewer than min_samples, after a non-finite value, or where shape does not
 * fit. */
BP_API bool bp_activity_read(bp_activity *activity, const bp_units *units,
                             const bp_unit_shape *shape, uint64_t min_samples,
                             bp_unit_counts *counts);
/* The same from readings, [activity->n_units], borrowed for the call, over `samples` samples, for
 * who has no bp_units. */
BP_API void bp_activity_count(bp_activity *activity, const bp_unit_reading *readings,
                              uint64_t samples, bp_unit_counts *counts);

/* The largest standard deviation of a unit over the median (of an even number the lower one) of
 * those that vary. scratch: [shape->n_units], borrowed for the call. False, and *scales untouched,
 * in the cases above and where no unit varies. */
BP_API bool bp_units_scales(const bp_units *units, const bp_unit_shape *shape, uint64_t min_samples,
                            double *scratch, double *scales);

/* --- CPU levels ------------------------------------------------------------------------------ */

/* All levels give the same bits; the best that the CPU has is taken. A mask takes levels away, for
 * all threads; it is for tests and for hosts that mind wide vectors. */
enum { BP_CPU_SCALAR = 0, BP_CPU_AVX2 = 1, BP_CPU_AVX512 = 2, BP_CPU_NEON = 4, BP_CPU_ALL = 7 };
BP_API void bp_cpu_set_mask(unsigned allowed);

/* The mask that allows no more than the level of this name ("scalar", "avx2", "avx512", "neon"). */
BP_API bp_status bp_cpu_mask_of(unsigned *mask, const char *name) BP_MUST_USE;

/* The name of the level in use; static. */
BP_API const char *bp_cpu_level(void);

#ifdef __cplusplus
}
#endif
#endif
