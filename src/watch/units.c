/* SPDX-License-Identifier: Apache-2.0 */
/* What the units of a layer do over samples, and the scales of the network's inputs. */
#include "watch/state.h"

#define ENOUGH_SAMPLES 32 /* fewer do not tell how much an activation varies */

#define INPUTS_EVERY 16 /* readings of the input, of which one tells its scales */

/* --- memory ----------------------------------------------------------------------------------- */

/* Numbers of what is kept of the layers, and of what they share. */
typedef struct needs {
    size_t sums, quiet, scratch, features;
} needs;

static needs needs_of(const bp_watch *watch) {
    needs all = {0};
    for (uint32_t layer = 0; layer <= watch->n_layers; layer++) {
        const bp_layer *spec = bp_model_layer(watch->model, layer);
        const size_t n = (size_t)bp_layer_unit_shape(watch->model, layer).n_units;
        const size_t scratch = bp_activity_scratch_words(n);
        all.sums += 3 * (size_t)bp_model_units(watch->model, layer);
        if (spec && bp_unit_kind_has_silence(bp_layer_unit_kind(spec))) all.quiet += n;
        if (spec && scratch > all.scratch) all.scratch = scratch;
        if (!spec) all.features = n;
    }
    return all;
}

static void open_layer(bp_watch *watch, uint32_t layer, double **sums, uint64_t **quiet,
                       uint64_t *scratch) {
    const bp_layer *spec = bp_model_layer(watch->model, layer);
    bp_layer_units *units = &watch->units[layer];
    const size_t n_values = (size_t)bp_model_units(watch->model, layer);
    units->shape = bp_layer_unit_shape(watch->model, layer);
    bp_units_init(&units->sums, *sums, *sums + n_values, *sums + 2 * n_values, n_values);
    *sums += 3 * n_values;
    if (!spec) return;
    const bp_unit_kind kind = bp_layer_unit_kind(spec);
    bp_activity_init(&units->activity, kind, units->shape.n_units,
                     bp_dead_samples(bp_model_recipe(watch->model)), *quiet, scratch);
    if (bp_unit_kind_has_silence(kind)) *quiet += units->shape.n_units;
}

bool bp_watch_open_units(bp_watch *watch) {
    const size_t rows = (size_t)watch->n_layers + 1;
    watch->units = bp_allocate(&watch->allocator, rows, sizeof *watch->units);
    if (!watch->units) return false;
    if (watch->options.summaries_only) return true; /* an empty bp_units takes no tensor */
    const needs n = needs_of(watch);
    watch->n_unit_numbers = n.sums + n.features;
    watch->n_unit_words = n.quiet + n.scratch;
    watch->unit_numbers = bp_allocate(&watch->allocator, watch->n_unit_numbers, sizeof(double));
    watch->unit_words = bp_allocate(&watch->allocator, watch->n_unit_words, sizeof(uint64_t));
    if (!watch->unit_numbers || !watch->unit_words) return false;
    double *sums = watch->unit_numbers;
    uint64_t *quiet = watch->unit_words, *scratch = watch->unit_words + n.quiet;
    for (uint32_t layer = 0; layer <= watch->n_layers; layer++)
        open_layer(watch, layer, &sums, &quiet, scratch);
    watch->features = sums;
    return true;
}

void bp_watch_close_units(bp_watch *watch) {
    const bp_allocator *allocator = &watch->allocator;
    bp_release(allocator, watch->units, (size_t)watch->n_layers + 1, sizeof *watch->units);
    bp_release(allocator, watch->unit_numbers, watch->n_unit_numbers, sizeof(double));
    bp_release(allocator, watch->unit_words, watch->n_unit_words, sizeof(uint64_t));
}

/* --- readings --------------------------------------------------------------------------------- */

static void note_counts(bp_watch *watch, uint32_t layer, const bp_unit_counts *counts) {
    const struct {
        bp_quantity quantity;
        bool known;
        uint64_t count;
    } readings[] = {{BP_Q_UNITS, true, counts->n_units},
                    {BP_Q_SILENT_UNITS, counts->has_silent, counts->silent},
                    {BP_Q_DEAD_UNITS, counts->has_dead, counts->dead},
                    {BP_Q_SATURATED_UNITS, counts->has_saturated, counts->saturated},
                    {BP_Q_DISTINCT_UNITS, counts->has_distinct, counts->distinct}};
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++)
        if (readings[i].known)
            bp_record_set(&watch->record, readings[i].quantity, layer, (double)readings[i].count);
}

/* Those of the input are features: how far their scales are apart. */
static void note_features(bp_watch *watch) {
    const bp_layer_units *input = &watch->units[0];
    double scales;
    if (watch->n_inputs++ % INPUTS_EVERY != 0) return; /* a data set is what it is */
    if (bp_units_scales(&input->sums, &input->shape, ENOUGH_SAMPLES, watch->features, &scales))
        bp_record_set(&watch->record, BP_Q_FEATURE_SCALES, 0, scales);
}

void bp_note_units(bp_watch *watch, uint32_t layer, const bp_tensor *tensor) {
    bp_layer_units *units = &watch->units[layer];
    bp_unit_counts counts;
    double variation;
    bp_units_add(&units->sums, tensor);
    if (units->sums.samples < ENOUGH_SAMPLES) return;
    if (bp_units_variation(&units->sums, ENOUGH_SAMPLES, &variation))
        bp_record_set(&watch->record, BP_Q_VARIATION, layer, variation);
    else if (!units->sums.non_finite) /* all outputs are 0: a dead layer tells nothing */
        bp_record_set(&watch->record, BP_Q_VARIATION, layer, 0);
    if (layer == 0)
        note_features(watch);
    else if (bp_activity_read(&units->activity, &units->sums, &units->shape, ENOUGH_SAMPLES,
                              &counts))
        note_counts(watch, layer, &counts);
    bp_units_reset(&units->sums);
}
