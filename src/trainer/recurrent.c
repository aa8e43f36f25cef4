/* SPDX-License-Identifier: Apache-2.0 */
/* Backpropagation through time (Werbos 1990): forward a step at a time, back the same way. The
 * products with the inputs, and all parameters' gradients, are one matrix product over all steps.
 */
#include "trainer/recurrent.h"
#include "trainer/gemm.h"

#include <string.h>

static const bp_cell *cell_of(const bp_operator *op) {
    return op->layer->kind == BP_LAYER_RNN   ? &bp_rnn_cell
           : op->layer->kind == BP_LAYER_GRU ? &bp_gru_cell
                                             : &bp_lstm_cell;
}

static bp_sizes sizes_of(const bp_operator *op, int64_t n) {
    bp_sizes s = {.n = n, .units = op->layer->fan_out, .gates = bp_layer_n_gates(op->layer)};
    bp_sequence_of(op->in_shape, &s.steps, &s.features);
    return s;
}

static void parameters(const bp_layer *layer, bp_form forms[BP_N_SLOTS]) {
    const int64_t units = layer->fan_out, rows = bp_layer_n_gates(layer) * units;
    forms[BP_SLOT_WEIGHT] = (bp_form){rows, layer->fan_in};
    forms[BP_SLOT_RECURRENT_WEIGHT] = (bp_form){rows, units};
    if (!layer->has_bias) return;
    forms[BP_SLOT_BIAS] = forms[BP_SLOT_RECURRENT_BIAS] = (bp_form){rows, 0};
}

static void lay_out(bp_operator *op, int64_t rows, int64_t batch, bp_arena *arena) {
    const bp_sizes s = sizes_of(op, rows);
    const struct {
        int buffer;
        int64_t rows, columns;
    } wanted[] = {{BP_INPUTS, s.steps * rows, s.features},
                  {BP_GATES, s.steps * rows, s.gates * s.units},
                  {BP_STATES, (s.steps + 1) * rows, s.units},
                  {BP_GATE_ERRORS, s.steps * batch, s.gates * s.units},
                  {BP_STATE_ERROR, batch, s.units},
                  {BP_INPUT_ERRORS, s.steps * batch, s.features}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        op->buffer[wanted[i].buffer] =
            bp_arena_take(arena, wanted[i].rows, wanted[i].columns, sizeof(bp_real));
    op->buffer[BP_RECURRENT_ERRORS] = op->buffer[BP_GATE_ERRORS]; /* GRU takes its own */
    if (cell_of(op)->lay_out) cell_of(op)->lay_out(op, rows, batch, arena);
}

/* to [b, a, numbers] = from [a, b, numbers] */
static void swap_order(int64_t a, int64_t b, int64_t numbers, const bp_real *from, bp_real *to) {
    for (int64_t i = 0; i < a; i++)
        for (int64_t j = 0; j < b; j++)
            memcpy(to + (j * a + i) * numbers, from + (i * b + j) * numbers,
                   (size_t)numbers * sizeof *to);
}

/* --- forward ---------------------------------------------------------------------------------- */

/* BP_GATES [T n, G H] = x [T n, F] W^T + b */
static void project_inputs(const bp_operator *op, const bp_sizes *s) {
    const int64_t rows = s->steps * s->n, columns = s->gates * s->units;
    const bp_real *bias = op->value[BP_SLOT_BIAS];
    bp_real *out = op->buffer[BP_GATES];
    for (int64_t i = 0; i < rows && bias; i++)
        memcpy(out + i * columns, bias, (size_t)columns * sizeof *out);
    bp_gemm(BP_AS_IS, BP_TRANSPOSED, rows, columns, s->features, op->buffer[BP_INPUTS],
            op->value[BP_SLOT_WEIGHT], bias ? 1 : 0, out);
}

void bp_project_state(const bp_operator *op, const bp_sizes *s, int64_t t, bp_real beta,
                      bp_real *out) {
    const int64_t columns = s->gates * s->units;
    const bp_real *bias = op->value[BP_SLOT_RECURRENT_BIAS];
    for (int64_t i = 0; i < s->n && bias; i++)
        for (int64_t j = 0; j < columns; j++)
            out[i * columns + j] = (beta > 0 ? out[i * columns + j] : 0) + bias[j];
    bp_gemm(BP_AS_IS, BP_TRANSPOSED, s->n, columns, s->units,
            bp_at_step(op, BP_STATES, s, t, s->units), op->value[BP_SLOT_RECURRENT_WEIGHT],
            bias ? 1 : beta, out);
}

static void forward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                    bp_real *y) {
    (void)pass;
    const bp_sizes s = sizes_of(op, n);
    const size_t state_bytes = (size_t)(n * s.units) * sizeof *y;
    swap_order(n, s.steps, s.features, x, op->buffer[BP_INPUTS]);
    project_inputs(op, &s);
    memset(op->buffer[BP_STATES], 0, state_bytes);
    if (op->buffer[BP_CELLS]) memset(op->buffer[BP_CELLS], 0, state_bytes);
    for (int64_t t = 0; t < s.steps; t++) cell_of(op)->forward(op, &s, t);
    if (op->layer->return_sequences)
        swap_order(s.steps, n, s.units, bp_at_step(op, BP_STATES, &s, 1, s.units), y);
    else
        memcpy(y, bp_at_step(op, BP_STATES, &s, s.steps, s.units), state_bytes);
}

/* --- backward --------------------------------------------------------------------------------- */

/* What the layers behind say of the state of time t joins what later states say. */
static void add_output_error(const bp_operator *op, const bp_sizes *s, int64_t t,
                             const bp_real *dy) {
    const bool sequences = op->layer->return_sequences;
    bp_real *dh = op->buffer[BP_STATE_ERROR];
    if (!sequences && t < s->steps - 1) return;
    for (int64_t i = 0; i < s->n; i++) {
        const bp_real *row = dy + (sequences ? i * s->steps + t : i) * s->units;
        for (int64_t j = 0; j < s->units; j++) dh[i * s->units + j] += row[j];
    }
}

/* gradient [rows of dz] = sum of dz over all samples and time steps */
static void sum_rows(int64_t rows, int64_t columns, const bp_real *dz, bp_real *gradient) {
    memset(gradient, 0, (size_t)columns * sizeof *gradient);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) gradient[j] += dz[i * columns + j];
}

/* dL/dW = dz^T x,  dL/dU = dz^T h of the step before,  dL/db and dL/dc = sums of dz */
static void backward_parameters(const bp_operator *op, const bp_sizes *s) {
    const int64_t rows = s->steps * s->n, columns = s->gates * s->units;
    const bp_real *dz = op->buffer[BP_GATE_ERRORS], *du = op->buffer[BP_RECURRENT_ERRORS];
    bp_gemm(BP_TRANSPOSED, BP_AS_IS, columns, s->features, rows, dz, op->buffer[BP_INPUTS], 0,
            op->gradient[BP_SLOT_WEIGHT]);
    bp_gemm(BP_TRANSPOSED, BP_AS_IS, columns, s->units, rows, du, op->buffer[BP_STATES], 0,
            op->gradient[BP_SLOT_RECURRENT_WEIGHT]);
    if (!op->gradient[BP_SLOT_BIAS]) return;
    sum_rows(rows, columns, dz, op->gradient[BP_SLOT_BIAS]);
    sum_rows(rows, columns, du, op->gradient[BP_SLOT_RECURRENT_BIAS]);
}

static void backward(const bp_operator *op, const bp_pass *pass, int64_t n, const bp_real *x,
                     const bp_real *y, const bp_real *dy, bool trained, bp_real *dx) {
    (void)pass, (void)x, (void)y;
    const bp_sizes s = sizes_of(op, n);
    const int64_t columns = s.gates * s.units;
    const size_t state_bytes = (size_t)(n * s.units) * sizeof *dy;
    bp_real *dh = op->buffer[BP_STATE_ERROR];
    memset(dh, 0, state_bytes);
    if (op->buffer[BP_CELL_ERROR]) memset(op->buffer[BP_CELL_ERROR], 0, state_bytes);
    for (int64_t t = s.steps - 1; t >= 0; t--) {
        add_output_error(op, &s, t, dy);
        cell_of(op)->backward(op, &s, t);
        if (t > 0) /* dL/dh of the step before: the chain rule's factor of one time step */
            bp_gemm(BP_AS_IS, BP_AS_IS, n, s.units, columns,
                    bp_at_step(op, BP_RECURRENT_ERRORS, &s, t, columns),
                    op->value[BP_SLOT_RECURRENT_WEIGHT], 1, dh);
    }
    if (trained) backward_parameters(op, &s);
    if (!dx) return;
    bp_gemm(BP_AS_IS, BP_AS_IS, s.steps * n, s.features, columns, op->buffer[BP_GATE_ERRORS],
            op->value[BP_SLOT_WEIGHT], 0, op->buffer[BP_INPUT_ERRORS]);
    swap_order(s.steps, n, s.features, op->buffer[BP_INPUT_ERRORS], dx);
}

const bp_operator_class bp_recurrent_class = {
    .parameters = parameters, .lay_out = lay_out, .forward = forward, .backward = backward};
