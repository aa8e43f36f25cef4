/* SPDX-License-Identifier: Apache-2.0 */
/* Contiguous elements as blocks for a CPU level. */
#include "stats/kernels/level.h"

#include <math.h>

typedef struct format {
    bp_kernel_add *plain;
    size_t element_bytes, block; /* block: elements */
    double smallest_normal;
    const bp_level_format *blocks;
    bp_block_small *small;
    bp_block_octaves *octaves;
    bp_planes_flush *flush;
    bp_kernel_octaves *plain_octaves;
    void (*widen)(float *to, const void *from, size_t n_rounds); /* NULL: both take elements */
} format;

static format format_of(const bp_level *level, bp_dtype dtype) {
    format f = {.plain = bp_scalar_add_f32,
                .element_bytes = 4,
                .block = BP_BLOCK_BYTES / 4,
                .smallest_normal = 0x1p-126,
                .blocks = &level->f32,
                .small = level->small_f32,
                .octaves = level->octaves_f32,
                .flush = level->flush_f32,
                .plain_octaves = bp_scalar_octaves_f32};
    switch (dtype) {
    case BP_F64:
        f = (format){.plain = bp_scalar_add_f64,
                     .element_bytes = 8,
                     .block = BP_BLOCK_BYTES / 8,
                     .smallest_normal = 0x1p-1022,
                     .blocks = &level->f64,
                     .small = level->small_f64,
                     .octaves = level->octaves_f64,
                     .flush = level->flush_f64,
                     .plain_octaves = bp_scalar_octaves_f64};
        break;
    case BP_F16:
        f.plain = bp_scalar_add_f16;
        f.element_bytes = 2;
        f.smallest_normal = 0x1p-14;
        f.blocks = &level->f16;
        f.widen = level->widen_f16;
        break;
    case BP_BF16:
        f.plain = bp_scalar_add_bf16;
        f.element_bytes = 2;
        f.blocks = &level->bf16;
        f.widen = level->widen_bf16;
        break;
    case BP_F32:
        break;
    }
    return f;
}

static size_t place(size_t lane, bool even_odd) {
    return even_odd ? lane / 2 + lane % 2 * (BP_LANES / 2) : lane;
}

static void begin(bp_run *run, const bp_lanes *lanes, const format *f) {
    for (size_t i = 0; i < BP_LANES; i++) {
        const size_t to = place(i, f->blocks->even_odd);
        run->sum[to] = lanes->sum[i];
        run->squares[to] = lanes->squares[i];
    }
    f->blocks->begin(run);
}

static void finish(bp_lanes *lanes, const bp_run *run, const bp_small *small, const format *f) {
    for (size_t i = 0; i < BP_LANES; i++) {
        const size_t from = place(i, f->blocks->even_odd);
        lanes->sum[i] = run->sum[from];
        lanes->squares[i] = run->squares[from];
    }
    lanes->zero += small->zero;
    lanes->subnormal += small->subnormal;
    double min, max;
    f->blocks->extremes(run, &min, &max);
    if (min == 0) min = small->negative_zero ? -0.0 : 0.0;
    if (max == 0) max = small->positive_zero ? 0.0 : -0.0;
    if (bp_key(min) < lanes->min_key) lanes->min_key = bp_key(min);
    if (bp_key(max) > lanes->max_key) lanes->max_key = bp_key(max);
}

static size_t next_block(const format *f, size_t n) {
    return n < f->block ? n - n % BP_LANES : f->block;
}

/* A tensor's histogram in the making. exponents NULL: none is wanted. */
typedef struct histogram {
    bp_exponents *exponents;
    bp_planes *planes;
} histogram;

/* A second pass over a block that is still in the cache, where it is needed. */
static void look_closer(const format *f, bp_small *small, const histogram *h, bp_run *run,
                        bp_rounds rounds, bp_verdict verdict) {
    _Alignas(64) float widened[BP_BLOCK_BYTES / sizeof(float)];
    if (f->widen) {
        f->widen(widened, rounds.elements, rounds.n);
        rounds.elements = widened;
    }
    const uint64_t zero_before = small->zero;
    if (verdict == BP_BLOCK_SMALL) f->small(small, run, &rounds);
    if (h->exponents &&
        !f->octaves(h->planes, h->exponents, run, &rounds, small->zero != zero_before))
        f->plain_octaves(h->exponents, rounds.elements, rounds.n * BP_LANES);
}

/* A run of good blocks. Returns how many elements were added; less than n at a block that is not
 * finite and before the last elements. */
static size_t add_run(const format *f, bp_lanes *lanes, const histogram *h, const uint8_t *at,
                      size_t n) {
    bp_run runs[2];
    int now = 0;
    bp_small small = {0};
    size_t done = 0, block;
    bp_rounds rounds = {.smallest_normal = f->smallest_normal,
                        .last = (const char *)at + n * f->element_bytes - 1};
    begin(&runs[0], lanes, f);
    for (; done + BP_LANES <= n; done += block, at += block * f->element_bytes) {
        block = next_block(f, n - done);
        rounds.elements = at;
        rounds.n = block / BP_LANES;
        const bp_verdict verdict = f->blocks->add(&runs[!now], &runs[now], &rounds);
        if (verdict == BP_BLOCK_NOT_FINITE) break;
        now = !now;
        if (h->exponents || verdict == BP_BLOCK_SMALL)
            look_closer(f, &small, h, &runs[now], rounds, verdict);
    }
    if (done) finish(lanes, &runs[now], &small, f);
    return done;
}

void bp_driver_add(const bp_level *level, bp_dtype dtype, bp_lanes *lanes, bp_exponents *exponents,
                   const void *elements, size_t n) {
    const format f = format_of(level, dtype);
    const uint8_t *at = elements;
    bp_planes planes;
    const histogram h = {exponents, &planes};
    bp_planes_init(&planes);
    while (f.blocks->add && n >= BP_LANES) {
        const size_t done = add_run(&f, lanes, &h, at, n);
        at += done * f.element_bytes;
        n -= done;
        if (n < BP_LANES) break;
        const size_t block = next_block(&f, n); /* it is not finite */
        f.plain(lanes, exponents, at, block);
        at += block * f.element_bytes;
        n -= block;
    }
    if (planes.vectors) f.flush(&planes, exponents);
    f.plain(lanes, exponents, at, n);
}
