/* SPDX-License-Identifier: Apache-2.0 */
/* A log that its writer keeps within max_log_bytes. */
#include "record/event.h"
#include "runlog/budget.h"
#include "thin_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 24000, FINDING_EVERY = 5000, FINDING_LAG = 150 };
#define MAX_BYTES ((uint64_t)512 << 10)
#define SEGMENT_BYTES (MAX_BYTES / 16)

static void nap(long nanoseconds) {
    const struct timespec time = {0, nanoseconds};
    nanosleep(&time, NULL);
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

static void put_finding(bp_runlog_writer *writer, int64_t step) {
    const bp_event event = {.kind = BP_EVENT_FINDING,
                            .as.finding = {.step = step,
                                           .since_step = step - FINDING_LAG,
                                           .problem = 1,
                                           .state = BP_FINDING_OPENED}};
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    bp_writer payload;
    bp_error error;
    bp_writer_init(&payload, bytes, sizeof bytes);
    bp_event_encode(&event, &payload);
    assert_int_equal(
        bp_runlog_writer_event(writer, BP_RUNLOG_FINDING, bytes, payload.length, &error), BP_OK);
}

/* Every tenth step in full, of the others the loss alone. */
static void put_step(bp_runlog_writer *writer, int64_t step) {
    bp_error error;
    const bp_status status = step % 10 == 0 || step % FINDING_EVERY > FINDING_EVERY - 500
                                 ? fixture_put_step(writer, step, &error)
                                 : bp_runlog_writer_loss(writer, step, 0.25, &error);
    if (status != BP_OK) fail_msg("%s", error.text);
    if (step > 0 && step % FINDING_EVERY == 0) put_finding(writer, step);
}

/* What a reader is given, by step. */
typedef struct given {
    uint8_t full[STEPS], light[STEPS];
    size_t n_findings;
} given;

static void read_all(given *found, const char *folder) {
    bp_runlog_reader *reader;
    bp_runlog_entry entry;
    bp_error error;
    memset(found, 0, sizeof *found);
    if (bp_runlog_reader_open(&reader, folder, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    for (;;) {
        assert_int_equal(bp_runlog_reader_next_entry(reader, &entry, &error), BP_OK);
        if (!entry.record && !entry.event) break;
        if (entry.event) found->n_findings += entry.event->kind == BP_EVENT_FINDING;
        if (!entry.record) continue;
        assert_true(entry.record->step >= 0 && entry.record->step < STEPS);
        const bool full = bp_record_has(entry.record, BP_Q_SAMPLES, 0);
        found->full[entry.record->step] += full;
        found->light[entry.record->step] += !full;
    }
    bp_runlog_reader_close(reader);
}

/* Each step came once as what it was, and those near a finding came. */
static uint64_t assert_windows(const given *found) {
    uint64_t n_given = 0;
    for (int64_t step = 0; step < STEPS; step++) {
        const bool full = step % 10 == 0 || step % FINDING_EVERY > FINDING_EVERY - 500;
        const int64_t n = full ? found->full[step] : found->light[step];
        assert_int_equal(full ? found->light[step] : found->full[step], 0);
        assert_true(n <= 1);
        n_given += (uint64_t)n;
        for (int64_t at = FINDING_EVERY; at < STEPS; at += FINDING_EVERY) {
            const bool near = llabs(step - at) <= 64 || llabs(step - (at - FINDING_LAG)) <= 64;
            if (near) assert_int_equal(n, 1);
        }
        if (step >= STEPS - 200) assert_int_equal(n, 1);
    }
    assert_int_equal(found->n_findings, (STEPS - 1) / FINDING_EVERY);
    return n_given;
}

/* Until the thread has written what it was given: on close it does not wait for thinning. */
static void wait_for_thread(const char *folder) {
    uint64_t before = 0;
    for (int same = 0; same < 10; nap(20000000)) {
        const uint64_t now = thin_folder_bytes(folder);
        same = now == before ? same + 1 : 0;
        before = now;
    }
}

/* The log's size whenever something is written into it, by whatever thread. */
typedef struct measured {
    char folder[FIXTURE_PATH_BYTES];
    unsigned n_writes, every;
    uint64_t most;
} measured;

static ssize_t measured_write(void *context, int file, const void *bytes, size_t n_bytes) {
    measured *log = context;
    const ssize_t n = bp_io_system.write(NULL, file, bytes, n_bytes);
    if (log->n_writes++ % log->every) return n;
    const uint64_t now = thin_folder_bytes(log->folder);
    if (now > log->most) log->most = now;
    return n;
}

static void write_within(bool direct) {
    measured log = {.every = direct ? 16 : 1};
    char *const folder = log.folder;
    static given found;
    bp_error error;
    bp_io io = thin_io();
    io.write = measured_write;
    io.context = &log;
    const bp_runlog_options options = {.io = &io,
                                       .direct = direct,
                                       .max_log_bytes = MAX_BYTES,
                                       .segment_bytes = SEGMENT_BYTES,
                                       .ring_bytes = 32 << 20};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    assert_int_equal(bp_runlog_writer_transport(writer).ring, !direct);
    for (int64_t step = 0; step < STEPS; step++) {
        put_step(writer, step);
        if (!direct && step % 2000 == 0) nap(20000000); /* some segments at once */
    }
    if (!direct) wait_for_thread(folder);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_true(log.most > MAX_BYTES / 2);
    assert_true(log.most <= MAX_BYTES + SEGMENT_BYTES);
    assert_true(thin_folder_bytes(folder) <= MAX_BYTES);
    const uint64_t n_thinned = thin_assert_reads(folder);
    read_all(&found, folder);
    assert_int_equal(assert_windows(&found) + n_thinned, STEPS);
    assert_true(n_thinned > STEPS / 20);
    fixture_remove_folder(folder);
}

static void a_long_run_stays_within_directly(void **state) {
    (void)state;
    write_within(true);
}

static void a_long_run_stays_within_through_the_ring(void **state) {
    (void)state;
    write_within(false);
}

static void segments_are_small_against_the_budget(void **state) {
    (void)state;
    const uint64_t mib = (uint64_t)1 << 20;
    const uint64_t cases[][3] = {/* max, model, expected */
                                 {0, 1000, 64 * mib},         {(uint64_t)1 << 40, 1000, 64 * mib},
                                 {320 * mib, 1000, 20 * mib}, {mib, 1000, 64 << 10},
                                 {1, 1000, 64 << 10},         {mib, 100000, 800000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bp_budget budget;
        bp_budget_init(&budget, ".", cases[i][0]);
        assert_int_equal(budget.max_bytes, cases[i][0] ? cases[i][0] : BP_RUNLOG_MAX_BYTES);
        assert_int_equal(bp_budget_segment_bytes(&budget, cases[i][1]), cases[i][2]);
        bp_budget_finish(&budget);
    }
}

/* The run goes on and the log is whole; that it is too long is told at its end. */
static void a_budget_below_one_segment_is_told_at_the_end(void **state) {
    (void)state;
    for (int direct = 0; direct <= 1; direct++) {
        char folder[FIXTURE_PATH_BYTES];
        bp_error error;
        const bp_io io = thin_io();
        const bp_runlog_options options = {
            .io = &io, .direct = direct, .max_log_bytes = 10000, .segment_bytes = 20000};
        fixture_make_folder(folder);
        bp_runlog_writer *writer = open_writer(folder, &options);
        for (int64_t step = 0; step < 4000; step++) {
            put_step(writer, step);
            if (step % 100 == 0) nap(1000000);
        }
        if (!direct) wait_for_thread(folder);
        assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_ERROR_LIMIT);
        assert_non_null(strstr(error.text, "10000"));
        assert_true(thin_assert_reads(folder) > 100);
        fixture_remove_folder(folder);
    }
}

/* Many segments wait in the ring: on close all are written, thinned or not. */
static void what_is_in_the_ring_is_written_at_the_end(void **state) {
    (void)state;
    enum { MANY = 3000 };
    char folder[FIXTURE_PATH_BYTES];
    static given found;
    bp_error error;
    const bp_io io = thin_io();
    const bp_runlog_options options = {.io = &io, .segment_bytes = 20000};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    for (int64_t step = 0; step < MANY; step++)
        assert_int_equal(fixture_put_step(writer, step, &error), BP_OK);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_int_equal(thin_assert_reads(folder), 0);
    read_all(&found, folder);
    for (int64_t step = 0; step < MANY; step++) assert_int_equal(found.full[step], 1);
    fixture_remove_folder(folder);
}

static ssize_t slow_read(void *context, int file, void *bytes, size_t n_bytes) {
    nap(20000000);
    return bp_io_system.read(context, file, bytes, n_bytes);
}

/* Thinning takes longer than the ring could hold what comes. */
static void records_come_while_old_segments_are_thinned(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    bp_io io = thin_io();
    io.read = slow_read;
    const bp_runlog_options options = {
        .io = &io, .ring_bytes = 2 << 20, .max_log_bytes = 6 << 20, .segment_bytes = 3 << 20};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    int64_t step = 0;
    bool is_due = false;
    while (access(fixture_segment(path, folder, 4), F_OK) != 0) {
        if (fixture_put_step(writer, step++, &error) != BP_OK) fail_msg("%s", error.text);
        if (step % 140) continue;
        is_due = is_due || access(fixture_segment(path, folder, 3), F_OK) == 0;
        if (is_due) nap(20000000); /* 1 MB a second */
        while (!is_due && thin_folder_bytes(folder) + (256 << 10) < (uint64_t)step * 140)
            nap(1000000);
    }
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_true(thin_assert_reads(folder) > 0);
    fixture_remove_folder(folder);
}

/* A log that was written with a larger budget, and is gone on with. */
static void a_resumed_run_thins_what_was_there(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    static given found;
    bp_error error;
    const bp_io io = thin_io();
    const int64_t again = STEPS / 2 - 500;
    bp_runlog_options options = {.io = &io, .direct = true, .segment_bytes = SEGMENT_BYTES};
    fixture_make_folder(folder);
    bp_runlog_writer *writer = open_writer(folder, &options);
    for (int64_t step = 0; step < STEPS / 2; step++) put_step(writer, step);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_INTERRUPTED, &error), BP_OK);
    assert_true(thin_folder_bytes(folder) > MAX_BYTES);
    options.max_log_bytes = MAX_BYTES;
    options.resumes = true;
    options.resume_step = again;
    writer = open_writer(folder, &options);
    for (int64_t step = again; step < STEPS; step++) {
        put_step(writer, step);
        if (step == again + 2500) assert_true(thin_folder_bytes(folder) <= MAX_BYTES);
    }
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    assert_true(thin_folder_bytes(folder) <= MAX_BYTES);
    assert_true(thin_assert_reads(folder) > 0);
    read_all(&found, folder);
    assert_windows(&found);
    fixture_remove_folder(folder);
}

/* Its writer is killed at any moment of thinning: nothing that was not dropped is lost. */
static void a_killed_run_within_a_budget_is_whole(void **state) {
    (void)state;
    enum { KILLS = 20 };
    size_t n_thinned = 0;
    for (uint32_t i = 0; i < KILLS; i++) {
        char folder[FIXTURE_PATH_BYTES];
        const bp_random_key key = {.seed = 3, .step = i};
        fixture_make_folder(folder);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            const bp_io io = thin_io();
            const bp_runlog_options options = {
                .io = &io, .max_log_bytes = MAX_BYTES / 4, .segment_bytes = SEGMENT_BYTES / 4};
            bp_runlog_writer *writer = open_writer(folder, &options);
            for (int64_t step = 0; step < STEPS; step++) {
                put_step(writer, step);
                if (step % 20 == 0) nap(500000);
            }
            _exit(0);
        }
        char path[FIXTURE_PATH_BYTES];
        while (access(fixture_segment(path, folder, 18), F_OK) != 0) nap(1000000);
        nap((long)(bp_random_uniform(&key, 0) * 1e8));
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        n_thinned += thin_assert_reads(folder) > 0;
        fixture_remove_folder(folder);
    }
    assert_true(n_thinned > KILLS / 2); /* the others were killed before the first twin */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_run_stays_within_directly),
        cmocka_unit_test(a_long_run_stays_within_through_the_ring),
        cmocka_unit_test(segments_are_small_against_the_budget),
        cmocka_unit_test(a_budget_below_one_segment_is_told_at_the_end),
        cmocka_unit_test(what_is_in_the_ring_is_written_at_the_end),
        cmocka_unit_test(records_come_while_old_segments_are_thinned),
        cmocka_unit_test(a_resumed_run_thins_what_was_there),
        cmocka_unit_test(a_killed_run_within_a_budget_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
