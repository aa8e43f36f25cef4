/* SPDX-License-Identifier: Apache-2.0 */
/* The trainer's side of bench/train.py: one network of the table over random data in memory.
 *
 *   train NETWORK FOLDER EVERY [BATCH]
 *
 * Then it takes turns, a line each, and answers each with a line: `plain STEPS` and `watched STEPS`
 * (by a watch that looks at every EVERY-th step, 0: by its budget, its log in FOLDER) with the
 * seconds that they took; `full 0` and `told 0` with the number of steps that were looked at in
 * full and the seconds that the watch says it cost; `fma SECONDS` and `sgemm SECONDS` with the
 * flops per second of one core. */
#include "peak.h"

#include "watch/watch.h"
#include <backprobe/train.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 8192
#define CLASSES 10

#define MAX_ITEMS 8
#define DEFAULT {.kind = BP_INIT_PYTORCH_DEFAULT, .parameter = 1}
#define INITS .weight_init = DEFAULT, .bias_init = DEFAULT, .has_bias = true
#define DENSE(units, phi) \
    {.kind = BP_LAYER_DENSE, .output_shape = {units, 1, 1}, .activation = phi, INITS}
#define CONV(channels, side, pad)      \
    {.kind = BP_LAYER_CONV,            \
     .output_shape = {channels, 0, 0}, \
     .kernel = side,                   \
     .padding = pad,                   \
     .stride = 1,                      \
     .activation = BP_ACTIVATION_RELU, \
     INITS}
#define MAX_POOL(window) \
    {.kind = BP_LAYER_MAX_POOL, .pool = window, .activation = BP_ACTIVATION_LINEAR}

typedef struct bench_network {
    const char *name;
    int64_t shape[3];
    int64_t batch;
    struct {
        int times;
        bp_layer layer;
    } items[MAX_ITEMS];
} bench_network;

#define RELU BP_ACTIVATION_RELU
#define LAST {1, DENSE(CLASSES, BP_ACTIVATION_LINEAR)}

static const bench_network networks[] = {
    {"mlp", {784, 1, 1}, 64, {{2, DENSE(256, RELU)}, LAST}},
    {"small", {64, 1, 1}, 16, {{2, DENSE(32, RELU)}, LAST}},
    {"deep", {64, 1, 1}, 32, {{20, DENSE(64, RELU)}, LAST}},
    {"lenet",
     {1, 28, 28},
     32,
     {{1, CONV(6, 5, 2)},
      {1, MAX_POOL(2)},
      {1, CONV(16, 5, 0)},
      {1, MAX_POOL(2)},
      {1, DENSE(120, RELU)},
      {1, DENSE(84, RELU)},
      LAST}},
};

typedef struct bench_run { /* one trainer, with or without a watch */
    bp_model *model;
    bp_trainer *trainer;
    bp_watch *watch;
} bench_run;

static void must(bp_status status, const bp_error *error) {
    if (status == BP_OK) return;
    fprintf(stderr, "train: %s\n", error->text);
    exit(1);
}

static bench_network find(const char *name) {
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (strcmp(networks[i].name, name) == 0) return networks[i];
    fprintf(stderr, "train: unknown network '%s'\n", name);
    exit(2);
}

/* Evenly distributed inputs of variance 1, classes at random; a linear congruential generator
 * (Knuth) is good enough to be slow on. */
static bp_dataset *open_data(const bench_network *network) {
    const int64_t *shape = network->shape;
    const size_t n_inputs = (size_t)(SAMPLES * shape[0] * shape[1] * shape[2]);
    bp_real *inputs = malloc(n_inputs * sizeof *inputs);
    int32_t *classes = malloc(SAMPLES * sizeof *classes);
    bp_error error = {.text = "out of memory"};
    bp_dataset *dataset = NULL;
    if (!inputs || !classes) must(BP_ERROR_MEMORY, &error);
    uint64_t state = 1;
    for (size_t i = 0; i < n_inputs; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        inputs[i] = (float)(int32_t)(state >> 32) * 0x1.bb67aep-31f; /* sqrt(3) 2^-31 */
    }
    for (int i = 0; i < SAMPLES; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        classes[i] = (int32_t)((state >> 33) % CLASSES);
    }
    const bp_part part = {SAMPLES, inputs, classes, NULL};
    must(
        bp_dataset_from_memory(&dataset, "random", shape, CLASSES, &part, NULL, NULL, NULL, &error),
        &error);
    free(inputs);
    free(classes);
    return dataset;
}

static bp_model *open_model(const bench_network *network) {
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.01,
                              .batch = network->batch,
                              .epochs = 1,
                              .seed = 1};
    bp_error error = {.text = "out of memory"};
    bp_model *model;
    must(bp_model_open(&model, NULL), &error);
    for (int i = 0; i < MAX_ITEMS; i++)
        for (int j = 0; j < network->items[i].times; j++)
            must(bp_model_add_layer(model, &network->items[i].layer, NULL, &error), &error);
    must(bp_model_set_input(model, network->shape, &error), &error);
    bp_model_set_recipe(model, &recipe);
    return model;
}

/* The watch spends a share of its run's time: its clock stands while the other side has a turn. */
static double idle_seconds, last_turn_end;

static double clock_of_turns(void *context) {
    (void)context;
    return bench_seconds() - idle_seconds;
}

static const bp_io *io_of_turns(void) {
    static bp_io io;
    io = bp_io_system;
    io.steady_clock = clock_of_turns;
    last_turn_end = bench_seconds();
    return &io;
}

/* folder: of the watched run's log; NULL: nobody watches. */
static bench_run open_run(const bench_network *network, const bp_dataset *dataset,
                          const char *folder, int64_t every) {
    bench_run run = {.model = open_model(network)};
    bp_error error;
    must(bp_trainer_open(&run.trainer, run.model, dataset, NULL, &error), &error);
    if (folder) {
        bp_watch_options options = BP_WATCH_OPTIONS_INIT;
        options.run_folder = folder;
        options.every = every;
        must(bp_watch_open_with(&run.watch, run.model, &options, io_of_turns(), &error), &error);
        bp_trainer_observe(run.trainer, bp_watch_observer(run.watch));
    }
    return run;
}

static void close_run(bench_run *run) {
    bp_error error;
    if (run->watch) must(bp_watch_close(run->watch, BP_RUN_FINISHED, &error), &error);
    bp_trainer_close(run->trainer);
    bp_model_close(run->model);
}

static double train(bench_run *run, int64_t steps) {
    const double begin = bench_seconds();
    if (run->watch) idle_seconds += begin - last_turn_end;
    for (int64_t i = 0; i < steps; i++) bp_trainer_step(run->trainer);
    const double end = bench_seconds();
    if (run->watch) last_turn_end = end;
    return end - begin;
}

typedef struct bench_runs {
    bench_run plain, watched;
} bench_runs;

static double answer(bench_runs *runs, const char *what, double amount) {
    if (strcmp(what, "plain") == 0) return train(&runs->plain, (int64_t)amount);
    if (strcmp(what, "watched") == 0) return train(&runs->watched, (int64_t)amount);
    if (strcmp(what, "full") == 0) return (double)bp_watch_cost(runs->watched.watch).full_steps;
    if (strcmp(what, "told") == 0) return bp_watch_cost(runs->watched.watch).watch_seconds;
    if (strcmp(what, "fma") == 0) return bench_fma_flops(amount);
    if (strcmp(what, "sgemm") == 0) return bench_sgemm_flops(amount);
    fprintf(stderr, "train: unknown question '%s'\n", what);
    exit(2);
}

int main(int argc, char **argv) {
    const int64_t every = argc >= 4 ? atoll(argv[3]) : -1;
    if (every < 0 || argc > 5) {
        fprintf(stderr, "usage: train NETWORK FOLDER EVERY [BATCH]\n");
        return 2;
    }
    bench_network network = find(argv[1]);
    if (argc == 5) network.batch = atoll(argv[4]);
    bp_dataset *dataset = open_data(&network);
    bench_runs runs = {open_run(&network, dataset, NULL, 1),
                       open_run(&network, dataset, argv[2], every)};
    char line[64], what[16];
    double amount;
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%15s %lf", what, &amount) == 2) {
        printf("%.9g\n", answer(&runs, what, amount));
        fflush(stdout);
    }
    close_run(&runs.plain);
    close_run(&runs.watched);
    bp_dataset_close(dataset);
    return feof(stdin) ? 0 : 2;
}
