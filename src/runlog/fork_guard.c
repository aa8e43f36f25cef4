/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/fork_guard.h"

#include <sys/mman.h>
#include <unistd.h>

static size_t page_bytes(void) {
    const long n_bytes = sysconf(_SC_PAGESIZE);
    return n_bytes > 0 ? (size_t)n_bytes : 4096;
}

bp_fork_guard *bp_fork_guard_open(size_t n_bytes) {
    if (n_bytes > page_bytes()) return NULL;
    void *page =
        mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return NULL;
    bp_fork_guard *guard = page;
    /* Linux before 4.14 cannot. */
    guard->pid = madvise(page, page_bytes(), MADV_WIPEONFORK) == 0 ? 0 : getpid();
    guard->is_parent = true;
    return guard;
}

void bp_fork_guard_close(bp_fork_guard *guard) {
    if (guard) munmap(guard, page_bytes());
}

bool bp_fork_guard_is_other(pid_t pid) {
    return getpid() != pid;
}
