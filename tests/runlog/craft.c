/* SPDX-License-Identifier: Apache-2.0 */
#include "craft.h"

enum { PAYLOAD_BYTES = 1 << 20 };

static void append(craft *segment, const void *bytes, size_t n_bytes) {
    while (segment->length + n_bytes > segment->capacity) {
        segment->capacity = segment->capacity ? 2 * segment->capacity : 4096;
        uint8_t *grown = realloc(segment->bytes, segment->capacity);
        assert_non_null(grown);
        segment->bytes = grown;
    }
    memcpy(segment->bytes + segment->length, bytes, n_bytes);
    segment->length += n_bytes;
}

void craft_begin(craft *segment, uint64_t run, uint32_t index, uint64_t first_sequence,
                 bool numbers_data, bool rewinds) {
    *segment =
        (craft){.salt = {run, index}, .sequence = first_sequence, .numbers_data = numbers_data};
    const bp_segment_header header = {.major = BP_RUNLOG_MAJOR,
                                      .minor = BP_RUNLOG_MINOR,
                                      .compatible = rewinds ? BP_RUNLOG_REWINDS : 0,
                                      .incompatible = numbers_data ? BP_RUNLOG_NUMBERS_DATA : 0,
                                      .id = segment->salt,
                                      .first_sequence = first_sequence};
    uint8_t bytes[BP_SEGMENT_HEADER_BYTES];
    bp_segment_header_put(bytes, &header);
    for (int i = 0; i < BP_SEGMENT_HEADER_COPIES; i++) append(segment, bytes, sizeof bytes);
}

void craft_free(craft *segment) {
    free(segment->bytes);
    *segment = (craft){0};
}

void craft_write(const craft *segment, const char *folder) {
    char path[FIXTURE_PATH_BYTES];
    fixture_write_file(fixture_segment(path, folder, segment->salt.index), segment->bytes,
                       segment->length);
}

void craft_frame(craft *segment, unsigned type, const void *payload, size_t n_bytes,
                 uint64_t n_numbers) {
    const bp_frame frame = {.type = (uint16_t)type,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, payload, n_bytes),
                            .sequence = segment->sequence,
                            .offset = segment->length};
    uint8_t header[BP_FRAME_HEADER_BYTES];
    bp_frame_put(header, &frame, segment->salt);
    append(segment, header, sizeof header);
    append(segment, payload, n_bytes);
    segment->sequence += segment->numbers_data ? n_numbers : 1;
}

/* A payload under construction. */
static bp_writer begin_payload(void) {
    bp_writer writer;
    uint8_t *bytes = malloc(PAYLOAD_BYTES);
    assert_non_null(bytes);
    bp_writer_init(&writer, bytes, PAYLOAD_BYTES);
    return writer;
}

static void end_payload(craft *segment, unsigned type, bp_writer *writer, uint64_t n_numbers) {
    assert_false(writer->cut);
    craft_frame(segment, type, writer->bytes, writer->length, n_numbers);
    free(writer->bytes);
}

void craft_model(craft *segment, const bp_model *model) {
    bp_writer writer = begin_payload();
    bp_model_encode(model, &writer);
    end_payload(segment, BP_RUNLOG_MODEL, &writer, 0);
}

void craft_step(craft *segment, const bp_record *record) {
    bp_writer writer = begin_payload();
    bp_record_encode(record, &writer);
    end_payload(segment, BP_RUNLOG_STEP, &writer, 1);
}

void craft_fixture_step(craft *segment, int64_t step) {
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    fixture_record(&record, step);
    craft_step(segment, &record);
    bp_record_finish(&record, NULL);
}

void craft_losses(craft *segment, int64_t first_step, const double *loss, size_t n) {
    bp_writer writer = begin_payload();
    bp_write_f64(&writer, 1700000000.0);
    bp_write_varint(&writer, (uint64_t)first_step);
    bp_write_varint(&writer, n);
    for (size_t i = 0; i < n; i++) bp_write_f64(&writer, loss[i]);
    end_payload(segment, BP_RUNLOG_LOSSES, &writer, n);
}

void craft_event(craft *segment, const bp_event *event) {
    bp_writer writer = begin_payload();
    bp_event_encode(event, &writer);
    end_payload(segment, (unsigned)event->kind, &writer, bp_runlog_is_data((unsigned)event->kind));
}

void craft_model_delta(craft *segment, const bp_model *model, uint32_t first) {
    const bp_event delta = {.kind = BP_EVENT_MODEL_DELTA,
                            .as.model_delta = {first, bp_model_n_layers(model) + 1 - first}};
    bp_writer writer = begin_payload();
    bp_event_encode(&delta, &writer);
    bp_model_encode_layers(model, first, &writer);
    end_payload(segment, BP_RUNLOG_MODEL_DELTA, &writer, 1);
}

void craft_rewind(craft *segment, int64_t step) {
    bp_writer writer = begin_payload();
    bp_write_varint(&writer, 1);
    bp_write_varint(&writer, (uint64_t)step);
    end_payload(segment, BP_RUNLOG_REWIND, &writer, 0);
}

void craft_end(craft *segment, bp_run_end end) {
    bp_writer writer = begin_payload();
    bp_write_varint(&writer, (uint64_t)end);
    bp_write_f64(&writer, 1700000100.0);
    end_payload(segment, BP_RUNLOG_END, &writer, 1);
}
