/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTHS = 4200, OFFSETS = 16 };

/* RFC 3720, B.4, and the usual check string. */
static void crc32c_has_its_published_values(void **state) {
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(bp_crc32c(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(bp_crc32c(0, bytes, 32), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) bytes[i] = i;
    assert_int_equal(bp_crc32c(0, bytes, 32), 0x46dd794eu);
    for (uint8_t i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(bp_crc32c(0, bytes, 32), 0x113fdb5cu);
    assert_int_equal(bp_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(bp_crc32c(0, NULL, 0), 0);
    for (size_t cut = 0; cut <= 9; cut++) /* in two parts */
        assert_int_equal(bp_crc32c(bp_crc32c(0, "123456789", cut), &"123456789"[cut], 9 - cut),
                         0xe3069283u);
}

static void fill(uint8_t *bytes, size_t n_bytes) {
    const bp_random_key key = {.seed = 3, .purpose = 1};
    for (size_t i = 0; i < n_bytes; i++) {
        uint32_t block[4];
        bp_random_block(&key, i, block);
        bytes[i] = (uint8_t)block[0];
    }
}

/* Every length and alignment, from different starts; the last byte is the last of its block, so
 * that a sanitizer sees a read too many. */
static void the_cpu_agrees_with_the_table(void **state) {
    (void)state;
    const bp_crc32c_form form = bp_crc32c_of_cpu();
    if (!form) skip(); /* not on this hardware */
    uint8_t *bytes = malloc(LENGTHS + OFFSETS);
    assert_non_null(bytes);
    fill(bytes, LENGTHS + OFFSETS);
    for (size_t offset = 0; offset < OFFSETS; offset++) {
        const uint8_t *at = bytes + offset;
        uint32_t expected = 0;
        for (size_t length = 0; length <= LENGTHS; length++) {
            assert_int_equal(form(0, at, length), expected);
            if (length < LENGTHS) expected = bp_crc32c_by_table(expected, at + length, 1);
        }
        assert_int_equal(form(0x12345678, at, 1000), bp_crc32c_by_table(0x12345678, at, 1000));
    }
    for (size_t length = 0; length <= LENGTHS; length += 7)
        assert_int_equal(form(0, bytes + LENGTHS + OFFSETS - length, length),
                         bp_crc32c_by_table(0, bytes + LENGTHS + OFFSETS - length, length));
    free(bytes);
}

static void in_pieces(void **state) {
    (void)state;
    uint8_t bytes[2000];
    fill(bytes, sizeof bytes);
    const uint32_t whole = bp_crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++)
        assert_int_equal(bp_crc32c(bp_crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut),
                         whole);
}

static void every_bit_counts(void **state) {
    (void)state;
    uint8_t bytes[1700]; /* long streams, short ones, words and bytes */
    fill(bytes, sizeof bytes);
    const uint32_t whole = bp_crc32c(0, bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(bp_crc32c(0, bytes, sizeof bytes), whole);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_has_its_published_values),
        cmocka_unit_test(the_cpu_agrees_with_the_table),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(every_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
