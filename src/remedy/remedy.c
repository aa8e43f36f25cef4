/* SPDX-License-Identifier: Apache-2.0 */
/* From a finding to a plan, and from that to edits of the network file or to lines of Python. */
#include "remedy/candidate.h"
#include "remedy/cures.h"

#include <math.h>
#include <string.h>

/* All of a remedy in one block; the code, whose length is not known before, in two more. */
typedef struct remedy_block {
    bp_remedy remedy; /* first: its address is the handle */
    bp_allocator allocator;
    bp_draft draft;
    bp_edits edits;
    bp_code code;
    const char **lines;
    char title[256];
    char reason[768];
    char program[BP_DRAFT_CODE_BYTES];
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
    if (!bp_layer_is_weighted_sum(layer) || layer->frozen) return false;
    for (uint32_t i = 0; i < plan->n_layers; i++)
        if (plan->layers[i] == id) return true;
    return plan->n_layers == 0;
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

static bool mend_chain(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    bp_candidate now, list[BP_N_CANDIDATES];
    bp_candidate_now(&now, model);
    bp_candidates_list(list, model);
    const bp_candidate *best = bp_candidates_choose(list);
    if (!best->admissible || now.admissible || is_guess(&now, best, finding)) return false;
    bp_plan plan = draft->plan;
    plan.init = best->init;
    plan.to = best->activation;
    if (plan.to) plan.from = bp_main_activation(model);
    if (!can_be_told(&plan, model)) return false;
    draft->plan = plan;
    bp_text_add(&draft->title, "use ");
    bp_candidate_name(&draft->title, best);
    bp_candidate_explain(&draft->reason, best);
    const bp_candidate *second = bp_candidates_second(list, best);
    if (!second || !bp_candidate_is_predicted(second)) return true;
    bp_text_add(&draft->reason, " (");
    bp_candidate_name(&draft->reason, second);
    bp_text_add(&draft->reason, ": ");
    bp_text_add_number(&draft->reason, second->predicted.mean_gain, 2);
    bp_text_add(&draft->reason, " a layer, ");
    bp_text_add_number(&draft->reason, 100 * fmin(1, second->predicted.variation), 2);
    bp_text_add(&draft->reason, "%% kept)");
    return true;
}

/* One layer alone whose initialiser is off: give it what its activation asks for. */
static bool mend_layer(bp_draft *draft, const bp_model *model, uint32_t id,
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
    bp_plan plan = draft->plan;
    plan.init = init;
    plan.layer = id;
    if (!can_be_told(&plan, model)) return false;
    draft->plan = plan;
    bp_text_add(&draft->title, "initialise layer %u (%.100s) by %s", id, layer->name,
                bp_init_title(init));
    bp_text_add(&draft->reason,
                "the other layers pass the error signal on; this one needs weights of std ");
    bp_text_add_number(&draft->reason, critical_std, 2);
    if (layer->frozen)
        bp_text_add(&draft->reason, ", and it is frozen, so training cannot give it them");
    return true;
}

/* What grows through time inside one layer grows at any learning rate; a step of bounded length
 * does no harm by it (Pascanu, Mikolov & Bengio 2013). */
static bool mend_by_clipping(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    if (finding->problem != BP_PROBLEM_EXPLODING_GRADIENT) return false;
    if (bp_finding_evidence(finding, "clipping") > 0 || bp_model_recipe(model)->clip_norm > 0)
        return false;
    draft->plan.clip_norm = 1;
    if (draft->title.length) return true;
    bp_text_add(&draft->title, "clip the norm of the gradients to 1");
    bp_text_add(&draft->reason,
                "what grows through time inside one layer grows at any learning rate; clipped, its "
                "direction is kept and the step is short");
    return true;
}

static bool mend(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    if (finding->problem == BP_PROBLEM_NON_FINITE) return false; /* its cause has the remedy */
    if (finding->severity == BP_HINT) return false;              /* it passed without one */
    bp_cure *cure = bp_cure_of(finding);
    if (cure) return cure(draft, model, finding);
    if (finding->problem >= BP_PROBLEM_RANK_MISMATCH) return false; /* none is known yet */
    if (bp_finding_evidence(finding, "over_steps") > 0) {
        if (!bp_cure_learning_rate(draft, model, finding)) return false;
        if (bp_is_pytorch(model)) mend_by_clipping(draft, model, finding);
        return true;
    }
    const uint32_t blamed = bp_finding_blamed_layer(finding);
    const bool from_the_start = finding->since_step == 0; /* later it is not the initialiser */
    if (blamed && from_the_start && mend_layer(draft, model, blamed, finding)) return true;
    if (mend_chain(draft, model, finding)) return true;
    if (blamed && bp_layer_is_recurrent(bp_model_layer(model, blamed)))
        return mend_by_clipping(draft, model, finding);
    return finding->problem == BP_PROBLEM_EXPLODING_GRADIENT &&
           bp_finding_evidence(finding, "update_ratio") > 1 &&
           bp_cure_learning_rate(draft, model, finding);
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
        *told = bp_edits_write(&block->edits, &block->draft.plan, model);
        block->remedy.n_edits = block->edits.n;
        return BP_OK;
    }
    if (bp_is_pytorch(model)) {
        bp_pytorch_write(&block->code, &block->draft.plan, model);
        bp_code_add(&block->code, "%s", block->draft.code.bytes);
    }
    if (split_lines(block)) return BP_OK;
    return bp_fail(error, BP_ERROR_MEMORY, "no memory for a remedy");
}

bp_status bp_remedy_open(bp_remedy **remedy, const bp_model *model, const bp_finding *finding,
                         const bp_allocator *allocator, bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    remedy_block *block = bp_allocate(allocator, 1, sizeof *block);
    if (!block) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a remedy");
    block->allocator = block->code.allocator = *allocator;
    bp_draft *draft = &block->draft;
    draft->plan.learning_rate = (double)NAN;
    bp_text_init(&draft->code, block->program, sizeof block->program);
    bp_text_init(&draft->title, block->title, sizeof block->title);
    bp_text_init(&draft->reason, block->reason, sizeof block->reason);
    block->remedy.title = block->title;
    block->remedy.reason = block->reason;
    block->remedy.edits = block->edits.list;
    *remedy = NULL;
    bool told = false;
    bp_status status = BP_OK;
    if (mend(draft, model, finding)) status = tell(block, model, &told, error);
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
