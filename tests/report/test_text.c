/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

static void print_text(FILE *out, void *context) {
    bp_report_text(out, context, &fixture_now->run);
}

static char *printed_at(int width, bool colour) {
    bp_report_style style = {colour, width};
    return fixture_printed(print_text, &style);
}

static const char whole[] =
    "runs/deep-1: 2 findings · 341 steps · loss 2.31 → 2.3\n"
    "\n"
    "error[vanishing-gradient]: layers 1–4 of 20 do not learn\n"
    "  since step 0 · now step 340 · train loss 2.303 (guessing is 2.303)\n";

static void test_finding(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char *text = printed_at(100, false);
    assert_int_equal(strncmp(text, whole, sizeof whole - 1), 0);
    free(text);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_finding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
