/* SPDX-License-Identifier: Apache-2.0 */
/* NPY, versions 1 to 3: 93 NUMPY, major, minor, header length (u16le, from version 2 on u32le), a
 * Python dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, the elements. The
 * dictionary is parsed as what it must be; nothing is evaluated. */
#include "formats/array.h"

#include <string.h>

#define MAX_HEADER 10000 /* as numpy has it */

typedef struct header {
    const char *text;
    size_t length, at;
} header;

static void skip_space(header *h) {
    while (h->at < h->length && (h->text[h->at] == ' ' || h->text[h->at] == '\n' ||
                                 h->text[h->at] == '\t' || h->text[h->at] == '\r'))
        h->at++;
}

static bool take(header *h, char letter) {
    skip_space(h);
    if (h->at >= h->length || h->text[h->at] != letter) return false;
    h->at++;
    return true;
}

static bool take_word(header *h, const char *word) {
    const size_t n = strlen(word);
    skip_space(h);
    if (h->length - h->at < n || memcmp(h->text + h->at, word, n) != 0) return false;
    h->at += n;
    return true;
}

/* A quoted text without escapes. */
static bool take_text(header *h, char *text, size_t capacity) {
    size_t n = 0;
    skip_space(h);
    if (h->at >= h->length) return false;
    const char quote = h->text[h->at];
    if (quote != '\'' && quote != '"') return false;
    for (h->at++; h->at < h->length && h->text[h->at] != quote; h->at++) {
        if (h->text[h->at] == '\\' || h->text[h->at] < ' ' || n + 1 >= capacity) return false;
        text[n++] = h->text[h->at];
    }
    text[n] = '\0';
    return take(h, quote);
}

/* Decimal, without a zero in front (which Python refuses). */
static bool take_size(header *h, int64_t *size) {
    skip_space(h);
    const size_t start = h->at;
    int64_t value = 0;
    for (; h->at < h->length && h->text[h->at] >= '0' && h->text[h->at] <= '9'; h->at++) {
        if (value > INT64_MAX / 10 - 1) return false;
        value = value * 10 + (h->text[h->at] - '0');
    }
    *size = value;
    const size_t n = h->at - start;
    return n == 1 || (n > 1 && h->text[start] != '0');
}

/* "()", "(3,)", "(3, 4)", "(3, 4,)"; a single number needs its comma, or it is no tuple. */
static bool take_shape(header *h, bp_array *array) {
    bool comma = true;
    if (!take(h, '(')) return false;
    for (array->ndim = 0; !take(h, ')'); array->ndim++) {
        if (!comma || array->ndim == BP_TENSOR_MAX_NDIM) return false;
        if (!take_size(h, &array->shape[array->ndim])) return false;
        comma = take(h, ',');
    }
    return array->ndim != 1 || comma;
}

static bool take_order(header *h, bp_array *array) {
    array->fortran_order = take_word(h, "True");
    return array->fortran_order || take_word(h, "False");
}

/* "<f4": byte order, kind, bytes. */
static bool set_descr(bp_array *array, const char *descr) {
    static const char kinds[] = "uifb";
    const bool has_order = *descr && strchr("<>|=", *descr);
    array->big_endian = *descr == '>';
    if (has_order) descr++;
    const char *kind = *descr ? strchr(kinds, *descr) : NULL;
    if (!kind || strlen(descr) != 2) return false;
    array->type = (bp_number_type[]){BP_NUMBER_UNSIGNED, BP_NUMBER_SIGNED, BP_NUMBER_FLOAT,
                                     BP_NUMBER_BOOL}[kind - kinds];
    array->element_bytes = descr[1] - '0';
    switch (array->element_bytes) {
    case 1:
        return *kind != 'f';
    case 2:
    case 4:
    case 8:
        return *kind != 'b';
    default:
        return false;
    }
}

/* Each of the three keys once, no other. */
static bool take_dictionary(header *h, bp_array *array, char descr[32]) {
    unsigned seen = 0;
    bool comma = true;
    if (h->length == 0 || h->text[0] != '{') return false; /* space before it may be an indent */
    h->at = 1;
    while (!take(h, '}')) {
        char key[32];
        if (!comma || !take_text(h, key, sizeof key) || !take(h, ':')) return false;
        const unsigned bit = strcmp(key, "descr") == 0           ? 1
                             : strcmp(key, "fortran_order") == 0 ? 2
                             : strcmp(key, "shape") == 0         ? 4
                                                                 : 0;
        if (!bit || (seen & bit)) return false;
        seen |= bit;
        if (bit == 1 && !take_text(h, descr, 32)) return false;
        if (bit == 2 && !take_order(h, array)) return false;
        if (bit == 4 && !take_shape(h, array)) return false;
        comma = take(h, ',');
    }
    while (h->at < h->length && h->text[h->at] == ' ') h->at++;
    while (h->at < h->length && h->text[h->at] == '\n')
        h->at++; /* then a space would be an indent */
    return seen == 7 && h->at == h->length;
}

static bp_status find_header(const uint8_t *bytes, size_t n_bytes, header *h, bp_error *error) {
    if (n_bytes < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return bp_fail(error, BP_ERROR_INPUT, "expected an NPY file, which begins with 93 NUMPY");
    const uint8_t major = bytes[6];
    if (major < 1 || major > 3 || bytes[7] != 0)
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED, "NPY version %d.%d, expected 1.0, 2.0 or 3.0",
                       major, bytes[7]);
    const size_t start = major == 1 ? 10 : 12;
    h->length = major == 1 ? bp_get_u16(bytes + 8) : bp_get_u32(bytes + 8);
    if (h->length > MAX_HEADER || h->length > n_bytes - start)
        return bp_fail(error, BP_ERROR_INPUT,
                       "an NPY header of %zu bytes, expected at most %d of the %zu that follow",
                       h->length, MAX_HEADER, n_bytes - start);
    h->text = (const char *)bytes + start;
    return BP_OK;
}

bp_status bp_npy_read(bp_array *array, const uint8_t *bytes, size_t n_bytes, bp_error *error) {
    bp_array read = {.allocator = array->allocator};
    header h = {.at = 0};
    char descr[32] = "";
    const bp_status status = find_header(bytes, n_bytes, &h, error);
    if (status != BP_OK) return status;
    if (!take_dictionary(&h, &read, descr))
        return bp_fail(error, BP_ERROR_INPUT,
                       "the NPY header is not {'descr': '...', 'fortran_order': ..., 'shape': "
                       "(...)} at byte %zu of it",
                       h.at);
    if (!set_descr(&read, descr))
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                       "NPY elements of type '%s', expected integers, floats or bool of 1 to 8 "
                       "bytes",
                       descr);
    read.data = (const uint8_t *)h.text + h.length;
    const size_t left = n_bytes - (size_t)(read.data - bytes);
    if (!bp_array_count(&read) || (uint64_t)read.count * (uint64_t)read.element_bytes > left)
        return bp_fail(error, BP_ERROR_INPUT,
                       "the shape in the NPY header needs more than the %zu bytes that follow",
                       left);
    *array = read;
    return BP_OK;
}
