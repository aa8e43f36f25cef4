/* SPDX-License-Identifier: Apache-2.0 */
/* Two runs of three layers each, whose records are made by hand. */
#include "fixture.h"
#include "report/apart.h"

typedef struct pair {
    bp_model *models[2];
    bp_record a, b;
    bp_apart apart;
    bp_apart_place *places;
    size_t n;
} pair;

static bp_model *network(const char *const names[3]) {
    bp_model *model;
    const int64_t input[3] = {4, 1, 1};
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (int i = 0; i < 3; i++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .name = names[i],
                                .activation = BP_ACTIVATION_RELU,
                                .norm = BP_NORM_NONE,
                                .output_shape = {4, 1, 1},
                                .weight_init = {BP_INIT_HE, 1},
                                .bias_init = {BP_INIT_ZEROS, 0}};
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    return model;
}

static void set_all(bp_record *record, int64_t step) {
    bp_record_clear(record);
    record->step = step;
    bp_record_set(record, BP_Q_LOSS, 0, 1.0 / (double)(step + 1));
    bp_record_set(record, BP_Q_LEARNING_RATE, 0, 0.1);
    for (uint32_t row = 0; row <= 3; row++) bp_record_set(record, BP_Q_ACTIVATION_RMS, row, 0.5);
    for (uint32_t row = 1; row <= 3; row++) {
        bp_record_set(record, BP_Q_WEIGHT_RMS, row, 0.2);
        bp_record_set(record, BP_Q_ERROR_RMS, row, 0.01);
        bp_record_set(record, BP_Q_GRADIENT_RMS, row, 0.02);
        bp_record_set(record, BP_Q_GRADIENT_COSINE, row, 0.5);
        bp_record_set(record, BP_Q_UPDATE_RMS, row, 0.002);
    }
}

static void open_pair(pair *p, const char *const a[3], const char *const b[3], double tolerance) {
    *p = (pair){.models = {network(a), network(b)}};
    assert_int_equal(bp_record_init(&p->a, 3, NULL), BP_OK);
    assert_int_equal(bp_record_init(&p->b, 3, NULL), BP_OK);
    assert_int_equal(bp_apart_open(&p->apart, p->models[0], p->models[1], tolerance, NULL), BP_OK);
    set_all(&p->a, 0);
    set_all(&p->b, 0);
}

static void close_pair(pair *p) {
    free(p->places);
    bp_apart_close(&p->apart);
    bp_record_finish(&p->a, NULL);
    bp_record_finish(&p->b, NULL);
    bp_model_close(p->models[0]);
    bp_model_close(p->models[1]);
}

/* Takes both records as they stand, and makes those of the next step. */
static void step(pair *p) {
    const int64_t next = p->a.step + 1;
    bp_apart_step(&p->apart, &p->a, &p->b);
    set_all(&p->a, next);
    set_all(&p->b, next);
}

static void look(pair *p) {
    assert_int_equal(bp_apart_places(&p->apart, &p->places, &p->n, NULL), BP_OK);
}

static void expect(const pair *p, size_t index, int64_t first, bp_phase phase, uint32_t row) {
    assert_true(index < p->n);
    const bp_apart_place *place = &p->places[index];
    if (place->cell->first_step != first || place->phase != phase || place->row != row)
        fail_msg("%zu: step %lld, %s, row %u", index, (long long)place->cell->first_step,
                 bp_phase_name(place->phase), place->row);
}

static const char *const plain[3] = {"one", "two", "three"};

static void test_same(void **state) {
    (void)state;
    pair p;
    open_pair(&p, plain, plain, 0);
    for (int i = 0; i < 5; i++) step(&p);
    look(&p);
    assert_int_equal(p.n, 0);
    assert_null(p.places);
    assert_int_equal(p.apart.n_common, 5);
    assert_int_equal(p.apart.last_common, 4);
    assert_false(bp_apart_networks(&p.apart));
    close_pair(&p);
}

/* Sorted by step, then as a step is computed: backward from the loss to the input. */
static void test_order(void **state) {
    (void)state;
    pair p;
    open_pair(&p, plain, plain, 0);
    step(&p);
    bp_record_set(&p.b, BP_Q_UPDATE_RMS, 1, 0.5);
    bp_record_set(&p.b, BP_Q_LEARNING_RATE, 0, 0.2);
    bp_record_set(&p.b, BP_Q_GRADIENT_RMS, 2, 0.5);
    bp_record_set(&p.b, BP_Q_ERROR_RMS, 1, 0.5);
    bp_record_set(&p.b, BP_Q_ERROR_RMS, 3, 0.5);
    bp_record_set(&p.b, BP_Q_LOSS, 0, 7);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 3, 0.6);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 2, 0.6);
    step(&p);
    bp_record_set(&p.b, BP_Q_WEIGHT_RMS, 3, 0.6);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 0, 0.6);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 2, 0.7);
    step(&p);
    look(&p);
    assert_int_equal(p.n, 10);
    expect(&p, 0, 1, BP_PHASE_FORWARD, 2);
    expect(&p, 1, 1, BP_PHASE_FORWARD, 3);
    expect(&p, 2, 1, BP_PHASE_LOSS, 0);
    expect(&p, 3, 1, BP_PHASE_BACKWARD, 3);
    expect(&p, 4, 1, BP_PHASE_BACKWARD, 1);
    expect(&p, 5, 1, BP_PHASE_GRADIENT, 2);
    expect(&p, 6, 1, BP_PHASE_LEARNING_RATE, 0);
    expect(&p, 7, 1, BP_PHASE_UPDATE, 1);
    expect(&p, 8, 2, BP_PHASE_DATA, 0);
    expect(&p, 9, 2, BP_PHASE_PARAMETERS, 3);
    assert_true(p.places[0].cell->b == 0.6 && p.places[0].cell->last_b == 0.7);
    assert_int_equal(p.places[0].cell->n_different, 2);
    assert_int_equal(p.places[0].cell->n_compared, 3);
    close_pair(&p);
}

/* The loss in its last bit; a logarithm by more than a code; NaN is the same as NaN. */
static void test_what_counts(void **state) {
    (void)state;
    pair p;
    open_pair(&p, plain, plain, 0);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 1, 0.5 * 1.003);
    bp_record_set(&p.a, BP_Q_ACTIVATION_RMS, 2, (double)NAN);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 2, (double)NAN);
    step(&p);
    bp_record_set(&p.b, BP_Q_LOSS, 0, nextafter(0.5, 1));
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 1, 0.5 * 1.007);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 2, (double)NAN);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 3, 0);
    step(&p);
    look(&p);
    assert_int_equal(p.n, 4);
    expect(&p, 0, 1, BP_PHASE_FORWARD, 1);
    expect(&p, 1, 1, BP_PHASE_FORWARD, 2);
    assert_true(isinf(bp_apart_difference(p.places[1].cell->a, p.places[1].cell->b)));
    expect(&p, 2, 1, BP_PHASE_FORWARD, 3);
    expect(&p, 3, 1, BP_PHASE_LOSS, 0);
    close_pair(&p);
    open_pair(&p, plain, plain, 0.01);
    bp_record_set(&p.b, BP_Q_LOSS, 0, 1.005);
    bp_record_set(&p.b, BP_Q_ACTIVATION_RMS, 1, 0.51);
    step(&p);
    look(&p);
    assert_int_equal(p.n, 1);
    expect(&p, 0, 0, BP_PHASE_FORWARD, 1);
    close_pair(&p);
}

/* What one alone has is counted; what spans steps is no longer compared. */
static void test_sparse(void **state) {
    (void)state;
    pair p;
    open_pair(&p, plain, plain, 0);
    step(&p);
    bp_record_clear(&p.b);
    p.b.step = 1;
    bp_record_set(&p.b, BP_Q_LOSS, 0, 0.5);
    step(&p);
    bp_apart_step(&p.apart, &p.a, NULL);
    set_all(&p.a, 3);
    set_all(&p.b, 3);
    bp_record_set(&p.b, BP_Q_GRADIENT_COSINE, 1, -1);
    step(&p);
    look(&p);
    assert_int_equal(p.n, 0);
    assert_int_equal(p.apart.n_common, 3);
    assert_int_equal(p.apart.only_a, 1);
    assert_int_equal(p.apart.last_a, 3);
    assert_int_equal(p.apart.cells[BP_N_QUANTITIES + BP_Q_WEIGHT_RMS].only_a, 1);
    assert_int_equal(p.apart.cells[BP_N_QUANTITIES + BP_Q_WEIGHT_RMS].n_compared, 2);
    close_pair(&p);
}

/* Layers are the same by name, wherever they stand. */
static void test_other_network(void **state) {
    (void)state;
    static const char *const other[3] = {"zero", "three", "one"};
    pair p;
    open_pair(&p, plain, other, 0);
    assert_int_equal(p.apart.n_rows, 3);
    assert_true(bp_apart_networks(&p.apart));
    assert_true(bp_apart_is_single(&p.apart, true, 2));
    assert_false(bp_apart_is_single(&p.apart, true, 3));
    assert_true(bp_apart_is_single(&p.apart, false, 1));
    bp_record_set(&p.b, BP_Q_WEIGHT_RMS, 1, 0.9); /* of "zero" */
    bp_record_set(&p.b, BP_Q_WEIGHT_RMS, 2, 0.8); /* of "three" */
    step(&p);
    look(&p);
    assert_int_equal(p.n, 1);
    expect(&p, 0, 0, BP_PHASE_PARAMETERS, 2);
    assert_int_equal(p.apart.row_a[2], 3);
    assert_int_equal(p.apart.row_b[2], 2);
    close_pair(&p);
}

static void test_settings(void **state) {
    (void)state;
    pair p;
    bp_apart_setting settings[BP_APART_MAX_SETTINGS];
    open_pair(&p, plain, plain, 0);
    const bp_recipe a = {.loss = BP_MSE, .learning_rate = 0.1, .seed = 1};
    const bp_recipe b = {.loss = BP_MAE, .learning_rate = 0.1, .seed = 2};
    bp_model_set_recipe(p.models[0], &a);
    bp_model_set_recipe(p.models[1], &b);
    assert_int_equal(bp_apart_recipe(&p.apart, settings), 2);
    assert_string_equal(settings[0].key, "loss");
    assert_string_equal(settings[0].b, "mae");
    assert_string_equal(settings[1].key, "seed");
    assert_string_equal(settings[1].a, "1");
    assert_int_equal(bp_apart_layer(&p.apart, 0, settings), 0);
    assert_int_equal(bp_apart_layer(&p.apart, 1, settings), 0);
    close_pair(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),          cmocka_unit_test(test_order),
        cmocka_unit_test(test_what_counts),   cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_other_network), cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
