/* SPDX-License-Identifier: Apache-2.0 */
#include "peak.h"
#include "trainer/gemm.h"

#include <stdlib.h>
#include <time.h>

double bench_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- multiply-adds ---------------------------------------------------------------------------- */

#define CHAINS 12 /* independent sums: more than latency times throughput of any core so far */
#define ROUNDS 100000

#if defined(__x86_64__)
#include <immintrin.h>

static volatile float sink; /* what is never read may be left out */

#define DEFINE_FMA(NAME, TARGET, VECTOR, SET, FMADD)                           \
    static __attribute__((target(TARGET), noinline)) void NAME(void) {         \
        VECTOR sum[CHAINS];                                                    \
        const VECTOR factor = SET(0.999f), term = SET(0.001f);                 \
        for (int i = 0; i < CHAINS; i++) sum[i] = SET((float)i);               \
        for (int round = 0; round < ROUNDS; round++) {                         \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) sum[i] = \
                FMADD(sum[i], factor, term);                                   \
        }                                                                      \
        for (int i = 0; i < CHAINS; i++) sink = ((const float *)&sum[i])[0];   \
    }

DEFINE_FMA(fma_512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)
DEFINE_FMA(fma_256, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)

double bench_fma_flops(double seconds) {
    const int has_512 = __builtin_cpu_supports("avx512f");
    if (!has_512 && !(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
    const double begin = bench_seconds();
    double now = begin, flops = 0;
    for (; now < begin + seconds; now = bench_seconds()) {
        has_512 ? fma_512() : fma_256();
        flops += 2.0 * (has_512 ? 16 : 8) * CHAINS * ROUNDS;
    }
    return flops / (now - begin);
}
#else
double bench_fma_flops(double seconds) {
    (void)seconds;
    return 0;
}
#endif

/* --- matrix product --------------------------------------------------------------------------- */

#define SIDE ((size_t)1024)

double bench_sgemm_flops(double seconds) {
    bp_real *a = calloc(3 * SIDE * SIDE, sizeof *a);
    if (!a) return 0;
    bp_real *b = a + SIDE * SIDE, *c = b + SIDE * SIDE;
    for (size_t i = 0; i < 2 * SIDE * SIDE; i++) a[i] = (bp_real)(i % 7) - 3;
    const double begin = bench_seconds();
    double now = begin, flops = 0;
    for (; now < begin + seconds; now = bench_seconds()) {
        bp_gemm(BP_AS_IS, BP_AS_IS, SIDE, SIDE, SIDE, a, b, 0, c);
        flops += 2.0 * (double)(SIDE * SIDE * SIDE);
    }
    free(a);
    return flops / (now - begin);
}
