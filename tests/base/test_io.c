/* SPDX-License-Identifier: Apache-2.0 */
#include "../faults.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[128];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/backprobe-io-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static size_t files_in_folder(void) {
    size_t n = 0;
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));) n += entry->d_name[0] != '.';
    closedir(entries);
    return n;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *entries = opendir(folder);
    for (const struct dirent *entry; entries && (entry = readdir(entries));)
        if (entry->d_name[0] != '.') unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries) closedir(entries);
    return rmdir(folder);
}

static void put(const char *bytes, size_t n_bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
}

static void assert_holds(const void *expected, size_t n_expected) {
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    assert_int_equal(bp_io_read_file(&bp_io_system, path, 1 << 24, NULL, &bytes, &n_bytes, NULL),
                     BP_OK);
    assert_int_equal(n_bytes, n_expected);
    assert_memory_equal(bytes, expected, n_expected);
    bp_release(NULL, bytes, n_bytes + 1, 1);
}

static void files_come_back_whole(void **state) {
    (void)state;
    static uint8_t bytes[300000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7919 >> 5);
    const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 300000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        assert_int_equal(bp_io_write_file_atomic(&bp_io_system, path, bytes, sizes[i], NULL, NULL),
                         BP_OK);
        assert_holds(bytes, sizes[i]);
        assert_int_equal(files_in_folder(), 1);
    }
}

static void a_relative_path_needs_no_folder(void **state) {
    (void)state;
    const int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(folder), 0);
    const bp_status status =
        bp_io_write_file_atomic(&bp_io_system, "file", "relative", 8, NULL, NULL);
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_int_equal(status, BP_OK);
    assert_holds("relative", 8);
}

static void reading_stops_at_the_limit(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t n_bytes;
    bp_error error;
    put("12345678", 8);
    assert_int_equal(bp_io_read_file(&bp_io_system, path, 8, NULL, &bytes, &n_bytes, &error),
                     BP_OK);
    assert_int_equal(n_bytes, 8);
    assert_int_equal(bytes[8], 0);
    bp_release(NULL, bytes, n_bytes + 1, 1);
    for (size_t limit = 0; limit < 8; limit++)
        assert_int_equal(
            bp_io_read_file(&bp_io_system, path, limit, NULL, &bytes, &n_bytes, &error),
            BP_ERROR_LIMIT);
    /* A file without an end is not read for ever. */
    assert_int_equal(
        bp_io_read_file(&bp_io_system, "/dev/zero", 100000, NULL, &bytes, &n_bytes, &error),
        BP_ERROR_LIMIT);
}

static void what_cannot_be_opened_is_told(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t n_bytes;
    bp_error error;
    assert_int_equal(bp_io_read_file(&bp_io_system, path, 8, NULL, &bytes, &n_bytes, &error),
                     BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOENT);
    assert_non_null(strstr(error.text, path));
    assert_int_equal(bp_io_read_file(&bp_io_system, folder, 8, NULL, &bytes, &n_bytes, &error),
                     BP_ERROR_IO);
    assert_int_equal(error.os_errno, EISDIR);
    assert_int_equal(
        bp_io_write_file_atomic(&bp_io_system, "/nowhere/at/all", "x", 1, NULL, &error),
        BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOENT);
}

static const char old_bytes[] = "the old file", new_bytes[] = "the new and longer file";

static bool write_new(faulty_system *system, bp_error *error) {
    const bp_io io = faulty_io(system);
    const bp_status status =
        bp_io_write_file_atomic(&io, path, new_bytes, sizeof new_bytes, NULL, error);
    assert_int_equal(system->open_files, 0);
    assert_true(status == BP_OK || status == BP_ERROR_IO);
    return status == BP_OK;
}

/* Every k-th call fails once: the old file stands whole, or the new one does; nothing is left. */
static void a_failing_call_spares_the_old_file(void **state) {
    (void)state;
    size_t n_failed = 0, n_folder_syncs = 0;
    for (size_t k = 1;; k++) {
        put(old_bytes, sizeof old_bytes);
        faulty_system system = {.fail_at = k, .error = ENOSPC, .most = 5};
        bp_error error;
        const bool good = write_new(&system, &error);
        assert_int_equal(files_in_folder(), 1);
        if (system.calls < k) {
            assert_true(good);
            break;
        }
        if (good) { /* a descriptor that was only read could not be closed: no harm */
            assert_string_equal(system.failed, "close");
            assert_holds(new_bytes, sizeof new_bytes);
            continue;
        }
        n_failed++;
        assert_int_equal(error.os_errno, ENOSPC);
        if (strstr(error.text, "durable")) {
            n_folder_syncs++;
            assert_string_equal(system.failed, "fsync");
            assert_holds(new_bytes, sizeof new_bytes);
        } else {
            assert_holds(old_bytes, sizeof old_bytes);
        }
    }
    /* folder, open, 5 writes, fsync, close, open, 6 reads, rename, fsync of the folder */
    assert_int_equal(n_failed, 18);
    assert_int_equal(n_folder_syncs, 1);
}

static void a_signal_is_no_failure(void **state) {
    (void)state;
    size_t n_interrupted = 0;
    for (size_t k = 1;; k++) {
        put(old_bytes, sizeof old_bytes);
        faulty_system system = {.fail_at = k, .error = EINTR, .most = 5};
        const bool good = write_new(&system, NULL);
        if (system.calls < k) break;
        if (strcmp(system.failed, "close") == 0 || strcmp(system.failed, "rename") == 0) continue;
        assert_true(good);
        assert_holds(new_bytes, sizeof new_bytes);
        n_interrupted++;
    }
    assert_true(n_interrupted > 10);
}

static void a_file_that_reads_back_differently_is_refused(void **state) {
    (void)state;
    put(old_bytes, sizeof old_bytes);
    faulty_system system = {.flip_written = 1};
    bp_error error;
    assert_false(write_new(&system, &error));
    assert_non_null(strstr(error.text, "other bytes were read back"));
    assert_holds(old_bytes, sizeof old_bytes);
    assert_int_equal(files_in_folder(), 1);
}

static ssize_t write_nothing(void *context, int file, const void *bytes, size_t n_bytes) {
    (void)context, (void)file, (void)bytes, (void)n_bytes;
    return 0;
}

static void a_write_without_progress_ends(void **state) {
    (void)state;
    bp_io io = bp_io_system;
    io.write = write_nothing;
    errno = 0;
    assert_false(bp_io_write_all(&io, 1, "x", 1));
    assert_int_equal(errno, EIO);
    assert_true(bp_io_write_all(&io, 1, NULL, 0));
}

static void leftovers_of_a_killed_writer_are_no_obstacle(void **state) {
    (void)state;
    char leftover[160];
    snprintf(leftover, sizeof leftover, "%s.tmp0", path);
    const int file = open(leftover, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(bp_io_write_file_atomic(&bp_io_system, path, "x", 1, NULL, NULL), BP_OK);
    assert_holds("x", 1);
    assert_int_equal(files_in_folder(), 2); /* somebody else's file is not touched */
}

static void a_failing_allocation_is_told(void **state) {
    (void)state;
    static char bytes[200000];
    put(bytes, sizeof bytes);
    size_t n_failed = 0;
    for (size_t n = 1;; n++) {
        faulty_memory memory = {.fail_at = n};
        const bp_allocator allocator = faulty_allocator(&memory);
        uint8_t *found = NULL;
        size_t n_found = 0;
        bp_status status =
            bp_io_write_file_atomic(&bp_io_system, path, bytes, sizeof bytes, &allocator, NULL);
        if (status == BP_OK)
            status =
                bp_io_read_file(&bp_io_system, path, 1 << 20, &allocator, &found, &n_found, NULL);
        if (status == BP_OK) {
            assert_int_equal(n_found, sizeof bytes);
            bp_release(&allocator, found, n_found + 1, 1);
        }
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
        if (status == BP_OK) break;
        assert_int_equal(status, BP_ERROR_MEMORY);
        n_failed++;
    }
    assert_true(n_failed >= 3);
}

static void clocks_run(void **state) {
    (void)state;
    assert_true(bp_io_system.wall_clock(NULL) > 1.6e9);
    const double before = bp_io_system.steady_clock(NULL);
    assert_true(bp_io_system.steady_clock(NULL) >= before);
    char made[160];
    snprintf(made, sizeof made, "%s/made", folder);
    assert_int_equal(bp_io_system.mkdir(NULL, made, 0700), 0);
    assert_int_equal(rmdir(made), 0);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(files_come_back_whole),
        IN_FOLDER(a_relative_path_needs_no_folder),
        IN_FOLDER(reading_stops_at_the_limit),
        IN_FOLDER(what_cannot_be_opened_is_told),
        IN_FOLDER(a_failing_call_spares_the_old_file),
        IN_FOLDER(a_signal_is_no_failure),
        IN_FOLDER(a_file_that_reads_back_differently_is_refused),
        IN_FOLDER(a_write_without_progress_ends),
        IN_FOLDER(leftovers_of_a_killed_writer_are_no_obstacle),
        IN_FOLDER(a_failing_allocation_is_told),
        IN_FOLDER(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
