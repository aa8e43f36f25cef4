/* SPDX-License-Identifier: Apache-2.0 */
/* What was never there to be looked at: the evidence that each problem needs, by quantity. A
 * problem whose evidence is missing is not judged, and nobody should read silence as health. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

typedef bool applies(const bp_diagnosis *d);

static bool has_activation(const bp_diagnosis *d, bp_activation first, bp_activation second,
                           bp_activation third) {
    const uint32_t output = bp_model_output_layer(d->model);
    for (uint32_t id = 1; id < output; id++) {
        const bp_activation activation = bp_model_layer(d->model, id)->activation;
        if (activation == first || activation == second || activation == third) return true;
    }
    return false;
}

static bool may_die(const bp_diagnosis *d) {
    return has_activation(d, BP_ACTIVATION_RELU, BP_ACTIVATION_GELU, BP_ACTIVATION_SILU);
}

static bool may_saturate(const bp_diagnosis *d) {
    return has_activation(d, BP_ACTIVATION_SIGMOID, BP_ACTIVATION_TANH, BP_ACTIVATION_SIGMOID);
}

static bool is_recurrent(const bp_diagnosis *d) {
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (bp_layer_is_recurrent(bp_model_layer(d->model, id))) return true;
    return false;
}

static bool has_targets(const bp_diagnosis *d) {
    return bp_loss_is_judged(d) && bp_model_recipe(d->model)->loss != BP_LOSS_OTHER;
}

#define BIT(quantity) (UINT64_C(1) << BP_Q_##quantity)

/* A problem is judged when one of the quantities was seen; what is missing is told in these words,
 * each once. */
static const struct {
    bp_problem problem;
    uint64_t any_of;
    applies *concerns; /* NULL: every run */
    const char *words;
} needs[] = {
    {BP_PROBLEM_PLATEAU, BIT(LOSS), NULL, "the loss"},
    {BP_PROBLEM_CONSTANT_OUTPUT, BIT(VARIATION), NULL, "spread of the activations over samples"},
    {BP_PROBLEM_INPUT_NOT_NORMALISED, BIT(ACTIVATION_RMS) | BIT(FEATURE_SCALES), NULL, "inputs"},
    {BP_PROBLEM_DEAD_UNITS, BIT(SILENT_UNITS) | BIT(DEAD_UNITS), may_die, "units"},
    {BP_PROBLEM_SATURATED_UNITS, BIT(SATURATED_UNITS), may_saturate, "units"},
    {BP_PROBLEM_SYMMETRIC_UNITS, BIT(DISTINCT_UNITS) | BIT(WEIGHT_SPREAD), NULL, "units"},
    {BP_PROBLEM_FROZEN_PARAMETER, BIT(GRADIENT_RMS) | BIT(MISSING_GRADIENTS), NULL, "gradients"},
    {BP_PROBLEM_LEARNING_RATE_TOO_LOW, BIT(GRADIENT_COSINE), NULL, "directions of gradients"},
    {BP_PROBLEM_STALLED_UPDATE, BIT(STALLED), NULL, "stalled weights"},
    {BP_PROBLEM_LOW_PRECISION_UNDERFLOW,
     BIT(ACTIVATION_PRECISION) | BIT(ERROR_PRECISION) | BIT(PARAMETER_PRECISION), NULL,
     "number formats"},
    {BP_PROBLEM_LABELS_OUT_OF_RANGE, BIT(TARGET_MIN) | BIT(TARGET_MAX), has_targets, "targets"},
    {BP_PROBLEM_OVERFITTING, BIT(VALIDATION_LOSS) | BIT(VALIDATION_ACCURACY), bp_loss_is_judged,
     "validation"},
    {BP_PROBLEM_VANISHING_GRADIENT, BIT(ERROR_THROUGH_TIME), is_recurrent,
     "error signals through time"},
};

bool bp_was_observed(const bp_diagnosis *d, bp_problem problem) {
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i].problem == problem && !(d->seen & needs[i].any_of) &&
            (!needs[i].concerns || needs[i].concerns(d)))
            return false;
    return true;
}

/* Problems that rest on the same evidence as one of the table. */
static bp_problem like(bp_problem problem) {
    static const struct {
        bp_problem problem, as;
    } likes[] = {
        {BP_PROBLEM_MEMORISING, BP_PROBLEM_OVERFITTING},
        {BP_PROBLEM_OVERCONFIDENT, BP_PROBLEM_OVERFITTING},
        {BP_PROBLEM_CONSTANT_INIT, BP_PROBLEM_SYMMETRIC_UNITS},
        {BP_PROBLEM_ZERO_INIT, BP_PROBLEM_SYMMETRIC_UNITS},
        {BP_PROBLEM_UNUSED_PARAMETER, BP_PROBLEM_FROZEN_PARAMETER},
        {BP_PROBLEM_LOW_PRECISION_OVERFLOW, BP_PROBLEM_LOW_PRECISION_UNDERFLOW},
        {BP_PROBLEM_OSCILLATING_LOSS, BP_PROBLEM_PLATEAU},
        {BP_PROBLEM_LOSS_SPIKE, BP_PROBLEM_PLATEAU},
        {BP_PROBLEM_SLOW_CONVERGENCE, BP_PROBLEM_PLATEAU},
        {BP_PROBLEM_UNDERFITTING, BP_PROBLEM_PLATEAU},
    };
    for (size_t i = 0; i < sizeof likes / sizeof *likes; i++)
        if (likes[i].problem == problem) return likes[i].as;
    return problem;
}

/* What is no quantity but a state of the whole. */
static const char *missing_as_a_whole(const bp_diagnosis *d, bp_problem problem) {
    switch (problem) {
    case BP_PROBLEM_VANISHING_GRADIENT:
        if (d->window.n_total < WINDOW_MIN) return "whether layers learn (it takes 20 records)";
        return d->first.measured ? NULL : "error signals over depth";
    case BP_PROBLEM_EXPLODING_GRADIENT:
    case BP_PROBLEM_WEIGHTS_TOO_SMALL:
    case BP_PROBLEM_WEIGHTS_TOO_LARGE:
        return d->first.measured ? NULL : "error signals over depth";
    case BP_PROBLEM_LEARNING_RATE_TOO_HIGH:
    case BP_PROBLEM_LEARNING_RATE_TOO_LOW:
    case BP_PROBLEM_STALLED_UPDATE:
    case BP_PROBLEM_UPDATE_IMBALANCE:
        return d->window.n_total > 0 ? NULL : "updates of the parameters";
    case BP_PROBLEM_RANK_MISMATCH:
        return d->n_ranks > 0 ? NULL : "copies of several processes";
    default:
        return NULL;
    }
}

const char *bp_diagnosis_unjudged(const bp_diagnosis *d, bp_problem problem) {
    if (problem < 1 || problem >= BP_N_PROBLEMS || d->slots[problem].exists) return NULL;
    if (d->history.n_records == 0) return "any step";
    const char *missing = missing_as_a_whole(d, problem);
    if (missing) return missing;
    if (bp_was_observed(d, like(problem))) return NULL;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (needs[i].problem == like(problem)) return needs[i].words;
    return NULL;
}

static void add_once(bp_text *text, const char *words) {
    const char *told = strstr(text->bytes, words);
    if (text->length && told) return;
    bp_text_add(text, "%s%s", text->length ? ", " : "", words);
}

const char *bp_not_observed(const bp_diagnosis *d) {
    bp_text text;
    bp_text_init(&text, d->not_observed, NOT_OBSERVED_BYTES);
    if (d->history.n_records == 0) return "";
    if (!d->first.measured) add_once(&text, "error signals over depth");
    if (d->window.n_total == 0) add_once(&text, "updates of the parameters");
    if (text.length) return d->not_observed; /* light steps alone tell nothing more */
    if (d->window.n_total < WINDOW_MIN && !d->non_finite.seen) {
        add_once(&text, "whether layers learn (it takes 20 records)");
        return d->not_observed;
    }
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (!bp_was_observed(d, needs[i].problem)) add_once(&text, needs[i].words);
    return d->not_observed;
}
