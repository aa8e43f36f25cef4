/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of wide.h for any CPU, in vectors that every 64-bit one has. */
#include "stats/cpu.h"
#include "tensor/tensor.h"

#include <string.h>

typedef double vector __attribute__((vector_size(16)));
#define WIDTH 2
#define VECTORS 4

static inline vector load(const double *at) {
    vector x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline void store(double *at, vector x) {
    memcpy(at, &x, sizeof x);
}

static inline vector load_f64(const uint8_t *at) {
    vector x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline vector load_f32(const uint8_t *at) {
    float x[WIDTH];
    memcpy(x, at, sizeof x);
    return (vector){(double)x[0], (double)x[1]};
}

static inline vector load_f16(const uint8_t *at) {
    uint16_t x[WIDTH];
    memcpy(x, at, sizeof x);
    return (vector){(double)bp_f16_to_f32(x[0]), (double)bp_f16_to_f32(x[1])};
}

static inline vector load_bf16(const uint8_t *at) {
    uint16_t x[WIDTH];
    memcpy(x, at, sizeof x);
    return (vector){(double)bp_bf16_to_f32(x[0]), (double)bp_bf16_to_f32(x[1])};
}

/* Bits, not values, are compared: an update from +0 to -0 moved something. */
static inline uint64_t stalled_of(const uint8_t *gradient, const uint8_t *before,
                                  const uint8_t *after) {
    uint32_t g[16], old[16], new[16];
    memcpy(g, gradient, sizeof g);
    memcpy(old, before, sizeof old);
    memcpy(new, after, sizeof new);
    uint32_t found = 0;
    for (int j = 0; j < 16; j++) found += (old[j] == new[j]) & (g[j] << 1 != 0);
    return found;
}

#include "stats/kernels/wide_loops.h"

const bp_wide bp_wide_plain = {
    .f32 = add_f32, .f64 = add_f64, .f16 = add_f16, .bf16 = add_bf16, .update = add_update};

const bp_wide *bp_wide_of_cpu(void) {
#if defined(__x86_64__)
    const bp_level *level = bp_cpu();
    if (level == &bp_level_avx512) return &bp_wide_avx512;
    if (level == &bp_level_avx2) return &bp_wide_avx2;
#endif
    return &bp_wide_plain;
}
