/* SPDX-License-Identifier: Apache-2.0 */
/* A text of unknown length: a remedy for ten thousand layers is as long as it must be. */
#include "remedy/plan.h"

#include <stdio.h>
#include <string.h>

void bp_code_finish(bp_code *code) {
    bp_release(&code->allocator, code->bytes, code->capacity, 1);
    code->bytes = NULL;
    code->length = code->capacity = 0;
}

static bool make_room(bp_code *code, size_t n_bytes) {
    if (code->failed) return false;
    if (code->length + n_bytes < code->capacity) return true;
    const size_t wanted = 2 * (code->length + n_bytes) + 256;
    char *bytes =
        code->allocator.resize(code->allocator.context, code->bytes, code->capacity, wanted);
    code->failed = !bytes;
    if (!bytes) return false;
    code->bytes = bytes;
    code->capacity = wanted;
    return true;
}

void bp_code_add(bp_code *code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n < 0 || !make_room(code, (size_t)n)) return;
    va_start(arguments, format);
    vsnprintf(code->bytes + code->length, code->capacity - code->length, format, arguments);
    va_end(arguments);
    code->length += (size_t)n;
}

void bp_code_text(bp_code *code, const char *text) {
    bp_code_add(code, "\"");
    for (const char *at = text; *at; at++) {
        const unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\')
            bp_code_add(code, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            bp_code_add(code, "\\x%02x", c);
        else
            bp_code_add(code, "%c", c);
    }
    bp_code_add(code, "\"");
}
