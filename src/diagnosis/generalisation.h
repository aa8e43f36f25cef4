/* SPDX-License-Identifier: Apache-2.0 */
/* What the validation set says: overfitting, overconfidence, memorising. */
#ifndef BP_DIAGNOSIS_GENERALISATION_H
#define BP_DIAGNOSIS_GENERALISATION_H

#include "diagnosis/curve.h"
#include "diagnosis/diagnosis.h"

/* One metric of the validation set, turned so that lower is better (an accuracy counts as minus
 * itself), and beside each evaluation the mean training loss since the one before. */
typedef struct bp_metric_history {
    bp_curve value, train;
    uint64_t n; /* evaluations */
    double first, best;
    int64_t first_step, best_step;
    double train_sum;
    uint64_t n_train;
    double last_train;
    uint64_t judged_at; /* n when last judged: after many evaluations not each is */
} bp_metric_history;

/* A metric that is worse than it was: over its last k entries, by more than limit. */
typedef struct bp_decline {
    bool holds;
    double best, now, noise, limit, improvement;
    double train_best, train_now; /* training loss around the best, and now */
    int64_t best_step, earliest, latest, from;
    uint32_t n_worse; /* evaluations */
} bp_decline;

typedef struct bp_generalisation {
    bp_metric_history loss, accuracy;
    bp_decline by_loss, by_accuracy;
} bp_generalisation;

/* Every finite training loss. */
void bp_generalisation_note(bp_generalisation *g, double loss);
void bp_generalisation_overview(const bp_generalisation *g, bp_diagnosis_overview *overview);
/* The run goes on from an earlier state. */
void bp_generalisation_rewind(bp_generalisation *g, int64_t step);

#endif
