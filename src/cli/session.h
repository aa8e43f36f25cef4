/* SPDX-License-Identifier: Apache-2.0 */
/* A training session: network file -> model -> data -> trainer -> watch -> run folder. `train` and
 * `demo` are both made of it. It prints nothing: a listener is told. One of several processes
 * (mpirun) is a session too; but for its own log it leaves the run folder to rank 0. */
#ifndef BP_CLI_SESSION_H
#define BP_CLI_SESSION_H

#include "cli/checkpoints.h"
#include "cli/ranks.h"
#include "replay/network.h"
#include "report/report.h"
#include <backprobe/train.h>
#include <backprobe/watch.h>
#include <signal.h>

typedef struct bp_session bp_session;

typedef struct bp_session_listener {
    void *context;
    void (*on_step)(void *context, const bp_session *session);
    void (*on_epoch)(void *context, const bp_session *session);
    void (*on_finding)(void *context, const bp_session *session, const bp_finding *finding);
    void (*on_message)(void *context, const bp_session *session, const char *text);
    /* path: borrowed for the call; best: it is best.safetensors */
    void (*on_checkpoint)(void *context, const bp_session *session, const char *path, bool best);
} bp_session_listener;

/* At every epoch's end, but not more often than once a second of training. */
#define BP_CHECKPOINT_AUTO (-1)

typedef struct bp_session_options {
    const char *run_folder; /* NULL: runs/<name of the network file>-<n> */
    const char *weights;    /* a safetensors file to start from; NULL: the initialisers */
    bool watch;
    int64_t every; /* full statistics at each n-th step; 0: as many as the budget pays for */
    double budget_fraction;              /* of the training's time; 0: the watch's own */
    uint64_t max_log_bytes;              /* 0: the watch's own */
    bool resume;                         /* go on with the run in run_folder */
    int64_t checkpoint_every;            /* epochs; 0: none; BP_CHECKPOINT_AUTO */
    const bp_ranks *ranks;               /* borrowed until close; NULL: alone */
    const bp_session_listener *listener; /* borrowed until close */
} bp_session_options;

struct bp_session {
    bp_network network; /* as used */
    char *run_folder;
    bp_model *model;
    bp_dataset *dataset;
    bp_trainer *trainer;
    bp_watch *watch; /* NULL when not asked for */
    const bp_session_listener *listener;

    bp_event_watch watching; /* what it cost, for the report */
    bp_ranks ranks;
    bp_checkpoints checkpoints; /* folder NULL: none are kept */
    int64_t checkpoint_every;

    int64_t epoch;                                      /* whole ones done */
    bp_standing standing;                               /* its step: done */
    int64_t resumed_from;                               /* step; -1 when the run began here */
    double loss;                                        /* of the last batch */
    bp_run_end end;                                     /* how the training ended */
    char stop_reason[96];                               /* BP_RUN_STOPPED: why */
    bp_score final_train, final_validation, final_test; /* set by bp_session_save */
};

/* Takes the network out of *network, also on failure. Leaves nothing behind when it fails. */
BP_MUST_USE bp_status bp_session_open(bp_session *session, bp_network *network,
                                      const bp_session_options *options, bp_error *error);
/* As far as the first step needs, with nothing in any folder: bp_session_train must not follow. */
BP_MUST_USE bp_status bp_session_open_dry(bp_session *session, bp_network *network,
                                          bp_error *error);
/* All epochs, or until *interrupted or the loss stays non-finite. */
void bp_session_train(bp_session *session, const volatile sig_atomic_t *interrupted);
/* Scores, weights and findings.json; the log is still open. Tries all, reports the first error. */
BP_MUST_USE bp_status bp_session_save(bp_session *session, bp_error *error);
/* What the report room needs; borrowed from the session. */
bp_report_run bp_session_report(bp_session *session);
/* Findings that are open, shown by the choice (NULL: all) and at least as bad as this bp_severity
 * (0: none is). */
uint32_t bp_session_n_open(bp_session *session, const bp_choice *choice, int severity);
/* Ends the log. The session is gone whatever is returned. */
bp_status bp_session_close(bp_session *session, bp_error *error);

#endif
