/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that knows CBLAS. */
#include "trainer/gemm.h"

#include <cblas.h>

#ifdef BLAS_SYMBOL_PREFIX /* scipy's OpenBLAS begins all its names so */
#define JOIN(prefix, name) prefix##name
#define PREFIXED(prefix, name) JOIN(prefix, name)
#define BLAS(name) PREFIXED(BLAS_SYMBOL_PREFIX, name)
#else
#define BLAS(name) name
#endif

#ifdef BP_REAL_IS_F64
#define GEMM BLAS(cblas_dgemm)
#else
#define GEMM BLAS(cblas_sgemm)
#endif

/* Weak, so that any library with the CBLAS interface links. */
extern void BLAS(openblas_set_num_threads)(int n_threads) __attribute__((weak));

void bp_gemm_use_one_thread(void) {
    if (BLAS(openblas_set_num_threads)) BLAS(openblas_set_num_threads)(1);
}

void bp_gemm(bp_transpose op_a, bp_transpose op_b, int64_t m, int64_t n, int64_t k,
             const bp_real *a, const bp_real *b, bp_real beta, bp_real *c) {
    bp_gemm_of_windows(op_a, op_b, m, n, k, a, b, op_b == BP_TRANSPOSED ? k : n, beta, c, n);
}

void bp_gemm_of_windows(bp_transpose op_a, bp_transpose op_b, int64_t m, int64_t n, int64_t k,
                        const bp_real *a, const bp_real *b, int64_t b_stride, bp_real beta,
                        bp_real *c, int64_t c_stride) {
    /* The sizes fit an int: the memory limit of a network lies below (bp_network_open). */
    GEMM(CblasRowMajor, op_a == BP_TRANSPOSED ? CblasTrans : CblasNoTrans,
         op_b == BP_TRANSPOSED ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1, a,
         (int)(op_a == BP_TRANSPOSED ? m : k), b, (int)b_stride, beta, c, (int)c_stride);
}
