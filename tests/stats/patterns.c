/* SPDX-License-Identifier: Apache-2.0 */
/* All 2^32 patterns of f32, in tensors of the 2^16 that share their upper half: what is in each is
 * known in integers, without a look at an element.
 *
 *   patterns [LEVEL [EVERY]]
 *
 * LEVEL: the best CPU level to use; EVERY: only every so manieth tensor. docs/evidence/patterns.md
 * is a log of it. The last line counts tensors as tests. */
#include <backprobe/stats.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 65536 };

__extension__ typedef unsigned __int128 wide;

/* The elements are sign * (first + i) * 2^scale, i = 0 ... 65535; in a different lane each time. */
typedef struct half {
    uint32_t upper;
    bool negative;
    uint32_t exponent, first;
    int scale;
} half;

static half half_of(uint32_t upper) {
    half h = {.upper = upper, .negative = upper >> 15, .exponent = upper >> 7 & 0xff};
    h.first = (upper & 0x7f) << 16;
    if (h.exponent > 0) h.first |= 1u << 23;
    h.scale = (h.exponent > 0 ? (int)h.exponent : 1) - 150;
    return h;
}

/* Elements of which floor(log2(first + i)) is so much. */
static uint64_t n_of_octave(const half *h, int octave) {
    const int64_t low = (int64_t)1 << octave, end = low * 2;
    const int64_t first = h->first, past = first + N;
    const int64_t a = low > first ? low : first, b = end < past ? end : past;
    return b > a ? (uint64_t)(b - a) : 0;
}

static bool is_right_finite(const half *h, const bp_summary *s, const bp_exponents *e) {
    const bool has_zero = h->first == 0;
    if (s->nan || s->positive_inf || s->negative_inf || s->zero != has_zero) return false;
    if (s->subnormal != (h->exponent == 0 ? N - (uint64_t)has_zero : 0)) return false;
    const double sign = h->negative ? -1 : 1;
    const double nearest = sign * ldexp(h->first, h->scale);
    const double farthest = sign * ldexp(h->first + (N - 1), h->scale);
    const double min = h->negative ? farthest : nearest, max = h->negative ? nearest : farthest;
    if (memcmp(&s->min, &min, sizeof min) != 0 || memcmp(&s->max, &max, sizeof max) != 0)
        return false;
    /* N first + N (N - 1) / 2, of less than 53 bits: the sum in lanes is exact, too. */
    const uint64_t sum = (uint64_t)N * h->first + (uint64_t)N * (N - 1) / 2;
    if (s->sum != sign * ldexp((double)sum, h->scale)) return false;
    const wide first = h->first, n = N;
    const wide squares = n * first * first + first * n * (n - 1) + (n - 1) * n * (2 * n - 1) / 6;
    const double expected = ldexp((double)squares, 2 * h->scale);
    if (!(fabs(s->sum_squares - expected) <= 1e-12 * expected)) return false;
    for (int k = 0; k < 24; k++)
        if (bp_exponents_between(e, k + h->scale, k + h->scale + 1) != n_of_octave(h, k))
            return false;
    return bp_exponents_between(e, BP_EXPONENT_MIN, BP_EXPONENT_MAX + 1) == N - (uint64_t)has_zero;
}

static bool is_right(const half *h, const bp_summary *s, const bp_exponents *e) {
    if (s->count != N) return false;
    if (h->exponent != 255) return is_right_finite(h, s, e);
    const bool has_inf = (h->upper & 0x7f) == 0;
    return s->nan == N - (uint64_t)has_inf && s->positive_inf == (has_inf && !h->negative) &&
           s->negative_inf == (has_inf && h->negative) && s->zero == 0 && s->subnormal == 0 &&
           s->sum == 0 && s->sum_squares == 0 && isinf(s->min) && s->min > 0 && isinf(s->max) &&
           s->max < 0 && bp_exponents_between(e, BP_EXPONENT_MIN, BP_EXPONENT_MAX + 1) == 0;
}

int main(int argc, char **argv) {
    static uint32_t patterns[N];
    static bp_exponents exponents;
    unsigned mask = BP_CPU_ALL;
    const long every = argc > 2 ? atol(argv[2]) : 1;
    if (every < 1 || (argc > 1 && bp_cpu_mask_of(&mask, argv[1]) != BP_OK)) {
        fprintf(stderr, "usage: patterns [scalar|avx2|avx512|neon [EVERY]]\n");
        return 2;
    }
    bp_cpu_set_mask(mask);
    bp_exponents_init(&exponents);
    unsigned passed = 0, failed = 0;
    for (uint32_t upper = 0; upper < 65536; upper += (uint32_t)every) {
        const half h = half_of(upper);
        for (uint32_t i = 0; i < N; i++)
            patterns[i] = upper << 16 | ((i * 40503 + upper) & 0xffff); /* odd: each once */
        const bp_tensor tensor = bp_tensor_matrix(patterns, BP_F32, N, 0);
        bp_summary summary;
        bp_summarise_exponents(&summary, &exponents, &tensor);
        const bool right = is_right(&h, &summary, &exponents);
        passed += right;
        failed += !right;
        if (!right && failed <= 10) printf("wrong: patterns 0x%04x....\n", upper);
    }
    printf("level %s, tensors of 65536 patterns:\n%u passed, %u failed\n", bp_cpu_level(), passed,
           failed);
    return failed || !passed;
}
