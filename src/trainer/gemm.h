/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix product of the room: the only way to CBLAS. */
#ifndef BP_TRAINER_GEMM_H
#define BP_TRAINER_GEMM_H

#include <backprobe/train.h>

typedef enum bp_transpose { BP_AS_IS, BP_TRANSPOSED } bp_transpose;

/* c := op(a) op(b) + beta c; row-major without gaps; op(a) [m, k], op(b) [k, n], c [m, n]. With
 * beta 0 the old c is not read. */
void bp_gemm(bp_transpose op_a, bp_transpose op_b, int64_t m, int64_t n, int64_t k,
             const bp_real *a, const bp_real *b, bp_real beta, bp_real *c);

/* The same where b and c may be windows of wider matrices: b_stride and c_stride elements from a
 * row to the next. */
void bp_gemm_of_windows(bp_transpose op_a, bp_transpose op_b, int64_t m, int64_t n, int64_t k,
                        const bp_real *a, const bp_real *b, int64_t b_stride, bp_real beta,
                        bp_real *c, int64_t c_stride);

/* Threads of a BLAS change the order of its sums from run to run. */
void bp_gemm_use_one_thread(void);

#endif
