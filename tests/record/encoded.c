/* SPDX-License-Identifier: Apache-2.0 */
#include "encoded.h"

#include <math.h>
#include <string.h>

uint32_t encoded_draw(uint64_t seed, uint64_t i) {
    const bp_random_key key = {.seed = seed, .purpose = 3};
    uint32_t block[4];
    bp_random_block(&key, i, block);
    return block[0];
}

static double some_value(uint32_t bits) {
    static const double special[] = {0.0, 1.0, 0x1p-200, 1e300};
    if (bits % 11 == 0) return (double)NAN;
    if (bits % 11 == 1) return (double)INFINITY;
    return bits % 11 < 6 ? special[bits % 4] : ldexp(1.0 + bits % 97 / 97.0, (int)(bits % 60) - 30);
}

static void fill(bp_record *record, uint64_t seed) {
    bp_record_clear(record);
    record->step = (int64_t)encoded_draw(seed, 9999);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++) {
        const uint32_t kind =
            encoded_draw(seed, 10000 + q) % 5; /* none, network, layers, all, some */
        for (uint32_t row = 0; row <= ENCODED_LAYERS; row++) {
            const uint32_t bits = encoded_draw(seed, 100 * (uint64_t)q + row);
            const bool has = kind == 3 || (kind == 1 && row == 0) || (kind == 2 && row > 0) ||
                             (kind == 4 && bits >> 16 & 1);
            if (has) bp_record_set(record, (bp_quantity)q, row, some_value(bits));
        }
    }
}

void encoded_start(encoded *b, uint64_t seed) {
    bp_writer writer;
    bp_cursor cursor;
    assert_int_equal(bp_record_init(&b->record, ENCODED_LAYERS, NULL), BP_OK);
    assert_int_equal(bp_record_init(&b->decoded, ENCODED_WIDE, NULL), BP_OK);
    b->bytes = malloc(ENCODED_BYTES);
    assert_non_null(b->bytes);
    fill(&b->record, seed);
    bp_writer_init(&writer, b->bytes, ENCODED_BYTES);
    bp_record_encode(&b->record, &writer);
    assert_false(writer.cut);
    b->length = writer.length;
    uint8_t *shrunk = realloc(b->bytes, b->length); /* a sanitizer sees a byte too many */
    assert_non_null(shrunk);
    b->bytes = shrunk;
    bp_cursor_init(&cursor, b->bytes, b->length);
    assert_int_equal(bp_record_decode(&b->decoded, &cursor, NULL), BP_OK);
}

void encoded_stop(encoded *b) {
    bp_record_finish(&b->record, NULL);
    bp_record_finish(&b->decoded, NULL);
    free(b->bytes);
}
