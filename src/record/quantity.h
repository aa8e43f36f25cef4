/* SPDX-License-Identifier: Apache-2.0 */
/* The table that BP_QUANTITIES makes; for the files of this room only. */
#ifndef BP_RECORD_QUANTITY_H
#define BP_RECORD_QUANTITY_H

#include "record/record.h"

typedef enum bp_quantity_rows { BP_ROWS_NETWORK, BP_ROWS_LAYER } bp_quantity_rows;

typedef struct bp_quantity_entry {
    const char *name;
    uint32_t number; /* pinned; ascending from entry to entry */
    bp_quantity_codec codec;
    bp_quantity_rows rows;
    const char *meaning;
} bp_quantity_entry;

extern const bp_quantity_entry bp_quantity_table[BP_N_QUANTITIES];

/* Of a column, n_rows rows are not measured from now on. */
void bp_record_forget(bp_record *record, bp_quantity quantity, uint32_t first, uint32_t n_rows);

/* Which rows of a column were measured; pinned. */
enum { BP_PRESENT_NETWORK = 0, BP_PRESENT_ALL = 1, BP_PRESENT_LAYERS = 2, BP_PRESENT_MAPPED = 3 };

#endif
