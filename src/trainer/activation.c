/* SPDX-License-Identifier: Apache-2.0 */
/* Activations: a = phi(z), dL/dz = dL/da * phi'(z), element by element. A NaN stays a NaN: relu is
 * written so that it is not taken for a negative number. */
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

void bp_activation_forward(const bp_activation_operator *activation, int64_t count,
                           const bp_real *z, bp_real *a) {
    const bp_real slope = activation->slope;
    switch (activation->kind) {
    case BP_ACTIVATION_LINEAR: /* a = z */
        memcpy(a, z, (size_t)count * sizeof *a);
        return;
    case BP_ACTIVATION_SIGMOID: /* a = 1 / (1 + e^-z) */
        for (int64_t i = 0; i < count; i++) a[i] = 1 / (1 + bp_real_exp(-z[i]));
        return;
    case BP_ACTIVATION_TANH: /* a = tanh z */
        for (int64_t i = 0; i < count; i++) a[i] = bp_real_tanh(z[i]);
        return;
    case BP_ACTIVATION_RELU: /* a = max(0, z) */
        for (int64_t i = 0; i < count; i++) a[i] = z[i] <= 0 ? 0 : z[i];
        return;
    case BP_ACTIVATION_LEAKY_RELU: /* a = z above 0, slope z below */
        for (int64_t i = 0; i < count; i++) a[i] = z[i] <= 0 ? slope * z[i] : z[i];
        return;
    case BP_ACTIVATION_GELU: /* a = z Phi(z) */
        for (int64_t i = 0; i < count; i++) a[i] = z[i] * normal_distribution(z[i]);
        return;
    }
}

void bp_activation_backward(const bp_activation_operator *activation, int64_t count,
                            const bp_real *z, const bp_real *a, bp_real *error) {
    const bp_real slope = activation->slope;
    switch (activation->kind) {
    case BP_ACTIVATION_LINEAR: /* phi' = 1 */
        return;
    case BP_ACTIVATION_SIGMOID: /* phi' = a (1 - a), at most 1/4 */
        for (int64_t i = 0; i < count; i++) error[i] *= a[i] * (1 - a[i]);
        return;
    case BP_ACTIVATION_TANH: /* phi' = 1 - a^2 */
        for (int64_t i = 0; i < count; i++) error[i] *= (1 - a[i]) * (1 + a[i]);
        return;
    case BP_ACTIVATION_RELU: /* phi' = 1 above 0, 0 below */
        for (int64_t i = 0; i < count; i++) error[i] = z[i] <= 0 ? 0 : error[i];
        return;
    case BP_ACTIVATION_LEAKY_RELU: /* phi' = 1 above 0, slope below */
        for (int64_t i = 0; i < count; i++) error[i] = z[i] <= 0 ? slope * error[i] : error[i];
        return;
    case BP_ACTIVATION_GELU: /* phi' = Phi(z) + z phi(z) */
        for (int64_t i = 0; i < count; i++)
            error[i] *= normal_distribution(z[i]) + z[i] * normal_density(z[i]);
        return;
    }
}
