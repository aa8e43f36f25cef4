/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping of gradients between the backward pass and the update. */
#include "trainer/operators.h"

#include <math.h>

/* NaN stays NaN. */
static void clip_values(bp_real limit, int64_t count, bp_real *gradient) {
    for (int64_t i = 0; i < count; i++)
        gradient[i] = gradient[i] > limit ? limit : gradient[i] < -limit ? -limit : gradient[i];
}

/* Pascanu et al. 2013: g = g limit / norm where the norm of all gradients is larger. In f64, so
 * that finite gradients have a finite norm: in f32 one of 1e30 would give Inf, and all would become
 * 0. A gradient that is not finite is left for everybody to see. */
static void clip_norm(double limit, int64_t count, bp_real *gradient) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)gradient[i] * (double)gradient[i];
    const double factor = limit / (sqrt(sum) + 1e-6); /* PyTorch's guard against 0 */
    if (!isfinite(sum) || factor >= 1) return;
    for (int64_t i = 0; i < count; i++) gradient[i] = (bp_real)((double)gradient[i] * factor);
}

void bp_clip_gradients(const bp_recipe *recipe, int64_t count, bp_real *gradient) {
    if (recipe->clip_value > 0) clip_values((bp_real)recipe->clip_value, count, gradient);
    if (recipe->clip_norm > 0) clip_norm(recipe->clip_norm, count, gradient);
}
