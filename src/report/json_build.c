/* SPDX-License-Identifier: Apache-2.0 */
/* Values for json-c's documents, and a document as text. */
#include "report/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_object *bp_json_checked(bp_json_builder *b, json_object *value) {
    if (!value) b->failed = true;
    return value;
}

void bp_json_add(bp_json_builder *b, json_object *object, const char *key, json_object *value) {
    if (object && json_object_object_add(object, key, value) == 0) return;
    b->failed = true;
    json_object_put(value);
}

void bp_json_append(bp_json_builder *b, json_object *array, json_object *value) {
    if (array && value && json_object_array_add(array, value) == 0) return;
    b->failed = true;
    json_object_put(value);
}

/* Names come from files: json-c would pass invalid UTF-8 on, and JSON must be UTF-8. */
json_object *bp_json_text(bp_json_builder *b, const char *text) {
    if (!text) return NULL;
    size_t length = strlen(text), n = 0;
    char *clean = malloc(length * 3 + 1); /* a bad byte becomes U+FFFD: 3 bytes */
    if (!clean) return bp_json_checked(b, NULL);
    while (length > 0) {
        bp_glyph glyph = bp_glyph_next(text, length);
        const char *bytes = glyph.escaped ? text : glyph.bytes; /* the serialiser escapes these */
        size_t n_bytes = glyph.escaped ? glyph.n_read : strlen(glyph.bytes);
        memcpy(clean + n, bytes, n_bytes);
        n += n_bytes;
        text += glyph.n_read;
        length -= glyph.n_read;
    }
    clean[n] = '\0';
    json_object *value = json_object_new_string_len(clean, (int)n);
    free(clean);
    return bp_json_checked(b, value);
}

json_object *bp_json_integer(bp_json_builder *b, int64_t value) {
    return bp_json_checked(b, json_object_new_int64(value));
}

json_object *bp_json_count(bp_json_builder *b, uint64_t value) {
    return bp_json_checked(b, json_object_new_uint64(value));
}

json_object *bp_json_boolean(bp_json_builder *b, bool value) {
    return bp_json_checked(b, json_object_new_boolean(value));
}

/* The shortest text that reads back as the same double, whatever the locale. */
json_object *bp_json_number(bp_json_builder *b, double value) {
    char text[40];
    bp_number_exact(text, sizeof text, value);
    if (!isfinite(value)) return bp_json_text(b, text);
    return bp_json_checked(b, json_object_new_double_s(value, text));
}

/* Where NaN means that it was not measured. */
json_object *bp_json_measured(bp_json_builder *b, double value) {
    return isnan(value) ? NULL : bp_json_number(b, value);
}

/* JSON as json-c writes it, and the characters that a terminal would obey escaped: json-c leaves
 * DEL, C1 and formatting characters alone. They can only stand inside strings. */
static char *serialise(json_object *document, bool pretty) {
    int flags = JSON_C_TO_STRING_NOSLASHESCAPE | (pretty ? JSON_C_TO_STRING_PRETTY : 0);
    const char *text = json_object_to_json_string_ext(document, flags);
    size_t left = text ? strlen(text) : 0, n_bytes = 0;
    char *out = NULL;
    FILE *stream = text ? open_memstream(&out, &n_bytes) : NULL;
    if (!stream) return NULL;
    while (left > 0) {
        bp_glyph glyph = bp_glyph_next(text, left);
        if (glyph.escaped && glyph.code >= 0x10000)
            fprintf(stream, "\\u%04x\\u%04x", 0xD7C0u + (glyph.code >> 10),
                    0xDC00u + (glyph.code & 0x3FFu));
        else if (glyph.escaped && glyph.code >= 0x7F)
            fprintf(stream, "\\u%04x", glyph.code);
        else
            fwrite(text, 1, glyph.n_read, stream);
        text += glyph.n_read;
        left -= glyph.n_read;
    }
    fputc('\n', stream);
    if (fclose(stream) == 0) return out;
    free(out);
    return NULL;
}

bp_status bp_json_finish(bp_json_builder *b, json_object *document, bool pretty, char **text,
                         bp_error *error) {
    char *out = b->failed ? NULL : serialise(document, pretty);
    json_object_put(document);
    if (!out) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the findings as JSON");
    *text = out;
    return BP_OK;
}
