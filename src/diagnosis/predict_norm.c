/* SPDX-License-Identifier: Apache-2.0 */
/* Batch norm: h = G z / s, G taking off the mean over the batch, s^2 = |G z|^2 / n of one unit. The
 * means of what is divided by s^2 or s^4 are integrals over t with the eigenvalues l of G C G, C
 * the covariance of z (Yang et al. 2019, arXiv 1902.08129):
 * 1 / S = integral of e^(-S t),  E e^(-S t) = product of (1 + 2 l_j t)^(-1/2),  S = sum l_j g_j^2.
 */
#include "diagnosis/predict.h"

#include <math.h>

#define EPSILON 1e-5
#define N_TIMES 160

/* a := G a G */
static void centre(double *a, uint32_t n) {
    double total = 0;
    for (uint32_t i = 0; i < n; i++) {
        double row = 0;
        for (uint32_t j = 0; j < n; j++) row += a[i * n + j];
        for (uint32_t j = 0; j < n; j++) a[i * n + j] -= row / n;
    }
    for (uint32_t j = 0; j < n; j++) {
        total = 0;
        for (uint32_t i = 0; i < n; i++) total += a[i * n + j];
        for (uint32_t i = 0; i < n; i++) a[i * n + j] -= total / n;
    }
}

/* matrix := V diag(values) V^T */
static void compose(double *matrix, const double *vectors, const double *values, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j <= i; j++) {
            double sum = 0;
            for (uint32_t k = 0; k < n; k++)
                sum += vectors[i * n + k] * values[k] * vectors[j * n + k];
            matrix[i * n + j] = matrix[j * n + i] = sum;
        }
}

/* Of each eigenvalue: E h h^T and E h h^T / (n s^2) in their direction; E 1 / s^2. */
static double integrate(const double *eigenvalues, double *of_h, double *of_h_by_s, uint32_t n) {
    double trace = 0, inverse = 0;
    const double samples = n, step = 0.2;
    for (uint32_t j = 0; j < n; j++) {
        trace += fmax(0, eigenvalues[j]);
        of_h[j] = of_h_by_s[j] = 0;
    }
    trace += samples * EPSILON;
    for (int i = 0; i < N_TIMES; i++) {
        const double t = exp(step * (i - 0.5 * N_TIMES)) / trace;
        double log_mean = -samples * EPSILON * t;
        for (uint32_t j = 0; j < n; j++) log_mean -= 0.5 * log1p(2 * fmax(0, eigenvalues[j]) * t);
        const double weight = step * t * exp(log_mean); /* dt = t d(ln t) */
        inverse += samples * weight;
        for (uint32_t j = 0; j < n; j++) {
            const double l = fmax(0, eigenvalues[j]), one = weight * l / (1 + 2 * l * t);
            of_h[j] += samples * one;
            of_h_by_s[j] += samples * t * one;
        }
    }
    return inverse;
}

static void of_vectors(bp_prediction *p, bp_norm_map *map, double *cov) {
    const uint32_t n = p->n;
    double *vectors = p->scratch[1], *values = p->scratch[2];
    double *of_h = values + n, *of_h_by_s = values + 2 * (size_t)n;
    centre(cov, n);
    bp_eigen(cov, values, vectors, n);
    map->inverse_square = integrate(values, of_h, of_h_by_s, n);
    compose(cov, vectors, of_h, n);
    compose(map->matrix, vectors, of_h_by_s, n);
}

/* Of images one channel has a value for each sample and place: so many that s differs little from
 * channel to channel. What all share, samples and places, is taken off. */
static void of_images(bp_prediction *p, bp_norm_map *map, double *cov, bp_signal *signal) {
    const uint32_t n = p->n;
    const double places = signal->places, alike = (1 + (places - 1) * signal->far) / places;
    double shared = 0, square = 0, squares = 0;
    for (uint32_t i = 0; i < n * n; i++) shared += cov[i] / n / n * alike;
    const double trace = bp_signal_trace(p, cov), variance = fmax(0, trace - shared);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            cov[i * n + j] -= shared;
            squares += cov[i * n + j] * cov[i * n + j];
            square += i == j ? cov[i * n + j] : 0;
        }
    const double near = variance > 0 ? (signal->near * trace - shared) / variance : 1;
    const double far = variance > 0 ? (signal->far * trace - shared) / variance : 1;
    const double among = (1 + 8 * near * near + fmax(0, places - 9) * far * far) / places;
    const double free_values = squares > 0 ? square * square / squares / fmin(1, among) : 1;
    const double inverse = 1 / (variance + EPSILON);
    for (uint32_t i = 0; i < n * n; i++) cov[i] *= inverse;
    map->inverse_square = inverse * (1 + 2 / fmax(2, free_values));
    signal->near = near;
    signal->far = far;
}

void bp_batch_norm_forward(bp_prediction *p, bp_norm_map *map, double *cov, bp_signal *signal) {
    if (signal->places > 1)
        of_images(p, map, cov, signal);
    else
        of_vectors(p, map, cov);
    for (uint32_t i = 0; i < p->n; i++) signal->mean[i] = 0;
}

/* dL/dx = 1/s (I - 1 1^T / n - h h^T / n) dL/dy. With A = G (error) G and B = E h h^T / (n s^2):
 * E = A E 1/s^2 - A B - B A + (what h takes of A, along h). */
void bp_batch_norm_backward(bp_prediction *p, const bp_norm_map *map, double *error, bool image) {
    const uint32_t n = p->n;
    if (image) {
        for (uint32_t i = 0; i < n * n; i++) error[i] *= map->inverse_square;
        return;
    }
    double *product = p->scratch[1], taken = 0, all = 0;
    centre(error, n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            double sum = 0;
            for (uint32_t k = 0; k < n; k++) sum += error[i * n + k] * map->matrix[k * n + j];
            product[i * n + j] = sum;
        }
    for (uint32_t i = 0; i < n; i++) {
        taken += product[i * n + i];
        all += map->matrix[i * n + i];
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            error[i * n + j] = map->inverse_square * error[i * n + j] - product[i * n + j] -
                               product[j * n + i] +
                               (all > 0 ? taken / all * map->matrix[i * n + j] : 0);
}
