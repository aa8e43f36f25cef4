/* SPDX-License-Identifier: Apache-2.0 */
/* From the model's layers to nodes, flat parameter arrays and buffers. */
#include "trainer/network.h"

#include <stdio.h>

/* --- nodes ------------------------------------------------------------------------------------ */

static bool has_output(const bp_node *node) {
    return node->operator.class || node->layer->kind == BP_LAYER_RESIDUAL;
}

static void describe(bp_network *network, const bp_model *model) {
    network->nodes[0].units = bp_model_units(model, 0);
    for (uint32_t l = 1; l <= network->n_layers; l++) {
        bp_node *node = &network->nodes[l];
        const bp_layer *layer = bp_model_layer(model, l);
        node->layer = layer;
        node->units = bp_model_units(model, l);
        node->trained = bp_layer_is_trained(layer);
        node->operator =
            bp_operator_of(layer, l == 1 ? bp_model_input(model) : node[-1].layer->output_shape);
        /* A recurrent layer's phi is part of its operator. */
        node->activation.kind =
            bp_layer_is_recurrent(layer) ? BP_ACTIVATION_LINEAR : layer->activation;
        node->activation.slope = (bp_real)layer->activation_slope;
        node->norm.kind = layer->norm;
        if (layer->norm != BP_NORM_NONE) {
            node->norm.units = bp_layer_norm_units(layer);
            node->norm.area = node->units / node->norm.units;
        }
        if (layer->kind == BP_LAYER_RESIDUAL) network->nodes[layer->skip_from].is_skip = true;
    }
}

/* --- parameters ------------------------------------------------------------------------------- */

/* The shapes of a layer's parameters by slot. */
static void forms_of(const bp_node *node, bp_form forms[BP_N_SLOTS]) {
    for (int slot = 0; slot < BP_N_SLOTS; slot++) forms[slot] = (bp_form){0, 0};
    if (node->operator.class && node->operator.class->parameters)
        node->operator.class->parameters(node->layer, forms);
    const int64_t norm_units = bp_layer_norm_units(node->layer);
    forms[BP_SLOT_NORM_GAIN] = forms[BP_SLOT_NORM_BIAS] = (bp_form){norm_units, 0};
}

static size_t n_parameters_of(const bp_node *node) {
    bp_form forms[BP_N_SLOTS];
    size_t n = 0;
    forms_of(node, forms);
    for (int slot = 0; slot < BP_N_SLOTS; slot++) n += forms[slot].rows > 0;
    return n;
}

static void add_parameter(bp_network *network, const bp_node *node, bp_slot slot, bp_form form) {
    static const char *const names[BP_N_SLOTS] = {
        "weight", "bias", "norm_gain", "norm_bias", "recurrent_weight", "recurrent_bias"};
    bp_network_parameter *added = &network->parameters[network->n_parameters++];
    added->parameter.layer = node->layer->id;
    added->parameter.slot = slot;
    added->parameter.trained = node->trained;
    snprintf(added->parameter.name, sizeof added->parameter.name, "%s.%s", node->layer->name,
             names[slot]);
    added->parameter.value = bp_tensor_matrix(NULL, BP_REAL_DTYPE, form.rows, form.columns);
    added->count = form.columns ? form.rows * form.columns : form.rows;
    added->offset = network->n_values;
    network->n_values += added->count;
}

static void add_running(bp_network *network, const bp_node *node, const char *name) {
    bp_running *added = &network->running[network->n_running++];
    snprintf(added->name, sizeof added->name, "%s.%s", node->layer->name, name);
    added->value = bp_tensor_matrix(NULL, BP_REAL_DTYPE, bp_layer_norm_units(node->layer), 0);
}

static void add_parameters(bp_network *network, const bp_node *node) {
    const bp_layer *layer = node->layer;
    bp_form forms[BP_N_SLOTS];
    forms_of(node, forms);
    for (int slot = 0; slot < BP_N_SLOTS; slot++)
        if (forms[slot].rows > 0) add_parameter(network, node, (bp_slot)slot, forms[slot]);
    if (layer->norm == BP_NORM_BATCH) {
        add_running(network, node, "running_mean");
        add_running(network, node, "running_variance");
    }
}

static bp_status collect_parameters(bp_network *network, bp_error *error) {
    size_t n_parameters = 0, n_running = 0;
    int64_t n_values = 0;
    for (uint32_t l = 1; l <= network->n_layers; l++) {
        const bp_layer *layer = network->nodes[l].layer;
        n_parameters += n_parameters_of(&network->nodes[l]);
        if (layer->norm == BP_NORM_BATCH) n_running += 2;
        n_values += bp_layer_n_parameters(layer);
        /* Stopped at once: further sums could overflow. */
        if (n_values > BP_ARENA_MAX_BYTES / (int64_t)sizeof(bp_real))
            return bp_fail_at(error, layer->line, layer->column,
                              "the parameters up to layer %u (%.100s) alone need more than %d GiB "
                              "of memory, the limit",
                              layer->id, layer->name, (int)(BP_ARENA_MAX_BYTES >> 30));
    }
    network->parameters =
        bp_allocate(&network->allocator, n_parameters, sizeof *network->parameters);
    network->n_parameters_taken = n_parameters;
    network->running = bp_allocate(&network->allocator, n_running, sizeof *network->running);
    network->n_running_taken = n_running;
    if (!network->parameters || !network->running)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for %zu parameters", n_parameters);
    for (uint32_t l = 1; l <= network->n_layers; l++) add_parameters(network, &network->nodes[l]);
    return BP_OK;
}

/* Where a parameter of a node is used. */
static void bind_parameter(bp_node *node, bp_slot slot, bp_real *value, bp_real *gradient) {
    const bool is_gain = slot == BP_SLOT_NORM_GAIN, is_norm = is_gain || slot == BP_SLOT_NORM_BIAS;
    if (is_norm) {
        *(is_gain ? &node->norm.gain : &node->norm.bias) = value;
        *(is_gain ? &node->norm.gain_gradient : &node->norm.bias_gradient) = gradient;
    } else {
        node->operator.value[slot] = value;
        node->operator.gradient[slot] = gradient;
    }
}

static void bind_parameters(bp_network *network) {
    for (size_t i = 0; i < network->n_parameters; i++) {
        bp_network_parameter *bound = &network->parameters[i];
        bp_parameter *seen = &bound->parameter;
        bp_real *value = network->values + bound->offset;
        bp_real *gradient = network->gradients + bound->offset;
        seen->gradient = seen->value;
        seen->value.data = value;
        seen->gradient.data = gradient;
        bind_parameter(&network->nodes[seen->layer], seen->slot, value, gradient);
    }
    bp_running *running = network->running;
    for (uint32_t l = 1; l <= network->n_layers; l++) {
        const bp_norm_operator *norm = &network->nodes[l].norm;
        if (norm->kind != BP_NORM_BATCH) continue;
        running->value.data = running->data = norm->running_mean;
        running++;
        running->value.data = running->data = norm->running_variance;
        running++;
    }
}

/* --- buffers ---------------------------------------------------------------------------------- */

static bp_real *take(bp_arena *arena, int64_t rows, int64_t columns) {
    return bp_arena_take(arena, rows, columns, sizeof(bp_real));
}

static void lay_out_norm(bp_norm_operator *norm, int64_t rows, bp_arena *arena) {
    const bool is_batch = norm->kind == BP_NORM_BATCH;
    norm->normalised = take(arena, rows, norm->units * norm->area);
    norm->inverse_std = take(arena, is_batch ? 1 : rows, is_batch ? norm->units : 1);
    if (!is_batch) return;
    norm->mean = take(arena, 1, norm->units);
    norm->running_mean = take(arena, 1, norm->units);
    norm->running_variance = take(arena, 1, norm->units);
}

/* Run twice: to measure and to hand out. */
static void lay_out(bp_network *network, const bp_recipe *recipe, bp_arena *arena) {
    const int64_t rows = network->rows;
    network->values = take(arena, 1, network->n_values);
    network->gradients = take(arena, 1, network->n_values);
    network->before = take(arena, 1, network->n_values);
    if (bp_optimiser_has_first(recipe)) network->first_moment = take(arena, 1, network->n_values);
    if (bp_optimiser_has_second(recipe)) network->second_moment = take(arena, 1, network->n_values);
    int64_t widest = network->nodes[0].units;
    for (uint32_t l = 0; l <= network->n_layers; l++) {
        bp_node *node = &network->nodes[l];
        if (node->is_skip && node->units > widest) widest = node->units;
        if (l == 0) continue;
        if (has_output(node)) node->operated = take(arena, rows, node->units);
        if (node->operator.class && node->operator.class->lay_out)
            node->operator.class->lay_out(&node->operator, rows, network->batch, arena);
        if (node->norm.kind != BP_NORM_NONE) {
            node->normed = take(arena, rows, node->units);
            lay_out_norm(&node->norm, rows, arena);
        }
        if (node->activation.kind != BP_ACTIVATION_LINEAR)
            node->activated = take(arena, rows, node->units);
        node->error = take(arena, network->batch, node->units);
    }
    network->part_error = take(arena, network->batch, widest);
}

void bp_network_reset_running(bp_network *network) {
    for (uint32_t l = 1; l <= network->n_layers; l++) {
        const bp_norm_operator *norm = &network->nodes[l].norm;
        for (int64_t j = 0; norm->kind == BP_NORM_BATCH && j < norm->units; j++) {
            norm->running_mean[j] = 0;
            norm->running_variance[j] = 1;
        }
    }
}

static void initialise(bp_network *network, uint64_t seed) {
    for (size_t i = 0; i < network->n_parameters; i++) {
        const bp_network_parameter *parameter = &network->parameters[i];
        const bp_layer *layer = network->nodes[parameter->parameter.layer].layer;
        bp_initialise(layer, parameter->parameter.slot, seed, i, parameter->count,
                      network->values + parameter->offset);
    }
    bp_network_reset_running(network);
}

/* --- the whole -------------------------------------------------------------------------------- */

static bp_status build(bp_network *network, const bp_model *model, bp_error *error) {
    const bp_recipe *recipe = bp_model_recipe(model);
    network->nodes =
        bp_allocate(&network->allocator, (size_t)network->n_layers + 1, sizeof *network->nodes);
    if (!network->nodes)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for %u layers", network->n_layers);
    describe(network, model);
    bp_status status = collect_parameters(network, error);
    if (status != BP_OK) return status;
    lay_out(network, recipe, &network->arena);
    status = bp_arena_fill(&network->arena, "the network", &network->allocator, error);
    if (status != BP_OK) return status;
    lay_out(network, recipe, &network->arena);
    bind_parameters(network);
    initialise(network, recipe->seed);
    return BP_OK;
}

bp_status bp_network_open(bp_network *network, const bp_model *model, const bp_allocator *allocator,
                          bp_error *error) {
    const int64_t batch = bp_model_recipe(model)->batch;
    *network = (bp_network){.allocator = *bp_allocator_or_system(allocator),
                            .n_layers = bp_model_n_layers(model),
                            .batch = batch,
                            .rows = batch > BP_EVALUATION_ROWS ? batch : BP_EVALUATION_ROWS};
    const bp_status status = build(network, model, error);
    if (status != BP_OK) bp_network_close(network);
    return status;
}

void bp_network_close(bp_network *network) {
    const bp_allocator *allocator = &network->allocator;
    bp_release(allocator, network->nodes, (size_t)network->n_layers + 1, sizeof *network->nodes);
    bp_release(allocator, network->parameters, network->n_parameters_taken,
               sizeof *network->parameters);
    bp_release(allocator, network->running, network->n_running_taken, sizeof *network->running);
    bp_arena_release(&network->arena, allocator);
    *network = (bp_network){0};
}
