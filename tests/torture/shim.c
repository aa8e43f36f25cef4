/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD: a system that fails on demand. A call counts when it names a path that holds one of
 * TORTURE_PATHS (separated by colons; "own" stands for this process's ring in shared memory) or a
 * file that was opened by such a path. The call number
 * TORTURE_AT (from 1; with TORTURE_FOREVER=1 all later ones, too) meets TORTURE_FAULT:
 *
 *   a number    fails with this errno (close closes all the same, as Linux does)
 *   short       write moves half of its bytes; other calls are left alone
 *   freeze      blocks for TORTURE_FREEZE_MS
 *   kill        the process ends by SIGKILL; write has put down half of its bytes
 *
 * TORTURE_CALLS, if set: only these calls count ("write,fsync"). TORTURE_REPORT: a file that gets
 * the name of each call that met the fault, a line each. */
#undef _FILE_OFFSET_BITS /* it renames open to open64: here both are defined */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES 4096

static atomic_bool is_watched[MAX_FILES];
static atomic_long n_calls;

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static bool is_listed(const char *name, const char *list) {
    const size_t length = strlen(name);
    for (const char *at = strstr(list, name); at; at = strstr(at + 1, name))
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == 0)) return true;
    return false;
}

static bool path_counts(const char *path) {
    char paths[4096], own[64], *rest = NULL;
    snprintf(own, sizeof own, "/backprobe-%u-%d-", (unsigned)geteuid(), (int)getpid());
    strncpy(paths, setting("TORTURE_PATHS"), sizeof paths - 1);
    paths[sizeof paths - 1] = 0;
    for (char *one = strtok_r(paths, ":", &rest); one; one = strtok_r(NULL, ":", &rest))
        if (path && strstr(path, strcmp(one, "own") == 0 ? own : one)) return true;
    return false;
}

static bool file_counts(int file) {
    return file >= 0 && file < MAX_FILES && atomic_load(&is_watched[file]);
}

static int note_file(int file, bool counts) {
    if (file >= 0 && file < MAX_FILES) atomic_store(&is_watched[file], counts);
    return file;
}

static void report(const char *name) {
    const char *path = setting("TORTURE_REPORT");
    const int file = *path ? (int)syscall(SYS_openat, AT_FDCWD, path,
                                          O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
                           : -1;
    if (file < 0) return;
    syscall(SYS_write, file, name, strlen(name));
    syscall(SYS_write, file, "\n", (size_t)1);
    syscall(SYS_close, file);
}

/* --- what a call meets ---------------------------------------------------------------------- */

typedef enum fault { NONE, FAILS, SHORT, KILL } fault;

static void freeze(void) {
    const long ms = atol(setting("TORTURE_FREEZE_MS"));
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* FAILS: errno is set. */
static fault meet(const char *name) {
    const char *only = setting("TORTURE_CALLS");
    if (*only && !is_listed(name, only)) return NONE;
    const long at = atol(setting("TORTURE_AT")), call = atomic_fetch_add(&n_calls, 1) + 1;
    if (at < 1 || call < at || (call > at && *setting("TORTURE_FOREVER") != '1')) return NONE;
    const char *kind = setting("TORTURE_FAULT");
    const bool moves = strcmp(name, "write") == 0 || strcmp(name, "pwrite") == 0;
    report(name);
    if (strcmp(kind, "short") == 0) return moves ? SHORT : NONE;
    if (strcmp(kind, "kill") == 0) {
        if (!moves) kill(getpid(), SIGKILL);
        return KILL;
    }
    if (strcmp(kind, "freeze") == 0) {
        freeze();
        return NONE;
    }
    errno = atoi(kind);
    return FAILS;
}

static fault meet_path(const char *name, const char *path) {
    return path_counts(path) ? meet(name) : NONE;
}

static fault meet_file(const char *name, int file) {
    return file_counts(file) ? meet(name) : NONE;
}

static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

#define REAL(name, type, ...)                             \
    static type (*real_##name)(__VA_ARGS__);              \
    if (!real_##name) {                                   \
        void *found = next(#name);                        \
        memcpy(&real_##name, &found, sizeof real_##name); \
    }

/* --- the calls ------------------------------------------------------------------------------ */

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(NAME)                                                    \
    int NAME(const char *path, int flags, ...);                              \
    int NAME(const char *path, int flags, ...) {                             \
        REAL(NAME, int, const char *, int, ...)                              \
        va_list arguments;                                                   \
        va_start(arguments, flags);                                          \
        const mode_t mode = mode_of(flags, arguments);                       \
        va_end(arguments);                                                   \
        if (meet_path("open", path) == FAILS) return -1;                     \
        return note_file(real_##NAME(path, flags, mode), path_counts(path)); \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(NAME)                                               \
    int NAME(int folder, const char *path, int flags, ...);               \
    int NAME(int folder, const char *path, int flags, ...) {              \
        REAL(NAME, int, int, const char *, int, ...)                      \
        va_list arguments;                                                \
        va_start(arguments, flags);                                       \
        const mode_t mode = mode_of(flags, arguments);                    \
        va_end(arguments);                                                \
        const bool counts = path_counts(path) || file_counts(folder);     \
        if (counts && meet("open") == FAILS) return -1;                   \
        return note_file(real_##NAME(folder, path, flags, mode), counts); \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

ssize_t write(int file, const void *bytes, size_t n_bytes) {
    REAL(write, ssize_t, int, const void *, size_t)
    const fault met = meet_file("write", file);
    if (met == FAILS) return -1;
    const size_t n = met == NONE ? n_bytes : (n_bytes + 1) / 2;
    const ssize_t n_written = real_write(file, bytes, n);
    if (met == KILL) kill(getpid(), SIGKILL);
    return n_written;
}

#define DEFINE_PWRITE(NAME)                                               \
    ssize_t NAME(int file, const void *bytes, size_t n_bytes, off_t at) { \
        REAL(NAME, ssize_t, int, const void *, size_t, off_t)             \
        const fault met = meet_file("pwrite", file);                      \
        if (met == FAILS) return -1;                                      \
        const size_t n = met == NONE ? n_bytes : (n_bytes + 1) / 2;       \
        const ssize_t n_written = real_##NAME(file, bytes, n, at);        \
        if (met == KILL) kill(getpid(), SIGKILL);                         \
        return n_written;                                                 \
    }
DEFINE_PWRITE(pwrite)
DEFINE_PWRITE(pwrite64)

ssize_t read(int file, void *bytes, size_t n_bytes) {
    REAL(read, ssize_t, int, void *, size_t)
    return meet_file("read", file) == FAILS ? -1 : real_read(file, bytes, n_bytes);
}

int fsync(int file) {
    REAL(fsync, int, int)
    return meet_file("fsync", file) == FAILS ? -1 : real_fsync(file);
}

int fdatasync(int file) {
    REAL(fdatasync, int, int)
    return meet_file("fdatasync", file) == FAILS ? -1 : real_fdatasync(file);
}

int close(int file) {
    REAL(close, int, int)
    const fault met = meet_file("close", file);
    const int reason = errno;
    note_file(file, false);
    const int result = real_close(file);
    if (met != FAILS) return result;
    errno = reason;
    return -1;
}

int rename(const char *from, const char *to) {
    REAL(rename, int, const char *, const char *)
    return meet_path("rename", to) == FAILS ? -1 : real_rename(from, to);
}

int unlink(const char *path) {
    REAL(unlink, int, const char *)
    return meet_path("unlink", path) == FAILS ? -1 : real_unlink(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir, int, const char *, mode_t)
    return meet_path("mkdir", path) == FAILS ? -1 : real_mkdir(path, mode);
}

DIR *opendir(const char *path) {
    REAL(opendir, DIR *, const char *)
    return meet_path("opendir", path) == FAILS ? NULL : real_opendir(path);
}

#define DEFINE_FTRUNCATE(NAME)                                                         \
    int NAME(int file, off_t length) {                                                 \
        REAL(NAME, int, int, off_t)                                                    \
        return meet_file("ftruncate", file) == FAILS ? -1 : real_##NAME(file, length); \
    }
DEFINE_FTRUNCATE(ftruncate)
DEFINE_FTRUNCATE(ftruncate64)

/* Gives the error instead of setting errno. */
#define DEFINE_FALLOCATE(NAME)                                                                  \
    int NAME(int file, off_t at, off_t n_bytes) {                                               \
        REAL(NAME, int, int, off_t, off_t)                                                      \
        const int kept = errno;                                                                 \
        if (meet_file("posix_fallocate", file) != FAILS) return real_##NAME(file, at, n_bytes); \
        const int reason = errno;                                                               \
        errno = kept;                                                                           \
        return reason;                                                                          \
    }
DEFINE_FALLOCATE(posix_fallocate)
DEFINE_FALLOCATE(posix_fallocate64)

#define DEFINE_MMAP(NAME)                                                                   \
    void *NAME(void *at, size_t n_bytes, int protection, int flags, int file, off_t from) { \
        REAL(NAME, void *, void *, size_t, int, int, int, off_t)                            \
        if (meet_file("mmap", file) == FAILS) return MAP_FAILED;                            \
        return real_##NAME(at, n_bytes, protection, flags, file, from);                     \
    }
DEFINE_MMAP(mmap)
DEFINE_MMAP(mmap64)
