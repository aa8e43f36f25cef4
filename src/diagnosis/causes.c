/* SPDX-License-Identifier: Apache-2.0 */
/* Which finding explains which. A consequence is shown beneath its cause, and the cause alone gets
 * a remedy. The graph has no circles whatever the conditions say, so every finding has one root. */
#include "diagnosis/state.h"

#include <math.h>

typedef bool condition(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect);

/* --- conditions --------------------------------------------------------------------------------
 */

static bool came_first(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    (void)d;
    return cause->since_step <= effect->since_step;
}

/* It was still there when the effect began, and is no mere hint. Onsets are known within bounds. */
static bool held(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    (void)d;
    return cause->severity > BP_HINT && cause->since_earliest <= effect->since_latest &&
           (cause->open || cause->last_step >= effect->since_earliest);
}

/* What a run starts with shows at once or not at all. */
static bool at_the_start(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    return cause->severity > BP_HINT &&
           effect->since_earliest <= d->history.first_step + 2 * RUN_UP;
}

/* Units that a long step has killed or driven into saturation are so since. */
static bool killed(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    return came_first(d, cause, effect) || cause->since_earliest <= effect->since_latest;
}

static bool about_then(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    (void)d;
    const int64_t apart = cause->since_step - effect->since_step;
    return cause->severity > BP_HINT && apart <= RUN_UP && apart >= -RUN_UP;
}

/* How a loss wavers is seen over many steps, before it is thrown and after. */
static bool overlaps(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    (void)d;
    return cause->severity > BP_HINT && cause->since_earliest <= effect->last_step &&
           (cause->open || cause->last_step >= effect->since_earliest);
}

static bool made_it_non_finite(const bp_diagnosis *d, const bp_finding *cause,
                               const bp_finding *effect) {
    const int64_t since = effect->since_step;
    return !d->non_finite.is_data && cause->since_step <= since &&
           (cause->open || since - cause->last_step <= (int64_t)WINDOW_MAX);
}

static bool concerns(const bp_finding *finding, uint32_t layer) {
    for (uint32_t i = 0; i < finding->n_layers; i++)
        if (finding->layers[i] == layer) return true;
    return false;
}

/* What does not get past a layer is missing in those before it. */
static bool lies_behind(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    (void)d;
    /* Units are counted over many samples: that they died shows later than that nothing flows. */
    const bool in_time = cause->since_earliest <= effect->since_latest + RUN_UP;
    if (!in_time || cause->severity < BP_WARNING || cause->n_layers == 0 || effect->n_layers == 0)
        return false;
    return cause->layers[cause->n_layers - 1] >= effect->layers[0];
}

static bool same_layers(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    if (!held(d, cause, effect)) return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < effect->n_layers; i++) n += concerns(cause, effect->layers[i]);
    return 2 * n > effect->n_layers;
}

/* What is lost below the format's smallest number is not lost over depth: the fall up to there is
 * less than a candidate's. Of these two each may be the other's cause, never both. */
static bool lost_in_format(const bp_diagnosis *d, const bp_finding *cause,
                           const bp_finding *effect) {
    (void)effect;
    const double layer = bp_finding_evidence(cause, "lost_layer");
    if (!(layer >= 1)) return false;
    const bp_profile *profile = &d->slots[BP_PROBLEM_VANISHING_GRADIENT].profile;
    double largest = 0, smallest = (double)INFINITY;
    for (uint32_t cut = 1; profile->measured && cut <= profile->n_cuts; cut++) {
        const double s = profile->error_norm[cut];
        if (!(s > 0)) continue;
        largest = fmax(largest, s);
        smallest = fmin(smallest, s);
    }
    return !(log(largest / smallest) > LN_SPAN);
}

static bool lost_over_depth(const bp_diagnosis *d, const bp_finding *cause,
                            const bp_finding *effect) {
    return !lost_in_format(d, effect, cause) && held(d, cause, effect);
}

/* The loss stands where a spike has thrown it back to. */
static bool fell_back(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    return came_first(d, cause, effect) && bp_finding_evidence(effect, "fell_back") > 0;
}

/* Steps that are too long make numbers grow from step to step, not over depth. */
static bool over_steps(const bp_diagnosis *d, const bp_finding *cause, const bp_finding *effect) {
    return (d->slots[BP_PROBLEM_EXPLODING_GRADIENT].temporal ||
            bp_finding_evidence(cause, "over_steps") > 0) &&
           came_first(d, cause, effect);
}

/* Weights of full precision do not move because the step is short, not for their format. */
static bool in_full_precision(const bp_diagnosis *d, const bp_finding *cause,
                              const bp_finding *effect) {
    (void)d, (void)cause;
    const double bits = bp_finding_evidence(effect, "precision");
    return !(bits < 24);
}

/* --- the graph ---------------------------------------------------------------------------------
 */

#define EDGE(cause, effect, condition) {BP_PROBLEM_##cause, BP_PROBLEM_##effect, condition}

/* What keeps a network from learning, and so explains how its loss looks. */
#define STOPS_LEARNING(effect)                                                              \
    EDGE(WEIGHTS_TOO_SMALL, effect, held), EDGE(WEIGHTS_TOO_LARGE, effect, held),           \
        EDGE(ZERO_INIT, effect, held), EDGE(CONSTANT_INIT, effect, held),                   \
        EDGE(SYMMETRIC_UNITS, effect, held), EDGE(LABELS_OUT_OF_RANGE, effect, held),       \
        EDGE(WRONG_LAST_LAYER, effect, held), EDGE(INPUT_NOT_NORMALISED, effect, held),     \
        EDGE(CLIP_TO_ZERO, effect, held), EDGE(LOW_PRECISION_UNDERFLOW, effect, held),      \
        EDGE(LOW_PRECISION_OVERFLOW, effect, held), EDGE(EXPLODING_GRADIENT, effect, held), \
        EDGE(VANISHING_GRADIENT, effect, held), EDGE(LEARNING_RATE_TOO_HIGH, effect, held), \
        EDGE(LEARNING_RATE_TOO_LOW, effect, held), EDGE(STALLED_UPDATE, effect, held),      \
        EDGE(DEAD_UNITS, effect, held), EDGE(SATURATED_UNITS, effect, held),                \
        EDGE(FROZEN_PARAMETER, effect, held), EDGE(UNUSED_PARAMETER, effect, held),         \
        EDGE(UPDATE_IMBALANCE, effect, held)

/* Of several causes of one effect the first that is found and whose condition holds is taken. */
static const struct {
    bp_problem cause, effect;
    condition *holds; /* NULL: whenever both are there */
} explanations[] = {
    /* what flows back */
    EDGE(ZERO_INIT, WEIGHTS_TOO_SMALL, held),
    EDGE(CONSTANT_INIT, WEIGHTS_TOO_SMALL, held),
    EDGE(CONSTANT_INIT, WEIGHTS_TOO_LARGE, held),
    EDGE(ZERO_INIT, VANISHING_GRADIENT, held),
    EDGE(CONSTANT_INIT, VANISHING_GRADIENT, held),
    EDGE(SYMMETRIC_UNITS, VANISHING_GRADIENT, held),
    EDGE(WEIGHTS_TOO_SMALL, VANISHING_GRADIENT, NULL),
    EDGE(LOW_PRECISION_UNDERFLOW, VANISHING_GRADIENT, lost_in_format),
    EDGE(DEAD_UNITS, VANISHING_GRADIENT, lies_behind),
    EDGE(SATURATED_UNITS, VANISHING_GRADIENT, lies_behind),
    EDGE(EXPLODING_GRADIENT, VANISHING_GRADIENT, came_first),
    EDGE(LEARNING_RATE_TOO_HIGH, VANISHING_GRADIENT, came_first),
    EDGE(LABELS_OUT_OF_RANGE, VANISHING_GRADIENT, held),
    EDGE(INPUT_NOT_NORMALISED, VANISHING_GRADIENT, at_the_start),
    EDGE(WEIGHTS_TOO_LARGE, EXPLODING_GRADIENT, NULL),
    EDGE(LEARNING_RATE_TOO_HIGH, EXPLODING_GRADIENT, over_steps),
    EDGE(LABELS_OUT_OF_RANGE, EXPLODING_GRADIENT, held),
    EDGE(INPUT_NOT_NORMALISED, EXPLODING_GRADIENT, at_the_start),
    EDGE(CONSTANT_INIT, LEARNING_RATE_TOO_HIGH, at_the_start),
    EDGE(SYMMETRIC_UNITS, LEARNING_RATE_TOO_HIGH, at_the_start),
    EDGE(WEIGHTS_TOO_LARGE, LEARNING_RATE_TOO_HIGH, at_the_start),
    EDGE(LABELS_OUT_OF_RANGE, LEARNING_RATE_TOO_HIGH, held),
    EDGE(INPUT_NOT_NORMALISED, LEARNING_RATE_TOO_HIGH, held),
    /* numbers that end */
    EDGE(LOW_PRECISION_OVERFLOW, NON_FINITE, made_it_non_finite),
    EDGE(EXPLODING_GRADIENT, NON_FINITE, made_it_non_finite),
    EDGE(WEIGHTS_TOO_LARGE, NON_FINITE, made_it_non_finite),
    EDGE(LEARNING_RATE_TOO_HIGH, NON_FINITE, made_it_non_finite),
    EDGE(LABELS_OUT_OF_RANGE, NON_FINITE, made_it_non_finite),
    EDGE(LOSS_SPIKE, NON_FINITE, made_it_non_finite),
    EDGE(EXPLODING_GRADIENT, LOW_PRECISION_OVERFLOW, came_first),
    EDGE(WEIGHTS_TOO_LARGE, LOW_PRECISION_OVERFLOW, came_first),
    EDGE(LEARNING_RATE_TOO_HIGH, LOW_PRECISION_OVERFLOW, came_first),
    EDGE(INPUT_NOT_NORMALISED, LOW_PRECISION_OVERFLOW, at_the_start),
    EDGE(VANISHING_GRADIENT, LOW_PRECISION_UNDERFLOW, lost_over_depth),
    EDGE(WEIGHTS_TOO_SMALL, LOW_PRECISION_UNDERFLOW, held),
    EDGE(LOW_PRECISION_OVERFLOW, CLIP_TO_ZERO, came_first),
    EDGE(EXPLODING_GRADIENT, CLIP_TO_ZERO, came_first),
    EDGE(LEARNING_RATE_TOO_HIGH, CLIP_TO_ZERO, came_first),
    /* units */
    EDGE(ZERO_INIT, SYMMETRIC_UNITS, NULL),
    EDGE(CONSTANT_INIT, SYMMETRIC_UNITS, NULL),
    EDGE(ZERO_INIT, DEAD_UNITS, NULL),
    EDGE(CONSTANT_INIT, DEAD_UNITS, NULL),
    EDGE(SYMMETRIC_UNITS, DEAD_UNITS, held),
    EDGE(CONSTANT_INIT, SATURATED_UNITS, held),
    EDGE(SYMMETRIC_UNITS, SATURATED_UNITS, held),
    EDGE(EXPLODING_GRADIENT, DEAD_UNITS, killed),
    EDGE(LEARNING_RATE_TOO_HIGH, DEAD_UNITS, killed),
    EDGE(WEIGHTS_TOO_LARGE, DEAD_UNITS, came_first),
    EDGE(WEIGHTS_TOO_SMALL, DEAD_UNITS, held),
    EDGE(WRONG_LAST_LAYER, DEAD_UNITS, same_layers),
    EDGE(INPUT_NOT_NORMALISED, DEAD_UNITS, held),
    EDGE(WEIGHTS_TOO_LARGE, SATURATED_UNITS, held),
    EDGE(LABELS_OUT_OF_RANGE, SATURATED_UNITS, held),
    EDGE(EXPLODING_GRADIENT, SATURATED_UNITS, killed),
    EDGE(LEARNING_RATE_TOO_HIGH, SATURATED_UNITS, killed),
    EDGE(INPUT_NOT_NORMALISED, SATURATED_UNITS, held),
    /* updates */
    EDGE(VANISHING_GRADIENT, STALLED_UPDATE, same_layers),
    EDGE(LEARNING_RATE_TOO_HIGH, STALLED_UPDATE, held),
    EDGE(LEARNING_RATE_TOO_LOW, STALLED_UPDATE, in_full_precision),
    EDGE(VANISHING_GRADIENT, UPDATE_IMBALANCE, held),
    EDGE(STALLED_UPDATE, UPDATE_IMBALANCE, same_layers),
    EDGE(INPUT_NOT_NORMALISED, UPDATE_IMBALANCE, held),
    EDGE(SATURATED_UNITS, UPDATE_IMBALANCE, held),
    EDGE(WEIGHTS_TOO_LARGE, UPDATE_IMBALANCE, held),
    EDGE(LEARNING_RATE_TOO_HIGH, UPDATE_IMBALANCE, held),
    EDGE(WRONG_LAST_LAYER, FROZEN_PARAMETER, held),
    EDGE(ZERO_INIT, FROZEN_PARAMETER, NULL),
    EDGE(CONSTANT_INIT, FROZEN_PARAMETER, held),
    EDGE(DEAD_UNITS, FROZEN_PARAMETER, lies_behind),
    EDGE(SATURATED_UNITS, FROZEN_PARAMETER, lies_behind),
    EDGE(VANISHING_GRADIENT, FROZEN_PARAMETER, same_layers),
    EDGE(CLIP_TO_ZERO, FROZEN_PARAMETER, held),
    EDGE(LOW_PRECISION_UNDERFLOW, FROZEN_PARAMETER, held),
    /* how the loss looks */
    EDGE(EXPLODING_GRADIENT, LOSS_SPIKE, killed),
    EDGE(LEARNING_RATE_TOO_HIGH, LOSS_SPIKE, killed),
    EDGE(LOW_PRECISION_OVERFLOW, LOSS_SPIKE, held),
    EDGE(DEAD_UNITS, LOSS_SPIKE, about_then),
    EDGE(SATURATED_UNITS, LOSS_SPIKE, about_then),
    EDGE(INPUT_NOT_NORMALISED, LOSS_SPIKE, at_the_start),
    EDGE(EXPLODING_GRADIENT, OSCILLATING_LOSS, killed),
    EDGE(LEARNING_RATE_TOO_HIGH, OSCILLATING_LOSS, overlaps),
    EDGE(LABELS_OUT_OF_RANGE, OSCILLATING_LOSS, held),
    EDGE(INPUT_NOT_NORMALISED, OSCILLATING_LOSS, held),
    STOPS_LEARNING(CONSTANT_OUTPUT),
    STOPS_LEARNING(PLATEAU),
    EDGE(CONSTANT_OUTPUT, PLATEAU, NULL),
    EDGE(LOSS_SPIKE, PLATEAU, fell_back),
    STOPS_LEARNING(SLOW_CONVERGENCE),
    EDGE(OSCILLATING_LOSS, SLOW_CONVERGENCE, held),
    EDGE(PLATEAU, SLOW_CONVERGENCE, NULL),
    STOPS_LEARNING(UNDERFITTING),
    EDGE(CONSTANT_OUTPUT, UNDERFITTING, NULL),
    EDGE(OSCILLATING_LOSS, UNDERFITTING, held),
    EDGE(PLATEAU, UNDERFITTING, NULL),
    EDGE(SLOW_CONVERGENCE, UNDERFITTING, NULL),
    /* training against validation */
    EDGE(OVERFITTING, OVERCONFIDENT, NULL),
    EDGE(OVERFITTING, MEMORISING, came_first),
    EDGE(MEMORISING, OVERCONFIDENT, NULL),
};
#define N_EXPLANATIONS (sizeof explanations / sizeof *explanations)

bool bp_may_explain(bp_problem cause, bp_problem effect) {
    for (size_t i = 0; i < N_EXPLANATIONS; i++)
        if (explanations[i].cause == cause && explanations[i].effect == effect) return true;
    return false;
}

bp_problem bp_cause_of(const bp_diagnosis *d, bp_problem problem) {
    for (size_t i = 0; i < N_EXPLANATIONS; i++) {
        if (explanations[i].effect != problem) continue;
        const bp_finding_slot *cause = &d->slots[explanations[i].cause];
        if (!cause->exists) continue;
        if (!explanations[i].holds ||
            explanations[i].holds(d, &cause->finding, &d->slots[problem].finding))
            return explanations[i].cause;
    }
    return (bp_problem)0;
}
