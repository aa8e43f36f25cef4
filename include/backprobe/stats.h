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

/* into := into joined with other: counts and extremes exactly, sums in f64. */
BP_API void bp_summary_merge(bp_summary *into, const bp_summary *other);

/* All over the finite elements; 0 when there is none. */
BP_API double bp_summary_mean(const bp_summary *summary);
BP_API double bp_summary_rms(const bp_summary *summary);
BP_API double bp_summary_norm(const bp_summary *summary); /* L2 */
BP_API double bp_summary_max_abs(const bp_summary *summary);
BP_API uint64_t bp_summary_non_finite(const bp_summary *summary);

#ifdef __cplusplus
}
#endif
#endif
