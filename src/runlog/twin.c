/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/twin.h"
#include "record/event.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define BUFFER_BYTES ((size_t)256 << 10)
/* Made durable in pieces: one fsync of a whole segment could take longer than the ring holds. */
#define SYNC_BYTES ((uint64_t)4 << 20)

/* The file being written. */
typedef struct output {
    const bp_twin *twin;
    int file;
    uint8_t *buffer;
    size_t n_buffered;
    uint64_t n_bytes, synced;
    uint64_t n_frames;
    bool stopped;
    bp_error *error;
} output;

static bp_status fail(const output *out, const char *what) {
    return bp_fail_os(out->error, errno ? errno : EIO, "cannot %s %s, the thinned form of %s", what,
                      out->twin->aside, out->twin->path);
}

static bp_status sync_output(output *out) {
    const bp_io *io = out->twin->io;
    out->synced = out->n_bytes;
    return io->fsync(io->context, out->file) == 0 ? BP_OK : fail(out, "make durable");
}

static bp_status flush(output *out) {
    const bp_meanwhile *meanwhile = &out->twin->meanwhile;
    if (!bp_io_write_all(out->twin->io, out->file, out->buffer, out->n_buffered))
        return fail(out, "write");
    out->n_buffered = 0;
    if (out->n_bytes - out->synced < SYNC_BYTES) return BP_OK;
    const bp_status status = sync_output(out);
    if (status == BP_OK && meanwhile->go_on) out->stopped = !meanwhile->go_on(meanwhile->context);
    return status;
}

static bp_status put(output *out, const uint8_t *bytes, size_t n_bytes) {
    out->n_bytes += n_bytes;
    while (n_bytes > 0) {
        const size_t room = BUFFER_BYTES - out->n_buffered, n = n_bytes < room ? n_bytes : room;
        memcpy(out->buffer + out->n_buffered, bytes, n);
        out->n_buffered += n;
        bytes += n;
        n_bytes -= n;
        if (out->n_buffered < BUFFER_BYTES) continue;
        const bp_status status = flush(out);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

static bp_status put_frame(output *out, bp_frame frame, const uint8_t *payload) {
    uint8_t bytes[BP_FRAME_HEADER_BYTES];
    frame.offset = out->n_bytes;
    bp_frame_put(bytes, &frame, out->twin->id);
    out->n_frames++;
    const bp_status status = put(out, bytes, sizeof bytes);
    return status == BP_OK ? put(out, payload, frame.n_bytes) : status;
}

static bp_status put_thinned(output *out, uint64_t sequence) {
    const bp_twin *twin = out->twin;
    const bp_event said = {.kind = BP_EVENT_THINNED,
                           .as.thinned = {.every = (uint64_t)1 << twin->keep.level,
                                          .first_sequence = twin->keep.first,
                                          .last_sequence = twin->keep.last,
                                          .n_dropped = twin->dropped}};
    uint8_t payload[BP_EVENT_MAX_BYTES];
    bp_writer bytes;
    bp_writer_init(&bytes, payload, sizeof payload);
    bp_event_encode(&said, &bytes);
    const bp_frame frame = {.type = BP_RUNLOG_THINNED,
                            .n_bytes = (uint32_t)bytes.length,
                            .payload_crc = bp_crc32c(0, payload, bytes.length),
                            .sequence = sequence};
    return put_frame(out, frame, payload);
}

/* Behind the model and a rewind record, which readers expect first, and before any record that
 * could be missing. */
static bool stands_before_thinned(uint16_t type) {
    return type == BP_RUNLOG_MODEL || type == BP_RUNLOG_REWIND;
}

static bp_status copy_frames(output *out, bp_walk *walk) {
    bp_keep keep = out->twin->keep;
    bool said = false;
    bp_walk_step step;
    bp_status status = put(out, walk->start.bytes, BP_SEGMENT_START);
    while (status == BP_OK && !out->stopped) {
        status = bp_walk_next(walk, &step, out->error);
        if (status == BP_OK && step.kind == BP_WALK_STOPPED) out->stopped = true;
        if (status != BP_OK || step.kind != BP_WALK_FRAME) return status;
        if (step.frame.type == BP_RUNLOG_THINNED) continue; /* a new one takes its place */
        if (!said && !stands_before_thinned(step.frame.type)) {
            status = put_thinned(out, step.frame.sequence);
            said = true;
        }
        const int64_t distance =
            step.may_go ? bp_keep_distance(out->twin->points, step.first_step, step.last_step) : 0;
        if (status == BP_OK && bp_keep_asks(&keep, &step, distance))
            status = put_frame(out, step.frame, step.payload);
    }
    return status;
}

static bp_status copy(output *out) {
    const bp_twin *twin = out->twin;
    bp_walk walk;
    bool found = false;
    bp_status status = bp_walk_open(&walk, twin->io, twin->path, twin->id, twin->allocator,
                                    twin->meanwhile, &found, out->error);
    if (status != BP_OK || !found) return status;
    status = copy_frames(out, &walk);
    bp_walk_close(&walk);
    if (status == BP_OK && !out->stopped) status = flush(out);
    return status == BP_OK && !out->stopped ? sync_output(out) : status;
}

/* Reads back what was written. */
static bp_status verify(output *out) {
    const bp_twin *twin = out->twin;
    uint64_t n_frames = 0, end = BP_SEGMENT_START;
    bp_walk walk;
    bp_walk_step step = {.kind = BP_WALK_FOREIGN};
    bool found = false;
    bp_status status = bp_walk_open(&walk, twin->io, twin->aside, twin->id, twin->allocator,
                                    twin->meanwhile, &found, out->error);
    if (status != BP_OK) return status;
    if (found) status = bp_walk_next(&walk, &step, out->error);
    while (status == BP_OK && step.kind == BP_WALK_FRAME) {
        n_frames++;
        end = step.frame.offset + BP_FRAME_HEADER_BYTES + step.frame.n_bytes;
        status = bp_walk_next(&walk, &step, out->error);
    }
    if (found) bp_walk_close(&walk);
    if (status != BP_OK) return status;
    out->stopped = step.kind == BP_WALK_STOPPED;
    if (out->stopped ||
        (step.kind == BP_WALK_END && n_frames == out->n_frames && end == out->n_bytes))
        return BP_OK;
    return bp_fail(out->error, BP_ERROR_IO,
                   "cannot write %s, the thinned form of %s: other bytes were read back than were "
                   "written",
                   twin->aside, twin->path);
}

static bp_status fill(output *out, bp_twin_end *end) {
    const bp_io *io = out->twin->io;
    (void)io->unlink(io->context, out->twin->aside);
    out->file = io->open(io->context, out->twin->aside,
                         O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, out->twin->mode);
    if (out->file < 0) return fail(out, "create");
    bp_status status = copy(out);
    if (io->close(io->context, out->file) != 0 && status == BP_OK) status = fail(out, "close");
    /* One more: the record that says what was dropped. */
    const bool as_planned = out->n_frames == out->twin->n_frames + 1;
    if (status == BP_OK && as_planned && !out->stopped) status = verify(out);
    *end = out->stopped ? BP_TWIN_STOPPED : as_planned ? BP_TWIN_MADE : BP_TWIN_CHANGED;
    return status;
}

/* Some file systems cannot synchronise a folder and say so by EINVAL. */
static bp_status sync_folder(const output *out) {
    const bp_io *io = out->twin->io;
    const int file =
        io->open(io->context, out->twin->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (file < 0) return fail(out, "open the folder of");
    const bool done = io->fsync(io->context, file) == 0 || errno == EINVAL;
    const bp_status status = done ? BP_OK : fail(out, "make durable the name of");
    io->close(io->context, file);
    return status;
}

bp_status bp_twin_make(const bp_twin *twin, bp_twin_end *end, uint64_t *n_bytes, bp_error *error) {
    const bp_io *io = twin->io;
    output out = {.twin = twin, .error = error};
    *end = BP_TWIN_CHANGED;
    out.buffer = bp_allocate(twin->allocator, BUFFER_BYTES, 1);
    if (!out.buffer) return bp_fail(error, BP_ERROR_MEMORY, "no memory to thin %s", twin->path);
    bp_status status = fill(&out, end);
    if (status == BP_OK && *end == BP_TWIN_MADE &&
        io->rename(io->context, twin->aside, twin->path) != 0)
        status = fail(&out, "rename");
    if (status == BP_OK && *end == BP_TWIN_MADE) {
        *n_bytes = out.n_bytes;
        status = sync_folder(&out);
    } else {
        if (*end == BP_TWIN_MADE) *end = BP_TWIN_CHANGED;
        (void)io->unlink(io->context, twin->aside);
    }
    bp_release(twin->allocator, out.buffer, BUFFER_BYTES, 1);
    return status;
}
