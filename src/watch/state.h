/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_watch, shared by the files of this room only. Everything is sized at open. */
#ifndef BP_WATCH_STATE_H
#define BP_WATCH_STATE_H

#include "stats/float_guard.h"
#include "watch/governor.h"
#include "watch/watch.h"

struct bp_watch {
    bp_allocator allocator;
    const bp_model *model;
    uint32_t n_layers;
    bp_watch_options options;
    bp_observer observer;
    bp_diagnosis *diagnosis;
    bp_runlog_writer *log; /* NULL: no log wanted */
    const bp_io *io;
    bp_error blind; /* status BP_OK while it sees */
    bp_governor governor;
    bp_event_watch before;                /* what watching had cost before the run paused */
    uint32_t *wanted_full, *wanted_light; /* [n_layers + 1] */
    bp_record record, decoded;
    bool has_decoded;
    uint8_t *bytes; /* the encoded record */
    size_t capacity;
    bp_units *units; /* [n_layers + 1] */
    double *unit_numbers;
    size_t n_unit_numbers;
    bp_step step;
    double loss; /* of this step; told when has_loss */
    bool has_loss;
    bool has_record; /* this step has more to say than its loss: it stands in `record` */
    bool in_step, has_step, replays;
    bool has_decision; /* bp_watch_decide was asked about `decided`, which did not begin yet */
    int64_t decided;
    uint64_t cost_due;                     /* steps after which the log is told the cost again */
    bp_severity told[BP_N_PROBLEMS];       /* what on_finding was last told of each problem */
    bp_finding_state state[BP_N_PROBLEMS]; /* what the log was last told of it; 0: nothing */
};

/* A light step has something to say: from here on it has a record. */
void bp_watch_begin_record(bp_watch *watch);

/* --- notes.c: from tensors to the quantities of the record ------------------------------------ */

void bp_note_summary(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                     const bp_summary *summary);
void bp_note_tensor(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_tensor *tensor);
void bp_note_update(bp_watch *watch, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                    const bp_tensor *before, const bp_tensor *after);

#endif
