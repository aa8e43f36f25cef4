/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void numbers_are_little_endian(void **state) {
    (void)state;
    uint8_t bytes[64];
    bp_writer writer;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_write_u8(&writer, 0x01);
    bp_write_u16(&writer, 0x0302);
    bp_write_u32(&writer, 0x07060504);
    bp_write_u64(&writer, UINT64_C(0x8f0e0d0c0b0a0908));
    bp_write_f64(&writer, -2.0);
    bp_write_varint(&writer, 300);
    bp_write_text(&writer, "hi");
    bp_write_text(&writer, NULL);
    static const uint8_t expected[] = {1,  2,  3,    4,    5,    6, 7,   8,   9, 10,
                                       11, 12, 13,   14,   0x8f, 0, 0,   0,   0, 0,
                                       0,  0,  0xc0, 0xac, 0x02, 2, 'h', 'i', 0};
    assert_false(writer.cut);
    assert_int_equal(writer.length, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);

    bp_cursor cursor;
    bp_cursor_init(&cursor, bytes, writer.length);
    char text[8];
    assert_int_equal(bp_read_u8(&cursor), 1);
    assert_int_equal(bp_read_u16(&cursor), 0x0302);
    assert_int_equal(bp_read_u32(&cursor), 0x07060504);
    assert_true(bp_read_u64(&cursor) == UINT64_C(0x8f0e0d0c0b0a0908));
    assert_true(bp_read_f64(&cursor) == -2.0);
    assert_int_equal(bp_read_varint(&cursor), 300);
    bp_read_text(&cursor, text, sizeof text);
    assert_string_equal(text, "hi");
    bp_read_text(&cursor, text, sizeof text);
    assert_string_equal(text, "");
    assert_false(cursor.bad);
    assert_int_equal(cursor.position, cursor.length);
}

static void every_varint_comes_back(void **state) {
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++)
        for (uint64_t around = 0; around < 3; around++) {
            const uint64_t value = (UINT64_C(1) << shift) - 1 + around;
            uint8_t bytes[10];
            bp_writer writer;
            bp_cursor cursor;
            bp_writer_init(&writer, bytes, sizeof bytes);
            bp_write_varint(&writer, value);
            assert_false(writer.cut);
            bp_cursor_init(&cursor, bytes, writer.length);
            assert_true(bp_read_varint(&cursor) == value);
            assert_false(cursor.bad);
            bp_cursor_init(&cursor, bytes, writer.length - 1); /* cut */
            assert_true(bp_read_varint(&cursor) == 0);
            assert_true(cursor.bad);
        }
    static const uint8_t too_large[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t too_long[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                       0x80, 0x80, 0x80, 0x80, 0x00};
    bp_cursor cursor;
    bp_cursor_init(&cursor, too_large, sizeof too_large);
    assert_true(bp_read_varint(&cursor) == 0 && cursor.bad);
    bp_cursor_init(&cursor, too_long, sizeof too_long);
    assert_true(bp_read_varint(&cursor) == 0 && cursor.bad);
}

static void a_writer_never_overflows(void **state) {
    (void)state;
    uint8_t bytes[8];
    memset(bytes, 0x5a, sizeof bytes);
    bp_writer writer;
    bp_writer_init(&writer, bytes, 6);
    bp_write_u32(&writer, 1);
    bp_write_u32(&writer, 2);
    assert_true(writer.cut);
    bp_write_u8(&writer, 3); /* would fit, but behind a hole */
    assert_int_equal(writer.length, 4);
    for (size_t i = 4; i < 8; i++) assert_int_equal(bytes[i], 0x5a);
    bp_write_bytes(&writer, bytes, SIZE_MAX);
    assert_true(writer.cut);
}

static void a_cursor_never_overruns(void **state) {
    (void)state;
    static const uint8_t bytes[] = {1, 2, 3};
    bp_cursor cursor;
    bp_cursor_init(&cursor, bytes, sizeof bytes);
    assert_int_equal(bp_read_u16(&cursor), 0x0201);
    assert_int_equal(bp_read_u32(&cursor), 0);
    assert_true(cursor.bad);
    assert_int_equal(bp_read_u8(&cursor), 0); /* sticky */
    assert_null(bp_read_bytes(&cursor, 0));
    bp_cursor_init(&cursor, bytes, sizeof bytes);
    assert_null(bp_read_bytes(&cursor, SIZE_MAX));
    assert_true(cursor.bad);
}

static void hostile_texts_are_refused(void **state) {
    (void)state;
    static const uint8_t whole[] = {3, 'a', 'b', 'c'}, with_nul[] = {3, 'a', 0, 'c'};
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    char text[4];
    bp_cursor cursor;
    bp_cursor_init(&cursor, whole, sizeof whole);
    bp_read_text(&cursor, text, 4);
    assert_string_equal(text, "abc");
    assert_false(cursor.bad);
    const struct {
        const uint8_t *bytes;
        size_t n_bytes, limit;
    } bad[] = {{whole, 4, 3}, {whole, 3, 4}, {with_nul, 4, 4}, {huge, 10, 4}, {whole, 0, 4}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        strcpy(text, "old");
        bp_cursor_init(&cursor, bad[i].bytes, bad[i].n_bytes);
        bp_read_text(&cursor, text, bad[i].limit);
        assert_true(cursor.bad);
        assert_string_equal(text, "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian), cmocka_unit_test(every_varint_comes_back),
        cmocka_unit_test(a_writer_never_overflows),  cmocka_unit_test(a_cursor_never_overruns),
        cmocka_unit_test(hostile_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
