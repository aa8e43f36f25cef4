/* SPDX-License-Identifier: Apache-2.0 */
/* One training run of the accuracy benchmark, recorded.
 *
 *   accuracy_record NET.yaml FOLDER EVERY [FAULT ...]
 *
 * Trains the network that the file describes, watched at every EVERY-th step (or by a budget:
 * "2%"), with faults that faults.h describes. FOLDER, which must exist, gets the log,
 * `evidence.jsonl` for the rules of other tools, `outcome.json` with the losses of all steps and
 * what each epoch came to, and the findings of the live run (`live.json`) and of a reader that
 * followed its log while it grew
 * (`followed.json`). Exit codes: 0 recorded, 2 not. */
#include "evidence.h"
#include "faults.h"
#include "findings.h"

#include <backprobe/netfile.h>
#include <backprobe/train.h>
#include <backprobe/watch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVIDENCE_EVERY 10
#define MAX_FAULTS 8
#define VALIDATION_MAX 500        /* samples: an evaluation is no part of what is measured */
#define STEPS_AFTER_NON_FINITE 20 /* as `backprobe train` has it */

typedef struct run {
    const char *folder;
    bench_fault faults[MAX_FAULTS];
    int n_faults;
    bp_model *model;
    bp_dataset *dataset;
    bp_trainer *trainer;
    bp_watch *watch;
    evidence *evidence;
    FILE *evidence_file, *outcome;
    follower *follower;
    int n_epochs;
    bp_run_end end;
} run;

static void must(bool good, const char *what, const bp_error *error) {
    if (good) return;
    fprintf(stderr, "accuracy_record: %s%s%s\n", what, error ? ": " : "", error ? error->text : "");
    exit(2);
}

static FILE *open_in(const char *folder, const char *name) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    must(file != NULL, path, NULL);
    return file;
}

/* The text goes into the run folder too: `backprobe check` shows remedies as edits of it. */
static void read_network(run *r, const char *path) {
    static char text[1 << 16];
    bp_error error;
    bp_netfile *file;
    FILE *from = fopen(path, "r");
    must(from != NULL, path, NULL);
    const size_t n = fread(text, 1, sizeof text, from);
    fclose(from);
    must(n < sizeof text, "a network file that long", NULL);
    FILE *copy = open_in(r->folder, "network.yaml");
    must(fwrite(text, 1, n, copy) == n && fclose(copy) == 0, "network.yaml", NULL);
    must(bp_netfile_parse(&file, path, text, n, NULL, &error) == BP_OK, path, &error);
    must(bp_netfile_model(file, &r->model, &error) == BP_OK, path, &error);
    must(bp_dataset_open_source(&r->dataset, bp_netfile_data(file, NULL, NULL), NULL, &error) ==
             BP_OK,
         "data", &error);
    bp_netfile_close(file);
}

static void open_watch(run *r, const char *every) {
    bp_error error;
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.run_folder = r->folder;
    if (strchr(every, '%'))
        options.budget_fraction = atof(every) / 100;
    else
        options.every = atoll(every);
    must(bp_watch_open(&r->watch, r->model, &options, &error) == BP_OK, "watch", &error);
    r->evidence_file = open_in(r->folder, "evidence.jsonl");
    r->evidence =
        evidence_open(r->model, bp_watch_observer(r->watch), r->evidence_file, EVIDENCE_EVERY);
    r->follower = follower_open(r->folder);
    must(r->evidence && r->follower, "out of memory", NULL);
    bp_trainer_observe(r->trainer, evidence_observer(r->evidence));
}

static void open_run(run *r, const char *network, const char *every) {
    bp_error error;
    read_network(r, network);
    const uint64_t seed = bp_model_recipe(r->model)->seed;
    for (int i = 0; i < r->n_faults; i++)
        must(fault_data(&r->faults[i], &r->dataset, seed), r->faults[i].name, NULL);
    if (r->dataset->validation.n > VALIDATION_MAX) r->dataset->validation.n = VALIDATION_MAX;
    must(bp_model_set_input(r->model, r->dataset->input_shape, &error) == BP_OK, network, &error);
    must(bp_trainer_open(&r->trainer, r->model, r->dataset, NULL, &error) == BP_OK, network,
         &error);
    open_watch(r, every);
}

static void number(FILE *file, const char *key, double value) {
    fprintf(file, "\"%s\": ", key);
    evidence_number(file, value);
}

static void end_epoch(run *r, double train_loss) {
    const bp_observer *watch = bp_watch_observer(r->watch);
    const bp_score seen = bp_trainer_evaluate(r->trainer, &r->dataset->validation);
    bp_part some = r->dataset->train;
    if (some.n > VALIDATION_MAX) some.n = VALIDATION_MAX;
    const bp_score own = bp_trainer_evaluate(r->trainer, &some);
    if (r->dataset->validation.n > 0) {
        watch->scalar(watch->context, BP_METRIC_VALIDATION_LOSS, seen.loss);
        if (!isnan(seen.accuracy))
            watch->scalar(watch->context, BP_METRIC_VALIDATION_ACCURACY, seen.accuracy);
    }
    fprintf(r->outcome, "%s{\"step\": %lld, ", r->n_epochs++ > 0 ? ",\n  " : "",
            (long long)bp_trainer_steps_done(r->trainer));
    number(r->outcome, "mean_loss", train_loss);
    fputs(", ", r->outcome);
    number(r->outcome, "train_loss", own.loss);
    fputs(", ", r->outcome);
    number(r->outcome, "train_accuracy", own.accuracy);
    fputs(", ", r->outcome);
    number(r->outcome, "validation_loss", seen.loss);
    fputs(", ", r->outcome);
    number(r->outcome, "validation_accuracy", seen.accuracy);
    fputs("}", r->outcome);
    must(follower_read(r->follower), "the log cannot be followed", NULL);
}

/* Returns the loss of the step. */
static double step(run *r) {
    for (int i = 0; i < r->n_faults; i++) fault_step(&r->faults[i], r->trainer, r->dataset);
    return bp_trainer_step(r->trainer);
}

/* All epochs, or until the loss has not been finite for a while. Losses are the caller's. */
static int64_t train(run *r, double *losses) {
    const bp_recipe *recipe = bp_model_recipe(r->model);
    int64_t n = 0, n_bad = 0;
    r->end = BP_RUN_FINISHED;
    fputs("{\"epochs\": [\n  ", r->outcome);
    for (int64_t epoch = 0; epoch < recipe->epochs && r->end == BP_RUN_FINISHED; epoch++) {
        double sum = 0;
        for (int64_t i = 0; i < recipe->epoch_steps && r->end == BP_RUN_FINISHED; i++) {
            losses[n] = step(r);
            sum += losses[n];
            n_bad = isfinite(losses[n++]) ? 0 : n_bad + 1;
            if (n_bad > STEPS_AFTER_NON_FINITE) r->end = BP_RUN_STOPPED;
        }
        end_epoch(r, sum / (double)recipe->epoch_steps);
    }
    return n;
}

static void write_targets(run *r) {
    const bp_part *part = &r->dataset->train;
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < part->n * r->dataset->n_outputs; i++) {
        low = fmin(low, (double)part->targets[i]);
        high = fmax(high, (double)part->targets[i]);
    }
    fputs(", \"target_range\": [", r->outcome);
    evidence_number(r->outcome, low);
    fputs(", ", r->outcome);
    evidence_number(r->outcome, high);
    fputs("]", r->outcome);
}

static void write_kinds(run *r) {
    fputs(",\n\"activations\": {", r->outcome);
    for (uint32_t i = 1; i <= bp_model_n_layers(r->model); i++)
        fprintf(r->outcome, i > 1 ? ", \"%u\": \"%s\"" : "\"%u\": \"%s\"", i,
                bp_activation_name(bp_model_layer(r->model, i)->activation));
    fputs("}", r->outcome);
}

static void close_run(run *r, const double *losses, int64_t n) {
    bp_error error;
    const bp_recipe *recipe = bp_model_recipe(r->model);
    fputs("],\n", r->outcome);
    number(r->outcome, "trivial_loss", recipe->trivial_loss);
    fputs(", ", r->outcome);
    number(r->outcome, "chance_accuracy", recipe->chance_accuracy);
    write_targets(r);
    write_kinds(r);
    fprintf(r->outcome,
            ", \"planned_epochs\": %lld, \"epoch_steps\": %lld, \"turns\": %d,\n\"losses\": [",
            (long long)recipe->epochs, (long long)recipe->epoch_steps, follower_turns(r->follower));
    for (int64_t i = 0; i < n; i++) {
        if (i > 0) fputs(", ", r->outcome);
        evidence_number(r->outcome, losses[i]);
    }
    fputs("]}\n", r->outcome);
    must(findings_write(bp_watch_diagnosis(r->watch), r->folder, "live.json"), "live.json", NULL);
    must(bp_watch_close(r->watch, r->end, &error) == BP_OK, "watch", &error);
    must(follower_read(r->follower) && follower_diagnosis(r->follower), "no log to follow", NULL);
    must(findings_write(follower_diagnosis(r->follower), r->folder, "followed.json"),
         "followed.json", NULL);
    must(fclose(r->evidence_file) == 0 && fclose(r->outcome) == 0, r->folder, NULL);
    follower_close(r->follower);
    evidence_close(r->evidence);
    bp_trainer_close(r->trainer);
    bp_dataset_close(r->dataset);
    bp_model_close(r->model);
}

int main(int argc, char **argv) {
    run r = {0};
    if (argc < 4 || argc > 4 + MAX_FAULTS) {
        fprintf(stderr, "usage: accuracy_record NET.yaml FOLDER EVERY [FAULT ...]\n");
        return 2;
    }
    r.folder = argv[2];
    for (int i = 4; i < argc; i++)
        must(fault_read(&r.faults[r.n_faults++], argv[i]), argv[i], NULL);
    open_run(&r, argv[1], argv[3]);
    /* Complete only when its end is there: written under another name until then. */
    r.outcome = open_in(r.folder, "outcome.part");
    const bp_recipe *recipe = bp_model_recipe(r.model);
    double *losses = calloc((size_t)(recipe->epochs * recipe->epoch_steps), sizeof *losses);
    must(losses != NULL, "out of memory", NULL);
    close_run(&r, losses, train(&r, losses));
    free(losses);
    char from[4200], to[4200];
    snprintf(from, sizeof from, "%s/outcome.part", r.folder);
    snprintf(to, sizeof to, "%s/outcome.json", r.folder);
    must(rename(from, to) == 0, to, NULL);
    return 0;
}
