/* SPDX-License-Identifier: Apache-2.0 */
/* What all detectors together cost a step.
 *
 *   diagnosis LAYERS STEPS ROUNDS
 *
 * The records are those of a healthy run with all evidence: made beforehand, a few of them, for a
 * record has just been decoded and lies in the cache when the diagnosis gets it. One JSON line a
 * round: ns a step, mean of its steps; and of the same loop that only looks at each record. */
#include "diagnosis/diagnosis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_RECORDS = 4, EPOCH_STEPS = 100, WIDTH = 64 };

static void fail(const char *what) {
    fprintf(stderr, "diagnosis: %s\n", what);
    exit(2);
}

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- a healthy run ------------------------------------------------------------------------------
 */

static bp_model *make_model(uint32_t n_layers) {
    bp_model *model;
    const int64_t input[3] = {WIDTH, 1, 1};
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.1,
                              .batch = 32,
                              .epochs = 100,
                              .epoch_steps = EPOCH_STEPS,
                              .train_samples = 32 * EPOCH_STEPS,
                              .n_outputs = WIDTH,
                              .trivial_loss = 4.158,
                              .chance_accuracy = 1.0 / WIDTH};
    if (bp_model_open(&model, NULL) != BP_OK) fail("no memory");
    for (uint32_t i = 0; i < n_layers; i++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .activation = i + 1 < n_layers ? BP_ACTIVATION_RELU : 0,
                                .has_bias = true,
                                .output_shape = {WIDTH, 1, 1},
                                .weight_init = {BP_INIT_HE, 1},
                                .bias_init = {BP_INIT_ZEROS, 0}};
        if (bp_model_add_layer(model, &layer, NULL, NULL) != BP_OK) fail("no memory");
    }
    if (bp_model_set_input(model, input, NULL) != BP_OK) fail("no shape");
    bp_model_set_recipe(model, &recipe);
    return model;
}

static double noise(uint32_t i, uint32_t layer, uint32_t quantity) {
    const uint32_t mixed = (i * 2654435761u) ^ (layer * 40503u) ^ (quantity * 69069u);
    return (double)(mixed * 2246822519u >> 8) / (double)(1u << 24) - 0.5;
}

/* What a healthy layer says; the rest are 0. */
static double usual(bp_quantity quantity) {
    switch (quantity) {
    case BP_Q_SAMPLES:
    case BP_Q_LOSS_TERMS:
        return 32;
    case BP_Q_LEARNING_RATE:
        return 0.1;
    case BP_Q_TRAIN_ACCURACY:
    case BP_Q_VALIDATION_ACCURACY:
        return 0.8;
    case BP_Q_ACTIVATION_NORM:
        return 8;
    case BP_Q_ACTIVATION_RMS:
    case BP_Q_ERROR_NORM:
    case BP_Q_GRADIENT_NORM:
    case BP_Q_UNCLIPPED_NORM:
    case BP_Q_FEATURE_SCALES:
    case BP_Q_LOSS_SCALE:
    case BP_Q_ERROR_INPUT_NORM:
        return 1;
    case BP_Q_ACTIVATION_MAX:
        return 4;
    case BP_Q_VARIATION:
        return 0.6;
    case BP_Q_UNITS:
    case BP_Q_DISTINCT_UNITS:
        return WIDTH;
    case BP_Q_ERROR_RMS:
    case BP_Q_ERROR_PRE_NORM:
        return 0.125;
    case BP_Q_ERROR_PRE_ACTIVATION:
        return 0.088;
    case BP_Q_ERROR_MAX:
        return 0.4;
    case BP_Q_ACTIVATION_PRECISION:
    case BP_Q_ERROR_PRECISION:
    case BP_Q_PARAMETER_PRECISION:
        return 24;
    case BP_Q_WEIGHT_RMS:
        return 0.177;
    case BP_Q_WEIGHT_MAX:
        return 0.6;
    case BP_Q_WEIGHT_SPREAD:
        return 1;
    case BP_Q_BIAS_RMS:
        return 0.01;
    case BP_Q_GRADIENT_RMS:
    case BP_Q_UNCLIPPED_RMS:
    case BP_Q_BIAS_GRADIENT_RMS:
        return 1e-3;
    case BP_Q_GRADIENT_MAX:
        return 5e-3;
    case BP_Q_UPDATE_RMS:
    case BP_Q_EFFECT:
        return 1e-4;
    case BP_Q_PARAMETERS:
        return WIDTH * (WIDTH + 1);
    case BP_Q_ADAPTIVITY:
        return 0.9;
    case BP_Q_GRADIENT_COSINE:
        return 0.1;
    case BP_Q_ERROR_THROUGH_TIME:
        return 0.5;
    case BP_Q_TARGET_MAX:
        return WIDTH - 1;
    case BP_Q_RANKS:
        return 2;
    default:
        return 0;
    }
}

static bool is_of_the_network(bp_quantity quantity) {
    static const bp_quantity of_network[] = {
        BP_Q_LOSS,           BP_Q_SAMPLES,         BP_Q_LOSS_TERMS,          BP_Q_LEARNING_RATE,
        BP_Q_TRAIN_ACCURACY, BP_Q_VALIDATION_LOSS, BP_Q_VALIDATION_ACCURACY, BP_Q_LOSS_SCALE,
        BP_Q_GRADIENT_NORM,  BP_Q_UNCLIPPED_NORM,  BP_Q_TARGET_MIN,          BP_Q_TARGET_MAX,
        BP_Q_RANKS,          BP_Q_FEATURE_SCALES};
    for (size_t i = 0; i < sizeof of_network / sizeof *of_network; i++)
        if (of_network[i] == quantity) return true;
    return false;
}

static void fill(bp_record *record, uint32_t i) {
    for (int quantity = 0; quantity < BP_N_QUANTITIES; quantity++) {
        const bp_quantity q = (bp_quantity)quantity;
        const uint32_t last = is_of_the_network(q) ? 0 : record->n_layers;
        const double value = usual(q);
        const bool whole = value == floor(value) && value > 1;
        for (uint32_t layer = 0; layer <= last; layer++)
            bp_record_set(record, q, layer,
                          whole ? value : value * (1 + 0.1 * noise(i, layer, (uint32_t)q)));
    }
}

static void set_validation(bp_record *record, bp_quantity quantity, bool evaluated, double value) {
    bp_record_set(record, quantity, 0, evaluated ? value : (double)NAN);
    record->measured[bp_record_cell(record, quantity, 0)] = evaluated;
}

/* The loss falls from guessing to a tenth of it, with noise; there is an evaluation an epoch. */
static void set_losses(bp_record *record, int64_t step, int64_t n_steps) {
    const double rest = exp(-5.0 * (double)step / (double)n_steps);
    const double loss = 4.158 * (0.1 + 0.9 * rest) * (1 + 0.1 * noise((uint32_t)step, 0, 0));
    record->step = step;
    bp_record_set(record, BP_Q_LOSS, 0, loss);
    const bool evaluated = step % EPOCH_STEPS == EPOCH_STEPS - 1;
    set_validation(record, BP_Q_VALIDATION_LOSS, evaluated, 1.05 * loss);
    set_validation(record, BP_Q_VALIDATION_ACCURACY, evaluated, 0.8);
}

/* --- the rounds ---------------------------------------------------------------------------------
 */

static uint32_t diagnose(const bp_model *model, bp_record *records, int64_t n_steps) {
    bp_diagnosis *diagnosis;
    if (bp_diagnosis_open(&diagnosis, model, NULL, NULL) != BP_OK) fail("no memory");
    for (int64_t step = 0; step < n_steps; step++) {
        bp_record *record = &records[step % N_RECORDS];
        set_losses(record, step, n_steps);
        bp_diagnosis_step(diagnosis, record);
    }
    const uint32_t n = bp_diagnosis_n_findings(diagnosis);
    for (uint32_t i = 0; i < n; i++)
        fprintf(stderr, "diagnosis: %s in a healthy run: %s\n",
                bp_problem_name(bp_diagnosis_finding(diagnosis, i)->problem),
                bp_diagnosis_finding(diagnosis, i)->title);
    bp_diagnosis_close(diagnosis);
    return n;
}

static volatile double seen;

static void do_nothing(bp_record *records, int64_t n_steps) {
    for (int64_t step = 0; step < n_steps; step++) {
        bp_record *record = &records[step % N_RECORDS];
        set_losses(record, step, n_steps);
        seen = record->value[0];
    }
}

int main(int argc, char **argv) {
    bp_record records[N_RECORDS];
    if (argc != 4) fail("expected LAYERS STEPS ROUNDS");
    const uint32_t n_layers = (uint32_t)atoi(argv[1]);
    const int64_t n_steps = atoi(argv[2]);
    const int rounds = atoi(argv[3]);
    if (n_layers < 1 || n_layers > 10000 || n_steps < 1 || rounds < 1) fail("out of range");
    bp_model *model = make_model(n_layers);
    for (uint32_t i = 0; i < N_RECORDS; i++) {
        if (bp_record_init(&records[i], n_layers, NULL) != BP_OK) fail("no memory");
        fill(&records[i], i);
    }
    for (int round = 0; round < rounds; round++) {
        const double begin = cpu_seconds();
        const uint32_t findings = diagnose(model, records, n_steps);
        const double middle = cpu_seconds();
        do_nothing(records, n_steps);
        const double end = cpu_seconds();
        printf("{\"layers\": %u, \"steps\": %lld, \"ns_a_step\": %.1f, \"ns_for_nothing\": %.1f, "
               "\"findings\": %u}\n",
               n_layers, (long long)n_steps, 1e9 * (middle - begin) / (double)n_steps,
               1e9 * (end - middle) / (double)n_steps, findings);
        fflush(stdout);
    }
    for (uint32_t i = 0; i < N_RECORDS; i++) bp_record_finish(&records[i], NULL);
    bp_model_close(model);
    return 0;
}
