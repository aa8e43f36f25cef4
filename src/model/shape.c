/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes and fans through the network, from the shape of one input sample. */
#include "model/layers.h"

#include <math.h>

#define RECURRENT_MAX_UNITS ((int64_t)1 << 24) /* so that no count of weights overflows */

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
                              "layer %u (%.100s): %s %lld does not divide the size %lld", layer->id,
                              layer->name, bp_layer_kind_name(layer->kind), (long long)window,
                              (long long)in[i]);
        out[i] = pooled ? in[i] / window : in[i];
    }
    return BP_OK;
}

/* Places of a kernel along a side of `size` with zeros on both ends. 64 bits hold the sums: sizes
 * are below 2^31 and so are the layer's numbers. */
static int64_t places(const bp_layer *layer, int64_t size) {
    const int64_t room = size + 2 * (int64_t)layer->padding - layer->kernel;
    return room < 0 ? 0 : room / layer->stride + 1;
}

/* fans as PyTorch counts them: channels times kernel */
static bp_status conv_shape(bp_layer *layer, const int64_t in[3], bp_error *error) {
    int64_t *out = layer->output_shape;
    if (layer->kernel < 1 || layer->stride < 1 || layer->padding >= layer->kernel)
        return bp_fail_at(
            error, layer->line, layer->column,
            "layer %u (%.100s): a convolution needs a kernel and a stride of at least "
            "1 and a padding below its kernel, found %d, %d and %d",
            layer->id, layer->name, layer->kernel, layer->stride, layer->padding);
    out[1] = places(layer, in[1]);
    out[2] = places(layer, in[2]);
    if (out[1] < 1 || out[2] < 1)
        return bp_fail_at(error, layer->line, layer->column,
                          "layer %u (%.100s): a kernel of %d x %d does not fit into %lld x %lld "
                          "with a padding of %d",
                          layer->id, layer->name, layer->kernel, layer->kernel, (long long)in[1],
                          (long long)in[2], layer->padding);
    const double area = (double)layer->kernel * layer->kernel;
    if (area * (double)in[0] > (double)BP_MODEL_MAX_UNITS ||
        area * (double)out[0] > (double)BP_MODEL_MAX_UNITS || !shape_is_possible(out))
        return bp_fail_at(error, layer->line, layer->column,
                          "layer %u (%.100s): %lld channels with a kernel of %d are impossible",
                          layer->id, layer->name, (long long)out[0], layer->kernel);
    layer->fan_in = in[0] * layer->kernel * layer->kernel;
    layer->fan_out = out[0] * layer->kernel * layer->kernel;
    return BP_OK;
}

void bp_sequence_of(const int64_t shape[3], int64_t *steps, int64_t *features) {
    const bool rows_of_an_image = shape[0] == 1 && shape[2] > 1;
    *steps = rows_of_an_image ? shape[1] : shape[0];
    *features = rows_of_an_image ? shape[2] : shape[1] * shape[2];
}

/* Every number of a sample is a token; the result is a sequence of (tokens, features). Of the
 * one-hot vector that a token stands for one number is not 0, so an output is the sum of one
 * weight.
 */
static bp_status embedding_shape(bp_layer *layer, const int64_t in[3], bp_error *error) {
    int64_t *out = layer->output_shape;
    out[1] = out[0];
    out[0] = elements(in);
    out[2] = 1;
    layer->fan_in = 1;
    layer->fan_out = out[1];
    if (layer->vocabulary < 1 || layer->vocabulary > BP_MODEL_MAX_UNITS || !shape_is_possible(out))
        return bp_fail_at(error, layer->line, layer->column,
                          "layer %u (%.100s): an embedding of %lld tokens with %lld numbers each, "
                          "%lld a sample, is impossible",
                          layer->id, layer->name, (long long)layer->vocabulary, (long long)out[1],
                          (long long)out[0]);
    return BP_OK;
}

/* fan_out counts the units, not their gates */
static bp_status recurrent_shape(bp_layer *layer, int64_t units, const int64_t in[3],
                                 bp_error *error) {
    int64_t steps;
    bp_sequence_of(in, &steps, &layer->fan_in);
    layer->fan_out = units;
    int64_t *out = layer->output_shape;
    out[0] = layer->return_sequences ? steps : units;
    out[1] = layer->return_sequences ? units : 1;
    out[2] = 1;
    if (units >= 1 && units <= RECURRENT_MAX_UNITS && shape_is_possible(out)) return BP_OK;
    return bp_fail_at(error, layer->line, layer->column,
                      "layer %u (%.100s): %lld units over %lld time steps are impossible",
                      layer->id, layer->name, (long long)units, (long long)steps);
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

static bp_status dense_shape(bp_layer *layer, const int64_t in[3], bp_error *error) {
    layer->fan_in = elements(in);
    layer->fan_out = layer->output_shape[0];
    layer->output_shape[1] = layer->output_shape[2] = 1;
    if (layer->fan_out >= 1 && layer->fan_out <= BP_MODEL_MAX_UNITS) return BP_OK;
    return bp_fail_at(error, layer->line, layer->column,
                      "layer %u (%.100s): %lld units are impossible", layer->id, layer->name,
                      (long long)layer->fan_out);
}

/* output_shape[0] of a layer with weights is what the file asks for: units, channels, features. A
 * recurrent layer keeps it in fan_out, for its shape may be that of a sequence. */
static bp_status layer_shape(bp_model *model, bp_layer *layer, const int64_t in[3],
                             bp_error *error) {
    const int64_t asked = layer->fan_out && !bp_layer_is_weighted_sum(layer)
                              ? layer->fan_out
                              : layer->output_shape[0];
    int64_t *out = layer->output_shape;
    if (!bp_layer_has_weights(layer) || layer->kind == BP_LAYER_OTHER)
        for (int i = 0; i < 3; i++) out[i] = in[i];
    else
        out[0] = asked;
    switch (layer->kind) {
    case BP_LAYER_DENSE:
        return dense_shape(layer, in, error);
    case BP_LAYER_CONV:
        return conv_shape(layer, in, error);
    case BP_LAYER_EMBEDDING:
        return embedding_shape(layer, in, error);
    case BP_LAYER_RNN:
    case BP_LAYER_GRU:
    case BP_LAYER_LSTM:
        return recurrent_shape(layer, asked, in, error);
    case BP_LAYER_AVG_POOL:
    case BP_LAYER_MAX_POOL:
        return pool_shape(layer, in, out, error);
    case BP_LAYER_GLOBAL_AVG_POOL:
        out[1] = out[2] = 1;
        return BP_OK;
    case BP_LAYER_FLATTEN:
        out[0] = elements(in);
        out[1] = out[2] = 1;
        return BP_OK;
    case BP_LAYER_RESIDUAL:
        return residual_shape(model, layer, in, error);
    case BP_LAYER_LAYER_NORM:
    case BP_LAYER_BATCH_NORM:
    case BP_LAYER_ACTIVATION:
    case BP_LAYER_DROPOUT:
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

/* Lines of the kernel that lie inside a side of `size`, on average over its places: line u is
 * inside at places p with 0 <= p stride + u - padding < size. */
static double mean_lines_inside(const bp_layer *layer, int64_t size, int64_t n_places) {
    const int64_t stride = layer->stride;
    double sum = 0;
    for (int64_t u = 0; u < layer->kernel; u++) {
        const int64_t shift = u - layer->padding;
        const int64_t begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
        const int64_t reach = shift < size ? (size - 1 - shift) / stride + 1 : 0;
        const int64_t end = reach < n_places ? reach : n_places;
        if (begin < end) sum += (double)(end - begin);
    }
    return sum / (double)n_places;
}

double bp_model_mean_fan_in(const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    const int64_t *in = id > 1 ? bp_model_layer(model, id - 1)->output_shape : model->input;
    const int64_t *out = layer->output_shape;
    const double area = (double)layer->kernel * layer->kernel;
    /* A guest may not have told its kernel, and a damaged log anything. */
    if (layer->kind != BP_LAYER_CONV || area < 1 || area > (double)layer->fan_in ||
        layer->stride < 1 || out[1] < 1 || out[2] < 1)
        return (double)layer->fan_in;
    return (double)in[0] * mean_lines_inside(layer, in[1], out[1]) *
           mean_lines_inside(layer, in[2], out[2]);
}

int64_t bp_layer_norm_units(const bp_layer *layer) {
    switch (layer->norm) {
    case BP_NORM_NONE:
        return 0;
    case BP_NORM_BATCH:
        return layer->output_shape[0];
    case BP_NORM_LAYER:
        return elements(layer->output_shape);
    }
    return 0;
}

/* Products of two numbers below 2^31: the sum of a few stays below 2^63. */
int64_t bp_layer_n_weights(const bp_layer *layer) {
    const int64_t in = layer->fan_in, out = layer->fan_out, gates = bp_layer_n_gates(layer);
    switch (layer->kind) {
    case BP_LAYER_DENSE:
        return in * out;
    case BP_LAYER_CONV:
        return in * layer->output_shape[0];
    case BP_LAYER_EMBEDDING:
        return layer->vocabulary * out;
    case BP_LAYER_RNN:
    case BP_LAYER_GRU:
    case BP_LAYER_LSTM:
        return gates * out * (in + out);
    default:
        return 0;
    }
}

int64_t bp_layer_n_parameters(const bp_layer *layer) {
    int64_t n = bp_layer_n_weights(layer) + 2 * bp_layer_norm_units(layer);
    if (!layer->has_bias) return n;
    if (layer->kind == BP_LAYER_DENSE) n += layer->fan_out;
    if (layer->kind == BP_LAYER_CONV) n += layer->output_shape[0];
    return n + 2 * bp_layer_n_gates(layer) * layer->fan_out * bp_layer_is_recurrent(layer);
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
    case BP_INIT_ORTHOGONAL: /* rows or columns of length 1, whichever are fewer */
        return init->parameter / sqrt(fmax(in, out));
    case BP_INIT_LECUN:
        return init->parameter / sqrt(in);
    case BP_INIT_LSUV: /* what the data make of it */
    case BP_INIT_UNKNOWN:
        return NAN;
    }
    return NAN;
}
