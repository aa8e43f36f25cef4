/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <unistd.h>

enum { STEPS = 12 };

static size_t n_segments(const char *folder) {
    char path[FIXTURE_PATH_BYTES];
    uint32_t n = 0;
    while (access(fixture_segment(path, folder, n + 1), F_OK) == 0) n++;
    return n;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    fixture_make_folder(folder);
    fixture_write_log(folder, STEPS, NULL);
    const char *paths[] = {folder, fixture_segment(path, folder, 1)};
    for (size_t i = 0; i < 2; i++) {
        const fixture_reading reading = fixture_read_log(paths[i]);
        assert_int_equal(reading.opened, BP_OK);
        assert_int_equal(reading.n_given, STEPS);
        assert_int_equal(reading.end, BP_RUN_FINISHED);
        assert_int_equal(reading.damage.lost_records, 0);
        assert_int_equal(reading.damage.damaged_places, 0);
        assert_int_equal(reading.damage.first.status, BP_OK);
        assert_false(reading.damage.torn_tail);
    }
    assert_int_equal(n_segments(folder), 1);
    fixture_remove_folder(folder);
}

static void a_run_without_steps(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    fixture_make_folder(folder);
    fixture_write_log(folder, 0, NULL);
    const fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.opened, BP_OK);
    assert_int_equal(reading.n_given, 0);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    fixture_remove_folder(folder);
}

static void segments_rotate(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    const bp_runlog_options options = {.segment_bytes = 1200};
    fixture_make_folder(folder);
    fixture_write_log(folder, 40, &options);
    const size_t n = n_segments(folder);
    assert_true(n >= 5);
    fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 40);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.damage.damaged_places, 0);
    /* Each begins with the model and can be read alone, without a loss. */
    size_t alone = 0;
    for (uint32_t i = 1; i <= n; i++) {
        reading = fixture_read_log(fixture_segment(path, folder, i));
        assert_int_equal(reading.opened, BP_OK);
        assert_int_equal(reading.damage.lost_records, 0);
        assert_int_equal(reading.end, i == n ? BP_RUN_FINISHED : BP_RUN_OPEN);
        alone += reading.n_given;
    }
    assert_int_equal(alone, 40);
    /* A segment that is gone: its steps are missing numbers. */
    fixture_segment(path, folder, 3);
    const size_t gone = fixture_read_log(path).n_given;
    assert_true(gone > 0);
    assert_int_equal(unlink(path), 0);
    reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 40 - gone);
    assert_int_equal(reading.damage.lost_records, gone);
    fixture_remove_folder(folder);
}

static void the_model_comes_again(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    static fixture_frame frames[FIXTURE_MAX_FRAMES];
    bp_segment_id salt;
    fixture_make_folder(folder);
    fixture_write_log(folder, 120, NULL);
    fixture_bytes log = fixture_read_file(fixture_segment(path, folder, 1));
    const size_t n = fixture_frames(log, frames, &salt);
    size_t models = 0, headers = 0, numbered = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(frames[i].frame.sequence, numbered);
        numbered += bp_runlog_is_data(frames[i].frame.type);
        models += frames[i].frame.type == BP_RUNLOG_MODEL;
        if (frames[i].frame.type != BP_RUNLOG_HEADER) continue;
        headers++;
        assert_true(frames[i].place >= 16384 && frames[i].place < 16384 + 1024);
        assert_int_equal(frames[i + 1].frame.type, BP_RUNLOG_MODEL);
    }
    assert_int_equal(frames[0].frame.type, BP_RUNLOG_MODEL);
    assert_int_equal(frames[n - 1].frame.type, BP_RUNLOG_END);
    assert_int_equal(models, 2);
    assert_int_equal(headers, 1);
    /* The first block is gone: what it held is lost, and nothing else. */
    memset(log.bytes, 0, 4096);
    fixture_write_file(path, log.bytes, log.length);
    const fixture_reading reading = fixture_read_log(path);
    assert_int_equal(reading.opened, BP_OK);
    for (size_t i = 0; i < n; i++)
        if (frames[i].step >= 0)
            assert_int_equal(reading.given[frames[i].step], frames[i].place >= 4096);
    bp_release(NULL, log.bytes, log.length + 1, 1);
    fixture_remove_folder(folder);
}

static bp_status try_open(bp_runlog_writer **writer, const char *folder,
                          const bp_runlog_options *options, bp_error *error) {
    bp_model *model = fixture_model();
    const bp_status status = bp_runlog_writer_open(writer, folder, model, options, error);
    bp_model_close(model);
    return status;
}

static void folders_that_will_not_do(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_runlog_writer *writer = NULL;
    bp_error error;
    fixture_make_folder(folder);
    fixture_segment(path, folder, 3);
    fixture_write_file(path, (const uint8_t *)"x", 1);
    errno = 4711;
    assert_int_equal(try_open(&writer, folder, NULL, &error), BP_ERROR_INPUT);
    assert_int_equal(errno, 4711);
    assert_non_null(strstr(error.text, folder));
    assert_non_null(strstr(error.text, "log-000003.bplog"));
    assert_int_equal(n_segments(folder), 0);
    assert_int_equal(try_open(&writer, path, NULL, &error), BP_ERROR_IO);
    fixture_remove_folder(folder);
    assert_int_equal(try_open(&writer, folder, NULL, &error), BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOENT);
    assert_non_null(strstr(error.text, folder));
    assert_null(writer);
}

static void a_record_of_another_network_is_refused(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_runlog_writer *writer;
    bp_record record;
    bp_error error;
    fixture_make_folder(folder);
    assert_int_equal(try_open(&writer, folder, NULL, &error), BP_OK);
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS + 1, NULL), BP_OK);
    uint8_t bytes[512];
    bp_writer encoded;
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    assert_int_equal(bp_runlog_writer_step(writer, 0, bytes, encoded.length, &error),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(bp_runlog_writer_step(writer, 0, bytes, 0, &error), BP_ERROR_ARGUMENT);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_STOPPED, &error), BP_OK);
    assert_int_equal(fixture_read_log(folder).end, BP_RUN_STOPPED);
    assert_int_equal(bp_runlog_writer_close(NULL, BP_RUN_STOPPED, &error), BP_OK);
    bp_record_finish(&record, NULL);
    fixture_remove_folder(folder);
}

static void fsync_about_once_a_second(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    fixture_faults faults = {.fail_at = -1, .steady = 100.0};
    const bp_io io = fixture_io(&faults);
    const bp_runlog_options options = {.io = &io, .direct = true};
    bp_runlog_writer *writer;
    bp_error error;
    fixture_make_folder(folder);
    assert_int_equal(try_open(&writer, folder, &options, &error), BP_OK);
    const int64_t before = faults.n_fsyncs;
    for (int i = 0; i < 100; i++) { /* 2.5 seconds */
        faults.steady = 100.0 + 0.025 * (i + 1);
        assert_int_equal(fixture_put_step(writer, i, &error), BP_OK);
    }
    assert_int_equal(faults.n_fsyncs - before, 2);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_int_equal(faults.n_fsyncs - before, 3);
    assert_int_equal(faults.open_files, 0);
    fixture_remove_folder(folder);
}

static void nothing_is_allocated_after_open(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    fixture_memory memory = {.left = -1};
    const bp_runlog_options options = {.allocator = fixture_allocator(&memory),
                                       .segment_bytes = 1200};
    bp_runlog_writer *writer;
    bp_error error;
    fixture_make_folder(folder);
    assert_int_equal(try_open(&writer, folder, &options, &error), BP_OK);
    const int64_t requests = memory.requests;
    assert_true(requests > 0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(fixture_put_step(writer, i, &error), BP_OK);
    }
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_int_equal(memory.requests, requests);
    assert_int_equal(memory.in_use, 0);
    fixture_remove_folder(folder);
}

static void every_failing_allocation(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_status status = BP_ERROR_MEMORY;
    for (int64_t n = 0; status != BP_OK; n++) {
        assert_true(n < 50);
        fixture_memory memory = {.left = n};
        const bp_runlog_options options = {.allocator = fixture_allocator(&memory)};
        bp_runlog_writer *writer;
        bp_error error;
        fixture_make_folder(folder);
        status = try_open(&writer, folder, &options, &error);
        if (status == BP_OK) {
            assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
            assert_true(n >= 5);
        } else {
            assert_int_equal(status, BP_ERROR_MEMORY);
            assert_int_equal(n_segments(folder), 0);
        }
        assert_int_equal(memory.in_use, 0);
        fixture_remove_folder(folder);
    }
}

/* Writes STEPS steps through faults, going on after each failure, and marks what was acknowledged.
 * False when the log could not even be opened. */
static bool write_through(fixture_faults *faults, const char *folder, bool acknowledged[STEPS],
                          bool *closed) {
    const bp_io io = fixture_io(faults);
    fixture_memory memory = {.left = -1};
    const bp_runlog_options options = {
        .io = &io, .direct = true, .allocator = fixture_allocator(&memory), .segment_bytes = 1200};
    bp_runlog_writer *writer;
    bp_error error;
    memset(acknowledged, 0, STEPS * sizeof *acknowledged);
    const bp_status opened = try_open(&writer, folder, &options, &error);
    if (opened != BP_OK) {
        assert_int_equal(opened, BP_ERROR_IO);
        assert_int_equal(error.os_errno, ENOSPC);
        assert_non_null(strstr(error.text, folder)); /* its log, or the note of a ring */
        assert_int_equal(memory.in_use, 0);
        return false;
    }
    for (int64_t step = 0; step < STEPS; step++) {
        faults->steady += 0.3;
        const bp_status status = fixture_put_step(writer, step, &error);
        assert_true(status == BP_OK || status == BP_ERROR_IO);
        if (status == BP_ERROR_IO) assert_non_null(strstr(error.text, folder));
        acknowledged[step] = status == BP_OK;
    }
    *closed = bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error) == BP_OK;
    assert_int_equal(memory.in_use, 0);
    return true;
}

static void check_after_faults(const char *folder, const bool acknowledged[STEPS], bool closed,
                               bool persistent) {
    const fixture_reading reading = fixture_read_log(folder);
    uint64_t not_given = 0;
    assert_int_equal(reading.opened, BP_OK);
    for (int i = 0; i < STEPS; i++) {
        if (acknowledged[i]) assert_true(reading.given[i]);
        if (!reading.given[i]) not_given++;
    }
    if (closed) assert_int_equal(reading.end, BP_RUN_FINISHED);
    /* What was lost is counted as soon as anything could be written again. */
    if (!persistent && closed) assert_true(reading.damage.lost_records >= not_given);
    if (!persistent) assert_true(not_given <= 1);
}

static void every_failing_call(void **state) {
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++) {
        fixture_faults faults = {.failed = 1};
        int64_t n_lost = 0;
        for (int64_t k = 0; faults.failed > 0; k++) {
            char folder[FIXTURE_PATH_BYTES];
            bool acknowledged[STEPS], closed = false;
            faults = (fixture_faults){.fail_at = k, .persistent = persistent};
            assert_true(k < 300);
            fixture_make_folder(folder);
            if (write_through(&faults, folder, acknowledged, &closed))
                check_after_faults(folder, acknowledged, closed, persistent);
            else if (!persistent)
                assert_int_equal(n_segments(folder), 0);
            assert_int_equal(faults.open_files, 0);
            for (int i = 0; i < STEPS; i++) n_lost += !acknowledged[i];
            fixture_remove_folder(folder);
        }
        assert_true(n_lost > 0); /* the faults did hit something */
    }
}

/* The disk is full for three steps: the torn fragment stays, what follows goes into a new segment
 * that says first what is missing. */
static void a_full_disk_leaves_a_gap_record(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    static fixture_frame frames[FIXTURE_MAX_FRAMES];
    fixture_faults faults = {.fail_at = -1};
    const bp_io io = fixture_io(&faults);
    const bp_runlog_options options = {.io = &io, .direct = true};
    bp_runlog_writer *writer;
    bp_error error;
    bp_segment_id salt;
    fixture_make_folder(folder);
    assert_int_equal(try_open(&writer, folder, &options, &error), BP_OK);
    for (int64_t step = 0; step < 10; step++) {
        faults.fail_at = step >= 4 && step < 7 ? faults.calls : -1;
        faults.persistent = true;
        assert_int_equal(fixture_put_step(writer, step, &error),
                         faults.fail_at >= 0 ? BP_ERROR_IO : BP_OK);
    }
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_int_equal(n_segments(folder), 2);
    fixture_bytes log = fixture_read_file(fixture_segment(path, folder, 2));
    fixture_frames(log, frames, &salt);
    assert_int_equal(frames[0].frame.type, BP_RUNLOG_MODEL);
    assert_int_equal(frames[1].frame.type, BP_RUNLOG_GAP);
    bp_cursor gap;
    bp_cursor_init(&gap, log.bytes + frames[1].place + BP_FRAME_HEADER_BYTES,
                   frames[1].frame.n_bytes);
    assert_int_equal(bp_read_varint(&gap), 1); /* reason: a write failed */
    assert_int_equal(bp_read_varint(&gap), 3);
    assert_int_equal(bp_read_varint(&gap), 4);
    assert_int_equal(bp_read_varint(&gap), 6);
    assert_false(gap.bad);
    assert_int_equal(frames[2].step, 7);
    const fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 7);
    assert_int_equal(reading.damage.lost_records, 3);
    assert_int_equal(reading.damage.damaged_places, 1); /* the fragment */
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    bp_release(NULL, log.bytes, log.length + 1, 1);
    fixture_remove_folder(folder);
}

static void the_folder_vanishes(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    const bp_runlog_options options = {.segment_bytes = 1200, .direct = true};
    bp_runlog_writer *writer;
    bp_error error;
    bp_status last = BP_OK;
    fixture_make_folder(folder);
    assert_int_equal(try_open(&writer, folder, &options, &error), BP_OK);
    fixture_remove_folder(folder);
    for (int64_t step = 0; step < 20; step++) {
        last = fixture_put_step(writer, step, &error);
    }
    assert_int_equal(last, BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOENT);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_ERROR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_run_without_steps),
        cmocka_unit_test(segments_rotate),
        cmocka_unit_test(the_model_comes_again),
        cmocka_unit_test(folders_that_will_not_do),
        cmocka_unit_test(a_record_of_another_network_is_refused),
        cmocka_unit_test(fsync_about_once_a_second),
        cmocka_unit_test(nothing_is_allocated_after_open),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(every_failing_call),
        cmocka_unit_test(a_full_disk_leaves_a_gap_record),
        cmocka_unit_test(the_folder_vanishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
