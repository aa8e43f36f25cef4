/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets that are computed: two spirals, and the adding problem. A sample depends on the seed
 * and its number alone. */
#include "trainer/operators.h"
#include "trainer/samples.h"

#include <math.h>

#define PI 3.14159265358979323846
#define TURNS 1.5

static double uniform(const bp_data_source *source, int64_t i, uint32_t what) {
    const bp_random_key key = {.seed = source->seed, .purpose = BP_PURPOSE_SAMPLE, .step = what};
    return bp_random_uniform(&key, (uint64_t)i);
}

static double normal(const bp_data_source *source, int64_t i, uint32_t what) {
    const bp_random_key key = {.seed = source->seed, .purpose = BP_PURPOSE_SAMPLE, .step = what};
    return bp_random_normal(&key, (uint64_t)i);
}

static void place(const void *context, int64_t i, int64_t j, bp_text *text) {
    (void)context;
    bp_text_add(text, "sample %lld, number %lld", (long long)i + 1, (long long)j + 1);
}

/* --- spirals: radius from 0 to 1 over one and a half turns, the second half a turn on -----------
 */

static int32_t spiral_class(const void *context, int64_t i) {
    (void)context;
    return (int32_t)(i % 2);
}

static double spiral_input(const void *context, int64_t i, int64_t j) {
    const bp_data_source *source = context;
    const double radius = sqrt(uniform(source, i, 0));
    const double angle = 2 * PI * TURNS * radius + PI * (double)(i % 2);
    return radius * (j == 0 ? cos(angle) : sin(angle)) +
           source->noise * normal(source, i, 1 + (uint32_t)j);
}

bp_status bp_spirals_open(const bp_data_source *source, bp_dataset **dataset,
                          const bp_allocator *allocator, bp_error *error) {
    const bp_samples samples = {.context = source,
                                .n = source->samples,
                                .shape = {2, 1, 1},
                                .units = 2,
                                .n_outputs = 2,
                                .has_classes = true,
                                .by_feature = true,
                                .input = spiral_input,
                                .class_of = spiral_class,
                                .place = place};
    return bp_samples_take(&samples, source, dataset, allocator, error);
}

/* --- adding: of each time step a value from [0, 1) and a mark; the target is the sum of the two
 * values that are marked, one in each half (Hochreiter & Schmidhuber 1997) -----------------------
 */

/* The marked step of a half (0, 1) of sample i. */
static int64_t marked(const bp_data_source *source, int64_t i, int half) {
    const int64_t first = half ? source->steps / 2 : 0;
    const int64_t n = half ? source->steps - first : source->steps / 2;
    return first + (int64_t)(uniform(source, i, (uint32_t)half) * (double)n);
}

static double value_at(const bp_data_source *source, int64_t i, int64_t step) {
    return uniform(source, i * source->steps + step, 2);
}

static double adding_input(const void *context, int64_t i, int64_t j) {
    const bp_data_source *source = context;
    const int64_t step = j / 2;
    if (j % 2 == 0) return value_at(source, i, step);
    return step == marked(source, i, 0) || step == marked(source, i, 1) ? 1 : 0;
}

static double adding_target(const void *context, int64_t i, int64_t j) {
    const bp_data_source *source = context;
    (void)j;
    return value_at(source, i, marked(source, i, 0)) + value_at(source, i, marked(source, i, 1));
}

bp_status bp_adding_open(const bp_data_source *source, bp_dataset **dataset,
                         const bp_allocator *allocator, bp_error *error) {
    const bp_samples samples = {.context = source,
                                .n = source->samples,
                                .shape = {source->steps, 2, 1},
                                .units = 2 * source->steps,
                                .n_outputs = 1,
                                .input = adding_input,
                                .target = adding_target,
                                .place = place};
    return bp_samples_take(&samples, source, dataset, allocator, error);
}
