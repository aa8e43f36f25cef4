/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"
#include "cli/folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steps after the first non-finite loss: enough for the watch to see how it spreads. */
#define STEPS_AFTER_NON_FINITE 20

static void told_finding(void *context, const bp_finding *finding) {
    bp_session *session = context;
    session->listener->on_finding(session->listener->context, session, finding);
}

static void told_message(void *context, const char *text) {
    bp_session *session = context;
    session->listener->on_message(session->listener->context, session, text);
}

/* The data room knows the name, not its place in the file. */
static bp_status open_data(bp_session *session, const bp_netfile *file, bp_error *error) {
    int32_t line, column;
    bp_error reason = {.status = BP_OK};
    const char *name = bp_netfile_data(file, &line, &column);
    const bp_status status = bp_dataset_open(&session->dataset, name, NULL, &reason);
    if (status == BP_ERROR_INPUT) return bp_fail_at(error, line, column, "%s", reason.text);
    if (status != BP_OK && error) *error = reason;
    return status;
}

/* Network file to a trainer that is ready for its first step; no file is written yet. */
static bp_status open_trainer(bp_session *session, const char *weights, bp_error *error) {
    bp_netfile *file = NULL;
    const bp_network *network = &session->network;
    bp_status status =
        bp_netfile_parse(&file, network->path, network->text, strlen(network->text), NULL, error);
    if (status == BP_OK) status = bp_netfile_model(file, &session->model, error);
    if (status == BP_OK) status = open_data(session, file, error);
    if (status == BP_OK)
        status = bp_model_set_input(session->model, session->dataset->input_shape, error);
    if (status == BP_OK)
        status = bp_trainer_open(&session->trainer, session->model, session->dataset, NULL, error);
    if (status == BP_OK && weights) status = bp_trainer_load(session->trainer, weights, error);
    bp_netfile_close(file);
    return status;
}

static bp_status make_folder(bp_session *session, const char *wanted, bool *made, bp_error *error) {
    char name[200];
    bp_status status;
    if (wanted) {
        session->run_folder = strdup(wanted);
        if (!session->run_folder) return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
        return bp_folder_make(wanted, made, error);
    }
    status = bp_folder_name_of(name, sizeof name, session->network.path, error);
    if (status == BP_OK) status = bp_folder_make_numbered(&session->run_folder, name, error);
    *made = status == BP_OK;
    return status;
}

/* Written aside and renamed: whole or not there. */
static bp_status write_in_folder(const bp_session *session, const char *name, const char *text,
                                 bp_error *error) {
    char *path = bp_path_join(session->run_folder, name);
    if (!path) return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
    bp_status status =
        bp_io_write_file_atomic(&bp_io_system, path, text, strlen(text), NULL, error);
    free(path);
    return status;
}

static bp_status open_watch(bp_session *session, const bp_session_options *options,
                            bp_error *error) {
    if (!options->watch) return BP_OK;
    bp_watch_options watch = BP_WATCH_OPTIONS_INIT;
    watch.run_folder = session->run_folder;
    watch.every = options->every;
    watch.on_finding = told_finding;
    watch.on_message = told_message;
    watch.context = session;
    bp_status status = bp_watch_open(&session->watch, session->model, &watch, error);
    if (status == BP_OK) bp_trainer_observe(session->trainer, bp_watch_observer(session->watch));
    return status;
}

static void release(bp_session *session) {
    bp_trainer_close(session->trainer);
    bp_dataset_close(session->dataset);
    bp_model_close(session->model);
    bp_network_free(&session->network);
    free(session->run_folder);
    *session = (bp_session){0};
}

bp_status bp_session_open(bp_session *session, bp_network *network,
                          const bp_session_options *options, bp_error *error) {
    *session = (bp_session){.network = *network,
                            .listener = options->listener,
                            .loss = NAN,
                            .epoch_loss = NAN,
                            .validation = {NAN, NAN}};
    *network = (bp_network){0};
    bool made = false;
    bp_status status = open_trainer(session, options->weights, error);
    if (status == BP_OK) status = make_folder(session, options->run_folder, &made, error);
    if (status == BP_OK)
        status = write_in_folder(session, "network.yaml", session->network.text, error);
    if (status == BP_OK) status = open_watch(session, options, error);
    if (status == BP_OK) return BP_OK;
    if (made && options->run_folder) bp_folder_remove(session->run_folder, 0);
    if (made && !options->run_folder) bp_folder_remove_numbered(session->run_folder);
    release(session);
    return status;
}

/* Whether a parameter is NaN or Inf: then no step can mend it. */
static bool has_non_finite_parameter(const bp_trainer *trainer) {
    for (size_t i = 0; i < bp_trainer_n_parameters(trainer); i++) {
        bp_summary summary;
        bp_summarise(&summary, &bp_trainer_parameter(trainer, i)->value);
        if (bp_summary_non_finite(&summary) > 0) return true;
    }
    return false;
}

static void stop(bp_session *session, int64_t first_bad) {
    session->end = BP_RUN_STOPPED;
    snprintf(session->stop_reason, sizeof session->stop_reason, "%s since step %lld",
             has_non_finite_parameter(session->trainer) ? "loss and parameters are no longer finite"
                                                        : "the loss is no longer finite",
             (long long)first_bad);
}

static void end_epoch(bp_session *session, double loss_sum, int64_t steps) {
    const bp_observer *observer = session->watch ? bp_watch_observer(session->watch) : NULL;
    const bp_part *part = &session->dataset->validation;
    session->epoch++;
    session->epoch_loss = loss_sum / (double)steps;
    if (part->n > 0) session->validation = bp_trainer_evaluate(session->trainer, part);
    if (part->n > 0 && observer) {
        observer->scalar(observer->context, BP_METRIC_VALIDATION_LOSS, session->validation.loss);
        if (session->dataset->has_classes)
            observer->scalar(observer->context, BP_METRIC_VALIDATION_ACCURACY,
                             session->validation.accuracy);
    }
    session->listener->on_epoch(session->listener->context, session);
}

/* The steps of one epoch; false when the training ends within it. */
static bool train_epoch(bp_session *session, int64_t steps, int64_t *first_bad,
                        const volatile sig_atomic_t *interrupted) {
    double loss_sum = 0;
    for (int64_t i = 0; i < steps; i++) {
        if (*interrupted) {
            session->end = BP_RUN_INTERRUPTED;
            return false;
        }
        double begin = bp_io_system.steady_clock(bp_io_system.context);
        session->loss = bp_trainer_step(session->trainer);
        session->seconds += bp_io_system.steady_clock(bp_io_system.context) - begin;
        loss_sum += session->loss;
        if (isfinite(session->loss))
            *first_bad = -1;
        else if (*first_bad < 0)
            *first_bad = session->step;
        session->step++;
        session->listener->on_step(session->listener->context, session);
        if (*first_bad >= 0 && session->step - *first_bad > STEPS_AFTER_NON_FINITE) {
            stop(session, *first_bad);
            return false;
        }
    }
    end_epoch(session, loss_sum, steps);
    return true;
}

void bp_session_train(bp_session *session, const volatile sig_atomic_t *interrupted) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    int64_t first_bad = -1;
    session->end = BP_RUN_FINISHED;
    while (session->epoch < recipe->epochs)
        if (!train_epoch(session, recipe->epoch_steps, &first_bad, interrupted)) return;
}

bp_report_run bp_session_report(bp_session *session) {
    return (bp_report_run){.name = session->run_folder,
                           .model = session->model,
                           .diagnosis = session->watch ? bp_watch_diagnosis(session->watch) : NULL,
                           .end = session->end,
                           .network_text = session->network.text,
                           .edited = bp_network_edited,
                           .context = &session->network};
}

uint32_t bp_session_n_open_errors(bp_session *session) {
    uint32_t open = 0;
    if (!session->watch) return 0;
    bp_diagnosis *diagnosis = bp_watch_diagnosis(session->watch);
    for (uint32_t i = 0; i < bp_diagnosis_n_findings(diagnosis); i++) {
        const bp_finding *finding = bp_diagnosis_finding(diagnosis, i);
        if (finding->severity == BP_ERROR && finding->open) open++;
    }
    return open;
}

static bp_score score_of(bp_session *session, const bp_part *part) {
    return part->n > 0 ? bp_trainer_evaluate(session->trainer, part) : (bp_score){NAN, NAN};
}

static bp_status save_findings(bp_session *session, bp_error *error) {
    if (!session->watch) return BP_OK;
    char *json = NULL;
    bp_report_run run = bp_session_report(session);
    bp_status status = bp_report_json(&json, &run, true, error);
    if (status == BP_OK) status = write_in_folder(session, "findings.json", json, error);
    free(json);
    return status;
}

bp_status bp_session_save(bp_session *session, bp_error *error) {
    session->final_train = score_of(session, &session->dataset->train);
    session->final_validation = score_of(session, &session->dataset->validation);
    session->final_test = score_of(session, &session->dataset->test);
    bp_status findings = save_findings(session, error);
    char *path = bp_path_join(session->run_folder, "weights.safetensors");
    bp_error *unless_told = findings == BP_OK ? error : NULL;
    bp_status weights = path ? bp_trainer_save(session->trainer, path, unless_told)
                             : bp_fail(unless_told, BP_ERROR_MEMORY, "out of memory");
    free(path);
    return findings == BP_OK ? weights : findings;
}

bp_status bp_session_close(bp_session *session, bp_error *error) {
    bp_status status = BP_OK;
    bp_trainer_observe(session->trainer, NULL);
    if (session->watch) status = bp_watch_close(session->watch, session->end, error);
    release(session);
    return status;
}
