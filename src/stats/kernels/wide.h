/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of many columns at once, and of what an update changed, at the width of one CPU level.
 * A column's values are added one after the other, whatever the width: all levels give the same
 * bits. */
#ifndef BP_STATS_KERNELS_WIDE_H
#define BP_STATS_KERNELS_WIDE_H

#include "stats/kernels/kernel.h"
#include "tensor/tensor.h"

/* Three numbers a column: sums of x - shift and of its square. A NaN or Inf among the values makes
 * the sum of squares NaN or Inf, and it stays so. */
typedef struct bp_columns {
    double *shift, *sum, *squares;
} bp_columns;

/* Rows of neighbouring elements, in groups: row r of group g begins at at + g * group_bytes +
 * r * row_bytes. Elements may be unaligned. */
typedef struct bp_rows {
    const uint8_t *at;
    ptrdiff_t row_bytes, group_bytes;
    size_t n_rows, n_groups;
} bp_rows;

/* Adds the rows to the first n columns, n a multiple of 16. is_first: the columns hold nothing yet,
 * their shift becomes their value in the first row. */
typedef void bp_wide_add_rows(const bp_columns *columns, size_t n, const bp_rows *rows,
                              bool is_first);

typedef struct bp_update_lanes {
    double squares[BP_LANES]; /* of the change */
    double product[BP_LANES]; /* gradient times change */
    uint64_t stalled;
} bp_update_lanes;

/* *after := *before and n elements of f32, n a multiple of the lanes. Where one is not finite a
 * lane of *after is not finite, and nothing in it is worth anything. */
typedef void bp_wide_add_update(bp_update_lanes *after, const bp_update_lanes *before, size_t n,
                                const uint8_t *gradient, const uint8_t *old_weights,
                                const uint8_t *new_weights);

typedef struct bp_wide {
    bp_wide_add_rows *f32, *f64, *f16, *bf16;
    bp_wide_add_update *update;
} bp_wide;

/* The widest that the CPU has and the mask of levels allows. */
const bp_wide *bp_wide_of_cpu(void);

/* The last two are there on x86-64 only. */
extern const bp_wide bp_wide_plain, bp_wide_avx2, bp_wide_avx512;

#endif
