/* SPDX-License-Identifier: Apache-2.0 */
/* Gives every file of a corpus to a fuzz target, in a build without a fuzzer: replay FOLDER. */
#include "property.h"

#include <dirent.h>

int main(int argc, char **argv) {
    int n = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "cannot open the corpus\n");
        return 1;
    }
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char path[4096];
        uint8_t *bytes;
        size_t n_bytes;
        bp_error error;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (bp_io_read_file(&bp_io_system, path, 1 << 20, NULL, &bytes, &n_bytes, &error) !=
            BP_OK) {
            fprintf(stderr, "%s\n", error.text);
            return 1;
        }
        uint8_t *exact = malloc(n_bytes ? n_bytes : 1); /* so that a sanitizer sees its end */
        if (!exact) return 1;
        for (size_t i = 0; i < n_bytes; i++) exact[i] = bytes[i];
        LLVMFuzzerTestOneInput(exact, n_bytes);
        free(exact);
        bp_release(NULL, bytes, n_bytes + 1, 1);
        n++;
    }
    closedir(folder);
    printf("%d passed, %d failed\n", n, n == 0);
    return n == 0;
}
