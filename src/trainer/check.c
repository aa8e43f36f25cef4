/* SPDX-License-Identifier: Apache-2.0 */
/* Knobs in their ranges, layers that the trainer knows, sizes that fit the data. */
#include "trainer/check.h"

#include <math.h>

/* false for NaN */
static bool is_within(double value, double low, double high) {
    return value >= low && value < high;
}

static bp_status check_knob(const char *name, double value, double high, bp_error *error) {
    if (is_within(value, 0, high)) return BP_OK;
    char found[32], limit[32];
    bp_number_exact(found, sizeof found, value);
    bp_number_exact(limit, sizeof limit, high);
    return bp_fail(error, BP_ERROR_ARGUMENT,
                   "the recipe's %s must be at least 0 and below %s, found %s", name, limit, found);
}

bp_status bp_check_recipe(const bp_recipe *recipe, bp_error *error) {
    if (recipe->loss == BP_LOSS_OTHER || !bp_loss_name(recipe->loss))
        return bp_fail(
            error, BP_ERROR_NOT_SUPPORTED,
            "the trainer knows the losses cross_entropy, mse, binary_cross_entropy, mae and "
            "huber, found number %d",
            (int)recipe->loss);
    if (recipe->loss == BP_HUBER && !(recipe->huber_delta > 0 && isfinite(recipe->huber_delta))) {
        char found[32];
        bp_number_exact(found, sizeof found, recipe->huber_delta);
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "the recipe's huber_delta must be above 0 and finite, found %s", found);
    }
    if (recipe->optimiser == BP_OPTIMISER_OTHER || !bp_optimiser_name(recipe->optimiser))
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                       "the trainer knows the optimisers sgd, adam, adamw, rmsprop and adagrad, "
                       "found number %d",
                       (int)recipe->optimiser);
    if (recipe->schedule && !bp_schedule_name(recipe->schedule))
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                       "the trainer knows the schedules constant, step and cosine, found number %d",
                       (int)recipe->schedule);
    if (recipe->schedule == BP_SCHEDULE_STEP && !(recipe->step_epochs > 0))
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "the recipe's step_epochs must be above 0 with the schedule step");
    if (recipe->batch < 1)
        return bp_fail(error, BP_ERROR_ARGUMENT, "a batch has at least 1 sample, found %lld",
                       (long long)recipe->batch);
    const struct {
        const char *name;
        double value, high;
    } knobs[] = {{"learning_rate", recipe->learning_rate, INFINITY},
                 {"momentum", recipe->momentum, INFINITY},
                 {"beta1", recipe->beta1, 1},
                 {"beta2", recipe->beta2, 1},
                 {"epsilon", recipe->epsilon, INFINITY},
                 {"alpha", recipe->alpha, 1},
                 {"weight_decay", recipe->weight_decay, INFINITY},
                 {"l1", recipe->l1, INFINITY},
                 {"l2", recipe->l2, INFINITY},
                 {"clip_norm", recipe->clip_norm, INFINITY},
                 {"clip_value", recipe->clip_value, INFINITY},
                 {"warm_up_epochs", recipe->warm_up_epochs, INFINITY},
                 {"step_factor", recipe->step_factor, INFINITY},
                 {"final_learning_rate", recipe->final_learning_rate, INFINITY}};
    for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
        const bp_status status = check_knob(knobs[i].name, knobs[i].value, knobs[i].high, error);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

bool bp_has_batch_norm(const bp_model *model) {
    for (uint32_t l = 1; l <= bp_model_n_layers(model); l++)
        if (bp_model_layer(model, l)->norm == BP_NORM_BATCH) return true;
    return false;
}

static bool is_vector(const int64_t shape[3]) {
    return shape[1] == 1 && shape[2] == 1;
}

static bp_status check_layer(const bp_layer *layer, int64_t batch, bp_error *error) {
    const int32_t line = layer->line, column = layer->column;
    if (layer->kind == BP_LAYER_OTHER)
        return bp_fail_at(error, line, column, "layer %u (%.100s): the trainer cannot compute it",
                          layer->id, layer->name);
    if (bp_layer_has_weights(layer) &&
        (layer->weight_init.kind == BP_INIT_UNKNOWN ||
         (layer->has_bias && layer->bias_init.kind == BP_INIT_UNKNOWN)))
        return bp_fail_at(error, line, column,
                          "layer %u (%.100s): no initialiser for its weights or biases", layer->id,
                          layer->name);
    if (layer->kind == BP_LAYER_RNN && layer->activation != BP_ACTIVATION_TANH &&
        layer->activation != BP_ACTIVATION_RELU)
        return bp_fail_at(error, line, column,
                          "layer %u (%.100s): the activation of an rnn is tanh or relu, found %s",
                          layer->id, layer->name, bp_activation_name(layer->activation));
    if (layer->kind == BP_LAYER_DROPOUT && !is_within(layer->drop_fraction, 0, 1)) {
        char found[32];
        bp_number_exact(found, sizeof found, layer->drop_fraction);
        return bp_fail_at(error, line, column,
                          "layer %u (%.100s): a dropout drops at least 0 and less than 1 of the "
                          "units, found %s",
                          layer->id, layer->name, found);
    }
    if (layer->kind == BP_LAYER_RESIDUAL && layer->skip_from + layer->n_branch + 1 != layer->id)
        return bp_fail_at(error, line, column,
                          "layer %u (%.100s): a branch of %u layers begins behind layer %u, but "
                          "the skip comes from layer %u",
                          layer->id, layer->name, layer->n_branch, layer->id - 1 - layer->n_branch,
                          layer->skip_from);
    if (layer->norm == BP_NORM_BATCH && batch == 1 && is_vector(layer->output_shape))
        return bp_fail_at(
            error, line, column,
            "layer %u (%.100s): batch_norm needs batches of at least 2 samples, found "
            "1",
            layer->id, layer->name);
    return BP_OK;
}

/* The layer's output is a vector at each of several time steps; layers between that keep the shape
 * keep this too. */
static bool gives_sequence(const bp_model *model, uint32_t id) {
    for (; id >= 1; id--) {
        const bp_layer *layer = bp_model_layer(model, id);
        if (layer->kind == BP_LAYER_EMBEDDING) return layer->output_shape[0] > 1;
        if (bp_layer_is_recurrent(layer)) return layer->return_sequences;
        if (bp_layer_has_weights(layer) || layer->kind == BP_LAYER_FLATTEN) return false;
    }
    return false;
}

/* Time steps are neither channels nor places of an image. */
static bp_status check_sequence(const bp_model *model, const bp_layer *layer, bp_error *error) {
    switch (layer->kind) {
    case BP_LAYER_CONV:
    case BP_LAYER_AVG_POOL:
    case BP_LAYER_MAX_POOL:
    case BP_LAYER_GLOBAL_AVG_POOL:
    case BP_LAYER_BATCH_NORM:
        if (!gives_sequence(model, layer->id - 1)) return BP_OK;
        return bp_fail_at(error, layer->line, layer->column,
                          "layer %u (%.100s): %s works on images and vectors, not on the sequence "
                          "that layer %u (%.100s) gives; flatten makes a vector of it",
                          layer->id, layer->name, bp_layer_kind_name(layer->kind), layer->id - 1,
                          bp_model_layer(model, layer->id - 1)->name);
    default:
        return BP_OK;
    }
}

static bp_status check_ends(const bp_model *model, const bp_dataset *dataset, bp_error *error) {
    const int64_t *have = bp_model_input(model), *want = dataset->input_shape;
    if (have[0] * have[1] * have[2] != want[0] * want[1] * want[2])
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "the network's input is %lld x %lld x %lld numbers, but a sample of '%s' is "
                       "%lld x %lld x %lld",
                       (long long)have[0], (long long)have[1], (long long)have[2], dataset->name,
                       (long long)want[0], (long long)want[1], (long long)want[2]);
    const bp_layer *last = bp_model_layer(model, bp_model_n_layers(model));
    const int64_t units = bp_model_units(model, last->id);
    if (units != dataset->n_outputs)
        return bp_fail_at(error, last->line, last->column,
                          "layer %u (%.100s), the last one, has %lld units, but the data set '%s' "
                          "has %lld %s",
                          last->id, last->name, (long long)units, dataset->name,
                          (long long)dataset->n_outputs,
                          dataset->has_classes ? "classes" : "targets");
    return BP_OK;
}

/* binary_cross_entropy is no loss of other targets: it would have no smallest value. */
static bp_status check_probabilities(const bp_dataset *dataset, bp_error *error) {
    const bp_part *parts[] = {&dataset->train, &dataset->validation, &dataset->test};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (int64_t i = 0; i < parts[p]->n * dataset->n_outputs; i++) {
            const double target = (double)parts[p]->targets[i];
            if (target >= 0 && target <= 1) continue;
            char found[32];
            bp_number_exact(found, sizeof found, target);
            return bp_fail(error, BP_ERROR_ARGUMENT,
                           "the loss binary_cross_entropy needs targets from 0 to 1, but one of "
                           "'%s' is %s",
                           dataset->name, found);
        }
    return BP_OK;
}

bp_status bp_check_network(const bp_model *model, const bp_dataset *dataset, bp_error *error) {
    const bp_recipe *recipe = bp_model_recipe(model);
    if (recipe->loss == BP_CROSS_ENTROPY && !dataset->has_classes)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "the loss cross_entropy needs classes, but '%s' has none; take mse",
                       dataset->name);
    if (bp_model_n_layers(model) == 0)
        return bp_fail(error, BP_ERROR_ARGUMENT, "the network has no layers");
    for (uint32_t l = 1; l <= bp_model_n_layers(model); l++) {
        const bp_layer *layer = bp_model_layer(model, l);
        bp_status status = check_layer(layer, recipe->batch, error);
        if (status == BP_OK) status = check_sequence(model, layer, error);
        if (status != BP_OK) return status;
    }
    if (recipe->loss == BP_BINARY_CROSS_ENTROPY) {
        const bp_status status = check_probabilities(dataset, error);
        if (status != BP_OK) return status;
    }
    return check_ends(model, dataset, error);
}
