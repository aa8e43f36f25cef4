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

#define SATURATED_SHARE 0.01 /* of the largest phi', 1 of tanh and 0.25 of sigmoid */

/* What a mean square is above where a unit is active although its mean is not: of GELU and SiLU the
 * square of the lower end of the tail in which phi' stays below about 1e-3. Of the others any. */
static double tail_of(bp_unit_kind kind) {
    return kind == BP_UNIT_GELU ? 3e-4 * 3e-4 : kind == BP_UNIT_SILU ? 1.2e-3 * 1.2e-3 : -1;
}

bool bp_unit_kind_has_silence(bp_unit_kind kind) {
    return kind == BP_UNIT_RELU || kind == BP_UNIT_GELU || kind == BP_UNIT_SILU;
}

/* --- from sums to units ----------------------------------------------------------------------- */

/* Sums over values, 16 at a time: of 16 units one value each, or 16 values of one unit. */
typedef struct gathered {
    double mean[BP_LANES], squares[BP_LANES], variance[BP_LANES]; /* squares of the means */
    int64_t active[BP_LANES];                                     /* one of them was */
} gathered;

/* Stretches of n neighbours; each begins so many values behind the one before. */
typedef struct stretches {
    size_t first, n, step, n_stretches;
} stretches;

BP_VECTORISED static void gather(gathered *restrict all, const bp_units *units, const stretches *at,
                                 double factor, double tail) {
    const size_t n = at->n, whole = n - n % BP_LANES;
    for (size_t j = 0; j < BP_LANES; j++) {
        all->mean[j] = all->squares[j] = all->variance[j] = 0;
        all->active[j] = 0;
    }
    for (size_t s = 0, first = at->first; s < at->n_stretches; s++, first += at->step) {
        const double *restrict shift = units->shift + first, *restrict sum = units->sum + first;
        const double *restrict squares = units->sum_squares + first;
        for (size_t i = 0; i < n; i += BP_LANES) {
            const size_t some = i < whole ? BP_LANES : n - whole;
            for (size_t j = 0; j < some; j++) {
                const size_t v = i + j;
                const double variance = bp_variance_of(sum[v], squares[v], factor);
                const double mean = shift[v] + sum[v] * factor, square = mean * mean;
                all->mean[j] += mean;
                all->squares[j] += square;
                all->variance[j] += variance;
                all->active[j] |= ((shift[v] != 0) | (sum[v] != 0) | (squares[v] != 0)) &
                                  ((mean > 0) | (square + variance > tail));
            }
        }
    }
}

/* Of values of one unit, one over their number: the variance of a mixture. */
static bp_unit_reading reading_of(double mean, double squares, double variance, bool active,
                                  double share) {
    bp_unit_reading reading = {
        .active = active, .mean = mean * share, .variance = variance * share};
    const double between = squares * share - reading.mean * reading.mean;
    if (share < 1 && between > 0) reading.variance += between;
    return reading;
}

/* The next at most 16 units; returns how many. */
static size_t read_round(const bp_units *units, const bp_unit_shape *shape, bp_unit_kind kind,
                         uint64_t first, bp_unit_reading out[BP_LANES]) {
    const double factor = bp_one_over_n(units), tail = tail_of(kind);
    const double share = 1 / (double)(shape->outer * shape->inner);
    const uint64_t left = shape->n_units - first;
    const size_t n = left < BP_LANES ? (size_t)left : BP_LANES;
    const size_t inner = (size_t)shape->inner;
    stretches at = {.step = (size_t)shape->n_units * inner, .n_stretches = (size_t)shape->outer};
    gathered g;
    if (inner == 1) { /* neighbours are units */
        at.first = (size_t)first;
        at.n = n;
        gather(&g, units, &at, factor, tail);
        for (size_t j = 0; j < n; j++)
            out[j] = reading_of(g.mean[j], g.squares[j], g.variance[j], g.active[j] != 0, share);
        return n;
    }
    for (size_t u = 0; u < n; u++) { /* neighbours are values of a unit */
        at.first = ((size_t)first + u) * inner;
        at.n = inner;
        gather(&g, units, &at, factor, tail);
        bool active = false;
        for (size_t j = 0; j < BP_LANES; j++) active |= g.active[j] != 0;
        out[u] = reading_of(bp_lanes_total(g.mean), bp_lanes_total(g.squares),
                            bp_lanes_total(g.variance), active, share);
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

/* Words of a table that is at most a quarter full, so that few meet in it: a power of two. */
static uint64_t table_words(uint64_t n_units) {
    return n_units < 2 ? 4 : UINT64_C(8) << (63 - __builtin_clzll(n_units - 1));
}

size_t bp_activity_scratch_words(uint64_t n_units) {
    return (size_t)table_words(n_units);
}

/* Of mean and variance, not 0; -0 is 0. The factors are odd and without pattern, so that the upper
 * bits depend on all bits; they are folded down to where the table's place is taken from. */
static inline uint64_t fingerprint(const bp_unit_reading *reading) {
    const double numbers[2] = {reading->mean + 0.0, reading->variance + 0.0};
    uint64_t bits[2];
    memcpy(bits, numbers, sizeof bits);
    uint64_t mixed =
        bits[0] * UINT64_C(0xbf58476d1ce4e5b9) ^ bits[1] * UINT64_C(0x94d049bb133111eb);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) | 1;
}

/* Those that are not in the table yet. */
static uint64_t enter(uint64_t *table, uint64_t n_words, const bp_unit_reading *readings,
                      size_t n) {
    const uint64_t mask = n_words - 1;
    uint64_t n_new = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t print = fingerprint(&readings[i]);
        uint64_t at = print >> 1 & mask;
        while (table[at] != 0 && table[at] != print) at = (at + 1) & mask;
        n_new += table[at] == 0;
        table[at] = print;
    }
    return n_new;
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

static uint64_t count_silent(const bp_unit_reading *readings, size_t n) {
    uint64_t silent = 0;
    for (size_t i = 0; i < n; i++) silent += !readings[i].active;
    return silent;
}

static uint64_t count_saturated(bp_unit_kind kind, const bp_unit_reading *readings, size_t n) {
    uint64_t saturated = 0;
    for (size_t i = 0; i < n; i++) {
        const double mean = readings[i].mean, square = mean * mean + readings[i].variance;
        const double slope = kind == BP_UNIT_SIGMOID ? 4 * (mean - square) : 1 - square;
        saturated += slope < SATURATED_SHARE;
    }
    return saturated;
}

/* How many have been quiet for so long. */
static uint64_t note_quiet(uint64_t *quiet, const bp_unit_reading *readings, size_t n,
                           uint64_t samples, uint64_t long_ago) {
    uint64_t dead = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t kept = (uint64_t)readings[i].active - 1; /* all bits, or none */
        quiet[i] = (quiet[i] + samples) & kept;
        dead += quiet[i] >= long_ago;
    }
    return dead;
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
    if (counts->has_silent) counts->silent += count_silent(readings, n);
    if (counts->has_saturated) counts->saturated += count_saturated(activity->kind, readings, n);
    if (activity->scratch)
        counts->distinct += enter(activity->scratch, table_words(activity->n_units), readings, n);
    if (!activity->quiet) return;
    const uint64_t dead =
        note_quiet(activity->quiet + first, readings, n, samples, activity->dead_samples);
    if (counts->has_dead) counts->dead += dead;
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
