/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void counts(void **state) {
    (void)state;
    const struct {
        int32_t ndim;
        int64_t shape[BP_TENSOR_MAX_NDIM], count;
    } cases[] = {
        {0, {0}, 1},
        {1, {7}, 7},
        {3, {2, 3, 4}, 24},
        {3, {2, 0, 4}, 0},
        {8, {1, 2, 1, 2, 1, 2, 1, 2}, 16},
        {9, {1}, 0},
        {-1, {1}, 0},
        {1, {-5}, 0},
        {2, {INT64_MAX, 3}, INT64_MAX}, /* an expanded tensor: no wrap-around */
        {3, {INT64_MAX, 3, 0}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bp_tensor tensor = {.dtype = BP_F32, .ndim = cases[i].ndim};
        for (int j = 0; j < BP_TENSOR_MAX_NDIM; j++) tensor.shape[j] = cases[i].shape[j];
        assert_true(bp_tensor_count(&tensor) == cases[i].count);
    }
}

static void views(void **state) {
    (void)state;
    static const float data[12];
    bp_tensor matrix = bp_tensor_matrix(data, BP_F32, 3, 4);
    assert_int_equal(matrix.ndim, 2);
    assert_int_equal(bp_tensor_count(&matrix), 12);
    assert_int_equal(matrix.stride[0], 4);
    assert_true(bp_tensor_is_contiguous(&matrix));
    bp_tensor vector = bp_tensor_matrix(data, BP_F32, 12, 0);
    assert_int_equal(vector.ndim, 1);
    assert_int_equal(bp_tensor_count(&vector), 12);
    assert_true(bp_tensor_is_contiguous(&vector));
}

static void contiguity(void **state) {
    (void)state;
    bp_tensor transposed = {.ndim = 2, .shape = {4, 3}, .stride = {1, 4}};
    assert_false(bp_tensor_is_contiguous(&transposed));
    bp_tensor thin = {.ndim = 3, .shape = {4, 1, 3}, .stride = {3, 99, 1}};
    assert_true(bp_tensor_is_contiguous(&thin)); /* the stride of one element is never used */
    bp_tensor padded = {.ndim = 2, .shape = {4, 3}, .stride = {4, 1}};
    assert_false(bp_tensor_is_contiguous(&padded));
    bp_tensor expanded = {.ndim = 2, .shape = {4, 3}, .stride = {0, 1}};
    assert_false(bp_tensor_is_contiguous(&expanded));
    bp_tensor reversed = {.ndim = 1, .shape = {4}, .stride = {-1}};
    assert_false(bp_tensor_is_contiguous(&reversed));
    bp_tensor empty = {.ndim = 2, .shape = {0, 3}, .stride = {-7, 5}};
    assert_true(bp_tensor_is_contiguous(&empty));
    bp_tensor scalar = {.ndim = 0};
    assert_true(bp_tensor_is_contiguous(&scalar));
}

static void dtypes(void **state) {
    (void)state;
    assert_int_equal(bp_dtype_precision(BP_F64), 53);
    assert_int_equal(bp_dtype_precision(BP_F32), 24);
    assert_int_equal(bp_dtype_precision(BP_F16), 11);
    assert_int_equal(bp_dtype_precision(BP_BF16), 8);
    assert_int_equal(bp_dtype_precision((bp_dtype)0), 0);
    assert_int_equal(bp_dtype_bytes(BP_F64), 8);
    assert_int_equal(bp_dtype_bytes(BP_F32), 4);
    assert_int_equal(bp_dtype_bytes(BP_F16), 2);
    assert_int_equal(bp_dtype_bytes(BP_BF16), 2);
    assert_int_equal(bp_dtype_bytes((bp_dtype)77), 0);
    assert_string_equal(bp_dtype_name(BP_F64), "f64");
    assert_string_equal(bp_dtype_name(BP_F32), "f32");
    assert_string_equal(bp_dtype_name(BP_F16), "f16");
    assert_string_equal(bp_dtype_name(BP_BF16), "bf16");
    assert_string_equal(bp_dtype_name((bp_dtype)77), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(views),
        cmocka_unit_test(contiguity),
        cmocka_unit_test(dtypes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
