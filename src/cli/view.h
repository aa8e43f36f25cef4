/* SPDX-License-Identifier: Apache-2.0 */
/* What people and programs see of a training session while it runs: lines of text or events as JSON
 * on stdout, the progress bar on stderr. */
#ifndef BP_CLI_VIEW_H
#define BP_CLI_VIEW_H

#include "cli/progress.h"
#include "cli/session.h"

#define BP_VIEW_MAX_SHOWN 64

typedef enum bp_view_kind {
    BP_VIEW_TEXT,
    BP_VIEW_JSON,
    BP_VIEW_QUIET,  /* findings only */
    BP_VIEW_SILENT, /* nothing but the progress bar and messages */
    BP_VIEW_MUTE    /* messages */
} bp_view_kind;

typedef struct bp_view {
    bp_view_kind kind;
    bp_report_style style;
    bp_progress progress;
    struct {
        bp_problem problem;
        int64_t since_step;
    } shown[BP_VIEW_MAX_SHOWN]; /* findings that were printed in full */
    uint32_t n_shown;
    const bp_choice *choice; /* of findings; NULL: all */
} bp_view;

bp_view bp_view_begin(bp_view_kind kind, const bp_report_style *style);
bp_session_listener bp_view_listener(bp_view *view);
void bp_view_start(bp_view *view, bp_session *session);
/* After bp_session_save. */
void bp_view_end(bp_view *view, bp_session *session);

#endif
