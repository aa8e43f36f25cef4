/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
#include "runlog/reader.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

/* --- folders and files ---------------------------------------------------------------------- */

void fixture_make_folder(char folder[FIXTURE_PATH_BYTES]) {
    snprintf(folder, FIXTURE_PATH_BYTES, "runlog-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

void fixture_remove_folder(const char *folder) {
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        char path[FIXTURE_PATH_BYTES * 2];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(unlink(path), 0);
    }
    closedir(directory);
    assert_int_equal(rmdir(folder), 0);
}

char *fixture_segment(char path[FIXTURE_PATH_BYTES], const char *folder, uint32_t index) {
    snprintf(path, FIXTURE_PATH_BYTES, "%s/log-%06u.bplog", folder, (unsigned)index);
    return path;
}

fixture_bytes fixture_read_file(const char *path) {
    fixture_bytes file = {0};
    bp_error error;
    if (bp_io_read_file(&bp_io_system, path, SIZE_MAX / 4, NULL, &file.bytes, &file.length,
                        &error) != BP_OK)
        fail_msg("%s", error.text);
    return file;
}

void fixture_write_file(const char *path, const uint8_t *bytes, size_t length) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* --- the network and its records ------------------------------------------------------------ */

bp_model *fixture_model(void) {
    bp_model *model;
    bp_error error;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (int i = 0; i < FIXTURE_LAYERS; i++) {
        const bool last = i + 1 == FIXTURE_LAYERS;
        const bp_layer layer = {.name = (const char *[]){"first", "second", "out"}[i],
                                .kind = BP_LAYER_DENSE,
                                .activation = last ? BP_ACTIVATION_LINEAR : BP_ACTIVATION_SIGMOID,
                                .norm = BP_NORM_NONE,
                                .has_bias = true,
                                .output_shape = {last ? 3 : 4, 1, 1},
                                .fan_out = last ? 3 : 4,
                                .weight_init = {BP_INIT_PYTORCH_DEFAULT, 1.0},
                                .bias_init = {BP_INIT_ZEROS, 0.0}};
        if (bp_model_add_layer(model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    }
    const int64_t input[3] = {2, 1, 1};
    if (bp_model_set_input(model, input, &error) != BP_OK) fail_msg("%s", error.text);
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.125,
                              .batch = 8,
                              .epochs = 1,
                              .epoch_steps = 5,
                              .train_samples = 40,
                              .seed = 7,
                              .trivial_loss = 1.0986122886681098,
                              .n_outputs = 3,
                              .chance_accuracy = 0.5};
    bp_model_set_recipe(model, &recipe);
    return model;
}

void assert_fixture_model(const bp_model *model) {
    assert_int_equal(bp_model_n_layers(model), FIXTURE_LAYERS);
    assert_string_equal(bp_model_layer(model, 1)->name, "first");
    assert_string_equal(bp_model_layer(model, 3)->name, "out");
    assert_int_equal(bp_model_layer(model, 2)->activation, BP_ACTIVATION_SIGMOID);
    assert_int_equal(bp_model_layer(model, 2)->fan_in, 4);
    assert_int_equal(bp_model_layer(model, 3)->fan_out, 3);
    assert_int_equal(bp_model_layer(model, 1)->weight_init.kind, BP_INIT_PYTORCH_DEFAULT);
    assert_int_equal(bp_model_recipe(model)->seed, 7);
    assert_true(bp_model_recipe(model)->learning_rate == 0.125);
}

void fixture_record(bp_record *record, int64_t step) {
    const double s = (double)step;
    bp_record_clear(record);
    record->step = step;
    record->wall_time = 1700000000.0 + s / 8.0;
    record->flags = step == 3 ? BP_RECORD_UPDATE_SKIPPED : 0;
    bp_record_set(record, BP_Q_LOSS, 0, step == 4 ? (double)NAN : 1.0 / (1.0 + s));
    bp_record_set(record, BP_Q_SAMPLES, 0, 8.0);
    if (step % 2) bp_record_set(record, BP_Q_VALIDATION_LOSS, 0, -0.0);
    for (uint32_t row = 0; row <= FIXTURE_LAYERS; row++) {
        const double r = (double)row;
        bp_record_set(record, BP_Q_ACTIVATION_RMS, row, ldexp(1.0 + s / 7.0, (int)row - 2));
        bp_record_set(record, BP_Q_ACTIVATION_NAN, row, step == 4 ? 100.0 * r : 0.0);
        if (row == 0) continue;
        /* not measured in step 2; zero, NaN and Inf once each */
        if (step != 2) bp_record_set(record, BP_Q_WEIGHT_RMS, row, row == 2 ? 0.0 : 0.5 / r);
        bp_record_set(record, BP_Q_ERROR_NORM, row,
                      step == 4 && row == 3 ? (double)NAN
                                            : ldexp(1.0 + s / 5.0, -9 * (3 - (int)row)));
        bp_record_set(record, BP_Q_GRADIENT_RMS, row,
                      step == 3 && row == 1 ? (double)INFINITY : 1e-3 * r);
        bp_record_set(record, BP_Q_EFFECT, row, (row == 2 ? -1e-17 : 0.1) * (1.0 + s));
        if (row != 2) bp_record_set(record, BP_Q_STALLED, row, 1000.0 * r + s);
    }
}

void fixture_decoded(bp_record *record, int64_t step) {
    uint8_t bytes[4096];
    bp_writer writer;
    bp_cursor cursor;
    bp_error error;
    fixture_record(record, step);
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_record_encode(record, &writer);
    assert_false(writer.cut);
    bp_cursor_init(&cursor, bytes, writer.length);
    assert_int_equal(bp_record_decode(record, &cursor, &error), BP_OK);
}

void assert_same_record(const bp_record *found, const bp_record *expected) {
    const size_t n = BP_N_QUANTITIES * ((size_t)expected->n_layers + 1);
    assert_int_equal(found->n_layers, expected->n_layers);
    assert_int_equal(found->step, expected->step);
    assert_memory_equal(&found->wall_time, &expected->wall_time, sizeof(double));
    assert_int_equal(found->stream, expected->stream);
    assert_int_equal(found->micro_step, expected->micro_step);
    assert_int_equal(found->flags, expected->flags);
    assert_memory_equal(found->measured, expected->measured, n);
    for (size_t i = 0; i < n; i++)
        if (!isnan(found->value[i]) || !isnan(expected->value[i]))
            assert_memory_equal(&found->value[i], &expected->value[i], sizeof(double));
}

bp_status fixture_put_step(bp_runlog_writer *writer, int64_t step, bp_error *error) {
    uint8_t bytes[4096];
    bp_writer encoded;
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    fixture_record(&record, step);
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    assert_false(encoded.cut);
    bp_record_finish(&record, NULL);
    return bp_runlog_writer_step(writer, step, bytes, encoded.length, error);
}

void fixture_write_log(const char *folder, int64_t n_steps, const bp_runlog_options *options) {
    bp_error error;
    bp_runlog_writer *writer;
    bp_model *model = fixture_model();
    if (bp_runlog_writer_open(&writer, folder, model, options, &error) != BP_OK)
        fail_msg("%s", error.text);
    bp_model_close(model); /* it is needed no longer */
    for (int64_t step = 0; step < n_steps; step++)
        if (fixture_put_step(writer, step, &error) != BP_OK) fail_msg("%s", error.text);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
}

/* --- what a log holds ----------------------------------------------------------------------- */

size_t fixture_frames(fixture_bytes log, fixture_frame *frames, bp_segment_id *salt) {
    bp_segment_header header;
    bp_record record;
    size_t n = 0;
    assert_true(log.length > BP_SEGMENT_START);
    assert_true(bp_segment_header_get(&header, log.bytes));
    *salt = header.id;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    for (size_t place = BP_SEGMENT_START; place < log.length; n++) {
        fixture_frame *frame = &frames[n];
        assert_true(n < FIXTURE_MAX_FRAMES);
        assert_true(place + BP_FRAME_HEADER_BYTES <= log.length);
        assert_true(bp_frame_get(&frame->frame, log.bytes + place, *salt));
        frame->place = place;
        frame->n_bytes = BP_FRAME_HEADER_BYTES + frame->frame.n_bytes;
        frame->step = -1;
        if (frame->frame.type == BP_RUNLOG_STEP) {
            bp_cursor cursor;
            bp_cursor_init(&cursor, log.bytes + place + BP_FRAME_HEADER_BYTES,
                           frame->frame.n_bytes);
            assert_int_equal(bp_record_decode(&record, &cursor, NULL), BP_OK);
            frame->step = record.step;
        }
        place += frame->n_bytes;
        assert_true(place <= log.length);
    }
    bp_record_finish(&record, NULL);
    return n;
}

static fixture_reading read_log(const char *path, const bp_io *io) {
    fixture_reading reading = {0};
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_record expected;
    int64_t last = -1;
    reading.opened = bp_runlog_reader_open_through(&reader, io, path, NULL, &reading.error);
    if (reading.opened != BP_OK) {
        assert_int_equal(reading.error.status, reading.opened);
        assert_non_null(strstr(reading.error.text, path));
        return reading;
    }
    assert_fixture_model(bp_runlog_reader_model(reader));
    assert_int_equal(bp_record_init(&expected, FIXTURE_LAYERS, NULL), BP_OK);
    for (;;) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, &reading.error), BP_OK);
        if (!record) break;
        assert_true(record->step > last && record->step < FIXTURE_MAX_FRAMES);
        last = record->step;
        fixture_decoded(&expected, record->step);
        assert_same_record(record, &expected);
        reading.given[record->step] = true;
        reading.n_given++;
    }
    if (bp_runlog_reader_end(reader) != BP_RUN_OPEN) { /* else somebody may be writing */
        assert_int_equal(bp_runlog_reader_next(reader, &record, &reading.error), BP_OK);
        assert_null(record);
    }
    reading.damage = *bp_runlog_reader_damage(reader);
    reading.end = bp_runlog_reader_end(reader);
    bp_record_finish(&expected, NULL);
    bp_runlog_reader_close(reader);
    return reading;
}

fixture_reading fixture_read_log(const char *path) {
    return read_log(path, &bp_io_system);
}

/* The reader opens a file twice at most: once to read it and once to look ahead. */
typedef struct memory_file {
    const uint8_t *bytes;
    size_t length, position[2];
    bool is_open[2];
} memory_file;

static int memory_open(void *context, const char *path, int flags, mode_t mode) {
    memory_file *file = context;
    (void)path, (void)flags, (void)mode;
    const int handle = file->is_open[0] ? 1 : 0;
    assert_false(file->is_open[handle]);
    file->is_open[handle] = true;
    file->position[handle] = 0;
    return handle;
}

static ssize_t memory_read(void *context, int handle, void *bytes, size_t n_bytes) {
    memory_file *file = context;
    const size_t rest = file->length - file->position[handle];
    const size_t n = n_bytes < rest ? n_bytes : rest;
    assert_true(file->is_open[handle]);
    memcpy(bytes, file->bytes + file->position[handle], n);
    file->position[handle] += n;
    return (ssize_t)n;
}

static int memory_close(void *context, int handle) {
    memory_file *file = context;
    assert_true(file->is_open[handle]);
    file->is_open[handle] = false;
    return 0;
}

fixture_reading fixture_read_bytes(const char *path, const uint8_t *bytes, size_t length) {
    memory_file file = {.bytes = bytes, .length = length};
    bp_io io = bp_io_system;
    io.open = memory_open;
    io.read = memory_read;
    io.close = memory_close;
    io.context = &file;
    const fixture_reading reading = read_log(path, &io);
    assert_false(file.is_open[0] || file.is_open[1]);
    return reading;
}

/* --- memory --------------------------------------------------------------------------------- */

static void *resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    fixture_memory *memory = context;
    if (new_bytes > 0) {
        memory->requests++;
        if (memory->left == 0) return NULL;
        if (memory->left > 0) memory->left--;
    }
    memory->in_use += (int64_t)new_bytes - (block ? (int64_t)old_bytes : 0);
    if (memory->in_use > memory->peak) memory->peak = memory->in_use;
    if (new_bytes > 0) return realloc(block, new_bytes);
    free(block);
    return NULL;
}

bp_allocator fixture_allocator(fixture_memory *memory) {
    return (bp_allocator){resize, memory};
}

/* --- faults --------------------------------------------------------------------------------- */

static bool fails(fixture_faults *faults) {
    const int64_t call = faults->calls++;
    const bool failing = faults->fail_at >= 0 && (call == faults->fail_at ||
                                                  (faults->persistent && call > faults->fail_at));
    if (failing) {
        faults->failed++;
        errno = ENOSPC;
    }
    return failing;
}

static int faulty_open(void *context, const char *path, int flags, mode_t mode) {
    fixture_faults *faults = context;
    if (fails(faults)) return -1;
    const int file = bp_io_system.open(NULL, path, flags, mode);
    if (file >= 0) faults->open_files++;
    return file;
}

static ssize_t faulty_read(void *context, int file, void *bytes, size_t n_bytes) {
    return fails(context) ? -1 : bp_io_system.read(NULL, file, bytes, n_bytes);
}

static ssize_t faulty_write(void *context, int file, const void *bytes, size_t n_bytes) {
    if (!fails(context)) return bp_io_system.write(NULL, file, bytes, n_bytes);
    const ssize_t n = bp_io_system.write(NULL, file, bytes, n_bytes / 2);
    errno = ENOSPC;
    return n == 0 ? n : -1;
}

static int faulty_fsync(void *context, int file) {
    fixture_faults *faults = context;
    faults->n_fsyncs++;
    return fails(faults) ? -1 : bp_io_system.fsync(NULL, file);
}

static int faulty_close(void *context, int file) {
    fixture_faults *faults = context;
    const bool failing = fails(faults);
    faults->open_files--;
    const int result = bp_io_system.close(NULL, file);
    if (!failing) return result;
    errno = ENOSPC;
    return -1;
}

static int faulty_unlink(void *context, const char *path) {
    return fails(context) ? -1 : bp_io_system.unlink(NULL, path);
}

static double faulty_steady_clock(void *context) {
    const fixture_faults *faults = context;
    return faults->steady;
}

bp_io fixture_io(fixture_faults *faults) {
    bp_io io = bp_io_system;
    io.open = faulty_open;
    io.read = faulty_read;
    io.write = faulty_write;
    io.fsync = faulty_fsync;
    io.close = faulty_close;
    io.unlink = faulty_unlink;
    io.steady_clock = faulty_steady_clock;
    io.context = faults;
    return io;
}
