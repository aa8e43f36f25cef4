/* SPDX-License-Identifier: Apache-2.0 */
/* What a reader has met besides good records: damaged places, and records that are missing by their
 * numbers. Knows no file. For the files of this room only. */
#ifndef BP_RUNLOG_ACCOUNT_H
#define BP_RUNLOG_ACCOUNT_H

#include "record/event.h"
#include "runlog/frame.h"

typedef struct bp_account {
    bp_runlog_damage damage;
    uint64_t expected;   /* the next sequence number */
    uint64_t seen;       /* one above the highest number that a header told of */
    uint64_t begun;      /* `expected` when the segment began */
    uint64_t damage_end; /* in the segment; damage that goes on there is the same place */
    bool may_be_spent;   /* a record of an unknown type has the number `expected`: as its own, or as
                            that of the next one */
    uint64_t thinned_first, thinned_last, thinned_left; /* that may be missing on purpose */
    uint64_t lost_behind, thinned_behind; /* of `damage`: behind the last good record */
} bp_account;

void bp_account_begin_segment(bp_account *account);
/* file: for the message of the first damage. */
void bp_account_damage(bp_account *account, const char *file, uint64_t place, uint64_t n_bytes,
                       const char *found);

/* A good record with n numbers from `sequence` on. Returns how many of them were given before;
 * n: all. */
uint64_t bp_account_take(bp_account *account, uint64_t sequence, uint64_t n);
/* A good record that tells which number comes next, and spends none. */
void bp_account_next_is(bp_account *account, uint64_t sequence);
/* A good record of a type that may spend its number or not. */
void bp_account_take_unknown(bp_account *account, uint64_t sequence);
/* A record with this number was there, but its payload is damaged. */
void bp_account_saw(bp_account *account, uint64_t sequence);
void bp_account_thinned(bp_account *account, const bp_event_thinned *thinned);

/* No record comes behind: those that are missing there are lost. */
void bp_account_end(bp_account *account);
/* More may come after all. */
void bp_account_go_on(bp_account *account);

#endif
