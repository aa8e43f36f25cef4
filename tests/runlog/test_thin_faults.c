/* SPDX-License-Identifier: Apache-2.0 */
/* Thinning on a system that fails, and one that is stopped: the log is whole whatever happens. */
#include "../faults.h"
#include "thin_fixture.h"

#include <fcntl.h>

enum { STEPS = 40 };

static bp_status run(bp_thinner *thinner, uint64_t max, uint64_t reserved, uint32_t current,
                     bp_error *error) {
    return bp_thinner_run(
        thinner,
        &(bp_thin_budget){.max_bytes = max, .reserved_bytes = reserved, .current = current}, error);
}

/* --- faults --------------------------------------------------------------------------------- */

static int quick_faulty_fsync(void *context, int file) {
    (void)file;
    return faulty_fails(context, "fsync") ? -1 : 0;
}

static void every_call_that_fails_leaves_the_log_whole(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, 20);
    thin_snapshot taken = thin_take(folder);
    const uint64_t max = thin_folder_bytes(folder) * 8 / 10;
    size_t n_failed = 0, n_told = 0;
    for (size_t fail_at = 1;; fail_at++) {
        thin_put_back(&taken, folder);
        faulty_system faults = {.fail_at = fail_at, .error = ENOSPC};
        bp_io io = faulty_io(&faults);
        io.fsync = quick_faulty_fsync;
        const bp_status status = thin_once(folder, &io, max, THIN_SEGMENTS, &error);
        assert_int_equal(faults.open_files, 0);
        if (!faults.failed) {
            assert_int_equal(status, BP_OK);
            break;
        }
        n_failed++;
        n_told += status != BP_OK;
        assert_true(status == BP_OK || status == BP_ERROR_IO);
        if (status == BP_ERROR_IO) assert_non_null(strstr(error.text, "No space left"));
        const size_t n = thin_assert_whole(&taken, folder);
        if (status == BP_OK) assert_true(n > 0 && thin_folder_bytes(folder) <= max);
        assert_int_equal(thin_once(folder, NULL, max, THIN_SEGMENTS, &error), BP_OK);
        assert_false(thin_has_aside(folder));
        assert_true(thin_folder_bytes(folder) <= max);
    }
    assert_true(n_failed > 60 && n_told > 15);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

static void every_allocation_that_fails_leaves_the_log_whole(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, 20);
    thin_snapshot taken = thin_take(folder);
    const uint64_t max = thin_folder_bytes(folder) * 8 / 10;
    size_t n_failed = 0;
    for (size_t fail_at = 1;; fail_at++) {
        thin_put_back(&taken, folder);
        faulty_memory memory = {.fail_at = fail_at};
        const bp_allocator allocator = faulty_allocator(&memory);
        const bp_io quick = thin_io();
        bp_thinner thinner;
        bp_status status = bp_thinner_init(&thinner, &quick, folder, THIN_RUN, &allocator, &error);
        if (status == BP_OK) {
            status = run(&thinner, max, 0, THIN_SEGMENTS, &error);
            bp_thinner_finish(&thinner);
        }
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
        assert_false(thin_has_aside(folder));
        thin_assert_whole(&taken, folder);
        if (memory.requests < fail_at) {
            assert_int_equal(status, BP_OK);
            break;
        }
        assert_int_equal(status, BP_ERROR_MEMORY);
        n_failed++;
    }
    assert_true(n_failed > 10);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

static void what_is_read_back_otherwise_is_not_taken(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    faulty_system faults = {.flip_written = 1};
    const bp_io io = faulty_io(&faults);
    assert_int_equal(thin_once(folder, &io, thin_folder_bytes(folder) / 2, THIN_SEGMENTS, &error),
                     BP_ERROR_IO);
    assert_non_null(strstr(error.text, "read back"));
    assert_int_equal(thin_assert_whole(&taken, folder), 0);
    assert_false(thin_has_aside(folder));
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

/* A disk that loses the end of what it took, in the middle of a frame. */
static ssize_t write_less(void *context, int file, const void *bytes, size_t n_bytes) {
    (void)context;
    const ssize_t n = bp_io_system.write(NULL, file, bytes, n_bytes - 100);
    return n < 0 ? n : (ssize_t)n_bytes;
}

static void a_twin_that_lost_its_end_is_not_taken(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    bp_io io = thin_io();
    io.write = write_less;
    assert_int_equal(thin_once(folder, &io, thin_folder_bytes(folder) / 2, THIN_SEGMENTS, &error),
                     BP_ERROR_IO);
    assert_int_equal(thin_assert_whole(&taken, folder), 0);
    assert_false(thin_has_aside(folder));
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

/* The system but for one file that cannot be opened. */
static int open_but_one(void *context, const char *path, int flags, mode_t mode) {
    if (strcmp(path, context) == 0) {
        errno = EACCES;
        return -1;
    }
    return bp_io_system.open(NULL, path, flags, mode);
}

static void an_unreadable_segment_is_left(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    bp_io io = bp_io_system;
    io.open = open_but_one;
    io.context = fixture_segment(path, folder, 1);
    assert_int_equal(thin_once(folder, &io, thin_folder_bytes(folder) / 2, THIN_SEGMENTS, &error),
                     BP_OK);
    assert_true(thin_is_as_before(&taken, folder, 1));
    assert_true(thin_assert_whole(&taken, folder) > 3);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

/* --- stopping and killing ------------------------------------------------------------------- */

static bool count_down(void *context) {
    int *left = context;
    return --*left > 0;
}

static void it_stops_when_told(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    static uint8_t payload[3 << 20];
    fixture_make_folder(folder);
    for (uint32_t index = 1; index <= THIN_SEGMENTS; index++) {
        craft segment;
        thin_begin(&segment, index, (index - 1) * 60, -1);
        for (int64_t i = 0; i < 60; i++) thin_add_step(&segment, (index - 1) * 60 + i, 0.5);
        if (index == 2) craft_frame(&segment, BP_RUNLOG_HEADER, payload, sizeof payload, 0);
        if (index == 2) craft_frame(&segment, BP_RUNLOG_HEADER, payload, sizeof payload, 0);
        thin_write(&segment, folder);
    }
    thin_snapshot taken = thin_take(folder);
    size_t n_stopped = 0;
    for (int calls = 1;; calls++) {
        int left = calls;
        const bp_io quick = thin_io();
        bp_thinner thinner;
        assert_int_equal(bp_thinner_init(&thinner, &quick, folder, THIN_RUN, NULL, &error), BP_OK);
        thin_put_back(&taken, folder);
        const bp_thin_budget budget = {.max_bytes = thin_folder_bytes(folder) - 20000,
                                       .current = THIN_SEGMENTS,
                                       .meanwhile = {count_down, &left}};
        assert_int_equal(bp_thinner_run(&thinner, &budget, &error), BP_OK);
        assert_false(thin_has_aside(folder));
        thin_assert_whole(&taken, folder);
        /* It goes on where it was stopped. */
        assert_int_equal(run(&thinner, budget.max_bytes, 0, THIN_SEGMENTS, &error), BP_OK);
        assert_true(thin_folder_bytes(folder) <= budget.max_bytes);
        bp_thinner_finish(&thinner);
        if (left > 0) break;
        n_stopped++;
    }
    assert_true(n_stopped >= 4);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_that_fails_leaves_the_log_whole),
        cmocka_unit_test(every_allocation_that_fails_leaves_the_log_whole),
        cmocka_unit_test(what_is_read_back_otherwise_is_not_taken),
        cmocka_unit_test(a_twin_that_lost_its_end_is_not_taken),
        cmocka_unit_test(an_unreadable_segment_is_left),
        cmocka_unit_test(it_stops_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
