/* SPDX-License-Identifier: Apache-2.0 */
/* Every CPU level gives the bits of the scalar definition, whatever stands where, and touches
 * nothing before the first element and behind the last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"
#include "stats/cpu.h"

#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK = 2048, MOST = 2 * BLOCK + 70 }; /* elements; more than two blocks of any format */

/* The level of this test; skipped where the CPU has it not. */
static const bp_level *level_under_test(void **state) {
    const char *name = *state;
    unsigned mask;
    assert_int_equal(bp_cpu_mask_of(&mask, name), BP_OK);
    bp_cpu_set_mask(mask);
    const bp_level *level = bp_cpu();
    bp_cpu_set_mask(BP_CPU_ALL);
    if (strcmp(level->name, name) != 0) skip();
    return level;
}

/* --- two pages that may not be touched, one right before, one right behind ----------------------
 */

static uint8_t *pages;
static size_t n_page_bytes;

static int open_pages(void **state) {
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    n_page_bytes = (MOST * sizeof(double) + page - 1) / page * page;
    uint8_t *all = mmap(NULL, n_page_bytes + 2 * page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all, page, PROT_NONE) != 0) return -1;
    pages = all + page;
    return mprotect(pages + n_page_bytes, page, PROT_NONE);
}

static int close_pages(void **state) {
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return munmap(pages - page, n_page_bytes + 2 * page);
}

/* --- the comparison --------------------------------------------------------------------------- */

typedef struct result {
    bp_lanes lanes;
    bp_exponents exponents;
} result;

static void measure(result *r, const bp_level *level, bp_dtype dtype, const void *data, size_t n) {
    memset(&r->lanes, 0, sizeof r->lanes);
    bp_lanes_init(&r->lanes);
    bp_exponents_clear(&r->exponents);
    for (int twice = 0; twice < 2; twice++) /* onto nothing and onto something */
        bp_driver_add(level, dtype, &r->lanes, twice ? &r->exponents : NULL, data, n);
}

static void assert_same(const bp_level *level, bp_dtype dtype, const void *data, size_t n) {
    static result plain, fast;
    static bool initialised;
    if (!initialised) {
        bp_exponents_init(&plain.exponents);
        bp_exponents_init(&fast.exponents);
        initialised = true;
    }
    measure(&plain, &bp_level_scalar, dtype, data, n);
    measure(&fast, level, dtype, data, n);
    assert_memory_equal(&fast.lanes, &plain.lanes, sizeof plain.lanes);
    assert_memory_equal(&fast.exponents, &plain.exponents, sizeof plain.exponents);
}

static void fill_ordinary(void *data, bp_dtype dtype, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) put_bits(data, dtype, i, ordinary_bits(dtype, seed, i));
}

/* At the end of the pages, which is less aligned the odder the length, and at their beginning. */
static void assert_same_at_both_ends(const bp_level *level, bp_dtype dtype, size_t n,
                                     uint64_t seed) {
    const size_t n_bytes = n * bp_dtype_bytes(dtype);
    uint8_t *data = pages + n_page_bytes - n_bytes;
    fill_ordinary(data, dtype, n, seed);
    assert_same(level, dtype, data, n);
    memmove(pages, data, n_bytes);
    assert_same(level, dtype, pages, n);
}

static void every_length(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++) {
        for (size_t n = 0; n < 130; n++) assert_same_at_both_ends(level, all_dtypes[d], n, n);
        for (size_t n = BLOCK / 2 - 20; n < BLOCK / 2 + 40; n++)
            assert_same_at_both_ends(level, all_dtypes[d], n, n);
        for (size_t n = BLOCK - 20; n < BLOCK + 40; n++)
            assert_same_at_both_ends(level, all_dtypes[d], n, n);
        assert_same_at_both_ends(level, all_dtypes[d], MOST, 1);
    }
}

static void every_special_value_at_every_place(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        void *data = pages + n_page_bytes - 83 * bp_dtype_bytes(dtype);
        fill_ordinary(data, dtype, 83, 6);
        for (size_t i = 0; i < 83; i++) {
            const uint64_t kept = get_bits(data, dtype, (int64_t)i);
            for (int which = 0; which < N_SPECIALS; which++) {
                put_bits(data, dtype, i, special_bits(dtype, (special)which));
                assert_same(level, dtype, data, 83);
            }
            put_bits(data, dtype, i, kept);
        }
    }
}

/* In one block of several: what is not finite leaves the others alone. */
static void special_values_in_one_block(void **state) {
    const bp_level *level = level_under_test(state);
    static const size_t places[] = {0,     BLOCK / 2 - 1, BLOCK / 2, BLOCK - 1,
                                    BLOCK, 2 * BLOCK - 1, 2 * BLOCK, MOST - 1};
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        fill_ordinary(pages, dtype, MOST, 8);
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            const uint64_t kept = get_bits(pages, dtype, (int64_t)places[i]);
            for (int which = 0; which < N_SPECIALS; which++) {
                put_bits(pages, dtype, places[i], special_bits(dtype, (special)which));
                assert_same(level, dtype, pages, MOST);
            }
            put_bits(pages, dtype, places[i], kept);
        }
    }
}

static void nothing_but_special_values(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int one = 0; one < N_SPECIALS; one++)
            for (int other = 0; other < N_SPECIALS; other++) {
                const bp_dtype dtype = all_dtypes[d];
                for (size_t i = 0; i < 100; i++)
                    put_bits(pages, dtype, i, special_bits(dtype, (special)(i % 7 ? one : other)));
                assert_same(level, dtype, pages, 100);
            }
}

/* Signs: all positive, all negative, one of the other sign; and zeros of either among them. */
static void one_sign_only(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int negative = 0; negative < 2; negative++)
            for (size_t odd_one = 0; odd_one < 40; odd_one++)
                for (int zeros = 0; zeros < 3; zeros++) {
                    const bp_dtype dtype = all_dtypes[d];
                    const uint64_t sign = UINT64_C(1) << (layout_of(dtype).bits - 1);
                    for (size_t i = 0; i < 36; i++) {
                        const uint64_t size = ordinary_bits(dtype, 3, i) & ~sign;
                        put_bits(pages, dtype, i, size | (negative ^ (i == odd_one) ? sign : 0));
                        if (zeros && i % 5 == 2) put_bits(pages, dtype, i, zeros == 2 ? sign : 0);
                    }
                    assert_same(level, dtype, pages, 36);
                }
}

static void any_alignment(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (size_t offset = 0; offset < 64; offset++) {
            fill_ordinary(pages + offset, all_dtypes[d], 150, offset);
            assert_same(level, all_dtypes[d], pages + offset, 150);
        }
}

/* Bits at random: every exponent, a third of a percent not finite (f32); then the finite ones. */
static void any_bits(void **state) {
    const bp_level *level = level_under_test(state);
    const bp_random_key key = {.seed = 31};
    uint64_t draw = 0;
    for (size_t d = 0; d < N_DTYPES; d++)
        for (int round = 0; round < 40; round++) {
            const bp_dtype dtype = all_dtypes[d];
            const layout l = layout_of(dtype);
            const uint64_t top = UINT64_C(1) << (l.bits - 2); /* no exponent without it is full */
            for (size_t i = 0; i < MOST; i++) {
                const double value = bp_random_normal(&key, draw++);
                uint64_t bits;
                memcpy(&bits, &value, sizeof bits);
                bits = bits * UINT64_C(0x9e3779b97f4a7c15) >> (64 - l.bits);
                put_bits(pages, dtype, i, round % 2 ? bits : bits & ~top);
            }
            assert_same(level, dtype, pages, MOST);
        }
}

/* Octaves far apart, drifting, and with zeros between: the histogram's windows move. */
static void wide_ranges(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++)
        for (uint64_t span = 1; span < 400; span = span * 2 + 1)
            for (int zeros = 0; zeros < 2; zeros++) {
                const bp_dtype dtype = all_dtypes[d];
                const layout l = layout_of(dtype);
                const uint64_t top = (UINT64_C(1) << (l.bits - 1 - l.mantissa_bits)) - 2;
                const bp_random_key key = {.seed = span};
                for (size_t i = 0; i < MOST; i++) {
                    const uint64_t drift = i * top / MOST;
                    const uint64_t spread =
                        (uint64_t)(bp_random_uniform(&key, i) * (double)(span < top ? span : top));
                    const uint64_t exponent = drift + spread < top ? drift + spread : top;
                    put_bits(pages, dtype, i, exponent << l.mantissa_bits | (i % 3 & 1));
                    if (zeros && i % 4 == 1) put_bits(pages, dtype, i, 0);
                }
                assert_same(level, dtype, pages, MOST);
            }
}

/* Two powers of two, in one block and in two: every distance that a window just holds or not. */
static void two_octaves(void **state) {
    const bp_level *level = level_under_test(state);
    for (size_t d = 0; d < N_DTYPES; d++) {
        const bp_dtype dtype = all_dtypes[d];
        const layout l = layout_of(dtype);
        const int64_t most = ((int64_t)1 << (l.bits - 1 - l.mantissa_bits)) - 2;
        for (int64_t first = 1; first <= most; first += most / 3 - 1)
            for (int64_t distance = -140; distance <= 140; distance++) {
                const int64_t second = first + distance;
                if (second < 1 || second > most) continue;
                for (size_t i = 0; i < BLOCK + 64; i++) {
                    const int64_t exponent = i < BLOCK || i % 3 ? first : second;
                    put_bits(pages, dtype, i, (uint64_t)exponent << l.mantissa_bits);
                }
                assert_same(level, dtype, pages, BLOCK + 64);
                for (size_t i = BLOCK; i < BLOCK + 64; i++)
                    put_bits(pages, dtype, i, (uint64_t)second << l.mantissa_bits);
                assert_same(level, dtype, pages, BLOCK + 64);
            }
    }
}

static void every_16_bit_pattern(void **state) {
    const bp_level *level = level_under_test(state);
    static uint16_t patterns[65536];
    for (uint32_t stride = 1; stride < 1000; stride = stride * 5 + 2) { /* odd: all are met */
        for (uint32_t i = 0; i < 65536; i++) patterns[i] = (uint16_t)(i * stride);
        assert_same(level, BP_F16, patterns, 65536);
        assert_same(level, BP_BF16, patterns, 65536);
    }
}

#define AT_EACH_LEVEL(test)                                        \
    {#test "_avx2", test, NULL, NULL, (char[]){"avx2"}},           \
        {#test "_avx512", test, NULL, NULL, (char[]){"avx512"}}, { \
        #test "_neon", test, NULL, NULL, (char[]){"neon"}          \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        AT_EACH_LEVEL(every_length),
        AT_EACH_LEVEL(every_special_value_at_every_place),
        AT_EACH_LEVEL(special_values_in_one_block),
        AT_EACH_LEVEL(nothing_but_special_values),
        AT_EACH_LEVEL(one_sign_only),
        AT_EACH_LEVEL(any_alignment),
        AT_EACH_LEVEL(any_bits),
        AT_EACH_LEVEL(wide_ranges),
        AT_EACH_LEVEL(two_octaves),
        AT_EACH_LEVEL(every_16_bit_pattern),
    };
    return cmocka_run_group_tests(tests, open_pages, close_pages);
}
