/* SPDX-License-Identifier: Apache-2.0 */
/* The operators of a network, forward and backward, one family per file. x is an operator's input,
 * y its output, dx and dy are the derivatives of the loss with respect to them. All arrays are
 * row-major without gaps, one sample a row; n is the number of samples. Nothing is allocated. */
#ifndef BP_TRAINER_OPERATORS_H
#define BP_TRAINER_OPERATORS_H

#include <backprobe/train.h>

/* --- dense.c: y = x W^T + b ----------------------------------------------------------------- */

typedef struct bp_dense_operator {
    int64_t fan_in, fan_out;
    bp_real *weight;          /* [fan_out, fan_in] */
    bp_real *bias;            /* [fan_out]; NULL without */
    bp_real *weight_gradient; /* the same shapes */
    bp_real *bias_gradient;
} bp_dense_operator;
void bp_dense_forward(const bp_dense_operator *dense, int64_t n, const bp_real *x, bp_real *y);
/* dL/dW and dL/db into the gradients. */
void bp_dense_backward_parameters(const bp_dense_operator *dense, int64_t n, const bp_real *x,
                                  const bp_real *dy);
void bp_dense_backward(const bp_dense_operator *dense, int64_t n, const bp_real *dy, bp_real *dx);

/* --- activation.c: a = phi(z) --------------------------------------------------------------- */

typedef struct bp_activation_operator {
    bp_activation kind;
    bp_real slope; /* leaky_relu's below zero */
} bp_activation_operator;
void bp_activation_forward(const bp_activation_operator *activation, int64_t count,
                           const bp_real *z, bp_real *a);
/* error: in dL/da, out dL/dz. */
void bp_activation_backward(const bp_activation_operator *activation, int64_t count,
                            const bp_real *z, const bp_real *a, bp_real *error);

/* --- norm.c: y = gain * (x - mean) / std + bias --------------------------------------------- */

#define BP_NORM_EPSILON 1e-5
#define BP_BATCH_NORM_MOMENTUM 0.1

typedef struct bp_norm_operator {
    bp_norm kind;
    int64_t units;
    bp_real *gain, *bias; /* [units] */
    bp_real *gain_gradient, *bias_gradient;
    bp_real *running_mean, *running_variance; /* [units]; batch norm only */
    bp_real *normalised;                      /* [n, units]: (x - mean) / std, for backward */
    bp_real *inverse_std;                     /* batch norm [units], layer norm [n] */
    bp_real *mean;                            /* [units], batch norm's scratch */
} bp_norm_operator;
/* training: batch norm uses the batch's statistics and moves the running ones, else it uses the
 * running ones and backward is undefined. */
void bp_norm_forward(const bp_norm_operator *norm, bool training, int64_t n, const bp_real *x,
                     bp_real *y);
/* error: in dL/dy, out dL/dx; dL/dgain and dL/dbias into the gradients. */
void bp_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error);

/* --- pool.c: y = mean of x over a window ---------------------------------------------------- */

typedef struct bp_pool_operator {
    int64_t channels, height, width; /* of the output */
    int64_t window_height, window_width;
} bp_pool_operator;
/* The operator for an input sample of this shape: windows over height and width, or over
 * neighbouring units of a vector (units, 1, 1). */
bp_pool_operator bp_pool_of(const int64_t input_shape[3], int64_t window);
void bp_pool_forward(const bp_pool_operator *pool, int64_t n, const bp_real *x, bp_real *y);
void bp_pool_backward(const bp_pool_operator *pool, int64_t n, const bp_real *dy, bp_real *dx);

/* --- residual.c: y = x + scale * branch(x) -------------------------------------------------- */

void bp_residual_forward(bp_real scale, int64_t count, const bp_real *x, const bp_real *branch,
                         bp_real *y);
/* dbranch is written; dy is added to dx (NULL: nobody asks), where the branch's part joins it. */
void bp_residual_backward(bp_real scale, int64_t count, const bp_real *dy, bp_real *dx,
                          bp_real *dbranch);

/* --- loss.c --------------------------------------------------------------------------------- */

/* Sums over the samples; the loss is the sum / terms. */
typedef struct bp_loss_sum {
    double sum;
    int64_t terms;
    int64_t correct; /* samples whose largest output is their class's; 0 without classes */
} bp_loss_sum;
/* y [n, m]; classes [n] (NULL without), targets [n, m] (mse only). dy: dL/dy of the mean loss, NULL
 * when it is not asked for. */
bp_loss_sum bp_loss_of(bp_loss loss, int64_t n, int64_t m, const bp_real *y, const int32_t *classes,
                       const bp_real *targets, bp_real *dy);

/* --- optimiser.c: one update of one parameter ----------------------------------------------- */

/* velocity: NULL without momentum. */
void bp_sgd_update(const bp_recipe *recipe, int64_t count, const bp_real *gradient,
                   bp_real *velocity, bp_real *w);
/* update: 1 at the first one. */
void bp_adam_update(const bp_recipe *recipe, int64_t update, int64_t count, const bp_real *gradient,
                    bp_real *first_moment, bp_real *second_moment, bp_real *w);

/* --- initialise.c --------------------------------------------------------------------------- */

/* What random numbers are drawn for (bp_random_key.purpose). Pinned: they decide every run. */
typedef enum bp_purpose {
    BP_PURPOSE_SHUFFLE = 1,
    BP_PURPOSE_PARAMETER = 16 /* + the parameter's index in the network */
} bp_purpose;
void bp_initialise(const bp_layer *layer, bp_slot slot, uint64_t seed, size_t parameter,
                   int64_t count, bp_real *value);

#endif
