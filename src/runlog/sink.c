/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/sink.h"

#include <errno.h>
#include <fcntl.h>

/* errno of a call that failed; never 0, which would say that all is well. */
static int reason(void) {
    return errno ? errno : EIO;
}

/* After a failed fsync the kernel may have dropped the pages and calls the next one good: it is
 * never asked twice. */
static int file_sync(bp_file_sink *state) {
    if (state->io->fsync(state->io->context, state->file) == 0) {
        state->is_durable = true;
        return 0;
    }
    state->failed = true;
    return reason();
}

int bp_file_sink_sync(bp_file_sink *state) {
    if (state->failed || state->is_durable) return 0;
    const double now = state->io->steady_clock(state->io->context);
    if (now - state->last_sync < BP_SINK_SYNC_SECONDS) return 0;
    state->last_sync = now;
    return file_sync(state);
}

/* As bp_io_write_all, but it counts what the system took of a write that fails. */
static int write_counted(bp_file_sink *state, const uint8_t *bytes, size_t n_bytes) {
    while (n_bytes > 0) {
        const ssize_t n = state->io->write(state->io->context, state->file, bytes, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return reason();
        if (n == 0) return EIO; /* no progress and no reason: never spin */
        state->n_written += (uint64_t)n;
        bytes += n;
        n_bytes -= (size_t)n;
    }
    return 0;
}

static int file_put(void *context, const void *bytes, size_t n_bytes) {
    bp_file_sink *state = context;
    if (state->failed) return EIO;
    state->is_durable = false;
    const int trouble = write_counted(state, bytes, n_bytes);
    if (!trouble) return bp_file_sink_sync(state);
    state->failed = true;
    return trouble;
}

static int file_close(void *context) {
    bp_file_sink *state = context;
    const int trouble = state->failed ? 0 : file_sync(state);
    const int closed = state->io->close(state->io->context, state->file) == 0 ? 0 : reason();
    return trouble ? trouble : closed;
}

int bp_file_sink_open(bp_sink *sink, bp_file_sink *state, const bp_io *io, const char *path) {
    const int file =
        io->open(io->context, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) return reason();
    *state = (bp_file_sink){.io = io, .file = file};
    state->last_sync = io->steady_clock(io->context);
    *sink = (bp_sink){.context = state, .put = file_put, .close = file_close};
    return 0;
}
