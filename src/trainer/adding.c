/* SPDX-License-Identifier: Apache-2.0 */
/* A sample is a sequence of pairs: a number from [0, 1) and a mark. One step of the first half and
 * one of the second are marked with 1; the target is the sum of their numbers. Who always says 1
 * has a mean squared error of 2/12; to do better is to carry a number over half of the steps and
 * more on average, so a gradient must come back as far. */
#include "trainer/adding.h"
#include "base/base.h"
#include "trainer/dataset.h"

#include <stdio.h>
#include <string.h>

#define TRAIN_SAMPLES 8000
#define HELD_OUT_SAMPLES 1000

int64_t bp_adding_steps(const char *name) {
    static const char word[] = "adding ";
    if (strncmp(name, word, sizeof word - 1) != 0) return 0;
    const char *digits = name + sizeof word - 1;
    const size_t length = strspn(digits, "0123456789");
    if (length < 1 || length > 4 || digits[length] != '\0' || digits[0] == '0') return 0;
    int64_t steps = 0;
    for (size_t i = 0; i < length; i++) steps = 10 * steps + (digits[i] - '0');
    return steps >= 2 && steps <= BP_ADDING_MAX_STEPS ? steps : 0;
}

/* A whole number from [first, last). */
static int64_t draw_between(const bp_random_key *key, uint64_t index, int64_t first, int64_t last) {
    return first + (int64_t)(bp_random_uniform(key, index) * (double)(last - first));
}

/* key: of the sample. x [steps, 2]; returns the target. */
static bp_real fill_sample(const bp_random_key *key, int64_t steps, bp_real *x) {
    for (int64_t t = 0; t < steps; t++) {
        x[2 * t] = (bp_real)bp_random_uniform(key, (uint64_t)t);
        x[2 * t + 1] = 0;
    }
    const int64_t first = draw_between(key, (uint64_t)steps, 0, steps / 2);
    const int64_t second = draw_between(key, (uint64_t)steps + 1, steps / 2, steps);
    x[2 * first + 1] = x[2 * second + 1] = 1;
    return x[2 * first] + x[2 * second];
}

bp_status bp_adding_open(bp_dataset **dataset, int64_t steps, const bp_allocator *allocator,
                         bp_error *error) {
    const int64_t shape[3] = {steps, 2, 1};
    const int64_t n[3] = {TRAIN_SAMPLES, HELD_OUT_SAMPLES, HELD_OUT_SAMPLES};
    char name[32];
    bp_part_memory parts[3];
    snprintf(name, sizeof name, "adding %d", (int)steps);
    const bp_status status =
        bp_dataset_new(dataset, parts, name, shape, 1, false, n, allocator, error);
    if (status != BP_OK) return status;
    bp_random_key key = {.seed = 0}; /* the samples are part of the set's definition */
    for (int part = 0; part < 3; part++)
        for (int64_t i = 0; i < n[part]; i++, key.step++)
            parts[part].targets[i] = fill_sample(&key, steps, parts[part].inputs + 2 * steps * i);
    bp_dataset_finish(*dataset, parts);
    return BP_OK;
}
