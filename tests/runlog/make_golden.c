/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the logs that are kept: `make_golden golden FOLDER` tests/golden/runlog-1b, `make_golden
 * framework FOLDER` runlog-1c, and `make_golden example FOLDER` the one in docs/runlog-format.md.
 * They are made once for a version of the format and never again: a later Backprobe must read them.
 * runlog-1 is from the first version, which numbered every frame; no writer makes such a log any
 * longer. */
#include "golden.h"
#include "record/event.h"

#include <errno.h>
#include <time.h>

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
        bp_runlog_writer_step(writer, record.step, bytes, encoded.length, &error) != BP_OK ||
        bp_runlog_writer_loss(writer, 1, 0.5, &error) != BP_OK)
        return complain(error.text);
    return 0;
}

/* --- the log with a record of each type ----------------------------------------------------- */

static void put_event(bp_runlog_writer *writer, const bp_event *event) {
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    bp_writer payload;
    bp_error error;
    bp_writer_init(&payload, bytes, sizeof bytes);
    bp_event_encode(event, &payload);
    const bp_runlog_type type = (bp_runlog_type)event->kind;
    if (bp_runlog_writer_event(writer, type, bytes, payload.length, &error) != BP_OK)
        fail_msg("%s", error.text);
}

static void put_step(bp_runlog_writer *writer, int64_t step) {
    bp_error error;
    if (fixture_put_step(writer, step, &error) != BP_OK) fail_msg("%s", error.text);
}

/* Of the network with one layer more. */
static void put_grown_step(bp_runlog_writer *writer, int64_t step) {
    uint8_t bytes[4096];
    bp_record record;
    bp_writer encoded;
    bp_error error;
    golden_grown_record(&record, step);
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    if (bp_runlog_writer_step(writer, step, bytes, encoded.length, &error) != BP_OK)
        fail_msg("%s", error.text);
    bp_record_finish(&record, NULL);
}

static bp_runlog_writer *open_writer(const char *folder, const bp_model *model,
                                     const bp_runlog_options *options) {
    bp_runlog_writer *writer;
    bp_error error;
    if (bp_runlog_writer_open(&writer, folder, model, options, &error) != BP_OK)
        fail_msg("%s", error.text);
    return writer;
}

static void close_writer(bp_runlog_writer *writer, bp_run_end end) {
    bp_error error;
    if (bp_runlog_writer_close(writer, end, &error) != BP_OK) fail_msg("%s", error.text);
}

/* Through the ring, so that losses share a frame. Interrupted. */
static void write_begin(const char *folder, const bp_io *io) {
    const bp_runlog_options options = {.io = io, .segment_bytes = GOLDEN_SEGMENT_BYTES};
    const struct timespec nap = {0, 100000000};
    bp_error error;
    bp_model *model = fixture_model();
    bp_runlog_writer *writer = open_writer(folder, model, &options);
    for (int64_t step = 0; step < GOLDEN_LOSSES; step++) put_step(writer, step);
    nanosleep(&nap, NULL);
    for (int64_t step = GOLDEN_LOSSES; step < GOLDEN_FINDING; step++)
        if (bp_runlog_writer_loss(writer, step, golden_loss(step), &error) != BP_OK)
            fail_msg("%s", error.text);
    put_event(writer, &golden_watch);
    put_step(writer, GOLDEN_FINDING);
    put_event(writer, &golden_finding);
    put_event(writer, &golden_checkpoint);
    golden_grow(model);
    if (bp_runlog_writer_model(writer, model, &error) != BP_OK) fail_msg("%s", error.text);
    put_grown_step(writer, GOLDEN_GROWN);
    put_grown_step(writer, GOLDEN_GROWN + 1);
    close_writer(writer, BP_RUN_INTERRUPTED);
    bp_model_close(model);
}

static bool is_full; /* the next write finds no room */

static ssize_t failing_write(void *context, int file, const void *bytes, size_t n_bytes) {
    const bool fails = is_full;
    is_full = false;
    errno = ENOSPC;
    return fails ? -1 : bp_io_system.write(context, file, bytes, n_bytes);
}

/* Resumed from the checkpoint; one step finds no room on the disk; the budget is small. */
static void write_rest(const char *folder, bp_io io) {
    io.write = failing_write;
    const bp_runlog_options options = {.io = &io,
                                       .direct = true,
                                       .segment_bytes = GOLDEN_SEGMENT_BYTES,
                                       .resumes = true,
                                       .resume_step = GOLDEN_GROWN + 1,
                                       .max_log_bytes = GOLDEN_MAX_BYTES};
    bp_error error;
    bp_model *model = fixture_model();
    golden_grow(model);
    bp_runlog_writer *writer = open_writer(folder, model, &options);
    put_grown_step(writer, GOLDEN_GROWN + 1);
    is_full = true;
    if (bp_runlog_writer_loss(writer, GOLDEN_GROWN + 2, 0.5, &error) == BP_OK)
        fail_msg("the disk was not full");
    put_grown_step(writer, GOLDEN_GROWN + 3);
    close_writer(writer, BP_RUN_FINISHED);
    bp_model_close(model);
}

/* Of a network of PyTorch: the model payload's version 3. */
static int write_framework(const char *folder, const bp_io *io) {
    const bp_runlog_options options = {.io = io, .direct = true};
    bp_model *model = golden_framework_model();
    bp_runlog_writer *writer = open_writer(folder, model, &options);
    for (int64_t step = 0; step < 3; step++) put_step(writer, step);
    close_writer(writer, BP_RUN_FINISHED);
    bp_model_close(model);
    return 0;
}

static int write_golden(const char *folder, const bp_io *io) {
    write_begin(folder, io);
    write_rest(folder, *io);
    return 0;
}

int main(int argc, char **argv) {
    bp_io io = bp_io_system;
    io.wall_clock = fixed_clock;
    const bp_runlog_options options = {.io = &io, .direct = true};
    if (argc != 3) return complain("expected golden, framework or example, and FOLDER");
    if (strcmp(argv[1], "example") == 0) return write_example(argv[2], &options);
    if (strcmp(argv[1], "framework") == 0) return write_framework(argv[2], &io);
    if (strcmp(argv[1], "golden") != 0) return complain("expected golden, framework or example");
    return write_golden(argv[2], &io);
}
