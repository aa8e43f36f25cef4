/* SPDX-License-Identifier: Apache-2.0 */
/* A CPU level is a table of functions over blocks: whole rounds of 16 elements, all of which the
 * level takes to be finite. driver.c cuts a tensor into blocks, does a block again by the scalar
 * definition where one was not, and leaves it the last elements. What is rarely asked of f16 and
 * bf16 is asked of their values as f32. */
#ifndef BP_STATS_KERNELS_LEVEL_H
#define BP_STATS_KERNELS_LEVEL_H

#include "stats/kernels/kernel.h"
#include "stats/kernels/planes.h"

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
    bp_parts min, max, nearest; /* so far, as the level likes; a zero in them may have any sign */
    bp_parts least, most;       /* magnitudes in the last block, as f32 or f64 */
} bp_run;

/* A block: whole rounds of 16 elements, unaligned. */
typedef struct bp_rounds {
    const void *elements;
    size_t n;
    double smallest_normal; /* of the tensor's format */
    const char *last;       /* the tensor's last byte: no use in prefetching beyond */
} bp_rounds;

typedef enum bp_verdict {
    BP_BLOCK_PLAIN,
    BP_BLOCK_SMALL,      /* something is zero or subnormal */
    BP_BLOCK_NOT_FINITE, /* a sum of squares is not: *after is worth nothing */
} bp_verdict;

/* *after := *before and the rounds. */
typedef bp_verdict bp_block_add(bp_run *after, const bp_run *before, const bp_rounds *rounds);

/* What is in a small block. */
typedef struct bp_small {
    uint64_t zero, subnormal;
    bool positive_zero, negative_zero;
} bp_small;
/* Adds to *small; run->least becomes that of the elements that are not zero, +Inf where all are. */
typedef void bp_block_small(bp_small *small, bp_run *run, const bp_rounds *rounds);

/* Adds the block's elements to *planes, flushing to *exponents where another window is needed. Here
 * f32 and f64 mean what run->least and run->most are. False, and nothing done, where the block has
 * subnormal elements or spans more than a window. */
typedef bool bp_block_octaves(bp_planes *planes, bp_exponents *exponents, const bp_run *run,
                              const bp_rounds *rounds, bool has_zero);
typedef void bp_planes_flush(bp_planes *planes, bp_exponents *exponents);

/* What a level does for one format of elements. */
typedef struct bp_level_format {
    bp_block_add *add;
    void (*begin)(bp_run *run);                                    /* its extremes: of nothing */
    void (*extremes)(const bp_run *run, double *min, double *max); /* of something */
    bool even_odd; /* a run's lanes 0, 2, 4 ... come before 1, 3, 5 ... */
    /* To f32, in any order, before the others are asked; NULL: they take the elements. */
    void (*widen)(float *to, const void *from, size_t n_rounds);
    bp_block_small *small;
    bp_block_octaves *octaves;
    bp_planes_flush *flush;
} bp_level_format;

typedef struct bp_level {
    const char *name;
    const bp_level_format *format[BP_BF16 + 1]; /* by bp_dtype; NULL: the scalar definition */
} bp_level;

/* avx2_octaves.c, avx512_octaves.c */
bp_block_octaves bp_avx2_octaves_f32, bp_avx2_octaves_f64;
bp_block_octaves bp_avx512_octaves_f32, bp_avx512_octaves_f64;
bp_planes_flush bp_avx2_flush_f32, bp_avx2_flush_f64, bp_avx512_flush_f32, bp_avx512_flush_f64;

/* Scalar has a name only. The others are there where the build has them (cpu.c). */
extern const bp_level bp_level_scalar, bp_level_avx2, bp_level_avx512, bp_level_neon;

/* Contiguous elements, any n; see kernel.h. */
void bp_driver_add(const bp_level *level, bp_dtype dtype, bp_lanes *lanes, bp_exponents *exponents,
                   const void *elements, size_t n);

#endif
