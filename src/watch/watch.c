/* SPDX-License-Identifier: Apache-2.0 */
/* From the observer's calls to a record, the log and the diagnosis. */
#include "watch/watch.h"
#include "stats/float_guard.h"

#include <errno.h>
#include <math.h>

#define VARIATION_SAMPLES 32 /* fewer samples do not tell how much an activation varies */

struct bp_watch {
    bp_allocator allocator;
    const bp_model *model;
    uint32_t n_layers;
    bp_watch_options options;
    bp_observer observer;
    bp_diagnosis *diagnosis;
    bp_runlog_writer *log; /* NULL: no log wanted */
    const bp_io *io;
    bp_error blind;   /* status BP_OK while it sees */
    uint32_t *wanted; /* [n_layers + 1], of the current step */
    uint32_t *wanted_full, *wanted_light;
    bp_record record, decoded;
    uint8_t *bytes; /* the encoded record */
    size_t capacity;
    bp_units *units; /* [n_layers + 1] */
    double *unit_numbers;
    size_t n_unit_numbers;
    bp_step step;
    bool in_step, has_step, replays;
    bp_severity told[BP_N_PROBLEMS]; /* what on_finding was last told of each problem */
};

/* --- from tensors to quantities ------------------------------------------------------------- */

static void set(bp_watch *watch, bp_quantity quantity, uint32_t layer, double value) {
    bp_record_set(&watch->record, quantity, layer, value);
}

/* A layer's parameters add up, so that the tripwires cover all of them. */
static void add(bp_watch *watch, bp_quantity quantity, uint32_t layer, double value) {
    const double before = bp_record_has(&watch->record, quantity, layer)
                              ? bp_record_get(&watch->record, quantity, layer)
                              : 0;
    set(watch, quantity, layer, before + value);
}

static void raise_to(bp_watch *watch, bp_quantity quantity, uint32_t layer, double value) {
    const double before = bp_record_has(&watch->record, quantity, layer)
                              ? bp_record_get(&watch->record, quantity, layer)
                              : 0;
    set(watch, quantity, layer, fmax(before, value));
}

static double inf_count(const bp_summary *summary) {
    return (double)(summary->positive_inf + summary->negative_inf);
}

static double per_sample(const bp_watch *watch, const bp_summary *summary) {
    return bp_summary_norm(summary) / sqrt((double)watch->step.samples);
}

static void note_activation(bp_watch *watch, uint32_t layer, const bp_summary *summary) {
    set(watch, BP_Q_ACTIVATION_NAN, layer, (double)summary->nan);
    set(watch, BP_Q_ACTIVATION_INF, layer, inf_count(summary));
    set(watch, BP_Q_ACTIVATION_MAX, layer, bp_summary_max_abs(summary));
    if (bp_summary_non_finite(summary)) return;
    set(watch, BP_Q_ACTIVATION_RMS, layer, bp_summary_rms(summary));
    set(watch, BP_Q_ACTIVATION_NORM, layer, per_sample(watch, summary));
}

static void note_error(bp_watch *watch, uint32_t layer, const bp_summary *summary) {
    const double terms = (double)watch->step.loss_terms; /* undo the mean: short batches compare */
    set(watch, BP_Q_ERROR_NAN, layer, (double)summary->nan);
    set(watch, BP_Q_ERROR_INF, layer, inf_count(summary));
    set(watch, BP_Q_ERROR_MAX, layer, bp_summary_max_abs(summary) * terms);
    if (bp_summary_non_finite(summary)) return;
    set(watch, BP_Q_ERROR_RMS, layer, bp_summary_rms(summary) * terms);
    set(watch, BP_Q_ERROR_NORM, layer, per_sample(watch, summary) * terms);
}

static void note_parameter(bp_watch *watch, uint32_t layer, bp_slot slot,
                           const bp_summary *summary) {
    add(watch, BP_Q_PARAMETER_NAN, layer, (double)summary->nan);
    add(watch, BP_Q_PARAMETER_INF, layer, inf_count(summary));
    if (slot == BP_SLOT_WEIGHT) {
        set(watch, BP_Q_WEIGHT_RMS, layer, bp_summary_rms(summary));
        set(watch, BP_Q_WEIGHT_MAX, layer, bp_summary_max_abs(summary));
    } else if (slot == BP_SLOT_BIAS) {
        set(watch, BP_Q_BIAS_RMS, layer, bp_summary_rms(summary));
    }
}

static void note_gradient(bp_watch *watch, uint32_t layer, bp_slot slot,
                          const bp_summary *summary) {
    add(watch, BP_Q_GRADIENT_NAN, layer, (double)summary->nan);
    add(watch, BP_Q_GRADIENT_INF, layer, inf_count(summary));
    raise_to(watch, BP_Q_GRADIENT_MAX, layer, bp_summary_max_abs(summary));
    if (slot == BP_SLOT_WEIGHT) set(watch, BP_Q_GRADIENT_RMS, layer, bp_summary_rms(summary));
    if (slot == BP_SLOT_BIAS) set(watch, BP_Q_BIAS_GRADIENT_RMS, layer, bp_summary_rms(summary));
}

BP_GUARDED void take_summary(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                             const bp_summary *summary) {
    const double terms = (double)watch->step.loss_terms;
    const bool finite = bp_summary_non_finite(summary) == 0;
    switch (role) {
    case BP_ROLE_ACTIVATION:
        note_activation(watch, layer, summary);
        break;
    case BP_ROLE_ERROR_OUTPUT:
        note_error(watch, layer, summary);
        break;
    case BP_ROLE_ERROR_PRE_ACTIVATION:
        if (finite) set(watch, BP_Q_ERROR_PRE_ACTIVATION, layer, bp_summary_rms(summary) * terms);
        break;
    case BP_ROLE_ERROR_PRE_NORM:
        if (finite) set(watch, BP_Q_ERROR_PRE_NORM, layer, bp_summary_rms(summary) * terms);
        break;
    case BP_ROLE_ERROR_INPUT:
        if (finite) set(watch, BP_Q_ERROR_INPUT_NORM, layer, per_sample(watch, summary) * terms);
        break;
    case BP_ROLE_PARAMETER:
        note_parameter(watch, layer, slot, summary);
        break;
    case BP_ROLE_GRADIENT:
        note_gradient(watch, layer, slot, summary);
        break;
    case BP_ROLE_UPDATE:
    case BP_N_ROLES:
        break;
    }
}

BP_GUARDED void take_tensor(bp_watch *watch, uint32_t layer, bp_role role, bp_slot slot,
                            const bp_tensor *tensor) {
    bp_summary summary;
    bp_summarise(&summary, tensor);
    take_summary(watch, layer, role, slot, &summary);
    if (role != BP_ROLE_ACTIVATION || watch->wanted != watch->wanted_full) return;
    bp_units *units = &watch->units[layer];
    double variation;
    bp_units_add(units, tensor);
    if (units->samples < VARIATION_SAMPLES) return;
    if (bp_units_variation(units, VARIATION_SAMPLES, &variation))
        set(watch, BP_Q_VARIATION, layer, variation);
    else if (!units->non_finite)
        set(watch, BP_Q_VARIATION, layer, 0); /* all outputs are 0: a dead layer tells nothing */
    bp_units_reset(units);
}

BP_GUARDED void take_update(bp_watch *watch, uint32_t layer, bp_slot slot,
                            const bp_tensor *gradient, const bp_tensor *before,
                            const bp_tensor *after) {
    bp_update_stats stats = {0};
    bp_update_stats_add(&stats, gradient, before, after);
    add(watch, BP_Q_EFFECT, layer, stats.effect);
    add(watch, BP_Q_UPDATE_BAD, layer, (double)stats.made_non_finite);
    add(watch, BP_Q_STALLED, layer, (double)stats.stalled);
    add(watch, BP_Q_PARAMETERS, layer, (double)stats.count);
    if (slot == BP_SLOT_WEIGHT && stats.count)
        set(watch, BP_Q_UPDATE_RMS, layer, sqrt(stats.sum_squares_change / (double)stats.count));
}

/* A host may trap on NaN or overflow: what comes from it is reckoned with in our environment. */

static void on_summary(void *context, uint32_t layer, bp_role role, bp_slot slot,
                       const bp_summary *summary) {
    bp_watch *watch = context;
    if (!watch->in_step || layer > watch->n_layers) return;
    const bp_float_guard guard = bp_float_guard_enter();
    take_summary(watch, layer, role, slot, summary);
    bp_float_guard_leave(&guard);
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    bp_watch *watch = context;
    if (!watch->in_step || layer > watch->n_layers) return;
    const bp_float_guard guard = bp_float_guard_enter();
    take_tensor(watch, layer, role, slot, tensor);
    bp_float_guard_leave(&guard);
}

static void on_update(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                      const bp_tensor *before, const bp_tensor *after) {
    bp_watch *watch = context;
    if (!watch->in_step || layer > watch->n_layers) return;
    const bp_float_guard guard = bp_float_guard_enter();
    take_update(watch, layer, slot, gradient, before, after);
    bp_float_guard_leave(&guard);
}

/* --- the step ------------------------------------------------------------------------------- */

static const bp_quantity metric_quantity[BP_N_METRICS] = {
    [BP_METRIC_LOSS] = BP_Q_LOSS,
    [BP_METRIC_TRAIN_ACCURACY] = BP_Q_TRAIN_ACCURACY,
    [BP_METRIC_VALIDATION_LOSS] = BP_Q_VALIDATION_LOSS,
    [BP_METRIC_VALIDATION_ACCURACY] = BP_Q_VALIDATION_ACCURACY,
};

static void go_blind(bp_watch *watch, const bp_error *error) {
    if (watch->blind.status != BP_OK) return;
    watch->blind = *error;
    watch->blind.status = BP_ERROR_BLIND;
    if (watch->options.on_message)
        watch->options.on_message(watch->options.context, watch->blind.text);
}

static void tell_findings(bp_watch *watch) {
    const uint32_t n = bp_diagnosis_n_findings(watch->diagnosis);
    for (uint32_t i = 0; i < n; i++) {
        const bp_finding *finding = bp_diagnosis_finding(watch->diagnosis, i);
        if (watch->told[finding->problem] == finding->severity) continue;
        watch->told[finding->problem] = finding->severity;
        if (watch->replays || !watch->options.on_finding) continue; /* told before the run paused */
        watch->options.on_finding(watch->options.context, finding);
    }
}

/* The step is handed on when the next one begins (or the run ends), so that a validation that
 * follows it still is part of its record. */
BP_GUARDED void hand_on_guarded(bp_watch *watch) {
    bp_writer writer;
    bp_cursor cursor;
    bp_error error = {0};
    bp_writer_init(&writer, watch->bytes, watch->capacity);
    bp_record_encode(&watch->record, &writer);
    bp_cursor_init(&cursor, watch->bytes, writer.length);
    if (writer.cut || bp_record_decode(&watch->decoded, &cursor, &error) != BP_OK) {
        bp_fail(&error, BP_ERROR_BLIND, "a record did not survive its own encoding");
        go_blind(watch, &error);
        return;
    }
    if (watch->log && bp_runlog_writer_step(watch->log, watch->record.step, watch->bytes,
                                            writer.length, &error) != BP_OK)
        go_blind(watch, &error);
    if (bp_diagnosis_step(watch->diagnosis, &watch->decoded) > 0) tell_findings(watch);
}

static void hand_on(bp_watch *watch) {
    if (!watch->has_step) return;
    watch->has_step = false;
    const bp_float_guard guard = bp_float_guard_enter();
    hand_on_guarded(watch);
    bp_float_guard_leave(&guard);
}

static bp_plan on_step_begin(void *context, const bp_step *step) {
    bp_watch *watch = context;
    const int kept_errno = errno;
    hand_on(watch);
    watch->step = *step;
    if (watch->step.step < 0) watch->step.step = 0; /* no step comes before the first */
    if (watch->step.samples < 1) watch->step.samples = 1;
    if (watch->step.loss_terms < 1) watch->step.loss_terms = 1;
    watch->in_step = true;
    const bool full = watch->step.step % watch->options.every == 0;
    watch->wanted = full ? watch->wanted_full : watch->wanted_light;
    bp_record_clear(&watch->record);
    watch->record.step = watch->step.step;
    watch->record.wall_time = watch->io->wall_clock(watch->io->context);
    set(watch, BP_Q_SAMPLES, 0, (double)step->samples);
    set(watch, BP_Q_LOSS_TERMS, 0, (double)step->loss_terms);
    set(watch, BP_Q_LEARNING_RATE, 0, step->learning_rate);
    errno = kept_errno;
    return (bp_plan){.wanted = watch->wanted, .n_layers = watch->n_layers};
}

static void on_scalar(void *context, bp_metric metric, double value) {
    bp_watch *watch = context;
    if ((unsigned)metric >= BP_N_METRICS || !(watch->in_step || watch->has_step)) return;
    set(watch, metric_quantity[metric], 0, value);
}

static void on_step_end(void *context) {
    bp_watch *watch = context;
    if (!watch->in_step) return;
    watch->in_step = false;
    watch->has_step = true;
}

/* --- opening and closing -------------------------------------------------------------------- */

#define BIT(role) (1u << (unsigned)(role))

static void plan_wants(bp_watch *watch) {
    const uint32_t all = ((1u << BP_N_ROLES) - 1) & ~BIT(BP_ROLE_ERROR_INPUT);
    for (uint32_t layer = 0; layer <= watch->n_layers; layer++) {
        const bp_layer *spec = bp_model_layer(watch->model, layer);
        watch->wanted_full[layer] = all;
        /* Between full steps: the tripwire for non-finite values, where they end up. */
        watch->wanted_light[layer] = spec && spec->id == watch->n_layers
                                         ? BIT(BP_ROLE_ACTIVATION) | BIT(BP_ROLE_ERROR_OUTPUT)
                                         : 0;
    }
    /* A layer's input is read where a block begins: what comes back by the branch. */
    for (uint32_t id = 1; id <= watch->n_layers; id++) {
        const bp_layer *sum = bp_model_layer(watch->model, id);
        if (sum->kind == BP_LAYER_RESIDUAL && sum->n_branch < id)
            watch->wanted_full[id - sum->n_branch] |= BIT(BP_ROLE_ERROR_INPUT);
    }
}

static bool open_units(bp_watch *watch) {
    size_t total = 0;
    for (uint32_t layer = 0; layer <= watch->n_layers; layer++)
        total += (size_t)bp_model_units(watch->model, layer);
    watch->n_unit_numbers = 3 * total;
    watch->unit_numbers = bp_allocate(&watch->allocator, watch->n_unit_numbers, sizeof(double));
    if (!watch->unit_numbers) return false;
    double *at = watch->unit_numbers;
    for (uint32_t layer = 0; layer <= watch->n_layers; layer++) {
        const size_t n = (size_t)bp_model_units(watch->model, layer);
        bp_units_init(&watch->units[layer], at, at + n, at + 2 * n, n);
        at += 3 * n;
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
    watch->units = bp_allocate(allocator, rows, sizeof *watch->units);
    if (!watch->wanted_full || !watch->wanted_light || !watch->bytes || !watch->units) return false;
    plan_wants(watch);
    return bp_record_init(&watch->record, watch->n_layers, allocator) == BP_OK &&
           bp_record_init(&watch->decoded, watch->n_layers, allocator) == BP_OK &&
           open_units(watch);
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
    bp_release(&allocator, watch->units, rows, sizeof *watch->units);
    bp_release(&allocator, watch->unit_numbers, watch->n_unit_numbers, sizeof(double));
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
        if (bp_diagnosis_step(watch->diagnosis, record) > 0) tell_findings(watch);
    watch->replays = false;
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
                                       .resume_step = watch->options.resume_step};
    status = bp_runlog_writer_open(&watch->log, watch->options.run_folder, watch->model, &options,
                                   error);
    watch->options.run_folder = NULL; /* the writer has its copy */
    return status;
}

bp_status bp_watch_open_with(bp_watch **watch, const bp_model *model,
                             const bp_watch_options *options, const bp_io *io, bp_error *error) {
    if (options->struct_size != sizeof *options || options->every < 1)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "bp_watch_options: set with BP_WATCH_OPTIONS_INIT, every at least 1");
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

bp_status bp_watch_status(const bp_watch *watch, bp_error *error) {
    if (watch->blind.status != BP_OK && error) *error = watch->blind;
    return watch->blind.status;
}
