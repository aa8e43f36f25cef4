/* SPDX-License-Identifier: Apache-2.0 */
/* Room diagnosis: streaming symptoms and rules over decoded records -> findings with causes and
 * their text; the gain of each layer; prediction at initialisation. It never sees a file or a
 * tensor. Invariants: bounded memory, taken at open; the same records give the same findings; a
 * non-finite value never enters a sum, and after one nothing else is judged. Called by watch
 * (live), cli and python (replay); remedy uses its predictions. */
#ifndef BP_DIAGNOSIS_DIAGNOSIS_H
#define BP_DIAGNOSIS_DIAGNOSIS_H

#include "model/model.h"
#include "record/record.h"
#include <backprobe/diagnosis.h>

/* --- predict.c: mean-field theory at initialisation ------------------------------------------ */

/* Poole et al. 2016, Schoenholz et al. 2017 (arXiv 1611.01232), by quadrature:
 * q_l = sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2,  chi_l = sigma_w^2 E phi'(sqrt(q) z)^2. */
typedef struct bp_mean_field {
    double q;           /* variance of a unit's z over weights and units */
    double correlation; /* of the z of two samples */
    double gain;        /* sqrt(chi) of the last layer: factor of the error signal's norm */
    double activation;  /* sqrt(E phi'^2), its part of the gain */
    double kurtosis;    /* E phi'^4 / (E phi'^2)^2: spread of the Jacobian (Pennington 2017) */
} bp_mean_field;

/* The state in front of the first layer, for input of mean square 1 and samples correlated so. */
void bp_mean_field_init(bp_mean_field *field, double correlation);
/* Through one plain layer; sigma_w = weight std * sqrt(fan_in), sigma_b = bias std. */
void bp_mean_field_layer(bp_mean_field *field, bp_activation activation, double slope,
                         double sigma_w, double sigma_b);

/* sigma_w at which an activation neither shrinks nor grows signals: 1 for linear, tanh and sigmoid
 * (Glorot & Bengio 2010), sqrt(2/(1+a^2)) for the rectifiers, gelu too (He et al. 2015); for elu,
 * selu, silu and softplus the one that passes the error signal on at z of variance 1. */
double bp_activation_critical_gain(bp_activation activation, double slope);

/* A run of the chain over all plain weighted layers of a model but the output, with another
 * activation, another initialiser, or what they have. */
typedef struct bp_chain_choice {
    bp_activation from;       /* only layers that have this one get another */
    bp_activation activation; /* 0: all keep theirs */
    double slope;
    bp_init init; /* kind 0: each layer's own initialisers */
} bp_chain_choice;
typedef struct bp_chain_prediction {
    double log_gain;   /* sum of ln gain from the last hidden layer to the first */
    double span;       /* largest |partial sum| */
    double mean_gain;  /* geometric mean */
    double variation;  /* sqrt(1 - correlation) at the end / at the input */
    double spread;     /* sum of kurtosis: how unequal the Jacobian's singular values are */
    double saturation; /* smallest activation part / phi' at 0, bounded activations only; else 1 */
    uint32_t n_layers; /* transitions that went into it */
} bp_chain_prediction;
void bp_predict_chain(const bp_model *model, const bp_chain_choice *choice,
                      bp_chain_prediction *prediction);

/* --- what watch calls ------------------------------------------------------------------------- */

/* The same as bp_diagnosis_step with a record that holds nothing but this finite loss. */
void bp_diagnosis_loss(bp_diagnosis *diagnosis, int64_t step, double loss);

/* --- what remedy asks ------------------------------------------------------------------------- */

/* The layers that an exploding or vanishing finding blames, as the evidence "blamed_layer" says:
 * 0 when the cause is uniform over depth. */
uint32_t bp_finding_blamed_layer(const bp_finding *finding);
/* A measured number of the evidence by its name; NaN when it is not there. */
double bp_finding_evidence(const bp_finding *finding, const char *name);

#endif
