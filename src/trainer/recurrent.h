/* SPDX-License-Identifier: Apache-2.0 */
/* Recurrent layers through time: what their cells have in common. n samples, T time steps, F
 * features, H units, G gates. Inside all is time-major, [T, n, ...]: a time step's rows lie
 * together for the products with the state, and all time steps' for those with the inputs.
 * Parameters are laid out as PyTorch has them: weight [G H, F], recurrent weight [G H, H], two
 * biases [G H]. */
#ifndef BP_TRAINER_RECURRENT_H
#define BP_TRAINER_RECURRENT_H

#include "trainer/operators.h"

/* Buffers of an operator. */
enum {
    BP_INPUTS,           /* x [T, n, F] */
    BP_GATES,            /* [T, n, G H]: projections of the inputs, then the gates */
    BP_STATES,           /* h [T + 1, n, H]; the first is 0 */
    BP_CELLS,            /* LSTM: c [T + 1, n, H]; the first is 0 */
    BP_KEPT,             /* [T, n, H]: LSTM: tanh c; GRU: U_n h + c_n */
    BP_PROJECTION,       /* GRU: U h + c [n, G H] of one time step */
    BP_GATE_ERRORS,      /* dL/d(W x + b) [T, n, G H] */
    BP_RECURRENT_ERRORS, /* dL/d(U h + c), the same but for GRU's n */
    BP_STATE_ERROR,      /* dL/dh [n, H], on its way back through time */
    BP_CELL_ERROR,       /* LSTM: dL/dc [n, H] */
    BP_INPUT_ERRORS      /* dL/dx [T, n, F] */
};

typedef struct bp_sizes {
    int64_t n, steps, features, units, gates;
} bp_sizes;

/* One time step of a cell. */
typedef struct bp_cell {
    void (*lay_out)(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena); /* NULL */
    /* BP_GATES of time t hold W x + b; leaves the gates there and the state in BP_STATES. */
    void (*forward)(const bp_operator *op, const bp_sizes *s, int64_t t);
    /* BP_STATE_ERROR holds dL/dh of time t; leaves the gates' errors of time t, and in
     * BP_STATE_ERROR what reaches the state before on ways around the gates. */
    void (*backward)(const bp_operator *op, const bp_sizes *s, int64_t t);
} bp_cell;

extern const bp_cell bp_rnn_cell, bp_gru_cell, bp_lstm_cell; /* rnn.c, gru.c, lstm.c */

/* The rows of a time step in a time-major buffer of so many numbers a sample. */
static inline bp_real *bp_at_step(const bp_operator *op, int buffer, const bp_sizes *s, int64_t t,
                                  int64_t numbers) {
    return op->buffer[buffer] + t * s->n * numbers;
}

/* out [n, G H] := beta out + h of before time t [n, H] times U^T */
void bp_project_state(const bp_operator *op, const bp_sizes *s, int64_t t, bp_real beta,
                      bp_real *out);

#endif
