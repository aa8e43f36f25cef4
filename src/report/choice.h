/* SPDX-License-Identifier: Apache-2.0 */
/* Which findings are shown and count: those of chosen problems, or of chosen layers. */
#ifndef BP_REPORT_CHOICE_H
#define BP_REPORT_CHOICE_H

#include "base/base.h"
#include "model/model.h"
#include <backprobe/diagnosis.h>

/* PROBLEM or PROBLEM:LAYERS; both are patterns of fnmatch(3), as shells have them. */
typedef struct bp_choice_rule {
    char *problem;
    char *layers; /* NULL: whatever layers; points into problem's text */
    bool ignore;  /* else it selects */
} bp_choice_rule;

/* Begin with {0}: everything is shown. */
typedef struct bp_choice {
    bp_choice_rule *rules;
    size_t n;
} bp_choice;

/* Adds the rules of a text "PROBLEM[:LAYERS],…"; fails where a pattern fits no problem. */
BP_MUST_USE bp_status bp_choice_add(bp_choice *choice, const char *text, bool ignore,
                                    bp_error *error);
void bp_choice_free(bp_choice *choice);
/* A finding is shown when a selecting rule fits it (or there is none) and it is not ignored. A rule
 * with layers selects it where one of its layers fits, and ignores it where all of them are
 * ignored: the text of a finding speaks of all its layers. choice may be NULL. */
bool bp_choice_shows(const bp_choice *choice, const bp_model *model, const bp_finding *finding);

/* The findings of a diagnosis that are shown: roots first, each followed by its consequences, as
 * the diagnosis has them. `parent` counts within the list: a consequence whose cause is not shown
 * hangs under that one's own cause, or is a root. Borrowed from the diagnosis like its findings. */
typedef struct bp_findings {
    uint32_t n, n_ignored;
    bp_finding list[BP_N_PROBLEMS];
} bp_findings;
void bp_findings_choose(bp_findings *findings, bp_diagnosis *diagnosis, const bp_model *model,
                        const bp_choice *choice);
/* Roots are numbered from 1 on, as every picture does; 0: it is a consequence. */
uint32_t bp_findings_number(const bp_findings *findings, uint32_t index);
/* The worst severity of the list; 0 when it is empty. */
int bp_findings_worst(const bp_findings *findings);

#endif
