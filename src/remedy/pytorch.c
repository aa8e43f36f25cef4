/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as lines of Python for whoever has `model` and `optimizer`, torch, and torch.nn as nn. */
#include "remedy/plan.h"

#include <math.h>
#include <string.h>

/* A path that may have been cut to fit is no path. */
#define MAX_PATH_BYTES (BP_LAYER_NAME_BYTES - 16)
#define SHOWN_NAMES 3u /* in a comment */

static bool is_usable(const char *name) {
    return strlen(name) <= MAX_PATH_BYTES;
}

/* --- weights ------------------------------------------------------------------------------------
 */

static void add_draw(bp_code *code, const char *indent, bp_name_form form, const char *one,
                     bp_init_kind init, bool all_have_bias, bool any_has_bias) {
    const char *open = form == BP_NAME_PATH ? "" : "model.get_submodule(";
    const char *close = form == BP_NAME_PATH ? "" : ")";
    const char *call = init == BP_INIT_HE ? "nn.init.kaiming_normal_" : "nn.init.xavier_normal_";
    const char *more = init == BP_INIT_HE ? ", nonlinearity=\"relu\"" : "";
    bp_code_add(code, "%s%s(%s%s%s.weight%s)\n", indent, call, open, one, close, more);
    if (!any_has_bias) return;
    if (!all_have_bias)
        bp_code_add(code, "%sif %s%s%s.bias is not None:\n    ", indent, open, one, close);
    bp_code_add(code, "%snn.init.zeros_(%s%s%s.bias)\n", indent, open, one, close);
}

static void add_draws(bp_code *code, const bp_names *names, bp_init_kind init, bool all_have_bias,
                      bool any_has_bias) {
    bp_code one = {.allocator = code->allocator};
    const bool loop = names->n > 1;
    const bp_name_form form =
        loop ? bp_names_add_loop(code, &one, names) : bp_names_add_one(&one, names->list[0]);
    code->failed |= one.failed;
    if (!code->failed)
        add_draw(code, loop ? "    " : "", form, one.bytes, init, all_have_bias, any_has_bias);
    bp_code_finish(&one);
}

static void draw_weights(bp_code *code, const bp_plan *plan, const bp_model *model) {
    bp_names names = {0};
    bool all_have_bias = true, any_has_bias = false;
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (!bp_plan_draws_weights(plan, model, id)) continue;
        bp_names_add(&names, &code->allocator, layer->name);
        all_have_bias &= layer->has_bias;
        any_has_bias |= layer->has_bias;
    }
    code->failed |= names.failed;
    if (names.n > 0 && !names.failed) {
        bp_code_add(code, "# once, before training\n");
        add_draws(code, &names, plan->init, all_have_bias, any_has_bias);
    }
    bp_names_finish(&names, &code->allocator);
}

/* --- activations --------------------------------------------------------------------------------
 */

typedef struct spelling {
    const char *module, *function;
} spelling;

static spelling spelling_of(bp_activation activation) {
    switch (activation) {
    case BP_ACTIVATION_TANH:
        return (spelling){"nn.Tanh()", "torch.tanh"};
    case BP_ACTIVATION_RELU:
        return (spelling){"nn.ReLU()", "torch.relu"};
    case BP_ACTIVATION_LEAKY_RELU:
        return (spelling){"nn.LeakyReLU(0.01)", "nn.functional.leaky_relu"};
    case BP_ACTIVATION_GELU:
        return (spelling){"nn.GELU()", "nn.functional.gelu"};
    case BP_ACTIVATION_SIGMOID:
        return (spelling){"nn.Sigmoid()", "torch.sigmoid"};
    case BP_ACTIVATION_ELU:
        return (spelling){"nn.ELU()", "nn.functional.elu"};
    case BP_ACTIVATION_SELU:
        return (spelling){"nn.SELU()", "nn.functional.selu"};
    case BP_ACTIVATION_SILU:
        return (spelling){"nn.SiLU()", "nn.functional.silu"};
    case BP_ACTIVATION_SOFTPLUS:
        return (spelling){"nn.Softplus()", "nn.functional.softplus"};
    case BP_ACTIVATION_SOFTMAX:
    case BP_ACTIVATION_LINEAR:
        break;
    }
    return (spelling){"nn.Identity()", "no activation"};
}

/* A layer that keeps its activation has the same module. */
static bool is_shared(const bp_plan *plan, const bp_model *model, const char *module) {
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const char *other = bp_model_layer(model, id)->activation_name;
        if (other && strcmp(other, module) == 0 && !bp_plan_changes_activation(plan, model, id))
            return true;
    }
    return false;
}

static bool is_among(const bp_names *names, const char *name) {
    for (uint32_t i = 0; i < names->n; i++)
        if (strcmp(names->list[i], name) == 0) return true;
    return false;
}

/* "net.0, net.2, net.4 and 16 more" as a part of a comment: no line may end in it. */
static void add_comment_names(bp_code *code, const bp_names *names) {
    for (uint32_t i = 0; i < names->n && i < SHOWN_NAMES; i++) {
        if (i) bp_code_add(code, ", ");
        bp_code_text(code, names->list[i]);
    }
    if (names->n > SHOWN_NAMES) bp_code_add(code, " and %u more", names->n - SHOWN_NAMES);
}

static void add_replacements(bp_code *code, const bp_names *names, const char *module) {
    bp_code one = {.allocator = code->allocator};
    const bool loop = names->n > 1;
    const bp_name_form form =
        loop ? bp_names_add_loop(code, &one, names) : bp_names_add_one(&one, names->list[0]);
    code->failed |= one.failed;
    const char *indent = loop ? "    " : "";
    if (!code->failed && form == BP_NAME_PATH)
        bp_code_add(code, "%s%s = %s\n", indent, one.bytes, module);
    else if (!code->failed)
        bp_code_add(code, "%smodel.set_submodule(%s, %s)\n", indent, one.bytes, module);
    bp_code_finish(&one);
}

/* What no line of code from outside can change is said in words. */
static void add_by_hand(bp_code *code, const bp_names *layers, const bp_plan *plan) {
    bp_code_add(code, "# %s in place of %s after ", spelling_of(plan->to).function,
                spelling_of(plan->from).function);
    add_comment_names(code, layers);
    bp_code_add(code, "\n");
}

static void replace_activations(bp_code *code, const bp_plan *plan, const bp_model *model) {
    bp_names modules = {0}, by_hand = {0};
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        const char *module = layer->activation_name;
        if (!bp_plan_changes_activation(plan, model, id)) continue;
        if (!module || is_shared(plan, model, module))
            bp_names_add(&by_hand, &code->allocator, layer->name);
        else if (!is_among(&modules, module))
            bp_names_add(&modules, &code->allocator, module);
    }
    code->failed |= modules.failed || by_hand.failed;
    if (!code->failed && modules.n) add_replacements(code, &modules, spelling_of(plan->to).module);
    if (!code->failed && by_hand.n) add_by_hand(code, &by_hand, plan);
    bp_names_finish(&modules, &code->allocator);
    bp_names_finish(&by_hand, &code->allocator);
}

/* --- the optimiser ------------------------------------------------------------------------------
 */

static void add_argument(bp_code *code, const char *name, double value, double usual) {
    char number[40];
    if (!isfinite(value) || value == usual) return;
    bp_code_add(code, ", %s=%s", name, bp_number_exact(number, sizeof number, value));
}

/* As it was made, but for its learning rate. */
static bool add_optimiser(bp_code *code, const bp_recipe *recipe, double learning_rate) {
    static const struct {
        bp_optimiser optimiser;
        const char *name;
    } classes[] = {{BP_SGD, "SGD"},
                   {BP_ADAM, "Adam"},
                   {BP_ADAMW, "AdamW"},
                   {BP_RMSPROP, "RMSprop"},
                   {BP_ADAGRAD, "Adagrad"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (classes[i].optimiser != recipe->optimiser) continue;
        char rate[40], was[40];
        bp_code_add(code, "optimizer = torch.optim.%s(model.parameters(), lr=%s", classes[i].name,
                    bp_number_exact(rate, sizeof rate, learning_rate));
        if (recipe->optimiser == BP_SGD || recipe->optimiser == BP_RMSPROP)
            add_argument(code, "momentum", recipe->momentum, 0);
        if (recipe->nesterov) bp_code_add(code, ", nesterov=True");
        add_argument(code, "weight_decay", recipe->weight_decay,
                     recipe->optimiser == BP_ADAMW ? 0.01 : 0);
        bp_code_add(code, ")  # lr was %s\n",
                    bp_number_exact(was, sizeof was, recipe->learning_rate));
        return true;
    }
    return false;
}

static void lower_learning_rate(bp_code *code, const bp_plan *plan, const bp_model *model) {
    const bp_recipe *recipe = bp_model_recipe(model);
    char rate[40], was[40];
    if (add_optimiser(code, recipe, plan->learning_rate)) return;
    bp_code_add(code, "for group in optimizer.param_groups:\n    group[\"lr\"] = %s  # was %s\n",
                bp_number_exact(rate, sizeof rate, plan->learning_rate),
                bp_number_exact(was, sizeof was, recipe->learning_rate));
}

static void clip(bp_code *code, const bp_plan *plan) {
    char norm[40];
    bp_code_add(code,
                "# in every step, between loss.backward() and optimizer.step()\n"
                "torch.nn.utils.clip_grad_norm_(model.parameters(), %s)\n",
                bp_number_exact(norm, sizeof norm, plan->clip_norm));
}

static void decay(bp_code *code, const bp_plan *plan) {
    char number[40];
    bp_code_add(code, "for group in optimizer.param_groups:\n    group[\"weight_decay\"] = %s\n",
                bp_number_exact(number, sizeof number, plan->decay));
}

static void warm_up(bp_code *code, const bp_plan *plan, const bp_model *model) {
    const double steps = plan->warm_up_epochs * (double)bp_model_recipe(model)->epoch_steps;
    bp_code_add(
        code,
        "# scheduler.step() after each optimizer.step()\n"
        "scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=%.0f)\n",
        fmax(1, steps));
}

/* The module in place of the activation, or words where it is a function in forward(). */
static void drop_last_activation(bp_code *code, const bp_model *model) {
    bp_code one = {.allocator = code->allocator};
    const bp_layer *last = bp_model_layer(model, bp_model_output_layer(model));
    if (!last->activation_name || !is_usable(last->activation_name)) {
        bp_code_add(code, "# no %s after ", bp_activation_name(last->activation));
        bp_code_text(code, last->name);
        bp_code_add(code, "\n");
        return;
    }
    const bp_name_form form = bp_names_add_one(&one, last->activation_name);
    code->failed |= one.failed;
    if (!code->failed)
        bp_code_add(code,
                    form == BP_NAME_PATH ? "%s = nn.Identity()\n"
                                         : "model.set_submodule(%s, nn.Identity())\n",
                    one.bytes);
    bp_code_finish(&one);
}

static bool names_are_usable(const bp_plan *plan, const bp_model *model) {
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (plan->init && bp_plan_draws_weights(plan, model, id) && !is_usable(layer->name))
            return false;
        if (bp_plan_changes_activation(plan, model, id) && layer->activation_name &&
            !is_usable(layer->activation_name))
            return false;
    }
    return true;
}

void bp_pytorch_write(bp_code *code, const bp_plan *plan, const bp_model *model) {
    if (!names_are_usable(plan, model)) return;
    if (plan->to) replace_activations(code, plan, model);
    if (plan->init) draw_weights(code, plan, model);
    if (isfinite(plan->learning_rate)) lower_learning_rate(code, plan, model);
    if (plan->last_linear) drop_last_activation(code, model);
    if (plan->decay > 0) decay(code, plan);
    if (plan->warm_up_epochs > 0) warm_up(code, plan, model);
    if (plan->clip_norm > 0) clip(code, plan);
}
