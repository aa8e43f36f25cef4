/* SPDX-License-Identifier: Apache-2.0 */
/* weights-too-small and weights-too-large: the initialiser is to blame for gradients that vanish or
 * explode. It is when (a) the fault was there at step 0, (b) independent weights explain what was
 * measured then (alignment near 1) and the weights have not moved since, (c) layers' sigma_w is off
 * the activation's critical value, and (d) theory says that the critical initialiser alone would
 * mend the stretch: for a deep sigmoid stack it would not, and the activation is to blame. */
#include "diagnosis/state.h"

#include <math.h>

#define TOO_SMALL 0.8
#define TOO_LARGE 1.25
#define FAR_TOO_LARGE 5 /* whatever the layer and its initialiser */

static bool is_plain(const bp_layer *layer) {
    return bp_layer_is_weighted_sum(layer) && layer->norm == BP_NORM_NONE &&
           layer->activation != BP_ACTIVATION_SOFTMAX;
}

double bp_weight_scale(const bp_diagnosis *d, uint32_t id, double rms) {
    const bp_layer *layer = bp_model_layer(d->model, id);
    if (!is_plain(layer) || layer->fan_in < 1) return (double)NAN;
    return rms * sqrt((double)layer->fan_in) /
           bp_activation_critical_gain(layer->activation, layer->activation_slope);
}

/* Frozen weights may not be told with the others: they still are what made them. */
static double initial_rms(const bp_diagnosis *d, uint32_t id) {
    const bp_layer *layer = bp_model_layer(d->model, id);
    const double rms = d->history.layer[id].first_weight_rms;
    if (!isnan(rms) || !layer->frozen) return rms;
    const double std = bp_init_std(&layer->weight_init, layer->fan_in, layer->fan_out);
    return std > 0 ? std : (double)NAN;
}

static double weight_scale(const bp_diagnosis *d, uint32_t id) {
    return bp_weight_scale(d, id, initial_rms(d, id));
}

/* A linear layer, the output as a rule, is right between 1 and He's sqrt(2). */
static bool is_off(const bp_diagnosis *d, uint32_t id, double sign) {
    const double scale = weight_scale(d, id);
    const bool linear = bp_model_layer(d->model, id)->activation == BP_ACTIVATION_LINEAR;
    return sign > 0 ? scale < TOO_SMALL : scale > TOO_LARGE * (linear ? sqrt(2) : 1);
}

/* The critical sigma_w as the layer's outputs have it: an initialiser by fan_in gives a convolution
 * less where a part of its kernel lies outside the image. */
static double critical_sigma(const bp_diagnosis *d, uint32_t id) {
    const bp_layer *layer = bp_model_layer(d->model, id);
    return bp_activation_critical_gain(layer->activation, layer->activation_slope) *
           sqrt(bp_model_mean_fan_in(d->model, id) / (double)layer->fan_in);
}

/* What the measured weights give by theory where the gain itself was not measured. */
static double own_log_gain(const bp_diagnosis *d, uint32_t cut, double scale,
                           const bp_mean_field *field) {
    if (d->first.measured) return log(fmax(d->first.gain[cut].gain, 1e-46));
    return log(scale * critical_sigma(d, bp_model_cut(d->model, cut)) * field->activation);
}

/* ln of what a residual block's branch has too much, over its layers that are off; false where a
 * normalisation in it gives the scale of its weights another meaning. */
static bool branch_excess(const bp_diagnosis *d, const bp_layer *sum, double sign, double *excess,
                          uint32_t *n_off) {
    *excess = 0;
    *n_off = 0;
    for (uint32_t id = sum->id - sum->n_branch; id < sum->id; id++) {
        const bp_layer *layer = bp_model_layer(d->model, id);
        if (layer->norm != BP_NORM_NONE) return false;
        if (id == sum->skip_from || !is_off(d, id, sign)) continue; /* a projection is no branch */
        *excess += log(weight_scale(d, id));
        ++*n_off;
    }
    return true;
}

/* A sum x + branch(x) whose branch grows: g^2 = 1 + b^2, and b is in proportion to each of its
 * weights. What shrinks in a branch does no harm: the skip passes on 1. */
static void weigh_block(const bp_diagnosis *d, double sign, uint32_t cut, bp_verdict *v) {
    const bp_layer *sum = bp_model_layer(d->model, bp_model_cut(d->model, cut));
    double excess;
    uint32_t n_off;
    const bool plain = sum->n_branch < sum->id && branch_excess(d, sum, sign, &excess, &n_off);
    if (!d->first.measured && !plain) return;
    const double gain =
        d->first.measured ? fmax(d->first.gain[cut].gain, 1e-46) : sqrt(1 + exp(2 * excess));
    v->own += log(gain);
    if (!plain || n_off == 0 || sign > 0 || !(gain > 1)) {
        v->mended += log(gain);
        return;
    }
    const double mended = sqrt(gain * gain - 1) / exp(excess);
    v->mended += 0.5 * log1p(mended * mended);
    v->n_off += n_off;
}

static bp_verdict weigh(const bp_diagnosis *d, double sign, uint32_t from, uint32_t to) {
    bp_verdict v = {.known = true};
    bp_mean_field field;
    bp_mean_field_init(&field, 0.5);
    for (uint32_t cut = 1; cut <= to; cut++) {
        const uint32_t id = bp_model_cut(d->model, cut);
        const bp_layer *layer = bp_model_layer(d->model, id);
        const double scale = weight_scale(d, id);
        if (layer->kind == BP_LAYER_RESIDUAL) {
            if (cut > from) weigh_block(d, sign, cut, &v);
            continue;
        }
        if (isnan(scale)) {
            if (cut > from && d->first.measured) {
                v.own += own_log_gain(d, cut, scale, &field);
                v.mended += own_log_gain(d, cut, scale, &field);
            }
            continue;
        }
        bp_mean_field_layer(&field, layer->activation, layer->activation_slope,
                            critical_sigma(d, id), 0);
        if (cut <= from) continue;
        const double own = own_log_gain(d, cut, scale, &field);
        v.own += own;
        v.mended += is_off(d, id, sign) ? log(field.gain) : own;
        v.n_off += is_off(d, id, sign);
        if (d->first.measured && d->first.gain[cut].alignment > 0) {
            v.log_alignment += log(d->first.gain[cut].alignment);
            v.n_alignments++;
        }
    }
    return v;
}

static bool is_to_blame(const bp_diagnosis *d, const bp_verdict *v, double limit) {
    const double alignment = v->n_alignments ? exp(v->log_alignment / v->n_alignments) : 1;
    return d->history.first_step == 0 && v->n_off > 0 && fabs(v->own) > limit && alignment > 0.8 &&
           alignment < 1.25 &&
           fabs(v->mended) < fmax(SPAN_HEALTHY, fmin(LN_SPAN, 0.25 * fabs(v->own)));
}

/* Layers first ... last lie in the stretch, those inside of blocks among them. The first cut point
 * has no gain of its own in a stretch that begins behind it, but its weights may be like the
 * others'. */
static uint32_t first_layer(const bp_diagnosis *d, uint32_t from) {
    return bp_model_cut(d->model, from) + (from == 1 ? 0 : 1);
}

/* The weights that are blamed still are those of the initialiser, within a tenth. */
static bool weights_as_initialised(const bp_diagnosis *d, double sign, uint32_t from, uint32_t to) {
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t id = bp_model_cut(d->model, from) + 1; id <= bp_model_cut(d->model, to); id++) {
        if (!is_off(d, id, sign)) continue;
        const bp_layer_history *layer = &d->history.layer[id];
        sum +=
            fabs(log(fmax(layer->last_weight_rms, 1e-300) / fmax(layer->first_weight_rms, 1e-300)));
        n++;
    }
    return n > 0 && sum / n < 0.1;
}

static void add_evidence(bp_diagnosis *d, bp_finding_slot *slot, uint32_t worst_layer) {
    const bp_layer *layer = bp_model_layer(d->model, worst_layer);
    const double critical = bp_activation_critical_gain(layer->activation, layer->activation_slope);
    const double fan_in = (double)layer->fan_in;
    bp_finding_add_evidence(slot, "weight_std", "rms of the weights at step 0", worst_layer, 0,
                            initial_rms(d, worst_layer), true);
    bp_finding_add_evidence(slot, "weight_scale", "std * sqrt(fan_in)", worst_layer, 0,
                            weight_scale(d, worst_layer) * critical, true);
    bp_finding_add_evidence(slot, "critical_scale", "what the activation needs", worst_layer, 0,
                            critical, true);
    bp_finding_add_evidence(slot, "critical_std", "the same as a standard deviation", worst_layer,
                            0, critical / sqrt(fan_in), true);
    if (slot->finding.n_layers == 1)
        bp_finding_add_evidence(slot, "blamed_layer", "the only one", worst_layer, 0, worst_layer,
                                true);
}

static void add_layers(bp_diagnosis *d, bp_finding_slot *slot, double sign, uint32_t from,
                       uint32_t to) {
    double worst = 1;
    uint32_t worst_layer = 0;
    for (uint32_t id = first_layer(d, from); id <= bp_model_cut(d->model, to); id++) {
        const double scale = weight_scale(d, id);
        if (!is_off(d, id, sign)) continue;
        bp_finding_add_layer(slot, id);
        const bool output = id == d->n_layers && worst_layer; /* a hidden layer tells more */
        if (output || (worst_layer && fabs(log(scale)) <= fabs(log(worst)))) continue;
        worst = scale;
        worst_layer = id;
    }
    add_evidence(d, slot, worst_layer);
}

/* The stretch of depth that is examined: as measured at the first record, or all of it where the
 * first forward pass already overflowed. */
static bool stretch(const bp_diagnosis *d, double sign, double limit, uint32_t *from,
                    uint32_t *to) {
    *from = 1;
    *to = bp_model_n_cuts(d->model);
    if (!d->first.measured) return d->non_finite.seen;
    *from = sign > 0 ? d->first.vanish_from : d->first.explode_from;
    *to = sign > 0 ? d->first.vanish_to : d->first.explode_to;
    return (sign > 0 ? d->first.vanish_span : d->first.explode_span) > limit;
}

/* since: the step from which on what the weights are blamed for has held. limit: ln of the span
 * over depth at step 0 that explains it. */
static uint32_t open_finding(bp_diagnosis *d, const bp_record *record, bp_problem problem,
                             double sign, int64_t since, double limit) {
    uint32_t from, to;
    if (!stretch(d, sign, limit, &from, &to)) return 0;
    /* What has held since the first step began with the initialiser, whatever Adam's noise has made
     * of the weights since; what came later only if they still are the initialiser's. */
    if (since > d->history.first_step && !weights_as_initialised(d, sign, from, to)) return 0;
    /* It depends on the first record alone: weighed once. */
    bp_verdict *v = sign > 0 ? &d->too_small : &d->too_large;
    if (!v->known) *v = weigh(d, sign, from, to);
    if (!is_to_blame(d, v, limit)) return 0;
    bp_finding_slot *slot = bp_finding_open(d, problem, d->history.first_step, record->step);
    const bool harmful = bp_loss_is_judged(d) || d->non_finite.seen;
    slot->finding.severity = harmful ? BP_ERROR : BP_WARNING;
    if (d->first.measured) bp_profile_copy(&slot->profile, &d->first);
    add_layers(d, slot, sign, from, to);
    const double n = to - from;
    bp_finding_add_evidence(slot, "mean_gain", "geometric mean over the stretch at step 0", 0, 0,
                            exp(v->own / n), true);
    bp_finding_add_evidence(slot, "mended_gain", "predicted with critical weights", 0, 0,
                            exp(v->mended / n), true);
    return 1;
}

/* The first layer's gain leads to the input and is in no profile: what its weights strangle is the
 * way forward. Blamed when nothing has been learnt for a whole window. */
static uint32_t open_for_first_layer(bp_diagnosis *d, const bp_record *record) {
    const uint32_t id = bp_model_cut(d->model, 1);
    if (!id || d->history.first_step != 0 || d->history.best_mean < 0.95 * bp_trivial_level(d))
        return 0;
    const bool rescaled = bp_model_n_cuts(d->model) > 1 && bp_model_cut_is_normalised(d->model, 2);
    const double scale = weight_scale(d, id);
    if (rescaled || !(log(scale) < -SPAN_HEALTHY)) return 0;
    bp_finding_slot *slot =
        bp_finding_open(d, BP_PROBLEM_WEIGHTS_TOO_SMALL, d->history.first_step, record->step);
    slot->finding.severity = BP_ERROR;
    if (d->first.measured) bp_profile_copy(&slot->profile, &d->first);
    add_layers(d, slot, 1, 1, 1);
    return 1;
}

/* A layer alone that began with weights far too large need not show over depth: the first layer's
 * gain leads to the input, and one factor is less than a candidate's span. What blew up in the
 * first steps began with it. */
static uint32_t open_for_large_layers(bp_diagnosis *d, const bp_record *record, int64_t since) {
    if (d->history.first_step != 0 || since > RUN_UP) return 0;
    uint32_t worst = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        if (bp_model_layer(d->model, id)->norm != BP_NORM_NONE) return 0; /* it takes sizes away */
        const double scale = weight_scale(d, id);
        if (scale > FAR_TOO_LARGE && (!worst || scale > weight_scale(d, worst))) worst = id;
    }
    if (!worst) return 0;
    bp_finding_slot *slot =
        bp_finding_open(d, BP_PROBLEM_WEIGHTS_TOO_LARGE, d->history.first_step, record->step);
    slot->finding.severity = BP_ERROR;
    if (d->first.measured) bp_profile_copy(&slot->profile, &d->first);
    for (uint32_t id = 1; id <= d->n_layers; id++)
        if (weight_scale(d, id) > FAR_TOO_LARGE) bp_finding_add_layer(slot, id);
    add_evidence(d, slot, worst);
    return 1;
}

/* An initialiser is never over; a finding about it is when what it causes has been quiet for a
 * whole window and the loss has come down: then it only cost time. */
static uint32_t keep_finding(bp_diagnosis *d, const bp_record *record, bp_finding_slot *slot,
                             bool acts) {
    slot->n_quiet = acts ? 0 : slot->n_quiet + 1;
    const bool learns = !d->non_finite.seen && bp_loss_left_trivial(d);
    const bool over = learns && slot->n_quiet >= d->window.size;
    const bp_severity before = slot->finding.severity;
    slot->finding.severity = !learns ? BP_ERROR : over ? BP_HINT : BP_WARNING;
    slot->finding.open = !over;
    if (!over) slot->finding.last_step = record->step;
    return slot->finding.severity != before;
}

/* One direction. The initialiser is judged when what it causes has been found, when the first pass
 * overflowed, and when the error signal keeps to the same span for a whole window in which nothing
 * is learnt: layers may then be starved of a use for what they learn rather than of gradients. */
static uint32_t judge(bp_diagnosis *d, const bp_record *record, bp_problem problem, double sign,
                      const bp_finding_slot *effect, const uint8_t *candidates) {
    const bool wide = bp_window_majority(&d->window, candidates);
    const bool whole_window = bp_window_length(&d->window) == d->window.size;
    const bool stuck = whole_window && !bp_loss_left_trivial(d);
    const bool acts = effect->exists && effect->finding.open;
    bp_finding_slot *slot = &d->slots[problem];
    if (slot->exists) return keep_finding(d, record, slot, wide || acts);
    /* What blew up from the first step on needs less of a span over depth to be explained. */
    const bool at_once = acts && sign < 0 && effect->finding.since_step <= d->history.first_step;
    if (acts && (at_once || !effect->temporal)) {
        const uint32_t opened = open_finding(d, record, problem, sign, effect->finding.since_step,
                                             at_once ? SPAN_HEALTHY : LN_SPAN);
        if (opened || sign > 0) return opened;
    }
    if (acts && sign < 0) return open_for_large_layers(d, record, effect->finding.since_step);
    if (sign < 0 && d->non_finite.seen)
        return open_finding(d, record, problem, sign, d->non_finite.step, LN_SPAN);
    if (!stuck || d->non_finite.seen) return 0;
    if (wide)
        return open_finding(d, record, problem, sign, bp_window_onset(&d->window, candidates).step,
                            LN_SPAN);
    if (sign > 0) return open_for_first_layer(d, record);
    /* Saturated units hold the growth below a candidate's, and learn as little. */
    return open_finding(d, record, problem, sign, d->history.first_step, SPAN_HEALTHY);
}

uint32_t bp_judge_weights(bp_diagnosis *d, const bp_record *record) {
    return judge(d, record, BP_PROBLEM_WEIGHTS_TOO_SMALL, 1,
                 &d->slots[BP_PROBLEM_VANISHING_GRADIENT], d->window.backward) +
           judge(d, record, BP_PROBLEM_WEIGHTS_TOO_LARGE, -1,
                 &d->slots[BP_PROBLEM_EXPLODING_GRADIENT], d->window.explode);
}
