/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's number functions are wrapped (see meson.build) by ones that follow a locale with
 * a decimal comma, so that the test does not depend on the locales of the machine. */
#include "base/base.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char separator = '.';
static unsigned n_printed, n_parsed;

int __wrap_snprintf(char *bytes, size_t capacity, const char *format, ...) BP_PRINTF(3, 4);
double __real_strtod(const char *text, char **end);
double __wrap_strtod(const char *text, char **end);

static bool prints_a_double(const char *format) {
    while ((format = strchr(format, '%'))) {
        format += 1 + strspn(format + 1, "0123456789.*+-# ");
        if (*format && strchr("aefgAEFG", *format)) return true;
    }
    return false;
}

int __wrap_snprintf(char *bytes, size_t capacity, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(bytes, capacity, format, arguments);
    va_end(arguments);
    if (!prints_a_double(format)) return length;
    n_printed++;
    for (char *at = bytes; *at; at++)
        if (*at == '.') *at = separator;
    return length;
}

double __wrap_strtod(const char *text, char **end) {
    char foreign[1024];
    size_t length = strcspn(text, separator == '.' ? "," : ".");
    assert_true(length < sizeof foreign);
    memcpy(foreign, text, length);
    foreign[length] = '\0';
    for (char *at = foreign; *at; at++)
        if (*at == separator) *at = '.';
    n_parsed++;
    assert_null(end);
    return __real_strtod(foreign, NULL);
}

static int with_point(void **state) {
    (void)state;
    separator = '.';
    n_printed = n_parsed = 0;
    return 0;
}

static int with_comma(void **state) {
    with_point(state);
    separator = ',';
    return 0;
}

static int the_wrappers_were_used(void **state) {
    (void)state;
    return n_printed > 0 && n_parsed > 0 ? 0 : -1;
}

static const char *people(double value, int digits) {
    static char bytes[32];
    return bp_number_text(bytes, sizeof bytes, value, digits);
}

static const char *exact(double value) {
    static char bytes[32];
    return bp_number_exact(bytes, sizeof bytes, value);
}

static void numbers_for_people(void **state) {
    (void)state;
    assert_string_equal(people(0.14, 2), "0.14");
    assert_string_equal(people(3.14e-18, 2), "3.1e-18");
    assert_string_equal(people(-3.0e-18, 3), "-3e-18");
    assert_string_equal(people(1234, 2), "1200");
    assert_string_equal(people(0.00012345, 3), "0.000123");
    assert_string_equal(people(0.000012345, 3), "1.23e-5");
    assert_string_equal(people(999999, 3), "1e6");
    assert_string_equal(people(1.5e7, 3), "1.5e7");
    assert_string_equal(people(12345678, 8), "12345678");
    assert_string_equal(people(99.5, 3), "99.5");
    assert_string_equal(people(0, 3), "0");
    assert_string_equal(people(-0.0, 3), "0");
    assert_string_equal(people(1, 0), "1");
    assert_string_equal(people(1.0 / 3, 99), "0.33333333333333331");
    assert_string_equal(people((double)NAN, 3), "NaN");
    assert_string_equal(people((double)INFINITY, 3), "Infinity");
    assert_string_equal(people(-(double)INFINITY, 3), "-Infinity");
    assert_int_equal(strlen(exact(-1.2345678901234567e-100)), 24);
    (void)bp_parse_number("1", &(double){0});
}

static void assert_reads_back(double value) {
    char bytes[32];
    double back = 42;
    bp_number_exact(bytes, sizeof bytes, value);
    assert_true(bp_parse_number(bytes, &back));
    assert_memory_equal(&back, &value, sizeof value);
}

static void exact_numbers_read_back(void **state) {
    (void)state;
    assert_string_equal(exact(0.1), "0.1");
    assert_string_equal(exact(1e22), "1e22");
    assert_string_equal(exact(5e-324), "5e-324");
    assert_string_equal(exact(-0.0), "-0");
    assert_string_equal(exact(1e15), "1000000000000000");
    assert_string_equal(exact(0.30000000000000004), "0.30000000000000004");
    assert_string_equal(exact((double)NAN), "NaN");
    const double values[] = {0, 1, -1, DBL_MAX, -DBL_MAX, DBL_MIN, 5e-324, 2.2250738585072011e-308};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) assert_reads_back(values[i]);
    const bp_random_key key = {.seed = 3};
    for (uint64_t i = 0; i < 20000; i++) {
        uint32_t block[4];
        bp_random_block(&key, i, block);
        double value;
        memcpy(&value, block, sizeof value);
        if (isfinite(value)) assert_reads_back(value);
    }
}

static void numbers_are_parsed_whole(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},     {"1.5", 1.5},      {"-1.5e3", -1500}, {"+2", 2},
                {".5", 0.5},  {"5.", 5},         {"1e-3", 0.001},   {"1E+2", 100},
                {"0.000", 0}, {"00012", 12},     {"1e-9999", 0},    {"0e99999999999999999", 0},
                {"0.1e1", 1}, {"1e0000002", 100}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = 42;
        assert_true(bp_parse_number(good[i].text, &value));
        assert_true(value == good[i].value);
    }
    static const char *const bad[] = {
        "",        "-",   ".",     "e5",    "1e",     "1e+",
        " 1",      "1 ",  "nan",   "inf",   "0x10",   "1,5",
        "1e5x",    "--1", "1.2.3", "1e400", "-1e400", "1e99999999999999999999",
        "Infinity"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value = 42;
        assert_false(bp_parse_number(bad[i], &value));
        assert_true(value == 42);
    }
    (void)people(1, 1);
}

/* The last of 1,400 digits decides on which side of a midpoint between two doubles a number lies.
 */
static void long_numbers_are_rounded_once(void **state) {
    (void)state;
    char text[1500];
    double value;
    snprintf(text, sizeof text, "1.00000000000000011102230246251565404236316680908203125");
    assert_true(bp_parse_number(text, &value));
    assert_true(value == 1.0); /* the midpoint: to even */
    size_t length = strlen(text);
    memset(text + length, '0', 1400 - length);
    strcpy(text + 1400, "1");
    assert_true(bp_parse_number(text, &value));
    assert_true(value == 1.0 + DBL_EPSILON);
    memset(text, '9', 400); /* 400 nines and an exponent that brings them back */
    strcpy(text + 400, "e-399");
    assert_true(bp_parse_number(text, &value));
    assert_true(value == 10.0);
    memset(text, '7', 1300);
    strcpy(text + 1300, "e-1299");
    assert_true(bp_parse_number(text, &value));
    assert_true(value == 7.777777777777778);
    (void)people(1, 1);
}

static void integers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-7", -7},
                {"+7", 7},
                {"007", 7},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t value = 42;
        assert_true(bp_parse_integer(good[i].text, &value));
        assert_true(value == good[i].value);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "1.0",
                                      "1e3",
                                      " 1",
                                      "9223372036854775808",
                                      "0x10",
                                      "1_0",
                                      "a",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t value = 42;
        assert_false(bp_parse_integer(bad[i], &value));
        assert_int_equal(value, 42);
    }
}

static void texts_are_bounded(void **state) {
    (void)state;
    char bytes[8];
    bp_text text;
    bp_text_init(&text, bytes, sizeof bytes);
    bp_text_add(&text, "%s", "abc");
    bp_text_add_number(&text, 0.5, 3);
    assert_string_equal(bytes, "abc0.5");
    assert_int_equal(text.length, 6);
    assert_false(text.cut);
    bp_text_add(&text, "xyz");
    assert_true(text.cut);
    assert_string_equal(bytes, "abc0.5x");
    bp_text_add(&text, "q");
    assert_string_equal(bytes, "abc0.5x");
    bp_text_init(&text, NULL, 0);
    bp_text_add(&text, "x");
    assert_true(text.cut);
    char small[4];
    bp_number_text(small, sizeof small, 0.12345, 5);
    assert_string_equal(small, "0.1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_for_people, with_point, the_wrappers_were_used),
        cmocka_unit_test_setup_teardown(numbers_for_people, with_comma, the_wrappers_were_used),
        cmocka_unit_test_setup_teardown(exact_numbers_read_back, with_point,
                                        the_wrappers_were_used),
        cmocka_unit_test_setup_teardown(exact_numbers_read_back, with_comma,
                                        the_wrappers_were_used),
        cmocka_unit_test_setup_teardown(numbers_are_parsed_whole, with_point,
                                        the_wrappers_were_used),
        cmocka_unit_test_setup_teardown(numbers_are_parsed_whole, with_comma,
                                        the_wrappers_were_used),
        cmocka_unit_test_setup_teardown(long_numbers_are_rounded_once, with_point,
                                        the_wrappers_were_used),
        cmocka_unit_test(integers),
        cmocka_unit_test(texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
