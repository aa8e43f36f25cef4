/* SPDX-License-Identifier: Apache-2.0 */
/* The trainer's side of bench/train.py: one network of the table over random data in memory.
 *
 *   train NETWORK FOLDER
 *
 * Then it takes turns, a line each, and answers each with a line: `plain STEPS` and `watched STEPS`
 * (by a watch with default settings, its log in FOLDER) with the seconds that they took; `fma
 * SECONDS` and `sgemm SECONDS` with the flops per second of one core. */
#include "peak.h"

#include <backprobe/netfile.h>
#include <backprobe/train.h>
#include <backprobe/watch.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 8192
#define CLASSES 10

typedef struct bench_network {
    const char *name;
    int64_t shape[3];
    int64_t batch;
    const char *net; /* as in a network file */
} bench_network;

static const bench_network networks[] = {
    {"mlp", {784, 1, 1}, 64, "dense 256 relu, dense 256 relu, dense 10"},
    {"small", {64, 1, 1}, 16, "dense 32 relu, dense 32 relu, dense 10"},
    {"deep", {64, 1, 1}, 32, "20 x dense 64 relu, dense 10"},
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

static const bench_network *find(const char *name) {
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        if (strcmp(networks[i].name, name) == 0) return &networks[i];
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

static bench_run open_run(const bench_network *network, const bp_dataset *dataset,
                          const char *folder) {
    char text[512];
    bp_error error;
    bp_netfile *file;
    bench_run run = {.watch = NULL};
    snprintf(text, sizeof text,
             "version: 1\ndata: digits\nnet: [%s]\nloss: cross_entropy\n"
             "train: {optimiser: sgd, learning_rate: 0.01, batch: %" PRId64 ", seed: 1}\n",
             network->net, network->batch);
    must(bp_netfile_parse(&file, network->name, text, strlen(text), NULL, &error), &error);
    must(bp_netfile_model(file, &run.model, &error), &error);
    bp_netfile_close(file);
    must(bp_model_set_input(run.model, network->shape, &error), &error);
    must(bp_trainer_open(&run.trainer, run.model, dataset, NULL, &error), &error);
    if (folder) {
        bp_watch_options options = BP_WATCH_OPTIONS_INIT;
        options.run_folder = folder;
        must(bp_watch_open(&run.watch, run.model, &options, &error), &error);
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
    for (int64_t i = 0; i < steps; i++) bp_trainer_step(run->trainer);
    return bench_seconds() - begin;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: train NETWORK FOLDER\n");
        return 2;
    }
    const bench_network *network = find(argv[1]);
    bp_dataset *dataset = open_data(network);
    bench_run plain = open_run(network, dataset, NULL);
    bench_run watched = open_run(network, dataset, argv[2]);
    char line[64], what[16];
    double amount;
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%15s %lf", what, &amount) == 2) {
        if (strcmp(what, "plain") == 0)
            printf("%.9g\n", train(&plain, (int64_t)amount));
        else if (strcmp(what, "watched") == 0)
            printf("%.9g\n", train(&watched, (int64_t)amount));
        else if (strcmp(what, "fma") == 0)
            printf("%.9g\n", bench_fma_flops(amount));
        else if (strcmp(what, "sgemm") == 0)
            printf("%.9g\n", bench_sgemm_flops(amount));
        else
            break;
        fflush(stdout);
    }
    close_run(&plain);
    close_run(&watched);
    bp_dataset_close(dataset);
    return feof(stdin) ? 0 : 2;
}
