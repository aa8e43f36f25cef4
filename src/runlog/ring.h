/* SPDX-License-Identifier: Apache-2.0 */
/* The ring: what the training thread hands to the thread that writes, in memory that survives the
 * process. One producer, one consumer; a store of `head` publishes an item, a store of `tail` frees
 * its room. A kill at any instruction leaves whole items below `head` and nothing else that counts.
 * Pure memory: no files, no locks. For the files of this room and its tests only. */
#ifndef BP_RUNLOG_RING_H
#define BP_RUNLOG_RING_H

#include "runlog/owner.h"

#define BP_RING_MAGIC \
    "\x89"            \
    "BPRING\n"
#define BP_RING_VERSION 1u
#define BP_RING_PATH_BYTES 4096
#define BP_RING_HEADER_BYTES 8192u /* two pages; the items follow */
#define BP_RING_LEAST_BYTES ((uint64_t)4096)
#define BP_RING_MOST_BYTES ((uint64_t)1 << 30)

/* What the file begins with. Producer and consumer write to cache lines of their own. */
typedef struct bp_ring_header {
    uint8_t magic[8]; /* last of all: a header without it is of a process that was killed early */
    uint32_t version;
    uint32_t crc; /* crc32c of `about` */
    uint8_t space[48];
    /* producer */
    atomic_uint_least64_t head;          /* bytes ever put */
    atomic_uint_least64_t next_sequence; /* one above the last number that was spent */
    atomic_uint_least64_t n_lost, first_lost, last_lost; /* steps dropped since the last item */
    atomic_int trouble; /* of the consumer, an errno; it changes so seldom that it may lie here */
    uint8_t space_of_producer[20];
    /* consumer */
    atomic_uint_least64_t tail; /* bytes ever taken */
    uint8_t space_of_consumer[56];
    struct bp_ring_about {
        bp_owner owner;
        uint64_t run;
        uint64_t capacity;                    /* bytes of items, a power of two */
        uint64_t folder_device, folder_inode; /* of the run folder, which may be moved */
        char folder[BP_RING_PATH_BYTES];      /* absolute; NUL-terminated */
    } about;
} bp_ring_header;
typedef struct bp_ring_about bp_ring_about;

/* The capacity for a wish in bytes: a power of two within the limits. */
uint64_t bp_ring_capacity(uint64_t wished_bytes);
/* Bytes of a file or mapping with so many bytes of items. */
size_t bp_ring_file_bytes(uint64_t capacity);
uint8_t *bp_ring_items(bp_ring_header *header);

/* Makes a header in zeroed memory; the magic comes last. */
void bp_ring_begin(bp_ring_header *header, const bp_ring_about *about);
/* A header that another process left, in a file of so many bytes; trusts nothing. */
bool bp_ring_is_good(const bp_ring_header *header, uint64_t file_bytes);

typedef struct bp_ring_item {
    uint16_t type; /* bp_runlog_type */
    uint32_t n_bytes;
    uint64_t sequence;
    int64_t step;
    const void *payload;
} bp_ring_item;
/* Room that an item takes. */
uint64_t bp_ring_item_bytes(uint32_t n_bytes);

/* The producing side's own knowledge; one thread at a time. */
typedef struct bp_ring_producer {
    bp_ring_header *header;
    uint8_t *items;
    uint64_t capacity, head;
    uint64_t tail; /* as last seen */
} bp_ring_producer;
void bp_ring_producer_init(bp_ring_producer *producer, bp_ring_header *header);
/* Whether n_bytes of items (at most two) fit, so that at most limit bytes are in use then. */
bool bp_ring_has_room(bp_ring_producer *producer, uint64_t n_bytes, uint64_t limit);
/* There must be room. A fold of the bytes goes with them: it costs some 20 ns and keeps a stray
 * write of the host from being taken for a value. */
void bp_ring_put(bp_ring_producer *producer, const bp_ring_item *item);
/* The number that comes next, also behind items that were dropped. */
void bp_ring_spend(bp_ring_producer *producer, uint64_t next_sequence);

typedef enum bp_ring_verdict {
    BP_RING_ITEM,
    BP_RING_EMPTY,
    BP_RING_BAD /* no item that a producer put: nothing behind it can be trusted */
} bp_ring_verdict;
/* The item at *position, which moves behind it. head: an end that a load (acquire) or a check gave.
 * The payload is borrowed until the tail moves. */
bp_ring_verdict bp_ring_next(const uint8_t *items, uint64_t capacity, uint64_t *position,
                             uint64_t head, bp_ring_item *item);

#endif
