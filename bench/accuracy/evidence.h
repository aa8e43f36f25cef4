/* SPDX-License-Identifier: Apache-2.0 */
/* An observer between trainer and watch: hands everything on, and writes beside the log what the
 * rules of other tools need, from the tensors themselves. */
#ifndef BENCH_ACCURACY_EVIDENCE_H
#define BENCH_ACCURACY_EVIDENCE_H

#include <backprobe/model.h>
#include <backprobe/observe.h>
#include <stdio.h>

typedef struct evidence evidence;

/* watch: borrowed. Each `every`-th step becomes a line of `file`, which the caller closes. NULL: no
 * memory. */
evidence *evidence_open(const bp_model *model, const bp_observer *watch, FILE *file, int64_t every);
void evidence_close(evidence *e);
const bp_observer *evidence_observer(evidence *e); /* borrowed until close */

/* A JSON number: NaN and Inf as Python reads them. */
void evidence_number(FILE *file, double value);

#endif
