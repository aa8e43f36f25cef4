/* SPDX-License-Identifier: Apache-2.0 */
/* Losses: the mean over the samples (cross_entropy) or over samples and outputs (mse), and its
 * derivative with respect to the network's output. Reckoned in f64: p - 1 of a sample that is
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
 * off first, so that nothing overflows. */
static double cross_entropy(int64_t m, const bp_real *z, int32_t class, double samples,
                            bp_real *dz) {
    const double top = (double)z[largest(z, m)];
    double sum = 0;
    for (int64_t j = 0; j < m; j++) sum += exp((double)z[j] - top);
    for (int64_t j = 0; j < m && dz; j++) {
        const double p = exp((double)z[j] - top) / sum;
        dz[j] = (bp_real)((p - (j == class ? 1 : 0)) / samples);
    }
    return log(sum) - ((double)z[class] - top);
}

/* L = mean of (y - t)^2;   dL/dy = 2 (y - t) / terms */
static double squared_error(int64_t m, const bp_real *y, const bp_real *t, double terms,
                            bp_real *dy) {
    double sum = 0;
    for (int64_t j = 0; j < m; j++) {
        const double distance = (double)y[j] - (double)t[j];
        sum += distance * distance;
        if (dy) dy[j] = (bp_real)(2 * distance / terms);
    }
    return sum;
}

bp_loss_sum bp_loss_of(bp_loss loss, int64_t n, int64_t m, const bp_real *y, const int32_t *classes,
                       const bp_real *targets, bp_real *dy) {
    bp_loss_sum result = {.terms = loss == BP_MSE ? n * m : n};
    for (int64_t i = 0; i < n; i++) {
        bp_real *row = dy ? dy + i * m : NULL;
        if (loss == BP_MSE)
            result.sum += squared_error(m, y + i * m, targets + i * m, (double)result.terms, row);
        else
            result.sum += cross_entropy(m, y + i * m, classes[i], (double)n, row);
        if (classes && is_right(y + i * m, m, classes[i])) result.correct++;
    }
    return result;
}
