/* SPDX-License-Identifier: Apache-2.0 */
/* Which runs lie below a folder, and what their findings.json says of them. No link is followed,
 * and what lies there is hostile: depth, number and sizes are limited. */
#ifndef BP_SERVER_RUNS_H
#define BP_SERVER_RUNS_H

#include "server/query.h"
#include <backprobe/diagnosis.h>
#include <backprobe/runlog.h>

#define BP_RUNS_MAX_DEPTH 6
#define BP_RUNS_MAX 10000u
#define BP_RUNS_MAX_ENTRIES 200000u
#define BP_SUMMARY_MAX_BYTES ((size_t)4 << 20)
#define BP_LIVE_SECONDS 300.0 /* a log that nobody added to for so long is at rest */

#define BP_CLOSING_SECONDS 5.0

/* A file as it was: when this is the same, so is what it says. */
typedef struct bp_stamp {
    uint64_t device, inode, size;
    double modified; /* seconds since 1970 */
} bp_stamp;

/* As findings.json tells; what it does not say is absent. */
typedef struct bp_run_summary {
    bool known; /* there is one that can be read */
    bp_run_end end;
    int64_t last_step; /* -1: none */
    double loss;       /* NaN when not measured; may be infinite */
    bool has_loss;
    int severity;        /* of the worst open finding; 0: none */
    const char *problem; /* of that one; static, NULL: none */
    uint32_t n_findings; /* roots */
} bp_run_summary;

typedef struct bp_run {
    char id[BP_RUN_ID_BYTES];
    char *path; /* below the folder; "." for the folder itself */
    char *name; /* that people see */
    uint64_t device, inode;
    double modified; /* of the log */
    uint64_t bytes;  /* of the log */
    bool live;
    bp_stamp findings; /* inode 0: there is none */
    bp_run_summary summary;
} bp_run;

typedef struct bp_runs {
    bp_run *list; /* by path */
    uint32_t n, capacity;
    bool cut; /* there are more than the limits allow */
} bp_runs;

/* 64 bits of a path, never the same twice in a list. */
uint64_t bp_run_hash(const char *path);
/* The runs below `folder` (an open folder, called `name`). before: an earlier list, whose summaries
 * are taken over where the file is the same; may be NULL. now: seconds since 1970. */
BP_MUST_USE bp_status bp_runs_scan(bp_runs *runs, int folder, const char *name,
                                   const bp_runs *before, double now, bp_error *error);
void bp_runs_free(bp_runs *runs);
const bp_run *bp_runs_find(const bp_runs *runs, const char *id);
/* Whether pages must ask for the list anew: another run, another state; not just a longer log. */
bool bp_runs_differ(const bp_runs *a, const bp_runs *b);

/* --- summary.c -------------------------------------------------------------------------------- */

/* text: of n bytes, what stands in a findings.json, or pretends to. */
void bp_run_summary_parse(bp_run_summary *summary, const char *text, size_t n_bytes);
/* Of the file findings.json in the open folder; stays as it is when *stamp says so. */
void bp_run_summary_read(bp_run_summary *summary, bp_stamp *stamp, int folder);
/* The list as the page gets it (RunList of web/src/source/types.ts); *text released with free(). */
BP_MUST_USE bp_status bp_runs_json(char **text, const bp_runs *runs, const char *folder,
                                   bp_error *error);

#endif
