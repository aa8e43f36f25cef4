/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/fork_guard.h"

#include <sys/mman.h>
#include <unistd.h>

void bp_fork_guard_open(bp_fork_guard *guard) {
    const long page_bytes = sysconf(_SC_PAGESIZE);
    *guard = (bp_fork_guard){.pid = getpid()};
    if (page_bytes <= 0) return;
    const size_t n_bytes = (size_t)page_bytes;
    unsigned char *page =
        mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (madvise(page, n_bytes, MADV_WIPEONFORK) != 0) { /* Linux before 4.14 */
        munmap(page, n_bytes);
        return;
    }
    *page = 1;
    guard->page = page;
    guard->page_bytes = n_bytes;
}

void bp_fork_guard_close(bp_fork_guard *guard) {
    if (guard->page) munmap((void *)(size_t)guard->page, guard->page_bytes);
    guard->page = NULL;
}

bool bp_fork_guard_slow(const bp_fork_guard *guard) {
    return getpid() != guard->pid;
}
