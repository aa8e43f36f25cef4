/* SPDX-License-Identifier: Apache-2.0 */
/* What theory says of an initialisation, before training: means over Gaussian units by quadrature.
 */
#include "diagnosis/diagnosis.h"
#include "diagnosis/gauss.h"

#include <math.h>

void bp_mean_field_init(bp_mean_field *field, double correlation) {
    *field = (bp_mean_field){
        .q = 1, .correlation = correlation, .gain = 1, .activation = 1, .kurtosis = 1};
}

/* Fields of state: before the call q and correlation belong to the activations that this layer
 * reads (after phi), afterwards to its own activations. */
void bp_mean_field_layer(bp_mean_field *field, bp_activation activation, double slope,
                         double sigma_w, double sigma_b) {
    const double w = sigma_w * sigma_w, b = sigma_b * sigma_b;
    const double q = w * field->q + b;
    const double c = q > 0 ? (w * field->q * field->correlation + b) / q : 1;
    bp_expansion e;
    bp_expansion_init(&e, activation, slope, 0, q);
    const double squared = e.moments.slope_square, out = e.moments.square;
    field->q = out;
    field->correlation = out > 0 ? fmin(1, bp_expansion_values(&e, &e, fmin(c, 1)) / out) : 1;
    field->activation = sqrt(squared);
    field->gain = sigma_w * field->activation;
    field->kurtosis = squared > 0 ? e.moments.slope_fourth / (squared * squared) : 1;
}

double bp_activation_critical_gain(bp_activation activation, double slope) {
    switch (activation) {
    case BP_ACTIVATION_RELU:
    case BP_ACTIVATION_GELU:
        return sqrt(2);
    case BP_ACTIVATION_LEAKY_RELU:
        return sqrt(2 / (1 + slope * slope));
    case BP_ACTIVATION_LINEAR:
    case BP_ACTIVATION_SIGMOID:
    case BP_ACTIVATION_TANH:
    case BP_ACTIVATION_SOFTMAX:
        return 1;
    case BP_ACTIVATION_ELU:
    case BP_ACTIVATION_SELU:
    case BP_ACTIVATION_SILU:
    case BP_ACTIVATION_SOFTPLUS:
        return 1 / sqrt(bp_gauss_moments(activation, slope, 0, 1).slope_square);
    }
    return 1;
}

static bool is_plain(const bp_layer *layer) {
    return bp_layer_is_weighted_sum(layer) && layer->norm == BP_NORM_NONE &&
           layer->activation != BP_ACTIVATION_SOFTMAX && layer->depth_in_blocks == 0;
}

static bool is_bounded(bp_activation activation) {
    return activation == BP_ACTIVATION_SIGMOID || activation == BP_ACTIVATION_TANH;
}

void bp_predict_chain(const bp_model *model, const bp_chain_choice *choice,
                      bp_chain_prediction *prediction) {
    *prediction = (bp_chain_prediction){.mean_gain = 1, .variation = 1, .saturation = 1};
    const double start = 0.5; /* inputs of a data set are alike to some degree */
    bp_mean_field field;
    bp_mean_field_init(&field, start);
    bool first = true;
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!is_plain(layer) || id == bp_model_output_layer(model)) continue;
        const bool other = choice->activation && layer->activation == choice->from;
        const bp_activation activation = other ? choice->activation : layer->activation;
        const double slope = other ? choice->slope : layer->activation_slope;
        const bp_init *weights = choice->init.kind ? &choice->init : &layer->weight_init;
        const double sigma_w = bp_init_std(weights, layer->fan_in, layer->fan_out) *
                               sqrt(bp_model_mean_fan_in(model, id));
        const double sigma_b = choice->init.kind && choice->init.kind != BP_INIT_PYTORCH_DEFAULT
                                   ? 0
                                   : bp_init_std(&layer->bias_init, layer->fan_in, layer->fan_out);
        bp_mean_field_layer(&field, activation, slope, sigma_w, sigma_b);
        if (is_bounded(activation)) {
            const double at_zero = bp_activation_derivative(activation, slope, 0);
            prediction->saturation = fmin(prediction->saturation, field.activation / at_zero);
        }
        prediction->spread += field.kurtosis;
        if (!first) { /* the first layer's own factor leads to the input, where nothing learns */
            prediction->log_gain += log(field.gain);
            prediction->span = fmax(prediction->span, fabs(prediction->log_gain));
            prediction->n_layers++;
        }
        first = false;
    }
    if (prediction->n_layers)
        prediction->mean_gain = exp(prediction->log_gain / prediction->n_layers);
    prediction->variation = sqrt(fmax(0, 1 - field.correlation) / (1 - start));
}
