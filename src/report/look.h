/* SPDX-License-Identifier: Apache-2.0 */
/* A run as a picture of characters: its map with the findings on it, the axis, its losses. */
#ifndef BP_REPORT_LOOK_H
#define BP_REPORT_LOOK_H

#include "report/chart.h"
#include "report/drawn.h"

typedef struct bp_look {
    const bp_report_run *run;
    bp_drawn *map;               /* NULL: nothing was measured yet that could be shown */
    bp_drawn *loss, *validation; /* as opened; without values they are left out */
    bool largest;                /* of a column, else the mean */
    int lines;                   /* of the whole, if that is possible at all */
} bp_look;

/* Map, axis and curves over the chart's steps; in so many lines, or few more than that. Sets the
 * chart's margin and columns. */
BP_MUST_USE bp_status bp_look_picture(bp_chart *chart, const bp_look *look,
                                      const bp_findings *findings, bp_error *error);
/* A line for each finding, with the number that it has on the map. */
void bp_look_headlines(const bp_chart *chart, const bp_findings *findings);
/* The overview above it, the findings' headlines with their numbers below. */
BP_MUST_USE bp_status bp_look_text(bp_chart *chart, const bp_look *look, bp_error *error);

#endif
