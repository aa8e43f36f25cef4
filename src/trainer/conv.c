/* SPDX-License-Identifier: Apache-2.0 */
/* 2-D convolution (cross-correlation, as every framework has it), sample by sample:
 *
 *   x [C, H, W] -> columns [C k k, H' W'] -> y [O, H', W'] = weight [O, C k k] columns + bias [O]
 *
 * A column holds what the kernel sees at one place, so the convolution is a matrix product
 * (Chellapilla et al. 2006). One sample's columns stay in the cache between their making and their
 * use; for a whole batch they would be k k times its size. */
#include "trainer/gemm.h"
#include "trainer/operators.h"
#include "trainer/real.h"

#include <string.h>

#define CHUNK 4 /* numbers that are copied at once */

enum {
    COLUMNS, /* [C k k, H' W'] of one sample, and CHUNK numbers more */
    PADDED,  /* [C, H + 2 padding, W + 2 padding] of one sample, the margins always 0; and more */
    PADDED_ERROR /* the same shape */
};

static int64_t column_rows(const bp_operator *op) {
    return op->in_shape[0] * op->layer->kernel * op->layer->kernel;
}

static int64_t n_places(const bp_operator *op) {
    return op->out_shape[1] * op->out_shape[2];
}

static int64_t padded_size(const bp_operator *op, int side) {
    return op->in_shape[side] + 2 * (int64_t)op->layer->padding;
}

static void parameters(const bp_layer *layer, bp_form forms[BP_N_SLOTS]) {
    const int64_t out_channels = layer->output_shape[0];
    forms[BP_SLOT_WEIGHT] = (bp_form){out_channels, layer->fan_in};
    if (layer->has_bias) forms[BP_SLOT_BIAS] = (bp_form){out_channels, 0};
}

static void *take(bp_arena *arena, int64_t rows, int64_t columns) {
    return bp_arena_take(arena, 1, rows * columns + CHUNK, sizeof(bp_real));
}

static void lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    (void)rows, (void)batch;
    const int64_t lines = op->in_shape[0] * padded_size(op, 1), width = padded_size(op, 2);
    op->buffer[COLUMNS] = take(arena, column_rows(op), n_places(op));
    op->buffer[PADDED] = take(arena, lines, width);
    op->buffer[PADDED_ERROR] = take(arena, lines, width);
}

/* --- columns ---------------------------------------------------------------------------------- */

/* Where line i of channel c of the image lies in a padded one. */
static bp_real *middle_of(const bp_operator *op, bp_real *padded, int64_t c, int64_t i) {
    const int64_t line = c * padded_size(op, 1) + i + op->layer->padding;
    return padded + line * padded_size(op, 2) + op->layer->padding;
}

static size_t line_bytes(const bp_operator *op) {
    return (size_t)op->in_shape[2] * sizeof(bp_real);
}

/* to [places] = a line of the padded image as one weight of the kernel sees it. Whole chunks are
 * copied: what they write too much the next line overwrites. */
static inline void gather_line(int64_t places, int64_t stride, const bp_real *x, bp_real *to) {
    if (stride == 1)
        for (int64_t p = 0; p < places; p += CHUNK) memcpy(to + p, x + p, CHUNK * sizeof *to);
    else
        for (int64_t p = 0; p < places; p++) to[p] = x[p * stride];
}

/* the opposite way: what came from x adds to dx */
static inline void scatter_line(int64_t places, int64_t stride, const bp_real *restrict from,
                                bp_real *restrict dx) {
    if (stride == 1)
        for (int64_t p = 0; p < places; p++) dx[p] += from[p];
    else
        for (int64_t p = 0; p < places; p++) dx[p * stride] += from[p];
}

/* columns [C k k, H' W'] of x [C, H, W] */
static void unfold(const bp_operator *op, const bp_real *x) {
    const int64_t kernel = op->layer->kernel, stride = op->layer->stride;
    const int64_t plane = padded_size(op, 1) * padded_size(op, 2), width = padded_size(op, 2);
    const int64_t lines = op->out_shape[1], places = op->out_shape[2];
    bp_real *to = op->buffer[COLUMNS];
    for (int64_t c = 0; c < op->in_shape[0]; c++)
        for (int64_t i = 0; i < op->in_shape[1]; i++, x += op->in_shape[2])
            memcpy(middle_of(op, op->buffer[PADDED], c, i), x, line_bytes(op));
    for (int64_t c = 0; c < op->in_shape[0]; c++)
        for (int64_t tap = 0; tap < kernel * kernel; tap++) {
            const bp_real *from =
                op->buffer[PADDED] + c * plane + tap / kernel * width + tap % kernel;
            for (int64_t p = 0; p < lines; p++, to += places, from += stride * width)
                gather_line(places, stride, from, to);
        }
}

/* The opposite way: dx [C, H, W] = the sums of the columns' derivatives over all that saw a number.
 */
static void fold(const bp_operator *op, bp_real *dx) {
    const int64_t kernel = op->layer->kernel, stride = op->layer->stride;
    const int64_t plane = padded_size(op, 1) * padded_size(op, 2), width = padded_size(op, 2);
    const int64_t lines = op->out_shape[1], places = op->out_shape[2];
    const bp_real *from = op->buffer[COLUMNS];
    bp_real *padded = op->buffer[PADDED_ERROR];
    memset(padded, 0, (size_t)(op->in_shape[0] * plane) * sizeof *padded);
    for (int64_t c = 0; c < op->in_shape[0]; c++)
        for (int64_t tap = 0; tap < kernel * kernel; tap++) {
            bp_real *to = padded + c * plane + tap / kernel * width + tap % kernel;
            for (int64_t p = 0; p < lines; p++, from += places, to += stride * width)
                scatter_line(places, stride, from, to);
        }
    for (int64_t c = 0; c < op->in_shape[0]; c++)
        for (int64_t i = 0; i < op->in_shape[1]; i++, dx += op->in_shape[2])
            memcpy(dx, middle_of(op, padded, c, i), line_bytes(op));
}

/* --- the operator ----------------------------------------------------------------------------- */

/* y [O, H' W'] = weight [O, C k k] columns [C k k, H' W'] + bias [O], for each sample */
static void forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y) {
    (void)pass;
    const int64_t channels = op->out_shape[0], places = n_places(op);
    const bp_real *bias = op->value[BP_SLOT_BIAS];
    for (int64_t s = 0; s < n; s++, x += op->in, y += op->out) {
        for (int64_t c = 0; c < channels && bias; c++)
            for (int64_t p = 0; p < places; p++) y[c * places + p] = bias[c];
        unfold(op, x);
        bp_gemm(BP_AS_IS, BP_AS_IS, channels, places, column_rows(op), op->value[BP_SLOT_WEIGHT],
                op->buffer[COLUMNS], bias ? 1 : 0, y);
    }
}

/* dL/dweight [O, C k k] = sum over samples of dy [O, H' W'] columns^T [H' W', C k k]
 * dL/dbias [O] = sum over samples and places of dy */
static void backward_parameters(const bp_operator *op, int64_t n, const bp_real *x,
                                const bp_real *dy) {
    const int64_t channels = op->out_shape[0], places = n_places(op);
    bp_real *bias = op->gradient[BP_SLOT_BIAS];
    if (bias) memset(bias, 0, (size_t)channels * sizeof *bias);
    for (int64_t s = 0; s < n; s++, x += op->in, dy += op->out) {
        unfold(op, x);
        bp_gemm(BP_AS_IS, BP_TRANSPOSED, channels, column_rows(op), places, dy, op->buffer[COLUMNS],
                s > 0 ? 1 : 0, op->gradient[BP_SLOT_WEIGHT]);
        for (int64_t c = 0; c < channels && bias; c++)
            bias[c] += bp_real_sum(dy + c * places, places);
    }
}

/* dL/dcolumns [C k k, H' W'] = weight^T [C k k, O] dy [O, H' W'], folded to dx */
static void backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)y;
    if (trained) backward_parameters(op, n, x, dy);
    for (int64_t s = 0; s < n && dx; s++, dy += op->out, dx += op->in) {
        bp_gemm(BP_TRANSPOSED, BP_AS_IS, column_rows(op), n_places(op), op->out_shape[0],
                op->value[BP_SLOT_WEIGHT], dy, 0, op->buffer[COLUMNS]);
        fold(op, dx);
    }
}

const bp_operator_class bp_conv_class = {
    .parameters = parameters, .lay_out = lay_out, .forward = forward, .backward = backward};
