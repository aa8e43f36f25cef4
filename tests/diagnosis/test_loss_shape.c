/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of the loss: healthy curves of all styles say nothing; spikes, standstill, oscillation
 * and a constant output are found, where and when they are. */
#include "curves.h"

#include <stdlib.h>

#define N_HEALTHY 1500

static void healthy_curves_say_nothing(void **state) {
    (void)state;
    uint32_t n_warnings = 0, n_hints = 0;
    for (uint64_t seed = 0; seed < N_HEALTHY; seed++) {
        curve_run run;
        chain c;
        curve_draw(&run, seed);
        curve_open(&c, &run);
        for (int64_t step = 0; step < run.steps; step++) curve_healthy_step(&c, &run, step);
        for (uint32_t i = 0; i < chain_n_findings(&c); i++) {
            const bp_finding *finding = bp_diagnosis_finding(c.diagnosis, i);
            if (finding->severity > BP_HINT)
                n_warnings++;
            else
                n_hints++;
            print_message("seed %u, %s %s: %s\n", (unsigned)seed,
                          bp_severity_name(finding->severity), bp_problem_name(finding->problem),
                          finding->title);
        }
        chain_close(&c);
    }
    print_message("%u healthy curves: %u warnings, %u hints\n", (unsigned)N_HEALTHY, n_warnings,
                  n_hints);
    assert_int_equal(n_warnings, 0);
    assert_true(n_hints * 100 <= N_HEALTHY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy_curves_say_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
