/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets from tables: the target columns are named, all others are inputs. */
#include "formats/csv.h"
#include "trainer/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN, TEST, N_FILES };
#define MAX_TARGETS 1024
#define NAME_BYTES 256

typedef struct table {
    bp_csv csv[N_FILES];
    char path[N_FILES][BP_DATA_PATH_BYTES];
    int64_t target[MAX_TARGETS], n_targets;
    int64_t *input; /* columns */
    int64_t n_inputs;
    const char **classes; /* the class column's different words, sorted */
    int64_t n_classes, classes_capacity;
    bp_error *error;
} table;

/* --- columns ------------------------------------------------------------------------------------
 */

static bp_status unknown_column(const table *t, const char *name) {
    const bp_csv *csv = &t->csv[TRAIN];
    const char *names[64];
    size_t n = 0;
    for (; csv->has_header && n < 64 && (int64_t)n < csv->n_columns; n++)
        names[n] = bp_csv_column_name(csv, (int64_t)n);
    const char *meant = bp_nearest_word(name, names, n);
    return bp_fail(t->error, BP_ERROR_INPUT, "%.300s has no column '%.60s'%s%.60s%s",
                   t->path[TRAIN], name,
                   meant             ? "; did you mean '"
                   : csv->has_header ? ""
                                     : "; without a header columns are numbers from 1 on",
                   meant ? meant : "", meant ? "'?" : "");
}

static bool is_target(const table *t, int64_t column) {
    for (int64_t i = 0; i < t->n_targets; i++)
        if (t->target[i] == column) return true;
    return false;
}

/* Else a second column of a target's name would tell the network what it is to find out. */
static bool has_twin(const bp_csv *csv, int64_t column) {
    for (int64_t i = column + 1; i < csv->n_columns && csv->has_header; i++)
        if (strcmp(bp_csv_column_name(csv, i), bp_csv_column_name(csv, column)) == 0) return true;
    return false;
}

/* "species" or "height, width" */
static bp_status find_targets(const bp_data_source *source, table *t) {
    const char *at = source->targets;
    while (at) {
        char name[NAME_BYTES];
        at += strspn(at, " ");
        size_t length = strcspn(at, ",");
        const char *next = at[length] ? at + length + 1 : NULL;
        while (length > 0 && at[length - 1] == ' ') length--;
        if (length == 0 || length >= sizeof name || t->n_targets == MAX_TARGETS)
            return bp_fail(t->error, BP_ERROR_INPUT, "data.targets: expected names of columns");
        memcpy(name, at, length);
        name[length] = '\0';
        const int64_t column = bp_csv_find_column(&t->csv[TRAIN], name);
        if (column < 0) return unknown_column(t, name);
        if (is_target(t, column))
            return bp_fail(t->error, BP_ERROR_INPUT, "data.targets names '%.60s' twice", name);
        if (has_twin(&t->csv[TRAIN], column))
            return bp_fail(t->error, BP_ERROR_INPUT, "%.300s has two columns '%.60s'",
                           t->path[TRAIN], name);
        t->target[t->n_targets++] = column;
        at = next;
    }
    return BP_OK;
}

static bp_status find_inputs(table *t, const bp_allocator *allocator) {
    const bp_csv *csv = &t->csv[TRAIN];
    t->input = bp_allocate(allocator, (size_t)csv->n_columns, sizeof *t->input);
    if (!t->input) return bp_fail(t->error, BP_ERROR_MEMORY, "no memory for a table");
    for (int64_t column = 0; column < csv->n_columns; column++)
        if (!is_target(t, column)) t->input[t->n_inputs++] = column;
    if (t->n_inputs > 0) return BP_OK;
    return bp_fail(t->error, BP_ERROR_INPUT, "%.300s has no column but the targets",
                   t->path[TRAIN]);
}

/* --- classes: words, or numbers that stand for kinds ---------------------------------------------
 */

/* Numbers by size, before words by their bytes. */
static int compare_words(const void *a, const void *b) {
    const char *const left = *(const char *const *)a, *const right = *(const char *const *)b;
    double x, y;
    const bool left_is = bp_parse_number(left, &x), right_is = bp_parse_number(right, &y);
    if (left_is != right_is) return left_is ? -1 : 1;
    if (left_is && x != y) return x < y ? -1 : 1;
    return strcmp(left, right);
}

static bp_status collect_classes(table *t, const bp_allocator *allocator) {
    const int64_t all = t->csv[TRAIN].n_rows + t->csv[TEST].n_rows;
    t->classes = bp_allocate(allocator, (size_t)all, sizeof *t->classes);
    if (!t->classes) return bp_fail(t->error, BP_ERROR_MEMORY, "no memory for a table");
    t->classes_capacity = all;
    int64_t n = 0;
    for (int f = 0; f < N_FILES; f++)
        for (int64_t row = 0; row < t->csv[f].n_rows; row++) {
            const char *class = bp_csv_cell(&t->csv[f], row, t->target[0]);
            if (class[0] == '\0')
                return bp_fail(t->error, BP_ERROR_INPUT,
                               "%.300s, line %lld: expected a class, found an empty cell",
                               t->path[f], (long long)bp_csv_line(&t->csv[f], row));
            t->classes[n++] = class;
        }
    qsort(t->classes, (size_t)n, sizeof *t->classes, compare_words);
    for (int64_t i = 0; i < n; i++)
        if (t->n_classes == 0 || strcmp(t->classes[t->n_classes - 1], t->classes[i]) != 0)
            t->classes[t->n_classes++] = t->classes[i];
    if (t->n_classes < 2 || t->n_classes > BP_MAX_CLASSES)
        return bp_fail(t->error, BP_ERROR_INPUT, "%.300s: %lld different classes, expected 2 to %d",
                       t->path[TRAIN], (long long)t->n_classes, BP_MAX_CLASSES);
    return BP_OK;
}

/* --- numbers ------------------------------------------------------------------------------------
 */

static int file_of(const table *t, int64_t *row) {
    if (*row < t->csv[TRAIN].n_rows) return TRAIN;
    *row -= t->csv[TRAIN].n_rows;
    return TEST;
}

static double number(const table *t, int64_t row, int64_t column) {
    const int file = file_of(t, &row);
    const char *text = bp_csv_cell(&t->csv[file], row, column);
    double value;
    while (*text == ' ') text++;
    return bp_parse_number(text, &value) ? value : (double)NAN;
}

static double input(const void *context, int64_t i, int64_t j) {
    const table *t = context;
    return number(t, i, t->input[j]);
}

static double target(const void *context, int64_t i, int64_t j) {
    const table *t = context;
    return number(t, i, t->target[j]);
}

static int32_t class_of(const void *context, int64_t i) {
    const table *t = context;
    const int file = file_of(t, &i);
    const char *word = bp_csv_cell(&t->csv[file], i, t->target[0]);
    const char **found =
        bsearch(&word, t->classes, (size_t)t->n_classes, sizeof *t->classes, compare_words);
    return found ? (int32_t)(found - t->classes) : 0; /* all were collected */
}

static int64_t column_of(const table *t, int64_t j) {
    return j < t->n_inputs ? t->input[j] : t->target[j - t->n_inputs];
}

static const char *text_at(const void *context, int64_t i, int64_t j) {
    const table *t = context;
    const int file = file_of(t, &i);
    return bp_csv_cell(&t->csv[file], i, column_of(t, j));
}

static void place(const void *context, int64_t i, int64_t j, bp_text *text) {
    const table *t = context;
    const int file = file_of(t, &i);
    const int64_t column = column_of(t, j);
    const char *name = bp_csv_column_name(&t->csv[file], column);
    bp_text_add(text, "%.200s, line %lld, column %lld", t->path[file],
                (long long)bp_csv_line(&t->csv[file], i), (long long)column + 1);
    if (name) bp_text_add(text, " (%.40s)", name);
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static bp_status compare_headers(const table *t) {
    for (int64_t column = 0; column < t->csv[TRAIN].n_columns; column++) {
        const char *expected = bp_csv_column_name(&t->csv[TRAIN], column);
        const char *found = bp_csv_column_name(&t->csv[TEST], column);
        if (strcmp(found, expected) != 0)
            return bp_fail(t->error, BP_ERROR_INPUT,
                           "%.300s: column %lld is '%.60s', expected '%.60s' as in %.300s",
                           t->path[TEST], (long long)column + 1, found, expected, t->path[TRAIN]);
    }
    return BP_OK;
}

static bp_status open_files(const bp_data_source *source, table *t, const bp_allocator *allocator) {
    const char *paths[N_FILES] = {source->path, source->test_path};
    for (int i = 0; i < N_FILES && paths[i]; i++) {
        if (!bp_data_path(source, paths[i], t->path[i]))
            return bp_fail(t->error, BP_ERROR_INPUT, "the path %.100s is too long", paths[i]);
        const bp_status status = bp_csv_open(&t->csv[i], &bp_io_system, t->path[i],
                                             !source->no_header, allocator, t->error);
        if (status != BP_OK) return status;
        if (t->csv[i].n_columns != t->csv[TRAIN].n_columns)
            return bp_fail(t->error, BP_ERROR_INPUT, "%.300s: %lld columns, expected %lld",
                           t->path[i], (long long)t->csv[i].n_columns,
                           (long long)t->csv[TRAIN].n_columns);
    }
    return paths[TEST] && !source->no_header ? compare_headers(t) : BP_OK;
}

static bp_status take(const bp_data_source *source, table *t, bp_dataset **dataset,
                      const bp_allocator *allocator) {
    const bool classes = source->task <= BP_TASK_CLASSIFICATION;
    bp_status status = find_targets(source, t);
    if (status == BP_OK) status = find_inputs(t, allocator);
    if (status == BP_OK && classes && t->n_targets != 1)
        status = bp_fail(t->error, BP_ERROR_INPUT,
                         "data.targets names %lld columns, but a classification has one; the task "
                         "may be multilabel or regression",
                         (long long)t->n_targets);
    if (status == BP_OK && classes) status = collect_classes(t, allocator);
    if (status != BP_OK) return status;
    const bp_samples samples = {.context = t,
                                .n = t->csv[TRAIN].n_rows + t->csv[TEST].n_rows,
                                .n_test = t->csv[TEST].n_rows,
                                .shape = {t->n_inputs, 1, 1},
                                .units = t->n_inputs,
                                .n_outputs = classes ? t->n_classes : t->n_targets,
                                .has_classes = classes,
                                .has_labels = source->task == BP_TASK_MULTILABEL,
                                .by_feature = true,
                                .input = input,
                                .target = target,
                                .class_of = class_of,
                                .place = place,
                                .text = text_at};
    return bp_samples_take(&samples, source, dataset, allocator, t->error);
}

bp_status bp_table_open(const bp_data_source *source, bp_dataset **dataset,
                        const bp_allocator *allocator, bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    table *t = bp_allocate(allocator, 1, sizeof *t);
    if (!t) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a table");
    t->error = error;
    for (int i = 0; i < N_FILES; i++) t->csv[i].allocator = *allocator;
    bp_status status = open_files(source, t, allocator);
    if (status == BP_OK) status = take(source, t, dataset, allocator);
    if (t->input)
        bp_release(allocator, t->input, (size_t)t->csv[TRAIN].n_columns, sizeof *t->input);
    bp_release(allocator, t->classes, (size_t)t->classes_capacity, sizeof *t->classes);
    for (int i = 0; i < N_FILES; i++) bp_csv_finish(&t->csv[i]);
    bp_release(allocator, t, 1, sizeof *t);
    return status;
}
