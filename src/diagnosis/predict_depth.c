/* SPDX-License-Identifier: Apache-2.0 */
/* How deep a stack of one plain layer can be (Schoenholz et al. 2017): where q and the correlation
 * of two samples settle and how fast; and the weights at which the error signal keeps its size. */
#include "diagnosis/predict.h"

#include <math.h>

#define MAX_ROUNDS 2000
#define SETTLED 1e-10

/* Slow towards 0 at criticality (as 1 / depth), without end where weights are too large. */
static double settle(bp_activation activation, double slope, double w, double b) {
    double q = 1;
    for (int i = 0; i < MAX_ROUNDS; i++) {
        const double next = w * bp_gauss_moments(activation, slope, 0, q).square + b;
        if (!(next < 1e12)) return (double)INFINITY;
        if (fabs(next - q) <= SETTLED * fmax(q, 1e-12)) return next;
        q = next;
    }
    return q;
}

/* The correlation settles where its map crosses the diagonal; from 0.5 on it goes there. Where q
 * does not settle the map is that of one layer. */
static double settle_correlation(const bp_expansion *e, double w, double b) {
    const double q = w * e->moments.square + b;
    double c = 0.5;
    for (int i = 0; i < MAX_ROUNDS && q > 0; i++) {
        const double next = fmin(1, (w * bp_expansion_values(e, e, c) + b) / q);
        if (fabs(next - c) <= SETTLED) return next;
        c = next;
    }
    return c;
}

static double layers_per_e(double chi) {
    const double rate = fabs(log(fmax(chi, 1e-300)));
    return rate > 1e-3 ? 1 / rate : (double)INFINITY; /* as near to 1 as the rounds above come */
}

bp_depth_scales bp_depth_scales_of(bp_activation activation, double slope, double sigma_w,
                                   double sigma_b) {
    const double w = sigma_w * sigma_w, b = sigma_b * sigma_b;
    bp_depth_scales d = {.q = settle(activation, slope, w, b)};
    const double q = fmin(fmax(d.q, 1e-12), 1e12); /* it may fall to 0 or grow without end */
    bp_expansion e;
    bp_expansion_init(&e, activation, slope, 0, q);
    d.backward = layers_per_e(w * e.moments.slope_square);
    d.correlation = settle_correlation(&e, w, b);
    const double steepness =
        w * bp_expansion_slopes(&e, &e, d.correlation) * q / (w * e.moments.square + b);
    d.forward = layers_per_e(fmin(1, steepness));
    return d;
}

/* ln of what the error signal gains over a stack of these layers. */
static double log_gain(bp_activation activation, double slope, double w, double b, uint32_t n) {
    double k = 1, sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const bp_moments m = bp_gauss_moments(activation, slope, 0, w * k + b);
        k = m.square;
        sum += 0.5 * log(fmax(w * m.slope_square, 1e-300));
    }
    return sum;
}

double bp_critical_sigma(bp_activation activation, double slope, double sigma_b,
                         uint32_t n_layers) {
    const uint32_t n = n_layers < 1 ? 1 : n_layers > 100 ? 100 : n_layers;
    const double b = sigma_b * sigma_b;
    double low = log(0.1), high = log(30);
    if (activation == BP_ACTIVATION_SOFTMAX) return (double)NAN;
    if (log_gain(activation, slope, exp(2 * low), b, n) > 0 ||
        log_gain(activation, slope, exp(2 * high), b, n) < 0)
        return (double)NAN;
    for (int i = 0; i < 40; i++) {
        const double middle = 0.5 * (low + high);
        if (log_gain(activation, slope, exp(2 * middle), b, n) < 0)
            low = middle;
        else
            high = middle;
    }
    return exp(0.5 * (low + high));
}
