/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/account.h"

#include <string.h>

void bp_account_begin_segment(bp_account *account) {
    account->damage_end = 0;
    account->begun = account->expected;
}

void bp_account_damage(bp_account *account, const char *file, uint64_t place, uint64_t n_bytes,
                       const char *found) {
    bp_runlog_damage *damage = &account->damage;
    const bool goes_on = account->damage_end == place && damage->damaged_places > 0 && place > 0;
    damage->lost_bytes += n_bytes;
    account->damage_end = place + n_bytes;
    if (goes_on) return;
    if (damage->damaged_places++ > 0) return;
    bp_fail(&damage->first, BP_ERROR_INPUT,
            "%s is damaged at byte %llu: expected a whole record, "
            "found %s",
            file, (unsigned long long)place, found);
    damage->first.offset = (int64_t)place;
}

/* Of the numbers from ... to - 1, which are missing: how many were dropped on purpose. */
static uint64_t thinned_among(bp_account *account, uint64_t from, uint64_t to) {
    if (account->thinned_left == 0) return 0;
    if (from < account->thinned_first) from = account->thinned_first;
    if (to > account->thinned_last + 1) to = account->thinned_last + 1;
    if (from >= to) return 0;
    return to - from < account->thinned_left ? to - from : account->thinned_left;
}

static void miss(bp_account *account, uint64_t from, uint64_t to) {
    const uint64_t thinned = thinned_among(account, from, to);
    account->thinned_left -= thinned;
    account->damage.thinned_records += thinned;
    account->damage.lost_records += to - from - thinned;
}

static void reach(bp_account *account, uint64_t sequence) {
    if (account->may_be_spent && sequence > account->expected) account->expected++;
    account->may_be_spent = false;
    miss(account, account->expected, sequence);
}

uint64_t bp_account_take(bp_account *account, uint64_t sequence, uint64_t n) {
    if (sequence + n <= account->expected) return n;
    const uint64_t known = sequence < account->expected ? account->expected - sequence : 0;
    if (known == 0) reach(account, sequence);
    account->may_be_spent = false;
    account->expected = sequence + n;
    return known;
}

void bp_account_next_is(bp_account *account, uint64_t sequence) {
    if (sequence > account->seen) account->seen = sequence;
}

void bp_account_take_unknown(bp_account *account, uint64_t sequence) {
    if (sequence < account->expected) return;
    reach(account, sequence);
    account->expected = sequence;
    account->may_be_spent = true;
}

void bp_account_saw(bp_account *account, uint64_t sequence) {
    bp_account_next_is(account, sequence + 1);
}

void bp_account_thinned(bp_account *account, const bp_event_thinned *thinned) {
    account->thinned_first = thinned->first_sequence;
    account->thinned_last = thinned->last_sequence;
    account->thinned_left = thinned->n_dropped;
}

void bp_account_end(bp_account *account) {
    if (account->seen <= account->expected) return;
    const uint64_t n_missing = account->seen - account->expected;
    account->thinned_behind = thinned_among(account, account->expected, account->seen);
    account->lost_behind = n_missing - account->thinned_behind;
    account->damage.lost_records += account->lost_behind;
    account->damage.thinned_records += account->thinned_behind;
}

void bp_account_go_on(bp_account *account) {
    account->damage.lost_records -= account->lost_behind;
    account->damage.thinned_records -= account->thinned_behind;
    account->lost_behind = account->thinned_behind = 0;
}
