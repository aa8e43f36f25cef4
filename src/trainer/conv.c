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

enum { COLUMNS }; /* buffer: [C k k, H' W'] of one sample */

static int64_t column_rows(const bp_operator *op) {
    return op->in_shape[0] * op->layer->kernel * op->layer->kernel;
}

static int64_t n_places(const bp_operator *op) {
    return op->out_shape[1] * op->out_shape[2];
}

static void parameters(const bp_layer *layer, bp_form forms[BP_N_SLOTS]) {
    const int64_t out_channels = layer->output_shape[0];
    forms[BP_SLOT_WEIGHT] = (bp_form){out_channels, layer->fan_in};
    if (layer->has_bias) forms[BP_SLOT_BIAS] = (bp_form){out_channels, 0};
}

static void lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    (void)rows, (void)batch;
    op->buffer[COLUMNS] = bp_arena_take(arena, column_rows(op), n_places(op), sizeof(bp_real));
}

/* --- columns ---------------------------------------------------------------------------------- */

/* The places begin ... end - 1 of a side at which one line of the kernel lies inside the image; at
 * place p it lies at p * stride + shift. */
typedef struct span {
    int64_t shift, begin, end;
} span;

static span span_of(const bp_layer *layer, int64_t kernel_line, int64_t size, int64_t places) {
    const int64_t shift = kernel_line - layer->padding, stride = layer->stride;
    const int64_t begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
    const int64_t end = shift < size ? (size - 1 - shift) / stride + 1 : 0;
    return (span){shift, begin < places ? begin : places, end < places ? end : places};
}

/* to [places] = a line of x with the kernel's line over it, zeros outside */
static void gather_line(span s, int64_t stride, int64_t places, const bp_real *x, bp_real *to) {
    for (int64_t p = 0; p < s.begin; p++) to[p] = 0;
    if (stride == 1)
        for (int64_t p = s.begin; p < s.end; p++) to[p] = x[p + s.shift];
    else
        for (int64_t p = s.begin; p < s.end; p++) to[p] = x[p * stride + s.shift];
    for (int64_t p = s.end; p < places; p++) to[p] = 0;
}

/* the opposite way: what came from x adds to dx */
static void scatter_line(span s, int64_t stride, const bp_real *from, bp_real *dx) {
    if (stride == 1)
        for (int64_t p = s.begin; p < s.end; p++) dx[p + s.shift] += from[p];
    else
        for (int64_t p = s.begin; p < s.end; p++) dx[p * stride + s.shift] += from[p];
}

/* columns [C k k, H' W'] of x [C, H, W] */
static void unfold(const bp_operator *op, const bp_real *x, bp_real *columns) {
    const int64_t height = op->in_shape[1], width = op->in_shape[2];
    const int64_t out_height = op->out_shape[1], out_width = op->out_shape[2];
    const int64_t kernel = op->layer->kernel, stride = op->layer->stride;
    for (int64_t row = 0; row < column_rows(op); row++) {
        const bp_real *plane = x + row / (kernel * kernel) * height * width;
        const span down = span_of(op->layer, row / kernel % kernel, height, out_height);
        const span across = span_of(op->layer, row % kernel, width, out_width);
        for (int64_t p = 0; p < out_height; p++, columns += out_width)
            if (p >= down.begin && p < down.end)
                gather_line(across, stride, out_width, plane + (p * stride + down.shift) * width,
                            columns);
            else
                memset(columns, 0, (size_t)out_width * sizeof *columns);
    }
}

/* dx [C, H, W] = the sums of the columns' derivatives over all places that saw a number */
static void fold(const bp_operator *op, const bp_real *columns, bp_real *dx) {
    const int64_t height = op->in_shape[1], width = op->in_shape[2];
    const int64_t out_height = op->out_shape[1], out_width = op->out_shape[2];
    const int64_t kernel = op->layer->kernel, stride = op->layer->stride;
    memset(dx, 0, (size_t)op->in * sizeof *dx);
    for (int64_t row = 0; row < column_rows(op); row++, columns += out_height * out_width) {
        bp_real *plane = dx + row / (kernel * kernel) * height * width;
        const span down = span_of(op->layer, row / kernel % kernel, height, out_height);
        const span across = span_of(op->layer, row % kernel, width, out_width);
        for (int64_t p = down.begin; p < down.end; p++)
            scatter_line(across, stride, columns + p * out_width,
                         plane + (p * stride + down.shift) * width);
    }
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
        unfold(op, x, op->buffer[COLUMNS]);
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
        unfold(op, x, op->buffer[COLUMNS]);
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
        fold(op, op->buffer[COLUMNS], dx);
    }
}

const bp_operator_class bp_conv_class = {
    .parameters = parameters, .lay_out = lay_out, .forward = forward, .backward = backward};
