/* SPDX-License-Identifier: Apache-2.0 */
/* What units did over the samples: which were never active, which are saturated, how many differ.
 */
#include "base/vectorised.h"
#include "stats/float_guard.h"
#include "stats/kernels/kernel.h"
#include "stats/moments.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

#define SATURATED_SHARE 0.01 /* of the largest phi' */

/* The tails of GELU and SiLU where phi' stays below about 1e-3. */
static double tail_of(bp_unit_kind kind) {
    return kind == BP_UNIT_GELU ? 3e-4 : kind == BP_UNIT_SILU ? 1.2e-3 : 0;
}

bool bp_unit_kind_has_silence(bp_unit_kind kind) {
    return kind == BP_UNIT_RELU || kind == BP_UNIT_GELU || kind == BP_UNIT_SILU;
}

/* --- from sums to units ----------------------------------------------------------------------- */

/* Sums over values, 16 at a time: of 16 units one value each, or 16 values of one unit. */
typedef struct gathered {
    double mean[BP_LANES], squares[BP_LANES], variance[BP_LANES]; /* squares of the means */
    int64_t non_zero[BP_LANES], beyond[BP_LANES]; /* a value was not 0; was outside the tail */
} gathered;

BP_VECTORISED static void gather(gathered *all, const bp_units *units, size_t first, size_t n,
                                 double factor, double tail) {
    const double *shift = units->shift + first, *sum = units->sum + first;
    const double *squares = units->sum_squares + first, limit = tail * tail;
    gathered g = *all;
    const size_t whole = n - n % BP_LANES;
    for (size_t i = 0; i < n; i += BP_LANES) {
        const size_t some = i < whole ? BP_LANES : n - whole;
        for (size_t j = 0; j < some; j++) {
            const size_t v = i + j;
            const double variance = bp_variance_of(sum[v], squares[v], factor);
            const double mean = shift[v] + sum[v] * factor, square = mean * mean;
            g.mean[j] += mean;
            g.squares[j] += square;
            g.variance[j] += variance;
            g.non_zero[j] |= (shift[v] != 0) | (sum[v] != 0) | (squares[v] != 0);
            g.beyond[j] |= (mean > 0) | (square + variance > limit);
        }
    }
    *all = g;
}

/* Of n values of one unit: the variance of a mixture. */
static bp_unit_reading reading_of(double mean, double squares, double variance, bool active,
                                  double n) {
    bp_unit_reading reading = {.active = active, .mean = mean / n, .variance = variance / n};
    const double between = squares / n - reading.mean * reading.mean;
    if (n > 1 && between > 0) reading.variance += between;
    return reading;
}

static bool is_active(const gathered *g, size_t lane, double tail) {
    return g->non_zero[lane] && (tail == 0 || g->beyond[lane]);
}

/* The next at most 16 units; returns how many. */
static size_t read_round(const bp_units *units, const bp_unit_shape *shape, bp_unit_kind kind,
                         uint64_t first, bp_unit_reading out[BP_LANES]) {
    const double factor = bp_one_over_n(units), tail = tail_of(kind);
    const double n_values = (double)(shape->outer * shape->inner);
    const uint64_t left = shape->n_units - first;
    const size_t n = left < BP_LANES ? (size_t)left : BP_LANES;
    if (shape->inner == 1) { /* neighbours are units */
        gathered g = {.mean = {0}};
        for (uint64_t o = 0; o < shape->outer; o++)
            gather(&g, units, (size_t)(o * shape->n_units + first), n, factor, tail);
        for (size_t j = 0; j < n; j++)
            out[j] = reading_of(g.mean[j], g.squares[j], g.variance[j], is_active(&g, j, tail),
                                n_values);
        return n;
    }
    for (size_t u = 0; u < n; u++) { /* neighbours are values of a unit */
        gathered g = {.mean = {0}};
        for (uint64_t o = 0; o < shape->outer; o++)
            gather(&g, units, (size_t)((o * shape->n_units + first + u) * shape->inner),
                   (size_t)shape->inner, factor, tail);
        bool active = false;
        for (size_t j = 0; j < BP_LANES; j++) active |= is_active(&g, j, tail);
        out[u] = reading_of(bp_lanes_total(g.mean), bp_lanes_total(g.squares),
                            bp_lanes_total(g.variance), active, n_values);
    }
    return n;
}

static bool is_readable(const bp_units *units, const bp_unit_shape *shape, uint64_t min_samples) {
    uint64_t n;
    if (__builtin_mul_overflow(shape->outer, shape->n_units, &n)) return false;
    if (__builtin_mul_overflow(n, shape->inner, &n)) return false;
    return n > 0 && n == units->n_units && units->samples > 0 && units->samples >= min_samples &&
           !units->non_finite;
}

/* --- units that differ ------------------------------------------------------------------------ */

/* Words of a table that is at most half full. */
static uint64_t table_words(uint64_t n_units) {
    uint64_t words = 2;
    while (words < 2 * n_units) words *= 2;
    return words;
}

size_t bp_activity_scratch_words(uint64_t n_units) {
    return (size_t)table_words(n_units);
}

static uint64_t mixed(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Of mean and variance, not 0; -0 is 0. */
static uint64_t fingerprint(const bp_unit_reading *reading) {
    const double numbers[2] = {reading->mean + 0.0, reading->variance + 0.0};
    uint64_t bits[2];
    memcpy(bits, numbers, sizeof bits);
    return mixed(bits[0] + mixed(bits[1] + 1)) | 1;
}

/* False: it is in the table already. */
static bool enter(uint64_t *table, uint64_t n_words, uint64_t print) {
    uint64_t at = print >> 1 & (n_words - 1);
    while (table[at] != 0) {
        if (table[at] == print) return false;
        at = (at + 1) & (n_words - 1);
    }
    table[at] = print;
    return true;
}

/* --- counting --------------------------------------------------------------------------------- */

void bp_activity_init(bp_activity *activity, bp_unit_kind kind, uint64_t n_units,
                      uint64_t dead_samples, uint64_t *quiet, uint64_t *scratch) {
    *activity = (bp_activity){.kind = kind,
                              .n_units = n_units,
                              .dead_samples = dead_samples,
                              .quiet = bp_unit_kind_has_silence(kind) ? quiet : NULL,
                              .scratch = scratch};
    bp_activity_reset(activity);
}

void bp_activity_reset(bp_activity *activity) {
    activity->observed = 0;
    if (activity->quiet)
        memset(activity->quiet, 0, (size_t)activity->n_units * sizeof *activity->quiet);
}

static bool is_saturated(bp_unit_kind kind, const bp_unit_reading *reading) {
    const double square = reading->mean * reading->mean + reading->variance;
    if (kind == BP_UNIT_SIGMOID) return reading->mean - square < SATURATED_SHARE * 0.25;
    return kind == BP_UNIT_TANH && 1 - square < SATURATED_SHARE;
}

static void begin_count(bp_activity *activity, uint64_t samples, bp_unit_counts *counts) {
    const bp_unit_kind kind = activity->kind;
    activity->observed += samples;
    *counts = (bp_unit_counts){.n_units = activity->n_units,
                               .has_silent = bp_unit_kind_has_silence(kind),
                               .has_dead = activity->quiet && activity->dead_samples > 0 &&
                                           activity->observed >= activity->dead_samples,
                               .has_saturated = kind == BP_UNIT_SIGMOID || kind == BP_UNIT_TANH,
                               .has_distinct = activity->scratch != NULL};
    if (activity->scratch)
        memset(activity->scratch, 0,
               (size_t)table_words(activity->n_units) * sizeof *activity->scratch);
}

static void count_units(bp_activity *activity, const bp_unit_reading *readings, uint64_t first,
                        size_t n, uint64_t samples, bp_unit_counts *counts) {
    const uint64_t n_words = table_words(activity->n_units);
    for (size_t i = 0; i < n; i++) {
        const bp_unit_reading *reading = &readings[i];
        counts->silent += counts->has_silent && !reading->active;
        counts->saturated += is_saturated(activity->kind, reading);
        if (activity->scratch)
            counts->distinct += enter(activity->scratch, n_words, fingerprint(reading));
        if (!activity->quiet) continue;
        uint64_t *quiet = &activity->quiet[first + i];
        *quiet = reading->active ? 0 : *quiet + samples;
        counts->dead += counts->has_dead && *quiet >= activity->dead_samples;
    }
}

BP_GUARDED void count_all(bp_activity *activity, const bp_unit_reading *readings, uint64_t samples,
                          bp_unit_counts *counts) {
    begin_count(activity, samples, counts);
    count_units(activity, readings, 0, (size_t)activity->n_units, samples, counts);
}

void bp_activity_count(bp_activity *activity, const bp_unit_reading *readings, uint64_t samples,
                       bp_unit_counts *counts) {
    const bp_float_guard guard = bp_float_guard_enter();
    count_all(activity, readings, samples, counts);
    bp_float_guard_leave(&guard);
}

BP_GUARDED void read_all(bp_activity *activity, const bp_units *units, const bp_unit_shape *shape,
                         bp_unit_counts *counts) {
    bp_unit_reading readings[BP_LANES];
    begin_count(activity, units->samples, counts);
    for (uint64_t first = 0; first < shape->n_units; first += BP_LANES) {
        const size_t n = read_round(units, shape, activity->kind, first, readings);
        count_units(activity, readings, first, n, units->samples, counts);
    }
}

bool bp_activity_read(bp_activity *activity, const bp_units *units, const bp_unit_shape *shape,
                      uint64_t min_samples, bp_unit_counts *counts) {
    if (!is_readable(units, shape, min_samples) || shape->n_units != activity->n_units)
        return false;
    const bp_float_guard guard = bp_float_guard_enter();
    read_all(activity, units, shape, counts);
    bp_float_guard_leave(&guard);
    return true;
}

/* --- scales of features ----------------------------------------------------------------------- */

static void swap(double *a, double *b) {
    const double kept = *a;
    *a = *b;
    *b = kept;
}

/* The element that would stand at `place` if the values were sorted (Hoare 1961); reorders them. */
static double element_at(double *values, size_t n, size_t place) {
    size_t low = 0, high = n - 1;
    while (low < high) {
        const double pivot = values[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i >= j) break;
            swap(&values[i++], &values[j--]);
        }
        if (place <= j)
            high = j;
        else
            low = j + 1;
    }
    return values[place];
}

/* 0: none varies. */
BP_GUARDED double scales_of(const bp_units *units, const bp_unit_shape *shape, double *scratch) {
    bp_unit_reading readings[BP_LANES];
    double largest = 0;
    size_t n_varying = 0;
    for (uint64_t first = 0; first < shape->n_units; first += BP_LANES) {
        const size_t n = read_round(units, shape, BP_UNIT_PLAIN, first, readings);
        for (size_t i = 0; i < n; i++) {
            if (!(readings[i].variance > 0)) continue;
            largest = fmax(largest, readings[i].variance);
            scratch[n_varying++] = readings[i].variance;
        }
    }
    if (n_varying == 0) return 0;
    return sqrt(largest) / sqrt(element_at(scratch, n_varying, (n_varying - 1) / 2));
}

bool bp_units_scales(const bp_units *units, const bp_unit_shape *shape, uint64_t min_samples,
                     double *scratch, double *scales) {
    if (!is_readable(units, shape, min_samples)) return false;
    const bp_float_guard guard = bp_float_guard_enter();
    const double result = scales_of(units, shape, scratch);
    bp_float_guard_leave(&guard);
    if (result == 0) return false;
    *scales = result;
    return true;
}
