/* SPDX-License-Identifier: Apache-2.0 */
/* Room watch: the pump, an observer: tensor in, statistics, record, run log, diagnosis, once a
 * step. Invariants: no allocation in a step; nothing here can fail its host: an error of ours makes
 * the watch blind (sticky, told once) and training goes on; detectors are fed the decoded record.
 * Called by a trainer through the observer interface, opened by cli. */
#ifndef BP_WATCH_WATCH_H
#define BP_WATCH_WATCH_H

#include "diagnosis/diagnosis.h"
#include "observe/observe.h"
#include "runlog/runlog.h"
#include "stats/stats.h"
#include <backprobe/watch.h>

/* bp_watch_open with another seam to the system, for tests; io NULL: the system. */
BP_MUST_USE bp_status bp_watch_open_with(bp_watch **watch, const bp_model *model,
                                         const bp_watch_options *options, const bp_io *io,
                                         bp_error *error);

#endif
