/* SPDX-License-Identifier: Apache-2.0 */
/* A ring under a script of bytes: items are put and taken, bits are flipped, head and tail are set
 * to anything. What is taken is an item that was put, with its own bytes. */
#include "runlog/ring.h"
#include "property.h"

#include <string.h>

enum { CAPACITY = 4096, MOST_ITEM = 1500 };

typedef struct script {
    const uint8_t *bytes;
    size_t n_bytes, at;
} script;

static uint64_t next(script *from, size_t n_bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < n_bytes; i++)
        value = value << 8 | (from->at < from->n_bytes ? from->bytes[from->at++] : 0);
    return value;
}

static uint8_t byte_of(uint64_t sequence, size_t i) {
    return (uint8_t)(sequence * 37 + i * 11 + 5);
}

static void put(bp_ring_producer *producer, uint64_t sequence, uint32_t n_bytes) {
    uint8_t payload[MOST_ITEM];
    for (size_t i = 0; i < n_bytes; i++) payload[i] = byte_of(sequence, i);
    const bp_ring_item item = {.type = 2,
                               .n_bytes = n_bytes,
                               .sequence = sequence,
                               .step = (int64_t)(sequence / 2),
                               .payload = payload};
    bp_ring_put(producer, &item);
}

static void check(const bp_ring_item *item, uint64_t n_put) {
    PROPERTY(item->type == 2 && item->sequence < n_put && item->n_bytes <= MOST_ITEM);
    PROPERTY(item->step == (int64_t)(item->sequence / 2));
    for (size_t i = 0; i < item->n_bytes; i++)
        PROPERTY(((const uint8_t *)item->payload)[i] == byte_of(item->sequence, i));
}

/* All that a reader of the dead ring would take. */
static void take_all(bp_ring_header *header, uint64_t n_put) {
    bp_ring_item item;
    if (!bp_ring_is_good(header, bp_ring_file_bytes(CAPACITY))) return;
    const uint64_t head = atomic_load(&header->head);
    uint64_t position = atomic_load(&header->tail);
    while (bp_ring_next(bp_ring_items(header), CAPACITY, &position, head, &item) == BP_RING_ITEM)
        check(&item, n_put);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    static uint64_t memory[(BP_RING_HEADER_BYTES + CAPACITY) / 8];
    static const bp_ring_about about = {.capacity = CAPACITY, .folder = "/run"};
    bp_ring_header *header = (bp_ring_header *)memory;
    bp_ring_producer producer;
    bp_ring_item item;
    script from = {bytes, n_bytes, 0};
    uint64_t n_put = 0, position = 0;
    bool whole = true; /* nothing was damaged yet: then every item comes, in order */
    uint64_t n_taken = 0;
    memset(memory, 0, sizeof memory);
    bp_ring_begin(header, &about);
    bp_ring_producer_init(&producer, header);
    while (from.at < n_bytes) {
        const unsigned what = (unsigned)next(&from, 1) % 8;
        if (what < 4 && whole) {
            const uint32_t length = (uint32_t)next(&from, 2) % (MOST_ITEM + 1);
            if (bp_ring_has_room(&producer, bp_ring_item_bytes(length), CAPACITY))
                put(&producer, n_put++, length);
        } else if (what < 6 && whole) {
            const bp_ring_verdict verdict = bp_ring_next(bp_ring_items(header), CAPACITY, &position,
                                                         atomic_load(&header->head), &item);
            PROPERTY(verdict == (n_taken < n_put ? BP_RING_ITEM : BP_RING_EMPTY));
            if (verdict == BP_RING_EMPTY) continue;
            PROPERTY(item.sequence == n_taken++);
            check(&item, n_put);
            atomic_store(&header->tail, position);
        } else if (what == 6) {
            whole = false;
            bp_ring_items(header)[next(&from, 2) % CAPACITY] ^= (uint8_t)(1u << next(&from, 1) % 8);
        } else if (what == 7) {
            whole = false;
            atomic_store(next(&from, 1) % 2 ? &header->head : &header->tail, next(&from, 8));
        }
        take_all(header, n_put);
    }
    return 0;
}
