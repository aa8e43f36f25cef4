/* SPDX-License-Identifier: Apache-2.0 */
/* Every bit pattern of both 16-bit formats against sign * mantissa * 2^exponent by arithmetic. */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <cmocka.h>

typedef struct format {
    int mantissa_bits, bias;
    float (*convert)(uint16_t bits);
} format;

static const format f16 = {10, 15, bp_f16_to_f32}, bf16 = {7, 127, bp_bf16_to_f32};

static double by_arithmetic(const format *f, uint16_t bits) {
    const int exponents = 1 << (15 - f->mantissa_bits), fraction = 1 << f->mantissa_bits;
    const int exponent = bits >> f->mantissa_bits & (exponents - 1);
    const int mantissa = bits & (fraction - 1);
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == exponents - 1) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - f->bias - f->mantissa_bits);
    return sign * ldexp(fraction + mantissa, exponent - f->bias - f->mantissa_bits);
}

static void assert_every_pattern(const format *f) {
    for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
        const double expected = by_arithmetic(f, (uint16_t)bits);
        const float found = f->convert((uint16_t)bits);
        if (isnan(expected)) {
            assert_true(isnan(found));
            continue;
        }
        assert_true((double)found == expected);
        assert_int_equal(signbit(found) != 0, bits >> 15);
    }
}

static void every_f16(void **state) {
    (void)state;
    assert_every_pattern(&f16);
}

static void every_bf16(void **state) {
    (void)state;
    assert_every_pattern(&bf16);
}

/* The conversion itself makes no use of a floating-point unit that flushes subnormals. */
static void flushing_changes_nothing(void **state) {
    (void)state;
#if defined(__SSE__)
    static uint32_t expected[2][65536];
    for (int flush = 0; flush < 2; flush++) {
        const unsigned kept = _mm_getcsr();
        if (flush) _mm_setcsr(kept | 0x8040);
        for (uint32_t bits = 0; bits <= UINT16_MAX; bits++) {
            const float values[2] = {bp_f16_to_f32((uint16_t)bits), bp_bf16_to_f32((uint16_t)bits)};
            uint32_t found[2];
            memcpy(found, values, sizeof found);
            for (int i = 0; i < 2; i++) {
                if (!flush) expected[i][bits] = found[i];
                assert_int_equal(found[i], expected[i][bits]);
            }
        }
        _mm_setcsr(kept);
    }
#else
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16),
        cmocka_unit_test(every_bf16),
        cmocka_unit_test(flushing_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
