/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of images against their formulas written out plainly, in f64; backward passes are
 * compared with finite differences in test_gradients.c. */
#include "kit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define assert_near(found, expected) assert_true(fabs((found) - (expected)) < 1e-12)

static const bp_pass training = {.training = true}, evaluation = {.training = false};

/* --- convolution ------------------------------------------------------------------------------ */

/* x [C, H, W], 0 outside */
static double pixel(const bp_real *x, const int64_t shape[3], int64_t c, int64_t row,
                    int64_t column) {
    const bool inside = row >= 0 && row < shape[1] && column >= 0 && column < shape[2];
    return inside ? x[(c * shape[1] + row) * shape[2] + column] : 0;
}

/* y[o, i, j] = bias[o] + sum over c, u, v of w[o, c, u, v] x[c, i s + u - p, j s + v - p] */
static double convolved(const bp_operator *op, const bp_real *x, int64_t o, int64_t i, int64_t j) {
    const bp_layer *layer = op->layer;
    const int64_t k = layer->kernel, channels = op->in_shape[0];
    double sum = op->value[BP_SLOT_BIAS] ? op->value[BP_SLOT_BIAS][o] : 0;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t u = 0; u < k; u++)
            for (int64_t v = 0; v < k; v++)
                sum += op->value[BP_SLOT_WEIGHT][((o * channels + c) * k + u) * k + v] *
                       pixel(x, op->in_shape, c, i * layer->stride + u - layer->padding,
                             j * layer->stride + v - layer->padding);
    return sum;
}

static void check_convolution(bp_layer layer, const int64_t in_shape[3], int64_t n, bool has_bias) {
    kit_operator alone = kit_operator_open(layer, in_shape, n);
    bp_operator *op = &alone.op;
    bp_real weight[512], bias[8];
    bp_real *x = calloc((size_t)(n * op->in), sizeof *x);
    bp_real *y = calloc((size_t)(n * op->out), sizeof *y);
    assert_true(op->layer->fan_in * op->out_shape[0] <= 512 && op->out_shape[0] <= 8);
    kit_random(1, 512, weight);
    kit_random(2, 8, bias);
    kit_random(3, n * op->in, x);
    op->value[BP_SLOT_WEIGHT] = weight;
    op->value[BP_SLOT_BIAS] = has_bias ? bias : NULL;
    for (int64_t i = 0; i < n * op->out; i++) y[i] = NAN; /* nothing old is read */
    op->class->forward(op, &training, n, x, y);
    const bp_real *at = y;
    for (int64_t s = 0; s < n; s++)
        for (int64_t o = 0; o < op->out_shape[0]; o++)
            for (int64_t i = 0; i < op->out_shape[1]; i++)
                for (int64_t j = 0; j < op->out_shape[2]; j++)
                    assert_near(*at++, convolved(op, x + s * op->in, o, i, j));
    free(x);
    free(y);
    kit_operator_close(&alone);
}

static void test_convolutions(void **state) {
    (void)state;
    const bp_activation linear = BP_ACTIVATION_LINEAR;
    const int64_t shapes[][3] = {{1, 5, 5}, {3, 5, 8}, {2, 9, 4}, {1, 4, 13}};
    int n_checked = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int32_t kernel = 1; kernel <= 4; kernel++)
            for (int32_t stride = 1; stride <= 5; stride++)
                for (int32_t padding = 0; padding < kernel; padding++, n_checked++)
                    check_convolution(kit_conv(4, kernel, stride, padding, linear), shapes[i],
                                      1 + n_checked % 3, n_checked % 2);
    assert_int_equal(n_checked, 4 * 5 * (1 + 2 + 3 + 4));
    check_convolution(kit_conv(1, 7, 1, 6, linear), (int64_t[]){1, 2, 1}, 2, true);
    check_convolution(kit_conv(1, 5, 3, 0, linear), (int64_t[]){1, 5, 7}, 1, false);
}

/* A NaN in the image or the weights reaches every output that sees it, and no other. */
static void test_convolution_passes_nan(void **state) {
    (void)state;
    kit_operator alone =
        kit_operator_open(kit_conv(1, 3, 1, 1, BP_ACTIVATION_LINEAR), (int64_t[]){1, 5, 5}, 1);
    bp_real weight[9] = {0}, x[25] = {0}, y[25];
    alone.op.value[BP_SLOT_WEIGHT] = weight;
    x[7] = NAN; /* row 1, column 2 */
    alone.op.class->forward(&alone.op, &training, 1, x, y);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 5; j++)
            assert_int_equal(isnan(y[i * 5 + j]) != 0, abs(i - 1) <= 1 && abs(j - 2) <= 1);
    kit_operator_close(&alone);
}

/* --- pooling ---------------------------------------------------------------------------------- */

static void test_max_pool(void **state) {
    (void)state;
    const bp_real x[16] = {1, 3, 5, 7, 9, 11, 2, 4, -1, -1, -8, -9, -1, -4, -7, -7};
    const bp_real dy[4] = {1, 2, 3, 4};
    bp_real y[4], dx[16];
    kit_operator alone = kit_operator_open(kit_max_pool(2), (int64_t[]){2, 2, 4}, 1);
    alone.op.class->forward(&alone.op, &training, 1, x, y);
    const bp_real of_image[4] = {11, 7, -1, -7}, back[16] = {[5] = 1, [3] = 2, [8] = 3, [14] = 4};
    for (int i = 0; i < 4; i++) assert_near(y[i], of_image[i]);
    alone.op.class->backward(&alone.op, &training, 1, x, y, dy, false, dx);
    for (int i = 0; i < 16; i++) assert_near(dx[i], back[i]); /* of equal ones the first */
    kit_operator_close(&alone);
    alone = kit_operator_open(kit_max_pool(3), (int64_t[]){6, 1, 1}, 2);
    alone.op.class->forward(&alone.op, &training, 2, x, y); /* two samples of 6 units */
    const bp_real of_vector[4] = {5, 11, 4, -1};
    for (int i = 0; i < 4; i++) assert_near(y[i], of_vector[i]);
    kit_operator_close(&alone);
}

/* Where a NaN lies in a window, it wins; so does an infinity among numbers. */
static void test_max_pool_passes_nan(void **state) {
    (void)state;
    kit_operator alone = kit_operator_open(kit_max_pool(2), (int64_t[]){1, 2, 2}, 1);
    for (int place = 0; place < 4; place++) {
        bp_real x[4] = {1, INFINITY, -2, 3}, y[1], dx[4];
        const bp_real dy[1] = {5};
        alone.op.class->forward(&alone.op, &training, 1, x, y);
        assert_true(isinf(y[0]));
        x[place] = NAN;
        alone.op.class->forward(&alone.op, &training, 1, x, y);
        assert_true(isnan(y[0]));
        alone.op.class->backward(&alone.op, &training, 1, x, y, dy, false, dx);
        for (int i = 0; i < 4; i++) assert_near(dx[i], i == place ? 5 : 0);
        alone.op.class->forward(&alone.op, &evaluation, 1, x, y);
        assert_true(isnan(y[0]));
    }
    kit_operator_close(&alone);
}

static void test_global_avg_pool(void **state) {
    (void)state;
    enum { N = 2, CHANNELS = 3, AREA = 5 * 7 };
    const bp_layer layer = {.kind = BP_LAYER_GLOBAL_AVG_POOL};
    kit_operator alone = kit_operator_open(layer, (int64_t[]){CHANNELS, 5, 7}, N);
    bp_real x[N * CHANNELS * AREA], y[N * CHANNELS];
    kit_random(4, N * CHANNELS * AREA, x);
    alone.op.class->forward(&alone.op, &training, N, x, y);
    for (int i = 0; i < N * CHANNELS; i++) {
        double sum = 0;
        for (int j = 0; j < AREA; j++) sum += x[i * AREA + j];
        assert_near(y[i], sum / AREA);
    }
    x[AREA + 2] = NAN;
    alone.op.class->forward(&alone.op, &training, N, x, y);
    for (int i = 0; i < N * CHANNELS; i++) assert_int_equal(isnan(y[i]) != 0, i == 1);
    kit_operator_close(&alone);
}

/* --- batch norm ------------------------------------------------------------------------------- */

enum { SAMPLES = 3, CHANNELS = 2, AREA = 5, ALL = SAMPLES * CHANNELS * AREA };

typedef struct image_norm {
    bp_real gain[CHANNELS], bias[CHANNELS], gain_gradient[CHANNELS], bias_gradient[CHANNELS];
    bp_real mean[CHANNELS], running_mean[CHANNELS], running_variance[CHANNELS];
    bp_real inverse_std[CHANNELS], normalised[ALL];
} image_norm;

static bp_norm_operator make_norm(image_norm *memory) {
    *memory = (image_norm){.gain = {2, 3}, .bias = {0.5, -1}, .running_variance = {1, 1}};
    return (bp_norm_operator){.kind = BP_NORM_BATCH,
                              .units = CHANNELS,
                              .area = AREA,
                              .gain = memory->gain,
                              .bias = memory->bias,
                              .gain_gradient = memory->gain_gradient,
                              .bias_gradient = memory->bias_gradient,
                              .mean = memory->mean,
                              .running_mean = memory->running_mean,
                              .running_variance = memory->running_variance,
                              .normalised = memory->normalised,
                              .inverse_std = memory->inverse_std};
}

static bool is_of_channel(int i, int channel) {
    return i / AREA % CHANNELS == channel;
}

static void test_batch_norm(void **state) {
    (void)state;
    image_norm memory;
    const bp_norm_operator norm = make_norm(&memory);
    bp_real x[ALL], y[ALL];
    kit_random(5, ALL, x);
    for (int i = 0; i < ALL; i++) x[i] += 7;
    bp_norm_forward(&norm, true, SAMPLES, x, y);
    for (int c = 0; c < CHANNELS; c++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < ALL; i++) mean += is_of_channel(i, c) ? x[i] : 0;
        mean /= SAMPLES * AREA;
        for (int i = 0; i < ALL; i++)
            variance += is_of_channel(i, c) ? (x[i] - mean) * (x[i] - mean) : 0;
        const double std = sqrt(variance / (SAMPLES * AREA) + 1e-5);
        for (int i = 0; i < ALL; i++)
            if (is_of_channel(i, c))
                assert_near(y[i], memory.gain[c] * (x[i] - mean) / std + memory.bias[c]);
        assert_near(memory.running_mean[c], 0.1 * mean);
        assert_near(memory.running_variance[c], 0.9 + 0.1 * variance / (SAMPLES * AREA - 1));
    }
    const image_norm kept = memory;
    bp_norm_forward(&norm, false, 1, x, y);
    for (int i = 0; i < CHANNELS * AREA; i++) {
        const int c = i / AREA;
        const double std = sqrt(kept.running_variance[c] + 1e-5);
        assert_near(y[i], kept.gain[c] * (x[i] - kept.running_mean[c]) / std + kept.bias[c]);
    }
    assert_memory_equal(kept.running_mean, memory.running_mean, sizeof kept.running_mean);
    assert_memory_equal(kept.running_variance, memory.running_variance,
                        sizeof kept.running_variance);
}

/* A NaN poisons its channel and no other. */
static void test_batch_norm_passes_nan(void **state) {
    (void)state;
    image_norm memory;
    const bp_norm_operator norm = make_norm(&memory);
    bp_real x[ALL], y[ALL];
    kit_random(6, ALL, x);
    x[AREA + 1] = NAN;
    bp_norm_forward(&norm, true, SAMPLES, x, y);
    for (int i = 0; i < ALL; i++) assert_int_equal(isnan(y[i]) != 0, is_of_channel(i, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_convolution_passes_nan),
        cmocka_unit_test(test_max_pool),
        cmocka_unit_test(test_max_pool_passes_nan),
        cmocka_unit_test(test_global_avg_pool),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_batch_norm_passes_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
