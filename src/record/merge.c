/* SPDX-License-Identifier: Apache-2.0 */
#include "record/merge.h"
#include "record/quantity.h"

#include <math.h>

static const bp_rank_rule rules[BP_N_QUANTITIES] = {
    [BP_Q_LOSS] = BP_RANKS_MEAN_BY_TERMS,
    [BP_Q_SAMPLES] = BP_RANKS_SUM,
    [BP_Q_LOSS_TERMS] = BP_RANKS_SUM,
    [BP_Q_LEARNING_RATE] = BP_RANKS_COPY,
    [BP_Q_TRAIN_ACCURACY] = BP_RANKS_MEAN_BY_SAMPLES,
    [BP_Q_VALIDATION_LOSS] = BP_RANKS_MEAN,
    [BP_Q_VALIDATION_ACCURACY] = BP_RANKS_MEAN,
    [BP_Q_LOSS_SCALE] = BP_RANKS_COPY,
    [BP_Q_GRADIENT_NORM] = BP_RANKS_COPY_OR_NORM,
    [BP_Q_UNCLIPPED_NORM] = BP_RANKS_COPY_OR_NORM,
    [BP_Q_TARGET_MIN] = BP_RANKS_MIN,
    [BP_Q_TARGET_MAX] = BP_RANKS_MAX,
    [BP_Q_ACTIVATION_NORM] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ACTIVATION_RMS] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ACTIVATION_MAX] = BP_RANKS_MAX,
    [BP_Q_ACTIVATION_NAN] = BP_RANKS_SUM,
    [BP_Q_ACTIVATION_INF] = BP_RANKS_SUM,
    [BP_Q_VARIATION] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_UNITS] = BP_RANKS_MAX,
    [BP_Q_SILENT_UNITS] = BP_RANKS_MIN,
    [BP_Q_DEAD_UNITS] = BP_RANKS_MIN,
    [BP_Q_SATURATED_UNITS] = BP_RANKS_MEAN,
    [BP_Q_DISTINCT_UNITS] = BP_RANKS_MAX,
    [BP_Q_ACTIVATION_PRECISION] = BP_RANKS_MAX,
    [BP_Q_FEATURE_SCALES] = BP_RANKS_MAX,
    [BP_Q_ERROR_NORM] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ERROR_RMS] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ERROR_NAN] = BP_RANKS_SUM,
    [BP_Q_ERROR_INF] = BP_RANKS_SUM,
    [BP_Q_ERROR_PRE_ACTIVATION] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ERROR_PRE_NORM] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ERROR_INPUT_NORM] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ERROR_MAX] = BP_RANKS_MAX,
    [BP_Q_ERROR_THROUGH_TIME] = BP_RANKS_RMS_BY_SAMPLES,
    [BP_Q_ERROR_TINY] = BP_RANKS_MEAN,
    [BP_Q_ERROR_PRECISION] = BP_RANKS_MAX,
    [BP_Q_WEIGHT_RMS] = BP_RANKS_COPY_OR_RMS,
    [BP_Q_WEIGHT_MAX] = BP_RANKS_COPY_OR_MAX,
    [BP_Q_BIAS_RMS] = BP_RANKS_COPY_OR_RMS,
    [BP_Q_PARAMETER_NAN] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_PARAMETER_INF] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_WEIGHT_SPREAD] = BP_RANKS_COPY_OR_MAX,
    [BP_Q_PARAMETER_PRECISION] = BP_RANKS_MAX,
    [BP_Q_GRADIENT_RMS] = BP_RANKS_COPY_OR_RMS,
    [BP_Q_GRADIENT_MAX] = BP_RANKS_COPY_OR_MAX,
    [BP_Q_BIAS_GRADIENT_RMS] = BP_RANKS_COPY_OR_RMS,
    [BP_Q_GRADIENT_NAN] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_GRADIENT_INF] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_UNCLIPPED_RMS] = BP_RANKS_COPY_OR_RMS,
    [BP_Q_MISSING_GRADIENTS] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_GRADIENT_TINY] = BP_RANKS_COPY_OR_MEAN,
    [BP_Q_UPDATE_RMS] = BP_RANKS_COPY_OR_RMS,
    [BP_Q_EFFECT] = BP_RANKS_COPY_OR_SUM,
    [BP_Q_UPDATE_BAD] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_STALLED] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_PARAMETERS] = BP_RANKS_COPY_OR_COUNT,
    [BP_Q_ADAPTIVITY] = BP_RANKS_COPY_OR_MEAN,
    [BP_Q_GRADIENT_COSINE] = BP_RANKS_COPY_OR_MEAN,
    [BP_Q_SHARD_WEIGHTS] = BP_RANKS_COPY_OR_SUM,
    [BP_Q_PARAMETER_SPREAD] = BP_RANKS_COMPARED,
    [BP_Q_GRADIENT_SPREAD] = BP_RANKS_COMPARED,
    [BP_Q_RANK_APART] = BP_RANKS_COMPARED,
    [BP_Q_RANKS] = BP_RANKS_COMPARED,
};

bp_rank_rule bp_quantity_rank_rule(bp_quantity quantity) {
    return (unsigned)quantity < BP_N_QUANTITIES ? rules[quantity] : BP_RANKS_NO_RULE;
}

/* --- one quantity of one row ------------------------------------------------------------------ */

static bool has(const bp_rank_records *from, uint32_t i, bp_quantity quantity, uint32_t row) {
    return bp_record_has(from->record[i], quantity, row);
}

/* What was measured of it, over the ranks. */
typedef struct bundle {
    uint32_t n;
    double first, smallest, largest, sum, sum_squares;
    double weights, weighted, weighted_squares; /* sums; each value counts by its weight */
} bundle;

static void add(bundle *all, double value, double weight) {
    if (all->n == 0) all->first = value;
    if (all->n == 0 || value < all->smallest || isnan(value)) all->smallest = value;
    if (all->n == 0 || value > all->largest || isnan(value)) all->largest = value;
    all->n++;
    all->sum += value;
    all->sum_squares += value * value;
    all->weights += weight;
    all->weighted += weight * value;
    all->weighted_squares += weight * value * value;
}

/* Where a weight is missing, or none is above 0, every rank counts the same. */
static bool weighs(const bp_rank_records *from, bp_quantity quantity, uint32_t row,
                   bp_quantity weight, uint32_t weight_row) {
    double sum = 0;
    if (weight == BP_N_QUANTITIES) return false;
    for (uint32_t i = 0; i < from->n; i++) {
        if (!has(from, i, quantity, row)) continue;
        if (!has(from, i, weight, weight_row)) return false;
        sum += bp_record_get(from->record[i], weight, weight_row);
    }
    return sum > 0;
}

static bundle gather(const bp_rank_records *from, bp_quantity quantity, uint32_t row,
                     bp_quantity weight, uint32_t weight_row) {
    const bool by_weight = weighs(from, quantity, row, weight, weight_row);
    bundle all = {0};
    for (uint32_t i = 0; i < from->n; i++)
        if (has(from, i, quantity, row))
            add(&all, bp_record_get(from->record[i], quantity, row),
                by_weight ? bp_record_get(from->record[i], weight, weight_row) : 1);
    return all;
}

static double weighted_mean(const bundle *all) {
    return all->weighted / all->weights;
}

static double weighted_rms(const bundle *all) {
    return sqrt(all->weighted_squares / all->weights);
}

/* --- copies and parts ------------------------------------------------------------------------- */

/* A layer's parameters over the ranks. */
typedef enum lie { COPIES, PARTS, SOME_PARTS } lie;

/* Parts that are not all there make no whole. */
static lie lie_of(const bp_rank_records *from, uint32_t row) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < from->n; i++) n += has(from, i, BP_Q_SHARD_WEIGHTS, row);
    if (n == 0) return COPIES;
    return n == from->n_ranks ? PARTS : SOME_PARTS;
}

static bool is_of_parameters(bp_rank_rule rule) {
    return rule >= BP_RANKS_COPY_OR_RMS && rule <= BP_RANKS_COPY_OR_NORM;
}

/* Of all layers with gradients; layers of both kinds are SOME_PARTS: their norm is not told. */
static lie lie_of_all(const bp_rank_records *from, uint32_t n_layers) {
    bool copies = false, parts = false;
    for (uint32_t row = 1; row <= n_layers; row++) {
        const lie found = lie_of(from, row);
        bool trained = false;
        for (uint32_t i = 0; i < from->n; i++)
            trained = trained || has(from, i, BP_Q_GRADIENT_MAX, row);
        if (found == SOME_PARTS) return SOME_PARTS;
        parts = parts || found == PARTS;
        copies = copies || (found == COPIES && trained);
    }
    if (copies && parts) return SOME_PARTS;
    return parts ? PARTS : COPIES;
}

static double whole_of(bp_rank_rule rule, const bundle *all, lie lies) {
    switch (rule) {
    case BP_RANKS_COPY_OR_RMS:
        return lies == PARTS ? weighted_rms(all) : all->first;
    case BP_RANKS_COPY_OR_MEAN:
        return lies == PARTS ? weighted_mean(all) : all->first;
    case BP_RANKS_COPY_OR_MAX:
        return lies == PARTS ? all->largest : all->first;
    case BP_RANKS_COPY_OR_SUM:
        return lies == PARTS ? all->sum : all->first;
    case BP_RANKS_COPY_OR_COUNT:
        return lies == PARTS ? all->sum : all->largest;
    case BP_RANKS_COPY_OR_NORM:
        return lies == PARTS ? sqrt(all->sum_squares) : all->first;
    case BP_RANKS_SUM:
        return all->sum;
    case BP_RANKS_MAX:
        return all->largest;
    case BP_RANKS_MIN: /* a unit is silent when it is so in every rank */
        return all->smallest;
    case BP_RANKS_MEAN:
    case BP_RANKS_MEAN_BY_SAMPLES:
    case BP_RANKS_MEAN_BY_TERMS:
        return weighted_mean(all);
    case BP_RANKS_RMS_BY_SAMPLES:
        return weighted_rms(all);
    case BP_RANKS_COPY:
    case BP_RANKS_COMPARED:
    case BP_RANKS_NO_RULE:
        break;
    }
    return all->first;
}

static bp_quantity weight_of(bp_rank_rule rule) {
    switch (rule) {
    case BP_RANKS_MEAN_BY_SAMPLES:
    case BP_RANKS_RMS_BY_SAMPLES:
        return BP_Q_SAMPLES;
    case BP_RANKS_MEAN_BY_TERMS:
        return BP_Q_LOSS_TERMS;
    case BP_RANKS_COPY_OR_RMS:
    case BP_RANKS_COPY_OR_MEAN:
        return BP_Q_SHARD_WEIGHTS;
    case BP_RANKS_NO_RULE:
    case BP_RANKS_SUM:
    case BP_RANKS_MAX:
    case BP_RANKS_MIN:
    case BP_RANKS_MEAN:
    case BP_RANKS_COPY_OR_MAX:
    case BP_RANKS_COPY_OR_SUM:
    case BP_RANKS_COPY_OR_COUNT:
    case BP_RANKS_COPY_OR_NORM:
    case BP_RANKS_COPY:
    case BP_RANKS_COMPARED:
        break;
    }
    return BP_N_QUANTITIES;
}

static void merge_cell(bp_record *into, const bp_rank_records *from, bp_quantity quantity,
                       uint32_t row, lie lies) {
    const bp_rank_rule rule = rules[quantity];
    if (lies == SOME_PARTS && is_of_parameters(rule)) return;
    const bp_quantity weight = weight_of(rule);
    const bundle all = gather(from, quantity, row, weight, weight == BP_Q_SHARD_WEIGHTS ? row : 0);
    const bool of_all = bp_quantity_table[quantity].rows == BP_ROWS_NETWORK;
    if (all.n == 0) return;
    /* How many samples there were is known when all tell. */
    if (rule == BP_RANKS_SUM && of_all && all.n < from->n) return;
    bp_record_set(into, quantity, row, whole_of(rule, &all, lies));
}

/* --- comparing copies ------------------------------------------------------------------------- */

/* The largest of several relative differences, and whose it is. */
typedef struct spread {
    bool measured;
    double difference;
    uint32_t rank;
} spread;

static double middle_of(double *values, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) /* few, and mostly equal: no need for more */
        for (uint32_t j = i; j > 0 && values[j] < values[j - 1]; j--) {
            const double swapped = values[j];
            values[j] = values[j - 1];
            values[j - 1] = swapped;
        }
    return values[(n - 1) / 2];
}

#define MIDDLE_OF 64u /* of more ranks the first so many tell what most have */

/* The value that most ranks have: of two that differ it is the first one's. */
static double usual(const bp_rank_records *from, bp_quantity quantity, uint32_t row) {
    double values[MIDDLE_OF];
    uint32_t n = 0;
    for (uint32_t i = 0; i < from->n && n < MIDDLE_OF; i++)
        if (has(from, i, quantity, row))
            values[n++] = bp_record_get(from->record[i], quantity, row);
    return n == 2 ? values[0] : middle_of(values, n);
}

static double difference_of(double a, double b) {
    const double larger = fmax(fabs(a), fabs(b));
    return larger > 0 && isfinite(larger) ? fabs(a - b) / larger : 0;
}

static void compare(spread *all, const bp_rank_records *from, bp_quantity quantity, uint32_t row) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < from->n; i++) n += has(from, i, quantity, row);
    if (n < 2) return;
    const double reference = usual(from, quantity, row);
    all->measured = true;
    for (uint32_t i = 0; i < from->n; i++) {
        if (!has(from, i, quantity, row)) continue;
        const double found =
            difference_of(bp_record_get(from->record[i], quantity, row), reference);
        if (!(found > all->difference)) continue;
        all->difference = found;
        all->rank = from->rank[i];
    }
}

/* Norms before clipping are not compared: they may be those before the ranks' mean is taken. */
static void compare_layer(bp_record *into, const bp_rank_records *from, uint32_t row) {
    spread parameters = {0}, gradients = {0};
    compare(&parameters, from, BP_Q_WEIGHT_RMS, row);
    compare(&parameters, from, BP_Q_WEIGHT_MAX, row);
    compare(&parameters, from, BP_Q_BIAS_RMS, row);
    compare(&gradients, from, BP_Q_GRADIENT_RMS, row);
    compare(&gradients, from, BP_Q_GRADIENT_MAX, row);
    compare(&gradients, from, BP_Q_BIAS_GRADIENT_RMS, row);
    compare(&gradients, from, BP_Q_UPDATE_RMS, row);
    if (parameters.measured) bp_record_set(into, BP_Q_PARAMETER_SPREAD, row, parameters.difference);
    if (gradients.measured) bp_record_set(into, BP_Q_GRADIENT_SPREAD, row, gradients.difference);
    if (!parameters.measured && !gradients.measured) return;
    bp_record_set(into, BP_Q_RANKS, 0, from->n);
    if (parameters.difference > 0 || gradients.difference > 0)
        bp_record_set(into, BP_Q_RANK_APART, row,
                      parameters.difference > 0 ? parameters.rank : gradients.rank);
}

/* --- the record ------------------------------------------------------------------------------- */

static void merge_head(bp_record *into, const bp_rank_records *from) {
    const bp_record *first = from->record[0];
    into->step = first->step;
    into->stream = first->stream;
    into->micro_step = first->micro_step;
    into->flags = first->flags;
    into->wall_time = first->wall_time;
    for (uint32_t i = 1; i < from->n; i++) {
        into->flags &= from->record[i]->flags;
        into->wall_time = fmax(into->wall_time, from->record[i]->wall_time);
    }
}

void bp_record_merge(bp_record *into, const bp_rank_records *from) {
    uint64_t columns = 0;
    bp_record_clear(into);
    merge_head(into, from);
    for (uint32_t i = 0; i < from->n; i++) columns |= from->record[i]->columns;
    const bool norms = columns >> BP_Q_GRADIENT_NORM & 1 || columns >> BP_Q_UNCLIPPED_NORM & 1;
    const lie all = norms ? lie_of_all(from, into->n_layers) : COPIES;
    for (uint32_t row = 0; row <= into->n_layers; row++) {
        const lie lies = row == 0 ? all : lie_of(from, row);
        for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
            if (columns >> q & 1 && rules[q] != BP_RANKS_COMPARED)
                merge_cell(into, from, (bp_quantity)q, row, lies);
        if (row > 0 && lies == COPIES && from->n > 1) compare_layer(into, from, row);
    }
}
