/* SPDX-License-Identifier: Apache-2.0 */
/* Items to layers: repeats unrolled, names made unique, residual blocks closed. */
#include "netfile/file.h"

#include <stdio.h>
#include <string.h>

typedef struct walk {
    const bp_netfile *netfile;
    bp_model *model;
    bp_error *error;
    uint32_t top_item;        /* index of the item of net that is being expanded */
    uint32_t last_state_only; /* the last layer that the file asks for its last state, 0: none */
} walk;

/* Where in the network an item is expanded. */
typedef struct scope {
    const char *parent; /* path of the nearest named item around, NULL at the top */
    const char *suffix; /* ".2.1": the repeats around that no name shows yet */
    uint32_t depth_in_blocks;
} scope;

static bp_status expand_list(walk *w, uint32_t first, const scope *around);

/* --- how many ------------------------------------------------------------------------------- */

/* At least so many layers; a norm or an activation may join the layer before it. Stops counting
 * above the limit, so that nothing overflows. */
static int64_t least_layers(const bp_items *items, uint32_t first) {
    const int64_t enough = (int64_t)BP_MODEL_MAX_LAYERS + 1;
    int64_t sum = 0;
    for (uint32_t id = first; id != BP_NO_NODE && sum < enough; id = items->list[id].next) {
        const bp_item *item = &items->list[id];
        int64_t once = item->kind == BP_ITEM_NORM || item->kind == BP_ITEM_ACTIVATION ? 0 : 1;
        if (item->kind == BP_ITEM_GROUP) once = least_layers(items, item->first);
        if (item->kind == BP_ITEM_RESIDUAL) once += least_layers(items, item->first);
        sum += once * item->repeat; /* at most (10,001 + 1) * 10,000 */
    }
    return sum < enough ? sum : enough;
}

/* --- one layer ------------------------------------------------------------------------------ */

static bp_layer start_layer(walk *w, const bp_item *item, const scope *around, const char *name) {
    return (bp_layer){.name = name,
                      .parent = around->parent,
                      .activation = BP_ACTIVATION_LINEAR,
                      .norm = BP_NORM_NONE,
                      .frozen = item->frozen,
                      .depth_in_blocks = around->depth_in_blocks,
                      .line = item->line,
                      .column = item->column,
                      .item = w->top_item};
}

static void set_activation(bp_layer *layer, const bp_item *item) {
    if (!item->activation) return;
    layer->activation = (bp_activation)item->activation;
    if (item->activation == BP_ACTIVATION_LEAKY_RELU) layer->activation_slope = item->slope;
    if (item->activation == BP_ACTIVATION_ELU) layer->activation_slope = item->alpha;
}

/* What layers with weights have in common. */
static void set_weights(walk *w, const bp_item *item, bp_layer_kind kind, bp_layer *layer) {
    const bp_init_pair *init = item->has_init ? &item->init : &w->netfile->init;
    layer->kind = kind;
    layer->output_shape[0] = item->units;
    layer->own_init = item->has_init;
    layer->weight_init = init->weights;
    layer->bias_init = init->biases;
    layer->has_bias = item->bias && kind != BP_LAYER_EMBEDDING;
    layer->kernel = (int32_t)item->kernel;
    layer->stride = (int32_t)item->stride;
    layer->padding = (int32_t)item->padding;
    layer->vocabulary = item->vocabulary;
    layer->return_sequences = item->return_sequences;
    layer->forget_bias = item->forget_bias;
    if (item->norm) layer->norm = (bp_norm)item->norm;
    if (kind == BP_LAYER_RNN) layer->activation = BP_ACTIVATION_TANH;
    set_activation(layer, item);
}

static void set_pool(const bp_item *item, bp_layer_kind kind, bp_layer *layer) {
    layer->kind = kind;
    layer->pool = (int32_t)item->pool;
}

static bp_status add_simple(walk *w, const bp_item *item, bp_layer *layer) {
    switch (item->kind) {
    case BP_ITEM_DENSE:
        set_weights(w, item, BP_LAYER_DENSE, layer);
        break;
    case BP_ITEM_CONV:
        set_weights(w, item, BP_LAYER_CONV, layer);
        break;
    case BP_ITEM_EMBEDDING:
        set_weights(w, item, BP_LAYER_EMBEDDING, layer);
        break;
    case BP_ITEM_RNN:
        set_weights(w, item, BP_LAYER_RNN, layer);
        break;
    case BP_ITEM_GRU:
        set_weights(w, item, BP_LAYER_GRU, layer);
        break;
    case BP_ITEM_LSTM:
        set_weights(w, item, BP_LAYER_LSTM, layer);
        break;
    case BP_ITEM_NORM:
        layer->kind = item->norm == BP_NORM_BATCH ? BP_LAYER_BATCH_NORM : BP_LAYER_LAYER_NORM;
        break;
    case BP_ITEM_ACTIVATION: {
        /* It has nothing to train, so it joins a frozen layer too. */
        const bp_layer *last = bp_model_layer(w->model, bp_model_n_layers(w->model));
        layer->kind = BP_LAYER_ACTIVATION;
        layer->frozen = last && last->frozen;
        set_activation(layer, item);
        break;
    }
    case BP_ITEM_AVG_POOL:
        set_pool(item, BP_LAYER_AVG_POOL, layer);
        break;
    case BP_ITEM_MAX_POOL:
        set_pool(item, BP_LAYER_MAX_POOL, layer);
        break;
    case BP_ITEM_GLOBAL_AVG_POOL:
        layer->kind = BP_LAYER_GLOBAL_AVG_POOL;
        break;
    case BP_ITEM_FLATTEN:
        layer->kind = BP_LAYER_FLATTEN;
        break;
    case BP_ITEM_DROPOUT:
        layer->kind = BP_LAYER_DROPOUT;
        layer->drop_fraction = item->drop_fraction;
        break;
    case BP_ITEM_RESIDUAL:
    case BP_ITEM_GROUP:
    case BP_ITEM_ANY:
        break;
    }
    return bp_model_add_layer(w->model, layer, NULL, w->error);
}

/* The model makes a recurrent layer give all its states where another follows; a file that says
 * otherwise is not overruled in silence. */
static bp_status check_last_state(walk *w, const bp_item *item) {
    const bp_layer *before = bp_model_layer(w->model, w->last_state_only);
    if (before && before->return_sequences)
        return bp_fail_at(w->error, before->line, before->column,
                          "%s gives its last state only (return_sequences: false), but the "
                          "recurrent layer that follows needs all of them; leave the key out",
                          before->name);
    if (item->last_state_only) w->last_state_only = bp_model_n_layers(w->model);
    return BP_OK;
}

static bp_status expand_residual(walk *w, const bp_item *item, const scope *around,
                                 const scope *inside, const char *name) {
    const uint32_t before = bp_model_n_layers(w->model);
    scope branch = *inside;
    branch.depth_in_blocks++;
    const bp_status status = expand_list(w, item->first, &branch);
    if (status != BP_OK) return status;
    bp_layer sum = start_layer(w, item, around, name);
    sum.kind = BP_LAYER_RESIDUAL;
    sum.branch_scale = item->scale;
    sum.skip_from = before;
    sum.n_branch = bp_model_n_layers(w->model) - before;
    return bp_model_add_layer(w->model, &sum, NULL, w->error);
}

/* --- names and repeats ---------------------------------------------------------------------- */

static bp_status expand_once(walk *w, const bp_item *item, const scope *around,
                             const char *suffix) {
    char path[BP_LAYER_NAME_BYTES + 1];
    const char *name = NULL;
    scope inside = {around->parent, suffix, around->depth_in_blocks};
    if (item->name) {
        bp_text text;
        bp_text_init(&text, path, sizeof path);
        bp_text_add(&text, "%s%s%s%s", around->parent ? around->parent : "",
                    around->parent ? "." : "", item->name, suffix);
        if (text.cut)
            return bp_fail_at(w->error, item->line, item->column,
                              "with the names around it this name has more than %d bytes",
                              BP_LAYER_NAME_BYTES);
        name = path;
        inside.parent = path;
        inside.suffix = "";
    }
    if (item->kind == BP_ITEM_GROUP) return expand_list(w, item->first, &inside);
    if (item->kind == BP_ITEM_RESIDUAL) return expand_residual(w, item, around, &inside, name);
    bp_layer layer = start_layer(w, item, around, name);
    const bp_status status = add_simple(w, item, &layer);
    return status == BP_OK ? check_last_state(w, item) : status;
}

static bp_status expand_item(walk *w, const bp_item *item, const scope *around) {
    for (int64_t i = 1; i <= item->repeat; i++) {
        char suffix[BP_LAYER_NAME_BYTES + 1];
        bp_text text;
        bp_text_init(&text, suffix, sizeof suffix);
        bp_text_add(&text, "%s", around->suffix);
        if (item->repeat > 1) bp_text_add(&text, ".%lld", (long long)i);
        const bp_status status = expand_once(w, item, around, suffix);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

static bp_status expand_list(walk *w, uint32_t first, const scope *around) {
    const bp_items *items = &w->netfile->items;
    for (uint32_t id = first; id != BP_NO_NODE; id = items->list[id].next) {
        const bp_status status = expand_item(w, &items->list[id], around);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

bp_status bp_expand(const bp_netfile *netfile, bp_model *model, bp_error *error) {
    const bp_items *items = &netfile->items;
    const scope top = {NULL, "", 0};
    walk w = {netfile, model, error, 0, 0};
    if (least_layers(items, netfile->first_item) > BP_MODEL_MAX_LAYERS) {
        const bp_item *first = &items->list[netfile->first_item];
        return bp_fail_at(error, first->line, first->column,
                          "net has more than %u layers when its repeats are written out",
                          BP_MODEL_MAX_LAYERS);
    }
    for (uint32_t id = netfile->first_item; id != BP_NO_NODE; id = items->list[id].next) {
        const bp_status status = expand_item(&w, &items->list[id], &top);
        if (status != BP_OK) return status;
        w.top_item++;
    }
    return BP_OK;
}
