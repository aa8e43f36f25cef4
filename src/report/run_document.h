/* SPDX-License-Identifier: Apache-2.0 */
/* What the page is told of a run: schema backprobe.run/1 (docs/page.md). The findings are in it as
 * backprobe.findings/1. */
#ifndef BP_REPORT_RUN_DOCUMENT_H
#define BP_REPORT_RUN_DOCUMENT_H

#include "report/report.h"

typedef struct bp_run_facts {
    const char *id;           /* an identifier, never a path */
    bool live;                /* its log may still grow */
    double read_fraction;     /* share of the log that the findings rest on, 0 ... 1 */
    uint64_t columns;         /* bp_replay.columns: which series there are */
    uint32_t view_columns;    /* an embedded run: at most so many columns a tile; 0: as asked */
    uint32_t histogram_roles; /* bp_replay.histogram_roles */
} bp_run_facts;

/* What the page calls a bp_role of which there may be histograms: "gradient", ... */
const char *bp_histogram_role_name(uint32_t role); /* static; NULL: there are none of it */
BP_MUST_USE bool bp_histogram_role_find(uint32_t *role, const char *name);

/* One line and a newline; *text is released with free(). Its name is run->name. */
BP_MUST_USE bp_status bp_run_document(char **text, const bp_report_run *run,
                                      const bp_run_facts *facts, bp_error *error);

#endif
