/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAT_BYTES = 1024, START_FIELD = 22, STATE_FIELD = 3 };

/* A small file of /proc, NUL-terminated; false when it cannot be read. */
static bool read_small(const bp_io *io, const char *path, char *text, size_t capacity) {
    const int file = io->open(io->context, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return false;
    size_t length = 0;
    ssize_t n = 1;
    while (n > 0 && length + 1 < capacity) {
        n = io->read(io->context, file, text + length, capacity - 1 - length);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            length += (size_t)n;
    }
    io->close(io->context, file);
    text[length] = '\0';
    return n >= 0 && length > 0;
}

static bool read_boot_id(const bp_io *io, char boot_id[BP_BOOT_ID_BYTES]) {
    if (!read_small(io, "/proc/sys/kernel/random/boot_id", boot_id, BP_BOOT_ID_BYTES)) return false;
    boot_id[strcspn(boot_id, "\n")] = '\0';
    return true;
}

/* Field `field` of /proc/PID/stat. The second one, the command in parentheses, may hold anything.
 */
static const char *field_of(const char *text, int field) {
    const char *at = strrchr(text, ')');
    for (int i = 2; at && i < field; i++) {
        at = strchr(at, ' ');
        if (at) at++;
    }
    return at;
}

static bool read_process(const bp_io *io, uint32_t pid, char *state, uint64_t *start) {
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%u/stat", (unsigned)pid);
    if (!read_small(io, path, text, sizeof text)) return false;
    const char *state_text = field_of(text, STATE_FIELD), *start_text = field_of(text, START_FIELD);
    if (!state_text || !start_text) return false;
    *state = *state_text;
    *start = strtoull(start_text, NULL, 10);
    return true;
}

bool bp_owner_self(bp_owner *owner, const bp_io *io) {
    char state;
    *owner = (bp_owner){.uid = (uint32_t)geteuid(), .pid = (uint32_t)getpid()};
    return read_boot_id(io, owner->boot_id) && read_process(io, owner->pid, &state, &owner->start);
}

bp_owner_state bp_owner_look(const bp_owner *owner, const bp_io *io) {
    char boot_id[BP_BOOT_ID_BYTES], state;
    uint64_t start;
    if (read_boot_id(io, boot_id) && strncmp(boot_id, owner->boot_id, BP_BOOT_ID_BYTES) != 0)
        return BP_OWNER_GONE;
    if (!read_process(io, owner->pid, &state, &start)) return BP_OWNER_UNKNOWN;
    const bool is_ending = state == 'Z' || state == 'X';
    return start == owner->start && !is_ending ? BP_OWNER_RUNS : BP_OWNER_UNKNOWN;
}
