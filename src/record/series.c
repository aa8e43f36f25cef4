/* SPDX-License-Identifier: Apache-2.0 */
#include "record/series.h"
#include "record/log16.h"
#include "record/quantity.h"

#include <math.h>
#include <string.h>

/* How elements follow from those of the sources. */
typedef enum derivation {
    QUOTIENT_OF_CUTS,   /* of one source: at the cut point before / at this one */
    QUOTIENT_OF_CODES,  /* of two */
    QUOTIENT_OF_COUNTS, /* of two */
    SUM_OF_COUNTS       /* of all that there are */
} derivation;

typedef struct derived {
    const char *name, *meaning;
    uint32_t number;
} derived;

typedef struct recipe {
    derivation how;
    unsigned n; /* sources */
    bp_quantity source[BP_SERIES_SOURCES];
} recipe;

#define AT(id) [BP_SERIES_##id - BP_N_QUANTITIES]
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

static bool is_quantity(bp_series series) {
    return (unsigned)series < BP_N_QUANTITIES;
}

static bool is_derived(bp_series series) {
    return !is_quantity(series) && (unsigned)series < BP_N_SERIES;
}

static const recipe *recipe_of(bp_series series) {
    return &recipes[series - BP_N_QUANTITIES];
}

/* --- what it is ------------------------------------------------------------------------------- */

const char *bp_series_name(bp_series series) {
    if (is_derived(series)) return table[series - BP_N_QUANTITIES].name;
    return is_quantity(series) ? bp_quantity_table[series].name : NULL;
}

const char *bp_series_meaning(bp_series series) {
    if (is_derived(series)) return table[series - BP_N_QUANTITIES].meaning;
    return is_quantity(series) ? bp_quantity_table[series].meaning : NULL;
}

uint32_t bp_series_number(bp_series series) {
    if (is_derived(series)) return table[series - BP_N_QUANTITIES].number;
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

static bool is_sum(const recipe *made) {
    return made->how == SUM_OF_COUNTS;
}

bool bp_series_is_in(bp_series series, uint64_t columns) {
    if (is_quantity(series)) return columns >> series & 1;
    if (!is_derived(series)) return false;
    const recipe *made = recipe_of(series);
    unsigned n = 0;
    for (unsigned i = 0; i < made->n; i++) n += columns >> made->source[i] & 1;
    return n > 0 && (is_sum(made) || n == made->n);
}

/* --- of one record ---------------------------------------------------------------------------- */

bp_status bp_sources_find(bp_sources *sources, bool *found, bp_series series, const uint8_t *bytes,
                          size_t n_bytes) {
    const bp_quantity own = (bp_quantity)series;
    const bool derives = is_derived(series);
    const bp_quantity *wanted = derives ? recipe_of(series)->source : &own;
    const unsigned n_wanted = derives ? recipe_of(series)->n : 1;
    sources->series = series;
    sources->n = 0;
    *found = false;
    for (unsigned i = 0; i < n_wanted; i++) {
        bool has;
        bp_column *column = &sources->column[sources->n];
        const bp_status status = bp_column_find(column, &has, wanted[i], bytes, n_bytes);
        if (status != BP_OK) return status;
        sources->step = column->step;
        sources->n_layers = column->n_layers;
        if (!has && !(derives && is_sum(recipe_of(series)))) return BP_OK;
        sources->n += has;
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

static bool is_absent(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits == BP_BITS_ABSENT;
}

static bool divide_cuts(const bp_series_maker *maker, const bp_sources *sources, uint16_t *codes) {
    const uint16_t *norm = maker->scratch;
    bool any = false;
    if (!bp_column_spread(&sources->column[0], maker->scratch, maker->n_rows)) return false;
    for (uint32_t row = 0; row < maker->n_rows; row++) {
        const uint32_t before = maker->before[row];
        codes[row] = before == BP_NO_ROW ? BP_CODE_ABSENT : quotient_of(norm[before], norm[row]);
        any = any || codes[row] != BP_CODE_ABSENT;
    }
    return any;
}

static bool divide_codes(const bp_series_maker *maker, const bp_sources *sources, uint16_t *codes) {
    const uint32_t n = maker->n_rows;
    uint16_t *below = maker->scratch;
    bool any = false;
    if (!bp_column_spread(&sources->column[0], codes, n)) return false;
    if (!bp_column_spread(&sources->column[1], below, n)) return false;
    for (uint32_t row = 0; row < n; row++) {
        codes[row] = quotient_of(codes[row], below[row]);
        any = any || codes[row] != BP_CODE_ABSENT;
    }
    return any;
}

static bool divide_counts(const bp_series_maker *maker, const bp_sources *sources,
                          uint16_t *codes) {
    const uint32_t n = maker->n_rows;
    double *above = maker->scratch, *below = above + n;
    bool any = false;
    if (!bp_column_spread(&sources->column[0], above, n)) return false;
    if (!bp_column_spread(&sources->column[1], below, n)) return false;
    for (uint32_t row = 0; row < n; row++) {
        const bool has = !is_absent(above[row]) && !is_absent(below[row]) && below[row] != 0.0;
        codes[row] = has ? bp_log16_encode(above[row] / below[row]) : BP_CODE_ABSENT;
        any = any || has;
    }
    return any;
}

static bool add_counts(const bp_series_maker *maker, const bp_sources *sources, uint16_t *codes) {
    const uint32_t n = maker->n_rows;
    double *sum = maker->scratch, *term = sum + n;
    bool any = false;
    if (!bp_column_spread(&sources->column[0], sum, n)) return false;
    for (unsigned i = 1; i < sources->n; i++) {
        if (!bp_column_spread(&sources->column[i], term, n)) return false;
        for (uint32_t row = 0; row < n; row++) {
            if (is_absent(term[row])) continue;
            sum[row] = is_absent(sum[row]) ? term[row] : sum[row] + term[row];
        }
    }
    for (uint32_t row = 0; row < n; row++) {
        const bool has = !is_absent(sum[row]);
        codes[row] = has ? bp_log16_encode(sum[row]) : BP_CODE_ABSENT;
        any = any || has;
    }
    return any;
}

bool bp_series_make(const bp_series_maker *maker, const bp_sources *sources, void *elements) {
    if (!is_derived(maker->series))
        return bp_column_spread(&sources->column[0], elements, maker->n_rows);
    switch (recipe_of(maker->series)->how) {
    case QUOTIENT_OF_CUTS:
        return divide_cuts(maker, sources, elements);
    case QUOTIENT_OF_CODES:
        return divide_codes(maker, sources, elements);
    case QUOTIENT_OF_COUNTS:
        return divide_counts(maker, sources, elements);
    case SUM_OF_COUNTS:
        return add_counts(maker, sources, elements);
    }
    return false;
}

/* --- the maker -------------------------------------------------------------------------------- */

bool bp_series_maker_init(bp_series_maker *maker, bp_series series, const bp_model *model,
                          const bp_allocator *allocator) {
    const uint32_t n = bp_series_is_of_layers(series) ? bp_model_n_layers(model) + 1 : 1;
    *maker = (bp_series_maker){.series = series, .n_rows = n};
    if (!is_derived(series)) return true;
    maker->scratch_bytes = 2 * (size_t)n * sizeof(double);
    maker->scratch = bp_allocate(allocator, maker->scratch_bytes, 1);
    const bool cuts = recipe_of(series)->how == QUOTIENT_OF_CUTS;
    if (cuts) maker->before = bp_allocate(allocator, n, sizeof *maker->before);
    if (!maker->scratch || (cuts && !maker->before)) {
        bp_series_maker_finish(maker, allocator);
        return false;
    }
    if (!cuts) return true;
    for (uint32_t row = 0; row < n; row++) maker->before[row] = BP_NO_ROW;
    for (uint32_t cut = 1; cut <= bp_model_n_cuts(model); cut++)
        maker->before[bp_model_cut(model, cut)] = bp_model_cut(model, cut - 1);
    return true;
}

void bp_series_maker_finish(bp_series_maker *maker, const bp_allocator *allocator) {
    bp_release(allocator, maker->scratch, maker->scratch_bytes, 1);
    bp_release(allocator, maker->before, maker->n_rows, sizeof *maker->before);
    *maker = (bp_series_maker){0};
}
