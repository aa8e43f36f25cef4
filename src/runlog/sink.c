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
    if (state->io->fsync(state->io->context, state->file) == 0) return 0;
    state->failed = true;
    return reason();
}

static int file_put(void *context, const void *bytes, size_t n_bytes) {
    bp_file_sink *state = context;
    if (state->failed) return EIO;
    if (!bp_io_write_all(state->io, state->file, bytes, n_bytes)) {
        state->failed = true;
        return reason();
    }
    const double now = state->io->steady_clock(state->io->context);
    if (now - state->last_sync < BP_SINK_SYNC_SECONDS) return 0;
    state->last_sync = now;
    return file_sync(state);
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
