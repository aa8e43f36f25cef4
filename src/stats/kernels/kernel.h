/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel of one CPU level does: adds contiguous elements to counts, extremes and lanes.
 * Element i of the row-major order belongs to lane i mod 16; a call begins at lane 0, so every call
 * but the last of a tensor takes a multiple of 16 elements. Elements may be unaligned. All levels
 * give the same bits: no FMA on f64 input, sums of non-finite elements add +0 (which changes
 * nothing: a lane is never -0). */
#ifndef BP_STATS_KERNELS_KERNEL_H
#define BP_STATS_KERNELS_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#define BP_LANES 16

typedef struct bp_lanes {
    uint64_t nan, positive_inf, negative_inf, zero, subnormal;
    /* Sign and magnitude bits of the tensor's own format as an ordered integer; of finite elements
     * only. -0 lies below +0. */
    int64_t min_key, max_key;
    double sum[BP_LANES];
    double squares[BP_LANES];
} bp_lanes;

typedef void bp_kernel_add(bp_lanes *lanes, const void *elements, size_t n);

/* Adds x * sum_factor and (x * square_factors[0] * square_factors[1])^2: the second pass over f64
 * elements whose plain sums would overflow or vanish. Touches the two sums only. */
typedef void bp_kernel_add_scaled(bp_lanes *lanes, const void *elements, size_t n,
                                  double sum_factor, const double square_factors[2]);

typedef struct bp_kernel {
    bp_kernel_add *f32, *f64, *f16, *bf16;
    bp_kernel_add_scaled *f64_scaled;
} bp_kernel;

extern const bp_kernel bp_kernel_scalar;
bp_kernel_add bp_add_f32_by_lanes; /* lanes.c: bp_kernel_scalar.f32, faster */

/* The pairwise combination: lane i and lane i + 8, then i + 4, i + 2, i + 1. */
static inline double bp_lanes_total(const double lanes[BP_LANES]) {
    double part[BP_LANES / 2];
    for (int i = 0; i < 8; i++) part[i] = lanes[i] + lanes[i + 8];
    for (int half = 4; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

#endif
