/* SPDX-License-Identifier: Apache-2.0 */
/* NEON, which every aarch64 has: four vectors hold the 16 lanes of f32, eight those of f64. Octaves
 * are counted by the scalar definition. */
#include "stats/kernels/level.h"

#include <arm_neon.h>

/* For what is compiled once a format. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct sums {
    float64x2_t sum[8], squares[8];
} sums;

static inline sums load_sums(const bp_run *run) {
    sums s;
    for (size_t i = 0; i < 8; i++) {
        s.sum[i] = vld1q_f64(run->sum + 2 * i);
        s.squares[i] = vld1q_f64(run->squares + 2 * i);
    }
    return s;
}

/* False where an element was not finite: then its square is not, nor their sum. Finite elements may
 * come to that, too (f64). */
static inline bool store_sums(bp_run *run, const sums *s) {
    const float64x2_t infinity = vdupq_n_f64(__builtin_inf());
    uint64x2_t finite = vdupq_n_u64(UINT64_MAX);
    for (size_t i = 0; i < 8; i++) {
        vst1q_f64(run->sum + 2 * i, s->sum[i]);
        vst1q_f64(run->squares + 2 * i, s->squares[i]);
        finite = vandq_u64(finite, vcltq_f64(s->squares[i], infinity));
    }
    return vgetq_lane_u64(finite, 0) & vgetq_lane_u64(finite, 1) & 1;
}

/* --- f32, f16, bf16 ----------------------------------------------------------------------------
 */

typedef enum narrow { F32, F16, BF16 } narrow;

typedef struct extremes_f32 {
    float32x4_t min, max, least;
} extremes_f32;

/* Elements 4 quarter ... 4 quarter + 3 of a round; memcpy, for they may be unaligned. */
ALWAYS_INLINE float32x4_t quarter_of(const uint8_t *at, int quarter, narrow format) {
    if (format == F32) return vreinterpretq_f32_u8(vld1q_u8(at + 16 * quarter));
    const uint16x4_t words = vreinterpret_u16_u8(vld1_u8(at + 8 * quarter));
    if (format == F16) return vcvt_f32_f16(vreinterpret_f16_u16(words));
    return vreinterpretq_f32_u32(vshll_n_u16(words, 16));
}

/* To four lanes; the squares are exact. */
static inline void sum_quarter(sums *s, int quarter, float32x4_t x) {
    const float64x2_t low = vcvt_f64_f32(vget_low_f32(x)), high = vcvt_high_f64_f32(x);
    s->sum[2 * quarter] = vaddq_f64(s->sum[2 * quarter], low);
    s->sum[2 * quarter + 1] = vaddq_f64(s->sum[2 * quarter + 1], high);
    s->squares[2 * quarter] = vfmaq_f64(s->squares[2 * quarter], low, low);
    s->squares[2 * quarter + 1] = vfmaq_f64(s->squares[2 * quarter + 1], high, high);
}

static void begin_f32(bp_run *run) {
    vst1q_f32(run->min.f32, vdupq_n_f32(__builtin_inff()));
    vst1q_f32(run->max.f32, vdupq_n_f32(-__builtin_inff()));
}

ALWAYS_INLINE bp_verdict add_narrow(bp_run *after, const bp_run *before, const bp_rounds *rounds,
                                    narrow format) {
    const uint8_t *at = rounds->elements;
    const float32x4_t infinity = vdupq_n_f32(__builtin_inff());
    sums s = load_sums(before);
    extremes_f32 e = {infinity, vnegq_f32(infinity), infinity};
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES * (format == F32 ? 4 : 2))
        for (int quarter = 0; quarter < 4; quarter++) {
            const float32x4_t x = quarter_of(at, quarter, format);
            sum_quarter(&s, quarter, x);
            e.min = vminq_f32(e.min, x);
            e.max = vmaxq_f32(e.max, x);
            e.least = vminq_f32(e.least, vabsq_f32(x));
        }
    vst1q_f32(after->min.f32, vminq_f32(e.min, vld1q_f32(before->min.f32)));
    vst1q_f32(after->max.f32, vmaxq_f32(e.max, vld1q_f32(before->max.f32)));
    vst1q_f32(after->least.f32, e.least);
    if (!store_sums(after, &s)) return BP_BLOCK_NOT_FINITE;
    return vminvq_f32(e.least) < (float)rounds->smallest_normal ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static bp_verdict add_f32(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_narrow(after, before, rounds, F32);
}

static bp_verdict add_f16(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_narrow(after, before, rounds, F16);
}

static bp_verdict add_bf16(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    return add_narrow(after, before, rounds, BF16);
}

static void extremes_of_f32(const bp_run *run, double *min, double *max) {
    *min = (double)vminvq_f32(vld1q_f32(run->min.f32));
    *max = (double)vmaxvq_f32(vld1q_f32(run->max.f32));
}

static void small_f32(bp_small *small, bp_run *run, const bp_rounds *rounds) {
    const uint8_t *at = rounds->elements;
    const float32x4_t border = vdupq_n_f32((float)rounds->smallest_normal);
    (void)run; /* least is for octaves */
    uint32x4_t n_zero = vdupq_n_u32(0), n_small = n_zero, any = n_zero, all = vdupq_n_u32(~0u);
    for (size_t i = 0; i < 4 * rounds->n; i++, at += 16) {
        const uint32x4_t bits = vreinterpretq_u32_u8(vld1q_u8(at));
        const float32x4_t x = vreinterpretq_f32_u32(bits);
        const uint32x4_t is_zero = vceqzq_f32(x), is_small = vcltq_f32(vabsq_f32(x), border);
        n_zero = vsubq_u32(n_zero, is_zero);
        n_small = vsubq_u32(n_small, is_small);
        any = vorrq_u32(any, vandq_u32(is_zero, bits));
        all = vandq_u32(all, vornq_u32(bits, is_zero));
    }
    const uint64_t zero = vaddvq_u32(n_zero);
    small->zero += zero;
    small->subnormal += vaddvq_u32(n_small) - zero;
    small->negative_zero |= vmaxvq_u32(any) >> 31 != 0;
    small->positive_zero |= vminvq_u32(all) >> 31 == 0;
}

static void widen_f16(float *to, const void *from, size_t n_rounds) {
    const uint8_t *at = from;
    for (size_t i = 0; i < 4 * n_rounds; i++) vst1q_f32(to + 4 * i, quarter_of(at + 8 * i, 0, F16));
}

static void widen_bf16(float *to, const void *from, size_t n_rounds) {
    const uint8_t *at = from;
    for (size_t i = 0; i < 4 * n_rounds; i++)
        vst1q_f32(to + 4 * i, quarter_of(at + 8 * i, 0, BF16));
}

/* --- f64 ---------------------------------------------------------------------------------------
 */

static void begin_f64(bp_run *run) {
    vst1q_f64(run->min.f64, vdupq_n_f64(__builtin_inf()));
    vst1q_f64(run->max.f64, vdupq_n_f64(-__builtin_inf()));
}

static bp_verdict add_f64(bp_run *after, const bp_run *before, const bp_rounds *rounds) {
    const uint8_t *at = rounds->elements;
    const float64x2_t infinity = vdupq_n_f64(__builtin_inf());
    sums s = load_sums(before);
    float64x2_t min = infinity, max = vnegq_f64(infinity), least = infinity;
    for (size_t i = 0; i < rounds->n; i++, at += BP_LANES * sizeof(double))
        for (int part = 0; part < 8; part++) {
            const float64x2_t x = vreinterpretq_f64_u8(vld1q_u8(at + 16 * part));
            s.sum[part] = vaddq_f64(s.sum[part], x);
            s.squares[part] = vaddq_f64(s.squares[part], vmulq_f64(x, x)); /* not fused */
            min = vminq_f64(min, x);
            max = vmaxq_f64(max, x);
            least = vminq_f64(least, vabsq_f64(x));
        }
    vst1q_f64(after->min.f64, vminq_f64(min, vld1q_f64(before->min.f64)));
    vst1q_f64(after->max.f64, vmaxq_f64(max, vld1q_f64(before->max.f64)));
    vst1q_f64(after->least.f64, least);
    if (!store_sums(after, &s)) return BP_BLOCK_NOT_FINITE;
    return vminvq_f64(least) < rounds->smallest_normal ? BP_BLOCK_SMALL : BP_BLOCK_PLAIN;
}

static void extremes_of_f64(const bp_run *run, double *min, double *max) {
    *min = vminvq_f64(vld1q_f64(run->min.f64));
    *max = vmaxvq_f64(vld1q_f64(run->max.f64));
}

static void small_f64(bp_small *small, bp_run *run, const bp_rounds *rounds) {
    const uint8_t *at = rounds->elements;
    (void)run;
    for (size_t i = 0; i < BP_LANES * rounds->n; i++) {
        uint64_t bits;
        memcpy(&bits, at + i * sizeof bits, sizeof bits);
        const uint64_t magnitude = bits & INT64_MAX;
        small->zero += magnitude == 0;
        small->subnormal += magnitude != 0 && magnitude < UINT64_C(1) << 52;
        small->positive_zero |= bits == 0;
        small->negative_zero |= bits == UINT64_C(1) << 63;
    }
}

/* --- the tables --------------------------------------------------------------------------------
 */

static bool no_octaves(bp_planes *planes, bp_exponents *exponents, const bp_run *run,
                       const bp_rounds *rounds, bool has_zero) {
    (void)planes;
    (void)exponents;
    (void)run;
    (void)rounds;
    (void)has_zero;
    return false;
}

static const bp_level_format for_f32 = {add_f32, begin_f32, extremes_of_f32, false,
                                        NULL,    small_f32, no_octaves,      NULL};
static const bp_level_format for_f64 = {add_f64, begin_f64, extremes_of_f64, false,
                                        NULL,    small_f64, no_octaves,      NULL};
static const bp_level_format for_f16 = {add_f16,   begin_f32, extremes_of_f32, false,
                                        widen_f16, small_f32, no_octaves,      NULL};
static const bp_level_format for_bf16 = {add_bf16,   begin_f32, extremes_of_f32, false,
                                         widen_bf16, small_f32, no_octaves,      NULL};

const bp_level bp_level_neon = {
    .name = "neon",
    .format = {
        [BP_F32] = &for_f32, [BP_F64] = &for_f64, [BP_F16] = &for_f16, [BP_BF16] = &for_bf16}};
