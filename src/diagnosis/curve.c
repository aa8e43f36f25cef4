/* SPDX-License-Identifier: Apache-2.0 */
#include "diagnosis/curve.h"

#include <math.h>
#include <stddef.h>

static void halve(bp_curve *curve) {
    for (uint32_t i = 0; i < curve->n / 2; i++) {
        const uint32_t at = 2 * i;
        curve->step[i] = curve->step[at];
        curve->last[i] = curve->last[at + 1];
        curve->mean[i] = 0.5 * (curve->mean[at] + curve->mean[at + 1]);
    }
    curve->n /= 2;
    curve->block_length *= 2;
}

bool bp_curve_add(bp_curve *curve, int64_t step, double value) {
    if (curve->block_length == 0) curve->block_length = 1;
    if (curve->n_pending == 0) {
        curve->pending = 0;
        curve->pending_step = step;
    }
    /* A running mean: a sum of losses that were huge once would lose the small ones after them. */
    curve->n_pending++;
    curve->pending += (value - curve->pending) / (double)curve->n_pending;
    if (curve->n_pending < curve->block_length) return false;
    if (curve->n == CURVE_BLOCKS) {
        halve(curve);
        return false; /* this value is the first half of a longer block */
    }
    curve->step[curve->n] = curve->pending_step;
    curve->last[curve->n] = step;
    curve->mean[curve->n] = curve->pending;
    curve->n++;
    curve->n_pending = 0;
    return true;
}

double bp_curve_mean(const bp_curve *curve, uint32_t from, uint32_t to) {
    double sum = 0;
    for (uint32_t i = from; i < to; i++) sum += curve->mean[i];
    return sum / (to - from);
}

/* Shell's, with the gaps of Ciura 2001: qsort may take memory. */
static void sort(double *values, uint32_t n) {
    static const uint32_t gaps[] = {132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (uint32_t i = gaps[g]; i < n; i++) {
            const double value = values[i];
            uint32_t at = i;
            for (; at >= gaps[g] && values[at - gaps[g]] > value; at -= gaps[g])
                values[at] = values[at - gaps[g]];
            values[at] = value;
        }
}

double bp_median_of(double *values, uint32_t n) {
    sort(values, n);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2] + values[n / 2 - 1]);
}

double bp_curve_median(const bp_curve *curve, uint32_t from, uint32_t to) {
    double values[CURVE_BLOCKS];
    for (uint32_t i = from; i < to; i++) values[i - from] = curve->mean[i];
    return bp_median_of(values, to - from);
}

double bp_curve_slope(const bp_curve *curve, uint32_t from, uint32_t to, double *by_error) {
    const double n = to - from, middle = 0.5 * (n - 1);
    const double mean = bp_curve_mean(curve, from, to);
    double xx = 0, xy = 0, yy = 0;
    for (uint32_t i = from; i < to; i++) {
        const double x = (i - from) - middle, y = curve->mean[i] - mean;
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    *by_error = 0;
    if (n < 3) return 0;
    const double slope = xy / xx, rest = yy - slope * xy;
    const double error = sqrt((rest > 0 ? rest : 0) / (n - 2) / xx);
    if (slope != 0) *by_error = error > 0 ? slope / error : copysign((double)INFINITY, slope);
    return slope;
}

void bp_curve_rewind(bp_curve *curve, int64_t step) {
    while (curve->n && curve->last[curve->n - 1] >= step) curve->n--;
    curve->n_pending = 0;
}

double bp_noise_of(const double *values, uint32_t n, double *scratch) {
    if (n < 3) return 0;
    for (uint32_t i = 0; i + 1 < n; i++) scratch[i] = values[i + 1] - values[i];
    const double middle = bp_median_of(scratch, n - 1);
    for (uint32_t i = 0; i + 1 < n; i++) scratch[i] = fabs(scratch[i] - middle);
    return 1.4826 / sqrt(2) * bp_median_of(scratch, n - 1);
}
