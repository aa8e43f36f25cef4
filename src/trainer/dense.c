/* SPDX-License-Identifier: Apache-2.0 */
/* Dense: y = x W^T + b, one unit of the layer a row of W. */
#include "trainer/gemm.h"
#include "trainer/operators.h"

#include <string.h>

/* y [n, out] = x [n, in] W^T [in, out] + b [out] */
void bp_dense_forward(const bp_dense_operator *dense, int64_t n, const bp_real *x, bp_real *y) {
    const int64_t in = dense->fan_in, out = dense->fan_out;
    for (int64_t i = 0; i < n && dense->bias; i++)
        memcpy(y + i * out, dense->bias, (size_t)out * sizeof *y);
    bp_gemm(BP_AS_IS, BP_TRANSPOSED, n, out, in, x, dense->weight, dense->bias ? 1 : 0, y);
}

/* dL/dW [out, in] = dy^T [out, n] x [n, in];   dL/db [out] = sum of dy over the samples */
void bp_dense_backward_parameters(const bp_dense_operator *dense, int64_t n, const bp_real *x,
                                  const bp_real *dy) {
    const int64_t in = dense->fan_in, out = dense->fan_out;
    bp_gemm(BP_TRANSPOSED, BP_AS_IS, out, in, n, dy, x, 0, dense->weight_gradient);
    if (!dense->bias) return;
    memset(dense->bias_gradient, 0, (size_t)out * sizeof *dense->bias_gradient);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < out; j++) dense->bias_gradient[j] += dy[i * out + j];
}

/* dx [n, in] = dy [n, out] W [out, in]: the chain rule's factor of this layer */
void bp_dense_backward(const bp_dense_operator *dense, int64_t n, const bp_real *dy, bp_real *dx) {
    bp_gemm(BP_AS_IS, BP_AS_IS, n, dense->fan_in, dense->fan_out, dy, dense->weight, 0, dx);
}
