/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "model/model.h"

#include <math.h>
#include <string.h>

static bp_layer dense(int64_t units, bp_activation activation) {
    return (bp_layer){.kind = BP_LAYER_DENSE,
                      .activation = activation,
                      .has_bias = true,
                      .output_shape = {units, 1, 1},
                      .weight_init = {BP_INIT_XAVIER, 1},
                      .bias_init = {BP_INIT_ZEROS, 0}};
}

static uint32_t add(bp_model *model, bp_layer layer) {
    uint32_t id = 0;
    bp_error error;
    assert_int_equal(bp_model_add_layer(model, &layer, &id, &error), BP_OK);
    return id;
}

static bp_model *open_model(void) {
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    return model;
}

static void norm_and_activation_join_the_operator_before_them(void **state) {
    (void)state;
    bp_model *model = open_model();
    assert_int_equal(add(model, dense(8, BP_ACTIVATION_LINEAR)), 1);
    assert_int_equal(add(model, (bp_layer){.kind = BP_LAYER_BATCH_NORM}), 1);
    assert_int_equal(
        add(model, (bp_layer){.kind = BP_LAYER_ACTIVATION, .activation = BP_ACTIVATION_RELU}), 1);
    assert_int_equal(add(model, dense(8, BP_ACTIVATION_TANH)), 2);
    assert_int_equal(add(model, (bp_layer){.kind = BP_LAYER_LAYER_NORM}), 2);
    const bp_layer *first = bp_model_layer(model, 1), *second = bp_model_layer(model, 2);
    assert_int_equal(first->norm, BP_NORM_BATCH);
    assert_false(first->norm_after_activation);
    assert_int_equal(first->activation, BP_ACTIVATION_RELU);
    assert_int_equal(second->norm, BP_NORM_LAYER);
    assert_true(second->norm_after_activation);
    /* a second norm, and one at the start of a block, stand for themselves */
    assert_int_equal(add(model, (bp_layer){.kind = BP_LAYER_LAYER_NORM}), 3);
    add(model, dense(8, BP_ACTIVATION_LINEAR));
    assert_int_equal(add(model, (bp_layer){.kind = BP_LAYER_LAYER_NORM, .depth_in_blocks = 1}), 5);
    bp_model_close(model);
}

static bp_model *residual_model(void) {
    bp_model *model = open_model();
    add(model, dense(8, BP_ACTIVATION_RELU));
    bp_layer inner = dense(8, BP_ACTIVATION_RELU);
    inner.depth_in_blocks = 1;
    add(model, inner);
    add(model, inner);
    add(model,
        (bp_layer){.kind = BP_LAYER_RESIDUAL, .skip_from = 1, .n_branch = 2, .branch_scale = 1});
    add(model, dense(4, BP_ACTIVATION_LINEAR));
    return model;
}

static void weights_of_an_unknown_kind_are_trained_when_their_fans_are_told(void **state) {
    (void)state;
    const bp_layer told = {.kind = BP_LAYER_OTHER, .fan_in = 12, .fan_out = 4};
    const bp_layer frozen = {.kind = BP_LAYER_OTHER, .fan_in = 12, .fan_out = 4, .frozen = true};
    const bp_layer untold = {.kind = BP_LAYER_OTHER};
    assert_true(bp_layer_has_weights(&told));
    assert_true(bp_layer_is_trained(&told));
    assert_false(bp_layer_is_trained(&frozen));
    assert_false(bp_layer_has_weights(&untold));
    assert_false(bp_layer_is_weighted_sum(&told)); /* theory says nothing of it */
}

static void cut_points_leave_branches_out(void **state) {
    (void)state;
    bp_model *model = residual_model();
    const uint32_t expected[] = {0, 1, 4, 5};
    assert_int_equal(bp_model_n_cuts(model), 3);
    for (uint32_t k = 0; k <= 3; k++) assert_int_equal(bp_model_cut(model, k), expected[k]);
    assert_false(bp_model_cut_is_normalised(model, 2));
    assert_string_equal(bp_model_layer(model, 4)->name, "residual_4");
    bp_model_close(model);
}

static void shapes_and_fans_follow_from_the_input(void **state) {
    (void)state;
    bp_model *model = open_model();
    add(model, (bp_layer){.kind = BP_LAYER_AVG_POOL, .pool = 2});
    add(model, dense(12, BP_ACTIVATION_RELU));
    add(model, (bp_layer){.kind = BP_LAYER_AVG_POOL, .pool = 3});
    const int64_t input[3] = {1, 8, 8};
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    assert_int_equal(bp_model_units(model, 0), 64);
    assert_int_equal(bp_model_units(model, 1), 16);
    assert_int_equal(bp_model_layer(model, 2)->fan_in, 16);
    assert_int_equal(bp_model_layer(model, 2)->fan_out, 12);
    assert_int_equal(bp_layer_n_parameters(bp_model_layer(model, 2)), 16 * 12 + 12);
    assert_int_equal(bp_model_units(model, 3), 4);
    bp_model_close(model);
}

static void impossible_shapes_are_refused_with_their_place(void **state) {
    (void)state;
    bp_error error = {0};
    bp_model *model = open_model();
    add(model, (bp_layer){.kind = BP_LAYER_AVG_POOL, .pool = 5, .line = 3, .column = 7});
    const int64_t input[3] = {64, 1, 1};
    assert_int_equal(bp_model_set_input(model, input, &error), BP_ERROR_INPUT);
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 7);
    const int64_t huge[3] = {INT64_MAX, INT64_MAX, 2};
    assert_int_equal(bp_model_set_input(model, huge, &error), BP_ERROR_ARGUMENT);
    bp_model_close(model);
    model = residual_model();
    bp_layer narrow = dense(4, BP_ACTIVATION_RELU);
    narrow.depth_in_blocks = 1;
    add(model, narrow);
    add(model, (bp_layer){.kind = BP_LAYER_RESIDUAL, .skip_from = 1, .n_branch = 1});
    assert_int_equal(bp_model_set_input(model, input, &error), BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "must keep the size"));
    bp_model_close(model);
}

/* What is accepted can be logged and read back. */
static void what_no_log_could_hold_is_refused(void **state) {
    (void)state;
    bp_model *model = open_model();
    char parent[BP_LAYER_NAME_BYTES + 8];
    memset(parent, 'p', sizeof parent);
    parent[BP_LAYER_NAME_BYTES - 31] = '\0';
    bp_layer layer = dense(4, BP_ACTIVATION_TANH);
    layer.parent = parent;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_ERROR_INPUT);
    parent[BP_LAYER_NAME_BYTES - 32] = '\0';
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    assert_true(strlen(bp_model_layer(model, 1)->name) <= BP_LAYER_NAME_BYTES);
    layer = dense(4, (bp_activation)99);
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_ERROR_ARGUMENT);
    layer = dense(4, BP_ACTIVATION_TANH);
    layer.line = -1;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_ERROR_ARGUMENT);
    bp_model_close(model);
}

static void names_are_unique(void **state) {
    (void)state;
    bp_model *model = open_model();
    bp_layer layer = dense(4, BP_ACTIVATION_TANH);
    bp_error error = {0};
    layer.name = "dense_2";
    add(model, layer);
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, &error), BP_ERROR_INPUT);
    layer.name = NULL; /* would be called dense_2 */
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, &error), BP_ERROR_INPUT);
    bp_model_close(model);
}

static void what_is_encoded_is_decoded(void **state) {
    (void)state;
    bp_model *model = residual_model(), *copy = NULL;
    const int64_t input[3] = {1, 8, 8};
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_MSE,
                              .optimiser = BP_ADAM,
                              .learning_rate = 0.25,
                              .epoch_steps = 7,
                              .seed = 99,
                              .trivial_loss = (double)NAN};
    bp_model_set_recipe(model, &recipe);
    uint8_t bytes[8192], again[8192];
    bp_writer writer, second;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_model_encode(model, &writer);
    assert_true(writer.length <= bp_model_max_bytes(model));
    bp_cursor cursor;
    bp_cursor_init(&cursor, bytes, writer.length);
    assert_int_equal(bp_model_decode(&copy, &cursor, NULL, NULL), BP_OK);
    bp_writer_init(&second, again, sizeof again);
    bp_model_encode(copy, &second);
    assert_int_equal(second.length, writer.length);
    assert_memory_equal(bytes, again, writer.length);
    assert_string_equal(bp_model_layer(copy, 3)->name, bp_model_layer(model, 3)->name);
    assert_int_equal(bp_model_n_cuts(copy), 3);
    bp_model_close(copy);
    /* every truncation is refused; every flipped bit is refused or still a model */
    for (size_t n = 0; n < writer.length; n++) {
        bp_cursor_init(&cursor, bytes, n);
        assert_int_equal(bp_model_decode(&copy, &cursor, NULL, NULL), BP_ERROR_INPUT);
    }
    for (size_t bit = 0; bit < 8 * writer.length; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bp_cursor_init(&cursor, bytes, writer.length);
        if (bp_model_decode(&copy, &cursor, NULL, NULL) == BP_OK) bp_model_close(copy);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bp_model_close(model);
}

/* A framework's network: shapes are given, and what made it is known. */
static bp_model *pytorch_model(void) {
    bp_model *model = open_model();
    bp_layer layer = dense(8, BP_ACTIVATION_SIGMOID);
    layer.name = "net.0";
    layer.activation_name = "net.1";
    layer.fan_in = 5;
    layer.fan_out = 8;
    add(model, layer);
    layer = dense(3, BP_ACTIVATION_LINEAR);
    layer.name = "net.2";
    layer.fan_in = 8;
    layer.fan_out = 3;
    add(model, layer);
    const int64_t input[3] = {5, 1, 1};
    assert_int_equal(bp_model_set_input_shape(model, input, NULL), BP_OK);
    assert_int_equal(bp_model_set_origin(model, "pytorch"), BP_OK);
    const bp_recipe recipe = {.loss = BP_LOSS_OTHER,
                              .optimiser = BP_ADAM,
                              .trivial_loss = (double)NAN,
                              .chance_accuracy = (double)NAN,
                              .unsupervised = true,
                              .from_probabilities = true};
    bp_model_set_recipe(model, &recipe);
    return model;
}

static void the_origin_is_encoded_and_old_readers_need_not_know(void **state) {
    (void)state;
    bp_model *model = pytorch_model(), *copy = NULL;
    uint8_t bytes[4096];
    bp_writer writer;
    bp_cursor cursor;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_model_encode(model, &writer);
    assert_int_equal(bytes[0], 3);
    assert_true(writer.length <= bp_model_max_bytes(model));
    bp_cursor_init(&cursor, bytes, writer.length);
    assert_int_equal(bp_model_decode(&copy, &cursor, NULL, NULL), BP_OK);
    assert_string_equal(bp_model_origin(copy), "pytorch");
    assert_true(bp_model_recipe(copy)->unsupervised);
    assert_true(bp_model_recipe(copy)->from_probabilities);
    assert_string_equal(bp_model_layer(copy, 1)->activation_name, "net.1");
    assert_null(bp_model_layer(copy, 2)->activation_name);
    assert_int_equal(bp_model_layer(copy, 1)->fan_in, 5);
    assert_int_equal(bp_model_input(copy)[0], 5);
    bp_model_close(copy);
    for (size_t n = 0; n < writer.length; n++) {
        bp_cursor_init(&cursor, bytes, n);
        assert_int_equal(bp_model_decode(&copy, &cursor, NULL, NULL), BP_ERROR_INPUT);
    }
    for (size_t bit = 0; bit < 8 * writer.length; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bp_cursor_init(&cursor, bytes, writer.length);
        if (bp_model_decode(&copy, &cursor, NULL, NULL) == BP_OK) bp_model_close(copy);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bp_model_close(model);
    model = residual_model(); /* of a network file: what a Backprobe before version 3 reads */
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_model_encode(model, &writer);
    assert_int_equal(bytes[0], 2);
    assert_null(bp_model_origin(model));
    bp_model_close(model);
}

static void given_shapes_are_checked(void **state) {
    (void)state;
    const int64_t bad[] = {-1, BP_MODEL_MAX_UNITS + 1, INT64_MAX, INT64_MIN};
    const int64_t good[3] = {8, 1, 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bp_model *model = open_model();
        bp_error error = {0};
        const int64_t shape[3] = {1, bad[i], 1};
        assert_int_equal(bp_model_set_input_shape(model, shape, NULL), BP_ERROR_ARGUMENT);
        bp_layer layer = dense(4, BP_ACTIVATION_TANH);
        layer.output_shape[2] = bad[i];
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL),
                         bad[i] < 0 ? BP_ERROR_ARGUMENT : BP_OK);
        layer = dense(4, BP_ACTIVATION_TANH);
        layer.fan_in = bad[i];
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL),
                         bad[i] < 0 ? BP_ERROR_ARGUMENT : BP_OK);
        assert_int_equal(bp_model_set_input_shape(model, good, &error),
                         bad[i] < 0 ? BP_OK : BP_ERROR_ARGUMENT);
        if (bad[i] > 0) assert_non_null(strstr(error.text, "layer 1 (dense_1)"));
        bp_model_close(model);
    }
    bp_model *model = open_model();
    bp_layer layer = dense(4, BP_ACTIVATION_TANH);
    layer.name = "";
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_ERROR_INPUT);
    assert_int_equal(bp_model_set_origin(model, "0123456789012345678901234567890"), BP_OK);
    assert_int_equal(bp_model_set_origin(model, "01234567890123456789012345678901"),
                     BP_ERROR_ARGUMENT);
    assert_int_equal(bp_model_set_origin(model, NULL), BP_OK);
    assert_null(bp_model_origin(model));
    bp_model_close(model);
}

/* Names as long as may be are kept whole, in a log too; longer ones are refused. */
static void the_longest_names_are_kept(void **state) {
    (void)state;
    bp_model *model = open_model(), *copy = NULL;
    char name[BP_LAYER_NAME_BYTES + 2];
    memset(name, 'n', sizeof name);
    name[BP_LAYER_NAME_BYTES + 1] = '\0';
    bp_layer layer = dense(4, BP_ACTIVATION_TANH);
    layer.activation_name = name;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_ERROR_INPUT);
    name[BP_LAYER_NAME_BYTES] = '\0';
    layer.name = name;
    for (char c = 'a'; c < 'e'; c++) {
        name[0] = c;
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    static uint8_t bytes[8192];
    bp_writer writer;
    bp_cursor cursor;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_model_encode(model, &writer);
    assert_true(writer.length <= bp_model_max_bytes(model));
    bp_cursor_init(&cursor, bytes, writer.length);
    assert_int_equal(bp_model_decode(&copy, &cursor, NULL, NULL), BP_OK);
    assert_string_equal(bp_model_layer(copy, 4)->name, name);
    assert_string_equal(bp_model_layer(copy, 4)->activation_name, name);
    bp_model_close(copy);
    bp_model_close(model);
}

/* phi' against a central difference of phi, away from kinks. */
static void derivatives_are_those_of_the_values(void **state) {
    (void)state;
    for (int a = 1; a < BP_ACTIVATION_SOFTMAX; a++)
        for (double z = -4.05; z < 4; z += 0.1) {
            const double h = 1e-6;
            const double slope = 0.1;
            const double difference = (bp_activation_value((bp_activation)a, slope, z + h) -
                                       bp_activation_value((bp_activation)a, slope, z - h)) /
                                      (2 * h);
            const double phi = bp_activation_derivative((bp_activation)a, slope, z);
            assert_true(fabs(phi - difference) < 1e-8);
        }
    assert_true(isnan(bp_activation_value(BP_ACTIVATION_SOFTMAX, 0, 1)));
    assert_true(isnan(bp_activation_derivative(BP_ACTIVATION_SOFTMAX, 0, 1)));
}

static void numbers_have_their_words(void **state) {
    (void)state;
    assert_string_equal(bp_activation_name(BP_ACTIVATION_LEAKY_RELU), "leaky_relu");
    assert_string_equal(bp_init_name(BP_INIT_PYTORCH_DEFAULT), "pytorch_default");
    assert_null(bp_loss_name((bp_loss)99));
    const bp_init he = {BP_INIT_HE, 1}, pytorch = {BP_INIT_PYTORCH_DEFAULT, 1};
    assert_true(fabs(bp_init_std(&he, 50, 10) - 0.2) < 1e-12);
    assert_true(fabs(bp_init_std(&pytorch, 48, 10) - 1.0 / 12) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_and_activation_join_the_operator_before_them),
        cmocka_unit_test(weights_of_an_unknown_kind_are_trained_when_their_fans_are_told),
        cmocka_unit_test(cut_points_leave_branches_out),
        cmocka_unit_test(shapes_and_fans_follow_from_the_input),
        cmocka_unit_test(impossible_shapes_are_refused_with_their_place),
        cmocka_unit_test(what_no_log_could_hold_is_refused),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(the_origin_is_encoded_and_old_readers_need_not_know),
        cmocka_unit_test(given_shapes_are_checked),
        cmocka_unit_test(the_longest_names_are_kept),
        cmocka_unit_test(derivatives_are_those_of_the_values),
        cmocka_unit_test(numbers_have_their_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
