/* SPDX-License-Identifier: Apache-2.0 */
/* Memory before and behind which there is none: whoever looks too far crashes. */
#ifndef BP_TESTS_STATS_FENCED_H
#define BP_TESTS_STATS_FENCED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct fenced {
    uint8_t *pages, *from, *end; /* use what begins at `from`, or what ends at `end` */
    size_t n_bytes;
} fenced;

static inline fenced fence(size_t n_bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n_bytes + page - 1) / page * page;
    uint8_t *pages = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    if (room) assert_int_equal(mprotect(pages + page, room, PROT_READ | PROT_WRITE), 0);
    return (fenced){pages, pages + page, pages + page + room, room + 2 * page};
}

static inline void unfence(const fenced *memory) {
    assert_int_equal(munmap(memory->pages, memory->n_bytes), 0);
}

#endif
