/* SPDX-License-Identifier: Apache-2.0 */
/* A record of random values, its bytes, and what decoding makes of them for a network that has
 * grown since. */
#ifndef BP_TESTS_RECORD_ENCODED_H
#define BP_TESTS_RECORD_ENCODED_H

#include "record/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ENCODED_LAYERS = 11, ENCODED_WIDE = 13, ENCODED_BYTES = 1 << 16 };

typedef struct encoded {
    bp_record record, decoded; /* of LAYERS and of WIDE layers */
    uint8_t *bytes;
    size_t length;
} encoded;

uint32_t encoded_draw(uint64_t seed, uint64_t i);
void encoded_start(encoded *b, uint64_t seed);
void encoded_stop(encoded *b);

#endif
