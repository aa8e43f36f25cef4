/* SPDX-License-Identifier: Apache-2.0 */
/* Elements by binary octave. */
#include "stats/stats.h"

#include <string.h>

void bp_exponents_init(bp_exponents *exponents) {
    memset(exponents->count, 0, sizeof exponents->count);
    exponents->lowest = BP_EXPONENT_MAX + 1;
    exponents->highest = BP_EXPONENT_MIN - 1;
}

void bp_exponents_clear(bp_exponents *exponents) {
    for (int32_t k = exponents->lowest; k <= exponents->highest; k++)
        exponents->count[k - BP_EXPONENT_MIN] = 0;
    exponents->lowest = BP_EXPONENT_MAX + 1;
    exponents->highest = BP_EXPONENT_MIN - 1;
}

void bp_exponents_merge(bp_exponents *into, const bp_exponents *other) {
    for (int32_t k = other->lowest; k <= other->highest; k++)
        into->count[k - BP_EXPONENT_MIN] += other->count[k - BP_EXPONENT_MIN];
    if (other->lowest < into->lowest) into->lowest = other->lowest;
    if (other->highest > into->highest) into->highest = other->highest;
}

uint64_t bp_exponents_between(const bp_exponents *exponents, int32_t from, int32_t to) {
    if (from < exponents->lowest) from = exponents->lowest;
    if (to > exponents->highest) to = exponents->highest + 1;
    uint64_t n = 0;
    for (int32_t k = from; k < to; k++) n += exponents->count[k - BP_EXPONENT_MIN];
    return n;
}
