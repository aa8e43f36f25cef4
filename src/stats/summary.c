/* SPDX-License-Identifier: Apache-2.0 */
/* The summary of a tensor: one pass, lanes, and how two summaries become one. */
#include "stats/blocks.h"
#include "stats/cpu.h"
#include "stats/float_guard.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

void bp_summary_init(bp_summary *summary) {
    summary->count = summary->nan = summary->positive_inf = summary->negative_inf = 0;
    summary->zero = summary->subnormal = 0;
    summary->min = (double)INFINITY;
    summary->max = -(double)INFINITY;
    summary->sum = summary->sum_squares = 0;
    summary->sum_exponent = summary->square_exponent = 0;
}

/* --- one tensor ----------------------------------------------------------------------------- */

/* With all magnitudes in [2^-480, 2^480) no sum of squares of less than 2^63 elements overflows,
 * and what vanishes of it is below 2^-50 of the largest square. Beyond, the largest element is
 * scaled to [1, 2). The plain sum only has to fear overflow. */
static void scale_sums(bp_summary *summary, bp_lanes *lanes, const bp_tensor *tensor) {
    double largest = fmax(fabs(summary->min), fabs(summary->max));
    if (largest == 0 || (largest >= 0x1p-480 && largest < 0x1p480)) return;
    int exponent = ilogb(largest);
    summary->square_exponent = exponent;
    summary->sum_exponent = largest >= 0x1p960 ? exponent : 0;
    /* 2^1074 is no double: two factors, each within the range. */
    const double factors[2] = {ldexp(1.0, -exponent / 2), ldexp(1.0, -exponent - -exponent / 2)};
    double sum_factor = ldexp(1.0, -summary->sum_exponent);
    memset(lanes->sum, 0, sizeof lanes->sum);
    memset(lanes->squares, 0, sizeof lanes->squares);
    bp_blocks blocks;
    bp_block buffer;
    const void *elements;
    size_t n;
    bp_blocks_init(&blocks, tensor);
    while ((n = bp_blocks_next_row(&blocks, &buffer, &elements)) > 0)
        bp_scalar_add_f64_scaled(lanes, elements, n, sum_factor, factors);
}

/* Row by row, or gathered through a small buffer. */
static void add_strided(bp_lanes *lanes, bp_exponents *exponents, const bp_tensor *tensor,
                        const bp_level *level) {
    bp_blocks blocks;
    bp_block buffer;
    const void *elements;
    size_t n;
    bp_blocks_init(&blocks, tensor);
    while ((n = bp_blocks_next_row(&blocks, &buffer, &elements)) > 0)
        bp_driver_add(level, tensor->dtype, lanes, exponents, elements, n);
}

BP_GUARDED void summarise(bp_summary *summary, bp_exponents *exponents, const bp_tensor *tensor,
                          const bp_level *level) {
    bp_lanes lanes;
    bp_lanes_init(&lanes);
    const uint64_t count = bp_readable_count(tensor);
    summary->count = count;
    if (count && bp_tensor_is_contiguous(tensor))
        bp_driver_add(level, tensor->dtype, &lanes, exponents, tensor->data, (size_t)count);
    else if (count)
        add_strided(&lanes, exponents, tensor, level);
    summary->nan = lanes.nan;
    summary->positive_inf = lanes.positive_inf;
    summary->negative_inf = lanes.negative_inf;
    summary->zero = lanes.zero;
    summary->subnormal = lanes.subnormal;
    if (lanes.min_key > lanes.max_key) return; /* no finite element */
    summary->min = bp_key_value(lanes.min_key);
    summary->max = bp_key_value(lanes.max_key);
    if (tensor->dtype == BP_F64) scale_sums(summary, &lanes, tensor);
    summary->sum = bp_lanes_total(lanes.sum);
    summary->sum_squares = bp_lanes_total(lanes.squares);
}

void bp_summarise_exponents(bp_summary *summary, bp_exponents *exponents, const bp_tensor *tensor) {
    bp_float_guard guard = bp_float_guard_enter();
    bp_summary_init(summary);
    if (exponents) bp_exponents_clear(exponents);
    summarise(summary, exponents, tensor, bp_cpu());
    bp_float_guard_leave(&guard);
}

void bp_summarise(bp_summary *summary, const bp_tensor *tensor) {
    bp_summarise_exponents(summary, NULL, tensor);
}

void bp_summarise_many(bp_summary *summaries, const bp_tensor *tensors, size_t n) {
    const bp_level *level = bp_cpu();
    bp_float_guard guard = bp_float_guard_enter();
    for (size_t i = 0; i < n; i++) {
        bp_summary_init(&summaries[i]);
        summarise(&summaries[i], NULL, &tensors[i], level);
    }
    bp_float_guard_leave(&guard);
}

/* --- two summaries -------------------------------------------------------------------------- */

/* -0 below +0, as in the kernels, so that a merge in any order gives the same bits. */
static bool lies_below(double a, double b) {
    return a < b || (a == b && signbit(a) && !signbit(b));
}

/* *sum * base^*exponent := itself + other * base^other_exponent, at the larger exponent: the other
 * one then only loses what is too small to matter. */
static void add_scaled(double *sum, int32_t *exponent, double other, int32_t other_exponent,
                       int log2_base) {
    if (other == 0) return;
    if (*sum == 0 || *exponent < other_exponent) {
        *sum = ldexp(*sum, log2_base * (*exponent - other_exponent));
        *exponent = other_exponent;
    } else {
        other = ldexp(other, log2_base * (other_exponent - *exponent));
    }
    *sum += other;
}

BP_GUARDED void merge(bp_summary *into, const bp_summary *other) {
    into->count += other->count;
    into->nan += other->nan;
    into->positive_inf += other->positive_inf;
    into->negative_inf += other->negative_inf;
    into->zero += other->zero;
    into->subnormal += other->subnormal;
    if (lies_below(other->min, into->min)) into->min = other->min;
    if (lies_below(into->max, other->max)) into->max = other->max;
    add_scaled(&into->sum, &into->sum_exponent, other->sum, other->sum_exponent, 1);
    add_scaled(&into->sum_squares, &into->square_exponent, other->sum_squares,
               other->square_exponent, 2);
}

void bp_summary_merge(bp_summary *into, const bp_summary *other) {
    bp_float_guard guard = bp_float_guard_enter();
    merge(into, other);
    bp_float_guard_leave(&guard);
}

/* --- what a summary says -------------------------------------------------------------------- */

uint64_t bp_summary_non_finite(const bp_summary *summary) {
    return summary->nan + summary->positive_inf + summary->negative_inf;
}

/* value * 2^exponent; a finite value stays finite. */
static double unscaled(double value, int32_t exponent) {
    double result = ldexp(value, exponent);
    return isinf(result) && isfinite(value) ? copysign(DBL_MAX, value) : result;
}

BP_GUARDED double mean_of(const bp_summary *summary, uint64_t n_finite) {
    return unscaled(summary->sum / (double)n_finite, summary->sum_exponent);
}

/* sqrt(sum of squares / divisor) */
BP_GUARDED double root_of(const bp_summary *summary, uint64_t divisor) {
    return unscaled(sqrt(summary->sum_squares / (double)divisor), summary->square_exponent);
}

BP_GUARDED double max_abs_of(const bp_summary *summary) {
    return fmax(fabs(summary->min), fabs(summary->max));
}

double bp_summary_mean(const bp_summary *summary) {
    uint64_t n_finite = summary->count - bp_summary_non_finite(summary);
    if (n_finite == 0) return 0;
    bp_float_guard guard = bp_float_guard_enter();
    double mean = mean_of(summary, n_finite);
    bp_float_guard_leave(&guard);
    return mean;
}

double bp_summary_rms(const bp_summary *summary) {
    uint64_t n_finite = summary->count - bp_summary_non_finite(summary);
    if (n_finite == 0) return 0;
    bp_float_guard guard = bp_float_guard_enter();
    double rms = root_of(summary, n_finite);
    bp_float_guard_leave(&guard);
    return rms;
}

double bp_summary_norm(const bp_summary *summary) {
    bp_float_guard guard = bp_float_guard_enter();
    double norm = root_of(summary, 1);
    bp_float_guard_leave(&guard);
    return norm;
}

double bp_summary_max_abs(const bp_summary *summary) {
    if (summary->count == bp_summary_non_finite(summary)) return 0;
    bp_float_guard guard = bp_float_guard_enter();
    double max_abs = max_abs_of(summary);
    bp_float_guard_leave(&guard);
    return max_abs;
}
