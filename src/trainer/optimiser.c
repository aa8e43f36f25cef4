/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers: w_new = w_old - update, with PyTorch's conventions. */
#include "trainer/operators.h"
#include "trainer/real.h"

/* v = momentum * v + g;   w = w - learning_rate * v */
void bp_sgd_update(const bp_recipe *recipe, int64_t count, const bp_real *gradient,
                   bp_real *velocity, bp_real *w) {
    const bp_real rate = (bp_real)recipe->learning_rate, momentum = (bp_real)recipe->momentum;
    if (!velocity) {
        for (int64_t i = 0; i < count; i++) w[i] -= rate * gradient[i];
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        velocity[i] = momentum * velocity[i] + gradient[i];
        w[i] -= rate * velocity[i];
    }
}

/* Kingma & Ba 2015:   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
 * w = w - learning_rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
void bp_adam_update(const bp_recipe *recipe, int64_t update, int64_t count, const bp_real *gradient,
                    bp_real *first_moment, bp_real *second_moment, bp_real *w) {
    const double t = (double)update;
    const bp_real beta1 = (bp_real)recipe->beta1, beta2 = (bp_real)recipe->beta2;
    const bp_real rest1 = (bp_real)(1 - recipe->beta1), rest2 = (bp_real)(1 - recipe->beta2);
    const bp_real rate = (bp_real)(recipe->learning_rate / (1 - pow(recipe->beta1, t)));
    const bp_real correction = (bp_real)sqrt(1 - pow(recipe->beta2, t));
    const bp_real epsilon = (bp_real)recipe->epsilon;
    bp_real *m = first_moment, *v = second_moment;
    for (int64_t i = 0; i < count; i++) {
        const bp_real g = gradient[i];
        m[i] = beta1 * m[i] + rest1 * g;
        v[i] = beta2 * v[i] + rest2 * g * g;
        w[i] -= rate * m[i] / (bp_real_sqrt(v[i]) / correction + epsilon);
    }
}
