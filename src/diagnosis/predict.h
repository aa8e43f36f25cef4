/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_prediction. Signals are described by what holds in the limit of wide layers: the
 * Gram matrix over the samples of a batch, forward of the activations, backward of the error
 * signals (Poole et al. 2016; Schoenholz et al. 2017; Yang et al. 2019 for batch norm). */
#ifndef BP_DIAGNOSIS_PREDICT_H
#define BP_DIAGNOSIS_PREDICT_H

#include "diagnosis/diagnosis.h"
#include "diagnosis/gauss.h"

/* A tensor of the forward pass, or of the backward pass (then k holds inner products of norms). */
typedef struct bp_signal {
    double *k;        /* [n][n] mean over units and places of x_i x_j */
    double *mean;     /* [n] over units and places */
    double near, far; /* mean product of neighbours / of two places, over the mean square */
    double places;    /* height * width of an image; 1 of a vector */
} bp_signal;

/* How the error signal gets back through one normalisation. */
typedef struct bp_norm_map {
    double *matrix;        /* batch norm: E h h^T / (n s^2), [n][n] */
    double *inverse;       /* layer norm: 1 / std of a sample, [n] */
    double inverse_square; /* batch norm: E 1 / s^2 */
} bp_norm_map;

typedef struct bp_station { /* a layer; 0 is the input */
    uint32_t input;         /* the layer that it reads */
    bool known;             /* theory reaches its output */
    bool has_slopes;
    bp_signal out;
    double *slopes; /* [n][n] E phi'_i phi'_j of the activation */
    bp_norm_map norm;
    double weight;           /* sigma_w^2: factor of the error's square through the operator */
    double z_mean, z_square; /* mean over samples: of z's mean and variance */
    double size;             /* mean over samples of |output|^2 */
    bool begins_branch;      /* the first layer of a residual block's branch */
    double aligned;          /* of the error's square, the part along the output itself */
    double passed;           /* trace of the error that this layer hands on to its input */
    double at_activation, at_operator; /* traces behind the activation and behind all */
} bp_station;

struct bp_prediction {
    bp_allocator allocator;
    const bp_model *model; /* NULL after open */
    bp_prediction_input input;
    uint32_t n, n_layers, n_cuts; /* n: samples that are reckoned with */
    double *numbers;              /* all arrays of doubles lie in it */
    size_t n_numbers;
    bp_station *stations;
    bp_layer_prediction *layers;
    bp_gain *gains;           /* [n_cuts + 1], by cut point */
    double *level;            /* [n_cuts + 1] as the diagnosis has it */
    bp_expansion *expansions; /* [n] scratch */
    double *scratch[4];       /* [n][n] */
    uint32_t stopped_at;      /* the first layer that theory does not reach; 0: none */
    bp_prediction_overview overview;
    char verdict[320], not_predicted[320];
};

/* Standard deviations of a layer's parameters as the trainer draws them. */
double bp_predicted_weight_std(const bp_prediction *p, const bp_layer *layer);
double bp_predicted_bias_std(const bp_prediction *p, const bp_layer *layer);

/* --- forward.c, backward.c, batch_norm.c -------------------------------------------------------
 */
void bp_predict_forward(bp_prediction *p);
void bp_predict_backward(bp_prediction *p);
double bp_signal_trace(const bp_prediction *p, const double *k);
/* cov [n][n] of z over the draws: becomes that of the normalised h. */
void bp_batch_norm_forward(bp_prediction *p, bp_norm_map *map, double *cov, bp_signal *signal);
/* error [n][n]: dL/dy becomes dL/dx. */
void bp_batch_norm_backward(bp_prediction *p, const bp_norm_map *map, double *error, bool image);

/* --- depth.c ------------------------------------------------------------------------------------
 */
/* The depth scales of a long stack of one plain layer. */
typedef struct bp_depth_scales {
    double q, correlation;    /* where they settle; NaN: nowhere */
    double forward, backward; /* xi_c = -1 / ln chi_c, xi = 1 / |ln chi_1|; may be Inf */
} bp_depth_scales;
bp_depth_scales bp_depth_scales_of(bp_activation activation, double slope, double sigma_w,
                                   double sigma_b);
/* sigma_w at which a stack of so many of these layers passes the error signal on as it is, from
 * inputs of mean square 1 on; NaN: there is none. */
double bp_critical_sigma(bp_activation activation, double slope, double sigma_b, uint32_t n_layers);

#endif
