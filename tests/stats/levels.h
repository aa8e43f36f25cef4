/* SPDX-License-Identifier: Apache-2.0 */
/* A test once a CPU level: where the CPU lacks it the test is skipped by name. */
#ifndef BP_TESTS_STATS_LEVELS_H
#define BP_TESTS_STATS_LEVELS_H

#include <backprobe/stats.h>

#include <string.h>

/* cmocka_unit_test_prestate_setup_teardown hands the name over. */
static inline int take_level(void **state) {
    unsigned mask;
    if (bp_cpu_mask_of(&mask, *state) != BP_OK) return -1;
    bp_cpu_set_mask(mask);
    return 0;
}

static inline int all_levels(void **state) {
    (void)state;
    bp_cpu_set_mask(BP_CPU_ALL);
    return 0;
}

#define NEEDS_LEVEL(state) \
    if (strcmp(bp_cpu_level(), *(state)) != 0) skip()

#define LEVEL_NAME(level) \
    (char[]) {            \
        level             \
    }
#define AT_LEVEL(test, level) {#test " at " level, test, take_level, all_levels, LEVEL_NAME(level)}
#define AT_EACH_LEVEL(test) \
    AT_LEVEL(test, "scalar"), AT_LEVEL(test, "avx2"), AT_LEVEL(test, "avx512")

#endif
