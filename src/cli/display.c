/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/display.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_SCHEMA "backprobe.events/1"

static const char *number(char bytes[32], double value, int digits) {
    return isnan(value) ? "–" : bp_number_text(bytes, 32, value, digits);
}

static void on_step(void *context, const bp_session *session) {
    bp_display *view = context;
    bp_progress_step(&view->progress, session);
}

static void epoch_text(const bp_session *session) {
    char loss[32], validation[32], accuracy[32];
    int64_t epochs = bp_model_recipe(session->model)->epochs;
    printf("epoch %*" PRId64 "/%" PRId64 " · loss %s", snprintf(NULL, 0, "%" PRId64, epochs),
           session->epoch, epochs,
           bp_number_text(loss, sizeof loss, session->standing.epoch_loss, 3));
    if (session->dataset->validation.n > 0)
        printf(" · validation loss %s",
               bp_number_text(validation, sizeof validation, session->standing.validation.loss, 3));
    if (session->dataset->validation.n > 0 && !isnan(session->standing.validation.accuracy))
        printf(", accuracy %s",
               bp_number_text(accuracy, sizeof accuracy, session->standing.validation.accuracy, 3));
    putchar('\n');
    fflush(stdout);
}

static void add_score(bp_json_line *line, const char *loss, const char *accuracy,
                      const bp_part *part, const bp_score *score) {
    if (part->n == 0) return;
    bp_json_line_number(line, loss, score->loss);
    if (!isnan(score->accuracy)) bp_json_line_number(line, accuracy, score->accuracy);
}

static void epoch_json(const bp_session *session) {
    bp_json_line line = {stdout, false};
    bp_json_line_text(&line, "event", "epoch");
    bp_json_line_integer(&line, "epoch", session->epoch);
    bp_json_line_integer(&line, "steps", session->standing.step);
    bp_json_line_number(&line, "seconds", session->standing.seconds);
    bp_json_line_number(&line, "loss", session->standing.epoch_loss);
    add_score(&line, "validation_loss", "validation_accuracy", &session->dataset->validation,
              &session->standing.validation);
    bp_json_line_end(&line);
}

static void on_epoch(void *context, const bp_session *session) {
    bp_display *view = context;
    if (view->kind != BP_DISPLAY_TEXT && view->kind != BP_DISPLAY_JSON) return;
    bp_progress_clear(&view->progress);
    if (view->kind == BP_DISPLAY_TEXT)
        epoch_text(session);
    else
        epoch_json(session);
}

static bool shown_before(bp_display *view, const bp_finding *finding) {
    for (uint32_t i = 0; i < view->n_shown; i++)
        if (view->shown[i].problem == finding->problem &&
            view->shown[i].since_step == finding->since_step)
            return true;
    if (view->n_shown < BP_DISPLAY_MAX_SHOWN) {
        view->shown[view->n_shown].problem = finding->problem;
        view->shown[view->n_shown++].since_step = finding->since_step;
    }
    return false;
}

static void finding_json(const bp_session *session, const bp_report_run *run,
                         const bp_finding *finding) {
    char *json = NULL;
    if (bp_report_finding_json(&json, run, finding, NULL) != BP_OK) return;
    bp_json_line line = {stdout, false};
    bp_json_line_text(&line, "event", "finding");
    bp_json_line_integer(&line, "steps", session->standing.step);
    bp_json_line_json(&line, "finding", json);
    bp_json_line_end(&line);
    free(json);
}

static void on_finding(void *context, const bp_session *session, const bp_finding *finding) {
    bp_display *view = context;
    if (view->kind == BP_DISPLAY_SILENT || view->kind == BP_DISPLAY_MUTE) return;
    if (!bp_choice_shows(view->choice, session->model, finding)) return;
    /* The session outlives the call; the report only reads it, but for the scratch of a diff. */
    bp_network network = {session->network.path, session->network.text, NULL};
    bp_report_run run = {.name = session->run_folder,
                         .model = session->model,
                         .diagnosis = bp_watch_diagnosis(session->watch),
                         .network_text = network.text,
                         .edited = bp_network_edited,
                         .context = &network};
    bp_progress_clear(&view->progress);
    if (view->kind == BP_DISPLAY_JSON)
        finding_json(session, &run, finding);
    else if (shown_before(view, finding) || finding->parent >= 0)
        bp_report_headline(stdout, &view->style, finding);
    else
        bp_report_finding(stdout, &view->style, &run, finding);
    fflush(stdout);
    free(network.edited);
}

static void on_message(void *context, const bp_session *session, const char *text) {
    bp_display *view = context;
    (void)session;
    bp_progress_clear(&view->progress);
    bp_say("%s", text);
}

static void on_checkpoint(void *context, const bp_session *session, const char *path, bool best) {
    const bp_display *view = context;
    if (view->kind != BP_DISPLAY_JSON) return;
    bp_json_line line = {stdout, false};
    bp_json_line_text(&line, "event", "checkpoint");
    bp_json_line_integer(&line, "steps", session->standing.step);
    bp_json_line_text(&line, "path", path);
    bp_json_line_flag(&line, "best", best);
    bp_json_line_end(&line);
}

bp_display bp_display_begin(bp_display_kind kind, const bp_report_style *style) {
    return (bp_display){
        .kind = kind,
        .style = *style,
        .progress = bp_progress_begin(kind == BP_DISPLAY_TEXT || kind == BP_DISPLAY_SILENT)};
}

bp_session_listener bp_display_listener(bp_display *view) {
    return (bp_session_listener){view, on_step, on_epoch, on_finding, on_message, on_checkpoint};
}

static int64_t n_parameters(const bp_session *session) {
    int64_t n = 0;
    for (size_t i = 0; i < bp_trainer_n_parameters(session->trainer); i++)
        n += bp_tensor_count(&bp_trainer_parameter(session->trainer, i)->value);
    return n;
}

void bp_display_start(bp_display *view, bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    const bp_dataset *data = session->dataset;
    if (view->kind == BP_DISPLAY_TEXT) {
        bp_report_escaped(stdout, session->network.path);
        printf(": %u layers, %" PRId64 " parameters · %s: %" PRId64 " samples · %" PRId64
               " epochs of %" PRId64 " steps\n",
               bp_model_n_layers(session->model), n_parameters(session), data->name, data->train.n,
               recipe->epochs, recipe->epoch_steps);
        if (session->resumed_from >= 0)
            printf("going on from step %" PRId64 "\n", session->resumed_from);
        if (session->ranks.n_ranks > 1)
            printf("%d processes, each with a batch of %" PRId64 "\n", session->ranks.n_ranks,
                   recipe->batch);
        fflush(stdout);
    }
    if (view->kind != BP_DISPLAY_JSON) return;
    bp_json_line line = {stdout, false};
    bp_json_line_text(&line, "event", "start");
    bp_json_line_text(&line, "schema", EVENTS_SCHEMA);
    bp_json_line_text(&line, "version", bp_version());
    bp_json_line_text(&line, "network", session->network.path);
    bp_json_line_text(&line, "run", session->run_folder);
    bp_json_line_text(&line, "data", data->name);
    bp_json_line_integer(&line, "layers", bp_model_n_layers(session->model));
    bp_json_line_integer(&line, "parameters", n_parameters(session));
    bp_json_line_integer(&line, "epochs", recipe->epochs);
    bp_json_line_integer(&line, "epoch_steps", recipe->epoch_steps);
    bp_json_line_integer(&line, "processes", session->ranks.n_ranks);
    if (session->resumed_from >= 0)
        bp_json_line_integer(&line, "resumed_from", session->resumed_from);
    bp_json_line_end(&line);
}

static const char *end_word(bp_run_end end) {
    return end == BP_RUN_FINISHED ? "finished" : end == BP_RUN_STOPPED ? "stopped" : "interrupted";
}

static void end_findings(bp_display *view, bp_session *session) {
    bp_findings findings;
    if (!session->watch) {
        printf("  findings   not watched\n");
        return;
    }
    bp_findings_choose(&findings, bp_watch_diagnosis(session->watch), session->model, view->choice);
    printf(findings.n == 0 ? "  findings   none" : "  findings   %u", findings.n);
    printf(findings.n_ignored > 0 ? " (%u ignored)\n" : "\n", findings.n_ignored);
    for (uint32_t i = 0; i < findings.n; i++) {
        printf(findings.list[i].parent >= 0 ? "      └ " : "    ");
        bp_report_headline(stdout, &view->style, &findings.list[i]);
    }
    if (findings.n == 0) return;
    printf("  see        backprobe check ");
    bp_report_escaped(stdout, session->run_folder);
    putchar('\n');
}

/* One line of the table: what is not known is left out. */
static void put_score(const char *label, double train, double validation, double test) {
    const double values[3] = {train, validation, test};
    char text[32];
    printf("  %-10s", label);
    for (int i = 0; i < 3; i++) printf(" %10s", number(text, values[i], 3));
    putchar('\n');
}

static void put_scores(const bp_session *session) {
    const bp_score *train = &session->final_train, *validation = &session->final_validation;
    const bp_score *test = &session->final_test;
    printf("  %-10s %10s %10s %10s\n", "", "train", "validation", "test");
    put_score("loss", train->loss, validation->loss, test->loss);
    if (!isnan(train->accuracy))
        put_score("accuracy", train->accuracy, validation->accuracy, test->accuracy);
}

static void put_best(const bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    char text[32];
    if (isfinite(session->standing.best_loss))
        printf("  best       validation loss %s after epoch %" PRId64 "\n",
               bp_number_text(text, sizeof text, session->standing.best_loss, 3),
               session->standing.best_step / recipe->epoch_steps);
}

/* A stopped run would come to the same end again. */
static void put_go_on(const bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    const bool has_checkpoint = session->checkpoints.last_step == session->standing.step;
    if (!session->checkpoints.folder || !has_checkpoint || session->end == BP_RUN_STOPPED) return;
    printf("  go on      backprobe train --resume ");
    bp_report_escaped(stdout, session->run_folder);
    if (session->end == BP_RUN_FINISHED) printf(" --epochs %" PRId64, 2 * recipe->epochs);
    putchar('\n');
}

static void put_speed(const bp_session *session) {
    const bp_recipe *recipe = bp_model_recipe(session->model);
    char seconds[32];
    const double samples = (double)session->standing.step * (double)recipe->train_samples /
                           (double)recipe->epoch_steps;
    printf("%s after %" PRId64 " steps, %s s",
           session->end == BP_RUN_FINISHED ? "trained" : end_word(session->end),
           session->standing.step,
           bp_number_text(seconds, sizeof seconds, session->standing.seconds, 2));
    if (session->standing.seconds > 0)
        printf(", %.0f samples/s", samples / session->standing.seconds);
    printf(session->end == BP_RUN_STOPPED ? ": %s\n" : "\n", session->stop_reason);
}

/* "0.2 s, 1.8% of the time; 312 of 9000 steps in full" */
static void put_watching(const bp_session *session) {
    char seconds[32], percent[32];
    if (!session->watch) return;
    const bp_event_watch cost = bp_watch_cost(session->watch);
    if (!(cost.run_seconds > 0) || cost.full_steps == 0) return;
    printf("  watching   %s s, %s%% of the time",
           bp_number_text(seconds, sizeof seconds, cost.watch_seconds, 2),
           bp_number_text(percent, sizeof percent, 100 * cost.watch_seconds / cost.run_seconds, 2));
    printf("; %" PRIu64 " of %" PRIu64 " steps in full\n", cost.full_steps,
           cost.full_steps + cost.light_steps);
}

static void end_text(bp_display *view, bp_session *session) {
    put_speed(session);
    put_scores(session);
    put_watching(session);
    printf("  run        ");
    bp_report_escaped(stdout, session->run_folder);
    putchar('\n');
    end_findings(view, session);
    put_best(session);
    put_go_on(session);
}

static void end_json(const bp_display *view, bp_session *session) {
    bp_json_line line = {stdout, false};
    const bp_dataset *data = session->dataset;
    bp_json_line_text(&line, "event", "end");
    bp_json_line_text(&line, "end", end_word(session->end));
    if (session->end == BP_RUN_STOPPED) bp_json_line_text(&line, "reason", session->stop_reason);
    bp_json_line_integer(&line, "steps", session->standing.step);
    bp_json_line_number(&line, "seconds", session->standing.seconds);
    add_score(&line, "train_loss", "train_accuracy", &data->train, &session->final_train);
    add_score(&line, "validation_loss", "validation_accuracy", &data->validation,
              &session->final_validation);
    add_score(&line, "test_loss", "test_accuracy", &data->test, &session->final_test);
    if (session->watch) {
        const bp_event_watch cost = bp_watch_cost(session->watch);
        bp_findings findings;
        bp_findings_choose(&findings, bp_watch_diagnosis(session->watch), session->model,
                           view->choice);
        bp_json_line_integer(&line, "findings", findings.n);
        bp_json_line_number(&line, "watch_seconds", cost.watch_seconds);
        bp_json_line_integer(&line, "full_steps", (int64_t)cost.full_steps);
        bp_json_line_integer(&line, "light_steps", (int64_t)cost.light_steps);
    }
    bp_json_line_text(&line, "run", session->run_folder);
    bp_json_line_end(&line);
}

void bp_display_end(bp_display *view, bp_session *session) {
    bp_progress_clear(&view->progress);
    if (view->kind == BP_DISPLAY_TEXT)
        end_text(view, session);
    else if (view->kind == BP_DISPLAY_JSON)
        end_json(view, session);
}
