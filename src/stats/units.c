/* SPDX-License-Identifier: Apache-2.0 */
/* How much each unit's output varies over the samples. */
#include "base/vectorised.h"
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/kernels/kernel.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

void bp_units_init(bp_units *units, double *shift, double *sum, double *sum_squares,
                   uint64_t n_units) {
    *units = (bp_units){.n_units = n_units, .shift = shift, .sum = sum, .sum_squares = sum_squares};
}

void bp_units_reset(bp_units *units) {
    units->samples = 0;
    units->total_squares = 0;
    units->non_finite = false;
}

/* n values of the units from `first` on. False at a non-finite value. */
BP_VECTORISED static bool add_row(const bp_units *units, uint64_t first, const double *values,
                                  size_t n, bool is_first_sample) {
    double *restrict shift = units->shift + first, *restrict sum = units->sum + first;
    double *restrict sum_squares = units->sum_squares + first;
    if (is_first_sample)
        for (size_t i = 0; i < n; i++) {
            shift[i] = values[i];
            sum[i] = sum_squares[i] = 0;
        }
    int64_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        const double from_shift = values[i] - shift[i];
        bad |= !(fabs(values[i]) <= DBL_MAX);
        sum[i] += from_shift;
        sum_squares[i] += from_shift * from_shift;
    }
    return !bad;
}

/* Element i to lane i mod 16. */
BP_VECTORISED static void add_squares(size_t n, const double *values, double squares[BP_LANES]) {
    const size_t whole = n - n % BP_LANES;
    double lanes[BP_LANES];
    memcpy(lanes, squares, sizeof lanes);
    for (size_t i = 0; i < whole; i += BP_LANES)
        for (size_t j = 0; j < BP_LANES; j++) lanes[j] += values[i + j] * values[i + j];
    for (size_t j = 0; j < n - whole; j++) lanes[j] += values[whole + j] * values[whole + j];
    memcpy(squares, lanes, sizeof lanes);
}

BP_GUARDED void add_samples(bp_units *units, const bp_tensor *tensor, uint64_t n_samples) {
    double values[BP_BLOCK_ELEMENTS], squares[BP_LANES] = {0};
    bp_blocks blocks;
    bp_blocks_init(&blocks, tensor);
    uint64_t unit = 0, sample = units->samples;
    size_t n;
    while ((n = bp_blocks_next_f64(&blocks, values)) > 0) {
        add_squares(n, values, squares);
        for (size_t done = 0; done < n;) {
            uint64_t left = units->n_units - unit;
            size_t row = left < n - done ? (size_t)left : n - done;
            if (!add_row(units, unit, values + done, row, sample == 0)) {
                units->non_finite = true;
                return;
            }
            done += row;
            unit += row;
            if (unit == units->n_units) {
                unit = 0;
                sample++;
            }
        }
    }
    units->samples += n_samples;
    units->total_squares += bp_lanes_total(squares);
}

void bp_units_add(bp_units *units, const bp_tensor *tensor) {
    int64_t count = bp_tensor_count(tensor);
    if (tensor->ndim < 1 || count == 0 || units->non_finite) return;
    if ((uint64_t)(count / tensor->shape[0]) != units->n_units) return;
    if (!tensor->data || bp_dtype_bytes(tensor->dtype) == 0) return;
    bp_float_guard guard = bp_float_guard_enter();
    add_samples(units, tensor, (uint64_t)tensor->shape[0]);
    bp_float_guard_leave(&guard);
}

BP_GUARDED double variation_of(const bp_units *units) {
    double n_samples = (double)units->samples, n_units = (double)units->n_units;
    double variances = 0;
    for (uint64_t i = 0; i < units->n_units; i++) {
        double mean = units->sum[i] / n_samples;
        double variance = units->sum_squares[i] / n_samples - mean * mean;
        if (variance > 0) variances += variance; /* rounding alone makes it negative */
    }
    double mean_square = units->total_squares / (n_samples * n_units);
    return sqrt(variances / n_units) / sqrt(mean_square);
}

bool bp_units_variation(const bp_units *units, uint64_t min_samples, double *variation) {
    if (units->samples == 0 || units->samples < min_samples || units->n_units == 0) return false;
    if (units->non_finite || units->total_squares == 0) return false;
    bp_float_guard guard = bp_float_guard_enter();
    double result = variation_of(units);
    bp_float_guard_leave(&guard);
    if (!isfinite(result)) return false; /* squares of f64 beyond the range */
    *variation = result;
    return true;
}
