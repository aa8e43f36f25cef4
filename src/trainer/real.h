/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of math.h for bp_real: the room is compiled for float and for double. */
#ifndef BP_TRAINER_REAL_H
#define BP_TRAINER_REAL_H

#include <backprobe/train.h>
#include <math.h>

#ifdef BP_REAL_IS_F64
#define BP_REAL_FUNCTION(name) name
#else
#define BP_REAL_FUNCTION(name) name##f
#endif

static inline bp_real bp_real_exp(bp_real x) {
    return BP_REAL_FUNCTION(exp)(x);
}

static inline bp_real bp_real_expm1(bp_real x) {
    return BP_REAL_FUNCTION(expm1)(x);
}

static inline bp_real bp_real_log1p(bp_real x) {
    return BP_REAL_FUNCTION(log1p)(x);
}

static inline bp_real bp_real_abs(bp_real x) {
    return BP_REAL_FUNCTION(fabs)(x);
}

static inline bp_real bp_real_sigmoid(bp_real x) {
    return 1 / (1 + bp_real_exp(-x));
}

static inline bp_real bp_real_tanh(bp_real x) {
    return BP_REAL_FUNCTION(tanh)(x);
}

static inline bp_real bp_real_erfc(bp_real x) {
    return BP_REAL_FUNCTION(erfc)(x);
}

static inline bp_real bp_real_sqrt(bp_real x) {
    return BP_REAL_FUNCTION(sqrt)(x);
}

/* --- sums in lanes that a compiler can keep in vector registers, in an order that is always the
 * same; long ones lose less by rounding than in one chain. */

enum { BP_LANES = 16 };

static inline bp_real bp_lanes_join(bp_real lane[BP_LANES]) {
    for (int half = BP_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

static inline bp_real bp_real_sum(const bp_real *x, int64_t count) {
    bp_real lane[BP_LANES] = {0};
    int64_t i = 0;
    for (; i + BP_LANES <= count; i += BP_LANES)
        for (int l = 0; l < BP_LANES; l++) lane[l] += x[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += x[i];
    return bp_lanes_join(lane);
}

static inline bp_real bp_real_dot(const bp_real *x, const bp_real *y, int64_t count) {
    bp_real lane[BP_LANES] = {0};
    int64_t i = 0;
    for (; i + BP_LANES <= count; i += BP_LANES)
        for (int l = 0; l < BP_LANES; l++) lane[l] += x[i + l] * y[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += x[i] * y[i];
    return bp_lanes_join(lane);
}

#endif
