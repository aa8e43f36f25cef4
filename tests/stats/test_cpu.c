/* SPDX-License-Identifier: Apache-2.0 */
/* A level that the CPU has is found, a mask takes it away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stats/cpu.h"

#include <stdio.h>
#include <string.h>

/* What the kernel says: a second opinion. Its words are followed by a space or the line's end. */
static unsigned of_proc(void) {
    static char line[16384]; /* one line holds all flags */
    FILE *file = fopen("/proc/cpuinfo", "r");
    unsigned found = 0;
    if (!file) skip();
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = ' ';
        if (strstr(line, " avx2 ") && strstr(line, " fma ") && strstr(line, " f16c "))
            found |= BP_CPU_AVX2;
        if (strstr(line, " avx512f ") && strstr(line, " avx512dq ") && strstr(line, " avx512bw ") &&
            strstr(line, " avx512vl "))
            found |= BP_CPU_AVX512;
        if (strstr(line, " asimd ")) found |= BP_CPU_NEON;
    }
    fclose(file);
    return found;
}

static void levels_are_found(void **state) {
    (void)state;
    assert_int_equal(bp_cpu_found(), of_proc());
}

static void a_mask_takes_levels_away(void **state) {
    (void)state;
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned mask = 77;
        assert_int_equal(bp_cpu_mask_of(&mask, names[i]), BP_OK);
        bp_cpu_set_mask(mask);
        if ((bp_cpu_found() & mask) == mask) assert_string_equal(bp_cpu_level(), names[i]);
    }
    bp_cpu_set_mask(BP_CPU_SCALAR);
    assert_string_equal(bp_cpu_level(), "scalar");
    bp_cpu_set_mask(BP_CPU_AVX512); /* stands on AVX2 */
    assert_string_equal(bp_cpu_level(), "scalar");
    bp_cpu_set_mask(BP_CPU_ALL);
}

static void unknown_names(void **state) {
    (void)state;
    unsigned mask = 77;
    assert_int_equal(bp_cpu_mask_of(&mask, "avx"), BP_ERROR_ARGUMENT);
    assert_int_equal(bp_cpu_mask_of(&mask, ""), BP_ERROR_ARGUMENT);
    assert_int_equal(bp_cpu_mask_of(&mask, "avx2 "), BP_ERROR_ARGUMENT);
    assert_int_equal(mask, 77);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_found),
        cmocka_unit_test(a_mask_takes_levels_away),
        cmocka_unit_test(unknown_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
