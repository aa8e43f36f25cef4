/* SPDX-License-Identifier: Apache-2.0 */
/* Layer-sequential unit variance (Mishkin & Matas 2016): from orthogonal weights on, layer by
 * layer, weights are divided by the deviation of what the layer makes of real samples. */
#include "trainer/network.h"

#include <math.h>

#define ROUNDS 10
#define TOLERANCE 0.02

static double deviation(int64_t count, const bp_real *x) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) mean += (double)x[i];
    mean /= (double)count;
    for (int64_t i = 0; i < count; i++) {
        const double distance = (double)x[i] - mean;
        squares += distance * distance;
    }
    return sqrt(squares / (double)count);
}

static void scale_weights(const bp_node *node, double factor) {
    const bp_layer *layer = node->layer;
    const int64_t count = bp_layer_n_weights(layer);
    bp_real *weight = node->operator.value[BP_SLOT_WEIGHT];
    for (int64_t i = 0; i < count; i++) weight[i] = (bp_real)((double)weight[i] * factor);
}

/* A layer whose outputs are all alike, or not finite, has no scale that would help. */
static void fit_layer(bp_network *network, uint32_t l, const bp_pass *pass, int64_t n) {
    const bp_node *node = &network->nodes[l];
    const double wanted = node->layer->weight_init.parameter;
    for (int round = 0; round < ROUNDS; round++) {
        const double found = deviation(n * node->units, node->operated);
        if (!(found > 0) || !isfinite(found) || fabs(found / wanted - 1) < TOLERANCE) return;
        scale_weights(node, wanted / found);
        bp_network_forward_layer(network, l, pass, n);
    }
}

static bool is_lsuv(const bp_node *node) {
    return bp_layer_is_weighted_sum(node->layer) && node->layer->weight_init.kind == BP_INIT_LSUV;
}

void bp_network_lsuv(bp_network *network, const bp_real *input, int64_t n) {
    const bp_pass pass = {.training = true}; /* batch norm needs the batch's statistics */
    uint32_t last = 0;
    for (uint32_t l = 1; l <= network->n_layers; l++)
        if (is_lsuv(&network->nodes[l])) last = l;
    network->nodes[0].output = input;
    for (uint32_t l = 1; l <= last; l++) {
        bp_network_forward_layer(network, l, &pass, n);
        if (is_lsuv(&network->nodes[l])) fit_layer(network, l, &pass, n);
    }
    bp_network_reset_running(network);
}
