/* SPDX-License-Identifier: Apache-2.0 */
/* Average pooling: the window moves by its own size, so every input lies in exactly one window. */
#include "trainer/operators.h"

#include <string.h>

bp_pool_operator bp_pool_of(const int64_t input_shape[3], int64_t window) {
    const int64_t c = input_shape[0], h = input_shape[1], w = input_shape[2];
    if (h == 1 && w == 1) return (bp_pool_operator){1, c / window, 1, window, 1};
    return (bp_pool_operator){c, h / window, w / window, window, window};
}

/* x [n, c, h * window_h, w * window_w] -> y [n, c, h, w]: y = sum of x over the window / its size.
 * A row of x adds to one row of y; n and c make one count of planes. */
void bp_pool_forward(const bp_pool_operator *pool, int64_t n, const bp_real *x, bp_real *y) {
    const int64_t rows = n * pool->channels * pool->height, width = pool->width;
    const bp_real size = (bp_real)(pool->window_height * pool->window_width);
    memset(y, 0, (size_t)(rows * width) * sizeof *y);
    for (int64_t row = 0; row < rows; row++, y += width) {
        for (int64_t i = 0; i < pool->window_height; i++)
            for (int64_t j = 0; j < width; j++)
                for (int64_t k = 0; k < pool->window_width; k++) y[j] += *x++;
        for (int64_t j = 0; j < width; j++) y[j] /= size;
    }
}

/* dx = dy of its window / the window's size */
void bp_pool_backward(const bp_pool_operator *pool, int64_t n, const bp_real *dy, bp_real *dx) {
    const int64_t rows = n * pool->channels * pool->height, width = pool->width;
    const bp_real size = (bp_real)(pool->window_height * pool->window_width);
    for (int64_t row = 0; row < rows; row++, dy += width)
        for (int64_t i = 0; i < pool->window_height; i++)
            for (int64_t j = 0; j < width; j++)
                for (int64_t k = 0; k < pool->window_width; k++) *dx++ = dy[j] / size;
}
