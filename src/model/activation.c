/* SPDX-License-Identifier: Apache-2.0 */
/* phi and phi' of every activation in f64: what theory and diagnosis reckon with. */
#include "model/model.h"

#include <math.h>

static const double sqrt_half = 0.70710678118654752440;
static const double inverse_sqrt_two_pi = 0.39894228040143267794;

static double sigmoid(double z) {
    return z >= 0 ? 1 / (1 + exp(-z)) : exp(z) / (1 + exp(z));
}

static double normal_cdf(double z) {
    return 0.5 * erfc(-z * sqrt_half);
}

double bp_activation_value(bp_activation activation, double slope, double z) {
    switch (activation) {
    case BP_ACTIVATION_LINEAR:
        return z;
    case BP_ACTIVATION_SIGMOID:
        return sigmoid(z);
    case BP_ACTIVATION_TANH:
        return tanh(z);
    case BP_ACTIVATION_RELU:
        return z > 0 ? z : 0;
    case BP_ACTIVATION_LEAKY_RELU:
        return z > 0 ? z : slope * z;
    case BP_ACTIVATION_GELU:
        return z * normal_cdf(z);
    }
    return z;
}

double bp_activation_derivative(bp_activation activation, double slope, double z) {
    switch (activation) {
    case BP_ACTIVATION_LINEAR:
        return 1;
    case BP_ACTIVATION_SIGMOID:
        return sigmoid(z) * sigmoid(-z);
    case BP_ACTIVATION_TANH:
        return (1 - tanh(z)) * (1 + tanh(z));
    case BP_ACTIVATION_RELU:
        return z > 0 ? 1 : 0;
    case BP_ACTIVATION_LEAKY_RELU:
        return z > 0 ? 1 : slope;
    case BP_ACTIVATION_GELU:
        return normal_cdf(z) + z * inverse_sqrt_two_pi * exp(-0.5 * z * z);
    }
    return 1;
}
