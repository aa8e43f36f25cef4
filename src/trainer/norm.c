/* SPDX-License-Identifier: Apache-2.0 */
/* Normalisation: h = (x - mean) / sqrt(variance + eps), y = gain * h + bias. Batch norm (Ioffe &
 * Szegedy 2015) takes mean and variance of a unit over the batch, layer norm (Ba et al. 2016) of a
 * sample over its units; both variances are the biased ones. Two passes: mean first, then squares
 * about it, so that a large common part does not cancel. */
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

/* Mean and variance of each unit over the samples; the running ones follow, with the unbiased
 * variance as PyTorch has it. Leaves the variance in inverse_std. */
static void batch_statistics(const bp_norm_operator *norm, int64_t n, const bp_real *x) {
    const int64_t units = norm->units;
    const bp_real samples = (bp_real)n, momentum = (bp_real)BP_BATCH_NORM_MOMENTUM;
    bp_real *mean = norm->mean, *variance = norm->inverse_std;
    memset(mean, 0, (size_t)units * sizeof *mean);
    memset(variance, 0, (size_t)units * sizeof *variance);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++) mean[j] += x[i * units + j];
    for (int64_t j = 0; j < units; j++) mean[j] /= samples;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++) {
            const bp_real distance = x[i * units + j] - mean[j];
            variance[j] += distance * distance;
        }
    for (int64_t j = 0; j < units; j++) {
        const bp_real unbiased = variance[j] / (samples - 1);
        variance[j] /= samples;
        norm->running_mean[j] += momentum * (mean[j] - norm->running_mean[j]);
        norm->running_variance[j] += momentum * (unbiased - norm->running_variance[j]);
    }
}

static void batch_norm_forward(const bp_norm_operator *norm, bool training, int64_t n,
                               const bp_real *x, bp_real *y) {
    const int64_t units = norm->units;
    const bp_real *mean = norm->running_mean, *variance = norm->running_variance;
    if (training) {
        batch_statistics(norm, n, x);
        mean = norm->mean;
        variance = norm->inverse_std;
    }
    for (int64_t j = 0; j < units; j++)
        norm->inverse_std[j] = 1 / bp_real_sqrt(variance[j] + (bp_real)BP_NORM_EPSILON);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++)
            norm->normalised[i * units + j] = (x[i * units + j] - mean[j]) * norm->inverse_std[j];
    scale_and_shift(norm, n, norm->normalised, y);
}

/* dx = gain / std * (dy - mean(dy) - h mean(dy h)), means over the samples */
static void batch_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error) {
    const int64_t units = norm->units;
    const bp_real samples = (bp_real)n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < units; j++) {
            const bp_real mean_dy = norm->bias_gradient[j] / samples;
            const bp_real mean_dy_h = norm->gain_gradient[j] / samples;
            bp_real *at = &error[i * units + j];
            *at = norm->gain[j] * norm->inverse_std[j] *
                  (*at - mean_dy - norm->normalised[i * units + j] * mean_dy_h);
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
    if (norm->kind == BP_NORM_BATCH)
        batch_norm_forward(norm, training, n, x, y);
    else
        layer_norm_forward(norm, n, x, y);
}

void bp_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error) {
    backward_parameters(norm, n, error);
    if (norm->kind == BP_NORM_BATCH)
        batch_norm_backward(norm, n, error);
    else
        layer_norm_backward(norm, n, error);
}
