/* SPDX-License-Identifier: Apache-2.0 */
/* What bp_array_open makes of files, for npy_against_numpy.py: of each path on standard input one
 * line, "no SENTENCE" or "yes NDIM SIZES... NUMBERS...". An archive's array is named X. */
#include "formats/array.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_array(const bp_array *array) {
    printf("yes %d", (int)array->ndim);
    for (int32_t i = 0; i < array->ndim; i++) printf(" %" PRId64, array->shape[i]);
    for (int64_t i = 0; i < array->count; i++) printf(" %a", bp_array_get(array, i));
    printf("\n");
}

int main(void) {
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        bp_array array;
        bp_error error;
        path[strcspn(path, "\n")] = '\0';
        const char *name = strstr(path, ".npz") ? "X" : NULL;
        if (bp_array_open(&array, &bp_io_system, path, name, NULL, &error) == BP_OK) {
            print_array(&array);
            bp_array_finish(&array);
        } else {
            printf("no %s\n", error.text);
        }
    }
    return 0;
}
