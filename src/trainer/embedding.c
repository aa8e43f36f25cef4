/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding: y [n, tokens, features] = rows of the table [vocabulary, features] that x [n, tokens]
 * names. Token ids are data: one that is no row's number gives NaN, which an observer sees, and
 * nothing is read outside the table. */
#include "trainer/operators.h"

#include <math.h>
#include <string.h>

/* The row of a token, -1 where there is none. */
static int64_t row_of(const bp_operator *op, bp_real token) {
    if (!(token >= 0 && (double)token < (double)op->layer->vocabulary)) return -1;
    const int64_t row = (int64_t)token;
    return (bp_real)row == token ? row : -1;
}

static void parameters(const bp_layer *layer, bp_form forms[BP_N_SLOTS]) {
    forms[BP_SLOT_WEIGHT] = (bp_form){layer->vocabulary, layer->fan_out};
}

static void forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y) {
    (void)pass;
    const int64_t features = op->layer->fan_out;
    for (int64_t i = 0; i < n * op->in; i++, y += features) {
        const int64_t row = row_of(op, x[i]);
        if (row >= 0)
            memcpy(y, op->value[BP_SLOT_WEIGHT] + row * features, (size_t)features * sizeof *y);
        else
            for (int64_t j = 0; j < features; j++) y[j] = (bp_real)NAN;
    }
}

/* dL/dtable: each token's dy adds to its row, in the order of the tokens. dx = 0: the loss is no
 * function of an id that could be moved a little. */
static void backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)y;
    const int64_t features = op->layer->fan_out;
    bp_real *table = op->gradient[BP_SLOT_WEIGHT];
    if (dx) memset(dx, 0, (size_t)(n * op->in) * sizeof *dx);
    if (!trained) return;
    memset(table, 0, (size_t)(op->layer->vocabulary * features) * sizeof *table);
    for (int64_t i = 0; i < n * op->in; i++, dy += features) {
        const int64_t row = row_of(op, x[i]);
        for (int64_t j = 0; j < features && row >= 0; j++) table[row * features + j] += dy[j];
    }
}

const bp_operator_class bp_embedding_class = {
    .parameters = parameters, .forward = forward, .backward = backward};
