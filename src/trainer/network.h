/* SPDX-License-Identifier: Apache-2.0 */
/* The network in execution: one node a layer, buffers laid out once, all parameters, gradients and
 * optimiser states in flat arrays of one order. layout.c builds it, network.c runs it. */
#ifndef BP_TRAINER_NETWORK_H
#define BP_TRAINER_NETWORK_H

#include "model/model.h"
#include "trainer/arena.h"
#include "trainer/operators.h"
#include "trainer/tell.h"

/* Rows of the forward buffers at least: an evaluation goes in larger batches than training. */
#define BP_EVALUATION_ROWS 256

/* A layer: its operator, then its norm and activation in the order that the layer names. */
typedef struct bp_node {
    const bp_layer *layer; /* NULL for node 0, the input */
    int64_t units;         /* of the output, per sample */
    bool trained;
    bool is_skip; /* a residual block begins at its output: two ways lead back to it */
    bp_operator operator;
    bp_norm_operator norm;
    bp_activation_operator activation;
    bp_real *operated, *normed, *activated; /* [rows, units] each; NULL where there is none */
    const bp_real *activation_input;        /* of the last forward pass, one of the above */
    const bp_real *output;
    bp_real *error; /* [batch, units]: dL/d output, on its way back dL/d operated */
} bp_node;

typedef struct bp_network_parameter {
    bp_parameter parameter;
    int64_t offset, count; /* in the flat arrays */
} bp_network_parameter;

/* Batch norm's running statistics: no parameters, but saved with them. */
typedef struct bp_running {
    char name[BP_LAYER_NAME_BYTES + 64];
    bp_tensor value;
    bp_real *data;
} bp_running;

typedef struct bp_network {
    bp_allocator allocator;
    uint32_t n_layers;
    bp_node *nodes; /* 0 ... n_layers */
    size_t n_parameters, n_parameters_taken;
    bp_network_parameter *parameters;
    size_t n_running, n_running_taken;
    bp_running *running;
    int64_t batch, rows; /* samples at most: in training, in a forward pass */
    int64_t n_values;
    bp_real *values, *gradients, *before;  /* [n_values]: w, dL/dw, w of before the update */
    bp_real *first_moment, *second_moment; /* of the optimiser; NULL where it has none */
    bp_real *part_error; /* [batch, units]: what comes back to a block's input by the branch, or to
                            the network's input by its first layer */
    bp_arena arena;
} bp_network;

/* Takes all memory and initialises the parameters. model: borrowed until close, checked before. */
BP_MUST_USE bp_status bp_network_open(bp_network *network, const bp_model *model,
                                      const bp_allocator *allocator, bp_error *error);
void bp_network_close(bp_network *network);
/* Batch norm's running statistics as before the first step. */
void bp_network_reset_running(bp_network *network);
/* lsuv.c: scales the weights of layers that are initialised so, on n samples. */
void bp_network_lsuv(bp_network *network, const bp_real *input, int64_t n);

/* Layer l from the output of the one before. */
void bp_network_forward_layer(bp_network *network, uint32_t l, const bp_pass *pass, int64_t n);
/* input [n, units], borrowed until the backward pass. Returns the output [n, units]. */
const bp_real *bp_network_forward(bp_network *network, const bp_pass *pass, const bp_real *input,
                                  int64_t n, const bp_teller *teller);
/* From nodes[n_layers].error, dL/d output of the forward pass before, to all gradients. */
void bp_network_backward(bp_network *network, const bp_pass *pass, int64_t n,
                         const bp_teller *teller);
void bp_network_update(bp_network *network, const bp_update *update, const bp_teller *teller);

#endif
