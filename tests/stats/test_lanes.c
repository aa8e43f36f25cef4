/* SPDX-License-Identifier: Apache-2.0 */
/* The fast kernel gives the bits of the plain one, whatever stands where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "planted.h"
#include "stats/kernels/kernel.h"

enum { MOST = 1100 }; /* more than two chunks */

static void assert_same_bits(const float *elements, size_t n) {
    bp_lanes plain = {.min_key = INT64_MAX, .max_key = INT64_MIN}, fast = plain;
    for (int twice = 0; twice < 2; twice++) { /* onto nothing and onto something */
        bp_kernel_scalar.f32(&plain, elements, n);
        bp_add_f32_by_lanes(&fast, elements, n);
        assert_memory_equal(&fast, &plain, sizeof plain);
    }
}

static void every_length(void **state) {
    (void)state;
    float data[MOST];
    for (size_t i = 0; i < MOST; i++) put_bits(data, BP_F32, i, ordinary_bits(BP_F32, 5, i));
    for (size_t n = 0; n < 70; n++) assert_same_bits(data, n);
    for (size_t n = 500; n < 530; n++) assert_same_bits(data, n);
    assert_same_bits(data, MOST);
}

static void every_special_value_in_every_lane(void **state) {
    (void)state;
    float data[MOST];
    for (size_t i = 0; i < MOST; i++) put_bits(data, BP_F32, i, ordinary_bits(BP_F32, 6, i));
    for (int which = 0; which < N_SPECIALS; which++)
        for (size_t i = 0; i < MOST; i += i == 40 ? 470 : 1) {
            const float kept = data[i];
            put_bits(data, BP_F32, i, special_bits(BP_F32, (special)which));
            assert_same_bits(data, i < 40 ? 48 : MOST);
            data[i] = kept;
        }
    for (size_t i = 0; i < MOST; i++)
        put_bits(data, BP_F32, i, special_bits(BP_F32, i % N_SPECIALS));
    assert_same_bits(data, MOST);
}

static void unaligned_elements(void **state) {
    (void)state;
    uint8_t bytes[(MOST + 1) * sizeof(float)];
    float data[MOST];
    for (size_t i = 0; i < MOST; i++) put_bits(data, BP_F32, i, ordinary_bits(BP_F32, 7, i));
    memcpy(bytes + 1, data, sizeof data);
    bp_lanes aligned = {.min_key = INT64_MAX, .max_key = INT64_MIN}, unaligned = aligned;
    bp_add_f32_by_lanes(&aligned, data, MOST);
    bp_add_f32_by_lanes(&unaligned, bytes + 1, MOST);
    assert_memory_equal(&unaligned, &aligned, sizeof aligned);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length),
        cmocka_unit_test(every_special_value_in_every_lane),
        cmocka_unit_test(unaligned_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
