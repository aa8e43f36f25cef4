/* SPDX-License-Identifier: Apache-2.0 */
/* Damage of every kind: exactly the damaged records are lost, no value is ever wrong
 * (fixture_read_log compares each), nothing crashes. */
#include "fixture.h"

#define GOLDEN SOURCE_ROOT "/tests/golden/runlog-1/log-000001.bplog"

typedef struct bench {
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    fixture_bytes log; /* the good one */
    uint8_t *bytes;    /* one to damage, twice as long */
    fixture_frame frames[FIXTURE_MAX_FRAMES];
    size_t n_frames, n_steps;
    bp_segment_id salt;
} bench;

static bench golden, longer; /* 5 steps, and 150 */

static void prepare(bench *b, fixture_bytes log) {
    b->log = log;
    b->n_frames = fixture_frames(b->log, b->frames, &b->salt);
    for (size_t i = 0; i < b->n_frames; i++) b->n_steps += b->frames[i].step >= 0;
    b->bytes = malloc(2 * b->log.length);
    assert_non_null(b->bytes);
    fixture_make_folder(b->folder);
    fixture_write_file(fixture_segment(b->path, b->folder, 1), log.bytes, log.length);
}

static int prepare_all(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    prepare(&golden, fixture_read_file(GOLDEN));
    assert_int_equal(golden.n_steps, 5);
    fixture_make_folder(folder);
    fixture_write_log(folder, 150, NULL);
    prepare(&longer, fixture_read_file(fixture_segment(path, folder, 1)));
    fixture_remove_folder(folder);
    assert_int_equal(longer.n_steps, 150);
    assert_true(longer.log.length > 5 * 4096);
    return 0;
}

static int remove_all(void **state) {
    (void)state;
    bench *benches[] = {&golden, &longer};
    for (size_t i = 0; i < 2; i++) {
        fixture_remove_folder(benches[i]->folder);
        free(benches[i]->bytes);
        bp_release(NULL, benches[i]->log.bytes, benches[i]->log.length + 1, 1);
    }
    return 0;
}

static void restore(bench *b) {
    memcpy(b->bytes, b->log.bytes, b->log.length);
}

static fixture_reading read_bytes(bench *b, size_t length) {
    return fixture_read_bytes(b->path, b->bytes, length);
}

/* --- truncations and flips, all of them ------------------------------------------------------ */

static void every_truncation(void **state) {
    (void)state;
    bench *b = &golden;
    restore(b);
    for (size_t length = 0; length < b->log.length; length++) {
        const fixture_reading reading = read_bytes(b, length);
        const fixture_frame *model = &b->frames[0];
        if (length < model->place + model->n_bytes) {
            assert_int_equal(reading.opened, BP_ERROR_INPUT);
            continue;
        }
        assert_int_equal(reading.opened, BP_OK);
        bool at_border = false;
        size_t n_given = 0;
        for (size_t i = 0; i < b->n_frames; i++) {
            const size_t end = b->frames[i].place + b->frames[i].n_bytes;
            if (end == length) at_border = true;
            if (b->frames[i].step < 0) continue;
            assert_int_equal(reading.given[b->frames[i].step], end <= length);
            n_given += end <= length;
        }
        assert_int_equal(reading.n_given, n_given);
        assert_int_equal(reading.damage.torn_tail, !at_border);
        assert_int_equal(reading.damage.damaged_places, 0);
        assert_int_equal(reading.damage.lost_records, 0);
        assert_int_equal(reading.end, BP_RUN_OPEN);
    }
}

/* The frame that a byte belongs to; -1 in the segment header. */
static int frame_at(const bench *b, size_t place) {
    for (size_t i = 0; i < b->n_frames; i++)
        if (place >= b->frames[i].place && place < b->frames[i].place + b->frames[i].n_bytes)
            return (int)i;
    return -1;
}

static void every_single_bit_flip(void **state) {
    (void)state;
    bench *b = &golden;
    restore(b);
    for (size_t bit = 0; bit < 8 * b->log.length; bit++) {
        const size_t place = bit / 8;
        const int hit = frame_at(b, place);
        b->bytes[place] ^= (uint8_t)(1u << bit % 8);
        const fixture_reading reading = read_bytes(b, b->log.length);
        b->bytes[place] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(reading.opened, BP_OK);
        for (size_t i = 0; i < b->n_frames; i++)
            if (b->frames[i].step >= 0)
                assert_int_equal(reading.given[b->frames[i].step], (int)i != hit);
        assert_int_equal(reading.damage.damaged_places, 1);
        assert_int_equal(reading.damage.first.status, BP_ERROR_INPUT);
        assert_non_null(strstr(reading.damage.first.text, b->path));
        assert_false(reading.damage.torn_tail);
        if (hit < 0) {
            assert_int_equal(reading.damage.lost_records, 0);
            assert_int_equal(reading.damage.lost_bytes, BP_SEGMENT_HEADER_BYTES);
            continue;
        }
        const fixture_frame *frame = &b->frames[hit];
        const bool last = (size_t)hit + 1 == b->n_frames;
        const bool in_header = place < frame->place + BP_FRAME_HEADER_BYTES;
        assert_int_equal(reading.damage.lost_bytes, frame->n_bytes);
        assert_int_equal(reading.damage.first.offset, frame->place);
        /* Only the number of the very last record can go with its header. */
        assert_int_equal(reading.damage.lost_records, last && in_header ? 0 : 1);
        assert_int_equal(reading.end, last ? BP_RUN_OPEN : BP_RUN_FINISHED);
    }
}

/* --- blocks ---------------------------------------------------------------------------------- */

static bool touches(const fixture_frame *frame, size_t from, size_t to) {
    return frame->place < to && frame->place + frame->n_bytes > from;
}

/* Steps outside of [from, to) must be given, and those that it touches not, unless they may have
 * come out of it whole. */
static void assert_given_outside(const bench *b, const fixture_reading *reading, size_t from,
                                 size_t to, bool may_survive) {
    assert_int_equal(reading->opened, BP_OK);
    for (size_t i = 0; i < b->n_frames; i++) {
        const fixture_frame *frame = &b->frames[i];
        if (frame->step >= 0 && (!may_survive || !touches(frame, from, to)))
            assert_int_equal(reading->given[frame->step], !touches(frame, from, to));
    }
}

static void zeroed_blocks(void **state) {
    (void)state;
    bench *b = &longer;
    const size_t sizes[] = {1, 64, 512, 4096};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t at = 0; at < b->log.length; at += sizes[s] < 512 ? 331 : 512) {
            const size_t rest = b->log.length - at, n = rest < sizes[s] ? rest : sizes[s];
            restore(b);
            memset(b->bytes + at, 0, n);
            const bool changed = memcmp(b->bytes, b->log.bytes, b->log.length) != 0;
            const fixture_reading reading = read_bytes(b, b->log.length);
            if (changed) assert_given_outside(b, &reading, at, at + n, false);
            if (changed) assert_true(reading.damage.damaged_places >= 1);
        }
}

static void swap_blocks(bench *b, size_t first, size_t second, size_t n) {
    restore(b);
    memcpy(b->bytes + first, b->log.bytes + second, n);
    memcpy(b->bytes + second, b->log.bytes + first, n);
}

static bool is_untouched(const bench *b, const fixture_frame *frame) {
    return memcmp(b->bytes + frame->place, b->log.bytes + frame->place, frame->n_bytes) == 0;
}

/* The model stands twice in a segment; without either a log cannot be read. */
static bool has_model(const bench *b) {
    for (size_t i = 0; i < b->n_frames; i++)
        if (b->frames[i].frame.type == BP_RUNLOG_MODEL && is_untouched(b, &b->frames[i]))
            return true;
    return false;
}

/* What stands where it was written is given, in its order; of what was moved nothing is wrong. */
static void swapped_blocks(void **state) {
    (void)state;
    bench *b = &longer;
    const size_t sizes[] = {100, 512, 4096};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s], step = n < 512 ? 1700 : n;
        for (size_t first = 0; first + n <= b->log.length; first += step)
            for (size_t second = first + step; second + n <= b->log.length; second += 3 * step) {
                swap_blocks(b, first, second, n);
                const fixture_reading reading = read_bytes(b, b->log.length);
                if (has_model(b)) assert_int_equal(reading.opened, BP_OK);
                if (reading.opened != BP_OK) continue;
                for (size_t i = 0; i < b->n_frames; i++) {
                    const fixture_frame *frame = &b->frames[i];
                    if (frame->step < 0) continue;
                    if (is_untouched(b, frame))
                        assert_true(reading.given[frame->step]);
                    else
                        assert_false(reading.given[frame->step]);
                }
                assert_true(reading.damage.lost_records > 0 || first == 0 ||
                            second + n == b->log.length);
            }
    }
}

/* Whole frames change places: they are good, but not there. */
static void swapped_frames(void **state) {
    (void)state;
    bench *b = &golden;
    const fixture_frame *second = &b->frames[2], *third = &b->frames[3];
    restore(b);
    memcpy(b->bytes + second->place, b->log.bytes + third->place, third->n_bytes);
    memcpy(b->bytes + second->place + third->n_bytes, b->log.bytes + second->place,
           second->n_bytes);
    const fixture_reading reading = read_bytes(b, b->log.length);
    assert_int_equal(reading.n_given, 3);
    assert_false(reading.given[second->step]);
    assert_false(reading.given[third->step]);
    assert_int_equal(reading.damage.lost_records, 2);
    assert_int_equal(reading.damage.damaged_places, 1);
    assert_int_equal(reading.damage.lost_bytes, second->n_bytes + third->n_bytes);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
}

/* A block comes twice: only a record that the second copy tears apart is lost. */
static void doubled_blocks(void **state) {
    (void)state;
    bench *b = &longer;
    const size_t sizes[] = {100, 512, 4096};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t at = BP_SEGMENT_START; at + sizes[s] <= b->log.length; at += 700) {
            const size_t n = sizes[s], end = at + n;
            memcpy(b->bytes, b->log.bytes, end);
            memcpy(b->bytes + end, b->log.bytes + at, b->log.length - at);
            const fixture_reading reading = read_bytes(b, b->log.length + n);
            assert_int_equal(reading.opened, BP_OK);
            for (size_t i = 0; i < b->n_frames; i++) {
                const fixture_frame *frame = &b->frames[i];
                const bool torn = frame->place < at && frame->place + frame->n_bytes > end;
                if (frame->step >= 0) assert_int_equal(reading.given[frame->step], !torn);
            }
            assert_int_equal(reading.end, BP_RUN_FINISHED);
            assert_true(reading.damage.damaged_places >= 1);
        }
}

static void deleted_blocks(void **state) {
    (void)state;
    bench *b = &longer;
    const size_t sizes[] = {1, 100, 4096};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t at = BP_SEGMENT_START; at + sizes[s] <= b->log.length; at += 700) {
            const size_t n = sizes[s];
            memcpy(b->bytes, b->log.bytes, at);
            memcpy(b->bytes + at, b->log.bytes + at + n, b->log.length - at - n);
            const fixture_reading reading = read_bytes(b, b->log.length - n);
            assert_given_outside(b, &reading, at, at + n, n == 1);
        }
}

/* Rubbish so long that the next good header lies across the border of the reader's buffer. */
static void a_header_across_the_buffer(void **state) {
    (void)state;
    bench *b = &golden;
    enum { BORDER = 65536 };
    const size_t at = b->frames[2].place, rest = b->log.length - at;
    uint8_t *bytes = malloc(2 * BORDER);
    assert_non_null(bytes);
    for (size_t place = BORDER - 40; place <= BORDER + 4; place++) {
        memcpy(bytes, b->log.bytes, at);
        memset(bytes + at, 'x', place - at);
        memcpy(bytes + place, b->log.bytes + at, rest);
        const fixture_reading reading = fixture_read_bytes(b->path, bytes, place + rest);
        assert_int_equal(reading.n_given, 5);
        assert_int_equal(reading.damage.damaged_places, 1);
        assert_int_equal(reading.damage.lost_bytes, place - at);
        assert_int_equal(reading.damage.lost_records, 0);
    }
    free(bytes);
}

/* Each frame has another difference than the one before: the reader follows some of the changes,
 * but must not read the file again for each. */
static void many_changes_of_place(void **state) {
    (void)state;
    bench *b = &longer;
    size_t length = b->frames[1].place;
    memcpy(b->bytes, b->log.bytes, length);
    for (size_t i = 1; i < 60; i++) { /* a byte of rubbish behind each */
        memcpy(b->bytes + length, b->log.bytes + b->frames[i].place, b->frames[i].n_bytes);
        length += b->frames[i].n_bytes;
        b->bytes[length++] = 'x';
    }
    const fixture_reading reading = read_bytes(b, length);
    assert_int_equal(reading.opened, BP_OK);
    assert_int_equal(reading.n_given, 1 + 16);
}

/* --- records inside records ------------------------------------------------------------------- */

/* A frame of an unknown type around the bytes, at `place`, with a number of its own. */
static size_t wrap(bench *b, size_t place, const uint8_t *payload, size_t n_bytes,
                   uint64_t sequence) {
    const bp_frame frame = {.type = 999,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, payload, n_bytes),
                            .sequence = sequence,
                            .offset = place};
    memmove(b->bytes + place + BP_FRAME_HEADER_BYTES, payload, n_bytes);
    bp_frame_put(b->bytes + place, &frame, b->salt);
    return place + BP_FRAME_HEADER_BYTES + n_bytes;
}

/* The log's first frames, then an unknown record that holds a copy of `inner`, then a good end. */
static size_t with_a_frame_inside(bench *b, const uint8_t *inner, size_t n_bytes, size_t *outer) {
    const size_t keep = 3; /* model, steps 0 and 1 */
    *outer = b->frames[keep].place;
    memcpy(b->bytes, b->log.bytes, *outer);
    size_t at = wrap(b, *outer, inner, n_bytes, keep);
    const bp_frame end = {.type = BP_RUNLOG_END,
                          .n_bytes = 1,
                          .payload_crc = bp_crc32c(0, "\1", 1),
                          .sequence = keep + 1,
                          .offset = at};
    bp_frame_put(b->bytes + at, &end, b->salt);
    b->bytes[at + BP_FRAME_HEADER_BYTES] = BP_RUN_FINISHED;
    return at + BP_FRAME_HEADER_BYTES + 1;
}

static void a_valid_frame_inside_a_payload(void **state) {
    (void)state;
    bench *b = &golden;
    const fixture_frame *step = &b->frames[5]; /* a later one of this very log */
    size_t outer;
    size_t length = with_a_frame_inside(b, b->log.bytes + step->place, step->n_bytes, &outer);
    fixture_reading reading = read_bytes(b, length);
    assert_int_equal(reading.n_given, 2);
    assert_int_equal(reading.damage.unknown, 1);
    assert_int_equal(reading.damage.damaged_places, 0);
    assert_int_equal(reading.damage.lost_records, 0);
    assert_int_equal(reading.end, BP_RUN_FINISHED);
    /* Even when the record around it is damaged. */
    for (size_t bit = 0; bit < 8 * BP_FRAME_HEADER_BYTES; bit++) {
        b->bytes[outer + bit / 8] ^= (uint8_t)(1u << bit % 8);
        reading = read_bytes(b, length);
        b->bytes[outer + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(reading.n_given, 2);
        assert_int_equal(reading.damage.lost_records, 1);
        assert_int_equal(reading.end, BP_RUN_FINISHED);
    }
    /* And one of another segment is none at all. */
    uint8_t foreign[4096];
    bp_frame frame = step->frame;
    frame.sequence = 3;
    frame.offset = outer + BP_FRAME_HEADER_BYTES;
    memcpy(foreign, b->log.bytes + step->place, step->n_bytes);
    bp_frame_put(foreign, &frame, (bp_segment_id){b->salt.run, b->salt.index + 1});
    length = with_a_frame_inside(b, foreign, step->n_bytes, &outer);
    b->bytes[outer] ^= 1;
    reading = read_bytes(b, length);
    assert_int_equal(reading.n_given, 2);
    assert_int_equal(reading.damage.damaged_places, 1);
}

/* --- good frames with bad content ---------------------------------------------------------------
 */

/* Replaces the payload of a frame by one of the same length and signs it. */
static void resign(bench *b, const fixture_frame *frame) {
    bp_frame header = frame->frame;
    header.payload_crc =
        bp_crc32c(0, b->bytes + frame->place + BP_FRAME_HEADER_BYTES, header.n_bytes);
    bp_frame_put(b->bytes + frame->place, &header, b->salt);
}

static void a_record_of_another_network_is_damage(void **state) {
    (void)state;
    bench *b = &golden;
    restore(b);
    b->bytes[b->frames[2].place + BP_FRAME_HEADER_BYTES] = 4; /* layers */
    resign(b, &b->frames[2]);
    const fixture_reading reading = read_bytes(b, b->log.length);
    assert_int_equal(reading.n_given, 4);
    assert_int_equal(reading.damage.lost_records, 1);
    assert_int_equal(reading.damage.damaged_places, 1);
    assert_non_null(
        strstr(reading.damage.first.text, "4 layers, expected at most the network's 3"));
}

static void every_payload_byte_changed_and_signed(void **state) {
    (void)state;
    bench *b = &golden;
    bp_runlog_reader *reader;
    bp_error error;
    const bp_record *record;
    for (size_t i = 0; i < b->n_frames; i++)
        for (size_t at = BP_FRAME_HEADER_BYTES; at < b->frames[i].n_bytes; at++) {
            restore(b);
            b->bytes[b->frames[i].place + at] ^= (uint8_t)(at % 255 + 1);
            resign(b, &b->frames[i]);
            fixture_write_file(b->path, b->bytes, b->log.length);
            /* Whatever it says now, it must not crash: no comparison with the original here. */
            const bp_status status = bp_runlog_reader_open(&reader, b->path, NULL, &error);
            assert_true(status == BP_OK || i == 0);
            if (status != BP_OK) continue;
            do assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
            while (record);
            bp_runlog_reader_close(reader);
        }
}

static void an_end_without_meaning(void **state) {
    (void)state;
    bench *b = &golden;
    const fixture_frame *end = &b->frames[b->n_frames - 1];
    restore(b);
    b->bytes[end->place + BP_FRAME_HEADER_BYTES] = 77;
    resign(b, end);
    const fixture_reading reading = read_bytes(b, b->log.length);
    assert_int_equal(reading.n_given, 5);
    assert_int_equal(reading.end, BP_RUN_OPEN);
    assert_int_equal(reading.damage.lost_records, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(every_single_bit_flip),
        cmocka_unit_test(zeroed_blocks),
        cmocka_unit_test(swapped_blocks),
        cmocka_unit_test(swapped_frames),
        cmocka_unit_test(doubled_blocks),
        cmocka_unit_test(deleted_blocks),
        cmocka_unit_test(a_header_across_the_buffer),
        cmocka_unit_test(many_changes_of_place),
        cmocka_unit_test(a_valid_frame_inside_a_payload),
        cmocka_unit_test(a_record_of_another_network_is_damage),
        cmocka_unit_test(every_payload_byte_changed_and_signed),
        cmocka_unit_test(an_end_without_meaning),
    };
    return cmocka_run_group_tests(tests, prepare_all, remove_all);
}
