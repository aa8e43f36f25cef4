/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel of one CPU level does: adds contiguous elements to counts, extremes and lanes.
 * Element i of the row-major order belongs to lane i mod 16; a call begins at lane 0, so every call
 * but the last of a tensor takes a multiple of 16 elements. Elements may be unaligned. All levels
 * give the same bits: no FMA on f64 input (squares of the others are exact in f64), sums of
 * non-finite elements add +0 (which changes nothing: a lane is never -0). */
#ifndef BP_STATS_KERNELS_KERNEL_H
#define BP_STATS_KERNELS_KERNEL_H

#include <backprobe/stats.h>

#include <string.h>

#define BP_LANES 16

typedef struct bp_lanes {
    uint64_t nan, positive_inf, negative_inf, zero, subnormal;
    /* Of finite elements only, as f64 (which holds every format's values): bp_key. */
    int64_t min_key, max_key;
    double sum[BP_LANES];
    double squares[BP_LANES];
} bp_lanes;

static inline void bp_lanes_init(bp_lanes *lanes) {
    lanes->nan = lanes->positive_inf = lanes->negative_inf = lanes->zero = lanes->subnormal = 0;
    lanes->min_key = INT64_MAX;
    lanes->max_key = INT64_MIN;
    /* Unrolled, or it becomes a "rep stos", which takes longer than a small tensor. */
    _Pragma("GCC unroll 16") for (int i = 0; i < BP_LANES; i++) lanes->sum[i] = lanes->squares[i] =
        0;
}

/* exponents: where finite non-zero elements are counted by octave; NULL: they are not. */
typedef void bp_kernel_add(bp_lanes *lanes, bp_exponents *exponents, const void *elements,
                           size_t n);

/* Adds x * sum_factor and (x * square_factors[0] * square_factors[1])^2: the second pass over f64
 * elements whose plain sums would overflow or vanish. Touches the two sums only. */
typedef void bp_kernel_add_scaled(bp_lanes *lanes, const void *elements, size_t n,
                                  double sum_factor, const double square_factors[2]);

/* scalar.c: the definition. */
bp_kernel_add bp_scalar_add_f32, bp_scalar_add_f64, bp_scalar_add_f16, bp_scalar_add_bf16;
bp_kernel_add_scaled bp_scalar_add_f64_scaled;

/* Of elements that were added already. */
typedef void bp_kernel_octaves(bp_exponents *exponents, const void *elements, size_t n);
bp_kernel_octaves bp_scalar_octaves_f32, bp_scalar_octaves_f64;

/* The bits of a value as an ordered integer; -0 lies below +0. */
static inline int64_t bp_key(double value) {
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? bits ^ INT64_MAX : bits;
}

static inline double bp_key_value(int64_t key) {
    const int64_t bits = key < 0 ? key ^ INT64_MAX : key;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The pairwise combination: lane i and lane i + 8, then i + 4, i + 2, i + 1. */
static inline double bp_lanes_total(const double lanes[BP_LANES]) {
    double part[BP_LANES / 2];
    for (int i = 0; i < 8; i++) part[i] = lanes[i] + lanes[i + 8];
    for (int half = 4; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

/* n elements more of the octave 2^octave ... 2^(octave + 1). */
static inline void bp_exponents_count(bp_exponents *exponents, int32_t octave, uint64_t n) {
    exponents->count[octave - BP_EXPONENT_MIN] += n;
    if (octave < exponents->lowest) exponents->lowest = octave;
    if (octave > exponents->highest) exponents->highest = octave;
}

#endif
