/* SPDX-License-Identifier: Apache-2.0 */
/* What people and programs see of a training session while it runs: lines of text or events as JSON
 * on stdout, the progress bar on stderr. */
#ifndef BP_CLI_DISPLAY_H
#define BP_CLI_DISPLAY_H

#include "cli/progress.h"
#include "cli/session.h"

#define BP_DISPLAY_MAX_SHOWN 64

typedef enum bp_display_kind {
    BP_DISPLAY_TEXT,
    BP_DISPLAY_JSON,
    BP_DISPLAY_QUIET,  /* findings only */
    BP_DISPLAY_SILENT, /* nothing but the progress bar and messages */
    BP_DISPLAY_MUTE    /* messages */
} bp_display_kind;

typedef struct bp_display {
    bp_display_kind kind;
    bp_report_style style;
    bp_progress progress;
    struct {
        bp_problem problem;
        int64_t since_step;
    } shown[BP_DISPLAY_MAX_SHOWN]; /* findings that were printed in full */
    uint32_t n_shown;
    const bp_choice *choice; /* of findings; NULL: all */
} bp_display;

bp_display bp_display_begin(bp_display_kind kind, const bp_report_style *style);
bp_session_listener bp_display_listener(bp_display *view);
void bp_display_start(bp_display *view, bp_session *session);
/* After bp_session_save. */
void bp_display_end(bp_display *view, bp_session *session);

#endif
