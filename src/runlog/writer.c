/* SPDX-License-Identifier: Apache-2.0 */
/* The writing side: segments, their headers, sequence numbers, and what happens after a write that
 * failed. Where the bytes go is the sink's business. */
#include "model/model.h"
#include "runlog/frame.h"
#include "runlog/segments.h"
#include "runlog/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Segment header and model come again behind so many bytes, or at the end of the run: one damaged
 * block does not cost it. */
#define COPY_AFTER_BYTES ((uint64_t)16 << 10)
#define RUN_ID_PURPOSE 0x72756e6cu /* "runl" */
#define GAP_WRITE_FAILED 1u        /* reason in a gap record; pinned */
#define REWIND_RESUMED 1u          /* reason in a rewind record; pinned */
#define SMALL_PAYLOAD_BYTES 64     /* gap and end records */

struct bp_runlog_writer {
    const bp_io *io;
    bp_allocator allocator;
    uint64_t segment_bytes;
    char *folder, *path;
    size_t path_bytes;
    bp_sink sink;
    bp_file_sink file;
    bool is_open;    /* the sink takes frames */
    bool has_copies; /* of this segment's header and model */
    uint64_t run, sequence, first_sequence, position;
    uint32_t segment; /* index of the open or last one */
    uint32_t n_layers;
    uint8_t *model;
    size_t model_bytes, model_capacity;
    uint8_t *buffer; /* segment headers or one frame */
    size_t buffer_bytes;
    int64_t rewind_step; /* of the next segment; -1: it goes on behind the one before */
    uint64_t lost_steps; /* since the last gap record */
    int64_t first_lost, last_lost;
};

/* --- frames --------------------------------------------------------------------------------- */

static uint8_t *payload_of(bp_runlog_writer *writer, size_t at) {
    return writer->buffer + at + BP_FRAME_HEADER_BYTES;
}

/* Completes the frame at buffer[at] around its payload; returns the bytes in the buffer. */
static size_t finish_frame(bp_runlog_writer *writer, size_t at, bp_runlog_type type,
                           size_t n_bytes) {
    const uint8_t *payload = payload_of(writer, at);
    const bp_frame frame = {.type = (uint16_t)type,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, payload, n_bytes),
                            .sequence = writer->sequence++,
                            .offset = writer->position + at};
    bp_frame_put(writer->buffer + at, &frame, (bp_segment_id){writer->run, writer->segment});
    return at + BP_FRAME_HEADER_BYTES + n_bytes;
}

static int put(bp_runlog_writer *writer, size_t n_bytes) {
    const int trouble = writer->sink.put(writer->sink.context, writer->buffer, n_bytes);
    writer->position += n_bytes;
    return trouble;
}

static int put_frame(bp_runlog_writer *writer, bp_runlog_type type, size_t n_bytes) {
    return put(writer, finish_frame(writer, 0, type, n_bytes));
}

static size_t stage_model(bp_runlog_writer *writer, size_t at) {
    memcpy(payload_of(writer, at), writer->model, writer->model_bytes);
    return finish_frame(writer, at, BP_RUNLOG_MODEL, writer->model_bytes);
}

static int put_gap(bp_runlog_writer *writer) {
    bp_writer bytes;
    bp_writer_init(&bytes, payload_of(writer, 0), SMALL_PAYLOAD_BYTES);
    bp_write_varint(&bytes, GAP_WRITE_FAILED);
    bp_write_varint(&bytes, writer->lost_steps);
    bp_write_varint(&bytes, (uint64_t)writer->first_lost);
    bp_write_varint(&bytes, (uint64_t)writer->last_lost);
    const int trouble = put_frame(writer, BP_RUNLOG_GAP, bytes.length);
    if (!trouble) writer->lost_steps = 0;
    return trouble;
}

static int put_rewind(bp_runlog_writer *writer) {
    bp_writer bytes;
    bp_writer_init(&bytes, payload_of(writer, 0), SMALL_PAYLOAD_BYTES);
    bp_write_varint(&bytes, REWIND_RESUMED);
    bp_write_varint(&bytes, (uint64_t)writer->rewind_step);
    return put_frame(writer, BP_RUNLOG_REWIND, bytes.length);
}

/* --- segments ------------------------------------------------------------------------------- */

static void make_path(bp_runlog_writer *writer) {
    char name[BP_SEGMENT_NAME_BYTES];
    snprintf(writer->path, writer->path_bytes, "%s/%s", writer->folder,
             bp_segment_name(name, writer->segment));
}

static int close_segment(bp_runlog_writer *writer) {
    if (!writer->is_open) return 0;
    writer->is_open = false;
    writer->rewind_step = -1;
    return writer->sink.close(writer->sink.context);
}

/* So that the file's name survives a power cut. Not all file systems can: then there is nothing
 * better to do. */
static void sync_folder(const bp_runlog_writer *writer) {
    const bp_io *io = writer->io;
    const int file = io->open(io->context, writer->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (file < 0) return;
    (void)io->fsync(io->context, file);
    io->close(io->context, file);
}

static bp_segment_header header_of(const bp_runlog_writer *writer) {
    return (bp_segment_header){.major = BP_RUNLOG_MAJOR,
                               .minor = BP_RUNLOG_MINOR,
                               .compatible = writer->rewind_step >= 0 ? BP_RUNLOG_REWINDS : 0,
                               .id = {writer->run, writer->segment},
                               .first_sequence = writer->first_sequence};
}

static size_t stage_headers(bp_runlog_writer *writer) {
    const bp_segment_header header = header_of(writer);
    for (size_t i = 0; i < BP_SEGMENT_HEADER_COPIES; i++)
        bp_segment_header_put(writer->buffer + i * BP_SEGMENT_HEADER_BYTES, &header);
    return BP_SEGMENT_START;
}

static int put_copies(bp_runlog_writer *writer) {
    const bp_segment_header header = header_of(writer);
    writer->has_copies = true;
    bp_segment_header_put(payload_of(writer, 0), &header);
    const int trouble = put_frame(writer, BP_RUNLOG_HEADER, BP_SEGMENT_HEADER_BYTES);
    return trouble ? trouble : put(writer, stage_model(writer, 0));
}

static int fill_new_segment(bp_runlog_writer *writer) {
    writer->position = 0;
    writer->first_sequence = writer->sequence;
    writer->has_copies = false;
    int trouble = put(writer, stage_model(writer, stage_headers(writer)));
    if (!trouble && writer->rewind_step >= 0) trouble = put_rewind(writer);
    if (!trouble && writer->lost_steps) trouble = put_gap(writer);
    return trouble;
}

/* A segment that could not be begun is removed, and its numbers are given again: nothing in it was
 * acknowledged. Where it cannot be removed, its name and its numbers are spent. */
static int start_segment(bp_runlog_writer *writer) {
    const uint64_t sequence = writer->sequence, lost_steps = writer->lost_steps;
    writer->segment++;
    make_path(writer);
    int trouble = bp_file_sink_open(&writer->sink, &writer->file, writer->io, writer->path);
    if (trouble) {
        if (trouble != EEXIST) writer->segment--;
        return trouble;
    }
    writer->is_open = true;
    trouble = fill_new_segment(writer);
    if (!trouble) {
        sync_folder(writer);
        return 0;
    }
    const int64_t rewind_step = writer->rewind_step;
    writer->lost_steps = lost_steps;
    writer->file.failed = true;
    close_segment(writer);
    writer->rewind_step = rewind_step;
    if (writer->io->unlink(writer->io->context, writer->path) == 0) {
        writer->sequence = sequence;
        writer->segment--;
    }
    return trouble;
}

/* --- the three calls ------------------------------------------------------------------------ */

/* From clocks and the process, never from the host's random state. */
static uint64_t draw_run_id(const bp_io *io) {
    const double wall = io->wall_clock(io->context), steady = io->steady_clock(io->context);
    bp_random_key key = {.purpose = RUN_ID_PURPOSE, .step = (uint32_t)getpid()};
    uint64_t index;
    memcpy(&key.seed, &wall, sizeof key.seed);
    memcpy(&index, &steady, sizeof index);
    uint32_t block[4];
    bp_random_block(&key, index, block);
    return (uint64_t)block[1] << 32 | block[0];
}

static void release(bp_runlog_writer *writer) {
    const bp_allocator allocator = writer->allocator;
    bp_release_text(&allocator, writer->folder);
    bp_release(&allocator, writer->path, writer->path_bytes, 1);
    bp_release(&allocator, writer->model, writer->model_capacity, 1);
    bp_release(&allocator, writer->buffer, writer->buffer_bytes, 1);
    bp_release(&allocator, writer, 1, sizeof *writer);
}

static bool allocate(bp_runlog_writer *writer, const char *folder, const bp_model *model) {
    const bp_allocator *allocator = &writer->allocator;
    writer->n_layers = bp_model_n_layers(model);
    writer->model_capacity = bp_model_max_bytes(model);
    const size_t step_bytes = bp_record_max_bytes(writer->n_layers);
    const size_t model_bytes = BP_SEGMENT_START + writer->model_capacity;
    writer->buffer_bytes = BP_FRAME_HEADER_BYTES + SMALL_PAYLOAD_BYTES +
                           (step_bytes > model_bytes ? step_bytes : model_bytes);
    writer->path_bytes = strlen(folder) + 1 + BP_SEGMENT_NAME_BYTES;
    writer->folder = bp_copy_text(allocator, folder);
    writer->path = bp_allocate(allocator, writer->path_bytes, 1);
    writer->model = bp_allocate(allocator, writer->model_capacity, 1);
    writer->buffer = bp_allocate(allocator, writer->buffer_bytes, 1);
    return writer->folder && writer->path && writer->model && writer->buffer;
}

static bp_status check_folder(const char *folder, const bp_allocator *allocator, bp_error *error) {
    bp_segments segments;
    const bp_status status = bp_segments_list(&segments, folder, allocator, error);
    if (status != BP_OK) return status;
    const size_t n = segments.n;
    const uint32_t first = n ? segments.index[0] : 0;
    bp_segments_free(&segments, allocator);
    char name[BP_SEGMENT_NAME_BYTES];
    return n == 0 ? BP_OK
                  : bp_fail(error, BP_ERROR_INPUT,
                            "%s already holds a run log (%s), expected a folder without one",
                            folder, bp_segment_name(name, first));
}

bool bp_runlog_exists(const char *folder, const bp_allocator *allocator) {
    bp_segments segments;
    if (bp_segments_list(&segments, folder, allocator, NULL) != BP_OK) return false;
    const bool holds = segments.n > 0;
    bp_segments_free(&segments, allocator);
    return holds;
}

/* A run that was not watched before it is resumed begins a log like any other. */
static bp_status go_on(bp_runlog_writer *writer, const char *folder, int64_t step,
                       bp_error *error) {
    bp_runlog_tail tail;
    if (!bp_runlog_exists(folder, &writer->allocator)) return BP_OK;
    const bp_status status =
        bp_runlog_find_tail(&tail, writer->io, folder, &writer->allocator, error);
    if (status != BP_OK) return status;
    writer->run = tail.run;
    writer->sequence = tail.sequence;
    writer->segment = tail.segment;
    writer->rewind_step = step;
    return BP_OK;
}

static bp_status open_first(bp_runlog_writer *writer, const char *folder, const bp_model *model,
                            const bp_runlog_options *options, bp_error *error) {
    const bool resumes = options && options->resumes;
    writer->run = draw_run_id(writer->io);
    writer->rewind_step = -1;
    bp_status status = resumes ? go_on(writer, folder, options->resume_step, error)
                               : check_folder(folder, &writer->allocator, error);
    if (status != BP_OK) return status;
    if (!allocate(writer, folder, model))
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to write the run log in %s", folder);
    bp_writer bytes;
    bp_writer_init(&bytes, writer->model, writer->model_capacity);
    bp_model_encode(model, &bytes);
    if (bytes.cut || bytes.length > BP_FRAME_MAX_PAYLOAD)
        return bp_fail(error, BP_ERROR_LIMIT,
                       "the description of the network is larger than a record of %s may be",
                       folder);
    writer->model_bytes = bytes.length;
    const int trouble = start_segment(writer);
    return trouble ? bp_fail_os(error, trouble, "cannot begin the run log %s", writer->path)
                   : BP_OK;
}

bp_status bp_runlog_writer_open(bp_runlog_writer **writer, const char *folder,
                                const bp_model *model, const bp_runlog_options *options,
                                bp_error *error) {
    const int saved = errno;
    const bp_allocator *allocator = bp_allocator_or_system(options ? &options->allocator : NULL);
    bp_runlog_writer *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to write the run log in %s", folder);
    opened->allocator = *allocator;
    opened->io = options && options->io ? options->io : &bp_io_system;
    opened->segment_bytes =
        options && options->segment_bytes ? options->segment_bytes : BP_RUNLOG_SEGMENT_BYTES;
    const bp_status status = open_first(opened, folder, model, options, error);
    if (status == BP_OK)
        *writer = opened;
    else
        release(opened);
    errno = saved;
    return status;
}

/* Makes the sink ready for one more record; *late is the trouble of closing the segment before. */
static int ready(bp_runlog_writer *writer, int *late) {
    if (writer->is_open && writer->position >= writer->segment_bytes) *late = close_segment(writer);
    if (!writer->is_open) return start_segment(writer);
    if (writer->has_copies || writer->position < COPY_AFTER_BYTES) return 0;
    return put_copies(writer);
}

static int append_step(bp_runlog_writer *writer, const bp_record *record, int *late) {
    int trouble = ready(writer, late);
    if (trouble) {
        writer->sequence++; /* the lost step keeps a number, so that a reader can count it */
        return trouble;
    }
    bp_writer bytes;
    bp_writer_init(&bytes, payload_of(writer, 0), bp_record_max_bytes(writer->n_layers));
    bp_record_encode(record, &bytes);
    return put_frame(writer, BP_RUNLOG_STEP, bytes.length);
}

bp_status bp_runlog_writer_step(bp_runlog_writer *writer, const bp_record *record,
                                bp_error *error) {
    if (record->n_layers != writer->n_layers)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "a record of %u layers cannot go into the run log of a network of %u",
                       (unsigned)record->n_layers, (unsigned)writer->n_layers);
    const int saved = errno;
    int late = 0;
    const int trouble = append_step(writer, record, &late);
    bp_status status = BP_OK;
    if (trouble) {
        close_segment(writer);
        if (writer->lost_steps++ == 0) writer->first_lost = record->step;
        writer->last_lost = record->step;
        status = bp_fail_os(error, trouble, "cannot write step %lld into the run log %s",
                            (long long)record->step, writer->path);
    } else if (late) {
        status = bp_fail_os(error, late, "cannot make the run log in %s durable", writer->folder);
    }
    errno = saved;
    return status;
}

static int append_end(bp_runlog_writer *writer, bp_run_end end) {
    int trouble = writer->is_open ? 0 : start_segment(writer);
    if (!trouble && !writer->has_copies) trouble = put_copies(writer);
    if (trouble) return trouble;
    bp_writer bytes;
    bp_writer_init(&bytes, payload_of(writer, 0), SMALL_PAYLOAD_BYTES);
    bp_write_varint(&bytes, (uint64_t)end);
    bp_write_f64(&bytes, writer->io->wall_clock(writer->io->context));
    return put_frame(writer, BP_RUNLOG_END, bytes.length);
}

bp_status bp_runlog_writer_close(bp_runlog_writer *writer, bp_run_end end, bp_error *error) {
    if (!writer) return BP_OK;
    const int saved = errno;
    const int appended = append_end(writer, end);
    const int closed = close_segment(writer);
    const int trouble = appended ? appended : closed;
    bp_status status = BP_OK;
    if (trouble) status = bp_fail_os(error, trouble, "cannot finish the run log %s", writer->path);
    release(writer);
    errno = saved;
    return status;
}
