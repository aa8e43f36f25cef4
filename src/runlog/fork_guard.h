/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a forked child from the process that opened something: a page that the kernel empties in
 * the child, so that asking costs no system call. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_FORK_GUARD_H
#define BP_RUNLOG_FORK_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct bp_fork_guard {
    const volatile unsigned char *page; /* 1 in this process, 0 in a child; NULL: no such page */
    size_t page_bytes;
    pid_t pid; /* asked where there is no page */
} bp_fork_guard;

void bp_fork_guard_open(bp_fork_guard *guard);
void bp_fork_guard_close(bp_fork_guard *guard);
bool bp_fork_guard_slow(const bp_fork_guard *guard);

/* True in a child. */
static inline bool bp_fork_guard_is_child(const bp_fork_guard *guard) {
    return guard->page ? *guard->page == 0 : bp_fork_guard_slow(guard);
}

#endif
