/* SPDX-License-Identifier: Apache-2.0 */
/* Where a tensor points: exact where it is small, an estimate where it is not. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "base/base.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

enum { MOST = 40000 };

static double numbers[BP_DIRECTION_PLACES];
static double wide[2][2 * MOST];
static float narrow[2][2 * MOST];

/* Two arrays with about this cosine; every element of the first is above 0. */
static void fill(size_t n, double cosine) {
    const bp_random_key key = {.seed = n};
    for (size_t i = 0; i < n; i++) {
        const double a = bp_random_normal(&key, 2 * i), b = bp_random_normal(&key, 2 * i + 1);
        wide[0][i] = a;
        wide[1][i] = cosine * a + sqrt(1 - cosine * cosine) * b;
        for (int t = 0; t < 2; t++) narrow[t][i] = (float)wide[t][i];
    }
}

static double exact(size_t n, size_t step) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n * step; i += step) {
        ab += wide[0][i] * wide[1][i];
        aa += wide[0][i] * wide[0][i];
        bb += wide[1][i] * wide[1][i];
    }
    return ab / sqrt(aa * bb);
}

static bp_direction fresh(uint64_t count) {
    bp_direction direction;
    memset(numbers, 0x5a, sizeof numbers); /* nothing may rely on what was there */
    bp_direction_init(&direction, numbers, bp_direction_numbers(count));
    return direction;
}

static double turned(const bp_tensor *a, const bp_tensor *b) {
    double cosine = 42;
    bp_direction direction = fresh((uint64_t)bp_tensor_count(a));
    assert_false(bp_direction_turn(&direction, a, &cosine));
    assert_true(cosine == 42);
    assert_true(bp_direction_turn(&direction, b, &cosine));
    return cosine;
}

static void all_elements_of_small_tensors(void **state) {
    (void)state;
    for (int64_t n = 1; n <= BP_DIRECTION_PLACES; n += n < 40 ? 1 : 27) {
        fill((size_t)n, 0.3);
        const bp_tensor a = bp_tensor_matrix(wide[0], BP_F64, n, 0);
        const bp_tensor b = bp_tensor_matrix(wide[1], BP_F64, n, 0);
        assert_true(fabs(turned(&a, &b) - exact((size_t)n, 1)) < 1e-14);
        const bp_tensor c = bp_tensor_matrix(narrow[0], BP_F32, n, 0);
        const bp_tensor d = bp_tensor_matrix(narrow[1], BP_F32, n, 0);
        assert_true(fabs(turned(&c, &d) - exact((size_t)n, 1)) < 1e-6);
        assert_true(fabs(turned(&c, &b) - exact((size_t)n, 1)) < 1e-6); /* of other formats */
    }
}

/* Sizes in step with the stretches and not; the estimate is within four deviations. */
static void places_of_large_tensors(void **state) {
    (void)state;
    const int64_t sizes[] = {257, 300, 511, 512, 1024, 4096, 5003, 32768, 39999};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (double cosine = -0.9; cosine < 1; cosine += 0.45) {
            const int64_t n = sizes[i];
            fill((size_t)n, cosine);
            const bp_tensor a = bp_tensor_matrix(narrow[0], BP_F32, n, 0);
            const bp_tensor b = bp_tensor_matrix(narrow[1], BP_F32, n, 0);
            const double off = 4 * (1 - cosine * cosine) / 16 + 1e-6;
            assert_true(fabs(turned(&a, &b) - cosine) < off + 4 / sqrt((double)n));
            assert_true(fabs(turned(&a, &a) - 1) < 1e-12);
        }
}

/* No element is left out of all places' reach: each row and column of a matrix counts. */
static void every_part_is_seen(void **state) {
    (void)state;
    enum { ROWS = 64, COLUMNS = 256 };
    const bp_tensor a = bp_tensor_matrix(narrow[0], BP_F32, ROWS, COLUMNS);
    const bp_tensor b = bp_tensor_matrix(narrow[1], BP_F32, ROWS, COLUMNS);
    for (size_t part = 0; part < 8; part++)
        for (int by_rows = 0; by_rows < 2; by_rows++) {
            for (size_t i = 0; i < ROWS * COLUMNS; i++) {
                const size_t at = by_rows ? i / COLUMNS * 8 / ROWS : i % COLUMNS * 8 / COLUMNS;
                narrow[0][i] = 1;
                narrow[1][i] = at == part ? -1 : 1; /* one in eight turns: 0.75 */
            }
            assert_true(fabs(turned(&a, &b) - 0.75) < 0.15);
        }
}

static void strides_do_not_matter(void **state) {
    (void)state;
    const int64_t sizes[] = {100, 5000};
    for (size_t i = 0; i < 2; i++) {
        const int64_t n = sizes[i];
        fill((size_t)(2 * n), 0.5);
        bp_tensor a = bp_tensor_matrix(wide[0], BP_F64, n, 0), b = a;
        b.data = wide[1];
        a.stride[0] = b.stride[0] = 2;
        static double packed[2][MOST];
        for (int64_t k = 0; k < n; k++)
            for (int t = 0; t < 2; t++) packed[t][k] = wide[t][2 * k];
        const bp_tensor c = bp_tensor_matrix(packed[0], BP_F64, n, 0);
        const bp_tensor d = bp_tensor_matrix(packed[1], BP_F64, n, 0);
        assert_true(turned(&a, &b) == turned(&c, &d));
        /* A matrix by columns. */
        bp_tensor e = bp_tensor_matrix(packed[0], BP_F64, n / 5, 5);
        e.stride[0] = 1;
        e.stride[1] = n / 5;
        assert_true(fabs(turned(&e, &e) - 1) < 1e-12);
        bp_tensor f = e;
        f.data = packed[1];
        assert_true(fabs(turned(&e, &f) - 0.5) < 0.35);
    }
}

static void extremes(void **state) {
    (void)state;
    double a[4] = {1e-300, 2e-300, 0, -1e-300}, b[4] = {1e300, 2e300, 1e290, -1e300};
    const bp_tensor small = bp_tensor_matrix(a, BP_F64, 4, 0);
    const bp_tensor large = bp_tensor_matrix(b, BP_F64, 4, 0);
    assert_true(fabs(turned(&small, &large) - 1) < 1e-9);
    const double c[4] = {7, 2, 0, -1};
    const bp_tensor plain = bp_tensor_matrix(c, BP_F64, 4, 0);
    b[0] = INFINITY; /* left out, as its partner */
    b[1] = -2e300;
    assert_true(fabs(turned(&large, &plain) - -0.6) < 1e-9);
    double cosine = 42;
    bp_direction direction = fresh(4);
    const double zeros[4] = {0};
    const bp_tensor zero = bp_tensor_matrix(zeros, BP_F64, 4, 0);
    assert_false(bp_direction_turn(&direction, &zero, &cosine));
    assert_false(bp_direction_turn(&direction, &small, &cosine));
    assert_true(bp_direction_turn(&direction, &small, &cosine));
    assert_false(bp_direction_turn(&direction, &zero, &cosine));
    /* Of another size, empty, without data, larger than there is room for. */
    const bp_tensor other = bp_tensor_matrix(b, BP_F64, 3, 0);
    const bp_tensor empty = bp_tensor_matrix(b, BP_F64, 0, 0);
    const bp_tensor nowhere = bp_tensor_matrix(NULL, BP_F64, 3, 0);
    const bp_tensor larger = bp_tensor_matrix(wide[0], BP_F64, 5, 0);
    assert_false(bp_direction_turn(&direction, &other, &cosine));
    assert_true(bp_direction_turn(&direction, &other, &cosine));
    assert_false(bp_direction_turn(&direction, &empty, &cosine));
    assert_false(bp_direction_turn(&direction, &other, &cosine));
    assert_false(bp_direction_turn(&direction, &nowhere, &cosine));
    assert_false(bp_direction_turn(&direction, &other, &cosine));
    assert_false(bp_direction_turn(&direction, &larger, &cosine));
    assert_false(bp_direction_turn(&direction, &larger, &cosine));
    bp_direction_init(&direction, NULL, 0);
    assert_false(bp_direction_turn(&direction, &small, &cosine));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_elements_of_small_tensors),
        cmocka_unit_test(places_of_large_tensors),
        cmocka_unit_test(every_part_is_seen),
        cmocka_unit_test(strides_do_not_matter),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
