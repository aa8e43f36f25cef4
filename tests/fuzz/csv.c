/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/csv.h"
#include "property.h"

#include <string.h>

/* Every cell ends inside the text; rows lie on ascending lines. */
static void check_table(const bp_csv *csv) {
    PROPERTY(csv->n_rows >= 1 && csv->n_columns >= 1);
    for (int64_t row = csv->has_header ? -1 : 0; row < csv->n_rows; row++) {
        PROPERTY(bp_csv_line(csv, row) >= 1);
        PROPERTY(row < 1 || bp_csv_line(csv, row) > bp_csv_line(csv, row - 1));
        for (int64_t column = 0; column < csv->n_columns; column++) {
            const char *cell = bp_csv_cell(csv, row, column);
            PROPERTY(cell >= csv->text && cell < csv->text + csv->text_bytes);
            PROPERTY(memchr(cell, '\0', csv->text_bytes - (size_t)(cell - csv->text)) != NULL);
        }
    }
}

static void read_once(const uint8_t *bytes, size_t n_bytes, bool has_header) {
    bp_csv csv;
    bp_error error = {.status = BP_OK};
    const bp_status status =
        bp_csv_read(&csv, (const char *)bytes, n_bytes, has_header, NULL, &error);
    if (status == BP_OK)
        check_table(&csv);
    else
        check_refusal(status, &error);
    bp_csv_finish(&csv);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    static const uint8_t nothing;
    read_once(bytes ? bytes : &nothing, n_bytes, false);
    read_once(bytes ? bytes : &nothing, n_bytes, true);
    return 0;
}
