/* SPDX-License-Identifier: Apache-2.0 */
/* Pooling: the window moves by its own size, so every input lies in exactly one window. Windows lie
 * over height and width, or over neighbouring units of a vector (units, 1, 1). */
#include "trainer/operators.h"

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
