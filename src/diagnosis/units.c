/* SPDX-License-Identifier: Apache-2.0 */
/* Units that no longer take part: dead ones (never active) and saturated ones (their phi' is 0).
 * A few dead units are part of healthy training; what is said of them depends on how many of a
 * layer they are, on whether something runs past the layer, and on what the loss still has to do.
 * Saturated units count where the chain over depth says that this layer holds the error signal up
 * and layers at or below it do not learn. */
#include "diagnosis/state.h"

#include <math.h>

#define DEAD_SAMPLES 10000u  /* or an epoch, when that is more */
#define STILL_RECORDS 5u     /* a whole layer silent for so long, ... */
#define STILL_SAMPLES 200u   /* ... over so many samples, with nothing coming back: dead */
#define NOTHING_BACK 2e-3    /* gelu and silu: phi' of inactive units is below 1e-3 */
#define SHARE_HINT 0.4       /* fewer is part of healthy training */
#define SHARE_PART 0.25      /* ... in each of NEIGHBOURS layers it is not */
#define SHARE_EVENT 0.10     /* ... unless one update did it */
#define SHARE_WARNING 0.50   /* while the loss is above LOSS_HIGH of the trivial level */
#define SHARE_NEARLY_ALL 0.8 /* while it is above LOSS_LOW */
#define INPUT_ALIKE                                                                 \
    0.1 /* spread over samples / size of what comes in: below it units follow their \
           biases, dead or alive, and are not to blame */
#define LOSS_HIGH 0.5
#define LOSS_LOW 0.1
#define LONG_UPDATE 0.1 /* rms(update) / rms(w) that can push units out of reach at once */
#define FIRST_UPDATES 10
#define NEIGHBOURS 3u
#define SATURATED_SHARE 0.5
#define HELD_UP 0.1  /* activation's part of the gain / the largest phi' */
#define STARVING 0.1 /* of a fair share of learning */
#define SATURATED_RECORDS 20u
#define EVERY 16u /* records: how often saturation is judged */

/* The last one stands for a whole layer: the very last units may hold out long. */
static const double levels[BP_DEAD_LEVELS] = {0.10, 0.25, 0.50, 0.90};

static bool is_hidden(const bp_diagnosis *d, uint32_t id) {
    return id != d->units.output;
}

static void clear_silence(bp_silence *silence) {
    silence->last_from = silence->last_below = silence->first_above = -1;
    silence->update_ratio = silence->rate = (double)NAN;
    silence->loss_before = silence->loss_after = (double)NAN;
}

bool bp_units_open(bp_diagnosis *d) {
    bp_unit_health *units = &d->units;
    const size_t rows = (size_t)d->n_layers + 1;
    units->layer = bp_allocate(&d->allocator, rows, sizeof *units->layer);
    if (!units->layer) return false;
    const int64_t epoch = bp_model_recipe(d->model)->train_samples;
    units->last_loss = units->last_rate = (double)NAN;
    units->from = -1;
    units->samples = epoch > (int64_t)DEAD_SAMPLES ? (uint64_t)epoch : DEAD_SAMPLES;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (bp_layer_has_weights(bp_model_layer(d->model, id))) units->output = id;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer *spec = bp_model_layer(d->model, id);
        bp_layer_units *layer = &units->layer[id];
        const bool ends_so = spec->norm == BP_NORM_NONE || !spec->norm_after_activation;
        layer->can_die =
            ends_so && is_hidden(d, id) && !bp_layer_is_recurrent(spec) &&
            (spec->activation == BP_ACTIVATION_RELU || spec->activation == BP_ACTIVATION_GELU ||
             spec->activation == BP_ACTIVATION_SILU);
        /* What something runs past is a gate, or may be. */
        layer->can_saturate =
            ends_so && is_hidden(d, id) && spec->depth_in_blocks == 0 &&
            !bp_layer_is_recurrent(spec) &&
            (spec->activation == BP_ACTIVATION_SIGMOID || spec->activation == BP_ACTIVATION_TANH);
        layer->is_cut = spec->depth_in_blocks == 0;
        layer->last_update_ratio = (double)NAN;
        for (int k = 0; k < BP_DEAD_LEVELS; k++) clear_silence(&layer->silence[k]);
    }
    return true;
}

void bp_units_close(bp_diagnosis *d) {
    bp_release(&d->allocator, d->units.layer, (size_t)d->n_layers + 1, sizeof *d->units.layer);
}

/* --- what a record says ----------------------------------------------------------------------- */

static double share_of(uint64_t part, uint64_t whole) {
    return whole ? (double)part / (double)whole : 0;
}

/* n_reached: of the levels. Where it rises, the record before was the last one below. */
static void note_reached(const bp_diagnosis *d, bp_layer_units *layer, const bp_record *record,
                         uint8_t n_reached) {
    for (uint8_t k = n_reached; k < layer->n_reached; k++) layer->silence[k].first_above = -1;
    for (uint8_t k = layer->n_reached; k < n_reached; k++)
        layer->silence[k] = (bp_silence){.last_from = layer->was_told ? layer->last_from : -1,
                                         .last_below = layer->was_told ? layer->last_step : -1,
                                         .first_above = d->units.from,
                                         .update_ratio = layer->last_update_ratio,
                                         .rate = d->units.last_rate,
                                         .loss_before = d->units.last_loss,
                                         .loss_after = bp_record_get(record, BP_Q_LOSS, 0)};
    layer->n_reached = n_reached;
    layer->was_told = true;
    layer->last_from = d->units.from;
    layer->last_step = record->step;
}

/* Nothing of the error signal gets through the activation: no weight below can move. */
static bool is_cut_off(const bp_record *record, uint32_t id) {
    const double behind = bp_record_get(record, BP_Q_ERROR_RMS, id);
    const double before = bp_record_get(record, BP_Q_ERROR_PRE_ACTIVATION, id);
    if (!isnan(behind) && !isnan(before)) return before <= NOTHING_BACK * behind;
    return bp_record_get(record, BP_Q_GRADIENT_RMS, id) <= 0;
}

static void note_stillness(bp_layer_units *layer, const bp_record *record, bool is_still) {
    const double loss = bp_record_get(record, BP_Q_LOSS, 0);
    if (layer->n_still == 0 || !is_still) {
        layer->still_samples = 0;
        layer->still_loss = 0;
    }
    layer->n_still = is_still ? layer->n_still + 1 : 0;
    if (!is_still) return;
    layer->still_samples += bp_count_of(record, BP_Q_SAMPLES, 0);
    layer->still_loss += isfinite(loss) ? loss : 0;
}

static void note_dying(bp_diagnosis *d, const bp_record *record, uint32_t id, bool alike) {
    bp_layer_units *layer = &d->units.layer[id];
    const uint64_t units = bp_count_of(record, BP_Q_UNITS, id);
    if (units == 0 || !bp_record_has(record, BP_Q_SILENT_UNITS, id)) return;
    layer->units = units;
    layer->silent = bp_count_of(record, BP_Q_SILENT_UNITS, id);
    layer->is_dead_told = !alike && bp_record_has(record, BP_Q_DEAD_UNITS, id);
    layer->dead = layer->is_dead_told ? bp_count_of(record, BP_Q_DEAD_UNITS, id) : 0;
    const double share = share_of(layer->silent, units);
    uint8_t n_reached = 0;
    while (n_reached < BP_DEAD_LEVELS && share >= levels[n_reached]) n_reached++;
    note_reached(d, layer, record, n_reached);
    const bool is_still = !alike && layer->silent >= units && is_cut_off(record, id);
    if (is_still || layer->n_still > 0) note_stillness(layer, record, is_still);
}

static double largest_slope(const bp_layer *spec) {
    return spec->activation == BP_ACTIVATION_SIGMOID ? 0.25 : 1;
}

static void note_saturation(bp_diagnosis *d, const bp_record *record, uint32_t id, bool alike) {
    bp_layer_units *layer = &d->units.layer[id];
    const bp_layer *spec = bp_model_layer(d->model, id);
    if (!bp_record_has(record, BP_Q_SATURATED_UNITS, id)) return;
    layer->units = bp_count_of(record, BP_Q_UNITS, id);
    layer->saturated = bp_count_of(record, BP_Q_SATURATED_UNITS, id);
    const double behind = bp_record_get(record, BP_Q_ERROR_RMS, id);
    const double before = bp_record_get(record, BP_Q_ERROR_PRE_ACTIVATION, id);
    const bool holds_up = before <= HELD_UP * largest_slope(spec) * behind;
    const bool most = share_of(layer->saturated, layer->units) >= SATURATED_SHARE;
    const bool blamed = most && holds_up && !alike;
    note_reached(d, layer, record, most ? 1 : 0);
    layer->blamed = layer->blamed << 1 | (blamed ? 1u : 0u);
    if (layer->n_blamed < 64) layer->n_blamed++;
}

/* --- dead units ------------------------------------------------------------------------------- */

/* What the loss says about whether dead units cost: a share from which on they are a warning; above
 * 1 when nothing is left to learn. */
static double costly_share(const bp_diagnosis *d) {
    const double level = bp_model_recipe(d->model)->trivial_loss, loss = d->history.last_mean;
    /* Against where it began it only shows that something was learnt. */
    if (!bp_loss_is_judged(d) || !(level > 0)) return SHARE_NEARLY_ALL;
    if (isnan(loss)) return 3; /* too early to tell */
    if (loss > LOSS_HIGH * level) return SHARE_WARNING;
    return loss > LOSS_LOW * level ? SHARE_NEARLY_ALL : 2;
}

static bool is_still(const bp_layer_units *layer) {
    return layer->n_still >= STILL_RECORDS && layer->still_samples >= STILL_SAMPLES;
}

static bool is_all_dead(const bp_layer_units *layer) {
    return layer->can_die && layer->units > 0 &&
           (is_still(layer) || (layer->is_dead_told && layer->dead >= layer->units));
}

/* A network of which a layer is dead gives the same output for every input: its loss cannot be
 * below guessing. Where it is, something runs past the layer that the model does not show. */
static bool is_contradicted(const bp_diagnosis *d, const bp_layer_units *layer) {
    if (!bp_loss_is_judged(d) || layer->n_still == 0) return false;
    return layer->still_loss / layer->n_still < 0.8 * bp_trivial_level(d);
}

static int level_of(double share) {
    int k = 0;
    while (k + 1 < BP_DEAD_LEVELS && levels[k + 1] <= share) k++;
    return k;
}

/* One update did it: a long one, after which they were silent. The first ones are long in many a
 * healthy run. */
static bool is_event(const bp_diagnosis *d, const bp_silence *silence) {
    return silence->last_below >= d->history.first_step + FIRST_UPDATES &&
           silence->update_ratio > LONG_UPDATE;
}

static uint8_t dead_severity(const bp_diagnosis *d, uint32_t id, double costly) {
    const bp_layer_units *layer = &d->units.layer[id];
    const bool has_skip = !layer->is_cut;
    if (is_all_dead(layer)) {
        if (has_skip || is_contradicted(d, layer)) return BP_WARNING;
        return BP_ERROR;
    }
    if (!layer->can_die || !layer->is_dead_told) return 0;
    const double share = share_of(layer->dead, layer->units);
    if (has_skip) return share >= SHARE_WARNING ? BP_HINT : 0;
    if (share >= costly) return BP_WARNING;
    if (costly > 2) return 0;
    if (costly > 1) return share >= SHARE_WARNING ? BP_HINT : 0; /* all is learnt without them */
    if (share >= (costly > SHARE_WARNING ? SHARE_WARNING : SHARE_HINT)) return BP_HINT;
    return share >= SHARE_EVENT && is_event(d, &layer->silence[level_of(share)]) ? BP_HINT : 0;
}

/* Neighbours that all have lost a good part: their shares multiply along a path. */
static bool lift_neighbours(bp_diagnosis *d, uint32_t from, uint32_t n) {
    if (n < NEIGHBOURS || costly_share(d) > SHARE_WARNING) return false;
    uint32_t lifted = 0;
    for (uint32_t id = from; id <= d->n_layers && lifted < n; id++) {
        bp_layer_units *layer = &d->units.layer[id];
        if (!layer->can_die) continue;
        if (layer->severity < BP_WARNING) layer->severity = BP_WARNING;
        lifted++;
    }
    return true;
}

static uint8_t judge_layers(bp_diagnosis *d) {
    uint8_t worst = 0;
    uint32_t run = 0, from = 0;
    const double costly = costly_share(d);
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        bp_layer_units *layer = &d->units.layer[id];
        if (!layer->can_die) continue;
        const bool some =
            layer->units > 0 && (10 * layer->dead >= layer->units || layer->n_still > 0);
        layer->severity = some ? dead_severity(d, id, costly) : 0;
        const bool part =
            some && layer->is_cut && (double)layer->dead >= SHARE_PART * (double)layer->units;
        if (!part) {
            if (lift_neighbours(d, from, run) && worst < BP_WARNING) worst = BP_WARNING;
            run = 0;
        } else if (run++ == 0) {
            from = id;
        }
        if (layer->severity > worst) worst = layer->severity;
    }
    if (lift_neighbours(d, from, run) && worst < BP_WARNING) worst = BP_WARNING;
    return worst;
}

/* The layer that the words are about: the first of those that are all dead (what comes after it
 * gets a constant), else the one that has lost most. */
static uint32_t worst_layer(const bp_diagnosis *d) {
    uint32_t worst = 0;
    double largest = -1;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_units *layer = &d->units.layer[id];
        if (!layer->can_die || layer->severity == 0) continue;
        const double share = is_all_dead(layer) ? 1 : share_of(layer->dead, layer->units);
        const double rank = layer->severity * 10 + share;
        if (rank > largest) {
            largest = rank;
            worst = id;
        }
    }
    return worst;
}

static const bp_silence *silence_of(const bp_layer_units *layer) {
    const double share = is_all_dead(layer) ? 1 : share_of(layer->dead, layer->units);
    return &layer->silence[level_of(share)];
}

static void set_onset(const bp_diagnosis *d, bp_finding *finding, const bp_silence *silence) {
    if (silence->first_above < 0) return; /* active again in this record: as it was said */
    finding->since_earliest =
        silence->last_below < 0 ? d->history.first_step : silence->last_from + 1;
    finding->since_latest = silence->first_above;
    finding->since_step = finding->since_latest;
    if (silence->last_below < 0)
        finding->since_step = finding->since_latest = d->history.first_step;
}

static void add_dead_evidence(const bp_diagnosis *d, bp_finding_slot *slot, int64_t step) {
    const uint32_t id = d->units.dead_layer;
    const bp_layer_units *layer = &d->units.layer[id];
    const bool all = is_all_dead(layer);
    const bool by_stillness = all && !(layer->is_dead_told && layer->dead >= layer->units);
    const bp_silence *silence = silence_of(layer);
    bp_finding_add_evidence(slot, "dead_fraction", "of the layer's units", id, step,
                            all ? 1 : share_of(layer->dead, layer->units), true);
    bp_finding_add_evidence(slot, "units", "of the layer", id, step, (double)layer->units, true);
    bp_finding_add_evidence(
        slot, "silent_samples", "in a row in which they were not active", id, step,
        by_stillness ? (double)layer->still_samples : (double)d->units.samples, true);
    bp_finding_add_evidence(slot, "update_ratio",
                            "rms(update) / rms(weight) in the last record before they fell silent",
                            id, silence->last_below, silence->update_ratio,
                            silence->last_below >= 0 && !isnan(silence->update_ratio));
    bp_finding_add_evidence(slot, "loss", "mean over the window", 0, step, d->history.last_mean,
                            !isnan(d->history.last_mean));
    if (all)
        bp_finding_add_evidence(slot, "blamed_layer", "the first that is dead as a whole", id, step,
                                id, true);
}

static uint32_t close(bp_finding_slot *slot) {
    if (!slot->exists || !slot->finding.open) return 0;
    const bool changed = slot->finding.severity != BP_HINT;
    slot->finding.open = false;
    slot->finding.severity = BP_HINT;
    return changed;
}

/* What it said still is there, and costs nothing any more. */
static bool is_remembered(const bp_diagnosis *d, const bp_finding_slot *slot) {
    for (uint32_t i = 0; i < slot->finding.n_layers; i++) {
        const bp_layer_units *layer = &d->units.layer[slot->layers[i]];
        if (layer->units && share_of(layer->dead, layer->units) >= SHARE_EVENT) return true;
    }
    return false;
}

static uint32_t soften(bp_finding_slot *slot, int64_t step) {
    const bool changed = slot->finding.severity != BP_HINT;
    slot->finding.severity = BP_HINT;
    slot->finding.last_step = step;
    return changed;
}

static uint32_t judge_dead(bp_diagnosis *d, const bp_record *record) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_DEAD_UNITS];
    const uint8_t severity = judge_layers(d);
    if (severity == 0 && slot->exists && slot->finding.open && is_remembered(d, slot))
        return soften(slot, record->step);
    if (severity == 0) return close(slot);
    const uint8_t before = slot->exists ? (uint8_t)slot->finding.severity : 0;
    d->units.dead_layer = worst_layer(d);
    const bp_silence *silence = silence_of(&d->units.layer[d->units.dead_layer]);
    bp_finding_open(d, BP_PROBLEM_DEAD_UNITS, record->step, record->step);
    set_onset(d, &slot->finding, silence);
    slot->finding.severity = (bp_severity)severity;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (d->units.layer[id].severity > 0) bp_finding_add_layer(slot, id);
    add_dead_evidence(d, slot, record->step);
    return before != severity;
}

/* --- saturated units -------------------------------------------------------------------------- */

static uint32_t count_bits(uint64_t bits) {
    uint32_t n = 0;
    for (; bits; bits &= bits - 1) n++;
    return n;
}

/* The layer or all below it do not learn although there is something left to learn. */
static bool is_learning_affected(const bp_diagnosis *d, uint32_t id) {
    const double level = bp_trivial_level(d), loss = d->history.last_mean;
    if (bp_loss_is_judged(d) && !(loss > LOSS_LOW * level)) return false;
    if (bp_loss_is_judged(d) && !bp_loss_left_trivial(d)) return true;
    return bp_window_median_share(&d->window, id) < STARVING / fmax(d->n_learning, 1);
}

static bool is_saturated(const bp_layer_units *layer) {
    return layer->can_saturate && layer->n_blamed >= SATURATED_RECORDS &&
           2 * count_bits(layer->blamed) > layer->n_blamed;
}

static void add_saturated_evidence(const bp_diagnosis *d, bp_finding_slot *slot,
                                   const bp_record *record) {
    const uint32_t id = d->units.saturated_layer;
    const bp_layer_units *layer = &d->units.layer[id];
    const double behind = bp_record_get(record, BP_Q_ERROR_RMS, id);
    const double passed = bp_record_get(record, BP_Q_ERROR_PRE_ACTIVATION, id) / behind;
    bp_finding_add_evidence(slot, "saturated_fraction", "of the layer's units", id, record->step,
                            share_of(layer->saturated, layer->units), true);
    bp_finding_add_evidence(slot, "activation_part", "rms(dL/dz) / rms(dL/da)", id, record->step,
                            passed, isfinite(passed));
    bp_finding_add_evidence(slot, "largest_slope", "of the activation", id, record->step,
                            largest_slope(bp_model_layer(d->model, id)), true);
    const double share = bp_window_median_share(&d->window, id);
    bp_finding_add_evidence(slot, "share_of_learning", "median over the window", id, record->step,
                            share, !isnan(share));
    bp_finding_add_evidence(slot, "loss", "mean over the window", 0, record->step,
                            d->history.last_mean, !isnan(d->history.last_mean));
}

static uint32_t judge_saturated(bp_diagnosis *d, const bp_record *record) {
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_SATURATED_UNITS];
    uint32_t worst = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        bp_layer_units *layer = &d->units.layer[id];
        layer->is_saturated = is_saturated(layer);
        if (!layer->is_saturated) continue;
        if (!worst || layer->saturated * d->units.layer[worst].units >
                          d->units.layer[worst].saturated * layer->units)
            worst = id;
    }
    if (!worst || bp_window_length(&d->window) < WINDOW_MIN) return close(slot);
    if (!is_learning_affected(d, worst)) return close(slot);
    const uint8_t before = slot->exists ? (uint8_t)slot->finding.severity : 0;
    d->units.saturated_layer = worst;
    bp_finding_open(d, BP_PROBLEM_SATURATED_UNITS, record->step, record->step);
    set_onset(d, &slot->finding, &d->units.layer[worst].silence[0]);
    slot->finding.severity = bp_loss_left_trivial(d) ? BP_WARNING : BP_ERROR;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (d->units.layer[id].is_saturated) bp_finding_add_layer(slot, id);
    add_saturated_evidence(d, slot, record);
    return before != (uint8_t)slot->finding.severity;
}

uint32_t bp_judge_units(bp_diagnosis *d, const bp_record *record) {
    if (d->non_finite.seen) return 0;
    if (d->units.from < 0) d->units.from = record->step;
    bool any = false;
    bool alike = false; /* at the last point that every path crosses */
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        bp_layer_units *layer = &d->units.layer[id];
        if (layer->can_die) note_dying(d, record, id, alike);
        if (layer->can_saturate) note_saturation(d, record, id, alike);
        if (layer->is_cut) alike = bp_record_get(record, BP_Q_VARIATION, id) < INPUT_ALIKE;
        any = any || (layer->was_told && layer->last_step == record->step);
        if (layer->can_die || layer->can_saturate)
            layer->last_update_ratio = d->history.layer[id].last_update_ratio;
    }
    if (any) d->units.from = -1;
    d->units.last_loss = bp_record_get(record, BP_Q_LOSS, 0);
    d->units.last_rate = bp_record_get(record, BP_Q_LEARNING_RATE, 0);
    const uint32_t changed = judge_dead(d, record);
    return d->units.n_records++ % EVERY ? changed : changed + judge_saturated(d, record);
}

/* --- in words --------------------------------------------------------------------------------- */

static void number(bp_text *text, const char *before, double of, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, of, 2);
    bp_text_add(text, "%s", after);
}

void bp_units_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_finding *finding = &slot->finding;
    const bool dead = finding->problem == BP_PROBLEM_DEAD_UNITS;
    const uint32_t id = dead ? d->units.dead_layer : d->units.saturated_layer;
    const double share =
        bp_finding_evidence(finding, dead ? "dead_fraction" : "saturated_fraction");
    if (share >= 1)
        bp_text_add(text, "all units");
    else
        number(text, "", 100 * share, "% of the units");
    bp_text_add(text, " of layer %u of %u %s %s", id, d->n_layers, finding->open ? "are" : "were",
                dead ? "dead" : "saturated");
    if (!finding->open) bp_text_add(text, " for a while");
    if (finding->n_layers > 1) {
        bp_text_add(text, "; such units are in ");
        bp_text_layers_named(text, slot->layers, finding->n_layers);
    }
}

/* When they died, and what the update before did. */
static void text_death(const bp_silence *silence, bp_text *text) {
    if (silence->first_above < 0) return;
    if (silence->last_below < 0) {
        bp_text_add(text, "; so it was in the first record already, of step %lld",
                    (long long)silence->first_above);
        return;
    }
    if (silence->first_above == silence->last_from + 1)
        bp_text_add(text, "; it is so since the update of step %lld",
                    (long long)silence->last_below);
    else
        bp_text_add(text, "; it is so since an update of steps %lld to %lld",
                    (long long)silence->last_from, (long long)silence->first_above - 1);
    if (silence->update_ratio > LONG_UPDATE) {
        if (silence->first_above == silence->last_from + 1)
            bp_text_add(text, ": it");
        else
            bp_text_add(text, ": that of step %lld", (long long)silence->last_below);
        number(text, " changed the layer's weights by ", silence->update_ratio, " of their size");
    }
    if (silence->rate > 0) number(text, " (learning rate ", silence->rate, ")");
    if (silence->loss_before > 0 && silence->loss_after > 2 * silence->loss_before) {
        number(text, "; the loss went from ", silence->loss_before, " to ");
        bp_text_add_number(text, silence->loss_after, 2);
    }
}

static void text_dead(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                      bp_text *note) {
    const uint32_t id = d->units.dead_layer;
    const bp_layer_units *layer = &d->units.layer[id];
    const bp_layer *spec = bp_model_layer(d->model, id);
    const double share = bp_finding_evidence(&slot->finding, "dead_fraction");
    const double units = bp_finding_evidence(&slot->finding, "units");
    const double samples = bp_finding_evidence(&slot->finding, "silent_samples");
    bp_text_add(
        cause,
        "%llu of %llu units of layer %u (%s) were not active once in %llu samples: active in "
        "fewer than ",
        (unsigned long long)(units * share + 0.5), (unsigned long long)units, id, spec->name,
        (unsigned long long)samples);
    bp_text_add_number(cause, 3 / samples, 1);
    bp_text_add(cause,
                " of them; where %s is flat nothing comes back, and their weights do not move",
                bp_activation_name(spec->activation));
    text_death(silence_of(layer), cause);
    if (share >= 1 && spec->depth_in_blocks == 0)
        bp_text_add(note,
                    "nothing runs past layer %u: the layers above it get the same for every "
                    "input, those below it get no gradient",
                    id);
    else if (share >= 1)
        bp_text_add(note, "the skip around layer %u carries on without it", id);
    else if (slot->finding.severity == BP_HINT && slot->finding.open)
        bp_text_add(note, "the loss does not show that they are missed");
    if (!slot->finding.open)
        bp_text_add(note, "%sthey were active again after step %lld", note->length ? "; " : "",
                    (long long)slot->finding.last_step);
}

static void text_saturated(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                           bp_text *note) {
    const uint32_t id = d->units.saturated_layer;
    const bp_layer *spec = bp_model_layer(d->model, id);
    const double part = bp_finding_evidence(&slot->finding, "activation_part");
    const double share = bp_finding_evidence(&slot->finding, "share_of_learning");
    bp_text_add(cause,
                "%s of layer %u (%s) is at its ends for most samples: its slope there is "
                "below 1%% of the largest",
                bp_activation_name(spec->activation), id, spec->name);
    if (isfinite(part)) {
        number(cause, "; it passes on ", part, " of the error signal");
        number(cause, ", where up to ", largest_slope(spec), " would be possible");
    }
    if (isfinite(share)) number(cause, "; the layer's share in learning is ", share, "");
    text_death(&d->units.layer[id].silence[0], cause);
    if (!slot->finding.open)
        bp_text_add(note, "it was over after step %lld", (long long)slot->finding.last_step);
}

void bp_units_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                    bp_text *note) {
    if (slot->finding.problem == BP_PROBLEM_DEAD_UNITS)
        text_dead(d, slot, cause, note);
    else
        text_saturated(d, slot, cause, note);
}
