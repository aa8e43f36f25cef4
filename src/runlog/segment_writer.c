/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/segment_writer.h"
#include "model/model.h"
#include "runlog/frame.h"
#include "runlog/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Segment header and model come again behind so many bytes, or at the end of the run: one damaged
 * block does not cost it. */
#define COPY_AFTER_BYTES ((uint64_t)16 << 10)
#define REWIND_RESUMED 1u /* reason in a rewind record; pinned */

/* --- memory --------------------------------------------------------------------------------- */

bp_status bp_segment_memory_open(bp_segment_memory *memory, const bp_model *model,
                                 const bp_allocator *allocator) {
    const size_t step_bytes = bp_record_max_bytes(bp_model_n_layers(model));
    *memory = (bp_segment_memory){.model_capacity = bp_model_max_bytes(model)};
    const size_t model_bytes = BP_SEGMENT_START + memory->model_capacity;
    memory->buffer_bytes = BP_SEGMENT_BATCH_BYTES + 2 * BP_FRAME_HEADER_BYTES +
                           (step_bytes > model_bytes ? step_bytes : model_bytes);
    memory->model = bp_allocate(allocator, memory->model_capacity, 1);
    memory->buffer = bp_allocate(allocator, memory->buffer_bytes, 1);
    bp_status status = memory->model && memory->buffer ? BP_OK : BP_ERROR_MEMORY;
    if (status == BP_OK) {
        bp_writer bytes;
        bp_writer_init(&bytes, memory->model, memory->model_capacity);
        bp_model_encode(model, &bytes);
        memory->model_bytes = bytes.length;
        if (bytes.cut || bytes.length > BP_FRAME_MAX_PAYLOAD) status = BP_ERROR_LIMIT;
    }
    if (status != BP_OK) bp_segment_memory_close(memory, allocator);
    return status;
}

void bp_segment_memory_close(bp_segment_memory *memory, const bp_allocator *allocator) {
    bp_release(allocator, memory->model, memory->model_capacity, 1);
    bp_release(allocator, memory->buffer, memory->buffer_bytes, 1);
    *memory = (bp_segment_memory){0};
}

/* --- frames --------------------------------------------------------------------------------- */

size_t bp_gap_encode(const bp_gap *gap, uint8_t bytes[BP_SMALL_PAYLOAD_BYTES]) {
    bp_writer writer;
    bp_writer_init(&writer, bytes, BP_SMALL_PAYLOAD_BYTES);
    bp_write_varint(&writer, gap->reason);
    bp_write_varint(&writer, gap->n_lost);
    bp_write_varint(&writer, (uint64_t)gap->first_step);
    bp_write_varint(&writer, (uint64_t)gap->last_step);
    return writer.length;
}

/* Puts a frame behind what waits; there must be room. */
static void stage(bp_segment_writer *writer, bp_runlog_type type, uint64_t sequence,
                  const void *payload, size_t n_bytes) {
    const bp_frame frame = {.type = (uint16_t)type,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, payload, n_bytes),
                            .sequence = sequence,
                            .offset = writer->flushed + writer->used};
    uint8_t *at = writer->memory.buffer + writer->used;
    bp_frame_put(at, &frame, (bp_segment_id){writer->run, writer->segment});
    memcpy(at + BP_FRAME_HEADER_BYTES, payload, n_bytes);
    writer->used += BP_FRAME_HEADER_BYTES + n_bytes;
}

static void stage_model(bp_segment_writer *writer, uint64_t sequence) {
    stage(writer, BP_RUNLOG_MODEL, sequence, writer->memory.model, writer->memory.model_bytes);
}

static void stage_rewind(bp_segment_writer *writer, uint64_t sequence) {
    uint8_t payload[BP_SMALL_PAYLOAD_BYTES];
    bp_writer bytes;
    bp_writer_init(&bytes, payload, sizeof payload);
    bp_write_varint(&bytes, REWIND_RESUMED);
    bp_write_varint(&bytes, (uint64_t)writer->rewind_step);
    stage(writer, BP_RUNLOG_REWIND, sequence, payload, bytes.length);
}

static void stage_gap(bp_segment_writer *writer, uint64_t sequence) {
    uint8_t payload[BP_SMALL_PAYLOAD_BYTES];
    stage(writer, BP_RUNLOG_GAP, sequence, payload, bp_gap_encode(&writer->gap, payload));
}

/* Of the frames that waited, those below n_bytes were taken whole. */
static void settle(bp_segment_writer *writer, uint64_t n_bytes) {
    for (size_t i = 0; i < writer->n_waiting && writer->waiting[i].end <= n_bytes; i++)
        writer->settled = writer->waiting[i].mark;
    writer->flushed += writer->used;
    writer->used = 0;
    writer->n_waiting = 0;
}

static int close_sink(bp_segment_writer *writer) {
    writer->is_open = false;
    writer->rewind_step = -1;
    writer->closed_bytes += writer->flushed;
    return writer->sink.close(writer->sink.context);
}

/* The trouble of a write that failed; what comes next goes into a new segment. */
static int give_up_segment(bp_segment_writer *writer, int trouble) {
    writer->file.failed = true;
    (void)close_sink(writer);
    return trouble;
}

int bp_segment_writer_flush(bp_segment_writer *writer) {
    if (writer->used == 0) return 0;
    const uint64_t before = writer->file.n_written;
    const int trouble = writer->sink.put(writer->sink.context, writer->memory.buffer, writer->used);
    settle(writer, trouble ? writer->file.n_written - before : writer->used);
    return trouble ? give_up_segment(writer, trouble) : 0;
}

int bp_segment_writer_sync(bp_segment_writer *writer) {
    if (!writer->is_open) return 0;
    const int trouble = bp_file_sink_sync(&writer->file);
    return trouble ? give_up_segment(writer, trouble) : 0;
}

/* --- segments ------------------------------------------------------------------------------- */

static void make_path(bp_segment_writer *writer) {
    char name[BP_SEGMENT_NAME_BYTES];
    snprintf(writer->path, writer->path_bytes, "%s/%s", writer->folder,
             bp_segment_name(name, writer->segment));
}

int bp_segment_writer_close(bp_segment_writer *writer) {
    if (!writer->is_open) return 0;
    const int trouble = bp_segment_writer_flush(writer);
    return trouble ? trouble : close_sink(writer);
}

/* So that the file's name survives a power cut. Not all file systems can: then there is nothing
 * better to do. */
static void sync_folder(const bp_segment_writer *writer) {
    const bp_io *io = writer->io;
    const int file = io->open(io->context, writer->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (file < 0) return;
    (void)io->fsync(io->context, file);
    io->close(io->context, file);
}

static bp_segment_header header_of(const bp_segment_writer *writer) {
    return (bp_segment_header){.major = BP_RUNLOG_MAJOR,
                               .minor = BP_RUNLOG_MINOR,
                               .compatible = writer->compatible |
                                             (writer->rewind_step >= 0 ? BP_RUNLOG_REWINDS : 0),
                               .incompatible = BP_RUNLOG_NUMBERS_DATA,
                               .id = {writer->run, writer->segment},
                               .first_sequence = writer->first_sequence};
}

static void stage_headers(bp_segment_writer *writer) {
    const bp_segment_header header = header_of(writer);
    for (size_t i = 0; i < BP_SEGMENT_HEADER_COPIES; i++)
        bp_segment_header_put(writer->memory.buffer + i * BP_SEGMENT_HEADER_BYTES, &header);
    writer->used = BP_SEGMENT_START;
}

static int put_copies(bp_segment_writer *writer, uint64_t sequence) {
    const bp_segment_header header = header_of(writer);
    uint8_t payload[BP_SEGMENT_HEADER_BYTES];
    const int trouble = bp_segment_writer_flush(writer); /* the model may need all of the buffer */
    if (trouble) return trouble;
    writer->has_copies = true;
    bp_segment_header_put(payload, &header);
    stage(writer, BP_RUNLOG_HEADER, sequence, payload, sizeof payload);
    stage_model(writer, sequence);
    return bp_segment_writer_flush(writer);
}

static int fill_new_segment(bp_segment_writer *writer, uint64_t sequence) {
    writer->flushed = 0;
    writer->n_waiting = 0;
    writer->first_sequence = sequence;
    writer->has_copies = false;
    stage_headers(writer);
    stage_model(writer, sequence);
    int trouble = bp_segment_writer_flush(writer);
    if (trouble) return trouble;
    if (writer->rewind_step >= 0) stage_rewind(writer, sequence);
    if (writer->gap.n_lost) stage_gap(writer, sequence);
    trouble = bp_segment_writer_flush(writer);
    if (!trouble) writer->gap = (bp_gap){0};
    return trouble;
}

static int open_sink(bp_segment_writer *writer) {
    if (!writer->own)
        return bp_file_sink_open(&writer->sink, &writer->file, writer->io, writer->path);
    writer->sink = *writer->own;
    return 0;
}

/* A segment that could not be begun is removed: nothing in it was acknowledged. Where it cannot be
 * removed, its name is spent. */
int bp_segment_writer_start(bp_segment_writer *writer, uint64_t sequence) {
    const int64_t rewind_step = writer->rewind_step;
    writer->segment++;
    make_path(writer);
    int trouble = open_sink(writer);
    if (trouble) {
        if (trouble != EEXIST) writer->segment--;
        return trouble;
    }
    writer->is_open = true;
    trouble = fill_new_segment(writer, sequence);
    if (!trouble) {
        if (!writer->own) sync_folder(writer);
        return 0;
    }
    writer->rewind_step = rewind_step;
    if (writer->own) return trouble;
    if (writer->io->unlink(writer->io->context, writer->path) == 0) writer->segment--;
    return trouble;
}

/* Makes the segment ready for one more record. */
static int ready(bp_segment_writer *writer, const bp_segment_record *record) {
    if (writer->is_open && writer->flushed + writer->used >= writer->segment_bytes) {
        const int trouble = bp_segment_writer_flush(writer);
        if (trouble) return trouble;
        const int late = close_sink(writer);
        if (late) writer->late = late;
    }
    if (!writer->is_open) {
        const int trouble = bp_segment_writer_start(writer, record->sequence);
        if (trouble) return trouble;
    }
    const bool is_long = writer->flushed + writer->used >= COPY_AFTER_BYTES;
    if (writer->has_copies || !(is_long || record->type == BP_RUNLOG_END)) return 0;
    return put_copies(writer, record->sequence);
}

int bp_segment_writer_put(bp_segment_writer *writer, const bp_segment_record *record) {
    const size_t n_bytes = BP_FRAME_HEADER_BYTES + record->n_bytes;
    if (n_bytes > writer->memory.buffer_bytes) return EMSGSIZE;
    int trouble = ready(writer, record);
    if (!trouble && (writer->used + n_bytes > writer->memory.buffer_bytes ||
                     writer->n_waiting == BP_SEGMENT_BATCH_FRAMES))
        trouble = bp_segment_writer_flush(writer);
    if (trouble) return trouble;
    stage(writer, record->type, record->sequence, record->payload, record->n_bytes);
    writer->waiting[writer->n_waiting].end = writer->used;
    writer->waiting[writer->n_waiting++].mark = record->mark;
    writer->mark = record->mark;
    return writer->used >= BP_SEGMENT_BATCH_BYTES ? bp_segment_writer_flush(writer) : 0;
}

void bp_segment_writer_grow(bp_segment_writer *writer, const bp_segment_memory *memory) {
    if (writer->is_open) {
        const int late = close_sink(writer);
        if (late) writer->late = late;
    }
    writer->memory = *memory;
}
