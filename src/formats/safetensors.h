/* SPDX-License-Identifier: Apache-2.0 */
/* Room formats: small hardened readers and writers of files of numbers. This file: safetensors
 * (u64le header length, JSON header, tightly tiled little-endian data). */
#ifndef BP_FORMATS_SAFETENSORS_H
#define BP_FORMATS_SAFETENSORS_H

#include "base/base.h"
#include "tensor/tensor.h"

#define BP_SAFETENSORS_MAX_HEADER 100000000u
#define BP_SAFETENSORS_MAX_NAME 512

typedef struct bp_named_tensor {
    const char *name;
    bp_tensor tensor; /* contiguous */
} bp_named_tensor;

/* Writes atomically (bp_io_write_file_atomic). metadata: pairs of texts, 2 * n_metadata of them. */
BP_MUST_USE bp_status bp_safetensors_write(const bp_io *io, const char *path,
                                           const bp_named_tensor *tensors, size_t n_tensors,
                                           const char *const *metadata, size_t n_metadata,
                                           const bp_allocator *allocator, bp_error *error);

typedef struct bp_safetensors bp_safetensors;
/* Reads and checks the whole file: sizes before allocation, no holes, no overlaps, no duplicate
 * names, shapes that fit their bytes. dtypes other than F32 F64 F16 BF16 are refused as not
 * supported. */
BP_MUST_USE bp_status bp_safetensors_open(bp_safetensors **file, const bp_io *io, const char *path,
                                          const bp_allocator *allocator, bp_error *error);
/* The same over bytes in memory; borrowed until close. */
BP_MUST_USE bp_status bp_safetensors_open_bytes(bp_safetensors **file, const uint8_t *bytes,
                                                size_t n_bytes, const bp_allocator *allocator,
                                                bp_error *error);
void bp_safetensors_close(bp_safetensors *file);
size_t bp_safetensors_count(const bp_safetensors *file);
const bp_named_tensor *bp_safetensors_get(const bp_safetensors *file, size_t index); /* borrowed */
const bp_named_tensor *bp_safetensors_find(const bp_safetensors *file, const char *name);
/* A text of __metadata__, borrowed; NULL when there is none. */
const char *bp_safetensors_metadata(const bp_safetensors *file, const char *key);

#endif
