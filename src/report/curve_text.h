/* SPDX-License-Identifier: Apache-2.0 */
/* Losses over steps as a curve of braille dots, or of plain characters. */
#ifndef BP_REPORT_CURVE_TEXT_H
#define BP_REPORT_CURVE_TEXT_H

#include "report/grid.h"

typedef struct bp_curve {
    const bp_view *loss;       /* of one row */
    const bp_view *validation; /* the same; NULL or without values: none was told */
    int lines;                 /* of the curve; 2 at least */
} bp_curve;

/* A line that says what is what, then the curve, within the chart's margin and columns. */
BP_MUST_USE bp_status bp_curve_text(bp_chart *chart, const bp_curve *curve, bp_error *error);

#endif
