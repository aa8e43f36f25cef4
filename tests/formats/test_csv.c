/* SPDX-License-Identifier: Apache-2.0 */
#include "../faults.h"
#include "formats/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/backprobe-csv-XXXXXX";

static int make_path(void **state) {
    (void)state;
    const int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

/* From a block of exactly these bytes, so that a sanitizer sees one more. */
static bp_status read_exact(bp_csv *csv, const char *text, size_t n, bool header, bp_error *error) {
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, text, n);
    *error = (bp_error){.status = BP_OK};
    const bp_status status = bp_csv_read(csv, exact, n, header, NULL, error);
    free(exact); /* the table has a copy */
    return status;
}

/* The cells, each in brackets, rows by '/', the header first. */
static void expect(const char *text, bool header, const char *cells) {
    bp_csv csv;
    bp_error error;
    char found[2000] = "";
    if (read_exact(&csv, text, strlen(text), header, &error) != BP_OK) fail_msg("%s", error.text);
    for (int64_t row = header ? -1 : 0; row < csv.n_rows; row++) {
        for (int64_t column = 0; column < csv.n_columns; column++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "[%s]",
                     bp_csv_cell(&csv, row, column));
        strcat(found, "/");
    }
    assert_string_equal(found, cells);
    bp_csv_finish(&csv);
}

static void refuse(const char *text, bool header, int line, const char *words) {
    bp_csv csv;
    bp_error error;
    if (read_exact(&csv, text, strlen(text), header, &error) == BP_OK)
        fail_msg("accepted; expected '%s'", words);
    assert_int_equal(error.status, BP_ERROR_INPUT);
    if (!strstr(error.text, words)) fail_msg("expected '%s' in '%s'", words, error.text);
    assert_int_equal(error.line, line);
    bp_csv_finish(&csv); /* may be called after a failure */
}

static void cells_and_line_ends(void **state) {
    (void)state;
    expect("a,b\n1,2\n3,4\n", true, "[a][b]/[1][2]/[3][4]/");
    expect("a,b\n1,2\n3,4", false, "[a][b]/[1][2]/[3][4]/");
    expect("a,b\r\n1,2\r\n", true, "[a][b]/[1][2]/");
    expect("a,b\r\n1,2\r", true, "[a][b]/[1][2]/");
    expect("1,2\n\n\r\n3,4\n\n", false, "[1][2]/[3][4]/"); /* empty lines are no rows */
    expect(",\n,", false, "[][]/[][]/");
    expect("1,", false, "[1][]/");
    expect("x", false, "[x]/");
    expect(" a , b\n", false, "[ a ][ b]/"); /* blanks belong to a cell (RFC 4180) */
    expect("a\rb,c\n", false, "[a\rb][c]/");
    expect("\xEF\xBB\xBF"
           "a,b\n1,2\n",
           true, "[a][b]/[1][2]/");
}

static void quotes(void **state) {
    (void)state;
    expect("\"a\",\"b\"\n", false, "[a][b]/");
    expect("\"a,\"\"b\"\"\",\"c\nd\r\ne\"\n1,\"\"", false, "[a,\"b\"][c\nd\r\ne]/[1][]/");
    expect("\"\"\n\"\"\n", false, "[]/[]/"); /* an empty cell is a row, an empty line is none */
    expect("\"a\"\r\n\"b\"", false, "[a]/[b]/");
    expect("\"\"\"\"", false, "[\"]/");
    refuse("a,b\n1,x\"y\n", true, 2, "a quote within a cell");
    refuse("a,b\n1,\"x\"y\n", true, 2, "behind a closing quote");
    refuse("a,b\n1,2\n3,\"x\n\n\n", true, 3, "a quote is not closed"); /* where it was opened */
    refuse("\"", false, 1, "a quote is not closed");
}

static void ragged_rows_and_empty_tables(void **state) {
    (void)state;
    refuse("a,b\n1,2\n\n3\n", true, 4, "1 cells, but the first row has 2");
    refuse("a,b\n\"1\n\n\",2\n3,4,5\n", true, 5, "3 cells, but the first row has 2");
    refuse("", false, 0, "the table has no row");
    refuse("\n\r\n", false, 0, "the table has no row");
    refuse("a,b\n", true, 0, "no row below its header");
    refuse("\xEF\xBB\xBF", true, 0, "no row below its header");
    bp_csv csv;
    bp_error error;
    assert_int_equal(read_exact(&csv, "a\0b\n", 4, false, &error), BP_ERROR_INPUT);
    assert_string_equal(error.text, "a byte 0: this is no text");
}

static void lines_and_columns(void **state) {
    (void)state;
    bp_csv csv;
    bp_error error;
    const char text[] = "height,\"the\nname\"\n\n1,\"two\nlines\"\r\n3,4\n";
    assert_int_equal(read_exact(&csv, text, strlen(text), true, &error), BP_OK);
    assert_int_equal(csv.n_rows, 2);
    assert_int_equal(csv.n_columns, 2);
    assert_int_equal(bp_csv_line(&csv, 0), 4);
    assert_int_equal(bp_csv_line(&csv, 1), 6);
    assert_string_equal(bp_csv_column_name(&csv, 1), "the\nname");
    assert_int_equal(bp_csv_find_column(&csv, "height"), 0);
    assert_int_equal(bp_csv_find_column(&csv, "heigh"), -1);
    assert_int_equal(bp_csv_find_column(&csv, "1"), -1); /* numbers only without a header */
    bp_csv_finish(&csv);
    assert_int_equal(read_exact(&csv, text, strlen(text), false, &error), BP_OK);
    assert_null(bp_csv_column_name(&csv, 0));
    assert_int_equal(bp_csv_find_column(&csv, "1"), 0);
    assert_int_equal(bp_csv_find_column(&csv, "2"), 1);
    assert_int_equal(bp_csv_find_column(&csv, "0"), -1);
    assert_int_equal(bp_csv_find_column(&csv, "3"), -1);
    assert_int_equal(bp_csv_find_column(&csv, "height"), -1);
    bp_csv_finish(&csv);
}

/* Every cell can be read to its end. */
static void survive(const char *text, size_t n) {
    for (int header = 0; header < 2; header++) {
        bp_csv csv;
        bp_error error;
        const bp_status status = read_exact(&csv, text, n, header, &error);
        if (status != BP_OK) assert_true(strlen(error.text) > 10);
        for (int64_t row = 0; status == BP_OK && row < csv.n_rows; row++)
            for (int64_t column = 0; column < csv.n_columns; column++)
                assert_true(strlen(bp_csv_cell(&csv, row, column)) <= n);
        bp_csv_finish(&csv);
    }
}

static void every_truncation_and_flipped_bit(void **state) {
    (void)state;
    const char good[] = "\xEF\xBB\xBF"
                        "a,\"b \"\"c\"\"\",d\r\n1,\"2\n3\",\r\n\n,,\"\"\n4,5,6";
    const size_t n = sizeof good - 1;
    for (size_t length = 0; length <= n; length++) survive(good, length);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        char bad[sizeof good];
        memcpy(bad, good, sizeof good);
        bad[bit / 8] = (char)(bad[bit / 8] ^ 1 << bit % 8);
        survive(bad, n);
    }
}

static void a_long_table(void **state) {
    (void)state;
    const size_t n_rows = 3000, row_bytes = sizeof "1,22,333\n" - 1;
    char *text = malloc(n_rows * row_bytes + 1);
    bp_csv csv;
    bp_error error;
    assert_non_null(text);
    for (size_t i = 0; i < n_rows; i++) memcpy(text + i * row_bytes, "1,22,333\n", row_bytes);
    assert_int_equal(read_exact(&csv, text, n_rows * row_bytes, false, &error), BP_OK);
    assert_int_equal(csv.n_rows, n_rows);
    for (int64_t row = 0; row < csv.n_rows; row++) {
        assert_string_equal(bp_csv_cell(&csv, row, 1), "22");
        assert_int_equal(bp_csv_line(&csv, row), row + 1);
    }
    bp_csv_finish(&csv);
    free(text);
}

static void write_text(const char *text) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void a_file_names_path_and_line(void **state) {
    (void)state;
    bp_csv csv;
    bp_error error;
    char expected[200];
    write_text("a,b\n1\n");
    assert_int_equal(bp_csv_open(&csv, &bp_io_system, path, true, NULL, &error), BP_ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s, line 2: 1 cells, but the first row has 2", path);
    assert_string_equal(error.text, expected);
    assert_int_equal(bp_csv_open(&csv, &bp_io_system, "/nowhere/x.csv", true, NULL, &error),
                     BP_ERROR_IO);
    assert_non_null(strstr(error.text, "/nowhere/x.csv"));
}

static void the_nth_allocation_fails(void **state) {
    (void)state;
    bp_status status = BP_ERROR_MEMORY;
    size_t n = 0;
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    for (int i = 0; i < 1000; i++) fputs("1,2\n", out); /* lists grow several times */
    assert_int_equal(fclose(out), 0);
    while (status != BP_OK) {
        faulty_memory memory = {.fail_at = ++n};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_csv csv = {.allocator = allocator};
        bp_error error;
        status = bp_csv_open(&csv, &bp_io_system, path, true, &allocator, &error);
        if (status != BP_OK) assert_int_equal(status, BP_ERROR_MEMORY);
        bp_csv_finish(&csv);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
    }
    assert_true(n > 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_and_line_ends),
        cmocka_unit_test(quotes),
        cmocka_unit_test(ragged_rows_and_empty_tables),
        cmocka_unit_test(lines_and_columns),
        cmocka_unit_test(every_truncation_and_flipped_bit),
        cmocka_unit_test(a_long_table),
        cmocka_unit_test(a_file_names_path_and_line),
        cmocka_unit_test(the_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
