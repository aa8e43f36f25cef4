/* SPDX-License-Identifier: Apache-2.0 */
/* Normalisation: h = (x - mean) / sqrt(variance + eps), y = gain * h + bias. Batch norm (Ioffe &
 * Szegedy 2015) takes mean and variance of a unit over the batch, of images those of a channel over
 * all its places too; layer norm (Ba et al. 2016) takes those of a sample over its units. Both
 * variances are the biased ones. Two passes: mean first, then squares about it, so that a large
 * common part does not cancel. */
#include "trainer/operators.h"
#include "trainer/real.h"

#include <string.h>

/* y = gain * h + bias */
static void scale_and_shift(const bp_norm_operator *norm, int64_t n, const bp_real *h, bp_real *y) {
    for (int64_t i = 0; i < n; i++, h += norm->units, y += norm->units)
        for (int64_t j = 0; j < norm->units; j++) y[j] = norm->gain[j] * h[j] + norm->bias[j];
}

/* dL/dgain [units] = sum over samples of dy * h;   dL/dbias [units] = sum over samples of dy */
static void backward_parameters(const bp_norm_operator *norm, int64_t n, const bp_real *dy) {
    const bp_real *h = norm->normalised;
    memset(norm->gain_gradient, 0, (size_t)norm->units * sizeof *dy);
    memset(norm->bias_gradient, 0, (size_t)norm->units * sizeof *dy);
    for (int64_t i = 0; i < n; i++, h += norm->units, dy += norm->units)
        for (int64_t j = 0; j < norm->units; j++) {
            norm->gain_gradient[j] += dy[j] * h[j];
            norm->bias_gradient[j] += dy[j];
        }
}

/* --- batch norm ------------------------------------------------------------------------------- */

/* From sums to mean square; the running ones follow, with the unbiased variance as PyTorch has it.
 */
static void finish_statistics(const bp_norm_operator *norm, bp_real values) {
    const bp_real momentum = (bp_real)BP_BATCH_NORM_MOMENTUM;
    bp_real *mean = norm->mean, *variance = norm->inverse_std;
    for (int64_t j = 0; j < norm->units; j++) {
        const bp_real unbiased = variance[j] / (values - 1);
        variance[j] /= values;
        norm->running_mean[j] += momentum * (mean[j] - norm->running_mean[j]);
        norm->running_variance[j] += momentum * (unbiased - norm->running_variance[j]);
    }
}

/* Mean and variance of each unit over the samples. Leaves the variance in inverse_std. */
static void batch_statistics(const bp_norm_operator *norm, int64_t n, const bp_real *x) {
    const int64_t units = norm->units;
    bp_real *mean = norm->mean, *variance = norm->inverse_std;
    memset(mean, 0, (size_t)units * sizeof *mean);
    memset(variance, 0, (size_t)units * sizeof *variance);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++) mean[j] += x[i * units + j];
    for (int64_t j = 0; j < units; j++) mean[j] /= (bp_real)n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++) {
            const bp_real distance = x[i * units + j] - mean[j];
            variance[j] += distance * distance;
        }
    finish_statistics(norm, (bp_real)n);
}

/* The same of each channel of images, x [n, channels, area], over samples and places. The
 * distances from the mean pass through normalised. */
static void channel_statistics(const bp_norm_operator *norm, int64_t n, const bp_real *x) {
    const int64_t area = norm->area, step = norm->units * area;
    const bp_real values = (bp_real)(n * area);
    for (int64_t c = 0; c < norm->units; c++) {
        bp_real sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) sum += bp_real_sum(x + i * step + c * area, area);
        const bp_real mean = sum / values;
        for (int64_t i = 0; i < n; i++) {
            bp_real *distance = norm->normalised + i * step + c * area;
            for (int64_t a = 0; a < area; a++) distance[a] = x[i * step + c * area + a] - mean;
            squares += bp_real_dot(distance, distance, area);
        }
        norm->mean[c] = mean;
        norm->inverse_std[c] = squares;
    }
    finish_statistics(norm, values);
}

/* The means and variances that are taken off and divided by; inverse_std is left ready. */
static const bp_real *choose_statistics(const bp_norm_operator *norm, bool training, int64_t n,
                                        const bp_real *x) {
    const bp_real *mean = norm->running_mean, *variance = norm->running_variance;
    if (training) {
        if (norm->area > 1)
            channel_statistics(norm, n, x);
        else
            batch_statistics(norm, n, x);
        mean = norm->mean;
        variance = norm->inverse_std;
    }
    for (int64_t j = 0; j < norm->units; j++)
        norm->inverse_std[j] = 1 / bp_real_sqrt(variance[j] + (bp_real)BP_NORM_EPSILON);
    return mean;
}

static void batch_norm_forward(const bp_norm_operator *norm, bool training, int64_t n,
                               const bp_real *x, bp_real *y) {
    const int64_t units = norm->units;
    const bp_real *mean = choose_statistics(norm, training, n, x);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++)
            norm->normalised[i * units + j] = (x[i * units + j] - mean[j]) * norm->inverse_std[j];
    scale_and_shift(norm, n, norm->normalised, y);
}

/* dx = gain / std * (dy - mean(dy) - h mean(dy h)), means over the samples */
static void batch_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error) {
    const int64_t units = norm->units;
    const bp_real samples = (bp_real)n;
    backward_parameters(norm, n, error);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++) {
            const bp_real mean_dy = norm->bias_gradient[j] / samples;
            const bp_real mean_dy_h = norm->gain_gradient[j] / samples;
            bp_real *at = &error[i * units + j];
            *at = norm->gain[j] * norm->inverse_std[j] *
                  (*at - mean_dy - norm->normalised[i * units + j] * mean_dy_h);
        }
}

/* --- batch norm of images: x [n, channels, area], statistics of a channel over n * area ---------
 */

static void image_norm_forward(const bp_norm_operator *norm, bool training, int64_t n,
                               const bp_real *x, bp_real *y) {
    const bp_real *mean = choose_statistics(norm, training, n, x);
    bp_real *h = norm->normalised;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < norm->units; c++)
            for (int64_t a = 0; a < norm->area; a++, h++) {
                *h = (*x++ - mean[c]) * norm->inverse_std[c];
                *y++ = norm->gain[c] * *h + norm->bias[c];
            }
}

/* The same formulas, means over samples and places. */
static void image_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error) {
    const int64_t area = norm->area, step = norm->units * area;
    const bp_real values = (bp_real)(n * area);
    for (int64_t c = 0; c < norm->units; c++) {
        bp_real *dy = error + c * area;
        const bp_real *h = norm->normalised + c * area;
        bp_real sum_dy = 0, sum_dy_h = 0;
        for (int64_t i = 0; i < n; i++) {
            sum_dy += bp_real_sum(dy + i * step, area);
            sum_dy_h += bp_real_dot(dy + i * step, h + i * step, area);
        }
        norm->bias_gradient[c] = sum_dy;
        norm->gain_gradient[c] = sum_dy_h;
        const bp_real factor = norm->gain[c] * norm->inverse_std[c];
        const bp_real mean_dy = sum_dy / values, mean_dy_h = sum_dy_h / values;
        for (int64_t i = 0; i < n; i++)
            for (int64_t a = i * step; a < i * step + area; a++)
                dy[a] = factor * (dy[a] - mean_dy - h[a] * mean_dy_h);
    }
}

/* --- layer norm ------------------------------------------------------------------------------- */

static void layer_norm_forward(const bp_norm_operator *norm, int64_t n, const bp_real *x,
                               bp_real *y) {
    const int64_t units = norm->units;
    bp_real *h = norm->normalised;
    for (int64_t i = 0; i < n; i++, x += units, h += units) {
        bp_real mean = 0, variance = 0;
        for (int64_t j = 0; j < units; j++) mean += x[j];
        mean /= (bp_real)units;
        for (int64_t j = 0; j < units; j++) variance += (x[j] - mean) * (x[j] - mean);
        variance /= (bp_real)units;
        norm->inverse_std[i] = 1 / bp_real_sqrt(variance + (bp_real)BP_NORM_EPSILON);
        for (int64_t j = 0; j < units; j++) h[j] = (x[j] - mean) * norm->inverse_std[i];
    }
    scale_and_shift(norm, n, norm->normalised, y);
}

/* With dh = dy * gain:   dx = 1 / std * (dh - mean(dh) - h mean(dh h)), means over the units */
static void layer_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error) {
    const int64_t units = norm->units;
    const bp_real *h = norm->normalised;
    backward_parameters(norm, n, error);
    for (int64_t i = 0; i < n; i++, error += units, h += units) {
        bp_real mean_dh = 0, mean_dh_h = 0;
        for (int64_t j = 0; j < units; j++) {
            error[j] *= norm->gain[j];
            mean_dh += error[j];
            mean_dh_h += error[j] * h[j];
        }
        mean_dh /= (bp_real)units;
        mean_dh_h /= (bp_real)units;
        for (int64_t j = 0; j < units; j++)
            error[j] = norm->inverse_std[i] * (error[j] - mean_dh - h[j] * mean_dh_h);
    }
}

void bp_norm_forward(const bp_norm_operator *norm, bool training, int64_t n, const bp_real *x,
                     bp_real *y) {
    if (norm->kind == BP_NORM_LAYER)
        layer_norm_forward(norm, n, x, y);
    else if (norm->area > 1)
        image_norm_forward(norm, training, n, x, y);
    else
        batch_norm_forward(norm, training, n, x, y);
}

void bp_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error) {
    if (norm->kind == BP_NORM_LAYER)
        layer_norm_backward(norm, n, error);
    else if (norm->area > 1)
        image_norm_backward(norm, n, error);
    else
        batch_norm_backward(norm, n, error);
}
