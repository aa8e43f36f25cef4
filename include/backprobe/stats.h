/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over a tensor gives a mergeable summary. Non-finite values are counted, never summed. */
#ifndef BACKPROBE_STATS_H
#define BACKPROBE_STATS_H

#include <backprobe/base.h>
#include <backprobe/tensor.h>

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
