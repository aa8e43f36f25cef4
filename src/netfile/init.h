/* SPDX-License-Identifier: Apache-2.0 */
/* The initialisers of weights and biases as the network file writes them. */
#ifndef BP_NETFILE_INIT_H
#define BP_NETFILE_INIT_H

#include "netfile/schema.h"

typedef struct bp_init_pair {
    bp_init weights, biases;
} bp_init_pair;

/* What holds where the file says nothing: PyTorch's default for both. */
bp_init_pair bp_init_default(void);
BP_MUST_USE bp_status bp_init_read(const bp_reader *reader, const bp_node *node, const char *place,
                                   bp_init_pair *init);

/* The parameter of an initialiser ("std" of normal); NULL when it has none. */
const bp_key *bp_init_parameter(int kind);

#endif
