/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Known answers of philox4x32-10 from the Random123 distribution. */
static void philox_gives_the_known_answers(void **state) {
    (void)state;
    static const struct {
        bp_random_key key;
        uint64_t index;
        uint32_t expected[4];
    } known[] = {
        {{0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{UINT64_MAX, UINT32_MAX, UINT32_MAX},
         UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{UINT64_C(0x299f31d0a4093822), 0x13198a2e, 0x03707344},
         UINT64_C(0x85a308d3243f6a88),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        bp_random_block(&known[i].key, known[i].index, out);
        assert_memory_equal(out, known[i].expected, sizeof out);
    }
}

enum { DRAWS = 200000 };

static void uniforms_fill_the_interval(void **state) {
    (void)state;
    const bp_random_key key = {.seed = 1, .purpose = 2, .step = 3};
    double sum = 0, sum_squares = 0, smallest = 1, largest = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double u = bp_random_uniform(&key, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        sum_squares += u * u;
        smallest = fmin(smallest, u);
        largest = fmax(largest, u);
    }
    /* Five standard errors. */
    assert_true(fabs(sum / DRAWS - 0.5) < 5 * sqrt(1.0 / 12 / DRAWS));
    assert_true(fabs(sum_squares / DRAWS - 1.0 / 3) < 5 * sqrt(4.0 / 45 / DRAWS));
    assert_true(smallest < 1e-3 && largest > 1 - 1e-3);
}

static void normals_are_normal(void **state) {
    (void)state;
    const bp_random_key key = {.seed = 5};
    double moment[5] = {0};
    size_t n_beyond = 0; /* 1.959964: 5% */
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double z = bp_random_normal(&key, i);
        assert_true(isfinite(z));
        for (int p = 1; p <= 4; p++) moment[p] += pow(z, p) / DRAWS;
        n_beyond += fabs(z) > 1.959964;
    }
    assert_true(fabs(moment[1]) < 5 * sqrt(1.0 / DRAWS));
    assert_true(fabs(moment[2] - 1) < 5 * sqrt(2.0 / DRAWS));
    assert_true(fabs(moment[3]) < 5 * sqrt(15.0 / DRAWS));
    assert_true(fabs(moment[4] - 3) < 5 * sqrt(96.0 / DRAWS));
    assert_true(fabs((double)n_beyond / DRAWS - 0.05) < 5 * sqrt(0.05 * 0.95 / DRAWS));
}

static void every_part_of_the_key_matters(void **state) {
    (void)state;
    const bp_random_key keys[] = {
        {1, 1, 1}, {2, 1, 1}, {UINT64_C(1) << 32 | 1, 1, 1}, {1, 2, 1}, {1, 1, 2}};
    uint32_t block[5][4];
    for (size_t i = 0; i < 5; i++) {
        bp_random_block(&keys[i], 7, block[i]);
        for (size_t j = 0; j < i; j++) assert_memory_not_equal(block[i], block[j], sizeof block[i]);
    }
}

static void a_permutation_holds_every_number_once(void **state) {
    (void)state;
    const bp_random_key key = {.seed = 9};
    static uint32_t out[1000];
    for (uint32_t n = 0; n <= 1000; n += n < 10 ? 1 : 99) {
        bool seen[1000] = {false};
        bp_random_permutation(&key, out, n);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(out[i] < n && !seen[out[i]]);
            seen[out[i]] = true;
        }
    }
}

/* All 24 orders of four, equally often: chi-square with 23 degrees of freedom. */
static void permutations_are_equally_likely(void **state) {
    (void)state;
    enum { ROUNDS = 24000 };
    double seen[256] = {0}, chi_square = 0;
    for (uint32_t step = 0; step < ROUNDS; step++) {
        const bp_random_key key = {.seed = 11, .step = step};
        uint32_t out[4];
        bp_random_permutation(&key, out, 4);
        seen[out[0] << 6 | out[1] << 4 | out[2] << 2 | out[3]]++;
    }
    size_t n_orders = 0;
    for (size_t i = 0; i < 256; i++) {
        if (seen[i] == 0) continue;
        n_orders++;
        chi_square += (seen[i] - 1000) * (seen[i] - 1000) / 1000;
    }
    assert_int_equal(n_orders, 24);
    assert_true(chi_square < 63); /* p = 1.5e-5 */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(uniforms_fill_the_interval),
        cmocka_unit_test(normals_are_normal),
        cmocka_unit_test(every_part_of_the_key_matters),
        cmocka_unit_test(a_permutation_holds_every_number_once),
        cmocka_unit_test(permutations_are_equally_likely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
