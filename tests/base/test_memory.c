/* SPDX-License-Identifier: Apache-2.0 */
#include "../faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void blocks_are_zeroed_and_sized(void **state) {
    (void)state;
    faulty_memory memory = {0};
    bp_allocator allocator = faulty_allocator(&memory);
    const size_t counts[][2] = {{0, 8}, {8, 0}, {0, 0}, {1, 1}, {7, 24}, {1000, 8}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const size_t count = counts[i][0], size = counts[i][1];
        uint8_t *block = bp_allocate(&allocator, count, size);
        assert_non_null(block);
        for (size_t j = 0; j < count * size; j++) assert_int_equal(block[j], 0);
        memset(block, 0xff, count * size);
        bp_release(&allocator, block, count, size);
    }
    bp_release(&allocator, NULL, 3, 3);
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.wrong_sizes, 0);
}

static void overflow_and_refusal_give_null(void **state) {
    (void)state;
    faulty_memory memory = {.fail_at = 1};
    bp_allocator allocator = faulty_allocator(&memory);
    assert_null(bp_allocate(&allocator, SIZE_MAX / 2, 3));
    assert_null(bp_allocate(&allocator, SIZE_MAX, SIZE_MAX));
    assert_int_equal(memory.requests, 0);
    assert_null(bp_allocate(&allocator, 1, 1));
    memory = (faulty_memory){.fail_at = 1};
    assert_null(bp_copy_text(&allocator, "text"));
}

static void texts_are_copied(void **state) {
    (void)state;
    faulty_memory memory = {0};
    bp_allocator allocator = faulty_allocator(&memory);
    const char *const texts[] = {"", "a", "sigmoid"};
    for (size_t i = 0; i < 3; i++) {
        char *copy = bp_copy_text(&allocator, texts[i]);
        assert_string_equal(copy, texts[i]);
        assert_ptr_not_equal(copy, texts[i]);
        bp_release_text(&allocator, copy);
    }
    bp_release_text(&allocator, NULL);
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.wrong_sizes, 0);
}

static void an_empty_choice_is_the_system(void **state) {
    (void)state;
    const bp_allocator empty = {NULL, NULL};
    bp_allocator own = faulty_allocator(&(faulty_memory){0});
    assert_ptr_equal(bp_allocator_or_system(NULL), &bp_allocator_system);
    assert_ptr_equal(bp_allocator_or_system(&empty), &bp_allocator_system);
    assert_ptr_equal(bp_allocator_or_system(&own), &own);
    uint8_t *block = bp_allocate(NULL, 10, 10);
    assert_non_null(block);
    bp_release(NULL, block, 10, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_and_sized),
        cmocka_unit_test(overflow_and_refusal_give_null),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(an_empty_choice_is_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
