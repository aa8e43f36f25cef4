/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout (Srivastava et al. 2014), inverted: in training y = x * factor, factor 0 with probability
 * drop_fraction, else 1 / (1 - drop_fraction), so that evaluation passes x on. A dropped NaN stays
 * a NaN, for 0 * NaN is one. */
#include "base/base.h"
#include "trainer/operators.h"

#include <string.h>

enum { FACTORS }; /* buffer: [batch, units], of the last forward pass in training */

static void lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    (void)rows;
    op->buffer[FACTORS] = bp_arena_take(arena, batch, op->in, sizeof(bp_real));
}

/* Random bits belong to layer, step, place of the sample in the step's batch, and unit: so every
 * process draws for its own rows what one process draws for all, and a resumed run what an
 * uninterrupted one does. Four units share a block, none shares one with another sample. */
static void draw_factors(const bp_operator *op, const bp_pass *pass, int64_t n) {
    const bp_random_key key = {.seed = pass->seed,
                               .purpose = (uint32_t)BP_PURPOSE_DROPOUT + op->layer->id,
                               .step = (uint32_t)pass->step};
    const uint64_t limit = (uint64_t)(op->layer->drop_fraction * 0x1p32);
    const bp_real kept = (bp_real)(1 / (1 - op->layer->drop_fraction));
    const int64_t blocks = (op->in + 3) / 4;
    bp_real *factor = op->buffer[FACTORS];
    for (int64_t i = 0; i < n; i++)
        for (int64_t block = 0; block < blocks; block++) {
            uint32_t bits[4];
            bp_random_block(&key, (uint64_t)((pass->first_sample + i) * blocks + block), bits);
            for (int64_t j = block * 4; j < op->in && j < block * 4 + 4; j++)
                *factor++ = bits[j % 4] < limit ? 0 : kept;
        }
}

static void forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y) {
    const int64_t count = n * op->in;
    if (!pass->training) {
        memcpy(y, x, (size_t)count * sizeof *y);
        return;
    }
    draw_factors(op, pass, n);
    for (int64_t i = 0; i < count; i++) y[i] = x[i] * op->buffer[FACTORS][i];
}

/* dx = dy * factor */
static void backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)x, (void)y, (void)trained;
    for (int64_t i = 0; i < n * op->in && dx; i++) dx[i] = dy[i] * op->buffer[FACTORS][i];
}

const bp_operator_class bp_dropout_class = {
    .lay_out = lay_out, .forward = forward, .backward = backward};
