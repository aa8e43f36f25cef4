/* SPDX-License-Identifier: Apache-2.0 */
/* A step record in memory, and the table of quantities. */
#include "record/record.h"
#include "model/model.h"
#include "record/quantity.h"

#include <math.h>
#include <string.h>

#define QUANTITY_ENTRY(id, name, number, codec, rows, meaning) \
    [BP_Q_##id] = {name, number, BP_CODEC_##codec, BP_ROWS_##rows, meaning},
const bp_quantity_entry bp_quantity_table[BP_N_QUANTITIES] = {BP_QUANTITIES(QUANTITY_ENTRY)};

const char *bp_quantity_name(bp_quantity quantity) {
    return (unsigned)quantity < BP_N_QUANTITIES ? bp_quantity_table[quantity].name : NULL;
}

static size_t n_cells(uint32_t n_layers) {
    return (size_t)BP_N_QUANTITIES * ((size_t)n_layers + 1);
}

bp_status bp_record_init(bp_record *record, uint32_t n_layers, const bp_allocator *allocator) {
    if (n_layers > BP_MODEL_MAX_LAYERS) return BP_ERROR_LIMIT;
    allocator = bp_allocator_or_system(allocator);
    bp_record made = {.n_layers = n_layers};
    made.measured = bp_allocate(allocator, n_cells(n_layers), sizeof *made.measured);
    made.value = bp_allocate(allocator, n_cells(n_layers), sizeof *made.value);
    if (!made.measured || !made.value) {
        bp_record_finish(&made, allocator);
        return BP_ERROR_MEMORY;
    }
    for (size_t i = 0; i < n_cells(n_layers); i++) made.value[i] = (double)NAN;
    *record = made;
    return BP_OK;
}

void bp_record_finish(bp_record *record, const bp_allocator *allocator) {
    allocator = bp_allocator_or_system(allocator);
    const size_t n = n_cells(record->n_layers);
    bp_release(allocator, record->measured, n, sizeof *record->measured);
    bp_release(allocator, record->value, n, sizeof *record->value);
    record->measured = NULL;
    record->value = NULL;
}

_Static_assert(BP_N_QUANTITIES <= 64, "bp_record.columns has a bit for each quantity");

void bp_record_forget(bp_record *record, bp_quantity quantity, uint32_t first, uint32_t n_rows) {
    const size_t cell = bp_record_cell(record, quantity, first);
    memset(record->measured + cell, 0, n_rows);
    for (size_t row = 0; row < n_rows; row++) record->value[cell + row] = (double)NAN;
}

/* Most columns are empty: only those that hold something are written, and of the network's only the
 * row that can. */
void bp_record_clear(bp_record *record) {
    record->step = 0;
    record->wall_time = 0.0;
    record->stream = record->micro_step = record->flags = 0;
    for (uint64_t left = record->columns; left; left &= left - 1) {
        const bp_quantity q = (bp_quantity)__builtin_ctzll(left);
        const bool one = bp_quantity_table[q].rows == BP_ROWS_NETWORK;
        bp_record_forget(record, q, 0, one ? 1 : record->n_layers + 1);
    }
    record->columns = 0;
}

void bp_record_set(bp_record *record, bp_quantity quantity, uint32_t row, double value) {
    if ((unsigned)quantity >= BP_N_QUANTITIES) return;
    if (row > record->n_layers || (row > 0 && bp_quantity_table[quantity].rows == BP_ROWS_NETWORK))
        return;
    const size_t cell = bp_record_cell(record, quantity, row);
    record->columns |= UINT64_C(1) << quantity;
    record->measured[cell] = 1;
    record->value[cell] = value;
}
