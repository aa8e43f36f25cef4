/* SPDX-License-Identifier: Apache-2.0 */
#include "../faults.h"
#include "kit.h"
#include "trainer/digits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the bundled digits ----------------------------------------------------------------------- */

static bp_dataset *open_digits(void) {
    bp_error error;
    bp_dataset *digits;
    if (bp_dataset_open(&digits, "digits", NULL, &error) != BP_OK) fail_msg("%s", error.text);
    return digits;
}

static void test_digits_sizes(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    assert_string_equal(digits->name, "digits");
    assert_int_equal(digits->train.n, 1257);
    assert_int_equal(digits->validation.n, 270);
    assert_int_equal(digits->test.n, 270);
    assert_int_equal(digits->input_shape[0], 1);
    assert_int_equal(digits->input_shape[1], 8);
    assert_int_equal(digits->input_shape[2], 8);
    assert_int_equal(digits->n_outputs, 10);
    assert_true(digits->has_classes);
    bp_dataset_close(digits);
}

/* Counted by scikit-learn's copy of the data. */
static void test_digits_are_stratified(void **state) {
    (void)state;
    const int64_t in_all[10] = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
    bp_dataset *digits = open_digits();
    const bp_part *parts[3] = {&digits->train, &digits->validation, &digits->test};
    int64_t counts[3][10] = {{0}};
    for (int p = 0; p < 3; p++)
        for (int64_t i = 0; i < parts[p]->n; i++) counts[p][parts[p]->classes[i]]++;
    for (int c = 0; c < 10; c++) {
        assert_int_equal(counts[0][c] + counts[1][c] + counts[2][c], in_all[c]);
        for (int p = 0; p < 3; p++) {
            const double fair = (double)in_all[c] * (double)parts[p]->n / 1797;
            assert_true(fabs((double)counts[p][c] - fair) <= 1);
        }
    }
    const double chance = (double)counts[0][3] / 1257; /* the most frequent class */
    assert_true(digits->chance_accuracy == chance);
    bp_dataset_close(digits);
}

static int by_bytes(const void *a, const void *b) {
    return memcmp(a, b, BP_DIGITS_PIXELS * sizeof(bp_real));
}

/* All 1,797 images are different, so equal images in two parts would be one image twice. */
static void test_digits_parts_are_disjoint(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    const bp_part *parts[3] = {&digits->train, &digits->validation, &digits->test};
    const size_t row = BP_DIGITS_PIXELS * sizeof(bp_real);
    char *rows = malloc(BP_DIGITS_IMAGES * row);
    size_t n = 0;
    for (int p = 0; p < 3; p++) {
        memcpy(rows + n * row, parts[p]->inputs, (size_t)parts[p]->n * row);
        n += (size_t)parts[p]->n;
    }
    assert_int_equal(n, BP_DIGITS_IMAGES);
    qsort(rows, n, row, by_bytes);
    for (size_t i = 1; i < n; i++) assert_true(by_bytes(rows + i * row, rows + (i - 1) * row) != 0);
    free(rows);
    bp_dataset_close(digits);
}

static void test_digits_are_standardised(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    double sum = 0, sum_squares = 0;
    const int64_t count = digits->train.n * BP_DIGITS_PIXELS;
    for (int64_t i = 0; i < count; i++) {
        const double value = (double)digits->train.inputs[i];
        sum += value;
        sum_squares += value * value;
    }
    assert_true(fabs(sum / (double)count) < 1e-5);
    assert_true(fabs(sum_squares / (double)count - 1) < 1e-5);
    bp_dataset_close(digits);
}

/* The first image of the file is the 0 that everyone knows; the pixels are in their places. */
static void test_first_digit(void **state) {
    (void)state;
    const int pixels[8] = {0, 0, 5, 13, 9, 1, 0, 0};
    bp_dataset *digits = open_digits();
    assert_int_equal(digits->train.classes[0], 0);
    const double step = ((double)digits->train.inputs[3] - (double)digits->train.inputs[0]) / 13;
    assert_true(step > 0.1);
    for (int i = 0; i < 8; i++) {
        const double above = (double)digits->train.inputs[i] - (double)digits->train.inputs[0];
        assert_true(fabs(above - step * pixels[i]) < 1e-5);
    }
    for (int64_t j = 0; j < 10; j++)
        assert_true(digits->train.targets[j] == (bp_real)(j == 0 ? 1 : 0));
    bp_dataset_close(digits);
}

/* --- the adding problem ------------------------------------------------------------------------
 */

static bp_dataset *open_adding(int64_t steps) {
    bp_error error;
    bp_dataset *adding;
    const bp_data_source source = {.name = "adding", .steps = steps, .seed = 1};
    if (bp_dataset_open_source(&adding, &source, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    return adding;
}

static void check_sums(const bp_part *part, int64_t steps) {
    for (int64_t i = 0; i < part->n; i++) {
        const bp_real *x = part->inputs + 2 * steps * i;
        double sum = 0;
        int64_t first = -1, second = -1;
        for (int64_t t = 0; t < steps; t++) {
            assert_true(x[2 * t] >= 0 && x[2 * t] <= 1);
            if (x[2 * t + 1] == 0) continue;
            assert_true(x[2 * t + 1] == 1 && second < 0);
            *(first < 0 ? &first : &second) = t;
            sum += (double)x[2 * t];
        }
        assert_true(first >= 0 && first < steps / 2 && second >= steps / 2);
        assert_true(fabs(sum - (double)part->targets[i]) < 1e-6);
    }
}

static void test_adding(void **state) {
    (void)state;
    bp_dataset *adding = open_adding(50), *again = open_adding(50);
    const bp_part *parts[3] = {&adding->train, &adding->validation, &adding->test};
    assert_string_equal(adding->name, "adding");
    assert_int_equal(adding->input_shape[0], 50);
    assert_int_equal(adding->input_shape[1], 2);
    assert_int_equal(adding->input_shape[2], 1);
    assert_false(adding->has_classes);
    assert_int_equal(adding->n_outputs, 1);
    for (int p = 0; p < 3; p++) {
        assert_int_equal(parts[p]->n, p == 0 ? 7000 : 1500);
        check_sums(parts[p], 50);
    }
    assert_memory_equal(adding->train.inputs, again->train.inputs,
                        (size_t)adding->train.n * 100 * sizeof(bp_real));
    assert_memory_equal(adding->test.targets, again->test.targets,
                        (size_t)adding->test.n * sizeof(bp_real));
    assert_memory_not_equal(adding->train.inputs, adding->test.inputs, 100 * sizeof(bp_real));
    const bp_recipe recipe = kit_recipe(BP_MSE, 32); /* variance of two numbers from [0, 1): 1/6 */
    assert_true(fabs(bp_dataset_trivial_loss(adding, &recipe) - 1.0 / 6) < 0.01);
    bp_dataset_close(again);
    bp_dataset_close(adding);
    adding = open_adding(2); /* every step is marked */
    check_sums(&adding->train, 2);
    bp_dataset_close(adding);
}

static void test_unknown_name(void **state) {
    (void)state;
    bp_dataset *dataset = NULL;
    bp_error error;
    assert_int_equal(bp_dataset_open(&dataset, "digit", NULL, &error), BP_ERROR_INPUT);
    assert_string_equal(error.text, "unknown data set 'digit'; did you mean 'digits'?");
    assert_int_equal(bp_dataset_open(&dataset, "imagenet", NULL, &error), BP_ERROR_INPUT);
    assert_string_equal(
        error.text,
        "unknown data set 'imagenet'; there are digits, fashion_mnist, spirals, adding");
    assert_null(dataset);
    assert_string_equal(bp_dataset_names[0], "digits");
    assert_null(bp_dataset_names[4]);
}

/* --- the caller's numbers --------------------------------------------------------------------- */

static const int64_t shape[3] = {2, 1, 1};
static const bp_real inputs[6] = {1, 2, 3, 4, 5, 6}, targets[3] = {1, 4, 4};
static const int32_t classes[3] = {0, 1, 1};

static void test_from_memory(void **state) {
    (void)state;
    const bp_part train = {3, inputs, classes, NULL}, test = {1, inputs + 2, classes + 1, NULL};
    bp_dataset *data;
    assert_int_equal(
        bp_dataset_from_memory(&data, "mine", shape, 3, &train, NULL, &test, NULL, NULL), BP_OK);
    assert_int_equal(data->validation.n, 0);
    assert_memory_equal(data->train.inputs, inputs, sizeof inputs);
    assert_true(data->train.inputs != inputs);
    const bp_real one_hot[9] = {1, 0, 0, 0, 1, 0, 0, 1, 0};
    assert_memory_equal(data->train.targets, one_hot, sizeof one_hot);
    assert_int_equal(data->test.classes[0], 1);
    assert_true(fabs(data->chance_accuracy - 2.0 / 3) < 1e-15);
    const double entropy = -(log(1.0 / 3) + 2 * log(2.0 / 3)) / 3;
    assert_true(fabs(bp_dataset_trivial_loss(data, &(bp_recipe){.loss = BP_CROSS_ENTROPY}) -
                     entropy) < 1e-15);
    /* Columns of one-hot targets: 1/3, 2/3 and 0 of ones. */
    assert_true(fabs(bp_dataset_trivial_loss(data, &(bp_recipe){.loss = BP_MSE}) - 4.0 / 9 / 3) <
                1e-15);
    bp_dataset_close(data);
}

static void test_regression(void **state) {
    (void)state;
    const bp_part train = {3, inputs, NULL, targets};
    bp_dataset *data;
    assert_int_equal(
        bp_dataset_from_memory(&data, "mine", shape, 1, &train, NULL, NULL, NULL, NULL), BP_OK);
    assert_false(data->has_classes);
    assert_null(data->train.classes);
    assert_true(isnan(data->chance_accuracy));
    assert_true(isnan(bp_dataset_trivial_loss(data, &(bp_recipe){.loss = BP_CROSS_ENTROPY})));
    assert_true(fabs(bp_dataset_trivial_loss(data, &(bp_recipe){.loss = BP_MSE}) - 2) < 1e-15);
    bp_dataset_close(data);
    bp_dataset_close(NULL);
}

static void refuse(const int64_t *dimensions, int64_t n_outputs, const bp_part *train,
                   const bp_part *test, bp_status expected, const char *words) {
    bp_dataset *data = NULL;
    bp_error error = {0};
    assert_int_equal(bp_dataset_from_memory(&data, "mine", dimensions, n_outputs, train, NULL, test,
                                            NULL, &error),
                     expected);
    assert_null(data);
    if (!strstr(error.text, words)) fail_msg("expected '%s' in '%s'", words, error.text);
}

static void test_refusals(void **state) {
    (void)state;
    const bp_part good = {3, inputs, classes, NULL};
    const bp_status bad = BP_ERROR_ARGUMENT;
    const int64_t flat[3] = {2, 0, 1}, endless[3] = {1 << 30, 1 << 30, 1 << 30};
    refuse(flat, 2, &good, NULL, bad, "2 x 0 x 1");
    refuse(endless, 2, &good, NULL, bad, "impossible");
    refuse(shape, 0, &good, NULL, bad, "0 outputs");
    refuse(shape, 1, &good, NULL, bad,
           "sample 1 of the training part has class 1, expected 0 to 0");
    const bp_part negative = {-1, inputs, classes, NULL}, empty = {0, inputs, classes, NULL};
    refuse(shape, 2, &negative, NULL, bad, "-1 samples");
    refuse(shape, 2, &empty, NULL, bad, "training part of 0 samples");
    refuse(shape, 2, &good, &negative, bad, "test part of -1 samples");
    const bp_part no_inputs = {3, NULL, classes, NULL}, no_classes = {3, inputs, NULL, targets};
    refuse(shape, 2, &no_inputs, NULL, bad, "no inputs");
    refuse(shape, 2, &good, &no_classes, bad, "the test part has no classes");
    const bp_part no_targets = {3, inputs, NULL, NULL};
    refuse(shape, 2, &no_targets, NULL, bad, "no targets");
    refuse(shape, (int64_t)1 << 31, &good, NULL, BP_ERROR_LIMIT, "GiB");
}

static void test_nth_allocation_fails(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        faulty_memory memory = {.fail_at = n};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_dataset *digits = NULL;
        bp_error error;
        const bp_status status = bp_dataset_open(&digits, "digits", &allocator, &error);
        bp_dataset_close(digits);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
        if (status == BP_OK) {
            assert_true(n > 2);
            break;
        }
        assert_int_equal(status, BP_ERROR_MEMORY);
        assert_null(digits);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits_sizes),
        cmocka_unit_test(test_digits_are_stratified),
        cmocka_unit_test(test_digits_parts_are_disjoint),
        cmocka_unit_test(test_digits_are_standardised),
        cmocka_unit_test(test_first_digit),
        cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_from_memory),
        cmocka_unit_test(test_regression),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
