/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel in plain C: the definition that every other level is compared with. */
#include "stats/kernels/level.h"
#include "tensor/tensor.h"

static inline double f64_value(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double f32_value(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static inline double f16_value(uint16_t bits) {
    return (double)bp_f16_to_f32(bits);
}

static inline double bf16_value(uint16_t bits) {
    return (double)bp_bf16_to_f32(bits);
}

/* floor(log2|value|) of a finite value that is not zero. */
static inline int32_t octave_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= ~(UINT64_C(1) << 63);
    if (bits >> 52) return (int32_t)(bits >> 52) - 1023;
    return 63 - __builtin_clzll(bits) + BP_EXPONENT_MIN; /* an f64 subnormal */
}

/* In every format the magnitude bits are ordered: 0, subnormal, normal, Inf, NaN. So one text
 * serves all: only widths and the two borders differ. */
#define DEFINE_ADD(FORMAT, BITS, SIGN, NORMAL, INFINITE)                                        \
    void bp_scalar_add_##FORMAT(bp_lanes *lanes, bp_exponents *exponents, const void *elements, \
                                size_t n) {                                                     \
        const uint8_t *at = elements;                                                           \
        for (size_t i = 0; i < n; i++) {                                                        \
            BITS bits;                                                                          \
            memcpy(&bits, at + i * sizeof bits, sizeof bits);                                   \
            BITS magnitude = (BITS)(bits & ~(SIGN));                                            \
            if (magnitude >= (INFINITE)) {                                                      \
                lanes->nan += magnitude > (INFINITE);                                           \
                lanes->positive_inf += bits == (INFINITE);                                      \
                lanes->negative_inf += bits == ((INFINITE) | (SIGN));                           \
                continue;                                                                       \
            }                                                                                   \
            lanes->zero += magnitude == 0;                                                      \
            lanes->subnormal += magnitude != 0 && magnitude < (NORMAL);                         \
            const double value = FORMAT##_value(bits);                                          \
            const int64_t key = bp_key(value);                                                  \
            if (key < lanes->min_key) lanes->min_key = key;                                     \
            if (key > lanes->max_key) lanes->max_key = key;                                     \
            lanes->sum[i % BP_LANES] += value;                                                  \
            lanes->squares[i % BP_LANES] += value * value;                                      \
            if (exponents && magnitude) bp_exponents_count(exponents, octave_of(value), 1);     \
        }                                                                                       \
    }

DEFINE_ADD(f64, uint64_t, UINT64_C(1) << 63, UINT64_C(1) << 52, UINT64_C(0x7ff) << 52)
DEFINE_ADD(f32, uint32_t, 0x80000000u, 0x00800000u, 0x7f800000u)
DEFINE_ADD(f16, uint16_t, 0x8000u, 0x0400u, 0x7c00u)
DEFINE_ADD(bf16, uint16_t, 0x8000u, 0x0080u, 0x7f80u)

#define DEFINE_OCTAVES(FORMAT, BITS, SIGN, INFINITE)                                           \
    void bp_scalar_octaves_##FORMAT(bp_exponents *exponents, const void *elements, size_t n) { \
        const uint8_t *at = elements;                                                          \
        for (size_t i = 0; i < n; i++) {                                                       \
            BITS bits;                                                                         \
            memcpy(&bits, at + i * sizeof bits, sizeof bits);                                  \
            const BITS magnitude = (BITS)(bits & ~(SIGN));                                     \
            if (magnitude && magnitude < (INFINITE))                                           \
                bp_exponents_count(exponents, octave_of(FORMAT##_value(bits)), 1);             \
        }                                                                                      \
    }

DEFINE_OCTAVES(f64, uint64_t, UINT64_C(1) << 63, UINT64_C(0x7ff) << 52)
DEFINE_OCTAVES(f32, uint32_t, 0x80000000u, 0x7f800000u)

void bp_scalar_add_f64_scaled(bp_lanes *lanes, const void *elements, size_t n, double sum_factor,
                              const double square_factors[2]) {
    const uint8_t *at = elements;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, at + i * sizeof bits, sizeof bits);
        if ((bits & ~(UINT64_C(1) << 63)) >= UINT64_C(0x7ff) << 52) continue;
        double value = f64_value(bits), scaled = value * square_factors[0] * square_factors[1];
        lanes->sum[i % BP_LANES] += value * sum_factor;
        lanes->squares[i % BP_LANES] += scaled * scaled;
    }
}

const bp_level bp_level_scalar = {.name = "scalar"};
