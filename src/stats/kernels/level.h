/* SPDX-License-Identifier: Apache-2.0 */
/* A CPU level is a table of functions over blocks: whole rounds of 16 elements, all of which the
 * level takes to be finite. driver.c cuts a tensor into blocks, does a block again by the scalar
 * definition where one was not, and leaves it the last elements. f16 and bf16 are widened to f32
 * first: every value of theirs is one. */
#ifndef BP_STATS_KERNELS_LEVEL_H
#define BP_STATS_KERNELS_LEVEL_H

#include "stats/kernels/kernel.h"

#include <stdbool.h>

#define BP_BLOCK_BYTES 8192 /* of f32 or f64: stays in the first cache for a second look */

/* One number a lane, or fewer: nobody but the level looks inside. */
typedef union bp_parts {
    _Alignas(64) float f32[BP_LANES];
    double f64[BP_LANES];
} bp_parts;

/* Sums and extremes as far as blocks were added. */
typedef struct bp_run {
    _Alignas(64) double sum[BP_LANES];
    double squares[BP_LANES];
    bp_parts min, max; /* so far; begin with +Inf and -Inf. A zero in them has any sign */
    bp_parts least, most; /* magnitudes in the last block */
} bp_run;

typedef enum bp_verdict {
    BP_BLOCK_PLAIN,
    BP_BLOCK_SMALL,      /* something is zero or subnormal */
    BP_BLOCK_NOT_FINITE, /* a sum or square is not: *after is worth nothing */
} bp_verdict;

/* *after := *before and the rounds. smallest_normal: of the tensor's format. */
typedef bp_verdict bp_block_add(bp_run *after, const bp_run *before, const void *elements,
                                size_t rounds, double smallest_normal);

/* What is in a small block. */
typedef struct bp_small {
    uint64_t zero, subnormal;
    bool positive_zero, negative_zero;
} bp_small;
/* Adds to *small; run->least becomes that of the elements that are not zero, +Inf where all are. */
typedef void bp_block_small(bp_small *small, bp_run *run, const void *elements, size_t rounds,
                            double smallest_normal);

typedef void bp_run_extremes(const bp_run *run, double *min, double *max);
typedef void bp_block_widen(float *to, const void *from, size_t rounds);

typedef struct bp_level_format {
    bp_block_add *add;
    bp_block_small *small;
    bp_run_extremes *extremes;
} bp_level_format;

typedef struct bp_level {
    const char *name;
    bp_level_format f32, f64;
    bp_block_widen *f16, *bf16;
    bool bf16_even_odd; /* of a widened round the even elements come first: so do a run's lanes */
} bp_level;

/* Scalar has a name only. The others are there where the build has them (cpu.c). */
extern const bp_level bp_level_scalar, bp_level_avx2, bp_level_avx512, bp_level_neon;

/* Contiguous elements, any n; see kernel.h. */
void bp_driver_add(const bp_level *level, bp_dtype dtype, bp_lanes *lanes, bp_exponents *exponents,
                   const void *elements, size_t n);

#endif
