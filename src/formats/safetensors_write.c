/* SPDX-License-Identifier: Apache-2.0 */
/* Writes safetensors: the whole file is made in memory and put down atomically. */
#include "formats/safetensors.h"
#include "formats/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *format_name(bp_dtype dtype) {
    switch (dtype) {
    case BP_F32:
        return "F32";
    case BP_F64:
        return "F64";
    case BP_F16:
        return "F16";
    case BP_BF16:
        return "BF16";
    }
    return NULL;
}

/* --- what cannot be written is refused ------------------------------------------------------ */

static bp_status check_text(const char *what, const char *text, bp_error *error) {
    size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        size_t n = bp_utf8_length((const uint8_t *)text + at, length - at);
        if (n == 0)
            return bp_fail(error, BP_ERROR_ARGUMENT, "%s \"%s\" is not UTF-8 at byte %zu", what,
                           text, at);
        at += n;
    }
    return BP_OK;
}

static bp_status check_tensor(const bp_named_tensor *named, bp_error *error) {
    const bp_tensor *tensor = &named->tensor;
    const char *name = named->name;
    if (strlen(name) > BP_SAFETENSORS_MAX_NAME)
        return bp_fail(error, BP_ERROR_LIMIT, "tensor name of %zu bytes, at most %d are allowed",
                       strlen(name), BP_SAFETENSORS_MAX_NAME);
    if (strcmp(name, "__metadata__") == 0)
        return bp_fail(error, BP_ERROR_ARGUMENT, "a tensor cannot have the name __metadata__");
    bp_status status = check_text("tensor name", name, error);
    if (status != BP_OK) return status;
    if (!format_name(tensor->dtype))
        return bp_fail(error, BP_ERROR_ARGUMENT, "tensor \"%s\": unknown dtype %d", name,
                       (int)tensor->dtype);
    if (tensor->ndim < 0 || tensor->ndim > BP_TENSOR_MAX_NDIM)
        return bp_fail(error, BP_ERROR_ARGUMENT, "tensor \"%s\": %d dimensions, at most %d", name,
                       (int)tensor->ndim, BP_TENSOR_MAX_NDIM);
    for (int32_t i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] < 0)
            return bp_fail(error, BP_ERROR_ARGUMENT,
                           "tensor \"%s\": dimension %d has %" PRId64 " elements", name, (int)i,
                           tensor->shape[i]);
    if (!bp_tensor_is_contiguous(tensor))
        return bp_fail(error, BP_ERROR_ARGUMENT, "tensor \"%s\" is not contiguous", name);
    if (!tensor->data && bp_tensor_count(tensor) > 0)
        return bp_fail(error, BP_ERROR_ARGUMENT, "tensor \"%s\" has no data", name);
    return BP_OK;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* `texts` is sorted in place. */
static bp_status refuse_twins(const char **texts, size_t n, const char *what, bp_error *error) {
    qsort(texts, n, sizeof *texts, compare_texts);
    for (size_t i = 1; i < n; i++)
        if (strcmp(texts[i - 1], texts[i]) == 0)
            return bp_fail(error, BP_ERROR_ARGUMENT, "%s \"%s\" is given twice", what, texts[i]);
    return BP_OK;
}

static bp_status check_all(const bp_named_tensor *tensors, size_t n_tensors,
                           const char *const *metadata, size_t n_metadata, const char **texts,
                           bp_error *error) {
    bp_status status = BP_OK;
    for (size_t i = 0; i < n_tensors && status == BP_OK; i++) {
        status = check_tensor(&tensors[i], error);
        texts[i] = tensors[i].name;
    }
    if (status == BP_OK) status = refuse_twins(texts, n_tensors, "tensor", error);
    for (size_t i = 0; i < 2 * n_metadata && status == BP_OK; i++) {
        status = check_text("metadata", metadata[i], error);
        texts[i / 2] = metadata[i - i % 2];
    }
    if (status == BP_OK) status = refuse_twins(texts, n_metadata, "metadata key", error);
    return status;
}

/* --- the header ----------------------------------------------------------------------------- */

static void add_quoted(bp_text *header, const char *text) {
    bp_text_add(header, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            bp_text_add(header, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            bp_text_add(header, "\\u%04x", (unsigned)*text);
        else
            bp_text_add(header, "%c", *text);
    }
    bp_text_add(header, "\"");
}

static uint64_t data_bytes(const bp_tensor *tensor) {
    return (uint64_t)bp_tensor_count(tensor) * bp_dtype_bytes(tensor->dtype);
}

static void add_entry(bp_text *header, const bp_named_tensor *named, uint64_t begin) {
    const bp_tensor *tensor = &named->tensor;
    add_quoted(header, named->name);
    bp_text_add(header, ":{\"dtype\":\"%s\",\"shape\":[", format_name(tensor->dtype));
    for (int32_t i = 0; i < tensor->ndim; i++)
        bp_text_add(header, "%s%" PRId64, i ? "," : "", tensor->shape[i]);
    bp_text_add(header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                begin + data_bytes(tensor));
}

static void add_header(bp_text *header, const bp_named_tensor *tensors, size_t n_tensors,
                       const char *const *metadata, size_t n_metadata) {
    bp_text_add(header, "{");
    const char *separator = "";
    for (size_t i = 0; i < n_metadata; i++) {
        bp_text_add(header, i ? "," : "\"__metadata__\":{");
        add_quoted(header, metadata[2 * i]);
        bp_text_add(header, ":");
        add_quoted(header, metadata[2 * i + 1]);
        if (i + 1 == n_metadata) bp_text_add(header, "}");
        separator = ",";
    }
    uint64_t begin = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        bp_text_add(header, "%s", separator);
        add_entry(header, &tensors[i], begin);
        begin += data_bytes(&tensors[i].tensor);
        separator = ",";
    }
    bp_text_add(header, "}");
    while (header->length % 8) bp_text_add(header, " "); /* the data begin aligned */
}

/* Never too small: a byte is escaped to at most six. */
static size_t header_bound(const bp_named_tensor *tensors, size_t n_tensors,
                           const char *const *metadata, size_t n_metadata) {
    enum { ENTRY = 128 + BP_TENSOR_MAX_NDIM * 21, PAIR = 16, FRAME = 64 };
    size_t bound = FRAME;
    for (size_t i = 0; i < n_tensors; i++) bound += 6 * strlen(tensors[i].name) + ENTRY;
    for (size_t i = 0; i < 2 * n_metadata; i++) bound += 6 * strlen(metadata[i]) + PAIR;
    return bound;
}

/* --- the file ------------------------------------------------------------------------------- */

static bp_status write_file(const bp_io *io, const char *path, const bp_text *header,
                            const bp_named_tensor *tensors, size_t n_tensors,
                            const bp_allocator *allocator, bp_error *error) {
    size_t n_bytes = 8 + header->length;
    for (size_t i = 0; i < n_tensors; i++) n_bytes += data_bytes(&tensors[i].tensor);
    uint8_t *bytes = bp_allocate(allocator, n_bytes, 1);
    if (!bytes)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for the %zu bytes of %s", n_bytes, path);
    bp_writer writer;
    bp_writer_init(&writer, bytes, n_bytes);
    bp_write_u64(&writer, header->length);
    bp_write_bytes(&writer, header->bytes, header->length);
    for (size_t i = 0; i < n_tensors; i++)
        bp_write_bytes(&writer, tensors[i].tensor.data, data_bytes(&tensors[i].tensor));
    bp_status status = bp_io_write_file_atomic(io, path, bytes, n_bytes, allocator, error);
    bp_release(allocator, bytes, n_bytes, 1);
    return status;
}

static bp_status write_with_header(const bp_io *io, const char *path,
                                   const bp_named_tensor *tensors, size_t n_tensors,
                                   const char *const *metadata, size_t n_metadata,
                                   const bp_allocator *allocator, bp_error *error) {
    size_t bound = header_bound(tensors, n_tensors, metadata, n_metadata);
    char *bytes = bp_allocate(allocator, bound, 1);
    if (!bytes) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the header of %s", path);
    bp_text header;
    bp_text_init(&header, bytes, bound);
    add_header(&header, tensors, n_tensors, metadata, n_metadata);
    bp_status status;
    if (header.length > BP_SAFETENSORS_MAX_HEADER)
        status = bp_fail(error, BP_ERROR_LIMIT, "%s: header of %zu bytes, at most %u are allowed",
                         path, header.length, BP_SAFETENSORS_MAX_HEADER);
    else
        status = write_file(io, path, &header, tensors, n_tensors, allocator, error);
    bp_release(allocator, bytes, bound, 1);
    return status;
}

bp_status bp_safetensors_write(const bp_io *io, const char *path, const bp_named_tensor *tensors,
                               size_t n_tensors, const char *const *metadata, size_t n_metadata,
                               const bp_allocator *allocator, bp_error *error) {
    size_t n_texts = n_tensors > n_metadata ? n_tensors : n_metadata;
    const char **texts = bp_allocate(allocator, n_texts, sizeof *texts);
    if (!texts) return bp_fail(error, BP_ERROR_MEMORY, "no memory to write %s", path);
    bp_status status = check_all(tensors, n_tensors, metadata, n_metadata, texts, error);
    bp_release(allocator, texts, n_texts, sizeof *texts);
    if (status != BP_OK) return status;
    return write_with_header(io, path, tensors, n_tensors, metadata, n_metadata, allocator, error);
}
