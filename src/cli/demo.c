/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe demo`: a vanishing, an exploding and a healthy network on real digits. Nothing is
 * staged: sessions as in `train`, findings from their logs as in `check`. */
#include "cli/demo.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/folder.h"
#include "cli/lesson.h"
#include "cli/report.h"
#include "replay/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const bp_demo_case bp_demo_cases[] = {
    {"vanishing", "A deep network of sigmoids",
     "Twenty layers, initialised as PyTorch does it by default, trained by SGD.",
     "# Twenty sigmoid layers as they come out of the box. Each passes on at most a quarter of the "
     "error\n"
     "# signal, so the early layers do not learn: a vanishing gradient.\n"
     "version: 1\n"
     "data: digits\n"
     "net: [20 x dense 64 sigmoid, dense 10]\n"
     "init: pytorch_default\n"
     "loss: cross_entropy\n"
     "train: {optimiser: sgd, learning_rate: 0.02, batch: 32, epochs: 15, seed: 1}\n",
     true},
    {"exploding", "A deep network with weights that are too large",
     "Ten layers of ReLUs whose initial weights are three times what He et al. advise.",
     "# Ten ReLU layers with weights three times as large as He et al. advise. Each layer makes "
     "the error\n"
     "# signal about three times larger: an exploding gradient, and soon NaN.\n"
     "version: 1\n"
     "data: digits\n"
     "net: [10 x dense 64 relu, dense 10]\n"
     "init: {weights: {he: {gain: 3}}, biases: zeros}\n"
     "loss: cross_entropy\n"
     "train: {optimiser: sgd, learning_rate: 0.05, batch: 32, epochs: 15, seed: 1}\n",
     true},
    {"healthy", "A healthy network", "Four layers of ReLUs with the initialisation made for them.",
     "# A small ReLU network with the initialisation made for it. Nothing is wrong here.\n"
     "version: 1\n"
     "data: digits\n"
     "net: [4 x dense 64 relu, dense 10]\n"
     "init: he\n"
     "loss: cross_entropy\n"
     "train: {optimiser: sgd, learning_rate: 0.05, batch: 32, epochs: 15, seed: 1}\n",
     false},
    {NULL, NULL, NULL, NULL, false},
};

typedef struct demo_options {
    bp_common_options common;
    const char *run;
    bool keep, pause;
    int64_t page;
} demo_options;

static const bp_option options[] = {
    {"run", 'r', BP_OPTION_FILE, "FOLDER", NULL, 0, 0,
     "new folder for the network files and runs; else runs/demo-N", offsetof(demo_options, run)},
    {"keep", 0, BP_OPTION_SWITCH, NULL, NULL, 0, 0,
     "keep that folder afterwards; on unless told otherwise", offsetof(demo_options, keep)},
    {"pause", 0, BP_OPTION_SWITCH, NULL, NULL, 0, 0,
     "lesson: wait between pages, where there is a terminal; on unless told otherwise",
     offsetof(demo_options, pause)},
    {"page", 'p', BP_OPTION_INTEGER, "N", NULL, 1, BP_LESSON_PAGES, "lesson: this page alone",
     offsetof(demo_options, page)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe demo", "see it work; takes seconds"},
    {"backprobe demo --no-keep", "and leave nothing behind"},
    {"backprobe demo lesson",
     "a short lecture on vanishing and exploding gradients, computed live"},
    {NULL, NULL},
};

typedef struct demo {
    const char *folder;
    bp_report_style style;
} demo;

typedef struct outcome {
    bp_score test;
    uint32_t n_findings;
    bool has_remedy;
} outcome;

static bp_status out_of_memory(bp_error *error) {
    return bp_fail(error, BP_ERROR_MEMORY, "out of memory");
}

/* Trains a network in <folder>/<name> as `train` does. */
static bp_status train(const demo *d, const char *name, const bp_network *network, outcome *result,
                       bp_error *error) {
    static const volatile sig_atomic_t never = 0;
    bp_session session;
    bp_network copy;
    bp_display view = bp_display_begin(BP_DISPLAY_SILENT, &d->style);
    bp_session_listener listener = bp_display_listener(&view);
    char *run = bp_path_join(d->folder, name);
    if (!run) return out_of_memory(error);
    bp_session_options opening = {
        .run_folder = run, .watch = true, .every = 1, .listener = &listener};
    bp_status status = bp_network_copy(&copy, network->path, network->text, error);
    if (status == BP_OK) status = bp_session_open(&session, &copy, &opening, error);
    if (status == BP_OK) {
        bp_session_train(&session, &never);
        bp_progress_clear(&view.progress);
        status = bp_session_save(&session, error);
        result->test = session.final_test;
        bp_status closed = bp_session_close(&session, status == BP_OK ? error : NULL);
        if (status == BP_OK) status = closed;
    }
    free(run);
    return status;
}

/* Applies the remedy of the first finding that has one to *network. */
static bp_status mend(bp_network *network, bp_report_run *run, outcome *result, bp_error *error) {
    for (uint32_t i = 0; i < bp_diagnosis_n_findings(run->diagnosis); i++) {
        const bp_finding *finding = bp_diagnosis_finding(run->diagnosis, i);
        bp_remedy *remedy = NULL;
        if (finding->parent >= 0) continue;
        bp_status status = bp_remedy_open(&remedy, run->model, finding, NULL, error);
        if (status != BP_OK) return status;
        if (!remedy) continue;
        result->has_remedy = true;
        for (uint32_t e = 0; status == BP_OK && e < remedy->n_edits; e++)
            status = bp_network_set(network, remedy->edits[e].key, remedy->edits[e].value, error);
        bp_remedy_close(remedy);
        return status;
    }
    return BP_OK;
}

/* Shows a run from its log as `check` does, and mends *network where mended is given. */
static bp_status check(const demo *d, const char *name, bp_network *mended, outcome *result,
                       bp_error *error) {
    bp_replay replay;
    char *path = bp_path_join(d->folder, name);
    if (!path) return out_of_memory(error);
    bp_status status = bp_replay_open(&replay, path, error);
    if (status == BP_OK) {
        bp_report_run run = bp_replay_report(&replay);
        result->n_findings = bp_diagnosis_n_findings(run.diagnosis);
        run.watching = NULL; /* at every step of so small a network: not what the demo is about */
        bp_report_text(stdout, &d->style, &run);
        if (mended) status = mend(mended, &run, result, error);
        bp_replay_close(&replay);
    }
    free(path);
    return status;
}

/* <folder>/<name>.yaml */
static bp_status write_network(const demo *d, const char *name, const char *text,
                               bp_network *network, bp_error *error) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s.yaml", d->folder, name) < 0) return out_of_memory(error);
    bp_status status =
        bp_io_write_file_atomic(&bp_io_system, path, text, strlen(text), NULL, error);
    if (status == BP_OK) status = bp_network_copy(network, path, text, error);
    free(path);
    return status;
}

static void put_accuracy(const outcome *before, const outcome *result) {
    char old[32], new[32], loss[32];
    printf("  accuracy on the test digits: ");
    if (before) printf("%s before → ", bp_number_text(old, sizeof old, before->test.accuracy, 3));
    printf("%s%s (loss %s)\n", bp_number_text(new, sizeof new, result->test.accuracy, 3),
           before ? " after" : "", bp_number_text(loss, sizeof loss, result->test.loss, 3));
}

/* Trains, checks and shows a network; *mended_text, where asked for, is what its remedy makes of
 * it, NULL without one; released with free(). */
static bp_status show(const demo *d, const char *name, const char *text, const outcome *before,
                      char **mended_text, outcome *result, bp_error *error) {
    bp_network network = {0}, mended = {0};
    *result = (outcome){.test = {NAN, NAN}};
    bp_status status = write_network(d, name, text, &network, error);
    if (status == BP_OK) status = train(d, name, &network, result, error);
    if (status == BP_OK && mended_text)
        status = bp_network_copy(&mended, network.path, network.text, error);
    if (status == BP_OK) status = check(d, name, mended_text ? &mended : NULL, result, error);
    if (status == BP_OK) put_accuracy(before, result);
    if (status == BP_OK && mended_text && result->has_remedy) *mended_text = strdup(mended.text);
    bp_network_free(&network);
    bp_network_free(&mended);
    fflush(stdout);
    return status;
}

static bool helped(const outcome *before, const outcome *after) {
    bool better = !(after->test.accuracy <= before->test.accuracy);
    return before->n_findings > 0 && after->n_findings == 0 && better;
}

static bp_status sick_case(const demo *d, const bp_demo_case *c, bool *expected, bp_error *error) {
    outcome before, after;
    char *text = NULL, name[64];
    bp_status status = show(d, c->name, c->text, NULL, &text, &before, error);
    if (status != BP_OK) return status;
    if (!text) {
        printf("  no remedy was found\n");
        *expected = false;
        return BP_OK;
    }
    snprintf(name, sizeof name, "%s-mended", c->name);
    printf("\nThe remedy, applied to %s/%s.yaml, and trained again:\n\n", d->folder, name);
    fflush(stdout);
    status = show(d, name, text, &before, NULL, &after, error);
    free(text);
    if (status != BP_OK) return status;
    if (!helped(&before, &after)) *expected = false;
    return BP_OK;
}

static bp_status healthy_case(const demo *d, const bp_demo_case *c, bool *expected,
                              bp_error *error) {
    outcome result;
    bp_status status = show(d, c->name, c->text, NULL, NULL, &result, error);
    if (status == BP_OK && result.n_findings > 0) *expected = false;
    return status;
}

static bp_status run_cases(const demo *d, bool *expected, bp_error *error) {
    for (const bp_demo_case *c = bp_demo_cases; c->name; c++) {
        printf("%s%d. %s%s\n%s\n\n", d->style.colour ? "\033[1m" : "", (int)(c - bp_demo_cases) + 1,
               c->title, d->style.colour ? "\033[0m" : "", c->says);
        fflush(stdout);
        bp_status status =
            c->sick ? sick_case(d, c, expected, error) : healthy_case(d, c, expected, error);
        if (status != BP_OK) return status;
        putchar('\n');
    }
    return BP_OK;
}

static void put_next(const char *folder) {
    printf("All of it is in %s; go on with\n"
           "  backprobe check %s/vanishing\n"
           "  backprobe train %s/vanishing.yaml --set train.optimiser=adam\n"
           "  backprobe explain vanishing-gradient\n",
           folder, folder, folder);
    fflush(stdout);
}

/* The sick run and the mended one as a page: the last line, which is what remains to be read. */
static bp_status write_page(const char *folder, bp_error *error) {
    char *page = bp_path_join(folder, "vanishing.html");
    char *runs[] = {bp_path_join(folder, "vanishing"), bp_path_join(folder, "vanishing-mended")};
    bp_status status =
        page && runs[0] && runs[1] ? bp_report_write(runs, 2, page, error) : out_of_memory(error);
    if (status == BP_OK) printf("To see it, open %s in a browser; it can be mailed.\n", page);
    free(page);
    free(runs[0]);
    free(runs[1]);
    if (status != BP_ERROR_NOT_SUPPORTED) return status;
    bp_say("no page to look at: %s", error->text);
    return BP_OK;
}

static int demonstrate(const demo_options *given) {
    bp_error error = {.status = BP_OK};
    bool made = true, expected = true;
    char *folder = NULL;
    bp_status status;
    if (given->run) {
        folder = strdup(given->run);
        status = folder ? bp_folder_make(folder, &made, &error) : out_of_memory(&error);
    } else {
        status = bp_folder_make_numbered(&folder, "demo", &error);
    }
    demo d = {folder, bp_style_of(stdout, &given->common)};
    bool began = status == BP_OK;
    if (status == BP_OK) status = run_cases(&d, &expected, &error);
    if (status != BP_OK) bp_say_error(NULL, &error);
    if (status == BP_OK && !expected) bp_say("the demo did not go as it should: please report it");
    if (status == BP_OK && given->keep) {
        put_next(folder);
        status = write_page(folder, &error);
        if (status != BP_OK) bp_say_error(NULL, &error);
    }
    if (began && made && !given->keep) bp_folder_remove(folder, 1);
    free(folder);
    return status != BP_OK ? BP_EXIT_FAILED : expected ? BP_EXIT_GOOD : BP_EXIT_FINDINGS;
}

static int run(int argc, char **argv) {
    static const char *const known[] = {"lesson"};
    demo_options given = {.common = BP_COMMON_DEFAULTS, .keep = true, .pause = true};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_demo, argc, argv, &given, &arguments);
    if (code >= 0) return code;
    if (arguments.n == 0) return demonstrate(&given);
    if (strcmp(arguments.items[0], known[0]) != 0) {
        const char *meant = bp_nearest_word(arguments.items[0], known, 1);
        bp_say("demo: unexpected argument '%s'%s%s%s", arguments.items[0],
               meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
        bp_say("try 'backprobe demo --help'");
        return BP_EXIT_FAILED;
    }
    return bp_lesson(&given.common, given.pause, given.page);
}

const bp_command bp_command_demo = {
    .name = "demo",
    .summary = "see it find, explain and mend; takes seconds",
    .arguments = "[lesson]",
    .description =
        "Trains a vanishing, an exploding and a healthy network on real digits, shows "
        "what Backprobe finds, applies its remedies and trains again; what it saw of the first "
        "is a page to be opened in a browser. `demo lesson` is a "
        "lecture in six pages on vanishing and exploding gradients and overfitting; all "
        "of its numbers are computed while it is told.",
    .exits = "0 as expected, 1 not as expected, 2 could not",
    .options = options,
    .examples = examples,
    .max_arguments = 1,
    .run = run,
};
