/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets: three parts of samples in one block of memory. */
#include "trainer/adding.h"
#include "trainer/arena.h"
#include "trainer/dataset.h"
#include "trainer/digits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_UNITS ((int64_t)1 << 31)
#define MAX_SAMPLES ((int64_t)1 << 31)

static const char *const part_names[3] = {"training", "validation", "test"};

/* --- memory ----------------------------------------------------------------------------------- */

static void lay_out(bp_dataset *dataset, bp_part_memory parts[3], int64_t units, const int64_t n[3],
                    bp_arena *arena) {
    for (int i = 0; i < 3; i++) {
        parts[i].inputs = bp_arena_take(arena, n[i], units, sizeof(bp_real));
        parts[i].targets = bp_arena_take(arena, n[i], dataset->n_outputs, sizeof(bp_real));
        parts[i].classes =
            dataset->has_classes ? bp_arena_take(arena, n[i], 1, sizeof(int32_t)) : NULL;
    }
    bp_part *seen[3] = {&dataset->train, &dataset->validation, &dataset->test};
    for (int i = 0; i < 3; i++)
        *seen[i] = (bp_part){n[i], parts[i].inputs, parts[i].classes, parts[i].targets};
}

static bp_status check_sizes(const char *name, const int64_t shape[3], int64_t n_outputs,
                             const int64_t n[3], int64_t *units, bp_error *error) {
    *units = 1;
    for (int i = 0; i < 3; i++) {
        if (shape[i] < 1 || shape[i] > MAX_UNITS / *units)
            return bp_fail(error, BP_ERROR_ARGUMENT,
                           "data set '%s': an input of %lld x %lld x %lld numbers is impossible",
                           name, (long long)shape[0], (long long)shape[1], (long long)shape[2]);
        *units *= shape[i];
    }
    if (n_outputs < 1 || n_outputs > MAX_UNITS)
        return bp_fail(error, BP_ERROR_ARGUMENT, "data set '%s': %lld outputs are impossible", name,
                       (long long)n_outputs);
    for (int i = 0; i < 3; i++)
        if (n[i] < (i == 0 ? 1 : 0) || n[i] > MAX_SAMPLES)
            return bp_fail(error, BP_ERROR_ARGUMENT,
                           "data set '%s': a %s part of %lld samples is impossible", name,
                           part_names[i], (long long)n[i]);
    return BP_OK;
}

bp_status bp_dataset_new(bp_dataset **dataset, bp_part_memory parts[3], const char *name,
                         const int64_t input_shape[3], int64_t n_outputs, bool has_classes,
                         const int64_t n[3], const bp_allocator *allocator, bp_error *error) {
    int64_t units;
    bp_status status = check_sizes(name, input_shape, n_outputs, n, &units, error);
    if (status != BP_OK) return status;
    allocator = bp_allocator_or_system(allocator);
    bp_dataset *made = bp_allocate(allocator, 1, sizeof *made);
    if (!made) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the data set '%s'", name);
    made->allocator = *allocator;
    made->n_outputs = n_outputs;
    made->has_classes = has_classes;
    snprintf(made->name, sizeof made->name, "%s", name);
    for (int i = 0; i < 3; i++) made->input_shape[i] = input_shape[i];
    bp_arena arena = {0};
    lay_out(made, parts, units, n, &arena);
    status = bp_arena_fill(&arena, "the data set", allocator, error);
    if (status != BP_OK) {
        bp_release(allocator, made, 1, sizeof *made);
        return status;
    }
    lay_out(made, parts, units, n, &arena);
    made->memory = arena.block;
    made->memory_bytes = arena.block_bytes;
    *dataset = made;
    return BP_OK;
}

void bp_dataset_close(bp_dataset *dataset) {
    if (!dataset) return;
    const bp_allocator allocator = dataset->allocator;
    bp_release(&allocator, dataset->memory, dataset->memory_bytes, 1);
    bp_release(&allocator, dataset, 1, sizeof *dataset);
}

/* --- what the classes say --------------------------------------------------------------------- */

static int64_t count_class(const bp_part *part, int64_t class) {
    int64_t count = 0;
    for (int64_t i = 0; i < part->n; i++) count += part->classes[i] == class;
    return count;
}

void bp_dataset_finish(bp_dataset *dataset, const bp_part_memory parts[3]) {
    dataset->chance_accuracy = NAN;
    if (!dataset->has_classes) return;
    const bp_part *seen[3] = {&dataset->train, &dataset->validation, &dataset->test};
    for (int p = 0; p < 3; p++)
        for (int64_t i = 0; i < seen[p]->n; i++)
            parts[p].targets[i * dataset->n_outputs + parts[p].classes[i]] = 1;
    int64_t most = 0;
    for (int64_t class = 0; class < dataset->n_outputs; class++) {
        const int64_t count = count_class(&dataset->train, class);
        if (count > most) most = count;
    }
    dataset->chance_accuracy = (double)most / (double)dataset->train.n;
}

/* --- the caller's numbers --------------------------------------------------------------------- */

static bp_status check_part(const char *name, const char *part_name, const bp_part *part,
                            int64_t n_outputs, bool has_classes, bp_error *error) {
    if (part->n == 0) return BP_OK;
    if (!part->inputs || (has_classes ? !part->classes : !part->targets))
        return bp_fail(error, BP_ERROR_ARGUMENT, "data set '%s': the %s part has no %s", name,
                       part_name,
                       !part->inputs ? "inputs"
                       : has_classes ? "classes"
                                     : "targets");
    for (int64_t i = 0; i < part->n && has_classes; i++)
        if (part->classes[i] < 0 || part->classes[i] >= n_outputs)
            return bp_fail(error, BP_ERROR_ARGUMENT,
                           "data set '%s': sample %lld of the %s part has class %d, expected 0 to "
                           "%lld",
                           name, (long long)i, part_name, (int)part->classes[i],
                           (long long)n_outputs - 1);
    return BP_OK;
}

static void copy_part(const bp_part_memory *to, const bp_part *from, int64_t units,
                      int64_t n_outputs) {
    if (from->n == 0) return;
    const size_t n = (size_t)from->n;
    memcpy(to->inputs, from->inputs, n * (size_t)units * sizeof *to->inputs);
    if (to->classes)
        memcpy(to->classes, from->classes, n * sizeof *to->classes);
    else
        memcpy(to->targets, from->targets, n * (size_t)n_outputs * sizeof *to->targets);
}

bp_status bp_dataset_from_memory(bp_dataset **dataset, const char *name,
                                 const int64_t input_shape[3], int64_t n_outputs,
                                 const bp_part *train, const bp_part *validation,
                                 const bp_part *test, const bp_allocator *allocator,
                                 bp_error *error) {
    const bp_part empty = {0};
    const bp_part *given[3] = {train, validation ? validation : &empty, test ? test : &empty};
    const int64_t n[3] = {given[0]->n, given[1]->n, given[2]->n};
    const bool has_classes = train->classes != NULL;
    bp_part_memory parts[3];
    bp_dataset *made;
    bp_status status = bp_dataset_new(&made, parts, name, input_shape, n_outputs, has_classes, n,
                                      allocator, error);
    if (status != BP_OK) return status;
    for (int i = 0; i < 3 && status == BP_OK; i++)
        status = check_part(name, part_names[i], given[i], n_outputs, has_classes, error);
    if (status != BP_OK) {
        bp_dataset_close(made);
        return status;
    }
    const int64_t units = input_shape[0] * input_shape[1] * input_shape[2];
    for (int i = 0; i < 3; i++) copy_part(&parts[i], given[i], units, n_outputs);
    bp_dataset_finish(made, parts);
    *dataset = made;
    return BP_OK;
}

/* --- data sets with names --------------------------------------------------------------------- */

const char *const bp_dataset_names[] = {"digits", "adding", NULL};

bp_status bp_dataset_open(bp_dataset **dataset, const char *name, const bp_allocator *allocator,
                          bp_error *error) {
    const int64_t adding_steps = bp_adding_steps(name);
    if (strcmp(name, "digits") == 0) return bp_digits_open(dataset, allocator, error);
    if (adding_steps > 0) return bp_adding_open(dataset, adding_steps, allocator, error);
    if (strncmp(name, "adding", 6) == 0)
        return bp_fail(error, BP_ERROR_INPUT,
                       "data set 'adding' needs its number of time steps, from 2 to %d, as in "
                       "'adding 50', found '%.100s'",
                       BP_ADDING_MAX_STEPS, name);
    const char *meant = bp_nearest_word(name, bp_dataset_names,
                                        sizeof bp_dataset_names / sizeof *bp_dataset_names - 1);
    return bp_fail(error, BP_ERROR_INPUT, "unknown data set '%.100s'; %s '%s'%s", name,
                   meant ? "did you mean" : "there is", meant ? meant : bp_dataset_names[0],
                   meant ? "?" : "");
}
