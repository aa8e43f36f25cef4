/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets: three parts of samples in one block of memory. */
#include "trainer/arena.h"
#include "trainer/dataset.h"
#include "trainer/digits.h"
#include "trainer/samples.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static double chance_accuracy(const bp_dataset *dataset) {
    int64_t most = 0;
    if (!dataset->has_classes) return (double)NAN;
    for (int64_t class = 0; class < dataset->n_outputs; class++) {
        const int64_t count = count_class(&dataset->train, class);
        if (count > most) most = count;
    }
    return (double)most / (double)dataset->train.n;
}

void bp_dataset_finish(bp_dataset *dataset, const bp_part_memory parts[3]) {
    const bp_part *seen[3] = {&dataset->train, &dataset->validation, &dataset->test};
    for (int p = 0; p < 3 && dataset->has_classes; p++)
        for (int64_t i = 0; i < seen[p]->n; i++)
            parts[p].targets[i * dataset->n_outputs + parts[p].classes[i]] = 1;
    dataset->chance_accuracy = chance_accuracy(dataset);
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

/* --- data sets with names, and from files ------------------------------------------------------
 */

const char *const bp_dataset_names[] = {"digits", "fashion_mnist", "spirals", "adding", NULL};

/* Fewer training samples of a set that has its split and its scale. */
static void cut_training(bp_dataset *dataset, int64_t most) {
    if (most > 0 && most < dataset->train.n) dataset->train.n = most;
    dataset->chance_accuracy = chance_accuracy(dataset);
}

/* Where Debian's package puts it: 60,000 images, of which a sixth validates, and 10,000 to test. */
#define FASHION "/usr/share/datasets/fashion-mnist"
bp_status bp_fashion_open(const char *folder, const bp_data_source *given, bp_dataset **dataset,
                          const bp_allocator *allocator, bp_error *error) {
    bp_data_source source = *given;
    char images[BP_DATA_PATH_BYTES];
    source.format = BP_DATA_IDX;
    source.folder = folder;
    source.path = "train-images-idx3-ubyte.gz";
    source.targets = "train-labels-idx1-ubyte.gz";
    source.test_path = "t10k-images-idx3-ubyte.gz";
    source.test_targets = "t10k-labels-idx1-ubyte.gz";
    source.task = BP_TASK_CLASSIFICATION;
    source.validation_fraction = 1.0 / 6 + 1e-9;
    if (bp_data_path(&source, source.path, images) && access(images, R_OK) == 0)
        return bp_arrays_open(&source, dataset, allocator, error);
    return bp_fail(error, BP_ERROR_INPUT,
                   "fashion_mnist is not installed (there is no %.300s); install it by: apt-get "
                   "install dataset-fashion-mnist",
                   folder);
}

static bp_status open_named(const bp_data_source *source, bp_dataset **dataset,
                            const bp_allocator *allocator, bp_error *error) {
    const char *name = source->name;
    if (strcmp(name, "digits") == 0) {
        const bp_status status = bp_digits_open(dataset, allocator, error);
        if (status == BP_OK) cut_training(*dataset, source->train_samples);
        return status;
    }
    if (strcmp(name, "fashion_mnist") == 0)
        return bp_fashion_open(FASHION, source, dataset, allocator, error);
    if (strcmp(name, "spirals") == 0) return bp_spirals_open(source, dataset, allocator, error);
    if (strcmp(name, "adding") == 0) return bp_adding_open(source, dataset, allocator, error);
    const size_t n = sizeof bp_dataset_names / sizeof *bp_dataset_names - 1;
    const char *meant = bp_nearest_word(name, bp_dataset_names, n);
    char known[200];
    bp_text text;
    bp_text_init(&text, known, sizeof known);
    for (size_t i = 0; i < n; i++) bp_text_add(&text, "%s%s", i ? ", " : "", bp_dataset_names[i]);
    return bp_fail(error, BP_ERROR_INPUT, "unknown data set '%.100s'; %s%s%s", name,
                   meant ? "did you mean '" : "there are ", meant ? meant : known,
                   meant ? "'?" : "");
}

static double fraction(double given) {
    return given > 0 ? given : given < 0 ? 0 : 0.15;
}

/* What a source leaves open. */
static bp_data_source completed(const bp_data_source *given) {
    bp_data_source source = *given;
    const bool named = source.format <= BP_DATA_NAMED;
    const bool adding = named && source.name && strcmp(source.name, "adding") == 0;
    if (!source.normalise) source.normalise = adding ? BP_NORMALISE_NONE : BP_NORMALISE_STANDARD;
    source.validation_fraction = fraction(source.validation_fraction);
    source.test_fraction = fraction(source.test_fraction);
    if (source.samples < 1) source.samples = adding ? 10000 : 2000;
    if (source.steps < 1) source.steps = 50;
    return source;
}

bp_status bp_dataset_open_source(bp_dataset **dataset, const bp_data_source *given,
                                 const bp_allocator *allocator, bp_error *error) {
    const bp_data_source source = completed(given);
    switch (source.format) {
    case BP_DATA_IDX:
    case BP_DATA_NPY:
    case BP_DATA_NPZ:
        return bp_arrays_open(&source, dataset, allocator, error);
    case BP_DATA_CSV:
        return bp_table_open(&source, dataset, allocator, error);
    case BP_DATA_NAMED:
        return open_named(&source, dataset, allocator, error);
    }
    return open_named(&source, dataset, allocator, error);
}

bp_status bp_dataset_open(bp_dataset **dataset, const char *name, const bp_allocator *allocator,
                          bp_error *error) {
    const bp_data_source source = {.format = BP_DATA_NAMED, .name = name, .noise = 0.02};
    return bp_dataset_open_source(dataset, &source, allocator, error);
}
