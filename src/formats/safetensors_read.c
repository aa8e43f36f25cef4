/* SPDX-License-Identifier: Apache-2.0 */
/* Reads safetensors. The header is JSON of one fixed form, so the tokenizer knows only that form:
 * no nesting to bound, and a duplicate key is seen (general JSON readers keep the last one). */
#include "formats/safetensors.h"
#include "formats/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)1 << 36)

typedef struct entry {
    bp_named_tensor named;
    uint64_t begin, end; /* in the data */
    size_t offset;       /* of its name in the file, for messages */
} entry;

typedef struct meta_key {
    const char *text, *value;
    size_t offset;
} meta_key;

struct bp_safetensors {
    bp_allocator allocator;
    uint8_t *owned; /* the file, NULL when the bytes are borrowed */
    size_t n_owned;
    char *names; /* decoded; never longer than the header */
    size_t names_bytes;
    entry *entries;
    size_t n_entries, entries_capacity;
    meta_key *keys; /* of __metadata__ */
    size_t n_keys, keys_capacity;
    const entry **sorted; /* by name */
    size_t n_sorted;
};

typedef struct parser {
    bp_safetensors *file;
    const char *source; /* how messages name the file */
    const uint8_t *text;
    size_t at, length; /* offsets in the file */
    size_t names_used;
    bp_error *error;
} parser;

static bp_status __attribute__((format(printf, 4, 5)))
refuse(const parser *p, bp_status status, size_t offset, const char *format, ...) {
    char sentence[BP_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    bp_fail(p->error, status, "%s: byte %zu: %s", p->source, offset, sentence);
    if (p->error) p->error->offset = (int64_t)offset;
    return status;
}

static bp_status no_memory(const parser *p) {
    return refuse(p, BP_ERROR_MEMORY, p->at, "no memory for the tensors' names and shapes");
}

/* Room for one more in an array that doubles. */
static bool grow(const bp_allocator *allocator, void **array, size_t *capacity, size_t used,
                 size_t size) {
    if (used < *capacity) return true;
    size_t wanted = *capacity ? 2 * *capacity : 16;
    void *moved = allocator->resize(allocator->context, *array, *capacity * size, wanted * size);
    if (!moved) return false;
    *array = moved;
    *capacity = wanted;
    return true;
}

/* --- tokens --------------------------------------------------------------------------------- */

static void skip_space(parser *p) {
    while (p->at < p->length && p->text[p->at] && strchr(" \t\n\r", p->text[p->at])) p->at++;
}

static bool next_is(parser *p, char token) {
    skip_space(p);
    return p->at < p->length && p->text[p->at] == (uint8_t)token;
}

static bool take(parser *p, char token) {
    if (!next_is(p, token)) return false;
    p->at++;
    return true;
}

static bp_status expect(parser *p, const char *what, char token) {
    if (take(p, token)) return BP_OK;
    if (p->at >= p->length)
        return refuse(p, BP_ERROR_INPUT, p->at, "expected %s, found the end of the header", what);
    return refuse(p, BP_ERROR_INPUT, p->at, "expected %s, found byte 0x%02x", what, p->text[p->at]);
}

static bool read_hex(parser *p, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < 4; i++, p->at++) {
        if (p->at >= p->length) return false;
        uint8_t c = p->text[p->at];
        uint32_t digit = c >= '0' && c <= '9'   ? c - (uint32_t)'0'
                         : c >= 'a' && c <= 'f' ? c - (uint32_t)'a' + 10
                         : c >= 'A' && c <= 'F' ? c - (uint32_t)'A' + 10
                                                : 16;
        if (digit == 16) return false;
        *value = *value << 4 | digit;
    }
    return true;
}

/* Behind a backslash. 0 when it is no escape that can stand in a C text. */
static uint32_t read_escape(parser *p) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (p->at >= p->length) return 0;
    uint8_t letter = p->text[p->at++];
    uint32_t character, low;
    if (letter != 'u') {
        const char *found = letter ? strchr(letters, letter) : NULL;
        return found ? (uint32_t)meant[found - letters] : 0;
    }
    if (!read_hex(p, &character)) return 0;
    if (character < 0xd800 || character >= 0xe000) return character;
    bool paired = character < 0xdc00 && p->length - p->at >= 6 && p->text[p->at] == '\\' &&
                  p->text[p->at + 1] == 'u';
    if (!paired) return 0;
    p->at += 2;
    if (!read_hex(p, &low) || low < 0xdc00 || low >= 0xe000) return 0;
    return 0x10000 + ((character - 0xd800) << 10 | (low - 0xdc00));
}

/* Decodes into the unused rest of `names`, which is long enough: a decoded text and its NUL are
 * shorter than the quoted one. The caller keeps it by keep_text, or lets the next one replace it.
 */
static bp_status read_text(parser *p, const char *what, size_t limit, char **text, size_t *length) {
    bp_status status = expect(p, what, '"');
    if (status != BP_OK) return status;
    char *out = p->file->names + p->names_used;
    size_t n = 0, start = p->at - 1;
    for (;;) {
        if (p->at >= p->length)
            return refuse(p, BP_ERROR_INPUT, start, "%s does not end within the header", what);
        uint8_t c = p->text[p->at];
        if (c == '"') break;
        if (c == '\\') {
            size_t place = p->at++;
            uint32_t character = read_escape(p);
            if (!character)
                return refuse(p, BP_ERROR_INPUT, place, "%s has an escape that is no character",
                              what);
            n += bp_utf8_put(out + n, character);
        } else {
            size_t n_bytes = c < 0x20 ? 0 : bp_utf8_length(p->text + p->at, p->length - p->at);
            if (n_bytes == 0)
                return refuse(p, BP_ERROR_INPUT, p->at, "%s has byte 0x%02x, expected UTF-8 text",
                              what, c);
            memcpy(out + n, p->text + p->at, n_bytes);
            n += n_bytes;
            p->at += n_bytes;
        }
        if (n > limit)
            return refuse(p, BP_ERROR_LIMIT, start, "%s is longer than %zu bytes", what, limit);
    }
    p->at++;
    out[n] = '\0';
    *text = out;
    *length = n;
    return BP_OK;
}

static void keep_text(parser *p, size_t length) {
    p->names_used += length + 1;
}

static bp_status read_integer(parser *p, const char *what, uint64_t *value) {
    skip_space(p);
    size_t start = p->at;
    uint64_t result = 0;
    for (; p->at < p->length && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
        uint64_t digit = (uint64_t)(p->text[p->at] - '0');
        if (result > ((uint64_t)INT64_MAX - digit) / 10)
            return refuse(p, BP_ERROR_INPUT, start, "%s is larger than 2^63 - 1", what);
        result = result * 10 + digit;
    }
    if (p->at == start)
        return refuse(p, BP_ERROR_INPUT, start, "expected %s, a whole number", what);
    if (p->text[start] == '0' && p->at - start > 1)
        return refuse(p, BP_ERROR_INPUT, start, "%s has a leading zero", what);
    *value = result;
    return BP_OK;
}

/* --- one tensor's entry --------------------------------------------------------------------- */

static bp_status read_dtype(parser *p, entry *e) {
    static const struct {
        const char *name;
        bp_dtype dtype;
    } known[] = {{"F32", BP_F32}, {"F64", BP_F64}, {"F16", BP_F16}, {"BF16", BP_BF16}};
    char *text;
    size_t length, start = p->at;
    bp_status status = read_text(p, "dtype", 32, &text, &length);
    if (status != BP_OK) return status;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(text, known[i].name) == 0) {
            e->named.tensor.dtype = known[i].dtype;
            return BP_OK;
        }
    return refuse(p, BP_ERROR_NOT_SUPPORTED, start,
                  "tensor \"%s\" has dtype %s, only F32, F64, F16 and BF16 are read", e->named.name,
                  text);
}

static bp_status read_shape(parser *p, entry *e) {
    bp_tensor *tensor = &e->named.tensor;
    bp_status status = expect(p, "the shape, '['", '[');
    if (status != BP_OK || take(p, ']')) return status;
    do {
        if (tensor->ndim == BP_TENSOR_MAX_NDIM)
            return refuse(p, BP_ERROR_LIMIT, p->at, "tensor \"%s\" has more than %d dimensions",
                          e->named.name, BP_TENSOR_MAX_NDIM);
        uint64_t n;
        status = read_integer(p, "a dimension", &n);
        if (status != BP_OK) return status;
        tensor->shape[tensor->ndim++] = (int64_t)n;
    } while (take(p, ','));
    return expect(p, "']' or ',' in the shape", ']');
}

static bp_status read_offsets(parser *p, entry *e) {
    bp_status status = expect(p, "data_offsets, '['", '[');
    if (status == BP_OK) status = read_integer(p, "the first of data_offsets", &e->begin);
    if (status == BP_OK) status = expect(p, "',' between data_offsets", ',');
    if (status == BP_OK) status = read_integer(p, "the second of data_offsets", &e->end);
    if (status == BP_OK) status = expect(p, "']' behind data_offsets", ']');
    return status;
}

/* Strides, and the number of bytes that the shape asks for. False when it overflows. */
static bool lay_out(bp_tensor *tensor, uint64_t *n_bytes) {
    int64_t stride = 1;
    bool empty = false;
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        tensor->stride[i] = stride;
        if (tensor->shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(stride, tensor->shape[i], &stride))
            return false;
    }
    uint64_t count = empty ? 0 : (uint64_t)stride;
    return !__builtin_mul_overflow(count, (uint64_t)bp_dtype_bytes(tensor->dtype), n_bytes);
}

static bp_status check_entry(const parser *p, entry *e) {
    uint64_t wanted, n_bytes = e->end - e->begin;
    if (!lay_out(&e->named.tensor, &wanted))
        return refuse(p, BP_ERROR_INPUT, e->offset, "tensor \"%s\": its shape overflows",
                      e->named.name);
    if (e->end < e->begin)
        return refuse(p, BP_ERROR_INPUT, e->offset,
                      "tensor \"%s\" ends at %" PRIu64 ", before it begins at %" PRIu64,
                      e->named.name, e->end, e->begin);
    if (wanted != n_bytes)
        return refuse(p, BP_ERROR_INPUT, e->offset,
                      "tensor \"%s\": its shape needs %" PRIu64
                      " bytes, data_offsets give %" PRIu64,
                      e->named.name, wanted, n_bytes);
    return BP_OK;
}

static bp_status read_entry(parser *p, entry *e) {
    static const struct {
        const char *name;
        bp_status (*read)(parser *p, entry *e);
    } fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    bool seen[3] = {false, false, false};
    bp_status status = expect(p, "'{' before dtype, shape and data_offsets", '{');
    for (int n = 0; n < 3 && status == BP_OK; n++) {
        if (n > 0) status = expect(p, "',' and the next of dtype, shape and data_offsets", ',');
        char *key;
        size_t length, start = p->at;
        if (status == BP_OK) status = read_text(p, "a field's name", 32, &key, &length);
        if (status != BP_OK) return status;
        size_t i = 0;
        while (i < 3 && strcmp(key, fields[i].name) != 0) i++;
        if (i == 3)
            return refuse(p, BP_ERROR_INPUT, start,
                          "tensor \"%s\" has a field %s, expected dtype, shape or data_offsets",
                          e->named.name, key);
        if (seen[i])
            return refuse(p, BP_ERROR_INPUT, start, "tensor \"%s\" has %s twice", e->named.name,
                          key);
        seen[i] = true;
        status = expect(p, "':'", ':');
        if (status == BP_OK) status = fields[i].read(p, e);
    }
    if (status == BP_OK) status = expect(p, "'}' behind dtype, shape and data_offsets", '}');
    return status == BP_OK ? check_entry(p, e) : status;
}

/* --- the header ----------------------------------------------------------------------------- */

static bp_status read_metadata(parser *p) {
    bp_safetensors *file = p->file;
    bp_status status = expect(p, "'{' of __metadata__", '{');
    if (status != BP_OK || take(p, '}')) return status;
    do {
        char *text;
        size_t length, start = p->at;
        status = read_text(p, "a metadata key", BP_SAFETENSORS_MAX_NAME, &text, &length);
        if (status != BP_OK) return status;
        if (!grow(&file->allocator, (void **)&file->keys, &file->keys_capacity, file->n_keys,
                  sizeof *file->keys))
            return no_memory(p);
        meta_key *key = &file->keys[file->n_keys++];
        *key = (meta_key){text, "", start};
        keep_text(p, length);
        status = expect(p, "':'", ':');
        if (status == BP_OK) status = read_text(p, "a metadata value", SIZE_MAX, &text, &length);
        if (status != BP_OK) return status;
        key->value = text;
        keep_text(p, length);
    } while (take(p, ','));
    return expect(p, "'}' or ',' in __metadata__", '}');
}

static bp_status read_member(parser *p, bool *metadata_seen) {
    bp_safetensors *file = p->file;
    skip_space(p);
    char *name;
    size_t length, start = p->at;
    bp_status status = read_text(p, "a tensor's name", BP_SAFETENSORS_MAX_NAME, &name, &length);
    if (status != BP_OK) return status;
    keep_text(p, length);
    status = expect(p, "':'", ':');
    if (status != BP_OK) return status;
    if (strcmp(name, "__metadata__") == 0) {
        if (*metadata_seen) return refuse(p, BP_ERROR_INPUT, start, "__metadata__ stands twice");
        *metadata_seen = true;
        return read_metadata(p);
    }
    if (!grow(&file->allocator, (void **)&file->entries, &file->entries_capacity, file->n_entries,
              sizeof *file->entries))
        return no_memory(p);
    entry *e = &file->entries[file->n_entries++];
    *e = (entry){.named = {.name = name}, .offset = start};
    return read_entry(p, e);
}

static bp_status read_header(parser *p) {
    bool metadata_seen = false;
    if (p->at >= p->length || p->text[p->at] != '{')
        return refuse(p, BP_ERROR_INPUT, p->at, "the header does not begin with '{'");
    p->at++;
    if (!take(p, '}')) {
        bp_status status;
        do {
            status = read_member(p, &metadata_seen);
            if (status != BP_OK) return status;
        } while (take(p, ','));
        status = expect(p, "'}' or ',' behind a tensor", '}');
        if (status != BP_OK) return status;
    }
    skip_space(p);
    if (p->at < p->length)
        return refuse(p, BP_ERROR_INPUT, p->at, "found 0x%02x behind the header's end",
                      p->text[p->at]);
    return BP_OK;
}

/* --- names and data as a whole -------------------------------------------------------------- */

static int compare_places(const void *a, const void *b) {
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end); /* empty ones first */
}

static int compare_names(const void *a, const void *b) {
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    return strcmp(x->named.name, y->named.name);
}

static int compare_keys(const void *a, const void *b) {
    const meta_key *x = a, *y = b;
    return strcmp(x->text, y->text);
}

static bp_status check_tiling(const parser *p, size_t n_data) {
    const bp_safetensors *file = p->file;
    uint64_t end = 0;
    for (size_t i = 0; i < file->n_entries; i++) {
        const entry *e = file->sorted[i];
        if (e->begin != end)
            return refuse(p, BP_ERROR_INPUT, e->offset,
                          "tensor \"%s\" begins at data byte %" PRIu64
                          ", the one before ends at %" PRIu64 ": %s",
                          e->named.name, e->begin, end, e->begin < end ? "an overlap" : "a hole");
        end = e->end;
    }
    if (end == n_data) return BP_OK;
    return refuse(p, BP_ERROR_INPUT, p->length,
                  "the tensors need %" PRIu64 " bytes of data, the file has %zu", end, n_data);
}

static bp_status check_names(const parser *p) {
    const bp_safetensors *file = p->file;
    for (size_t i = 1; i < file->n_entries; i++)
        if (strcmp(file->sorted[i - 1]->named.name, file->sorted[i]->named.name) == 0)
            return refuse(p, BP_ERROR_INPUT, file->sorted[i]->offset,
                          "the name \"%s\" stands twice", file->sorted[i]->named.name);
    for (size_t i = 1; i < file->n_keys; i++)
        if (strcmp(file->keys[i - 1].text, file->keys[i].text) == 0)
            return refuse(p, BP_ERROR_INPUT, file->keys[i].offset,
                          "the metadata key \"%s\" stands twice", file->keys[i].text);
    return BP_OK;
}

static bp_status check_whole(const parser *p, const uint8_t *data, size_t n_data) {
    bp_safetensors *file = p->file;
    file->sorted = bp_allocate(&file->allocator, file->n_entries, sizeof *file->sorted);
    if (!file->sorted) return no_memory(p);
    file->n_sorted = file->n_entries;
    for (size_t i = 0; i < file->n_entries; i++) file->sorted[i] = &file->entries[i];
    qsort(file->sorted, file->n_entries, sizeof *file->sorted, compare_places);
    bp_status status = check_tiling(p, n_data);
    if (status != BP_OK) return status;
    qsort(file->sorted, file->n_entries, sizeof *file->sorted, compare_names);
    if (file->n_keys) qsort(file->keys, file->n_keys, sizeof *file->keys, compare_keys);
    for (size_t i = 0; i < file->n_entries; i++)
        file->entries[i].named.tensor.data = data + file->entries[i].begin;
    return check_names(p);
}

static bp_status read_all(bp_safetensors *file, const char *source, const uint8_t *bytes,
                          size_t n_bytes, bp_error *error) {
    parser p = {.file = file, .source = source, .text = bytes, .length = n_bytes, .error = error};
    if (n_bytes < 8)
        return refuse(&p, BP_ERROR_INPUT, 0, "expected 8 bytes of header length, found %zu bytes",
                      n_bytes);
    uint64_t n_header = bp_get_u64(bytes);
    if (n_header > BP_SAFETENSORS_MAX_HEADER)
        return refuse(&p, BP_ERROR_LIMIT, 0, "header of %" PRIu64 " bytes, at most %u are allowed",
                      n_header, BP_SAFETENSORS_MAX_HEADER);
    if (n_header > n_bytes - 8)
        return refuse(&p, BP_ERROR_INPUT, 0, "header of %" PRIu64 " bytes, only %zu bytes follow",
                      n_header, n_bytes - 8);
    p.at = 8;
    p.length = 8 + (size_t)n_header;
    file->names_bytes = (size_t)n_header;
    file->names = bp_allocate(&file->allocator, file->names_bytes, 1);
    if (!file->names) return no_memory(&p);
    bp_status status = read_header(&p);
    if (status == BP_OK) status = check_whole(&p, bytes + p.length, n_bytes - p.length);
    return status;
}

/* --- open and close ------------------------------------------------------------------------- */

static bp_safetensors *make(const bp_allocator *allocator) {
    allocator = bp_allocator_or_system(allocator);
    bp_safetensors *file = bp_allocate(allocator, 1, sizeof *file);
    if (file) file->allocator = *allocator;
    return file;
}

bp_status bp_safetensors_open_bytes(bp_safetensors **file, const uint8_t *bytes, size_t n_bytes,
                                    const bp_allocator *allocator, bp_error *error) {
    bp_safetensors *made = make(allocator);
    if (!made) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read safetensors");
    bp_status status = read_all(made, "safetensors", bytes, n_bytes, error);
    if (status != BP_OK) {
        bp_safetensors_close(made);
        return status;
    }
    *file = made;
    return BP_OK;
}

bp_status bp_safetensors_open(bp_safetensors **file, const bp_io *io, const char *path,
                              const bp_allocator *allocator, bp_error *error) {
    bp_safetensors *made = make(allocator);
    if (!made) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", path);
    bp_status status =
        bp_io_read_file(io, path, MAX_FILE, &made->allocator, &made->owned, &made->n_owned, error);
    if (status == BP_OK) status = read_all(made, path, made->owned, made->n_owned, error);
    if (status != BP_OK) {
        bp_safetensors_close(made);
        return status;
    }
    *file = made;
    return BP_OK;
}

void bp_safetensors_close(bp_safetensors *file) {
    if (!file) return;
    bp_allocator allocator = file->allocator;
    if (file->owned) bp_release(&allocator, file->owned, file->n_owned + 1, 1);
    bp_release(&allocator, file->names, file->names_bytes, 1);
    bp_release(&allocator, file->entries, file->entries_capacity, sizeof *file->entries);
    bp_release(&allocator, file->keys, file->keys_capacity, sizeof *file->keys);
    bp_release(&allocator, file->sorted, file->n_sorted, sizeof *file->sorted);
    bp_release(&allocator, file, 1, sizeof *file);
}

size_t bp_safetensors_count(const bp_safetensors *file) {
    return file->n_entries;
}

const bp_named_tensor *bp_safetensors_get(const bp_safetensors *file, size_t index) {
    return index < file->n_entries ? &file->entries[index].named : NULL;
}

const bp_named_tensor *bp_safetensors_find(const bp_safetensors *file, const char *name) {
    const entry wanted = {.named = {.name = name}}, *key = &wanted;
    const entry **found =
        bsearch(&key, file->sorted, file->n_entries, sizeof *file->sorted, compare_names);
    return found ? &(*found)->named : NULL;
}

const char *bp_safetensors_metadata(const bp_safetensors *file, const char *key) {
    for (size_t i = 0; i < file->n_keys; i++)
        if (strcmp(file->keys[i].text, key) == 0) return file->keys[i].value;
    return NULL;
}
