/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

typedef struct pair {
    const char *before, *after;
} pair;

static void print_diff(FILE *out, void *context) {
    const pair *p = context;
    bp_page page = bp_page_begin(out, &(bp_report_style){false, 60});
    bp_diff_print(&page, 2, p->before, p->after);
}

static void expect_diff(const char *before, const char *after, const char *expected) {
    pair p = {before, after};
    char *printed = fixture_printed(print_diff, &p);
    assert_string_equal(printed, expected);
    free(printed);
}

static void test_changes(void **state) {
    (void)state;
    expect_diff("a\nb\n", "a\nb\n", "");
    expect_diff("", "", "");
    expect_diff("a\nb\nc\n", "a\nB\nc\n", "  line 2: -b\n          +B\n");
    expect_diff("a\nc\n", "a\nb\nc\n", "  line 2: +b\n");
    expect_diff("a\nb\nc\n", "a\nc\n", "  line 2: -b\n");
    expect_diff("a\nb\nc\nd\n", "A\nb\nc\nD\n",
                "  line 1: -a\n          +A\n  line 4: -d\n          +D\n");
    expect_diff("a", "b", "  line 1: -a\n          +b\n"); /* no newline at the end */
    expect_diff("", "a\nb\n", "  line 1: +a\n          +b\n");
}

static void test_spaces_survive(void **state) {
    (void)state;
    expect_diff("k:  [1,  2]\n", "k:  [1,  3]\n",
                "  line 1: -k:  [1,  2]\n          +k:  [1,  3]\n");
    expect_diff("  k: 1\n", "  k: 2\n", "  line 1: -  k: 1\n          +  k: 2\n");
}

static void test_lines_are_escaped(void **state) {
    (void)state;
    expect_diff("a\x1b]0;b\n", "c\n", "  line 1: -a\\x1b]0;b\n          +c\n");
}

/* 600 changed lines on a side: above the bound of the exact comparison, and of what is printed. */
static void test_huge(void **state) {
    (void)state;
    char *before = calloc(1, 100000), *after = calloc(1, 100000);
    for (int i = 0; i < 600; i++) {
        sprintf(before + strlen(before), "old %d\n", i);
        sprintf(after + strlen(after), "new %d\n", i);
    }
    bp_diff_line lines[4];
    assert_int_equal(bp_diff_lines(before, after, lines, 4), 1200);
    assert_int_equal(lines[3].number, 2);
    pair p = {before, after};
    char *printed = fixture_printed(print_diff, &p);
    assert_non_null(strstr(printed, "(and 1188 more lines)\n"));
    free(printed);
    free(before);
    free(after);
}

/* Of a line that does not fit only what is around the change is shown. */
static void test_long_lines(void **state) {
    (void)state;
    pair p = {"net: [40 x dense 64 relu, {dense: 64, activation: tanh, name: first}, {dense: 64, "
              "activation: sigmoid, name: second}, 20 x dense 64 relu, dense 10, and more of it]\n",
              "net: [40 x dense 64 relu, {dense: 64, activation: tanh, name: first}, {dense: 64, "
              "activation: tanh, name: second}, 20 x dense 64 relu, dense 10, and more of it]\n"};
    char *printed = fixture_printed(print_diff, &p);
    assert_string_equal(printed, "  line 1: -… {dense: 64, activation: sigmoid, name: second},\n"
                                 "           20 x dense …\n"
                                 "          +… {dense: 64, activation: tanh, name: second}, 20\n"
                                 "           x dense …\n");
    free(printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),           cmocka_unit_test(test_spaces_survive),
        cmocka_unit_test(test_lines_are_escaped), cmocka_unit_test(test_huge),
        cmocka_unit_test(test_long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
