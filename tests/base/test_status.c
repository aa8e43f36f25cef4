/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

static void numbers_and_names_are_pinned(void **state) {
    (void)state;
    static const char *const names[] = {"good",   "bad argument", "bad input", "i/o",
                                        "memory", "limit",        "blind",     "not supported"};
    assert_int_equal(BP_ERROR_NOT_SUPPORTED, -7);
    for (int i = 0; i < 8; i++) assert_string_equal(bp_status_name((bp_status)-i), names[i]);
    assert_string_equal(bp_status_name((bp_status)-99), "unknown");
    assert_string_equal(bp_version(), BP_VERSION);
}

static void a_failure_fills_the_error(void **state) {
    (void)state;
    bp_error error;
    memset(&error, 0x5a, sizeof error);
    errno = EDOM;
    assert_int_equal(bp_fail(&error, BP_ERROR_LIMIT, "%s: at most %d", "x", 3), BP_ERROR_LIMIT);
    assert_int_equal(errno, EDOM);
    assert_int_equal(error.status, BP_ERROR_LIMIT);
    assert_int_equal(error.os_errno, 0);
    assert_int_equal(error.offset, -1);
    assert_int_equal(error.line, 0);
    assert_int_equal(error.column, 0);
    assert_string_equal(error.text, "x: at most 3");

    assert_int_equal(bp_fail_at(&error, 7, 9, "no"), BP_ERROR_INPUT);
    assert_int_equal(error.line, 7);
    assert_int_equal(error.column, 9);

    assert_int_equal(bp_fail_os(&error, ENOSPC, "cannot write %s", "f"), BP_ERROR_IO);
    assert_int_equal(error.os_errno, ENOSPC);
    assert_string_equal(error.text, "cannot write f: No space left on device");
}

static void errno_is_kept(void **state) {
    (void)state;
    bp_error error;
    errno = ENOTTY; /* a character that the locale cannot print makes vsnprintf set errno */
    (void)bp_fail(&error, BP_ERROR_INPUT, "%lc", (wint_t)0x20ac);
    assert_int_equal(errno, ENOTTY);
    (void)bp_fail_at(&error, 1, 1, "%lc", (wint_t)0x20ac);
    assert_int_equal(errno, ENOTTY);
    (void)bp_fail_os(&error, 99999, "%lc", (wint_t)0x20ac);
    assert_int_equal(errno, ENOTTY);
}

static void an_error_is_optional(void **state) {
    (void)state;
    assert_int_equal(bp_fail(NULL, BP_ERROR_MEMORY, "x"), BP_ERROR_MEMORY);
    assert_int_equal(bp_fail_at(NULL, 1, 1, "x"), BP_ERROR_INPUT);
    assert_int_equal(bp_fail_os(NULL, EIO, "x"), BP_ERROR_IO);
}

static void a_long_sentence_is_cut_but_keeps_its_reason(void **state) {
    (void)state;
    char path[2000];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    bp_error error;
    (void)bp_fail(&error, BP_ERROR_INPUT, "%s", path);
    assert_int_equal(strlen(error.text), BP_ERROR_TEXT_BYTES - 1);
    (void)bp_fail_os(&error, ENOSPC, "cannot open %s", path);
    assert_int_equal(strlen(error.text), BP_ERROR_TEXT_BYTES - 1);
    assert_non_null(strstr(error.text, "ppp: No space left on device"));
}

static void an_error_may_quote_itself(void **state) {
    (void)state;
    bp_error error;
    (void)bp_fail(&error, BP_ERROR_INPUT, "inner");
    (void)bp_fail(&error, BP_ERROR_INPUT, "outer: %s", error.text);
    assert_string_equal(error.text, "outer: inner");
}

static void no_control_character_reaches_a_terminal(void **state) {
    (void)state;
    bp_error error;
    (void)bp_fail(&error, BP_ERROR_INPUT, "a\x1b[2Jb\nc\x7f \xc2\x9b \xc3\xa4 \xc2");
    assert_string_equal(error.text, "a?[2Jb?c? ?? \xc3\xa4 \xc2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_names_are_pinned),
        cmocka_unit_test(a_failure_fills_the_error),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(an_error_is_optional),
        cmocka_unit_test(a_long_sentence_is_cut_but_keeps_its_reason),
        cmocka_unit_test(an_error_may_quote_itself),
        cmocka_unit_test(no_control_character_reaches_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
