/* SPDX-License-Identifier: Apache-2.0 */
/* The sum at the end of a residual block: y = x + scale * branch(x) (He et al. 2016). */
#include "trainer/operators.h"

/* y = x + scale * branch */
void bp_residual_forward(bp_real scale, int64_t count, const bp_real *x, const bp_real *branch,
                         bp_real *y) {
    for (int64_t i = 0; i < count; i++) y[i] = x[i] + scale * branch[i];
}

/* dL/dbranch = scale * dy;   dL/dx = dy + what comes back through the branch */
void bp_residual_backward(bp_real scale, int64_t count, const bp_real *dy, bp_real *dx,
                          bp_real *dbranch) {
    for (int64_t i = 0; i < count; i++) dbranch[i] = scale * dy[i];
    for (int64_t i = 0; i < count && dx; i++) dx[i] += dy[i];
}
