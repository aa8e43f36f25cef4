/* SPDX-License-Identifier: Apache-2.0 */
#include "array_property.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    bp_array array = {.count = 0};
    bp_error error = {.status = BP_OK};
    const bp_status status = bp_npz_read(&array, bytes, n_bytes, "X", NULL, &error);
    if (status == BP_OK)
        check_array(&array, array.owned, array.n_owned);
    else
        check_refusal(status, &error);
    bp_array_finish(&array);
    return 0;
}
