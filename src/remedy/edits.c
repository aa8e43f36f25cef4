/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as edits of the network file. */
#include "remedy/plan.h"

#include <inttypes.h>
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

/* Outside of residual blocks, of which key paths know nothing. */
static bool is_reached(const bp_model *model, uint32_t id) {
    return id == 0 || bp_model_layer(model, id)->depth_in_blocks == 0;
}

bool bp_edits_reach(const bp_plan *plan, const bp_model *model) {
    if (!is_reached(model, plan->gated_layer)) return false;
    if (plan->last_linear && !is_reached(model, bp_model_output_layer(model))) return false;
    for (uint32_t i = 0; i < plan->n_layers; i++)
        if (bp_model_layer(model, plan->layers[i])->own_init && !is_reached(model, plan->layers[i]))
            return false;
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

/* `init` of the file where a layer has it from there, and of the items that have an initialiser of
 * their own, which would win. */
static void edit_inits(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    const char *init = bp_init_name(plan->init);
    int64_t last_item = -1;
    bool from_file = plan->n_layers == 0;
    if (plan->layer) {
        add_item_edit(edits, bp_model_layer(model, plan->layer)->item, "init", init);
        return;
    }
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        from_file |= bp_plan_draws_weights(plan, model, id) && !bp_model_layer(model, id)->own_init;
    if (from_file) add_edit(edits, "init", init);
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!layer->own_init || layer->depth_in_blocks > 0 || layer->item == last_item) continue;
        if (plan->n_layers > 0 && !bp_plan_draws_weights(plan, model, id)) continue;
        last_item = layer->item;
        add_item_edit(edits, layer->item, "init", init);
    }
}

static void add_number_edit(bp_edits *edits, const char *key, double value) {
    char text[BP_EDIT_VALUE_BYTES];
    add_edit(edits, key, bp_number_exact(text, sizeof text, value));
}

static void edit_recipe(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    const bool decoupled = bp_model_recipe(model)->optimiser == BP_ADAMW;
    if (isfinite(plan->learning_rate))
        add_number_edit(edits, "train.learning_rate", plan->learning_rate);
    if (plan->clip_norm > 0) add_number_edit(edits, "train.clip_norm", plan->clip_norm);
    if (plan->warm_up_epochs > 0)
        add_number_edit(edits, "train.warm_up_epochs", plan->warm_up_epochs);
    if (plan->decay > 0)
        add_number_edit(edits, decoupled ? "train.weight_decay" : "train.l2", plan->decay);
    if (plan->epochs > 0) add_number_edit(edits, "train.epochs", (double)plan->epochs);
}

/* Where its states are read by what is no recurrent layer, that it gives them all must be said. */
static void edit_gated_layer(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    char key[BP_EDIT_KEY_BYTES], value[BP_EDIT_VALUE_BYTES];
    const bp_layer *layer = bp_model_layer(model, plan->gated_layer);
    if (!layer) return;
    if (layer->kind == BP_LAYER_LSTM) {
        add_item_edit(edits, layer->item, "forget_bias", "1");
        return;
    }
    bp_text text;
    bp_text_init(&text, key, sizeof key);
    bp_text_add(&text, "net[%u]", layer->item);
    const int64_t units = layer->return_sequences ? layer->output_shape[1] : layer->output_shape[0];
    bp_text_init(&text, value, sizeof value);
    bp_text_add(&text, "{lstm: %" PRId64 ", forget_bias: 1%s}", units,
                layer->return_sequences ? ", return_sequences: true" : "");
    add_edit(edits, key, value);
}

bool bp_edits_write(bp_edits *edits, const bp_plan *plan, const bp_model *model) {
    if (!bp_edits_reach(plan, model)) return false;
    edit_activations(edits, plan, model);
    if (plan->last_linear)
        add_item_edit(edits, bp_model_layer(model, bp_model_output_layer(model))->item,
                      "activation", "linear");
    edit_gated_layer(edits, plan, model);
    if (plan->init) edit_inits(edits, plan, model);
    if (plan->normalise_input) add_edit(edits, "data.normalise", "standard");
    edit_recipe(edits, plan, model);
    return !edits->too_many;
}
