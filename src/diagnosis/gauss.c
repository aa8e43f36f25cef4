/* SPDX-License-Identifier: Apache-2.0 */
#include "diagnosis/gauss.h"

#include <math.h>

#define HALF_PANELS 6
#define PANEL_NODES 8
#define PI 3.14159265358979323846

/* Panels widen away from the kink: an activation that saturates is steep there. */
static const double edges[HALF_PANELS + 1] = {0, 0.05, 0.3, 1, 2.5, 5, 9};

/* Gauss-Legendre on [-1, 1]. */
static const double legendre_x[PANEL_NODES / 2] = {0.1834346424956498, 0.5255324099163290,
                                                   0.7966664774136267, 0.9602898564975363};
static const double legendre_w[PANEL_NODES / 2] = {0.3626837833783620, 0.3137066458778873,
                                                   0.2223810344533745, 0.1012285362903763};

void bp_gauss_rule_init(bp_gauss_rule *rule, double kink) {
    if (!(fabs(kink) < 3)) kink = 0; /* so far out it weighs nothing, but the middle must be met */
    double sum = 0;
    for (int i = 0; i < BP_GAUSS_NODES; i++) {
        const int panel = i / 2 / PANEL_NODES, node = i / 2 % PANEL_NODES;
        const double half = 0.5 * (edges[panel + 1] - edges[panel]);
        const double x = legendre_x[node / 2] * (node % 2 ? 1 : -1);
        const double distance = edges[panel] + half * (1 + x);
        const double z = i % 2 ? kink + distance : kink - distance;
        rule->z[i] = z;
        rule->weight[i] = half * legendre_w[node / 2] * exp(-0.5 * z * z);
        sum += rule->weight[i];
    }
    for (int i = 0; i < BP_GAUSS_NODES; i++) rule->weight[i] /= sum;
}

static double kink_of(double mean, double scale) {
    return scale > 0 ? -mean / scale : 0;
}

bp_moments bp_gauss_moments(bp_activation activation, double slope, double mean, double variance) {
    const double scale = sqrt(fmax(0, variance));
    bp_moments m = {0, 0, 0, 0};
    bp_gauss_rule rule;
    bp_gauss_rule_init(&rule, kink_of(mean, scale));
    for (int i = 0; i < BP_GAUSS_NODES; i++) {
        const double z = mean + scale * rule.z[i], weight = rule.weight[i];
        const double value = bp_activation_value(activation, slope, z);
        const double derivative = bp_activation_derivative(activation, slope, z);
        const double square = derivative * derivative;
        m.mean += weight * value;
        m.square += weight * value * value;
        m.slope_square += weight * square;
        m.slope_fourth += weight * square * square;
    }
    return m;
}

/* --- Hermite expansions ------------------------------------------------------------------------
 */

/* Normalised: h_0 = 1, h_1 = z, sqrt(k + 1) h_(k+1) = z h_k - sqrt(k) h_(k-1). */
static void add_hermite(double *coefficients, double z, double weighted) {
    double before = 0, h = 1;
    for (int k = 0; k < BP_HERMITE; k++) {
        coefficients[k] += weighted * h;
        const double next = (z * h - sqrt((double)k) * before) / sqrt((double)k + 1);
        before = h;
        h = next;
    }
}

static double rest_of(const double *coefficients, double square) {
    for (int k = 0; k < BP_HERMITE; k++) square -= coefficients[k] * coefficients[k];
    return fmax(0, square);
}

void bp_expansion_init(bp_expansion *e, bp_activation activation, double slope, double mean,
                       double variance) {
    *e = (bp_expansion){.scale = sqrt(fmax(0, variance))};
    bp_gauss_rule rule;
    bp_gauss_rule_init(&rule, kink_of(mean, e->scale));
    for (int i = 0; i < BP_GAUSS_NODES; i++) {
        const double z = mean + e->scale * rule.z[i], weight = rule.weight[i];
        const double value = bp_activation_value(activation, slope, z);
        const double derivative = bp_activation_derivative(activation, slope, z);
        const double square = derivative * derivative;
        add_hermite(e->value, rule.z[i], weight * value);
        add_hermite(e->slope, rule.z[i], weight * derivative);
        e->moments.square += weight * value * value;
        e->moments.slope_square += weight * square;
        e->moments.slope_fourth += weight * square * square;
    }
    e->moments.mean = e->value[0];
    e->value_rest = rest_of(e->value, e->moments.square);
    e->slope_rest = rest_of(e->slope, e->moments.slope_square);
    if (mean == 0) {
        const double least = 1e-12;
        e->kink = bp_activation_derivative(activation, slope, least) -
                  bp_activation_derivative(activation, slope, -least);
        if (fabs(e->kink) < 1e-9) e->kink = 0;
    }
}

/* E max(0, u) max(0, v) and E [u > 0] [v > 0] beyond the first coefficients. The step's are those
 * of odd k: s_k^2 = ((k-2)!!)^2 / (2 pi k!), the ramp's r_(k+1) = s_k / sqrt(k + 1). */
static double tail_of_steps(double c, bool ramp) {
    const double angle = PI - acos(c);
    double rest = ramp ? (sqrt(1 - c * c) + c * angle) / (2 * PI) : angle / (2 * PI);
    rest -= ramp ? 1 / (2 * PI) + c / 4 : 0.25;
    double square = 1 / (2 * PI), power = c;
    for (int k = 1; k < BP_HERMITE; k += 2) {
        if (!ramp) rest -= square * power;
        if (ramp && k + 1 < BP_HERMITE) rest -= square / (k + 1) * power * c;
        square *= (double)k * k / ((k + 1.0) * (k + 2.0));
        power *= c * c;
    }
    return rest;
}

static double clamp(double c) {
    return fmax(-1, fmin(1, c));
}

static double sum_of(const double *a, const double *b, double c) {
    double sum = 0, power = 1;
    for (int k = 0; k < BP_HERMITE; k++) {
        sum += a[k] * b[k] * power;
        power *= c;
    }
    return sum;
}

double bp_expansion_values(const bp_expansion *a, const bp_expansion *b, double correlation) {
    const double c = clamp(correlation), sum = sum_of(a->value, b->value, c);
    if (a->kink != 0 && b->kink != 0)
        return sum + a->kink * b->kink * a->scale * b->scale * tail_of_steps(c, true);
    return sum + sqrt(a->value_rest * b->value_rest) * pow(fabs(c), 2 * BP_HERMITE);
}

double bp_expansion_slopes(const bp_expansion *a, const bp_expansion *b, double correlation) {
    const double c = clamp(correlation), sum = sum_of(a->slope, b->slope, c);
    if (a->kink != 0 && b->kink != 0) return sum + a->kink * b->kink * tail_of_steps(c, false);
    return sum + sqrt(a->slope_rest * b->slope_rest) * pow(fabs(c), 2 * BP_HERMITE);
}

/* --- the largest of a few ----------------------------------------------------------------------
 */

/* z = sqrt(r) common + sqrt(1 - r) own; the density of the largest own is n phi Phi^(n-1). */
bp_moments bp_gauss_largest(bp_activation activation, double slope, double mean, double variance,
                            int64_t n, double r) {
    const double scale = sqrt(variance), shared = sqrt(fmax(0, fmin(1, r)));
    const double own = sqrt(1 - shared * shared);
    bp_moments m = {0, 0, 0, 0};
    bp_gauss_rule outer, inner;
    bp_gauss_rule_init(&outer, 0);
    bp_gauss_rule_init(&inner, 0);
    for (int k = 0; k < BP_GAUSS_NODES; k++)
        inner.weight[k] *= (double)n * pow(0.5 * erfc(-inner.z[k] / sqrt(2)), (double)n - 1);
    for (int i = 0; i < BP_GAUSS_NODES; i++)
        for (int k = 0; k < BP_GAUSS_NODES; k++) {
            const double weight = outer.weight[i] * inner.weight[k];
            const double z = mean + scale * (shared * outer.z[i] + own * inner.z[k]);
            const double value = bp_activation_value(activation, slope, z);
            const double derivative = bp_activation_derivative(activation, slope, z);
            m.mean += weight * value;
            m.square += weight * value * value;
            m.slope_square += weight * derivative * derivative;
        }
    return m;
}

/* --- eigenvalues -------------------------------------------------------------------------------
 */

static void rotate(double *a, double *vectors, uint32_t n, uint32_t p, uint32_t q) {
    const double off = a[p * n + q];
    if (fabs(off) < 1e-300) return;
    const double theta = 0.5 * (a[q * n + q] - a[p * n + p]) / off;
    const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    const double c = 1 / sqrt(t * t + 1), s = t * c;
    for (uint32_t k = 0; k < n; k++) {
        const double x = a[k * n + p], y = a[k * n + q];
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for (uint32_t k = 0; k < n; k++) {
        const double x = a[p * n + k], y = a[q * n + k];
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
        const double u = vectors[k * n + p], v = vectors[k * n + q];
        vectors[k * n + p] = c * u - s * v;
        vectors[k * n + q] = s * u + c * v;
    }
}

void bp_eigen(double *matrix, double *values, double *vectors, uint32_t n) {
    for (uint32_t i = 0; i < n * n; i++) vectors[i] = i % (n + 1) == 0;
    for (int sweep = 0; sweep < 30; sweep++) {
        double off = 0, all = 0;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < n; j++) {
                const double square = matrix[i * n + j] * matrix[i * n + j];
                all += square;
                if (i != j) off += square;
            }
        if (off <= 1e-20 * all) break;
        for (uint32_t p = 0; p + 1 < n; p++)
            for (uint32_t q = p + 1; q < n; q++) rotate(matrix, vectors, n, p, q);
    }
    for (uint32_t i = 0; i < n; i++) values[i] = matrix[i * n + i];
}
