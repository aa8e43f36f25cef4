/* SPDX-License-Identifier: Apache-2.0 */
#include "synthetic.h"
#include "model/model.h"
#include "runlog/frame.h"
#include "runlog/segments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_BYTES ((uint64_t)64 << 20)
enum { RUN = 20261127 };

typedef struct output {
    const synthetic_log *log;
    FILE *file;
    bp_segment_id id;
    uint64_t place, sequence, total;
    uint8_t *payload;
    size_t capacity;
} output;

double synthetic_value(int64_t step, uint32_t layer, size_t quantity) {
    const double depth = (double)layer / 16.0, slow = (double)(step % 4096) / 4096.0;
    const double fast = (double)((step * 37 + (int64_t)layer * 11) % 64) / 64.0;
    return ldexp(1.0 + slow + fast / 4.0, -(int)depth - (int)quantity);
}

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static void put(output *out, const void *bytes, size_t n_bytes) {
    if (fwrite(bytes, 1, n_bytes, out->file) != n_bytes) fail("cannot write the log");
    out->place += n_bytes;
    out->total += n_bytes;
}

static void put_frame(output *out, bp_runlog_type type, size_t n_bytes) {
    uint8_t header[BP_FRAME_HEADER_BYTES];
    const bp_frame frame = {.type = (uint16_t)type,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, out->payload, n_bytes),
                            .sequence = out->sequence,
                            .offset = out->place};
    bp_frame_put(header, &frame, out->id);
    put(out, header, sizeof header);
    put(out, out->payload, n_bytes);
    out->sequence += bp_runlog_is_data(type);
}

static void close_segment(output *out) {
    if (out->file && fclose(out->file) != 0) fail("cannot write the log");
    out->file = NULL;
}

static void begin_segment(output *out, const bp_model *model) {
    char path[4096], name[BP_SEGMENT_NAME_BYTES];
    uint8_t header[BP_SEGMENT_HEADER_BYTES];
    bp_writer writer;
    close_segment(out);
    out->id = (bp_segment_id){RUN, out->id.index + 1};
    out->place = 0;
    snprintf(path, sizeof path, "%s/%s", out->log->folder, bp_segment_name(name, out->id.index));
    out->file = fopen(path, "wb");
    if (!out->file) fail(path);
    const bp_segment_header begin = {.major = BP_RUNLOG_MAJOR,
                                     .incompatible = BP_RUNLOG_NUMBERS_DATA,
                                     .id = out->id,
                                     .first_sequence = out->sequence};
    bp_segment_header_put(header, &begin);
    for (int i = 0; i < BP_SEGMENT_HEADER_COPIES; i++) put(out, header, sizeof header);
    bp_writer_init(&writer, out->payload, out->capacity);
    bp_model_encode(model, &writer);
    put_frame(out, BP_RUNLOG_MODEL, writer.length);
}

static bp_model *make_model(uint32_t n_layers) {
    bp_model *model;
    if (bp_model_open(&model, NULL) != BP_OK) fail("no memory");
    for (uint32_t i = 0; i < n_layers; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer%u", (unsigned)i + 1);
        const bp_layer layer = {.name = name, .kind = BP_LAYER_DENSE, .fan_in = 64, .fan_out = 64};
        if (bp_model_add_layer(model, &layer, NULL, NULL) != BP_OK) fail("no memory");
    }
    return model;
}

static void put_step(output *out, bp_record *record, int64_t step) {
    const synthetic_log *log = out->log;
    bp_writer writer;
    record->step = step;
    record->wall_time = 1700000000.0 + (double)step / 100.0;
    for (size_t i = 0; i < log->n_quantities; i++)
        for (uint32_t layer = 1; layer <= log->n_layers; layer++)
            bp_record_set(record, log->quantities[i], layer, synthetic_value(step, layer, i));
    bp_writer_init(&writer, out->payload, out->capacity);
    bp_record_encode(record, &writer);
    put_frame(out, BP_RUNLOG_STEP, writer.length);
}

uint64_t synthetic_write(const synthetic_log *log) {
    output out = {.log = log};
    bp_record record;
    bp_model *model = make_model(log->n_layers);
    out.capacity = bp_model_max_bytes(model) + bp_record_max_bytes(log->n_layers);
    out.payload = malloc(out.capacity);
    if (!out.payload || bp_record_init(&record, log->n_layers, NULL) != BP_OK) fail("no memory");
    for (int64_t step = 0; step < log->n_steps; step++) {
        if (!out.file || out.place >= SEGMENT_BYTES) begin_segment(&out, model);
        put_step(&out, &record, step);
    }
    out.payload[0] = BP_RUN_FINISHED;
    bp_put_u64(out.payload + 1, 0);
    put_frame(&out, BP_RUNLOG_END, 9);
    close_segment(&out);
    bp_record_finish(&record, NULL);
    bp_model_close(model);
    free(out.payload);
    return out.total;
}
