/* SPDX-License-Identifier: Apache-2.0 */
/* Room replay: a run read again, its log through the diagnosis, with the network file of its
 * folder; whole, or as it grows. It prints nothing and keeps nothing beside the run. Called by
 * server and by the commands of cli that look at runs. */
#ifndef BP_REPLAY_REPLAY_H
#define BP_REPLAY_REPLAY_H

#include "replay/network.h"
#include "report/report.h"

typedef struct bp_replay {
    const char *path;
    bp_runlog_ranks *logs; /* of one process or several */
    bp_diagnosis *diagnosis;
    bp_network network;    /* of the run folder; text NULL when it has none */
    bp_runlog_rank *ranks; /* what each log gave; NULL for one process */
    uint32_t n_ranks;
    uint64_t columns;             /* a bit for each quantity that a record had */
    uint32_t histogram_roles;     /* a bit for each bp_role of which there was a histogram */
    bool follows;                 /* a run that may go on */
    uint32_t n_layers, n_rewinds; /* as the diagnosis was begun with */
} bp_replay;

/* Reads the whole log at path (a run folder or a segment; borrowed until close). */
BP_MUST_USE bp_status bp_replay_open(bp_replay *replay, const char *path, bp_error *error);
/* The same in pieces, of a run that may go on: begin reads the network only; each take reads up to
 * so many records more, and goes on where a growing log had ended. Fewer than asked: the log has no
 * more now. When the network has grown, or the run was resumed, all is read again from the
 * beginning: what it tells is always what a new replay would. */
BP_MUST_USE bp_status bp_replay_begin(bp_replay *replay, const char *path, bp_error *error);
BP_MUST_USE bp_status bp_replay_take(bp_replay *replay, uint64_t max_records, uint64_t *n_taken,
                                     bp_error *error);
void bp_replay_close(bp_replay *replay);
/* Share of the log that was taken, 0 ... 1. */
double bp_replay_read_fraction(const bp_replay *replay);
/* As of what was taken; borrowed until the next take or close. */
bp_report_run bp_replay_report(bp_replay *replay);

#endif
