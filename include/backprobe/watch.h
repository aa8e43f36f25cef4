/* SPDX-License-Identifier: Apache-2.0 */
/* The pump: an observer that turns tensors into statistics, a record, the run log and findings. */
#ifndef BACKPROBE_WATCH_H
#define BACKPROBE_WATCH_H

#include <backprobe/diagnosis.h>
#include <backprobe/model.h>
#include <backprobe/observe.h>
#include <backprobe/record.h>
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
    /* Activations come as summaries alone, and their variation by bp_watch_tell: no memory is taken
     * for the units (else 24 bytes each, which a large convolutional network has by the million).
     */
    bool summaries_only;
    bool ranked; /* one of several processes of a training: full steps are common ones */
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
     false,                              \
     false,                              \
     false}

/* model: borrowed until close; complete (shapes and recipe set). Nothing is allocated later. */
BP_API BP_MUST_USE bp_status bp_watch_open(bp_watch **watch, const bp_model *model,
                                           const bp_watch_options *options, bp_error *error);

/* Writes the end record and closes the log. A write error here is reported by the status; the
 * watch is closed all the same. */
BP_API bp_status bp_watch_close(bp_watch *watch, bp_run_end end, bp_error *error);

/* To be handed to a trainer; borrowed until close. */
BP_API const bp_observer *bp_watch_observer(bp_watch *watch);

/* --- for a host that must know before a step begins whether it is wanted (hooks) ------------- */

/* Whether `step`, which comes next, will be looked at in full. Asks clock and governor at this
 * moment: it is the boundary between the steps. step_begin of that step keeps to the answer and
 * reads no clock; what is charged from here on belongs to it, the handing on of the step before
 * too, which still waits for step_begin (so scalars told in between belong to that one). Asked
 * again before step_begin, it gives the same answer. */
BP_API bool bp_watch_decide(bp_watch *watch, int64_t step);

/* A host that hears of the answer late (a device's numbers come some steps behind) has looked at
 * the step otherwise: before step_begin of that step it says how. One that was to be full and was
 * not has cost nothing, so the next one is asked for. */
BP_API void bp_watch_observed(bp_watch *watch, int64_t step, bool full);

/* Whether what is charged now counts: false in most light steps, of which only some are timed. */
BP_API bool bp_watch_is_timed(const bp_watch *watch);

/* Seconds that the host spent on watching outside of our calls (statistics in hooks): a cost of the
 * current step. */
BP_API void bp_watch_charge(bp_watch *watch, double seconds);

/* A reading that the host has itself, into the record of the current step (between step_begin and
 * step_end); one told before for the same row is replaced. Ignored where there is no such row or
 * quantity, and in light steps, except a count above 0 of values that are not finite: it trips the
 * wire, as in a tensor. */
BP_API void bp_watch_tell(bp_watch *watch, bp_quantity quantity, uint32_t row, double value);

/* --- histograms of exponents ------------------------------------------------------------------ */

/* Whether the step that was decided on, or is being told of, is one of the few full steps of which
 * the log gets histograms: of tensors that are given as such they are taken. */
BP_API bool bp_watch_wants_histograms(const bp_watch *watch);

/* One that the host has taken itself, into the log (between step_begin and step_end); borrowed for
 * the call. Ignored where it is not wanted, or there is no such layer. Of parameters and gradients
 * that of the weights; of a gradient as the optimiser gets it. */
BP_API void bp_watch_tell_histogram(bp_watch *watch, uint32_t layer, bp_role role,
                                    const bp_histogram *histogram);

/* --- what is known ------------------------------------------------------------------------- */

/* Findings up to the last finished step; borrowed until close. It ends that step's record: a scalar
 * that belongs to it must have been told before. */
BP_API bp_diagnosis *bp_watch_diagnosis(bp_watch *watch);

/* The last recorded step as its record reads from the log; borrowed until the next step; NULL
 * before the first. Ends the current record, as bp_watch_diagnosis does. */
BP_API const bp_record *bp_watch_record(bp_watch *watch);

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
