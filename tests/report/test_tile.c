/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte of a tile, read as the page reads it. */
#include "record/column.h"
#include "record/log16.h"
#include "report/tile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 3, COLUMNS = 5, CELLS = ROWS * COLUMNS };

static bp_view_cell cells[CELLS]; /* [column][row] */
static uint64_t starts[COLUMNS + 1] = {8, 16, 24, 40, 48, (uint64_t)1 << 50};
static const bp_view view = {
    .n_rows = ROWS, .n_columns = COLUMNS, .cells = cells, .starts = starts};

static double of(uint16_t code) {
    return bp_log16_decode(code);
}

/* Codes that tell each cell from the others, and among them all that is special. */
static void fill(void) {
    for (size_t i = 0; i < CELLS; i++)
        cells[i] = (bp_view_cell){.min = of((uint16_t)(1000 + i)),
                                  .mean = of((uint16_t)(2000 + i)),
                                  .max = of((uint16_t)(3000 + i)),
                                  .last = 1.0,
                                  .count = 1};
    const double nan = (double)NAN;
    cells[4] = (bp_view_cell){nan, nan, nan, nan, 0, 0};
    cells[5] = (bp_view_cell){nan, nan, nan, nan, 2, BP_VIEW_HAS_NAN};
    cells[6] = (bp_view_cell){0.0, 1.0, 0.5, 1.0, 3, BP_VIEW_HAS_INF | BP_VIEW_HAS_NAN};
}

typedef struct tile {
    uint8_t *bytes;
    size_t length, at;
} tile;

static tile encode(bool log16, int64_t last_step, int32_t first_octave) {
    tile t = {0};
    fill();
    assert_int_equal(
        bp_tile_encode(&t.bytes, &t.length, &view, log16, last_step, first_octave, NULL), BP_OK);
    uint8_t *shrunk = realloc(t.bytes, t.length); /* a sanitizer sees a byte too many */
    assert_non_null(shrunk);
    t.bytes = shrunk;
    return t;
}

static uint64_t take(tile *t, size_t n) {
    uint64_t value = 0;
    assert_true(t->at + n <= t->length);
    for (size_t i = 0; i < n; i++) value |= (uint64_t)t->bytes[t->at + i] << 8 * i;
    t->at += n;
    return value;
}

static void take_padding(tile *t) {
    while (t->at % 8) assert_int_equal(take(t, 1), 0);
}

static double take_real(tile *t) {
    const uint64_t bits = take(t, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void take_head(tile *t, uint64_t codec, int64_t last_step, int32_t first_octave) {
    assert_memory_equal(t->bytes, "BPT1", 4);
    t->at = 4;
    assert_int_equal(take(t, 4), codec);
    assert_int_equal(take(t, 4), ROWS);
    assert_int_equal(take(t, 4), COLUMNS);
    assert_int_equal((int64_t)take(t, 8), last_step);
    assert_int_equal((int32_t)take(t, 4), first_octave);
    assert_int_equal(take(t, 4), 0);
    for (size_t c = 0; c <= COLUMNS; c++) assert_true(take_real(t) == (double)starts[c]);
}

static void take_flags(tile *t) {
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++)
            assert_int_equal(take(t, 1), cells[c * ROWS + r].flags);
    take_padding(t);
    assert_int_equal(t->at, t->length);
    free(t->bytes);
}

static void codes(void **state) {
    (void)state;
    tile t = encode(true, 47, 0);
    take_head(&t, 0, 47, 0);
    for (size_t plane = 0; plane < 3; plane++) { /* mean, min, max */
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < COLUMNS; c++) {
                const size_t i = c * ROWS + r;
                const uint64_t code = take(&t, 2);
                static const uint64_t special[3] = {BP_CODE_ABSENT, BP_LOG16_NAN, 0};
                static const uint64_t first[3] = {2000, 1000, 3000};
                if (i == 4 || i == 5)
                    assert_int_equal(code, special[i - 4]);
                else if (i == 6)
                    assert_int_equal(code, bp_log16_encode(plane == 0   ? 0.5
                                                           : plane == 1 ? 0.0
                                                                        : 1.0));
                else
                    assert_int_equal(code, first[plane] + i);
            }
        take_padding(&t);
    }
    take_flags(&t);
}

static void reals(void **state) {
    (void)state;
    tile t = encode(false, -1, -3);
    take_head(&t, 1, -1, -3);
    for (size_t plane = 0; plane < 3; plane++)
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < COLUMNS; c++) {
                const bp_view_cell *cell = &cells[c * ROWS + r];
                const uint64_t bits = take(&t, 8);
                double value;
                memcpy(&value, &bits, sizeof value);
                const double expected = plane == 0   ? cell->mean
                                        : plane == 1 ? cell->min
                                                     : cell->max;
                assert_int_equal(bits == BP_BITS_ABSENT, cell->count == 0);
                assert_true(value == expected || (isnan(value) && isnan(expected)));
            }
    take_flags(&t);
}

static char *hex_of(const tile *t, size_t *n_bytes) {
    char *text = NULL;
    FILE *stream = open_memstream(&text, n_bytes);
    assert_non_null(stream);
    for (size_t i = 0; i < t->length; i++)
        fprintf(stream, "%02x%s", t->bytes[i], i % 32 == 31 || i + 1 == t->length ? "\n" : "");
    assert_int_equal(fclose(stream), 0);
    return text;
}

/* The page's own reader is tested with these files (web/src/source/tile.test.ts), so that both
 * sides agree on every byte. BACKPROBE_UPDATE=1 writes them. */
static void the_files_that_the_page_reads(void **state) {
    (void)state;
    for (int log16 = 0; log16 <= 1; log16++) {
        const char *path = log16 ? SOURCE_ROOT "/tests/report/tile-log16.hex"
                                 : SOURCE_ROOT "/tests/report/tile-f64.hex";
        const tile t = encode(log16, 47, -3);
        size_t n_bytes, n_kept;
        uint8_t *kept;
        bp_error error;
        char *text = hex_of(&t, &n_bytes);
        if (getenv("BACKPROBE_UPDATE"))
            assert_int_equal(
                bp_io_write_file_atomic(&bp_io_system, path, text, n_bytes, NULL, &error), BP_OK);
        if (bp_io_read_file(&bp_io_system, path, 1 << 20, NULL, &kept, &n_kept, &error) != BP_OK)
            fail_msg("%s", error.text);
        assert_string_equal((const char *)kept, text);
        bp_release(NULL, kept, n_kept + 1, 1);
        free(text);
        free(t.bytes);
    }
}

static void a_tile_without_cells(void **state) {
    (void)state;
    const bp_view none = {.n_rows = 0, .n_columns = 1, .starts = starts};
    uint8_t *bytes;
    size_t n_bytes;
    assert_int_equal(bp_tile_encode(&bytes, &n_bytes, &none, true, -1, 0, NULL), BP_OK);
    assert_int_equal(n_bytes, 32 + 2 * 8);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes),
        cmocka_unit_test(reals),
        cmocka_unit_test(the_files_that_the_page_reads),
        cmocka_unit_test(a_tile_without_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
