/* SPDX-License-Identifier: Apache-2.0 */
/* From what was seen in a step to what one big batch would have shown.
 *
 * Micro-batch j has the loss L_j, the mean of t_j terms; its error signals, divided by the factor
 * with which its backward pass began, are dL_j/dx: 1/t_j is inside. One batch of all T terms has
 * 1/T inside instead, so they are weighted by t_j / T; where terms are unknown, all count alike.
 * Where the host says that losses are shares, L_j is the sum of t_j terms over T: they are added.
 * A site that is called more often than there were passes has several readings of a sample: their
 * mean is taken, so that a norm per sample stays one. */
#include "probe.h"

#include <math.h>

typedef struct native_totals {
    size_t n_passes; /* that count; 0: none was seen */
    int64_t terms;   /* of all; 0 unknown */
    bool awaits;     /* a call whose error signal did not come does not count */
    bool are_shares; /* the losses add up to one */
} native_totals;

static bool counts(const native_pass *pass) {
    return !pass->forgotten;
}

static native_totals totals_of(const native_stage *stage, bool are_shares) {
    native_totals totals = {.awaits = stage->n_errors > 0, .are_shares = are_shares};
    bool all_known = true;
    for (size_t i = 0; i < stage->n_passes; i++) {
        const native_pass *pass = &stage->passes[i];
        if (!pass->implied) totals.awaits = true;
        if (!counts(pass)) continue;
        totals.n_passes += !pass->implied;
        totals.terms = are_shares ? pass->terms : totals.terms + pass->terms;
        all_known = all_known && pass->terms > 0;
    }
    if (!all_known) totals.terms = 0;
    return totals;
}

static double weight_of(const native_pass *pass, const native_totals *totals) {
    if (totals->are_shares) return 1;
    if (totals->terms > 0) return (double)pass->terms / (double)totals->terms;
    return 1 / fmax(1, (double)totals->n_passes);
}

/* Sums and extremes times a factor; counts stay. Exponents keep what f64 cannot hold. */
static void scale(bp_summary *summary, double factor) {
    int exponent;
    const double fraction = frexp(factor, &exponent);
    const double low = summary->min * factor, high = summary->max * factor;
    const bool has_finite = summary->min <= summary->max;
    summary->sum *= fraction;
    summary->sum_squares *= fraction * fraction;
    summary->sum_exponent += exponent;
    summary->square_exponent += exponent;
    if (!has_finite) return;
    summary->min = fmin(low, high);
    summary->max = fmax(low, high);
}

/* All numbers but the extremes times a share: a mean over calls. */
static void average(bp_summary *summary, double share) {
    const uint64_t bad = bp_summary_non_finite(summary);
    const double finite = (double)(summary->count - bad);
    summary->sum *= share;
    summary->sum_squares *= share;
    summary->zero = (uint64_t)llround((double)summary->zero * share);
    summary->count = bad + (uint64_t)llround(finite * share);
}

void native_format_add(native_format *format, int precision, const bp_summary *summary) {
    if (precision == 0) return;
    if (format->precision == 0 || precision < format->precision) format->precision = precision;
    if (precision > NATIVE_HALF) return;
    format->tiny += (double)summary->subnormal;
    format->all += (double)(summary->count - bp_summary_non_finite(summary) - summary->zero);
}

static void merge_errors(native_probe *probe, const native_totals *totals) {
    native_stage *stage = &probe->stage;
    for (size_t i = 0; i < stage->n_errors; i++) {
        native_error *error = &stage->errors[i];
        const native_pass *pass = &stage->passes[error->pass];
        native_call *call = &stage->calls[error->call];
        if (!counts(pass) || call->forgotten) continue;
        call->n_errors++;
        if (pass->factor == 0 || !isfinite(pass->factor)) {
            native_miss(probe, NATIVE_FACTOR);
            continue;
        }
        scale(&error->summary, weight_of(pass, totals) / pass->factor);
        native_site *site = &stage->sites[call->site];
        native_format_add(&site->error_format, error->precision, &error->summary);
        bp_summary_merge(&site->error, &error->summary);
        site->n_errors++;
    }
}

/* Of calls that need no gradient, an input or what is frozen, nothing comes back: they belong to
 * the forward pass of the next call that awaits something, and count with that. In the first pass
 * of a re-entrant checkpoint the same happens without a graph: none counts where others of the site
 * got an error signal. */
static bool call_counts(const native_call *call, const native_totals *totals, bool any_error,
                        const native_call *next) {
    if (call->forgotten || call->given) return call->given && !call->forgotten;
    const native_call *telling = call->hooked ? call : next;
    if (!call->hooked && any_error) return false;
    if (!telling || !totals->awaits) return true;
    return telling->n_errors > 0 && !telling->forgotten;
}

static void merge_calls(native_stage *stage, const native_totals *totals) {
    const native_call *next = NULL; /* that awaits an error signal */
    for (size_t i = stage->n_calls; i-- > 0;) {
        const native_call *call = &stage->calls[i];
        native_site *site = &stage->sites[call->site];
        const bool counted = call_counts(call, totals, site->n_errors > 0, next);
        if (call->hooked) next = call;
        if (!call->has_activation || !counted) continue;
        native_format_add(&site->activation_format, call->precision, &call->activation);
        bp_summary_merge(&site->activation, &call->activation);
        site->n_activations++;
        site->rows += call->rows;
    }
}

/* Without a told loss: as many passes as the site had that was called least often. */
static size_t fewest_calls(const native_stage *stage) {
    size_t fewest = 0;
    for (size_t i = 0; i < stage->n_sites; i++) {
        const size_t n = stage->sites[i].n_errors;
        if (n && (!fewest || n < fewest)) fewest = n;
    }
    return fewest;
}

static void clear_sites(native_stage *stage) {
    for (size_t i = 0; i < stage->n_sites; i++) {
        native_site *site = &stage->sites[i];
        bp_summary_init(&site->activation);
        bp_summary_init(&site->error);
        site->activation_format = site->error_format = (native_format){.precision = 0};
        site->n_activations = site->n_errors = 0;
        site->rows = 0;
    }
}

static void finish_sites(native_stage *stage, size_t n_passes) {
    const double passes = (double)n_passes;
    for (size_t i = 0; i < stage->n_sites; i++) {
        native_site *site = &stage->sites[i];
        if (passes > 0 && site->n_activations > n_passes) {
            average(&site->activation, passes / site->n_activations);
            site->rows = llround((double)site->rows * passes / site->n_activations);
        }
        if (passes > 0 && site->n_errors > n_passes) average(&site->error, passes / site->n_errors);
    }
}

static int64_t samples_seen(const native_probe *probe) {
    for (size_t i = 0; i < probe->n_places; i++) {
        const native_place *place = &probe->places[i];
        if (place->role != BP_ROLE_ACTIVATION || place->site >= probe->stage.n_sites) continue;
        if (probe->stage.sites[place->site].rows > 0) return probe->stage.sites[place->site].rows;
    }
    return 0;
}

static native_outcome loss_of(const native_stage *stage, const native_totals *totals) {
    native_outcome outcome = {.terms = totals->terms};
    double weights = 0;
    for (size_t i = 0; i < stage->n_passes; i++) {
        const native_pass *pass = &stage->passes[i];
        if (!counts(pass) || !pass->has_loss) continue;
        const double weight = weight_of(pass, totals);
        outcome.has_loss = true;
        outcome.loss += weight * pass->loss;
        weights += weight;
    }
    if (outcome.has_loss && !totals->are_shares) outcome.loss /= weights;
    return outcome;
}

native_outcome native_stage_merge(native_probe *probe, int64_t samples) {
    native_stage *stage = &probe->stage;
    const native_totals totals = totals_of(stage, probe->shares);
    native_outcome outcome = loss_of(stage, &totals);
    outcome.samples = samples;
    if (!probe->full) return outcome;
    clear_sites(stage);
    merge_errors(probe, &totals);
    merge_calls(stage, &totals);
    finish_sites(stage, totals.n_passes ? totals.n_passes : fewest_calls(stage));
    for (size_t i = 0; i < stage->n_sites; i++) native_units_read(stage, &stage->sites[i]);
    if (samples < 1) outcome.samples = samples_seen(probe);
    return outcome;
}
