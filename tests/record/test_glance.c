/* SPDX-License-Identifier: Apache-2.0 */
#include "record/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LAYERS = 9, CAPACITY = 8192 };

static size_t encode(const bp_record *record, uint8_t *bytes) {
    bp_writer writer;
    bp_writer_init(&writer, bytes, CAPACITY);
    bp_record_encode(record, &writer);
    assert_false(writer.cut);
    return writer.length;
}

static bool look(const bp_record *record, bp_record_glance *glance) {
    uint8_t bytes[CAPACITY];
    bp_cursor cursor;
    bp_cursor_init(&cursor, bytes, encode(record, bytes));
    return bp_record_look(glance, &cursor);
}

/* A full record: all rows of some columns, a bitmap in others. */
static void fill(bp_record *record, int64_t step) {
    bp_record_clear(record);
    record->step = step;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row <= LAYERS; row++)
            if (row == 0 || q % 3 || row != 4) bp_record_set(record, (bp_quantity)q, row, 0.0);
}

static void steps_and_non_finite_values_are_seen(void **state) {
    (void)state;
    const bp_quantity counts[] = {BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF, BP_Q_ERROR_NAN,
                                  BP_Q_ERROR_INF,      BP_Q_PARAMETER_NAN,  BP_Q_PARAMETER_INF,
                                  BP_Q_GRADIENT_NAN,   BP_Q_GRADIENT_INF,   BP_Q_UPDATE_BAD};
    const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    bp_record record;
    bp_record_glance glance;
    assert_int_equal(bp_record_init(&record, LAYERS, NULL), BP_OK);
    fill(&record, INT64_MAX);
    assert_true(look(&record, &glance));
    assert_true(glance.step == INT64_MAX && !glance.non_finite);
    bp_record_set(&record, BP_Q_STALLED, 3, 700.0); /* a count, but not of such values */
    bp_record_set(&record, BP_Q_SAMPLES, 0, 64.0);
    bp_record_set(&record, BP_Q_VARIATION, 2, (double)NAN); /* 0 / 0 in a healthy net */
    assert_true(look(&record, &glance) && !glance.non_finite);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fill(&record, 1);
        bp_record_set(&record, BP_Q_LOSS, 0, bad[i]);
        assert_true(look(&record, &glance) && glance.non_finite);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (uint32_t row = 0; row <= LAYERS; row++) {
            fill(&record, (int64_t)i);
            bp_record_set(&record, counts[i], row, row % 2 ? 1.0 : 1e9);
            assert_true(look(&record, &glance) && glance.non_finite);
            assert_int_equal(glance.step, i);
        }
    bp_record_finish(&record, NULL);
}

static void what_is_cut_is_no_record(void **state) {
    (void)state;
    uint8_t bytes[CAPACITY];
    bp_record record;
    bp_record_glance glance;
    bp_cursor cursor;
    assert_int_equal(bp_record_init(&record, LAYERS, NULL), BP_OK);
    fill(&record, 77);
    const size_t length = encode(&record, bytes);
    for (size_t n = 0; n < length; n++) {
        bp_cursor_init(&cursor, bytes, n);
        assert_false(bp_record_look(&glance, &cursor));
    }
    bytes[length] = 0;
    bp_cursor_init(&cursor, bytes, length + 1);
    assert_false(bp_record_look(&glance, &cursor));
    bp_record_finish(&record, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_and_non_finite_values_are_seen),
        cmocka_unit_test(what_is_cut_is_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
