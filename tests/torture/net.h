/* SPDX-License-Identifier: Apache-2.0 */
/* A network so small that a process of thousands of its steps can be killed a thousand times: dense
 * tanh layers of equal width trained by SGD on fixed samples. The same seed gives the same bits,
 * watched or not. */
#ifndef BP_TESTS_TORTURE_NET_H
#define BP_TESTS_TORTURE_NET_H

#include <backprobe/model.h>
#include <backprobe/observe.h>

#define NET_BATCH 8
#define NET_UNITS 6
#define NET_MAX_LAYERS 64
#define NET_WEIGHTS ((size_t)NET_UNITS * NET_UNITS)
#define NET_PARAMETERS (NET_WEIGHTS + NET_UNITS) /* of a layer: weights, biases */
#define NET_CELLS ((size_t)NET_BATCH * NET_UNITS)

typedef struct net {
    uint32_t n_layers;
    int64_t step;  /* updates done */
    uint64_t hash; /* of all losses so far */
    float parameters[NET_MAX_LAYERS + 1][NET_PARAMETERS], before[NET_PARAMETERS];
    float gradient[NET_MAX_LAYERS + 1][NET_PARAMETERS];
    float output[NET_MAX_LAYERS + 1][NET_CELLS], error[NET_MAX_LAYERS + 1][NET_CELLS];
    float target[NET_CELLS];
} net;

void net_init(net *n, uint32_t n_layers, uint64_t seed);
/* Its description for the library; the caller closes it. NULL when there is no memory. */
bp_model *net_model(const net *n);
/* One step of training; returns the loss. observer: told all of it; NULL: nobody watches. */
double net_step(net *n, const bp_observer *observer);
/* Of all losses and the parameters. */
uint64_t net_hash(const net *n);
double net_weight_rms(const net *n, uint32_t layer);

#endif
