/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* errno of a call that failed; never 0, which would say that all is well. */
static int reason(void) {
    return errno ? errno : EIO;
}

/* What is written into a file without a name goes well and is lost. */
static bool is_removed(int file) {
    struct stat found;
    return fstat(file, &found) == 0 && found.st_nlink == 0;
}

/* After a failed fsync the kernel may have dropped the pages and calls the next one good: it is
 * never asked twice. */
static int file_sync(bp_file_sink *state) {
    const bool is_synced = state->io->fsync(state->io->context, state->file) == 0;
    if (is_synced && !is_removed(state->file)) {
        state->is_durable = true;
        return 0;
    }
    const int trouble = is_synced ? ENOENT : reason();
    state->failed = true;
    return trouble;
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
    const bool fits = n_bytes <= state->limit && state->n_written <= state->limit - n_bytes;
    const int trouble = fits ? write_counted(state, bytes, n_bytes) : EFBIG;
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
    *state = (bp_file_sink){.io = io, .file = file, .limit = bp_io_file_limit()};
    state->last_sync = io->steady_clock(io->context);
    *sink = (bp_sink){.context = state, .put = file_put, .close = file_close};
    return 0;
}
