/* SPDX-License-Identifier: Apache-2.0 */
/* The pump: an observer that turns tensors into statistics, a record, the run log and findings. */
#ifndef BACKPROBE_WATCH_H
#define BACKPROBE_WATCH_H

#include <backprobe/diagnosis.h>
#include <backprobe/model.h>
#include <backprobe/observe.h>
#include <backprobe/runlog.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bp_watch bp_watch;

typedef struct bp_watch_options {
    uint32_t struct_size;
    const char *run_folder; /* copied; must exist; NULL keeps no log */
    /* Which steps are looked at in full; between them the loss and a tripwire for NaN and Inf are
     * kept, and something that looks wrong brings full steps back at once. */
    int64_t every;          /* each n-th; 0: as many as the budget pays for */
    double budget_fraction; /* of the run's time, above 0 and at most 1; the first 0.2 s of watching
                             * are free */
    bp_allocator allocator; /* resize NULL: malloc */
    /* Called with one line when the watch goes blind; may be NULL. */
    void (*on_message)(void *context, const char *text);
    /* Called when a finding opens or changes its severity; borrowed for the call. May be NULL. */
    void (*on_finding)(void *context, const bp_finding *finding);
    void *context; /* borrowed until close */
    /* A run that goes on: the diagnosis learns the steps before resume_step from the log in the run
     * folder, and the log goes on behind them. */
    bool resumes;
    int64_t resume_step;
    uint64_t max_log_bytes; /* old parts of a longer log are thinned; 0: 2 GB */
    bool direct; /* write the log in the training thread, without memory shared with it */
} bp_watch_options;

#define BP_WATCH_OPTIONS_INIT            \
    {(uint32_t)sizeof(bp_watch_options), \
     NULL,                               \
     0,                                  \
     0.01,                               \
     {NULL, NULL},                       \
     NULL,                               \
     NULL,                               \
     NULL,                               \
     false,                              \
     0,                                  \
     0,                                  \
     false}

/* model: borrowed until close; complete (shapes and recipe set). Nothing is allocated later. */
BP_API BP_MUST_USE bp_status bp_watch_open(bp_watch **watch, const bp_model *model,
                                           const bp_watch_options *options, bp_error *error);

/* Writes the end record and closes the log. A write error here is reported by the status; the
 * watch is closed all the same. */
BP_API bp_status bp_watch_close(bp_watch *watch, bp_run_end end, bp_error *error);

/* To be handed to a trainer; borrowed until close. */
BP_API const bp_observer *bp_watch_observer(bp_watch *watch);

/* Findings up to the last finished step; borrowed until close. It ends that step's record: a scalar
 * that belongs to it must have been told before. */
BP_API bp_diagnosis *bp_watch_diagnosis(bp_watch *watch);

/* How steps are chosen, and what watching has cost up to now: in the watch, and what its questions
 * cost the host beside; of light steps some are timed. The log has it, too. */
BP_API bp_event_watch bp_watch_cost(const bp_watch *watch);

/* A checkpoint of the run was written: noted in the log. step: updates that it has seen; file: its
 * name, copied. Between steps. */
BP_API void bp_watch_note_checkpoint(bp_watch *watch, int64_t step, const char *file);

/* BP_OK, or BP_ERROR_BLIND: the log could not be written on. Sticky; *error tells why. */
BP_API bp_status bp_watch_status(const bp_watch *watch, bp_error *error);

#ifdef __cplusplus
}
#endif
#endif
