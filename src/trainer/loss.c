/* SPDX-License-Identifier: Apache-2.0 */
/* Losses: the mean over the samples (cross_entropy) or over samples and outputs (the others), and
 * its derivative with respect to the network's output. Reckoned in f64: p - 1 of a sample that is
 * nearly certain would be rounding error in f32. */
#include "trainer/operators.h"

#include <math.h>

/* The first largest; a NaN is never larger. */
static int64_t largest(const bp_real *y, int64_t m) {
    int64_t best = 0;
    for (int64_t j = 1; j < m; j++)
        if (y[j] > y[best]) best = j;
    return best;
}

/* An output that is NaN says nothing, so it is never right. */
static bool is_right(const bp_real *y, int64_t m, int32_t class) {
    return largest(y, m) == class && !isnan(y[class]);
}

/* L = log(sum_j e^z_j) - z_c;   dL/dz_j = p_j - [j = c],  p = softmax z. The largest logit is taken
 * off first, so that nothing overflows. Exponentials take their time: the first ones are kept. */
static double cross_entropy(int64_t m, const bp_real *z, int32_t class, double samples,
                            bp_real *dz) {
    enum { KEPT = 64 };
    double kept[KEPT], sum = 0;
    const double top = (double)z[largest(z, m)];
    for (int64_t j = 0; j < m; j++) {
        const double e = exp((double)z[j] - top);
        if (j < KEPT) kept[j] = e;
        sum += e;
    }
    for (int64_t j = 0; j < m && dz; j++) {
        const double p = (j < KEPT ? kept[j] : exp((double)z[j] - top)) / sum;
        dz[j] = (bp_real)((p - (j == class ? 1 : 0)) / samples);
    }
    return log(sum) - ((double)z[class] - top);
}

/* A NaN gives NaN for both.
 *   mse                  (y - t)^2
 *   mae                  |y - t|; the slope at 0 is 0
 *   huber                (y - t)^2 / 2 up to delta, then delta (|y - t| - delta / 2); Huber 1964
 *   binary_cross_entropy -t log p - (1 - t) log(1 - p), p = sigmoid y, written so that nothing
 *                        overflows or cancels: y (1 - t) + log(1 + e^-y), for y < 0 with e^y */
double bp_output_loss(const bp_recipe *recipe, double y, double t, double *slope) {
    const double distance = y - t, delta = recipe->huber_delta;
    switch (recipe->loss) {
    case BP_MAE:
        *slope = distance > 0 ? 1 : distance < 0 ? -1 : distance;
        return fabs(distance);
    case BP_HUBER:
        *slope = distance > delta ? delta : distance < -delta ? -delta : distance;
        return *slope * (distance - *slope / 2);
    case BP_BINARY_CROSS_ENTROPY:
        *slope = 1 / (1 + exp(-y)) - t;
        return y > 0 ? y * (1 - t) + log1p(exp(-y)) : log1p(exp(y)) - y * t;
    default: /* BP_MSE */
        *slope = 2 * distance;
        return distance * distance;
    }
}

/* The sum over a sample's outputs. */
static double outputs_loss(const bp_recipe *recipe, int64_t m, const bp_real *y, const bp_real *t,
                           double terms, bp_real *dy) {
    double sum = 0;
    for (int64_t j = 0; j < m; j++) {
        double slope;
        sum += bp_output_loss(recipe, (double)y[j], (double)t[j], &slope);
        if (dy) dy[j] = (bp_real)(slope / terms);
    }
    return sum;
}

/* Outputs on the right side of 0, where the sigmoid is 1/2. */
static int64_t count_right_sides(int64_t m, const bp_real *y, const bp_real *t) {
    int64_t count = 0;
    for (int64_t j = 0; j < m; j++)
        if (!isnan(y[j]) && (y[j] > 0) == (t[j] > (bp_real)0.5)) count++;
    return count;
}

int64_t bp_loss_terms(bp_loss loss, int64_t n, int64_t m) {
    return loss == BP_CROSS_ENTROPY ? n : n * m;
}

bp_loss_sum bp_loss_of(const bp_recipe *recipe, int64_t n, int64_t m, const bp_real *y,
                       const int32_t *classes, const bp_real *targets, bp_real *dy) {
    const bool is_binary = recipe->loss == BP_BINARY_CROSS_ENTROPY;
    bp_loss_sum result = {.terms = bp_loss_terms(recipe->loss, n, m)};
    for (int64_t i = 0; i < n; i++, y += m) {
        bp_real *row = dy ? dy + i * m : NULL;
        if (recipe->loss == BP_CROSS_ENTROPY)
            result.sum += cross_entropy(m, y, classes[i], (double)n, row);
        else
            result.sum += outputs_loss(recipe, m, y, targets + i * m, (double)result.terms, row);
        if (is_binary)
            result.correct += count_right_sides(m, y, targets + i * m);
        else if (classes && is_right(y, m, classes[i]))
            result.correct++;
    }
    result.judged = is_binary ? n * m : classes ? n : 0;
    return result;
}
