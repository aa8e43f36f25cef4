/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, one character at a time. */
#include "formats/utf8.h"

size_t bp_utf8_length(const uint8_t *bytes, size_t n_bytes) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (n_bytes == 0) return 0;
    uint8_t lead = bytes[0];
    if (lead < 0x80) return 1;
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc0 || lead >= 0xf8 || length > n_bytes) return 0;
    uint32_t character = lead & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0;
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    if (character < smallest[length] || character > 0x10ffff) return 0;
    return character >= 0xd800 && character < 0xe000 ? 0 : length;
}

size_t bp_utf8_put(char *bytes, uint32_t character) {
    if (character < 0x80) {
        bytes[0] = (char)character;
        return 1;
    }
    size_t length = character >= 0x10000 ? 4 : character >= 0x800 ? 3 : 2;
    for (size_t i = length - 1; i > 0; i--) {
        bytes[i] = (char)(0x80 | (character & 0x3f));
        character >>= 6;
    }
    bytes[0] = (char)((0xf00u >> length & 0xffu) | character);
    return length;
}
