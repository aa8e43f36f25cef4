/* SPDX-License-Identifier: Apache-2.0 */
/* Training in C (libbackprobe-train): data sets and a trainer that tells an observer. Deterministic
 * by seed, bit for bit; a step allocates nothing; one thread. */
#ifndef BACKPROBE_TRAIN_H
#define BACKPROBE_TRAIN_H

#include <backprobe/model.h>
#include <backprobe/observe.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library computes in f32; BP_REAL_IS_F64 is for the build of its gradient tests. */
#ifdef BP_REAL_IS_F64
typedef double bp_real;
#define BP_REAL_DTYPE BP_F64
#else
typedef float bp_real;
#define BP_REAL_DTYPE BP_F32
#endif

/* --- data.c: data sets ---------------------------------------------------------------------- */

typedef struct bp_part { /* train, validation or test */
    int64_t n;
    const bp_real *inputs;  /* [n, units] */
    const int32_t *classes; /* [n]; NULL for regression */
    const bp_real *targets; /* [n, n_outputs]; one-hot for classes */
} bp_part;

typedef struct bp_dataset {
    char name[64];
    int64_t input_shape[3]; /* channels, height, width */
    int64_t n_outputs;
    bool has_classes;
    bp_part train, validation, test;
    double chance_accuracy; /* share of the most frequent class in train */
    bp_allocator allocator;
    void *memory; /* all of the above point into it */
    size_t memory_bytes;
} bp_dataset;

/* The data sets that have names; NULL-terminated. */
BP_API extern const char *const bp_dataset_names[];
/* "digits": UCI optdigits, bundled in the binary; 1,797 images of 8 x 8, inputs standardised on the
 * training part; fixed split 1,257 / 270 / 270, stratified. "adding 50": the adding problem over 50
 * time steps (2 to 1000), sequences of 2 numbers a step with one target; 8,000 / 1,000 / 1,000. */
BP_API BP_MUST_USE bp_status bp_dataset_open(bp_dataset **dataset, const char *name,
                                             const bp_allocator *allocator, bp_error *error);
/* The caller's own numbers, copied: inputs [n, units], classes [n] (or NULL) or targets. */
BP_API BP_MUST_USE bp_status bp_dataset_from_memory(bp_dataset **dataset, const char *name,
                                                    const int64_t input_shape[3], int64_t n_outputs,
                                                    const bp_part *train, const bp_part *validation,
                                                    const bp_part *test,
                                                    const bp_allocator *allocator, bp_error *error);
BP_API void bp_dataset_close(bp_dataset *dataset);
/* Loss of the best constant prediction on the training part, by the recipe's loss and huber_delta:
 * entropy of the label marginal (cross_entropy), mean variance of the targets (mse) ... NaN where
 * the loss needs classes and there are none. */
BP_API double bp_dataset_trivial_loss(const bp_dataset *dataset, const bp_recipe *recipe);

/* --- trainer.c: a training run -------------------------------------------------------------- */

typedef struct bp_trainer bp_trainer;

/* Takes shapes and recipe from model (borrowed until close; bp_model_set_input done), fills in the
 * recipe what the data decide (epoch_steps, train_samples, trivial_loss, n_outputs,
 * chance_accuracy; batch is cut to the number of training samples) before anything else, and
 * initialises all parameters from recipe.seed. dataset borrowed until close. */
BP_API BP_MUST_USE bp_status bp_trainer_open(bp_trainer **trainer, bp_model *model,
                                             const bp_dataset *dataset,
                                             const bp_allocator *allocator, bp_error *error);
BP_API void bp_trainer_close(bp_trainer *trainer);

/* Data-parallel training: every process trains the same network on its share of each batch, and the
 * gradients of all are averaged. recipe.batch is the share of one process; what all see together is
 * one process with n_ranks times the batch, but for the rounding of sums and for batch norm, whose
 * statistics are those of the share. */
typedef struct bp_ranks {
    int32_t rank, n_ranks; /* 0 ... n_ranks - 1 */
    void *context;
    /* Replaces the values by their sums over all processes, the same bits in each. Called by all
     * in the same order; does not return without the sums. */
    void (*sum)(void *context, bp_real *values, int64_t n);
    void (*sum_f64)(void *context, double *values, int64_t n);
} bp_ranks;
/* bp_trainer_open for one of several processes, called in each; all start from the parameters of
 * rank 0. ranks: copied; NULL: alone. */
BP_API BP_MUST_USE bp_status bp_trainer_open_ranked(bp_trainer **trainer, bp_model *model,
                                                    const bp_dataset *dataset,
                                                    const bp_ranks *ranks,
                                                    const bp_allocator *allocator, bp_error *error);

/* observer may be NULL; borrowed until replaced or close. Of several processes each tells its own
 * activations and error signals, and the loss, gradients and updates of all. */
BP_API void bp_trainer_observe(bp_trainer *trainer, const bp_observer *observer);

/* One optimiser update on the next batch (a fresh permutation each epoch; the last batch of an
 * epoch may be short, but in a network with batch norm one of a single sample is left out). Returns
 * the loss of that batch before the update. Never allocates. A non-finite loss is a reading, not an
 * error: the caller decides whether to go on. */
BP_API double bp_trainer_step(bp_trainer *trainer);
BP_API int64_t bp_trainer_steps_done(const bp_trainer *trainer);
/* Memory that it holds: parameters, gradients, optimiser state, activations of a batch. */
BP_API int64_t bp_trainer_bytes(const bp_trainer *trainer);

typedef struct bp_score {
    double loss;
    double accuracy; /* share of samples whose class has the largest output; with
                        binary_cross_entropy share of outputs on their target's side of 0; NaN
                        without either. Outputs that are NaN are never right */
} bp_score;
/* Forward pass over a part in evaluation mode (batch norm uses its running statistics). */
BP_API bp_score bp_trainer_evaluate(bp_trainer *trainer, const bp_part *part);

/* Parameters: views into the trainer's own memory, valid until close, in layer order. */
BP_API size_t bp_trainer_n_parameters(const bp_trainer *trainer);
typedef struct bp_parameter {
    uint32_t layer;
    bp_slot slot;
    char name[BP_TENSOR_MAX_NDIM * 64]; /* "dense_1.weight" */
    bp_tensor value; /* weight: [units, fan_in]; of a convolution [channels, fan_in] with the kernel
                        row by row in each input channel; of an embedding [vocabulary, features] */
    bp_tensor gradient; /* the same shape; of the last step */
    bool trained;
} bp_parameter;
BP_API const bp_parameter *bp_trainer_parameter(const bp_trainer *trainer, size_t index);

/* Weights (and batch norm's running statistics) as safetensors, written atomically: aside, synced,
 * read back, renamed. */
BP_API BP_MUST_USE bp_status bp_trainer_save(const bp_trainer *trainer, const char *path,
                                             bp_error *error);
/* All or nothing. What a checkpoint holds besides is passed over. */
BP_API BP_MUST_USE bp_status bp_trainer_load(bp_trainer *trainer, const char *path,
                                             bp_error *error);

/* Where a run stands; what a caller wants to find again in a checkpoint. Losses are NaN before they
 * are known. */
typedef struct bp_standing {
    int64_t step;          /* optimiser updates done */
    double epoch_loss_sum; /* over the steps of the epoch that has begun */
    double epoch_loss;     /* mean over the batches of the last whole epoch */
    bp_score validation;   /* after it */
    int64_t best_step;     /* of the best validation loss so far */
    double best_loss;
    double seconds; /* spent in training */
} bp_standing;

/* The weights as bp_trainer_save writes them, the optimiser's state and the standing in one file,
 * written in the same way. standing: borrowed; its step is the trainer's. */
BP_API BP_MUST_USE bp_status bp_trainer_save_checkpoint(const bp_trainer *trainer, const char *path,
                                                        const bp_standing *standing,
                                                        bp_error *error);
/* Goes on where a checkpoint was saved; the steps that follow are those of the run that was not
 * interrupted, bit for bit. All or nothing: fails where the checkpoint is of another network,
 * optimiser, batch or seed. *standing is written on success. */
BP_API BP_MUST_USE bp_status bp_trainer_resume(bp_trainer *trainer, const char *path,
                                               bp_standing *standing, bp_error *error);

#ifdef __cplusplus
}
#endif
#endif
