/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

static void print_escaped(FILE *out, void *context) {
    bp_report_escaped(out, context);
}

static void expect_escaped(const char *text, const char *expected) {
    char copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    char *printed = fixture_printed(print_escaped, copy);
    assert_string_equal(printed, expected);
    free(printed);
}

static void test_control_characters(void **state) {
    (void)state;
    expect_escaped("plain", "plain");
    expect_escaped("a\x1b[31mred", "a\\x1b[31mred");
    expect_escaped("a\r\n\tb\x7f", "a\\x0d\\x0a\\x09b\\x7f");
    expect_escaped("\xc2\x9b"
                   "31m",
                   "\\u009b31m"); /* C1: CSI */
    expect_escaped("\xe2\x80\xae"
                   "evil",
                   "\\u202eevil");                  /* right-to-left override */
    expect_escaped("\xf3\xa0\x81\x81", "\\ue0041"); /* a tag character */
}

static void test_invalid_utf8(void **state) {
    (void)state;
    expect_escaped("\xff", "\xef\xbf\xbd");
    expect_escaped("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");                 /* overlong */
    expect_escaped("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* surrogate */
    expect_escaped("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect_escaped("cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd");
    expect_escaped("größe 深 ×", "größe 深 ×");
}

/* Every byte pair and every lone byte: no control byte may come out. */
static void test_no_byte_passes(void **state) {
    (void)state;
    for (unsigned a = 1; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            char text[3] = {(char)a, (char)b, '\0'};
            for (size_t left = strlen(text), at = 0; left > 0;) {
                bp_glyph glyph = bp_glyph_next(text + at, left);
                assert_true(glyph.n_read >= 1 && glyph.n_read <= left);
                for (const char *c = glyph.bytes; *c; c++)
                    assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
                assert_false(glyph.bytes[0] == '\xc2' && (unsigned char)glyph.bytes[1] < 0xa0);
                at += glyph.n_read;
                left -= glyph.n_read;
            }
        }
}

static void test_columns(void **state) {
    (void)state;
    assert_int_equal(bp_text_columns("abc"), 3);
    assert_int_equal(bp_text_columns("é×"), 2);
    assert_int_equal(bp_text_columns("深い"), 4);
    assert_int_equal(bp_text_columns("e\xcc\x81"), 1); /* combining accent */
    assert_int_equal(bp_text_columns("\x1b"), 4);
}

static void print_wrapped(FILE *out, void *context) {
    bp_page page = bp_page_begin(out, &(bp_report_style){false, 60});
    bp_page_put(&page, BP_INK_BOLD, "cause:");
    bp_page_wrap(&page, BP_INK_PLAIN, 6, context, strlen(context));
    bp_page_end_line(&page);
}

static void test_wrapping(void **state) {
    (void)state;
    char text[] = "one two three four five six seven eight nine ten eleven twelve";
    char *printed = fixture_printed(print_wrapped, text);
    assert_string_equal(printed, "cause:one two three four five six seven eight nine ten\n"
                                 "      eleven twelve\n");
    free(printed);
    char longest[] =
        "a word of 012345678901234567890123456789012345678901234567890123456789 digits";
    printed = fixture_printed(print_wrapped, longest);
    assert_string_equal(printed, "cause:a word of\n"
                                 "      012345678901234567890123456789012345678901234567890123\n"
                                 "      456789 digits\n");
    free(printed);
}

static void print_cells(FILE *out, void *context) {
    bp_page page = bp_page_begin(out, &(bp_report_style){true, 60});
    bp_page_cell(&page, BP_INK_PLAIN, 6, false, context);
    bp_page_cell(&page, BP_INK_ERROR, 6, true, "12");
}

static void test_cells(void **state) {
    (void)state;
    char text[] = "longer than six";
    char *printed = fixture_printed(print_cells, text);
    assert_string_equal(printed, "longe…    \033[1;31m12\033[0m");
    free(printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_characters), cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_no_byte_passes),     cmocka_unit_test(test_columns),
        cmocka_unit_test(test_wrapping),           cmocka_unit_test(test_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
