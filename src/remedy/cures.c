/* SPDX-License-Identifier: Apache-2.0 */
/* One function for a kind of cure, one table of which helps against what. The smallest change that
 * takes away the cause comes first; what else is known to help stands in the reason. */
#include "remedy/cures.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define HEALTHY_RATIO 1e-3 /* of an update to the weights that it changes */
#define LARGE_RATIO 0.1    /* an update that can throw units out of their range */
#define CLIP_NORM 1.0      /* what recurrent networks and transformers are clipped to as a rule */
#define DECAY 1e-2         /* AdamW's usual weight decay */
#define L2 1e-4            /* what image networks are trained with as a rule */

bool bp_is_pytorch(const bp_model *model) {
    const char *origin = bp_model_origin(model);
    return origin && strcmp(origin, "pytorch") == 0;
}

static double evidence(const bp_finding *finding, const char *name) {
    return bp_finding_evidence(finding, name);
}

/* To one digit: 0.0334 -> 0.03. */
static double rounded(double value) {
    char text[32];
    double result;
    bp_number_text(text, sizeof text, value, 1);
    return bp_parse_number(text, &result) ? result : value;
}

/* --- the learning rate --------------------------------------------------------------------------
 */

static bool set_rate(bp_draft *draft, double rate, const char *verb) {
    draft->plan.learning_rate = rate;
    bp_text_add(&draft->title, "%s the learning rate to ", verb);
    bp_text_add_number(&draft->title, rate, 3);
    return true;
}

bool bp_cure_learning_rate(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const double rate = bp_model_recipe(model)->learning_rate;
    const double ratio = evidence(finding, "update_ratio");
    if (!(rate > 0)) return false;
    /* A tenth of the weights is a long step already; at least a factor of 10 down. */
    const double factor = isfinite(ratio) ? fmax(10, fmin(1e6, 10 * ratio)) : 10;
    set_rate(draft, pow(10, floor(log10(rate / factor) + 1e-9)), "lower");
    if (isnan(ratio)) {
        bp_text_add(&draft->reason, "a tenth, and on from there by what the loss says");
        return true;
    }
    bp_text_add(&draft->reason, "an update was ");
    bp_text_add_number(&draft->reason, ratio, 2);
    bp_text_add(&draft->reason, " times the weights that it changed; a healthy one is about 0.001");
    return true;
}

/* Steps that blew up are bounded as well, where clipping is a line of the loop. */
static bool shorten_steps(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    if (!bp_cure_learning_rate(draft, model, finding)) return false;
    const bool clips = evidence(finding, "clipping") > 0 || bp_model_recipe(model)->clip_norm > 0;
    if (bp_is_pytorch(model) && !clips && evidence(finding, "over_steps") > 0)
        draft->plan.clip_norm = CLIP_NORM;
    return true;
}

static bool raise_rate(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const double rate = bp_model_recipe(model)->learning_rate;
    const double ratio = evidence(finding, "update_ratio");
    double factor = evidence(finding, "raise_by");
    if (isnan(factor) && ratio > 0) factor = HEALTHY_RATIO / ratio;
    if (!(rate > 0) || !(factor > 1)) return false;
    set_rate(draft, rounded(rate * fmin(factor, 1000)), "raise");
    bp_text_add(&draft->reason, "updates are ");
    if (isnan(ratio))
        bp_text_add(&draft->reason, "small");
    else
        bp_text_add_number(&draft->reason, ratio, 2);
    bp_text_add(&draft->reason, " of the weights and point the same way; about 0.001 is usual");
    return true;
}

/* A third is enough to leave an oscillation; a schedule does it when it is wanted at the end. */
static bool calm_down(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const bp_recipe *recipe = bp_model_recipe(model);
    (void)finding;
    if (!(recipe->learning_rate > 0)) return false;
    set_rate(draft, rounded(recipe->learning_rate / 3), "lower");
    bp_text_add(&draft->reason, "steps of a third do not jump over the valley; a schedule that "
                                "ends at 0 (cosine) does the same towards the end");
    return true;
}

/* --- weights and activations --------------------------------------------------------------------
 */

static bool is_rectifier(bp_activation activation) {
    return bp_activation_critical_gain(activation, 0.01) > 1;
}

/* What the activation of the finding's first layer asks for; of an output layer, what those before
 * it do. */
static bp_init_kind init_for(const bp_model *model, const bp_finding *finding) {
    const uint32_t id = finding->n_layers > 0 ? finding->layers[0] : 1;
    const bp_layer *layer = bp_model_layer(model, id);
    if (layer && layer->activation == BP_ACTIVATION_LINEAR && id > 1)
        layer = bp_model_layer(model, id - 1);
    return layer && is_rectifier(layer->activation) ? BP_INIT_HE : BP_INIT_XAVIER;
}

static const char *init_title(bp_init_kind init) {
    return init == BP_INIT_HE ? "He" : "Xavier";
}

static bool draw_weights(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    draft->plan.init = init_for(model, finding);
    draft->plan.layers = finding->layers;
    draft->plan.n_layers = finding->n_layers;
    bp_text_add(&draft->title, "draw the weights at random: %s initialisation",
                init_title(draft->plan.init));
    bp_text_add(&draft->reason,
                "units that begin alike get the same gradient and stay alike; random "
                "weights tell them apart, and their size keeps signals as they are");
    return true;
}

static bool desaturate(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const double ratio = evidence(finding, "update_ratio");
    if (ratio > LARGE_RATIO) return bp_cure_learning_rate(draft, model, finding);
    draft->plan.init = BP_INIT_XAVIER;
    draft->plan.layers = finding->layers;
    draft->plan.n_layers = finding->n_layers;
    bp_text_add(&draft->title, "use Xavier initialisation");
    bp_text_add(
        &draft->reason,
        "it keeps the sums in front of the activation where it is steep; if they grow in "
        "training, a lower learning rate or a normalisation in front of it holds them there");
    return true;
}

static bool has_activation(const bp_model *model, const bp_finding *finding,
                           bp_activation activation) {
    for (uint32_t i = 0; i < finding->n_layers; i++) {
        const bp_layer *layer = bp_model_layer(model, finding->layers[i]);
        if (layer && layer->activation == activation) return true;
    }
    return false;
}

/* A large update killed them: it would kill others. Else a slope below zero lets them come back. */
static bool revive(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const double ratio = evidence(finding, "update_ratio");
    if (ratio > LARGE_RATIO) return bp_cure_learning_rate(draft, model, finding);
    if (!has_activation(model, finding, BP_ACTIVATION_RELU))
        return draw_weights(draft, model, finding);
    draft->plan.from = BP_ACTIVATION_RELU;
    draft->plan.to = BP_ACTIVATION_LEAKY_RELU;
    bp_text_add(&draft->title, "use leaky ReLU");
    bp_text_add(&draft->reason,
                "a slope below zero lets a unit that is never active come back; drawing "
                "its weights anew with a bias of 0, or a lower learning rate, helps too");
    return true;
}

/* --- data and loss ------------------------------------------------------------------------------
 */

static bool normalise(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    (void)model, (void)finding;
    draft->plan.normalise_input = true;
    bp_text_add(&draft->title, "standardise the inputs");
    bp_text_add(&draft->reason,
                "features of mean 0 and deviation 1 over the training set are what the "
                "initialisers and the usual learning rates are made for");
    bp_text_add(&draft->code, "# once, from the training set; then for validation and test alike\n"
                              "mean, std = inputs.mean(0), inputs.std(0)\n"
                              "inputs = (inputs - mean) / (std + 1e-8)\n");
    return true;
}

static bool make_last_layer_linear(bp_draft *draft, const bp_model *model,
                                   const bp_finding *finding) {
    (void)finding;
    const bp_layer *last = bp_model_layer(model, bp_model_output_layer(model));
    if (!last || last->activation == BP_ACTIVATION_LINEAR) return false;
    draft->plan.last_linear = true;
    bp_text_add(&draft->title, "leave the %s of the last layer away",
                bp_activation_name(last->activation));
    bp_text_add(&draft->reason, "the loss takes what the last sum gives: logits, or numbers of any "
                                "size and sign");
    return true;
}

static bool check_labels(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    (void)model, (void)finding;
    bp_text_add(&draft->title, "check the targets and the number of outputs");
    bp_text_add(&draft->reason, "classes count from 0, and there is an output for each; a target "
                                "that means \"none\" must be named as ignore_index");
    return true;
}

/* --- more than was learnt -----------------------------------------------------------------------
 */

static void add_early_stopping(bp_draft *draft) {
    bp_text_add(&draft->code, "# before the loop: best = float(\"inf\"); after each validation:\n"
                              "if validation_loss < best:\n"
                              "    best = validation_loss\n"
                              "    torch.save(model.state_dict(), \"best.pt\")\n");
}

/* The epoch in which the best evaluation ended. */
static bool stop_at_the_best(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const bp_recipe *recipe = bp_model_recipe(model);
    const double best = evidence(finding, "best_step");
    const bool known = best > 0;
    if (known && recipe->epoch_steps > 0) {
        const int64_t epochs = ((int64_t)best + recipe->epoch_steps) / recipe->epoch_steps;
        if (epochs < recipe->epochs) draft->plan.epochs = epochs;
    }
    if (known)
        bp_text_add(&draft->title, "stop at step %" PRId64 ", where it was best", (int64_t)best);
    else
        bp_text_add(&draft->title, "stop where the validation was best");
    if (!bp_is_pytorch(model) && known)
        bp_text_add(&draft->reason, "that state is kept in checkpoints/best.safetensors; ");
    bp_text_add(&draft->reason, "to learn more without learning by heart: weight decay, dropout, "
                                "fewer parameters, more data, in this order");
    add_early_stopping(draft);
    return true;
}

static bool decay_weights(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const bp_recipe *recipe = bp_model_recipe(model);
    const bool decoupled = recipe->optimiser == BP_ADAMW;
    const double now = decoupled ? recipe->weight_decay : recipe->l2;
    (void)finding;
    draft->plan.decay = now > 0 ? 10 * now : decoupled ? DECAY : L2;
    bp_text_add(&draft->title, "use weight decay of ");
    bp_text_add_number(&draft->title, draft->plan.decay, 3);
    bp_text_add(&draft->reason, "it favours what many samples share over what single ones have; "
                                "dropout, fewer parameters and more data do, too");
    return true;
}

/* --- jumps of the loss --------------------------------------------------------------------------
 */

static bool clip_and_warm_up(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const bp_recipe *recipe = bp_model_recipe(model);
    if (recipe->clip_norm > 0) return bp_cure_learning_rate(draft, model, finding);
    draft->plan.clip_norm = CLIP_NORM;
    bp_text_add(&draft->title, "clip the norm of the gradients to 1");
    bp_text_add(&draft->reason, "one batch with a large gradient then costs one short step; about "
                                "twice the usual norm is a good limit");
    const bool early = recipe->epoch_steps > 0 && finding->since_step < recipe->epoch_steps;
    if (!early || recipe->warm_up_epochs > 0) return true;
    draft->plan.warm_up_epochs = 1;
    bp_text_add(&draft->title, " and warm up over an epoch");
    return true;
}

static bool refuse_infinite_norms(bp_draft *draft, const bp_model *model,
                                  const bp_finding *finding) {
    (void)finding;
    bp_text_add(&draft->title, "do not divide by a norm that is not finite");
    bp_text_add(&draft->reason, "such a norm makes all gradients 0 or NaN; an error says when, and "
                                "clipping each value bounds them without a norm");
    if (bp_is_pytorch(model))
        bp_text_add(&draft->code, "# in every step, between loss.backward() and optimizer.step()\n"
                                  "torch.nn.utils.clip_grad_value_(model.parameters(), 1.0)\n"
                                  "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, "
                                  "error_if_nonfinite=True)\n");
    return true;
}

/* --- formats of numbers -------------------------------------------------------------------------
 */

static bool keep_exact_weights(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const double precision = evidence(finding, "precision");
    if (!(precision < 24)) return raise_rate(draft, model, finding);
    bp_text_add(&draft->title, "keep the parameters in float32");
    bp_text_add(&draft->reason,
                "with %d significant bits a weight does not move by less than 1/%d of itself; the "
                "arithmetic may stay short, the optimiser may not (or it rounds at random)",
                (int)precision, 1 << (int)precision);
    bp_text_add(&draft->code,
                "model.float()  # parameters and optimiser state; before the optimiser\n"
                "with torch.autocast(\"cuda\", dtype=torch.bfloat16):\n"
                "    ...  # forward pass and loss as before\n");
    return true;
}

static bool scale_loss(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    (void)model;
    const bool too_large = finding->problem == BP_PROBLEM_LOW_PRECISION_OVERFLOW;
    const double scale = evidence(finding, "loss_scale");
    char number[40];
    bp_text_add(&draft->title, "use bfloat16%s",
                scale > 1   ? ""
                : too_large ? ""
                            : ", or scale the loss");
    bp_text_add(&draft->reason,
                too_large ? "it reaches as far as float32, and needs no scaling of the loss; in "
                            "float16 a smaller scale or smaller activations are what is left"
                          : "it reaches as far down as float32; in float16 the loss must be scaled "
                            "so that the smallest gradients stay above 6e-8");
    bp_text_add(&draft->code, "with torch.autocast(\"cuda\", dtype=torch.bfloat16):\n"
                              "    ...  # forward pass and loss as before\n");
    if (too_large && !(scale > 1)) return true;
    bp_text_add(&draft->code,
                "# or, in float16:\n"
                "scaler = torch.amp.GradScaler(init_scale=%s)  # once\n"
                "scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()\n",
                bp_number_exact(number, sizeof number, too_large ? scale / 256 : 65536.0));
    return true;
}

/* --- what is not trained, or unevenly ------------------------------------------------------------
 */

static bool give_gradients(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    (void)model;
    const bool unused = finding->problem == BP_PROBLEM_UNUSED_PARAMETER;
    bp_text_add(&draft->title, unused ? "use these layers in forward(), or take them out"
                                      : "let the optimiser have only what is to be trained");
    bp_text_add(&draft->reason,
                unused
                    ? "no gradient reaches them: the loss does not depend on what they give"
                    : "no gradient reaches them: requires_grad is off, or the result is detached "
                      "on the way to the loss");
    if (!unused)
        bp_text_add(&draft->code, "trained = [p for p in model.parameters() if p.requires_grad]\n"
                                  "# make the optimizer of these, not of model.parameters()\n");
    return true;
}

static bool even_out(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    (void)finding;
    const bp_recipe *recipe = bp_model_recipe(model);
    const bool adapts = recipe->optimiser != BP_SGD && recipe->optimiser != BP_OPTIMISER_OTHER;
    bp_text_add(&draft->title, adapts ? "give the slow layers a learning rate of their own"
                                      : "use Adam, or learning rates by layer");
    bp_text_add(&draft->reason, adapts
                                    ? "updates of one kind of parameter should be a like share of "
                                      "their size"
                                    : "it makes updates the same size whatever the gradients' is");
    bp_text_add(&draft->code,
                "# optimizer = torch.optim.AdamW([{\"params\": slow, \"lr\": 1e-3},\n"
                "#                                {\"params\": fast, \"lr\": 1e-4}])\n");
    return true;
}

/* --- through time -------------------------------------------------------------------------------
 */

static bool gate_time(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    const uint32_t id = finding->n_layers > 0 ? finding->layers[0] : 0;
    const bp_layer *layer = bp_model_layer(model, id);
    if (!layer || !bp_layer_is_recurrent(layer)) return false;
    if (finding->problem == BP_PROBLEM_EXPLODING_GRADIENT) {
        if (bp_model_recipe(model)->clip_norm > 0) return false;
        draft->plan.clip_norm = CLIP_NORM;
        bp_text_add(&draft->title, "clip the norm of the gradients to 1");
        bp_text_add(&draft->reason,
                    "what grows through time inside one layer grows at any learning rate; clipped, "
                    "its direction is kept and the step is short");
        return true;
    }
    const bool is_lstm = layer->kind == BP_LAYER_LSTM;
    if (is_lstm && layer->forget_bias >= 1) return false;
    draft->plan.gated_layer = id;
    bp_text_add(&draft->title,
                is_lstm ? "add 1 to the forget gates' biases of %.100s"
                        : "use an LSTM in place of %.100s",
                layer->name);
    bp_text_add(&draft->reason,
                "a cell state that the forget gate keeps passes the error signal on "
                "through time; a bias of 1 opens the gate at the start");
    if (is_lstm)
        bp_text_add(&draft->code,
                    "# once, before training; gates are in the order i, f, g, o\n"
                    "for name, bias in model.named_parameters():\n"
                    "    if \"bias_ih_l\" in name:\n"
                    "        nn.init.ones_(bias.data[len(bias) // 4 : len(bias) // 2])\n");
    else
        bp_text_add(&draft->code, "# nn.LSTM in place of nn.RNN; it returns (output, (h, c))\n");
    return true;
}

/* --- in words -----------------------------------------------------------------------------------
 */

static const struct {
    bp_problem problem;
    const char *title, *reason;
} advice[] = {
    {BP_PROBLEM_UNDERFITTING, "give the network more to learn with",
     "more units or layers, more epochs, less weight decay and dropout; first see whether a few "
     "samples alone can be learnt by heart"},
    {BP_PROBLEM_PLATEAU, "try another learning rate, up and down by 3",
     "no other cause was found; if neither helps, look at the data, the loss and the last layer"},
    {BP_PROBLEM_SLOW_CONVERGENCE, "try momentum, Adam or a higher learning rate",
     "nothing blocks the gradients: the steps are what is small"},
    {BP_PROBLEM_CONSTANT_OUTPUT, "let differences between samples reach the output",
     "look at the inputs as the network gets them, at dead or saturated layers, and at the last "
     "layer's bias"},
};

static bool advise(bp_draft *draft, const bp_model *model, const bp_finding *finding) {
    (void)model;
    for (size_t i = 0; i < sizeof advice / sizeof *advice; i++) {
        if (advice[i].problem != finding->problem) continue;
        bp_text_add(&draft->title, "%s", advice[i].title);
        bp_text_add(&draft->reason, "%s", advice[i].reason);
        return true;
    }
    return false;
}

/* --- the table ----------------------------------------------------------------------------------
 */

static const struct {
    bp_problem problem;
    bp_cure *cure;
} cures[] = {
    {BP_PROBLEM_LEARNING_RATE_TOO_HIGH, shorten_steps},
    {BP_PROBLEM_LEARNING_RATE_TOO_LOW, raise_rate},
    {BP_PROBLEM_OSCILLATING_LOSS, calm_down},
    {BP_PROBLEM_SYMMETRIC_UNITS, draw_weights},
    {BP_PROBLEM_CONSTANT_INIT, draw_weights},
    {BP_PROBLEM_ZERO_INIT, draw_weights},
    {BP_PROBLEM_DEAD_UNITS, revive},
    {BP_PROBLEM_SATURATED_UNITS, desaturate},
    {BP_PROBLEM_INPUT_NOT_NORMALISED, normalise},
    {BP_PROBLEM_WRONG_LAST_LAYER, make_last_layer_linear},
    {BP_PROBLEM_LABELS_OUT_OF_RANGE, check_labels},
    {BP_PROBLEM_OVERFITTING, stop_at_the_best},
    {BP_PROBLEM_OVERCONFIDENT, stop_at_the_best},
    {BP_PROBLEM_MEMORISING, decay_weights},
    {BP_PROBLEM_LOSS_SPIKE, clip_and_warm_up},
    {BP_PROBLEM_CLIP_TO_ZERO, refuse_infinite_norms},
    {BP_PROBLEM_STALLED_UPDATE, keep_exact_weights},
    {BP_PROBLEM_LOW_PRECISION_UNDERFLOW, scale_loss},
    {BP_PROBLEM_LOW_PRECISION_OVERFLOW, scale_loss},
    {BP_PROBLEM_FROZEN_PARAMETER, give_gradients},
    {BP_PROBLEM_UNUSED_PARAMETER, give_gradients},
    {BP_PROBLEM_UPDATE_IMBALANCE, even_out},
    {BP_PROBLEM_UNDERFITTING, advise},
    {BP_PROBLEM_PLATEAU, advise},
    {BP_PROBLEM_SLOW_CONVERGENCE, advise},
    {BP_PROBLEM_CONSTANT_OUTPUT, advise},
};

bp_cure *bp_cure_of(const bp_finding *finding) {
    if (bp_finding_evidence(finding, "through_time") > 0) return gate_time;
    for (size_t i = 0; i < sizeof cures / sizeof *cures; i++)
        if (cures[i].problem == finding->problem) return cures[i].cure;
    return NULL;
}
