/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a forked child from the process that opened something: a page that the kernel empties in
 * the child, so that asking costs no system call. What is needed at each call lies in that page,
 * too. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_FORK_GUARD_H
#define BP_RUNLOG_FORK_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct bp_fork_guard {
    volatile bool is_parent; /* in a child the page is all zeros */
    pid_t pid;               /* not 0 where the kernel empties no page: this one is asked for */
} bp_fork_guard;

/* A zeroed page that begins with a guard; NULL: no memory. n_bytes: at most a page. */
bp_fork_guard *bp_fork_guard_open(size_t n_bytes);
void bp_fork_guard_close(bp_fork_guard *guard);
bool bp_fork_guard_is_other(pid_t pid);

/* True in a child. */
static inline bool bp_fork_guard_is_child(const bp_fork_guard *guard) {
    if (!guard->is_parent) return true;
    return guard->pid != 0 && bp_fork_guard_is_other(guard->pid);
}

#endif
