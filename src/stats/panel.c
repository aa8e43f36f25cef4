/* SPDX-License-Identifier: Apache-2.0 */
/* What an update did, seen at a few fixed places of a tensor. */
#include "base/base.h"
#include "base/vectorised.h"
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/products.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

size_t bp_panel_words(uint64_t count) {
    const bool all = count <= BP_PANEL_POSITIONS;
    return all ? 3 * (size_t)count : 4 * (size_t)BP_PANEL_POSITIONS;
}

/* The tensor is cut into as many equal stretches as there are places (an element may belong to two
 * of them), and from each one place is drawn: evenly spread, yet in step with no row length, and
 * every element as likely as any other. */
static void draw_places(uint64_t *places, uint64_t count, uint32_t number) {
    const bp_random_key key = {.purpose = UINT32_C(0x70616e65), .step = number}; /* "pane" */
    for (uint64_t k = 0; k < BP_PANEL_POSITIONS; k++) {
        uint32_t block[4];
        bp_random_block(&key, k, block);
        const wide where = (wide)(k << 32 | block[0]) * count; /* 2^32 stretches of count */
        places[k] = (uint64_t)((where >> 32) / BP_PANEL_POSITIONS);
    }
}

void bp_panel_init(bp_panel *panel, uint64_t *words, uint64_t count, uint32_t number) {
    const bool all = count <= BP_PANEL_POSITIONS;
    const uint64_t n = all ? count : BP_PANEL_POSITIONS;
    *panel = (bp_panel){.count = count, .n = n};
    panel->weights.words = words;
    panel->gradient.words = words + n;
    panel->previous.words = words + 2 * n;
    if (all) return;
    panel->places = words + 3 * n;
    draw_places(panel->places, count, number);
}

void bp_panel_reset(bp_panel *panel) {
    panel->weights.held = panel->gradient.held = panel->previous.held = false;
}

/* --- what stands at the places ---------------------------------------------------------------- */

/* Without dimensions of one element; neighbours that lie like one dimension are one. */
static bp_tensor collapsed(const bp_tensor *tensor) {
    bp_tensor result = {.data = tensor->data, .dtype = tensor->dtype};
    for (int32_t d = 0; d < tensor->ndim; d++) {
        const int64_t n = tensor->shape[d], stride = tensor->stride[d];
        if (n == 1) continue;
        const int32_t last = result.ndim - 1;
        int64_t joined;
        const bool fits = last >= 0 && !__builtin_mul_overflow(n, stride, &joined) &&
                          joined == result.stride[last];
        if (fits) result.shape[last] *= n;
        const int32_t at = fits ? last : result.ndim++;
        if (!fits) result.shape[at] = n;
        result.stride[at] = stride;
    }
    return result;
}

/* Where element `place` of the row-major order lies, in elements (modulo 2^64). */
static uint64_t offset_of(const bp_tensor *tensor, uint64_t place) {
    uint64_t offset = 0;
    for (int32_t d = tensor->ndim - 1; d > 0; d--) {
        const uint64_t n = (uint64_t)tensor->shape[d];
        offset += place % n * (uint64_t)tensor->stride[d];
        place /= n;
    }
    return offset + place * (uint64_t)tensor->stride[0];
}

static void gather_all(void *out, const bp_tensor *tensor) {
    bp_blocks blocks;
    bp_block buffer;
    const void *elements;
    uint8_t *to = out;
    bp_blocks_init(&blocks, tensor);
    for (size_t n; (n = bp_blocks_next(&blocks, &buffer, SIZE_MAX, &elements)) > 0;) {
        memcpy(to, elements, n * blocks.element_bytes);
        to += n * blocks.element_bytes;
    }
}

/* A constant size becomes one load and one store. */
#define DEFINE_GATHER(SIZE)                                                                      \
    static void gather_##SIZE(uint8_t *out, const uint8_t *from, const uint64_t *at, size_t n) { \
        for (size_t i = 0; i < n; i++)                                                           \
            memcpy(out + SIZE * i, from + SIZE * (ptrdiff_t)at[i], SIZE);                        \
    }

DEFINE_GATHER(2)
DEFINE_GATHER(4)
DEFINE_GATHER(8)

static void gather(void *out, const bp_tensor *tensor, const uint64_t *offsets, size_t n) {
    const size_t size = bp_dtype_bytes(tensor->dtype);
    (size == 2 ? gather_2 : size == 4 ? gather_4 : gather_8)(out, tensor->data, offsets, n);
}

static void gather_places(void *out, const bp_tensor *tensor, const uint64_t *places) {
    const bp_tensor flat = collapsed(tensor);
    if (flat.ndim == 1 && flat.stride[0] == 1) {
        gather(out, tensor, places, BP_PANEL_POSITIONS);
        return;
    }
    uint64_t offsets[BP_BLOCK_ELEMENTS];
    uint8_t *to = out;
    for (size_t done = 0; done < BP_PANEL_POSITIONS; done += BP_BLOCK_ELEMENTS) {
        for (size_t i = 0; i < BP_BLOCK_ELEMENTS; i++)
            offsets[i] = offset_of(&flat, places[done + i]);
        gather(to + done * bp_dtype_bytes(tensor->dtype), tensor, offsets, BP_BLOCK_ELEMENTS);
    }
}

/* False, and nothing held, where it is not the panel's tensor. */
static bool take(const bp_panel *panel, bp_panel_values *values, const bp_tensor *tensor) {
    values->held = false;
    if ((uint64_t)bp_tensor_count(tensor) != panel->count) return false;
    if (panel->count && (!tensor->data || bp_dtype_bytes(tensor->dtype) == 0)) return false;
    values->dtype = tensor->dtype;
    values->held = true;
    if (panel->count == 0) return true;
    if (panel->places)
        gather_places(values->words, tensor, panel->places);
    else
        gather_all(values->words, tensor);
    return true;
}

void bp_panel_before(bp_panel *panel, const bp_tensor *gradient, const bp_tensor *weights) {
    const bp_panel_values last = panel->gradient;
    panel->gradient = panel->previous;
    panel->previous = last;
    take(panel, &panel->gradient, gradient);
    take(panel, &panel->weights, weights);
}

/* --- the reading ------------------------------------------------------------------------------ */

static bp_tensor view(const bp_panel *panel, const bp_panel_values *values) {
    return bp_tensor_matrix(values->words, values->dtype, (int64_t)panel->n, 0);
}

/* The exponent that takes the largest to [1, 2); 0 where squares are at home in f64 anyway. */
static int exponent_of(const bp_tensor *tensor) {
    bp_summary summary;
    if (tensor->dtype != BP_F64) return 0;
    bp_summarise(&summary, tensor);
    const double largest = bp_summary_max_abs(&summary);
    return largest > 0 ? ilogb(largest) : 0;
}

static void scale(double *values, size_t n, int exponent) {
    for (size_t i = 0; exponent && i < n; i++) values[i] = ldexp(values[i], -exponent);
}

BP_GUARDED bool cosine_of(const bp_tensor *a, const bp_tensor *b, double *cosine) {
    const int exponents[2] = {exponent_of(a), exponent_of(b)};
    double values[2][BP_BLOCK_ELEMENTS];
    bp_products sums = {.ab = {0}};
    bp_blocks blocks[2];
    bp_blocks_init(&blocks[0], a);
    bp_blocks_init(&blocks[1], b);
    for (size_t n; (n = bp_blocks_next_f64(&blocks[0], values[0])) > 0;) {
        bp_blocks_next_f64(&blocks[1], values[1]);
        for (int t = 0; t < 2; t++) scale(values[t], n, exponents[t]);
        bp_products_add(&sums, values[0], values[1], n);
    }
    return bp_products_cosine(&sums, cosine);
}

BP_GUARDED void estimate(bp_panel_reading *reading, uint64_t count) {
    const bp_update_stats *update = &reading->update;
    const double n = (double)update->count;
    if (update->count == 0) return;
    reading->change_rms = sqrt(update->sum_squares_change / n);
    reading->stalled_fraction = (double)update->stalled / n;
    reading->effect = update->effect * ((double)count / n);
}

bool bp_panel_after(bp_panel *panel, const bp_tensor *weights, bp_panel_reading *reading) {
    uint64_t words[BP_PANEL_POSITIONS];
    bp_panel_values after = {.words = words};
    const bool complete =
        panel->gradient.held && panel->weights.held && take(panel, &after, weights);
    panel->weights.held = false; /* once a step */
    if (!complete) return false;
    const bp_tensor gradient = view(panel, &panel->gradient), old = view(panel, &panel->weights);
    const bp_tensor new = view(panel, &after), previous = view(panel, &panel->previous);
    *reading = (bp_panel_reading){.has_cosine = false};
    bp_update_stats_add(&reading->update, &gradient, &old, &new);
    bp_float_guard guard = bp_float_guard_enter();
    estimate(reading, panel->count);
    if (panel->previous.held && panel->n)
        reading->has_cosine = cosine_of(&gradient, &previous, &reading->cosine);
    bp_float_guard_leave(&guard);
    return true;
}
