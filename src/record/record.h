/* SPDX-License-Identifier: Apache-2.0 */
/* Room record: what is said of one step: quantities, their codecs, a step record in memory.
 * Knows no file. Invariant: detectors are fed what decode(encode(record)) gives, so live and replay
 * agree. Called by watch and runlog. */
#ifndef BP_RECORD_RECORD_H
#define BP_RECORD_RECORD_H

#include "base/base.h"
#include <backprobe/record.h>

/* Bytes that an encoded record of so many layers can take at most. */
size_t bp_record_max_bytes(uint32_t n_layers);
/* A writer of bp_record_max_bytes never cuts. */
void bp_record_encode(const bp_record *record, bp_writer *writer);
/* Into a record of the model's n_layers (bp_record_init); one that was written before the network
 * grew has fewer, and nothing is measured of the others. Unknown quantities are skipped by their
 * length; anything else that is not as expected is BP_ERROR_INPUT and leaves the record cleared. */
BP_MUST_USE bp_status bp_record_decode(bp_record *record, bp_cursor *cursor, bp_error *error);
/* The same by a table of bp_log16_fill_table; NULL: none. */
BP_MUST_USE bp_status bp_record_decode_by(const double *table, bp_record *record, bp_cursor *cursor,
                                          bp_error *error);

/* What can be told of an encoded record without its model. */
typedef struct bp_record_glance {
    int64_t step;
    bool non_finite; /* the loss is, or a count of non-finite values is not 0 */
} bp_record_glance;
/* False when it is no record. Allocates nothing; checks less than bp_record_decode. */
BP_MUST_USE bool bp_record_look(bp_record_glance *glance, bp_cursor *cursor);

/* The 16-bit logarithm: 228 codes an octave, 2^-152 ... 2^134, codes for 0, Inf and NaN; smaller
 * and larger magnitudes clamp to the ends. */
uint16_t bp_log16_encode(double value);
double bp_log16_decode(uint16_t code);
/* n codes, little endian, into values. False when one stands for nothing: what is in values then is
 * of no use. */
bool bp_log16_decode_all(double *values, const uint8_t *codes, size_t n);
/* What each of the 65,536 codes stands for; NaN for one that stands for nothing. For who decodes
 * millions and has half a MiB for it. */
#define BP_LOG16_CODES 65536u
void bp_log16_fill_table(double table[BP_LOG16_CODES]);
/* As bp_log16_decode_all, by such a table. */
bool bp_log16_decode_by(const double *table, double *values, const uint8_t *codes, size_t n);

#endif
