/* SPDX-License-Identifier: Apache-2.0 */
/* The findings of setup.c in words. */
#include "diagnosis/state.h"

#include <math.h>

static void number(bp_text *text, const char *before, double value, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, value, 3);
    bp_text_add(text, "%s", after);
}

static const bp_layer *its_layer(const bp_diagnosis *d, const bp_finding_slot *slot) {
    return slot->finding.n_layers ? bp_model_layer(d->model, slot->layers[0]) : NULL;
}

static const char *loss_of(const bp_diagnosis *d) {
    return bp_loss_name(bp_model_recipe(d->model)->loss);
}

/* "softmax", or what stands for it in a recurrent layer */
static const char *activation_of(const bp_layer *layer) {
    return bp_layer_is_recurrent(layer) ? bp_layer_kind_name(layer->kind)
                                        : bp_activation_name(layer->activation);
}

static void title_parameters(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bool one = slot->finding.n_layers == 1;
    const bool unused = slot->finding.problem == BP_PROBLEM_UNUSED_PARAMETER;
    bp_text_layers_named(text, slot->layers, slot->finding.n_layers);
    bp_text_add(text, " of %u ", d->n_layers);
    if (!slot->finding.open)
        bp_text_add(text, "got no gradient for a while");
    else if (unused)
        bp_text_add(text, one ? "is trained but not used" : "are trained but not used");
    else
        bp_text_add(text, one ? "gets no gradient" : "get no gradient");
}

static void title_last_layer(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_layer *layer = its_layer(d, slot);
    bp_text_add(text, "layer %u ends in %s, which %s ", layer->id, activation_of(layer),
                bp_loss_name(bp_model_recipe(d->model)->loss));
    const bool always_one = bp_finding_evidence(&slot->finding, "outputs") <= 1;
    const bool regression = !isnan(bp_finding_evidence(&slot->finding, "lowest"));
    bp_text_add(text, "%s",
                regression ? "cannot reach its targets from"
                           : (always_one ? "cannot learn from" : "should get logits instead of"));
}

void bp_setup_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_setup *setup = &d->setup;
    switch ((int)slot->finding.problem) {
    case BP_PROBLEM_LABELS_OUT_OF_RANGE:
        number(text, "targets go from ", setup->target_min, " to ");
        bp_text_add_number(text, setup->target_max, 3);
        number(text, ", not from ", bp_finding_evidence(&slot->finding, "lowest"), " to ");
        bp_text_add_number(text, bp_finding_evidence(&slot->finding, "highest"), 3);
        break;
    case BP_PROBLEM_WRONG_LAST_LAYER:
        title_last_layer(d, slot, text);
        break;
    case BP_PROBLEM_INPUT_NOT_NORMALISED:
        if (setup->input_rms > 10)
            number(text, "the inputs are of size ", setup->input_rms, ", where about 1 is right");
        else if (setup->input_variation < 0.05)
            number(text, "the inputs differ by only ", setup->input_variation, " of their size");
        else
            number(text, "one feature of the input varies ", setup->input_scales,
                   " times as much as the median one");
        break;
    default:
        title_parameters(d, slot, text);
        break;
    }
}

static void words_labels(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                         bp_text *note) {
    const bp_recipe *recipe = bp_model_recipe(d->model);
    const bp_layer *layer = its_layer(d, slot);
    if (recipe->loss == BP_CROSS_ENTROPY) {
        bp_text_add(cause,
                    "cross_entropy takes the number of a class, 0 to %lld for the %lld outputs: "
                    "another number names no output",
                    (long long)recipe->n_outputs - 1, (long long)recipe->n_outputs);
    } else if (recipe->loss == BP_BINARY_CROSS_ENTROPY) {
        bp_text_add(cause,
                    "binary_cross_entropy takes probabilities, 0 to 1: beyond them it has no "
                    "lowest value, and falls for ever as the outputs grow");
    } else if (bp_finding_evidence(&slot->finding, "highest") > 1e19) {
        bp_text_add(cause, "mse squares what is missed, and the square of such a number is beyond "
                           "float32, whose largest is 3.4e38");
    } else if (layer) {
        bp_text_add(cause, "layer %u (%s) ends in %s, whose values lie between ", layer->id,
                    layer->name, activation_of(layer));
        number(cause, "", bp_finding_evidence(&slot->finding, "lowest"), " and ");
        bp_text_add_number(cause, bp_finding_evidence(&slot->finding, "highest"), 3);
        bp_text_add(cause, ": it saturates on the way to targets outside and never reaches them");
        bp_text_add(note, "scale the targets into that range, or let the last layer be linear");
    }
}

static void words_last_layer(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                             bp_text *note) {
    const bp_layer *layer = its_layer(d, slot);
    const double lowest = bp_finding_evidence(&slot->finding, "loss_floor");
    const double target = bp_finding_evidence(&slot->finding, "target_min");
    if (!isnan(target)) {
        bp_text_add(cause, "%s gives no value below ", activation_of(layer));
        bp_text_add_number(cause, bp_finding_evidence(&slot->finding, "lowest"), 3);
        number(cause, ", and there are targets down to ", target, "");
        bp_text_add(note, "the last layer of a regression is linear");
        return;
    }
    if (bp_finding_evidence(&slot->finding, "outputs") <= 1) {
        bp_text_add(cause, "a softmax over one output is always 1, whatever the weights: its "
                           "gradient is exactly 0");
        return;
    }
    bp_text_add(cause, "%s makes probabilities of logits itself; after %s they ", loss_of(d),
                activation_of(layer));
    double low, high;
    bp_activation_range(layer, &low, &high);
    if (isfinite(high)) {
        number(cause, "lie between ", low, " and ");
        bp_text_add_number(cause, high, 3);
    } else {
        number(cause, "are never below ", low, ", and where all are there no gradient passes");
    }
    if (isfinite(lowest)) number(cause, ", so that no loss below ", lowest, " can be reached");
    bp_text_add(note, "leave %s out: class and order of the outputs stay the same",
                activation_of(layer));
}

static void words_input(const bp_diagnosis *d, bp_text *cause, bp_text *note) {
    const bp_setup *setup = &d->setup;
    bp_text_add(cause, "the first layer's gradient is a product with its input: ");
    if (setup->input_rms > 10) {
        number(cause, "inputs of size ", setup->input_rms,
               " make its sums and its steps larger by as much");
        const double trivial = bp_trivial_level(d);
        if (setup->start_loss > trivial) {
            number(cause, "; the loss started at ", setup->start_loss, " where guessing is ");
            bp_text_add_number(cause, trivial, 3);
        }
    } else if (setup->input_variation < 0.05) {
        number(cause, "an offset that is the same in all samples is ", 1 / setup->input_variation,
               " times what differs, and its direction gets nearly all of each step");
    } else {
        number(cause, "features that vary ", setup->input_scales,
               " times as much get steps that are as much larger: no learning rate suits all");
    }
    bp_text_add(note, "subtract the mean and divide by the deviation of the training part, feature "
                      "by feature (images: channel by channel)");
}

static void words_parameters(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                             bp_text *note) {
    const bool unused = slot->finding.problem == BP_PROBLEM_UNUSED_PARAMETER;
    const bp_layer *layer = its_layer(d, slot);
    const bp_no_gradient *state = &d->setup.layer[layer->id];
    bp_text_add(cause, "%llu parameters, ",
                (unsigned long long)bp_finding_evidence(&slot->finding, "parameters"));
    bp_text_add_number(cause, 100 * bp_finding_evidence(&slot->finding, "share"), 2);
    bp_text_add(cause, "%% of those that are trained, ");
    if (unused)
        bp_text_add(cause, "were given to the optimiser, but no forward pass used them");
    else if (state->n_zero)
        bp_text_add(cause, "get a gradient that is exactly 0");
    else if (state->had_gradient)
        bp_text_add(cause, "had a gradient before and get none any more");
    else
        bp_text_add(cause, "are used in the forward pass, but the loss sends nothing back to them: "
                           "detach, no_grad, or an operation without a derivative (argmax, round) "
                           "lies between");
    bp_text_add(note, "%s",
                unused ? "a layer that is not needed may be left out; one that is was forgotten in "
                         "forward"
                       : "what is not to be trained is better not given to the optimiser");
}

void bp_setup_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                    bp_text *note) {
    switch ((int)slot->finding.problem) {
    case BP_PROBLEM_LABELS_OUT_OF_RANGE:
        words_labels(d, slot, cause, note);
        break;
    case BP_PROBLEM_WRONG_LAST_LAYER:
        words_last_layer(d, slot, cause, note);
        break;
    case BP_PROBLEM_INPUT_NOT_NORMALISED:
        words_input(d, cause, note);
        break;
    default:
        words_parameters(d, slot, cause, note);
        break;
    }
}
