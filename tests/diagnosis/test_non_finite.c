/* SPDX-License-Identifier: Apache-2.0 */
/* The first non-finite value and the words for it. */
#include "chain.h"

/* One record in which a layer's activation holds NaN; the cause that is told. */
static void expect_cause(bp_layer_kind kind, const char *words) {
    const bp_layer layers[] = {
        {.kind = kind, .output_shape = {4, 1, 1}, .vocabulary = 10},
        {.kind = BP_LAYER_DENSE, .output_shape = {4, 1, 1}},
    };
    const int64_t input[3] = {3, 1, 1};
    bp_model *model;
    bp_diagnosis *diagnosis;
    bp_record record;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(bp_model_add_layer(model, &layers[i], NULL, NULL), BP_OK);
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    assert_int_equal(bp_diagnosis_open(&diagnosis, model, NULL, NULL), BP_OK);
    assert_int_equal(bp_record_init(&record, 2, bp_allocator_or_system(NULL)), BP_OK);
    bp_record_set(&record, BP_Q_ACTIVATION_NAN, 0, 0);
    bp_record_set(&record, BP_Q_ACTIVATION_MAX, 0, 3.5);
    bp_record_set(&record, BP_Q_ACTIVATION_NAN, 1, 12);
    bp_record_set(&record, BP_Q_ACTIVATION_NAN, 2, 4);
    bp_record_set(&record, BP_Q_LOSS, 0, (double)NAN);
    assert_int_equal(bp_diagnosis_step(diagnosis, &record), 1);
    const bp_finding *finding = bp_diagnosis_finding(diagnosis, 0);
    assert_int_equal(finding->problem, BP_PROBLEM_NON_FINITE);
    assert_int_equal(finding->n_layers, 1);
    assert_int_equal(finding->layers[0], 1);
    if (!strstr(finding->cause, words)) fail_msg("expected '%s' in '%s'", words, finding->cause);
    bp_record_finish(&record, bp_allocator_or_system(NULL));
    bp_diagnosis_close(diagnosis);
    bp_model_close(model);
}

static void a_layer_makes_it(void **state) {
    (void)state;
    expect_cause(BP_LAYER_DENSE, "what went into it was finite, 12 values that came out are not");
    expect_cause(BP_LAYER_DENSE, "largest magnitude before: 3.5");
    expect_cause(BP_LAYER_DENSE, "1 other layers passed it on");
}

static void numbers_are_no_tokens(void **state) {
    (void)state;
    expect_cause(BP_LAYER_EMBEDDING, "12 values that came out are not finite: the data hold "
                                     "numbers that are no tokens, for these are whole and from "
                                     "0 to 9");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_makes_it),
        cmocka_unit_test(numbers_are_no_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
