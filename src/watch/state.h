/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_watch, shared by the files of this room only. Everything is sized at open. */
#ifndef BP_WATCH_STATE_H
#define BP_WATCH_STATE_H

#include "stats/float_guard.h"
#include "watch/governor.h"
#include "watch/watch.h"

/* What is kept of a layer's units from step to step. */
typedef struct bp_layer_units {
    bp_units sums; /* of each value of a sample */
    bp_unit_shape shape;
    bp_activity activity;
} bp_layer_units;

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
    bp_layer_units *units; /* [n_layers + 1] */
    double *unit_numbers;
    uint64_t *unit_words;
    size_t n_unit_numbers, n_unit_words;
    double *features;         /* scratch: a number for each feature of the input */
    uint64_t n_inputs;        /* readings of the input so far */
    bp_direction *directions; /* [n_layers + 1]: of the weights' gradients */
    double *direction_numbers;
    size_t n_direction_numbers;
    bp_step step;
    double loss; /* of this step; told when has_loss */
    double train_accuracy;
    bool has_loss, has_train_accuracy;
    bool has_record; /* this step has more to say than its loss: it stands in `record` */
    bool in_step, has_step, replays;
    bool is_moment; /* histograms are taken in this step */
    bp_exponents exponents;
    bool has_decision; /* bp_watch_decide was asked about `decided`, which did not begin yet */
    int64_t decided;
    uint64_t cost_due;                     /* steps after which the log is told the cost again */
    bp_severity told[BP_N_PROBLEMS];       /* what on_finding was last told of each problem */
    bp_finding_state state[BP_N_PROBLEMS]; /* what the log was last told of it; 0: nothing */
};

/* A light step has something to say: from here on it has a record. */
void bp_watch_begin_record(bp_watch *watch);

void bp_watch_log_event(bp_watch *watch, const bp_event *event);

/* --- notes.c: from tensors to the quantities of the record ------------------------------------ */

void bp_note_summary(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                     const bp_summary *summary);
void bp_note_tensor(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_tensor *tensor);
void bp_note_update(bp_watch *watch, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                    const bp_tensor *before, const bp_tensor *after);

/* --- histograms.c ----------------------------------------------------------------------------- */

/* Whether those of a tensor are wanted in this step. */
bool bp_watch_takes_histogram(const bp_watch *watch, bp_role role, bp_slot slot);
/* watch->exponents are those of the tensor. */
void bp_note_exponents(bp_watch *watch, uint32_t layer, bp_role role, const bp_summary *summary);

/* --- units.c: what units do over samples ------------------------------------------------------ */

BP_MUST_USE bool bp_watch_open_units(bp_watch *watch); /* false: no memory */
void bp_watch_close_units(bp_watch *watch);
/* An activation of a full step. */
void bp_note_units(bp_watch *watch, uint32_t layer, const bp_tensor *tensor);

#endif
