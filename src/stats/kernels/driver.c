/* SPDX-License-Identifier: Apache-2.0 */
/* Contiguous elements as blocks for a CPU level. */
#include "stats/kernels/level.h"

typedef struct format {
    bp_kernel_add *plain;
    bp_kernel_octaves *plain_octaves; /* of the block, widened if it was */
    size_t element_bytes, block;      /* block: elements */
    double smallest_normal;
} format;

static const format formats[] = {
    [BP_F32] = {bp_scalar_add_f32, bp_scalar_octaves_f32, 4, BP_BLOCK_BYTES / 4, 0x1p-126},
    [BP_F64] = {bp_scalar_add_f64, bp_scalar_octaves_f64, 8, BP_BLOCK_BYTES / 8, 0x1p-1022},
    [BP_F16] = {bp_scalar_add_f16, bp_scalar_octaves_f32, 2, BP_BLOCK_BYTES / 4, 0x1p-14},
    [BP_BF16] = {bp_scalar_add_bf16, bp_scalar_octaves_f32, 2, BP_BLOCK_BYTES / 4, 0x1p-126},
};

/* What one call works on. */
typedef struct work {
    const format *f;
    const bp_level_format *level;
    bp_lanes *lanes;
    bp_exponents *exponents; /* NULL: none are wanted */
    bp_planes *planes;
} work;

/* 16 lanes in the level's order, and back. */
static void to_run(double run[BP_LANES], const double lanes[BP_LANES], bool even_odd) {
    if (even_odd)
        for (size_t i = 0; i < BP_LANES; i++) run[i / 2 + i % 2 * (BP_LANES / 2)] = lanes[i];
    else
        memcpy(run, lanes, BP_LANES * sizeof *run);
}

static void from_run(double lanes[BP_LANES], const double run[BP_LANES], bool even_odd) {
    if (even_odd)
        for (size_t i = 0; i < BP_LANES; i++) lanes[i] = run[i / 2 + i % 2 * (BP_LANES / 2)];
    else
        memcpy(lanes, run, BP_LANES * sizeof *lanes);
}

static void finish(const work *w, const bp_run *run, const bp_small *small) {
    bp_lanes *lanes = w->lanes;
    from_run(lanes->sum, run->sum, w->level->even_odd);
    from_run(lanes->squares, run->squares, w->level->even_odd);
    lanes->zero += small->zero;
    lanes->subnormal += small->subnormal;
    double min, max;
    w->level->extremes(run, &min, &max);
    if (min == 0) min = small->negative_zero ? -0.0 : 0.0;
    if (max == 0) max = small->positive_zero ? 0.0 : -0.0;
    if (bp_key(min) < lanes->min_key) lanes->min_key = bp_key(min);
    if (bp_key(max) > lanes->max_key) lanes->max_key = bp_key(max);
}

/* A second pass over a block that is still in the cache, where it is needed. */
static void look_closer(const work *w, bp_small *small, bp_run *run, bp_rounds rounds,
                        bp_verdict verdict) {
    _Alignas(64) float widened[BP_BLOCK_BYTES / sizeof(float)];
    if (w->level->widen) {
        w->level->widen(widened, rounds.elements, rounds.n);
        rounds.elements = widened;
    }
    const uint64_t zero_before = small->zero;
    if (verdict == BP_BLOCK_SMALL) w->level->small(small, run, &rounds);
    if (w->exponents &&
        !w->level->octaves(w->planes, w->exponents, run, &rounds, small->zero != zero_before))
        w->f->plain_octaves(w->exponents, rounds.elements, rounds.n * BP_LANES);
}

static size_t next_block(const format *f, size_t n) {
    return n < f->block ? n - n % BP_LANES : f->block;
}

/* A run of good blocks. Returns how many elements were added; less than n at a block that is not
 * finite and before the last elements. */
static size_t add_run(const work *w, const uint8_t *at, size_t n) {
    bp_run runs[2];
    int now = 0;
    bp_small small = {0};
    size_t done = 0, block;
    bp_rounds rounds = {.smallest_normal = w->f->smallest_normal,
                        .last = (const char *)at + n * w->f->element_bytes - 1};
    to_run(runs[0].sum, w->lanes->sum, w->level->even_odd);
    to_run(runs[0].squares, w->lanes->squares, w->level->even_odd);
    w->level->begin(&runs[0]);
    for (; done + BP_LANES <= n; done += block, at += block * w->f->element_bytes) {
        block = next_block(w->f, n - done);
        rounds.elements = at;
        rounds.n = block / BP_LANES;
        const bp_verdict verdict = w->level->add(&runs[!now], &runs[now], &rounds);
        if (verdict == BP_BLOCK_NOT_FINITE) break;
        now = !now;
        if (w->exponents || verdict == BP_BLOCK_SMALL)
            look_closer(w, &small, &runs[now], rounds, verdict);
    }
    if (done) finish(w, &runs[now], &small);
    return done;
}

/* All whole rounds; returns how many elements these are. */
static size_t add_rounds(const work *w, const uint8_t *at, size_t n) {
    const size_t size = w->f->element_bytes;
    size_t done = 0;
    while (n - done >= BP_LANES) {
        done += add_run(w, at + done * size, n - done);
        if (n - done < BP_LANES) break;
        const size_t block = next_block(w->f, n - done); /* it is not finite */
        w->f->plain(w->lanes, w->exponents, at + done * size, block);
        done += block;
    }
    if (w->planes->vectors) w->level->flush(w->planes, w->exponents);
    return done;
}

void bp_driver_add(const bp_level *level, bp_dtype dtype, bp_lanes *lanes, bp_exponents *exponents,
                   const void *elements, size_t n) {
    bp_planes planes;
    const work w = {&formats[dtype], level->format[dtype], lanes, exponents, &planes};
    const uint8_t *at = elements;
    bp_planes_init(&planes);
    const size_t done = w.level && n >= BP_LANES ? add_rounds(&w, at, n) : 0;
    if (done < n) w.f->plain(lanes, exponents, at + done * w.f->element_bytes, n - done);
}
