/* SPDX-License-Identifier: Apache-2.0 */
/* The simple recurrent cell (Elman 1990):   h_t = phi(W x_t + b + U h_(t-1) + c), phi tanh or relu
 */
#include "trainer/recurrent.h"

#include <string.h>

static bp_activation_operator phi_of(const bp_operator *op) {
    return (bp_activation_operator){.kind = op->layer->activation};
}

static void forward(const bp_operator *op, const bp_sizes *s, int64_t t) {
    const bp_activation_operator phi = phi_of(op);
    bp_real *z = bp_at_step(op, BP_GATES, s, t, s->units);
    bp_project_state(op, s, t, 1, z);
    bp_activation_forward(&phi, s->n, s->units, z, bp_at_step(op, BP_STATES, s, t + 1, s->units));
}

/* dL/dz = dL/dh phi'(z); no way leads around it */
static void backward(const bp_operator *op, const bp_sizes *s, int64_t t) {
    const bp_activation_operator phi = phi_of(op);
    const size_t n_bytes = (size_t)(s->n * s->units) * sizeof(bp_real);
    bp_real *dz = bp_at_step(op, BP_GATE_ERRORS, s, t, s->units);
    memcpy(dz, op->buffer[BP_STATE_ERROR], n_bytes);
    bp_activation_backward(&phi, s->n, s->units, bp_at_step(op, BP_GATES, s, t, s->units),
                           bp_at_step(op, BP_STATES, s, t + 1, s->units), dz);
    memset(op->buffer[BP_STATE_ERROR], 0, n_bytes);
}

const bp_cell bp_rnn_cell = {.forward = forward, .backward = backward};
