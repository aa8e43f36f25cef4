/* SPDX-License-Identifier: Apache-2.0 */
/* A whole watched run whose memory is refused at every request, and whose clocks lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "../faults.h"
#include "net.h"
#include "watch/watch.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { STEPS = 24, LAYERS = 3, RESUMED = 10 };

static void make_folder(char folder[64]) {
    strcpy(folder, "/tmp/backprobe-watched-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static size_t n_files(const char *folder) {
    size_t n = 0;
    DIR *files = opendir(folder);
    assert_non_null(files);
    for (const struct dirent *one = readdir(files); one; one = readdir(files))
        n += one->d_name[0] != '.';
    closedir(files);
    return n;
}

static void remove_folder(const char *folder) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* The hash of a run from step `first` on, all that was before unwatched; 0 when the watch cannot be
 * opened. */
static bp_status train(uint64_t *hash, const char *folder, int64_t first, int64_t n_steps,
                       const bp_allocator *allocator, const bp_io *io) {
    static net n;
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    bp_watch *watch = NULL;
    bp_error error = {0};
    net_init(&n, LAYERS, 1);
    bp_model *model = net_model(&n);
    assert_non_null(model);
    while (n.step < first) net_step(&n, NULL);
    options.run_folder = folder;
    options.every = 1;
    options.resumes = first > 0;
    options.resume_step = first;
    if (allocator) options.allocator = *allocator;
    const bp_status status = bp_watch_open_with(&watch, model, &options, io, &error);
    if (status != BP_OK) assert_true(error.text[0] != 0 && error.status == status);
    if (status == BP_OK) {
        while (n.step < n_steps) net_step(&n, bp_watch_observer(watch));
        assert_int_equal(bp_watch_status(watch, &error), BP_OK);
        assert_int_equal(bp_watch_close(watch, BP_RUN_FINISHED, &error), BP_OK);
    }
    bp_model_close(model);
    *hash = net_hash(&n);
    return status;
}

static uint64_t unwatched_hash(int64_t n_steps) {
    static net n;
    net_init(&n, LAYERS, 1);
    while (n.step < n_steps) net_step(&n, NULL);
    return net_hash(&n);
}

/* Each step once, with the loss that it had. */
static void assert_whole(const char *folder, const bp_allocator *allocator) {
    static net n;
    bp_runlog_reader *reader;
    const bp_record *record;
    net_init(&n, LAYERS, 1);
    assert_int_equal(bp_runlog_reader_open(&reader, folder, allocator, NULL), BP_OK);
    for (int64_t step = 0; step < STEPS; step++) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        assert_non_null(record);
        assert_int_equal(record->step, step);
        assert_true(bp_record_get(record, BP_Q_LOSS, 0) == net_step(&n, NULL));
    }
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_null(record);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_FINISHED);
    assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 0);
    assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
    bp_runlog_reader_close(reader);
}

/* What a refusal leaves is no hindrance: the next try begins, or goes on with, a good log. */
static size_t refuse_each_request(int64_t first) {
    const uint64_t expected = unwatched_hash(STEPS);
    bp_status status = BP_ERROR_MEMORY;
    size_t n = 0;
    while (status != BP_OK) {
        char folder[64];
        uint64_t hash;
        faulty_memory memory = {.fail_at = ++n};
        const bp_allocator allocator = faulty_allocator(&memory);
        assert_true(n < 2000);
        make_folder(folder);
        if (first > 0) assert_int_equal(train(&hash, folder, 0, first + 3, NULL, NULL), BP_OK);
        status = train(&hash, folder, first, STEPS, &allocator, NULL);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
        if (status != BP_OK) {
            assert_int_equal(status, BP_ERROR_MEMORY);
            if (first == 0) assert_int_equal(n_files(folder), 0);
            assert_int_equal(train(&hash, folder, first, STEPS, NULL, NULL), BP_OK);
        }
        assert_true(hash == expected);
        assert_whole(folder, NULL);
        remove_folder(folder);
    }
    return n;
}

static void every_allocation_of_a_watch(void **state) {
    (void)state;
    assert_true(refuse_each_request(0) > 10);
}

static void every_allocation_of_a_resumed_watch(void **state) {
    (void)state;
    assert_true(refuse_each_request(RESUMED) > 10);
}

static void every_allocation_of_a_reader(void **state) {
    (void)state;
    char folder[64];
    uint64_t hash;
    make_folder(folder);
    assert_int_equal(train(&hash, folder, 0, STEPS, NULL, NULL), BP_OK);
    bp_status status = BP_ERROR_MEMORY;
    size_t n = 0;
    while (status != BP_OK) {
        faulty_memory memory = {.fail_at = ++n};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_runlog_reader *reader;
        const bp_record *record = NULL;
        bp_error error = {0};
        assert_true(n < 2000);
        status = bp_runlog_reader_open(&reader, folder, &allocator, &error);
        if (status == BP_OK) {
            do status = bp_runlog_reader_next(reader, &record, &error);
            while (status == BP_OK && record);
            bp_runlog_reader_close(reader);
        }
        assert_true(status == BP_OK || status == BP_ERROR_MEMORY);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
    }
    assert_true(n > 3);
    assert_whole(folder, NULL);
    remove_folder(folder);
}

/* --- clocks --------------------------------------------------------------------------------- */

typedef struct lying_clocks {
    double wall, wall_jump;     /* at every look */
    double steady, steady_jump; /* the same */
} lying_clocks;

static pthread_mutex_t clock_lock = PTHREAD_MUTEX_INITIALIZER;

static double lying_wall(void *context) {
    lying_clocks *clocks = context;
    pthread_mutex_lock(&clock_lock);
    const double now = clocks->wall += clocks->wall_jump;
    clocks->wall_jump *= -1.5;
    pthread_mutex_unlock(&clock_lock);
    return now;
}

static double lying_steady(void *context) {
    lying_clocks *clocks = context;
    pthread_mutex_lock(&clock_lock);
    const double now = clocks->steady += clocks->steady_jump;
    pthread_mutex_unlock(&clock_lock);
    return now;
}

static void clocks_that_lie(void **state) {
    (void)state;
    const double year = 365.25 * 86400;
    const lying_clocks cases[] = {
        {1.7e9, 0, 100, 0},             /* both stand still */
        {1.7e9, year, 100, 1e-5},       /* the wall clock jumps by years, forth and back */
        {1.7e9, -80 * year, 100, 1e-5}, /* to before 1970 */
        {1.7e9, 1e-3, 100, -0.3},       /* the steady clock goes back */
        {1.7e9, 1e-3, 100, year},       /* it leaps */
        {1.7e9, 1e-3, 1e300, 1e290},    /* to where seconds cannot be told apart */
        {(double)NAN, 0, (double)NAN, 0},
        {(double)INFINITY, 0, (double)INFINITY, 0},
    };
    const uint64_t expected = unwatched_hash(STEPS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lying_clocks clocks = cases[i];
        bp_io io = bp_io_system;
        char folder[64];
        uint64_t hash;
        io.wall_clock = lying_wall;
        io.steady_clock = lying_steady;
        io.context = &clocks;
        make_folder(folder);
        assert_int_equal(train(&hash, folder, 0, STEPS, NULL, &io), BP_OK);
        assert_true(hash == expected);
        assert_whole(folder, NULL);
        remove_folder(folder);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_watch),
        cmocka_unit_test(every_allocation_of_a_resumed_watch),
        cmocka_unit_test(every_allocation_of_a_reader),
        cmocka_unit_test(clocks_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
