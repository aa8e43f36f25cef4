/* SPDX-License-Identifier: Apache-2.0 */
/* The system with a disk that can be frozen, full or broken while threads use it. */
#ifndef BP_TESTS_RUNLOG_SLOW_DISK_H
#define BP_TESTS_RUNLOG_SLOW_DISK_H

#include "base/base.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct slow_disk {
    atomic_int frozen;     /* writes hang until it is 0 */
    atomic_int error;      /* of writes; 0: none */
    atomic_int sync_error; /* of the next fsync; 0: none */
    atomic_int reserve_error, map_error;
    atomic_int waiting;          /* calls that hang */
    atomic_llong calls, fail_at; /* call number fail_at, from 1, fails with EIO; 0: none */
    atomic_llong n_writes, n_syncs;
} slow_disk;

static inline bool slow_fails(slow_disk *disk) {
    if (atomic_fetch_add(&disk->calls, 1) + 1 != atomic_load(&disk->fail_at)) return false;
    errno = EIO;
    return true;
}

static inline int slow_open(void *context, const char *path, int flags, mode_t mode) {
    return slow_fails(context) ? -1 : bp_io_system.open(NULL, path, flags, mode);
}

static inline int slow_close(void *context, int file) {
    const bool fails = slow_fails(context);
    const int result = bp_io_system.close(NULL, file);
    if (fails) errno = EIO;
    return fails ? -1 : result;
}

static inline int slow_rename(void *context, const char *from, const char *to) {
    return slow_fails(context) ? -1 : bp_io_system.rename(NULL, from, to);
}

static inline int slow_unlink(void *context, const char *path) {
    return slow_fails(context) ? -1 : bp_io_system.unlink(NULL, path);
}

static inline ssize_t slow_write(void *context, int file, const void *bytes, size_t n_bytes) {
    slow_disk *disk = context;
    atomic_fetch_add(&disk->n_writes, 1);
    atomic_fetch_add(&disk->waiting, 1);
    while (atomic_load(&disk->frozen)) usleep(1000);
    atomic_fetch_sub(&disk->waiting, 1);
    if (slow_fails(disk)) return -1;
    errno = atomic_load(&disk->error);
    if (!errno) return bp_io_system.write(NULL, file, bytes, n_bytes);
    /* as a full disk does: a part of it first */
    if (n_bytes > 100) return bp_io_system.write(NULL, file, bytes, n_bytes / 2);
    return -1;
}

static inline int slow_fsync(void *context, int file) {
    slow_disk *disk = context;
    atomic_fetch_add(&disk->n_syncs, 1);
    if (slow_fails(disk)) return -1;
    errno = atomic_exchange(&disk->sync_error, 0);
    return errno ? -1 : bp_io_system.fsync(NULL, file);
}

static inline int slow_reserve(void *context, int file, uint64_t n_bytes) {
    slow_disk *disk = context;
    errno = atomic_load(&disk->reserve_error);
    return errno ? -1 : bp_io_system.reserve(NULL, file, n_bytes);
}

static inline void *slow_map(void *context, int file, size_t n_bytes) {
    slow_disk *disk = context;
    errno = atomic_load(&disk->map_error);
    return errno ? NULL : bp_io_system.map(NULL, file, n_bytes);
}

static inline bp_io slow_io(slow_disk *disk) {
    bp_io io = bp_io_system;
    io.open = slow_open;
    io.close = slow_close;
    io.rename = slow_rename;
    io.unlink = slow_unlink;
    io.write = slow_write;
    io.fsync = slow_fsync;
    io.reserve = slow_reserve;
    io.map = slow_map;
    io.context = disk;
    return io;
}

#endif
