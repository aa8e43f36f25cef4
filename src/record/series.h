/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown over time: a quantity as it was recorded, or a number that is derived from several
 * quantities of the same record, row by row. */
#ifndef BP_RECORD_SERIES_H
#define BP_RECORD_SERIES_H

#include "record/column.h"

/* id, name, pinned number, sources, meaning. Elements are log16 codes, rows the layers'. */
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

const char *bp_series_name(bp_series series);    /* static, NULL outside */
const char *bp_series_meaning(bp_series series); /* static, NULL outside */
BP_MUST_USE bool bp_series_find(bp_series *series, const char *name);
/* Rows are layers (row 0 the network's input); else one row, of the network. */
bool bp_series_is_of_layers(bp_series series);
/* Elements are log16 codes; else f64. */
bool bp_series_is_log16(bp_series series);
/* Whether records with these columns (bp_record.columns) can have it. */
bool bp_series_is_in(bp_series series, uint64_t columns);

#endif
