/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of every format with known content, and the slow answer to compare with: no lanes, no
 * blocks, no bit tests in common with the code under test; sums in 113-bit arithmetic. */
#ifndef BP_TESTS_STATS_PLANTED_H
#define BP_TESTS_STATS_PLANTED_H

#include "base/base.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

__extension__ typedef __float128 wide;

static const bp_dtype all_dtypes[] = {BP_F32, BP_F64, BP_F16, BP_BF16};
enum { N_DTYPES = sizeof all_dtypes / sizeof *all_dtypes };

/* The values that break kernels. A format takes what it can hold. */
typedef enum special {
    SPECIAL_NAN,
    SPECIAL_NEGATIVE_NAN,
    SPECIAL_SIGNALING_NAN,
    SPECIAL_INF,
    SPECIAL_NEGATIVE_INF,
    SPECIAL_ZERO,
    SPECIAL_NEGATIVE_ZERO,
    SPECIAL_SMALLEST,
    SPECIAL_LARGEST_SUBNORMAL,
    SPECIAL_NEGATIVE_SUBNORMAL,
    SPECIAL_LARGEST,
    SPECIAL_LOWEST,
    N_SPECIALS
} special;

typedef struct layout {
    int mantissa_bits, bits;
} layout;

static inline layout layout_of(bp_dtype dtype) {
    return dtype == BP_F64   ? (layout){52, 64}
           : dtype == BP_F32 ? (layout){23, 32}
           : dtype == BP_F16 ? (layout){10, 16}
                             : (layout){7, 16};
}

static inline uint64_t special_bits(bp_dtype dtype, special which) {
    const layout l = layout_of(dtype);
    const uint64_t sign = UINT64_C(1) << (l.bits - 1), one = UINT64_C(1) << l.mantissa_bits;
    const uint64_t inf = sign - one;
    switch (which) {
    case SPECIAL_NAN:
        return inf | one >> 1;
    case SPECIAL_NEGATIVE_NAN:
        return sign | inf | one >> 1;
    case SPECIAL_SIGNALING_NAN:
        return inf | 1;
    case SPECIAL_INF:
        return inf;
    case SPECIAL_NEGATIVE_INF:
        return sign | inf;
    case SPECIAL_ZERO:
        return 0;
    case SPECIAL_NEGATIVE_ZERO:
        return sign;
    case SPECIAL_SMALLEST:
        return 1;
    case SPECIAL_LARGEST_SUBNORMAL:
        return one - 1;
    case SPECIAL_NEGATIVE_SUBNORMAL:
        return sign | 1;
    case SPECIAL_LARGEST:
        return inf - 1;
    case SPECIAL_LOWEST:
        return sign | (inf - 1);
    case N_SPECIALS:
        break;
    }
    return 0;
}

static inline void put_bits(void *data, bp_dtype dtype, size_t index, uint64_t bits) {
    const size_t size = bp_dtype_bytes(dtype);
    memcpy((uint8_t *)data + index * size, &bits, size); /* little endian */
}

static inline uint64_t get_bits(const void *data, bp_dtype dtype, int64_t index) {
    const size_t size = bp_dtype_bytes(dtype);
    uint64_t bits = 0;
    memcpy(&bits, (const uint8_t *)data + index * (int64_t)size, size);
    return bits;
}

/* Decodes by arithmetic. */
static inline double decode(bp_dtype dtype, uint64_t bits) {
    const layout l = layout_of(dtype);
    const uint64_t fraction = UINT64_C(1) << l.mantissa_bits;
    const int exponents = 1 << (l.bits - 1 - l.mantissa_bits);
    const int exponent = (int)(bits >> l.mantissa_bits) & (exponents - 1);
    const uint64_t mantissa = bits & (fraction - 1);
    const double sign = bits >> (l.bits - 1) ? -1 : 1;
    const int bias = exponents / 2 - 1;
    if (exponent == exponents - 1) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp((double)mantissa, 1 - bias - l.mantissa_bits);
    return sign * ldexp((double)(fraction + mantissa), exponent - bias - l.mantissa_bits);
}

/* An ordinary value: about N(0, 1), as bits. Truncation is good enough for a test's input. */
static inline uint64_t ordinary_bits(bp_dtype dtype, uint64_t seed, uint64_t index) {
    const bp_random_key key = {.seed = seed};
    const double value = bp_random_normal(&key, index);
    const layout l = layout_of(dtype);
    if (dtype == BP_F64) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    const int bias = (1 << (l.bits - 2 - l.mantissa_bits)) - 1;
    const uint64_t sign = value < 0 ? UINT64_C(1) << (l.bits - 1) : 0;
    int exponent;
    const double fraction = frexp(fabs(value), &exponent); /* 0.5 ... 1 */
    if (value == 0 || exponent - 1 + bias < 1) return sign;
    const uint64_t mantissa = (uint64_t)ldexp(fraction, l.mantissa_bits + 1);
    return sign | (uint64_t)(exponent - 1 + bias) << l.mantissa_bits |
           (mantissa & ((UINT64_C(1) << l.mantissa_bits) - 1));
}

typedef struct slow_summary {
    uint64_t count, nan, positive_inf, negative_inf, zero, subnormal;
    double min, max;
    wide sum, sum_squares, sum_magnitudes;
} slow_summary;

static inline void slow_add(slow_summary *slow, bp_dtype dtype, uint64_t bits) {
    const double smallest_normal = dtype == BP_F64   ? DBL_MIN
                                   : dtype == BP_F16 ? 0x1p-14
                                                     : (double)FLT_MIN;
    const double value = decode(dtype, bits);
    slow->count++;
    if (isnan(value)) {
        slow->nan++;
        return;
    }
    if (isinf(value)) {
        slow->positive_inf += value > 0;
        slow->negative_inf += value < 0;
        return;
    }
    slow->zero += value == 0;
    slow->subnormal += value != 0 && fabs(value) < smallest_normal;
    slow->min = fmin(slow->min, value);
    slow->max = fmax(slow->max, value);
    slow->sum += (wide)value;
    slow->sum_squares += (wide)value * (wide)value;
    slow->sum_magnitudes += (wide)fabs(value);
}

static inline slow_summary slow_nothing(void) {
    return (slow_summary){.min = (double)INFINITY, .max = -(double)INFINITY};
}

/* Walks with one nested counter. */
static inline slow_summary slow_summarise(const bp_tensor *tensor) {
    slow_summary slow = slow_nothing();
    int64_t index[BP_TENSOR_MAX_NDIM] = {0};
    for (int32_t i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] == 0) return slow;
    for (;;) {
        int64_t at = 0;
        for (int32_t i = 0; i < tensor->ndim; i++) at += index[i] * tensor->stride[i];
        slow_add(&slow, tensor->dtype, get_bits(tensor->data, tensor->dtype, at));
        int32_t i = tensor->ndim - 1;
        for (; i >= 0 && ++index[i] == tensor->shape[i]; i--) index[i] = 0;
        if (i < 0) return slow;
    }
}

/* value * 2^exponent without leaving the range on the way. */
static inline wide wide_scaled(double value, int64_t exponent) {
    wide result = (wide)value;
    for (; exponent > 0; exponent--) result *= 2;
    for (; exponent < 0; exponent++) result /= 2;
    return result;
}

static inline wide wide_abs(wide value) {
    return value < 0 ? -value : value;
}

/* The smallest relative error that is promised is 1e-12. */
static inline void assert_agrees(const bp_summary *found, const slow_summary *slow) {
    assert_true(found->count == slow->count);
    assert_true(found->nan == slow->nan);
    assert_true(found->positive_inf == slow->positive_inf);
    assert_true(found->negative_inf == slow->negative_inf);
    assert_true(found->zero == slow->zero);
    assert_true(found->subnormal == slow->subnormal);
    assert_true(found->min == slow->min);
    assert_true(found->max == slow->max);
    assert_true(isfinite(found->sum) && isfinite(found->sum_squares));
    const wide sum = wide_scaled(found->sum, found->sum_exponent);
    assert_true(wide_abs(sum - slow->sum) <= (wide)1e-12 * slow->sum_magnitudes);
    const wide squares = wide_scaled(found->sum_squares, 2 * (int64_t)found->square_exponent);
    assert_true(wide_abs(squares - slow->sum_squares) <= (wide)1e-12 * slow->sum_squares);
}

#endif
