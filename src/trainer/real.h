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

static inline bp_real bp_real_tanh(bp_real x) {
    return BP_REAL_FUNCTION(tanh)(x);
}

static inline bp_real bp_real_erfc(bp_real x) {
    return BP_REAL_FUNCTION(erfc)(x);
}

static inline bp_real bp_real_sqrt(bp_real x) {
    return BP_REAL_FUNCTION(sqrt)(x);
}

#endif
