/* SPDX-License-Identifier: Apache-2.0 */
/* Who writes a run: a process, told from a later one with the same number. For the files of this
 * room and its tests only. */
#ifndef BP_RUNLOG_OWNER_H
#define BP_RUNLOG_OWNER_H

#include "base/base.h"

#define BP_BOOT_ID_BYTES 40

typedef struct bp_owner {
    uint32_t uid, pid;
    uint64_t start;                 /* in clock ticks since the machine's start */
    char boot_id[BP_BOOT_ID_BYTES]; /* of the machine's start; NUL-terminated */
} bp_owner;

/* The calling process; false where /proc does not tell. */
bool bp_owner_self(bp_owner *owner, const bp_io *io);

typedef enum bp_owner_state {
    BP_OWNER_RUNS,
    BP_OWNER_UNKNOWN, /* not seen from here: it ended, is a zombie, or lives in another pid
                         namespace */
    BP_OWNER_GONE     /* the machine was started anew since */
} bp_owner_state;
bp_owner_state bp_owner_look(const bp_owner *owner, const bp_io *io);

#endif
