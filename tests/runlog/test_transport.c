/* SPDX-License-Identifier: Apache-2.0 */
/* The way through the ring: what the caller is told, what a slow, full or broken disk does to it,
 * and what a fork, signals and the lack of shared memory do. */
#include "fixture.h"
#include "record/event.h"
#include "runlog/reader.h"
#include "runlog/ring_file.h"
#include "runlog/scan.h"
#include "slow_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char ring_folder[] = "/dev/shm/backprobe-test-XXXXXX";

static size_t files_in(const char *folder) {
    size_t n = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    const struct dirent *entry;
    while ((entry = readdir(directory))) n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static void empty_ring_folder(void) {
    DIR *directory = opendir(ring_folder);
    assert_non_null(directory);
    const struct dirent *entry;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
    closedir(directory);
}

static bool has_note(const char *folder) {
    char path[FIXTURE_PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s/ring", folder);
    return access(path, F_OK) == 0;
}

static size_t n_segments(const char *folder) {
    char path[FIXTURE_PATH_BYTES];
    uint32_t n = 0;
    while (access(fixture_segment(path, folder, n + 1), F_OK) == 0) n++;
    return n;
}

static bp_runlog_writer *open_writer(const char *folder, const bp_runlog_options *options) {
    bp_runlog_writer *writer;
    bp_error error;
    bp_model *model = fixture_model();
    if (bp_runlog_writer_open(&writer, folder, model, options, &error) != BP_OK)
        fail_msg("%s", error.text);
    bp_model_close(model);
    return writer;
}

static void put_steps(bp_runlog_writer *writer, int64_t from, int64_t to) {
    bp_error error;
    for (int64_t step = from; step < to; step++)
        if (fixture_put_step(writer, step, &error) != BP_OK) fail_msg("%s", error.text);
}

static void wait_for(const atomic_int *value, int least) {
    for (int i = 0; i < 20000 && atomic_load(value) < least; i++) usleep(500);
    assert_true(atomic_load(value) >= least);
}

/* --- the usual way -------------------------------------------------------------------------- */

static void a_live_run_can_be_read(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    const bp_runlog_options options = {.ring_folder = ring_folder};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    const bp_runlog_transport transport = bp_runlog_writer_transport(writer);
    assert_true(transport.ring);
    assert_null(transport.reason);
    assert_true(has_note(folder));
    assert_int_equal(files_in(ring_folder), 1);
    errno = 4711;
    put_steps(writer, 0, 10);
    assert_int_equal(errno, 4711);
    fixture_reading reading = {0};
    for (int i = 0; i < 2000 && reading.n_given < 10; i++) {
        usleep(1000);
        reading = fixture_read_log(folder);
        assert_int_equal(reading.opened, BP_OK);
        assert_int_equal(reading.damage.damaged_places, 0);
    }
    assert_int_equal(reading.n_given, 10);
    assert_int_equal(reading.end, BP_RUN_OPEN);
    assert_true(has_note(folder)); /* a reader leaves the ring of a live run alone */
    assert_int_equal(files_in(ring_folder), 1);
    put_steps(writer, 10, 20);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_int_equal(errno, 4711);
    reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 20);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    assert_false(has_note(folder));
    assert_int_equal(files_in(ring_folder), 0);
    assert_int_equal(n_segments(folder), 1);
    fixture_remove_folder(folder);
}

static void losses_share_a_frame(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    static fixture_frame frames[FIXTURE_MAX_FRAMES];
    bp_segment_id salt;
    bp_runlog_reader *reader;
    const bp_record *record;
    const bp_runlog_options options = {.ring_folder = ring_folder};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    for (int64_t step = 0; step < 2000; step++)
        assert_int_equal(
            bp_runlog_writer_loss(writer, step, step == 7 ? (double)NAN : 0.5 + (double)step, NULL),
            BP_OK);
    put_steps(writer, 2000, 2001);
    assert_int_equal(bp_runlog_writer_loss(writer, 2001, 1, NULL), BP_OK);
    assert_int_equal(bp_runlog_writer_loss(writer, 2003, 1, NULL), BP_OK); /* one was skipped */
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    fixture_bytes log = fixture_read_file(fixture_segment(path, folder, 1));
    const size_t n = fixture_frames(log, frames, &salt);
    assert_true(n < 60); /* 2000 losses in a few frames of at most 512 */
    assert_true(log.length < 30000);
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    for (int64_t step = 0; step < 2004; step++) {
        if (step == 2002) continue;
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        assert_non_null(record);
        assert_int_equal(record->step, step);
        if (step >= 2000) continue;
        const double loss = bp_record_get(record, BP_Q_LOSS, 0);
        assert_true(step == 7 ? isnan(loss) : loss == 0.5 + (double)step);
        assert_true(record->wall_time > 1.6e9);
    }
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_null(record);
    assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
    bp_runlog_reader_close(reader);
    bp_release(NULL, log.bytes, log.length + 1, 1);
    fixture_remove_folder(folder);
}

static void nothing_is_allocated_after_open(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    fixture_memory memory = {.left = -1};
    const bp_runlog_options options = {
        .allocator = fixture_allocator(&memory), .segment_bytes = 1200, .ring_folder = ring_folder};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    const int64_t requests = memory.requests;
    put_steps(writer, 0, 100);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_int_equal(memory.requests, requests);
    assert_int_equal(memory.in_use, 0);
    assert_int_equal(fixture_read_log(folder).n_given, 100);
    fixture_remove_folder(folder);
}

static void every_failing_allocation(void **state) {
    (void)state;
    bool ring = false;
    for (int64_t n = 0; !ring; n++) {
        char folder[FIXTURE_PATH_BYTES];
        fixture_memory memory = {.left = n};
        const bp_runlog_options options = {.allocator = fixture_allocator(&memory),
                                           .ring_folder = ring_folder};
        bp_runlog_writer *writer;
        bp_model *model = fixture_model();
        assert_true(n < 50);
        fixture_make_folder(folder);
        const bp_status status = bp_runlog_writer_open(&writer, folder, model, &options, NULL);
        bp_model_close(model);
        if (status == BP_OK) {
            ring = bp_runlog_writer_transport(writer).ring;
            put_steps(writer, 0, 3);
            assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
            assert_int_equal(fixture_read_log(folder).n_given, 3);
        } else {
            assert_int_equal(status, BP_ERROR_MEMORY);
        }
        assert_int_equal(memory.in_use, 0);
        assert_int_equal(files_in(ring_folder), 0);
        assert_false(has_note(folder));
        fixture_remove_folder(folder);
    }
}

/* --- no ring -------------------------------------------------------------------------------- */

static void assert_direct(const bp_runlog_options *options, const char *reason) {
    char folder[FIXTURE_PATH_BYTES];
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, options);
    const bp_runlog_transport transport = bp_runlog_writer_transport(writer);
    assert_false(transport.ring);
    if (!strstr(transport.reason, reason)) fail_msg("%s", transport.reason);
    put_steps(writer, 0, 4);
    assert_int_equal(fixture_read_log(folder).n_given, 4); /* at once */
    assert_int_equal(bp_runlog_writer_loss(writer, 4, 1.5, NULL), BP_OK);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_false(has_note(folder));
    assert_int_equal(files_in(ring_folder), 0);
    fixture_remove_folder(folder);
}

static int stat_is_missing(void *context, const char *path, int flags, mode_t mode) {
    (void)context;
    if (strncmp(path, "/proc/", 6) != 0) return bp_io_system.open(NULL, path, flags, mode);
    errno = ENOENT;
    return -1;
}

static void without_shared_memory_the_caller_writes(void **state) {
    (void)state;
    slow_disk disk = {.reserve_error = ENOSPC};
    const bp_io io = slow_io(&disk);
    assert_direct(&(bp_runlog_options){.direct = true}, "asked for");
    assert_direct(&(bp_runlog_options){.ring_folder = "."}, "no shared memory");
    assert_direct(&(bp_runlog_options){.ring_folder = "/no/such/folder"}, "no shared memory");
    assert_direct(&(bp_runlog_options){.ring_folder = ring_folder, .io = &io}, "no room");
    disk.reserve_error = 0;
    disk.map_error = ENOMEM;
    assert_direct(&(bp_runlog_options){.ring_folder = ring_folder, .io = &io}, "mapped");
    bp_io no_proc = bp_io_system;
    no_proc.open = stat_is_missing;
    assert_direct(&(bp_runlog_options){.ring_folder = ring_folder, .io = &no_proc}, "/proc");
}

/* --- the disk ------------------------------------------------------------------------------- */

/* What a full ring drops first, and what a reader learns of it. */
static void a_frozen_disk_holds_nobody_up(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    slow_disk disk = {0};
    const bp_io io = slow_io(&disk);
    const bp_runlog_options options = {
        .io = &io, .ring_folder = ring_folder, .ring_bytes = 16384, .allocator = {0}};
    bp_error error;
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    const long long writes = atomic_load(&disk.n_writes);
    atomic_store(&disk.frozen, 1);
    int64_t step = 0;
    put_steps(writer, step, 1);
    wait_for(&disk.waiting, 1);
    assert_int_equal(atomic_load(&disk.n_writes), writes + 1);
    bp_status status = BP_OK;
    while (status == BP_OK && step < 200) status = fixture_put_step(writer, ++step, &error);
    assert_int_equal(status, BP_ERROR_IO);
    assert_non_null(strstr(error.text, "does not keep up"));
    const int64_t first_dropped = step;
    int64_t n_dropped = 1, n_losses = 0;
    for (; step < 250; n_dropped++)
        assert_int_equal(fixture_put_step(writer, ++step, NULL), BP_ERROR_IO);
    while (bp_runlog_writer_loss(writer, step + 1, 0.25, NULL) == BP_OK) step++, n_losses++;
    n_dropped++;
    assert_true(n_losses > 30);
    step++;
    const bp_event event = {.kind = BP_EVENT_CHECKPOINT,
                            .as.checkpoint = {.step = 5, .file = "a.safetensors"}};
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    bp_writer encoded;
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_event_encode(&event, &encoded);
    assert_int_equal(
        bp_runlog_writer_event(writer, BP_RUNLOG_CHECKPOINT, bytes, encoded.length, NULL), BP_OK);
    atomic_store(&disk.frozen, 0);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);

    bp_runlog_reader *reader;
    bp_runlog_entry entry;
    bp_event_gap gaps[2] = {0};
    int64_t n_gaps = 0, n_checkpoints = 0, n_read = 0;
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    for (;;) {
        assert_int_equal(bp_runlog_reader_next_entry(reader, &entry, NULL), BP_OK);
        if (!entry.record && !entry.event) break;
        n_read += entry.record != NULL;
        if (!entry.event) continue;
        n_checkpoints += entry.event->kind == BP_EVENT_CHECKPOINT;
        if (entry.event->kind == BP_EVENT_GAP) gaps[n_gaps++ % 2] = entry.event->as.gap;
    }
    assert_int_equal(n_gaps, 2);
    assert_int_equal(gaps[0].reason, 2);
    assert_int_equal(gaps[0].first_step, first_dropped);
    assert_int_equal(gaps[0].last_step, 250);
    assert_int_equal(gaps[0].n_steps, 250 - first_dropped + 1);
    assert_int_equal(gaps[1].n_steps, 1);
    assert_int_equal(gaps[1].first_step, step);
    assert_int_equal(n_checkpoints, 1);
    assert_int_equal(n_read, first_dropped + n_losses);
    assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, n_dropped);
    assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_FINISHED);
    bp_runlog_reader_close(reader);
    fixture_remove_folder(folder);
}

/* The writer that a hanging thread uses stays for ever: the leak checker must see who has it. */
static bp_runlog_writer *left_behind;

static void closing_is_bounded(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    static slow_disk disk;
    static bp_io io;
    io = slow_io(&disk);
    const bp_runlog_options options = {.io = &io, .ring_folder = ring_folder};
    bp_error error;
    fixture_make_folder(folder);
    left_behind = open_writer(folder, &options);
    atomic_store(&disk.frozen, 1);
    put_steps(left_behind, 0, 5);
    wait_for(&disk.waiting, 1);
    assert_int_equal(bp_runlog_writer_close(left_behind, BP_RUN_FINISHED, &error), BP_ERROR_IO);
    assert_non_null(strstr(error.text, "hangs"));
    assert_non_null(strstr(error.text, folder));
    assert_true(has_note(folder)); /* killed now, the run would be salvaged */
    atomic_store(&disk.frozen, 0);
    for (int i = 0; i < 5000 && files_in(ring_folder) > 0; i++) usleep(1000);
    assert_false(has_note(folder));
    const fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 5);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    fixture_remove_folder(folder);
}

/* Frames of steps in all segments. */
static size_t n_step_frames(const char *folder) {
    size_t n = 0;
    for (uint32_t i = 1; i <= n_segments(folder); i++) {
        char path[FIXTURE_PATH_BYTES];
        bp_scan scan;
        bp_scan_start start;
        bp_scan_event event;
        assert_int_equal(bp_scan_open(&scan, &bp_io_system, fixture_segment(path, folder, i),
                                      &bp_allocator_system, NULL),
                         BP_OK);
        assert_int_equal(bp_scan_header(&scan, &start, NULL), BP_OK);
        scan.salt = start.header.id;
        do {
            assert_int_equal(bp_scan_next(&scan, &event, NULL), BP_OK);
            n += event.kind == BP_SCAN_FRAME && event.frame.type == BP_RUNLOG_STEP;
        } while (event.kind != BP_SCAN_END);
        bp_scan_close(&scan);
    }
    return n;
}

/* For a while nothing can be written: all waits in the ring, and goes into a new segment. */
static void a_full_disk_costs_nothing_for_a_while(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    slow_disk disk = {0};
    const bp_io io = slow_io(&disk);
    const bp_runlog_options options = {.io = &io, .ring_folder = ring_folder};
    bp_error error;
    bp_status status = BP_OK;
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    put_steps(writer, 0, 20);
    usleep(60000);
    atomic_store(&disk.error, ENOSPC);
    int64_t step = 20, n_told = 0;
    for (; step < 100; step++) {
        status = fixture_put_step(writer, step, &error);
        if (status == BP_OK) {
            usleep(2000);
            continue;
        }
        assert_int_equal(status, BP_ERROR_IO);
        assert_int_equal(error.os_errno, ENOSPC);
        assert_non_null(strstr(error.text, folder));
        n_told++;
    }
    assert_int_equal(n_told, 1); /* once, not at each step */
    atomic_store(&disk.error, 0);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_true(n_segments(folder) >= 2);
    assert_int_equal(n_step_frames(folder), 100); /* what was taken whole is not written again */
    const fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 100);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    assert_int_equal(files_in(ring_folder), 0);
    fixture_remove_folder(folder);
}

static void a_disk_that_stays_full(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    slow_disk disk = {0};
    const bp_io io = slow_io(&disk);
    const bp_runlog_options options = {.io = &io, .ring_folder = ring_folder};
    bp_error error;
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    atomic_store(&disk.error, ENOSPC);
    put_steps(writer, 0, 3);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOSPC);
    assert_true(has_note(folder)); /* for a reader, once this process is gone */
    assert_int_equal(files_in(ring_folder), 1);
    fixture_remove_folder(folder);
    empty_ring_folder();
}

static void after_a_failed_fsync_comes_a_new_segment(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    slow_disk disk = {0};
    const bp_io io = slow_io(&disk);
    const bp_runlog_options options = {.io = &io, .ring_folder = ring_folder};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    atomic_store(&disk.sync_error, EIO);
    put_steps(writer, 0, 1);
    for (int i = 0; i < 5000 && atomic_load(&disk.sync_error); i++) usleep(1000); /* about 1 s */
    assert_int_equal(atomic_load(&disk.sync_error), 0);
    usleep(100000);
    (void)!fixture_put_step(writer, 1, NULL);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_ERROR_IO);
    assert_int_equal(n_segments(folder), 2);
    const fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, 2);
    assert_int_equal(reading.damage.lost_records, 0);
    fixture_remove_folder(folder);
}

/* Whichever call fails once: what was acknowledged is read. With a ring nothing at all is lost. */
static void every_failing_call(void **state) {
    (void)state;
    enum { MANY = 20 };
    bool failed = true;
    int n_refused = 0, n_direct = 0;
    for (long long k = 1; failed; k++) {
        char folder[FIXTURE_PATH_BYTES];
        slow_disk disk = {.fail_at = k};
        const bp_io io = slow_io(&disk);
        const bp_runlog_options options = {
            .io = &io, .ring_folder = ring_folder, .segment_bytes = 1200};
        bool acknowledged[MANY] = {false};
        bp_runlog_writer *writer;
        bp_model *model = fixture_model();
        assert_true(k < 1000);
        fixture_make_folder(folder);
        const bp_status opened = bp_runlog_writer_open(&writer, folder, model, &options, NULL);
        bp_model_close(model);
        if (opened != BP_OK) {
            assert_int_equal(n_segments(folder), 0);
            n_refused++;
        } else {
            const bool ring = bp_runlog_writer_transport(writer).ring;
            for (int64_t step = 0; step < MANY; step++)
                acknowledged[step] = fixture_put_step(writer, step, NULL) == BP_OK;
            (void)!bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL);
            const fixture_reading reading = fixture_read_log(folder);
            for (int64_t step = 0; step < MANY; step++)
                assert_true(reading.given[step] || (!acknowledged[step] && !ring));
            if (ring) assert_int_equal(reading.damage.lost_records, 0);
            assert_int_equal(reading.end, BP_RUN_FINISHED);
            n_direct += !ring;
        }
        failed = atomic_load(&disk.calls) >= k;
        fixture_remove_folder(folder);
        empty_ring_folder(); /* the call that failed may have been the ring's removal */
    }
    assert_true(n_refused > 0 && n_direct > 0);
}

/* A stray write of the host into the ring is not taken for a record. */
static void memory_that_something_wrote_over(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[BP_RING_PATH_BYTES];
    slow_disk disk = {0};
    const bp_io io = slow_io(&disk);
    const bp_runlog_options options = {.io = &io, .ring_folder = ring_folder};
    bp_error error;
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    atomic_store(&disk.frozen, 1);
    put_steps(writer, 0, 1);
    wait_for(&disk.waiting, 1);
    put_steps(writer, 1, 10);
    assert_true(bp_ring_read_note(&bp_io_system, folder, path, NULL));
    const int file = open(path, O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    uint8_t byte;
    assert_int_equal(pread(file, &byte, 1, BP_RING_HEADER_BYTES + 1200), 1);
    byte ^= 4;
    assert_int_equal(pwrite(file, &byte, 1, BP_RING_HEADER_BYTES + 1200), 1);
    close(file);
    atomic_store(&disk.frozen, 0);
    for (int i = 0; i < 2000 && fixture_read_log(folder).n_given < 2; i++) usleep(1000);
    put_steps(writer, 10, 12);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_ERROR_IO);
    assert_non_null(strstr(error.text, "wrote over"));
    const fixture_reading reading = fixture_read_log(folder);
    assert_true(reading.n_given >= 4 && reading.n_given < 12);
    assert_int_equal(reading.damage.lost_records, 12 - reading.n_given);
    assert_int_equal(reading.damage.damaged_places, 0);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    fixture_remove_folder(folder);
}

/* Beyond the limit a signal would end the host. */
static void a_limit_on_the_size_of_files(void **state) {
    (void)state;
    struct rlimit before;
    char folder[FIXTURE_PATH_BYTES];
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {32768, before.rlim_max};
    const bp_runlog_options options = {.ring_folder = ring_folder};
    fixture_make_folder(folder);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bp_runlog_writer *writer = open_writer(folder, &options);
    const bool ring = bp_runlog_writer_transport(writer).ring;
    put_steps(writer, 0, 200);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(ring);
    assert_true(n_segments(folder) >= 2);
    assert_int_equal(fixture_read_log(folder).n_given, 200);
    fixture_remove_folder(folder);
}

/* --- the process ---------------------------------------------------------------------------- */

static void a_forked_child_does_nothing(void **state) {
    (void)state;
    for (int direct = 0; direct < 2; direct++) {
        char folder[FIXTURE_PATH_BYTES];
        const bp_runlog_options options = {.ring_folder = ring_folder, .direct = direct};
        fixture_make_folder(folder);
        bp_runlog_writer *writer = open_writer(folder, &options);
        put_steps(writer, 0, 5);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            bp_error error;
            bool good = true;
            for (int64_t step = 50; step < 60; step++)
                good = good && fixture_put_step(writer, step, &error) == BP_OK &&
                       bp_runlog_writer_loss(writer, step, 1, &error) == BP_OK;
            good = good && bp_runlog_writer_close(writer, BP_RUN_STOPPED, &error) == BP_OK;
            _exit(good ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(has_note(folder), !direct);
        put_steps(writer, 5, 10);
        assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
        const fixture_reading reading = fixture_read_log(folder);
        assert_int_equal(reading.n_given, 10);
        assert_int_equal(reading.end, BP_RUN_FINISHED);
        assert_int_equal(reading.damage.lost_records, 0);
        fixture_remove_folder(folder);
    }
}

/* The line of /proc/self/task/TID/status that begins with `key`, of the thread that writes. */
static bool status_of_the_thread(const char *key, char line[256]) {
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    bool found = false;
    assert_non_null(tasks);
    while (!found && (entry = readdir(tasks))) {
        char path[300];
        bool is_it = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        while (file && !found && fgets(line, 256, file)) {
            if (strcmp(line, "Name:\tbackprobe-log\n") == 0) is_it = true;
            found = is_it && strncmp(line, key, strlen(key)) == 0;
        }
        if (file) fclose(file);
    }
    closedir(tasks);
    return found;
}

static void the_thread_takes_no_signals(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], line[256];
    sigset_t before, after;
    const bp_runlog_options options = {.ring_folder = ring_folder};
    fixture_make_folder(folder);
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    bp_runlog_writer *writer = open_writer(folder, &options);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int number = 1; number < 65; number++)
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
    put_steps(writer, 0, 1);
    for (int i = 0; i < 5000 && fixture_read_log(folder).n_given < 1; i++) usleep(1000);
    assert_true(status_of_the_thread("SigBlk:", line)); /* of a thread that has begun its work */
    const unsigned long long blocked = strtoull(line + 7, NULL, 16);
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP) assert_true(blocked >> (number - 1) & 1);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_false(status_of_the_thread("SigBlk:", line));
    fixture_remove_folder(folder);
}

/* --- a network that grows ------------------------------------------------------------------- */

static void put_grown_step(bp_runlog_writer *writer, uint32_t n_layers, int64_t step) {
    uint8_t bytes[4096];
    bp_writer encoded;
    bp_record record;
    assert_int_equal(bp_record_init(&record, n_layers, NULL), BP_OK);
    record.step = step;
    bp_record_set(&record, BP_Q_LOSS, 0, 1.0);
    bp_record_set(&record, BP_Q_WEIGHT_RMS, n_layers, 0.25);
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    assert_int_equal(bp_runlog_writer_step(writer, step, bytes, encoded.length, NULL), BP_OK);
    bp_record_finish(&record, NULL);
}

static void add_layer(bp_model *model, const char *name) {
    const bp_layer layer = {.name = name,
                            .kind = BP_LAYER_DENSE,
                            .activation = BP_ACTIVATION_LINEAR,
                            .norm = BP_NORM_NONE,
                            .output_shape = {3, 1, 1},
                            .weight_init = {BP_INIT_PYTORCH_DEFAULT, 1.0},
                            .bias_init = {BP_INIT_ZEROS, 0.0}};
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
}

/* Far more layers than the buffers of the small network have room for. */
static void the_network_grows_much(void **state) {
    (void)state;
    enum { MANY = 1000 };
    for (int direct = 0; direct < 2; direct++) {
        char folder[FIXTURE_PATH_BYTES], name[BP_LAYER_NAME_BYTES];
        const bp_runlog_options options = {.ring_folder = ring_folder, .direct = direct};
        bp_runlog_reader *reader;
        const bp_record *record;
        fixture_make_folder(folder);
        bp_runlog_writer *writer = open_writer(folder, &options);
        bp_model *model = fixture_model();
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof name, "%0200d", i);
            add_layer(model, name);
        }
        assert_int_equal(bp_runlog_writer_model(writer, model, NULL), BP_OK);
        put_grown_step(writer, FIXTURE_LAYERS + MANY, 0);
        assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
        assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
        assert_int_equal(bp_model_n_layers(bp_runlog_reader_model(reader)), FIXTURE_LAYERS + MANY);
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        assert_non_null(record);
        assert_true(bp_record_has(record, BP_Q_WEIGHT_RMS, FIXTURE_LAYERS + MANY));
        bp_runlog_reader_close(reader);
        bp_model_close(model);
        fixture_remove_folder(folder);
    }
}

static void the_network_grows(void **state) {
    (void)state;
    for (int direct = 0; direct < 2; direct++) {
        char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
        const bp_runlog_options options = {.ring_folder = ring_folder, .direct = direct};
        bp_runlog_reader *reader;
        const bp_record *record;
        fixture_make_folder(folder);
        bp_runlog_writer *writer = open_writer(folder, &options);
        bp_model *model = fixture_model();
        put_grown_step(writer, FIXTURE_LAYERS, 0);
        assert_int_equal(bp_runlog_writer_model(writer, model, NULL), BP_OK); /* nothing new */
        add_layer(model, "fourth");
        assert_int_equal(bp_runlog_writer_model(writer, model, NULL), BP_OK);
        put_grown_step(writer, FIXTURE_LAYERS + 1, 1);
        add_layer(model, "fifth");
        add_layer(model, "sixth");
        assert_int_equal(bp_runlog_writer_model(writer, model, NULL), BP_OK);
        put_grown_step(writer, FIXTURE_LAYERS + 3, 2);
        assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
        assert_int_equal(n_segments(folder), 3);
        assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
        assert_int_equal(bp_model_n_layers(bp_runlog_reader_model(reader)), FIXTURE_LAYERS + 3);
        for (int64_t step = 0; step < 3; step++) {
            assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
            assert_non_null(record);
            assert_int_equal(record->step, step);
            const uint32_t n = FIXTURE_LAYERS + (step == 0 ? 0 : step == 1 ? 1 : 3);
            assert_true(bp_record_has(record, BP_Q_WEIGHT_RMS, n));
        }
        assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
        assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
        bp_runlog_reader_close(reader);
        /* The second segment knows the fourth layer from its begin. */
        assert_int_equal(
            bp_runlog_reader_open(&reader, fixture_segment(path, folder, 2), NULL, NULL), BP_OK);
        assert_true(bp_model_n_layers(bp_runlog_reader_model(reader)) >= FIXTURE_LAYERS + 1);
        bp_runlog_reader_close(reader);
        bp_model_close(model);
        fixture_remove_folder(folder);
    }
}

static void what_does_not_belong_is_refused(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    const bp_runlog_options options = {.ring_folder = ring_folder};
    static const uint8_t bytes[BP_RUNLOG_EVENT_BYTES + 1] = {FIXTURE_LAYERS};
    static uint8_t long_record[100000] = {FIXTURE_LAYERS};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    assert_int_equal(bp_runlog_writer_event(writer, BP_RUNLOG_STEP, bytes, 5, NULL),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(bp_runlog_writer_event(writer, BP_RUNLOG_FINDING, bytes, sizeof bytes, NULL),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(bp_runlog_writer_step(writer, 0, long_record, sizeof long_record, NULL),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_int_equal(fixture_read_log(folder).damage.lost_records, 0);
    fixture_remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_live_run_can_be_read),
        cmocka_unit_test(losses_share_a_frame),
        cmocka_unit_test(nothing_is_allocated_after_open),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(without_shared_memory_the_caller_writes),
        cmocka_unit_test(a_frozen_disk_holds_nobody_up),
        cmocka_unit_test(closing_is_bounded),
        cmocka_unit_test(a_full_disk_costs_nothing_for_a_while),
        cmocka_unit_test(a_disk_that_stays_full),
        cmocka_unit_test(after_a_failed_fsync_comes_a_new_segment),
        cmocka_unit_test(every_failing_call),
        cmocka_unit_test(memory_that_something_wrote_over),
        cmocka_unit_test(a_limit_on_the_size_of_files),
        cmocka_unit_test(a_forked_child_does_nothing),
        cmocka_unit_test(the_thread_takes_no_signals),
        cmocka_unit_test(the_network_grows),
        cmocka_unit_test(the_network_grows_much),
        cmocka_unit_test(what_does_not_belong_is_refused),
    };
    if (!mkdtemp(ring_folder)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (rmdir(ring_folder) != 0 && failed == 0) return 1;
    return failed;
}
