/* SPDX-License-Identifier: Apache-2.0 */
/* The split, the numbers, and their normalisation. */
#include "trainer/samples.h"
#include "trainer/operators.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct taking {
    const bp_samples *samples;
    const bp_data_source *source;
    const bp_allocator *allocator;
    uint32_t *order; /* [n - n_test]: train, validation, test */
    int64_t n[3];
    bp_part_memory parts[3];
    bp_error *error;
} taking;

bool bp_data_path(const bp_data_source *source, const char *path, char full[BP_DATA_PATH_BYTES]) {
    const bool below = source->folder && *source->folder && *path != '/';
    const int n = snprintf(full, BP_DATA_PATH_BYTES, "%s%s%s", below ? source->folder : "",
                           below ? "/" : "", path);
    return n > 0 && n < BP_DATA_PATH_BYTES;
}

/* --- the split ----------------------------------------------------------------------------------
 */

static bp_status count_parts(taking *t) {
    const int64_t own = t->samples->n - t->samples->n_test;
    const int64_t validation = (int64_t)(t->source->validation_fraction * (double)own);
    const int64_t test = t->samples->n_test ? 0 : (int64_t)(t->source->test_fraction * (double)own);
    int64_t train = own - validation - test;
    if (own > UINT32_MAX || train < 1)
        return bp_fail(t->error, BP_ERROR_INPUT,
                       "%lld samples cannot be split: %lld to validate and %lld to test leave none "
                       "to train",
                       (long long)own, (long long)validation, (long long)test);
    if (t->source->train_samples > 0 && t->source->train_samples < train)
        train = t->source->train_samples;
    t->n[0] = train;
    t->n[1] = validation;
    t->n[2] = t->samples->n_test ? t->samples->n_test : test;
    t->order = bp_allocate(t->allocator, (size_t)own, sizeof *t->order);
    if (!t->order) return bp_fail(t->error, BP_ERROR_MEMORY, "no memory to split the samples");
    const bp_random_key key = {.seed = t->source->seed, .purpose = BP_PURPOSE_SPLIT};
    bp_random_permutation(&key, t->order, (uint32_t)own);
    return BP_OK;
}

/* The sample that is number k of a part. Validation and test come first in the permutation, so that
 * fewer training samples leave them as they are. */
static int64_t sample_of(const taking *t, int part, int64_t k) {
    const bool own_test = t->samples->n_test > 0;
    if (part == 2 && own_test) return t->samples->n - t->samples->n_test + k;
    if (part == 1) return t->order[k];
    if (part == 2) return t->order[t->n[1] + k];
    return t->order[t->n[1] + (own_test ? 0 : t->n[2]) + k];
}

/* --- filling ------------------------------------------------------------------------------------
 */

static bp_status refuse_number(const taking *t, int64_t i, int64_t j, double value,
                               const char *expected) {
    char place[300], number[32];
    bp_text text;
    bp_text_init(&text, place, sizeof place);
    t->samples->place(t->samples->context, i, j, &text);
    const char *found = t->samples->text ? t->samples->text(t->samples->context, i, j) : NULL;
    return bp_fail(t->error, BP_ERROR_INPUT, "%s: expected %s, found %s%.60s%s", place, expected,
                   found ? "'" : "",
                   found ? found : bp_number_text(number, sizeof number, value, 6),
                   found ? "'" : "");
}

static bp_status fill_sample(const taking *t, const bp_part_memory *to, int64_t k, int64_t i) {
    const bp_samples *samples = t->samples;
    for (int64_t j = 0; j < samples->units; j++) {
        const double value = samples->input(samples->context, i, j);
        to->inputs[k * samples->units + j] = (bp_real)value;
        if (!isfinite((bp_real)value)) return refuse_number(t, i, j, value, "a finite number");
    }
    if (samples->has_classes) to->classes[k] = samples->class_of(samples->context, i);
    for (int64_t j = 0; j < samples->n_outputs && !samples->has_classes; j++) {
        const double value = samples->target(samples->context, i, j);
        to->targets[k * samples->n_outputs + j] = (bp_real)value;
        if (!isfinite((bp_real)value))
            return refuse_number(t, i, samples->units + j, value, "a finite number");
        if (samples->has_labels && !(value >= 0 && value <= 1))
            return refuse_number(t, i, samples->units + j, value, "a label from 0 to 1");
    }
    return BP_OK;
}

static bp_status fill(const taking *t) {
    for (int part = 0; part < 3; part++)
        for (int64_t k = 0; k < t->n[part]; k++) {
            const bp_status status = fill_sample(t, &t->parts[part], k, sample_of(t, part, k));
            if (status != BP_OK) return status;
        }
    return BP_OK;
}

/* --- normalisation ------------------------------------------------------------------------------
 */

/* x := (x - shift) / scale over a column of the inputs, or over all of them (column -1). */
typedef struct scaling {
    double shift, scale;
} scaling;

static double number_at(const bp_part_memory *part, int64_t units, int64_t column, int64_t index) {
    return (double)part->inputs[column < 0 ? index : index * units + column];
}

/* A column that is always the same has nothing to tell: it becomes 0. */
static scaling learn(const taking *t, int64_t column) {
    const bp_part_memory *train = &t->parts[0];
    const int64_t units = t->samples->units, n = column < 0 ? t->n[0] * units : t->n[0];
    double mean = 0, squares = 0, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const double x = number_at(train, units, column, i);
        mean += x;
        low = fmin(low, x);
        high = fmax(high, x);
    }
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double distance = number_at(train, units, column, i) - mean;
        squares += distance * distance;
    }
    if (!(high > low)) return (scaling){low, 1};
    if (t->source->normalise == BP_NORMALISE_MINMAX) return (scaling){low, high - low};
    return (scaling){mean, sqrt(squares / (double)n)};
}

static void apply(const taking *t, int64_t column, scaling s) {
    const int64_t units = t->samples->units;
    for (int part = 0; part < 3; part++) {
        const int64_t n = column < 0 ? t->n[part] * units : t->n[part];
        for (int64_t i = 0; i < n; i++) {
            bp_real *x = &t->parts[part].inputs[column < 0 ? i : i * units + column];
            *x = (bp_real)(((double)*x - s.shift) / s.scale);
        }
    }
}

static void normalise(const taking *t) {
    if (t->source->normalise == BP_NORMALISE_NONE) return;
    if (!t->samples->by_feature) {
        apply(t, -1, learn(t, -1));
        return;
    }
    for (int64_t column = 0; column < t->samples->units; column++)
        apply(t, column, learn(t, column));
}

/* --- the whole ----------------------------------------------------------------------------------
 */

bp_status bp_samples_take(const bp_samples *samples, const bp_data_source *source,
                          bp_dataset **dataset, const bp_allocator *allocator, bp_error *error) {
    taking t = {.samples = samples, .source = source, .error = error};
    bp_dataset *made = NULL;
    t.allocator = bp_allocator_or_system(allocator);
    bp_status status = count_parts(&t);
    if (status == BP_OK)
        status =
            bp_dataset_new(&made, t.parts, source->name ? source->name : "data", samples->shape,
                           samples->n_outputs, samples->has_classes, t.n, allocator, error);
    if (status == BP_OK) status = fill(&t);
    if (t.order)
        bp_release(t.allocator, t.order, (size_t)(samples->n - samples->n_test), sizeof *t.order);
    if (status != BP_OK) {
        bp_dataset_close(made);
        return status;
    }
    normalise(&t);
    bp_dataset_finish(made, t.parts);
    *dataset = made;
    return BP_OK;
}
