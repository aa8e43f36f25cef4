/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

static const bp_frame FRAME = {.type = BP_RUNLOG_STEP,
                               .flags = 0,
                               .n_bytes = 1234,
                               .payload_crc = 0x01020304,
                               .sequence = 77,
                               .offset = 4096};
static const bp_segment_id SALT = {.run = 0x0123456789abcdef, .index = 2};

static void a_frame_comes_back(void **state) {
    (void)state;
    uint8_t bytes[BP_FRAME_HEADER_BYTES];
    bp_frame found = {0};
    bp_frame_put(bytes, &FRAME, SALT);
    assert_true(bp_frame_get(&found, bytes, SALT));
    assert_memory_equal(&found, &FRAME, sizeof found);
}

static void a_frame_of_another_segment_is_none(void **state) {
    (void)state;
    uint8_t bytes[BP_FRAME_HEADER_BYTES];
    bp_frame found;
    bp_frame_put(bytes, &FRAME, SALT);
    for (uint32_t index = 0; index < 100000; index++)
        assert_int_equal(bp_frame_get(&found, bytes, (bp_segment_id){SALT.run, index}),
                         index == SALT.index);
    for (int bit = 0; bit < 64; bit++)
        assert_false(bp_frame_get(&found, bytes,
                                  (bp_segment_id){SALT.run ^ (uint64_t)1 << bit, SALT.index}));
}

static void every_flip_in_a_frame_header_is_seen(void **state) {
    (void)state;
    uint8_t bytes[BP_FRAME_HEADER_BYTES];
    bp_frame found;
    bp_frame_put(bytes, &FRAME, SALT);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(bp_frame_get(&found, bytes, SALT));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void impossible_numbers_are_refused(void **state) {
    (void)state;
    uint8_t bytes[BP_FRAME_HEADER_BYTES];
    bp_frame found, frame = FRAME;
    frame.n_bytes = BP_FRAME_MAX_PAYLOAD + 1;
    bp_frame_put(bytes, &frame, SALT);
    assert_false(bp_frame_get(&found, bytes, SALT));
    frame = FRAME;
    frame.sequence = UINT64_MAX;
    bp_frame_put(bytes, &frame, SALT);
    assert_false(bp_frame_get(&found, bytes, SALT));
    frame = FRAME;
    frame.offset = UINT64_MAX;
    bp_frame_put(bytes, &frame, SALT);
    assert_false(bp_frame_get(&found, bytes, SALT));
}

static void a_segment_header_comes_back_whole_or_not(void **state) {
    (void)state;
    const bp_segment_header header = {.major = 1,
                                      .minor = 4,
                                      .compatible = 0x80000001,
                                      .incompatible = 2,
                                      .id = SALT,
                                      .first_sequence = 1000};
    uint8_t bytes[BP_SEGMENT_HEADER_BYTES];
    bp_segment_header found;
    bp_segment_header_put(bytes, &header);
    assert_true(bp_segment_header_get(&found, bytes));
    assert_int_equal(found.major, header.major);
    assert_int_equal(found.minor, header.minor);
    assert_int_equal(found.compatible, header.compatible);
    assert_int_equal(found.incompatible, header.incompatible);
    assert_int_equal(found.id.run, header.id.run);
    assert_int_equal(found.id.index, header.id.index);
    assert_int_equal(found.first_sequence, header.first_sequence);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(bp_segment_header_get(&found, bytes));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back),
        cmocka_unit_test(a_frame_of_another_segment_is_none),
        cmocka_unit_test(every_flip_in_a_frame_header_is_seen),
        cmocka_unit_test(impossible_numbers_are_refused),
        cmocka_unit_test(a_segment_header_comes_back_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
