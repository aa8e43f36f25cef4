/* SPDX-License-Identifier: Apache-2.0 */
/* Forward passes against the formulas written out plainly, in f64. */
#include "kit.h"
#include "trainer/gemm.h"
#include "trainer/operators.h"

#include <math.h>

#define assert_near(found, expected) assert_true(fabs((found) - (expected)) < 1e-12)

static void test_gemm(void **state) {
    (void)state;
    const bp_real a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {1, -1, 2, 0, 3, 1};
    bp_real c[4] = {NAN, NAN, NAN, NAN};
    bp_gemm(BP_AS_IS, BP_AS_IS, 2, 2, 3, a, b, 0, c); /* [2, 3] [3, 2] */
    const bp_real plain[4] = {14, 2, 32, 2};
    for (int i = 0; i < 4; i++) assert_near(c[i], plain[i]);
    bp_gemm(BP_AS_IS, BP_TRANSPOSED, 2, 2, 3, a, b, 1, c); /* [2, 3] [2, 3]^T */
    const bp_real second[4] = {14 + 5, 2 + 9, 32 + 11, 2 + 21};
    for (int i = 0; i < 4; i++) assert_near(c[i], second[i]);
    bp_gemm(BP_TRANSPOSED, BP_AS_IS, 2, 2, 3, a, b, 0, c); /* [3, 2]^T [3, 2] */
    const bp_real first[4] = {22, 4, 28, 4};
    for (int i = 0; i < 4; i++) assert_near(c[i], first[i]);
}

/* An operator alone, with the parameters given. */
static bp_operator make(bp_layer *layer, const int64_t in[3], const int64_t out[3]) {
    for (int i = 0; i < 3; i++) layer->output_shape[i] = out[i];
    return bp_operator_of(layer, in);
}

static void forward(const bp_operator *op, int64_t n, const bp_real *x, bp_real *y) {
    const bp_pass pass = {.training = true};
    op->class->forward(op, &pass, n, x, y);
}

static void test_dense(void **state) {
    (void)state;
    bp_real weight[6] = {1, 2, 3, 4, 5, 6}, bias[2] = {0.5, -0.5};
    bp_layer layer = {.kind = BP_LAYER_DENSE};
    bp_operator dense = make(&layer, (int64_t[]){3, 1, 1}, (int64_t[]){2, 1, 1});
    dense.value[BP_SLOT_WEIGHT] = weight;
    dense.value[BP_SLOT_BIAS] = bias;
    const bp_real x[6] = {1, 0, -1, 2, 1, 0};
    bp_real y[4];
    forward(&dense, 2, x, y);
    const bp_real expected[4] = {-1.5, -2.5, 4.5, 12.5};
    for (int i = 0; i < 4; i++) assert_near(y[i], expected[i]);
}

/* The model's formulas are the reference; large arguments must not overflow into NaN. */
static void test_activations(void **state) {
    (void)state;
    const bp_real z[] = {-1000, -20, -3, -0.5, -0.0, 0.25, 1, 7, 30, 1000};
    const int64_t n = sizeof z / sizeof *z;
    bp_real a[sizeof z / sizeof *z], error[sizeof z / sizeof *z];
    for (int kind = BP_ACTIVATION_LINEAR; kind < BP_ACTIVATION_SOFTMAX; kind++) {
        const bp_activation_operator activation = {(bp_activation)kind, 0.3};
        for (int64_t i = 0; i < n; i++) error[i] = 2;
        bp_activation_forward(&activation, n, 1, z, a);
        bp_activation_backward(&activation, n, 1, z, a, error);
        for (int64_t i = 0; i < n; i++) {
            assert_near(a[i], bp_activation_value(activation.kind, 0.3, z[i]));
            assert_near(error[i], 2 * bp_activation_derivative(activation.kind, 0.3, z[i]));
        }
    }
}

/* A NaN that relu takes for a negative number would be hidden from every observer. */
static void test_nan_passes(void **state) {
    (void)state;
    const bp_real z[1] = {NAN};
    bp_real a[1];
    for (int kind = BP_ACTIVATION_LINEAR; kind < BP_ACTIVATION_SOFTMAX; kind++) {
        const bp_activation_operator activation = {(bp_activation)kind, 0.3};
        bp_activation_forward(&activation, 1, 1, z, a);
        assert_true(isnan(a[0]));
    }
}

static void test_pool(void **state) {
    (void)state;
    const bp_real x[16] = {1, 3, 5, 7, 9, 11, 2, 4, 0, 0, 8, 8, 0, 4, 8, 8};
    bp_real y[4];
    bp_layer layer = {.kind = BP_LAYER_AVG_POOL, .pool = 3};
    bp_operator pool = make(&layer, (int64_t[]){6, 1, 1}, (int64_t[]){2, 1, 1});
    forward(&pool, 2, x, y); /* two samples of 6 units */
    const bp_real of_vector[4] = {3, 9, 2, 16.0 / 3};
    for (int i = 0; i < 4; i++) assert_near(y[i], of_vector[i]);
    layer.pool = 2;
    pool = make(&layer, (int64_t[]){2, 2, 4}, (int64_t[]){2, 1, 2});
    forward(&pool, 1, x, y); /* two channels of 2 x 4 */
    const bp_real of_image[4] = {(1 + 3 + 9 + 11) / 4.0, (5 + 7 + 2 + 4) / 4.0, 1, 8};
    for (int i = 0; i < 4; i++) assert_near(y[i], of_image[i]);
}

/* --- softmax, dropout, embedding ---------------------------------------------------------------
 */

static void test_softmax(void **state) {
    (void)state;
    const bp_activation_operator softmax = {BP_ACTIVATION_SOFTMAX, 0};
    const bp_real z[9] = {1, 2, 4, 1000, -1000, 999, 0, NAN, 1};
    bp_real a[9];
    bp_activation_forward(&softmax, 3, 3, z, a);
    const double sum = exp(1) + exp(2) + exp(4);
    for (int j = 0; j < 3; j++) assert_near(a[j], exp(z[j]) / sum);
    assert_near(a[3], 1 / (1 + exp(-1)));
    assert_near(a[4], 0);
    for (int j = 6; j < 9; j++) assert_true(isnan(a[j])); /* of that sample all */
}

enum { ROWS = 64, UNITS_DROPPED = 501 };

/* The factors of rows first ... first + n - 1 of a step's batch. */
static void draw(double fraction, bp_pass pass, uint32_t layer_id, int64_t n, bp_real *factors) {
    static bp_real ones[ROWS * UNITS_DROPPED];
    bp_layer layer = kit_dropout(fraction);
    kit_operator alone = kit_operator_open(layer, (int64_t[]){UNITS_DROPPED, 1, 1}, n);
    layer = *alone.op.layer;
    layer.id = layer_id;
    alone.op.layer = &layer;
    for (int64_t i = 0; i < n * UNITS_DROPPED; i++) ones[i] = 1;
    alone.op.class->forward(&alone.op, &pass, n, ones, factors);
    kit_operator_close(&alone);
}

/* Shares within five standard deviations, and the mean of what passes is kept. */
static void test_dropout(void **state) {
    (void)state;
    static bp_real factors[ROWS * UNITS_DROPPED];
    const double all = ROWS * UNITS_DROPPED, fractions[] = {0, 0.1, 0.5, 0.9};
    for (size_t f = 0; f < sizeof fractions / sizeof *fractions; f++) {
        const double fraction = fractions[f];
        int64_t n_dropped = 0;
        draw(fraction, (bp_pass){.training = true, .seed = 3}, 1, ROWS, factors);
        for (int64_t i = 0; i < ROWS * UNITS_DROPPED; i++) {
            if (factors[i] == 0)
                n_dropped++;
            else
                assert_near(factors[i], 1 / (1 - fraction));
        }
        const double deviation = sqrt(fraction * (1 - fraction) / all);
        assert_true(fabs((double)n_dropped / all - fraction) <= 5 * deviation);
        draw(fraction, (bp_pass){.training = false, .seed = 3}, 1, ROWS, factors);
        for (int64_t i = 0; i < ROWS * UNITS_DROPPED; i++) assert_true(factors[i] == 1);
    }
}

/* What one process draws for a whole batch, two draw for its halves; a step, a seed or a layer
 * more, and everything is another. */
static void test_dropout_of_shares(void **state) {
    (void)state;
    static bp_real whole[ROWS * UNITS_DROPPED], part[ROWS * UNITS_DROPPED];
    bp_pass pass = {.training = true, .seed = 3, .step = 12};
    draw(0.5, pass, 4, ROWS, whole);
    for (int64_t first = 0; first < ROWS; first += 24) {
        const int64_t n = ROWS - first < 24 ? ROWS - first : 24;
        pass.first_sample = first;
        draw(0.5, pass, 4, n, part);
        assert_memory_equal(part, whole + first * UNITS_DROPPED,
                            (size_t)(n * UNITS_DROPPED) * sizeof *part);
    }
    const bp_pass others[] = {{.training = true, .seed = 4, .step = 12},
                              {.training = true, .seed = 3, .step = 13},
                              {.training = true, .seed = 3, .step = 12, .first_sample = 1},
                              {.training = true, .seed = 3, .step = 12}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        int64_t n_equal = 0;
        draw(0.5, others[i], i == 3 ? 5 : 4, ROWS, part);
        for (int64_t j = 0; j < ROWS * UNITS_DROPPED; j++) n_equal += part[j] == whole[j];
        assert_true(fabs((double)n_equal / (ROWS * UNITS_DROPPED) - 0.5) < 0.02);
    }
}

static void test_dropout_passes_nan(void **state) {
    (void)state;
    kit_operator alone = kit_operator_open(kit_dropout(0.9), (int64_t[]){100, 1, 1}, 1);
    const bp_pass pass = {.training = true};
    bp_real x[100], y[100];
    for (int i = 0; i < 100; i++) x[i] = NAN;
    alone.op.class->forward(&alone.op, &pass, 1, x, y);
    for (int i = 0; i < 100; i++) assert_true(isnan(y[i]));
    kit_operator_close(&alone);
}

/* Ids that name no row give NaN and no gradient; nothing beside the table is touched (sanitizers
 * would see it). */
static void test_embedding(void **state) {
    (void)state;
    const bp_real x[10] = {2, 0, -1, 3, 0.5, NAN, INFINITY, -INFINITY, 1e30, 2};
    const int64_t rows[10] = {2, 0, -1, -1, -1, -1, -1, -1, -1, 2};
    bp_real table[6] = {1, 2, 3, 4, 5, 6}, gradient[6], y[20], dy[20], dx[10];
    kit_operator alone = kit_operator_open(kit_embedding(3, 2), (int64_t[]){5, 1, 1}, 2);
    alone.op.value[BP_SLOT_WEIGHT] = table;
    alone.op.gradient[BP_SLOT_WEIGHT] = gradient;
    forward(&alone.op, 2, x, y);
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 2; j++) {
            dy[i * 2 + j] = i + 10 * j;
            if (rows[i] < 0)
                assert_true(isnan(y[i * 2 + j]));
            else
                assert_near(y[i * 2 + j], table[rows[i] * 2 + j]);
        }
    const bp_pass pass = {.training = true};
    alone.op.class->backward(&alone.op, &pass, 2, x, y, dy, true, dx);
    const bp_real expected[6] = {1, 11, 0, 0, 9, 29};
    for (int i = 0; i < 6; i++) assert_near(gradient[i], expected[i]);
    for (int i = 0; i < 10; i++) assert_true(dx[i] == 0);
    kit_operator_close(&alone);
}

static void test_residual(void **state) {
    (void)state;
    const bp_real x[2] = {1, 2}, branch[2] = {10, 20}, dy[2] = {1, -1};
    bp_real y[2], dx[2] = {5, 5}, dbranch[2];
    bp_residual_forward(0.5, 2, x, branch, y);
    assert_near(y[0], 6);
    assert_near(y[1], 12);
    bp_residual_backward(0.5, 2, dy, dx, dbranch);
    assert_near(dx[0], 6);
    assert_near(dx[1], 4);
    assert_near(dbranch[0], 0.5);
    assert_near(dbranch[1], -0.5);
}

/* --- norms ------------------------------------------------------------------------------------ */

enum { N = 3, UNITS = 2 };
static const bp_real norm_x[N * UNITS] = {1, 10, 2, 30, 6, 80};

typedef struct norm_memory {
    bp_real gain[UNITS], bias[UNITS], mean[UNITS], running_mean[UNITS], running_variance[UNITS];
    bp_real normalised[N * UNITS], inverse_std[N];
} norm_memory;

static bp_norm_operator make_norm(bp_norm kind, norm_memory *memory) {
    *memory = (norm_memory){.gain = {2, 3}, .bias = {0.5, -1}, .running_variance = {1, 1}};
    return (bp_norm_operator){.kind = kind,
                              .units = UNITS,
                              .area = 1,
                              .gain = memory->gain,
                              .bias = memory->bias,
                              .mean = memory->mean,
                              .running_mean = memory->running_mean,
                              .running_variance = memory->running_variance,
                              .normalised = memory->normalised,
                              .inverse_std = memory->inverse_std};
}

static void test_layer_norm(void **state) {
    (void)state;
    norm_memory memory;
    const bp_norm_operator norm = make_norm(BP_NORM_LAYER, &memory);
    bp_real y[N * UNITS];
    bp_norm_forward(&norm, true, N, norm_x, y);
    for (int i = 0; i < N; i++) {
        const double mean = (norm_x[i * UNITS] + norm_x[i * UNITS + 1]) / 2;
        const double distance = norm_x[i * UNITS] - mean;
        const double std = sqrt(distance * distance + 1e-5);
        assert_near(y[i * UNITS], 2 * distance / std + 0.5);
        assert_near(y[i * UNITS + 1], 3 * -distance / std - 1);
    }
}

/* Unit 0 of the batch: 1, 2, 6: mean 3, biased variance 14/3, unbiased 7. */
static void test_batch_norm(void **state) {
    (void)state;
    norm_memory memory;
    const bp_norm_operator norm = make_norm(BP_NORM_BATCH, &memory);
    bp_real y[N * UNITS];
    bp_norm_forward(&norm, true, N, norm_x, y);
    for (int i = 0; i < N; i++)
        assert_near(y[i * UNITS], 2 * (norm_x[i * UNITS] - 3) / sqrt(14.0 / 3 + 1e-5) + 0.5);
    assert_near(memory.running_mean[0], 0.1 * 3);
    assert_near(memory.running_mean[1], 0.1 * 40);
    assert_near(memory.running_variance[0], 0.9 + 0.1 * 7);
    assert_near(memory.running_variance[1], 0.9 + 0.1 * 1300);
    const norm_memory kept = memory;
    bp_norm_forward(&norm, false, 1, norm_x, y);
    assert_near(y[0], 2 * (1 - 0.3) / sqrt(1.6 + 1e-5) + 0.5);
    assert_near(y[1], 3 * (10 - 4.0) / sqrt(130.9 + 1e-5) - 1);
    assert_memory_equal(kept.running_mean, memory.running_mean, sizeof kept.running_mean);
    assert_memory_equal(kept.running_variance, memory.running_variance,
                        sizeof kept.running_variance);
}

/* --- losses ----------------------------------------------------------------------------------- */

static void test_cross_entropy(void **state) {
    (void)state;
    const bp_real y[6] = {1, 2, 3, 1000, -1000, 0};
    const int32_t classes[2] = {2, 1};
    bp_real dy[6];
    const bp_loss_sum sum =
        bp_loss_of(&(bp_recipe){.loss = BP_CROSS_ENTROPY}, 2, 3, y, classes, NULL, dy);
    const double partition = exp(1) + exp(2) + exp(3);
    assert_near(sum.sum, log(partition) - 3 + 2000);
    assert_int_equal(sum.terms, 2);
    assert_int_equal(sum.correct, 1);
    assert_int_equal(sum.judged, 2);
    assert_near(dy[0], exp(1) / partition / 2);
    assert_near(dy[2], (exp(3) / partition - 1) / 2);
    assert_near(dy[3], 0.5);
    assert_near(dy[4], -0.5);
    assert_near(dy[5], 0);
}

static void test_mse(void **state) {
    (void)state;
    const bp_real y[4] = {1, 2, 3, 4}, targets[4] = {0, 2, 5, 4};
    bp_real dy[4];
    const bp_loss_sum sum = bp_loss_of(&(bp_recipe){.loss = BP_MSE}, 2, 2, y, NULL, targets, dy);
    assert_near(sum.sum, 5);
    assert_int_equal(sum.terms, 4);
    assert_near(dy[0], 0.5);
    assert_near(dy[2], -1);
}

static void test_mae(void **state) {
    (void)state;
    const bp_real y[4] = {1, 2, 3, 4}, targets[4] = {0, 2, 5, 4.5};
    bp_real dy[4];
    const bp_loss_sum sum = bp_loss_of(&(bp_recipe){.loss = BP_MAE}, 2, 2, y, NULL, targets, dy);
    assert_near(sum.sum, 3.5);
    assert_int_equal(sum.terms, 4);
    assert_int_equal(sum.judged, 0);
    const bp_real expected[4] = {0.25, 0, -0.25, -0.25};
    for (int i = 0; i < 4; i++) assert_near(dy[i], expected[i]);
}

static void test_huber(void **state) {
    (void)state;
    const bp_recipe recipe = {.loss = BP_HUBER, .huber_delta = 0.5};
    const bp_real y[4] = {1, 2, 3, 4}, targets[4] = {0, 2.25, 5, 3.5};
    bp_real dy[4];
    const bp_loss_sum sum = bp_loss_of(&recipe, 2, 2, y, NULL, targets, dy);
    assert_near(sum.sum, 0.5 * (1 - 0.25) + 0.5 * 0.25 * 0.25 + 0.5 * (2 - 0.25) + 0.5 * 0.25);
    assert_int_equal(sum.terms, 4);
    const bp_real expected[4] = {0.125, -0.0625, -0.125, 0.125};
    for (int i = 0; i < 4; i++) assert_near(dy[i], expected[i]);
}

/* Far from 0 the plain formula would say infinity. */
static void test_binary_cross_entropy(void **state) {
    (void)state;
    const bp_recipe recipe = {.loss = BP_BINARY_CROSS_ENTROPY};
    const bp_real y[6] = {1.5, -0.5, 1000, -1000, -1000, 0}, t[6] = {1, 0.25, 1, 0, 1, 0};
    bp_real dy[6];
    const bp_loss_sum sum = bp_loss_of(&recipe, 2, 3, y, NULL, t, dy);
    double expected = 1000 + log(2); /* the last two */
    for (int i = 0; i < 2; i++) {
        const double p = 1 / (1 + exp(-y[i]));
        expected -= t[i] * log(p) + (1 - t[i]) * log(1 - p);
        assert_near(dy[i], (p - t[i]) / 6);
    }
    assert_near(sum.sum, expected);
    assert_int_equal(sum.terms, 6);
    assert_int_equal(sum.judged, 6);
    assert_int_equal(sum.correct, 5); /* all but the fifth; 0 is on the side of "no" */
    assert_near(dy[2], 0);
    assert_near(dy[3], 0);
    assert_near(dy[4], -1.0 / 6);
    assert_near(dy[5], 0.5 / 6);
}

/* A bad value is a reading: the loss says NaN, its derivative too, and no NaN is a right answer. */
static void test_nan_loss(void **state) {
    (void)state;
    const bp_real y[4] = {NAN, NAN, 1, 2}, targets[4] = {0, 1, 0, 1};
    const int32_t classes[2] = {0, 1};
    int n_checked = 0;
    for (int loss = BP_CROSS_ENTROPY; bp_loss_name((bp_loss)loss); loss++) {
        if (loss == BP_LOSS_OTHER) continue;
        const bp_recipe recipe = {.loss = (bp_loss)loss, .huber_delta = 1};
        bp_real dy[4];
        const bp_loss_sum sum = bp_loss_of(&recipe, 2, 2, y, classes, targets, dy);
        assert_true(isnan(sum.sum) && isnan(dy[0]) && isnan(dy[1]));
        assert_int_equal(sum.correct, 1);
        assert_int_equal(sum.judged, loss == BP_BINARY_CROSS_ENTROPY ? 4 : 2);
        n_checked++;
    }
    assert_int_equal(n_checked, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_nan_passes),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_dropout_of_shares),
        cmocka_unit_test(test_dropout_passes_nan),
        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_residual),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_mse),
        cmocka_unit_test(test_mae),
        cmocka_unit_test(test_huber),
        cmocka_unit_test(test_binary_cross_entropy),
        cmocka_unit_test(test_nan_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
