/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers: w_new = w_old - update, with PyTorch's conventions. */
#include "base/vectorised.h"
#include "trainer/operators.h"
#include "trainer/real.h"

#include <string.h>

bool bp_optimiser_has_first(const bp_recipe *recipe) {
    return recipe->optimiser == BP_ADAM || recipe->optimiser == BP_ADAMW ||
           ((recipe->optimiser == BP_SGD || recipe->optimiser == BP_RMSPROP) &&
            recipe->momentum > 0);
}

bool bp_optimiser_has_second(const bp_recipe *recipe) {
    return recipe->optimiser != BP_SGD;
}

/* v = momentum v + g;   w = w - learning_rate v;   Nesterov: w = w - learning_rate (g + momentum v)
 * Sutskever et al. 2013, in PyTorch's form */
BP_VECTORISED
static void sgd(const bp_update *update, int64_t count, const bp_real *g, bp_real *v, bp_real *w) {
    const bp_real rate = (bp_real)update->learning_rate;
    const bp_real momentum = (bp_real)update->recipe->momentum;
    const bp_real ahead = update->recipe->nesterov ? momentum : 0;
    if (!v) {
        for (int64_t i = 0; i < count; i++) w[i] -= rate * g[i];
        return;
    }
    for (int64_t i = 0; i < count; i++) v[i] = momentum * v[i] + g[i];
    if (ahead > 0)
        for (int64_t i = 0; i < count; i++) w[i] -= rate * (g[i] + ahead * v[i]);
    else
        for (int64_t i = 0; i < count; i++) w[i] -= rate * v[i];
}

/* Kingma & Ba 2015:   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g^2
 * w = w - learning_rate / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 * AdamW (Loshchilov & Hutter 2019) first takes learning_rate weight_decay w off. */
BP_VECTORISED
static void adam(const bp_update *update, int64_t count, const bp_real *g, bp_real *m, bp_real *v,
                 bp_real *w) {
    const bp_recipe *recipe = update->recipe;
    const double t = (double)update->number;
    const bp_real beta1 = (bp_real)recipe->beta1, beta2 = (bp_real)recipe->beta2;
    const bp_real rest1 = (bp_real)(1 - recipe->beta1), rest2 = (bp_real)(1 - recipe->beta2);
    const bp_real rate = (bp_real)(update->learning_rate / (1 - pow(recipe->beta1, t)));
    const bp_real correction = (bp_real)sqrt(1 - pow(recipe->beta2, t));
    const bp_real epsilon = (bp_real)recipe->epsilon;
    if (recipe->optimiser == BP_ADAMW) {
        const bp_real kept = (bp_real)(1 - update->learning_rate * recipe->weight_decay);
        for (int64_t i = 0; i < count; i++) w[i] *= kept;
    }
    for (int64_t i = 0; i < count; i++) {
        m[i] = beta1 * m[i] + rest1 * g[i];
        v[i] = beta2 * v[i] + rest2 * g[i] * g[i];
        w[i] -= rate * m[i] / (bp_real_sqrt(v[i]) / correction + epsilon);
    }
}

/* Hinton's lecture 6e:   v = alpha v + (1 - alpha) g^2;   step = g / (sqrt(v) + eps)
 * w = w - learning_rate step, or with momentum by b = momentum b + step */
BP_VECTORISED
static void rmsprop(const bp_update *update, int64_t count, const bp_real *g, bp_real *b,
                    bp_real *v, bp_real *w) {
    const bp_recipe *recipe = update->recipe;
    const bp_real rate = (bp_real)update->learning_rate, momentum = (bp_real)recipe->momentum;
    const bp_real alpha = (bp_real)recipe->alpha, rest = (bp_real)(1 - recipe->alpha);
    const bp_real epsilon = (bp_real)recipe->epsilon;
    for (int64_t i = 0; i < count; i++) v[i] = alpha * v[i] + rest * g[i] * g[i];
    if (!b) {
        for (int64_t i = 0; i < count; i++) w[i] -= rate * g[i] / (bp_real_sqrt(v[i]) + epsilon);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        b[i] = momentum * b[i] + g[i] / (bp_real_sqrt(v[i]) + epsilon);
        w[i] -= rate * b[i];
    }
}

/* Duchi et al. 2011:   v = v + g^2;   w = w - learning_rate g / (sqrt(v) + eps) */
BP_VECTORISED
static void adagrad(const bp_update *update, int64_t count, const bp_real *g, bp_real *v,
                    bp_real *w) {
    const bp_real rate = (bp_real)update->learning_rate;
    const bp_real epsilon = (bp_real)update->recipe->epsilon;
    for (int64_t i = 0; i < count; i++) v[i] += g[i] * g[i];
    for (int64_t i = 0; i < count; i++) w[i] -= rate * g[i] / (bp_real_sqrt(v[i]) + epsilon);
}

static void apply(const bp_update *update, int64_t count, const bp_real *gradient, bp_real *first,
                  bp_real *second, bp_real *w) {
    switch (update->recipe->optimiser) {
    case BP_SGD:
        sgd(update, count, gradient, first, w);
        return;
    case BP_ADAM:
    case BP_ADAMW:
        adam(update, count, gradient, first, second, w);
        return;
    case BP_RMSPROP:
        rmsprop(update, count, gradient, first, second, w);
        return;
    case BP_ADAGRAD:
        adagrad(update, count, gradient, second, w);
        return;
    case BP_OPTIMISER_OTHER: /* refused by bp_trainer_open */
        return;
    }
}

/* The derivative of the loss plus l1 |w| + l2 w^2 / 2. */
static void add_penalties(const bp_recipe *recipe, int64_t count, const bp_real *w,
                          const bp_real *gradient, bp_real *sum) {
    const bp_real l1 = (bp_real)recipe->l1, l2 = (bp_real)recipe->l2;
    for (int64_t i = 0; i < count; i++)
        sum[i] = gradient[i] + l2 * w[i] + l1 * (bp_real)((w[i] > 0) - (w[i] < 0));
}

/* Penalties are for the optimiser alone: the gradient that others see stays that of the loss. */
void bp_optimise(const bp_update *update, int64_t count, const bp_real *gradient, bp_real *first,
                 bp_real *second, bp_real *w) {
    enum { BLOCK = 256 };
    bp_real sum[BLOCK];
    if (update->recipe->l1 == 0 && update->recipe->l2 == 0) {
        apply(update, count, gradient, first, second, w);
        return;
    }
    for (int64_t at = 0; at < count; at += BLOCK) {
        const int64_t n = count - at < BLOCK ? count - at : BLOCK;
        add_penalties(update->recipe, n, w + at, gradient + at, sum);
        apply(update, n, sum, first ? first + at : NULL, second ? second + at : NULL, w + at);
    }
}
