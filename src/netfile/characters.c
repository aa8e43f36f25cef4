/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes a network file may consist of, checked before libyaml sees them: its own message for
 * a bad byte has no line, and other line separators than CR and LF would let our line ends differ
 * from its. */
#include "netfile/characters.h"

#include <string.h>

size_t bp_character_bytes(const char *text, size_t n_bytes) {
    const uint8_t *bytes = (const uint8_t *)text;
    size_t wanted = 1;
    if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4)
        wanted = 4;
    else if (bytes[0] >= 0xe0 && bytes[0] < 0xf0)
        wanted = 3;
    else if (bytes[0] >= 0xc2 && bytes[0] < 0xe0)
        wanted = 2;
    else if (bytes[0] >= 0x80)
        return 0;
    if (wanted > n_bytes) return 0;
    for (size_t i = 1; i < wanted; i++)
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    const bool overlong =
        (bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xf0 && bytes[1] < 0x90);
    const bool surrogate = bytes[0] == 0xed && bytes[1] >= 0xa0;
    const bool too_large = bytes[0] == 0xf4 && bytes[1] >= 0x90;
    return overlong || surrogate || too_large ? 0 : wanted;
}

static uint32_t code_point(const char *text, size_t n_bytes) {
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (uint8_t)text[0] & masks[n_bytes];
    for (size_t i = 1; i < n_bytes; i++) code = code << 6 | ((uint8_t)text[i] & 0x3fu);
    return code;
}

/* Control characters, the separators NEL, LS and PS, and the byte order mark. */
static bool is_refused(uint32_t code) {
    if (code == '\t' || code == '\n' || code == '\r') return false;
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || code == 0xfffe || code == 0xffff;
}

bool bp_is_printable(const char *text, size_t n_bytes) {
    for (size_t at = 0; at < n_bytes;) {
        const size_t width = bp_character_bytes(text + at, n_bytes - at);
        if (width == 0 || (uint8_t)text[at] < 0x20 || is_refused(code_point(text + at, width)))
            return false;
        at += width;
    }
    return true;
}

bp_status bp_check_characters(const char *text, size_t n_bytes, bp_error *error) {
    int32_t line = 1, column = 1;
    for (size_t at = 0; at < n_bytes;) {
        const size_t width = bp_character_bytes(text + at, n_bytes - at);
        if (width == 0)
            return bp_fail_at(error, line, column, "the byte 0x%02x is not UTF-8 text here",
                              (unsigned)(uint8_t)text[at]);
        const uint32_t code = code_point(text + at, width);
        if (code == 0) return bp_fail_at(error, line, column, "a NUL byte; a network file is text");
        if (is_refused(code))
            return bp_fail_at(error, line, column, "the control character U+%04X is not allowed",
                              (unsigned)code);
        at += width;
        column++;
        if (code == '\n' || (code == '\r' && (at == n_bytes || text[at] != '\n'))) {
            line++;
            column = 1;
        }
    }
    return BP_OK;
}

const char *bp_safe_text(const char *text, size_t length, char safe[BP_FOUND_BYTES]) {
    const size_t limit = BP_FOUND_BYTES - 8; /* room for quotes, dots and NUL */
    size_t at = 0, out = 0;
    while (at < length) {
        const size_t width = bp_character_bytes(text + at, length - at);
        const size_t taken = width ? width : 1;
        if (out + taken > limit) break;
        if (bp_is_printable(text + at, taken)) {
            memcpy(safe + out, text + at, taken);
            out += taken;
        } else {
            safe[out++] = '?';
        }
        at += taken;
    }
    memcpy(safe + out, at < length ? "..." : "", at < length ? 4 : 1);
    return safe;
}
