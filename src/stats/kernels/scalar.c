/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel in plain C: the definition that every other level is compared with. */
#include "stats/kernels/kernel.h"
#include "tensor/tensor.h"

#include <string.h>

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

/* In every format the magnitude bits are ordered: 0, subnormal, normal, Inf, NaN. So one text
 * serves all: only widths and the two borders differ. */
#define DEFINE_ADD(FORMAT, BITS, SIGN, NORMAL, INFINITE)                                \
    static void add_##FORMAT(bp_lanes *lanes, const void *elements, size_t n) {         \
        const uint8_t *at = elements;                                                   \
        for (size_t i = 0; i < n; i++) {                                                \
            BITS bits;                                                                  \
            memcpy(&bits, at + i * sizeof bits, sizeof bits);                           \
            BITS magnitude = (BITS)(bits & ~(SIGN));                                    \
            if (magnitude >= (INFINITE)) {                                              \
                lanes->nan += magnitude > (INFINITE);                                   \
                lanes->positive_inf += bits == (INFINITE);                              \
                lanes->negative_inf += bits == ((INFINITE) | (SIGN));                   \
                continue;                                                               \
            }                                                                           \
            lanes->zero += magnitude == 0;                                              \
            lanes->subnormal += magnitude != 0 && magnitude < (NORMAL);                 \
            int64_t key = bits & (SIGN) ? -(int64_t)magnitude - 1 : (int64_t)magnitude; \
            if (key < lanes->min_key) lanes->min_key = key;                             \
            if (key > lanes->max_key) lanes->max_key = key;                             \
            double value = FORMAT##_value(bits);                                        \
            lanes->sum[i % BP_LANES] += value;                                          \
            lanes->squares[i % BP_LANES] += value * value;                              \
        }                                                                               \
    }

DEFINE_ADD(f64, uint64_t, UINT64_C(1) << 63, UINT64_C(1) << 52, UINT64_C(0x7ff) << 52)
DEFINE_ADD(f32, uint32_t, 0x80000000u, 0x00800000u, 0x7f800000u)
DEFINE_ADD(f16, uint16_t, 0x8000u, 0x0400u, 0x7c00u)
DEFINE_ADD(bf16, uint16_t, 0x8000u, 0x0080u, 0x7f80u)

static void add_f64_scaled(bp_lanes *lanes, const void *elements, size_t n, double sum_factor,
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

const bp_kernel bp_kernel_scalar = {
    .f32 = add_f32,
    .f64 = add_f64,
    .f16 = add_f16,
    .bf16 = add_bf16,
    .f64_scaled = add_f64_scaled,
};
