/* SPDX-License-Identifier: Apache-2.0 */
/* The gated recurrent unit (Cho et al. 2014), as PyTorch has it, r inside n's recurrent part:
 *
 *   r = sigmoid(W_r x + b_r + U_r h + c_r)   z = sigmoid(W_z x + b_z + U_z h + c_z)
 *   n = tanh(W_n x + b_n + r (U_n h + c_n))  h_t = (1 - z) n + z h,   h = h_(t-1) */
#include "trainer/real.h"
#include "trainer/recurrent.h"

static void lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    int64_t steps, features;
    const int64_t units = op->layer->fan_out;
    bp_sequence_of(op->in_shape, &steps, &features);
    op->buffer[BP_KEPT] = bp_arena_take(arena, steps * rows, units, sizeof(bp_real));
    op->buffer[BP_PROJECTION] = bp_arena_take(arena, rows, 3 * units, sizeof(bp_real));
    op->buffer[BP_RECURRENT_ERRORS] =
        bp_arena_take(arena, steps * batch, 3 * units, sizeof(bp_real));
}

static void forward(const bp_operator *op, const bp_sizes *s, int64_t t) {
    const int64_t units = s->units;
    bp_real *gates = bp_at_step(op, BP_GATES, s, t, 3 * units);
    bp_real *projected = op->buffer[BP_PROJECTION];
    bp_real *kept = bp_at_step(op, BP_KEPT, s, t, units);
    const bp_real *h_before = bp_at_step(op, BP_STATES, s, t, units);
    bp_real *h = bp_at_step(op, BP_STATES, s, t + 1, units);
    bp_project_state(op, s, t, 0, projected);
    for (int64_t row = 0; row < s->n; row++, gates += 3 * units, projected += 3 * units)
        for (int64_t j = 0; j < units; j++) {
            const int64_t at = row * units + j;
            const bp_real r = gates[j] = bp_real_sigmoid(gates[j] + projected[j]);
            const bp_real z = gates[units + j] =
                bp_real_sigmoid(gates[units + j] + projected[units + j]);
            kept[at] = projected[2 * units + j];
            const bp_real n = gates[2 * units + j] =
                bp_real_tanh(gates[2 * units + j] + r * kept[at]);
            h[at] = (1 - z) * n + z * h_before[at];
        }
}

/* Around the gates dL/dh reaches the state before by z. */
static void backward(const bp_operator *op, const bp_sizes *s, int64_t t) {
    const int64_t units = s->units;
    const bp_real *gates = bp_at_step(op, BP_GATES, s, t, 3 * units);
    const bp_real *kept = bp_at_step(op, BP_KEPT, s, t, units);
    const bp_real *h_before = bp_at_step(op, BP_STATES, s, t, units);
    bp_real *dz_in = bp_at_step(op, BP_GATE_ERRORS, s, t, 3 * units);
    bp_real *dz_state = bp_at_step(op, BP_RECURRENT_ERRORS, s, t, 3 * units);
    bp_real *dh = op->buffer[BP_STATE_ERROR];
    for (int64_t row = 0; row < s->n;
         row++, gates += 3 * units, dz_in += 3 * units, dz_state += 3 * units)
        for (int64_t j = 0; j < units; j++) {
            const int64_t at = row * units + j;
            const bp_real r = gates[j], z = gates[units + j], n = gates[2 * units + j];
            const bp_real dn = dh[at] * (1 - z) * (1 - n) * (1 + n);
            dz_in[j] = dz_state[j] = dn * kept[at] * r * (1 - r);
            dz_in[units + j] = dz_state[units + j] = dh[at] * (h_before[at] - n) * z * (1 - z);
            dz_in[2 * units + j] = dn;
            dz_state[2 * units + j] = dn * r;
            dh[at] *= z;
        }
}

const bp_cell bp_gru_cell = {.lay_out = lay_out, .forward = forward, .backward = backward};
