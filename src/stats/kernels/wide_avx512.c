/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of wide.h for AVX-512. */
#include <immintrin.h>
#include <stdint.h>

typedef __m512d vector;
#define WIDTH 8
#define VECTORS 2

static inline vector load(const double *at) {
    return _mm512_loadu_pd(at);
}

static inline void store(double *at, vector x) {
    _mm512_storeu_pd(at, x);
}

static inline vector load_f64(const uint8_t *at) {
    return _mm512_loadu_pd(at);
}

static inline vector load_f32(const uint8_t *at) {
    return _mm512_cvtps_pd(_mm256_loadu_ps((const void *)at));
}

static inline vector load_f16(const uint8_t *at) {
    return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_loadu_si128((const void *)at)));
}

static inline vector load_bf16(const uint8_t *at) {
    const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)at));
    return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(high, 16)));
}

/* Bits, not values, are compared: an update from +0 to -0 moved something. */
static inline uint64_t stalled_of(const uint8_t *gradient, const uint8_t *before,
                                  const uint8_t *after) {
    const __mmask16 same =
        _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(before), _mm512_loadu_si512(after));
    return (uint64_t)__builtin_popcount(_mm512_mask_test_epi32_mask(
        same, _mm512_loadu_si512(gradient), _mm512_set1_epi32(0x7fffffff)));
}

#include "stats/kernels/wide_loops.h"

const bp_wide bp_wide_avx512 = {
    .f32 = add_f32, .f64 = add_f64, .f16 = add_f16, .bf16 = add_bf16, .update = add_update};
