/* SPDX-License-Identifier: Apache-2.0 */
/* A bin under construction: for each row (the network or its input, and each layer) how many
 * values, the smallest, the largest, their mean and the last; and whether one was NaN or infinite.
 * Values are elements of a column (record/column.h); codes are compared as they are, for they
 * ascend with what they stand for. For the pyramid only. */
#ifndef BP_RUNLOG_CELLS_H
#define BP_RUNLOG_CELLS_H

#include "record/series.h"
#include "runlog/pyramid.h"

typedef struct bp_cells {
    bool codes; /* elements are log16 codes, else f64 */
    uint32_t n; /* rows */
    void *min, *max, *last;
    const double *table; /* codes: what they stand for; borrowed */
    double *sum;         /* of finite values; of f64 scaled, so that it does not overflow */
    uint32_t *count, *finite;
    uint8_t *flags;
    uint32_t n_records; /* count of the row that has most */
    void *block;
    size_t block_bytes;
} bp_cells;

/* table: bp_log16_fill_table's; borrowed until finish; not looked at where elements are f64. */
BP_MUST_USE bool bp_cells_init(bp_cells *cells, bp_series series, uint32_t n_rows,
                               const double *table, const bp_allocator *allocator);
void bp_cells_finish(bp_cells *cells, const bp_allocator *allocator);
void bp_cells_clear(bp_cells *cells);

/* One value a row. Elements and rows are aligned as numbers of their size. */
void bp_cells_add_values(bp_cells *cells, const void *elements);
/* What another bin holds, later than all that is in this one. */
void bp_cells_add(bp_cells *cells, const bp_cells *later);

/* A bin as bytes: min, max, mean and last of all rows; of BP_CELLS_COUNTS bytes a row how often,
 * when that is not the same for all that were measured. */
#define BP_CELLS_COUNTS 8
size_t bp_cells_row_bytes(const bp_cells *cells);
/* True when it has to be completed by counts. */
bool bp_cells_are_irregular(const bp_cells *cells);
void bp_cells_put(const bp_cells *cells, void *row);
void bp_cells_put_counts(const bp_cells *cells, uint8_t *counts);
/* n_records: of the bin; counts: NULL when it is regular. False when the bytes are none. */
BP_MUST_USE bool bp_cells_add_row(bp_cells *cells, const void *row, uint32_t n_records,
                                  const uint8_t *counts);

void bp_cells_give(const bp_cells *cells, bp_view_cell *out);
/* As elements of the series: what a strip has, but for the flags. */
void bp_cells_give_elements(const bp_cells *cells, void *mean, void *min, void *max);

#endif
