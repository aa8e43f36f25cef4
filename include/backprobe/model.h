/* SPDX-License-Identifier: Apache-2.0 */
/* The network as the instrument sees it: layers in forward order, and the recipe of the run.
 * Spoken by trainer, Python, run log and diagnosis; it belongs to none of them. */
#ifndef BACKPROBE_MODEL_H
#define BACKPROBE_MODEL_H

#include <backprobe/base.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One list makes enumerators, names and their numbers (pinned: they stand in run logs). */
#define BP_LAYER_KINDS(X)                                                                          \
    X(DENSE, "dense", 1)                                                                           \
    X(LAYER_NORM, "layer_norm", 2) /* one that follows no weighted operator */                     \
    X(BATCH_NORM, "batch_norm", 3)                                                                 \
    X(AVG_POOL, "avg_pool", 4)                                                                     \
    X(RESIDUAL, "residual", 5) /* the sum at the end of a residual block: x + scale * branch(x) */ \
    X(ACTIVATION, "activation", 6) /* one that follows no weighted operator */                     \
    X(OTHER, "other", 7)                                                                           \
    X(CONV, "conv", 8) /* 2-D convolution over channels x height x width */                        \
    X(MAX_POOL, "max_pool", 9)                                                                     \
    X(GLOBAL_AVG_POOL, "global_avg_pool", 10) /* mean of each channel */                           \
    X(FLATTEN, "flatten", 11)                                                                      \
    X(DROPOUT, "dropout", 12)                                                                      \
    X(EMBEDDING, "embedding", 13) /* a row of a table for each token of a sequence */              \
    X(RNN, "rnn", 14)             /* simple recurrent: h = phi(W x + b + U h + c) */               \
    X(GRU, "gru", 15)                                                                              \
    X(LSTM, "lstm", 16)

#define BP_ACTIVATIONS(X)          \
    X(LINEAR, "linear", 1)         \
    X(SIGMOID, "sigmoid", 2)       \
    X(TANH, "tanh", 3)             \
    X(RELU, "relu", 4)             \
    X(LEAKY_RELU, "leaky_relu", 5) \
    X(GELU, "gelu", 6)             \
    X(ELU, "elu", 7)               \
    X(SELU, "selu", 8)             \
    X(SILU, "silu", 9)             \
    X(SOFTPLUS, "softplus", 10)    \
    X(SOFTMAX, "softmax", 11) /* over all units of a sample: no function of one z */

#define BP_NORMS(X)           \
    X(NONE, "none", 1)        \
    X(BATCH, "batch_norm", 2) \
    X(LAYER, "layer_norm", 3)

#define BP_INITS(X)                                                                                \
    X(UNKNOWN, "unknown", 1)                                                                       \
    X(ZEROS, "zeros", 2)                                                                           \
    X(CONSTANT, "constant", 3)               /* parameter: value */                                \
    X(NORMAL, "normal", 4)                   /* parameter: std */                                  \
    X(UNIFORM, "uniform", 5)                 /* parameter: bound, drawn from [-bound, bound] */    \
    X(XAVIER, "xavier", 6)                   /* parameter: gain; Glorot & Bengio 2010, normal */   \
    X(HE, "he", 7)                           /* parameter: gain; He et al. 2015, normal, fan_in */ \
    X(PYTORCH_DEFAULT, "pytorch_default", 8) /* uniform with bound 1/sqrt(fan_in) */               \
    X(ORTHOGONAL, "orthogonal", 9)           /* parameter: gain; Saxe et al. 2013 */               \
    X(LECUN, "lecun", 10)                    /* parameter: gain; normal, variance 1/fan_in */      \
    X(LSUV, "lsuv", 11) /* parameter: gain; orthogonal, then scaled on a batch until outputs have  \
                           that deviation; Mishkin & Matas 2016 */

/* Means over samples, all but cross_entropy over outputs too. */
#define BP_LOSSES(X)                                                                      \
    X(CROSS_ENTROPY, "cross_entropy", 1) /* from logits, one class a sample */            \
    X(MSE, "mse", 2)                                                                      \
    X(LOSS_OTHER, "other", 3)                                                             \
    X(BINARY_CROSS_ENTROPY, "binary_cross_entropy", 4) /* from logits, targets 0 ... 1 */ \
    X(MAE, "mae", 5)                                                                      \
    X(HUBER, "huber", 6) /* recipe.huber_delta; Huber 1964 */

#define BP_OPTIMISERS(X)           \
    X(SGD, "sgd", 1)               \
    X(ADAM, "adam", 2)             \
    X(OPTIMISER_OTHER, "other", 3) \
    X(RMSPROP, "rmsprop", 4)       \
    X(ADAGRAD, "adagrad", 5)       \
    X(ADAMW, "adamw", 6)

/* Of the learning rate. */
#define BP_SCHEDULES(X)        \
    X(CONSTANT, "constant", 1) \
    X(STEP, "step", 2)         \
    X(COSINE, "cosine", 3)

#define BP_ENUM_MEMBER_LAYER(id, name, number) BP_LAYER_##id = number,
#define BP_ENUM_MEMBER_ACTIVATION(id, name, number) BP_ACTIVATION_##id = number,
#define BP_ENUM_MEMBER_NORM(id, name, number) BP_NORM_##id = number,
#define BP_ENUM_MEMBER_INIT(id, name, number) BP_INIT_##id = number,
#define BP_ENUM_MEMBER_SCHEDULE(id, name, number) BP_SCHEDULE_##id = number,
#define BP_ENUM_MEMBER_PLAIN(id, name, number) BP_##id = number,

typedef enum bp_layer_kind { BP_LAYER_KINDS(BP_ENUM_MEMBER_LAYER) } bp_layer_kind;
typedef enum bp_activation { BP_ACTIVATIONS(BP_ENUM_MEMBER_ACTIVATION) } bp_activation;
typedef enum bp_norm { BP_NORMS(BP_ENUM_MEMBER_NORM) } bp_norm;
typedef enum bp_init_kind { BP_INITS(BP_ENUM_MEMBER_INIT) } bp_init_kind;
typedef enum bp_loss { BP_LOSSES(BP_ENUM_MEMBER_PLAIN) } bp_loss;
typedef enum bp_optimiser { BP_OPTIMISERS(BP_ENUM_MEMBER_PLAIN) } bp_optimiser;
typedef enum bp_schedule { BP_SCHEDULES(BP_ENUM_MEMBER_SCHEDULE) } bp_schedule;

typedef struct bp_init {
    bp_init_kind kind;
    double parameter; /* std, value, bound or gain, as the list says; a gain is 1 by default */
} bp_init;

/* A weighted operator with the normalisation and activation that follow it is one layer. */
typedef struct bp_layer {
    uint32_t id;        /* 1 ... L in forward order; set by bp_model_add_layer */
    const char *name;   /* unique path; NULL asks for "<kind>_<id>" below `parent` */
    const char *parent; /* path of the group, NULL at the top */
    bp_layer_kind kind;
    bp_activation activation;   /* LINEAR when there is none; RNN: phi, TANH or RELU, which lies in
                                   the recurrence; GRU and LSTM: LINEAR */
    double activation_slope;    /* leaky_relu's slope below zero, elu's alpha */
    bp_norm norm;               /* normalisation inside this layer */
    bool norm_after_activation; /* operator, activation, norm instead of operator, norm, activation
                                 */
    bool has_bias;
    bool frozen;    /* its parameters are not trained */
    int64_t fan_in; /* elements; 0 until bp_model_set_input where there are weights */
    int64_t fan_out;
    int64_t output_shape[3]; /* per sample: channels, height, width; a vector is units, 1, 1 */
    bool own_init;           /* its initialiser stands in its own item, not in the file's `init` */
    bp_init weight_init;
    bp_init bias_init;
    int32_t pool;                    /* AVG_POOL, MAX_POOL: window and stride */
    int32_t kernel, stride, padding; /* CONV: side of the square kernel; zeros on each side */
    double drop_fraction;            /* DROPOUT: share of units set to 0, the rest scaled up */
    int64_t vocabulary;              /* EMBEDDING: rows of its table */
    bool return_sequences;    /* RNN, GRU, LSTM: the states of all time steps, else the last one */
    double forget_bias;       /* LSTM: added to the forget gate's bias before training */
    double branch_scale;      /* RESIDUAL: factor of the branch */
    uint32_t skip_from;       /* RESIDUAL: id of the layer whose output is added, 0 = the input */
    uint32_t n_branch;        /* RESIDUAL: how many layers before it form the branch */
    uint32_t depth_in_blocks; /* how many residual blocks lie around it; 0 = a cut point */
    const char *activation_name; /* path of the module that is the activation, where the framework
                                    has modules; NULL: none is known (a function, a network file) */
    int32_t line, column;        /* where it stands in the network file, 0 when unknown */
    uint32_t item;               /* index of the item of `net` that made it (top level) */
} bp_layer;

/* The knobs of a training run, and what is known of its task before the first step. */
typedef struct bp_recipe {
    bp_loss loss;
    bp_optimiser optimiser;
    double learning_rate, momentum, beta1, beta2, epsilon;
    bool nesterov;       /* SGD with momentum: Nesterov's, as PyTorch has it */
    double alpha;        /* RMSPROP: smoothing of the mean square */
    double weight_decay; /* ADAMW: decoupled (Loshchilov & Hutter 2019) */
    double l1, l2;       /* the optimiser's gradient gets l1 sign(w) + l2 w */
    double huber_delta;
    double clip_norm, clip_value; /* 0: none. Norm of all gradients together; each by magnitude */
    bp_schedule schedule;         /* 0 is CONSTANT */
    double warm_up_epochs;        /* linear from 0 */
    double step_epochs, step_factor; /* STEP: every step_epochs the rate is multiplied */
    double final_learning_rate;      /* COSINE: at the end of the last epoch */
    int64_t batch, epochs, epoch_steps, train_samples;
    uint64_t seed;
    double trivial_loss; /* entropy of the label marginal or variance of the target; NaN unknown */
    int64_t n_outputs;   /* classes or target columns; 0 unknown */
    double chance_accuracy; /* share of the most frequent class; NaN when there are no classes, and
                               with binary_cross_entropy */
    bool unsupervised; /* the loss tells nothing about learning (adversarial, reinforcement, …):
                          nothing is judged by its level */
    bool from_probabilities; /* the loss takes probabilities, or their logarithm, where the list
                                says logits: the last layer's sigmoid or softmax belongs to it */
} bp_recipe;

/* --- what a run learns from ------------------------------------------------------------------- */

#define BP_DATA_FORMATS(X)                                              \
    X(NAMED, "named", 1) /* bundled, installed or generated, by name */ \
    X(IDX, "idx", 2)     /* images and labels, plain or gzip */         \
    X(NPY, "npy", 3)     /* a file of inputs and one of targets */      \
    X(NPZ, "npz", 4)     /* an archive that holds both */               \
    X(CSV, "csv", 5)     /* a table whose columns are inputs or targets */

#define BP_TASKS(X)                                                           \
    X(CLASSIFICATION, "classification", 1) /* one class a sample */           \
    X(MULTILABEL, "multilabel", 2)         /* targets 0 ... 1, any of them */ \
    X(REGRESSION, "regression", 3)

#define BP_NORMALISATIONS(X)                                                       \
    X(NONE, "none", 1)                                                             \
    X(STANDARD, "standard", 2) /* mean 0 and deviation 1 over the training part */ \
    X(MINMAX, "minmax", 3)     /* 0 ... 1 over the training part */

/* How the numbers of a sample of two or three sizes are meant. */
#define BP_LAYOUTS(X)                                                             \
    X(IMAGE, "image", 1)       /* height x width, or channels x height x width */ \
    X(SEQUENCE, "sequence", 2) /* time steps x features */                        \
    X(VECTOR, "vector", 3)

#define BP_ENUM_MEMBER_FORMAT(id, name, number) BP_DATA_##id = number,
#define BP_ENUM_MEMBER_TASK(id, name, number) BP_TASK_##id = number,
#define BP_ENUM_MEMBER_NORMALISE(id, name, number) BP_NORMALISE_##id = number,
#define BP_ENUM_MEMBER_LAYOUT(id, name, number) BP_LAYOUT_##id = number,
typedef enum bp_data_format { BP_DATA_FORMATS(BP_ENUM_MEMBER_FORMAT) } bp_data_format;
typedef enum bp_task { BP_TASKS(BP_ENUM_MEMBER_TASK) } bp_task;
typedef enum bp_normalise { BP_NORMALISATIONS(BP_ENUM_MEMBER_NORMALISE) } bp_normalise;
typedef enum bp_layout { BP_LAYOUTS(BP_ENUM_MEMBER_LAYOUT) } bp_layout;

/* All texts are borrowed. 0 and NULL: the default, or not given. */
typedef struct bp_data_source {
    bp_data_format format;
    const char *name;                   /* NAMED: which; else what it is called in messages */
    const char *folder;                 /* where relative paths begin; NULL: the working folder */
    const char *path, *test_path;       /* of inputs, or of the whole; a test part of its own */
    const char *inputs;                 /* NPZ: name of the array */
    const char *targets, *test_targets; /* IDX, NPY: path; NPZ: name of the array; CSV: columns,
                                           separated by commas */
    bool no_header;                     /* CSV: columns are numbered from 1 */
    bp_task task;
    bp_normalise normalise;
    bp_layout layout;
    double validation_fraction, test_fraction; /* of the samples that are no test part; < 0: none */
    int64_t train_samples;                     /* at most so many to train */
    uint64_t seed;                             /* of the split, and of generated samples */
    int64_t samples, steps;                    /* generated: how many, time steps of each */
    double noise;                              /* spirals: deviation, of a radius of 1 */
} bp_data_source;

typedef struct bp_model bp_model;

/* Opens an empty model. allocator may be NULL (malloc); copied. */
BP_API BP_MUST_USE bp_status bp_model_open(bp_model **model, const bp_allocator *allocator);
BP_API void bp_model_close(bp_model *model);

/* Appends a layer in forward order; the spec and its names are copied. Writes the id if asked. */
BP_API BP_MUST_USE bp_status bp_model_add_layer(bp_model *model, const bp_layer *layer,
                                                uint32_t *id, bp_error *error);

/* Fills shapes and fans from the shape of one input sample (channels, height, width; a vector is
 * n, 1, 1). Fails with the layer's line and column where a shape is impossible. */
BP_API BP_MUST_USE bp_status bp_model_set_input(bp_model *model, const int64_t shape[3],
                                                bp_error *error);

/* The shape of one input sample where the layers' shapes and fans were given with them: nothing is
 * inferred. Called behind the last layer: fails where a size, of a layer too, is negative or too
 * large. */
BP_API BP_MUST_USE bp_status bp_model_set_input_shape(bp_model *model, const int64_t shape[3],
                                                      bp_error *error);

/* What made the network: "pytorch"; NULL (the default): a network file. Remedies are written in its
 * language, and layers' names are its paths. At most 31 bytes, copied; BP_ERROR_ARGUMENT else. */
BP_API BP_MUST_USE bp_status bp_model_set_origin(bp_model *model, const char *origin);
BP_API const char *bp_model_origin(const bp_model *model); /* borrowed until close */

BP_API void bp_model_set_recipe(bp_model *model, const bp_recipe *recipe); /* copied */
BP_API const bp_recipe *bp_model_recipe(const bp_model *model); /* borrowed until close */
BP_API const int64_t *bp_model_input(const bp_model *model); /* 3 numbers, borrowed until close */

BP_API uint32_t bp_model_n_layers(const bp_model *model);
/* Layer 1 ... n; borrowed until close; NULL outside. */
BP_API const bp_layer *bp_model_layer(const bp_model *model, uint32_t id);

/* The learning rate of a step (0 is the first) by schedule and warm-up; epoch_steps must be known.
 * COSINE: Loshchilov & Hutter 2017, without restarts. */
BP_API double bp_recipe_learning_rate(const bp_recipe *recipe, int64_t step);

/* True where there are parameters to train and the layer is not frozen. */
BP_API bool bp_layer_is_trained(const bp_layer *layer);

/* The lists' words; static; NULL for an unknown number. */
BP_API const char *bp_layer_kind_name(bp_layer_kind kind);
BP_API const char *bp_activation_name(bp_activation activation);
BP_API const char *bp_norm_name(bp_norm norm);
BP_API const char *bp_init_name(bp_init_kind init);
BP_API const char *bp_loss_name(bp_loss loss);
BP_API const char *bp_optimiser_name(bp_optimiser optimiser);
BP_API const char *bp_schedule_name(bp_schedule schedule);

/* phi(z) and phi'(z) in f64; NaN for softmax. slope is leaky_relu's, or elu's alpha. gelu is the
 * exact one, z * Phi(z) (Hendrycks & Gimpel 2016); selu by Klambauer et al. 2017; silu is z *
 * sigmoid(z). */
BP_API double bp_activation_value(bp_activation activation, double slope, double z);
BP_API double bp_activation_derivative(bp_activation activation, double slope, double z);

#ifdef __cplusplus
}
#endif
#endif
