/* SPDX-License-Identifier: Apache-2.0 */
/* The heat map of a run as a picture for papers: vectors, on white, readable without colours where
 * it matters (NaN is hatched, infinite is crossed). */
#ifndef BP_REPORT_SVG_H
#define BP_REPORT_SVG_H

#include "record/series.h"
#include "report/report.h"
#include "runlog/pyramid.h"

typedef struct bp_svg {
    const bp_report_run *run;
    bp_series series;    /* of layers */
    const bp_view *view; /* of steps first ... last */
    int64_t first, last;
} bp_svg;

/* How many columns a view for it should have at most. */
#define BP_SVG_COLUMNS 320u

BP_MUST_USE bp_status bp_svg_write(FILE *out, const bp_svg *svg, bp_error *error);

#endif
