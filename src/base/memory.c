/* SPDX-License-Identifier: Apache-2.0 */
/* Memory through one caller-replaceable function. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static void *resize_by_malloc(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    (void)context;
    (void)old_bytes;
    if (new_bytes == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_bytes);
}

const bp_allocator bp_allocator_system = {resize_by_malloc, NULL};

const bp_allocator *bp_allocator_or_system(const bp_allocator *allocator) {
    return allocator && allocator->resize ? allocator : &bp_allocator_system;
}

/* Never 0, which would free: an empty array is a block too. */
static size_t block_bytes(size_t count, size_t size) {
    return count && size ? count * size : 1;
}

void *bp_allocate(const bp_allocator *allocator, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    allocator = bp_allocator_or_system(allocator);
    size_t n_bytes = block_bytes(count, size);
    void *block = allocator->resize(allocator->context, NULL, 0, n_bytes);
    if (block) memset(block, 0, n_bytes);
    return block;
}

void bp_release(const bp_allocator *allocator, void *block, size_t count, size_t size) {
    if (!block) return;
    allocator = bp_allocator_or_system(allocator);
    allocator->resize(allocator->context, block, block_bytes(count, size), 0);
}

char *bp_copy_text(const bp_allocator *allocator, const char *text) {
    size_t n_bytes = strlen(text) + 1;
    char *copy = bp_allocate(allocator, n_bytes, 1);
    if (copy) memcpy(copy, text, n_bytes);
    return copy;
}

void bp_release_text(const bp_allocator *allocator, char *text) {
    if (text) bp_release(allocator, text, strlen(text) + 1, 1);
}
