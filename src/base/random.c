/* SPDX-License-Identifier: Apache-2.0 */
/* Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011): counter in, random bits out, no state. */
#include "base/base.h"

#include <math.h>

void bp_random_block(const bp_random_key *key, uint64_t index, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)key->seed, k1 = (uint32_t)(key->seed >> 32);
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = key->purpose, c3 = key->step;
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = UINT64_C(0xd2511f53) * c0, p1 = UINT64_C(0xcd9e8d57) * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static uint64_t join(uint32_t high, uint32_t low) {
    return (uint64_t)high << 32 | low;
}

/* 53 bits in [0, 1). */
static double unit_interval(uint64_t bits) {
    return (double)(bits >> 11) * 0x1p-53;
}

double bp_random_uniform(const bp_random_key *key, uint64_t index) {
    uint32_t block[4];
    bp_random_block(key, index, block);
    return unit_interval(join(block[1], block[0]));
}

double bp_random_normal(const bp_random_key *key, uint64_t index) {
    uint32_t block[4];
    bp_random_block(key, index, block);
    double radius = 1.0 - unit_interval(join(block[1], block[0])); /* (0, 1]: log is finite */
    double angle = unit_interval(join(block[3], block[2]));
    return sqrt(-2.0 * log(radius)) * cos(6.283185307179586 * angle);
}

void bp_random_permutation(const bp_random_key *key, uint32_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) out[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t block[4];
        bp_random_block(key, i, block);
        /* The high word of (64 random bits * i): unbiased to 2^-32. */
        uint32_t j = (uint32_t)(((uint64_t)block[1] * i + ((uint64_t)block[0] * i >> 32)) >> 32);
        uint32_t kept = out[i - 1];
        out[i - 1] = out[j];
        out[j] = kept;
    }
}
