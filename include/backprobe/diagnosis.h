/* SPDX-License-Identifier: Apache-2.0 */
/* Step records in, findings out. The diagnosis takes records, never files or tensors, so a live
 * run, its replay and an imported run give the same findings. */
#ifndef BACKPROBE_DIAGNOSIS_H
#define BACKPROBE_DIAGNOSIS_H

#include <backprobe/model.h>
#include <backprobe/record.h>
#include <math.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The single table of problems: feeds C, JSON, Python, the command line's explain and the docs. */
#define BP_PROBLEMS(X)                                        \
    X(VANISHING_GRADIENT, "vanishing-gradient", 1)            \
    X(EXPLODING_GRADIENT, "exploding-gradient", 2)            \
    X(NON_FINITE, "non-finite", 3)                            \
    X(WEIGHTS_TOO_SMALL, "weights-too-small", 4)              \
    X(WEIGHTS_TOO_LARGE, "weights-too-large", 5)              \
    X(RANK_MISMATCH, "rank-mismatch", 6)                      \
    X(CLIP_TO_ZERO, "clip-to-zero", 7)                        \
    X(DEAD_UNITS, "dead-units", 8)                            \
    X(SATURATED_UNITS, "saturated-units", 9)                  \
    X(SYMMETRIC_UNITS, "symmetric-units", 10)                 \
    X(CONSTANT_INIT, "constant-init", 11)                     \
    X(ZERO_INIT, "zero-init", 12)                             \
    X(LEARNING_RATE_TOO_HIGH, "learning-rate-too-high", 13)   \
    X(LEARNING_RATE_TOO_LOW, "learning-rate-too-low", 14)     \
    X(STALLED_UPDATE, "stalled-update", 15)                   \
    X(OSCILLATING_LOSS, "oscillating-loss", 16)               \
    X(LOSS_SPIKE, "loss-spike", 17)                           \
    X(PLATEAU, "plateau", 18)                                 \
    X(SLOW_CONVERGENCE, "slow-convergence", 19)               \
    X(CONSTANT_OUTPUT, "constant-output", 20)                 \
    X(OVERFITTING, "overfitting", 21)                         \
    X(OVERCONFIDENT, "overconfident", 22)                     \
    X(MEMORISING, "memorising", 23)                           \
    X(UNDERFITTING, "underfitting", 24)                       \
    X(INPUT_NOT_NORMALISED, "input-not-normalised", 25)       \
    X(LABELS_OUT_OF_RANGE, "labels-out-of-range", 26)         \
    X(WRONG_LAST_LAYER, "wrong-last-layer-for-loss", 27)      \
    X(FROZEN_PARAMETER, "frozen-parameter", 28)               \
    X(UNUSED_PARAMETER, "unused-parameter", 29)               \
    X(LOW_PRECISION_UNDERFLOW, "low-precision-underflow", 30) \
    X(LOW_PRECISION_OVERFLOW, "low-precision-overflow", 31)   \
    X(UPDATE_IMBALANCE, "update-imbalance", 32)

#define BP_ENUM_MEMBER_PROBLEM(id, name, number) BP_PROBLEM_##id = number,
typedef enum bp_problem { BP_PROBLEMS(BP_ENUM_MEMBER_PROBLEM) BP_N_PROBLEMS = 33 } bp_problem;

typedef enum bp_severity { BP_HINT = 1, BP_WARNING = 2, BP_ERROR = 3 } bp_severity;

/* A measured number that a finding rests on. layer 0 = the network; value may be NaN or Inf. */
typedef struct bp_evidence {
    const char *name;    /* "error_norm", "backward_span_log", ...; static */
    const char *meaning; /* one line; static */
    uint32_t layer;
    int64_t step; /* at which it was measured */
    double value;
    bool measured;
} bp_evidence;

/* One row of the lecture's table of symptoms, filled with the run's numbers. */
typedef struct bp_symptom {
    const char *exploding; /* the lecture's words; static */
    const char *vanishing;
    const char *measured; /* this run's numbers in one sentence; borrowed like the finding */
    bool speaks_for_exploding;
    bool speaks_for_vanishing;
} bp_symptom;

/* The gain of one layer, s_(l-1) / s_l, at the step that the finding rests on; it is the product
 * of its parts. A part that was not measured is NaN. */
typedef struct bp_gain {
    uint32_t layer;      /* the layer (or the residual sum that ends a block) at a cut point */
    double error_norm;   /* s_l at its output */
    double share;        /* median of this layer's share of learning; NaN when it has none */
    double gain;         /* measured */
    double activation;   /* rms(dL/dz) / rms(dL/da) */
    double norm;         /* through the normalisation */
    double weight;       /* rms(W^T delta) / rms(delta) * sqrt(fan_in / fan_out): norm to norm */
    double alignment;    /* weight / the value that independent weights would give */
    double branch;       /* residual block: error signal through the branch alone / at the sum */
    double contribution; /* share of the whole log gain, 0 ... 1, of either sign */
} bp_gain;

/* Borrowed from the diagnosis until its next step, finish or close. */
typedef struct bp_finding {
    uint32_t struct_size;
    bp_problem problem;
    bp_severity severity;
    int64_t since_step; /* onset */
    int64_t last_step;  /* the last step at which it held */
    bool open;          /* it still holds at the end of what was read */
    uint32_t n_layers;  /* layers concerned, ascending */
    const uint32_t *layers;
    const char *title; /* one sentence, "layers 1-18 of 21 no longer learn" */
    const char *cause; /* why, with measured numbers */
    const char *note;  /* what the evidence cannot tell, or what would not help; may be "" */
    uint32_t n_evidence;
    const bp_evidence *evidence;
    uint32_t n_gains; /* the profile over depth, from the input to the loss */
    const bp_gain *gains;
    uint32_t n_symptoms;
    const bp_symptom *symptoms;
    int32_t parent; /* index of the finding that this one is a consequence of, -1 for a root */
    /* since_step is the best guess; it began no earlier and no later than this. */
    int64_t since_earliest, since_latest;
} bp_finding;

typedef struct bp_diagnosis bp_diagnosis;

/* model: borrowed until close. allocator may be NULL. All memory is taken here. */
BP_API BP_MUST_USE bp_status bp_diagnosis_open(bp_diagnosis **diagnosis, const bp_model *model,
                                               const bp_allocator *allocator, bp_error *error);
BP_API void bp_diagnosis_close(bp_diagnosis *diagnosis);

/* Takes one decoded record. Returns how many findings opened or changed their severity. */
BP_API uint32_t bp_diagnosis_step(bp_diagnosis *diagnosis, const bp_record *record);

/* Roots first, each followed by its consequences. NULL outside. The text is brought up to date. */
BP_API uint32_t bp_diagnosis_n_findings(const bp_diagnosis *diagnosis);
BP_API const bp_finding *bp_diagnosis_finding(bp_diagnosis *diagnosis, uint32_t index);

/* Steps and evidence that were seen: the quiet line of a healthy run needs them. */
typedef struct bp_diagnosis_overview {
    uint64_t n_records;
    int64_t first_step, last_step; /* -1 before the first record */
    double first_loss, last_loss;  /* mean over the first and the last window */
    double best_loss;              /* the lowest window mean */
    double backward_span_log;      /* largest D so far, ln; NaN when never measured */
    const char *not_observed;      /* what would have been looked at and was not there; may be "" */
    uint64_t n_validations;        /* 0: none was told */
    double best_validation; /* the best single one: an accuracy where there is one, else a loss */
    int64_t best_validation_step;
    bool best_is_accuracy;
} bp_diagnosis_overview;
BP_API void bp_diagnosis_overview_of(const bp_diagnosis *diagnosis,
                                     bp_diagnosis_overview *overview);

/* Which evidence the problem needs and was never there: it was not judged, and silence is no health.
 * NULL when it was judged, or concerns no such network. Static. */
BP_API const char *bp_diagnosis_unjudged(const bp_diagnosis *diagnosis, bp_problem problem);

/* The gains over depth of the last record, from the input to the loss; borrowed until the next
 * step. Returns how many; 0 where an error signal at a cut point was not measured, or not finite.
 */
BP_API uint32_t bp_diagnosis_profile(const bp_diagnosis *diagnosis, const bp_gain **gains);

/* --- before training: what theory says of a network as it is initialised ---------------------- */

/* What is known beside the network. Gram matrices are over samples, [n][n], row by row. */
typedef struct bp_prediction_input {
    uint32_t struct_size;
    uint32_t n_samples;       /* 0: no batch is known; inputs of mean square 1, alike by a half */
    const double *inputs;     /* mean over a sample's numbers of x_i x_j */
    const double *means;      /* [n] mean of a sample's numbers */
    const double *errors;     /* inner products of the samples' error signals at the output; NULL:
                                 independent and of one size */
    double near, far;         /* images: mean product of neighbours, and of any two places, / mean
                                 square; NaN not known */
    const double *weight_std; /* [n_layers + 1]: as they are; NULL, NaN: as the initialiser says */
    const double *bias_std;
} bp_prediction_input;

#define BP_PREDICTION_INPUT_INIT            \
    {(uint32_t)sizeof(bp_prediction_input), \
     0,                                     \
     NULL,                                  \
     NULL,                                  \
     NULL,                                  \
     (double)NAN,                           \
     (double)NAN,                           \
     NULL,                                  \
     NULL}

/* Of a layer; NaN is what theory does not say. */
typedef struct bp_layer_prediction {
    uint32_t layer;
    double q;              /* variance of a unit's z over the draws of the weights */
    double chi;            /* sigma_w^2 E phi'^2, the gain's square: plain layers */
    double sigma_w;        /* std of the weights * sqrt(fan_in) */
    double critical_sigma; /* at which chi is 1 */
    double critical_std;   /* the same as a std of these weights */
    double activation_rms; /* of the output */
    double mean;           /* of the output, over units */
    double correlation;    /* of two samples' outputs */
    double variation;      /* spread over samples / size, as BP_Q_VARIATION */
    double forward;        /* factor by which the output's norm differs from the input's */
} bp_layer_prediction;

typedef struct bp_prediction_overview {
    uint32_t n_gains;          /* layers that every path crosses */
    double log_gain;           /* ln of what of the error at the last reaches the first */
    double mean_gain;          /* geometric mean, a layer */
    double span_log;           /* largest rise or fall over depth, ln; as the diagnosis takes it */
    double depth_forward;      /* xi_c: layers in which what sets samples apart falls by e */
    double depth_backward;     /* xi: layers in which the error signal's square changes by e */
    double trainable_layers;   /* 6 times the smaller one (Schoenholz et al. 2017); may be Inf */
    double fluctuation;        /* sum of 1 / width (Hanin 2018): above 1 single draws differ much */
    uint32_t main_layer;       /* of the layers that are most of the network; 0: none is plain */
    bp_problem problem;        /* that is to be expected; 0: none */
    uint32_t blamed_layer;     /* the one that makes it; 0: no single one */
    const char *verdict;       /* a sentence */
    const char *not_predicted; /* where and why theory ends; may be "" */
} bp_prediction_overview;

typedef struct bp_prediction bp_prediction;

/* model: shapes are set; borrowed for the call. input: borrowed for the call, may be NULL. */
BP_API BP_MUST_USE bp_status bp_prediction_open(bp_prediction **prediction, const bp_model *model,
                                                const bp_prediction_input *input,
                                                const bp_allocator *allocator, bp_error *error);
BP_API void bp_prediction_close(bp_prediction *prediction);
/* All borrowed until close. */
BP_API const bp_prediction_overview *bp_prediction_overview_of(const bp_prediction *prediction);
/* Layer 0 (the input) ... n; NULL outside. */
BP_API const bp_layer_prediction *bp_prediction_layer(const bp_prediction *prediction,
                                                      uint32_t layer);
/* As bp_diagnosis_profile, predicted: error signals are relative to the last layer's. Where theory
 * ends the numbers are NaN. */
BP_API uint32_t bp_prediction_profile(const bp_prediction *prediction, const bp_gain **gains);

/* "vanishing-gradient", "error"; static, NULL outside. */
BP_API const char *bp_problem_name(bp_problem problem);
BP_API const char *bp_severity_name(bp_severity severity);
/* The explain page of a problem; static, NULL outside. */
BP_API const char *bp_problem_explanation(bp_problem problem);

#ifdef __cplusplus
}
#endif
#endif
