/* SPDX-License-Identifier: Apache-2.0 */
/* Findings of a run from its log; `check` and `demo` show them by these. */
#ifndef BP_CLI_CHECK_H
#define BP_CLI_CHECK_H

#include "cli/network.h"
#include "report/report.h"

typedef struct bp_replay {
    const char *path;
    bp_runlog_ranks *logs; /* of one process or several */
    bp_diagnosis *diagnosis;
    bp_network network;    /* of the run folder; text NULL when it has none */
    bp_runlog_rank *ranks; /* what each log gave; NULL for one process */
    uint32_t n_ranks;
} bp_replay;

/* Reads the whole log at path (a run folder or a segment; borrowed until close). */
BP_MUST_USE bp_status bp_replay_open(bp_replay *replay, const char *path, bp_error *error);
void bp_replay_close(bp_replay *replay);
bp_report_run bp_replay_report(bp_replay *replay);

#endif
