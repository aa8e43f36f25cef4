/* SPDX-License-Identifier: Apache-2.0 */
/* Markdown in the dialect of GitHub: no text from a run is read as markup, as a mention or as a
 * link. */
#ifndef BP_REPORT_MARKDOWN_H
#define BP_REPORT_MARKDOWN_H

#include "record/series.h"
#include "report/report.h"

/* A name between as many backticks as it takes; a bar ends a cell of a table even there. */
void bp_markdown_name(FILE *out, const char *name, bool in_table);
/* " | 1.2e-05", a cell of a table; NaN is "–". */
void bp_markdown_number(FILE *out, double value);
/* text, whose lines all end, as a block of code that nothing in it ends. */
void bp_markdown_fenced(FILE *out, const char *text);

/* --- markdown_pictures.c: what was measured, for those who do not have the run -------------------
 */

typedef struct bp_markdown_pictures {
    const bp_report_run *run;
    const char *folder; /* of the run, whose log is read again */
    uint64_t columns;   /* a bit for each quantity that its records had */
    bp_series series;   /* of the map; BP_N_SERIES: none */
} bp_markdown_pictures;
/* The map and the losses as characters, and the layers as a table. */
BP_MUST_USE bp_status bp_markdown_put_pictures(FILE *out, const bp_markdown_pictures *pictures,
                                               bp_error *error);

#endif
