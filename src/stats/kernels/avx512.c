/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512: a vector holds the 16 lanes of f32, two vectors those of f64. */
#include "stats/kernels/level.h"
#include "tensor/tensor.h"

#include <immintrin.h>

/* For what is compiled once a format. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define NAN_OR_INF 0x09      /* fpclass: of a result, so the NaN is quiet; of a square */
#define LEAST_MAGNITUDE 0x0a /* range: the smaller magnitude, sign cleared */
#define MAGNITUDE_F32 _mm512_set1_epi32(0x7fffffff)
#define MAGNITUDE_F64 _mm512_set1_epi64(0x7fffffffffffffff)

/* Two KiB ahead, but not past the end, where no page may be: looking for it takes long. Macros, for
 * gcc drops a function that does nothing but this. */
#define AHEAD 2048
#define PREFETCH(at, last)                                                                  \
    _mm_prefetch((const char *)(at) + AHEAD < (last) ? (const char *)(at) + AHEAD : (last), \
                 _MM_HINT_T0)

typedef struct sums {
    __m512d sum[2], squares[2];
} sums;

static inline sums load_sums(const bp_run *run) {
    return (sums){{_mm512_load_pd(run->sum), _mm512_load_pd(run->sum + 8)},
                  {_mm512_load_pd(run->squares), _mm512_load_pd(run->squares + 8)}};
}

/* False where an element was not finite: then its square is not, nor their sum. Finite elements may
 * come to that, too (f64). */
static inline bool store_sums(bp_run *run, const sums *s) {
    for (size_t i = 0; i < 2; i++) {
        _mm512_store_pd(run->sum + 8 * i, s->sum[i]);
        _mm512_store_pd(run->squares + 8 * i, s->squares[i]);
    }
    return !(_mm512_fpclass_pd_mask(s->squares[0], NAN_OR_INF) |
             _mm512_fpclass_pd_mask(s->squares[1], NAN_OR_INF));
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

static inline bp_verdict verdict_of(__m512 least, double smallest_normal) {
    const __m512 border = _mm512_set1_ps((float)smallest_normal);
    return _mm512_cmp_ps_mask(least, border, _CMP_LT_OQ) ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static void begin_f32(bp_run *run) {
    _mm512_store_ps(run->min.f32, _mm512_set1_ps(__builtin_inff()));
    _mm512_store_ps(run->max.f32, _mm512_set1_ps(-__builtin_inff()));
}

static bp_verdict add_f32(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    const float *at = rounds->elements, *end = at + BP_LANES * rounds->n;
    const __m512 infinity = _mm512_set1_ps(__builtin_inff());
    sums s = load_sums(before);
    extremes_f32 e[2] = {{infinity, -infinity, infinity}, {infinity, -infinity, infinity}};
    for (; at + 2 * BP_LANES <= end; at += 2 * BP_LANES) {
        PREFETCH(at, rounds->last);
        PREFETCH(at + 16, rounds->last);
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
    return store_sums(after, &s) ? verdict_of(least, rounds->smallest_normal) : BP_BLOCK_NOT_FINITE;
}

static void small_f32(bp_small *small, bp_run *run, const bp_rounds *rounds) {
    const float *at = rounds->elements;
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i border = _mm512_castps_si512(_mm512_set1_ps((float)rounds->smallest_normal));
    __m512i n_zero = _mm512_setzero_si512(), n_small = n_zero;
    __m512i all = _mm512_set1_epi32(-1), any = n_zero; /* bits of zeros */
    __m512 least = _mm512_set1_ps(__builtin_inff());
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES) {
        const __m512i x = _mm512_loadu_si512(at), magnitude = _mm512_and_si512(x, MAGNITUDE_F32);
        const __mmask16 is_zero = _mm512_testn_epi32_mask(x, MAGNITUDE_F32);
        const __mmask16 is_small = _mm512_cmplt_epi32_mask(magnitude, border);
        n_zero = _mm512_mask_add_epi32(n_zero, is_zero, n_zero, one);
        n_small = _mm512_mask_add_epi32(n_small, is_small, n_small, one);
        any = _mm512_mask_or_epi32(any, is_zero, any, x);
        all = _mm512_mask_and_epi32(all, is_zero, all, x);
        least =
            _mm512_mask_min_ps(least, _knot_mask16(is_zero), least, _mm512_castsi512_ps(magnitude));
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

static void begin_f64(bp_run *run) {
    _mm512_store_pd(run->min.f64, _mm512_set1_pd(__builtin_inf()));
    _mm512_store_pd(run->max.f64, _mm512_set1_pd(-__builtin_inf()));
}

static bp_verdict add_f64(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    const double *at = rounds->elements;
    const __m512d infinity = _mm512_set1_pd(__builtin_inf());
    sums s = load_sums(before);
    extremes_f64 e[2] = {{infinity, -infinity, infinity}, {infinity, -infinity, infinity}};
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES) {
        PREFETCH(at, rounds->last);
        PREFETCH(at + 8, rounds->last);
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
    const __m512d border = _mm512_set1_pd(rounds->smallest_normal);
    return _mm512_cmp_pd_mask(least, border, _CMP_LT_OQ) ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static void small_f64(bp_small *small, bp_run *run, const bp_rounds *rounds) {
    const double *at = rounds->elements;
    const __m512i one = _mm512_set1_epi64(1);
    const __m512i border = _mm512_castpd_si512(_mm512_set1_pd(rounds->smallest_normal));
    __m512i n_zero = _mm512_setzero_si512(), n_small = n_zero;
    __m512i all = _mm512_set1_epi64(-1), any = n_zero; /* bits of zeros */
    __m512d least = _mm512_set1_pd(__builtin_inf());
    for (size_t i = 0; i < 2 * rounds->n; i++, at += 8) {
        const __m512i x = _mm512_loadu_si512(at), magnitude = _mm512_and_si512(x, MAGNITUDE_F64);
        const __mmask8 is_zero = _mm512_testn_epi64_mask(x, MAGNITUDE_F64);
        const __mmask8 is_small = _mm512_cmplt_epi64_mask(magnitude, border);
        n_zero = _mm512_mask_add_epi64(n_zero, is_zero, n_zero, one);
        n_small = _mm512_mask_add_epi64(n_small, is_small, n_small, one);
        any = _mm512_mask_or_epi64(any, is_zero, any, x);
        all = _mm512_mask_and_epi64(all, is_zero, all, x);
        least =
            _mm512_mask_min_pd(least, _knot_mask8(is_zero), least, _mm512_castsi512_pd(magnitude));
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

/* Their extremes by 32 words at once. As signed numbers the largest is the largest positive
 * element, or all are negative; as unsigned ones it is the lowest negative one, or none is. In the
 * other cases the element nearest to zero is the extreme. */
typedef struct extremes_f16 {
    __m512i as_signed, as_unsigned;
    __m512 least[2];
} extremes_f16;

static inline extremes_f16 no_extremes_f16(void) {
    const __m512 infinity = _mm512_set1_ps(__builtin_inff());
    return (extremes_f16){
        _mm512_set1_epi16(INT16_MIN), _mm512_setzero_si512(), {infinity, infinity}};
}

static inline void extend_f16(extremes_f16 *e, __m512i words, __m512 x, __m512 y) {
    e->as_signed = _mm512_max_epi16(e->as_signed, words);
    e->as_unsigned = _mm512_max_epu16(e->as_unsigned, words);
    e->least[0] = _mm512_range_ps(e->least[0], x, LEAST_MAGNITUDE);
    e->least[1] = _mm512_range_ps(e->least[1], y, LEAST_MAGNITUDE);
}

/* Elements in memory order, or for bf16 even ones and odd ones: an operation each. */
static inline void widen(const uint16_t words[32], bool is_bf16, __m512 *x, __m512 *y) {
    if (is_bf16) {
        const __m512i pairs = _mm512_loadu_si512(words);
        *x = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        *y = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
    } else {
        *x = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)words));
        *y = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(words + 16)));
    }
}

/* Through memory, which loads and widens in one operation where registers take two. */
static inline void sum_f16(sums *s, float buffer[32], __m512 x, __m512 y, bool is_bf16) {
    _mm512_store_ps(buffer, x);
    _mm512_store_ps(buffer + 16, y);
    __asm__ volatile("" : "+m"(*(float (*)[32])buffer)); /* do not see through it */
    sum_f32(s, 0, buffer);
    sum_f32(s, is_bf16 ? 0 : 1, buffer + 8);
    sum_f32(s, is_bf16 ? 1 : 0, buffer + 16);
    sum_f32(s, 1, buffer + 24);
}

ALWAYS_INLINE bp_verdict add_halves(bp_run *after, const bp_run *before, const bp_rounds *rounds,
                                    bool is_bf16) {
    const uint16_t *at = rounds->elements;
    _Alignas(64) float buffer[32];
    sums s = load_sums(before);
    extremes_f16 e = no_extremes_f16();
    __m512 x, y;
    for (const uint16_t *end = at + rounds->n / 2 * 2 * BP_LANES; at < end; at += 2 * BP_LANES) {
        PREFETCH(at, rounds->last);
        widen(at, is_bf16, &x, &y);
        extend_f16(&e, _mm512_loadu_si512(at), x, y);
        sum_f16(&s, buffer, x, y, is_bf16);
    }
    if (rounds->n % 2) { /* twice the same 16 elements, one of them summed */
        uint16_t twice[32];
        memcpy(twice, at, sizeof twice / 2);
        memcpy(twice + 16, at, sizeof twice / 2);
        widen(twice, is_bf16, &x, &y);
        extend_f16(&e, _mm512_loadu_si512(twice), x, y);
        _mm512_store_ps(buffer, x);
        _mm512_store_ps(buffer + 16, y);
        sum_f32(&s, 0, buffer);
        sum_f32(&s, 1, is_bf16 ? buffer + 16 : buffer + 8);
    }
    const __m512 least = _mm512_min_ps(e.least[0], e.least[1]);
    const __m512i magnitude = _mm512_set1_epi16(INT16_MAX);
    uint16_t most[32];
    _mm512_storeu_si512(most, _mm512_max_epi16(_mm512_and_si512(e.as_signed, magnitude),
                                               _mm512_and_si512(e.as_unsigned, magnitude)));
    widen(most, is_bf16, &x, &y);
    _mm512_store_si512(&after->max, _mm512_max_epi16(e.as_signed, _mm512_load_si512(&before->max)));
    _mm512_store_si512(&after->min,
                       _mm512_max_epu16(e.as_unsigned, _mm512_load_si512(&before->min)));
    _mm512_store_ps(after->nearest.f32, _mm512_min_ps(least, _mm512_load_ps(before->nearest.f32)));
    _mm512_store_ps(after->least.f32, least);
    _mm512_store_ps(after->most.f32, _mm512_max_ps(x, y));
    return store_sums(after, &s) ? verdict_of(least, rounds->smallest_normal) : BP_BLOCK_NOT_FINITE;
}

static bp_verdict add_f16(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_halves(after, before, rounds, false);
}

static bp_verdict add_bf16(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_halves(after, before, rounds, true);
}

static void begin_halves(bp_run *run) {
    const extremes_f16 nothing = no_extremes_f16();
    _mm512_store_si512(&run->max, nothing.as_signed);
    _mm512_store_si512(&run->min, nothing.as_unsigned);
    _mm512_store_ps(run->nearest.f32, nothing.least[0]);
}

static void extremes_of_halves(const bp_run *run, double *min, double *max,
                               float (*value)(uint16_t)) {
    uint16_t as_signed[32], as_unsigned[32];
    memcpy(as_signed, &run->max, sizeof as_signed);
    memcpy(as_unsigned, &run->min, sizeof as_unsigned);
    int16_t highest = INT16_MIN;
    uint16_t lowest = 0;
    for (int i = 0; i < 32; i++) {
        if ((int16_t)as_signed[i] > highest) highest = (int16_t)as_signed[i];
        if (as_unsigned[i] > lowest) lowest = as_unsigned[i];
    }
    const double nearest = (double)_mm512_reduce_min_ps(_mm512_load_ps(run->nearest.f32));
    *min = lowest & 0x8000u ? (double)value(lowest) : nearest;
    *max = highest >= 0 ? (double)value((uint16_t)highest) : -nearest;
}

static void extremes_of_f16(const bp_run *run, double *min, double *max) {
    extremes_of_halves(run, min, max, bp_f16_to_f32);
}

static void extremes_of_bf16(const bp_run *run, double *min, double *max) {
    extremes_of_halves(run, min, max, bp_bf16_to_f32);
}

static void widen_f16(float *to, const void *from, size_t n_rounds) {
    const uint16_t *at = from;
    for (size_t i = 0; i < n_rounds; i++, at += BP_LANES, to += BP_LANES)
        _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)at)));
}

static void widen_bf16(float *to, const void *from, size_t n_rounds) {
    const uint16_t *at = from;
    for (size_t i = 0; i < n_rounds; i++, at += BP_LANES, to += BP_LANES) {
        const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)at));
        _mm512_storeu_si512(to, _mm512_slli_epi32(bits, 16));
    }
}

static const bp_level_format for_f32 = {
    add_f32, begin_f32, extremes_of_f32,       false,
    NULL,    small_f32, bp_avx512_octaves_f32, bp_avx512_flush_f32};
static const bp_level_format for_f64 = {
    add_f64, begin_f64, extremes_of_f64,       false,
    NULL,    small_f64, bp_avx512_octaves_f64, bp_avx512_flush_f64};
static const bp_level_format for_f16 = {
    add_f16,   begin_halves, extremes_of_f16,       false,
    widen_f16, small_f32,    bp_avx512_octaves_f32, bp_avx512_flush_f32};
static const bp_level_format for_bf16 = {
    add_bf16,   begin_halves, extremes_of_bf16,      true,
    widen_bf16, small_f32,    bp_avx512_octaves_f32, bp_avx512_flush_f32};

const bp_level bp_level_avx512 = {
    .name = "avx512",
    .format = {
        [BP_F32] = &for_f32, [BP_F64] = &for_f64, [BP_F16] = &for_f16, [BP_BF16] = &for_bf16}};
