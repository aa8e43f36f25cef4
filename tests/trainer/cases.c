/* SPDX-License-Identifier: Apache-2.0 */
/* To add a case, add a line here: operator(...) for layers, loss(...) or optimiser(...). Then, with
 * PyTorch, run tests/trainer/make_reference.py PROGRAM NAME (PROGRAM is the built
 * test_trainer_reference), which writes the case's file; commit it. A layer, loss or optimiser of a
 * new kind needs a function in make_reference.py, and a knob that is not told yet a line in
 * describe() of test_reference.c. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#define MAX_CASES 128
#define SAMPLES 4
#define STEPS 6

static reference_case cases[MAX_CASES];
static size_t n_cases;

static reference_case *add(const char *name, const int64_t shape[3], const bp_layer *layers) {
    assert_true(n_cases < MAX_CASES);
    reference_case *added = &cases[n_cases++];
    *added = (reference_case){.name = name, .recipe = kit_recipe(BP_MSE, SAMPLES), .steps = 1};
    memcpy(added->shape, shape, sizeof added->shape);
    for (int i = 0; layers[i].kind; i++) added->layers[i] = layers[i];
    return added;
}

/* --- operators: one step, mse -----------------------------------------------------------------
 * The tested layer does not stand first, so that the error signal behind it is compared too. */

static void operator(const char *name, const int64_t shape[3], const bp_layer *layers) {
    add(name, shape, layers);
}

#define LAYERS(...)      \
    (const bp_layer[]) { \
        __VA_ARGS__, {0} \
    }

static const int64_t vector[3] = {5, 1, 1}, image[3] = {2, 4, 6};

static void add_operators(void) {
    const bp_layer first = kit_dense(6, BP_ACTIVATION_TANH);
    const bp_layer last = kit_dense(3, BP_ACTIVATION_LINEAR);
    operator("dense", vector, LAYERS(first, last));
    for (int kind = BP_ACTIVATION_SIGMOID; kind <= BP_ACTIVATION_SOFTMAX; kind++)
        operator(bp_activation_name((bp_activation)kind), vector,
                 LAYERS(first, kit_dense(4, (bp_activation)kind), last));
    operator("layer_norm", vector,
             LAYERS(first, kit_normed(4, BP_ACTIVATION_GELU, BP_NORM_LAYER, false), last));
    bp_layer normed = kit_normed(4, BP_ACTIVATION_TANH, BP_NORM_BATCH, false);
    normed.has_bias = false; /* before a mean is taken off, its gradient is rounding alone */
    operator("batch_norm", vector, LAYERS(first, normed, last));
    operator("avg_pool", image, LAYERS(kit_norm(BP_NORM_LAYER), kit_pool(2), last));
    operator("avg_pool_vector", vector, LAYERS(first, kit_pool(3), last));
    const bp_layer even = kit_norm(BP_NORM_LAYER);
    operator("max_pool", image, LAYERS(even, kit_max_pool(2), last));
    operator("max_pool_vector", vector, LAYERS(first, kit_max_pool(3), last));
    operator("global_avg_pool", image,
             LAYERS(even, (bp_layer){.kind = BP_LAYER_GLOBAL_AVG_POOL}, last));
    operator("flatten", image, LAYERS(even, (bp_layer){.kind = BP_LAYER_FLATTEN}, last));
    operator("embedding", (int64_t[]){5, 1, 1}, LAYERS(kit_embedding(7, 3), last));
    operator("residual", vector,
             LAYERS(first, kit_dense(4, BP_ACTIVATION_TANH), kit_dense(6, BP_ACTIVATION_SILU),
                    kit_residual(2, 0.6), last));
}

static void convolution(const char *name, bp_layer conv) {
    operator(name, image,
             LAYERS(kit_norm(BP_NORM_LAYER), conv, kit_dense(3, BP_ACTIVATION_LINEAR)));
}

static void add_convolutions(void) {
    const bp_activation linear = BP_ACTIVATION_LINEAR;
    convolution("conv", kit_conv(3, 3, 1, 0, linear));
    convolution("conv_padding", kit_conv(2, 5, 1, 2, linear));
    convolution("conv_stride", kit_conv(3, 2, 2, 0, linear));
    convolution("conv_stride_padding", kit_conv(2, 3, 2, 1, linear));
    convolution("conv_1x1", kit_conv(3, 1, 1, 0, linear));
    bp_layer normed = kit_conv(3, 3, 1, 1, BP_ACTIVATION_RELU);
    normed.has_bias = false;
    normed.norm = BP_NORM_BATCH;
    convolution("conv_batch_norm_relu", normed);
    operator("lenet", (int64_t[]){1, 12, 12},
             LAYERS(kit_conv(3, 5, 1, 2, BP_ACTIVATION_TANH), kit_max_pool(2),
                    kit_conv(4, 3, 1, 0, BP_ACTIVATION_TANH), kit_max_pool(2),
                    (bp_layer){.kind = BP_LAYER_FLATTEN}, kit_dense(6, BP_ACTIVATION_TANH),
                    kit_dense(3, linear)));
}

/* Five time steps of three features, behind a layer whose error signal is compared too. */
static void add_recurrent(void) {
    const int64_t sequence[3] = {5, 3, 1};
    const bp_layer first = kit_norm(BP_NORM_LAYER), last = kit_dense(3, BP_ACTIVATION_LINEAR);
    const bp_layer_kind kinds[] = {BP_LAYER_RNN, BP_LAYER_GRU, BP_LAYER_LSTM};
    for (int i = 0; i < 3; i++) {
        const char *name = bp_layer_kind_name(kinds[i]);
        static char names[3][3][32];
        snprintf(names[i][0], 32, "%s_last", name);
        snprintf(names[i][1], 32, "%s_sequences", name);
        snprintf(names[i][2], 32, "%s_stacked", name);
        bp_layer bare = kit_recurrent(kinds[i], 4, true);
        bare.has_bias = false;
        operator(names[i][0], sequence, LAYERS(first, kit_recurrent(kinds[i], 4, false), last));
        operator(names[i][1], sequence, LAYERS(first, bare, last));
        operator(names[i][2], sequence,
                 LAYERS(first, kit_recurrent(kinds[i], 4, true), kit_recurrent(kinds[i], 3, false),
                        last));
    }
    bp_layer relu = kit_recurrent(BP_LAYER_RNN, 4, false);
    relu.activation = BP_ACTIVATION_RELU;
    operator("rnn_relu", sequence, LAYERS(first, relu, last));
    operator("embedding_lstm", (int64_t[]){6, 1, 1},
             LAYERS(kit_embedding(7, 3), kit_recurrent(BP_LAYER_LSTM, 4, false), last));
}

/* --- losses: one step of a network of two layers ---------------------------------------------- */

static void loss(const char *name, bp_recipe recipe) {
    recipe.batch = SAMPLES;
    add(name, vector, LAYERS(kit_dense(6, BP_ACTIVATION_TANH), kit_dense(3, BP_ACTIVATION_LINEAR)))
        ->recipe = recipe;
}

static void add_losses(void) {
    loss("loss_mse", kit_recipe(BP_MSE, SAMPLES));
    loss("loss_cross_entropy", kit_recipe(BP_CROSS_ENTROPY, SAMPLES));
    loss("loss_binary_cross_entropy", kit_recipe(BP_BINARY_CROSS_ENTROPY, SAMPLES));
    loss("loss_mae", kit_recipe(BP_MAE, SAMPLES));
    bp_recipe huber = kit_recipe(BP_HUBER, SAMPLES);
    huber.huber_delta = 0.8;
    loss("loss_huber", huber);
}

/* --- optimisers: several steps; the parameters afterwards are compared too ---------------------
 */

static void optimiser(const char *name, bp_recipe recipe) {
    recipe.loss = BP_MSE;
    recipe.batch = SAMPLES;
    recipe.epochs = STEPS;
    recipe.epoch_steps = 1;
    reference_case *added = add(
        name, vector, LAYERS(kit_dense(6, BP_ACTIVATION_TANH), kit_dense(3, BP_ACTIVATION_LINEAR)));
    added->recipe = recipe;
    added->steps = STEPS;
}

static void add_optimisers(void) {
    optimiser("sgd", (bp_recipe){.optimiser = BP_SGD, .learning_rate = 0.1});
    optimiser("momentum", (bp_recipe){.optimiser = BP_SGD, .learning_rate = 0.1, .momentum = 0.9});
    optimiser("adam", (bp_recipe){.optimiser = BP_ADAM,
                                  .learning_rate = 0.01,
                                  .beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .epsilon = 1e-8});
    optimiser(
        "nesterov",
        (bp_recipe){.optimiser = BP_SGD, .learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
    optimiser("adamw", (bp_recipe){.optimiser = BP_ADAMW,
                                   .learning_rate = 0.01,
                                   .beta1 = 0.9,
                                   .beta2 = 0.99,
                                   .epsilon = 1e-8,
                                   .weight_decay = 0.3});
    bp_recipe rmsprop = {
        .optimiser = BP_RMSPROP, .learning_rate = 0.01, .alpha = 0.9, .epsilon = 1e-8};
    optimiser("rmsprop", rmsprop);
    rmsprop.momentum = 0.8;
    optimiser("rmsprop_momentum", rmsprop);
    optimiser("adagrad",
              (bp_recipe){.optimiser = BP_ADAGRAD, .learning_rate = 0.05, .epsilon = 1e-10});
}

static void add_recipes(void) {
    const bp_recipe sgd = {.optimiser = BP_SGD, .learning_rate = 0.2, .momentum = 0.5};
    bp_recipe recipe = sgd;
    recipe.l2 = 0.1;
    optimiser("l2", recipe);
    recipe.optimiser = BP_RMSPROP;
    recipe.learning_rate = 0.01;
    recipe.alpha = 0.9;
    recipe.epsilon = 1e-8;
    optimiser("l2_rmsprop", recipe);
    recipe = sgd;
    recipe.l1 = 0.03;
    optimiser("l1", recipe);
    recipe = sgd;
    recipe.clip_norm = 0.3;
    optimiser("clip_norm", recipe);
    recipe = sgd;
    recipe.clip_value = 0.05;
    optimiser("clip_value", recipe);
    recipe = sgd;
    recipe.schedule = BP_SCHEDULE_COSINE;
    recipe.final_learning_rate = 0.01;
    optimiser("cosine", recipe);
    recipe = sgd;
    recipe.schedule = BP_SCHEDULE_STEP;
    recipe.step_epochs = 2;
    recipe.step_factor = 0.3;
    optimiser("step", recipe);
    recipe = sgd;
    recipe.warm_up_epochs = 3;
    optimiser("warm_up", recipe);
}

reference_case *reference_cases(size_t *n) {
    if (n_cases == 0) {
        add_operators();
        add_convolutions();
        add_recurrent();
        add_losses();
        add_optimisers();
        add_recipes();
    }
    *n = n_cases;
    return cases;
}
