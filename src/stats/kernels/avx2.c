/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 with FMA and F16C: two vectors hold the 16 lanes of f32, four those of f64. */
#include "stats/kernels/level.h"

#include <immintrin.h>

/* For what is compiled once a format. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define MAGNITUDE_F32 _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff))
#define MAGNITUDE_F64 _mm256_castsi256_pd(_mm256_set1_epi64x(0x7fffffffffffffff))

/* Two KiB ahead, but not past the end, where no page may be: looking for it takes long. Macros, for
 * gcc drops a function that does nothing but this. */
#define AHEAD 2048
#define PREFETCH(at, last)                                                                  \
    _mm_prefetch((const char *)(at) + AHEAD < (last) ? (const char *)(at) + AHEAD : (last), \
                 _MM_HINT_T0)

typedef struct sums {
    __m256d sum[4], squares[4];
} sums;

static inline sums load_sums(const bp_run *run) {
    sums s;
    for (size_t i = 0; i < 4; i++) {
        s.sum[i] = _mm256_load_pd(run->sum + 4 * i);
        s.squares[i] = _mm256_load_pd(run->squares + 4 * i);
    }
    return s;
}

/* False where an element was not finite: then its square is not, nor their sum. Finite elements may
 * come to that, too (f64). */
static inline bool store_sums(bp_run *run, const sums *s) {
    const __m256d infinity = _mm256_set1_pd(__builtin_inf());
    __m256d finite = _mm256_castsi256_pd(_mm256_set1_epi64x(-1));
    for (size_t i = 0; i < 4; i++) {
        _mm256_store_pd(run->sum + 4 * i, s->sum[i]);
        _mm256_store_pd(run->squares + 4 * i, s->squares[i]);
        finite = _mm256_and_pd(finite, _mm256_cmp_pd(s->squares[i], infinity, _CMP_LT_OQ));
    }
    return _mm256_movemask_pd(finite) == 0xf;
}

/* --- f32 -------------------------------------------------------------------------------------- */

typedef struct extremes_f32 {
    __m256 min, max, least;
} extremes_f32;

static inline void extend_f32(extremes_f32 *e, __m256 x) {
    e->min = _mm256_min_ps(e->min, x);
    e->max = _mm256_max_ps(e->max, x);
    e->least = _mm256_min_ps(e->least, _mm256_and_ps(x, MAGNITUDE_F32));
}

/* To four lanes; the square is exact. */
static inline void sum_f32(sums *s, int quarter, __m128 narrow) {
    const __m256d x = _mm256_cvtps_pd(narrow);
    s->sum[quarter] = _mm256_add_pd(s->sum[quarter], x);
    s->squares[quarter] = _mm256_fmadd_pd(x, x, s->squares[quarter]);
}

static void begin_f32(bp_run *run) {
    _mm256_store_ps(run->min.f32, _mm256_set1_ps(__builtin_inff()));
    _mm256_store_ps(run->max.f32, _mm256_set1_ps(-__builtin_inff()));
}

/* The end of a block. */
static inline bp_verdict store_f32(bp_run *after, const bp_run *before, const sums *s,
                                   const extremes_f32 *e, double smallest_normal) {
    const __m256 most = _mm256_max_ps(e->max, _mm256_sub_ps(_mm256_setzero_ps(), e->min));
    _mm256_store_ps(after->min.f32, _mm256_min_ps(e->min, _mm256_load_ps(before->min.f32)));
    _mm256_store_ps(after->max.f32, _mm256_max_ps(e->max, _mm256_load_ps(before->max.f32)));
    _mm256_store_ps(after->least.f32, e->least);
    _mm256_store_ps(after->most.f32, most);
    if (!store_sums(after, s)) return BP_BLOCK_NOT_FINITE;
    const __m256 border = _mm256_set1_ps((float)smallest_normal);
    const __m256 is_small = _mm256_cmp_ps(e->least, border, _CMP_LT_OQ);
    return _mm256_movemask_ps(is_small) ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static bp_verdict add_f32(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    const float *at = rounds->elements;
    const __m256 infinity = _mm256_set1_ps(__builtin_inff());
    sums s = load_sums(before);
    extremes_f32 e = {infinity, -infinity, infinity};
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES) {
        PREFETCH(at, rounds->last);
        for (int quarter = 0; quarter < 4; quarter++)
            sum_f32(&s, quarter, _mm_loadu_ps(at + 4 * quarter));
        extend_f32(&e, _mm256_loadu_ps(at));
        extend_f32(&e, _mm256_loadu_ps(at + 8));
    }
    return store_f32(after, before, &s, &e, rounds->smallest_normal);
}

static uint64_t total_i32(__m256i counts) {
    int32_t parts[8];
    uint64_t total = 0;
    _mm256_storeu_si256((void *)parts, counts);
    for (int i = 0; i < 8; i++) total += (uint64_t)parts[i];
    return total;
}

static void small_f32(bp_small *small, bp_run *run, const bp_rounds *rounds) {
    const float *at = rounds->elements;
    const __m256 border = _mm256_set1_ps((float)rounds->smallest_normal),
                 zero = _mm256_setzero_ps();
    const __m256 infinity = _mm256_set1_ps(__builtin_inff());
    __m256i n_zero = _mm256_setzero_si256(), n_small = n_zero;
    __m256 any = zero, all = _mm256_castsi256_ps(_mm256_set1_epi32(-1)); /* bits of zeros */
    __m256 least = infinity;
    for (size_t i = 0; i < 2 * rounds->n; i++, at += 8) {
        const __m256 x = _mm256_loadu_ps(at), magnitude = _mm256_and_ps(x, MAGNITUDE_F32);
        const __m256 is_zero = _mm256_cmp_ps(x, zero, _CMP_EQ_OQ);
        const __m256 is_small = _mm256_cmp_ps(magnitude, border, _CMP_LT_OQ);
        n_zero = _mm256_sub_epi32(n_zero, _mm256_castps_si256(is_zero));
        n_small = _mm256_sub_epi32(n_small, _mm256_castps_si256(is_small));
        any = _mm256_or_ps(any, _mm256_and_ps(is_zero, x));
        all = _mm256_andnot_ps(_mm256_andnot_ps(x, is_zero), all);
        least = _mm256_min_ps(least, _mm256_blendv_ps(magnitude, infinity, is_zero));
    }
    _mm256_store_ps(run->least.f32, least);
    small->zero += total_i32(n_zero);
    small->subnormal += total_i32(n_small) - total_i32(n_zero);
    small->negative_zero |= _mm256_movemask_ps(any) != 0;
    small->positive_zero |= _mm256_movemask_ps(all) != 0xff;
}

static void extremes_of_f32(const bp_run *run, double *min, double *max) {
    float least = run->min.f32[0], most = run->max.f32[0];
    for (int i = 1; i < 8; i++) {
        least = run->min.f32[i] < least ? run->min.f32[i] : least;
        most = run->max.f32[i] > most ? run->max.f32[i] : most;
    }
    *min = (double)least;
    *max = (double)most;
}

/* --- f64 -------------------------------------------------------------------------------------- */

typedef struct extremes_f64 {
    __m256d min, max, least;
} extremes_f64;

static inline void add_quarter_f64(sums *s, extremes_f64 *e, int quarter, const double *at) {
    const __m256d x = _mm256_loadu_pd(at);
    s->sum[quarter] = _mm256_add_pd(s->sum[quarter], x);
    s->squares[quarter] = _mm256_add_pd(s->squares[quarter], _mm256_mul_pd(x, x));
    e->min = _mm256_min_pd(e->min, x);
    e->max = _mm256_max_pd(e->max, x);
    e->least = _mm256_min_pd(e->least, _mm256_and_pd(x, MAGNITUDE_F64));
}

static void begin_f64(bp_run *run) {
    _mm256_store_pd(run->min.f64, _mm256_set1_pd(__builtin_inf()));
    _mm256_store_pd(run->max.f64, _mm256_set1_pd(-__builtin_inf()));
}

static bp_verdict add_f64(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    const double *at = rounds->elements;
    const __m256d infinity = _mm256_set1_pd(__builtin_inf());
    sums s = load_sums(before);
    extremes_f64 e = {infinity, -infinity, infinity};
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES) {
        PREFETCH(at, rounds->last);
        PREFETCH(at + 8, rounds->last);
        for (int quarter = 0; quarter < 4; quarter++)
            add_quarter_f64(&s, &e, quarter, at + 4 * quarter);
    }
    const __m256d most = _mm256_max_pd(e.max, _mm256_sub_pd(_mm256_setzero_pd(), e.min));
    _mm256_store_pd(after->min.f64, _mm256_min_pd(e.min, _mm256_load_pd(before->min.f64)));
    _mm256_store_pd(after->max.f64, _mm256_max_pd(e.max, _mm256_load_pd(before->max.f64)));
    _mm256_store_pd(after->least.f64, e.least);
    _mm256_store_pd(after->most.f64, most);
    if (!store_sums(after, &s)) return BP_BLOCK_NOT_FINITE;
    const __m256d border = _mm256_set1_pd(rounds->smallest_normal);
    const __m256d is_small = _mm256_cmp_pd(e.least, border, _CMP_LT_OQ);
    return _mm256_movemask_pd(is_small) ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static uint64_t total_i64(__m256i counts) {
    uint64_t parts[4];
    _mm256_storeu_si256((void *)parts, counts);
    return parts[0] + parts[1] + parts[2] + parts[3];
}

static void small_f64(bp_small *small, bp_run *run, const bp_rounds *rounds) {
    const double *at = rounds->elements;
    const __m256d border = _mm256_set1_pd(rounds->smallest_normal), zero = _mm256_setzero_pd();
    const __m256d infinity = _mm256_set1_pd(__builtin_inf());
    __m256i n_zero = _mm256_setzero_si256(), n_small = n_zero;
    __m256d any = zero, all = _mm256_castsi256_pd(_mm256_set1_epi64x(-1)); /* bits of zeros */
    __m256d least = infinity;
    for (size_t i = 0; i < 4 * rounds->n; i++, at += 4) {
        const __m256d x = _mm256_loadu_pd(at), magnitude = _mm256_and_pd(x, MAGNITUDE_F64);
        const __m256d is_zero = _mm256_cmp_pd(x, zero, _CMP_EQ_OQ);
        const __m256d is_small = _mm256_cmp_pd(magnitude, border, _CMP_LT_OQ);
        n_zero = _mm256_sub_epi64(n_zero, _mm256_castpd_si256(is_zero));
        n_small = _mm256_sub_epi64(n_small, _mm256_castpd_si256(is_small));
        any = _mm256_or_pd(any, _mm256_and_pd(is_zero, x));
        all = _mm256_andnot_pd(_mm256_andnot_pd(x, is_zero), all);
        least = _mm256_min_pd(least, _mm256_blendv_pd(magnitude, infinity, is_zero));
    }
    _mm256_store_pd(run->least.f64, least);
    small->zero += total_i64(n_zero);
    small->subnormal += total_i64(n_small) - total_i64(n_zero);
    small->negative_zero |= _mm256_movemask_pd(any) != 0;
    small->positive_zero |= _mm256_movemask_pd(all) != 0xf;
}

static void extremes_of_f64(const bp_run *run, double *min, double *max) {
    *min = run->min.f64[0];
    *max = run->max.f64[0];
    for (int i = 1; i < 4; i++) {
        *min = run->min.f64[i] < *min ? run->min.f64[i] : *min;
        *max = run->max.f64[i] > *max ? run->max.f64[i] : *max;
    }
}

/* --- f16 and bf16 ----------------------------------------------------------------------------- */

static inline __m256 widened(const uint16_t *at, bool is_bf16) {
    const __m128i words = _mm_loadu_si128((const void *)at);
    if (!is_bf16) return _mm256_cvtph_ps(words);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}

ALWAYS_INLINE bp_verdict add_halves(bp_run *after, const bp_run *before, const bp_rounds *rounds,
                                    bool is_bf16) {
    const uint16_t *at = rounds->elements;
    const __m256 infinity = _mm256_set1_ps(__builtin_inff());
    sums s = load_sums(before);
    extremes_f32 e = {infinity, -infinity, infinity};
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES) {
        PREFETCH(at, rounds->last);
        for (int half = 0; half < 2; half++) {
            const __m256 x = widened(at + 8 * half, is_bf16);
            sum_f32(&s, 2 * half, _mm256_castps256_ps128(x));
            sum_f32(&s, 2 * half + 1, _mm256_extractf128_ps(x, 1));
            extend_f32(&e, x);
        }
    }
    return store_f32(after, before, &s, &e, rounds->smallest_normal);
}

static bp_verdict add_f16(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_halves(after, before, rounds, false);
}

static bp_verdict add_bf16(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_halves(after, before, rounds, true);
}

static void widen_f16(float *to, const void *from, size_t n_rounds) {
    const uint16_t *at = from;
    for (size_t i = 0; i < 2 * n_rounds; i++)
        _mm256_storeu_ps(to + 8 * i, widened(at + 8 * i, false));
}

static void widen_bf16(float *to, const void *from, size_t n_rounds) {
    const uint16_t *at = from;
    for (size_t i = 0; i < 2 * n_rounds; i++)
        _mm256_storeu_ps(to + 8 * i, widened(at + 8 * i, true));
}

static const bp_level_format for_f32 = {add_f32, begin_f32, extremes_of_f32,     false,
                                        NULL,    small_f32, bp_avx2_octaves_f32, bp_avx2_flush_f32};
static const bp_level_format for_f64 = {add_f64, begin_f64, extremes_of_f64,     false,
                                        NULL,    small_f64, bp_avx2_octaves_f64, bp_avx2_flush_f64};
static const bp_level_format for_f16 = {
    add_f16,   begin_f32, extremes_of_f32,     false,
    widen_f16, small_f32, bp_avx2_octaves_f32, bp_avx2_flush_f32};
static const bp_level_format for_bf16 = {
    add_bf16,   begin_f32, extremes_of_f32,     false,
    widen_bf16, small_f32, bp_avx2_octaves_f32, bp_avx2_flush_f32};

const bp_level bp_level_avx2 = {
    .name = "avx2",
    .format = {
        [BP_F32] = &for_f32, [BP_F64] = &for_f64, [BP_F16] = &for_f16, [BP_BF16] = &for_bf16}};
