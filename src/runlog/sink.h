/* SPDX-License-Identifier: Apache-2.0 */
/* A sink that writes directly into a file: write(2) in the caller, made durable at most about once
 * a second. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_SINK_H
#define BP_RUNLOG_SINK_H

#include "runlog/runlog.h"

#define BP_SINK_SYNC_SECONDS 1.0

/* The state behind bp_sink.context; borrowed until close. */
typedef struct bp_file_sink {
    const bp_io *io;
    int file;
    double last_sync;   /* steady clock */
    uint64_t n_written; /* bytes that the system took, those of a write that failed too */
    uint64_t limit;     /* of the file's bytes */
    bool is_durable;    /* nothing was written since the last fsync */
    bool failed;        /* nothing more may be asked of the descriptor but close */
} bp_file_sink;

/* Creates path, which must not exist. Returns 0 or an errno. */
int bp_file_sink_open(bp_sink *sink, bp_file_sink *state, const bp_io *io, const char *path);
/* The fsync that is due about a second after a write; 0 or an errno. */
int bp_file_sink_sync(bp_file_sink *state);

#endif
