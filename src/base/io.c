/* SPDX-License-Identifier: Apache-2.0 */
/* Files and clocks through one seam, and the two whole-file operations built on it. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int system_open(void *context, const char *path, int flags, mode_t mode) {
    (void)context;
    int file;
    do file = open(path, flags, mode);
    while (file < 0 && errno == EINTR);
    return file;
}

static ssize_t system_read(void *context, int file, void *bytes, size_t n_bytes) {
    (void)context;
    return read(file, bytes, n_bytes);
}

static ssize_t system_write(void *context, int file, const void *bytes, size_t n_bytes) {
    (void)context;
    return write(file, bytes, n_bytes);
}

static ssize_t system_read_at(void *context, int file, void *bytes, size_t n_bytes,
                              uint64_t place) {
    (void)context;
    return pread(file, bytes, n_bytes, (off_t)place);
}

static int system_fsync(void *context, int file) {
    (void)context;
    int result;
    do result = fsync(file);
    while (result < 0 && errno == EINTR);
    return result;
}

/* On Linux a file is closed even when a signal interrupts the call. */
static int system_close(void *context, int file) {
    (void)context;
    const int result = close(file);
    return result < 0 && errno == EINTR ? 0 : result;
}

static int system_rename(void *context, const char *from, const char *to) {
    (void)context;
    int result;
    do result = rename(from, to);
    while (result < 0 && errno == EINTR);
    return result;
}

static int system_unlink(void *context, const char *path) {
    (void)context;
    int result;
    do result = unlink(path);
    while (result < 0 && errno == EINTR);
    return result;
}

static int system_mkdir(void *context, const char *path, mode_t mode) {
    (void)context;
    return mkdir(path, mode);
}

static double seconds_of(clockid_t clock) {
    struct timespec now = {0, 0};
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double system_wall_clock(void *context) {
    (void)context;
    return seconds_of(CLOCK_REALTIME);
}

static double system_steady_clock(void *context) {
    (void)context;
    return seconds_of(CLOCK_MONOTONIC);
}

static int system_reserve(void *context, int file, uint64_t n_bytes) {
    (void)context;
    int trouble = n_bytes > bp_io_file_limit() ? EFBIG : EINTR;
    while (trouble == EINTR) trouble = posix_fallocate(file, 0, (off_t)n_bytes);
    if (!trouble) return 0;
    errno = trouble;
    return -1;
}

static int system_truncate(void *context, int file, uint64_t n_bytes) {
    (void)context;
    return ftruncate(file, (off_t)n_bytes);
}

static void *system_map(void *context, int file, size_t n_bytes) {
    (void)context;
    void *bytes = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

static int system_unmap(void *context, void *bytes, size_t n_bytes) {
    (void)context;
    return munmap(bytes, n_bytes);
}

static void system_wait(void *context, const atomic_uint *word, unsigned value, double seconds) {
    (void)context;
    const time_t whole = (time_t)seconds;
    const struct timespec rest = {whole, (long)((seconds - (double)whole) * 1e9)};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &rest, NULL, 0);
}

static void system_wake(void *context, atomic_uint *word) {
    (void)context;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

const bp_io bp_io_system = {
    .open = system_open,
    .read = system_read,
    .write = system_write,
    .read_at = system_read_at,
    .fsync = system_fsync,
    .close = system_close,
    .rename = system_rename,
    .unlink = system_unlink,
    .mkdir = system_mkdir,
    .wall_clock = system_wall_clock,
    .steady_clock = system_steady_clock,
    .reserve = system_reserve,
    .truncate = system_truncate,
    .map = system_map,
    .unmap = system_unmap,
    .wait = system_wait,
    .wake = system_wake,
    .context = NULL,
};

static int open_through_signals(const bp_io *io, const char *path, int flags, mode_t mode) {
    int file;
    do file = io->open(io->context, path, flags | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    return file;
}

static ssize_t read_through_signals(const bp_io *io, int file, void *bytes, size_t n_bytes) {
    ssize_t n_read;
    do n_read = io->read(io->context, file, bytes, n_bytes);
    while (n_read < 0 && errno == EINTR);
    return n_read;
}

static int sync_through_signals(const bp_io *io, int file) {
    int result;
    do result = io->fsync(io->context, file);
    while (result < 0 && errno == EINTR);
    return result;
}

uint64_t bp_io_file_limit(void) {
    struct rlimit limit;
    const bool is_limited = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return is_limited ? (uint64_t)limit.rlim_cur : UINT64_MAX;
}

bool bp_io_write_all(const bp_io *io, int file, const void *bytes, size_t n_bytes) {
    const uint8_t *at = bytes;
    while (n_bytes > 0) {
        ssize_t n_written = io->write(io->context, file, at, n_bytes);
        if (n_written < 0 && errno == EINTR) continue;
        if (n_written < 0) return false;
        if (n_written == 0) { /* no progress and no reason: never spin */
            errno = EIO;
            return false;
        }
        at += n_written;
        n_bytes -= (size_t)n_written;
    }
    return true;
}

/* --- reading a whole file ------------------------------------------------------------------- */

typedef struct growing_block {
    const bp_allocator *allocator;
    uint8_t *bytes;
    size_t capacity, length;
} growing_block;

static bool resize_block(growing_block *block, size_t capacity) {
    void *moved = block->allocator->resize(block->allocator->context, block->bytes, block->capacity,
                                           capacity);
    if (!moved) return false;
    block->bytes = moved;
    block->capacity = capacity;
    return true;
}

static bp_status read_to_end(const bp_io *io, int file, const char *path, size_t limit,
                             growing_block *block, bp_error *error) {
    for (;;) {
        if (block->length == block->capacity) {
            size_t wanted = block->capacity ? block->capacity * 2 : 65536;
            if (wanted > limit)
                wanted = limit + 1; /* one more byte tells a file that is too long */
            if (!resize_block(block, wanted))
                return bp_fail(error, BP_ERROR_MEMORY, "no memory for %zu bytes of %s", wanted,
                               path);
        }
        ssize_t n_read = read_through_signals(io, file, block->bytes + block->length,
                                              block->capacity - block->length);
        if (n_read < 0) return bp_fail_os(error, errno, "cannot read %s", path);
        if (n_read == 0) break;
        block->length += (size_t)n_read;
        if (block->length > limit)
            return bp_fail(error, BP_ERROR_LIMIT, "%s is longer than the %zu bytes allowed", path,
                           limit);
    }
    if (!resize_block(block, block->length + 1))
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for %zu bytes of %s", block->length + 1,
                       path);
    block->bytes[block->length] = 0;
    return BP_OK;
}

bp_status bp_io_read_file(const bp_io *io, const char *path, size_t limit,
                          const bp_allocator *allocator, uint8_t **bytes, size_t *n_bytes,
                          bp_error *error) {
    if (limit > SIZE_MAX / 4) limit = SIZE_MAX / 4; /* so that doubling cannot overflow */
    int file = open_through_signals(io, path, O_RDONLY, 0);
    if (file < 0) return bp_fail_os(error, errno, "cannot open %s", path);
    growing_block block = {.allocator = bp_allocator_or_system(allocator)};
    bp_status status = read_to_end(io, file, path, limit, &block, error);
    io->close(io->context, file);
    if (status != BP_OK) {
        bp_release(block.allocator, block.bytes, block.capacity, 1);
        return status;
    }
    *bytes = block.bytes;
    *n_bytes = block.length;
    return BP_OK;
}

/* --- writing a whole file ------------------------------------------------------------------- */

/* A leftover of a killed process takes a name away; a hundred of them is a sign of something else.
 */
enum { MAX_TEMPORARY = 100 };

typedef struct atomic_write {
    const bp_io *io;
    const char *path;
    const void *bytes;
    size_t n_bytes;
    char *temporary; /* the path, room for a suffix */
    size_t temporary_bytes;
    bp_error *error;
} atomic_write;

static bp_status fail_write(const atomic_write *job, const char *what) {
    return bp_fail_os(job->error, errno, "cannot %s %s", what, job->path);
}

static bp_status fill_temporary(const atomic_write *job, int file) {
    bp_status status = BP_OK;
    errno = EFBIG;
    if (job->n_bytes > bp_io_file_limit() ||
        !bp_io_write_all(job->io, file, job->bytes, job->n_bytes))
        status = fail_write(job, "write");
    else if (sync_through_signals(job->io, file) < 0)
        status = fail_write(job, "synchronise");
    if (job->io->close(job->io->context, file) < 0 && status == BP_OK)
        status = fail_write(job, "close");
    return status;
}

static bp_status compare_temporary(const atomic_write *job, int file) {
    const uint8_t *expected = job->bytes;
    size_t done = 0;
    uint8_t found[16384];
    for (;;) {
        ssize_t n_read = read_through_signals(job->io, file, found, sizeof found);
        if (n_read < 0) return fail_write(job, "read back");
        if (n_read == 0) break;
        if ((size_t)n_read > job->n_bytes - done ||
            memcmp(found, expected + done, (size_t)n_read) != 0)
            return bp_fail(job->error, BP_ERROR_IO,
                           "cannot write %s: other bytes were read back than were written",
                           job->path);
        done += (size_t)n_read;
    }
    if (done == job->n_bytes) return BP_OK;
    return bp_fail(job->error, BP_ERROR_IO, "cannot write %s: %zu of %zu bytes were read back",
                   job->path, done, job->n_bytes);
}

static bp_status verify_temporary(const atomic_write *job) {
    int file = open_through_signals(job->io, job->temporary, O_RDONLY, 0);
    if (file < 0) return fail_write(job, "read back");
    bp_status status = compare_temporary(job, file);
    job->io->close(job->io->context, file);
    return status;
}

static int create_temporary(const atomic_write *job) {
    int file = -1;
    for (int attempt = 0; attempt < MAX_TEMPORARY; attempt++) {
        snprintf(job->temporary, job->temporary_bytes, "%s.tmp%d", job->path, attempt);
        file = open_through_signals(job->io, job->temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (file >= 0 || errno != EEXIST) break;
    }
    return file;
}

static bp_status replace_through_temporary(const atomic_write *job) {
    int file = create_temporary(job);
    if (file < 0) return fail_write(job, "create");
    bp_status status = fill_temporary(job, file);
    if (status == BP_OK) status = verify_temporary(job);
    if (status == BP_OK && job->io->rename(job->io->context, job->temporary, job->path) < 0)
        status = fail_write(job, "replace");
    if (status != BP_OK) job->io->unlink(job->io->context, job->temporary);
    return status;
}

/* Opened before anything is made, so that only its fsync can fail once the new file stands. */
static int open_folder(const atomic_write *job) {
    const char *slash = strrchr(job->path, '/');
    size_t length = slash ? (size_t)(slash - job->path) : 0;
    if (!slash)
        snprintf(job->temporary, job->temporary_bytes, ".");
    else
        snprintf(job->temporary, job->temporary_bytes, "%.*s/", (int)length, job->path);
    return open_through_signals(job->io, job->temporary, O_RDONLY | O_DIRECTORY, 0);
}

bp_status bp_io_write_file_atomic(const bp_io *io, const char *path, const void *bytes,
                                  size_t n_bytes, const bp_allocator *allocator, bp_error *error) {
    atomic_write job = {io, path, bytes, n_bytes, NULL, strlen(path) + 16, error};
    job.temporary = bp_allocate(allocator, job.temporary_bytes, 1);
    if (!job.temporary) return bp_fail(error, BP_ERROR_MEMORY, "no memory to write %s", path);
    bp_status status;
    int folder = open_folder(&job);
    if (folder < 0) {
        status = fail_write(&job, "open the folder of");
    } else {
        status = replace_through_temporary(&job);
        /* Some file systems cannot synchronise a folder and say so by EINVAL. */
        if (status == BP_OK && sync_through_signals(io, folder) < 0 && errno != EINVAL)
            status = fail_write(&job, "make durable the new");
        io->close(io->context, folder);
    }
    bp_release(allocator, job.temporary, job.temporary_bytes, 1);
    return status;
}
