/* SPDX-License-Identifier: Apache-2.0 */
/* The heat map of layers over steps as text. Never by colour alone: without colours the height of a
 * bar tells; NaN is N, infinite I, zero 0, and what was not measured is blank. */
#ifndef BP_REPORT_MAP_TEXT_H
#define BP_REPORT_MAP_TEXT_H

#include "report/grid.h"

typedef struct bp_map {
    const bp_view *view; /* of the chart's steps */
    bp_series series;
    bool largest; /* of a column, else the mean */
    const bp_model *model;
    const bp_findings *findings; /* roots are marked by their numbers; NULL: none */
    int lines;                   /* at most so many for the layers; 1 at least */
} bp_map;

/* Title, legend, a line of marks where there are findings, the layers; the axis is not among them.
 * Sets the chart's margin and columns for what follows beneath. */
BP_MUST_USE bp_status bp_map_text(bp_chart *chart, const bp_map *map, bp_error *error);
/* How many lines that takes beside those of the layers. */
int bp_map_text_head(const bp_map *map);

#endif
