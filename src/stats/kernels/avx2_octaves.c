/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2: 8 elements of f32 or 4 of f64 by octave. A plane is two vectors wide, of which a block uses
 * the first. */
#include "stats/kernels/level.h"

#include <immintrin.h>

/* For what is compiled once a format. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { BLOCK_DEPTH = 9 }; /* digits of a block's vectors: 256 at most */

/* --- columns of binary numbers -----------------------------------------------------------------
 */

/* Three digits of one weight: their last digit, and the carry in *high. */
static inline __m256i add_digits(__m256i *high, __m256i a, __m256i b, __m256i c) {
    const __m256i odd = _mm256_xor_si256(a, b);
    *high = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(odd, c));
    return _mm256_xor_si256(odd, c);
}

/* carry, of weight 2^from, goes into digits from ... to - 1. */
static inline void add_carry(__m256i *digits, int from, int to, __m256i carry) {
    for (int i = from; i < to; i++) {
        const __m256i digit = digits[i];
        digits[i] = _mm256_xor_si256(digit, carry);
        carry = _mm256_and_si256(digit, carry);
    }
}

/* A bit a lane: the exponent field modulo the lane's width; the sign above it has no part in that.
 * No bit for a zero, where there are some. */
ALWAYS_INLINE __m256i one_hot(const uint8_t *at, bool is_f64, bool has_zero) {
    const __m256i x = _mm256_loadu_si256((const void *)at), nothing = _mm256_setzero_si256();
    if (is_f64) {
        const __m256i exponent = _mm256_and_si256(_mm256_srli_epi64(x, 52), _mm256_set1_epi64x(63));
        const __m256i bit = _mm256_sllv_epi64(_mm256_set1_epi64x(1), exponent);
        if (!has_zero) return bit;
        const __m256i is_zero = _mm256_cmpeq_epi64(_mm256_slli_epi64(x, 1), nothing);
        return _mm256_andnot_si256(is_zero, bit);
    }
    const __m256i exponent = _mm256_and_si256(_mm256_srli_epi32(x, 23), _mm256_set1_epi32(31));
    const __m256i bit = _mm256_sllv_epi32(_mm256_set1_epi32(1), exponent);
    if (!has_zero) return bit;
    const __m256i is_zero = _mm256_cmpeq_epi32(_mm256_slli_epi32(x, 1), nothing);
    return _mm256_andnot_si256(is_zero, bit);
}

/* Sixteen vectors into the lowest four digits: 15 additions of three digits, the way of Harley and
 * Seal. Returns the carry, of weight 16. */
ALWAYS_INLINE __m256i add_sixteen(__m256i digits[4], const uint8_t *at, bool is_f64,
                                  bool has_zero) {
    __m256i two[2], four[2], eight[2], sixteen;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            for (int k = 0; k < 2; k++, at += 64)
                digits[0] = add_digits(&two[k], digits[0], one_hot(at, is_f64, has_zero),
                                       one_hot(at + 32, is_f64, has_zero));
            digits[1] = add_digits(&four[j], digits[1], two[0], two[1]);
        }
        digits[2] = add_digits(&eight[i], digits[2], four[0], four[1]);
    }
    digits[3] = add_digits(&sixteen, digits[3], eight[0], eight[1]);
    return sixteen;
}

static inline __m256i *plane_of(bp_planes *planes, int32_t i) {
    return (__m256i *)planes->plane[i];
}

ALWAYS_INLINE void add_vectors(bp_planes *planes, const uint8_t *at, size_t n, bool is_f64,
                               bool has_zero) {
    __m256i digits[BLOCK_DEPTH], carry = _mm256_setzero_si256();
    for (int i = 0; i < BLOCK_DEPTH; i++) digits[i] = carry;
    for (; n >= 16; n -= 16, at += 16 * 32)
        add_carry(digits, 4, BLOCK_DEPTH, add_sixteen(digits, at, is_f64, has_zero));
    for (; n > 0; n--, at += 32) add_carry(digits, 0, BLOCK_DEPTH, one_hot(at, is_f64, has_zero));
    for (int32_t i = 0; i < planes->depth; i++) {
        const __m256i digit = i < BLOCK_DEPTH ? digits[i] : _mm256_setzero_si256();
        *plane_of(planes, i) = add_digits(&carry, *plane_of(planes, i), digit, carry);
    }
}

/* --- f32 ---------------------------------------------------------------------------------------
 */

static uint32_t lanes_or_f32(const bp_planes *planes) {
    uint32_t any = 0;
    for (int32_t i = 0; i < planes->depth; i++) {
        uint32_t lanes[8];
        memcpy(lanes, planes->plane[i], sizeof lanes);
        for (int j = 0; j < 8; j++) any |= lanes[j];
    }
    return any;
}

void bp_avx2_flush_f32(bp_planes *planes, bp_exponents *exponents) {
    for (uint32_t bits = lanes_or_f32(planes); bits; bits &= bits - 1) {
        const int32_t bit = __builtin_ctz(bits);
        const __m128i to_sign = _mm_cvtsi32_si128(31 - bit);
        uint64_t n = 0;
        for (int32_t i = 0; i < planes->depth; i++) {
            const __m256i moved = _mm256_sll_epi32(*plane_of(planes, i), to_sign);
            const int has = _mm256_movemask_ps(_mm256_castsi256_ps(moved));
            n += (uint64_t)__builtin_popcount((unsigned)has) << i;
        }
        bp_exponents_count(exponents, bp_planes_exponent(planes->low, bit, 32) - 127, n);
    }
    planes->depth = 0;
    planes->vectors = 0;
}

/* Flushes where the block does not fit into the window; false where it fits into none. */
static bool fit_f32(bp_planes *planes, bp_exponents *exponents, const bp_run *run) {
    float least = run->least.f32[0], most = run->most.f32[0];
    uint32_t bits;
    for (int i = 1; i < 8; i++) {
        least = run->least.f32[i] < least ? run->least.f32[i] : least;
        most = run->most.f32[i] > most ? run->most.f32[i] : most;
    }
    memcpy(&bits, &least, sizeof bits);
    const int32_t low = (int32_t)(bits >> 23);
    memcpy(&bits, &most, sizeof bits);
    const int32_t high = (int32_t)(bits >> 23 & 0xff);
    if (low > high) return true; /* nothing but zeros */
    if (low == 0 || high - low >= 32) return false;
    if (planes->vectors && low >= planes->low && high < planes->low + 32) return true;
    bp_avx2_flush_f32(planes, exponents);
    planes->low = bp_planes_window(low, high, 32);
    return true;
}

bool bp_avx2_octaves_f32(bp_planes *planes, bp_exponents *exponents, const bp_run *run,
                         const bp_rounds *rounds, bool has_zero) {
    if (!fit_f32(planes, exponents, run)) return false;
    if (!bp_planes_grow(planes, 2 * rounds->n)) {
        bp_avx2_flush_f32(planes, exponents);
        (void)bp_planes_grow(planes, 2 * rounds->n);
    }
    if (has_zero)
        add_vectors(planes, rounds->elements, 2 * rounds->n, false, true);
    else
        add_vectors(planes, rounds->elements, 2 * rounds->n, false, false);
    return true;
}

/* --- f64 ---------------------------------------------------------------------------------------
 */

static uint64_t lanes_or_f64(const bp_planes *planes) {
    uint64_t any = 0;
    for (int32_t i = 0; i < planes->depth; i++) {
        uint64_t lanes[4];
        memcpy(lanes, planes->plane[i], sizeof lanes);
        for (int j = 0; j < 4; j++) any |= lanes[j];
    }
    return any;
}

void bp_avx2_flush_f64(bp_planes *planes, bp_exponents *exponents) {
    for (uint64_t bits = lanes_or_f64(planes); bits; bits &= bits - 1) {
        const int32_t bit = __builtin_ctzll(bits);
        const __m128i to_sign = _mm_cvtsi32_si128(63 - bit);
        uint64_t n = 0;
        for (int32_t i = 0; i < planes->depth; i++) {
            const __m256i moved = _mm256_sll_epi64(*plane_of(planes, i), to_sign);
            const int has = _mm256_movemask_pd(_mm256_castsi256_pd(moved));
            n += (uint64_t)__builtin_popcount((unsigned)has) << i;
        }
        bp_exponents_count(exponents, bp_planes_exponent(planes->low, bit, 64) - 1023, n);
    }
    planes->depth = 0;
    planes->vectors = 0;
}

static bool fit_f64(bp_planes *planes, bp_exponents *exponents, const bp_run *run) {
    double least = run->least.f64[0], most = run->most.f64[0];
    uint64_t bits;
    for (int i = 1; i < 4; i++) {
        least = run->least.f64[i] < least ? run->least.f64[i] : least;
        most = run->most.f64[i] > most ? run->most.f64[i] : most;
    }
    memcpy(&bits, &least, sizeof bits);
    const int32_t low = (int32_t)(bits >> 52);
    memcpy(&bits, &most, sizeof bits);
    const int32_t high = (int32_t)(bits >> 52 & 0x7ff);
    if (low > high) return true; /* nothing but zeros */
    if (low == 0 || high - low >= 64) return false;
    if (planes->vectors && low >= planes->low && high < planes->low + 64) return true;
    bp_avx2_flush_f64(planes, exponents);
    planes->low = bp_planes_window(low, high, 64);
    return true;
}

bool bp_avx2_octaves_f64(bp_planes *planes, bp_exponents *exponents, const bp_run *run,
                         const bp_rounds *rounds, bool has_zero) {
    if (!fit_f64(planes, exponents, run)) return false;
    if (!bp_planes_grow(planes, 4 * rounds->n)) {
        bp_avx2_flush_f64(planes, exponents);
        (void)bp_planes_grow(planes, 4 * rounds->n);
    }
    if (has_zero)
        add_vectors(planes, rounds->elements, 4 * rounds->n, true, true);
    else
        add_vectors(planes, rounds->elements, 4 * rounds->n, true, false);
    return true;
}
