/* SPDX-License-Identifier: Apache-2.0 */
/* Contiguous elements as blocks for a CPU level. */
#include "stats/kernels/level.h"

#include <math.h>

typedef struct format {
    bp_kernel_add *plain;
    size_t element_bytes;
    double smallest_normal;
    bool is_f64, even_odd;
    const bp_level_format *blocks;
    bp_block_widen *widen; /* NULL: the elements are what the blocks take */
} format;

static format format_of(const bp_level *level, bp_dtype dtype) {
    switch (dtype) {
    case BP_F64:
        return (format){bp_scalar_add_f64, 8, 0x1p-1022, true, false, &level->f64, NULL};
    case BP_F16:
        return (format){bp_scalar_add_f16, 2, 0x1p-14, false, false, &level->f32, level->f16};
    case BP_BF16:
        return (format){bp_scalar_add_bf16,   2,           0x1p-126,   false,
                        level->bf16_even_odd, &level->f32, level->bf16};
    case BP_F32:
        break;
    }
    return (format){bp_scalar_add_f32, 4, 0x1p-126, false, false, &level->f32, NULL};
}

static size_t place(size_t lane, bool even_odd) {
    return even_odd ? lane / 2 + lane % 2 * (BP_LANES / 2) : lane;
}

static void begin(bp_run *run, const bp_lanes *lanes, const format *f) {
    for (size_t i = 0; i < BP_LANES; i++) {
        const size_t to = place(i, f->even_odd);
        run->sum[to] = lanes->sum[i];
        run->squares[to] = lanes->squares[i];
        if (f->is_f64) {
            run->min.f64[i] = (double)INFINITY;
            run->max.f64[i] = -(double)INFINITY;
        } else {
            run->min.f32[i] = (float)INFINITY;
            run->max.f32[i] = -(float)INFINITY;
        }
    }
}

static void finish(bp_lanes *lanes, const bp_run *run, const bp_small *small, const format *f) {
    double min, max;
    for (size_t i = 0; i < BP_LANES; i++) {
        const size_t from = place(i, f->even_odd);
        lanes->sum[i] = run->sum[from];
        lanes->squares[i] = run->squares[from];
    }
    lanes->zero += small->zero;
    lanes->subnormal += small->subnormal;
    f->blocks->extremes(run, &min, &max);
    if (min > max) return; /* no block was good */
    if (min == 0) min = small->negative_zero ? -0.0 : 0.0;
    if (max == 0) max = small->positive_zero ? 0.0 : -0.0;
    if (bp_key(min) < lanes->min_key) lanes->min_key = bp_key(min);
    if (bp_key(max) > lanes->max_key) lanes->max_key = bp_key(max);
}

/* Returns how many were added: all but less than a round. */
static size_t add_rounds(const format *f, bp_lanes *lanes, bp_exponents *exponents,
                         const uint8_t *at, size_t n) {
    _Alignas(64) float widened[BP_BLOCK_BYTES / sizeof(float)];
    const size_t most = f->is_f64 ? BP_BLOCK_BYTES / 8 : BP_BLOCK_BYTES / 4;
    bp_run runs[2];
    int now = 0;
    bp_small small = {0};
    begin(&runs[0], lanes, f);
    size_t done = 0, block;
    for (; done + BP_LANES <= n; done += block, at += block * f->element_bytes) {
        block = n - done < most ? n - done : most;
        block -= block % BP_LANES;
        const size_t rounds = block / BP_LANES;
        const void *elements = at;
        if (f->widen) {
            f->widen(widened, at, rounds);
            elements = widened;
        }
        const bp_verdict verdict = f->blocks->add(&runs[!now], &runs[now], elements, rounds,
                                                  f->smallest_normal);
        if (verdict == BP_BLOCK_NOT_FINITE) {
            finish(lanes, &runs[now], &small, f);
            f->plain(lanes, exponents, at, block);
            small = (bp_small){0};
            begin(&runs[now], lanes, f);
            continue;
        }
        now = !now;
        if (verdict == BP_BLOCK_SMALL)
            f->blocks->small(&small, &runs[now], elements, rounds, f->smallest_normal);
    }
    finish(lanes, &runs[now], &small, f);
    return done;
}

void bp_driver_add(const bp_level *level, bp_dtype dtype, bp_lanes *lanes, bp_exponents *exponents,
                   const void *elements, size_t n) {
    const format f = format_of(level, dtype);
    const uint8_t *at = elements;
    const size_t done = f.blocks->add && n >= BP_LANES ? add_rounds(&f, lanes, exponents, at, n) : 0;
    f.plain(lanes, exponents, at + done * f.element_bytes, n - done);
}
