/* SPDX-License-Identifier: Apache-2.0 */
#include "report/apart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value of the 16-bit logarithm may be a code off its neighbour by rounding alone; two are not:
 * 228 codes an octave. */
#define LOG_RESOLUTION (1.5 * 0.6931471805599453 / 228)

static const bp_quantity_codec codecs[BP_N_QUANTITIES] = {
#define CODEC_OF(id, name, number, codec, rows, meaning) [BP_Q_##id] = BP_CODEC_##codec,
    BP_QUANTITIES(CODEC_OF)};
static const uint8_t numbers[BP_N_QUANTITIES] = {
#define NUMBER_OF(id, name, number, codec, rows, meaning) [BP_Q_##id] = number,
    BP_QUANTITIES(NUMBER_OF)};

const char *bp_phase_name(bp_phase phase) {
    static const char *const names[BP_N_PHASES] = {"data",          "parameters",    "forward pass",
                                                   "loss",          "backward pass", "gradient",
                                                   "learning rate", "update",        "evaluation"};
    return (unsigned)phase < BP_N_PHASES ? names[phase] : NULL;
}

/* The quantities' numbers are given out by what they are of. */
static bp_phase phase_of(bp_quantity quantity, uint32_t row) {
    const uint8_t number = numbers[quantity];
    switch (quantity) {
    case BP_Q_LOSS:
    case BP_Q_TRAIN_ACCURACY:
        return BP_PHASE_LOSS;
    case BP_Q_LEARNING_RATE:
        return BP_PHASE_LEARNING_RATE;
    case BP_Q_VALIDATION_LOSS:
    case BP_Q_VALIDATION_ACCURACY:
        return BP_PHASE_EVALUATION;
    case BP_Q_LOSS_SCALE:
        return BP_PHASE_BACKWARD;
    case BP_Q_GRADIENT_NORM:
    case BP_Q_UNCLIPPED_NORM:
        return BP_PHASE_GRADIENT;
    default:
        break;
    }
    if (number < 16) return BP_PHASE_DATA;
    if (number < 32) return row == 0 ? BP_PHASE_DATA : BP_PHASE_FORWARD;
    if (number < 48) return BP_PHASE_BACKWARD;
    if (number < 64) return BP_PHASE_PARAMETERS;
    return number < 80 ? BP_PHASE_GRADIENT : BP_PHASE_UPDATE;
}

/* --- the same layers ----------------------------------------------------------------------------
 */

static uint32_t named(const bp_model *model, const char *name, uint32_t first_guess) {
    const bp_layer *guess = bp_model_layer(model, first_guess);
    if (guess && strcmp(guess->name, name) == 0) return first_guess;
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        if (strcmp(bp_model_layer(model, id)->name, name) == 0) return id;
    return 0;
}

static void match_layers(bp_apart *apart) {
    apart->n_rows = 1; /* row 0 is the network itself */
    for (uint32_t id = 1; id <= bp_model_n_layers(apart->a); id++) {
        const uint32_t other = named(apart->b, bp_model_layer(apart->a, id)->name, id);
        if (!other) continue;
        apart->row_a[apart->n_rows] = id;
        apart->row_b[apart->n_rows++] = other;
    }
}

bool bp_apart_is_single(const bp_apart *apart, bool in_a, uint32_t id) {
    const bp_model *here = in_a ? apart->a : apart->b, *there = in_a ? apart->b : apart->a;
    return named(there, bp_model_layer(here, id)->name, id) == 0;
}

bp_status bp_apart_open(bp_apart *apart, const bp_model *a, const bp_model *b, double tolerance,
                        bp_error *error) {
    const size_t n = (size_t)bp_model_n_layers(a) + 1;
    *apart = (bp_apart){.a = a, .b = b, .tolerance = tolerance};
    apart->first_common = apart->last_common = apart->last_a = apart->last_b = -1;
    apart->row_a = calloc(n, sizeof *apart->row_a);
    apart->row_b = calloc(n, sizeof *apart->row_b);
    apart->cells = calloc(n * BP_N_QUANTITIES, sizeof *apart->cells);
    if (!apart->row_a || !apart->row_b || !apart->cells) {
        bp_apart_close(apart);
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory for two networks of %zu layers", n);
    }
    match_layers(apart);
    for (size_t i = 0; i < apart->n_rows * (size_t)BP_N_QUANTITIES; i++)
        apart->cells[i].first_step = apart->cells[i].last_step = -1;
    return BP_OK;
}

void bp_apart_close(bp_apart *apart) {
    free(apart->row_a);
    free(apart->row_b);
    free(apart->cells);
    *apart = (bp_apart){0};
}

/* --- step by step -------------------------------------------------------------------------------
 */

double bp_apart_difference(double a, double b) {
    if (a == b || (isnan(a) && isnan(b))) return 0;
    if (!isfinite(a) || !isfinite(b)) return INFINITY;
    return fabs(a - b) / fmax(fabs(a), fabs(b));
}

const char *bp_apart_number(char *bytes, size_t capacity, bp_quantity quantity, double value) {
    return codecs[quantity] == BP_CODEC_LOG ? bp_number_text(bytes, capacity, value, 4)
                                            : bp_number_exact(bytes, capacity, value);
}

/* What is gathered over steps, or tells of the full step before, can be compared only where both
 * runs were looked at in the same steps. */
static bool spans_steps(bp_quantity quantity) {
    switch (quantity) {
    case BP_Q_VARIATION:
    case BP_Q_UNITS:
    case BP_Q_SILENT_UNITS:
    case BP_Q_DEAD_UNITS:
    case BP_Q_SATURATED_UNITS:
    case BP_Q_DISTINCT_UNITS:
    case BP_Q_FEATURE_SCALES:
    case BP_Q_GRADIENT_COSINE:
        return true;
    default:
        return false;
    }
}

static bool is_full(const bp_record *record) {
    return record->columns >> BP_Q_ACTIVATION_RMS & 1 || record->columns >> BP_Q_GRADIENT_RMS & 1;
}

static bool differs(const bp_apart *apart, bp_quantity quantity, double a, double b) {
    const double difference = bp_apart_difference(a, b);
    if (apart->tolerance > 0) return difference > apart->tolerance;
    if (codecs[quantity] != BP_CODEC_LOG || !(a > 0) || !(b > 0) || isinf(difference))
        return difference > 0;
    return fabs(log(a / b)) > LOG_RESOLUTION;
}

static void compare(const bp_apart *apart, bp_apart_cell *cell, bp_quantity quantity, int64_t step,
                    double a, double b) {
    cell->n_compared++;
    cell->last_step = step;
    cell->last_a = a;
    cell->last_b = b;
    if (!differs(apart, quantity, a, b)) return;
    cell->n_different++;
    if (cell->first_step >= 0) return;
    cell->first_step = step;
    cell->a = a;
    cell->b = b;
}

static void compare_column(bp_apart *apart, bp_quantity quantity, const bp_record *a,
                           const bp_record *b) {
    for (uint32_t row = 0; row < apart->n_rows; row++) {
        bp_apart_cell *cell = &apart->cells[row * (size_t)BP_N_QUANTITIES + quantity];
        const uint32_t in_a = apart->row_a[row], in_b = apart->row_b[row];
        const bool has_a = bp_record_has(a, quantity, in_a);
        const bool has_b = bp_record_has(b, quantity, in_b);
        if (has_a && has_b)
            compare(apart, cell, quantity, a->step, bp_record_get(a, quantity, in_a),
                    bp_record_get(b, quantity, in_b));
        cell->only_a += has_a && !has_b;
        cell->only_b += has_b && !has_a;
    }
}

void bp_apart_step(bp_apart *apart, const bp_record *a, const bp_record *b) {
    if (a) apart->last_a = a->step;
    if (b) apart->last_b = b->step;
    apart->out_of_step |= (a && is_full(a)) != (b && is_full(b));
    if (!a || !b) {
        apart->only_a += a != NULL;
        apart->only_b += b != NULL;
        return;
    }
    if (apart->n_common++ == 0) apart->first_common = a->step;
    apart->last_common = a->step;
    for (int quantity = 0; quantity < BP_N_QUANTITIES; quantity++)
        if ((a->columns | b->columns) >> quantity & 1 &&
            !(apart->out_of_step && spans_steps((bp_quantity)quantity)))
            compare_column(apart, (bp_quantity)quantity, a, b);
}

/* --- the order of what differs ------------------------------------------------------------------
 */

static int compare_places(const void *left, const void *right) {
    const bp_apart_place *a = left, *b = right;
    const int64_t keys[4][2] = {
        {a->cell->first_step, b->cell->first_step},
        {(int64_t)a->phase, (int64_t)b->phase},
        {a->row, b->row},
        {(int64_t)a->quantity, (int64_t)b->quantity},
    };
    for (int i = 0; i < 4; i++) {
        if (keys[i][0] == keys[i][1]) continue;
        const bool backward = i == 2 && a->phase == BP_PHASE_BACKWARD;
        return (keys[i][0] < keys[i][1]) != backward ? -1 : 1;
    }
    return 0;
}

bp_status bp_apart_places(const bp_apart *apart, bp_apart_place **places, size_t *n,
                          bp_error *error) {
    const size_t n_cells = apart->n_rows * (size_t)BP_N_QUANTITIES;
    size_t wanted = 0;
    for (size_t i = 0; i < n_cells; i++) wanted += apart->cells[i].first_step >= 0;
    *n = 0;
    *places = wanted ? calloc(wanted, sizeof **places) : NULL;
    if (wanted && !*places)
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory for %zu differences", wanted);
    for (size_t i = 0; i < n_cells; i++) {
        const uint32_t row = (uint32_t)(i / BP_N_QUANTITIES);
        const bp_quantity quantity = (bp_quantity)(i % BP_N_QUANTITIES);
        if (apart->cells[i].first_step >= 0)
            (*places)[(*n)++] =
                (bp_apart_place){row, quantity, phase_of(quantity, row), &apart->cells[i]};
    }
    if (wanted) qsort(*places, *n, sizeof **places, compare_places);
    return BP_OK;
}
