/* SPDX-License-Identifier: Apache-2.0 */
/* A series of a whole run, as it is drawn: its pyramid, and a view of it. For the formats that have
 * pictures. */
#ifndef BP_REPORT_DRAWN_H
#define BP_REPORT_DRAWN_H

#include "record/series.h"
#include "runlog/pyramid.h"

/* Begin with {0}. */
typedef struct bp_drawn {
    bp_series series;
    bp_pyramid *pyramid;
    bp_view view; /* of the last bp_drawn_view; borrowed until the next, or close */
} bp_drawn;

/* folder: of the run. Nothing is left in it: a pyramid that is kept there is used, else there is
 * one in memory. */
BP_MUST_USE bp_status bp_drawn_open(bp_drawn *drawn, const char *folder, bp_series series,
                                    bp_error *error);
/* Steps first ... last in at most n_columns columns. */
BP_MUST_USE bp_status bp_drawn_view(bp_drawn *drawn, int64_t first, int64_t last,
                                    uint32_t n_columns, bp_error *error);
void bp_drawn_close(bp_drawn *drawn);

/* What a map shows where nothing was asked for: the first of gradients, error signals, … that was
 * measured. columns: a bit for each quantity that records had. BP_N_SERIES: none was. */
bp_series bp_drawn_preferred(uint64_t columns);

/* The most steps that one of its columns holds; 0 when nothing was measured. */
uint64_t bp_drawn_most_steps(const bp_view *view);

#endif
