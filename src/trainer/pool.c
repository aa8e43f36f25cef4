/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling: the window moves by its own size, so every input lies in exactly one window. Windows lie
 * over height and width, or over neighbouring units of a vector (units, 1, 1). */
#include "trainer/operators.h"
#include "trainer/real.h"

#include <string.h>

typedef struct windows {
    int64_t planes, height, width; /* of the output; samples and channels make one count */
    int64_t window_height, window_width;
} windows;

static windows windows_of(const bp_operator *op, int64_t n) {
    const int64_t *out = op->out_shape, window = op->layer->pool;
    if (op->in_shape[1] == 1 && op->in_shape[2] == 1) return (windows){n, 1, out[0], 1, window};
    return (windows){n * out[0], out[1], out[2], window, window};
}

/* --- average: x [planes, height * window_height, width * window_width] -> y [planes, height,
 * width]: y = sum of x over the window / its size. A row of x adds to one row of y. */

static void avg_forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                        bp_real *y) {
    (void)pass;
    const windows w = windows_of(op, n);
    const int64_t rows = w.planes * w.height, width = w.width;
    const bp_real size = (bp_real)(w.window_height * w.window_width);
    memset(y, 0, (size_t)(rows * width) * sizeof *y);
    for (int64_t row = 0; row < rows; row++, y += width) {
        for (int64_t i = 0; i < w.window_height; i++)
            for (int64_t j = 0; j < width; j++)
                for (int64_t k = 0; k < w.window_width; k++) y[j] += *x++;
        for (int64_t j = 0; j < width; j++) y[j] /= size;
    }
}

/* dx = dy of its window / the window's size */
static void avg_backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                         const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)x, (void)y, (void)trained;
    const windows w = windows_of(op, n);
    const int64_t rows = w.planes * w.height, width = w.width;
    const bp_real size = (bp_real)(w.window_height * w.window_width);
    for (int64_t row = 0; row < rows && dx; row++, dy += width)
        for (int64_t i = 0; i < w.window_height; i++)
            for (int64_t j = 0; j < width; j++)
                for (int64_t k = 0; k < w.window_width; k++) *dx++ = dy[j] / size;
}

const bp_operator_class bp_avg_pool_class = {.forward = avg_forward, .backward = avg_backward};

/* --- max: the same shapes; `places` [planes, height, width] says where in its band of
 * window_height rows of x each maximum stands. The first of equal ones is taken, and a NaN wins
 * over every number, as in PyTorch: it must not be hidden. */

static void max_lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    (void)batch;
    op->places = bp_arena_take(arena, rows, op->out, sizeof *op->places);
}

/* One row of y from its band of rows of x, without a branch, as images are not to be foreseen.
 * Where this is compiled with the size of the windows known, they are compared several at once. */
static inline void max_of_band(int64_t width, int64_t window_height, int64_t window_width,
                               const bp_real *restrict x, bp_real *restrict y,
                               int32_t *restrict places) {
    for (int64_t j = 0; j < width; j++) {
        int32_t place = (int32_t)(j * window_width);
        bp_real largest = x[place];
        for (int64_t i = 0; i < window_height; i++)
            for (int64_t k = 0; k < window_width; k++) {
                const int64_t at = (i * width + j) * window_width + k;
                const bool wins = (x[at] > largest) | (x[at] != x[at]);
                largest = wins ? x[at] : largest;
                place = wins ? (int32_t)at : place;
            }
        y[j] = largest;
        places[j] = place;
    }
}

static void max_forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                        bp_real *y) {
    (void)pass;
    const windows w = windows_of(op, n);
    int32_t *places = op->places;
    for (int64_t row = 0; row < w.planes * w.height; row++) {
        if (w.window_height == 2 && w.window_width == 2)
            max_of_band(w.width, 2, 2, x, y, places);
        else
            max_of_band(w.width, w.window_height, w.window_width, x, y, places);
        x += w.width * w.window_width * w.window_height;
        y += w.width;
        places += w.width;
    }
}

/* dx = dy at the place of the maximum, 0 elsewhere */
static void max_backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                         const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)x, (void)y, (void)trained;
    const windows w = windows_of(op, n);
    const int64_t band = w.width * w.window_width * w.window_height;
    const int32_t *places = op->places;
    if (!dx) return;
    memset(dx, 0, (size_t)(n * op->in) * sizeof *dx);
    for (int64_t row = 0; row < w.planes * w.height; row++, dx += band)
        for (int64_t j = 0; j < w.width; j++) dx[*places++] = *dy++;
}

/* --- global average: x [n, channels, height * width] -> y [n, channels] = mean of each plane ----
 */

static void global_forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                           bp_real *y) {
    (void)pass;
    const int64_t size = op->in / op->out;
    for (int64_t i = 0; i < n * op->out; i++)
        y[i] = bp_real_sum(x + i * size, size) / (bp_real)size;
}

/* dx = dy of its plane / the plane's size */
static void global_backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                            const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)x, (void)y, (void)trained;
    const int64_t size = op->in / op->out;
    for (int64_t i = 0; i < n * op->out && dx; i++)
        for (int64_t j = 0; j < size; j++) *dx++ = dy[i] / (bp_real)size;
}

const bp_operator_class bp_max_pool_class = {
    .lay_out = max_lay_out, .forward = max_forward, .backward = max_backward};
const bp_operator_class bp_global_avg_pool_class = {.forward = global_forward,
                                                    .backward = global_backward};
