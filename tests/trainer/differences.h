/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients and error signals of a small network against finite differences of its loss. */
#ifndef BP_TESTS_TRAINER_DIFFERENCES_H
#define BP_TESTS_TRAINER_DIFFERENCES_H

#include "kit.h"

#define NET_MAX_LAYERS 12

typedef struct net {
    const char *name;
    int64_t shape[3];
    bp_loss loss;
    bp_layer layers[NET_MAX_LAYERS]; /* ends at kind 0 */
} net;

/* Fails where a gradient is wrong, prints a line, and returns the largest relative error. A network
 * that begins with an embedding gets token ids, binary_cross_entropy targets from 0 to 1. */
double net_check(const net *checked);

#endif
