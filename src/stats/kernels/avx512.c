/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512: a vector holds the 16 lanes of f32, two vectors those of f64. */
#include "stats/kernels/level.h"

#include <immintrin.h>

#define NOT_FINITE 0x99      /* fpclass: quiet NaN, Inf, -Inf, signalling NaN */
#define LEAST_MAGNITUDE 0x0a /* range: the smaller magnitude, sign cleared */
#define MAGNITUDE_F32 _mm512_set1_epi32(0x7fffffff)
#define MAGNITUDE_F64 _mm512_set1_epi64(0x7fffffffffffffff)

typedef struct sums {
    __m512d sum[2], squares[2];
} sums;

static inline sums load_sums(const bp_run *run) {
    return (sums){{_mm512_load_pd(run->sum), _mm512_load_pd(run->sum + 8)},
                  {_mm512_load_pd(run->squares), _mm512_load_pd(run->squares + 8)}};
}

/* False where one is not finite. */
static inline bool store_sums(bp_run *run, const sums *s) {
    for (size_t i = 0; i < 2; i++) {
        _mm512_store_pd(run->sum + 8 * i, s->sum[i]);
        _mm512_store_pd(run->squares + 8 * i, s->squares[i]);
    }
    return !(_mm512_fpclass_pd_mask(s->sum[0], NOT_FINITE) |
             _mm512_fpclass_pd_mask(s->sum[1], NOT_FINITE) |
             _mm512_fpclass_pd_mask(s->squares[0], NOT_FINITE) |
             _mm512_fpclass_pd_mask(s->squares[1], NOT_FINITE));
}

/* --- f32 -------------------------------------------------------------------------------------- */

typedef struct extremes_f32 {
    __m512 min, max, least;
} extremes_f32;

static inline void extend_f32(extremes_f32 *e, __m512 x) {
    e->min = _mm512_min_ps(e->min, x);
    e->max = _mm512_max_ps(e->max, x);
    e->least = _mm512_range_ps(e->least, x, LEAST_MAGNITUDE);
}

/* Eight f32 to eight lanes. The conversion loads them itself: port 5 is spared a shuffle. */
static inline void sum_f32(sums *s, int half, const float *at) {
    const __m512d x = _mm512_cvtps_pd(_mm256_loadu_ps(at));
    s->sum[half] = _mm512_add_pd(s->sum[half], x);
    s->squares[half] = _mm512_fmadd_pd(x, x, s->squares[half]); /* the square is exact */
}

static bp_verdict add_f32(bp_run *after, const bp_run *before, const void *elements, size_t rounds,
                          double smallest_normal) {
    const float *at = elements, *end = at + BP_LANES * rounds;
    const __m512 infinity = _mm512_set1_ps(__builtin_inff());
    sums s = load_sums(before);
    extremes_f32 e[2] = {{infinity, -infinity, infinity}, {infinity, -infinity, infinity}};
    for (; at + 2 * BP_LANES <= end; at += 2 * BP_LANES) {
        sum_f32(&s, 0, at);
        sum_f32(&s, 1, at + 8);
        extend_f32(&e[0], _mm512_loadu_ps(at));
        sum_f32(&s, 0, at + 16);
        sum_f32(&s, 1, at + 24);
        extend_f32(&e[1], _mm512_loadu_ps(at + 16));
    }
    if (at < end) {
        sum_f32(&s, 0, at);
        sum_f32(&s, 1, at + 8);
        extend_f32(&e[0], _mm512_loadu_ps(at));
    }
    const __m512 min = _mm512_min_ps(e[0].min, e[1].min), max = _mm512_max_ps(e[0].max, e[1].max);
    const __m512 least = _mm512_min_ps(e[0].least, e[1].least);
    _mm512_store_ps(after->min.f32, _mm512_min_ps(min, _mm512_load_ps(before->min.f32)));
    _mm512_store_ps(after->max.f32, _mm512_max_ps(max, _mm512_load_ps(before->max.f32)));
    _mm512_store_ps(after->least.f32, least);
    _mm512_store_ps(after->most.f32, _mm512_max_ps(max, -min));
    if (!store_sums(after, &s)) return BP_BLOCK_NOT_FINITE;
    const __m512 border = _mm512_set1_ps((float)smallest_normal);
    return _mm512_cmp_ps_mask(least, border, _CMP_LT_OQ) ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static void small_f32(bp_small *small, bp_run *run, const void *elements, size_t rounds,
                      double smallest_normal) {
    const float *at = elements;
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i border = _mm512_castps_si512(_mm512_set1_ps((float)smallest_normal));
    __m512i n_zero = _mm512_setzero_si512(), n_small = n_zero;
    __m512i all = _mm512_set1_epi32(-1), any = n_zero; /* bits of zeros */
    __m512 least = _mm512_set1_ps(__builtin_inff());
    for (size_t i = 0; i < rounds; i++, at += BP_LANES) {
        const __m512i x = _mm512_loadu_si512(at), magnitude = _mm512_and_si512(x, MAGNITUDE_F32);
        const __mmask16 is_zero = _mm512_testn_epi32_mask(x, MAGNITUDE_F32);
        const __mmask16 is_small = _mm512_cmplt_epi32_mask(magnitude, border);
        n_zero = _mm512_mask_add_epi32(n_zero, is_zero, n_zero, one);
        n_small = _mm512_mask_add_epi32(n_small, is_small, n_small, one);
        any = _mm512_mask_or_epi32(any, is_zero, any, x);
        all = _mm512_mask_and_epi32(all, is_zero, all, x);
        least = _mm512_mask_min_ps(least, _knot_mask16(is_zero), least,
                                   _mm512_castsi512_ps(magnitude));
    }
    _mm512_store_ps(run->least.f32, least);
    const uint64_t zero = (uint64_t)_mm512_reduce_add_epi32(n_zero);
    small->zero += zero;
    small->subnormal += (uint64_t)_mm512_reduce_add_epi32(n_small) - zero;
    small->negative_zero |= _mm512_movepi32_mask(any) != 0;
    small->positive_zero |= _mm512_movepi32_mask(all) != 0xffff;
}

static void extremes_of_f32(const bp_run *run, double *min, double *max) {
    *min = (double)_mm512_reduce_min_ps(_mm512_load_ps(run->min.f32));
    *max = (double)_mm512_reduce_max_ps(_mm512_load_ps(run->max.f32));
}

/* --- f64 -------------------------------------------------------------------------------------- */

typedef struct extremes_f64 {
    __m512d min, max, least;
} extremes_f64;

static inline void add_half_f64(sums *s, extremes_f64 *e, int half, const double *at) {
    const __m512d x = _mm512_loadu_pd(at);
    s->sum[half] = _mm512_add_pd(s->sum[half], x);
    s->squares[half] = _mm512_add_pd(s->squares[half], _mm512_mul_pd(x, x));
    e[half].min = _mm512_min_pd(e[half].min, x);
    e[half].max = _mm512_max_pd(e[half].max, x);
    e[half].least = _mm512_range_pd(e[half].least, x, LEAST_MAGNITUDE);
}

static bp_verdict add_f64(bp_run *after, const bp_run *before, const void *elements, size_t rounds,
                          double smallest_normal) {
    const double *at = elements;
    const __m512d infinity = _mm512_set1_pd(__builtin_inf());
    sums s = load_sums(before);
    extremes_f64 e[2] = {{infinity, -infinity, infinity}, {infinity, -infinity, infinity}};
    for (size_t i = 0; i < rounds; i++, at += BP_LANES) {
        add_half_f64(&s, e, 0, at);
        add_half_f64(&s, e, 1, at + 8);
    }
    const __m512d min = _mm512_min_pd(e[0].min, e[1].min), max = _mm512_max_pd(e[0].max, e[1].max);
    const __m512d least = _mm512_min_pd(e[0].least, e[1].least);
    _mm512_store_pd(after->min.f64, _mm512_min_pd(min, _mm512_load_pd(before->min.f64)));
    _mm512_store_pd(after->max.f64, _mm512_max_pd(max, _mm512_load_pd(before->max.f64)));
    _mm512_store_pd(after->least.f64, least);
    _mm512_store_pd(after->most.f64, _mm512_max_pd(max, -min));
    if (!store_sums(after, &s)) return BP_BLOCK_NOT_FINITE;
    const __m512d border = _mm512_set1_pd(smallest_normal);
    return _mm512_cmp_pd_mask(least, border, _CMP_LT_OQ) ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static void small_f64(bp_small *small, bp_run *run, const void *elements, size_t rounds,
                      double smallest_normal) {
    const double *at = elements;
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i border = _mm512_castpd_si512(_mm512_set1_pd(smallest_normal));
    __m512i n_zero = _mm512_setzero_si512(), n_small = n_zero;
    __m512i all = _mm512_set1_epi64(-1), any = n_zero; /* bits of zeros */
    __m512d least = _mm512_set1_pd(__builtin_inf());
    for (size_t i = 0; i < 2 * rounds; i++, at += 8) {
        const __m512i x = _mm512_loadu_si512(at), magnitude = _mm512_and_si512(x, MAGNITUDE_F64);
        const __mmask8 is_zero = _mm512_testn_epi64_mask(x, MAGNITUDE_F64);
        const __mmask8 is_small = _mm512_cmplt_epi64_mask(magnitude, border);
        n_zero = _mm512_mask_add_epi64(n_zero, is_zero, n_zero, one);
        n_small = _mm512_mask_add_epi64(n_small, is_small, n_small, one);
        any = _mm512_mask_or_epi64(any, is_zero, any, x);
        all = _mm512_mask_and_epi64(all, is_zero, all, x);
        least = _mm512_mask_min_pd(least, _knot_mask8(is_zero), least,
                                   _mm512_castsi512_pd(magnitude));
    }
    _mm512_store_pd(run->least.f64, least);
    const uint64_t zero = (uint64_t)_mm512_reduce_add_epi64(n_zero);
    small->zero += zero;
    small->subnormal += (uint64_t)_mm512_reduce_add_epi64(n_small) - zero;
    small->negative_zero |= _mm512_movepi64_mask(any) != 0;
    small->positive_zero |= _mm512_movepi64_mask(all) != 0xff;
}

static void extremes_of_f64(const bp_run *run, double *min, double *max) {
    *min = _mm512_reduce_min_pd(_mm512_load_pd(run->min.f64));
    *max = _mm512_reduce_max_pd(_mm512_load_pd(run->max.f64));
}

/* --- f16 and bf16 ----------------------------------------------------------------------------- */

static void widen_f16(float *to, const void *from, size_t rounds) {
    const uint16_t *at = from;
    for (size_t i = 0; i < rounds; i++, at += BP_LANES, to += BP_LANES)
        _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)at)));
}

/* Even and odd elements lie in the low and high halves of 32 bits: one operation each, where their
 * own order would take a shuffle more. */
static void widen_bf16(float *to, const void *from, size_t rounds) {
    const uint16_t *at = from;
    size_t i = 0;
    for (; i + 2 <= rounds; i += 2, at += 2 * BP_LANES, to += 2 * BP_LANES) {
        const __m512i x = _mm512_loadu_si512(at);
        const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
        const __m512 odd =
            _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000u)));
        _mm256_storeu_ps(to, _mm512_castps512_ps256(even));
        _mm256_storeu_ps(to + 8, _mm512_castps512_ps256(odd));
        _mm256_storeu_ps(to + 16, _mm512_extractf32x8_ps(even, 1));
        _mm256_storeu_ps(to + 24, _mm512_extractf32x8_ps(odd, 1));
    }
    if (i == rounds) return;
    const __m256i x = _mm256_loadu_si256((const void *)at);
    _mm256_storeu_si256((void *)to, _mm256_slli_epi32(x, 16));
    _mm256_storeu_si256((void *)(to + 8),
                        _mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000u)));
}

const bp_level bp_level_avx512 = {
    .name = "avx512",
    .f32 = {add_f32, small_f32, extremes_of_f32},
    .f64 = {add_f64, small_f64, extremes_of_f64},
    .f16 = widen_f16,
    .bf16 = widen_bf16,
    .bf16_even_odd = true,
};
