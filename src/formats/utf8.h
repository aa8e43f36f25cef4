/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as JSON demands it. */
#ifndef BP_FORMATS_UTF8_H
#define BP_FORMATS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the character at the front, 1 ... 4; 0 when it is no valid one (cut, overlong, a
 * surrogate, beyond U+10FFFF). */
size_t bp_utf8_length(const uint8_t *bytes, size_t n_bytes);
/* Writes a character below U+110000; returns its length. */
size_t bp_utf8_put(char *bytes, uint32_t character);

#endif
