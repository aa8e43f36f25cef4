/* SPDX-License-Identifier: Apache-2.0 */
/* The characters of a network file: UTF-8 without control characters. */
#ifndef BP_NETFILE_CHARACTERS_H
#define BP_NETFILE_CHARACTERS_H

#include "base/base.h"

/* Bytes of the UTF-8 character at text, 0 when there is none; n_bytes > 0. */
size_t bp_character_bytes(const char *text, size_t n_bytes);
/* True when text is UTF-8 without any control character, tabs and line ends included. */
bool bp_is_printable(const char *text, size_t n_bytes);
/* Refuses the first character that a network file may not hold. */
BP_MUST_USE bp_status bp_check_characters(const char *text, size_t n_bytes, bp_error *error);

#define BP_FOUND_BYTES 64
/* A text from the file in a form that is safe in a message: cut to a readable length, control
 * characters replaced; returns safe. */
const char *bp_safe_text(const char *text, size_t length, char safe[BP_FOUND_BYTES]);

#endif
