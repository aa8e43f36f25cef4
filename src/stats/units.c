/* SPDX-License-Identifier: Apache-2.0 */
/* What each unit gave over the samples, and how much it varied. */
#include "base/vectorised.h"
#include "stats/blocks.h"
#include "stats/float_guard.h"
#include "stats/kernels/wide.h"
#include "stats/moments.h"
#include "stats/stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define ROWS_AT_ONCE ((size_t)16) /* then the columns are written: they need not fit a cache */

void bp_units_init(bp_units *units, double *shift, double *sum, double *sum_squares,
                   uint64_t n_units) {
    *units = (bp_units){
        .n_units = n_units, .n_inner = 1, .shift = shift, .sum = sum, .sum_squares = sum_squares};
}

void bp_units_reset(bp_units *units) {
    units->samples = 0;
    units->non_finite = false;
}

/* --- rows of neighbours ----------------------------------------------------------------------- */

/* How a tensor of which each sample is contiguous lies in memory. */
typedef struct sample_view {
    const uint8_t *at;
    size_t n_samples, size; /* bytes of an element */
    ptrdiff_t sample_bytes;
    bp_wide_add_rows *add;
} sample_view;

static bp_wide_add_rows *adder_of(bp_dtype dtype) {
    const bp_wide *wide = bp_wide_of_cpu();
    switch (dtype) {
    case BP_F64:
        return wide->f64;
    case BP_F32:
        return wide->f32;
    case BP_F16:
        return wide->f16;
    case BP_BF16:
        return wide->bf16;
    }
    return NULL;
}

static bp_columns columns_from(const bp_columns *columns, size_t first) {
    return (bp_columns){columns->shift + first, columns->sum + first, columns->squares + first};
}

/* Fewer columns than a round of 16. reaches_back: there are elements before them in each row, so
 * that the 16 that end with them can be read; else they are copied out. */
static void add_few(const sample_view *view, const bp_columns *columns, size_t n,
                    const bp_rows *rows, bool reaches_back, bool is_first) {
    double numbers[3][BP_LANES] = {{0}};
    const size_t from = reaches_back ? BP_LANES - n : 0, bytes = n * sizeof(double);
    const bp_columns all = {numbers[0], numbers[1], numbers[2]}, few = columns_from(&all, from);
    if (!is_first) {
        memcpy(few.shift, columns->shift, bytes);
        memcpy(few.sum, columns->sum, bytes);
        memcpy(few.squares, columns->squares, bytes);
    }
    if (reaches_back) {
        bp_rows wide = *rows;
        wide.at -= from * view->size;
        view->add(&all, BP_LANES, &wide, is_first);
    } else {
        uint8_t copy[ROWS_AT_ONCE][BP_LANES * sizeof(double)] = {{0}};
        for (size_t done = 0; done < rows->n_rows; done += ROWS_AT_ONCE) {
            const size_t left = rows->n_rows - done;
            const bp_rows some = {.at = copy[0],
                                  .row_bytes = sizeof copy[0],
                                  .n_rows = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE,
                                  .n_groups = 1};
            for (size_t r = 0; r < some.n_rows; r++)
                memcpy(copy[r], rows->at + (ptrdiff_t)(done + r) * rows->row_bytes, n * view->size);
            view->add(&all, BP_LANES, &some, is_first && done == 0);
        }
    }
    memcpy(columns->shift, few.shift, bytes);
    memcpy(columns->sum, few.sum, bytes);
    memcpy(columns->squares, few.squares, bytes);
}

/* A unit has one value a sample: it is a column. */
static void add_rows(const bp_units *units, const sample_view *view) {
    const bp_columns columns = {units->shift, units->sum, units->sum_squares};
    const size_t n = (size_t)units->n_units, whole = n - n % BP_LANES;
    bp_rows rows = {.at = view->at, .row_bytes = view->sample_bytes, .n_groups = 1};
    for (size_t done = 0; whole && done < view->n_samples; done += rows.n_rows) {
        const size_t left = view->n_samples - done;
        rows.n_rows = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        rows.at = view->at + (ptrdiff_t)done * view->sample_bytes;
        view->add(&columns, whole, &rows, units->samples + done == 0);
    }
    if (whole == n) return;
    const bp_columns rest = columns_from(&columns, whole);
    rows.at = view->at + whole * view->size;
    rows.n_rows = view->n_samples;
    add_few(view, &rest, n - whole, &rows, whole > 0, units->samples == 0);
}

/* The first value becomes the shift of a unit that holds nothing yet. */
static double begun(const bp_units *units, size_t unit, bp_dtype dtype, const uint8_t *first) {
    if (units->samples == 0) {
        bp_block_to_f64(dtype, first, 1, &units->shift[unit]);
        units->sum[unit] = units->sum_squares[unit] = 0;
    }
    return units->shift[unit];
}

/* A unit has many values a sample: first the whole rounds of 16 of every sample, then what is left
 * of each; value i of a sample adds to lane i mod 16. */
static void add_planes(const bp_units *units, const sample_view *view, bp_dtype dtype) {
    const size_t n = (size_t)units->n_inner, whole = n - n % BP_LANES;
    for (size_t u = 0; u < units->n_units; u++) {
        double numbers[3][BP_LANES] = {{0}};
        const bp_columns lanes = {numbers[0], numbers[1], numbers[2]};
        const uint8_t *plane = view->at + u * n * view->size;
        const double shift = begun(units, u, dtype, plane);
        for (size_t j = 0; j < BP_LANES; j++) lanes.shift[j] = shift;
        const bp_rows rounds = {.at = plane,
                                .row_bytes = (ptrdiff_t)(BP_LANES * view->size),
                                .group_bytes = view->sample_bytes,
                                .n_rows = whole / BP_LANES,
                                .n_groups = view->n_samples};
        view->add(&lanes, BP_LANES, &rounds, false);
        const bp_rows rest = {.at = plane + whole * view->size,
                              .row_bytes = view->sample_bytes,
                              .n_rows = view->n_samples,
                              .n_groups = 1};
        if (whole < n) add_few(view, &lanes, n - whole, &rest, true, false);
        units->sum[u] += bp_lanes_total(lanes.sum);
        units->sum_squares[u] += bp_lanes_total(lanes.squares);
    }
}

/* The same with fewer than 16 values, of as many units at once as have a round. */
static void add_small_planes(const bp_units *units, const sample_view *view, bp_dtype dtype) {
    const size_t n = (size_t)units->n_inner, at_once = BP_LANES / n;
    for (size_t first = 0, some; first < units->n_units; first += some) {
        const size_t left = (size_t)units->n_units - first;
        some = left < at_once ? left : at_once;
        double numbers[3][BP_LANES] = {{0}};
        const bp_columns columns = {numbers[0], numbers[1], numbers[2]};
        const uint8_t *planes = view->at + first * n * view->size;
        for (size_t u = 0; u < some; u++) {
            const double shift = begun(units, first + u, dtype, planes + u * n * view->size);
            for (size_t j = 0; j < n; j++) columns.shift[u * n + j] = shift;
        }
        const bp_rows rows = {.at = planes,
                              .row_bytes = view->sample_bytes,
                              .n_rows = view->n_samples,
                              .n_groups = 1};
        const bool reaches_back = (first + some) * n >= BP_LANES;
        add_few(view, &columns, some * n, &rows, reaches_back, false);
        for (size_t u = 0; u < some; u++) {
            double sum[BP_LANES] = {0}, squares[BP_LANES] = {0};
            memcpy(sum, columns.sum + u * n, n * sizeof *sum);
            memcpy(squares, columns.squares + u * n, n * sizeof *squares);
            units->sum[first + u] += bp_lanes_total(sum);
            units->sum_squares[first + u] += bp_lanes_total(squares);
        }
    }
}

/* --- any strides ------------------------------------------------------------------------------ */

/* A place in the row-major order. */
typedef struct place {
    uint64_t sample, unit, inner;
} place;

static void step(place *at, const bp_units *units, size_t n) {
    at->inner += n;
    if (at->inner < units->n_inner) return;
    at->unit += at->inner / units->n_inner;
    at->inner = 0;
    if (at->unit < units->n_units) return;
    at->unit = 0;
    at->sample++;
}

/* How many of the next n elements are neighbours: units of one value each, or values of a unit. */
static size_t neighbours(const place *at, const bp_units *units, size_t n) {
    const uint64_t left =
        units->n_inner == 1 ? units->n_units - at->unit : units->n_inner - at->inner;
    return left < n ? (size_t)left : n;
}

static void add_neighbours(const bp_units *units, const place *at, const double *values, size_t n) {
    const bool is_first = units->samples + at->sample == 0 && at->inner == 0;
    const bool same = units->n_inner > 1;
    for (size_t i = 0; i < n; i++) {
        const size_t u = (size_t)at->unit + (same ? 0 : i);
        if (is_first && !(same && i)) {
            units->shift[u] = values[i];
            units->sum[u] = units->sum_squares[u] = 0;
        }
        const double from_shift = values[i] - units->shift[u];
        units->sum[u] += from_shift;
        units->sum_squares[u] += from_shift * from_shift;
    }
}

/* Only zeros so far, as it seems. */
static bool looks_dead(const bp_units *units, uint64_t unit) {
    return units->shift[unit] == 0 && units->sum[unit] == 0 && units->sum_squares[unit] == 0;
}

/* Squares of small f64 vanish: a trace of them is kept, so that only zeros leave none. */
static void add_traces(const bp_units *units, const place *at, const double *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t u = (size_t)at->unit + (units->n_inner > 1 ? 0 : i);
        if (values[i] != 0 && looks_dead(units, u)) units->sum_squares[u] = DBL_TRUE_MIN;
    }
}

typedef void visit(const bp_units *units, const place *at, const double *values, size_t n);

static void walk(const bp_units *units, const bp_tensor *tensor, visit *see) {
    double values[BP_BLOCK_ELEMENTS];
    bp_blocks blocks;
    bp_blocks_init(&blocks, tensor);
    place at = {0};
    size_t n;
    while ((n = bp_blocks_next_f64(&blocks, values)) > 0)
        for (size_t done = 0, some; done < n; done += some) {
            some = neighbours(&at, units, n - done);
            see(units, &at, values + done, some);
            step(&at, units, some);
        }
}

/* --- adding ----------------------------------------------------------------------------------- */

static bool samples_are_contiguous(const bp_tensor *tensor) {
    bp_tensor sample = {.data = tensor->data, .dtype = tensor->dtype, .ndim = tensor->ndim - 1};
    memcpy(sample.shape, tensor->shape + 1, (size_t)sample.ndim * sizeof *sample.shape);
    memcpy(sample.stride, tensor->stride + 1, (size_t)sample.ndim * sizeof *sample.stride);
    return bp_tensor_is_contiguous(&sample);
}

BP_VECTORISED static bool all_finite(const double *values, uint64_t n) {
    int64_t bad = 0;
    for (uint64_t i = 0; i < n; i++) bad |= !(fabs(values[i]) <= DBL_MAX);
    return !bad;
}

static bool any_looks_dead(const bp_units *units) {
    for (uint64_t u = 0; u < units->n_units; u++)
        if (looks_dead(units, u)) return true;
    return false;
}

BP_GUARDED void add_samples(bp_units *units, const bp_tensor *tensor) {
    const size_t size = bp_dtype_bytes(tensor->dtype);
    const sample_view view = {.at = tensor->data,
                              .n_samples = (size_t)tensor->shape[0],
                              .size = size,
                              .sample_bytes = (ptrdiff_t)(tensor->stride[0] * (int64_t)size),
                              .add = adder_of(tensor->dtype)};
    if (!samples_are_contiguous(tensor))
        walk(units, tensor, add_neighbours);
    else if (units->n_inner == 1)
        add_rows(units, &view);
    else if (units->n_inner >= BP_LANES)
        add_planes(units, &view, tensor->dtype);
    else
        add_small_planes(units, &view, tensor->dtype);
    if (tensor->dtype == BP_F64 && any_looks_dead(units)) walk(units, tensor, add_traces);
    units->samples += view.n_samples;
    units->non_finite |= !all_finite(units->sum_squares, units->n_units);
}

void bp_units_add(bp_units *units, const bp_tensor *tensor) {
    const int64_t count = bp_tensor_count(tensor);
    if (tensor->ndim < 1 || count == 0) return;
    if ((uint64_t)(count / tensor->shape[0]) != units->n_units * units->n_inner) return;
    if (!tensor->data || bp_dtype_bytes(tensor->dtype) == 0) return;
    bp_float_guard guard = bp_float_guard_enter();
    add_samples(units, tensor);
    bp_float_guard_leave(&guard);
}

/* --- what the sums say ------------------------------------------------------------------------ */

/* Sums over the units of their variances and mean squares. */
BP_VECTORISED static void add_up(const bp_units *units, double factor, double *variances,
                                 double *mean_squares) {
    const uint64_t n = units->n_units, whole = n - n % BP_LANES;
    const double *shift = units->shift, *sum = units->sum, *squares = units->sum_squares;
    double variance_lanes[BP_LANES] = {0}, square_lanes[BP_LANES] = {0};
    for (uint64_t first = 0; first < whole; first += BP_LANES)
        for (size_t j = 0; j < BP_LANES; j++) {
            const uint64_t u = first + j;
            const double variance = bp_variance_of(sum[u], squares[u], factor);
            const double mean = shift[u] + sum[u] * factor;
            variance_lanes[j] += variance;
            square_lanes[j] += mean * mean + variance;
        }
    for (uint64_t u = whole; u < n; u++) {
        const double variance = bp_variance_of(sum[u], squares[u], factor);
        const double mean = shift[u] + sum[u] * factor;
        variance_lanes[u - whole] += variance;
        square_lanes[u - whole] += mean * mean + variance;
    }
    *variances = bp_lanes_total(variance_lanes);
    *mean_squares = bp_lanes_total(square_lanes);
}

BP_GUARDED double variation_of(const bp_units *units) {
    double variances, mean_squares;
    add_up(units, bp_one_over_n(units), &variances, &mean_squares);
    return sqrt(variances) / sqrt(mean_squares); /* NaN when all is 0 */
}

bool bp_units_variation(const bp_units *units, uint64_t min_samples, double *variation) {
    if (units->samples == 0 || units->samples < min_samples || units->n_units == 0) return false;
    if (units->non_finite) return false;
    bp_float_guard guard = bp_float_guard_enter();
    const double result = variation_of(units);
    bp_float_guard_leave(&guard);
    if (!isfinite(result)) return false;
    *variation = result;
    return true;
}

BP_GUARDED void read_units(const bp_units *units, uint64_t first, uint64_t n, bp_unit *out) {
    const double factor = bp_one_over_n(units);
    for (uint64_t u = first; u < first + n; u++, out++) {
        *out = (bp_unit){.ever_non_zero = !looks_dead(units, u)};
        const double variance = bp_variance_of(units->sum[u], units->sum_squares[u], factor);
        const double mean = units->shift[u] + units->sum[u] * factor;
        const double mean_square = mean * mean + variance;
        if (!isfinite(units->sum_squares[u]) || !isfinite(mean_square)) continue;
        if (out->ever_non_zero && mean_square < DBL_MIN) continue;
        out->measured = true;
        out->mean = mean;
        out->variance = variance;
        out->rms = sqrt(mean_square);
    }
}

void bp_units_read(const bp_units *units, uint64_t first, uint64_t n, bp_unit *out) {
    if (units->samples == 0) {
        for (uint64_t i = 0; i < n; i++) out[i] = (bp_unit){.measured = false};
        return;
    }
    bp_float_guard guard = bp_float_guard_enter();
    read_units(units, first, n, out);
    bp_float_guard_leave(&guard);
}
