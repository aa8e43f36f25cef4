/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar: one line on stderr, only where that is a terminal. */
#ifndef BP_CLI_PROGRESS_H
#define BP_CLI_PROGRESS_H

#include "cli/session.h"

typedef struct bp_progress {
    bool on;
    bool drawn;  /* the bar stands on the terminal now */
    double last; /* when it was drawn, steady clock */
    int width;
} bp_progress;

bp_progress bp_progress_begin(bool wanted);
/* Draws at most ten times a second. */
void bp_progress_step(bp_progress *progress, const bp_session *session);
/* Takes the bar off, so that a line can be printed; the next step draws it again. */
void bp_progress_clear(bp_progress *progress);

#endif
