/* SPDX-License-Identifier: Apache-2.0 */
#include "record/series.h"
#include "record/log16.h"
#include "record/quantity.h"

#include <math.h>
#include <string.h>

/* How elements follow from those of the sources. */
typedef enum derivation {
    AS_RECORDED,        /* of one source */
    QUOTIENT_OF_CUTS,   /* of one: at the cut point before / at this one */
    QUOTIENT_OF_CODES,  /* of two */
    QUOTIENT_OF_COUNTS, /* of two */
    SUM_OF_COUNTS       /* of all that there are */
} derivation;

#define NONE BP_N_QUANTITIES /* of a kind that there is none of */

/* Summaries are of what was finite; how much was not stands beside them. */
typedef struct companions {
    bp_quantity nan, inf;
} companions;

typedef struct recipe {
    derivation how;
    unsigned n; /* sources, before their companions */
    bp_quantity source[BP_SERIES_SOURCES];
} recipe;

typedef struct derived {
    const char *name, *meaning;
    uint32_t number;
} derived;

#define AT(id) [(unsigned)BP_SERIES_##id - (unsigned) BP_N_QUANTITIES]
#define ENTRY(id, name, number, meaning) AT(id) = {name, meaning, number},
static const derived table[] = {BP_DERIVED_SERIES(ENTRY)};

static const recipe recipes[] = {
    AT(GAIN) = {QUOTIENT_OF_CUTS, 1, {BP_Q_ERROR_NORM}},
    AT(UPDATE_RATIO) = {QUOTIENT_OF_CODES, 2, {BP_Q_UPDATE_RMS, BP_Q_WEIGHT_RMS}},
    AT(DEAD_FRACTION) = {QUOTIENT_OF_COUNTS, 2, {BP_Q_DEAD_UNITS, BP_Q_UNITS}},
    AT(SATURATED_FRACTION) = {QUOTIENT_OF_COUNTS, 2, {BP_Q_SATURATED_UNITS, BP_Q_UNITS}},
    AT(NON_FINITE) = {SUM_OF_COUNTS,
                      8,
                      {BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF, BP_Q_ERROR_NAN, BP_Q_ERROR_INF,
                       BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF, BP_Q_GRADIENT_NAN,
                       BP_Q_GRADIENT_INF}},
};
_Static_assert(sizeof table / sizeof *table == sizeof recipes / sizeof *recipes,
               "each series has its recipe");

static companions companions_of(bp_quantity quantity) {
    switch ((int)quantity) {
    case BP_Q_ACTIVATION_NORM:
    case BP_Q_ACTIVATION_RMS:
    case BP_Q_ACTIVATION_MAX:
        return (companions){BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF};
    case BP_Q_ERROR_NORM:
    case BP_Q_ERROR_RMS:
    case BP_Q_ERROR_MAX:
        return (companions){BP_Q_ERROR_NAN, BP_Q_ERROR_INF};
    case BP_Q_WEIGHT_RMS:
    case BP_Q_WEIGHT_MAX:
    case BP_Q_BIAS_RMS:
        return (companions){BP_Q_PARAMETER_NAN, BP_Q_PARAMETER_INF};
    case BP_Q_GRADIENT_RMS:
    case BP_Q_GRADIENT_MAX:
    case BP_Q_BIAS_GRADIENT_RMS:
        return (companions){BP_Q_GRADIENT_NAN, BP_Q_GRADIENT_INF};
    case BP_Q_UPDATE_RMS:
        return (companions){BP_Q_UPDATE_BAD, NONE};
    default:
        return (companions){NONE, NONE};
    }
}

static bool is_quantity(bp_series series) {
    return (unsigned)series < BP_N_QUANTITIES;
}

static bool is_derived(bp_series series) {
    return !is_quantity(series) && (unsigned)series < BP_N_SERIES;
}

/* In the tables, of one that is derived. */
static unsigned place_of(bp_series series) {
    return (unsigned)series - (unsigned)BP_N_QUANTITIES;
}

static recipe recipe_of(bp_series series) {
    if (is_derived(series)) return recipes[place_of(series)];
    return (recipe){AS_RECORDED, 1, {(bp_quantity)series}};
}

/* --- what it is ------------------------------------------------------------------------------- */

const char *bp_series_name(bp_series series) {
    if (is_derived(series)) return table[place_of(series)].name;
    return is_quantity(series) ? bp_quantity_table[series].name : NULL;
}

const char *bp_series_meaning(bp_series series) {
    if (is_derived(series)) return table[place_of(series)].meaning;
    return is_quantity(series) ? bp_quantity_table[series].meaning : NULL;
}

uint32_t bp_series_number(bp_series series) {
    if (is_derived(series)) return table[place_of(series)].number;
    return is_quantity(series) ? bp_quantity_table[series].number : 0;
}

bool bp_series_find(bp_series *series, const char *name) {
    for (unsigned i = 0; i < BP_N_SERIES; i++) {
        if (strcmp(bp_series_name((bp_series)i), name) != 0) continue;
        *series = (bp_series)i;
        return true;
    }
    return false;
}

bool bp_series_is_of_layers(bp_series series) {
    return is_quantity(series) ? bp_quantity_table[series].rows == BP_ROWS_LAYER
                               : is_derived(series);
}

bool bp_series_is_log16(bp_series series) {
    return is_quantity(series) ? bp_quantity_table[series].codec == BP_CODEC_LOG
                               : is_derived(series);
}

bool bp_series_is_in(bp_series series, uint64_t columns) {
    if ((unsigned)series >= BP_N_SERIES) return false;
    const recipe made = recipe_of(series);
    unsigned n = 0;
    for (unsigned i = 0; i < made.n; i++) n += columns >> made.source[i] & 1;
    return n > 0 && (n == made.n || made.how == SUM_OF_COUNTS);
}

/* --- of one record ---------------------------------------------------------------------------- */

static bp_status find_one(bp_sources *sources, bp_quantity quantity, const uint8_t *bytes,
                          size_t n_bytes) {
    bool has;
    if (quantity == NONE) return BP_OK;
    bp_column *column = &sources->column[sources->n];
    const bp_status status = bp_column_find(column, &has, quantity, bytes, n_bytes);
    if (status != BP_OK) return status;
    sources->step = column->step;
    sources->n_layers = column->n_layers;
    sources->n += has;
    return BP_OK;
}

bp_status bp_sources_find(bp_sources *sources, bool *found, bp_series series, const uint8_t *bytes,
                          size_t n_bytes) {
    const recipe made = recipe_of(series);
    sources->series = series;
    sources->n = 0;
    *found = false;
    for (unsigned i = 0; i < made.n; i++) {
        const companions beside = companions_of(made.source[i]);
        bp_status status = find_one(sources, made.source[i], bytes, n_bytes);
        if (status == BP_OK) status = find_one(sources, beside.nan, bytes, n_bytes);
        if (status == BP_OK) status = find_one(sources, beside.inf, bytes, n_bytes);
        if (status != BP_OK) return status;
    }
    *found = sources->n > 0;
    return BP_OK;
}

void bp_sources_of_loss(bp_sources *sources, int64_t step, const uint8_t *loss) {
    sources->series = bp_series_of(BP_Q_LOSS);
    sources->step = step;
    sources->n_layers = 0;
    sources->n = 1;
    sources->column[0] = bp_column_of_loss(step, loss);
}

static const bp_column *column_of(const bp_sources *sources, bp_quantity quantity) {
    for (unsigned i = 0; i < sources->n; i++)
        if (sources->column[i].quantity == quantity) return &sources->column[i];
    return NULL;
}

/* --- their elements --------------------------------------------------------------------------- */

static bool is_absent(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits == BP_BITS_ABSENT;
}

/* Of a count, as f64; where the record lacks it, of none. */
static bool load_counts(const bp_sources *sources, bp_quantity quantity, double *counts,
                        uint32_t n_rows) {
    const bp_column *column = column_of(sources, quantity);
    const uint64_t absent = BP_BITS_ABSENT;
    if (column) return bp_column_spread(column, counts, n_rows);
    for (uint32_t row = 0; row < n_rows; row++) memcpy(&counts[row], &absent, sizeof absent);
    return true;
}

/* A count of 0 is one byte of 0. */
static bool is_all_zero(const bp_column *column) {
    for (size_t i = 0; i < column->n_bytes; i++)
        if (column->values[i]) return false;
    return true;
}

/* Rows whose count is above 0 get the code. */
static bool mark(const bp_series_maker *maker, const bp_sources *sources, bp_quantity count,
                 uint16_t code, uint16_t *codes) {
    const bp_column *column = column_of(sources, count);
    double *counts = maker->scratch;
    if (!column || is_all_zero(column)) return true;
    if (!bp_column_spread(column, counts, maker->n_rows)) return false;
    for (uint32_t row = 0; row < maker->n_rows; row++)
        if (!is_absent(counts[row]) && counts[row] > 0) codes[row] = code;
    return true;
}

/* Of a quantity with the codec LOG, with what its companions say. Uses the first half of scratch.
 */
static bool load_codes(const bp_series_maker *maker, const bp_sources *sources,
                       bp_quantity quantity, uint16_t *codes) {
    const bp_column *column = column_of(sources, quantity);
    const companions beside = companions_of(quantity);
    if (!column)
        for (uint32_t row = 0; row < maker->n_rows; row++) codes[row] = BP_CODE_ABSENT;
    else if (!bp_column_spread(column, codes, maker->n_rows))
        return false;
    return mark(maker, sources, beside.inf, BP_LOG16_INF, codes) &&
           mark(maker, sources, beside.nan, BP_LOG16_NAN, codes);
}

/* --- elements --------------------------------------------------------------------------------- */

/* A code is 228 times the logarithm, so a quotient's is a difference: exactly the code that is
 * nearest to the quotient of what the two stand for. */
static uint16_t quotient_of(uint16_t a, uint16_t b) {
    enum { ONE = (int)BP_LOG16_FIRST - BP_LOG16_PER_OCTAVE * BP_LOG16_MIN_EXPONENT };
    if (a == BP_CODE_ABSENT || b == BP_CODE_ABSENT) return BP_CODE_ABSENT;
    if (a == BP_LOG16_NAN || b == BP_LOG16_NAN) return BP_LOG16_NAN;
    if (a == BP_LOG16_INF) return b == BP_LOG16_INF ? BP_LOG16_NAN : BP_LOG16_INF;
    if (b == BP_LOG16_ZERO) return BP_CODE_ABSENT;
    if (a == BP_LOG16_ZERO || b == BP_LOG16_INF) return BP_LOG16_ZERO;
    const int code = a - b + ONE;
    if (code < (int)BP_LOG16_FIRST) return BP_LOG16_FIRST;
    return code > (int)BP_LOG16_LAST ? BP_LOG16_LAST : (uint16_t)code;
}

static bool any_of(const uint16_t *codes, uint32_t n) {
    for (uint32_t row = 0; row < n; row++)
        if (codes[row] != BP_CODE_ABSENT) return true;
    return false;
}

static bool divide_cuts(const bp_series_maker *maker, const bp_sources *sources, uint16_t *codes) {
    uint16_t *norm = (uint16_t *)((double *)maker->scratch + maker->n_rows);
    if (!load_codes(maker, sources, BP_Q_ERROR_NORM, norm)) return false;
    for (uint32_t row = 0; row < maker->n_rows; row++) {
        const uint32_t before = maker->before[row];
        codes[row] = before == BP_NO_ROW ? BP_CODE_ABSENT : quotient_of(norm[before], norm[row]);
    }
    return any_of(codes, maker->n_rows);
}

static bool divide_codes(const bp_series_maker *maker, const bp_sources *sources,
                         const recipe *made, uint16_t *codes) {
    uint16_t *below = (uint16_t *)((double *)maker->scratch + maker->n_rows);
    if (!load_codes(maker, sources, made->source[0], codes) ||
        !load_codes(maker, sources, made->source[1], below))
        return false;
    for (uint32_t row = 0; row < maker->n_rows; row++)
        codes[row] = quotient_of(codes[row], below[row]);
    return any_of(codes, maker->n_rows);
}

static bool divide_counts(const bp_series_maker *maker, const bp_sources *sources,
                          const recipe *made, uint16_t *codes) {
    const uint32_t n = maker->n_rows;
    double *above = maker->scratch, *below = above + n;
    if (!load_counts(sources, made->source[0], above, n) ||
        !load_counts(sources, made->source[1], below, n))
        return false;
    for (uint32_t row = 0; row < n; row++) {
        const bool has = !is_absent(above[row]) && !is_absent(below[row]) && below[row] != 0.0;
        codes[row] = has ? bp_log16_encode(above[row] / below[row]) : BP_CODE_ABSENT;
    }
    return any_of(codes, n);
}

static bool add_counts(const bp_series_maker *maker, const bp_sources *sources, uint16_t *codes) {
    const uint32_t n = maker->n_rows;
    double *sum = maker->scratch, *term = sum + n;
    if (!bp_column_spread(&sources->column[0], sum, n)) return false;
    for (unsigned i = 1; i < sources->n; i++) {
        if (!bp_column_spread(&sources->column[i], term, n)) return false;
        for (uint32_t row = 0; row < n; row++) {
            if (is_absent(term[row])) continue;
            sum[row] = is_absent(sum[row]) ? term[row] : sum[row] + term[row];
        }
    }
    for (uint32_t row = 0; row < n; row++)
        codes[row] = is_absent(sum[row]) ? BP_CODE_ABSENT : bp_log16_encode(sum[row]);
    return any_of(codes, n);
}

static bool as_recorded(const bp_series_maker *maker, const bp_sources *sources, void *elements) {
    const bp_quantity own = (bp_quantity)maker->series;
    if (!maker->scratch) /* it has no companions */
        return bp_column_spread(&sources->column[0], elements, maker->n_rows);
    return load_codes(maker, sources, own, elements) && any_of(elements, maker->n_rows);
}

bool bp_series_make(const bp_series_maker *maker, const bp_sources *sources, void *elements) {
    const recipe made = recipe_of(maker->series);
    switch (made.how) {
    case AS_RECORDED:
        return as_recorded(maker, sources, elements);
    case QUOTIENT_OF_CUTS:
        return divide_cuts(maker, sources, elements);
    case QUOTIENT_OF_CODES:
        return divide_codes(maker, sources, &made, elements);
    case QUOTIENT_OF_COUNTS:
        return divide_counts(maker, sources, &made, elements);
    case SUM_OF_COUNTS:
        return add_counts(maker, sources, elements);
    }
    return false;
}

/* --- the maker -------------------------------------------------------------------------------- */

static bool find_cuts(bp_series_maker *maker, const bp_model *model,
                      const bp_allocator *allocator) {
    maker->before = bp_allocate(allocator, maker->n_rows, sizeof *maker->before);
    if (!maker->before) return false;
    for (uint32_t row = 0; row < maker->n_rows; row++) maker->before[row] = BP_NO_ROW;
    for (uint32_t cut = 1; cut <= bp_model_n_cuts(model); cut++)
        maker->before[bp_model_cut(model, cut)] = bp_model_cut(model, cut - 1);
    return true;
}

bool bp_series_maker_init(bp_series_maker *maker, bp_series series, const bp_model *model,
                          const bp_allocator *allocator) {
    const uint32_t n = bp_series_is_of_layers(series) ? bp_model_n_layers(model) + 1 : 1;
    const recipe made = recipe_of(series);
    *maker = (bp_series_maker){.series = series, .n_rows = n};
    if (made.how == AS_RECORDED && companions_of(made.source[0]).nan == NONE) return true;
    maker->scratch_bytes = 2 * (size_t)n * sizeof(double);
    maker->scratch = bp_allocate(allocator, maker->scratch_bytes, 1);
    if (maker->scratch && (made.how != QUOTIENT_OF_CUTS || find_cuts(maker, model, allocator)))
        return true;
    bp_series_maker_finish(maker, allocator);
    return false;
}

void bp_series_maker_finish(bp_series_maker *maker, const bp_allocator *allocator) {
    bp_release(allocator, maker->scratch, maker->scratch_bytes, 1);
    bp_release(allocator, maker->before, maker->n_rows, sizeof *maker->before);
    *maker = (bp_series_maker){0};
}
