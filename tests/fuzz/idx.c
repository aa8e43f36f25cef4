/* SPDX-License-Identifier: Apache-2.0 */
/* IDX begins with a 0; all else is taken for gzip of it. */
#include "array_property.h"

enum { MOST = 1 << 20 };

static void read_plain(const uint8_t *bytes, size_t n_bytes) {
    bp_array array = {.count = 0};
    bp_error error = {.status = BP_OK};
    const bp_status status = bp_idx_read(&array, bytes, n_bytes, &error);
    if (status == BP_OK)
        check_array(&array, bytes, n_bytes);
    else
        check_refusal(status, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    uint8_t *plain = NULL;
    size_t n_plain = 0;
    bp_error error = {.status = BP_OK};
    const bp_allocator *allocator = bp_allocator_or_system(NULL);
    if (n_bytes < 1 || bytes[0] == 0) {
        read_plain(bytes, n_bytes);
        return 0;
    }
    const bp_status status =
        bp_inflate(BP_DEFLATE_GZIP, bytes, n_bytes, MOST, allocator, &plain, &n_plain, &error);
    if (status == BP_OK) {
        PROPERTY(n_plain <= MOST);
        read_plain(plain, n_plain);
        bp_release(allocator, plain, n_plain + 1, 1);
    } else {
        check_refusal(status, &error);
    }
    return 0;
}
