/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of one size behind one another, in a file or in memory; each is checksummed with its place,
 * so that one that was changed, moved or lost is seen. For the pyramid only. */
#ifndef BP_RUNLOG_STORE_H
#define BP_RUNLOG_STORE_H

#include "base/base.h"

#define BP_STORE_HEADER_BYTES 64
#define BP_SLOT_HEAD_BYTES 40

/* A slot: crc32c of all that follows and of its place and the store's header, then this, then what
 * it holds. Little endian. */
typedef struct bp_slot_head {
    uint16_t kind;
    uint32_t count;
    uint64_t bin;
    uint32_t segment; /* of the log, behind what the slot tells of */
    uint64_t place, sequence;
} bp_slot_head;

typedef struct bp_store {
    const bp_io *io;
    const bp_allocator *allocator;
    char *path; /* borrowed; NULL: in memory */
    int file;   /* -1: none yet, or in memory */
    uint8_t header[BP_STORE_HEADER_BYTES];
    uint32_t salt; /* of the header */
    size_t slot_bytes;
    uint64_t n_slots, n_written; /* all; those in the file */
    uint8_t *bytes;              /* what is not in the file */
    size_t length, capacity;
} bp_store;

/* What a store was opened as. */
typedef enum bp_store_found {
    BP_STORE_EMPTY, /* there is no file yet: it is made when the first slot is written */
    BP_STORE_GOOD,
    BP_STORE_BAD,  /* a file that is damaged, or another's */
    BP_STORE_TAKEN /* another process writes to it, or it cannot be opened to be written */
} bp_store_found;

/* header: BP_STORE_HEADER_BYTES - 4 bytes, copied; tells this store from all others. slot_bytes:
 * with the head. */
void bp_store_init(bp_store *store, const bp_io *io, const bp_allocator *allocator, char *path,
                   const uint8_t *header, size_t slot_bytes);
bp_store_found bp_store_open(bp_store *store);
void bp_store_close(bp_store *store);

/* A slot that the caller fills behind its head, and then appends. NULL: no memory. */
uint8_t *bp_store_next(bp_store *store);
/* False when it cannot be written. */
BP_MUST_USE bool bp_store_append(bp_store *store, const bp_slot_head *head);
BP_MUST_USE bool bp_store_flush(bp_store *store);

/* Slots first ... first + n - 1 into bytes; false when one is damaged. */
BP_MUST_USE bool bp_store_read(const bp_store *store, uint64_t first, uint64_t n, uint8_t *bytes);
bp_slot_head bp_slot_head_of(const uint8_t *slot);
/* The first slot whose bin is at least `bin`, or n_slots. slot: room for one. */
BP_MUST_USE bool bp_store_find(const bp_store *store, uint64_t bin, uint8_t *slot, uint64_t *index);

#endif
