/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as edits of the network file. */
#include "remedy/plan.h"

#include <math.h>

static void add_edit(bp_edits *edits, const char *key, const char *value) {
    if (edits->n == BP_MAX_EDITS) {
        edits->too_many = true;
        return;
    }
    const uint32_t i = edits->n++;
    bp_text text;
    bp_text_init(&text, edits->key[i], BP_EDIT_KEY_BYTES);
    bp_text_add(&text, "%s", key);
    bp_text_init(&text, edits->value[i], BP_EDIT_VALUE_BYTES);
    bp_text_add(&text, "%s", value);
    edits->list[i] = (bp_edit){edits->key[i], edits->value[i]};
}

/* An edit of item `item` of net: "net[3].init". */
static void add_item_edit(bp_edits *edits, uint32_t item, const char *what, const char *value) {
    char key[BP_EDIT_KEY_BYTES];
    bp_text text;
    bp_text_init(&text, key, sizeof key);
    bp_text_add(&text, "net[%u].%s", item, what);
    add_edit(edits, key, value);
}

bool bp_edits_reach(const bp_plan *plan, const bp_model *model) {
    if (plan->layer && bp_model_layer(model, plan->layer)->depth_in_blocks > 0) return false;
    for (uint32_t id = 1; plan->to && id <= bp_model_n_layers(model); id++)
        if (bp_plan_changes_activation(plan, model, id) &&
            bp_model_layer(model, id)->depth_in_blocks > 0)
            return false;
    return true;
}

/* The items of net, each once. */
static void edit_activations(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    int64_t last_item = -1;
    for (uint32_t id = 1; plan->to && id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!bp_plan_changes_activation(plan, model, id) || layer->item == last_item) continue;
        last_item = layer->item;
        add_item_edit(edits, layer->item, "activation", bp_activation_name(plan->to));
    }
}

/* `init` of the file, and of the items that have an initialiser of their own, which would win. */
static void edit_inits(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    const char *init = bp_init_name(plan->init);
    int64_t last_item = -1;
    if (plan->layer) {
        add_item_edit(edits, bp_model_layer(model, plan->layer)->item, "init", init);
        return;
    }
    add_edit(edits, "init", init);
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!layer->own_init || layer->depth_in_blocks > 0 || layer->item == last_item) continue;
        last_item = layer->item;
        add_item_edit(edits, layer->item, "init", init);
    }
}

bool bp_edits_write(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    char value[BP_EDIT_VALUE_BYTES];
    edit_activations(edits, plan, model);
    if (plan->init) edit_inits(edits, plan, model);
    if (isfinite(plan->learning_rate))
        add_edit(edits, "train.learning_rate",
                 bp_number_exact(value, sizeof value, plan->learning_rate));
    return !edits->too_many;
}
