/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/ring_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TMPFS 0x01021994 /* TMPFS_MAGIC of linux/magic.h */
#define NOTE_ASIDE BP_RING_NOTE ".tmp"

/* --- names ---------------------------------------------------------------------------------- */

/* What a name says of a ring, besides the token that makes it unique. */
typedef struct ring_name {
    uint32_t uid, pid;
    uint64_t start, token;
} ring_name;

static void format_name(char text[BP_RING_NAME_BYTES], const ring_name *name) {
    snprintf(text, BP_RING_NAME_BYTES, "backprobe-%u-%u-%llx-%llx", (unsigned)name->uid,
             (unsigned)name->pid, (unsigned long long)name->start, (unsigned long long)name->token);
}

/* The number up to '-' or the end; moves *text behind it. Whether it is one, the caller sees by
 * formatting the name again. */
static uint64_t next_number(const char **text, int base) {
    char *end;
    const uint64_t number = strtoull(*text, &end, base);
    *text = *end == '-' ? end + 1 : end;
    return number;
}

static bool parse_name(ring_name *name, const char *text) {
    static const char prefix[] = "backprobe-";
    char again[BP_RING_NAME_BYTES];
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) return false;
    const char *at = text + sizeof prefix - 1;
    name->uid = (uint32_t)next_number(&at, 10);
    name->pid = (uint32_t)next_number(&at, 10);
    name->start = next_number(&at, 16);
    name->token = next_number(&at, 16);
    format_name(again, name);
    return strcmp(text, again) == 0 && name->uid == (uint32_t)geteuid();
}

bool bp_ring_is_name(const char *name) {
    ring_name parsed;
    return parse_name(&parsed, name);
}

static char *join(const bp_allocator *allocator, const char *folder, const char *name) {
    const size_t n_bytes = strlen(folder) + strlen(name) + 2;
    char *path = bp_allocate(allocator, n_bytes, 1);
    if (path) snprintf(path, n_bytes, "%s/%s", folder, name);
    return path;
}

/* --- creating ------------------------------------------------------------------------------- */

static int lock(int file, int command) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(file, command, &whole);
}

static bool is_in_memory(const char *folder) {
    struct statfs kind;
    return statfs(folder, &kind) == 0 && kind.f_type == TMPFS;
}

/* The folder may be moved, and the working folder may change. */
static bool describe_folder(bp_ring_about *about, const char *folder) {
    char absolute[PATH_MAX];
    struct stat found;
    if (!realpath(folder, absolute) || stat(absolute, &found) != 0) return false;
    about->folder_device = (uint64_t)found.st_dev;
    about->folder_inode = (uint64_t)found.st_ino;
    snprintf(about->folder, sizeof about->folder, "%s", absolute);
    return true;
}

static bool write_note(const bp_ring_file *ring, const char *aside) {
    const bp_io *io = ring->io;
    char absolute[PATH_MAX];
    if (!realpath(ring->path, absolute)) return false;
    const size_t length = strlen(absolute);
    absolute[length] = '\n'; /* the note is no text of C: it needs no NUL */
    io->unlink(io->context, aside);
    const int file =
        io->open(io->context, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return false;
    const bool written = bp_io_write_all(io, file, absolute, length + 1);
    const bool closed = io->close(io->context, file) == 0;
    if (written && closed && io->rename(io->context, aside, ring->note) == 0) return true;
    io->unlink(io->context, aside);
    return false;
}

static const char *map_ring(bp_ring_file *ring, const bp_ring_about *about) {
    const bp_io *io = ring->io;
    ring->n_bytes = bp_ring_file_bytes(about->capacity);
    if (lock(ring->file, F_SETLK) != 0) return "the ring cannot be locked";
    if (io->reserve(io->context, ring->file, ring->n_bytes) != 0)
        return "there is no room for the ring in shared memory";
    ring->header = io->map(io->context, ring->file, ring->n_bytes);
    if (!ring->header) return "the ring cannot be mapped into memory";
    /* A forked child shall not write into its parent's ring. */
    (void)madvise(ring->header, ring->n_bytes, MADV_DONTFORK);
    bp_ring_begin(ring->header, about);
    return NULL;
}

static const char *create(bp_ring_file *ring, const bp_ring_about *about, const char *aside) {
    const bp_io *io = ring->io;
    ring->file =
        io->open(io->context, ring->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (ring->file < 0) return "no file can be made in shared memory";
    const char *why = map_ring(ring, about);
    if (!why && !write_note(ring, aside)) why = "the run folder takes no note of the ring";
    if (why) io->unlink(io->context, ring->path);
    return why;
}

const char *bp_ring_file_create(bp_ring_file *ring, const bp_io *io, const char *ring_folder,
                                const char *folder, uint64_t run, uint64_t token, uint64_t capacity,
                                const bp_allocator *allocator) {
    bp_ring_about about = {.run = run, .capacity = capacity};
    char text[BP_RING_NAME_BYTES];
    *ring = (bp_ring_file){.io = io, .file = -1};
    if (!is_in_memory(ring_folder)) return "there is no shared memory (tmpfs)";
    if (!bp_owner_self(&about.owner, io)) return "/proc does not tell the process";
    if (!describe_folder(&about, folder)) return "the run folder cannot be found";
    const ring_name name = {about.owner.uid, about.owner.pid, about.owner.start, token};
    format_name(text, &name);
    ring->path = join(allocator, ring_folder, text);
    ring->note = join(allocator, folder, BP_RING_NOTE);
    char *aside = join(allocator, folder, NOTE_ASIDE);
    const char *why = ring->path && ring->note && aside ? create(ring, &about, aside)
                                                        : "there is no memory for the ring";
    bp_release_text(allocator, aside);
    if (why) bp_ring_file_close(ring, allocator);
    return why;
}

void bp_ring_file_remove(const bp_ring_file *ring) {
    ring->io->unlink(ring->io->context, ring->note);
    ring->io->unlink(ring->io->context, ring->path);
}

void bp_ring_file_close(bp_ring_file *ring, const bp_allocator *allocator) {
    struct stat found;
    if (ring->header) ring->io->unmap(ring->io->context, ring->header, ring->n_bytes);
    /* A forked child may hold the file open: what was removed gives its memory back at once. */
    if (ring->file >= 0 && fstat(ring->file, &found) == 0 && found.st_nlink == 0)
        (void)ring->io->truncate(ring->io->context, ring->file, 0);
    if (ring->file >= 0) ring->io->close(ring->io->context, ring->file);
    bp_release_text(allocator, ring->path);
    bp_release_text(allocator, ring->note);
    *ring = (bp_ring_file){.file = -1};
}

/* --- what a dead process left --------------------------------------------------------------- */

static ssize_t read_all(const bp_io *io, int file, void *bytes, size_t n_bytes) {
    size_t length = 0;
    while (length < n_bytes) {
        const ssize_t n = io->read(io->context, file, (uint8_t *)bytes + length, n_bytes - length);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

/* Why a file that was named cannot be opened: it is not there, or not for us. Otherwise it may be
 * there, and the system lacks something. */
static bool is_absent(int reason) {
    return reason == ENOENT || reason == ENOTDIR || reason == EACCES || reason == EPERM ||
           reason == ELOOP || reason == ENXIO || reason == ENAMETOOLONG;
}

bool bp_ring_read_note(const bp_io *io, const char *folder, char *path, int *trouble) {
    char note[PATH_MAX];
    int unused;
    if (!trouble) trouble = &unused;
    *trouble = 0;
    if (snprintf(note, sizeof note, "%s/%s", folder, BP_RING_NOTE) >= (int)sizeof note)
        return false;
    const int file =
        io->open(io->context, note, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (file < 0) {
        *trouble = is_absent(errno) ? 0 : errno;
        return false;
    }
    const ssize_t n = read_all(io, file, path, BP_RING_PATH_BYTES);
    if (n < 0 && errno != EISDIR) *trouble = errno;
    io->close(io->context, file);
    char *end = n > 0 ? memchr(path, '\n', (size_t)n) : NULL;
    if (!end || path[0] != '/' || memchr(path, '\0', (size_t)n)) return false;
    *end = '\0';
    return true;
}

static bool is_ours(int file) {
    struct stat found;
    return fstat(file, &found) == 0 && S_ISREG(found.st_mode) && found.st_uid == geteuid() &&
           (found.st_mode & 077) == 0 && found.st_nlink == 1;
}

static bp_ring_state take_lock(int file) {
    if (lock(file, F_OFD_SETLK) == 0)
        return is_ours(file) ? BP_RING_DEAD : BP_RING_NONE; /* it may have been removed meanwhile */
    struct flock holder = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const bool told = fcntl(file, F_OFD_GETLK, &holder) == 0;
    /* -1: a lock of an open file, of somebody who salvages; he may be done by now. */
    return told && (holder.l_type == F_UNLCK || holder.l_pid == -1) ? BP_RING_BUSY : BP_RING_ALIVE;
}

static bp_status read_ring(bp_dead_ring *dead, const bp_allocator *allocator, bp_error *error) {
    struct stat found;
    if (fstat(dead->file, &found) != 0)
        return bp_fail_os(error, errno, "cannot read the ring %s", dead->path);
    dead->written = (double)found.st_mtim.tv_sec;
    const uint64_t n_bytes = (uint64_t)found.st_size;
    if (n_bytes < BP_RING_HEADER_BYTES || n_bytes > BP_RING_HEADER_BYTES + BP_RING_MOST_BYTES)
        return BP_OK;
    dead->bytes = bp_allocate(allocator, (size_t)n_bytes, 1);
    if (!dead->bytes)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to read the ring %s", dead->path);
    dead->n_bytes = (size_t)n_bytes;
    const ssize_t n = read_all(dead->io, dead->file, dead->bytes, dead->n_bytes);
    if (n < 0) return bp_fail_os(error, errno, "cannot read the ring %s", dead->path);
    const bp_ring_header *header = (const bp_ring_header *)dead->bytes;
    if ((size_t)n == dead->n_bytes && bp_ring_is_good(header, n_bytes) &&
        header->about.owner.uid == (uint32_t)geteuid())
        dead->header = header;
    return BP_OK;
}

/* By its name alone: a ring of our own must not even be opened. */
static bool owner_runs(const bp_io *io, const ring_name *name) {
    bp_owner owner;
    if (!bp_owner_self(&owner, io)) return true; /* nothing can be told here */
    owner.pid = name->pid;
    owner.start = name->start;
    return bp_owner_look(&owner, io) == BP_OWNER_RUNS;
}

bp_status bp_dead_ring_open(bp_dead_ring *dead, bp_ring_state *state, const bp_io *io,
                            const char *path, const bp_allocator *allocator, bp_error *error) {
    ring_name name;
    const char *slash = strrchr(path, '/');
    *dead = (bp_dead_ring){.io = io, .file = -1};
    *state = BP_RING_NONE;
    if (!slash || !parse_name(&name, slash + 1)) return BP_OK;
    *state = BP_RING_ALIVE;
    if (owner_runs(io, &name)) return BP_OK;
    *state = BP_RING_NONE;
    dead->file =
        io->open(io->context, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (dead->file < 0)
        return is_absent(errno) ? BP_OK : bp_fail_os(error, errno, "cannot read the ring %s", path);
    if (is_ours(dead->file)) *state = take_lock(dead->file);
    bp_status status = BP_OK;
    if (*state == BP_RING_DEAD) {
        dead->path = bp_copy_text(allocator, path);
        status = dead->path
                     ? read_ring(dead, allocator, error)
                     : bp_fail(error, BP_ERROR_MEMORY, "no memory to read the ring %s", path);
    }
    if (status == BP_OK && dead->header &&
        bp_owner_look(&dead->header->about.owner, io) == BP_OWNER_RUNS)
        *state = BP_RING_ALIVE;
    if (status != BP_OK || *state != BP_RING_DEAD) bp_dead_ring_close(dead, allocator);
    return status;
}

void bp_dead_ring_remove(const bp_dead_ring *dead, const char *folder) {
    const bp_io *io = dead->io;
    char named[BP_RING_PATH_BYTES], note[PATH_MAX];
    if (folder && bp_ring_read_note(io, folder, named, NULL) && strcmp(named, dead->path) == 0 &&
        snprintf(note, sizeof note, "%s/%s", folder, BP_RING_NOTE) < (int)sizeof note)
        io->unlink(io->context, note);
    io->unlink(io->context, dead->path);
}

void bp_dead_ring_close(bp_dead_ring *dead, const bp_allocator *allocator) {
    if (dead->file >= 0) {
        struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
        (void)fcntl(dead->file, F_OFD_SETLK,
                    &whole); /* a child that was forked may hold the file */
        dead->io->close(dead->io->context, dead->file);
    }
    bp_release(allocator, dead->bytes, dead->n_bytes, 1);
    bp_release_text(allocator, dead->path);
    *dead = (bp_dead_ring){.file = -1};
}
