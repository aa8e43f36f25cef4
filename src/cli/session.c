/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"
#include "cli/folder.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* The folder of the network file: where relative paths in it begin. Released with free(). */
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup("");
}

/* The data room knows the source, not its place in the file. */
static bp_status open_data(bp_session *session, const bp_netfile *file, bp_error *error) {
    int32_t line, column;
    bp_error reason = {.status = BP_OK};
    bp_data_source source = *bp_netfile_data(file, &line, &column);
    char *folder = folder_of(session->network.path);
    source.folder = folder;
    const bp_status status = bp_dataset_open_source(&session->dataset, &source, NULL, &reason);
    free(folder);
    if (status == BP_ERROR_INPUT) return bp_fail_at(error, line, column, "%s", reason.text);
    if (status != BP_OK && error) *error = reason;
    return status;
}

/* Paths of the copy in the run folder do not begin there: relative ones are made absolute. */
static bp_status fix_paths(bp_session *session, const bp_netfile *file, bp_error *error) {
    const bp_data_source *source = bp_netfile_data(file, NULL, NULL);
    const bool two_files = source->format == BP_DATA_IDX || source->format == BP_DATA_NPY;
    const char *const paths[][2] = {{"data.path", source->path},
                                    {"data.test_path", source->test_path},
                                    {"data.targets", two_files ? source->targets : NULL},
                                    {"data.test_targets", source->test_targets}};
    char *folder = folder_of(session->network.path), *root = realpath(*folder ? folder : ".", NULL);
    bp_status status = BP_OK;
    for (size_t i = 0; i < sizeof paths / sizeof *paths && status == BP_OK; i++) {
        const char *path = paths[i][1];
        char value[2 * PATH_MAX];
        bp_text text;
        if (source->format == BP_DATA_NAMED || !path || *path == '/' || !root) continue;
        bp_text_init(&text, value, sizeof value);
        bp_text_add(&text, "\"%s/", root);
        for (; *path; path++)
            bp_text_add(&text, "%s%c", *path == '"' || *path == '\\' ? "\\" : "", *path);
        bp_text_add(&text, "\"");
        status = bp_network_set(&session->network, paths[i][0], value, error);
    }
    free(folder);
    free(root);
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
        status = bp_trainer_open_ranked(&session->trainer, session->model, session->dataset,
                                        &session->ranks, NULL, error);
    if (status == BP_OK && weights) status = bp_trainer_load(session->trainer, weights, error);
    if (status == BP_OK) status = fix_paths(session, file, error);
    bp_netfile_close(file);
    return status;
}

static bp_status make_new_folder(bp_session *session, const char *wanted, bool *made,
                                 bp_error *error) {
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

/* Rank 0 makes the folder; another process has one of its own in it, rank-N, for its log. */
static bp_status make_folder(bp_session *session, const bp_session_options *options, bool *made,
                             bp_error *error) {
    char shared[4096] = "";
    bp_status status = BP_OK;
    if (session->ranks.rank == 0) {
        if (options->resume)
            session->run_folder = strdup(options->run_folder);
        else
            status = make_new_folder(session, options->run_folder, made, error);
        if (status == BP_OK && session->run_folder)
            snprintf(shared, sizeof shared, "%s", session->run_folder);
    }
    if (session->ranks.n_ranks == 1) return status;
    bp_ranks_share_text(&session->ranks, shared, sizeof shared);
    if (session->ranks.rank == 0) return status;
    if (!*shared) return bp_fail(error, BP_ERROR_IO, "rank 0 has no run folder");
    if (asprintf(&session->run_folder, "%s/rank-%d", shared, session->ranks.rank) < 0) {
        session->run_folder = NULL;
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
    }
    if (mkdir(session->run_folder, 0777) == 0 || errno == EEXIST) return BP_OK;
    return bp_fail_os(error, errno, "cannot make the folder %s", session->run_folder);
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
    if (options->budget_fraction > 0) watch.budget_fraction = options->budget_fraction;
    watch.max_log_bytes = options->max_log_bytes;
    watch.on_finding = told_finding;
    watch.on_message = told_message;
    watch.context = session;
    watch.resumes = options->resume;
    watch.resume_step = session->standing.step;
    watch.ranked = session->ranks.n_ranks > 1;
    bp_status status = bp_watch_open(&session->watch, session->model, &watch, error);
    if (status == BP_OK) bp_trainer_observe(session->trainer, bp_watch_observer(session->watch));
    return status;
}

static void release(bp_session *session) {
    bp_checkpoints_close(&session->checkpoints);
    bp_trainer_close(session->trainer);
    bp_dataset_close(session->dataset);
    bp_model_close(session->model);
    bp_network_free(&session->network);
    free(session->run_folder);
    *session = (bp_session){0};
}

/* The run goes on where its last checkpoint stands. */
static bp_status resume(bp_session *session, const bp_session_options *options, bp_error *error) {
    int skipped;
    char text[200];
    if (!options->resume) return BP_OK;
    const bp_status status = bp_checkpoints_resume(session->trainer, options->run_folder,
                                                   &session->standing, &skipped, error);
    if (status != BP_OK) return status;
    const bp_recipe *recipe = bp_model_recipe(session->model);
    session->resumed_from = session->standing.step;
    session->epoch = session->standing.step / recipe->epoch_steps;
    const int64_t last = recipe->epochs * recipe->epoch_steps;
    if (session->standing.step > last)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "%s: trained for %lld steps already, more than the %lld of --epochs %lld",
                       options->run_folder, (long long)session->standing.step, (long long)last,
                       (long long)recipe->epochs);
    if (skipped == 0 || session->ranks.rank != 0) return BP_OK;
    snprintf(text, sizeof text,
             "%d newer checkpoint%s cannot be read; going on from the one of step %lld", skipped,
             skipped == 1 ? "" : "s", (long long)session->resumed_from);
    session->listener->on_message(session->listener->context, session, text);
    return BP_OK;
}

/* What rank 0 alone leaves in the run folder. */
static bp_status prepare_folder(bp_session *session, const bp_session_options *options,
                                bp_error *error) {
    if (session->ranks.rank != 0) return BP_OK;
    bp_status status = write_in_folder(session, "network.yaml", session->network.text, error);
    if (status == BP_OK && options->checkpoint_every != 0)
        status = bp_checkpoints_open(&session->checkpoints, session->run_folder, error);
    return status;
}

/* Where one process cannot begin, none does: the others would wait for it for ever. Rank 0 says why
 * it cannot itself; another process speaks where it is the only one that knows. */
static bp_status agree(const bp_session *session, bp_status status, bp_error *error) {
    const bp_ranks *ranks = &session->ranks;
    const bool failed = status != BP_OK, first = ranks->rank == 0;
    const bool first_failed = bp_ranks_any(ranks, failed && first);
    if (!bp_ranks_any(ranks, failed)) return BP_OK;
    if (!failed)
        return bp_fail(error, BP_ERROR_IO, "another process of this training could not begin");
    if (!first && !first_failed && error) {
        char text[BP_ERROR_TEXT_BYTES];
        snprintf(text, sizeof text, "process %d: %.400s", ranks->rank, error->text);
        session->listener->on_message(session->listener->context, session, text);
    }
    return status;
}

bp_status bp_session_open(bp_session *session, bp_network *network,
                          const bp_session_options *options, bp_error *error) {
    *session =
        (bp_session){.network = *network,
                     .listener = options->listener,
                     .ranks = options->ranks ? *options->ranks : (bp_ranks){.n_ranks = 1},
                     .checkpoint_every = options->checkpoint_every,
                     .resumed_from = -1,
                     .loss = NAN,
                     .standing = {.epoch_loss = NAN, .validation = {NAN, NAN}, .best_loss = NAN}};
    *network = (bp_network){0};
    bool made = false;
    bp_status status = open_trainer(session, options->weights, error);
    if (status == BP_OK) status = resume(session, options, error);
    status = agree(session, status, error);
    if (status == BP_OK)
        status = agree(session, make_folder(session, options, &made, error), error);
    if (status == BP_OK) {
        status = prepare_folder(session, options, error);
        if (status == BP_OK) status = open_watch(session, options, error);
        status = agree(session, status, error);
    }
    if (status == BP_OK) return BP_OK;
    if (made && options->run_folder) bp_folder_remove(session->run_folder, 1);
    if (made && !options->run_folder) bp_folder_remove_numbered(session->run_folder);
    bp_watch_close(session->watch, BP_RUN_STOPPED, NULL);
    release(session);
    return status;
}

bp_status bp_session_open_dry(bp_session *session, bp_network *network, bp_error *error) {
    *session = (bp_session){.network = *network, .ranks = {.n_ranks = 1}};
    *network = (bp_network){0};
    const bp_status status = open_trainer(session, NULL, error);
    if (status != BP_OK) release(session);
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

/* --- checkpoints ------------------------------------------------------------------------------ */

/* A checkpoint that cannot be written is told once; the training goes on, and the next one is tried
 * again: a full disk may be full for a while. */
static bool save_checkpoint(bp_session *session, bool best) {
    bp_error error = {.status = BP_OK};
    bp_checkpoints *checkpoints = &session->checkpoints;
    char *path = NULL;
    if (!checkpoints->folder) return false;
    if (!best && checkpoints->last_step == session->standing.step) return true;
    /* The log must reach as far as the checkpoint: nobody measures those steps again. */
    if (session->watch) (void)bp_watch_diagnosis(session->watch);
    const bp_status status =
        bp_checkpoints_save(checkpoints, session->trainer, &session->standing, best, &path, &error);
    if (status != BP_OK && !checkpoints->failed)
        session->listener->on_message(session->listener->context, session, error.text);
    checkpoints->failed = status != BP_OK;
    if (status != BP_OK) return false;
    const char *slash = strrchr(path, '/');
    if (session->watch)
        bp_watch_note_checkpoint(session->watch, session->standing.step, slash ? slash + 1 : path);
    session->listener->on_checkpoint(session->listener->context, session, path, best);
    free(path);
    return true;
}

#define SECONDS_BETWEEN_CHECKPOINTS 1.0

static bool is_due(const bp_session *session) {
    if (session->checkpoint_every != BP_CHECKPOINT_AUTO)
        return session->checkpoint_every > 0 && session->epoch % session->checkpoint_every == 0;
    const double now = bp_io_system.steady_clock(bp_io_system.context);
    return now - session->checkpoints.last_saved >= SECONDS_BETWEEN_CHECKPOINTS;
}

/* States that are not finite never take the place of good ones. */
static void keep_epoch(bp_session *session) {
    bp_standing *standing = &session->standing;
    const double loss = standing->validation.loss;
    if (!session->checkpoints.folder || !isfinite(standing->epoch_loss) ||
        has_non_finite_parameter(session->trainer))
        return;
    if (isfinite(loss) && !(loss >= standing->best_loss)) {
        const bp_standing before = *standing;
        standing->best_loss = loss;
        standing->best_step = standing->step;
        if (!save_checkpoint(session, true)) *standing = before;
    }
    if (is_due(session)) save_checkpoint(session, false);
}

/* --- training --------------------------------------------------------------------------------- */

static void validate(bp_session *session) {
    const bp_observer *observer = session->watch ? bp_watch_observer(session->watch) : NULL;
    const bp_part *part = &session->dataset->validation;
    if (part->n == 0) return;
    session->standing.validation = bp_trainer_evaluate(session->trainer, part);
    if (!observer) return;
    observer->scalar(observer->context, BP_METRIC_VALIDATION_LOSS,
                     session->standing.validation.loss);
    if (!isnan(session->standing.validation.accuracy))
        observer->scalar(observer->context, BP_METRIC_VALIDATION_ACCURACY,
                         session->standing.validation.accuracy);
}

static void end_epoch(bp_session *session, int64_t steps) {
    session->epoch++;
    session->standing.epoch_loss = session->standing.epoch_loss_sum / (double)steps;
    session->standing.epoch_loss_sum = 0;
    validate(session);
    session->listener->on_epoch(session->listener->context, session);
    keep_epoch(session);
}

static void train_step(bp_session *session) {
    const double begin = bp_io_system.steady_clock(bp_io_system.context);
    session->loss = bp_trainer_step(session->trainer);
    session->standing.seconds += bp_io_system.steady_clock(bp_io_system.context) - begin;
    session->standing.epoch_loss_sum += session->loss;
    session->standing.step++;
    session->listener->on_step(session->listener->context, session);
}

/* The rest of an epoch's steps; false when the training ends within it. */
static bool train_epoch(bp_session *session, int64_t steps, int64_t *first_bad,
                        const volatile sig_atomic_t *interrupted) {
    for (int64_t i = session->standing.step % steps; i < steps; i++) {
        if (bp_ranks_any(&session->ranks, *interrupted != 0)) {
            session->end = BP_RUN_INTERRUPTED;
            return false;
        }
        train_step(session);
        if (isfinite(session->loss))
            *first_bad = -1;
        else if (*first_bad < 0)
            *first_bad = session->standing.step - 1;
        if (*first_bad >= 0 && session->standing.step - *first_bad > STEPS_AFTER_NON_FINITE) {
            stop(session, *first_bad);
            return false;
        }
    }
    end_epoch(session, steps);
    return true;
}

void bp_session_train(bp_session *session, const volatile sig_atomic_t *interrupted) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    int64_t first_bad = -1;
    bool goes_on = true;
    session->end = BP_RUN_FINISHED;
    while (goes_on && session->epoch < recipe->epochs)
        goes_on = train_epoch(session, recipe->epoch_steps, &first_bad, interrupted);
    if (session->end != BP_RUN_STOPPED && !has_non_finite_parameter(session->trainer))
        save_checkpoint(session, false);
}

bp_report_run bp_session_report(bp_session *session) {
    if (session->watch) session->watching = bp_watch_cost(session->watch);
    return (bp_report_run){.name = session->run_folder,
                           .model = session->model,
                           .diagnosis = session->watch ? bp_watch_diagnosis(session->watch) : NULL,
                           .end = session->end,
                           .watching = session->watch ? &session->watching : NULL,
                           .network_text = session->network.text,
                           .edited = bp_network_edited,
                           .context = &session->network};
}

uint32_t bp_session_n_open(bp_session *session, const bp_choice *choice, int severity) {
    uint32_t open = 0;
    bp_findings findings;
    if (!session->watch || severity == 0) return 0;
    bp_findings_choose(&findings, bp_watch_diagnosis(session->watch), session->model, choice);
    for (uint32_t i = 0; i < findings.n; i++)
        if ((int)findings.list[i].severity >= severity && findings.list[i].open) open++;
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
    if (session->ranks.rank != 0) return BP_OK;
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
