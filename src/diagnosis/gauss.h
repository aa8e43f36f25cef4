/* SPDX-License-Identifier: Apache-2.0 */
/* Means over Gaussian units by Gauss-Legendre quadrature that is split where an activation has its
 * kink, and Hermite expansions for means over pairs of them. Of this room only. */
#ifndef BP_DIAGNOSIS_GAUSS_H
#define BP_DIAGNOSIS_GAUSS_H

#include "model/model.h"

#define BP_GAUSS_NODES 96
#define BP_HERMITE 32

/* E f(z) = sum of weight * f(z) for z ~ N(0, 1). */
typedef struct bp_gauss_rule {
    double z[BP_GAUSS_NODES], weight[BP_GAUSS_NODES];
} bp_gauss_rule;
/* kink: the z at which the integrand may have one. */
void bp_gauss_rule_init(bp_gauss_rule *rule, double kink);

/* What is asked of phi at z ~ N(mean, variance). */
typedef struct bp_moments {
    double mean;         /* E phi */
    double square;       /* E phi^2 */
    double slope_square; /* E phi'^2 */
    double slope_fourth; /* E phi'^4 */
} bp_moments;
bp_moments bp_gauss_moments(bp_activation activation, double slope, double mean, double variance);

/* phi and phi' of one unit in normalised Hermite polynomials: with u and v correlated by rho,
 * E phi(u) phi(v) = sum over k of a_k(u) a_k(v) rho^k. */
typedef struct bp_expansion {
    bp_moments moments;
    double scale; /* sqrt(variance) */
    double kink;  /* jump of phi' at 0 where z is of mean 0; its slow coefficients have a closed
                     form (Cho & Saul 2009) */
    double value[BP_HERMITE], slope[BP_HERMITE];
    double value_rest, slope_rest; /* of the second moment, beyond the coefficients */
} bp_expansion;
void bp_expansion_init(bp_expansion *expansion, bp_activation activation, double slope, double mean,
                       double variance);
/* correlation: of z, in -1 ... 1 */
double bp_expansion_values(const bp_expansion *a, const bp_expansion *b, double correlation);
double bp_expansion_slopes(const bp_expansion *a, const bp_expansion *b, double correlation);

/* The largest of n units of mean 0 and variance 1 that are correlated by r: E phi^2 and E phi'^2
 * at mean + sqrt(variance) * that. */
bp_moments bp_gauss_largest(bp_activation activation, double slope, double mean, double variance,
                            int64_t n, double r);

/* Eigenvalues (in no order) and vectors of a symmetric matrix [n][n], which is destroyed; vectors
 * stand in columns. Jacobi's rotations. */
void bp_eigen(double *matrix, double *values, double *vectors, uint32_t n);

#endif
