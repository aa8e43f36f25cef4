/* SPDX-License-Identifier: Apache-2.0 */
/* One element far from all others, at every place: no lane may be forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "levels.h"
#include "planted.h"

enum { N = 100, ORDINARY = 0, MOST = 64 };

/* 1.5 * 2^octave; within the format's normal numbers. */
static uint64_t bits_of(bp_dtype dtype, int octave, bool negative) {
    const layout l = layout_of(dtype);
    const int bias = (1 << (l.bits - 2 - l.mantissa_bits)) - 1;
    const uint64_t sign = negative ? UINT64_C(1) << (l.bits - 1) : 0;
    return sign | (uint64_t)(octave + bias) << l.mantissa_bits |
           UINT64_C(1) << (l.mantissa_bits - 1);
}

static bp_exponents exponents;

static void compare(bp_dtype dtype, size_t place, int octave, bool negative) {
    uint64_t data[N];
    for (size_t i = 0; i < N; i++)
        put_bits(data, dtype, i,
                 bits_of(dtype, i == place ? octave : ORDINARY, i == place && negative));
    const bp_tensor tensor = bp_tensor_matrix(data, dtype, N, 0);
    const slow_summary slow = slow_summarise(&tensor);
    bp_summary summary;
    bp_summarise_exponents(&summary, &exponents, &tensor);
    assert_agrees(&summary, &slow);
    for (int k = -MOST; k <= MOST; k++) {
        const uint64_t ordinary = k == ORDINARY ? N - 1 : 0;
        assert_true(bp_exponents_between(&exponents, k, k + 1) == ordinary + (k == octave));
    }
}

static void one_far_from_all_others(void **state) {
    NEEDS_LEVEL(state);
    bp_exponents_init(&exponents);
    for (size_t d = 0; d < N_DTYPES; d++) {
        const int farthest = all_dtypes[d] == BP_F16 ? 14 : all_dtypes[d] == BP_F64 ? 62 : 40;
        for (size_t place = 0; place < N; place++)
            for (int octave = -farthest; octave <= farthest; octave += farthest / 7)
                compare(all_dtypes[d], place, octave, place % 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {AT_EACH_LEVEL(one_far_from_all_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
