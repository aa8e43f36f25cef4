/* SPDX-License-Identifier: Apache-2.0 */
/* Several processes of one training, started by mpirun. The only place that knows MPI. */
#ifndef BP_CLI_RANKS_H
#define BP_CLI_RANKS_H

#include "base/base.h"
#include <backprobe/train.h>

/* Joins the processes of mpirun. *ranks has n_ranks 1 when this process was started alone. Fails
 * when it was started by mpirun, but MPI was not built in. */
BP_MUST_USE bp_status bp_ranks_begin(bp_ranks *ranks, bp_error *error);
/* After the last sum of all; does nothing where bp_ranks_begin found no others. */
void bp_ranks_end(void);
/* True in all processes when it is true in one. */
bool bp_ranks_any(const bp_ranks *ranks, bool mine);
/* Rank 0's text in all processes, at most `capacity` bytes with its NUL. */
void bp_ranks_share_text(const bp_ranks *ranks, char *text, size_t capacity);
/* "Open MPI v4.1.4", or that it was not built in; static. */
const char *bp_ranks_library(void);

#endif
