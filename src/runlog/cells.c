/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/cells.h"
#include "base/vectorised.h"
#include "record/log16.h"

#include <math.h>
#include <string.h>

#define SCALE 0x1p-64 /* of f64 sums: exact, and 2^64 of the largest values fit */
#define MOST_COUNT 0x7fffffffu
#define HIGH_BIT 0x80000000u

/* While a row has no finite value its smallest is above and its largest below all of them. */
#define NO_MIN_CODE BP_CODE_ABSENT
#define NO_MAX_CODE BP_LOG16_ZERO
_Static_assert(
    BP_CODE_ABSENT > BP_LOG16_LAST && BP_CODE_ABSENT < BP_LOG16_INF,
    "the code of what is absent is above those of finite values, and stands for nothing");

static size_t element_bytes(const bp_cells *cells) {
    return cells->codes ? sizeof(uint16_t) : sizeof(double);
}

bool bp_cells_init(bp_cells *cells, bp_series series, uint32_t n_rows, const double *table,
                   const bp_allocator *allocator) {
    *cells = (bp_cells){.codes = bp_series_is_log16(series), .n = n_rows, .table = table};
    const size_t n = n_rows, reals = n * sizeof(double), counts = n * sizeof(uint32_t);
    cells->block_bytes = 4 * reals + 2 * counts + n;
    uint8_t *at = cells->block = bp_allocate(allocator, cells->block_bytes, 1);
    if (!at) return false;
    cells->sum = (double *)cells->block;
    cells->min = cells->sum + n;
    cells->max = (double *)cells->min + n;
    cells->last = (double *)cells->max + n;
    cells->count = (uint32_t *)((double *)cells->last + n);
    cells->finite = cells->count + n;
    cells->flags = (uint8_t *)(cells->finite + n);
    bp_cells_clear(cells);
    return true;
}

void bp_cells_finish(bp_cells *cells, const bp_allocator *allocator) {
    bp_release(allocator, cells->block, cells->block_bytes, 1);
    *cells = (bp_cells){0};
}

void bp_cells_clear(bp_cells *cells) {
    uint16_t *min = cells->min, *max = cells->max;
    double *low = cells->min, *high = cells->max;
    const size_t n = cells->n;
    for (size_t i = 0; i < n; i++) cells->sum[i] = 0.0;
    memset(cells->count, 0, 2 * n * sizeof *cells->count + n); /* finite and flags, too */
    cells->n_records = 0;
    for (size_t i = 0; i < n && cells->codes; i++) {
        min[i] = NO_MIN_CODE;
        max[i] = NO_MAX_CODE;
    }
    for (size_t i = 0; i < n && !cells->codes; i++) {
        low[i] = (double)INFINITY;
        high[i] = -(double)INFINITY;
    }
}

/* --- values --------------------------------------------------------------------------------- */

BP_VECTORISED static void add_codes(bp_cells *cells, const uint16_t *codes) {
    uint16_t *min = cells->min, *max = cells->max, *last = cells->last;
    uint32_t *count = cells->count, *finite = cells->finite;
    uint8_t *flags = cells->flags;
    const size_t n = cells->n;
    for (size_t i = 0; i < n; i++) {
        const uint16_t code = codes[i];
        const uint16_t largest = code <= BP_LOG16_LAST ? code : NO_MAX_CODE;
        min[i] = code < min[i] ? code : min[i];
        max[i] = largest > max[i] ? largest : max[i];
        last[i] = code == BP_CODE_ABSENT ? last[i] : code;
    }
    for (size_t i = 0; i < n; i++) {
        count[i] += codes[i] != BP_CODE_ABSENT;
        finite[i] += codes[i] <= BP_LOG16_LAST;
    }
    for (size_t i = 0; i < n; i++)
        flags[i] = (uint8_t)(flags[i] | (codes[i] == BP_LOG16_NAN ? BP_VIEW_HAS_NAN : 0u) |
                             (codes[i] == BP_LOG16_INF ? BP_VIEW_HAS_INF : 0u));
    for (size_t i = 0; i < n; i++)
        cells->sum[i] += codes[i] <= BP_LOG16_LAST ? cells->table[codes[i]] : 0.0;
}

static bool is_absent(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits == BP_BITS_ABSENT;
}

static void add_reals(bp_cells *cells, const double *values) {
    double *min = cells->min, *max = cells->max, *last = cells->last;
    for (size_t i = 0; i < cells->n; i++) {
        const double value = values[i];
        if (is_absent(value)) continue;
        last[i] = value;
        cells->count[i]++;
        if (isfinite(value)) {
            cells->finite[i]++;
            min[i] = fmin(min[i], value);
            max[i] = fmax(max[i], value);
            cells->sum[i] += value * SCALE;
        } else {
            cells->flags[i] |= isnan(value) ? BP_VIEW_HAS_NAN : BP_VIEW_HAS_INF;
        }
    }
}

void bp_cells_add_values(bp_cells *cells, const void *elements) {
    cells->n_records++;
    if (cells->codes)
        add_codes(cells, elements);
    else
        add_reals(cells, elements);
}

void bp_cells_add(bp_cells *cells, const bp_cells *later) {
    uint16_t *min = cells->min, *max = cells->max, *last = cells->last;
    const uint16_t *later_min = later->min, *later_max = later->max, *later_last = later->last;
    double *low = cells->min, *high = cells->max, *final = cells->last;
    const double *later_low = later->min, *later_high = later->max, *later_final = later->last;
    cells->n_records += later->n_records;
    for (size_t i = 0; i < cells->n; i++) {
        if (later->count[i] == 0) continue;
        cells->sum[i] += later->sum[i];
        cells->count[i] += later->count[i];
        cells->finite[i] += later->finite[i];
        cells->flags[i] |= later->flags[i];
        if (cells->codes) {
            min[i] = later_min[i] < min[i] ? later_min[i] : min[i];
            max[i] = later_max[i] > max[i] ? later_max[i] : max[i];
            last[i] = later_last[i];
        } else {
            low[i] = fmin(low[i], later_low[i]);
            high[i] = fmax(high[i], later_high[i]);
            final[i] = later_final[i];
        }
    }
}

/* --- bins as bytes -------------------------------------------------------------------------- */

size_t bp_cells_row_bytes(const bp_cells *cells) {
    return 4 * cells->n * element_bytes(cells);
}

bool bp_cells_are_irregular(const bp_cells *cells) {
    for (size_t i = 0; i < cells->n; i++)
        if (cells->count[i] &&
            (cells->count[i] != cells->n_records || cells->finite[i] != cells->n_records))
            return true;
    return false;
}

static double mean_of(const bp_cells *cells, size_t i) {
    const double sum = cells->sum[i] / cells->finite[i];
    return cells->codes ? sum : sum / SCALE;
}

void bp_cells_put(const bp_cells *cells, void *row) {
    const size_t n = cells->n, plane = n * element_bytes(cells);
    uint8_t *min = row, *max = min + plane, *mean = max + plane, *last = mean + plane;
    const uint16_t absent_code = BP_CODE_ABSENT;
    const uint64_t absent_bits = BP_BITS_ABSENT;
    memcpy(min, cells->min, plane);
    memcpy(max, cells->max, plane);
    memcpy(last, cells->last, plane);
    for (size_t i = 0; i < n; i++) {
        const double value = cells->finite[i] ? mean_of(cells, i) : 0.0;
        const uint16_t code = cells->codes ? bp_log16_encode(value) : 0;
        if (cells->codes)
            memcpy(mean + 2 * i, &code, sizeof code);
        else
            memcpy(mean + 8 * i, &value, sizeof value);
        if (cells->count[i]) continue;
        if (cells->codes)
            memcpy(last + 2 * i, &absent_code, sizeof absent_code);
        else
            memcpy(last + 8 * i, &absent_bits, sizeof absent_bits);
    }
}

static uint32_t at_most(uint32_t count) {
    return count < MOST_COUNT ? count : MOST_COUNT;
}

void bp_cells_put_counts(const bp_cells *cells, uint8_t *counts) {
    for (size_t i = 0; i < cells->n; i++) {
        const bool nan = cells->flags[i] & BP_VIEW_HAS_NAN, inf = cells->flags[i] & BP_VIEW_HAS_INF;
        bp_put_u32(counts + 8 * i, at_most(cells->count[i]) | (nan ? HIGH_BIT : 0));
        bp_put_u32(counts + 8 * i + 4, at_most(cells->finite[i]) | (inf ? HIGH_BIT : 0));
    }
}

/* --- and back ------------------------------------------------------------------------------- */

/* How often each row of a bin was measured, added to what there is. */
BP_VECTORISED static void count_codes(bp_cells *cells, const uint16_t *last, uint32_t n_records) {
    uint32_t *count = cells->count, *finite = cells->finite;
    for (size_t i = 0; i < cells->n; i++) {
        const uint32_t n = last[i] == BP_CODE_ABSENT ? 0 : n_records;
        count[i] += n;
        finite[i] += n;
    }
}

static void count_reals(bp_cells *cells, const double *last, uint32_t n_records) {
    for (size_t i = 0; i < cells->n; i++) {
        const uint32_t n = is_absent(last[i]) ? 0 : n_records;
        cells->count[i] += n;
        cells->finite[i] += n;
    }
}

static bool count_irregular(bp_cells *cells, const uint8_t *counts) {
    bool good = true;
    for (size_t i = 0; i < cells->n; i++) {
        const uint32_t count = bp_get_u32(counts + 8 * i), finite = bp_get_u32(counts + 8 * i + 4);
        if (count & HIGH_BIT) cells->flags[i] |= BP_VIEW_HAS_NAN;
        if (finite & HIGH_BIT) cells->flags[i] |= BP_VIEW_HAS_INF;
        cells->count[i] += count & MOST_COUNT;
        cells->finite[i] += finite & MOST_COUNT;
        good = good && (finite & MOST_COUNT) <= (count & MOST_COUNT);
    }
    return good;
}

/* The means' share of the sums. counts: of each row; NULL: all have n_records, or a mean of 0. */
static void add_code_means(bp_cells *cells, const uint16_t *mean, uint32_t n_records,
                           const uint8_t *counts) {
    double *sum = cells->sum;
    const double *table = cells->table, weight = (double)n_records;
    for (size_t i = 0; i < cells->n && !counts; i++) sum[i] += weight * table[mean[i]];
    for (size_t i = 0; i < cells->n && counts; i++)
        sum[i] += (bp_get_u32(counts + 8 * i + 4) & MOST_COUNT) * table[mean[i]];
}

static void add_real_means(bp_cells *cells, const double *mean, uint32_t n_records,
                           const uint8_t *counts) {
    for (size_t i = 0; i < cells->n; i++) {
        const uint32_t n = counts ? bp_get_u32(counts + 8 * i + 4) & MOST_COUNT : n_records;
        cells->sum[i] += n * (mean[i] * SCALE);
    }
}

BP_VECTORISED static void add_code_planes(bp_cells *cells, const uint16_t *row) {
    uint16_t *min = cells->min, *max = cells->max, *last = cells->last;
    const size_t n = cells->n;
    const uint16_t *row_min = row, *row_max = row + n, *row_last = row + 3 * n;
    for (size_t i = 0; i < n; i++) {
        min[i] = row_min[i] < min[i] ? row_min[i] : min[i];
        max[i] = row_max[i] > max[i] ? row_max[i] : max[i];
        last[i] = row_last[i] == BP_CODE_ABSENT ? last[i] : row_last[i];
    }
}

static void add_real_planes(bp_cells *cells, const double *row) {
    double *min = cells->min, *max = cells->max, *last = cells->last;
    const size_t n = cells->n;
    for (size_t i = 0; i < n; i++) {
        min[i] = fmin(min[i], row[i]);
        max[i] = fmax(max[i], row[n + i]);
        if (!is_absent(row[3 * n + i])) last[i] = row[3 * n + i];
    }
}

bool bp_cells_add_row(bp_cells *cells, const void *row, uint32_t n_records, const uint8_t *counts) {
    const size_t n = cells->n;
    const uint16_t *codes = row;
    const double *reals = row;
    const bool good = !counts || count_irregular(cells, counts);
    cells->n_records += n_records;
    if (cells->codes) {
        if (!counts) count_codes(cells, codes + 3 * n, n_records);
        add_code_planes(cells, codes);
        add_code_means(cells, codes + 2 * n, n_records, counts);
    } else {
        if (!counts) count_reals(cells, reals + 3 * n, n_records);
        add_real_planes(cells, reals);
        add_real_means(cells, reals + 2 * n, n_records, counts);
    }
    return good;
}

/* --- out ------------------------------------------------------------------------------------ */

/* min, max, last: of row i. */
static bp_view_cell give_cell(const bp_cells *cells, size_t i, double min, double max,
                              double last) {
    const double nan = (double)NAN;
    const bool any = cells->finite[i] > 0;
    return (bp_view_cell){.min = any ? min : nan,
                          .max = any ? max : nan,
                          .mean = any ? mean_of(cells, i) : nan,
                          .last = cells->count[i] > 0 ? last : nan,
                          .count = cells->count[i],
                          .flags = cells->flags[i]};
}

void bp_cells_give(const bp_cells *cells, bp_view_cell *out) {
    const uint16_t *min = cells->min, *max = cells->max, *last = cells->last;
    const double *low = cells->min, *high = cells->max, *final = cells->last;
    const double *table = cells->table;
    const size_t n = cells->n;
    for (size_t i = 0; i < n && cells->codes; i++)
        out[i] = give_cell(cells, i, table[min[i]], table[max[i]], table[last[i]]);
    for (size_t i = 0; i < n && !cells->codes; i++)
        out[i] = give_cell(cells, i, low[i], high[i], final[i]);
}

static void give_codes(const bp_cells *cells, uint16_t *mean, uint16_t *min, uint16_t *max) {
    const uint16_t *low = cells->min, *high = cells->max;
    for (size_t i = 0; i < cells->n; i++) {
        if (cells->finite[i] == 0) {
            min[i] = max[i] = mean[i] = cells->count[i] ? BP_LOG16_NAN : BP_CODE_ABSENT;
            continue;
        }
        min[i] = low[i];
        max[i] = high[i];
        mean[i] = low[i] == high[i] ? low[i] : bp_log16_encode(mean_of(cells, i));
    }
}

static void give_reals(const bp_cells *cells, double *mean, double *min, double *max) {
    const double *low = cells->min, *high = cells->max;
    const uint64_t absent_bits = BP_BITS_ABSENT;
    double absent;
    memcpy(&absent, &absent_bits, sizeof absent);
    for (size_t i = 0; i < cells->n; i++) {
        const bool any = cells->finite[i] > 0;
        const double none = cells->count[i] ? (double)NAN : absent;
        min[i] = any ? low[i] : none;
        max[i] = any ? high[i] : none;
        mean[i] = any ? mean_of(cells, i) : none;
    }
}

void bp_cells_give_elements(const bp_cells *cells, void *mean, void *min, void *max) {
    if (cells->codes)
        give_codes(cells, mean, min, max);
    else
        give_reals(cells, mean, min, max);
}
