/* SPDX-License-Identifier: Apache-2.0 */
/* The findings of rates.c and rates_low.c in words. */
#include "diagnosis/state.h"

#include <math.h>

static void number(bp_text *text, const char *before, double value, const char *after) {
    bp_text_add(text, "%s", before);
    bp_text_add_number(text, value, 2);
    bp_text_add(text, "%s", after);
}

static double evidence(const bp_finding_slot *slot, const char *name) {
    return bp_finding_evidence(&slot->finding, name);
}

static void title_high(const bp_finding_slot *slot, bp_text *text) {
    number(text, "a learning rate of ", evidence(slot, "learning_rate"), "");
    if (!isnan(evidence(slot, "over_steps")))
        bp_text_add(text, " makes it diverge");
    else if (!isnan(evidence(slot, "loss_thrown_to")))
        number(text, " threw the loss to ", evidence(slot, "loss_thrown_to"), "");
    else
        bp_text_add(text, " makes gradients turn back at each step");
}

void bp_rates_title(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *text) {
    const bp_finding *finding = &slot->finding;
    const bool one = finding->n_layers == 1;
    switch ((int)finding->problem) {
    case BP_PROBLEM_LEARNING_RATE_TOO_HIGH:
        title_high(slot, text);
        return;
    case BP_PROBLEM_LEARNING_RATE_TOO_LOW:
        number(text, "a learning rate of ", evidence(slot, "learning_rate"), " moves weights by ");
        bp_text_add_number(text, evidence(slot, "way"), 2);
        bp_text_add(text, " of their size in the whole run");
        return;
    case BP_PROBLEM_STALLED_UPDATE:
        bp_text_add(text, "most weights of ");
        bp_text_layers_named(text, slot->layers, finding->n_layers);
        bp_text_add(text, " of %u do not move: the updates are rounded away", d->n_layers);
        return;
    default:
        bp_text_layers_named(text, slot->layers, finding->n_layers);
        bp_text_add(text, " of %u move%s less than a thousandth of what others do", d->n_layers,
                    one ? "s" : "");
    }
}

static void words_high(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                       bp_text *note) {
    const double before = evidence(slot, "loss_thrown_to"), level = evidence(slot, "loss");
    const double cosine = evidence(slot, "gradient_cosine");
    const bp_evidence *ratio = slot->evidence;
    if (isnan(evidence(slot, "over_steps")) && isnan(before)) {
        number(cause, "a step changes weights by ", ratio->value,
               " of their size, and the next "
               "gradient points back (cosine ");
        number(cause, "", cosine, "): it jumps from one side of the valley to the other");
    } else {
        bp_text_add(cause, "the update of step %lld changed the weights of layer %u by ",
                    (long long)ratio->step, ratio->layer);
        number(cause, "", ratio->value, " times their size, where about 0.001 is usual");
        if (!isnan(before) && !isnan(evidence(slot, "over_steps")))
            number(cause, "; the loss went to ", before, "");
    }
    if (!isnan(level) && bp_trivial_level(d) > 0 && !d->non_finite.seen) {
        number(cause, "; it is at ", level, " where guessing is ");
        bp_text_add_number(cause, bp_trivial_level(d), 3);
    }
    const double span = fmax(d->first.explode_span, d->first.vanish_span);
    if (!isnan(evidence(slot, "over_steps")) && d->first.measured && span < LN_SPAN)
        number(note,
               "depth is not to blame: at the first step the error signals differed by only "
               "\xc3\x97",
               exp(span), " over the layers");
    if (!slot->finding.open)
        bp_text_add(note, "%sit is over after step %lld", note->length ? "; " : "",
                    (long long)slot->finding.last_step);
}

static void words_low(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                      bp_text *note) {
    number(cause, "an update is ", evidence(slot, "update_ratio"),
           " of the weights, where about 0.001 is usual, and gradients keep pointing the same way "
           "(cosine ");
    number(cause, "", evidence(slot, "gradient_cosine"),
           "): longer steps would go on as well; the "
           "loss is at ");
    bp_text_add_number(cause, evidence(slot, "loss"), 3);
    number(cause, " where guessing is ", bp_trivial_level(d), "");
    const bp_recipe *recipe = bp_model_recipe(d->model);
    if (recipe->epochs * recipe->epoch_steps <= 0)
        number(note, "how long the run is to be is not known: taken as ", evidence(slot, "steps"),
               " steps");
}

static const char *format_of(double bits) {
    return bits <= 8 ? "bfloat16" : (bits <= 11 ? "float16" : (bits <= 24 ? "float32" : "float64"));
}

static void words_stalled(const bp_finding_slot *slot, bp_text *cause, bp_text *note) {
    const double bits = evidence(slot, "precision"), ratio = evidence(slot, "update_ratio");
    number(cause, "in ", 100 * evidence(slot, "stalled_records"),
           "% of the records more than half of the weights with a gradient are bit for bit the "
           "same after the update");
    if (!isnan(ratio)) number(cause, "; an update is ", ratio, " of the weights");
    if (!isnan(bits)) {
        bp_text_add(cause, ", and %s (%d bits) rounds away what is below ", format_of(bits),
                    (int)bits);
        bp_text_add_number(cause, evidence(slot, "least_ratio"), 2);
        bp_text_add(cause, " of a weight");
    }
    if (bits <= 11)
        bp_text_add(note, "keep the optimiser's weights in float32 and compute in %s",
                    format_of(bits));
}

static void words_imbalance(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                            bp_text *note) {
    const bp_evidence *slow = &slot->evidence[0], *fast = &slot->evidence[1];
    bp_text_add(cause, "a step changes layer %u (%s) by ", slow->layer,
                bp_model_layer(d->model, slow->layer)->name);
    number(cause, "", slow->value, " of its size and ");
    bp_text_add(cause, "layer %u (%s) by ", fast->layer,
                bp_model_layer(d->model, fast->layer)->name);
    bp_text_add_number(cause, fast->value, 2);
    number(cause, "; the slow one has ", evidence(slot, "share_of_learning"),
           " of the fall of the loss");
    bp_text_add(note, "learning rates that differ by layer on purpose look like this");
}

void bp_rates_words(const bp_diagnosis *d, const bp_finding_slot *slot, bp_text *cause,
                    bp_text *note) {
    switch ((int)slot->finding.problem) {
    case BP_PROBLEM_LEARNING_RATE_TOO_HIGH:
        words_high(d, slot, cause, note);
        break;
    case BP_PROBLEM_LEARNING_RATE_TOO_LOW:
        words_low(d, slot, cause, note);
        break;
    case BP_PROBLEM_STALLED_UPDATE:
        words_stalled(slot, cause, note);
        break;
    default:
        words_imbalance(d, slot, cause, note);
        break;
    }
}
