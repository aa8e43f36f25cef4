/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold for every input; libFuzzer and the replay see abort(). */
#ifndef BP_TESTS_FUZZ_PROPERTY_H
#define BP_TESTS_FUZZ_PROPERTY_H

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

/* The target that a fuzzer, or replay.c, calls. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

#define PROPERTY(holds)                                                                \
    do {                                                                               \
        if (!(holds)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds); \
            abort();                                                                   \
        }                                                                              \
    } while (0)

/* A refusal says why. */
static inline void check_refusal(bp_status status, const bp_error *error) {
    PROPERTY(status == BP_ERROR_INPUT || status == BP_ERROR_NOT_SUPPORTED ||
             status == BP_ERROR_LIMIT || status == BP_ERROR_MEMORY);
    PROPERTY(error->status == status && error->text[0] != '\0');
}

#endif
