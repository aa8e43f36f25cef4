/* SPDX-License-Identifier: Apache-2.0 */
/* 2-D convolution (cross-correlation, as every framework has it) by matrix products, sample by
 * sample, after Cho & Brand 2017 (MEC). `lines` holds the L lines of the padded image as each
 * column of the kernel sees them, at W' places:
 *
 *   lines [C k, L W']
 *
 * Row i of the kernel sees H' neighbouring lines from i on: a window of that matrix, H' W' wide.
 *
 *   y [O, H' W'] = bias [O] + sum over i of weight_i [O, C k] window_i [C k, H' W']
 *
 * So a number is copied k times and not k k times, as into the columns of the whole kernel (im2col,
 * Chellapilla et al. 2006). With a stride the lines are sorted by their number mod the stride: then
 * those that a row of the kernel sees are neighbours again. One sample's lines stay in the cache
 * between their making and their use. */
#include "trainer/gemm.h"
#include "trainer/operators.h"
#include "trainer/real.h"

#include <string.h>

#define CHUNK 4 /* numbers that are copied at once */

enum {
    PADDED,       /* [C, H + 2 padding, W + 2 padding] of one sample, the margins always 0 */
    PADDED_ERROR, /* the same shape */
    LINES,        /* [C k, L W'] of one sample, or its derivative */
    ROW_WEIGHTS,  /* weights by row of the kernel, [k, O, C k], of the last forward pass */
    ROW_GRADIENTS
};

static int64_t n_places(const bp_operator *op) {
    return op->out_shape[1] * op->out_shape[2];
}

static int64_t padded_size(const bp_operator *op, int side) {
    return op->in_shape[side] + 2 * (int64_t)op->layer->padding;
}

/* C k */
static int64_t line_rows(const bp_operator *op) {
    return op->in_shape[0] * op->layer->kernel;
}

/* The lines with the same number mod the stride. */
static int64_t lines_of_a_kind(const bp_operator *op) {
    return op->out_shape[1] + (op->layer->kernel - 1) / op->layer->stride;
}

/* L W' */
static int64_t line_columns(const bp_operator *op) {
    return op->layer->stride * lines_of_a_kind(op) * op->out_shape[2];
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
    const int64_t kernel_rows = op->layer->kernel * op->out_shape[0];
    for (int buffer = PADDED; buffer <= PADDED_ERROR; buffer++)
        op->buffer[buffer] = take(arena, op->in_shape[0] * padded_size(op, 1), padded_size(op, 2));
    op->buffer[LINES] = take(arena, line_rows(op), line_columns(op));
    for (int buffer = ROW_WEIGHTS; buffer <= ROW_GRADIENTS; buffer++)
        op->buffer[buffer] = take(arena, kernel_rows, line_rows(op));
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Where line i of channel c of the image lies in a padded one. */
static bp_real *middle_of(const bp_operator *op, int buffer, int64_t c, int64_t i) {
    const int64_t line = c * padded_size(op, 1) + i + op->layer->padding;
    return op->buffer[buffer] + line * padded_size(op, 2) + op->layer->padding;
}

static size_t line_bytes(const bp_operator *op) {
    return (size_t)op->in_shape[2] * sizeof(bp_real);
}

/* to [places] = a line of the padded image as a column of the kernel sees it. Whole chunks are
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

/* One row of the lines: `plane` is what a column of the kernel sees of a channel, `height` lines
 * from its place on, each `width` behind the other. */
static inline void move_row(int64_t n_lines, int64_t places, int64_t stride, int64_t height,
                            int64_t width, bool adds, bp_real *plane, bp_real *lines) {
    for (int64_t first = 0; first < stride; first++)
        for (int64_t line = first; line < first + n_lines * stride; line += stride) {
            if (line < height && adds)
                scatter_line(places, stride, lines, plane + line * width);
            else if (line < height)
                gather_line(places, stride, plane + line * width, lines);
            lines += places;
        }
}

/* All lines out of the padded image or, adding, into its derivative. */
static inline void move_lines(const bp_operator *op, bool adds) {
    const int64_t n_lines = lines_of_a_kind(op), places = op->out_shape[2];
    const int64_t height = padded_size(op, 1), width = padded_size(op, 2);
    const int64_t columns = line_columns(op), stride = op->layer->stride;
    bp_real *lines = op->buffer[LINES], *plane = op->buffer[adds ? PADDED_ERROR : PADDED];
    for (int64_t c = 0; c < op->in_shape[0]; c++, plane += height * width)
        for (int64_t j = 0; j < op->layer->kernel; j++, lines += columns)
            if (stride == 1) /* a stride that the compiler knows */
                move_row(n_lines, places, 1, height, width, adds, plane + j, lines);
            else
                move_row(n_lines, places, stride, height, width, adds, plane + j, lines);
}

/* The lines of x [C, H, W]. */
static void gather(const bp_operator *op, const bp_real *x) {
    for (int64_t c = 0; c < op->in_shape[0]; c++)
        for (int64_t i = 0; i < op->in_shape[1]; i++, x += op->in_shape[2])
            memcpy(middle_of(op, PADDED, c, i), x, line_bytes(op));
    move_lines(op, false);
}

/* dx [C, H, W] = the sums of the lines' derivatives over all that saw a number. */
static void scatter(const bp_operator *op, bp_real *dx) {
    const int64_t numbers = op->in_shape[0] * padded_size(op, 1) * padded_size(op, 2);
    memset(op->buffer[PADDED_ERROR], 0, (size_t)numbers * sizeof *dx);
    move_lines(op, true);
    for (int64_t c = 0; c < op->in_shape[0]; c++)
        for (int64_t i = 0; i < op->in_shape[1]; i++, dx += op->in_shape[2])
            memcpy(dx, middle_of(op, PADDED_ERROR, c, i), line_bytes(op));
}

/* What row i of the kernel sees: line i and those stride, 2 stride ... further. */
static bp_real *window(const bp_operator *op, int32_t i) {
    const int32_t stride = op->layer->stride;
    return op->buffer[LINES] + (i % stride * lines_of_a_kind(op) + i / stride) * op->out_shape[2];
}

/* --- weights ---------------------------------------------------------------------------------- */

/* Number j of row i of the kernel from a channel c to o: in [O, C, k, k], and in [k, O, C, k]. */
static void weights_to_rows(const bp_operator *op, const bp_real *weights, bp_real *rows) {
    const int64_t kernel = op->layer->kernel, pairs = op->out_shape[0] * op->in_shape[0];
    for (int64_t i = 0; i < kernel; i++)
        for (int64_t pair = 0; pair < pairs; pair++)
            for (int64_t j = 0; j < kernel; j++)
                *rows++ = weights[(pair * kernel + i) * kernel + j];
}

static void rows_to_weights(const bp_operator *op, const bp_real *rows, bp_real *weights) {
    const int64_t kernel = op->layer->kernel, pairs = op->out_shape[0] * op->in_shape[0];
    for (int64_t i = 0; i < kernel; i++)
        for (int64_t pair = 0; pair < pairs; pair++)
            for (int64_t j = 0; j < kernel; j++)
                weights[(pair * kernel + i) * kernel + j] = *rows++;
}

static bp_real *kernel_row(const bp_operator *op, int buffer, int64_t i) {
    return op->buffer[buffer] + i * op->out_shape[0] * line_rows(op);
}

/* --- the operator ----------------------------------------------------------------------------- */

/* y [O, H' W'] = bias [O] + sum over i of weight_i [O, C k] window_i [C k, H' W'], for each sample
 */
static void forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y) {
    (void)pass;
    const int64_t channels = op->out_shape[0], places = n_places(op);
    const bp_real *bias = op->value[BP_SLOT_BIAS];
    weights_to_rows(op, op->value[BP_SLOT_WEIGHT], op->buffer[ROW_WEIGHTS]);
    for (int64_t s = 0; s < n; s++, x += op->in, y += op->out) {
        for (int64_t c = 0; c < channels && bias; c++)
            for (int64_t p = 0; p < places; p++) y[c * places + p] = bias[c];
        gather(op, x);
        for (int32_t i = 0; i < op->layer->kernel; i++)
            bp_gemm_of_windows(BP_AS_IS, BP_AS_IS, channels, places, line_rows(op),
                               kernel_row(op, ROW_WEIGHTS, i), window(op, i), line_columns(op),
                               bias || i > 0 ? 1 : 0, y, places);
    }
}

/* dL/dweight_i [O, C k] = sum over samples of dy [O, H' W'] window_i^T [H' W', C k]
 * dL/dbias [O] = sum over samples and places of dy */
static void backward_parameters(const bp_operator *op, int64_t n, const bp_real *x,
                                const bp_real *dy) {
    const int64_t channels = op->out_shape[0], places = n_places(op);
    bp_real *bias = op->gradient[BP_SLOT_BIAS];
    if (bias) memset(bias, 0, (size_t)channels * sizeof *bias);
    for (int64_t s = 0; s < n; s++, x += op->in, dy += op->out) {
        gather(op, x);
        for (int32_t i = 0; i < op->layer->kernel; i++)
            bp_gemm_of_windows(BP_AS_IS, BP_TRANSPOSED, channels, line_rows(op), places, dy,
                               window(op, i), line_columns(op), s > 0 ? 1 : 0,
                               kernel_row(op, ROW_GRADIENTS, i), line_rows(op));
        for (int64_t c = 0; c < channels && bias; c++)
            bias[c] += bp_real_sum(dy + c * places, places);
    }
    rows_to_weights(op, op->buffer[ROW_GRADIENTS], op->gradient[BP_SLOT_WEIGHT]);
}

/* dL/dwindow_i [C k, H' W'] = weight_i^T [C k, O] dy [O, H' W']; the windows overlap and add up. */
static void backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)y;
    const int64_t places = n_places(op), numbers = line_rows(op) * line_columns(op);
    if (trained) backward_parameters(op, n, x, dy);
    for (int64_t s = 0; s < n && dx; s++, dy += op->out, dx += op->in) {
        memset(op->buffer[LINES], 0, (size_t)numbers * sizeof *dx);
        for (int32_t i = 0; i < op->layer->kernel; i++)
            bp_gemm_of_windows(BP_TRANSPOSED, BP_AS_IS, line_rows(op), places, op->out_shape[0],
                               kernel_row(op, ROW_WEIGHTS, i), dy, places, 1, window(op, i),
                               line_columns(op));
        scatter(op, dx);
    }
}

const bp_operator_class bp_conv_class = {
    .parameters = parameters, .lay_out = lay_out, .forward = forward, .backward = backward};
