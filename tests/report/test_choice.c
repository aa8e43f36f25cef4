/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

static bp_choice choice_of(const char *select, const char *ignore) {
    bp_choice choice = {0};
    if (select) assert_int_equal(bp_choice_add(&choice, select, false, NULL), BP_OK);
    if (ignore) assert_int_equal(bp_choice_add(&choice, ignore, true, NULL), BP_OK);
    return choice;
}

/* The fixture has a vanishing gradient of layers dense_1 ... dense_4, and NaN as a consequence. */
static void expect(fixture *f, const char *select, const char *ignore, uint32_t n,
                   uint32_t n_ignored) {
    bp_findings findings;
    bp_choice choice = choice_of(select, ignore);
    bp_findings_choose(&findings, NULL, f->model, &choice);
    if (findings.n != n || findings.n_ignored != n_ignored)
        fail_msg("select %s, ignore %s: %u shown and %u ignored", select ? select : "-",
                 ignore ? ignore : "-", findings.n, findings.n_ignored);
    bp_choice_free(&choice);
}

static void test_rules(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    expect(&f, NULL, NULL, 2, 0);
    expect(&f, "vanishing-gradient", NULL, 1, 1);
    expect(&f, "vanishing-gradient,non-finite", NULL, 2, 0);
    expect(&f, "*-gradient", NULL, 1, 1);
    expect(&f, "overfitting", NULL, 0, 2);
    expect(&f, NULL, "overfitting", 2, 0);
    expect(&f, NULL, "*", 0, 2);
    expect(&f, "vanishing-gradient", "vanishing-gradient", 0, 2);
    expect(&f, NULL, "non-finite", 1, 1);
    fixture_close(&f);
}

/* Of a finding whose text speaks of four layers, all must be meant to ignore it. */
static void test_layers(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    expect(&f, "vanishing-gradient:dense_4", NULL, 1, 1);
    expect(&f, "vanishing-gradient:dense_5", NULL, 0, 2);
    expect(&f, "vanishing-gradient:DENSE_4", NULL, 0, 2);
    expect(&f, NULL, "vanishing-gradient:dense_4", 2, 0);
    expect(&f, NULL, "vanishing-gradient:dense_*", 1, 1);
    expect(&f, NULL, "vanishing-gradient:dense_[1-3],vanishing-gradient:dense_4", 1, 1);
    expect(&f, NULL, "vanishing-gradient:dense_[1-3],exploding-gradient:dense_4", 2, 0);
    expect(&f, NULL, "*:dense_?", 1, 1);
    expect(&f, NULL, "non-finite:*", 2, 0); /* it has no layers */
    fixture_close(&f);
}

/* What follows from an ignored finding hangs under that one's cause, or is a root. */
static void test_parents(void **state) {
    (void)state;
    fixture f;
    bp_findings findings;
    fixture_open(&f, NULL);
    f.findings[2] = f.findings[1];
    f.findings[2].problem = BP_PROBLEM_CONSTANT_OUTPUT;
    f.findings[2].severity = BP_HINT;
    f.findings[2].parent = 1;
    f.n_findings = 3;
    bp_choice choice = choice_of(NULL, "non-finite");
    bp_findings_choose(&findings, NULL, f.model, &choice);
    assert_int_equal(findings.n, 2);
    assert_int_equal(findings.list[1].problem, BP_PROBLEM_CONSTANT_OUTPUT);
    assert_int_equal(findings.list[1].parent, 0);
    assert_int_equal(bp_findings_worst(&findings), BP_ERROR);
    bp_choice_free(&choice);
    choice = choice_of(NULL, "vanishing-gradient");
    bp_findings_choose(&findings, NULL, f.model, &choice);
    assert_int_equal(findings.list[0].parent, -1);
    assert_int_equal(findings.list[1].parent, 0);
    assert_int_equal(bp_findings_worst(&findings), BP_WARNING);
    bp_choice_free(&choice);
    choice = choice_of("plateau", NULL);
    bp_findings_choose(&findings, NULL, f.model, &choice);
    assert_int_equal(bp_findings_worst(&findings), 0);
    bp_choice_free(&choice);
    fixture_close(&f);
}

static void expect_error(const char *text, const char *message) {
    bp_error error;
    bp_choice choice = {0};
    assert_int_equal(bp_choice_add(&choice, text, true, &error), BP_ERROR_ARGUMENT);
    assert_string_equal(error.text, message);
    bp_choice_free(&choice);
}

static void test_errors(void **state) {
    (void)state;
    expect_error("dead-unit", "unknown problem 'dead-unit': did you mean 'dead-units'?");
    expect_error("plateau,vanishing",
                 "unknown problem 'vanishing': did you mean 'vanishing-gradient'?");
    expect_error("xyz:a", "unknown problem 'xyz'; 'backprobe explain' lists them");
    expect_error("xyz*", "unknown problem 'xyz*'; 'backprobe explain' lists them");
    expect_error("plateau,", "unknown problem ''; 'backprobe explain' lists them");
    expect_error("plateau:", "expected names of layers after 'plateau:'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_parents),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
