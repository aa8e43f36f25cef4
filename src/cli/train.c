/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe train NET.yaml`. */
#include "cli/choice.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/folder.h"
#include "cli/plan.h"
#include "cli/session.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct train_options {
    bp_common_options common;
    bp_words set;
    int64_t epochs, seed; /* -1: as the file says */
    const char *run;
    bool watch;
    int64_t every; /* 0: by budget */
    const char *budget;
    double budget_fraction;
    const char *max_log; /* as given, and in bytes */
    uint64_t max_log_bytes;
    const char *weights, *resume;
    int64_t checkpoint_every;
    bool quiet, json, dry_run;
    bp_choice_options choice;
    bp_choice chosen; /* as read */
} train_options;

#define AT(member) offsetof(train_options, member)

static const bp_option options[] = {
    {"set", 's', BP_OPTION_LIST, "KEY=VALUE", NULL, 0, 0,
     "override a key of the network file; may be given several times", AT(set)},
    {"epochs", 'e', BP_OPTION_INTEGER, "N", NULL, 1, 1000000, "passes over the training data",
     AT(epochs)},
    {"seed", 0, BP_OPTION_INTEGER, "N", NULL, 0, 9007199254740991,
     "of all random numbers; the same seed gives the same run, bit for bit", AT(seed)},
    {"run", 'r', BP_OPTION_FILE, "FOLDER", NULL, 0, 0,
     "new folder for log, weights and findings; else runs/NAME-N", AT(run)},
    {"weights", 'w', BP_OPTION_FILE, "FILE", NULL, 0, 0,
     "start from these weights (safetensors) instead of the initialisers", AT(weights)},
    {"resume", 0, BP_OPTION_FILE, "RUN", NULL, 0, 0,
     "go on with the run in this folder, from its last checkpoint; only --epochs may change",
     AT(resume)},
    {"checkpoint-every", 0, BP_OPTION_INTEGER, "N", NULL, 0, 1000000,
     "save the state at every N-th epoch, 0 never; else at epochs, at most once a second",
     AT(checkpoint_every)},
    {"dry-run", 'n', BP_OPTION_FLAG, NULL, NULL, 0, 0,
     "show the network with shapes and numbers of parameters, and the recipe; train nothing",
     AT(dry_run)},
    {"watch", 0, BP_OPTION_SWITCH, NULL, NULL, 0, 0,
     "watch the gradients, keep a log, tell findings as they open; on unless told otherwise",
     AT(watch)},
    {"every", 0, BP_OPTION_INTEGER, "N", NULL, 1, 1000000000,
     "full statistics at every N-th step, whatever they cost", AT(every)},
    {"budget", 0, BP_OPTION_TEXT, "SHARE", NULL, 0, 0,
     "full statistics as often as this share of the time pays for: 1%, unless told otherwise; the "
     "loss and a check for NaN at every step",
     AT(budget)},
    {"max-log", 0, BP_OPTION_TEXT, "SIZE", NULL, 0, 0,
     "thin the old parts of a log that grows beyond this, but for the time around findings: 2G, "
     "unless told otherwise",
     AT(max_log)},
    BP_CHOICE_OPTIONS(train_options, "an open error, unless told otherwise"),
    {"quiet", 'q', BP_OPTION_FLAG, NULL, NULL, 0, 0, "print findings only", AT(quiet)},
    {"json", 0, BP_OPTION_FLAG, NULL, NULL, 0, 0,
     "print events (start, epoch, finding, checkpoint, end) as JSON, one a line", AT(json)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe train net.yaml", "train, watched; the run folder is runs/net-1"},
    {"backprobe train net.yaml --set train.learning_rate=0.01 --epochs 3",
     "the same network with another recipe"},
    {"backprobe train net.yaml --dry-run", "what would be trained"},
    {"backprobe train --resume runs/net-1 --epochs 40", "ten more epochs of a run of thirty"},
    {"mpirun -n 2 backprobe train net.yaml", "two processes, each with a batch of its own"},
    {"backprobe train net.yaml --json | jq .", "events for a program"},
    {NULL, NULL},
};

/* Handlers can reach nothing but a global. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    if (interrupted) _exit(BP_EXIT_INTERRUPTED);
    interrupted = 1;
}

static bp_status override(bp_network *network, const train_options *given, bp_error *error) {
    bp_status status = BP_OK;
    char number[32];
    for (size_t i = 0; status == BP_OK && i < given->set.n; i++) {
        char *key = given->set.items[i], *equals = strchr(key, '=');
        if (!equals || equals == key)
            return bp_fail(error, BP_ERROR_ARGUMENT, "--set: expected KEY=VALUE, got '%s'", key);
        *equals = '\0';
        status = bp_network_set(network, key, equals + 1, error);
    }
    if (status == BP_OK && given->epochs >= 0) {
        snprintf(number, sizeof number, "%lld", (long long)given->epochs);
        status = bp_network_set(network, "train.epochs", number, error);
    }
    if (status == BP_OK && given->seed >= 0) {
        snprintf(number, sizeof number, "%lld", (long long)given->seed);
        status = bp_network_set(network, "train.seed", number, error);
    }
    return status;
}

static bp_status read_network(bp_network *network, const char *path, const train_options *given,
                              bp_error *error) {
    const bp_status status = bp_network_read(network, path, error);
    return status == BP_OK ? override(network, given, error) : status;
}

static bp_status open_session(bp_session *session, const char *path, const train_options *given,
                              const bp_ranks *ranks, const bp_session_listener *listener,
                              bp_error *error) {
    bp_network network;
    const bp_session_options opening = {.run_folder = given->resume ? given->resume : given->run,
                                        .weights = given->weights,
                                        .watch = given->watch,
                                        .every = given->every,
                                        .budget_fraction = given->budget_fraction,
                                        .max_log_bytes = given->max_log_bytes,
                                        .resume = given->resume != NULL,
                                        .checkpoint_every = given->checkpoint_every,
                                        .ranks = ranks,
                                        .listener = listener};
    const bp_status status = read_network(&network, path, given, error);
    if (status == BP_OK) return bp_session_open(session, &network, &opening, error);
    bp_network_free(&network);
    return status;
}

static int exit_code(bp_run_end end, uint32_t n_failures) {
    if (end == BP_RUN_INTERRUPTED) return BP_EXIT_INTERRUPTED;
    return n_failures > 0 || end == BP_RUN_STOPPED ? BP_EXIT_FINDINGS : BP_EXIT_GOOD;
}

static int end_session(bp_session *session, bp_display *view, const train_options *given) {
    bp_error error = {.status = BP_OK};
    bool saved = bp_session_save(session, &error) == BP_OK;
    bp_display_end(view, session);
    const uint32_t n_failures =
        bp_session_n_open(session, &given->chosen, bp_fail_on(&given->choice));
    int code = exit_code(session->end, n_failures);
    if (!saved) bp_say_error(NULL, &error);
    /* A watch that went blind has said so: its log is not what the run was for. */
    bool blind = session->watch && bp_watch_status(session->watch, NULL) != BP_OK;
    const bp_status closed = bp_session_close(session, &error);
    if (closed != BP_OK && !blind) bp_say_error(NULL, &error);
    /* A log that is longer than it should be is a whole one. */
    const bool whole = closed == BP_OK || closed == BP_ERROR_LIMIT;
    return saved && (whole || blind) ? code : BP_EXIT_FAILED;
}

/* Of several processes rank 0 speaks. */
static int train(const char *path, const train_options *given, const bp_ranks *ranks) {
    bp_error error = {.status = BP_OK};
    bp_session session;
    bp_display_kind kind = given->json    ? BP_DISPLAY_JSON
                           : given->quiet ? BP_DISPLAY_QUIET
                                          : BP_DISPLAY_TEXT;
    if (ranks->rank != 0) kind = BP_DISPLAY_MUTE;
    bp_report_style style = bp_style_of(stdout, &given->common);
    bp_display view = bp_display_begin(kind, &style);
    view.choice = &given->chosen;
    bp_session_listener listener = bp_display_listener(&view);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    if (open_session(&session, path, given, ranks, &listener, &error) != BP_OK) {
        if (ranks->rank == 0) bp_say_error(path, &error);
        return BP_EXIT_FAILED;
    }
    bp_display_start(&view, &session);
    bp_session_train(&session, &interrupted);
    return end_session(&session, &view, given);
}

static int dry_run(const char *path, const train_options *given) {
    bp_error error = {.status = BP_OK};
    bp_network network;
    bp_status status = read_network(&network, path, given, &error);
    if (status == BP_OK) status = bp_plan_show(&network, given->json, &error);
    bp_network_free(&network);
    if (status != BP_OK) bp_say_error(path, &error);
    return status == BP_OK ? BP_EXIT_GOOD : BP_EXIT_FAILED;
}

static int train_ranked(const char *path, const train_options *given) {
    bp_error error = {.status = BP_OK};
    bp_ranks ranks;
    if (bp_ranks_begin(&ranks, &error) != BP_OK) {
        bp_say_error(NULL, &error);
        return BP_EXIT_FAILED;
    }
    const int code = train(path, given, &ranks);
    bp_ranks_end();
    return code;
}

/* "2%" or "0.02". */
static int read_budget(train_options *given) {
    char number[32];
    const size_t length = given->budget ? strlen(given->budget) : 0;
    if (!given->budget) return BP_EXIT_GOOD;
    if (given->every > 0)
        return bp_usage_error(&bp_command_train, "--every and --budget exclude each other");
    const bool percent = length > 0 && given->budget[length - 1] == '%';
    snprintf(number, sizeof number, "%.*s", (int)(length - percent), given->budget);
    if (length < sizeof number && bp_parse_number(number, &given->budget_fraction)) {
        if (percent) given->budget_fraction /= 100;
        if (given->budget_fraction > 0 && given->budget_fraction <= 1) return BP_EXIT_GOOD;
    }
    return bp_usage_error(&bp_command_train,
                          "--budget: expected a share above 0 and at most 100%%, such as 2%% or "
                          "0.02, got '%s'",
                          given->budget);
}

/* 1M at least, so that there is something to thin. */
static int read_max_log(train_options *given) {
    if (!given->max_log || (bp_parse_size(given->max_log, &given->max_log_bytes) &&
                            given->max_log_bytes >= (uint64_t)1 << 20))
        return BP_EXIT_GOOD;
    return bp_usage_error(&bp_command_train,
                          "--max-log: expected a size of at least 1M, such as 500M or 2G, got '%s'",
                          given->max_log);
}

/* A run that goes on is told by its folder, and keeps its settings. */
static int check_given(const train_options *given, const bp_words *arguments) {
    const bp_command *self = &bp_command_train;
    if (!given->resume && arguments->n == 0)
        return bp_usage_error(self, "expected NET.yaml or --resume RUN");
    if (!given->resume) return BP_EXIT_GOOD;
    if (arguments->n > 0)
        return bp_usage_error(self,
                              "--resume RUN goes on with the run's own network file: NET.yaml "
                              "does not go with it");
    if (given->set.n > 0 || given->seed >= 0 || given->weights || given->run)
        return bp_usage_error(self, "with --resume only --epochs may change: --set, --seed, "
                                    "--weights and --run do not go with it");
    return BP_EXIT_GOOD;
}

static int train_or_show(const char *path, const train_options *given) {
    return given->dry_run ? dry_run(path, given) : train_ranked(path, given);
}

/* The network file: that of the run which goes on, or the one that is named. */
static int train_file(const train_options *given, const bp_words *arguments) {
    if (!given->resume) return train_or_show(arguments->items[0], given);
    char *path = bp_path_join(given->resume, "network.yaml");
    if (!path) {
        bp_say("out of memory");
        return BP_EXIT_FAILED;
    }
    const int code = train_or_show(path, given);
    free(path);
    return code;
}

static int run(int argc, char **argv) {
    train_options given = {.common = BP_COMMON_DEFAULTS,
                           .epochs = -1,
                           .seed = -1,
                           .watch = true,
                           .checkpoint_every = BP_CHECKPOINT_AUTO,
                           .choice = {.fail_on = "error"}};
    bp_words arguments;
    int code = bp_options_parse(&bp_command_train, argc, argv, &given, &arguments);
    if (code < 0) {
        code = read_budget(&given);
        if (code == BP_EXIT_GOOD) code = read_max_log(&given);
        if (code == BP_EXIT_GOOD) code = check_given(&given, &arguments);
        if (code == BP_EXIT_GOOD)
            code = bp_choice_read(&bp_command_train, &given.chosen, &given.choice);
        if (code < 0) code = train_file(&given, &arguments);
    }
    bp_choice_free(&given.chosen);
    bp_options_free(&bp_command_train, &given);
    return code;
}

const bp_command bp_command_train = {
    .name = "train",
    .summary = "train a network file in C, watched",
    .arguments = "[NET.yaml]",
    .description = "Trains the network that a file describes on its data set, watches the "
                   "gradients and tells findings as they open. The run folder gets the log, the "
                   "network file as used, checkpoints (the last two and the best), the weights and "
                   "the findings. An interrupt (Ctrl-C) saves and summarises; a second one leaves "
                   "at once. A run that ended in any way goes on with --resume, bit for bit as if "
                   "it had not been interrupted. Under mpirun each process trains on its share of "
                   "every batch.",
    .exits = "0 trained, 1 a finding that counts is open at the end, 2 could not, 130 interrupted",
    .options = options,
    .examples = examples,
    .min_arguments = 0,
    .max_arguments = 1,
    .run = run,
};
