/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/replay.h"

#include "model/model.h"
#include "runlog/runlog.h"

#include <stdio.h>
#include <stdlib.h>

/* How long a step waits for ranks that have not written it yet. */
#define WAIT_SECONDS 5.0

/* The file is only wanted for the diff of a remedy; a run without one is checked all the same. */
static void read_network(bp_replay *replay) {
    char *path = NULL;
    if (asprintf(&path, "%s/network.yaml", replay->path) < 0) return;
    if (bp_network_read(&replay->network, path, NULL) != BP_OK) replay->network = (bp_network){0};
    free(path);
}

static bp_status take_ranks(bp_replay *replay, bp_error *error) {
    const uint32_t n = bp_runlog_ranks_n(replay->logs);
    if (n == 1) return BP_OK;
    if (!replay->ranks) replay->ranks = calloc(n, sizeof *replay->ranks);
    if (!replay->ranks) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for %u ranks", n);
    replay->n_ranks = n;
    for (uint32_t i = 0; i < n; i++) replay->ranks[i] = *bp_runlog_ranks_rank(replay->logs, i);
    return BP_OK;
}

static bp_status begin(bp_replay *replay, const char *path, bool follows, bp_error *error) {
    *replay = (bp_replay){.path = path, .follows = follows};
    bp_status status = bp_runlog_ranks_open(&replay->logs, path, NULL, error);
    if (status == BP_OK)
        status =
            bp_diagnosis_open(&replay->diagnosis, bp_runlog_ranks_model(replay->logs), NULL, error);
    if (status != BP_OK) {
        bp_replay_close(replay);
        return status;
    }
    replay->n_layers = bp_model_n_layers(bp_runlog_ranks_model(replay->logs));
    replay->n_rewinds = bp_runlog_ranks_n_rewinds(replay->logs);
    if (follows) bp_runlog_ranks_wait(replay->logs, WAIT_SECONDS);
    read_network(replay);
    return BP_OK;
}

bp_status bp_replay_begin(bp_replay *replay, const char *path, bp_error *error) {
    return begin(replay, path, true, error);
}

/* What was taken is void, or of a smaller network than there is now. */
static bool is_outdated(const bp_replay *replay) {
    return bp_model_n_layers(bp_runlog_ranks_model(replay->logs)) > replay->n_layers ||
           bp_runlog_ranks_n_rewinds(replay->logs) > replay->n_rewinds;
}

static bp_status begin_again(bp_replay *replay, bp_error *error) {
    bp_replay again;
    const bp_status status = begin(&again, replay->path, replay->follows, error);
    if (status != BP_OK) return status; /* the next take tries again */
    bp_replay_close(replay);
    *replay = again;
    return BP_OK;
}

bp_status bp_replay_take(bp_replay *replay, uint64_t max_records, uint64_t *n_taken,
                         bp_error *error) {
    *n_taken = 0;
    while (*n_taken < max_records) {
        const bp_record *record = NULL;
        bp_status status = bp_runlog_ranks_next(replay->logs, &record, error);
        const bool outdated = status == BP_OK && is_outdated(replay);
        if (outdated) status = begin_again(replay, error);
        if (status != BP_OK) return status;
        if (outdated) continue;
        if (!record) break;
        replay->columns |= record->columns;
        bp_diagnosis_step(replay->diagnosis, record);
        ++*n_taken;
    }
    replay->histogram_roles = bp_runlog_ranks_histogram_roles(replay->logs);
    return take_ranks(replay, error);
}

bp_status bp_replay_open(bp_replay *replay, const char *path, bp_error *error) {
    uint64_t n_taken;
    bp_status status = begin(replay, path, false, error);
    if (status != BP_OK) return status;
    status = bp_replay_take(replay, UINT64_MAX, &n_taken, error);
    if (status != BP_OK) bp_replay_close(replay);
    return status;
}

void bp_replay_close(bp_replay *replay) {
    bp_diagnosis_close(replay->diagnosis);
    bp_runlog_ranks_close(replay->logs);
    free(replay->ranks);
    bp_network_free(&replay->network);
    *replay = (bp_replay){0};
}

double bp_replay_read_fraction(const bp_replay *replay) {
    return bp_runlog_ranks_read_fraction(replay->logs);
}

bp_report_run bp_replay_report(bp_replay *replay) {
    return (bp_report_run){.name = replay->path,
                           .model = bp_runlog_ranks_model(replay->logs),
                           .diagnosis = replay->diagnosis,
                           .end = bp_runlog_ranks_end(replay->logs),
                           .damage = bp_runlog_ranks_damage(replay->logs),
                           .watching = bp_runlog_ranks_watching(replay->logs),
                           .ranks = replay->ranks,
                           .n_ranks = replay->n_ranks,
                           .network_text = replay->network.text,
                           .network_path = replay->network.path,
                           .edited = bp_network_edited,
                           .context = &replay->network};
}
