/* SPDX-License-Identifier: Apache-2.0 */
/* Dense: y = x W^T + b, one unit of the layer a row of W. */
#include "base/vectorised.h"
#include "trainer/gemm.h"
#include "trainer/operators.h"

#include <string.h>

static void parameters(const bp_layer *layer, bp_form forms[BP_N_SLOTS]) {
    forms[BP_SLOT_WEIGHT] = (bp_form){layer->fan_out, layer->fan_in};
    if (layer->has_bias) forms[BP_SLOT_BIAS] = (bp_form){layer->fan_out, 0};
}

/* y [n, out] := y + b [out] in each row */
BP_VECTORISED static void add_to_rows(int64_t n, int64_t out, const bp_real *b, bp_real *y) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < out; j++) y[i * out + j] += b[j];
}

/* sum [out] = the rows of dy [n, out], one after the other */
BP_VECTORISED static void sum_rows(int64_t n, int64_t out, const bp_real *dy, bp_real *sum) {
    memset(sum, 0, (size_t)out * sizeof *sum);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < out; j++) sum[j] += dy[i * out + j];
}

/* y [n, out] = x [n, in] W^T [in, out] + b [out] */
static void forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y) {
    (void)pass;
    const bp_real *bias = op->value[BP_SLOT_BIAS];
    bp_gemm(BP_AS_IS, BP_TRANSPOSED, n, op->out, op->in, x, op->value[BP_SLOT_WEIGHT], 0, y);
    if (bias) add_to_rows(n, op->out, bias, y);
}

/* dL/dW [out, in] = dy^T [out, n] x [n, in];   dL/db [out] = sum of dy over the samples */
static void backward_parameters(const bp_operator *op, int64_t n, const bp_real *x,
                                const bp_real *dy) {
    bp_real *bias = op->gradient[BP_SLOT_BIAS];
    bp_gemm(BP_TRANSPOSED, BP_AS_IS, op->out, op->in, n, dy, x, 0, op->gradient[BP_SLOT_WEIGHT]);
    if (bias) sum_rows(n, op->out, dy, bias);
}

/* dx [n, in] = dy [n, out] W [out, in]: the chain rule's factor of this layer */
static void backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)y;
    if (trained) backward_parameters(op, n, x, dy);
    if (dx) bp_gemm(BP_AS_IS, BP_AS_IS, n, op->in, op->out, dy, op->value[BP_SLOT_WEIGHT], 0, dx);
}

const bp_operator_class bp_dense_class = {
    .parameters = parameters, .forward = forward, .backward = backward};
