/* SPDX-License-Identifier: Apache-2.0 */
#include "thin_fixture.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- making them ---------------------------------------------------------------------------- */

void thin_begin(craft *segment, uint32_t index, uint64_t sequence, int64_t rewind) {
    bp_model *model = fixture_model();
    craft_begin(segment, THIN_RUN, index, sequence, true, rewind >= 0);
    craft_model(segment, model);
    bp_model_close(model);
    if (rewind >= 0) craft_rewind(segment, rewind);
}

void thin_add_step(craft *segment, int64_t step, double loss) {
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    fixture_record(&record, step % 4 == 3 ? 7 : 5); /* neither NaN nor Inf in it */
    record.step = step;
    bp_record_set(&record, BP_Q_LOSS, 0, loss);
    craft_step(segment, &record);
    bp_record_finish(&record, NULL);
}

void thin_add_losses(craft *segment, int64_t first, size_t n, double loss) {
    double losses[64];
    assert_true(n <= sizeof losses / sizeof losses[0]);
    for (size_t i = 0; i < n; i++) losses[i] = loss;
    craft_losses(segment, first, losses, n);
}

void thin_add_finding(craft *segment, int64_t step, int64_t since_step) {
    const bp_event event = {
        .kind = BP_EVENT_FINDING,
        .as.finding = {
            .step = step, .since_step = since_step, .problem = 1, .state = BP_FINDING_OPENED}};
    craft_event(segment, &event);
}

uint64_t thin_write(craft *segment, const char *folder) {
    const uint64_t sequence = segment->sequence;
    craft_write(segment, folder);
    craft_free(segment);
    return sequence;
}

void thin_write_run(const char *folder, uint32_t n, int64_t n_steps) {
    uint64_t sequence = 0;
    int64_t step = 0;
    for (uint32_t index = 1; index <= n; index++) {
        craft segment;
        thin_begin(&segment, index, sequence, -1);
        for (int64_t i = 0; i < n_steps; i++) thin_add_step(&segment, step++, 0.5);
        sequence = thin_write(&segment, folder);
    }
}

/* --- reading them --------------------------------------------------------------------------- */

static void read_payload(thin_content *content, const bp_frame *frame, const uint8_t *payload) {
    bp_cursor cursor;
    bp_cursor_init(&cursor, payload, frame->n_bytes);
    int64_t step = -1;
    uint64_t n_numbers = frame->type == BP_RUNLOG_FINDING || frame->type == BP_RUNLOG_END ||
                         frame->type == BP_RUNLOG_CHECKPOINT || frame->type == BP_RUNLOG_WATCH ||
                         frame->type == BP_RUNLOG_MODEL_DELTA || frame->type == BP_RUNLOG_HISTOGRAM;
    if (frame->type == BP_RUNLOG_STEP) {
        (void)bp_read_varint(&cursor);
        step = (int64_t)bp_read_varint(&cursor);
        n_numbers = 1;
    }
    if (frame->type == BP_RUNLOG_LOSSES) {
        (void)bp_read_f64(&cursor);
        step = (int64_t)bp_read_varint(&cursor);
        n_numbers = bp_read_varint(&cursor);
    }
    if (frame->type == BP_RUNLOG_THINNED) {
        content->n_thinned++;
        content->thinned_at = content->n;
        content->thinned_sequence = frame->sequence;
        content->every = bp_read_varint(&cursor);
        content->first = bp_read_varint(&cursor);
        content->last = bp_read_varint(&cursor);
        content->dropped = bp_read_varint(&cursor);
        assert_int_equal(cursor.position, cursor.length);
    }
    assert_false(cursor.bad);
    assert_true(content->n < sizeof content->frame / sizeof content->frame[0]);
    content->frame[content->n].type = frame->type;
    content->frame[content->n].sequence = frame->sequence;
    content->frame[content->n].n_numbers = n_numbers;
    content->frame[content->n].step = step;
    content->frame[content->n].n_bytes = frame->n_bytes;
    content->frame[content->n++].payload_crc = frame->payload_crc;
}

static void read_content(thin_content *content, fixture_bytes file) {
    bp_segment_header header;
    memset(content, 0, sizeof *content);
    assert_true(file.length >= BP_SEGMENT_START);
    assert_true(bp_segment_header_get(&header, file.bytes));
    assert_memory_equal(file.bytes, file.bytes + BP_SEGMENT_HEADER_BYTES, BP_SEGMENT_HEADER_BYTES);
    for (size_t at = BP_SEGMENT_START; at < file.length;) {
        bp_frame frame;
        assert_true(at + BP_FRAME_HEADER_BYTES <= file.length);
        assert_true(bp_frame_get(&frame, file.bytes + at, header.id));
        assert_int_equal(frame.offset, at);
        at += BP_FRAME_HEADER_BYTES;
        assert_true(at + frame.n_bytes <= file.length);
        assert_int_equal(bp_crc32c(0, file.bytes + at, frame.n_bytes), frame.payload_crc);
        read_payload(content, &frame, file.bytes + at);
        at += frame.n_bytes;
    }
}

void thin_read(thin_content *content, const char *path) {
    const fixture_bytes file = fixture_read_file(path);
    read_content(content, file);
    thin_free(file);
}

bool thin_has_step(const thin_content *content, int64_t step) {
    for (size_t i = 0; i < content->n; i++)
        if (content->frame[i].step == step) return true;
    return false;
}

uint64_t thin_assert_reads(const char *folder) {
    bp_runlog_reader *reader;
    bp_error error;
    const bp_record *record;
    if (bp_runlog_reader_open(&reader, folder, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    do assert_int_equal(bp_runlog_reader_next(reader, &record, &error), BP_OK);
    while (record);
    const bp_runlog_damage damage = *bp_runlog_reader_damage(reader);
    bp_runlog_reader_close(reader);
    if (damage.first.status != BP_OK) fail_msg("%s", damage.first.text);
    assert_int_equal(damage.lost_records, 0);
    assert_int_equal(damage.damaged_places, 0);
    assert_int_equal(damage.unknown, 0);
    return damage.thinned_records;
}

uint64_t thin_folder_bytes(const char *folder) {
    uint64_t total = 0;
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        char path[2 * FIXTURE_PATH_BYTES];
        struct stat found;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &found) != 0) continue; /* a twin that was just renamed */
        if (S_ISREG(found.st_mode)) total += (uint64_t)found.st_size;
    }
    closedir(directory);
    return total;
}

static int no_fsync(void *context, int file) {
    (void)context, (void)file;
    return 0;
}

bp_io thin_io(void) {
    bp_io io = bp_io_system;
    io.fsync = no_fsync;
    return io;
}

bp_status thin_once(const char *folder, const bp_io *io, uint64_t max_bytes, uint32_t current,
                    bp_error *error) {
    bp_thinner thinner;
    const bp_io quick = thin_io();
    bp_status status = bp_thinner_init(&thinner, io ? io : &quick, folder, THIN_RUN, NULL, error);
    if (status != BP_OK) return status;
    status = bp_thinner_run(&thinner, &(bp_thin_budget){.max_bytes = max_bytes, .current = current},
                            error);
    bp_thinner_finish(&thinner);
    return status;
}

/* --- before and after ------------------------------------------------------------------------ */

fixture_bytes thin_read_segment(const char *folder, uint32_t index) {
    char path[FIXTURE_PATH_BYTES];
    return fixture_read_file(fixture_segment(path, folder, index));
}

void thin_free(fixture_bytes file) {
    bp_release(NULL, file.bytes, file.length + 1, 1);
}

bool thin_same(fixture_bytes one, fixture_bytes other) {
    return one.length == other.length && memcmp(one.bytes, other.bytes, one.length) == 0;
}

thin_snapshot thin_take(const char *folder) {
    thin_snapshot taken = {0};
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) taken.file[i] = thin_read_segment(folder, i);
    return taken;
}

bool thin_is_as_before(const thin_snapshot *taken, const char *folder, uint32_t index) {
    const fixture_bytes now = thin_read_segment(folder, index);
    const bool equal = thin_same(taken->file[index], now);
    thin_free(now);
    return equal;
}

void thin_put_back(const thin_snapshot *taken, const char *folder) {
    char path[FIXTURE_PATH_BYTES];
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) {
        /* A file that is written anew where one was is flushed by some file systems. */
        assert_int_equal(unlink(fixture_segment(path, folder, i)), 0);
        fixture_write_file(path, taken->file[i].bytes, taken->file[i].length);
    }
}

void thin_free_snapshot(thin_snapshot *taken) {
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) thin_free(taken->file[i]);
}

bool thin_has_aside(const char *folder) {
    char path[2 * FIXTURE_PATH_BYTES], name[FIXTURE_PATH_BYTES];
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) {
        snprintf(path, sizeof path, "%s.thin", fixture_segment(name, folder, i));
        if (access(path, F_OK) == 0) return true;
    }
    return false;
}

void thin_assert_thinned(fixture_bytes old, const char *folder, uint32_t index,
                         thin_content *content) {
    static thin_content before;
    char path[FIXTURE_PATH_BYTES];
    read_content(&before, old);
    thin_read(content, fixture_segment(path, folder, index));
    assert_int_equal(content->n_thinned, 1);
    uint64_t dropped = before.dropped;
    size_t at = 0;
    for (size_t i = 0; i < before.n; i++) {
        if (at < content->n && content->frame[at].type == BP_RUNLOG_THINNED) at++;
        if (before.frame[i].type == BP_RUNLOG_THINNED) continue;
        if (at < content->n &&
            memcmp(&before.frame[i], &content->frame[at], sizeof before.frame[i]) == 0)
            at++;
        else
            dropped += before.frame[i].n_numbers;
    }
    assert_int_equal(at, content->n);
    assert_int_equal(dropped, content->dropped);
    assert_true(content->dropped > before.dropped);
    assert_true(content->every > (before.every ? before.every : 1));
}

size_t thin_assert_whole(const thin_snapshot *taken, const char *folder) {
    static thin_content content;
    size_t n = 0;
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) {
        if (thin_is_as_before(taken, folder, i)) continue;
        thin_assert_thinned(taken->file[i], folder, i, &content);
        n++;
    }
    return n;
}
