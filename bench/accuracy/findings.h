/* SPDX-License-Identifier: Apache-2.0 */
/* Findings as JSON, and a reader that follows a log while it is written. */
#ifndef BENCH_ACCURACY_FINDINGS_H
#define BENCH_ACCURACY_FINDINGS_H

#include <backprobe/diagnosis.h>

/* One flat list in the order of output, each with its parent's place in it. false: not written. */
bool findings_write(bp_diagnosis *diagnosis, const char *folder, const char *name);

typedef struct follower follower;
/* run: its folder, borrowed. NULL: no memory. */
follower *follower_open(const char *run);
/* Reads what has come since; it is no failure that there is no log yet. false: it cannot be read.
 */
bool follower_read(follower *f);
/* NULL before there was a log. Borrowed until close. */
bp_diagnosis *follower_diagnosis(follower *f);
/* How often it read something while the run went on. */
int follower_turns(const follower *f);
void follower_close(follower *f);

#endif
