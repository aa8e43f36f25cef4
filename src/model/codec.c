/* SPDX-License-Identifier: Apache-2.0 */
/* The model as bytes: what the first record of every log segment holds (docs/runlog-format.md). */
#include "model/layers.h"

/* 1 knew neither the layers from conv on nor schedules, clipping, l1, l2; 2 knew no network but one
 * of a network file, and is still written for those. A layer is the same in 2 and 3. */
#define CODEC_VERSION 3u
#define NETWORK_FILE_VERSION 2u

static void encode_init(bp_writer *writer, const bp_init *init) {
    bp_write_u8(writer, (uint8_t)init->kind);
    bp_write_f64(writer, init->parameter);
}

static bp_init decode_init(bp_cursor *cursor) {
    bp_init init = {.kind = (bp_init_kind)bp_read_u8(cursor)};
    init.parameter = bp_read_f64(cursor);
    if (!bp_init_name(init.kind)) cursor->bad = true;
    return init;
}

enum {
    HAS_BIAS = 1,
    FROZEN = 2,
    NORM_AFTER_ACTIVATION = 4,
    HAS_PARENT = 8,
    OWN_INIT = 16,
    RETURN_SEQUENCES = 32
};

static void encode_layer(bp_writer *writer, const bp_layer *layer) {
    bp_write_text(writer, layer->name);
    bp_write_text(writer, layer->parent ? layer->parent : "");
    bp_write_u8(writer, (uint8_t)layer->kind);
    bp_write_u8(writer, (uint8_t)layer->activation);
    bp_write_u8(writer, (uint8_t)layer->norm);
    bp_write_u8(writer,
                (uint8_t)((layer->has_bias ? HAS_BIAS : 0) | (layer->frozen ? FROZEN : 0) |
                          (layer->norm_after_activation ? NORM_AFTER_ACTIVATION : 0) |
                          (layer->parent ? HAS_PARENT : 0) | (layer->own_init ? OWN_INIT : 0) |
                          (layer->return_sequences ? RETURN_SEQUENCES : 0)));
    bp_write_f64(writer, layer->activation_slope);
    bp_write_varint(writer, (uint64_t)layer->fan_in);
    bp_write_varint(writer, (uint64_t)layer->fan_out);
    for (int i = 0; i < 3; i++) bp_write_varint(writer, (uint64_t)layer->output_shape[i]);
    encode_init(writer, &layer->weight_init);
    encode_init(writer, &layer->bias_init);
    bp_write_varint(writer, (uint64_t)layer->pool);
    bp_write_f64(writer, layer->branch_scale);
    bp_write_varint(writer, layer->skip_from);
    bp_write_varint(writer, layer->n_branch);
    bp_write_varint(writer, layer->depth_in_blocks);
    bp_write_varint(writer, (uint64_t)layer->line);
    bp_write_varint(writer, (uint64_t)layer->column);
    bp_write_varint(writer, layer->item);
    bp_write_varint(writer, (uint64_t)layer->kernel);
    bp_write_varint(writer, (uint64_t)layer->stride);
    bp_write_varint(writer, (uint64_t)layer->padding);
    bp_write_varint(writer, (uint64_t)layer->vocabulary);
    bp_write_f64(writer, layer->drop_fraction);
    bp_write_f64(writer, layer->forget_bias);
}

/* A varint that must fit below a limit; 0 and bad otherwise. */
static uint64_t read_below(bp_cursor *cursor, uint64_t limit) {
    const uint64_t value = bp_read_varint(cursor);
    if (value < limit) return value;
    cursor->bad = true;
    return 0;
}

static void decode_layer_2(bp_layer *layer, bp_cursor *cursor) {
    layer->kernel = (int32_t)read_below(cursor, INT32_MAX);
    layer->stride = (int32_t)read_below(cursor, INT32_MAX);
    layer->padding = (int32_t)read_below(cursor, INT32_MAX);
    layer->vocabulary = (int64_t)read_below(cursor, (uint64_t)BP_MODEL_MAX_UNITS + 1);
    layer->drop_fraction = bp_read_f64(cursor);
    layer->forget_bias = bp_read_f64(cursor);
}

static bp_status decode_layer(bp_model *model, bp_cursor *cursor, uint64_t version,
                              bp_error *error) {
    char name[BP_LAYER_NAME_BYTES + 64], parent[BP_LAYER_NAME_BYTES + 64];
    bp_layer layer = {.name = name};
    bp_read_text(cursor, name, sizeof name);
    bp_read_text(cursor, parent, sizeof parent);
    layer.kind = (bp_layer_kind)bp_read_u8(cursor);
    layer.activation = (bp_activation)bp_read_u8(cursor);
    layer.norm = (bp_norm)bp_read_u8(cursor);
    const unsigned flags = bp_read_u8(cursor);
    layer.has_bias = (flags & HAS_BIAS) != 0;
    layer.frozen = (flags & FROZEN) != 0;
    layer.norm_after_activation = (flags & NORM_AFTER_ACTIVATION) != 0;
    layer.own_init = (flags & OWN_INIT) != 0;
    layer.return_sequences = (flags & RETURN_SEQUENCES) != 0;
    layer.parent = flags & HAS_PARENT ? parent : NULL;
    layer.activation_slope = bp_read_f64(cursor);
    const uint64_t units = (uint64_t)BP_MODEL_MAX_UNITS + 1;
    layer.fan_in = (int64_t)read_below(cursor, units);
    layer.fan_out = (int64_t)read_below(cursor, units);
    for (int i = 0; i < 3; i++) layer.output_shape[i] = (int64_t)read_below(cursor, units);
    layer.weight_init = decode_init(cursor);
    layer.bias_init = decode_init(cursor);
    layer.pool = (int32_t)read_below(cursor, INT32_MAX);
    layer.branch_scale = bp_read_f64(cursor);
    layer.skip_from = (uint32_t)read_below(cursor, BP_MODEL_MAX_LAYERS + 1);
    layer.n_branch = (uint32_t)read_below(cursor, BP_MODEL_MAX_LAYERS + 1);
    layer.depth_in_blocks = (uint32_t)read_below(cursor, BP_MODEL_MAX_LAYERS + 1);
    layer.line = (int32_t)read_below(cursor, INT32_MAX);
    layer.column = (int32_t)read_below(cursor, INT32_MAX);
    layer.item = (uint32_t)read_below(cursor, UINT32_MAX);
    if (version >= 2) decode_layer_2(&layer, cursor);
    if (!bp_layer_kind_name(layer.kind) || !bp_activation_name(layer.activation) ||
        !bp_norm_name(layer.norm) || name[0] == '\0')
        cursor->bad = true;
    if (cursor->bad) return BP_ERROR_INPUT;
    return bp_model_add_layer(model, &layer, NULL, error);
}

static void encode_recipe(bp_writer *writer, const bp_recipe *recipe) {
    bp_write_u8(writer, (uint8_t)recipe->loss);
    bp_write_u8(writer, (uint8_t)recipe->optimiser);
    const double reals[] = {recipe->learning_rate,  recipe->momentum, recipe->beta1,
                            recipe->beta2,          recipe->epsilon,  recipe->trivial_loss,
                            recipe->chance_accuracy};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) bp_write_f64(writer, reals[i]);
    const int64_t counts[] = {recipe->batch, recipe->epochs, recipe->epoch_steps,
                              recipe->train_samples, recipe->n_outputs};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        bp_write_u64(writer, (uint64_t)counts[i]);
    bp_write_u64(writer, recipe->seed);
    bp_write_u8(writer, (uint8_t)recipe->schedule);
    bp_write_u8(writer, recipe->nesterov ? 1 : 0);
    const double more[] = {recipe->alpha,       recipe->weight_decay,       recipe->l1,
                           recipe->l2,          recipe->huber_delta,        recipe->clip_norm,
                           recipe->clip_value,  recipe->warm_up_epochs,     recipe->step_epochs,
                           recipe->step_factor, recipe->final_learning_rate};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) bp_write_f64(writer, more[i]);
}

static void decode_recipe_2(bp_cursor *cursor, bp_recipe *recipe) {
    recipe->schedule = (bp_schedule)bp_read_u8(cursor);
    recipe->nesterov = bp_read_u8(cursor) != 0;
    double *more[] = {&recipe->alpha,       &recipe->weight_decay,       &recipe->l1,
                      &recipe->l2,          &recipe->huber_delta,        &recipe->clip_norm,
                      &recipe->clip_value,  &recipe->warm_up_epochs,     &recipe->step_epochs,
                      &recipe->step_factor, &recipe->final_learning_rate};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) *more[i] = bp_read_f64(cursor);
}

static void decode_recipe(bp_cursor *cursor, uint64_t version, bp_recipe *recipe) {
    recipe->loss = (bp_loss)bp_read_u8(cursor);
    recipe->optimiser = (bp_optimiser)bp_read_u8(cursor);
    double *reals[] = {&recipe->learning_rate,  &recipe->momentum, &recipe->beta1,
                       &recipe->beta2,          &recipe->epsilon,  &recipe->trivial_loss,
                       &recipe->chance_accuracy};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) *reals[i] = bp_read_f64(cursor);
    int64_t *counts[] = {&recipe->batch, &recipe->epochs, &recipe->epoch_steps,
                         &recipe->train_samples, &recipe->n_outputs};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        *counts[i] = (int64_t)bp_read_u64(cursor);
        if (*counts[i] < 0) cursor->bad = true;
    }
    recipe->seed = bp_read_u64(cursor);
    if (version >= 2) decode_recipe_2(cursor, recipe);
}

/* --- what version 3 adds, behind the layers ------------------------------------------------- */

enum { UNSUPERVISED = 1, FROM_PROBABILITIES = 2 };

static uint32_t count_activation_names(const bp_model *model) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < model->n_layers; i++) n += model->layers[i].activation_name != NULL;
    return n;
}

static bool needs_version_3(const bp_model *model) {
    return *model->origin || model->recipe.unsupervised || model->recipe.from_probabilities ||
           count_activation_names(model) > 0;
}

static void encode_origin(bp_writer *writer, const bp_model *model) {
    bp_write_text(writer, model->origin);
    bp_write_u8(writer, (uint8_t)((model->recipe.unsupervised ? UNSUPERVISED : 0) |
                                  (model->recipe.from_probabilities ? FROM_PROBABILITIES : 0)));
    bp_write_varint(writer, count_activation_names(model));
    for (uint32_t i = 0; i < model->n_layers; i++) {
        if (!model->layers[i].activation_name) continue;
        bp_write_varint(writer, i + 1);
        bp_write_text(writer, model->layers[i].activation_name);
    }
}

static bp_status decode_activation_name(bp_model *model, bp_cursor *cursor, bp_error *error) {
    char name[BP_LAYER_NAME_BYTES + 1];
    const uint64_t id = read_below(cursor, model->n_layers + UINT64_C(1));
    bp_read_text(cursor, name, sizeof name);
    if (cursor->bad || id == 0 || model->layers[id - 1].activation_name) {
        cursor->bad = true;
        return BP_ERROR_INPUT;
    }
    layer_slot *slot = &model->layers[id - 1];
    slot->activation_name = bp_copy_text(&model->allocator, name);
    slot->spec.activation_name = slot->activation_name;
    if (slot->activation_name) return BP_OK;
    return bp_fail(error, BP_ERROR_MEMORY, "no memory for the network of the log");
}

static bp_status decode_origin(bp_model *model, bp_cursor *cursor, bp_error *error) {
    bp_read_text(cursor, model->origin, sizeof model->origin);
    const uint8_t flags = bp_read_u8(cursor);
    model->recipe.unsupervised = (flags & UNSUPERVISED) != 0;
    model->recipe.from_probabilities = (flags & FROM_PROBABILITIES) != 0;
    const uint64_t n = read_below(cursor, model->n_layers + UINT64_C(1));
    bp_status status = BP_OK;
    for (uint64_t i = 0; i < n && status == BP_OK; i++)
        status = decode_activation_name(model, cursor, error);
    return status;
}

/* --- the whole ------------------------------------------------------------------------------ */

void bp_model_encode(const bp_model *model, bp_writer *writer) {
    const bool version_3 = needs_version_3(model);
    bp_write_varint(writer, version_3 ? CODEC_VERSION : NETWORK_FILE_VERSION);
    encode_recipe(writer, &model->recipe);
    for (int i = 0; i < 3; i++) bp_write_varint(writer, (uint64_t)model->input[i]);
    bp_write_varint(writer, model->n_layers);
    for (uint32_t id = 1; id <= model->n_layers; id++)
        encode_layer(writer, bp_model_layer(model, id));
    if (version_3) encode_origin(writer, model);
}

size_t bp_model_max_bytes(const bp_model *model) {
    return 320 + (size_t)model->n_layers * (3 * (BP_LAYER_NAME_BYTES + 64) + 256);
}

/* --- layers that were added ----------------------------------------------------------------- */

void bp_model_encode_layers(const bp_model *model, uint32_t first, bp_writer *writer) {
    for (uint32_t id = first; id <= model->n_layers; id++)
        encode_layer(writer, bp_model_layer(model, id));
}

static void forget_layers_behind(bp_model *model, uint32_t n_layers) {
    while (model->n_layers > n_layers)
        bp_layer_slot_release(&model->layers[--model->n_layers], &model->allocator);
    while (model->n_cuts > 0 && model->cuts[model->n_cuts] > n_layers) model->n_cuts--;
}

bp_status bp_model_decode_layers(bp_model *model, uint32_t n_layers, bp_cursor *cursor,
                                 bp_error *error) {
    const uint32_t before = model->n_layers;
    bp_status status = BP_OK;
    for (uint32_t i = 0; i < n_layers && status == BP_OK; i++)
        status = decode_layer(model, cursor, CODEC_VERSION, error);
    const bool whole = !cursor->bad && cursor->position == cursor->length;
    if (status == BP_OK && whole && model->n_layers == before + n_layers) return BP_OK;
    forget_layers_behind(model, before);
    if (status == BP_ERROR_MEMORY) return status;
    return bp_fail(error, BP_ERROR_INPUT, "the description of new layers in the log is damaged");
}

void bp_model_swap(bp_model *a, bp_model *b) {
    const bp_model swap = *a;
    *a = *b;
    *b = swap;
}

static bp_status decode_body(bp_model *model, bp_cursor *cursor, bp_error *error) {
    const uint64_t version = bp_read_varint(cursor);
    if (version < 1 || version > CODEC_VERSION) cursor->bad = true;
    decode_recipe(cursor, version, &model->recipe);
    for (int i = 0; i < 3; i++)
        model->input[i] = (int64_t)read_below(cursor, (uint64_t)BP_MODEL_MAX_UNITS + 1);
    const uint64_t n_layers = read_below(cursor, BP_MODEL_MAX_LAYERS + 1);
    for (uint64_t i = 0; i < n_layers && !cursor->bad; i++) {
        const bp_status status = decode_layer(model, cursor, version, error);
        if (status != BP_OK && !cursor->bad) return status;
    }
    if (version >= 3 && !cursor->bad) {
        const bp_status status = decode_origin(model, cursor, error);
        if (status == BP_ERROR_MEMORY) return status;
    }
    if (cursor->bad || cursor->position != cursor->length || model->n_layers != n_layers)
        return bp_fail(error, BP_ERROR_INPUT,
                       "the description of the network in the log is damaged");
    return BP_OK;
}

bp_status bp_model_decode(bp_model **model, bp_cursor *cursor, const bp_allocator *allocator,
                          bp_error *error) {
    bp_model *decoded;
    if (bp_model_open(&decoded, allocator) != BP_OK)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for the network of the log");
    const bp_status status = decode_body(decoded, cursor, error);
    if (status != BP_OK) {
        bp_model_close(decoded);
        return status;
    }
    *model = decoded;
    return BP_OK;
}
