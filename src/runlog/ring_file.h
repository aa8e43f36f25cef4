/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a ring in shared memory, the note in the run folder that names it, and who may touch
 * it.
 *
 * Locks: the owner holds a lock of its process on the file (fcntl F_SETLK) while it lives. That one
 * is dropped by the kernel when the process dies, however it dies, and a forked child does not get
 * it. (A lock of the open file, flock or F_OFD_SETLK, would live on in any child that was forked.)
 * Who salvages takes a lock of its open file (F_OFD_SETLK): it excludes the owner as well as other
 * threads and processes that salvage. A lock of a process is lost when it closes any descriptor of
 * the file, so nobody opens a ring whose name says that its owner runs.
 * For the files of this room and its tests only. */
#ifndef BP_RUNLOG_RING_FILE_H
#define BP_RUNLOG_RING_FILE_H

#include "runlog/ring.h"

#define BP_RING_NOTE "ring" /* in the run folder */
#define BP_RING_FOLDER "/dev/shm"
#define BP_RING_NAME_BYTES 96

typedef struct bp_ring_file {
    const bp_io *io; /* borrowed */
    char *path, *note;
    int file;
    bp_ring_header *header;
    size_t n_bytes;
} bp_ring_file;

/* NULL when it stands; else why it does not, static, and nothing is left. token: makes the name
 * unique. io is borrowed until close. */
const char *bp_ring_file_create(bp_ring_file *ring, const bp_io *io, const char *ring_folder,
                                const char *folder, uint64_t run, uint64_t token, uint64_t capacity,
                                const bp_allocator *allocator);
/* Takes note and file away. The note goes first: where it is not, nobody looks for the ring, and
 * one that comes later is not removed by mistake. */
void bp_ring_file_remove(const bp_ring_file *ring);
void bp_ring_file_close(bp_ring_file *ring, const bp_allocator *allocator);

typedef enum bp_ring_state {
    BP_RING_NONE,  /* there is no ring, or nothing that is one of ours */
    BP_RING_ALIVE, /* its owner runs, as far as can be told */
    BP_RING_BUSY,  /* somebody else is salvaging it */
    BP_RING_DEAD   /* its owner is gone, and the lock is ours */
} bp_ring_state;

/* A ring that a dead process left: locked, and read into memory, where nobody can change it. */
typedef struct bp_dead_ring {
    const bp_io *io; /* borrowed */
    char *path;
    int file; /* -1: none */
    uint8_t *bytes;
    size_t n_bytes;
    const bp_ring_header *header; /* in bytes; NULL: damaged or not finished */
    double written;               /* when it was last written to, seconds since 1970, or later */
} bp_dead_ring;

/* The path that the folder's note names, BP_RING_PATH_BYTES of room; false when there is none, or
 * when *trouble, an errno, keeps us from seeing it (NULL: it does not matter). */
bool bp_ring_read_note(const bp_io *io, const char *folder, char *path, int *trouble);
/* Whether it is the name of a ring of this user: a path without its folder. */
bool bp_ring_is_name(const char *name);
/* DEAD fills *dead. BP_ERROR_MEMORY, or BP_ERROR_IO when the file cannot be read. */
BP_MUST_USE bp_status bp_dead_ring_open(bp_dead_ring *dead, bp_ring_state *state, const bp_io *io,
                                        const char *path, const bp_allocator *allocator,
                                        bp_error *error);
/* Takes the file away, and the folder's note (NULL: of none) if it names it. */
void bp_dead_ring_remove(const bp_dead_ring *dead, const char *folder);
void bp_dead_ring_close(bp_dead_ring *dead, const bp_allocator *allocator);

#endif
