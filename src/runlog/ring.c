/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/ring.h"

#include <stddef.h>
#include <string.h>

/* An item is a head of ITEM_HEAD bytes and its payload, both in multiples of 8. One that would not
 * fit before the end stands at the begin again; PAD in the first 8 bytes says so. */
#define ITEM_HEAD ((uint64_t)32)
#define ITEM_MARK 0x6270u
#define PAD 0u

typedef struct item_head {
    uint32_t n_bytes;
    uint16_t type, mark;
    uint64_t sequence;
    int64_t step;
    uint64_t fold; /* of the three above and the payload */
} item_head;

_Static_assert(sizeof(item_head) == ITEM_HEAD, "the head of an item has no gaps");
_Static_assert(offsetof(bp_ring_header, head) == 64, "the producer has a cache line");
_Static_assert(offsetof(bp_ring_header, tail) == 128, "the consumer has one of its own");
_Static_assert(sizeof(bp_ring_header) <= BP_RING_HEADER_BYTES, "the items begin on a page");

uint64_t bp_ring_capacity(uint64_t wished_bytes) {
    uint64_t capacity = BP_RING_LEAST_BYTES;
    while (capacity < wished_bytes && capacity < BP_RING_MOST_BYTES) capacity *= 2;
    return capacity;
}

size_t bp_ring_file_bytes(uint64_t capacity) {
    return BP_RING_HEADER_BYTES + (size_t)capacity;
}

uint8_t *bp_ring_items(bp_ring_header *header) {
    return (uint8_t *)header + BP_RING_HEADER_BYTES;
}

static uint32_t crc_of(const bp_ring_about *about) {
    return bp_crc32c(0, about, sizeof *about);
}

void bp_ring_begin(bp_ring_header *header, const bp_ring_about *about) {
    header->version = BP_RING_VERSION;
    memcpy(&header->about, about, sizeof *about);
    header->crc = crc_of(&header->about);
    atomic_thread_fence(memory_order_release);
    memcpy(header->magic, BP_RING_MAGIC, sizeof header->magic);
}

bool bp_ring_is_good(const bp_ring_header *header, uint64_t file_bytes) {
    if (file_bytes < BP_RING_HEADER_BYTES + BP_RING_LEAST_BYTES) return false;
    if (memcmp(header->magic, BP_RING_MAGIC, sizeof header->magic) != 0) return false;
    if (header->version != BP_RING_VERSION || header->crc != crc_of(&header->about)) return false;
    const bp_ring_about *about = &header->about;
    const uint64_t capacity = about->capacity;
    if (capacity != bp_ring_capacity(capacity) || bp_ring_file_bytes(capacity) != file_bytes)
        return false;
    if (!memchr(about->folder, '\0', sizeof about->folder)) return false;
    if (!memchr(about->owner.boot_id, '\0', sizeof about->owner.boot_id)) return false;
    const uint64_t head = atomic_load(&header->head), tail = atomic_load(&header->tail);
    return head % 8 == 0 && tail % 8 == 0 && tail <= head && head - tail <= capacity;
}

/* Each step is invertible, so a changed bit changes the result; four lanes, because one would wait
 * for its own product. */
static uint64_t fold(const item_head *head, const uint8_t *payload) {
    static const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t lane[4] = {head->sequence, (uint64_t)head->step, head->n_bytes,
                        (uint64_t)head->type << 16 | head->mark};
    size_t at = 0;
    for (; at + 32 <= head->n_bytes; at += 32) {
        uint64_t word[4];
        memcpy(word, payload + at, sizeof word);
        for (int i = 0; i < 4; i++) lane[i] = (lane[i] ^ word[i]) * odd;
    }
    uint64_t rest[4] = {0};
    if (at < head->n_bytes) memcpy(rest, payload + at, head->n_bytes - at);
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) {
        lane[i] = (lane[i] ^ rest[i]) * odd;
        sum = ((sum << 29 | sum >> 35) ^ lane[i]) * odd;
    }
    return sum;
}

static uint64_t padded(uint32_t n_bytes) {
    return ((uint64_t)n_bytes + 7) & ~(uint64_t)7;
}

uint64_t bp_ring_item_bytes(uint32_t n_bytes) {
    return ITEM_HEAD + padded(n_bytes);
}

/* --- the producer --------------------------------------------------------------------------- */

void bp_ring_producer_init(bp_ring_producer *producer, bp_ring_header *header) {
    *producer = (bp_ring_producer){
        .header = header, .items = bp_ring_items(header), .capacity = header->about.capacity};
}

static uint64_t to_the_end(const bp_ring_producer *producer) {
    return producer->capacity - (producer->head & (producer->capacity - 1));
}

bool bp_ring_has_room(bp_ring_producer *producer, uint64_t n_bytes, uint64_t limit) {
    const uint64_t rest = to_the_end(producer);
    const uint64_t needed = rest < n_bytes ? n_bytes + rest : n_bytes;
    if (producer->head - producer->tail + needed <= limit) return true;
    producer->tail = atomic_load_explicit(&producer->header->tail, memory_order_acquire);
    return producer->head - producer->tail + needed <= limit;
}

void bp_ring_put(bp_ring_producer *producer, const bp_ring_item *item) {
    const uint64_t n_bytes = bp_ring_item_bytes(item->n_bytes), rest = to_the_end(producer);
    uint64_t head = producer->head;
    if (rest < n_bytes) {
        memset(producer->items + (head & (producer->capacity - 1)), PAD, 8);
        head += rest;
    }
    item_head made = {.n_bytes = item->n_bytes,
                      .type = item->type,
                      .mark = ITEM_MARK,
                      .sequence = item->sequence,
                      .step = item->step};
    made.fold = fold(&made, item->payload);
    uint8_t *at = producer->items + (head & (producer->capacity - 1));
    memcpy(at, &made, sizeof made);
    memcpy(at + ITEM_HEAD, item->payload, item->n_bytes);
    producer->head = head + n_bytes;
    atomic_store_explicit(&producer->header->head, producer->head, memory_order_release);
}

void bp_ring_spend(bp_ring_producer *producer, uint64_t next_sequence) {
    atomic_store_explicit(&producer->header->next_sequence, next_sequence, memory_order_release);
}

/* --- the consumer --------------------------------------------------------------------------- */

static bp_ring_verdict skip_pad(const uint8_t *items, uint64_t capacity, uint64_t *position,
                                uint64_t head) {
    const uint64_t at = *position & (capacity - 1);
    uint64_t word;
    memcpy(&word, items + at, sizeof word);
    if (word != PAD) return BP_RING_ITEM;
    const uint64_t rest = capacity - at;
    if (at == 0 || rest >= head - *position) return BP_RING_BAD;
    *position += rest;
    return BP_RING_ITEM;
}

bp_ring_verdict bp_ring_next(const uint8_t *items, uint64_t capacity, uint64_t *position,
                             uint64_t head, bp_ring_item *item) {
    if (*position == head) return BP_RING_EMPTY;
    if (skip_pad(items, capacity, position, head) == BP_RING_BAD) return BP_RING_BAD;
    const uint64_t at = *position & (capacity - 1), left = head - *position, rest = capacity - at;
    const uint64_t most = left < rest ? left : rest;
    item_head found;
    if (most < ITEM_HEAD) return BP_RING_BAD;
    memcpy(&found, items + at, sizeof found);
    if (found.mark != ITEM_MARK || bp_ring_item_bytes(found.n_bytes) > most) return BP_RING_BAD;
    const uint8_t *payload = items + at + ITEM_HEAD;
    if (fold(&found, payload) != found.fold) return BP_RING_BAD;
    *position += bp_ring_item_bytes(found.n_bytes);
    *item = (bp_ring_item){.type = found.type,
                           .n_bytes = found.n_bytes,
                           .sequence = found.sequence,
                           .step = found.step,
                           .payload = payload};
    return BP_RING_ITEM;
}
