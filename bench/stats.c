/* SPDX-License-Identifier: Apache-2.0 */
/* Our side of bench/stats.py: passes over one buffer of normally distributed numbers.
 *
 *   stats ELEMENTS [LEVEL]
 *
 * LEVEL: the best CPU level to use. Then it takes turns, a line each, `WHAT REPEATS`, and answers
 * each with the seconds that it took. WHAT: `sum`, a plain f32 sum of the buffer, the floor;
 * `f32`, `f64`, `f16`, `bf16`, one summary; `f32+exponents` and so on, with its histogram; `zeros`,
 * f32 of which half are 0; `many`, the buffer as tensors of 64 in one call. `level 1` answers with
 * the name of the level. */
#include "peak.h"

#include <backprobe/stats.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 64 /* elements of a tensor of `many` */

typedef struct buffers {
    size_t n;
    float *f32, *zeros;
    double *f64;
    uint16_t *f16, *bf16;
    bp_tensor *small;
    bp_summary *summaries;
} buffers;

static volatile double sink; /* what is never read may be left out */

static void *take(size_t n_bytes) {
    void *block = NULL;
    if (posix_memalign(&block, 4096, n_bytes + 4096) != 0) {
        fprintf(stderr, "stats: out of memory\n");
        exit(1);
    }
    return block;
}

/* Rounds to nearest; the values are normal in f16 or become 0. */
static uint16_t f16_of(float value) {
    int exponent;
    const float fraction = frexpf(fabsf(value), &exponent); /* 0.5 ... 1 */
    const uint16_t sign = value < 0 ? 0x8000 : 0;
    if (value == 0 || exponent < -13) return sign;
    const uint32_t mantissa = (uint32_t)lrintf(ldexpf(fraction, 11)); /* 1024 ... 2048 */
    return (uint16_t)(sign | (((uint32_t)(exponent + 13) << 10) + mantissa));
}

static void fill(buffers *b) {
    uint64_t state = 1; /* a linear congruential generator (Knuth) and Box and Muller's normals */
    for (size_t i = 0; i < b->n; i++) {
        double uniform[2];
        for (int j = 0; j < 2; j++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uniform[j] = ((double)(state >> 11) + 0.5) * 0x1p-53;
        }
        const double value = sqrt(-2 * log(uniform[0])) * cos(6.283185307179586 * uniform[1]);
        uint32_t bits;
        b->f64[i] = value;
        b->f32[i] = (float)value;
        b->zeros[i] = value > 0 ? (float)value : 0;
        memcpy(&bits, &b->f32[i], sizeof bits);
        b->bf16[i] = (uint16_t)(bits >> 16);
        b->f16[i] = f16_of(b->f32[i]);
    }
}

static void open_buffers(buffers *b, size_t n) {
    b->n = n;
    b->f32 = take(n * sizeof *b->f32);
    b->zeros = take(n * sizeof *b->zeros);
    b->f64 = take(n * sizeof *b->f64);
    b->f16 = take(n * sizeof *b->f16);
    b->bf16 = take(n * sizeof *b->bf16);
    b->small = take((n / SMALL + 1) * sizeof *b->small);
    b->summaries = take((n / SMALL + 1) * sizeof *b->summaries);
    fill(b);
    for (size_t i = 0; i < n / SMALL; i++)
        b->small[i] = bp_tensor_matrix(b->f32 + i * SMALL, BP_F32, SMALL, 0);
}

static void close_buffers(buffers *b) {
    void *const blocks[] = {b->f32, b->zeros, b->f64, b->f16, b->bf16, b->small, b->summaries};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

/* --- the floor -------------------------------------------------------------------------------- */

/* Sums in 128 lanes: wide enough for any vectors, and enough of them to hide an addition's time. */
#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#endif
static float plain_sum(const float *at, size_t n) {
    typedef float vector __attribute__((vector_size(64), aligned(4)));
    vector lanes[8] = {{0}};
    size_t i = 0;
    for (; i + 128 <= n; i += 128)
        for (size_t j = 0; j < 8; j++) lanes[j] += *(const vector *)(const void *)(at + i + 16 * j);
    for (size_t j = 4; j > 0; j /= 2)
        for (size_t k = 0; k < j; k++) lanes[k] += lanes[k + j];
    float sum = 0;
    for (size_t k = 0; k < 16; k++) sum += lanes[0][k];
    for (; i < n; i++) sum += at[i];
    return sum;
}

/* --- turns ------------------------------------------------------------------------------------ */

static const void *data_of(const buffers *b, const char *what, bp_dtype *dtype) {
    static const struct {
        const char *name;
        bp_dtype dtype;
    } formats[] = {
        {"f32", BP_F32}, {"zeros", BP_F32}, {"f64", BP_F64}, {"f16", BP_F16}, {"bf16", BP_BF16}};
    const void *data[] = {b->f32, b->zeros, b->f64, b->f16, b->bf16};
    const size_t length = strcspn(what, "+");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strncmp(what, formats[i].name, length) == 0 && formats[i].name[length] == '\0') {
            *dtype = formats[i].dtype;
            return data[i];
        }
    return NULL;
}

/* False where nobody knows what to do. */
static bool take_turn(buffers *b, const char *what, long repeats) {
    static bp_exponents exponents;
    bp_dtype dtype = BP_F32;
    bp_exponents_init(&exponents);
    if (strcmp(what, "sum") == 0) {
        for (long i = 0; i < repeats; i++) sink = (double)plain_sum(b->f32, b->n);
        return true;
    }
    if (strcmp(what, "many") == 0) {
        for (long i = 0; i < repeats; i++) bp_summarise_many(b->summaries, b->small, b->n / SMALL);
        return true;
    }
    const void *data = data_of(b, what, &dtype);
    if (!data) return false;
    const bool with_exponents = strchr(what, '+') != NULL;
    const bp_tensor tensor = bp_tensor_matrix(data, dtype, (int64_t)b->n, 0);
    bp_summary summary;
    for (long i = 0; i < repeats; i++) {
        if (with_exponents)
            bp_summarise_exponents(&summary, &exponents, &tensor);
        else
            bp_summarise(&summary, &tensor);
        sink = summary.sum;
    }
    return true;
}

int main(int argc, char **argv) {
    const long long n = argc == 2 || argc == 3 ? atoll(argv[1]) : 0;
    unsigned mask = BP_CPU_ALL;
    if (n < 1 || (argc == 3 && bp_cpu_mask_of(&mask, argv[2]) != BP_OK)) {
        fprintf(stderr, "usage: stats ELEMENTS [scalar|avx2|avx512|neon]\n");
        return 2;
    }
    bp_cpu_set_mask(mask);
    buffers b;
    open_buffers(&b, (size_t)n);
    char line[64], what[32];
    long repeats;
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%31s %ld", what, &repeats) == 2) {
        if (strcmp(what, "level") == 0) {
            printf("%s\n", bp_cpu_level());
        } else {
            const double begin = bench_seconds();
            if (!take_turn(&b, what, repeats)) break;
            printf("%.9g\n", bench_seconds() - begin);
        }
        fflush(stdout);
    }
    close_buffers(&b);
    return feof(stdin) ? 0 : 2;
}
