/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the logs that are kept: `make_golden golden FOLDER` the one in tests/golden/, and
 * `make_golden example FOLDER` the one in docs/runlog-format.md. They are made once for a version
 * of the format and never again: a later Backprobe must read them. */
#include "fixture.h"

#define EXAMPLE_WALL_TIME 1700000000.0

static double fixed_clock(void *context) {
    (void)context;
    return EXAMPLE_WALL_TIME;
}

static int complain(const char *text) {
    fprintf(stderr, "make_golden: %s\n", text);
    return 2;
}

static bp_model *example_model(void) {
    bp_model *model = NULL;
    const bp_layer layer = {.name = "out",
                            .kind = BP_LAYER_DENSE,
                            .activation = BP_ACTIVATION_LINEAR,
                            .has_bias = true,
                            .output_shape = {2, 1, 1},
                            .weight_init = {BP_INIT_HE, 1.0},
                            .bias_init = {BP_INIT_ZEROS, 0.0}};
    const int64_t input[3] = {3, 1, 1};
    const bp_recipe recipe = {.loss = BP_MSE,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.5,
                              .batch = 4,
                              .epochs = 1,
                              .epoch_steps = 1,
                              .train_samples = 4,
                              .seed = 1,
                              .trivial_loss = 1.0,
                              .n_outputs = 2,
                              .chance_accuracy = (double)NAN};
    if (bp_model_open(&model, NULL) != BP_OK ||
        bp_model_add_layer(model, &layer, NULL, NULL) != BP_OK ||
        bp_model_set_input(model, input, NULL) != BP_OK)
        return NULL;
    bp_model_set_recipe(model, &recipe);
    return model;
}

static void example_record(bp_record *record) {
    record->wall_time = EXAMPLE_WALL_TIME;
    bp_record_set(record, BP_Q_LOSS, 0, 0.75);
    bp_record_set(record, BP_Q_SAMPLES, 0, 4.0);
    bp_record_set(record, BP_Q_ACTIVATION_RMS, 0, 1.0);
    bp_record_set(record, BP_Q_ACTIVATION_RMS, 1, 0.0);
    bp_record_set(record, BP_Q_WEIGHT_RMS, 1, 0.5);
    bp_record_set(record, BP_Q_GRADIENT_RMS, 1, (double)NAN);
    bp_record_set(record, BP_Q_STALLED, 1, 300.0);
}

/* The run is killed after its first step: the log has no end. */
static int write_example(const char *folder, const bp_runlog_options *options) {
    bp_runlog_writer *writer;
    bp_record record;
    bp_error error;
    uint8_t bytes[1024];
    bp_writer encoded;
    bp_model *model = example_model();
    if (!model || bp_record_init(&record, 1, NULL) != BP_OK) return complain("no memory");
    example_record(&record);
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    if (bp_runlog_writer_open(&writer, folder, model, options, &error) != BP_OK ||
        bp_runlog_writer_step(writer, record.step, bytes, encoded.length, &error) != BP_OK)
        return complain(error.text);
    return 0;
}

int main(int argc, char **argv) {
    bp_io io = bp_io_system;
    io.wall_clock = fixed_clock;
    const bp_runlog_options options = {.io = &io, .direct = true};
    if (argc != 3) return complain("expected golden FOLDER or example FOLDER");
    if (strcmp(argv[1], "example") == 0) return write_example(argv[2], &options);
    if (strcmp(argv[1], "golden") != 0) return complain("expected golden or example");
    fixture_write_log(argv[2], 5, &options);
    return 0;
}
