/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPU level is in use. */
#ifndef BP_STATS_CPU_H
#define BP_STATS_CPU_H

#include "stats/kernels/level.h"

/* The best that the CPU has and the mask allows. */
const bp_level *bp_cpu(void);
/* What the CPU and its operating system have, as BP_CPU_* bits; the mask does not count. */
unsigned bp_cpu_found(void);

#endif
