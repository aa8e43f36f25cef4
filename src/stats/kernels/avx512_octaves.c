/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512: 16 elements of f32 or 8 of f64 by octave. */
#include "stats/kernels/level.h"

#include <immintrin.h>

/* For what is compiled once a format. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { BLOCK_DEPTH = 8 }; /* digits of a block's vectors: 128 at most */

/* --- columns of binary numbers -----------------------------------------------------------------
 */

/* Three digits of one weight: their last digit, and the carry in *high. */
static inline __m512i add_digits(__m512i *high, __m512i a, __m512i b, __m512i c) {
    *high = _mm512_ternarylogic_epi32(a, b, c, 0xe8); /* at least two */
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);  /* odd */
}

/* carry, of weight 2^from, goes into digits from ... to - 1. */
static inline void add_carry(__m512i *digits, int from, int to, __m512i carry) {
    for (int i = from; i < to; i++) {
        const __m512i digit = digits[i];
        digits[i] = _mm512_xor_si512(digit, carry);
        carry = _mm512_and_si512(digit, carry);
    }
}

/* A bit a lane: the exponent field modulo the lane's width; the sign above it has no part in that.
 * No bit for a zero, where there are some. */
ALWAYS_INLINE __m512i one_hot(const uint8_t *at, bool is_f64, bool has_zero) {
    const __m512i x = _mm512_loadu_si512(at);
    if (is_f64) {
        const __m512i one = _mm512_set1_epi64(1), exponent = _mm512_srli_epi64(x, 52);
        if (!has_zero) return _mm512_rolv_epi64(one, exponent);
        const __mmask8 not_zero = _mm512_test_epi64_mask(x, _mm512_set1_epi64(INT64_MAX));
        return _mm512_maskz_rolv_epi64(not_zero, one, exponent);
    }
    const __m512i one = _mm512_set1_epi32(1), exponent = _mm512_srli_epi32(x, 23);
    if (!has_zero) return _mm512_rolv_epi32(one, exponent);
    const __mmask16 not_zero = _mm512_test_epi32_mask(x, _mm512_set1_epi32(INT32_MAX));
    return _mm512_maskz_rolv_epi32(not_zero, one, exponent);
}

/* Sixteen vectors into the lowest four digits: 15 additions of three digits, the way of Harley and
 * Seal. Returns the carry, of weight 16. */
ALWAYS_INLINE __m512i add_sixteen(__m512i digits[4], const uint8_t *at, bool is_f64,
                                  bool has_zero) {
    __m512i two[2], four[2], eight[2], sixteen;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            for (int k = 0; k < 2; k++, at += 128)
                digits[0] = add_digits(&two[k], digits[0], one_hot(at, is_f64, has_zero),
                                       one_hot(at + 64, is_f64, has_zero));
            digits[1] = add_digits(&four[j], digits[1], two[0], two[1]);
        }
        digits[2] = add_digits(&eight[i], digits[2], four[0], four[1]);
    }
    digits[3] = add_digits(&sixteen, digits[3], eight[0], eight[1]);
    return sixteen;
}

ALWAYS_INLINE void add_vectors(bp_planes *planes, const uint8_t *at, size_t n, bool is_f64,
                               bool has_zero) {
    __m512i digits[BLOCK_DEPTH], carry = _mm512_setzero_si512();
    for (int i = 0; i < BLOCK_DEPTH; i++) digits[i] = carry;
    for (; n >= 16; n -= 16, at += 16 * 64)
        add_carry(digits, 4, BLOCK_DEPTH, add_sixteen(digits, at, is_f64, has_zero));
    for (; n > 0; n--, at += 64) add_carry(digits, 0, BLOCK_DEPTH, one_hot(at, is_f64, has_zero));
    for (int i = 0; i < planes->depth; i++) {
        const __m512i plane = _mm512_load_si512(planes->plane[i]);
        const __m512i digit = i < BLOCK_DEPTH ? digits[i] : _mm512_setzero_si512();
        _mm512_store_si512(planes->plane[i], add_digits(&carry, plane, digit, carry));
    }
}

/* --- f32 ---------------------------------------------------------------------------------------
 */

void bp_avx512_flush_f32(bp_planes *planes, bp_exponents *exponents) {
    __m512i any = _mm512_setzero_si512();
    for (int32_t i = 0; i < planes->depth; i++)
        any = _mm512_or_si512(any, _mm512_load_si512(planes->plane[i]));
    for (uint32_t bits = (uint32_t)_mm512_reduce_or_epi32(any); bits; bits &= bits - 1) {
        const int32_t bit = __builtin_ctz(bits);
        const __m512i wanted = _mm512_set1_epi32((int32_t)(1u << bit));
        uint64_t n = 0;
        for (int32_t i = 0; i < planes->depth; i++) {
            const __m512i plane = _mm512_load_si512(planes->plane[i]);
            n += (uint64_t)__builtin_popcount(_mm512_test_epi32_mask(plane, wanted)) << i;
        }
        bp_exponents_count(exponents, bp_planes_exponent(planes->low, bit, 32) - 127, n);
    }
    planes->depth = 0;
    planes->vectors = 0;
}

/* Flushes where the block does not fit into the window; false where it fits into none. */
static bool fit_f32(bp_planes *planes, bp_exponents *exponents, const bp_run *run) {
    const __m512i least = _mm512_load_si512(&run->least);
    const __m512i most =
        _mm512_and_si512(_mm512_load_si512(&run->most), _mm512_set1_epi32(INT32_MAX));
    if (planes->vectors) {
        const __m512i begin = _mm512_set1_epi32((int32_t)((uint32_t)planes->low << 23));
        const __m512i end = _mm512_set1_epi32((int32_t)((uint32_t)(planes->low + 32) << 23));
        if (!(_mm512_cmplt_epu32_mask(least, begin) | _mm512_cmpge_epu32_mask(most, end)))
            return true;
    }
    const int32_t low = (int32_t)(_mm512_reduce_min_epu32(least) >> 23);
    const int32_t high = (int32_t)(_mm512_reduce_max_epu32(most) >> 23);
    if (low > high) return true; /* nothing but zeros */
    if (low == 0 || high - low >= 32) return false;
    bp_avx512_flush_f32(planes, exponents);
    planes->low = bp_planes_window(low, high, 32);
    return true;
}

bool bp_avx512_octaves_f32(bp_planes *planes, bp_exponents *exponents, const bp_run *run,
                           const bp_rounds *rounds, bool has_zero) {
    if (!fit_f32(planes, exponents, run)) return false;
    if (!bp_planes_grow(planes, rounds->n)) {
        bp_avx512_flush_f32(planes, exponents);
        (void)bp_planes_grow(planes, rounds->n);
    }
    if (has_zero)
        add_vectors(planes, rounds->elements, rounds->n, false, true);
    else
        add_vectors(planes, rounds->elements, rounds->n, false, false);
    return true;
}

/* --- f64 ---------------------------------------------------------------------------------------
 */

void bp_avx512_flush_f64(bp_planes *planes, bp_exponents *exponents) {
    __m512i any = _mm512_setzero_si512();
    for (int32_t i = 0; i < planes->depth; i++)
        any = _mm512_or_si512(any, _mm512_load_si512(planes->plane[i]));
    for (uint64_t bits = (uint64_t)_mm512_reduce_or_epi64(any); bits; bits &= bits - 1) {
        const int32_t bit = __builtin_ctzll(bits);
        const __m512i wanted = _mm512_set1_epi64((int64_t)(UINT64_C(1) << bit));
        uint64_t n = 0;
        for (int32_t i = 0; i < planes->depth; i++) {
            const __m512i plane = _mm512_load_si512(planes->plane[i]);
            n += (uint64_t)__builtin_popcount(_mm512_test_epi64_mask(plane, wanted)) << i;
        }
        bp_exponents_count(exponents, bp_planes_exponent(planes->low, bit, 64) - 1023, n);
    }
    planes->depth = 0;
    planes->vectors = 0;
}

static bool fit_f64(bp_planes *planes, bp_exponents *exponents, const bp_run *run) {
    const __m512i least = _mm512_load_si512(&run->least);
    const __m512i most =
        _mm512_and_si512(_mm512_load_si512(&run->most), _mm512_set1_epi64(INT64_MAX));
    if (planes->vectors) {
        const __m512i begin = _mm512_set1_epi64((int64_t)((uint64_t)planes->low << 52));
        const __m512i end = _mm512_set1_epi64((int64_t)((uint64_t)(planes->low + 64) << 52));
        if (!(_mm512_cmplt_epu64_mask(least, begin) | _mm512_cmpge_epu64_mask(most, end)))
            return true;
    }
    const int32_t low = (int32_t)(_mm512_reduce_min_epu64(least) >> 52);
    const int32_t high = (int32_t)(_mm512_reduce_max_epu64(most) >> 52);
    if (low > high) return true; /* nothing but zeros */
    if (low == 0 || high - low >= 64) return false;
    bp_avx512_flush_f64(planes, exponents);
    planes->low = bp_planes_window(low, high, 64);
    return true;
}

bool bp_avx512_octaves_f64(bp_planes *planes, bp_exponents *exponents, const bp_run *run,
                           const bp_rounds *rounds, bool has_zero) {
    if (!fit_f64(planes, exponents, run)) return false;
    if (!bp_planes_grow(planes, 2 * rounds->n)) {
        bp_avx512_flush_f64(planes, exponents);
        (void)bp_planes_grow(planes, 2 * rounds->n);
    }
    if (has_zero)
        add_vectors(planes, rounds->elements, 2 * rounds->n, true, true);
    else
        add_vectors(planes, rounds->elements, 2 * rounds->n, true, false);
    return true;
}
