/* SPDX-License-Identifier: Apache-2.0 */
/* What could be done to the whole chain of layers, and what theory predicts for each. */
#include "remedy/candidate.h"

#include <math.h>

#define LN_DECADE 2.302585  /* a decade over the whole depth is harmless */
#define SPAN_ADMISSIBLE 3.4 /* ln 30 */

/* How far the prediction is from a chain that passes everything on: gain beyond a decade, loss of
 * the difference between samples, inequality of the Jacobian's singular values (Pennington,
 * Schoenholz & Ganguli 2017). */
static void judge(bp_candidate *candidate, const bp_model *model) {
    const bp_chain_choice choice = {.from = bp_main_activation(model),
                                    .activation = candidate->activation,
                                    .slope = 0.01,
                                    .init = {.kind = candidate->init, .parameter = 1}};
    bp_predict_chain(model, &choice, &candidate->predicted);
    const bp_chain_prediction *p = &candidate->predicted;
    candidate->admissible = p->span < SPAN_ADMISSIBLE && p->variation > 0.1 && p->saturation > 0.5;
    const double critical = bp_activation_critical_gain(
        candidate->activation ? candidate->activation : choice.from, choice.slope);
    candidate->is_made_for_it = (candidate->init == BP_INIT_HE) == (critical > 1);
    candidate->score = fmax(0, fabs(p->log_gain) - LN_DECADE) +
                       fabs(log(fmax(p->variation, 1e-9))) + log(1 + p->spread);
}

/* What differs by less than the reckoning is the same: then the initialiser that was made for the
 * activation is. */
static bool better(const bp_candidate *a, const bp_candidate *b) {
    if (a->admissible != b->admissible) return a->admissible;
    if (a->admissible && a->change != b->change) return a->change < b->change;
    if (fabs(a->score - b->score) > 1e-6) return a->score < b->score;
    return a->is_made_for_it && !b->is_made_for_it;
}

bp_activation bp_main_activation(const bp_model *model) {
    uint32_t count[16] = {0}, n_sigmoids = 0;
    bp_activation best = BP_ACTIVATION_LINEAR;
    for (uint32_t id = 1; id < bp_model_output_layer(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!bp_layer_is_weighted_sum(layer) || (unsigned)layer->activation >= 16) continue;
        if (++count[layer->activation] > count[best]) best = layer->activation;
        n_sigmoids += layer->activation == BP_ACTIVATION_SIGMOID && layer->depth_in_blocks == 0;
    }
    /* Two sigmoids in a row cost more than all the others can: they are what to change. Those that
     * something runs past are gates. */
    return n_sigmoids > 1 ? BP_ACTIVATION_SIGMOID : best;
}

static bool same_shape(bp_activation a, bp_activation b) {
    const bool a_bounded = a == BP_ACTIVATION_SIGMOID || a == BP_ACTIVATION_TANH;
    const bool b_bounded = b == BP_ACTIVATION_SIGMOID || b == BP_ACTIVATION_TANH;
    return a == b || a_bounded == b_bounded; /* tanh z = 2 sigmoid(2z) - 1 */
}

void bp_candidates_list(bp_candidate *list, const bp_model *model) {
    const bp_activation now = bp_main_activation(model);
    static const struct {
        bp_activation activation;
        bp_init_kind init;
    } choices[BP_N_CANDIDATES] = {
        {0, BP_INIT_XAVIER},
        {0, BP_INIT_HE},
        {BP_ACTIVATION_TANH, BP_INIT_XAVIER},
        {BP_ACTIVATION_RELU, BP_INIT_HE},
        {BP_ACTIVATION_LEAKY_RELU, BP_INIT_HE},
        {BP_ACTIVATION_GELU, BP_INIT_HE},
    };
    for (size_t i = 0; i < BP_N_CANDIDATES; i++) {
        const bp_activation activation = choices[i].activation == now ? 0 : choices[i].activation;
        list[i] = (bp_candidate){.activation = activation, .init = choices[i].init};
        list[i].change = !activation ? 1 : same_shape(activation, now) ? 2 : 3;
        judge(&list[i], model);
    }
}

const char *bp_init_title(bp_init_kind init) {
    return init == BP_INIT_HE ? "He" : "Xavier";
}

void bp_candidate_name(bp_text *text, const bp_candidate *c) {
    if (c->activation) bp_text_add(text, "%s with ", bp_activation_name(c->activation));
    bp_text_add(text, "%s initialisation", bp_init_title(c->init));
}

bool bp_candidate_is_predicted(const bp_candidate *candidate) {
    return candidate->predicted.n_layers > 0;
}

void bp_candidate_explain(bp_text *text, const bp_candidate *c) {
    if (!bp_candidate_is_predicted(c)) {
        bp_text_add(text, "what a sum over so many inputs needs to keep its size; through residual "
                          "blocks no chain is predicted");
        return;
    }
    bp_text_add(text, "predicted gain ");
    bp_text_add_number(text, c->predicted.mean_gain, 2);
    bp_text_add(text, " a layer, ");
    bp_text_add_number(text, exp(c->predicted.log_gain), 2);
    bp_text_add(text, " over %u layers, and ", c->predicted.n_layers);
    bp_text_add_number(text, 100 * fmin(1, c->predicted.variation), 2);
    bp_text_add(text, "%% of the difference between samples kept");
}

const bp_candidate *bp_candidates_choose(const bp_candidate *list) {
    const bp_candidate *best = &list[0];
    for (size_t i = 1; i < BP_N_CANDIDATES; i++)
        if (better(&list[i], best)) best = &list[i];
    return best;
}

/* The one of the others whose gain alone is best: what would be chosen by gains only. */
const bp_candidate *bp_candidates_second(const bp_candidate *list, const bp_candidate *best) {
    const bp_candidate *second = NULL;
    for (size_t i = 0; i < BP_N_CANDIDATES; i++) {
        const bp_candidate *c = &list[i];
        if (c == best || (c->activation == best->activation && c->change == best->change &&
                          c->init == best->init))
            continue;
        if (!isfinite(c->predicted.mean_gain)) continue;
        const double gain = fabs(c->predicted.log_gain);
        if (!second || gain < fabs(second->predicted.log_gain)) second = c;
    }
    return second;
}

void bp_candidate_now(bp_candidate *now, const bp_model *model) {
    *now = (bp_candidate){.change = 0};
    judge(now, model);
}
