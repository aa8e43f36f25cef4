/* SPDX-License-Identifier: Apache-2.0 */
/* Samples on their way from files or formulas to a data set: how many, of what form, and how to ask
 * for a number. samples.c splits, fills and normalises them. */
#ifndef BP_TRAINER_SAMPLES_H
#define BP_TRAINER_SAMPLES_H

#include "trainer/dataset.h"

#define BP_MAX_CLASSES 1000000

typedef struct bp_samples {
    const void *context;
    int64_t n, n_test; /* the last n_test of them are a test part of their own */
    int64_t shape[3], units, n_outputs;
    bool has_classes;
    bool has_labels; /* targets from 0 to 1 */
    bool by_feature; /* each input is normalised for itself */
    /* Of sample i: input j, target j, or its class. */
    double (*input)(const void *context, int64_t i, int64_t j);
    double (*target)(const void *context, int64_t i, int64_t j);
    int32_t (*class_of)(const void *context, int64_t i);
    /* "FILE, sample 3" for messages. */
    void (*place)(const void *context, int64_t i, int64_t j, bp_text *text);
    /* What is written there; NULL where numbers are not written as text. */
    const char *(*text)(const void *context, int64_t i, int64_t j);
} bp_samples;

BP_MUST_USE bp_status bp_samples_take(const bp_samples *samples, const bp_data_source *source,
                                      bp_dataset **dataset, const bp_allocator *allocator,
                                      bp_error *error);

/* arrays.c: IDX, NPY, NPZ; table.c: CSV; generated.c */
BP_MUST_USE bp_status bp_arrays_open(const bp_data_source *source, bp_dataset **dataset,
                                     const bp_allocator *allocator, bp_error *error);
BP_MUST_USE bp_status bp_table_open(const bp_data_source *source, bp_dataset **dataset,
                                    const bp_allocator *allocator, bp_error *error);
BP_MUST_USE bp_status bp_spirals_open(const bp_data_source *source, bp_dataset **dataset,
                                      const bp_allocator *allocator, bp_error *error);
BP_MUST_USE bp_status bp_adding_open(const bp_data_source *source, bp_dataset **dataset,
                                     const bp_allocator *allocator, bp_error *error);
/* data.c: fashion_mnist, from where Debian's package puts it. */
BP_MUST_USE bp_status bp_fashion_open(const char *folder, const bp_data_source *source,
                                      bp_dataset **dataset, const bp_allocator *allocator,
                                      bp_error *error);

#define BP_DATA_PATH_BYTES 4096
/* path below source->folder where it is relative; false when it is too long. */
bool bp_data_path(const bp_data_source *source, const char *path, char full[BP_DATA_PATH_BYTES]);

#endif
