/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown over time: a quantity as it was recorded, or a number that is derived from several
 * quantities of the same record, row by row. A size of activations, error signals, parameters,
 * gradients or updates is recorded over what was finite, with counts of the rest beside it: here it
 * is NaN where there was a NaN, else Inf where there was an infinite number. */
#ifndef BP_RECORD_SERIES_H
#define BP_RECORD_SERIES_H

#include "model/model.h"
#include "record/column.h"

/* id, name, pinned number, meaning. Elements are log16 codes, rows the layers'. */
#define BP_DERIVED_SERIES(X)                                                                 \
    X(GAIN, "gain", 1000,                                                                    \
      "error signal's norm where the layer begins / where it ends: the chain rule's factor") \
    X(UPDATE_RATIO, "update_ratio", 1001, "rms of the weights' update / rms of the weights") \
    X(DEAD_FRACTION, "dead_fraction", 1002, "dead units / units")                            \
    X(SATURATED_FRACTION, "saturated_fraction", 1003, "saturated units / units")             \
    X(NON_FINITE, "non_finite", 1004,                                                        \
      "NaN and infinite numbers among activations, error signals, gradients and parameters")

/* 0 ... BP_N_QUANTITIES - 1: the quantity of that index. */
#define BP_ENUM_MEMBER_SERIES(id, name, number, meaning) BP_SERIES_##id,
typedef enum bp_series {
    BP_SERIES_LAST_QUANTITY = BP_N_QUANTITIES - 1,
    BP_DERIVED_SERIES(BP_ENUM_MEMBER_SERIES) BP_N_SERIES
} bp_series;

static inline bp_series bp_series_of(bp_quantity quantity) {
    return (bp_series)quantity;
}
const char *bp_series_name(bp_series series);    /* static, NULL outside */
const char *bp_series_meaning(bp_series series); /* static, NULL outside */
uint32_t bp_series_number(bp_series series);     /* pinned; 0 outside */
BP_MUST_USE bool bp_series_find(bp_series *series, const char *name);
/* Rows are layers (row 0 the network's input); else one row, of the network. */
bool bp_series_is_of_layers(bp_series series);
/* Elements are log16 codes; else f64. */
bool bp_series_is_log16(bp_series series);
/* Whether records with these columns (bp_record.columns) can have it. */
bool bp_series_is_in(bp_series series, uint64_t columns);

/* --- of one record --------------------------------------------------------------------------- */

/* A series' sources in an encoded record. */
#define BP_SERIES_SOURCES 8
typedef struct bp_sources {
    bp_series series;
    int64_t step;
    uint32_t n_layers; /* of the record */
    unsigned n;        /* of them that it has */
    bp_column column[BP_SERIES_SOURCES];
} bp_sources;

/* *found is false when the record has none. BP_ERROR_INPUT when the bytes are none.
 */
BP_MUST_USE bp_status bp_sources_find(bp_sources *sources, bool *found, bp_series series,
                                      const uint8_t *bytes, size_t n_bytes);
/* Those of the loss, of a record of the loss alone (bp_column_of_loss). */
void bp_sources_of_loss(bp_sources *sources, int64_t step, const uint8_t *loss);

/* Makes the elements of a series, as bp_column_spread makes those of a quantity. */
typedef struct bp_series_maker {
    bp_series series;
    uint32_t n_rows;
    uint32_t *before; /* gain: the cut point before that of the row; BP_NO_ROW: it is none */
    void *scratch;    /* elements of the sources */
    size_t scratch_bytes;
} bp_series_maker;
#define BP_NO_ROW UINT32_MAX

/* For records of this model, or of what it was before it grew. False: no memory. */
BP_MUST_USE bool bp_series_maker_init(bp_series_maker *maker, bp_series series,
                                      const bp_model *model, const bp_allocator *allocator);
void bp_series_maker_finish(bp_series_maker *maker, const bp_allocator *allocator);
/* maker->n_rows elements. What was not measured makes nothing that is: a row lacks a quotient when
 * it lacks one side, or divides a number by 0, for then there is no such factor. NaN / x, x / NaN
 * and Inf / Inf are NaN, Inf / x is Inf, x / Inf is 0. A sum is of those terms that the row has.
 * False when a value is none, or nothing was measured. */
BP_MUST_USE bool bp_series_make(const bp_series_maker *maker, const bp_sources *sources,
                                void *elements);

#endif
