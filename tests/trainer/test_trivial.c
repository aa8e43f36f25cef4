/* SPDX-License-Identifier: Apache-2.0 */
/* The loss of the best constant output against values by hand. */
#include "kit.h"

#include <math.h>

static const int64_t shape[3] = {1, 1, 1};

/* Targets of two columns. */
static bp_dataset *open_data(const bp_real *targets, int64_t n) {
    const bp_real inputs[8] = {0};
    const bp_part train = {n, inputs, NULL, targets};
    bp_error error;
    bp_dataset *data;
    if (bp_dataset_from_memory(&data, "mine", shape, 2, &train, NULL, NULL, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    return data;
}

static double trivial(const bp_dataset *data, bp_loss loss, double huber_delta) {
    return bp_dataset_trivial_loss(data, &(bp_recipe){.loss = loss, .huber_delta = huber_delta});
}

static void test_regression(void **state) {
    (void)state;
    const bp_real targets[10] = {0, 5, 1, 5, 2, 5, 3, 5, 100, 5}; /* 0 1 2 3 100; five times 5 */
    bp_dataset *data = open_data(targets, 5);
    assert_true(isnan(trivial(data, BP_CROSS_ENTROPY, 0)));
    assert_true(isnan(trivial(data, BP_LOSS_OTHER, 0)));
    const double mean = 21.2, squares = 0 + 1 + 4 + 9 + 10000;
    assert_true(fabs(trivial(data, BP_MSE, 0) - (squares / 5 - mean * mean) / 2) < 1e-9);
    assert_true(fabs(trivial(data, BP_MAE, 0) - (2 + 1 + 0 + 1 + 98) / 5.0 / 2) < 1e-5);
    /* With delta 1 the slope is 0 at 2: -1 -1 0 +1 +1. */
    assert_true(fabs(trivial(data, BP_HUBER, 1) - (1.5 + 0.5 + 0 + 0.5 + 97.5) / 5 / 2) < 1e-5);
    /* So wide that it is half of mse. */
    assert_true(fabs(trivial(data, BP_HUBER, 1000) - trivial(data, BP_MSE, 0) / 2) < 1e-5);
    bp_dataset_close(data);
}

static void test_binary_cross_entropy(void **state) {
    (void)state;
    const bp_real targets[8] = {0, 1, 1, 1, 0, 1, 0, 1}; /* a quarter; all */
    bp_dataset *data = open_data(targets, 4);
    const double entropy = -(log(0.25) + 3 * log(0.75)) / 4;
    assert_true(fabs(trivial(data, BP_BINARY_CROSS_ENTROPY, 0) - entropy / 2) < 1e-12);
    bp_dataset_close(data);
    const bp_real soft[4] = {0.2f, 0.5f, 0.4f, 0.5f};
    data = open_data(soft, 2);
    const double p = 0.3, expected = -(p * log(p) + (1 - p) * log(1 - p));
    assert_true(fabs(trivial(data, BP_BINARY_CROSS_ENTROPY, 0) - (expected + log(2)) / 2) < 1e-6);
    bp_dataset_close(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regression),
        cmocka_unit_test(test_binary_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
