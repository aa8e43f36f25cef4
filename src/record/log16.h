/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the 16-bit logarithm, pinned: they stand in run logs. */
#ifndef BP_RECORD_LOG16_H
#define BP_RECORD_LOG16_H

#include <stdbool.h>
#include <stdint.h>

#define BP_LOG16_PER_OCTAVE 228
#define BP_LOG16_MIN_EXPONENT (-152)
#define BP_LOG16_MAX_EXPONENT 134

#define BP_LOG16_ZERO 0u
#define BP_LOG16_FIRST 1u /* 2^-152 */
#define BP_LOG16_LAST \
    (BP_LOG16_FIRST + BP_LOG16_PER_OCTAVE * (BP_LOG16_MAX_EXPONENT - BP_LOG16_MIN_EXPONENT))
#define BP_LOG16_INF 65534u
#define BP_LOG16_NAN 65535u

/* Codes between LAST and INF are not given to anything. */
static inline bool bp_log16_is_valid(uint16_t code) {
    return code <= BP_LOG16_LAST || code >= BP_LOG16_INF;
}

#endif
