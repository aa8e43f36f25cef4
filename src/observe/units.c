/* SPDX-License-Identifier: Apache-2.0 */
/* The units of a layer: where they lie in its output, and what they are judged by. */
#include "observe/observe.h"

#define DEAD_SAMPLES 10000

bp_unit_kind bp_layer_unit_kind(const bp_layer *layer) {
    if (layer->norm != BP_NORM_NONE && layer->norm_after_activation) return BP_UNIT_PLAIN;
    switch (layer->activation) {
    case BP_ACTIVATION_RELU:
        return BP_UNIT_RELU;
    case BP_ACTIVATION_GELU:
        return BP_UNIT_GELU;
    case BP_ACTIVATION_SILU:
        return BP_UNIT_SILU;
    case BP_ACTIVATION_SIGMOID:
        return BP_UNIT_SIGMOID;
    case BP_ACTIVATION_TANH:
        return BP_UNIT_TANH;
    default:
        return BP_UNIT_PLAIN;
    }
}

/* Layers that leave a sample's numbers where they are. */
static bool keeps_order(bp_layer_kind kind) {
    switch (kind) {
    case BP_LAYER_LAYER_NORM:
    case BP_LAYER_BATCH_NORM:
    case BP_LAYER_RESIDUAL:
    case BP_LAYER_ACTIVATION:
    case BP_LAYER_DROPOUT:
    case BP_LAYER_OTHER:
        return true;
    default:
        return false;
    }
}

/* What (a, b, 1) means is known by the operator that made it. */
static bool is_sequence(const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    while (layer && keeps_order(layer->kind)) layer = bp_model_layer(model, --id);
    if (!layer) return true;
    return layer->kind == BP_LAYER_EMBEDDING || bp_layer_is_recurrent(layer) ||
           layer->kind == BP_LAYER_DENSE;
}

bp_unit_shape bp_layer_unit_shape(const bp_model *model, uint32_t layer) {
    const bp_layer *found = bp_model_layer(model, layer);
    const int64_t *size = found ? found->output_shape : bp_model_input(model);
    if (size[1] > 1 && size[2] == 1 && is_sequence(model, layer))
        return (bp_unit_shape){(uint64_t)size[0], (uint64_t)size[1], 1};
    return (bp_unit_shape){1, (uint64_t)size[0], (uint64_t)(size[1] * size[2])};
}

uint64_t bp_dead_samples(const bp_recipe *recipe) {
    return recipe->train_samples > DEAD_SAMPLES ? (uint64_t)recipe->train_samples : DEAD_SAMPLES;
}
