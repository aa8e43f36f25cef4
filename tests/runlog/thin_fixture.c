/* SPDX-License-Identifier: Apache-2.0 */
#include "thin_fixture.h"

#include <dirent.h>
#include <sys/stat.h>

/* --- making them ---------------------------------------------------------------------------- */

static void append(thin_segment *segment, const void *bytes, size_t n_bytes) {
    while (segment->n_bytes + n_bytes > segment->capacity) {
        segment->capacity = segment->capacity ? 2 * segment->capacity : 65536;
        segment->bytes = realloc(segment->bytes, segment->capacity);
        assert_non_null(segment->bytes);
    }
    if (n_bytes) memcpy(segment->bytes + segment->n_bytes, bytes, n_bytes);
    segment->n_bytes += n_bytes;
}

void thin_add(thin_segment *segment, bp_runlog_type type, const void *payload, size_t n_bytes,
              uint64_t n_numbers) {
    uint8_t bytes[BP_FRAME_HEADER_BYTES];
    const bp_frame frame = {.type = (uint16_t)type,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, payload, n_bytes),
                            .sequence = segment->sequence,
                            .offset = segment->n_bytes};
    bp_frame_put(bytes, &frame, segment->id);
    append(segment, bytes, sizeof bytes);
    append(segment, payload, n_bytes);
    segment->sequence += n_numbers;
}

static void add_varints(thin_segment *segment, bp_runlog_type type, uint64_t first, uint64_t second,
                        uint64_t n_numbers) {
    uint8_t bytes[32];
    bp_writer writer;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_write_varint(&writer, first);
    bp_write_varint(&writer, second);
    for (int i = 0; type == BP_RUNLOG_FINDING && i < 3; i++) bp_write_varint(&writer, 1);
    thin_add(segment, type, bytes, writer.length, n_numbers);
}

thin_segment thin_begin(uint32_t index, uint64_t sequence, int64_t rewind) {
    thin_segment segment = {.id = {THIN_RUN, index}, .sequence = sequence};
    const bp_segment_header header = {.major = BP_RUNLOG_MAJOR,
                                      .minor = BP_RUNLOG_MINOR,
                                      .compatible = rewind >= 0 ? BP_RUNLOG_REWINDS : 0,
                                      .incompatible = BP_RUNLOG_NUMBERS_DATA,
                                      .id = segment.id,
                                      .first_sequence = sequence};
    uint8_t bytes[4096];
    bp_segment_header_put(bytes, &header);
    append(&segment, bytes, BP_SEGMENT_HEADER_BYTES);
    append(&segment, bytes, BP_SEGMENT_HEADER_BYTES);
    bp_model *model = fixture_model();
    bp_writer writer;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_model_encode(model, &writer);
    bp_model_close(model);
    assert_false(writer.cut);
    thin_add(&segment, BP_RUNLOG_MODEL, bytes, writer.length, 0);
    if (rewind >= 0) add_varints(&segment, BP_RUNLOG_REWIND, 1, (uint64_t)rewind, 0);
    return segment;
}

/* The fixture's record with a loss of its own; a NaN has its count, too. */
void thin_add_step(thin_segment *segment, int64_t step, double loss) {
    uint8_t bytes[4096];
    bp_record record;
    bp_writer writer;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    fixture_record(&record, step % 4 == 3 ? 7 : 5); /* neither NaN nor Inf in it */
    record.step = step;
    bp_record_set(&record, BP_Q_LOSS, 0, loss);
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_record_encode(&record, &writer);
    bp_record_finish(&record, NULL);
    thin_add(segment, BP_RUNLOG_STEP, bytes, writer.length, 1);
}

void thin_add_losses(thin_segment *segment, int64_t first, uint64_t n, double loss) {
    uint8_t bytes[1024];
    bp_writer writer;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_write_f64(&writer, 1700000000.0);
    bp_write_varint(&writer, (uint64_t)first);
    bp_write_varint(&writer, n);
    for (uint64_t i = 0; i < n; i++) bp_write_f64(&writer, loss);
    assert_false(writer.cut);
    thin_add(segment, BP_RUNLOG_LOSSES, bytes, writer.length, n);
}

void thin_add_finding(thin_segment *segment, int64_t step, int64_t since_step) {
    add_varints(segment, BP_RUNLOG_FINDING, (uint64_t)step, (uint64_t)since_step, 1);
}

uint64_t thin_write(thin_segment *segment, const char *folder) {
    char path[FIXTURE_PATH_BYTES];
    fixture_write_file(fixture_segment(path, folder, segment->id.index), segment->bytes,
                       segment->n_bytes);
    free(segment->bytes);
    segment->bytes = NULL;
    return segment->sequence;
}

void thin_write_run(const char *folder, uint32_t n, int64_t n_steps) {
    uint64_t sequence = 0;
    int64_t step = 0;
    for (uint32_t index = 1; index <= n; index++) {
        thin_segment segment = thin_begin(index, sequence, -1);
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
                         frame->type == BP_RUNLOG_MODEL_DELTA;
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

void thin_read(thin_content *content, const char *path) {
    const fixture_bytes file = fixture_read_file(path);
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
    bp_release(NULL, file.bytes, file.length + 1, 1);
}

bool thin_has_step(const thin_content *content, int64_t step) {
    for (size_t i = 0; i < content->n; i++)
        if (content->frame[i].step == step) return true;
    return false;
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
        assert_int_equal(lstat(path, &found), 0);
        if (S_ISREG(found.st_mode)) total += (uint64_t)found.st_size;
    }
    closedir(directory);
    return total;
}

bp_status thin_once(const char *folder, const bp_io *io, uint64_t max_bytes, uint32_t current,
                    bp_error *error) {
    bp_thinner thinner;
    bp_status status =
        bp_thinner_init(&thinner, io ? io : &bp_io_system, folder, THIN_RUN, NULL, error);
    if (status != BP_OK) return status;
    status = bp_thinner_run(&thinner, &(bp_thin_budget){.max_bytes = max_bytes, .current = current},
                            error);
    bp_thinner_finish(&thinner);
    return status;
}
