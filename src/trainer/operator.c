/* SPDX-License-Identifier: Apache-2.0 */
/* Which layer has which operator. */
#include "trainer/operators.h"

/* A residual sum has two inputs and is the network's own business; norms and activations are parts
 * of their layers; flatten passes on what lies flat in memory already. */
static const bp_operator_class *class_of(bp_layer_kind kind) {
    switch (kind) {
    case BP_LAYER_DENSE:
        return &bp_dense_class;
    case BP_LAYER_RNN:
    case BP_LAYER_GRU:
    case BP_LAYER_LSTM:
        return &bp_recurrent_class;
    case BP_LAYER_AVG_POOL:
        return &bp_avg_pool_class;
    case BP_LAYER_CONV:
        return &bp_conv_class;
    case BP_LAYER_MAX_POOL:
        return &bp_max_pool_class;
    case BP_LAYER_GLOBAL_AVG_POOL:
        return &bp_global_avg_pool_class;
    case BP_LAYER_DROPOUT:
        return &bp_dropout_class;
    case BP_LAYER_EMBEDDING:
        return &bp_embedding_class;
    case BP_LAYER_FLATTEN:
    case BP_LAYER_RESIDUAL:
    case BP_LAYER_LAYER_NORM:
    case BP_LAYER_BATCH_NORM:
    case BP_LAYER_ACTIVATION:
    case BP_LAYER_OTHER:
        return NULL;
    }
    return NULL;
}

bp_operator bp_operator_of(const bp_layer *layer, const int64_t in_shape[3]) {
    const int64_t *out = layer->output_shape;
    return (bp_operator){.class = class_of(layer->kind),
                         .layer = layer,
                         .in_shape = {in_shape[0], in_shape[1], in_shape[2]},
                         .out_shape = {out[0], out[1], out[2]},
                         .in = in_shape[0] * in_shape[1] * in_shape[2],
                         .out = out[0] * out[1] * out[2]};
}
