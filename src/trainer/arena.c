/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring and handing out. */
#include "trainer/arena.h"

static size_t round_up(size_t bytes) {
    return (bytes + BP_ARENA_ALIGNMENT - 1) & ~(BP_ARENA_ALIGNMENT - 1);
}

void *bp_arena_take(bp_arena *arena, int64_t rows, int64_t columns, size_t size) {
    if (!arena->memory) {
        /* Exact below the limit, and above it nothing is handed out. */
        const double bytes = (double)rows * (double)columns * (double)size;
        arena->wanted += bytes + (double)BP_ARENA_ALIGNMENT;
        return NULL;
    }
    void *taken = arena->memory + arena->used;
    arena->used += round_up((size_t)rows * (size_t)columns * size);
    return taken;
}

bp_status bp_arena_fill(bp_arena *arena, const char *what, const bp_allocator *allocator,
                        bp_error *error) {
    if (!(arena->wanted <= (double)BP_ARENA_MAX_BYTES)) {
        char found[32];
        bp_number_text(found, sizeof found, arena->wanted / 0x1p30, 3);
        return bp_fail(error, BP_ERROR_LIMIT, "%s needs %s GiB of memory; the limit is %d GiB",
                       what, found, (int)(BP_ARENA_MAX_BYTES >> 30));
    }
    arena->block_bytes = (size_t)arena->wanted + BP_ARENA_ALIGNMENT;
    arena->block = bp_allocate(allocator, arena->block_bytes, 1);
    if (!arena->block)
        return bp_fail(error, BP_ERROR_MEMORY, "%s needs %zu bytes of memory and there is none",
                       what, arena->block_bytes);
    arena->memory = (uint8_t *)round_up((size_t)arena->block);
    return BP_OK;
}

void bp_arena_release(bp_arena *arena, const bp_allocator *allocator) {
    bp_release(allocator, arena->block, arena->block_bytes, 1);
    *arena = (bp_arena){0};
}
