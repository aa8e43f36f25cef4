/* SPDX-License-Identifier: Apache-2.0 */
/* Findings in words: title, cause with its measured numbers, note. */
#include "diagnosis/state.h"

#include <math.h>
#include <string.h>

static void number(bp_text *text, const char *before, double value, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, value, 2);
    bp_text_add(text, "%s", after);
}

#define MAX_RANGES 8 /* a title is one line: more than that becomes a count */

void bp_text_layers(bp_text *text, const uint32_t *layers, uint32_t n_layers) {
    uint32_t n_ranges = 0;
    for (uint32_t i = 0; i < n_layers; n_ranges++) {
        uint32_t last = i;
        while (last + 1 < n_layers && layers[last + 1] == layers[last] + 1) last++;
        if (n_ranges == MAX_RANGES) {
            bp_text_add(text, " and %u more", n_layers - i);
            return;
        }
        bp_text_add(text, "%s%u", i ? ", " : "", layers[i]);
        if (last > i)
            bp_text_add(text, "%s%u", last == i + 1 ? ", " : "\xe2\x80\x93", layers[last]);
        i = last + 1;
    }
}

void bp_text_layers_named(bp_text *text, const uint32_t *layers, uint32_t n_layers) {
    bp_text_add(text, n_layers == 1 ? "layer " : "layers ");
    bp_text_layers(text, layers, n_layers);
}

static void title_vanishing(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_finding *finding = &slot->finding;
    const bool one = finding->n_layers == 1;
    bp_text_layers_named(text, slot->layers, finding->n_layers);
    if (!finding->open)
        bp_text_add(text, " of %u did not learn for a while", d->n_layers);
    else if (finding->since_step > d->history.first_step)
        bp_text_add(text, " of %u no longer learn%s", d->n_layers, one ? "s" : "");
    else
        bp_text_add(text, " of %u do%s not learn", d->n_layers, one ? "es" : "");
}

static void title_exploding(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bool one = slot->finding.n_layers == 1;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
    if (slot->temporal)
        bp_text_add(text, " of %u get%s updates larger than %s weights", d->n_layers,
                    one ? "s" : "", one ? "its" : "their");
    else
        bp_text_add(text,
                    " of %u get%s gradients grown beyond \xc3\x97"
                    "1000",
                    d->n_layers, one ? "s" : "");
}

static void title_weights(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bool small = slot->finding.problem == BP_PROBLEM_WEIGHTS_TOO_SMALL;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
    bp_text_add(text, " of %u start%s with weights that are too %s", d->n_layers,
                slot->finding.n_layers == 1 ? "s" : "", small ? "small" : "large");
}

static void title_non_finite(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_non_finite *bad = &d->non_finite;
    (void)slot;
    bp_text_add(text, "%s first in the %s", bad->n_nan ? "NaN" : "Inf",
                bad->is_data ? "input data" : bad->place);
    if (bad->layer)
        bp_text_add(text, " of layer %u (%s)", bad->layer,
                    bp_model_layer(d->model, bad->layer)->name);
}

/* The geometric means of the gain's parts over a stretch of cut points. */
typedef struct mean_parts {
    double gain, activation, norm, weight, alignment;
    uint32_t n;
    bool same_activation;
    const bp_layer *layer; /* one of them */
} mean_parts;

static mean_parts mean_over(const bp_diagnosis *d, const bp_profile *profile, uint32_t from,
                            uint32_t to) {
    mean_parts mean = {0, 0, 0, 0, 0, 0, true, NULL};
    for (uint32_t cut = from + 1; cut <= to; cut++) {
        const bp_gain *gain = &profile->gain[cut];
        const bp_layer *layer = bp_model_layer(d->model, gain->layer);
        if (mean.layer && layer->activation != mean.layer->activation) mean.same_activation = false;
        if (!mean.layer) mean.layer = layer;
        mean.gain += log(gain->gain);
        mean.activation += log(gain->activation);
        mean.norm += log(gain->norm);
        mean.weight += log(gain->weight);
        mean.alignment += log(gain->alignment);
        mean.n++;
    }
    const double n = mean.n ? mean.n : 1;
    mean.gain = exp(mean.gain / n);
    mean.activation = exp(mean.activation / n);
    mean.norm = exp(mean.norm / n);
    mean.weight = exp(mean.weight / n);
    mean.alignment = exp(mean.alignment / n);
    return mean;
}

static void text_parts(bp_text *text, const mean_parts *mean) {
    if (!isfinite(mean->gain) || !mean->same_activation) return;
    if (!isfinite(mean->activation) || !isfinite(mean->weight) || !isfinite(mean->norm)) return;
    const bp_layer *layer = mean->layer;
    if (layer->activation != BP_ACTIVATION_LINEAR) {
        bp_text_add(text, "; of %s %s passes on ", mean->n > 1 ? "each" : "it",
                    bp_activation_name(layer->activation));
        bp_text_add_number(text, mean->activation, 2);
        if (layer->activation == BP_ACTIVATION_SIGMOID) bp_text_add(text, " (at most 0.25)");
        number(text, ", the weights ", mean->weight, "");
    } else {
        number(text, "; the weights pass on ", mean->weight, "");
    }
    if (layer->norm != BP_NORM_NONE) number(text, ", the normalisation ", mean->norm, "");
    if (isfinite(mean->alignment) && (mean->alignment < 0.8 || mean->alignment > 1.25))
        number(text, " (\xc3\x97", mean->alignment,
               " of what independent weights of this size would: weights as learnt)");
}

/* "the chain rule multiplies ...": the gains over the stretch that the span covers. */
static void text_chain(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text,
                       double sign) {
    const bp_profile *profile = &slot->profile;
    const uint32_t from = sign > 0 ? profile->vanish_from : profile->explode_from;
    const uint32_t to = sign > 0 ? profile->vanish_to : profile->explode_to;
    const double span = sign > 0 ? profile->vanish_span : profile->explode_span;
    if (!profile->measured || to <= from) return;
    if (slot->narrow) {
        const uint32_t first = bp_model_cut(d->model, slot->blamed_from) + 1;
        const uint32_t last = bp_model_cut(d->model, slot->blamed_to);
        const double level = profile->level[slot->blamed_to] - profile->level[slot->blamed_from];
        const mean_parts mean = mean_over(d, profile, slot->blamed_from, slot->blamed_to);
        if (first == last)
            bp_text_add(text, "layer %u (%s) alone passes", last,
                        bp_model_layer(d->model, last)->name);
        else
            bp_text_add(text, "layers %u\xe2\x80\x93%u together pass", first, last);
        if (sign > 0 && profile->error_norm[slot->blamed_from] <= 0) {
            bp_text_add(text, " nothing on: the error signal before it is exactly 0");
            return;
        }
        number(text, " the error signal on \xc3\x97", exp(-level), "");
        number(text, " of \xc3\x97", exp(-sign * span), " over all layers");
        text_parts(text, &mean);
        return;
    }
    /* The output layer is of another kind than the hidden ones: the mean is theirs. */
    const bool output = to == profile->n_cuts && to - from > 2;
    const uint32_t last = output ? to - 1 : to;
    const mean_parts mean = mean_over(d, profile, from, last);
    const double level = profile->level[last] - profile->level[from];
    const double gain = exp(-level / (last - from));
    number(text, "the chain rule multiplies the layers' gains, about ", gain, " each: ");
    bp_text_add_number(text, gain, 2);
    bp_text_add(text, "^%u = ", last - from);
    bp_text_add_number(text, exp(-level), 1);
    if (output)
        number(text, " (and \xc3\x97", profile->gain[to].gain, " through the output layer)");
    text_parts(text, &mean);
}

static void text_forward(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const uint32_t id = bp_model_cut(d->model, slot->forward_cut);
    bp_text_add(text, "%sthe input does not reach the end: from layer %u on the activations of ",
                text->length ? "; " : "", id);
    if (d->forward_worst > 0)
        number(text, "different samples differ by only ", d->forward_worst, " of their size");
    else
        bp_text_add(text, "all samples are the same");
    if (isfinite(d->forward_input)) number(text, " (spread of the input: ", d->forward_input, ")");
}

/* Of recurrent layers we have no theory: stacks of them have been seen to learn from the little
 * that arrives once Adam rescales it. */
static bool has_recurrent(const bp_diagnosis *d, const bp_profile *profile) {
    for (uint32_t cut = profile->vanish_from; cut <= profile->vanish_to; cut++)
        if (bp_layer_is_recurrent(bp_model_layer(d->model, bp_model_cut(d->model, cut))))
            return true;
    return false;
}

static void text_vanishing(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text,
                           bp_text *note) {
    text_chain(d, slot, text, 1);
    if (slot->forward || d->forward_worst < FORWARD_LIMIT) text_forward(d, slot, text);
    const bp_recipe *recipe = bp_model_recipe(d->model);
    const bool from_the_start = slot->finding.since_step == d->history.first_step;
    if (from_the_start && slot->profile.vanish_span > 4 * LN_SPAN / 3 &&
        !has_recurrent(d, &slot->profile))
        bp_text_add(note,
                    recipe->optimiser == BP_ADAM
                        ? "Adam rescales what arrives, and nothing arrives: healthy-looking "
                          "update ratios are rescaled noise"
                        : "Adam would not help: it rescales what arrives, and nothing arrives");
    if (bp_loss_is_judged(d) && bp_loss_left_trivial(d) && slot->finding.open)
        bp_text_add(note,
                    "%sthe loss falls all the same: the late layers learn on features that "
                    "stay random",
                    note->length ? "; " : "");
    if (!slot->finding.open)
        bp_text_add(note, "%sit healed by itself after step %lld", note->length ? "; " : "",
                    (long long)slot->finding.last_step);
}

/* By how much weights have grown over the steps. */
static void text_growth(const bp_diagnosis *d, bp_text *text) {
    double largest = 0;
    uint32_t its_layer = 0;
    for (uint32_t id = 1; id <= d->n_layers; id++) {
        const bp_layer_history *layer = &d->history.layer[id];
        const double growth = layer->last_weight_rms / layer->first_weight_rms;
        if (!(growth > largest) || !isfinite(growth)) continue;
        largest = growth;
        its_layer = id;
    }
    bp_text_add(text, "each step starts from weights that the one before has thrown");
    if (largest > 1) {
        bp_text_add(text, "; those of layer %u are ", its_layer);
        number(text, "", largest, " times as large as at the start");
    }
}

static void text_exploding(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text,
                           bp_text *note) {
    if (!slot->temporal) {
        text_chain(d, slot, text, -1);
    } else if (d->slots[BP_PROBLEM_LEARNING_RATE_TOO_HIGH].exists) {
        text_growth(d, text); /* the rest is the root's to say */
    } else {
        bp_text_add(text, "the update of step %lld changed the weights of layer %u by ",
                    (long long)d->jump_since, d->jump_layer);
        bp_text_add_number(text, d->jump_ratio, 2);
        bp_text_add(text, " times their size");
        if (isfinite(bp_model_recipe(d->model)->learning_rate))
            number(text, ": a step of learning rate ", bp_model_recipe(d->model)->learning_rate,
                   " is too long for what the gradient says");
        const double span = fmax(d->first.explode_span, d->first.vanish_span);
        const bool by_weights = d->slots[BP_PROBLEM_WEIGHTS_TOO_LARGE].exists;
        if (d->first.measured && span < LN_SPAN && !by_weights)
            number(note,
                   "depth is not to blame: at the first step the error signals differed by "
                   "only \xc3\x97",
                   exp(span), " over the layers");
    }
    if (bp_loss_is_judged(d) && d->history.largest_jump > 10) {
        number(text, "; the loss jumped by \xc3\x97", d->history.largest_jump, " at step ");
        bp_text_add(text, "%lld", (long long)d->history.largest_jump_step);
    } else if (d->history.largest_loss > 10 * bp_trivial_level(d)) {
        number(text, "; the loss is ", d->history.largest_loss, " where guessing is ");
        bp_text_add_number(text, bp_trivial_level(d), 3);
    }
}

static void text_weights(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text,
                         bp_text *note) {
    const bp_finding *finding = &slot->finding;
    const uint32_t worst = slot->evidence[0].layer;
    const bp_layer *layer = bp_model_layer(d->model, worst);
    if (!layer) return;
    if (layer->weight_init.kind != BP_INIT_UNKNOWN)
        bp_text_add(text, "the initialiser %s gives layer %u weights of std ",
                    bp_init_name(layer->weight_init.kind), worst);
    else
        bp_text_add(text, "layer %u starts with weights of std ", worst);
    bp_text_add_number(text, bp_finding_evidence(finding, "weight_std"), 2);
    number(text, ", std \xc2\xb7 sqrt(fan_in) = ", bp_finding_evidence(finding, "weight_scale"),
           "");
    bp_text_add(text, ", where %s needs ", bp_activation_name(layer->activation));
    bp_text_add_number(text, bp_finding_evidence(finding, "critical_scale"), 3);
    const double gain = bp_finding_evidence(finding, "mean_gain");
    const double mended = bp_finding_evidence(finding, "mended_gain");
    if (isfinite(gain)) number(text, "; the error signal's gain is ", gain, " a layer");
    if (isfinite(mended)) number(text, ", with the critical value it would be ", mended, "");
    if (layer->frozen) bp_text_add(note, "layer %u is frozen: training cannot repair it", worst);
}

/* The trainer's embedding gives NaN for a token that its table does not have. */
static bool is_made_by_tokens(const bp_diagnosis *d) {
    const bp_non_finite *bad = &d->non_finite;
    return bad->layer && strcmp(bad->place, "activation") == 0 &&
           bp_model_layer(d->model, bad->layer)->kind == BP_LAYER_EMBEDDING;
}

static void text_non_finite(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text,
                            bp_text *note) {
    (void)slot;
    const bp_non_finite *bad = &d->non_finite;
    const uint64_t n = bad->n_nan ? bad->n_nan : bad->n_inf;
    if (is_made_by_tokens(d))
        bp_text_add(text,
                    "%llu values that came out are not finite: the data hold numbers that are no "
                    "tokens, for these are whole and from 0 to %lld",
                    (unsigned long long)n,
                    (long long)bp_model_layer(d->model, bad->layer)->vocabulary - 1);
    else if (bad->is_data)
        bp_text_add(text,
                    "%llu values of the batch that went in are not finite: the data are bad, "
                    "not the network",
                    (unsigned long long)n);
    else if (bad->is_inherited)
        bp_text_add(text, "%llu parameters are not finite before the first update that was seen",
                    (unsigned long long)n);
    else if (strcmp(bad->place, "parameter") == 0)
        bp_text_add(text, "%llu parameters are not finite: an update before this step made them so",
                    (unsigned long long)n);
    else if (!bad->layer && bad->is_watched)
        bp_text_add(text, "the last layer's outputs are finite and the loss of them is not");
    else if (!bad->layer)
        bp_text_add(text,
                    "the loss is not finite; the layers were not watched at this step, and were "
                    "finite at step %lld",
                    (long long)d->full_step);
    else if (!bad->is_watched)
        bp_text_add(text,
                    "%llu values are not finite; the layers before it were not watched at this "
                    "step, and were finite at step %lld",
                    (unsigned long long)n, (long long)d->full_step);
    else
        bp_text_add(text, "what went into it was finite, %llu values that came out are not",
                    (unsigned long long)n);
    if (isfinite(bad->largest_before))
        number(text, " (largest magnitude before: ", bad->largest_before, ")");
    if (bad->largest_before > 1e18)
        bp_text_add(text, "; products of such numbers overflow float32, whose largest is 3.4e38");
    if (bad->n_passers)
        bp_text_add(text, "; %u other layers passed it on in the same step", bad->n_passers);
    bp_text_add(note, "after it nothing else is judged: every number is a consequence");
}

static const struct {
    bp_title *title;
    bp_words *words;
} wordings[BP_N_PROBLEMS] = {
    [BP_PROBLEM_VANISHING_GRADIENT] = {title_vanishing, text_vanishing},
    [BP_PROBLEM_EXPLODING_GRADIENT] = {title_exploding, text_exploding},
    [BP_PROBLEM_NON_FINITE] = {title_non_finite, text_non_finite},
    [BP_PROBLEM_WEIGHTS_TOO_SMALL] = {title_weights, text_weights},
    [BP_PROBLEM_WEIGHTS_TOO_LARGE] = {title_weights, text_weights},
    [BP_PROBLEM_RANK_MISMATCH] = {bp_text_ranks_title, bp_text_ranks},
    [BP_PROBLEM_CLIP_TO_ZERO] = {bp_precision_title, bp_precision_words},
    [BP_PROBLEM_LOW_PRECISION_UNDERFLOW] = {bp_precision_title, bp_precision_words},
    [BP_PROBLEM_LOW_PRECISION_OVERFLOW] = {bp_precision_title, bp_precision_words},
    [BP_PROBLEM_DEAD_UNITS] = {bp_units_title, bp_units_words},
    [BP_PROBLEM_SATURATED_UNITS] = {bp_units_title, bp_units_words},
    [BP_PROBLEM_SYMMETRIC_UNITS] = {bp_symmetry_title, bp_symmetry_words},
    [BP_PROBLEM_CONSTANT_INIT] = {bp_symmetry_title, bp_symmetry_words},
    [BP_PROBLEM_ZERO_INIT] = {bp_symmetry_title, bp_symmetry_words},
    [BP_PROBLEM_LEARNING_RATE_TOO_HIGH] = {bp_rates_title, bp_rates_words},
    [BP_PROBLEM_LEARNING_RATE_TOO_LOW] = {bp_rates_title, bp_rates_words},
    [BP_PROBLEM_STALLED_UPDATE] = {bp_rates_title, bp_rates_words},
    [BP_PROBLEM_UPDATE_IMBALANCE] = {bp_rates_title, bp_rates_words},
    [BP_PROBLEM_OSCILLATING_LOSS] = {bp_loss_shape_title, bp_loss_shape_words},
    [BP_PROBLEM_LOSS_SPIKE] = {bp_loss_shape_title, bp_loss_shape_words},
    [BP_PROBLEM_PLATEAU] = {bp_loss_shape_title, bp_loss_shape_words},
    [BP_PROBLEM_SLOW_CONVERGENCE] = {bp_loss_shape_title, bp_loss_shape_words},
    [BP_PROBLEM_CONSTANT_OUTPUT] = {bp_loss_shape_title, bp_loss_shape_words},
    [BP_PROBLEM_UNDERFITTING] = {bp_loss_shape_title, bp_loss_shape_words},
    [BP_PROBLEM_OVERFITTING] = {bp_generalisation_title, bp_generalisation_words},
    [BP_PROBLEM_OVERCONFIDENT] = {bp_generalisation_title, bp_generalisation_words},
    [BP_PROBLEM_MEMORISING] = {bp_generalisation_title, bp_generalisation_words},
    [BP_PROBLEM_INPUT_NOT_NORMALISED] = {bp_setup_title, bp_setup_words},
    [BP_PROBLEM_LABELS_OUT_OF_RANGE] = {bp_setup_title, bp_setup_words},
    [BP_PROBLEM_WRONG_LAST_LAYER] = {bp_setup_title, bp_setup_words},
    [BP_PROBLEM_FROZEN_PARAMETER] = {bp_setup_title, bp_setup_words},
    [BP_PROBLEM_UNUSED_PARAMETER] = {bp_setup_title, bp_setup_words},
};

/* Of the gradients' own problems, and of what makes them. */
static bool has_symptoms(bp_problem problem) {
    return problem <= BP_PROBLEM_WEIGHTS_TOO_LARGE;
}

void bp_text_compose(bp_diagnosis *d, bp_finding_slot *slot) {
    bp_finding *finding = &slot->finding;
    bp_text title, cause, note;
    bp_text_init(&title, slot->title, sizeof slot->title);
    bp_text_init(&cause, slot->cause, sizeof slot->cause);
    bp_text_init(&note, slot->note, sizeof slot->note);
    if (slot->through_time) {
        bp_through_time_title(d, slot, &title);
        bp_through_time_words(d, slot, &cause, &note);
    } else {
        wordings[finding->problem].title(d, slot, &title);
        wordings[finding->problem].words(d, slot, &cause, &note);
    }
    bp_text_symptoms(d, slot);
    for (uint32_t cut = 1; slot->profile.measured && cut <= slot->profile.n_cuts; cut++)
        slot->profile.gain[cut].share =
            bp_window_median_share(&d->window, bp_model_cut(d->model, cut));
    finding->gains = slot->profile.measured ? slot->profile.gain + 1 : NULL;
    finding->n_gains = slot->profile.measured ? slot->profile.n_cuts : 0;
    finding->n_symptoms = has_symptoms(finding->problem) ? 3 : 0;
}
