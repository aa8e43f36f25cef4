/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of wide.h, read once a CPU level by a file that has defined before: `vector` (of f64)
 * and its arithmetic, WIDTH, the numbers in one, VECTORS, how many of them are worked on at once,
 * load and store of a vector, load_<format>, the next WIDTH elements as f64, and stalled_of, which
 * counts among 16. Where it has not they are those of any CPU. */
#ifndef BP_STATS_KERNELS_WIDE_LOOPS_H
#define BP_STATS_KERNELS_WIDE_LOOPS_H

#include "stats/kernels/wide.h"

#ifndef WIDTH
typedef double vector __attribute__((vector_size(16)));
#define WIDTH 2
#define VECTORS 4

static inline vector load(const double *at) {
    vector x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline void store(double *at, vector x) {
    memcpy(at, &x, sizeof x);
}

static inline vector load_f64(const uint8_t *at) {
    vector x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline vector load_f32(const uint8_t *at) {
    float x[WIDTH];
    memcpy(x, at, sizeof x);
    return (vector){(double)x[0], (double)x[1]};
}

static inline vector load_f16(const uint8_t *at) {
    uint16_t x[WIDTH];
    memcpy(x, at, sizeof x);
    return (vector){(double)bp_f16_to_f32(x[0]), (double)bp_f16_to_f32(x[1])};
}

static inline vector load_bf16(const uint8_t *at) {
    uint16_t x[WIDTH];
    memcpy(x, at, sizeof x);
    return (vector){(double)bp_bf16_to_f32(x[0]), (double)bp_bf16_to_f32(x[1])};
}

/* Bits, not values, are compared: an update from +0 to -0 moved something. */
static inline uint64_t stalled_of(const uint8_t *gradient, const uint8_t *before,
                                  const uint8_t *after) {
    uint32_t g[16], old[16], new[16];
    memcpy(g, gradient, sizeof g);
    memcpy(old, before, sizeof old);
    memcpy(new, after, sizeof new);
    uint32_t found = 0;
    for (int j = 0; j < 16; j++) found += (old[j] == new[j]) & (g[j] << 1 != 0);
    return found;
}
#endif

#define TILE ((size_t)VECTORS * WIDTH) /* columns; divides 16 */
#define INLINED static inline __attribute__((always_inline))

typedef vector load_elements(const uint8_t *at);

INLINED void add_tile(const bp_columns *columns, size_t column, const bp_rows *rows,
                      load_elements *load_at, size_t size, bool is_first) {
    vector shift[VECTORS], sum[VECTORS], squares[VECTORS];
    const uint8_t *group = rows->at + column * size;
    _Pragma("GCC unroll 8") for (size_t v = 0; v < VECTORS; v++) {
        const size_t at = column + v * WIDTH;
        if (is_first) {
            shift[v] = load_at(group + v * WIDTH * size);
            sum[v] = squares[v] = (vector){0};
            store(columns->shift + at, shift[v]);
        } else {
            shift[v] = load(columns->shift + at);
            sum[v] = load(columns->sum + at);
            squares[v] = load(columns->squares + at);
        }
    }
    for (size_t g = 0; g < rows->n_groups; g++, group += rows->group_bytes) {
        const uint8_t *row = group;
        for (size_t r = 0; r < rows->n_rows; r++, row += rows->row_bytes)
            _Pragma("GCC unroll 8") for (size_t v = 0; v < VECTORS; v++) {
                const vector x = load_at(row + v * WIDTH * size) - shift[v];
                sum[v] += x;
                squares[v] += x * x;
            }
    }
    _Pragma("GCC unroll 8") for (size_t v = 0; v < VECTORS; v++) {
        store(columns->sum + column + v * WIDTH, sum[v]);
        store(columns->squares + column + v * WIDTH, squares[v]);
    }
}

#define DEFINE_ADD(FORMAT, SIZE)                                                              \
    static inline void add_##FORMAT(const bp_columns *columns, size_t n, const bp_rows *rows, \
                                    bool is_first) {                                          \
        for (size_t column = 0; column < n; column += TILE)                                   \
            add_tile(columns, column, rows, load_##FORMAT, SIZE, is_first);                   \
    }

DEFINE_ADD(f32, 4)
DEFINE_ADD(f64, 8)
DEFINE_ADD(f16, 2)
DEFINE_ADD(bf16, 2)

#define IN_LANES (BP_LANES / WIDTH)

static inline void add_update(bp_update_lanes *after, const bp_update_lanes *before, size_t n,
                              const uint8_t *gradient, const uint8_t *old_weights,
                              const uint8_t *new_weights) {
    vector squares[IN_LANES], product[IN_LANES];
    _Pragma("GCC unroll 8") for (size_t v = 0; v < IN_LANES; v++) {
        squares[v] = load(before->squares + v * WIDTH);
        product[v] = load(before->product + v * WIDTH);
    }
    uint64_t stalled = before->stalled;
    for (size_t i = 0; i < n * sizeof(float); i += BP_LANES * sizeof(float)) {
        _Pragma("GCC unroll 8") for (size_t v = 0; v < IN_LANES; v++) {
            const size_t at = i + v * WIDTH * sizeof(float);
            const vector change = load_f32(new_weights + at) - load_f32(old_weights + at);
            squares[v] += change * change;
            product[v] += load_f32(gradient + at) * change;
        }
        stalled += stalled_of(gradient + i, old_weights + i, new_weights + i);
    }
    _Pragma("GCC unroll 8") for (size_t v = 0; v < IN_LANES; v++) {
        store(after->squares + v * WIDTH, squares[v]);
        store(after->product + v * WIDTH, product[v]);
    }
    after->stalled = stalled;
}

#endif
