/* SPDX-License-Identifier: Apache-2.0 */
/* Comma-separated values (RFC 4180): quotes, doubled quotes, line ends in quotes, CRLF or LF, a
 * byte order mark. All rows have as many cells; empty lines are no rows. */
#ifndef BP_FORMATS_CSV_H
#define BP_FORMATS_CSV_H

#include "base/base.h"

#define BP_CSV_MAX_BYTES ((size_t)1 << 30)
#define BP_CSV_MAX_COLUMNS 1000000

typedef struct bp_csv {
    bp_allocator allocator;
    char *text; /* a copy of the file, cells cut out of it in place */
    size_t text_bytes;
    size_t *cells; /* where each begins in text, row by row; the header first */
    size_t n_cells, cells_capacity;
    int64_t *lines; /* of the file, where each row begins */
    size_t n_lines, lines_capacity;
    int64_t n_rows, n_columns; /* without the header */
    bool has_header;
} bp_csv;

/* Reads bytes in memory; they are copied. */
BP_MUST_USE bp_status bp_csv_read(bp_csv *csv, const char *bytes, size_t n_bytes, bool has_header,
                                  const bp_allocator *allocator, bp_error *error);
/* The error begins with the path. */
BP_MUST_USE bp_status bp_csv_open(bp_csv *csv, const bp_io *io, const char *path, bool has_header,
                                  const bp_allocator *allocator, bp_error *error);
void bp_csv_finish(bp_csv *csv);

/* row 0 ... n_rows - 1; borrowed until finish. */
const char *bp_csv_cell(const bp_csv *csv, int64_t row, int64_t column);
/* The line of the file in which a row begins, 1-based. */
int64_t bp_csv_line(const bp_csv *csv, int64_t row);
/* NULL without a header. */
const char *bp_csv_column_name(const bp_csv *csv, int64_t column);
/* By name, or by number (1-based) where there is no header; -1 when there is none. */
int64_t bp_csv_find_column(const bp_csv *csv, const char *name);

#endif
