/* SPDX-License-Identifier: Apache-2.0 */
#include "array_property.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    bp_array array = {.count = 0};
    bp_error error = {.status = BP_OK};
    const bp_status status = bp_npy_read(&array, bytes, n_bytes, &error);
    if (status == BP_OK)
        check_array(&array, bytes, n_bytes);
    else
        check_refusal(status, &error);
    return 0;
}
