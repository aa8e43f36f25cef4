/* SPDX-License-Identifier: Apache-2.0 */
/* Room stats: one pass over a tensor gives a mergeable summary. kernels/ holds one file per CPU
 * level. Knows no layer and no step. Called by watch. */
#ifndef BP_STATS_STATS_H
#define BP_STATS_STATS_H

#include "tensor/tensor.h"
#include <backprobe/stats.h>

/* Empties an initialised histogram; cheap where few octaves are in use. */
void bp_exponents_clear(bp_exponents *exponents);

/* Three tensors of one shape. Adds to *stats (zero it first), so that the parameters of a layer add
 * up. Same lane rule as the summary. */
void bp_update_stats_add(bp_update_stats *stats, const bp_tensor *gradient, const bp_tensor *before,
                         const bp_tensor *after);

#endif
