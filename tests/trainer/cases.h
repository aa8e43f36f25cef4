/* SPDX-License-Identifier: Apache-2.0 */
/* The list of small networks that are compared with PyTorch's values (test_reference.c). */
#ifndef BP_TESTS_TRAINER_CASES_H
#define BP_TESTS_TRAINER_CASES_H

#include "kit.h"

#define CASE_MAX_LAYERS 8

typedef struct reference_case {
    const char *name; /* of its file, tests/trainer/reference/NAME.safetensors */
    int64_t shape[3];
    bp_layer layers[CASE_MAX_LAYERS]; /* ends at kind 0 */
    bp_recipe recipe;                 /* its batch is the number of samples */
    int64_t steps;
} reference_case;

reference_case *reference_cases(size_t *n);

#endif
