/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and fans through the network, from the shape of one input sample. */
#include "model/layers.h"

#include <math.h>

static int64_t elements(const int64_t shape[3]) {
    return shape[0] * shape[1] * shape[2];
}

/* The limit holds for each factor's product, so that nothing here can overflow. */
static bool shape_is_possible(const int64_t shape[3]) {
    int64_t product = 1;
    for (int i = 0; i < 3; i++) {
        if (shape[i] < 1 || shape[i] > BP_MODEL_MAX_UNITS / product) return false;
        product *= shape[i];
    }
    return true;
}

static bp_status pool_shape(const bp_layer *layer, const int64_t in[3], int64_t out[3],
                            bp_error *error) {
    const bool vector = in[1] == 1 && in[2] == 1;
    const int64_t window = layer->pool;
    for (int i = 0; i < 3; i++) {
        const bool pooled = vector ? i == 0 : i > 0;
        if (pooled && (window < 1 || in[i] % window != 0))
            return bp_fail_at(error, layer->line, layer->column,
                              "layer %u (%.100s): avg_pool %lld does not divide the size %lld",
                              layer->id, layer->name, (long long)window, (long long)in[i]);
        out[i] = pooled ? in[i] / window : in[i];
    }
    return BP_OK;
}

static bp_status residual_shape(const bp_model *model, const bp_layer *layer, const int64_t in[3],
                                bp_error *error) {
    const int64_t *skip =
        layer->skip_from ? model->layers[layer->skip_from - 1].spec.output_shape : model->input;
    if (skip[0] != in[0] || skip[1] != in[1] || skip[2] != in[2])
        return bp_fail_at(error, layer->line, layer->column,
                          "layer %u (%.100s): the branch gives %lld units but the block's input "
                          "has %lld; a residual block must keep the size",
                          layer->id, layer->name, (long long)elements(in),
                          (long long)elements(skip));
    return BP_OK;
}

static bp_status layer_shape(bp_model *model, bp_layer *layer, const int64_t in[3],
                             bp_error *error) {
    for (int i = 0; i < 3; i++)
        if (layer->kind != BP_LAYER_DENSE) layer->output_shape[i] = in[i];
    switch (layer->kind) {
    case BP_LAYER_DENSE:
        layer->fan_in = elements(in);
        layer->fan_out = layer->output_shape[0];
        if (layer->fan_out < 1 || layer->fan_out > BP_MODEL_MAX_UNITS)
            return bp_fail_at(error, layer->line, layer->column,
                              "layer %u (%.100s): %lld units are impossible", layer->id,
                              layer->name, (long long)layer->fan_out);
        layer->output_shape[1] = layer->output_shape[2] = 1;
        return BP_OK;
    case BP_LAYER_AVG_POOL:
        return pool_shape(layer, in, layer->output_shape, error);
    case BP_LAYER_RESIDUAL:
        return residual_shape(model, layer, in, error);
    case BP_LAYER_LAYER_NORM:
    case BP_LAYER_BATCH_NORM:
    case BP_LAYER_ACTIVATION:
    case BP_LAYER_OTHER:
        return BP_OK;
    }
    return BP_OK;
}

bp_status bp_model_set_input(bp_model *model, const int64_t shape[3], bp_error *error) {
    if (!shape_is_possible(shape))
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "an input of %lld x %lld x %lld numbers is impossible", (long long)shape[0],
                       (long long)shape[1], (long long)shape[2]);
    for (int i = 0; i < 3; i++) model->input[i] = shape[i];
    const int64_t *in = model->input;
    for (uint32_t i = 0; i < model->n_layers; i++) {
        bp_layer *layer = &model->layers[i].spec;
        const bp_status status = layer_shape(model, layer, in, error);
        if (status != BP_OK) return status;
        in = layer->output_shape;
    }
    return BP_OK;
}

int64_t bp_model_units(const bp_model *model, uint32_t layer) {
    const bp_layer *found = bp_model_layer(model, layer);
    return elements(found ? found->output_shape : model->input);
}

int64_t bp_layer_n_parameters(const bp_layer *layer) {
    int64_t n = 0;
    if (layer->kind == BP_LAYER_DENSE)
        n += layer->fan_in * layer->fan_out + (layer->has_bias ? layer->fan_out : 0);
    if (layer->norm != BP_NORM_NONE) n += 2 * elements(layer->output_shape);
    return n;
}

double bp_init_std(const bp_init *init, int64_t fan_in, int64_t fan_out) {
    const double in = (double)fan_in, out = (double)fan_out;
    switch (init->kind) {
    case BP_INIT_ZEROS:
    case BP_INIT_CONSTANT:
        return 0;
    case BP_INIT_NORMAL:
        return init->parameter;
    case BP_INIT_UNIFORM:
        return init->parameter / sqrt(3);
    case BP_INIT_XAVIER:
        return init->parameter * sqrt(2 / (in + out));
    case BP_INIT_HE:
        return init->parameter * sqrt(2 / in);
    case BP_INIT_PYTORCH_DEFAULT:
        return 1 / sqrt(3 * in);
    case BP_INIT_UNKNOWN:
        return NAN;
    }
    return NAN;
}
