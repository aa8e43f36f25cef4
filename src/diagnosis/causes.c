/* SPDX-License-Identifier: Apache-2.0 */
/* Which finding explains which. A consequence is shown beneath its cause, and the cause alone gets
 * a remedy. */
#include "diagnosis/state.h"

typedef bool condition(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect);

/* An explosion drives units into saturation or death, and then nothing flows back. */
static bool came_first(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    (void)d;
    return cause->since_step <= effect->since_step;
}

/* Of several causes of one effect the first that is found and whose condition holds is taken; a
 * problem may only be explained by one that stands before it in no chain of these (no circles). */
static const struct {
    bp_problem cause, effect;
    condition *holds; /* NULL: whenever both are there */
} explanations[] = {
    {BP_PROBLEM_WEIGHTS_TOO_SMALL, BP_PROBLEM_VANISHING_GRADIENT, NULL},
    {BP_PROBLEM_EXPLODING_GRADIENT, BP_PROBLEM_VANISHING_GRADIENT, came_first},
    {BP_PROBLEM_WEIGHTS_TOO_LARGE, BP_PROBLEM_EXPLODING_GRADIENT, NULL},
    {BP_PROBLEM_EXPLODING_GRADIENT, BP_PROBLEM_NON_FINITE, NULL},
    {BP_PROBLEM_WEIGHTS_TOO_LARGE, BP_PROBLEM_NON_FINITE, NULL},
};

bp_problem bp_cause_of(const bp_diagnosis *d, bp_problem problem) {
    for (size_t i = 0; i < sizeof explanations / sizeof *explanations; i++) {
        if (explanations[i].effect != problem) continue;
        const bp_finding_slot *cause = &d->slots[explanations[i].cause];
        if (!cause->exists) continue;
        if (!explanations[i].holds ||
            explanations[i].holds(d, &cause->finding, &d->slots[problem].finding))
            return explanations[i].cause;
    }
    return (bp_problem)0;
}
