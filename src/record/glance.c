/* SPDX-License-Identifier: Apache-2.0 */
/* What can be told of an encoded record (docs/runlog-format.md) without decoding it: its step, and
 * whether something was not finite in it. For who goes through a whole log and needs no more. */
#include "record/quantity.h"
#include "record/record.h"

#include <math.h>

/* Quantities that count non-finite values. */
static bool counts_non_finite(bp_quantity quantity) {
    static const bool counts[BP_N_QUANTITIES] = {
        [BP_Q_ACTIVATION_NAN] = true, [BP_Q_ACTIVATION_INF] = true, [BP_Q_ERROR_NAN] = true,
        [BP_Q_ERROR_INF] = true,      [BP_Q_PARAMETER_NAN] = true,  [BP_Q_PARAMETER_INF] = true,
        [BP_Q_GRADIENT_NAN] = true,   [BP_Q_GRADIENT_INF] = true,   [BP_Q_UPDATE_BAD] = true};
    return counts[quantity];
}

/* column: presence, bitmap, values. */
static bool is_non_finite(bp_cursor *column, bp_quantity quantity, uint64_t n_layers) {
    if (bp_read_u8(column) == BP_PRESENT_MAPPED)
        (void)bp_read_bytes(column, (size_t)((n_layers + 1 + 7) / 8));
    bool found = false;
    while (!column->bad && column->position < column->length) {
        if (quantity == BP_Q_LOSS)
            found = !isfinite(bp_read_f64(column)) || found;
        else
            found = bp_read_varint(column) > 0 || found;
    }
    return found;
}

bool bp_record_look(bp_record_glance *glance, bp_cursor *cursor) {
    const uint64_t n_layers = bp_read_varint(cursor);
    const uint64_t step = bp_read_varint(cursor);
    (void)bp_read_f64(cursor);                                /* wall time */
    for (int i = 0; i < 3; i++) (void)bp_read_varint(cursor); /* stream, micro-step, flags */
    const uint64_t n_columns = bp_read_varint(cursor);
    if (n_layers > UINT32_MAX || step > INT64_MAX) return false;
    *glance = (bp_record_glance){.step = (int64_t)step};
    unsigned q = 0;
    for (uint64_t i = 0; i < n_columns && !cursor->bad; i++) {
        const uint64_t number = bp_read_varint(cursor), n_bytes = bp_read_varint(cursor);
        if (cursor->bad || n_bytes > cursor->length - cursor->position) return false;
        bp_cursor column;
        bp_cursor_init(&column, bp_read_bytes(cursor, (size_t)n_bytes), (size_t)n_bytes);
        while (q < BP_N_QUANTITIES && bp_quantity_table[q].number < number) q++;
        if (q == BP_N_QUANTITIES || bp_quantity_table[q].number != number) continue;
        if ((bp_quantity)q != BP_Q_LOSS && !counts_non_finite((bp_quantity)q)) continue;
        if (is_non_finite(&column, (bp_quantity)q, n_layers)) glance->non_finite = true;
        if (column.bad) return false;
    }
    return !cursor->bad && cursor->position == cursor->length;
}
