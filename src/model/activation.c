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

static double elu(double alpha, double z) {
    return z > 0 ? z : alpha * expm1(z);
}

static double elu_derivative(double alpha, double z) {
    return z > 0 ? 1 : alpha * exp(z);
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
    case BP_ACTIVATION_ELU:
        return elu(slope, z);
    case BP_ACTIVATION_SELU:
        return BP_SELU_LAMBDA * elu(BP_SELU_ALPHA, z);
    case BP_ACTIVATION_SILU:
        return z * sigmoid(z);
    case BP_ACTIVATION_SOFTPLUS:
        return fmax(z, 0) + log1p(exp(-fabs(z)));
    case BP_ACTIVATION_SOFTMAX:
        return (double)NAN;
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
    case BP_ACTIVATION_ELU:
        return elu_derivative(slope, z);
    case BP_ACTIVATION_SELU:
        return BP_SELU_LAMBDA * elu_derivative(BP_SELU_ALPHA, z);
    case BP_ACTIVATION_SILU:
        return sigmoid(z) * (1 + z * sigmoid(-z));
    case BP_ACTIVATION_SOFTPLUS:
        return sigmoid(z);
    case BP_ACTIVATION_SOFTMAX:
        return (double)NAN;
    }
    return 1;
}
