/* SPDX-License-Identifier: Apache-2.0 */
/* A series that is made from the bytes of a record is what plain arithmetic on the decoded record
 * gives. */
#include "encoded.h"
#include "record/log16.h"
#include "record/series.h"

#include <math.h>
#include <string.h>

enum { ROWS = ENCODED_WIDE + 1 };

/* Layers 4 ... 6 are a branch, 7 is the sum behind it. */
static bp_model *a_model(void) {
    bp_model *model;
    const int64_t input[3] = {4, 1, 1};
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (uint32_t id = 1; id <= ENCODED_WIDE; id++) {
        const bp_layer layer = {.kind = id == 7 ? BP_LAYER_RESIDUAL : BP_LAYER_DENSE,
                                .output_shape = {4, 1, 1},
                                .depth_in_blocks = id >= 4 && id <= 6,
                                .branch_scale = 1,
                                .skip_from = 3,
                                .n_branch = 3};
        bp_error error;
        if (bp_model_add_layer(model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    }
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    assert_int_equal(bp_model_n_cuts(model), ENCODED_WIDE - 3);
    return model;
}

/* --- plain arithmetic ------------------------------------------------------------------------- */

/* A number, or none. */
typedef struct plain {
    bool has;
    double value;
} plain;

static plain recorded(const bp_record *record, bp_quantity quantity, uint32_t row) {
    return (plain){bp_record_has(record, quantity, row), bp_record_get(record, quantity, row)};
}

static bool counts(const bp_record *record, bp_quantity quantity, uint32_t row) {
    const plain count = recorded(record, quantity, row);
    return count.has && count.value > 0;
}

/* What was finite, and that not all was. */
static plain shown(const bp_record *record, bp_quantity quantity, uint32_t row, bp_quantity nan,
                   bp_quantity inf) {
    if (counts(record, nan, row)) return (plain){true, (double)NAN};
    if (counts(record, inf, row)) return (plain){true, (double)INFINITY};
    return recorded(record, quantity, row);
}

static plain shown_error(const bp_record *record, uint32_t row) {
    return shown(record, BP_Q_ERROR_NORM, row, BP_Q_ERROR_NAN, BP_Q_ERROR_INF);
}

static plain quotient(plain a, plain b) {
    const double value = a.value / b.value;
    const bool by_zero = b.value == 0.0 && isfinite(a.value);
    if (!a.has || !b.has || by_zero) return (plain){false, 0};
    return (plain){true, bp_log16_decode(bp_log16_encode(value))};
}

static plain sum(const bp_record *record, uint32_t row) {
    static const bp_quantity terms[] = {
        BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF, BP_Q_ERROR_NAN,    BP_Q_ERROR_INF,
        BP_Q_PARAMETER_NAN,  BP_Q_PARAMETER_INF,  BP_Q_GRADIENT_NAN, BP_Q_GRADIENT_INF};
    plain all = {false, 0.0};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        const plain term = recorded(record, terms[i], row);
        if (term.has) all = (plain){true, all.value + term.value};
    }
    all.value = bp_log16_decode(bp_log16_encode(all.value));
    return all;
}

static plain expected(const bp_record *record, bp_series series, uint32_t row) {
    const bool cut = row > 0 && !(row >= 4 && row <= 6);
    switch ((int)series) {
    case BP_SERIES_GAIN:
        if (!cut) return (plain){false, 0};
        return quotient(shown_error(record, row == 7 ? 3 : row - 1), shown_error(record, row));
    case BP_SERIES_UPDATE_RATIO:
        return quotient(
            shown(record, BP_Q_UPDATE_RMS, row, BP_Q_UPDATE_BAD, BP_Q_UPDATE_BAD),
            shown(record, BP_Q_WEIGHT_RMS, row, BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF));
    case BP_SERIES_DEAD_FRACTION:
        return quotient(recorded(record, BP_Q_DEAD_UNITS, row), recorded(record, BP_Q_UNITS, row));
    case BP_SERIES_SATURATED_FRACTION:
        return quotient(recorded(record, BP_Q_SATURATED_UNITS, row),
                        recorded(record, BP_Q_UNITS, row));
    default:
        return sum(record, row);
    }
}

/* How many of them were measured. */
static unsigned assert_codes(const bp_record *record, bp_series series, const uint16_t *codes,
                             bool made) {
    unsigned n = 0;
    for (uint32_t row = 0; row < ROWS; row++) {
        const plain wanted = expected(record, series, row);
        n += wanted.has;
        if (!made) continue;
        assert_int_equal(codes[row] != BP_CODE_ABSENT, wanted.has);
        const double value = bp_log16_decode(codes[row]);
        if (wanted.has && value != wanted.value && !(isnan(value) && isnan(wanted.value)))
            fail_msg("%s, row %u: %.17g is not %.17g", bp_series_name(series), (unsigned)row, value,
                     wanted.value);
    }
    assert_int_equal(made, n > 0);
    return n;
}

static void derived_of_random_records(void **state) {
    (void)state;
    unsigned n[BP_N_SERIES] = {0};
    bp_model *model = a_model();
    for (uint64_t seed = 0; seed < 400; seed++) {
        encoded b;
        encoded_start(&b, seed);
        for (unsigned i = BP_N_QUANTITIES; i < BP_N_SERIES; i++) {
            const bp_series series = (bp_series)i;
            bp_series_maker maker;
            bp_sources sources;
            uint16_t codes[ROWS];
            bool found;
            assert_true(bp_series_maker_init(&maker, series, model, NULL));
            assert_int_equal(maker.n_rows, ROWS);
            assert_int_equal(bp_sources_find(&sources, &found, series, b.bytes, b.length), BP_OK);
            assert_true(found || !bp_series_is_in(series, b.record.columns));
            const bool made = found && bp_series_make(&maker, &sources, codes);
            if (found) assert_int_equal(sources.step, b.record.step);
            if (found) assert_int_equal(sources.n_layers, ENCODED_LAYERS);
            n[i] += assert_codes(&b.decoded, series, codes, made);
            bp_series_maker_finish(&maker, NULL);
        }
        encoded_stop(&b);
    }
    for (unsigned i = BP_N_QUANTITIES; i < BP_N_SERIES; i++) assert_true(n[i] > 100);
    bp_model_close(model);
}

/* Sizes that were recorded over what was finite are not shown as if all had been. */
static void recorded_beside_what_was_not_finite(void **state) {
    (void)state;
    static const struct {
        bp_quantity own, nan, inf;
    } all[] = {{BP_Q_ACTIVATION_NORM, BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF},
               {BP_Q_ACTIVATION_RMS, BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF},
               {BP_Q_ACTIVATION_MAX, BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF},
               {BP_Q_ERROR_NORM, BP_Q_ERROR_NAN, BP_Q_ERROR_INF},
               {BP_Q_ERROR_RMS, BP_Q_ERROR_NAN, BP_Q_ERROR_INF},
               {BP_Q_ERROR_MAX, BP_Q_ERROR_NAN, BP_Q_ERROR_INF},
               {BP_Q_WEIGHT_RMS, BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF},
               {BP_Q_WEIGHT_MAX, BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF},
               {BP_Q_BIAS_RMS, BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF},
               {BP_Q_GRADIENT_RMS, BP_Q_GRADIENT_NAN, BP_Q_GRADIENT_INF},
               {BP_Q_GRADIENT_MAX, BP_Q_GRADIENT_NAN, BP_Q_GRADIENT_INF},
               {BP_Q_BIAS_GRADIENT_RMS, BP_Q_GRADIENT_NAN, BP_Q_GRADIENT_INF},
               {BP_Q_UPDATE_RMS, BP_Q_UPDATE_BAD, BP_Q_UPDATE_BAD}};
    bp_model *model = a_model();
    unsigned n_marked = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (uint64_t seed = 0; seed < 100; seed++) {
            const bp_series series = bp_series_of(all[i].own);
            encoded b;
            bp_series_maker maker;
            bp_sources sources;
            uint16_t codes[ROWS];
            bool found;
            encoded_start(&b, seed);
            assert_true(bp_series_maker_init(&maker, series, model, NULL));
            assert_int_equal(bp_sources_find(&sources, &found, series, b.bytes, b.length), BP_OK);
            const bool made = found && bp_series_make(&maker, &sources, codes);
            bool any = false;
            for (uint32_t row = 0; row < ROWS; row++) {
                const plain wanted = shown(&b.decoded, all[i].own, row, all[i].nan, all[i].inf);
                any = any || wanted.has;
                if (!made) continue;
                const double value = bp_log16_decode(codes[row]);
                assert_int_equal(codes[row] != BP_CODE_ABSENT, wanted.has);
                if (wanted.has) assert_true(value == wanted.value || isnan(wanted.value));
                if (wanted.has) assert_int_equal(isnan(value) != 0, isnan(wanted.value) != 0);
                n_marked += wanted.has && !isfinite(wanted.value);
            }
            assert_int_equal(made, any);
            bp_series_maker_finish(&maker, NULL);
            encoded_stop(&b);
        }
    assert_true(n_marked > 1000);
    bp_model_close(model);
}

/* Which numbers there are is told by rule, not by what floating point does. */
static void quotients_of_what_is_special(void **state) {
    (void)state;
    const double nan = (double)NAN, inf = (double)INFINITY;
    const struct {
        double update, weight, ratio;
        bool has;
    } cases[] = {
        {2.0, 4.0, 0.5, true},
        {0.0, 4.0, 0.0, true},
        {3.0, 0.0, 0.0, false},
        {0.0, 0.0, 0.0, false},
        {nan, 4.0, nan, true},
        {4.0, nan, nan, true},
        {nan, 0.0, nan, true},
        {0.0, nan, nan, true},
        {inf, 4.0, inf, true},
        {inf, 0.0, inf, true},
        {4.0, inf, 0.0, true},
        {inf, inf, nan, true},
        {nan, inf, nan, true},
        {0x1p130, 0x1p-100, 0x1p134, true},
        {0x1p-100, 0x1p100, 0x1p-152, true},
    };
    bp_model *model = a_model();
    bp_series_maker maker;
    bp_record record;
    uint8_t bytes[ENCODED_BYTES];
    assert_int_equal(bp_record_init(&record, ENCODED_WIDE, NULL), BP_OK);
    assert_true(bp_series_maker_init(&maker, BP_SERIES_UPDATE_RATIO, model, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bp_writer writer;
        bp_sources sources;
        uint16_t codes[ROWS];
        bool found;
        bp_record_clear(&record);
        bp_record_set(&record, BP_Q_UPDATE_RMS, 5, cases[i].update);
        bp_record_set(&record, BP_Q_WEIGHT_RMS, 5, cases[i].weight);
        bp_writer_init(&writer, bytes, sizeof bytes);
        bp_record_encode(&record, &writer);
        assert_int_equal(
            bp_sources_find(&sources, &found, BP_SERIES_UPDATE_RATIO, bytes, writer.length), BP_OK);
        assert_true(found);
        assert_int_equal(bp_series_make(&maker, &sources, codes), cases[i].has);
        const double ratio = bp_log16_decode(codes[5]);
        if (!cases[i].has) assert_int_equal(codes[5], BP_CODE_ABSENT);
        if (cases[i].has) assert_true(ratio == cases[i].ratio || isnan(cases[i].ratio));
        if (cases[i].has) assert_int_equal(isnan(ratio) != 0, isnan(cases[i].ratio) != 0);
    }
    bp_series_maker_finish(&maker, NULL);
    bp_record_finish(&record, NULL);
    bp_model_close(model);
}

static void what_is_told_of_them(void **state) {
    (void)state;
    bp_series series;
    for (unsigned i = 0; i < BP_N_SERIES; i++) {
        const char *name = bp_series_name((bp_series)i);
        assert_non_null(bp_series_meaning((bp_series)i));
        assert_true(bp_series_find(&series, name));
        assert_int_equal(series, i); /* so no two have the same name */
        for (unsigned k = 0; k < i; k++)
            assert_true(bp_series_number((bp_series)k) < bp_series_number((bp_series)i));
    }
    assert_string_equal(bp_series_name(bp_series_of(BP_Q_LOSS)), "loss");
    assert_string_equal(bp_series_meaning(bp_series_of(BP_Q_LOSS)),
                        "of the batch, before the update");
    assert_string_equal(bp_series_name(BP_SERIES_GAIN), "gain");
    assert_int_equal(bp_series_number(BP_SERIES_NON_FINITE), 1004);
    assert_false(bp_series_find(&series, "gains"));
    assert_null(bp_series_name(BP_N_SERIES));
    assert_null(bp_series_meaning(BP_N_SERIES));
    assert_int_equal(bp_series_number(BP_N_SERIES), 0);
    assert_false(bp_series_is_in(BP_N_SERIES, UINT64_MAX));
    assert_false(bp_series_is_of_layers(bp_series_of(BP_Q_LOSS)));
    assert_true(bp_series_is_of_layers(bp_series_of(BP_Q_UNITS)));
    assert_false(bp_series_is_log16(bp_series_of(BP_Q_UNITS)));
    assert_true(bp_series_is_log16(bp_series_of(BP_Q_ERROR_NORM)));
    assert_true(bp_series_is_of_layers(BP_SERIES_GAIN) && bp_series_is_log16(BP_SERIES_GAIN));
}

static void truncations_and_flips(void **state) {
    (void)state;
    encoded b;
    bp_model *model = a_model();
    encoded_start(&b, 4);
    for (unsigned i = BP_N_QUANTITIES; i < BP_N_SERIES; i++) {
        const bp_series series = (bp_series)i;
        bp_series_maker maker;
        bp_sources sources;
        uint16_t codes[ROWS];
        bool found;
        assert_true(bp_series_maker_init(&maker, series, model, NULL));
        for (size_t bit = 0; bit < 8 * b.length; bit++) {
            b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bp_sources_find(&sources, &found, series, b.bytes, b.length) == BP_OK && found)
                (void)!bp_series_make(&maker, &sources, codes);
            b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        bp_series_maker_finish(&maker, NULL);
    }
    encoded_stop(&b);
    bp_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derived_of_random_records),
        cmocka_unit_test(recorded_beside_what_was_not_finite),
        cmocka_unit_test(quotients_of_what_is_special),
        cmocka_unit_test(what_is_told_of_them),
        cmocka_unit_test(truncations_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
