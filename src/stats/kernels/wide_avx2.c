/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of wide.h for AVX2. */
#include <immintrin.h>
#include <stdint.h>

typedef __m256d vector;
#define WIDTH 4
#define VECTORS 4

static inline vector load(const double *at) {
    return _mm256_loadu_pd(at);
}

static inline void store(double *at, vector x) {
    _mm256_storeu_pd(at, x);
}

static inline vector load_f64(const uint8_t *at) {
    return _mm256_loadu_pd((const void *)at);
}

static inline vector load_f32(const uint8_t *at) {
    return _mm256_cvtps_pd(_mm_loadu_ps((const void *)at));
}

static inline vector load_f16(const uint8_t *at) {
    return _mm256_cvtps_pd(_mm_cvtph_ps(_mm_loadl_epi64((const void *)at)));
}

static inline vector load_bf16(const uint8_t *at) {
    const __m128i high = _mm_cvtepu16_epi32(_mm_loadl_epi64((const void *)at));
    return _mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(high, 16)));
}

static inline __m256i bits(const uint8_t *at) {
    return _mm256_loadu_si256((const void *)at);
}

/* Bits, not values, are compared: an update from +0 to -0 moved something. */
static inline uint64_t stalled_of(const uint8_t *gradient, const uint8_t *before,
                                  const uint8_t *after) {
    unsigned found = 0;
    for (size_t half = 0; half < 64; half += 32) {
        const __m256i same = _mm256_cmpeq_epi32(bits(before + half), bits(after + half));
        const __m256i zero =
            _mm256_cmpeq_epi32(_mm256_slli_epi32(bits(gradient + half), 1), _mm256_setzero_si256());
        const __m256i stalled = _mm256_andnot_si256(zero, same);
        found = found << 8 | (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(stalled));
    }
    return (uint64_t)__builtin_popcount(found);
}

#include "stats/kernels/wide_loops.h"

const bp_wide bp_wide_avx2 = {
    .f32 = add_f32, .f64 = add_f64, .f16 = add_f16, .bf16 = add_bf16, .update = add_update};
