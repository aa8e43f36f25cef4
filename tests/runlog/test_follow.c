/* SPDX-License-Identifier: Apache-2.0 */
/* A reader that comes to the end of a log which grows: it is asked again, and nothing is lost,
 * given twice or taken for damage, wherever the writer's bytes are cut. */
#include "craft.h"
#include "runlog/reader.h"

#include <fcntl.h>
#include <unistd.h>

enum { RUN = 4711, N_SEGMENTS = 3 };

static void append(const char *path, const uint8_t *bytes, size_t n_bytes) {
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, n_bytes), (ssize_t)n_bytes);
    assert_int_equal(close(file), 0);
}

/* Three segments: steps, events and losses, the network grows in the second. */
static void make_segments(craft segments[N_SEGMENTS]) {
    const double loss[] = {1.0, 2.0, 3.0};
    const bp_event finding = {.kind = BP_EVENT_FINDING,
                              .as.finding = {3, 1, 1, 2, BP_FINDING_OPENED}};
    bp_model *model = fixture_model();
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < N_SEGMENTS; i++) {
        craft *segment = &segments[i];
        const int64_t first = 10 * (int64_t)i;
        craft_begin(segment, RUN, i + 1, sequence, true, false);
        craft_model(segment, model);
        craft_fixture_step(segment, first);
        craft_losses(segment, first + 1, loss, 3);
        craft_event(segment, &finding);
        if (i == 1) {
            const bp_layer layer = {.name = "fourth", .kind = BP_LAYER_DENSE};
            assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
            craft_model_delta(segment, model, FIXTURE_LAYERS + 1);
        }
        craft_fixture_step(segment, first + 4);
        if (i + 1 == N_SEGMENTS) craft_end(segment, BP_RUN_FINISHED);
        sequence = segment->sequence;
    }
    bp_model_close(model);
}

/* Takes what is there now; *n_steps and *n_events go on. */
static void take(bp_runlog_reader *reader, size_t *n_steps, size_t *n_events) {
    static const int64_t steps[] = {0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24};
    for (;;) {
        bp_runlog_entry entry;
        bp_error error;
        if (bp_runlog_reader_next_entry(reader, &entry, &error) != BP_OK)
            fail_msg("%s", error.text);
        if (entry.event) (*n_events)++;
        if (entry.record) {
            assert_true(*n_steps < sizeof steps / sizeof *steps);
            assert_int_equal(entry.record->step, steps[*n_steps]);
            (*n_steps)++;
        }
        if (!entry.record && !entry.event) break;
    }
    const bp_runlog_damage *damage = bp_runlog_reader_damage(reader);
    assert_int_equal(damage->damaged_places, 0);
    assert_int_equal(damage->lost_records, 0);
}

static void assert_all(bp_runlog_reader *reader, size_t n_steps, size_t n_events) {
    assert_int_equal(n_steps, 15);
    assert_int_equal(n_events, 4);
    assert_false(bp_runlog_reader_damage(reader)->torn_tail);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_FINISHED);
    assert_int_equal(bp_model_n_layers(bp_runlog_reader_model(reader)), FIXTURE_LAYERS + 1);
}

static size_t open_bytes(const craft *first) {
    bp_frame frame;
    assert_true(bp_frame_get(&frame, first->bytes + BP_SEGMENT_START, first->salt));
    return BP_SEGMENT_START + BP_FRAME_HEADER_BYTES + frame.n_bytes;
}

/* Each byte alone, and the reader asked after each. */
static void byte_by_byte(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    craft segments[N_SEGMENTS];
    bp_runlog_reader *reader = NULL;
    size_t n_steps = 0, n_events = 0, n_torn = 0;
    fixture_make_folder(folder);
    make_segments(segments);
    for (uint32_t i = 0; i < N_SEGMENTS; i++) {
        size_t from = 0;
        if (i == 0) {
            from = open_bytes(&segments[0]);
            append(fixture_segment(path, folder, 1), segments[0].bytes, from);
            assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
        }
        for (size_t at = from; at < segments[i].length; at++) {
            append(fixture_segment(path, folder, i + 1), segments[i].bytes + at, 1);
            take(reader, &n_steps, &n_events);
            n_torn += bp_runlog_reader_damage(reader)->torn_tail;
        }
        assert_false(bp_runlog_reader_damage(reader)->torn_tail);
    }
    assert_true(n_torn > segments[0].length);
    assert_all(reader, n_steps, n_events);
    bp_runlog_reader_close(reader);
    for (uint32_t i = 0; i < N_SEGMENTS; i++) craft_free(&segments[i]);
    fixture_remove_folder(folder);
}

/* The log in two pieces, cut at each byte of the second segment. */
static void two_pieces(void **state) {
    (void)state;
    craft segments[N_SEGMENTS];
    make_segments(segments);
    for (size_t cut = 0; cut <= segments[1].length; cut++) {
        char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
        bp_runlog_reader *reader;
        size_t n_steps = 0, n_events = 0;
        fixture_make_folder(folder);
        craft_write(&segments[0], folder);
        append(fixture_segment(path, folder, 2), segments[1].bytes, cut);
        assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
        take(reader, &n_steps, &n_events);
        append(path, segments[1].bytes + cut, segments[1].length - cut);
        craft_write(&segments[2], folder); /* both have grown before the reader looks */
        take(reader, &n_steps, &n_events);
        assert_all(reader, n_steps, n_events);
        bp_runlog_reader_close(reader);
        fixture_remove_folder(folder);
    }
    for (uint32_t i = 0; i < N_SEGMENTS; i++) craft_free(&segments[i]);
}

/* A tail that stays torn is damage once a segment that does not resume follows, and not before. */
static void a_tail_that_stays_torn(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    craft segments[N_SEGMENTS];
    bp_runlog_reader *reader;
    size_t n_steps = 0, n_events = 0;
    fixture_make_folder(folder);
    make_segments(segments);
    segments[0].length -= 5;
    craft_write(&segments[0], folder);
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    take(reader, &n_steps, &n_events);
    assert_int_equal(n_steps, 4);
    assert_true(bp_runlog_reader_damage(reader)->torn_tail);
    craft_write(&segments[1], folder);
    const bp_record *record;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        assert_non_null(record);
    }
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_null(record);
    assert_false(bp_runlog_reader_damage(reader)->torn_tail);
    assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 1);
    assert_int_equal(bp_runlog_reader_damage(reader)->lost_records, 1);
    bp_runlog_reader_close(reader);
    for (uint32_t i = 0; i < N_SEGMENTS; i++) craft_free(&segments[i]);
    fixture_remove_folder(folder);
}

/* A run that goes on from a checkpoint gives its steps again. */
static void a_run_that_is_resumed(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    craft segment;
    bp_runlog_reader *reader;
    const bp_record *record;
    bp_model *model = fixture_model();
    fixture_make_folder(folder);
    craft_begin(&segment, RUN, 1, 0, true, false);
    craft_model(&segment, model);
    for (int64_t step = 0; step < 3; step++) craft_fixture_step(&segment, step);
    craft_end(&segment, BP_RUN_INTERRUPTED);
    craft_write(&segment, folder);
    const uint64_t sequence = segment.sequence;
    craft_free(&segment);
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    for (int64_t step = 0; step < 3; step++)
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_null(record);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_INTERRUPTED);
    craft_begin(&segment, RUN, 2, sequence, true, true);
    craft_model(&segment, model);
    craft_rewind(&segment, 1);
    craft_fixture_step(&segment, 1);
    craft_write(&segment, folder);
    craft_free(&segment);
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_non_null(record);
    assert_int_equal(record->step, 1);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_OPEN);
    bp_runlog_reader_close(reader);
    bp_model_close(model);
    fixture_remove_folder(folder);
}

/* Step by step what comes now, as digits. */
static void take_digits(bp_runlog_reader *reader, char *digits) {
    const bp_record *record;
    for (digits += strlen(digits);; *digits = '\0') {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        if (!record) return;
        *digits++ = (char)('0' + record->step);
    }
}

/* A reader that meets a resumed run's segment before it says where the run went back to, when it
 * opens the log or later: what it gives then is void once that is known, and who asks learns it. */
static void resumed_byte_by_byte(void **state) {
    (void)state;
    craft first, second;
    bp_model *model = fixture_model();
    craft_begin(&first, RUN, 1, 0, true, false);
    craft_model(&first, model);
    for (int64_t step = 0; step < 3; step++) craft_fixture_step(&first, step);
    craft_begin(&second, RUN, 2, first.sequence, true, true);
    craft_model(&second, model);
    craft_rewind(&second, 1);
    const size_t told = second.length;
    craft_fixture_step(&second, 1);
    for (size_t cut = 0; cut <= second.length; cut += cut + 70 < told ? 7 : 1) {
        char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES], digits[16] = "";
        bp_runlog_reader *reader;
        fixture_make_folder(folder);
        craft_write(&first, folder);
        append(fixture_segment(path, folder, 2), second.bytes, cut);
        assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
        assert_int_equal(bp_runlog_reader_n_rewinds(reader), cut >= told);
        take_digits(reader, digits);
        append(path, second.bytes + cut, second.length - cut);
        take_digits(reader, digits);
        assert_string_equal(digits, cut >= told ? "01" : "0121");
        assert_int_equal(bp_runlog_reader_n_rewinds(reader), 1);
        assert_int_equal(bp_runlog_reader_damage(reader)->damaged_places, 0);
        const bp_runlog_progress progress = bp_runlog_reader_progress(reader);
        assert_int_equal(progress.there, first.length + second.length);
        assert_int_equal(progress.read, progress.there);
        bp_runlog_reader_close(reader);
        fixture_remove_folder(folder);
    }
    craft_free(&first);
    craft_free(&second);
    bp_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_by_byte),           cmocka_unit_test(two_pieces),
        cmocka_unit_test(a_tail_that_stays_torn), cmocka_unit_test(a_run_that_is_resumed),
        cmocka_unit_test(resumed_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
