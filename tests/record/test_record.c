/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"
#include "record/quantity.h"
#include "record/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_new_record_is_empty(void **state) {
    (void)state;
    bp_record record;
    assert_int_equal(bp_record_init(&record, 3, NULL), BP_OK);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row <= 3; row++) {
            assert_false(bp_record_has(&record, (bp_quantity)q, row));
            assert_true(isnan(bp_record_get(&record, (bp_quantity)q, row)));
        }
    bp_record_finish(&record, NULL);
}

static void absent_zero_and_nan_differ(void **state) {
    (void)state;
    bp_record record;
    assert_int_equal(bp_record_init(&record, 2, NULL), BP_OK);
    bp_record_set(&record, BP_Q_WEIGHT_RMS, 1, 0.0);
    bp_record_set(&record, BP_Q_WEIGHT_RMS, 2, (double)NAN);
    assert_false(bp_record_has(&record, BP_Q_WEIGHT_RMS, 0));
    assert_true(bp_record_has(&record, BP_Q_WEIGHT_RMS, 1));
    assert_true(bp_record_get(&record, BP_Q_WEIGHT_RMS, 1) == 0.0);
    assert_true(bp_record_has(&record, BP_Q_WEIGHT_RMS, 2));
    record.step = 7;
    record.flags = 1;
    bp_record_clear(&record);
    assert_false(bp_record_has(&record, BP_Q_WEIGHT_RMS, 1));
    assert_int_equal(record.step, 0);
    assert_int_equal(record.flags, 0);
    bp_record_finish(&record, NULL);
}

static void a_place_that_is_none_is_ignored(void **state) {
    (void)state;
    bp_record record;
    assert_int_equal(bp_record_init(&record, 2, NULL), BP_OK);
    bp_record_set(&record, BP_Q_LOSS, 1, 1.0); /* a number of the network, not of a layer */
    bp_record_set(&record, BP_Q_WEIGHT_RMS, 3, 1.0);
    bp_record_set(&record, BP_N_QUANTITIES, 0, 1.0);
    for (size_t i = 0; i < BP_N_QUANTITIES * 3u; i++) assert_int_equal(record.measured[i], 0);
    assert_false(bp_record_has(&record, BP_Q_WEIGHT_RMS, 3));
    bp_record_finish(&record, NULL);
}

static void names_and_numbers_are_pinned(void **state) {
    (void)state;
    assert_string_equal(bp_quantity_name(BP_Q_LOSS), "loss");
    assert_string_equal(bp_quantity_name(BP_Q_EFFECT), "effect");
    assert_null(bp_quantity_name(BP_N_QUANTITIES));
    assert_int_equal(bp_quantity_table[BP_Q_LOSS].number, 1);
    assert_int_equal(bp_quantity_table[BP_Q_ERROR_NORM].number, 32);
    assert_int_equal(bp_quantity_table[BP_Q_EFFECT].number, 81);
    /* The codec relies on it; and no number is given twice. */
    for (unsigned q = 1; q < BP_N_QUANTITIES; q++)
        assert_true(bp_quantity_table[q].number > bp_quantity_table[q - 1].number);
}

typedef struct meagre {
    int left;
    long in_use;
} meagre;

static void *meagre_resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    meagre *m = context;
    if (new_bytes && m->left-- <= 0) return NULL;
    m->in_use += (long)new_bytes - (long)(block ? old_bytes : 0);
    if (new_bytes) return realloc(block, new_bytes);
    free(block);
    return NULL;
}

static void every_failing_allocation(void **state) {
    (void)state;
    for (int n = 0;; n++) {
        assert_true(n < 10);
        meagre m = {.left = n};
        const bp_allocator allocator = {meagre_resize, &m};
        bp_record record;
        const bp_status status = bp_record_init(&record, 5, &allocator);
        if (status == BP_OK) bp_record_finish(&record, &allocator);
        assert_int_equal(m.in_use, 0);
        if (status == BP_OK) break;
        assert_int_equal(status, BP_ERROR_MEMORY);
    }
}

static void too_many_layers(void **state) {
    (void)state;
    bp_record record;
    assert_int_equal(bp_record_init(&record, UINT32_MAX, NULL), BP_ERROR_LIMIT);
    assert_int_equal(bp_record_init(&record, BP_MODEL_MAX_LAYERS + 1, NULL), BP_ERROR_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_record_is_empty),
        cmocka_unit_test(absent_zero_and_nan_differ),
        cmocka_unit_test(a_place_that_is_none_is_ignored),
        cmocka_unit_test(names_and_numbers_are_pinned),
        cmocka_unit_test(every_failing_allocation),
        cmocka_unit_test(too_many_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
