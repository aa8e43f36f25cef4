/* SPDX-License-Identifier: Apache-2.0 */
/* A report: the page with runs inside (types.ts: Embedded), one file that opens offline and asks
 * nobody. What is drawn is made coarser, then left out, until the file is as small as it must be.
 */
#ifndef BP_REPORT_HTML_H
#define BP_REPORT_HTML_H

#include "report/report.h"

typedef struct bp_html_run {
    bp_report_run report;
    const char *folder;       /* of the run, whose log is read again for what is drawn */
    uint64_t columns;         /* a bit for each quantity that its records had */
    uint32_t histogram_roles; /* a bit for each role of which there was a histogram */
} bp_html_run;

typedef struct bp_html_options {
    uint64_t max_bytes;                       /* of the whole file */
    void (*told)(void *context, double done); /* 0 ... 1, now and then; or NULL */
    void *context;
} bp_html_options;

typedef struct bp_html {
    char *text; /* NUL-terminated */
    size_t n_bytes;
    char note[480]; /* how it was made smaller; "" when it was not */
} bp_html;

/* BP_ERROR_LIMIT when it cannot be so small, BP_ERROR_STATE when this was built without the page.
 */
BP_MUST_USE bp_status bp_html_make(bp_html *html, const bp_html_run *runs, uint32_t n_runs,
                                   const bp_html_options *options, bp_error *error);
void bp_html_free(bp_html *html);

#endif
