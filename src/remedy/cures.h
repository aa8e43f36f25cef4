/* SPDX-License-Identifier: Apache-2.0 */
/* What helps against each problem that is not one of the chain of layers as a whole; of this room
 * only. */
#ifndef BP_REMEDY_CURES_H
#define BP_REMEDY_CURES_H

#include "remedy/plan.h"

#define BP_DRAFT_CODE_BYTES 1024

/* A remedy in the making. */
typedef struct bp_draft {
    bp_plan plan;
    bp_text title, reason;
    bp_text code; /* lines of Python beside those of the plan, for a network of PyTorch */
} bp_draft;

/* False where nothing is known to help. */
typedef bool bp_cure(bp_draft *draft, const bp_model *model, const bp_finding *finding);
/* NULL where there is none in the table. */
bp_cure *bp_cure_of(const bp_finding *finding);

bool bp_is_pytorch(const bp_model *model);
/* A lower learning rate by the update ratio that was measured. */
bp_cure bp_cure_learning_rate;

#endif
