/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of several ranks behind another seam to the system; for this room and its tests only. */
#ifndef BP_RUNLOG_RANKS_H
#define BP_RUNLOG_RANKS_H

#include "runlog/runlog.h"

/* io: borrowed until close. */
BP_MUST_USE bp_status bp_runlog_ranks_open_through(bp_runlog_ranks **ranks, const bp_io *io,
                                                   const char *path, const bp_allocator *allocator,
                                                   bp_error *error);

#endif
