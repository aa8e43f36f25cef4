/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define WRITE_BYTES ((size_t)1 << 20)
#define FIRST_BYTES ((size_t)4 << 10)
enum { CRC_AT = BP_STORE_HEADER_BYTES - 4, CRC_BYTES = 4 };

void bp_store_init(bp_store *store, const bp_io *io, const bp_allocator *allocator, char *path,
                   const uint8_t *header, size_t slot_bytes) {
    *store = (bp_store){
        .io = io, .allocator = allocator, .path = path, .file = -1, .slot_bytes = slot_bytes};
    memcpy(store->header, header, CRC_AT);
    store->salt = bp_crc32c(0, header, CRC_AT);
    bp_put_u32(store->header + CRC_AT, store->salt);
}

/* --- files ---------------------------------------------------------------------------------- */

static bool read_all(const bp_store *store, uint8_t *bytes, size_t n_bytes, uint64_t place) {
    while (n_bytes > 0) {
        const ssize_t n =
            store->io->read_at(store->io->context, store->file, bytes, n_bytes, place);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        place += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
    return true;
}

/* A regular file of ours, with whole slots only. */
static bool check_file(bp_store *store) {
    struct stat found;
    uint8_t header[BP_STORE_HEADER_BYTES];
    if (fstat(store->file, &found) != 0 || !S_ISREG(found.st_mode)) return false;
    if (found.st_size < BP_STORE_HEADER_BYTES || !read_all(store, header, sizeof header, 0))
        return false;
    const uint64_t n_bytes = (uint64_t)found.st_size - BP_STORE_HEADER_BYTES;
    store->n_slots = store->n_written = n_bytes / store->slot_bytes;
    return n_bytes % store->slot_bytes == 0 && memcmp(header, store->header, sizeof header) == 0;
}

/* Never waits, never follows a link, and goes with the process. */
static bool lock(const bp_store *store) {
    return flock(store->file, LOCK_EX | LOCK_NB) == 0;
}

static int open_file(const bp_store *store, int flags) {
    return store->io->open(store->io->context, store->path,
                           flags | O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
}

bp_store_found bp_store_open(bp_store *store) {
    if (!store->path) return BP_STORE_EMPTY;
    store->file = open_file(store, 0);
    if (store->file < 0) return errno == ENOENT ? BP_STORE_EMPTY : BP_STORE_TAKEN;
    if (!lock(store)) return BP_STORE_TAKEN;
    return check_file(store) ? BP_STORE_GOOD : BP_STORE_BAD;
}

/* With O_EXCL: nothing that stands there is ever overwritten. */
static bool create(bp_store *store) {
    store->file = open_file(store, O_CREAT | O_EXCL);
    return store->file >= 0 && lock(store) &&
           bp_io_write_all(store->io, store->file, store->header, sizeof store->header);
}

void bp_store_close(bp_store *store) {
    if (store->file >= 0) store->io->close(store->io->context, store->file);
    bp_release(store->allocator, store->bytes, store->capacity, 1);
    store->file = -1;
    store->bytes = NULL;
    store->length = store->capacity = 0;
    store->n_slots = store->n_written = 0;
}

/* --- writing -------------------------------------------------------------------------------- */

static uint32_t crc_of(const bp_store *store, uint64_t index, const uint8_t *slot) {
    uint8_t place[8];
    bp_put_u64(place, index);
    const uint32_t crc = bp_crc32c(store->salt, place, sizeof place);
    return bp_crc32c(crc, slot + CRC_BYTES, store->slot_bytes - CRC_BYTES);
}

uint8_t *bp_store_next(bp_store *store) {
    if (store->length + store->slot_bytes > store->capacity) {
        size_t wanted = store->capacity ? 2 * store->capacity : FIRST_BYTES;
        while (wanted < store->length + store->slot_bytes) wanted *= 2;
        uint8_t *grown = store->allocator->resize(store->allocator->context, store->bytes,
                                                  store->capacity, wanted);
        if (!grown) return NULL;
        store->bytes = grown;
        store->capacity = wanted;
    }
    return store->bytes + store->length;
}

bool bp_store_append(bp_store *store, const bp_slot_head *head) {
    uint8_t *slot = store->bytes + store->length;
    bp_put_u16(slot + 4, head->kind);
    bp_put_u16(slot + 6, 0);
    bp_put_u32(slot + 8, head->segment);
    bp_put_u32(slot + 12, head->count);
    bp_put_u64(slot + 16, head->bin);
    bp_put_u64(slot + 24, head->place);
    bp_put_u64(slot + 32, head->sequence);
    bp_put_u32(slot, crc_of(store, store->n_slots, slot));
    store->length += store->slot_bytes;
    store->n_slots++;
    return !store->path || store->length < WRITE_BYTES || bp_store_flush(store);
}

bool bp_store_flush(bp_store *store) {
    if (!store->path || store->length == 0) return true;
    if (store->file < 0 && !create(store)) return false;
    if (!bp_io_write_all(store->io, store->file, store->bytes, store->length)) return false;
    store->n_written = store->n_slots;
    store->length = 0;
    return true;
}

/* --- reading -------------------------------------------------------------------------------- */

bp_slot_head bp_slot_head_of(const uint8_t *slot) {
    return (bp_slot_head){.kind = bp_get_u16(slot + 4),
                          .segment = bp_get_u32(slot + 8),
                          .count = bp_get_u32(slot + 12),
                          .bin = bp_get_u64(slot + 16),
                          .place = bp_get_u64(slot + 24),
                          .sequence = bp_get_u64(slot + 32)};
}

bool bp_store_read(const bp_store *store, uint64_t first, uint64_t n, uint8_t *bytes) {
    const size_t size = store->slot_bytes;
    const uint64_t in_file = first < store->n_written
                                 ? (store->n_written - first < n ? store->n_written - first : n)
                                 : 0;
    if (in_file > 0 &&
        !read_all(store, bytes, (size_t)in_file * size, BP_STORE_HEADER_BYTES + first * size))
        return false;
    if (in_file < n)
        memcpy(bytes + in_file * size,
               store->bytes + (size_t)(first + in_file - store->n_written) * size,
               (size_t)(n - in_file) * size);
    for (uint64_t i = 0; i < n; i++)
        if (bp_get_u32(bytes + i * size) != crc_of(store, first + i, bytes + i * size))
            return false;
    return true;
}

bool bp_store_find(const bp_store *store, uint64_t bin, uint8_t *slot, uint64_t *index) {
    uint64_t low = 0, high = store->n_slots;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (!bp_store_read(store, middle, 1, slot)) return false;
        if (bp_slot_head_of(slot).bin < bin)
            low = middle + 1;
        else
            high = middle;
    }
    *index = low;
    return true;
}
