/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as a page holds them: base64 of a zlib stream, which a browser undoes by itself. */
#ifndef BP_REPORT_PACK_H
#define BP_REPORT_PACK_H

#include "base/base.h"

/* *text: NUL-terminated, released with free(). */
BP_MUST_USE bp_status bp_pack(char **text, const uint8_t *bytes, size_t n_bytes, bp_error *error);

#endif
