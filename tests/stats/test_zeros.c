/* SPDX-License-Identifier: Apache-2.0 */
/* Extremes that are zeros: which of the two, wherever it stands and whatever stands beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "levels.h"
#include "planted.h"

enum { N = 100 }; /* six rounds and a rest */

static bool lies_below(double a, double b) {
    return a < b || (a == b && signbit(a) && !signbit(b));
}

static void compare(bp_dtype dtype, const void *data) {
    const bp_tensor tensor = bp_tensor_matrix(data, dtype, N, 0);
    double min = (double)INFINITY, max = -(double)INFINITY;
    for (int64_t i = 0; i < N; i++) {
        const double value = decode(dtype, get_bits(data, dtype, i));
        if (lies_below(value, min)) min = value;
        if (lies_below(max, value)) max = value;
    }
    bp_summary summary;
    bp_summarise(&summary, &tensor);
    assert_memory_equal(&summary.min, &min, sizeof min);
    assert_memory_equal(&summary.max, &max, sizeof max);
}

/* All are `base`, but two: -0 at one place and +0 at another, or either alone. */
static void zeros_at_every_place(void **state) {
    NEEDS_LEVEL(state);
    uint64_t data[N];
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        const uint64_t plus = 0, minus = special_bits(dtype, SPECIAL_NEGATIVE_ZERO);
        const uint64_t bases[] = {plus,
                                  minus,
                                  special_bits(dtype, SPECIAL_LARGEST),
                                  special_bits(dtype, SPECIAL_LOWEST),
                                  special_bits(dtype, SPECIAL_SMALLEST),
                                  special_bits(dtype, SPECIAL_NEGATIVE_SUBNORMAL)};
        for (size_t b = 0; b < sizeof bases / sizeof *bases; b++)
            for (size_t i = 0; i < N; i++)
                for (int which = 1; which < 4; which++) {
                    for (size_t k = 0; k < N; k++) put_bits(data, dtype, k, bases[b]);
                    if (which & 1) put_bits(data, dtype, i, minus);
                    if (which & 2) put_bits(data, dtype, (i + 37) % N, plus);
                    compare(dtype, data);
                }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {AT_EACH_LEVEL(zeros_at_every_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
