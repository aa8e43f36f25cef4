/* SPDX-License-Identifier: Apache-2.0 */
/* Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000). Gates in
 * PyTorch's order, of z = W x_t + b + U h_(t-1) + c:
 *
 *   i = sigmoid z_i   f = sigmoid z_f   g = tanh z_g   o = sigmoid z_o
 *   c_t = f c_(t-1) + i g               h_t = o tanh c_t
 *
 * Back through c the factor of a time step is f alone: near 1 nothing vanishes. */
#include "trainer/real.h"
#include "trainer/recurrent.h"

static void lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    int64_t steps, features;
    const int64_t units = op->layer->fan_out;
    bp_sequence_of(op->in_shape, &steps, &features);
    op->buffer[BP_CELLS] = bp_arena_take(arena, (steps + 1) * rows, units, sizeof(bp_real));
    op->buffer[BP_KEPT] = bp_arena_take(arena, steps * rows, units, sizeof(bp_real));
    op->buffer[BP_CELL_ERROR] = bp_arena_take(arena, batch, units, sizeof(bp_real));
}

static void forward(const bp_operator *op, const bp_sizes *s, int64_t t) {
    const int64_t units = s->units;
    bp_real *gates = bp_at_step(op, BP_GATES, s, t, 4 * units);
    bp_real *h = bp_at_step(op, BP_STATES, s, t + 1, units);
    const bp_real *c_before = bp_at_step(op, BP_CELLS, s, t, units);
    bp_real *c = bp_at_step(op, BP_CELLS, s, t + 1, units);
    bp_real *tanh_c = bp_at_step(op, BP_KEPT, s, t, units);
    bp_project_state(op, s, t, 1, gates);
    for (int64_t row = 0; row < s->n; row++, gates += 4 * units)
        for (int64_t j = 0; j < units; j++) {
            const int64_t at = row * units + j;
            const bp_real i = gates[j] = bp_real_sigmoid(gates[j]);
            const bp_real f = gates[units + j] = bp_real_sigmoid(gates[units + j]);
            const bp_real g = gates[2 * units + j] = bp_real_tanh(gates[2 * units + j]);
            const bp_real o = gates[3 * units + j] = bp_real_sigmoid(gates[3 * units + j]);
            c[at] = f * c_before[at] + i * g;
            tanh_c[at] = bp_real_tanh(c[at]);
            h[at] = o * tanh_c[at];
        }
}

/* dc_t = dh o (1 - tanh^2 c) + what came through time;   dc_(t-1) = dc_t f */
static void backward(const bp_operator *op, const bp_sizes *s, int64_t t) {
    const int64_t units = s->units;
    const bp_real *gates = bp_at_step(op, BP_GATES, s, t, 4 * units);
    const bp_real *c_before = bp_at_step(op, BP_CELLS, s, t, units);
    const bp_real *tanh_c = bp_at_step(op, BP_KEPT, s, t, units);
    bp_real *dz = bp_at_step(op, BP_GATE_ERRORS, s, t, 4 * units);
    bp_real *dh = op->buffer[BP_STATE_ERROR], *dc = op->buffer[BP_CELL_ERROR];
    for (int64_t row = 0; row < s->n; row++, gates += 4 * units, dz += 4 * units)
        for (int64_t j = 0; j < units; j++) {
            const int64_t at = row * units + j;
            const bp_real i = gates[j], f = gates[units + j];
            const bp_real g = gates[2 * units + j], o = gates[3 * units + j];
            const bp_real through = dc[at] + dh[at] * o * (1 - tanh_c[at]) * (1 + tanh_c[at]);
            dz[j] = through * g * i * (1 - i);
            dz[units + j] = through * c_before[at] * f * (1 - f);
            dz[2 * units + j] = through * i * (1 - g) * (1 + g);
            dz[3 * units + j] = dh[at] * tanh_c[at] * o * (1 - o);
            dc[at] = through * f;
            dh[at] = 0;
        }
}

const bp_cell bp_lstm_cell = {.lay_out = lay_out, .forward = forward, .backward = backward};
