/* SPDX-License-Identifier: Apache-2.0 */
/* Means over Gaussian units against closed forms and against each other. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "diagnosis/gauss.h"

#include <math.h>

#define PI 3.14159265358979323846
#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-6 * fmax(1, fabs(b)))

static double normal_cdf(double z) {
    return 0.5 * erfc(-z / sqrt(2));
}

static const double variances[] = {1e-4, 0.1, 1, 2.5, 30};
#define N_VARIANCES (sizeof variances / sizeof *variances)

/* E max(0, z)^2 = q / 2, E [z > 0] = 1 / 2; elu by completing squares; gelu by Stein's lemma. */
static void moments_have_closed_forms(void **state) {
    (void)state;
    for (size_t i = 0; i < N_VARIANCES; i++) {
        const double q = variances[i], s = sqrt(q);
        const bp_moments relu = bp_gauss_moments(BP_ACTIVATION_RELU, 0, 0, q);
        NEAR(relu.mean, s / sqrt(2 * PI));
        NEAR(relu.square, q / 2);
        NEAR(relu.slope_square, 0.5);
        const bp_moments leaky = bp_gauss_moments(BP_ACTIVATION_LEAKY_RELU, 0.3, 0, q);
        NEAR(leaky.slope_square, 0.5 * (1 + 0.09));
        const bp_moments linear = bp_gauss_moments(BP_ACTIVATION_LINEAR, 0, 0.4, q);
        NEAR(linear.square, q + 0.16);
        const bp_moments elu = bp_gauss_moments(BP_ACTIVATION_ELU, 1, 0, q);
        const double once = exp(q / 2) * normal_cdf(-s), twice = exp(2 * q) * normal_cdf(-2 * s);
        NEAR(elu.square, q / 2 + twice - 2 * once + 0.5);
        NEAR(elu.slope_square, 0.5 + twice);
        NEAR(bp_gauss_moments(BP_ACTIVATION_GELU, 0, 0, q).mean, q / sqrt(2 * PI * (1 + q)));
    }
    const bp_moments shifted = bp_gauss_moments(BP_ACTIVATION_RELU, 0, 0.7, 1);
    NEAR(shifted.slope_square, normal_cdf(0.7)); /* the kink is met where it is */
    NEAR(shifted.mean, 0.7 * normal_cdf(0.7) + exp(-0.245) / sqrt(2 * PI));
}

/* Cho & Saul 2009, of degree 1 and 0. */
static double ramps(double q, double c) {
    return q / (2 * PI) * (sqrt(1 - c * c) + c * (PI - acos(c)));
}

static double steps(double c) {
    return (PI - acos(c)) / (2 * PI);
}

static void pairs_follow_the_arc_cosine_kernels(void **state) {
    (void)state;
    static const double correlations[] = {-0.9, -0.3, 0, 0.2, 0.7, 0.99, 0.99999, 1};
    for (size_t i = 0; i < N_VARIANCES; i++)
        for (size_t k = 0; k < sizeof correlations / sizeof *correlations; k++) {
            const double q = variances[i], c = correlations[k];
            bp_expansion e;
            bp_expansion_init(&e, BP_ACTIVATION_RELU, 0, 0, q);
            NEAR(bp_expansion_values(&e, &e, c), ramps(q, c));
            NEAR(bp_expansion_slopes(&e, &e, c), steps(c));
        }
}

/* E f(u) f(v) by quadrature in the plane, split at the kinks of both. */
typedef double function_of_z(bp_activation activation, double slope, double z);

static double product(function_of_z *f, bp_activation activation, double slope, double variance,
                      double c) {
    const double scale = sqrt(variance), rest = sqrt(1 - c * c);
    bp_gauss_rule outer, inner;
    double sum = 0;
    bp_gauss_rule_init(&outer, 0);
    for (int i = 0; i < BP_GAUSS_NODES; i++) {
        double mean = 0;
        bp_gauss_rule_init(&inner, -c * outer.z[i] / rest);
        for (int k = 0; k < BP_GAUSS_NODES; k++)
            mean += inner.weight[k] *
                    f(activation, slope, scale * (c * outer.z[i] + rest * inner.z[k]));
        sum += outer.weight[i] * f(activation, slope, scale * outer.z[i]) * mean;
    }
    return sum;
}

/* Two ways to the same number: expansions and quadrature in the plane. */
static void expansions_agree_with_quadrature(void **state) {
    (void)state;
    for (int a = BP_ACTIVATION_LINEAR; a <= BP_ACTIVATION_SOFTPLUS; a++)
        for (int i = 0; i < 3; i++) {
            const double q = variances[i], slope = a == BP_ACTIVATION_LEAKY_RELU ? 0.2 : 1;
            bp_expansion e;
            bp_expansion_init(&e, (bp_activation)a, slope, 0, q);
            NEAR(bp_expansion_values(&e, &e, 0.6),
                 product(bp_activation_value, (bp_activation)a, slope, q, 0.6));
            NEAR(bp_expansion_slopes(&e, &e, 0.6),
                 product(bp_activation_derivative, (bp_activation)a, slope, q, 0.6));
        }
}

/* Of 4 independent ones the largest is positive 15 times of 16; of one alone nothing is new. */
static void the_largest_of_a_few(void **state) {
    (void)state;
    NEAR(bp_gauss_largest(BP_ACTIVATION_RELU, 0, 0, 2, 4, 0).slope_square, 15.0 / 16);
    NEAR(bp_gauss_largest(BP_ACTIVATION_RELU, 0, 0, 2, 1, 0).square, 1.0);
    NEAR(bp_gauss_largest(BP_ACTIVATION_RELU, 0, 0, 2, 4, 1).slope_square, 0.5);
    NEAR(bp_gauss_largest(BP_ACTIVATION_LINEAR, 0, 0, 1, 2, 0).mean, 1 / sqrt(PI));
}

static void eigenvalues_of_a_known_matrix(void **state) {
    (void)state;
    double matrix[9] = {2, 1, 0, 1, 2, 0, 0, 0, 5}, values[3], vectors[9];
    bp_eigen(matrix, values, vectors, 3);
    double sum = 0, product = 1;
    for (int i = 0; i < 3; i++) {
        sum += values[i];
        product *= values[i];
        double length = 0;
        for (int k = 0; k < 3; k++) length += vectors[k * 3 + i] * vectors[k * 3 + i];
        NEAR(length, 1.0);
    }
    NEAR(sum, 9.0);
    NEAR(product, 15.0); /* 1, 3 and 5 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_have_closed_forms),
        cmocka_unit_test(pairs_follow_the_arc_cosine_kernels),
        cmocka_unit_test(expansions_agree_with_quadrature),
        cmocka_unit_test(the_largest_of_a_few),
        cmocka_unit_test(eigenvalues_of_a_known_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
