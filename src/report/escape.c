/* SPDX-License-Identifier: Apache-2.0 */
/* What may be shown of a text that came from a file. A terminal obeys control characters (C0, DEL,
 * and C1 written as UTF-8); bidirectional controls make a line read other than it is. */
#include "report/report.h"

#include <string.h>

/* Length of the well-formed UTF-8 sequence at text, 0 when there is none (Unicode table 3-7). */
static size_t utf8_decode(const uint8_t *text, size_t n_bytes, uint32_t *code) {
    uint8_t first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length == 0 || first > 0xF4 || length > n_bytes) return 0;
    if (length == 1) {
        *code = first;
        return 1;
    }
    uint32_t value = first & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (text[i] & 0x3Fu);
    }
    bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
    bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    if (overlong || surrogate || value > 0x10FFFF) return 0;
    *code = value;
    return length;
}

static bool is_unsafe(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xAD || code == 0x61C ||
           (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF || code >= 0xE0000;
}

static int columns_of(uint32_t code) {
    if ((code >= 0x300 && code < 0x370) || (code >= 0xFE00 && code < 0xFE10)) return 0;
    bool wide = (code >= 0x1100 && code < 0x1160) || (code >= 0x2E80 && code < 0xA4D0) ||
                (code >= 0xAC00 && code < 0xD7A4) || (code >= 0xF900 && code < 0xFB00) ||
                (code >= 0xFE30 && code < 0xFE70) || (code >= 0xFF00 && code < 0xFF61) ||
                (code >= 0xFFE0 && code < 0xFFE7) || (code >= 0x1F300 && code < 0x1FB00) ||
                (code >= 0x20000 && code < 0x40000);
    return wide ? 2 : 1;
}

bp_glyph bp_glyph_next(const char *text, size_t n_bytes) {
    bp_glyph glyph = {.n_read = 1, .code = 0xFFFD, .columns = 1};
    size_t length = utf8_decode((const uint8_t *)text, n_bytes, &glyph.code);
    if (length == 0) {
        memcpy(glyph.bytes, "\xEF\xBF\xBD", 3);
        return glyph;
    }
    glyph.n_read = length;
    glyph.escaped = is_unsafe(glyph.code);
    if (!glyph.escaped) {
        memcpy(glyph.bytes, text, length);
        glyph.columns = columns_of(glyph.code);
        return glyph;
    }
    const char *format = glyph.code < 0x80 ? "\\x%02x" : "\\u%04x";
    glyph.columns =
        snprintf(glyph.bytes, sizeof glyph.bytes, format, (unsigned)glyph.code); /* 4 ... 8 */
    return glyph;
}

void bp_report_escaped(FILE *out, const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        bp_glyph glyph = bp_glyph_next(text, left);
        fputs(glyph.bytes, out);
        text += glyph.n_read;
        left -= glyph.n_read;
    }
}

void bp_report_xml(FILE *out, const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        const bp_glyph glyph = bp_glyph_next(text, left);
        text += glyph.n_read;
        left -= glyph.n_read;
        switch (glyph.code) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case 0xFFFE:
        case 0xFFFF:
            fprintf(out, "\\u%04x", glyph.code);
            break;
        default:
            fputs(glyph.bytes, out);
        }
    }
}
