/* SPDX-License-Identifier: Apache-2.0 */
/* From a finding to a plan, and from that to edits of the network file or to lines of Python. */
#include "remedy/candidate.h"
#include "remedy/plan.h"

#include <math.h>
#include <string.h>

#define CLIP_NORM 1.0 /* what recurrent networks and transformers are clipped to as a rule */

/* All of a remedy in one block; the code, whose length is not known before, in two more. */
typedef struct remedy_block {
    bp_remedy remedy; /* first: its address is the handle */
    bp_allocator allocator;
    bp_plan plan;
    bp_edits edits;
    bp_code code;
    const char **lines;
    char title[256];
    char reason[768];
    bp_text title_text, reason_text;
} remedy_block;

/* --- what a plan means for a layer --------------------------------------------------------------
 */

bool bp_plan_changes_activation(const bp_plan *plan, const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    return plan->to && layer->activation == plan->from && id < bp_model_output_layer(model) &&
           !bp_layer_is_recurrent(layer);
}

bool bp_plan_draws_weights(const bp_plan *plan, const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    if (plan->layer) return plan->layer == id;
    return bp_layer_is_weighted_sum(layer) && !layer->frozen;
}

static bool is_pytorch(const bp_model *model) {
    const char *origin = bp_model_origin(model);
    return origin && strcmp(origin, "pytorch") == 0;
}

static bool can_be_told(const bp_plan *plan, const bp_model *model) {
    return bp_model_origin(model) || bp_edits_reach(plan, model);
}

/* --- the choice ---------------------------------------------------------------------------------
 */

/* Of initialisers that are not known it cannot be said that another would do better, unless the
 * diagnosis has found the weights to be wrong. */
static bool is_guess(const bp_candidate *now, const bp_candidate *best, const bp_finding *finding) {
    return isnan(now->predicted.mean_gain) && !best->activation &&
           finding->problem != BP_PROBLEM_WEIGHTS_TOO_SMALL &&
           finding->problem != BP_PROBLEM_WEIGHTS_TOO_LARGE;
}

static bool mend_chain(remedy_block *block, const bp_model *model, const bp_finding *finding) {
    bp_candidate now, list[BP_N_CANDIDATES];
    bp_candidate_now(&now, model);
    bp_candidates_list(list, model);
    const bp_candidate *best = bp_candidates_choose(list);
    if (!best->admissible || now.admissible || is_guess(&now, best, finding)) return false;
    bp_plan plan = block->plan;
    plan.init = best->init;
    plan.to = best->activation;
    if (plan.to) plan.from = bp_main_activation(model);
    if (!can_be_told(&plan, model)) return false;
    block->plan = plan;
    bp_text_add(&block->title_text, "use ");
    bp_candidate_name(&block->title_text, best);
    bp_candidate_explain(&block->reason_text, best);
    const bp_candidate *second = bp_candidates_second(list, best);
    if (!second || !bp_candidate_is_predicted(second)) return true;
    bp_text_add(&block->reason_text, " (");
    bp_candidate_name(&block->reason_text, second);
    bp_text_add(&block->reason_text, ": ");
    bp_text_add_number(&block->reason_text, second->predicted.mean_gain, 2);
    bp_text_add(&block->reason_text, " a layer, ");
    bp_text_add_number(&block->reason_text, 100 * fmin(1, second->predicted.variation), 2);
    bp_text_add(&block->reason_text, "%% kept)");
    return true;
}

/* One layer alone whose initialiser is off: give it what its activation asks for. */
static bool mend_layer(remedy_block *block, const bp_model *model, uint32_t id,
                       const bp_finding *finding) {
    const bp_layer *layer = bp_model_layer(model, id);
    if (!layer || !bp_layer_is_weighted_sum(layer) || layer->fan_in < 1) return false;
    const double critical = bp_activation_critical_gain(layer->activation, layer->activation_slope);
    const double critical_std = critical / sqrt((double)layer->fan_in);
    double std = bp_init_std(&layer->weight_init, layer->fan_in, layer->fan_out);
    if (isnan(std)) std = bp_finding_evidence(finding, "weight_std");
    if (isnan(std)) return false;
    /* The output layer is right with He's size, too. */
    const double most = layer->activation == BP_ACTIVATION_LINEAR ? 1.25 * sqrt(2) : 1.25;
    if (std > 0.8 * critical_std && std < most * critical_std) return false;
    const bp_init_kind init = critical > 1 ? BP_INIT_HE : BP_INIT_XAVIER;
    bp_plan plan = block->plan;
    plan.init = init;
    plan.layer = id;
    if (!can_be_told(&plan, model)) return false;
    block->plan = plan;
    bp_text_add(&block->title_text, "initialise layer %u (%.100s) by %s", id, layer->name,
                bp_init_title(init));
    bp_text_add(&block->reason_text,
                "the other layers pass the error signal on; this one needs weights of std ");
    bp_text_add_number(&block->reason_text, critical_std, 2);
    if (layer->frozen)
        bp_text_add(&block->reason_text, ", and it is frozen, so training cannot give it them");
    return true;
}

static bool mend_learning_rate(remedy_block *block, const bp_model *model,
                               const bp_finding *finding) {
    const double rate = bp_model_recipe(model)->learning_rate;
    const double ratio = bp_finding_evidence(finding, "update_ratio");
    if (!(rate > 0)) return false;
    /* A tenth of the weights is a long step already; at least a factor of 10 down. */
    const double factor = isfinite(ratio) ? fmax(10, fmin(1e6, 10 * ratio)) : 10;
    const double lower = pow(10, floor(log10(rate / factor) + 1e-9));
    block->plan.learning_rate = lower;
    bp_text_add(&block->title_text, "lower the learning rate to ");
    bp_text_add_number(&block->title_text, lower, 3);
    bp_text_add(&block->reason_text, "an update was ");
    bp_text_add_number(&block->reason_text, ratio, 2);
    bp_text_add(&block->reason_text,
                " times the weights that it changed; a healthy one is about 0.001");
    return true;
}

/* What grows through time inside one layer grows at any learning rate; a step of bounded length
 * does no harm by it (Pascanu, Mikolov & Bengio 2013). */
static bool mend_by_clipping(remedy_block *block, const bp_model *model,
                             const bp_finding *finding) {
    if (!is_pytorch(model) || finding->problem != BP_PROBLEM_EXPLODING_GRADIENT) return false;
    if (bp_finding_evidence(finding, "clipping") > 0 || bp_model_recipe(model)->clip_norm > 0)
        return false;
    block->plan.clip_norm = CLIP_NORM;
    if (block->title_text.length) return true;
    bp_text_add(&block->title_text, "clip the norm of the gradients to 1");
    bp_text_add(&block->reason_text,
                "what grows through time inside one layer grows at any learning rate; clipped, its "
                "direction is kept and the step is short");
    return true;
}

static bool mend(remedy_block *block, const bp_model *model, const bp_finding *finding) {
    if (finding->problem == BP_PROBLEM_NON_FINITE) return false;    /* its cause has the remedy */
    if (finding->problem >= BP_PROBLEM_RANK_MISMATCH) return false; /* none is known yet */
    if (finding->severity == BP_HINT) return false;                 /* it passed without one */
    if (bp_finding_evidence(finding, "over_steps") > 0) {
        if (!mend_learning_rate(block, model, finding)) return false;
        mend_by_clipping(block, model, finding);
        return true;
    }
    const uint32_t blamed = bp_finding_blamed_layer(finding);
    const bool from_the_start = finding->since_step == 0; /* later it is not the initialiser */
    if (blamed && from_the_start && mend_layer(block, model, blamed, finding)) return true;
    if (mend_chain(block, model, finding)) return true;
    if (blamed && bp_layer_is_recurrent(bp_model_layer(model, blamed)))
        return mend_by_clipping(block, model, finding);
    return finding->problem == BP_PROBLEM_EXPLODING_GRADIENT &&
           bp_finding_evidence(finding, "update_ratio") > 1 &&
           mend_learning_rate(block, model, finding);
}

/* --- from the plan to the remedy ----------------------------------------------------------------
 */

/* The code's lines, each a text of its own. */
static bool split_lines(remedy_block *block) {
    bp_code *code = &block->code;
    uint32_t n = 0;
    for (size_t i = 0; i < code->length; i++) n += code->bytes[i] == '\n';
    if (code->failed || n == 0) return !code->failed;
    block->lines = bp_allocate(&block->allocator, n, sizeof *block->lines);
    if (!block->lines) return false;
    char *at = code->bytes;
    for (uint32_t i = 0; i < n; i++) {
        char *end = strchr(at, '\n');
        *end = '\0';
        block->lines[i] = at;
        at = end + 1;
    }
    block->remedy.lines = block->lines;
    block->remedy.n_lines = n;
    return true;
}

/* BP_OK without a plan that can be told leaves *told false. */
static bp_status tell(remedy_block *block, const bp_model *model, bool *told, bp_error *error) {
    *told = true;
    if (!bp_model_origin(model)) {
        *told = bp_edits_write(&block->edits, &block->plan, model);
        block->remedy.n_edits = block->edits.n;
        return BP_OK;
    }
    if (is_pytorch(model)) bp_pytorch_write(&block->code, &block->plan, model);
    if (split_lines(block)) return BP_OK;
    return bp_fail(error, BP_ERROR_MEMORY, "no memory for a remedy");
}

bp_status bp_remedy_open(bp_remedy **remedy, const bp_model *model, const bp_finding *finding,
                         const bp_allocator *allocator, bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    remedy_block *block = bp_allocate(allocator, 1, sizeof *block);
    if (!block) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a remedy");
    block->allocator = block->code.allocator = *allocator;
    block->plan.learning_rate = (double)NAN;
    bp_text_init(&block->title_text, block->title, sizeof block->title);
    bp_text_init(&block->reason_text, block->reason, sizeof block->reason);
    block->remedy.title = block->title;
    block->remedy.reason = block->reason;
    block->remedy.edits = block->edits.list;
    *remedy = NULL;
    bool told = false;
    bp_status status = BP_OK;
    if (mend(block, model, finding)) status = tell(block, model, &told, error);
    if (told && status == BP_OK)
        *remedy = &block->remedy;
    else
        bp_remedy_close(&block->remedy);
    return status;
}

void bp_remedy_close(bp_remedy *remedy) {
    if (!remedy) return;
    remedy_block *block = (remedy_block *)remedy;
    const bp_allocator allocator = block->allocator;
    bp_release(&allocator, block->lines, block->remedy.n_lines, sizeof *block->lines);
    bp_code_finish(&block->code);
    bp_release(&allocator, block, 1, sizeof *block);
}
