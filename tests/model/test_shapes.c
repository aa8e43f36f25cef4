/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes, fans and numbers of parameters of every kind of layer, and what is impossible. */
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

/* One layer behind an input. */
static bp_model *model_of(bp_layer layer) {
    bp_model *model;
    bp_error error;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    layer.line = 3;
    layer.column = 7;
    assert_int_equal(bp_model_add_layer(model, &layer, NULL, &error), BP_OK);
    return model;
}

static void expect(bp_layer layer, int64_t c, int64_t h, int64_t w, const int64_t out[3],
                   int64_t fan_in, int64_t fan_out, int64_t n_parameters) {
    bp_model *model = model_of(layer);
    bp_error error;
    const int64_t in[3] = {c, h, w};
    for (int twice = 0; twice < 2; twice++) { /* an input may be set again */
        if (bp_model_set_input(model, in, &error) != BP_OK) fail_msg("%s", error.text);
        const bp_layer *made = bp_model_layer(model, 1);
        for (int i = 0; i < 3; i++) assert_int_equal(made->output_shape[i], out[i]);
        assert_int_equal(made->fan_in, fan_in);
        assert_int_equal(made->fan_out, fan_out);
        assert_int_equal(bp_layer_n_parameters(made), n_parameters);
    }
    bp_model_close(model);
}

static void refuse(bp_layer layer, int64_t c, int64_t h, int64_t w, const char *words) {
    bp_model *model = model_of(layer);
    bp_error error = {0};
    const int64_t in[3] = {c, h, w};
    assert_int_equal(bp_model_set_input(model, in, &error), BP_ERROR_INPUT);
    if (!strstr(error.text, words)) fail_msg("expected '%s' in '%s'", words, error.text);
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 7);
    bp_model_close(model);
}

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

static bp_layer conv(int64_t channels, int32_t kernel, int32_t stride, int32_t padding) {
    return (bp_layer){.kind = BP_LAYER_CONV,
                      .output_shape = {channels, 1, 1},
                      .has_bias = true,
                      .kernel = kernel,
                      .stride = stride,
                      .padding = padding};
}

static void convolutions(void **state) {
    (void)state;
    expect(conv(6, 5, 1, 2), 1, 28, 28, SHAPE(6, 28, 28), 25, 150, 6 * 25 + 6);
    expect(conv(16, 5, 1, 0), 6, 14, 14, SHAPE(16, 10, 10), 150, 400, 16 * 150 + 16);
    expect(conv(4, 3, 2, 1), 3, 7, 10, SHAPE(4, 4, 5), 27, 36, 4 * 27 + 4);
    expect(conv(4, 3, 5, 0), 2, 4, 9, SHAPE(4, 1, 2), 18, 36, 4 * 18 + 4);
    bp_layer normed = conv(4, 1, 1, 0);
    normed.norm = BP_NORM_BATCH;
    normed.has_bias = false;
    expect(normed, 2, 5, 6, SHAPE(4, 5, 6), 2, 4, 4 * 2 + 2 * 4);
    normed.norm = BP_NORM_LAYER;
    expect(normed, 2, 5, 6, SHAPE(4, 5, 6), 2, 4, 4 * 2 + 2 * 4 * 5 * 6);
}

static void impossible_convolutions(void **state) {
    (void)state;
    refuse(conv(4, 5, 1, 0), 1, 4, 8, "a kernel of 5 x 5 does not fit into 4 x 8");
    refuse(conv(4, 5, 1, 1), 1, 8, 2, "with a padding of 1");
    refuse(conv(4, 0, 1, 0), 1, 8, 8, "found 0, 1 and 0");
    refuse(conv(4, 3, 0, 0), 1, 8, 8, "found 3, 0 and 0");
    refuse(conv(4, 3, 1, 3), 1, 8, 8, "a padding below its kernel");
    refuse(conv(0, 3, 1, 0), 1, 8, 8, "0 channels");
    refuse(conv((int64_t)1 << 31, 3, 1, 1), 1, 8, 8, "are impossible");
    refuse(conv(1, INT32_MAX, 1, INT32_MAX - 1), 1, 8, 8, "are impossible");
    refuse(conv(INT64_MAX, 3, 1, 1), 1, 8, 8, "are impossible");
}

/* What a unit of the kernel's weights of 1 sees of an image of ones, counted place by place. */
static void mean_fan_in(void **state) {
    (void)state;
    const struct {
        int32_t kernel, stride, padding;
        int64_t height, width;
    } cases[] = {{3, 1, 1, 2, 2}, {3, 1, 1, 8, 8}, {3, 2, 1, 7, 4},
                 {5, 1, 4, 2, 3}, {3, 1, 0, 5, 5}, {2, 3, 1, 4, 5},
                 {1, 1, 0, 3, 3}, {7, 2, 6, 1, 1}, {10, 1, 6, 1, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int32_t kernel = cases[i].kernel, padding = cases[i].padding;
        bp_model *model = model_of(conv(4, kernel, cases[i].stride, padding));
        const int64_t in[3] = {3, cases[i].height, cases[i].width};
        assert_int_equal(bp_model_set_input(model, in, NULL), BP_OK);
        const int64_t *out = bp_model_layer(model, 1)->output_shape;
        int64_t n_inside = 0;
        for (int64_t place = 0; place < out[1] * out[2]; place++)
            for (int64_t tap = 0; tap < kernel * kernel; tap++) {
                const int64_t y = place / out[2] * cases[i].stride + tap / kernel - padding;
                const int64_t x = place % out[2] * cases[i].stride + tap % kernel - padding;
                n_inside += y >= 0 && y < in[1] && x >= 0 && x < in[2];
            }
        const double expected = 3 * (double)n_inside / (double)(out[1] * out[2]);
        assert_true(fabs(bp_model_mean_fan_in(model, 1) - expected) < 1e-9);
        bp_model_close(model);
    }
    /* Nothing is known but the fan. */
    const int32_t odd[][3] = {{0, 0, 0}, {3, 0, 2}, {INT32_MAX, 1, INT32_MAX}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        bp_layer guest = conv(4, odd[i][0], odd[i][1], odd[i][2]);
        guest.fan_in = 27;
        bp_model *model = model_of(guest);
        assert_true(bp_model_mean_fan_in(model, 1) == 27);
        bp_model_close(model);
    }
}

static void pools(void **state) {
    (void)state;
    const bp_layer max = {.kind = BP_LAYER_MAX_POOL, .pool = 2};
    const bp_layer global = {.kind = BP_LAYER_GLOBAL_AVG_POOL};
    expect(max, 3, 4, 6, SHAPE(3, 2, 3), 0, 0, 0);
    expect(max, 8, 1, 1, SHAPE(4, 1, 1), 0, 0, 0);
    expect(global, 3, 4, 6, SHAPE(3, 1, 1), 0, 0, 0);
    refuse(max, 3, 4, 5, "max_pool 2 does not divide the size 5");
    refuse((bp_layer){.kind = BP_LAYER_MAX_POOL}, 3, 4, 5, "max_pool 0");
}

static void shapes_that_stay_or_are_flattened(void **state) {
    (void)state;
    const bp_layer dropout = {.kind = BP_LAYER_DROPOUT, .drop_fraction = 0.5};
    expect(dropout, 3, 4, 6, SHAPE(3, 4, 6), 0, 0, 0);
    expect((bp_layer){.kind = BP_LAYER_FLATTEN}, 3, 4, 6, SHAPE(72, 1, 1), 0, 0, 0);
    expect((bp_layer){.kind = BP_LAYER_BATCH_NORM}, 3, 4, 6, SHAPE(3, 4, 6), 0, 0, 6);
    expect((bp_layer){.kind = BP_LAYER_BATCH_NORM}, 9, 1, 1, SHAPE(9, 1, 1), 0, 0, 18);
    expect((bp_layer){.kind = BP_LAYER_LAYER_NORM}, 3, 4, 6, SHAPE(3, 4, 6), 0, 0, 144);
}

static void embeddings(void **state) {
    (void)state;
    bp_layer table = {.kind = BP_LAYER_EMBEDDING, .output_shape = {8, 1, 1}, .vocabulary = 1000};
    expect(table, 20, 1, 1, SHAPE(20, 8, 1), 1, 8, 8000);
    table.vocabulary = 0;
    refuse(table, 20, 1, 1, "an embedding of 0 tokens");
    table.vocabulary = INT64_MAX;
    refuse(table, 20, 1, 1, "is impossible");
    table.vocabulary = 10;
    table.output_shape[0] = (int64_t)1 << 31;
    refuse(table, 20, 1, 1, "is impossible");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(impossible_convolutions),
        cmocka_unit_test(mean_fan_in),
        cmocka_unit_test(pools),
        cmocka_unit_test(shapes_that_stay_or_are_flattened),
        cmocka_unit_test(embeddings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
