/* SPDX-License-Identifier: Apache-2.0 */
/* From the observer's calls to a record, the log and the diagnosis. */
#include "record/event.h"
#include "watch/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const bp_quantity metric_quantity[BP_N_METRICS] = {
    [BP_METRIC_LOSS] = BP_Q_LOSS,
    [BP_METRIC_TRAIN_ACCURACY] = BP_Q_TRAIN_ACCURACY,
    [BP_METRIC_VALIDATION_LOSS] = BP_Q_VALIDATION_LOSS,
    [BP_METRIC_VALIDATION_ACCURACY] = BP_Q_VALIDATION_ACCURACY,
    [BP_METRIC_TARGET_MIN] = BP_Q_TARGET_MIN,
    [BP_METRIC_TARGET_MAX] = BP_Q_TARGET_MAX,
    [BP_METRIC_UNCLIPPED_NORM] = BP_Q_UNCLIPPED_NORM,
};

static void set(bp_watch *watch, bp_quantity quantity, double value) {
    bp_record_set(&watch->record, quantity, 0, value);
}

/* --- what watching costs ---------------------------------------------------------------------- */

static double clock_of(const bp_watch *watch) {
    return watch->io->steady_clock(watch->io->context);
}

/* Seconds at which a call begins; the clock is not asked in steps that are not timed. */
static double call_begins(const bp_watch *watch) {
    return watch->governor.timed ? clock_of(watch) : 0;
}

static void call_ends(bp_watch *watch, double began) {
    if (watch->governor.timed) bp_governor_charge(&watch->governor, clock_of(watch) - began);
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void on_summary(void *context, uint32_t layer, bp_role role, bp_slot slot,
                       const bp_summary *summary) {
    bp_watch *watch = context;
    if (!watch->in_step || layer > watch->n_layers) return;
    const double began = call_begins(watch);
    bp_note_summary(watch, layer, role, slot, summary);
    call_ends(watch, began);
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    bp_watch *watch = context;
    if (!watch->in_step || layer > watch->n_layers) return;
    const double began = call_begins(watch);
    bp_note_tensor(watch, layer, role, slot, tensor);
    call_ends(watch, began);
}

static void on_update(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                      const bp_tensor *before, const bp_tensor *after) {
    bp_watch *watch = context;
    if (!watch->in_step || layer > watch->n_layers) return;
    const double began = call_begins(watch);
    bp_note_update(watch, layer, slot, gradient, before, after);
    call_ends(watch, began);
}

/* --- handing a step on ------------------------------------------------------------------------ */

static void go_blind(bp_watch *watch, const bp_error *error) {
    if (watch->blind.status != BP_OK) return;
    watch->blind = *error;
    watch->blind.status = BP_ERROR_BLIND;
    if (watch->options.on_message)
        watch->options.on_message(watch->options.context, watch->blind.text);
}

/* An event that is lost with the disk is no reason to see less. */
void bp_watch_log_event(bp_watch *watch, const bp_event *event) {
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    bp_writer writer;
    bp_error error = {0};
    if (!watch->log || watch->replays) return;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_event_encode(event, &writer);
    if (bp_runlog_writer_event(watch->log, (bp_runlog_type)event->kind, bytes, writer.length,
                               &error) != BP_OK)
        go_blind(watch, &error);
}

static void log_finding(bp_watch *watch, const bp_finding *finding, int64_t step) {
    bp_finding_state *state = &watch->state[finding->problem];
    *state = *state == 0     ? BP_FINDING_OPENED
             : finding->open ? BP_FINDING_CHANGED
                             : BP_FINDING_CLOSED;
    const bp_event event = {.kind = BP_EVENT_FINDING,
                            .as.finding = {.step = step,
                                           .since_step = finding->since_step,
                                           .problem = finding->problem,
                                           .severity = finding->severity,
                                           .state = *state}};
    bp_watch_log_event(watch, &event);
}

static void tell_findings(bp_watch *watch, int64_t step) {
    const uint32_t n = bp_diagnosis_n_findings(watch->diagnosis);
    for (uint32_t i = 0; i < n; i++) {
        const bp_finding *finding = bp_diagnosis_finding(watch->diagnosis, i);
        if (watch->told[finding->problem] == finding->severity) continue;
        watch->told[finding->problem] = finding->severity;
        bp_governor_alarm(&watch->governor);
        log_finding(watch, finding, step);
        if (watch->replays || !watch->options.on_finding) continue; /* told before the run paused */
        watch->options.on_finding(watch->options.context, finding);
    }
}

/* What watching costs, each time that the run has become twice as long. */
static void log_cost(bp_watch *watch) {
    const bp_governor *governor = &watch->governor;
    if (governor->n_full + governor->n_light < watch->cost_due) return;
    watch->cost_due = 2 * (governor->n_full + governor->n_light);
    const bp_event event = {.kind = BP_EVENT_WATCH, .as.watch = bp_watch_cost(watch)};
    bp_watch_log_event(watch, &event);
}

/* The bytes of the log, decoded again, are what the diagnosis sees. */
static bool encode(bp_watch *watch, size_t *n_bytes) {
    bp_writer writer;
    bp_cursor cursor;
    bp_error error = {0};
    bp_writer_init(&writer, watch->bytes, watch->capacity);
    bp_record_encode(&watch->record, &writer);
    bp_cursor_init(&cursor, watch->bytes, writer.length);
    *n_bytes = writer.length;
    if (!writer.cut && bp_record_decode(&watch->decoded, &cursor, &error) == BP_OK) {
        watch->has_decoded = true;
        return true;
    }
    bp_fail(&error, BP_ERROR_BLIND, "a record did not survive its own encoding");
    go_blind(watch, &error);
    return false;
}

static void hand_on_record(bp_watch *watch) {
    bp_error error = {0};
    size_t n_bytes;
    if (!encode(watch, &n_bytes)) return;
    if (watch->log && bp_runlog_writer_step(watch->log, watch->record.step, watch->bytes, n_bytes,
                                            &error) != BP_OK)
        go_blind(watch, &error);
    if (bp_diagnosis_step(watch->diagnosis, &watch->decoded) > 0)
        tell_findings(watch, watch->record.step);
}

static void hand_on_loss(bp_watch *watch) {
    bp_error error = {0};
    if (watch->log &&
        bp_runlog_writer_loss(watch->log, watch->step.step, watch->loss, &error) != BP_OK)
        go_blind(watch, &error);
    bp_diagnosis_loss(watch->diagnosis, watch->step.step, watch->loss);
}

/* The step is handed on when the next one begins (or the run ends), so that a validation that
 * follows it still is part of its record. */
BP_GUARDED void hand_on_guarded(bp_watch *watch) {
    watch->has_step = false;
    const double began = call_begins(watch);
    if (watch->has_record)
        hand_on_record(watch);
    else if (watch->has_loss)
        hand_on_loss(watch);
    log_cost(watch);
    call_ends(watch, began);
}

static void hand_on(bp_watch *watch) {
    if (!watch->has_step) return;
    const bp_float_guard guard = bp_float_guard_enter();
    hand_on_guarded(watch);
    bp_float_guard_leave(&guard);
}

/* --- the step --------------------------------------------------------------------------------- */

void bp_watch_begin_record(bp_watch *watch) {
    if (watch->has_record) return;
    watch->has_record = true;
    bp_record_clear(&watch->record);
    watch->record.step = watch->step.step;
    watch->record.wall_time = watch->io->wall_clock(watch->io->context);
    if (watch->step.flags & BP_STEP_UPDATE_SKIPPED) watch->record.flags |= BP_RECORD_UPDATE_SKIPPED;
    if (!isnan(watch->step.learning_rate))
        set(watch, BP_Q_LEARNING_RATE, watch->step.learning_rate);
    if (watch->has_loss) set(watch, BP_Q_LOSS, watch->loss);
    if (watch->has_train_accuracy) set(watch, BP_Q_TRAIN_ACCURACY, watch->train_accuracy);
    if (watch->step.flags & BP_STEP_SAMPLES_UNKNOWN) return;
    set(watch, BP_Q_SAMPLES, (double)watch->step.samples);
    set(watch, BP_Q_LOSS_TERMS, (double)watch->step.loss_terms);
}

/* A host of an older version tells less. */
static bp_step step_of(const bp_step *told) {
    bp_step step = {.struct_size = 0};
    memcpy(&step, told, told->struct_size < sizeof step ? told->struct_size : sizeof step);
    if (step.step < 0) step.step = 0; /* no step comes before the first */
    if (step.samples < 1) step.samples = 1;
    if (step.loss_terms < 1) step.loss_terms = 1;
    return step;
}

static void decide(bp_watch *watch, int64_t step) {
    const bool asks = bp_governor_wants_clock(&watch->governor, step);
    bp_governor_begin(&watch->governor, step, asks ? clock_of(watch) : 0);
}

BP_GUARDED void begin_step(bp_watch *watch, const bp_step *step) {
    if (watch->has_step) hand_on_guarded(watch);
    watch->step = step_of(step);
    if (!watch->has_decision || watch->decided != watch->step.step) decide(watch, watch->step.step);
    watch->has_decision = false;
    watch->in_step = true;
    watch->has_record = watch->has_loss = watch->has_train_accuracy = false;
    watch->is_moment = bp_watch_wants_histograms(watch);
    const bool is_skipped = watch->step.flags & BP_STEP_UPDATE_SKIPPED;
    if (watch->governor.full || is_skipped) bp_watch_begin_record(watch);
}

static bp_plan on_step_begin(void *context, const bp_step *step) {
    bp_watch *watch = context;
    const bp_float_guard guard = bp_float_guard_enter();
    begin_step(watch, step);
    bp_float_guard_leave(&guard);
    return (bp_plan){.wanted = watch->governor.full ? watch->wanted_full : watch->wanted_light,
                     .n_layers = watch->n_layers};
}

BP_GUARDED void take_loss(bp_watch *watch, double loss) {
    watch->loss = loss;
    watch->has_loss = true;
    bp_governor_note_loss(&watch->governor, loss);
    if (!isfinite(loss)) {
        bp_governor_alarm(&watch->governor);
        bp_watch_begin_record(watch); /* the tripwire */
    }
    if (watch->has_record) set(watch, BP_Q_LOSS, loss);
}

static void on_scalar(void *context, bp_metric metric, double value) {
    bp_watch *watch = context;
    if ((unsigned)metric >= BP_N_METRICS || !(watch->in_step || watch->has_step)) return;
    if (metric == BP_METRIC_LOSS) {
        const bp_float_guard guard = bp_float_guard_enter();
        take_loss(watch, value);
        bp_float_guard_leave(&guard);
        return;
    }
    if (metric == BP_METRIC_TRAIN_ACCURACY) { /* kept: a validation may follow and want both */
        watch->train_accuracy = value;
        watch->has_train_accuracy = true;
    }
    if (metric == BP_METRIC_VALIDATION_LOSS || metric == BP_METRIC_VALIDATION_ACCURACY)
        bp_watch_begin_record(watch);
    if (watch->has_record) set(watch, metric_quantity[metric], value);
}

static void on_step_end(void *context) {
    bp_watch *watch = context;
    if (!watch->in_step) return;
    watch->in_step = false;
    watch->has_step = true;
}

/* --- what a host asks and tells itself ---------------------------------------------------------
 */

BP_GUARDED void decide_guarded(bp_watch *watch, int64_t step) {
    decide(watch, step);
    watch->has_decision = true;
    watch->decided = step;
}

bool bp_watch_decide(bp_watch *watch, int64_t step) {
    if (step < 0) step = 0;
    if (!watch->has_decision || watch->decided != step) {
        const bp_float_guard guard = bp_float_guard_enter();
        decide_guarded(watch, step);
        bp_float_guard_leave(&guard);
    }
    return watch->governor.full;
}

void bp_watch_observed(bp_watch *watch, int64_t step, bool full) {
    bp_watch_decide(watch, step);
    bp_governor_observed(&watch->governor, full);
}

bool bp_watch_is_timed(const bp_watch *watch) {
    return watch->governor.timed;
}

void bp_watch_charge(bp_watch *watch, double seconds) {
    bp_governor_charge(&watch->governor, seconds);
}

static bool counts_non_finite(bp_quantity quantity) {
    switch (quantity) {
    case BP_Q_ACTIVATION_NAN:
    case BP_Q_ACTIVATION_INF:
    case BP_Q_ERROR_NAN:
    case BP_Q_ERROR_INF:
    case BP_Q_PARAMETER_NAN:
    case BP_Q_PARAMETER_INF:
    case BP_Q_GRADIENT_NAN:
    case BP_Q_GRADIENT_INF:
    case BP_Q_UPDATE_BAD:
        return true;
    default:
        return false;
    }
}

void bp_watch_tell(bp_watch *watch, bp_quantity quantity, uint32_t row, double value) {
    if (!watch->in_step || (unsigned)quantity >= BP_N_QUANTITIES || row > watch->n_layers) return;
    if (!watch->governor.full && counts_non_finite(quantity) && value > 0) {
        bp_governor_alarm(&watch->governor);
        bp_watch_begin_record(watch);
    }
    if (watch->has_record) bp_record_set(&watch->record, quantity, row, value);
}

/* --- opening and closing -------------------------------------------------------------------- */

#define BIT(role) (1u << (unsigned)(role))

static void plan_wants(bp_watch *watch) {
    const uint32_t all = ((1u << BP_N_ROLES) - 1) & ~BIT(BP_ROLE_ERROR_INPUT);
    for (uint32_t layer = 0; layer <= watch->n_layers; layer++) {
        const bp_layer *spec = bp_model_layer(watch->model, layer);
        watch->wanted_full[layer] = all;
        /* Between full steps: the tripwire. What is not finite before the loss shows in the loss.
         */
        watch->wanted_light[layer] =
            spec && spec->id == watch->n_layers ? BIT(BP_ROLE_ERROR_OUTPUT) : 0;
    }
    /* A layer's input is read where a block begins: what comes back by the branch. */
    for (uint32_t id = 1; id <= watch->n_layers; id++) {
        const bp_layer *sum = bp_model_layer(watch->model, id);
        if (sum->kind == BP_LAYER_RESIDUAL && sum->n_branch < id)
            watch->wanted_full[id - sum->n_branch] |= BIT(BP_ROLE_ERROR_INPUT);
    }
    /* And where time begins: what came back through it. */
    const bp_layer *first = bp_model_layer(watch->model, 1);
    if (first && bp_layer_is_recurrent(first)) watch->wanted_full[1] |= BIT(BP_ROLE_ERROR_INPUT);
}

/* Of a layer whose number of weights is not known there may be any. */
static size_t direction_numbers(const bp_layer *layer) {
    if (!layer || !bp_layer_has_weights(layer)) return 0;
    const int64_t n = bp_layer_n_weights(layer);
    return bp_direction_numbers(n > 0 ? (uint64_t)n : BP_DIRECTION_PLACES);
}

static bool open_directions(bp_watch *watch) {
    const bp_allocator *allocator = &watch->allocator;
    watch->directions =
        bp_allocate(allocator, (size_t)watch->n_layers + 1, sizeof *watch->directions);
    if (watch->options.summaries_only) return watch->directions; /* updates come as readings, too */
    for (uint32_t l = 1; l <= watch->n_layers; l++)
        watch->n_direction_numbers += direction_numbers(bp_model_layer(watch->model, l));
    watch->direction_numbers = bp_allocate(allocator, watch->n_direction_numbers, sizeof(double));
    if (!watch->directions || !watch->direction_numbers) return false;
    double *at = watch->direction_numbers;
    for (uint32_t l = 1; l <= watch->n_layers; l++) {
        const size_t n = direction_numbers(bp_model_layer(watch->model, l));
        bp_direction_init(&watch->directions[l], at, n);
        at += n;
    }
    return true;
}

static bool open_memory(bp_watch *watch) {
    const bp_allocator *allocator = &watch->allocator;
    const size_t rows = (size_t)watch->n_layers + 1;
    watch->capacity = bp_record_max_bytes(watch->n_layers);
    watch->wanted_full = bp_allocate(allocator, rows, sizeof *watch->wanted_full);
    watch->wanted_light = bp_allocate(allocator, rows, sizeof *watch->wanted_light);
    watch->bytes = bp_allocate(allocator, watch->capacity, 1);
    if (!watch->wanted_full || !watch->wanted_light || !watch->bytes) return false;
    plan_wants(watch);
    return bp_record_init(&watch->record, watch->n_layers, allocator) == BP_OK &&
           bp_record_init(&watch->decoded, watch->n_layers, allocator) == BP_OK &&
           bp_watch_open_units(watch) && open_directions(watch);
}

static void release(bp_watch *watch) {
    const bp_allocator allocator = watch->allocator;
    const size_t rows = (size_t)watch->n_layers + 1;
    bp_diagnosis_close(watch->diagnosis);
    bp_record_finish(&watch->record, &allocator);
    bp_record_finish(&watch->decoded, &allocator);
    bp_release(&allocator, watch->wanted_full, rows, sizeof *watch->wanted_full);
    bp_release(&allocator, watch->wanted_light, rows, sizeof *watch->wanted_light);
    bp_release(&allocator, watch->bytes, watch->capacity, 1);
    bp_watch_close_units(watch);
    bp_release(&allocator, watch->directions, rows, sizeof *watch->directions);
    bp_release(&allocator, watch->direction_numbers, watch->n_direction_numbers, sizeof(double));
    bp_release(&allocator, watch, 1, sizeof *watch);
}

/* What the run did before it paused. A run folder without a log is a run that was not watched. */
static bp_status replay(bp_watch *watch, bp_error *error) {
    bp_runlog_reader *reader = NULL;
    const bp_record *record = NULL;
    if (!bp_runlog_exists(watch->options.run_folder, &watch->allocator)) return BP_OK;
    bp_status status =
        bp_runlog_reader_open(&reader, watch->options.run_folder, &watch->allocator, error);
    if (status != BP_OK) return status;
    if (bp_model_n_layers(bp_runlog_reader_model(reader)) != watch->n_layers)
        status = bp_fail(
            error, BP_ERROR_INPUT, "the log in %s is of a network of %u layers, expected %u",
            watch->options.run_folder, (unsigned)bp_model_n_layers(bp_runlog_reader_model(reader)),
            (unsigned)watch->n_layers);
    watch->replays = true;
    while (status == BP_OK && (status = bp_runlog_reader_next(reader, &record, error)) == BP_OK &&
           record && record->step < watch->options.resume_step)
        if (bp_diagnosis_step(watch->diagnosis, record) > 0) tell_findings(watch, record->step);
    watch->replays = false;
    const bp_event_watch *before = bp_runlog_reader_watching(reader);
    if (before) watch->before = *before;
    bp_runlog_reader_close(reader);
    return status;
}

static bp_status open_parts(bp_watch *watch, const bp_io *io, bp_error *error) {
    if (!open_memory(watch))
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to watch %u layers", watch->n_layers);
    bp_status status = bp_diagnosis_open(&watch->diagnosis, watch->model, &watch->allocator, error);
    if (status != BP_OK || !watch->options.run_folder) return status;
    if (watch->options.resumes) status = replay(watch, error);
    if (status != BP_OK) return status;
    const bp_runlog_options options = {.io = io,
                                       .allocator = watch->allocator,
                                       .resumes = watch->options.resumes,
                                       .resume_step = watch->options.resume_step,
                                       .direct = watch->options.direct,
                                       .max_log_bytes = watch->options.max_log_bytes};
    status = bp_runlog_writer_open(&watch->log, watch->options.run_folder, watch->model, &options,
                                   error);
    watch->options.run_folder = NULL; /* the writer has its copy */
    return status;
}

bp_status bp_watch_open_with(bp_watch **watch, const bp_model *model,
                             const bp_watch_options *options, const bp_io *io, bp_error *error) {
    const bool budget_fits = options->budget_fraction > 0 && options->budget_fraction <= 1;
    if (options->struct_size != sizeof *options || options->every < 0 || !budget_fits)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "bp_watch_options: set with BP_WATCH_OPTIONS_INIT, every at least 0, "
                       "budget_fraction above 0 and at most 1");
    const bp_allocator *allocator = bp_allocator_or_system(&options->allocator);
    bp_watch *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the watch");
    opened->allocator = *allocator;
    opened->model = model;
    opened->n_layers = bp_model_n_layers(model);
    opened->options = *options;
    opened->io = io ? io : &bp_io_system;
    opened->observer = (bp_observer){.context = opened,
                                     .step_begin = on_step_begin,
                                     .tensor = on_tensor,
                                     .summary = on_summary,
                                     .update = on_update,
                                     .scalar = on_scalar,
                                     .step_end = on_step_end};
    bp_exponents_init(&opened->exponents);
    bp_governor_init(&opened->governor, options->every, options->budget_fraction, clock_of(opened));
    if (options->ranked) bp_governor_share(&opened->governor);
    const bp_status status = open_parts(opened, io, error);
    if (status != BP_OK) {
        release(opened);
        return status;
    }
    *watch = opened;
    return BP_OK;
}

bp_status bp_watch_open(bp_watch **watch, const bp_model *model, const bp_watch_options *options,
                        bp_error *error) {
    return bp_watch_open_with(watch, model, options, NULL, error);
}

bp_status bp_watch_close(bp_watch *watch, bp_run_end end, bp_error *error) {
    if (!watch) return BP_OK;
    bp_status status = BP_OK;
    hand_on(watch);
    watch->cost_due = 0;
    log_cost(watch);
    if (watch->log) status = bp_runlog_writer_close(watch->log, end, error);
    if (status == BP_OK) status = bp_watch_status(watch, error);
    release(watch);
    return status;
}

const bp_observer *bp_watch_observer(bp_watch *watch) {
    return &watch->observer;
}

bp_diagnosis *bp_watch_diagnosis(bp_watch *watch) {
    hand_on(watch);
    return watch->diagnosis;
}

const bp_record *bp_watch_record(bp_watch *watch) {
    hand_on(watch);
    return watch->has_decoded ? &watch->decoded : NULL;
}

bp_status bp_watch_status(const bp_watch *watch, bp_error *error) {
    if (watch->blind.status != BP_OK && error) *error = watch->blind;
    return watch->blind.status;
}

bp_event_watch bp_watch_cost(const bp_watch *watch) {
    const bp_governor *governor = &watch->governor;
    /* A step that was decided about and did not begin is none yet. */
    const uint64_t full = watch->has_decision && governor->full;
    const uint64_t light = watch->has_decision && !governor->full;
    return (bp_event_watch){.step = watch->step.step,
                            .mode = governor->every > 0 ? BP_WATCH_EVERY : BP_WATCH_BUDGET,
                            .every = (uint64_t)governor->every,
                            .budget_fraction = governor->budget,
                            .full_steps = watch->before.full_steps + governor->n_full - full,
                            .light_steps = watch->before.light_steps + governor->n_light - light,
                            .watch_seconds = watch->before.watch_seconds + governor->watching,
                            .run_seconds =
                                watch->before.run_seconds + bp_governor_run_seconds(governor)};
}

void bp_watch_note_checkpoint(bp_watch *watch, int64_t step, const char *file) {
    bp_event event = {.kind = BP_EVENT_CHECKPOINT, .as.checkpoint = {.step = step}};
    hand_on(watch);
    snprintf(event.as.checkpoint.file, sizeof event.as.checkpoint.file, "%s", file);
    bp_watch_log_event(watch, &event);
    watch->cost_due = 0; /* who goes on from here learns what was spent */
    log_cost(watch);
}
