/* SPDX-License-Identifier: Apache-2.0 */
/* Learning rates by step: numbers worked out by hand, and what holds for all. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "model/model.h"

#include <math.h>

static const bp_recipe base = {.learning_rate = 0.8, .epochs = 4, .epoch_steps = 10};

static void expect(const bp_recipe *recipe, int64_t step, double rate) {
    assert_true(fabs(bp_recipe_learning_rate(recipe, step) - rate) < 1e-12);
}

static void a_constant_rate_stays(void **state) {
    (void)state;
    for (int64_t step = 0; step < 50; step++) expect(&base, step, 0.8); /* schedule 0 too */
}

static void a_step_falls_at_the_end_of_its_epochs(void **state) {
    (void)state;
    bp_recipe recipe = base;
    recipe.schedule = BP_SCHEDULE_STEP;
    recipe.step_epochs = 1.5;
    recipe.step_factor = 0.5;
    expect(&recipe, 14, 0.8);
    expect(&recipe, 15, 0.4);
    expect(&recipe, 29, 0.4);
    expect(&recipe, 30, 0.2);
}

static void a_cosine_ends_where_it_should(void **state) {
    (void)state;
    bp_recipe recipe = base;
    recipe.schedule = BP_SCHEDULE_COSINE;
    recipe.final_learning_rate = 0.2;
    expect(&recipe, 0, 0.8);
    expect(&recipe, 20, 0.5);
    expect(&recipe, 40, 0.2);
    expect(&recipe, 99, 0.2); /* a run that was made longer */
    expect(&recipe, 10, 0.2 + 0.3 * (1 + sqrt(0.5)));
    for (int64_t step = 1; step <= 40; step++)
        assert_true(bp_recipe_learning_rate(&recipe, step) <
                    bp_recipe_learning_rate(&recipe, step - 1));
}

static void a_warm_up_rises_to_the_rate(void **state) {
    (void)state;
    bp_recipe recipe = base;
    recipe.warm_up_epochs = 0.4;
    expect(&recipe, 0, 0.2); /* never 0: the first step learns */
    expect(&recipe, 2, 0.6);
    expect(&recipe, 3, 0.8);
    expect(&recipe, 4, 0.8);
    recipe.schedule = BP_SCHEDULE_COSINE; /* half a wave behind the warm-up */
    recipe.warm_up_epochs = 2;
    expect(&recipe, 0, 0.04);
    expect(&recipe, 19, 0.8);
    expect(&recipe, 20, 0.8);
    expect(&recipe, 30, 0.4);
    expect(&recipe, 40, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_rate_stays),
        cmocka_unit_test(a_step_falls_at_the_end_of_its_epochs),
        cmocka_unit_test(a_cosine_ends_where_it_should),
        cmocka_unit_test(a_warm_up_rises_to_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
