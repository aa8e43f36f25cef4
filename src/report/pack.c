/* SPDX-License-Identifier: Apache-2.0 */
#include "report/pack.h"

#include <stdlib.h>
#include <zlib.h>

static char *base64(const uint8_t *bytes, size_t n_bytes) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((n_bytes + 2) / 3 * 4 + 1), *at = text;
    if (!text) return NULL;
    for (size_t i = 0; i < n_bytes; i += 3) {
        const size_t n = n_bytes - i < 3 ? n_bytes - i : 3;
        const uint32_t bits = (uint32_t)bytes[i] << 16 | (uint32_t)(n > 1 ? bytes[i + 1] : 0) << 8 |
                              (n > 2 ? bytes[i + 2] : 0);
        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = n > 1 ? digits[bits >> 6 & 63] : '=';
        *at++ = n > 2 ? digits[bits & 63] : '=';
    }
    *at = '\0';
    return text;
}

bp_status bp_pack(char **text, const uint8_t *bytes, size_t n_bytes, bp_error *error) {
    uLongf n_packed = compressBound(n_bytes);
    uint8_t *packed = malloc(n_packed);
    *text = NULL;
    if (packed && compress2(packed, &n_packed, bytes, n_bytes, Z_DEFAULT_COMPRESSION) == Z_OK)
        *text = base64(packed, n_packed);
    free(packed);
    return *text ? BP_OK
                 : bp_fail(error, BP_ERROR_MEMORY, "out of memory to pack %zu bytes", n_bytes);
}
