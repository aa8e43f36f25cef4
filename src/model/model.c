/* SPDX-License-Identifier: Apache-2.0 */
/* The model under construction: layers, their grouping, the recipe. */
#include "model/model.h"
#include "model/layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bp_status bp_model_open(bp_model **model, const bp_allocator *allocator) {
    allocator = bp_allocator_or_system(allocator);
    bp_model *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return BP_ERROR_MEMORY;
    opened->allocator = *allocator;
    opened->recipe.trivial_loss = NAN;
    opened->recipe.chance_accuracy = NAN;
    *model = opened;
    return BP_OK;
}

void bp_layer_slot_release(layer_slot *slot, const bp_allocator *allocator) {
    bp_release_text(allocator, slot->name);
    bp_release_text(allocator, slot->parent);
    bp_release_text(allocator, slot->activation_name);
    *slot = (layer_slot){0};
}

void bp_model_close(bp_model *model) {
    if (!model) return;
    const bp_allocator allocator = model->allocator;
    for (uint32_t i = 0; i < model->n_layers; i++)
        bp_layer_slot_release(&model->layers[i], &allocator);
    bp_release(&allocator, model->layers, model->capacity, sizeof *model->layers);
    bp_release(&allocator, model->cuts, model->cuts_capacity, sizeof *model->cuts);
    bp_release(&allocator, model, 1, sizeof *model);
}

static bool grow(bp_model *model) {
    if (model->n_layers < model->capacity) return true;
    const uint32_t wanted = model->capacity ? model->capacity * 2 : 16;
    layer_slot *layers =
        model->allocator.resize(model->allocator.context, model->layers,
                                model->capacity * sizeof *layers, wanted * sizeof *layers);
    if (!layers) return false;
    model->layers = layers;
    model->capacity = wanted;
    return true;
}

/* Cut points are kept as a list, entry 0 being the input. */
static bool add_cut(bp_model *model, uint32_t id) {
    if (model->n_cuts + 2 > model->cuts_capacity) {
        const uint32_t wanted = model->cuts_capacity ? model->cuts_capacity * 2 : 16;
        uint32_t *cuts =
            model->allocator.resize(model->allocator.context, model->cuts,
                                    model->cuts_capacity * sizeof *cuts, wanted * sizeof *cuts);
        if (!cuts) return false;
        model->cuts = cuts;
        model->cuts_capacity = wanted;
        model->cuts[0] = 0;
    }
    model->cuts[++model->n_cuts] = id;
    return true;
}

/* A norm or an activation that follows a weighted operator belongs to its layer. */
static bool joins_last(const bp_model *model, const bp_layer *layer) {
    if (model->n_layers == 0) return false;
    const bp_layer *last = &model->layers[model->n_layers - 1].spec;
    if (!bp_layer_is_weighted_sum(last) || last->depth_in_blocks != layer->depth_in_blocks ||
        layer->name || layer->frozen != last->frozen)
        return false;
    if (layer->kind == BP_LAYER_ACTIVATION) return last->activation == BP_ACTIVATION_LINEAR;
    if (layer->kind == BP_LAYER_BATCH_NORM || layer->kind == BP_LAYER_LAYER_NORM)
        return last->norm == BP_NORM_NONE;
    return false;
}

static void join_last(bp_model *model, const bp_layer *layer) {
    bp_layer *last = &model->layers[model->n_layers - 1].spec;
    if (layer->kind == BP_LAYER_ACTIVATION) {
        last->activation = layer->activation;
        last->activation_slope = layer->activation_slope;
    } else {
        last->norm = layer->kind == BP_LAYER_BATCH_NORM ? BP_NORM_BATCH : BP_NORM_LAYER;
        last->norm_after_activation = last->activation != BP_ACTIVATION_LINEAR;
    }
}

static bool name_is_taken(const bp_model *model, const char *name) {
    for (uint32_t i = 0; i < model->n_layers; i++)
        if (strcmp(model->layers[i].name, name) == 0) return true;
    return false;
}

static char *choose_name(const bp_model *model, const bp_layer *layer, uint32_t id) {
    if (layer->name) return bp_copy_text(&model->allocator, layer->name);
    char name[BP_LAYER_NAME_BYTES + 64];
    snprintf(name, sizeof name, "%s%s%s_%u", layer->parent ? layer->parent : "",
             layer->parent ? "." : "", bp_layer_kind_name(layer->kind), (unsigned)id);
    return bp_copy_text(&model->allocator, name);
}

/* No number that a log could not hold; sizes that are too large are refused by who knows all of
 * them, with their place (bp_model_set_input, bp_model_set_input_shape). */
static bool numbers_are_possible(const bp_layer *layer) {
    const int64_t sizes[] = {layer->fan_in,          layer->fan_out,         layer->output_shape[0],
                             layer->output_shape[1], layer->output_shape[2], layer->vocabulary};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] < 0) return false;
    return layer->line >= 0 && layer->column >= 0 && layer->pool >= 0 && layer->kernel >= 0 &&
           layer->stride >= 0 && layer->padding >= 0 && layer->skip_from <= BP_MODEL_MAX_LAYERS &&
           layer->n_branch <= BP_MODEL_MAX_LAYERS && layer->depth_in_blocks <= BP_MODEL_MAX_LAYERS;
}

static bool is_too_long(const char *name, size_t limit) {
    return name && strlen(name) > limit;
}

static bp_status check_layer(const bp_model *model, const bp_layer *layer, bp_error *error) {
    const int32_t line = layer->line, column = layer->column;
    if (!bp_layer_kind_name(layer->kind))
        return bp_fail_at(error, line, column, "unknown kind of layer %d", (int)layer->kind);
    if (model->n_layers >= BP_MODEL_MAX_LAYERS)
        return bp_fail_at(error, line, column, "a network has at most %u layers",
                          BP_MODEL_MAX_LAYERS);
    if (layer->kind == BP_LAYER_RESIDUAL &&
        (layer->n_branch == 0 || layer->n_branch > model->n_layers ||
         layer->skip_from > model->n_layers))
        return bp_fail_at(error, line, column,
                          "a residual sum needs a branch of 1 to %u layers before it, found %u",
                          model->n_layers, layer->n_branch);
    if ((layer->activation && !bp_activation_name(layer->activation)) ||
        (layer->norm && !bp_norm_name(layer->norm)) ||
        (layer->weight_init.kind && !bp_init_name(layer->weight_init.kind)) ||
        (layer->bias_init.kind && !bp_init_name(layer->bias_init.kind)) ||
        !numbers_are_possible(layer))
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "layer %u: an unknown activation, norm or initialiser, or a number that is "
                       "negative or too large",
                       model->n_layers + 1);
    /* A name below a parent must have room behind it. */
    if (is_too_long(layer->name, BP_LAYER_NAME_BYTES) ||
        is_too_long(layer->activation_name, BP_LAYER_NAME_BYTES) ||
        is_too_long(layer->parent, BP_LAYER_NAME_BYTES - 32))
        return bp_fail_at(error, line, column, "a layer's name has at most %d bytes",
                          BP_LAYER_NAME_BYTES);
    if (layer->name && !*layer->name)
        return bp_fail_at(error, line, column, "layer %u: its name is empty", model->n_layers + 1);
    return BP_OK;
}

/* NULL stays NULL; false without memory. */
static bool copy_name(char **copy, const bp_model *model, const char *name) {
    *copy = name ? bp_copy_text(&model->allocator, name) : NULL;
    return *copy || !name;
}

static bool copy_names(layer_slot *slot, const bp_model *model, const bp_layer *layer,
                       uint32_t id) {
    slot->name = choose_name(model, layer, id);
    if (!slot->name || !copy_name(&slot->parent, model, layer->parent) ||
        !copy_name(&slot->activation_name, model, layer->activation_name))
        return false;
    slot->spec.name = slot->name;
    slot->spec.parent = slot->parent;
    slot->spec.activation_name = slot->activation_name;
    return true;
}

static void fill_defaults(bp_layer *layer) {
    if (!layer->activation) layer->activation = BP_ACTIVATION_LINEAR;
    if (!layer->norm) layer->norm = BP_NORM_NONE;
    if (!layer->weight_init.kind) layer->weight_init.kind = BP_INIT_UNKNOWN;
    if (!layer->bias_init.kind) layer->bias_init.kind = BP_INIT_UNKNOWN;
    if (layer->kind == BP_LAYER_BATCH_NORM) layer->norm = BP_NORM_BATCH;
    if (layer->kind == BP_LAYER_LAYER_NORM) layer->norm = BP_NORM_LAYER;
}

/* A recurrent layer that feeds another, perhaps through a dropout or a norm, gives it all its
 * states: the last one alone is no sequence. */
static void feed_sequence(bp_model *model) {
    for (uint32_t id = model->n_layers; id >= 1; id--) {
        bp_layer *before = &model->layers[id - 1].spec;
        if (bp_layer_is_recurrent(before)) before->return_sequences = true;
        if (before->kind != BP_LAYER_DROPOUT && before->kind != BP_LAYER_LAYER_NORM &&
            before->kind != BP_LAYER_BATCH_NORM)
            return;
    }
}

bp_status bp_model_add_layer(bp_model *model, const bp_layer *layer, uint32_t *id,
                             bp_error *error) {
    const bp_status checked = check_layer(model, layer, error);
    if (checked != BP_OK) return checked;
    if (bp_layer_is_recurrent(layer)) feed_sequence(model);
    if (joins_last(model, layer)) {
        join_last(model, layer);
        if (id) *id = model->n_layers;
        return BP_OK;
    }
    const uint32_t new_id = model->n_layers + 1;
    layer_slot slot = {.spec = *layer};
    if (!copy_names(&slot, model, layer, new_id)) {
        bp_layer_slot_release(&slot, &model->allocator);
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for layer %u", new_id);
    }
    if (name_is_taken(model, slot.name)) {
        bp_fail_at(error, layer->line, layer->column, "two layers have the name '%.100s'",
                   slot.name);
        bp_layer_slot_release(&slot, &model->allocator);
        return BP_ERROR_INPUT;
    }
    if (!grow(model) || (layer->depth_in_blocks == 0 && !add_cut(model, new_id))) {
        bp_layer_slot_release(&slot, &model->allocator);
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for layer %u", new_id);
    }
    slot.spec.id = new_id;
    fill_defaults(&slot.spec);
    model->layers[model->n_layers] = slot;
    model->n_layers = new_id;
    if (id) *id = new_id;
    return BP_OK;
}

static bool are_sizes(const int64_t *sizes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (sizes[i] < 0 || sizes[i] > BP_MODEL_MAX_UNITS) return false;
    return true;
}

bp_status bp_model_set_input_shape(bp_model *model, const int64_t shape[3], bp_error *error) {
    if (!are_sizes(shape, 3))
        return bp_fail(error, BP_ERROR_ARGUMENT, "a sample of an impossible shape");
    for (uint32_t i = 0; i < model->n_layers; i++) {
        const bp_layer *layer = &model->layers[i].spec;
        const int64_t sizes[] = {layer->fan_in, layer->fan_out, layer->vocabulary};
        if (!are_sizes(sizes, 3) || !are_sizes(layer->output_shape, 3))
            return bp_fail(error, BP_ERROR_ARGUMENT, "layer %u (%.100s): a size is impossible",
                           layer->id, layer->name);
    }
    memcpy(model->input, shape, sizeof model->input);
    return BP_OK;
}

bp_status bp_model_set_origin(bp_model *model, const char *origin) {
    if (is_too_long(origin, sizeof model->origin - 1)) return BP_ERROR_ARGUMENT;
    snprintf(model->origin, sizeof model->origin, "%s", origin ? origin : "");
    return BP_OK;
}

const char *bp_model_origin(const bp_model *model) {
    return *model->origin ? model->origin : NULL;
}

void bp_model_set_recipe(bp_model *model, const bp_recipe *recipe) {
    model->recipe = *recipe;
}

const bp_recipe *bp_model_recipe(const bp_model *model) {
    return &model->recipe;
}

const int64_t *bp_model_input(const bp_model *model) {
    return model->input;
}

uint32_t bp_model_n_layers(const bp_model *model) {
    return model->n_layers;
}

const bp_layer *bp_model_layer(const bp_model *model, uint32_t id) {
    return id >= 1 && id <= model->n_layers ? &model->layers[id - 1].spec : NULL;
}

bool bp_layer_is_weighted_sum(const bp_layer *layer) {
    return layer->kind == BP_LAYER_DENSE || layer->kind == BP_LAYER_CONV;
}

bool bp_layer_is_recurrent(const bp_layer *layer) {
    return bp_layer_n_gates(layer) > 0;
}

bool bp_layer_has_weights(const bp_layer *layer) {
    const bool told = layer->kind == BP_LAYER_OTHER && layer->fan_in > 0; /* by a guest */
    return bp_layer_is_weighted_sum(layer) || layer->kind == BP_LAYER_EMBEDDING ||
           bp_layer_is_recurrent(layer) || told;
}

int64_t bp_layer_n_gates(const bp_layer *layer) {
    switch (layer->kind) {
    case BP_LAYER_RNN:
        return 1;
    case BP_LAYER_GRU:
        return 3;
    case BP_LAYER_LSTM:
        return 4;
    default:
        return 0;
    }
}

bool bp_layer_is_trained(const bp_layer *layer) {
    return !layer->frozen && (bp_layer_has_weights(layer) || layer->norm != BP_NORM_NONE);
}

uint32_t bp_model_n_cuts(const bp_model *model) {
    return model->n_cuts;
}

uint32_t bp_model_cut(const bp_model *model, uint32_t cut) {
    return cut >= 1 && cut <= model->n_cuts ? model->cuts[cut] : 0;
}

uint32_t bp_model_output_layer(const bp_model *model) {
    for (uint32_t id = model->n_layers; id >= 1; id--)
        if (bp_model_layer(model, id)->output_shape[0] > 0) return id;
    return model->n_layers;
}

bool bp_model_cut_is_normalised(const bp_model *model, uint32_t cut) {
    for (uint32_t id = bp_model_cut(model, cut - 1) + 1; id <= bp_model_cut(model, cut); id++)
        if (bp_model_layer(model, id)->norm != BP_NORM_NONE) return true;
    return false;
}
