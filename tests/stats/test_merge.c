/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"

static void assert_same_counts_and_extremes(const bp_summary *a, const bp_summary *b) {
    assert_true(a->count == b->count && a->nan == b->nan);
    assert_true(a->positive_inf == b->positive_inf && a->negative_inf == b->negative_inf);
    assert_true(a->zero == b->zero && a->subnormal == b->subnormal);
    assert_memory_equal(&a->min, &b->min, sizeof a->min);
    assert_memory_equal(&a->max, &b->max, sizeof a->max);
}

static bp_summary part_of(const void *data, bp_dtype dtype, size_t begin, size_t end) {
    const uint8_t *bytes = data;
    const bp_tensor tensor =
        bp_tensor_matrix(bytes + begin * bp_dtype_bytes(dtype), dtype, (int64_t)(end - begin), 0);
    bp_summary summary;
    bp_summarise(&summary, &tensor);
    return summary;
}

/* Every place to cut a tensor of ordinary and planted values. */
static void any_split_gives_the_whole(void **state) {
    (void)state;
    enum { N = 60 };
    double data[N];
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        for (size_t i = 0; i < N; i++)
            put_bits(data, dtype, i,
                     i % 4 == 3 ? special_bits(dtype, (special)(i / 4 % N_SPECIALS))
                                : ordinary_bits(dtype, 3, i));
        const bp_summary whole = part_of(data, dtype, 0, N);
        const bp_tensor tensor = bp_tensor_matrix(data, dtype, N, 0);
        const slow_summary slow = slow_summarise(&tensor);
        for (size_t a = 0; a <= N; a++)
            for (size_t b = a; b <= N; b += 7) {
                const bp_summary parts[3] = {part_of(data, dtype, 0, a), part_of(data, dtype, a, b),
                                             part_of(data, dtype, b, N)};
                bp_summary merged;
                bp_summary_init(&merged);
                for (size_t i = 0; i < 3; i++) bp_summary_merge(&merged, &parts[(i + a) % 3]);
                assert_same_counts_and_extremes(&merged, &whole);
                assert_agrees(&merged, &slow);
            }
    }
}

static void the_sign_of_zero_survives(void **state) {
    (void)state;
    const float data[] = {0.0f, -0.0f, 0.0f, -0.0f};
    const bp_summary whole = part_of(data, BP_F32, 0, 4);
    assert_true(signbit(whole.min) && !signbit(whole.max));
    for (size_t cut = 1; cut < 4; cut++)
        for (int swapped = 0; swapped < 2; swapped++) {
            const bp_summary parts[2] = {part_of(data, BP_F32, 0, cut),
                                         part_of(data, BP_F32, cut, 4)};
            bp_summary merged = parts[swapped];
            bp_summary_merge(&merged, &parts[1 - swapped]);
            assert_same_counts_and_extremes(&merged, &whole);
        }
}

static void nothing_is_neutral(void **state) {
    (void)state;
    const double data[] = {1e300, -3, (double)NAN, 1e-300};
    const bp_summary some = part_of(data, BP_F64, 0, 4);
    bp_summary nothing, merged = some;
    bp_summary_init(&nothing);
    bp_summary_merge(&merged, &nothing);
    assert_memory_equal(&merged, &some, sizeof some);
    bp_summary_init(&merged);
    bp_summary_merge(&merged, &some);
    assert_memory_equal(&merged, &some, sizeof some);
}

/* One element each, of sizes whose squares do not fit together at one scale. */
static void scales_are_reconciled(void **state) {
    (void)state;
    static const double sizes[] = {1e300, 1e-300, 1, 1.7e308, 5e-324, 1e150, -1e-150, -1.7e308, 0};
    enum { N = sizeof sizes / sizeof *sizes };
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < N; k++) {
                const double data[3] = {sizes[i], sizes[j], sizes[k]};
                bp_summary merged = part_of(data, BP_F64, 0, 1);
                for (size_t part = 1; part < 3; part++) {
                    const bp_summary next = part_of(data, BP_F64, part, part + 1);
                    bp_summary_merge(&merged, &next);
                }
                const bp_tensor tensor = bp_tensor_matrix(data, BP_F64, 3, 0);
                const slow_summary slow = slow_summarise(&tensor);
                assert_agrees(&merged, &slow);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_gives_the_whole),
        cmocka_unit_test(the_sign_of_zero_survives),
        cmocka_unit_test(nothing_is_neutral),
        cmocka_unit_test(scales_are_reconciled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
