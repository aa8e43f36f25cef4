/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
#include "runlog/reader.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_text(const char *path, const char *text) {
    fixture_write_file(path, (const uint8_t *)text, strlen(text));
}

static void assert_refused(const char *path, bp_status status, const char *part) {
    const fixture_reading reading = fixture_read_log(path); /* the text names the path */
    assert_int_equal(reading.opened, status);
    if (!strstr(reading.error.text, part)) fail_msg("'%s' lacks '%s'", reading.error.text, part);
}

static void what_is_no_log_is_refused(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES + 32];
    fixture_make_folder(folder);
    assert_refused(folder, BP_ERROR_INPUT, "holds no run log: expected files named log-000001");
    snprintf(path, sizeof path, "%s/log-1.bplog", folder); /* not a name that we give */
    write_text(path, "x");
    assert_refused(folder, BP_ERROR_INPUT, "holds no run log");
    assert_refused(path, BP_ERROR_INPUT, "is no run log: expected it to begin with 89 42 50 4c");
    assert_refused(path, BP_ERROR_INPUT, "found 78");
    write_text(path, "");
    assert_refused(path, BP_ERROR_INPUT, "is empty, expected a run log");
    write_text(path, "a text that is longer than the headers of a segment, which take ninety-six "
                     "bytes, and thus goes on to be searched for a copy of one");
    assert_refused(path, BP_ERROR_INPUT, "is no run log");
    fixture_write_file(path, (const uint8_t *)BP_SEGMENT_MAGIC "cut", 11);
    assert_refused(path, BP_ERROR_INPUT, "header of the run log");
    fixture_remove_folder(folder);
    assert_refused(folder, BP_ERROR_IO, "expected a run folder or a run log: No such file");
}

static void a_pipe_does_not_hang(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    fixture_make_folder(folder);
    assert_int_equal(mkfifo(fixture_segment(path, folder, 1), 0600), 0);
    assert_refused(folder, BP_ERROR_INPUT, "is empty");
    assert_refused(path, BP_ERROR_INPUT, "is empty");
    fixture_remove_folder(folder);
}

/* --- versions -----------------------------------------------------------------------------------
 */

typedef struct small_log {
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    fixture_bytes log;
    fixture_frame frames[FIXTURE_MAX_FRAMES];
    size_t n_frames;
    bp_segment_id salt;
} small_log;

static void make_small_log(small_log *small) {
    fixture_make_folder(small->folder);
    fixture_write_log(small->folder, 5, NULL);
    small->log = fixture_read_file(fixture_segment(small->path, small->folder, 1));
    small->n_frames = fixture_frames(small->log, small->frames, &small->salt);
}

static void remove_small_log(small_log *small) {
    bp_release(NULL, small->log.bytes, small->log.length + 1, 1);
    fixture_remove_folder(small->folder);
}

static void rewrite(const small_log *small) {
    fixture_write_file(small->path, small->log.bytes, small->log.length);
}

static void put_headers(small_log *small, uint16_t major, uint32_t compatible,
                        uint32_t incompatible) {
    const bp_segment_header header = {.major = major,
                                      .minor = 9,
                                      .compatible = compatible,
                                      .incompatible = incompatible | BP_RUNLOG_NUMBERS_DATA,
                                      .id = small->salt};
    bp_segment_header_put(small->log.bytes, &header);
    bp_segment_header_put(small->log.bytes + BP_SEGMENT_HEADER_BYTES, &header);
    rewrite(small);
}

static void versions_and_features(void **state) {
    (void)state;
    small_log small;
    make_small_log(&small);
    put_headers(&small, 1, 0xffffffff, 0);
    const fixture_reading reading = fixture_read_log(small.folder);
    assert_int_equal(reading.n_given, 5);
    assert_int_equal(reading.damage.damaged_places, 0);
    put_headers(&small, 1, 0, 0x00000104);
    assert_refused(small.folder, BP_ERROR_NOT_SUPPORTED, "features 0x00000104");
    put_headers(&small, 2, 0, 0);
    assert_refused(small.path, BP_ERROR_NOT_SUPPORTED, "format version 2, expected version 1");
    remove_small_log(&small);
}

static void unknown_types_are_skipped(void **state) {
    (void)state;
    small_log small;
    make_small_log(&small);
    bp_frame frame = small.frames[2].frame;
    frame.type = 4711;
    frame.flags = 0xffff;
    bp_frame_put(small.log.bytes + small.frames[2].place, &frame, small.salt);
    rewrite(&small);
    const fixture_reading reading = fixture_read_log(small.folder);
    assert_int_equal(reading.n_given, 4);
    assert_int_equal(reading.damage.unknown, 1);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.damage.damaged_places, 0);
    remove_small_log(&small);
}

static void no_model_is_left(void **state) {
    (void)state;
    small_log small;
    make_small_log(&small);
    for (size_t i = 0; i < small.n_frames; i++)
        if (small.frames[i].frame.type == BP_RUNLOG_MODEL) small.log.bytes[small.frames[i].place]++;
    rewrite(&small);
    assert_refused(small.folder, BP_ERROR_INPUT, "no readable description of its network");
    remove_small_log(&small);
}

static void errno_is_kept(void **state) {
    (void)state;
    small_log small;
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_error error;
    make_small_log(&small);
    errno = 4711;
    assert_int_equal(bp_runlog_reader_open(&reader, "no such", NULL, &error), BP_ERROR_IO);
    assert_int_equal(bp_runlog_reader_open(&reader, small.folder, NULL, NULL), BP_OK);
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    bp_runlog_reader_close(reader);
    bp_runlog_reader_close(NULL);
    assert_int_equal(errno, 4711);
    remove_small_log(&small);
}

/* --- several segments
 * ----------------------------------------------------------------------------- */

enum { ROTATED_STEPS = 40 };

static void make_rotated(char folder[FIXTURE_PATH_BYTES]) {
    const bp_runlog_options options = {.segment_bytes = 1200};
    fixture_make_folder(folder);
    fixture_write_log(folder, ROTATED_STEPS, &options);
}

static void damage_segment(const char *folder, uint32_t index, size_t from, size_t n_bytes) {
    char path[FIXTURE_PATH_BYTES];
    fixture_bytes log = fixture_read_file(fixture_segment(path, folder, index));
    assert_true(from + n_bytes <= log.length);
    memset(log.bytes + from, 0xee, n_bytes);
    fixture_write_file(path, log.bytes, log.length);
    bp_release(NULL, log.bytes, log.length + 1, 1);
}

static void the_model_of_another_segment_will_do(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    make_rotated(folder);
    damage_segment(folder, 1, BP_SEGMENT_START + 10, 4);
    const fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.opened, BP_OK);
    assert_int_equal(reading.n_given, ROTATED_STEPS);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.damage.damaged_places, 1);
    fixture_remove_folder(folder);
}

static void the_header_of_another_segment_will_do(void **state) {
    (void)state;
    for (uint32_t index = 1; index <= 3; index++) {
        char folder[FIXTURE_PATH_BYTES];
        make_rotated(folder);
        damage_segment(folder, index, 0, BP_SEGMENT_START);
        const fixture_reading reading = fixture_read_log(folder);
        assert_int_equal(reading.opened, BP_OK);
        assert_int_equal(reading.n_given, ROTATED_STEPS);
        assert_int_equal(reading.damage.lost_records, 0);
        assert_int_equal(reading.damage.lost_bytes, BP_SEGMENT_START);
        assert_int_equal(reading.damage.damaged_places, 1);
        fixture_remove_folder(folder);
    }
}

static void segments_that_do_not_belong(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], other[FIXTURE_PATH_BYTES];
    char path[FIXTURE_PATH_BYTES], to[FIXTURE_PATH_BYTES];
    make_rotated(folder);
    make_rotated(other);
    assert_int_equal(rename(fixture_segment(path, other, 2), fixture_segment(to, folder, 900)), 0);
    fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, ROTATED_STEPS);
    assert_int_equal(reading.damage.damaged_places, 1);
    assert_non_null(strstr(reading.damage.first.text, "another run"));
    assert_int_equal(unlink(to), 0);
    /* Files under each other's names are read in the order of their headers. */
    fixture_segment(path, folder, 2);
    fixture_segment(to, folder, 700);
    assert_int_equal(rename(path, to), 0);
    reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, ROTATED_STEPS);
    assert_int_equal(reading.damage.damaged_places, 0);
    fixture_remove_folder(folder);
    fixture_remove_folder(other);
}

static void cut_segments(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    make_rotated(folder);
    /* Begun and killed at once: normal. */
    write_text(fixture_segment(path, folder, 500), "");
    fixture_reading reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, ROTATED_STEPS);
    assert_int_equal(reading.damage.damaged_places, 0);
    assert_true(reading.damage.torn_tail);
    assert_int_equal(unlink(path), 0);
    /* In the middle of a run it is not. */
    fixture_bytes log = fixture_read_file(fixture_segment(path, folder, 2));
    fixture_write_file(path, log.bytes, log.length - 5);
    reading = fixture_read_log(folder);
    assert_int_equal(reading.n_given, ROTATED_STEPS - 1);
    assert_int_equal(reading.damage.damaged_places, 1);
    assert_int_equal(reading.damage.lost_records, 1);
    assert_false(reading.damage.torn_tail);
    fixture_write_file(path, log.bytes, 0);
    reading = fixture_read_log(folder);
    assert_int_equal(reading.damage.damaged_places, 1);
    assert_true(reading.damage.lost_records > 1);
    bp_release(NULL, log.bytes, log.length + 1, 1);
    fixture_remove_folder(folder);
}

/* --- the system and memory
 * --------------------------------------------------------------------------- */

/* A log with a doubled block, so that the look ahead is used too. */
static void make_doubled(char folder[FIXTURE_PATH_BYTES]) {
    char path[FIXTURE_PATH_BYTES];
    fixture_make_folder(folder);
    fixture_write_log(folder, 20, NULL);
    fixture_bytes log = fixture_read_file(fixture_segment(path, folder, 1));
    uint8_t *doubled = malloc(log.length + 1000);
    assert_non_null(doubled);
    memcpy(doubled, log.bytes, 2000);
    memcpy(doubled + 2000, log.bytes + 1000, log.length - 1000);
    fixture_write_file(path, doubled, log.length + 1000);
    free(doubled);
    bp_release(NULL, log.bytes, log.length + 1, 1);
}

static bp_status read_through(const char *folder, const bp_io *io, const bp_allocator *allocator,
                              size_t *n_given) {
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_error error;
    *n_given = 0;
    bp_status status = bp_runlog_reader_open_through(&reader, io, folder, allocator, &error);
    if (status == BP_OK) {
        while ((status = bp_runlog_reader_next(reader, &record, &error)) == BP_OK && record)
            (*n_given)++;
        bp_runlog_reader_close(reader);
    }
    if (status != BP_OK) assert_int_equal(error.status, status);
    return status;
}

static void every_failing_call(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    fixture_faults faults = {.failed = 1};
    size_t n_given = 0, n_refused = 0;
    make_doubled(folder);
    for (int64_t k = 0; faults.failed > 0; k++) {
        faults = (fixture_faults){.fail_at = k};
        const bp_io io = fixture_io(&faults);
        fixture_memory memory = {.left = -1};
        const bp_allocator allocator = fixture_allocator(&memory);
        const bp_status status = read_through(folder, &io, &allocator, &n_given);
        assert_true(status == BP_OK || status == BP_ERROR_IO);
        n_refused += status == BP_ERROR_IO;
        assert_int_equal(faults.open_files, 0);
        assert_int_equal(memory.in_use, 0);
        assert_true(k < 100);
    }
    assert_int_equal(n_given, 20);
    assert_true(n_refused >= 6);
    fixture_remove_folder(folder);
}

static void every_failing_allocation(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_status status = BP_ERROR_MEMORY;
    size_t n_given = 0;
    int64_t n = 0;
    make_doubled(folder);
    for (; status != BP_OK; n++) {
        fixture_faults faults = {.fail_at = -1};
        const bp_io io = fixture_io(&faults);
        fixture_memory memory = {.left = n};
        const bp_allocator allocator = fixture_allocator(&memory);
        status = read_through(folder, &io, &allocator, &n_given);
        assert_true(status == BP_OK || status == BP_ERROR_MEMORY);
        assert_int_equal(memory.in_use, 0);
        assert_int_equal(faults.open_files, 0);
        assert_true(n < 200);
    }
    assert_int_equal(n_given, 20);
    assert_true(n > 15);
    fixture_remove_folder(folder);
}

/* A header that claims 60 MiB is not believed before they are there. */
static void lengths_are_not_trusted(void **state) {
    (void)state;
    small_log small;
    size_t n_given;
    make_small_log(&small);
    bp_frame frame = small.frames[3].frame;
    frame.n_bytes = 60u << 20;
    bp_frame_put(small.log.bytes + small.frames[3].place, &frame, small.salt);
    rewrite(&small);
    fixture_memory memory = {.left = -1};
    const bp_allocator allocator = fixture_allocator(&memory);
    assert_int_equal(read_through(small.folder, &bp_io_system, &allocator, &n_given), BP_OK);
    assert_int_equal(n_given, 4);
    assert_true(memory.peak < (1 << 20));
    remove_small_log(&small);
}

/* As many bytes are needed for a long log as for a short one. */
static void memory_does_not_grow_with_the_log(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    struct stat size;
    size_t n_given;
    bp_runlog_writer *writer;
    bp_model *model = fixture_model();
    fixture_make_folder(folder);
    assert_int_equal(bp_runlog_writer_open(&writer, folder, model, NULL, NULL), BP_OK);
    for (int64_t step = 0; step < 10000; step++) {
        assert_int_equal(fixture_put_step(writer, step, NULL), BP_OK);
    }
    assert_int_equal(bp_runlog_writer_close(writer, BP_RUN_FINISHED, NULL), BP_OK);
    assert_int_equal(stat(fixture_segment(path, folder, 1), &size), 0);
    assert_true(size.st_size > 1 << 20);
    fixture_memory memory = {.left = -1};
    const bp_allocator allocator = fixture_allocator(&memory);
    assert_int_equal(read_through(folder, &bp_io_system, &allocator, &n_given), BP_OK);
    assert_int_equal(n_given, 10000);
    assert_true(memory.peak < 1 << 20);
    bp_model_close(model);
    fixture_remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_log_is_refused),
        cmocka_unit_test(a_pipe_does_not_hang),
        cmocka_unit_test(versions_and_features),
        cmocka_unit_test(unknown_types_are_skipped),
        cmocka_unit_test(no_model_is_left),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(the_model_of_another_segment_will_do),
        cmocka_unit_test(the_header_of_another_segment_will_do),
        cmocka_unit_test(segments_that_do_not_belong),
        cmocka_unit_test(cut_segments),
        cmocka_unit_test(every_failing_call),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(lengths_are_not_trusted),
        cmocka_unit_test(memory_does_not_grow_with_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
