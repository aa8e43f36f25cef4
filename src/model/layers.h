/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of bp_model, shared by the files of this room only. */
#ifndef BP_MODEL_LAYERS_H
#define BP_MODEL_LAYERS_H

#include "model/model.h"

typedef struct layer_slot {
    bp_layer spec; /* its names point at those below */
    char *name;
    char *parent;
    char *activation_name;
} layer_slot;

struct bp_model {
    bp_allocator allocator;
    layer_slot *layers;
    uint32_t n_layers, capacity;
    uint32_t *cuts; /* cuts[0] = 0 (the input), cuts[1 ... n_cuts] = layers */
    uint32_t n_cuts, cuts_capacity;
    int64_t input[3];
    bp_recipe recipe;
    char origin[BP_MODEL_ORIGIN_BYTES]; /* "": the network file */
};

void bp_layer_slot_release(layer_slot *slot, const bp_allocator *allocator);

#endif
