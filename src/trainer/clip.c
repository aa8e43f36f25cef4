/* SPDX-License-Identifier: Apache-2.0 */
/* Clipping of gradients between the backward pass and the update. */
#include "base/vectorised.h"
#include "trainer/operators.h"

#include <math.h>

/* NaN stays NaN. */
static void clip_values(bp_real limit, int64_t count, bp_real *gradient) {
    for (int64_t i = 0; i < count; i++)
        gradient[i] = gradient[i] > limit ? limit : gradient[i] < -limit ? -limit : gradient[i];
}

/* L2, in f64, so that finite gradients have a finite norm. */
BP_VECTORISED static double norm_of(int64_t count, const bp_real *gradient) {
    enum { LANES = 32 };
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)gradient[i + l] * (double)gradient[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += (double)gradient[i] * (double)gradient[i];
    for (int l = 0; l < LANES; l++) sum += lane[l];
    return sqrt(sum);
}

/* Pascanu et al. 2013: g = g limit / norm where the norm of all gradients is larger. In f32 the
 * norm of one of 1e30 would be Inf, and all would become 0. A gradient that is not finite is left
 * for everybody to see. */
static void clip_norm(double limit, double norm, int64_t count, bp_real *gradient) {
    const double factor = limit / (norm + 1e-6); /* PyTorch's guard against 0 */
    if (!isfinite(norm) || factor >= 1) return;
    for (int64_t i = 0; i < count; i++) gradient[i] = (bp_real)((double)gradient[i] * factor);
}

bool bp_clips(const bp_recipe *recipe) {
    return recipe->clip_value > 0 || recipe->clip_norm > 0;
}

void bp_clip_gradients(const bp_recipe *recipe, int64_t count, bp_real *gradient, double *norm) {
    if (norm) *norm = norm_of(count, gradient);
    if (recipe->clip_value > 0) clip_values((bp_real)recipe->clip_value, count, gradient);
    if (recipe->clip_norm <= 0) return;
    const bool known = norm && recipe->clip_value <= 0;
    clip_norm(recipe->clip_norm, known ? *norm : norm_of(count, gradient), count, gradient);
}
