/* SPDX-License-Identifier: Apache-2.0 */
/* Activations: a = phi(z), dL/dz = dL/da * phi'(z), element by element. A NaN stays a NaN: relu is
 * written so that it is not taken for a negative number. */
#include "base/vectorised.h"
#include "trainer/operators.h"
#include "trainer/real.h"

#include <string.h>

/* Phi(z), the normal distribution function, and phi(z), its density. */
static bp_real normal_distribution(bp_real z) {
    return (bp_real)0.5 * bp_real_erfc(-z * (bp_real)0.70710678118654752440);
}

static bp_real normal_density(bp_real z) {
    return (bp_real)0.39894228040143267794 * bp_real_exp((bp_real)-0.5 * z * z);
}

/* a = max(0, z) */
BP_VECTORISED static void relu_forward(int64_t count, const bp_real *z, bp_real *a) {
    for (int64_t i = 0; i < count; i++) a[i] = z[i] <= 0 ? 0 : z[i];
}

/* phi' = 1 above 0, 0 below */
BP_VECTORISED static void relu_backward(int64_t count, const bp_real *z, bp_real *error) {
    for (int64_t i = 0; i < count; i++) error[i] = z[i] <= 0 ? 0 : error[i];
}

/* a = scale z above 0, scale alpha (e^z - 1) below */
static void elu_forward(bp_real scale, bp_real alpha, int64_t count, const bp_real *z, bp_real *a) {
    for (int64_t i = 0; i < count; i++)
        a[i] = scale * (z[i] <= 0 ? alpha * bp_real_expm1(z[i]) : z[i]);
}

/* phi' = scale above 0, scale alpha e^z = a + scale alpha below */
static void elu_backward(bp_real scale, bp_real alpha, int64_t count, const bp_real *z,
                         const bp_real *a, bp_real *error) {
    for (int64_t i = 0; i < count; i++) error[i] *= z[i] <= 0 ? a[i] + scale * alpha : scale;
}

/* a_j = e^z_j / sum of e^z over the sample's units; the largest z is taken off first, so that
 * nothing overflows. */
static void softmax_forward(int64_t n, int64_t units, const bp_real *z, bp_real *a) {
    for (int64_t i = 0; i < n; i++, z += units, a += units) {
        bp_real top = z[0], sum = 0;
        for (int64_t j = 1; j < units; j++) top = z[j] > top ? z[j] : top;
        for (int64_t j = 0; j < units; j++) sum += a[j] = bp_real_exp(z[j] - top);
        for (int64_t j = 0; j < units; j++) a[j] /= sum;
    }
}

/* dL/dz_j = a_j (dL/da_j - sum_k a_k dL/da_k) */
static void softmax_backward(int64_t n, int64_t units, const bp_real *a, bp_real *error) {
    for (int64_t i = 0; i < n; i++, a += units, error += units) {
        bp_real sum = 0;
        for (int64_t j = 0; j < units; j++) sum += a[j] * error[j];
        for (int64_t j = 0; j < units; j++) error[j] = a[j] * (error[j] - sum);
    }
}

void bp_activation_forward(const bp_activation_operator *activation, int64_t n, int64_t units,
                           const bp_real *z, bp_real *a) {
    const bp_real slope = activation->slope;
    const int64_t count = n * units;
    switch (activation->kind) {
    case BP_ACTIVATION_LINEAR: /* a = z */
        memcpy(a, z, (size_t)count * sizeof *a);
        return;
    case BP_ACTIVATION_SIGMOID: /* a = 1 / (1 + e^-z) */
        for (int64_t i = 0; i < count; i++) a[i] = bp_real_sigmoid(z[i]);
        return;
    case BP_ACTIVATION_TANH: /* a = tanh z */
        for (int64_t i = 0; i < count; i++) a[i] = bp_real_tanh(z[i]);
        return;
    case BP_ACTIVATION_RELU:
        relu_forward(count, z, a);
        return;
    case BP_ACTIVATION_LEAKY_RELU: /* a = z above 0, slope z below */
        for (int64_t i = 0; i < count; i++) a[i] = z[i] <= 0 ? slope * z[i] : z[i];
        return;
    case BP_ACTIVATION_GELU: /* a = z Phi(z) */
        for (int64_t i = 0; i < count; i++) a[i] = z[i] * normal_distribution(z[i]);
        return;
    case BP_ACTIVATION_ELU:
        elu_forward(1, slope, count, z, a);
        return;
    case BP_ACTIVATION_SELU:
        elu_forward((bp_real)BP_SELU_LAMBDA, (bp_real)BP_SELU_ALPHA, count, z, a);
        return;
    case BP_ACTIVATION_SILU: /* a = z / (1 + e^-z) */
        for (int64_t i = 0; i < count; i++) a[i] = z[i] * bp_real_sigmoid(z[i]);
        return;
    case BP_ACTIVATION_SOFTPLUS: /* a = log(1 + e^z) */
        for (int64_t i = 0; i < count; i++)
            a[i] = (z[i] <= 0 ? 0 : z[i]) + bp_real_log1p(bp_real_exp(-bp_real_abs(z[i])));
        return;
    case BP_ACTIVATION_SOFTMAX:
        softmax_forward(n, units, z, a);
        return;
    }
}

void bp_activation_backward(const bp_activation_operator *activation, int64_t n, int64_t units,
                            const bp_real *z, const bp_real *a, bp_real *error) {
    const bp_real slope = activation->slope;
    const int64_t count = n * units;
    switch (activation->kind) {
    case BP_ACTIVATION_LINEAR: /* phi' = 1 */
        return;
    case BP_ACTIVATION_SIGMOID: /* phi' = a (1 - a), at most 1/4 */
        for (int64_t i = 0; i < count; i++) error[i] *= a[i] * (1 - a[i]);
        return;
    case BP_ACTIVATION_TANH: /* phi' = 1 - a^2 */
        for (int64_t i = 0; i < count; i++) error[i] *= (1 - a[i]) * (1 + a[i]);
        return;
    case BP_ACTIVATION_RELU:
        relu_backward(count, z, error);
        return;
    case BP_ACTIVATION_LEAKY_RELU: /* phi' = 1 above 0, slope below */
        for (int64_t i = 0; i < count; i++) error[i] = z[i] <= 0 ? slope * error[i] : error[i];
        return;
    case BP_ACTIVATION_GELU: /* phi' = Phi(z) + z phi(z) */
        for (int64_t i = 0; i < count; i++)
            error[i] *= normal_distribution(z[i]) + z[i] * normal_density(z[i]);
        return;
    case BP_ACTIVATION_ELU:
        elu_backward(1, slope, count, z, a, error);
        return;
    case BP_ACTIVATION_SELU:
        elu_backward((bp_real)BP_SELU_LAMBDA, (bp_real)BP_SELU_ALPHA, count, z, a, error);
        return;
    case BP_ACTIVATION_SILU: /* phi' = s (1 + z (1 - s)), s the sigmoid */
        for (int64_t i = 0; i < count; i++)
            error[i] *= bp_real_sigmoid(z[i]) * (1 + z[i] * bp_real_sigmoid(-z[i]));
        return;
    case BP_ACTIVATION_SOFTPLUS:
        for (int64_t i = 0; i < count; i++) error[i] *= bp_real_sigmoid(z[i]);
        return;
    case BP_ACTIVATION_SOFTMAX:
        softmax_backward(n, units, a, error);
        return;
    }
}
