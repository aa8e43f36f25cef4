/* SPDX-License-Identifier: Apache-2.0 */
/* What a training run is asked and tells. A trainer calls an observer: first it asks which tensors
 * are wanted in this step, then it gives them, in the order in which they arise. Every call is
 * void: a watch cannot fail its host. */
#ifndef BACKPROBE_OBSERVE_H
#define BACKPROBE_OBSERVE_H

#include <backprobe/model.h>
#include <backprobe/stats.h>
#include <backprobe/tensor.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Roles of a tensor. Activations and error signals are [samples, units ...]; an error signal is
 * dL/d(tensor) as the backward pass computes it (with the 1/terms of a mean loss inside). A layer's
 * ERROR_INPUT is told where it is no other layer's ERROR_OUTPUT: of the first, whose input is the
 * network's, and of those that begin a residual block. A sequence is [samples, time steps,
 * features], or flat where the model has its shape. */
#define BP_ROLES(X)                                                                              \
    X(ACTIVATION, "activation", 0)     /* output of the layer; layer 0 is the input */           \
    X(ERROR_OUTPUT, "error signal", 1) /* dL/d(output of the layer) */                           \
    X(ERROR_PRE_ACTIVATION, "error signal before the activation",                                \
      2)                                                          /* dL/d(activation's input) */ \
    X(ERROR_PRE_NORM, "error signal before the normalisation", 3) /* dL/d(norm's input) */       \
    X(ERROR_INPUT, "error signal of the layer's input", 4) /* dL/dx through this layer alone */  \
    X(PARAMETER, "parameter", 5)                           /* before the update of this step */  \
    X(GRADIENT, "gradient", 6) /* dL/d(parameter), as the optimiser gets it */                   \
    X(UPDATE, "update", 7)     /* asks for bp_observer.update */

#define BP_ENUM_MEMBER_ROLE(id, name, number) BP_ROLE_##id = number,
typedef enum bp_role { BP_ROLES(BP_ENUM_MEMBER_ROLE) BP_N_ROLES = 8 } bp_role;

/* Which parameter of a layer; 0 for roles that are no parameter. */
typedef enum bp_slot {
    BP_SLOT_WEIGHT = 0,
    BP_SLOT_BIAS = 1,
    BP_SLOT_NORM_GAIN = 2,
    BP_SLOT_NORM_BIAS = 3,
    BP_SLOT_RECURRENT_WEIGHT = 4, /* of the state of the time step before */
    BP_SLOT_RECURRENT_BIAS = 5,
    BP_N_SLOTS = 6
} bp_slot;

typedef struct bp_step {
    uint32_t struct_size;
    int64_t step;         /* optimiser updates done before this one; the first is 0 */
    int64_t samples;      /* samples in this step's batch */
    int64_t loss_terms;   /* terms that the loss is the mean of (1 for a sum) */
    double learning_rate; /* NaN: not known */
    uint32_t flags;       /* BP_STEP_... */
} bp_step;

/* The optimiser left the parameters as they were, for instance because a loss scaler found
 * gradients that are not finite: the record says so, and a light step gets one. */
#define BP_STEP_UPDATE_SKIPPED 1u

/* Samples and loss terms are not known: of a step that is not looked at in full. */
#define BP_STEP_SAMPLES_UNKNOWN 2u

/* A bit per layer and role: wanted[layer] >> role & 1, layer 0 ... n_layers. */
typedef struct bp_plan {
    const uint32_t *wanted; /* borrowed until the next step_begin or the end of the observer */
    uint32_t n_layers;
} bp_plan;

static inline bool bp_plan_wants(const bp_plan *plan, uint32_t layer, bp_role role) {
    return layer <= plan->n_layers && (plan->wanted[layer] >> (unsigned)role & 1u) != 0;
}

/* Scalars of the run: of a step (loss) or of an evaluation after it. Those of a step besides loss
 * and accuracy are for steps in which the network's input is asked for, and may be left out. */
#define BP_METRICS(X)                                                                       \
    X(LOSS, "loss", 0)                     /* of this step's batch, before the update */    \
    X(TRAIN_ACCURACY, "train accuracy", 1) /* of this step's batch */                       \
    X(VALIDATION_LOSS, "validation loss", 2)                                                \
    X(VALIDATION_ACCURACY, "validation accuracy", 3)                                        \
    X(TARGET_MIN, "smallest target", 4) /* of this step's batch; of classes their number */ \
    X(TARGET_MAX, "largest target", 5)                                                      \
    X(UNCLIPPED_NORM, "unclipped gradient norm", 6) /* of all gradients, before clipping */

#define BP_ENUM_MEMBER_METRIC(id, name, number) BP_METRIC_##id = number,
typedef enum bp_metric { BP_METRICS(BP_ENUM_MEMBER_METRIC) BP_N_METRICS = 7 } bp_metric;

/* All tensors are borrowed for the call. Calls of one step come between step_begin and step_end
 * from one thread; scalar may also come between steps and then belongs to the step before. */
typedef struct bp_observer {
    void *context;
    bp_plan (*step_begin)(void *context, const bp_step *step);
    void (*tensor)(void *context, uint32_t layer, bp_role role, bp_slot slot,
                   const bp_tensor *tensor);
    /* The same knowledge when only a summary exists (a GPU, a shard). */
    void (*summary)(void *context, uint32_t layer, bp_role role, bp_slot slot,
                    const bp_summary *summary);
    /* w before and after this step's update, and the gradient; three tensors of one shape. */
    void (*update)(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                   const bp_tensor *before, const bp_tensor *after);
    void (*scalar)(void *context, bp_metric metric, double value);
    void (*step_end)(void *context);
} bp_observer;

/* --- the units of a layer -------------------------------------------------------------------- */

/* By its activation; PLAIN where a normalisation comes after it. */
BP_API bp_unit_kind bp_layer_unit_kind(const bp_layer *layer);
/* Where its units lie in a sample of its output, by the model's shapes; layer 0 is the input. Units
 * are a vector's numbers, an image's channels, the features of a sequence's time steps: an input
 * of shape (a, b, 1) with b > 1 is read as a sequence. */
BP_API bp_unit_shape bp_layer_unit_shape(const bp_model *model, uint32_t layer);
/* Samples without activity after which a unit counts as dead: an epoch, at least 10,000. */
BP_API uint64_t bp_dead_samples(const bp_recipe *recipe);

#ifdef __cplusplus
}
#endif
#endif
