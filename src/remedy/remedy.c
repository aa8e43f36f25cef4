/* SPDX-License-Identifier: Apache-2.0 */
/* The edits of the network file that would mend a finding. */
#include "remedy/candidate.h"

#include <math.h>

#define MAX_EDITS 64
#define KEY_BYTES 64
#define VALUE_BYTES 96

/* All of a remedy in one block. */
typedef struct remedy_block {
    bp_remedy remedy; /* first: its address is the handle */
    bp_allocator allocator;
    bp_edit edits[MAX_EDITS];
    char key[MAX_EDITS][KEY_BYTES];
    char value[MAX_EDITS][VALUE_BYTES];
    char title[256];
    char reason[768];
    bp_text title_text, reason_text;
    bool too_many;
} remedy_block;

static void add_edit(remedy_block *block, const char *key, const char *value) {
    if (block->remedy.n_edits == MAX_EDITS) {
        block->too_many = true;
        return;
    }
    const uint32_t i = block->remedy.n_edits++;
    bp_text text;
    bp_text_init(&text, block->key[i], KEY_BYTES);
    bp_text_add(&text, "%s", key);
    bp_text_init(&text, block->value[i], VALUE_BYTES);
    bp_text_add(&text, "%s", value);
    block->edits[i] = (bp_edit){block->key[i], block->value[i]};
}

/* An edit of item `item` of net: "net[3].init". */
static void add_item_edit(remedy_block *block, uint32_t item, const char *what, const char *value) {
    char key[KEY_BYTES];
    bp_text text;
    bp_text_init(&text, key, sizeof key);
    bp_text_add(&text, "net[%u].%s", item, what);
    add_edit(block, key, value);
}

/* The items of net, each once, whose hidden layers have `from` as activation. Layers inside blocks
 * lie deeper than these key paths reach: false, and nothing is proposed. */
static bool edit_activations(remedy_block *block, const bp_model *model, bp_activation from,
                             bp_activation to) {
    int64_t last_item = -1;
    for (uint32_t id = 1; id < bp_model_n_layers(model); id++) { /* the output stays as it is */
        const bp_layer *layer = bp_model_layer(model, id);
        if (layer->activation != from || layer->item == last_item || bp_layer_is_recurrent(layer))
            continue;
        if (layer->depth_in_blocks > 0) return false;
        last_item = layer->item;
        add_item_edit(block, layer->item, "activation", bp_activation_name(to));
    }
    return true;
}

/* `init` of the file, and of the items that have an initialiser of their own, which would win. */
static void edit_inits(remedy_block *block, const bp_model *model, bp_init_kind init) {
    int64_t last_item = -1;
    add_edit(block, "init", bp_init_name(init));
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!layer->own_init || layer->depth_in_blocks > 0 || layer->item == last_item) continue;
        last_item = layer->item;
        add_item_edit(block, layer->item, "init", bp_init_name(init));
    }
}

static bool mend_chain(remedy_block *block, const bp_model *model) {
    bp_candidate now, list[BP_N_CANDIDATES];
    bp_candidate_now(&now, model);
    bp_candidates_list(list, model);
    const bp_candidate *best = bp_candidates_choose(list);
    if (!best->admissible || now.admissible) return false;
    if (best->activation &&
        !edit_activations(block, model, bp_main_activation(model), best->activation))
        return false;
    edit_inits(block, model, best->init);
    bp_text_add(&block->title_text, "use ");
    bp_candidate_name(&block->title_text, best);
    bp_candidate_explain(&block->reason_text, best);
    const bp_candidate *second = bp_candidates_second(list, best);
    if (!second) return true;
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
static bool mend_layer(remedy_block *block, const bp_model *model, uint32_t id) {
    const bp_layer *layer = bp_model_layer(model, id);
    if (!layer || !bp_layer_is_weighted_sum(layer) || layer->depth_in_blocks > 0 ||
        layer->fan_in < 1)
        return false;
    const double critical = bp_activation_critical_gain(layer->activation, layer->activation_slope);
    const double critical_std = critical / sqrt((double)layer->fan_in);
    const double std = bp_init_std(&layer->weight_init, layer->fan_in, layer->fan_out);
    /* The output layer is right with He's size, too. */
    const double most = layer->activation == BP_ACTIVATION_LINEAR ? 1.25 * sqrt(2) : 1.25;
    if (std > 0.8 * critical_std && std < most * critical_std) return false;
    const bp_init_kind init = critical > 1 ? BP_INIT_HE : BP_INIT_XAVIER;
    add_item_edit(block, layer->item, "init", bp_init_name(init));
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
    char value[VALUE_BYTES];
    add_edit(block, "train.learning_rate", bp_number_exact(value, sizeof value, lower));
    bp_text_add(&block->title_text, "lower the learning rate to ");
    bp_text_add_number(&block->title_text, lower, 3);
    bp_text_add(&block->reason_text, "an update was ");
    bp_text_add_number(&block->reason_text, ratio, 2);
    bp_text_add(&block->reason_text,
                " times the weights that it changed; a healthy one is about 0.001");
    return true;
}

static bool mend(remedy_block *block, const bp_model *model, const bp_finding *finding) {
    if (finding->problem == BP_PROBLEM_NON_FINITE) return false;    /* its cause has the remedy */
    if (finding->problem == BP_PROBLEM_RANK_MISMATCH) return false; /* no network mends it */
    if (finding->severity == BP_HINT) return false;                 /* it passed without one */
    if (bp_finding_evidence(finding, "over_steps") > 0)
        return mend_learning_rate(block, model, finding);
    const uint32_t blamed = bp_finding_blamed_layer(finding);
    const bool from_the_start = finding->since_step == 0; /* later it is not the initialiser */
    if (blamed && from_the_start && mend_layer(block, model, blamed)) return true;
    if (mend_chain(block, model)) return true;
    /* What grows through time inside one layer grows at any learning rate. */
    if (blamed && bp_layer_is_recurrent(bp_model_layer(model, blamed))) return false;
    return finding->problem == BP_PROBLEM_EXPLODING_GRADIENT &&
           bp_finding_evidence(finding, "update_ratio") > 1 &&
           mend_learning_rate(block, model, finding);
}

bp_status bp_remedy_open(bp_remedy **remedy, const bp_model *model, const bp_finding *finding,
                         const bp_allocator *allocator, bp_error *error) {
    allocator = bp_allocator_or_system(allocator);
    remedy_block *block = bp_allocate(allocator, 1, sizeof *block);
    if (!block) return bp_fail(error, BP_ERROR_MEMORY, "no memory for a remedy");
    block->allocator = *allocator;
    bp_text_init(&block->title_text, block->title, sizeof block->title);
    bp_text_init(&block->reason_text, block->reason, sizeof block->reason);
    block->remedy.title = block->title;
    block->remedy.reason = block->reason;
    block->remedy.edits = block->edits;
    *remedy = NULL;
    if (mend(block, model, finding) && !block->too_many)
        *remedy = &block->remedy;
    else
        bp_release(allocator, block, 1, sizeof *block);
    return BP_OK;
}

void bp_remedy_close(bp_remedy *remedy) {
    if (!remedy) return;
    remedy_block *block = (remedy_block *)remedy;
    const bp_allocator allocator = block->allocator;
    bp_release(&allocator, block, 1, sizeof *block);
}
