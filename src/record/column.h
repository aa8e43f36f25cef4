/* SPDX-License-Identifier: Apache-2.0 */
/* One quantity of an encoded step record, without decoding the rest. */
#ifndef BP_RECORD_COLUMN_H
#define BP_RECORD_COLUMN_H

#include "record/record.h"

typedef struct bp_column {
    bp_quantity quantity;
    int64_t step;
    uint32_t n_layers;              /* of the record */
    unsigned presence;              /* which rows it has, as the record says */
    const uint8_t *bitmap, *values; /* borrowed: the bytes of the record */
    size_t n_bytes;                 /* of values */
} bp_column;

/* *found is false when the record does not have it. BP_ERROR_INPUT when the bytes are none. */
BP_MUST_USE bp_status bp_column_find(bp_column *column, bool *found, bp_quantity quantity,
                                     const uint8_t *bytes, size_t n_bytes);
/* A record of the loss alone: 8 bytes, borrowed. */
bp_column bp_column_of_loss(int64_t step, const uint8_t *loss);

/* How many bytes an element has: 2, a log16 code, where the quantity has that codec; else 8, an
 * f64.
 */
size_t bp_column_element_bytes(bp_quantity quantity);
/* Rows that a record of so many layers has: 1 for a quantity of the network. */
uint32_t bp_column_rows(bp_quantity quantity, uint32_t n_layers);

/* The element of a row that was not measured: a code that stands for nothing, a NaN that no column
 * gives. */
#define BP_CODE_ABSENT 65533u
#define BP_BITS_ABSENT UINT64_C(0x7ff80000bad0bad0)

/* An element for each of n_rows rows, of the size above. False when a value is none. */
BP_MUST_USE bool bp_column_spread(const bp_column *column, void *elements, uint32_t n_rows);

#endif
