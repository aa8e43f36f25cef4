/* SPDX-License-Identifier: Apache-2.0 */
/* A run that is made by hand: the linker hands the report these instead of a diagnosis and a remedy
 * (--wrap), so that its output can be compared byte by byte. */
#ifndef BP_TESTS_REPORT_FIXTURE_H
#define BP_TESTS_REPORT_FIXTURE_H

#include "report/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIXTURE_LAYERS 20u

typedef struct fixture {
    bp_model *model;
    bp_finding findings[BP_N_PROBLEMS];
    uint32_t n_findings;
    bp_diagnosis_overview overview;
    bp_problem unjudged; /* for want of "validation"; 0: none */
    bp_remedy remedy;
    bool has_remedy;
    bp_report_run run;
} fixture;

/* The one that the wrapped functions answer from. */
extern fixture *fixture_now;

/* Twenty layers, a vanishing gradient with a consequence, a remedy of two edits. */
void fixture_open(fixture *f, const char *odd_name);
void fixture_close(fixture *f);
/* Whatever print(out) writes; released with free(). */
char *fixture_printed(void (*print)(FILE *out, void *context), void *context);

#endif
