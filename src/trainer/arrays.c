/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets from arrays of numbers: the first index counts the samples. */
#include "formats/array.h"
#include "trainer/samples.h"

#include <math.h>
#include <string.h>

enum { TRAIN, TEST, N_FILES };

typedef struct arrays {
    bp_array inputs[N_FILES], targets[N_FILES];
    char input_path[N_FILES][BP_DATA_PATH_BYTES], target_path[N_FILES][BP_DATA_PATH_BYTES];
    int64_t n[N_FILES], units, n_outputs;
    bp_error *error;
} arrays;

static bool has_test(const bp_data_source *source) {
    return source->test_path != NULL;
}

static bp_status open_one(const bp_data_source *source, const char *path, const char *name,
                          bp_array *array, char full[BP_DATA_PATH_BYTES],
                          const bp_allocator *allocator, bp_error *error) {
    if (!path) return bp_fail(error, BP_ERROR_INPUT, "a path is missing");
    if (!bp_data_path(source, path, full))
        return bp_fail(error, BP_ERROR_INPUT, "the path %.100s is too long", path);
    return bp_array_open(array, &bp_io_system, full, name, allocator, error);
}

static bp_status open_files(const bp_data_source *source, arrays *a,
                            const bp_allocator *allocator) {
    const bool archive = source->format == BP_DATA_NPZ;
    const char *paths[N_FILES] = {source->path, source->test_path};
    const char *targets[N_FILES] = {source->targets, source->test_targets};
    bp_status status = BP_OK;
    for (int i = 0; i < (has_test(source) ? N_FILES : 1) && status == BP_OK; i++) {
        status = open_one(source, paths[i], archive ? source->inputs : NULL, &a->inputs[i],
                          a->input_path[i], allocator, a->error);
        if (status != BP_OK) return status;
        const char *name = archive ? source->targets : NULL;
        status = open_one(source, archive ? paths[i] : targets[i], name, &a->targets[i],
                          a->target_path[i], allocator, a->error);
    }
    return status;
}

static void close_files(arrays *a) {
    for (int i = 0; i < N_FILES; i++) {
        bp_array_finish(&a->inputs[i]);
        bp_array_finish(&a->targets[i]);
    }
}

/* --- forms --------------------------------------------------------------------------------------
 */

static int64_t per_sample(const bp_array *array) {
    return array->shape[0] > 0 ? array->count / array->shape[0] : 0;
}

static bp_status check_counts(const bp_data_source *source, arrays *a) {
    for (int i = 0; i < (has_test(source) ? N_FILES : 1); i++) {
        const bp_array *inputs = &a->inputs[i], *targets = &a->targets[i];
        if (inputs->ndim < 2 || inputs->ndim > 4 || inputs->count == 0)
            return bp_fail(
                a->error, BP_ERROR_INPUT,
                "%.300s: expected samples of one to three sizes, found %d dimensions and "
                "%lld numbers",
                a->input_path[i], inputs->ndim, (long long)inputs->count);
        if (targets->ndim < 1 || targets->ndim > 2 || targets->shape[0] != inputs->shape[0] ||
            targets->count == 0)
            return bp_fail(a->error, BP_ERROR_INPUT,
                           "%.300s: expected targets for %lld samples, found %d dimensions, the "
                           "first of %lld",
                           a->target_path[i], (long long)inputs->shape[0], targets->ndim,
                           (long long)(targets->ndim ? targets->shape[0] : 0));
        a->n[i] = inputs->shape[0];
    }
    a->units = per_sample(&a->inputs[TRAIN]);
    a->n_outputs = per_sample(&a->targets[TRAIN]);
    if (!has_test(source) ||
        (per_sample(&a->inputs[TEST]) == a->units && per_sample(&a->targets[TEST]) == a->n_outputs))
        return BP_OK;
    return bp_fail(a->error, BP_ERROR_INPUT,
                   "%.300s: samples of another size than those to train on", a->input_path[TEST]);
}

/* Of samples with two sizes the first is a height, or time; with three they are channels, height
 * and width. */
static void set_shape(const bp_data_source *source, const bp_array *inputs, bp_samples *samples) {
    const int64_t *size = inputs->shape + 1;
    int64_t shape[3] = {samples->units, 1, 1};
    const bool sequence = source->layout == BP_LAYOUT_SEQUENCE;
    if (source->layout != BP_LAYOUT_VECTOR && inputs->ndim == 3) {
        shape[0] = sequence ? size[0] : 1;
        shape[1] = sequence ? size[1] : size[0];
        shape[2] = sequence ? 1 : size[1];
    } else if (source->layout != BP_LAYOUT_VECTOR && inputs->ndim == 4) {
        for (int i = 0; i < 3; i++) shape[i] = size[i];
    }
    memcpy(samples->shape, shape, sizeof shape);
    samples->by_feature = shape[1] == 1 && shape[2] == 1;
}

/* Whole numbers alone are classes; several a sample are labels; else they are values. */
static bp_task task_of(const bp_data_source *source, const arrays *a) {
    if (source->task) return source->task;
    if (a->targets[TRAIN].type == BP_NUMBER_FLOAT) return BP_TASK_REGRESSION;
    return a->n_outputs == 1 ? BP_TASK_CLASSIFICATION : BP_TASK_MULTILABEL;
}

/* Whole numbers from 0 on. */
static bp_status count_classes(const bp_data_source *source, const arrays *a, int64_t *n_classes) {
    double most = 0;
    for (int f = 0; f < (has_test(source) ? N_FILES : 1); f++)
        for (int64_t i = 0; i < a->targets[f].count; i++) {
            const double class = bp_array_get(&a->targets[f], i);
            if (!(class >= 0) || class != floor(class) || class >= BP_MAX_CLASSES) {
                char number[32];
                return bp_fail(a->error, BP_ERROR_INPUT,
                               "%.300s, sample %lld: expected a class, a whole number from 0 on, "
                               "found %s; or is the task regression?",
                               a->target_path[f], (long long)i + 1,
                               bp_number_text(number, sizeof number, class, 6));
            }
            most = fmax(most, class);
        }
    *n_classes = (int64_t)most + 1;
    return BP_OK;
}

/* --- numbers ------------------------------------------------------------------------------------
 */

static int file_of(const arrays *a, int64_t *i) {
    if (*i < a->n[TRAIN]) return TRAIN;
    *i -= a->n[TRAIN];
    return TEST;
}

static double input(const void *context, int64_t i, int64_t j) {
    const arrays *a = context;
    const int file = file_of(a, &i);
    return bp_array_get(&a->inputs[file], i * a->units + j);
}

static double target(const void *context, int64_t i, int64_t j) {
    const arrays *a = context;
    const int file = file_of(a, &i);
    return bp_array_get(&a->targets[file], i * a->n_outputs + j);
}

static int32_t class_of(const void *context, int64_t i) {
    return (int32_t)target(context, i, 0);
}

static void place(const void *context, int64_t i, int64_t j, bp_text *text) {
    const arrays *a = context;
    const int file = file_of(a, &i);
    const bool is_input = j < a->units;
    bp_text_add(text, "%.200s, sample %lld, number %lld",
                is_input ? a->input_path[file] : a->target_path[file], (long long)i + 1,
                (long long)(is_input ? j : j - a->units) + 1);
}

static bp_status take(const bp_data_source *source, arrays *a, bp_dataset **dataset,
                      const bp_allocator *allocator) {
    bp_status status = check_counts(source, a);
    if (status != BP_OK) return status;
    const bp_task task = task_of(source, a);
    bp_samples samples = {.context = a,
                          .n = a->n[TRAIN] + a->n[TEST],
                          .n_test = a->n[TEST],
                          .units = a->units,
                          .n_outputs = a->n_outputs,
                          .has_classes = task == BP_TASK_CLASSIFICATION,
                          .has_labels = task == BP_TASK_MULTILABEL,
                          .input = input,
                          .target = target,
                          .class_of = class_of,
                          .place = place};
    set_shape(source, &a->inputs[TRAIN], &samples);
    if (samples.has_classes && a->n_outputs != 1)
        return bp_fail(a->error, BP_ERROR_INPUT, "%.300s: %lld classes a sample, expected one",
                       a->target_path[TRAIN], (long long)a->n_outputs);
    if (samples.has_classes) status = count_classes(source, a, &samples.n_outputs);
    if (status != BP_OK) return status;
    return bp_samples_take(&samples, source, dataset, allocator, a->error);
}

bp_status bp_arrays_open(const bp_data_source *source, bp_dataset **dataset,
                         const bp_allocator *allocator, bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    arrays *a = bp_allocate(allocator, 1, sizeof *a);
    if (!a) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read data");
    a->error = error;
    bp_status status = open_files(source, a, allocator);
    if (status == BP_OK) status = take(source, a, dataset, allocator);
    close_files(a);
    bp_release(allocator, a, 1, sizeof *a);
    return status;
}
