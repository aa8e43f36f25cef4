/* SPDX-License-Identifier: Apache-2.0 */
/* The operators of a network, forward and backward, one family per file. x is an operator's input,
 * y its output, dx and dy are the derivatives of the loss with respect to them. All arrays are
 * row-major without gaps, one sample a row; n is the number of samples. Nothing is allocated. */
#ifndef BP_TRAINER_OPERATORS_H
#define BP_TRAINER_OPERATORS_H

#include "model/model.h"
#include "trainer/arena.h"
#include <backprobe/train.h>

/* --- operator.c: what the layers with an operator of their own have in common ------------------
 */

/* What a pass through the network knows besides the numbers. */
typedef struct bp_pass {
    bool training;        /* else evaluation: nothing is dropped, norms use what they have run */
    uint64_t seed;        /* of the run */
    int64_t step;         /* optimiser updates done before */
    int64_t first_sample; /* place of the first row in the step's batch: other processes may have
                             rows before it */
} bp_pass;

/* A parameter's shape: a matrix, a vector (columns 0), or none (rows 0). */
typedef struct bp_form {
    int64_t rows, columns;
} bp_form;

#define BP_OPERATOR_BUFFERS 12
typedef struct bp_operator bp_operator;
typedef struct bp_operator_class {
    /* Fills in the forms of the parameters that the layer has; NULL: it has none. */
    void (*parameters)(const bp_layer *layer, bp_form forms[BP_N_SLOTS]);
    /* Takes its buffers from the arena (which may be measuring: bp_arena_take); `rows` samples at
     * most in a forward pass, `batch` in a training step. NULL: it needs none. */
    void (*lay_out)(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena);
    void (*forward)(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y);
    /* After a forward pass of training with the same x and y. Parameters' gradients are written
     * where `trained`, dx where it is not NULL. */
    void (*backward)(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx);
} bp_operator_class;

struct bp_operator {
    const bp_operator_class *class; /* NULL: the layer has none and passes x on */
    const bp_layer *layer;
    int64_t in_shape[3], out_shape[3];    /* of a sample */
    int64_t in, out;                      /* their elements */
    bp_real *value[BP_N_SLOTS];           /* NULL where it has no such parameter */
    bp_real *gradient[BP_N_SLOTS];        /* the same shapes */
    bp_real *buffer[BP_OPERATOR_BUFFERS]; /* by lay_out; each family's file says what they hold */
    int32_t *places;                      /* the same, for indices */
};

/* The operator of a layer, without parameters and buffers. */
bp_operator bp_operator_of(const bp_layer *layer, const int64_t in_shape[3]);

extern const bp_operator_class bp_recurrent_class; /* recurrent.c: rnn, gru, lstm */
extern const bp_operator_class bp_dense_class;     /* dense.c: y = x W^T + b */
extern const bp_operator_class bp_conv_class;      /* conv.c: y = weight * x + bias over places */
extern const bp_operator_class bp_avg_pool_class;  /* pool.c: y = mean of x over a window */
extern const bp_operator_class bp_max_pool_class;  /* its maximum */
extern const bp_operator_class bp_global_avg_pool_class; /* mean of a whole channel */
extern const bp_operator_class bp_dropout_class;         /* dropout.c: y = x * random factor */
extern const bp_operator_class bp_embedding_class;       /* embedding.c: y = row x of a table */

/* --- activation.c: a = phi(z) --------------------------------------------------------------- */

typedef struct bp_activation_operator {
    bp_activation kind;
    bp_real slope; /* leaky_relu's below zero, elu's alpha */
} bp_activation_operator;
void bp_activation_forward(const bp_activation_operator *activation, int64_t n, int64_t units,
                           const bp_real *z, bp_real *a);
/* error: in dL/da, out dL/dz. */
void bp_activation_backward(const bp_activation_operator *activation, int64_t n, int64_t units,
                            const bp_real *z, const bp_real *a, bp_real *error);

/* --- norm.c: y = gain * (x - mean) / std + bias --------------------------------------------- */

#define BP_NORM_EPSILON 1e-5
#define BP_BATCH_NORM_MOMENTUM 0.1

typedef struct bp_norm_operator {
    bp_norm kind;
    int64_t units;        /* with a gain each; of images normalised by batch the channels */
    int64_t area;         /* numbers of a sample that share a unit's gain */
    bp_real *gain, *bias; /* [units] */
    bp_real *gain_gradient, *bias_gradient;
    bp_real *running_mean, *running_variance; /* [units]; batch norm only */
    bp_real *normalised;                      /* [n, units, area]: (x - mean) / std, for backward */
    bp_real *inverse_std;                     /* batch norm [units], layer norm [n] */
    bp_real *mean;                            /* [units], batch norm's scratch */
} bp_norm_operator;
/* training: batch norm uses the batch's statistics and moves the running ones, else it uses the
 * running ones and backward is undefined. */
void bp_norm_forward(const bp_norm_operator *norm, bool training, int64_t n, const bp_real *x,
                     bp_real *y);
/* error: in dL/dy, out dL/dx; dL/dgain and dL/dbias into the gradients. */
void bp_norm_backward(const bp_norm_operator *norm, int64_t n, bp_real *error);

/* --- residual.c: y = x + scale * branch(x) -------------------------------------------------- */

void bp_residual_forward(bp_real scale, int64_t count, const bp_real *x, const bp_real *branch,
                         bp_real *y);
/* dbranch is written; dy is added to dx (NULL: nobody asks), where the branch's part joins it. */
void bp_residual_backward(bp_real scale, int64_t count, const bp_real *dy, bp_real *dx,
                          bp_real *dbranch);

/* --- loss.c --------------------------------------------------------------------------------- */

/* Sums over the samples; the loss is sum / terms, the accuracy correct / judged. */
typedef struct bp_loss_sum {
    double sum;
    int64_t terms;
    int64_t correct; /* samples whose largest output is their class's; with binary_cross_entropy
                        outputs on their target's side of 0 */
    int64_t judged;  /* of so many; 0 without classes and binary_cross_entropy */
} bp_loss_sum;
/* y [n, m]; classes [n] (NULL without), targets [n, m] (not read by cross_entropy). dy: dL/dy of
 * the mean loss, NULL when it is not asked for. */
bp_loss_sum bp_loss_of(const bp_recipe *recipe, int64_t n, int64_t m, const bp_real *y,
                       const int32_t *classes, const bp_real *targets, bp_real *dy);
/* The loss of one output, of all losses but cross_entropy; slope: its derivative, dL/dy. */
double bp_output_loss(const bp_recipe *recipe, double y, double t, double *slope);
/* Terms that the loss of n samples with m outputs is the mean of. */
int64_t bp_loss_terms(bp_loss loss, int64_t n, int64_t m);

/* --- clip.c --------------------------------------------------------------------------------- */

/* Whether the recipe clips at all. */
bool bp_clips(const bp_recipe *recipe);
/* All gradients of the network, by value, then by norm, as the recipe says. norm: theirs before,
 * NULL where nobody asks. */
void bp_clip_gradients(const bp_recipe *recipe, int64_t count, bp_real *gradient, double *norm);

/* --- optimiser.c: one update of one parameter ----------------------------------------------- */

typedef struct bp_update {
    const bp_recipe *recipe;
    double learning_rate; /* of this step */
    int64_t number;       /* 1 at the first update */
} bp_update;
/* Which arrays of its own an optimiser keeps, zero before the first update. */
bool bp_optimiser_has_first(const bp_recipe *recipe);  /* velocity, first moment */
bool bp_optimiser_has_second(const bp_recipe *recipe); /* second moment, sum of squares */
/* first, second: NULL where the optimiser has none. */
void bp_optimise(const bp_update *update, int64_t count, const bp_real *gradient, bp_real *first,
                 bp_real *second, bp_real *w);

/* --- orthogonal.c --------------------------------------------------------------------------- */

/* A Gaussian matrix becomes one with orthonormal rows, or columns where those are fewer, times
 * gain.
 */
void bp_orthogonalise(double gain, int64_t rows, int64_t columns, bp_real *matrix);

/* --- initialise.c --------------------------------------------------------------------------- */

/* What random numbers are drawn for (bp_random_key.purpose). Pinned: they decide every run. */
typedef enum bp_purpose {
    BP_PURPOSE_SHUFFLE = 1,
    BP_PURPOSE_SPLIT = 2,        /* of samples into parts */
    BP_PURPOSE_SAMPLE = 3,       /* numbers of generated samples */
    BP_PURPOSE_PARAMETER = 16,   /* + the parameter's index in the network */
    BP_PURPOSE_DROPOUT = 1 << 24 /* + the layer's id */
} bp_purpose;
void bp_initialise(const bp_layer *layer, bp_slot slot, uint64_t seed, size_t parameter,
                   int64_t count, bp_real *value);

#endif
