/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the number format: underflow, overflow, clipping by a norm that overflowed. What counts
 * is the value as it is stored (scaled by a loss scaler), and the range of the format: float16 ends
 * at 6e-8 and 65504, bfloat16 has float32's range. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

#define HALF 11u                 /* significand bits of float16 */
#define HALF_MAX 65504.0         /* its largest number */
#define NEAR_MAX (HALF_MAX / 16) /* finite neighbours of an overflow are of this size */
#define TINY_SHARE 0.3           /* of the non-zero values: beside them others have become 0 */
#define MIN_RECORDS 20u
#define SKIPPED_IN_A_ROW 10u /* a scaler that begins at 2^16 may need that many */
#define SKIPPED_SHARE 0.1
#define SKIPPED_RECORDS 100u
#define CLIPPED_IN_A_ROW 3u
#define CLIPPED_SHARE 0.05
#define OVER_RECORDS 64u
#define LOSS_LOW 0.1

bool bp_precision_open(bp_diagnosis *d) {
    bp_precision *precision = &d->precision;
    precision->layer =
        bp_allocate(&d->allocator, (size_t)d->n_layers + 1, sizeof *precision->layer);
    if (!precision->layer) return false;
    for (uint32_t id = 0; id <= d->n_layers; id++)
        precision->layer[id].tiny = precision->layer[id].activation_max = (double)NAN;
    precision->loss_scale = precision->unclipped = precision->largest = (double)NAN;
    precision->underflow_below = precision->underflow_above = -1;
    return true;
}

void bp_precision_close(bp_diagnosis *d) {
    bp_release(&d->allocator, d->precision.layer, (size_t)d->n_layers + 1,
               sizeof *d->precision.layer);
}

static uint32_t count_bits(uint64_t bits) {
    uint32_t n = 0;
    for (; bits; bits &= bits - 1) n++;
    return n;
}

static void note_mishap(bp_mishaps *mishaps, int64_t step, bool happened) {
    mishaps->recent[1] = mishaps->recent[1] << 1 | mishaps->recent[0] >> 63;
    mishaps->recent[0] = mishaps->recent[0] << 1 | (happened ? 1u : 0u);
    if (mishaps->n_seen < 128) mishaps->n_seen++;
    if (!happened) {
        mishaps->n_in_a_row = 0;
        return;
    }
    if (mishaps->n_total++ == 0) mishaps->first_step = step;
    if (mishaps->n_in_a_row++ == 0) mishaps->row_step = step;
    mishaps->last_step = step;
}

static uint32_t recent_mishaps(const bp_mishaps *mishaps) {
    return count_bits(mishaps->recent[0]) + count_bits(mishaps->recent[1]);
}

/* `severity` 0: it does not hold any more, or never did. */
static uint32_t tell(bp_diagnosis *d, bp_problem problem, bp_severity severity, int64_t since,
                     int64_t step) {
    bp_finding_slot *slot = &d->slots[problem];
    const bp_severity before = slot->exists ? slot->finding.severity : (bp_severity)0;
    if (severity) {
        bp_finding_open(d, problem, since, step);
        slot->finding.severity = severity;
    } else if (slot->exists) {
        slot->finding.open = false;
        slot->finding.severity = BP_HINT;
    }
    return slot->exists && before != slot->finding.severity;
}

/* --- clip-to-zero ----------------------------------------------------------------------------- */

static bool nothing_moved(const bp_diagnosis *d, const bp_record *record) {
    bool any = false;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (!bp_record_has(record, BP_Q_UPDATE_RMS, id)) continue;
        any = true;
        if (!(bp_record_get(record, BP_Q_UPDATE_RMS, id) <= 0)) return false;
    }
    return any;
}

/* An error signal reaches the output layer, whose biases it is summed in, and the optimiser gets
 * zeros: they were made on the way from one to the other. */
static bool set_to_zero(const bp_diagnosis *d, const bp_record *record) {
    const uint32_t id = d->units.output;
    if (!id || !bp_layer_is_trained(bp_model_layer(d->model, id))) return false;
    return bp_model_layer(d->model, id)->has_bias &&
           bp_record_get(record, BP_Q_GRADIENT_NORM, 0) <= 0 &&
           bp_record_get(record, BP_Q_GRADIENT_RMS, id) <= 0 &&
           bp_record_get(record, BP_Q_ERROR_RMS, id) > 0 &&
           !(bp_record_get(record, BP_Q_ERROR_PRE_ACTIVATION, id) <= 0);
}

static void add_clipping_evidence(bp_diagnosis *d, bp_finding_slot *slot, const bp_record *record) {
    const bp_precision *precision = &d->precision;
    bp_finding_add_evidence(slot, "unclipped_norm", "of all gradients, by which they are divided",
                            0, record->step, precision->unclipped, !isnan(precision->unclipped));
    bp_finding_add_evidence(slot, "zeroed_steps", "at which all gradients were set to 0", 0,
                            record->step, (double)precision->clipped.n_total, true);
    bp_finding_add_evidence(slot, "loss", "of this step, finite", 0, record->step,
                            bp_record_get(record, BP_Q_LOSS, 0),
                            bp_record_has(record, BP_Q_LOSS, 0));
    bp_finding_add_evidence(slot, "error_rms", "of the error signal at the output layer",
                            d->units.output, record->step,
                            bp_record_get(record, BP_Q_ERROR_RMS, d->units.output),
                            bp_record_has(record, BP_Q_ERROR_RMS, d->units.output));
}

static uint32_t judge_clipping(bp_diagnosis *d, const bp_record *record) {
    bp_precision *precision = &d->precision;
    bp_mishaps *clipped = &precision->clipped;
    if (!bp_record_has(record, BP_Q_UNCLIPPED_NORM, 0) &&
        !bp_record_has(record, BP_Q_GRADIENT_NORM, 0))
        return 0;
    const bool skipped = record->flags & BP_RECORD_UPDATE_SKIPPED;
    const double norm = bp_record_get(record, BP_Q_UNCLIPPED_NORM, 0);
    const bool overflowed =
        bp_record_has(record, BP_Q_UNCLIPPED_NORM, 0) && !isfinite(norm) &&
        (bp_record_get(record, BP_Q_GRADIENT_NORM, 0) <= 0 || nothing_moved(d, record));
    const bool zeroed = !skipped && (overflowed || set_to_zero(d, record));
    note_mishap(clipped, record->step, zeroed);
    if (zeroed && overflowed) precision->unclipped = isnan(norm) ? (double)INFINITY : norm;
    const uint32_t n = recent_mishaps(clipped);
    if (n == 0) return tell(d, BP_PROBLEM_CLIP_TO_ZERO, (bp_severity)0, 0, record->step);
    if (!zeroed) return 0; /* as it was said, until it is long over */
    const bool lasts = clipped->n_in_a_row >= CLIPPED_IN_A_ROW ||
                       (n >= CLIPPED_IN_A_ROW && n > CLIPPED_SHARE * clipped->n_seen);
    const uint32_t changed = tell(d, BP_PROBLEM_CLIP_TO_ZERO, lasts ? BP_ERROR : BP_WARNING,
                                  clipped->first_step, record->step);
    add_clipping_evidence(d, &d->slots[BP_PROBLEM_CLIP_TO_ZERO], record);
    return changed;
}

/* --- low-precision-underflow ------------------------------------------------------------------ */

static bool is_half(const bp_record *record, bp_quantity precision, uint32_t id) {
    return bp_count_of(record, precision, id) == HALF;
}

/* True when the layer tells about underflow at all. `above`: the error signal's share of subnormal
 * values in the layer that it comes from. */
static bool note_tiny(bp_diagnosis *d, const bp_record *record, uint32_t id, double *above) {
    bp_layer_precision *layer = &d->precision.layer[id];
    const bool error = is_half(record, BP_Q_ERROR_PRECISION, id);
    const bool gradient = is_half(record, BP_Q_PARAMETER_PRECISION, id) &&
                          bp_record_has(record, BP_Q_GRADIENT_TINY, id);
    if (!error && !gradient) return false;
    const double tiny_error = error ? bp_record_get(record, BP_Q_ERROR_TINY, id) : (double)NAN;
    const double tiny_gradient =
        gradient ? bp_record_get(record, BP_Q_GRADIENT_TINY, id) : (double)NAN;
    layer->tiny = fmax(tiny_error, tiny_gradient);
    const bool zero = error && bp_record_get(record, BP_Q_ERROR_RMS, id) <= 0;
    layer->is_lost = zero && *above >= TINY_SHARE;
    /* Below a layer that has lost all, nothing more is told; it stays lost. */
    if (error && !zero) *above = tiny_error;
    layer->low = layer->low << 1 | (layer->is_lost || layer->tiny >= TINY_SHARE ? 1u : 0u);
    return true;
}

/* Anything of this record is stored in half precision. */
static bool has_half(const bp_record *record, bp_quantity precision) {
    if (!(record->columns >> precision & 1)) return false;
    const size_t first = bp_record_cell(record, precision, 0);
    for (uint32_t row = 0; row <= record->n_layers; row++)
        if (record->value[first + row] == HALF) return true;
    return false;
}

/* Much of what flows back is below the format: most layers', or a long stretch of them. */
static void note_underflow(bp_diagnosis *d, const bp_record *record) {
    bp_precision *precision = &d->precision;
    uint32_t n = 0, n_low = 0, stretch = 0, longest = 0;
    double above = (double)NAN;
    precision->lost_layer = 0;
    if (!has_half(record, BP_Q_ERROR_PRECISION) && !has_half(record, BP_Q_PARAMETER_PRECISION))
        return;
    for (uint32_t id = d->n_layers; id >= 1; id--) {
        if (!note_tiny(d, record, id, &above)) continue;
        const bp_layer_precision *layer = &precision->layer[id];
        n++;
        n_low += layer->low & 1;
        stretch = layer->low & 1 ? stretch + 1 : 0;
        if (stretch > longest) longest = stretch;
        if (layer->is_lost && !precision->lost_layer) precision->lost_layer = id;
    }
    if (n == 0) return;
    const bool much = 2 * n_low > n || (longest >= 3 && 10 * longest >= 3 * n);
    precision->underflow = precision->underflow << 1 | (much ? 1u : 0u);
    precision->depth = precision->depth << 1 | (precision->lost_layer ? 1u : 0u);
    if (precision->n_underflow < 64) precision->n_underflow++;
    if (!much) {
        precision->underflow_below = record->step;
        precision->underflow_above = -1;
    } else if (precision->underflow_above < 0) {
        precision->underflow_above = record->step;
    }
}

/* What is left may be enough, for digits that are lost are noise; what gets nothing does not learn.
 */
static bp_severity underflow_severity(const bp_diagnosis *d) {
    const bp_precision *precision = &d->precision;
    const uint32_t n = precision->n_underflow;
    if (n < MIN_RECORDS || 2 * count_bits(precision->underflow) <= n) return (bp_severity)0;
    if (bp_loss_is_judged(d)) {
        if (isnan(d->history.last_mean)) return (bp_severity)0;
        if (!bp_loss_left_trivial(d)) return BP_ERROR;
        if (d->history.last_mean < LOSS_LOW * bp_trivial_level(d)) return (bp_severity)0;
    }
    if (2 * count_bits(precision->depth) > n) return BP_WARNING;
    return precision->loss_scale > 1 ? (bp_severity)0 : BP_HINT;
}

static uint32_t judge_underflow(bp_diagnosis *d, const bp_record *record) {
    const bp_precision *precision = &d->precision;
    const bp_severity severity = underflow_severity(d);
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LOW_PRECISION_UNDERFLOW];
    if (!severity) return tell(d, BP_PROBLEM_LOW_PRECISION_UNDERFLOW, severity, 0, record->step);
    const bool was_seen = precision->underflow_below >= 0;
    const int64_t since = was_seen && precision->underflow_above >= 0 ? precision->underflow_above
                                                                      : d->history.first_step;
    const uint32_t changed =
        tell(d, BP_PROBLEM_LOW_PRECISION_UNDERFLOW, severity, since, record->step);
    uint32_t worst = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_precision *layer = &precision->layer[id];
        if (2 * count_bits(layer->low) <= precision->n_underflow) continue;
        bp_finding_add_layer(slot, id);
        if (!worst || layer->tiny > precision->layer[worst].tiny) worst = id;
    }
    bp_finding_add_evidence(slot, "tiny_fraction", "of the layer's non-zero values, subnormal",
                            worst, record->step, precision->layer[worst].tiny,
                            worst && !isnan(precision->layer[worst].tiny));
    bp_finding_add_evidence(slot, "loss_scale", "of the loss scaler", 0, record->step,
                            precision->loss_scale, !isnan(precision->loss_scale));
    if (precision->lost_layer)
        bp_finding_add_evidence(slot, "lost_layer", "from it downwards the error signal is 0",
                                precision->lost_layer, record->step, precision->lost_layer, true);
    bp_finding_add_evidence(slot, "loss", "mean over the window", 0, record->step,
                            d->history.last_mean, !isnan(d->history.last_mean));
    return changed;
}

/* --- low-precision-overflow ------------------------------------------------------------------- */

/* What became non-finite first is stored in half precision, and its finite values come near to the
 * largest number of that. */
static bool is_overflow(bp_diagnosis *d, const bp_record *record) {
    static const struct {
        bp_quantity precision, largest;
        const char *place;
    } places[] = {
        {BP_Q_ACTIVATION_PRECISION, BP_Q_ACTIVATION_MAX, "activation"},
        {BP_Q_ERROR_PRECISION, BP_Q_ERROR_MAX, "error signal"},
        {BP_Q_PARAMETER_PRECISION, BP_Q_GRADIENT_MAX, "gradient"},
        {BP_Q_PARAMETER_PRECISION, BP_Q_WEIGHT_MAX, "updated parameter"},
    };
    bp_precision *precision = &d->precision;
    const bp_non_finite *bad = &d->non_finite;
    for (size_t i = 0; bad->layer && i < sizeof places / sizeof *places; i++) {
        if (strcmp(bad->place, places[i].place) != 0) continue;
        if (!is_half(record, places[i].precision, bad->layer)) return false;
        double largest = bp_record_get(record, places[i].largest, bad->layer);
        if (places[i].largest == BP_Q_ACTIVATION_MAX)
            largest = fmax(largest, precision->layer[bad->layer].activation_max);
        else if (places[i].largest != BP_Q_WEIGHT_MAX && precision->loss_scale > 1)
            largest *= precision->loss_scale; /* they are told without it */
        precision->overflow_place = places[i].place;
        precision->overflow_layer = bad->layer;
        precision->largest = largest;
        return largest >= NEAR_MAX;
    }
    return false;
}

/* The first layer, on the way back, whose values are not finite. */
static uint32_t layer_of_skip(const bp_diagnosis *d, const bp_record *record) {
    for (uint32_t id = d->n_layers; id >= 1; id--)
        if (bp_count_of(record, BP_Q_ERROR_INF, id) + bp_count_of(record, BP_Q_ERROR_NAN, id) +
                bp_count_of(record, BP_Q_GRADIENT_INF, id) +
                bp_count_of(record, BP_Q_GRADIENT_NAN, id) >
            0)
            return id;
    return 0;
}

static bp_severity skipped_severity(const bp_mishaps *skipped) {
    if (skipped->n_in_a_row > SKIPPED_IN_A_ROW) return BP_ERROR;
    if (skipped->n_seen >= SKIPPED_RECORDS &&
        recent_mishaps(skipped) > SKIPPED_SHARE * skipped->n_seen)
        return BP_WARNING;
    return (bp_severity)0;
}

static void add_overflow_evidence(bp_diagnosis *d, bp_finding_slot *slot, int64_t step) {
    const bp_precision *precision = &d->precision;
    if (precision->overflow_layer) bp_finding_add_layer(slot, precision->overflow_layer);
    bp_finding_add_evidence(slot, "largest", "finite magnitude where it overflowed",
                            precision->overflow_layer, step, precision->largest,
                            !isnan(precision->largest));
    bp_finding_add_evidence(slot, "largest_number", "of float16", 0, step, HALF_MAX, true);
    bp_finding_add_evidence(slot, "loss_scale", "of the loss scaler", 0, step,
                            precision->loss_scale, !isnan(precision->loss_scale));
    if (precision->skipped.n_total == 0) return;
    bp_finding_add_evidence(slot, "skipped_steps", "by the loss scaler", 0, step,
                            recent_mishaps(&precision->skipped), true);
    bp_finding_add_evidence(slot, "records", "the last ones, of which they are", 0, step,
                            precision->skipped.n_seen, true);
}

static uint32_t judge_overflow(bp_diagnosis *d, const bp_record *record) {
    bp_precision *precision = &d->precision;
    bp_mishaps *skipped = &precision->skipped;
    bp_finding_slot *slot = &d->slots[BP_PROBLEM_LOW_PRECISION_OVERFLOW];
    uint32_t changed;
    if (d->non_finite.seen) {
        if (d->non_finite.step != record->step || !is_overflow(d, record)) return 0;
        changed = tell(d, BP_PROBLEM_LOW_PRECISION_OVERFLOW, BP_ERROR, record->step, record->step);
        add_overflow_evidence(d, slot, record->step);
        return changed;
    }
    const bool skip = record->flags & BP_RECORD_UPDATE_SKIPPED;
    /* A scaler begins high and comes down to its scale: that is its way to find it. */
    if (!skip && skipped->n_total > 0 && skipped->n_total == skipped->n_seen)
        *skipped = (bp_mishaps){.n_seen = 0};
    note_mishap(skipped, record->step, skip);
    const bp_severity severity = skipped_severity(skipped);
    if (severity && skip) precision->overflow_layer = layer_of_skip(d, record);
    const int64_t since = severity == BP_ERROR ? skipped->row_step : skipped->first_step;
    changed = tell(d, BP_PROBLEM_LOW_PRECISION_OVERFLOW, severity, since, record->step);
    if (severity) add_overflow_evidence(d, slot, record->step);
    return changed;
}

uint32_t bp_judge_precision(bp_diagnosis *d, const bp_record *record) {
    bp_precision *precision = &d->precision;
    if (bp_record_has(record, BP_Q_LOSS_SCALE, 0))
        precision->loss_scale = bp_record_get(record, BP_Q_LOSS_SCALE, 0);
    uint32_t changed = judge_overflow(d, record);
    if (d->non_finite.seen) return changed;
    changed += judge_clipping(d, record);
    note_underflow(d, record);
    changed += judge_underflow(d, record);
    if (!has_half(record, BP_Q_ACTIVATION_PRECISION)) return changed;
    for (uint32_t id = 1; id <= d->n_layers; id++)
        precision->layer[id].activation_max = bp_record_get(record, BP_Q_ACTIVATION_MAX, id);
    return changed;
}

/* --- in words --------------------------------------------------------------------------------- */

static void number(bp_text *text, const char *before, double of, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, of, 3);
    bp_text_add(text, "%s", after);
}

void bp_precision_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_precision *precision = &d->precision;
    const bp_finding *finding = &slot->finding;
    switch (finding->problem) {
    case BP_PROBLEM_CLIP_TO_ZERO:
        bp_text_add(text, "%s all gradients to 0 at %llu step%s",
                    isnan(precision->unclipped) ? "something sets" : "clipping set",
                    (unsigned long long)precision->clipped.n_total,
                    precision->clipped.n_total == 1 ? "" : "s");
        break;
    case BP_PROBLEM_LOW_PRECISION_UNDERFLOW:
        bp_text_add(text, "gradients of ");
        bp_text_layers_named(text, slot->layers, finding->n_layers);
        bp_text_add(text, " of %u are too small for float16", d->n_layers);
        break;
    default:
        if (precision->overflow_place)
            bp_text_add(text, "the %s of layer %u (%s) outgrew float16", precision->overflow_place,
                        precision->overflow_layer,
                        bp_model_layer(d->model, precision->overflow_layer)->name);
        else
            bp_text_add(text, "gradients overflow%s: the loss scaler skipped %u of %u steps",
                        finding->open ? "" : "ed for a while",
                        (uint32_t)bp_finding_evidence(finding, "skipped_steps"),
                        (uint32_t)bp_finding_evidence(finding, "records"));
    }
}

static void text_clipping(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                          bp_text *note) {
    if (isnan(d->precision.unclipped)) {
        number(cause, "an error signal of ", bp_finding_evidence(&slot->finding, "error_rms"), "");
        bp_text_add(cause, " reaches the output layer, and the optimiser gets gradients that are "
                           "all exactly 0: something sets them to 0 between the backward pass and "
                           "the step: clipping by a norm that overflowed (limit / Inf = 0), or "
                           "zero_grad in the wrong place");
    } else {
        number(cause, "the norm of all gradients is ", d->precision.unclipped, "");
        number(cause, " although the loss is ", bp_finding_evidence(&slot->finding, "loss"), "");
        bp_text_add(cause, ": the sum of squares overflowed; clipping multiplies every gradient by "
                           "limit / norm, which is 0 then, and the step is lost without a word");
    }
    bp_text_add(note, "seen since step %lld, last at step %lld",
                (long long)d->precision.clipped.first_step,
                (long long)d->precision.clipped.last_step);
}

static void text_scale(const bp_precision *precision, bp_text *text) {
    if (isnan(precision->loss_scale))
        bp_text_add(text, "; there is no loss scale");
    else
        number(text, "; the loss scale is ", precision->loss_scale, "");
}

static void text_underflow(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                           bp_text *note) {
    const double tiny = bp_finding_evidence(&slot->finding, "tiny_fraction");
    const double lost = bp_finding_evidence(&slot->finding, "lost_layer");
    if (isfinite(tiny)) {
        number(cause, "", 100 * tiny, "% of the values");
        bp_text_add(cause,
                    " of layer %u that are not 0 are below 6e-5, where float16 loses its "
                    "digits; below 6e-8 there is only 0",
                    slot->evidence[0].layer);
    }
    if (isfinite(lost))
        bp_text_add(cause, "%sfrom layer %u down the error signal is exactly 0",
                    cause->length ? "; " : "", (uint32_t)lost);
    text_scale(&d->precision, cause);
    if (!slot->finding.open)
        bp_text_add(note, "it was over after step %lld", (long long)slot->finding.last_step);
}

static void text_overflow(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                          bp_text *note) {
    const bp_precision *precision = &d->precision;
    if (precision->overflow_place) {
        number(cause, "its largest finite magnitude is ", precision->largest, "");
        bp_text_add(cause, "; float16 ends at 65504, and what is larger becomes Inf");
    } else {
        bp_text_add(cause,
                    "%u of the last %u steps changed nothing: their gradients were not "
                    "finite, and the loss scaler left them out",
                    (uint32_t)bp_finding_evidence(&slot->finding, "skipped_steps"),
                    (uint32_t)bp_finding_evidence(&slot->finding, "records"));
        if (precision->overflow_layer)
            bp_text_add(cause, "; on the way back it begins in layer %u",
                        precision->overflow_layer);
    }
    text_scale(precision, cause);
    if (!slot->finding.open)
        bp_text_add(note, "it was over after step %lld", (long long)slot->finding.last_step);
}

void bp_precision_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                        bp_text *note) {
    switch (slot->finding.problem) {
    case BP_PROBLEM_CLIP_TO_ZERO:
        text_clipping(d, slot, cause, note);
        break;
    case BP_PROBLEM_LOW_PRECISION_UNDERFLOW:
        text_underflow(d, slot, cause, note);
        break;
    default:
        text_overflow(d, slot, cause, note);
    }
}
