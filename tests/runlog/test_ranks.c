/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of several ranks, read as one: what each lacks is told, and holds nobody up. */
#include "craft.h"
#include "runlog/ranks.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES (FIXTURE_PATH_BYTES + 32)

static char *rank_folder(char path[PATH_BYTES], const char *run, unsigned rank) {
    if (rank)
        snprintf(path, PATH_BYTES, "%s/rank-%u", run, rank);
    else
        snprintf(path, PATH_BYTES, "%s", run);
    return path;
}

static void remove_run(const char *run) {
    DIR *directory = opendir(run);
    const struct dirent *entry;
    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        char path[PATH_BYTES + 256];
        snprintf(path, sizeof path, "%s/%s", run, entry->d_name);
        struct stat found;
        if (strncmp(entry->d_name, "rank-", 5) == 0 && stat(path, &found) == 0 &&
            S_ISDIR(found.st_mode))
            fixture_remove_folder(path);
    }
    closedir(directory);
    fixture_remove_folder(run);
}

/* A record of which one number says whose it is, and of which step. */
static void put_step_of(bp_runlog_writer *writer, uint32_t n_layers, int64_t step, double loss) {
    uint8_t bytes[4096];
    bp_writer encoded;
    bp_record record;
    bp_error error;
    assert_int_equal(bp_record_init(&record, n_layers, NULL), BP_OK);
    record.step = step;
    bp_record_set(&record, BP_Q_LOSS, 0, loss);
    bp_record_set(&record, BP_Q_SAMPLES, 0, 2);
    bp_record_set(&record, BP_Q_WEIGHT_RMS, 1, 1);
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&record, &encoded);
    bp_record_finish(&record, NULL);
    if (bp_runlog_writer_step(writer, step, bytes, encoded.length, &error) != BP_OK)
        fail_msg("%s", error.text);
}

static void put_step(bp_runlog_writer *writer, int64_t step, double loss) {
    put_step_of(writer, FIXTURE_LAYERS, step, loss);
}

static bp_runlog_writer *begin_log(const char *run, unsigned rank) {
    const bp_runlog_options options = {.direct = true};
    char path[PATH_BYTES];
    bp_runlog_writer *writer;
    bp_error error;
    bp_model *model = fixture_model();
    if (rank) assert_int_equal(mkdir(rank_folder(path, run, rank), 0700), 0);
    if (bp_runlog_writer_open(&writer, rank_folder(path, run, rank), model, &options, &error) !=
        BP_OK)
        fail_msg("%s", error.text);
    bp_model_close(model);
    return writer;
}

/* steps: one digit each. Loss: rank + step / 8. */
static void write_rank(const char *run, unsigned rank, const char *steps, bp_run_end end) {
    bp_error error;
    bp_runlog_writer *writer = begin_log(run, rank);
    for (const char *c = steps; *c; c++) put_step(writer, *c - '0', rank + (*c - '0') / 8.0);
    assert_int_equal(bp_runlog_writer_close(writer, end, &error), BP_OK);
}

static bp_runlog_ranks *open_run(const char *run) {
    bp_runlog_ranks *ranks;
    bp_error error;
    if (bp_runlog_ranks_open(&ranks, run, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    return ranks;
}

static const bp_record *next(bp_runlog_ranks *ranks) {
    const bp_record *record;
    bp_error error;
    if (bp_runlog_ranks_next(ranks, &record, &error) != BP_OK) fail_msg("%s", error.text);
    return record;
}

static void assert_next(bp_runlog_ranks *ranks, int64_t step, double mean_rank, double n_ranks) {
    const bp_record *record = next(ranks);
    assert_non_null(record);
    assert_int_equal(record->step, step);
    assert_true(bp_record_get(record, BP_Q_LOSS, 0) == mean_rank + (double)step / 8);
    assert_true(bp_record_get(record, BP_Q_SAMPLES, 0) == 2 * n_ranks);
    assert_true(bp_record_get(record, BP_Q_WEIGHT_RMS, 1) == 1);
}

static void assert_rank(bp_runlog_ranks *ranks, uint32_t index, uint32_t rank, uint64_t n_steps,
                        uint64_t missing, int64_t first, int64_t last, bp_run_end end) {
    const bp_runlog_rank *found = bp_runlog_ranks_rank(ranks, index);
    assert_non_null(found);
    assert_int_equal(found->rank, rank);
    assert_int_equal(found->error.status, BP_OK);
    assert_int_equal(found->n_steps, n_steps);
    assert_int_equal(found->missing_steps, missing);
    assert_int_equal(found->first_step, first);
    assert_int_equal(found->last_step, last);
    assert_int_equal(found->end, end);
    assert_non_null(found->damage);
}

static void each_step_comes_once(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    fixture_make_folder(run);
    write_rank(run, 0, "0123", BP_RUN_FINISHED);
    write_rank(run, 1, "0123", BP_RUN_FINISHED);
    write_rank(run, 2, "0123", BP_RUN_INTERRUPTED);
    bp_runlog_ranks *ranks = open_run(run);
    assert_fixture_model(bp_runlog_ranks_model(ranks));
    assert_int_equal(bp_runlog_ranks_n(ranks), 3);
    for (int64_t step = 0; step < 4; step++) assert_next(ranks, step, 1, 3);
    assert_null(next(ranks));
    assert_null(next(ranks));
    assert_int_equal(bp_runlog_ranks_end(ranks), BP_RUN_FINISHED);
    for (uint32_t i = 0; i < 3; i++)
        assert_rank(ranks, i, i, 4, 0, 0, 3, i == 2 ? BP_RUN_INTERRUPTED : BP_RUN_FINISHED);
    assert_null(bp_runlog_ranks_rank(ranks, 3));
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static void a_rank_that_lacks_steps_or_stops_holds_nobody_up(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    fixture_make_folder(run);
    write_rank(run, 0, "02345", BP_RUN_FINISHED);
    write_rank(run, 2, "0135", BP_RUN_FINISHED);
    write_rank(run, 10, "12", BP_RUN_STOPPED);
    bp_runlog_ranks *ranks = open_run(run);
    assert_next(ranks, 0, 1, 2); /* ranks 0 and 2 */
    assert_next(ranks, 1, 6, 2); /* 2 and 10 */
    assert_next(ranks, 2, 5, 2); /* 0 and 10 */
    assert_next(ranks, 3, 1, 2);
    assert_next(ranks, 4, 0, 1);
    assert_next(ranks, 5, 1, 2);
    assert_null(next(ranks));
    assert_rank(ranks, 0, 0, 5, 1, 0, 5, BP_RUN_FINISHED);
    assert_rank(ranks, 1, 2, 4, 2, 0, 5, BP_RUN_FINISHED);
    assert_rank(ranks, 2, 10, 2, 1, 1, 2, BP_RUN_STOPPED);
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static void one_process_is_read_as_it_is(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES], segment[FIXTURE_PATH_BYTES];
    fixture_make_folder(run);
    fixture_write_log(run, 6, NULL);
    const char *const paths[] = {run, fixture_segment(segment, run, 1)};
    bp_record expected;
    assert_int_equal(bp_record_init(&expected, FIXTURE_LAYERS, NULL), BP_OK);
    for (size_t i = 0; i < 2; i++) {
        bp_runlog_ranks *ranks = open_run(paths[i]);
        assert_int_equal(bp_runlog_ranks_n(ranks), 1);
        for (int64_t step = 0; step < 6; step++) {
            fixture_decoded(&expected, step);
            assert_same_record(next(ranks), &expected);
        }
        assert_null(next(ranks));
        assert_rank(ranks, 0, 0, 6, 0, 0, 5, BP_RUN_FINISHED);
        bp_runlog_ranks_close(ranks);
    }
    bp_record_finish(&expected, NULL);
    fixture_remove_folder(run);
}

static void assert_left_out(bp_runlog_ranks *ranks, uint32_t index, const char *why) {
    const bp_runlog_rank *found = bp_runlog_ranks_rank(ranks, index);
    assert_non_null(found);
    assert_null(found->damage);
    assert_int_equal(found->n_steps, 0);
    assert_true(found->error.status != BP_OK);
    if (!strstr(found->error.text, why)) fail_msg("'%s' lacks '%s'", found->error.text, why);
}

static void write_other_network(const char *run, unsigned rank) {
    char path[PATH_BYTES];
    bp_model *model = fixture_model();
    const bp_layer layer = {.name = "fourth", .kind = BP_LAYER_DENSE};
    bp_runlog_writer *writer;
    bp_error error;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    assert_int_equal(mkdir(rank_folder(path, run, rank), 0700), 0);
    assert_int_equal(bp_runlog_writer_open(&writer, path, model, NULL, &error), BP_OK);
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, &error), BP_OK);
    bp_model_close(model);
}

static void ranks_that_cannot_be_read_are_left_out(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES], path[PATH_BYTES];
    static const char *const no_names[] = {"rank-", "rank-0", "rank-01", "rank-1x",
                                           "rank-9999999999"};
    fixture_make_folder(run);
    write_rank(run, 0, "01", BP_RUN_FINISHED);
    write_rank(run, 3, "01", BP_RUN_FINISHED);
    assert_int_equal(mkdir(rank_folder(path, run, 1), 0700), 0); /* killed before its first byte */
    write_other_network(run, 2);                                 /* a stage of a pipeline */
    for (size_t i = 0; i < sizeof no_names / sizeof *no_names; i++) {
        snprintf(path, sizeof path, "%s/%s", run, no_names[i]);
        fixture_write_file(path, (const uint8_t *)"", 0);
    }
    bp_runlog_ranks *ranks = open_run(run);
    assert_int_equal(bp_runlog_ranks_n(ranks), 4);
    assert_next(ranks, 0, 1.5, 2);
    assert_next(ranks, 1, 1.5, 2);
    assert_null(next(ranks));
    assert_left_out(ranks, 1, "holds no run log");
    assert_left_out(ranks, 2, "another network");
    assert_rank(ranks, 3, 3, 2, 0, 0, 1, BP_RUN_FINISHED);
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static void rank_0_must_be_there(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    bp_runlog_ranks *ranks = NULL;
    bp_error error = {0};
    fixture_make_folder(run);
    write_rank(run, 1, "01", BP_RUN_FINISHED);
    assert_int_equal(bp_runlog_ranks_open(&ranks, run, NULL, &error), BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "holds no run log"));
    assert_null(ranks);
    remove_run(run);
    assert_int_equal(bp_runlog_ranks_open(&ranks, run, NULL, &error), BP_ERROR_IO);
}

/* Rank 1 is behind: what it brings later of steps that were given is not given again. */
static void a_run_that_goes_on(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(run);
    bp_runlog_writer *first = begin_log(run, 0), *second = begin_log(run, 1);
    put_step(first, 0, 0);
    put_step(first, 1, 1 / 8.0);
    put_step(second, 0, 1);
    bp_runlog_ranks *ranks = open_run(run);
    assert_next(ranks, 0, 0.5, 2);
    assert_next(ranks, 1, 0, 1);
    assert_null(next(ranks));
    put_step(second, 1, 1 + 1 / 8.0);
    put_step(second, 2, 1 + 2 / 8.0);
    put_step(first, 2, 2 / 8.0);
    assert_next(ranks, 2, 0.5, 2);
    assert_null(next(ranks));
    assert_int_equal(bp_runlog_ranks_end(ranks), BP_RUN_OPEN);
    assert_int_equal(bp_runlog_writer_close(first, BP_RUN_FINISHED, &error), BP_OK);
    assert_int_equal(bp_runlog_writer_close(second, BP_RUN_FINISHED, &error), BP_OK);
    assert_null(next(ranks));
    assert_rank(ranks, 0, 0, 3, 0, 0, 2, BP_RUN_FINISHED);
    assert_rank(ranks, 1, 1, 2, 0, 0, 2, BP_RUN_FINISHED);
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static double clock_of(void *context) {
    return *(double *)context;
}

/* A step that rank 1 lacks waits for it: not longer than told, and not when its log has its end. */
static void a_fresh_step_waits(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    bp_error error;
    double now = 3;
    bp_io io = bp_io_system;
    io.wall_clock = clock_of;
    io.context = &now;
    bp_runlog_ranks *ranks;
    fixture_make_folder(run);
    bp_runlog_writer *first = begin_log(run, 0), *second = begin_log(run, 1);
    put_step(first, 0, 0); /* written at 0 */
    put_step(second, 0, 1);
    put_step(first, 1, 1 / 8.0);
    assert_int_equal(bp_runlog_ranks_open_through(&ranks, &io, run, NULL, NULL), BP_OK);
    bp_runlog_ranks_wait(ranks, 4);
    assert_next(ranks, 0, 0.5, 2);
    assert_null(next(ranks));
    assert_null(next(ranks));
    put_step(second, 1, 1 + 1 / 8.0);
    put_step(first, 2, 2 / 8.0);
    assert_next(ranks, 1, 0.5, 2);
    assert_null(next(ranks));
    now = 5;
    assert_next(ranks, 2, 0, 1);
    put_step(first, 3, 3 / 8.0);
    now = 0;
    assert_null(next(ranks));
    assert_int_equal(bp_runlog_writer_close(second, BP_RUN_FINISHED, &error), BP_OK);
    assert_next(ranks, 3, 0, 1);
    assert_true(bp_runlog_ranks_read_fraction(ranks) == 1.0);
    assert_int_equal(bp_runlog_writer_close(first, BP_RUN_FINISHED, &error), BP_OK);
    assert_true(bp_runlog_ranks_read_fraction(ranks) < 1.0);
    assert_null(next(ranks));
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static void craft_rank(const char *run, unsigned rank, int64_t grows_at) {
    char path[PATH_BYTES];
    craft segment = {0};
    bp_model *model = fixture_model();
    const bp_layer layer = {.name = "fourth", .kind = BP_LAYER_DENSE};
    craft_begin(&segment, 5, 1, 0, true, false);
    craft_model(&segment, model);
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    for (int64_t step = 0; step < 4; step++) {
        if (step == grows_at) craft_model_delta(&segment, model, FIXTURE_LAYERS + 1);
        craft_fixture_step(&segment, step);
    }
    craft_end(&segment, BP_RUN_FINISHED);
    if (rank) assert_int_equal(mkdir(rank_folder(path, run, rank), 0700), 0);
    craft_write(&segment, rank_folder(path, run, rank));
    craft_free(&segment);
    bp_model_close(model);
}

/* Ranks tell of new layers at different steps. */
static void a_network_that_grows(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    fixture_make_folder(run);
    craft_rank(run, 0, 2);
    craft_rank(run, 1, 1);
    bp_runlog_ranks *ranks = open_run(run);
    for (int64_t step = 0; step < 4; step++) {
        const bp_record *record = next(ranks);
        assert_non_null(record);
        assert_int_equal(record->step, step);
        assert_int_equal(record->n_layers, bp_model_n_layers(bp_runlog_ranks_model(ranks)));
        assert_true(bp_record_has(record, BP_Q_ERROR_NORM, 3));
    }
    assert_null(next(ranks));
    assert_int_equal(bp_model_n_layers(bp_runlog_ranks_model(ranks)), FIXTURE_LAYERS + 1);
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static void a_network_that_grows_while_it_is_read(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    bp_error error;
    const bp_layer layer = {.name = "fourth", .kind = BP_LAYER_DENSE};
    bp_model *model = fixture_model();
    fixture_make_folder(run);
    bp_runlog_writer *writers[] = {begin_log(run, 0), begin_log(run, 1)};
    for (int i = 0; i < 2; i++) put_step(writers[i], 0, i);
    bp_runlog_ranks *ranks = open_run(run);
    assert_next(ranks, 0, 0.5, 2);
    assert_null(next(ranks));
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bp_runlog_writer_model(writers[i], model, &error), BP_OK);
        put_step_of(writers[i], FIXTURE_LAYERS + 1, 1, i + 1 / 8.0);
    }
    const bp_record *record = next(ranks);
    assert_non_null(record);
    assert_int_equal(record->n_layers, FIXTURE_LAYERS + 1);
    assert_int_equal(bp_model_n_layers(bp_runlog_ranks_model(ranks)), FIXTURE_LAYERS + 1);
    bp_runlog_ranks_close(ranks);
    for (int i = 0; i < 2; i++)
        assert_int_equal(bp_runlog_writer_close(writers[i], BP_RUN_FINISHED, &error), BP_OK);
    bp_model_close(model);
    remove_run(run);
}

static void damage_is_everybodys(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES], path[PATH_BYTES], segment[FIXTURE_PATH_BYTES];
    fixture_frame frames[FIXTURE_MAX_FRAMES];
    bp_segment_id salt;
    fixture_make_folder(run);
    write_rank(run, 0, "0123", BP_RUN_FINISHED);
    write_rank(run, 1, "0123", BP_RUN_FINISHED);
    for (unsigned rank = 0; rank < 2; rank++) {
        const fixture_bytes log =
            fixture_read_file(fixture_segment(segment, rank_folder(path, run, rank), 1));
        const size_t n = fixture_frames(log, frames, &salt);
        for (size_t i = 0; i < n; i++) /* rank 0 loses step 1, rank 1 step 2 */
            if (frames[i].step == 1 + (int64_t)rank)
                log.bytes[frames[i].place + BP_FRAME_HEADER_BYTES] ^= 1;
        fixture_write_file(segment, log.bytes, log.length);
        bp_release(NULL, log.bytes, log.length + 1, 1);
    }
    bp_runlog_ranks *ranks = open_run(run);
    assert_next(ranks, 0, 0.5, 2);
    assert_next(ranks, 1, 1, 1);
    assert_next(ranks, 2, 0, 1);
    assert_next(ranks, 3, 0.5, 2);
    assert_null(next(ranks));
    const bp_runlog_damage *damage = bp_runlog_ranks_damage(ranks);
    assert_int_equal(damage->damaged_places, 2);
    assert_int_equal(damage->lost_records, 2);
    assert_int_equal(damage->first.status, BP_ERROR_INPUT);
    assert_rank(ranks, 0, 0, 3, 1, 0, 3, BP_RUN_FINISHED);
    assert_rank(ranks, 1, 1, 3, 1, 0, 3, BP_RUN_FINISHED);
    bp_runlog_ranks_close(ranks);
    remove_run(run);
}

static bp_status read_all(const char *run, const bp_allocator *allocator, uint64_t *n_steps) {
    bp_runlog_ranks *ranks;
    bp_error error;
    const bp_record *record = NULL;
    bp_status status = bp_runlog_ranks_open(&ranks, run, allocator, &error);
    if (status != BP_OK) return status;
    *n_steps = 0;
    do {
        status = bp_runlog_ranks_next(ranks, &record, &error);
        if (status == BP_OK && record) ++*n_steps;
    } while (status == BP_OK && record);
    bp_runlog_ranks_close(ranks);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    char run[FIXTURE_PATH_BYTES];
    fixture_make_folder(run);
    craft_rank(run, 0, 1);
    craft_rank(run, 1, 2);
    fixture_memory memory = {.left = -1};
    bp_allocator allocator = fixture_allocator(&memory);
    uint64_t n_steps = 0;
    assert_int_equal(read_all(run, &allocator, &n_steps), BP_OK);
    const int64_t n = memory.requests;
    assert_true(n > 10);
    assert_int_equal(memory.in_use, 0);
    for (int64_t i = 0; i < n; i++) {
        memory = (fixture_memory){.left = i};
        allocator = fixture_allocator(&memory);
        const bp_status status = read_all(run, &allocator, &n_steps);
        assert_true(status == BP_ERROR_MEMORY || (status == BP_OK && n_steps == 4));
        assert_int_equal(memory.in_use, 0);
    }
    remove_run(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_comes_once),
        cmocka_unit_test(a_rank_that_lacks_steps_or_stops_holds_nobody_up),
        cmocka_unit_test(one_process_is_read_as_it_is),
        cmocka_unit_test(ranks_that_cannot_be_read_are_left_out),
        cmocka_unit_test(rank_0_must_be_there),
        cmocka_unit_test(a_run_that_goes_on),
        cmocka_unit_test(a_fresh_step_waits),
        cmocka_unit_test(a_network_that_grows),
        cmocka_unit_test(a_network_that_grows_while_it_is_read),
        cmocka_unit_test(damage_is_everybodys),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
