/* SPDX-License-Identifier: Apache-2.0 */
/* An allocator and a system that fail on demand; both check how they are used. */
#ifndef BP_TESTS_FAULTS_H
#define BP_TESTS_FAULTS_H

#include "base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Fails the n-th request for memory (0: never). Blocks know their size, so that a wrong old size
 * and a leak are seen. */
typedef struct faulty_memory {
    size_t requests, fail_at, live_blocks, wrong_sizes;
} faulty_memory;

typedef union block_head {
    size_t n_bytes;
    max_align_t alignment;
} block_head;

static inline void *faulty_resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    faulty_memory *memory = context;
    block_head *head = block ? (block_head *)block - 1 : NULL;
    if ((head ? head->n_bytes : 0) != old_bytes) memory->wrong_sizes++;
    if (new_bytes == 0) {
        memory->live_blocks -= head != NULL;
        free(head);
        return NULL;
    }
    if (++memory->requests == memory->fail_at) return NULL;
    block_head *moved = realloc(head, sizeof *head + new_bytes);
    if (!moved) abort();
    memory->live_blocks += head == NULL;
    moved->n_bytes = new_bytes;
    return moved + 1;
}

static inline bp_allocator faulty_allocator(faulty_memory *memory) {
    return (bp_allocator){faulty_resize, memory};
}

/* Fails the n-th call (0: never) with the given errno; moves at most `most` bytes at once. */
typedef struct faulty_system {
    size_t calls, fail_at;
    int error;
    size_t most;      /* 0: no limit */
    int flip_written; /* a write puts down another byte than it was given */
    size_t open_files;
    const char *failed; /* name of the call that was failed */
} faulty_system;

static inline int faulty_fails(faulty_system *system, const char *name) {
    if (++system->calls != system->fail_at) return 0;
    system->failed = name;
    errno = system->error;
    return 1;
}

static inline int faulty_open(void *context, const char *path, int flags, mode_t mode) {
    faulty_system *system = context;
    if (faulty_fails(system, "open")) return -1;
    int file = bp_io_system.open(NULL, path, flags, mode);
    system->open_files += file >= 0;
    return file;
}

static inline size_t faulty_least(const faulty_system *system, size_t n_bytes) {
    return system->most && system->most < n_bytes ? system->most : n_bytes;
}

static inline ssize_t faulty_read(void *context, int file, void *bytes, size_t n_bytes) {
    faulty_system *system = context;
    if (faulty_fails(system, "read")) return -1;
    return bp_io_system.read(NULL, file, bytes, faulty_least(system, n_bytes));
}

static inline ssize_t faulty_write(void *context, int file, const void *bytes, size_t n_bytes) {
    faulty_system *system = context;
    if (faulty_fails(system, "write")) return -1;
    if (system->flip_written && n_bytes) {
        system->flip_written = 0;
        const uint8_t other = (uint8_t)(*(const uint8_t *)bytes ^ 1u);
        return bp_io_system.write(NULL, file, &other, 1);
    }
    return bp_io_system.write(NULL, file, bytes, faulty_least(system, n_bytes));
}

static inline int faulty_fsync(void *context, int file) {
    return faulty_fails(context, "fsync") ? -1 : bp_io_system.fsync(NULL, file);
}

/* Like close(2) on Linux: the file is closed even when it fails. */
static inline int faulty_close(void *context, int file) {
    faulty_system *system = context;
    const int fails = faulty_fails(system, "close");
    system->open_files--;
    const int kept_errno = errno;
    const int result = bp_io_system.close(NULL, file);
    errno = kept_errno;
    return fails ? -1 : result;
}

static inline int faulty_rename(void *context, const char *from, const char *to) {
    return faulty_fails(context, "rename") ? -1 : bp_io_system.rename(NULL, from, to);
}

static inline int faulty_unlink(void *context, const char *path) {
    return faulty_fails(context, "unlink") ? -1 : bp_io_system.unlink(NULL, path);
}

static inline int faulty_mkdir(void *context, const char *path, mode_t mode) {
    return faulty_fails(context, "mkdir") ? -1 : bp_io_system.mkdir(NULL, path, mode);
}

static inline bp_io faulty_io(faulty_system *system) {
    return (bp_io){.open = faulty_open,
                   .read = faulty_read,
                   .write = faulty_write,
                   .fsync = faulty_fsync,
                   .close = faulty_close,
                   .rename = faulty_rename,
                   .unlink = faulty_unlink,
                   .mkdir = faulty_mkdir,
                   .wall_clock = bp_io_system.wall_clock,
                   .steady_clock = bp_io_system.steady_clock,
                   .context = system};
}

#endif
