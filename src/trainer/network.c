/* SPDX-License-Identifier: Apache-2.0 */
/* Forward through the layers, back by the chain rule, update. */
#include "trainer/network.h"

#include <string.h>

/* --- forward ---------------------------------------------------------------------------------- */

/* x of the layer before through this layer's operator; a layer without one passes x on. */
static const bp_real *operate(const bp_network *network, const bp_node *node, const bp_pass *pass,
                              const bp_real *x, int64_t n) {
    if (!node->operated) return x;
    if (node->layer->kind == BP_LAYER_RESIDUAL)
        bp_residual_forward((bp_real)node->layer->branch_scale, n * node->units,
                            network->nodes[node->layer->skip_from].output, x, node->operated);
    else
        node->operator.class->forward(&node->operator, pass, n, x, node->operated);
    return node->operated;
}

static const bp_real *normalise(const bp_node *node, const bp_real *x, int64_t n, bool training) {
    if (node->norm.kind == BP_NORM_NONE) return x;
    bp_norm_forward(&node->norm, training, n, x, node->normed);
    return node->normed;
}

static const bp_real *activate(bp_node *node, const bp_real *z, int64_t n) {
    if (node->activation.kind == BP_ACTIVATION_LINEAR) return z;
    node->activation_input = z;
    bp_activation_forward(&node->activation, n, node->units, z, node->activated);
    return node->activated;
}

void bp_network_forward_layer(bp_network *network, uint32_t l, const bp_pass *pass, int64_t n) {
    bp_node *node = &network->nodes[l];
    const bool norm_last = node->layer->norm_after_activation;
    const bp_real *x = operate(network, node, pass, node[-1].output, n);
    if (!norm_last) x = normalise(node, x, n, pass->training);
    x = activate(node, x, n);
    if (norm_last) x = normalise(node, x, n, pass->training);
    node->output = x;
}

const bp_real *bp_network_forward(bp_network *network, const bp_pass *pass, const bp_real *input,
                                  int64_t n, const bp_teller *teller) {
    network->nodes[0].output = input;
    for (uint32_t l = 1; l <= network->n_layers; l++) {
        const bp_node *node = &network->nodes[l];
        bp_network_forward_layer(network, l, pass, n);
        bp_tell_matrix(teller, l, BP_ROLE_ACTIVATION, node->output, n, node->units);
    }
    return network->nodes[network->n_layers].output;
}

/* --- backward --------------------------------------------------------------------------------- */

static void normalise_backward(bp_node *node, int64_t n, const bp_teller *teller) {
    if (node->norm.kind == BP_NORM_NONE) return;
    bp_norm_backward(&node->norm, n, node->error);
    bp_tell_matrix(teller, node->layer->id, BP_ROLE_ERROR_PRE_NORM, node->error, n, node->units);
}

static void activate_backward(bp_node *node, int64_t n, const bp_teller *teller) {
    if (node->activation.kind == BP_ACTIVATION_LINEAR) return;
    bp_activation_backward(&node->activation, n, node->units, node->activation_input,
                           node->activated, node->error);
    bp_tell_matrix(teller, node->layer->id, BP_ROLE_ERROR_PRE_ACTIVATION, node->error, n,
                   node->units);
}

/* dL/dx of the layer's operator into dx (NULL: nobody asks), and its parameters' gradients; the
 * skip's part of a residual sum goes to its own node. */
static void operate_backward(bp_network *network, const bp_node *node, const bp_pass *pass,
                             int64_t n, bp_real *dx) {
    if (node->layer->kind == BP_LAYER_RESIDUAL)
        bp_residual_backward((bp_real)node->layer->branch_scale, n * node->units, node->error,
                             network->nodes[node->layer->skip_from].error, dx);
    else if (node->operator.class)
        node->operator.class->backward(&node->operator, pass, n, node[-1].output, node->operated,
                                       node->error, node->trained, dx);
    else if (dx)
        memcpy(dx, node->error, (size_t)(n * node->units) * sizeof *dx);
}

/* Hands the error on to the layer before. Where a block begins there, this layer's part joins what
 * the skips have left: only with both is that layer's error complete. The first layer's reaches the
 * input, where it is computed only if the observer asks. */
static void pass_on(bp_network *network, uint32_t l, const bp_pass *pass, int64_t n,
                    const bp_teller *teller) {
    const bp_node *node = &network->nodes[l];
    bp_node *before = &network->nodes[l - 1];
    const bool first = l == 1, asked = bp_teller_wants(teller, l, BP_ROLE_ERROR_INPUT);
    if (first ? !asked : !before->is_skip) {
        operate_backward(network, node, pass, n, first ? NULL : before->error);
        return;
    }
    const bp_real *part = network->part_error;
    operate_backward(network, node, pass, n, network->part_error);
    bp_tell_matrix(teller, l, BP_ROLE_ERROR_INPUT, part, n, before->units);
    if (first) return; /* nothing to train lies before it */
    for (int64_t i = 0; i < n * before->units; i++) before->error[i] += part[i];
}

void bp_network_backward(bp_network *network, const bp_pass *pass, int64_t n,
                         const bp_teller *teller) {
    for (uint32_t l = 1; l < network->n_layers; l++) {
        const bp_node *node = &network->nodes[l];
        if (node->is_skip) memset(node->error, 0, (size_t)(n * node->units) * sizeof(bp_real));
    }
    for (uint32_t l = network->n_layers; l >= 1; l--) {
        bp_node *node = &network->nodes[l];
        const bool norm_last = node->layer->norm_after_activation;
        bp_tell_matrix(teller, l, BP_ROLE_ERROR_OUTPUT, node->error, n, node->units);
        if (norm_last) normalise_backward(node, n, teller);
        activate_backward(node, n, teller);
        if (!norm_last) normalise_backward(node, n, teller);
        pass_on(network, l, pass, n, teller);
    }
}

/* --- update ----------------------------------------------------------------------------------- */

static bp_real *at(bp_real *flat, const bp_network_parameter *parameter) {
    return flat ? flat + parameter->offset : NULL;
}

void bp_network_update(bp_network *network, const bp_update *update, const bp_teller *teller) {
    for (size_t i = 0; i < network->n_parameters; i++) {
        const bp_network_parameter *p = &network->parameters[i];
        if (!p->parameter.trained) continue;
        bp_real *w = at(network->values, p), *before = at(network->before, p);
        if (bp_teller_wants(teller, p->parameter.layer, BP_ROLE_UPDATE))
            memcpy(before, w, (size_t)p->count * sizeof *w);
        bp_optimise(update, p->count, at(network->gradients, p), at(network->first_moment, p),
                    at(network->second_moment, p), w);
        bp_tell_update(teller, &p->parameter, before);
    }
}
