/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/csv.h"

#include <string.h>

/* Reads at `at` and writes the cells' bytes at `to`, which never overtakes it. */
typedef struct parser {
    bp_csv *csv;
    size_t length, at, to;
    int64_t line, columns; /* cells of the current row */
    bp_error *error;
} parser;

static bp_status refuse(const parser *p, const char *what) {
    return bp_fail_at(p->error, (int32_t)(p->line > INT32_MAX ? INT32_MAX : p->line),
                      (int32_t)(p->columns + 1), "%s", what);
}

static bool grow(const bp_csv *csv, void **list, size_t *capacity, size_t n, size_t size) {
    if (n < *capacity) return true;
    const size_t wanted = *capacity ? 2 * *capacity : 256;
    void *grown =
        csv->allocator.resize(csv->allocator.context, *list, *capacity * size, wanted * size);
    if (!grown) return false;
    *list = grown;
    *capacity = wanted;
    return true;
}

static bool at_line_end(const parser *p) {
    const char *text = p->csv->text;
    return p->at >= p->length || text[p->at] == '\n' ||
           (text[p->at] == '\r' && (p->at + 1 >= p->length || text[p->at + 1] == '\n'));
}

static bp_status quoted_cell(parser *p) {
    char *text = p->csv->text;
    const int64_t first_line = p->line;
    for (p->at++;; p->at++) {
        if (p->at >= p->length) {
            p->line = first_line;
            return refuse(p, "a quote is not closed");
        }
        if (text[p->at] == '"') {
            if (p->at + 1 >= p->length || text[p->at + 1] != '"') break;
            p->at++;
        }
        if (text[p->at] == '\n') p->line++;
        text[p->to++] = text[p->at];
    }
    p->at++;
    if (!at_line_end(p) && text[p->at] != ',')
        return refuse(p, "behind a closing quote expected a comma or the end of the line");
    return BP_OK;
}

static bp_status plain_cell(parser *p) {
    char *text = p->csv->text;
    for (; !at_line_end(p) && text[p->at] != ','; p->at++) {
        if (text[p->at] == '"') return refuse(p, "a quote within a cell that is not quoted");
        text[p->to++] = text[p->at];
    }
    return BP_OK;
}

static bp_status read_cell(parser *p) {
    bp_csv *csv = p->csv;
    if (p->columns == BP_CSV_MAX_COLUMNS) return refuse(p, "too many cells in a row");
    if (!grow(csv, (void **)&csv->cells, &csv->cells_capacity, csv->n_cells, sizeof *csv->cells))
        return bp_fail(p->error, BP_ERROR_MEMORY, "no memory for a table");
    csv->cells[csv->n_cells++] = p->to;
    const bool quoted = p->at < p->length && csv->text[p->at] == '"';
    const bp_status status = quoted ? quoted_cell(p) : plain_cell(p);
    p->columns++;
    return status;
}

/* From the begin of a line to behind its end. The byte behind a cell is free for its NUL: a comma
 * or line end that was read. */
static bp_status read_row(parser *p) {
    bp_csv *csv = p->csv;
    if (!grow(csv, (void **)&csv->lines, &csv->lines_capacity, csv->n_lines, sizeof *csv->lines))
        return bp_fail(p->error, BP_ERROR_MEMORY, "no memory for a table");
    csv->lines[csv->n_lines++] = p->line;
    for (bool more = true; more;) {
        const bp_status status = read_cell(p);
        if (status != BP_OK) return status;
        more = p->at < p->length && csv->text[p->at] == ',';
        if (!more && p->at < p->length && csv->text[p->at] == '\r') p->at++;
        if (p->at < p->length) p->at++;
        csv->text[p->to++] = '\0';
    }
    p->line++;
    return BP_OK;
}

static bp_status read_rows(parser *p) {
    bp_csv *csv = p->csv;
    while (p->at < p->length) {
        if (at_line_end(p)) { /* an empty line */
            p->at += csv->text[p->at] == '\r' && p->at + 1 < p->length ? 2 : 1;
            p->line++;
            continue;
        }
        p->columns = 0;
        const bp_status status = read_row(p);
        if (status != BP_OK) return status;
        if (csv->n_columns == 0) csv->n_columns = p->columns;
        if (p->columns == csv->n_columns) continue;
        return bp_fail_at(p->error, (int32_t)csv->lines[csv->n_lines - 1], 0,
                          "%lld cells, but the first row has %lld", (long long)p->columns,
                          (long long)csv->n_columns);
    }
    csv->n_rows = (int64_t)csv->n_lines - (csv->has_header && csv->n_lines > 0 ? 1 : 0);
    if (csv->n_rows > 0) return BP_OK;
    return bp_fail(p->error, BP_ERROR_INPUT, "the table has no row%s",
                   csv->has_header ? " below its header" : "");
}

bp_status bp_csv_read(bp_csv *csv, const char *bytes, size_t n_bytes, bool has_header,
                      const bp_allocator *allocator, bp_error *error) {
    *csv = (bp_csv){.allocator = *bp_allocator_or_system(allocator), .has_header = has_header};
    if (memchr(bytes, '\0', n_bytes))
        return bp_fail(error, BP_ERROR_INPUT, "a byte 0: this is no text");
    csv->text_bytes = n_bytes + 1;
    csv->text = bp_allocate(&csv->allocator, csv->text_bytes, 1);
    if (!csv->text) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a table");
    memcpy(csv->text, bytes, n_bytes);
    parser p = {.csv = csv, .length = n_bytes, .line = 1, .error = error};
    if (n_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) p.at = 3;
    const bp_status status = read_rows(&p);
    if (status != BP_OK) bp_csv_finish(csv);
    return status;
}

bp_status bp_csv_open(bp_csv *csv, const bp_io *io, const char *path, bool has_header,
                      const bp_allocator *allocator, bp_error *error) {
    uint8_t *bytes;
    size_t n_bytes;
    bp_error reason = {.status = BP_OK};
    allocator = bp_allocator_or_system(allocator);
    bp_status status =
        bp_io_read_file(io, path, BP_CSV_MAX_BYTES, allocator, &bytes, &n_bytes, error);
    if (status != BP_OK) return status;
    status = bp_csv_read(csv, (const char *)bytes, n_bytes, has_header, allocator, &reason);
    bp_release(allocator, bytes, n_bytes + 1, 1);
    if (status == BP_OK) return BP_OK;
    if (reason.line > 0)
        return bp_fail(error, status, "%.300s, line %d: %s", path, (int)reason.line, reason.text);
    return bp_fail(error, status, "%.300s: %s", path, reason.text);
}

void bp_csv_finish(bp_csv *csv) {
    const bp_allocator allocator = csv->allocator;
    bp_release(&allocator, csv->text, csv->text_bytes, 1);
    bp_release(&allocator, csv->cells, csv->cells_capacity, sizeof *csv->cells);
    bp_release(&allocator, csv->lines, csv->lines_capacity, sizeof *csv->lines);
    *csv = (bp_csv){.allocator = allocator};
}

static size_t place(const bp_csv *csv, int64_t row, int64_t column) {
    return (size_t)((row + (csv->has_header ? 1 : 0)) * csv->n_columns + column);
}

const char *bp_csv_cell(const bp_csv *csv, int64_t row, int64_t column) {
    return csv->text + csv->cells[place(csv, row, column)];
}

int64_t bp_csv_line(const bp_csv *csv, int64_t row) {
    return csv->lines[row + (csv->has_header ? 1 : 0)];
}

const char *bp_csv_column_name(const bp_csv *csv, int64_t column) {
    return csv->has_header ? bp_csv_cell(csv, -1, column) : NULL;
}

int64_t bp_csv_find_column(const bp_csv *csv, const char *name) {
    int64_t number;
    for (int64_t column = 0; column < csv->n_columns && csv->has_header; column++)
        if (strcmp(bp_csv_column_name(csv, column), name) == 0) return column;
    if (csv->has_header || !bp_parse_integer(name, &number)) return -1;
    return number >= 1 && number <= csv->n_columns ? number - 1 : -1;
}
