/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <stdlib.h>

bp_layer kit_dense(int64_t units, bp_activation activation) {
    return (bp_layer){.kind = BP_LAYER_DENSE,
                      .activation = activation,
                      .activation_slope = 0.1,
                      .has_bias = true,
                      .output_shape = {units, 1, 1},
                      .weight_init = {BP_INIT_PYTORCH_DEFAULT, 0},
                      .bias_init = {BP_INIT_PYTORCH_DEFAULT, 0}};
}

bp_layer kit_normed(int64_t units, bp_activation activation, bp_norm norm, bool norm_last) {
    bp_layer layer = kit_dense(units, activation);
    layer.norm = norm;
    layer.norm_after_activation = norm_last;
    return layer;
}

bp_layer kit_norm(bp_norm norm) {
    return (bp_layer){.kind = norm == BP_NORM_BATCH ? BP_LAYER_BATCH_NORM : BP_LAYER_LAYER_NORM};
}

bp_layer kit_activation(bp_activation activation) {
    return (bp_layer){.kind = BP_LAYER_ACTIVATION, .activation = activation};
}

bp_layer kit_pool(int32_t window) {
    return (bp_layer){.kind = BP_LAYER_AVG_POOL, .pool = window};
}

bp_layer kit_max_pool(int32_t window) {
    return (bp_layer){.kind = BP_LAYER_MAX_POOL, .pool = window};
}

bp_layer kit_conv(int64_t channels, int32_t kernel, int32_t stride, int32_t padding,
                  bp_activation activation) {
    bp_layer layer = kit_dense(channels, activation);
    layer.kind = BP_LAYER_CONV;
    layer.kernel = kernel;
    layer.stride = stride;
    layer.padding = padding;
    return layer;
}

bp_layer kit_dropout(double drop_fraction) {
    return (bp_layer){.kind = BP_LAYER_DROPOUT, .drop_fraction = drop_fraction};
}

bp_layer kit_recurrent(bp_layer_kind kind, int64_t units, bool return_sequences) {
    bp_layer layer =
        kit_dense(units, kind == BP_LAYER_RNN ? BP_ACTIVATION_TANH : BP_ACTIVATION_LINEAR);
    layer.kind = kind;
    layer.return_sequences = return_sequences;
    return layer;
}

bp_layer kit_embedding(int64_t vocabulary, int64_t features) {
    return (bp_layer){.kind = BP_LAYER_EMBEDDING,
                      .vocabulary = vocabulary,
                      .output_shape = {features, 1, 1},
                      .weight_init = {BP_INIT_NORMAL, 1}};
}

bp_layer kit_residual(uint32_t n_branch, double scale) {
    return (bp_layer){.kind = BP_LAYER_RESIDUAL, .n_branch = n_branch, .branch_scale = scale};
}

bp_recipe kit_recipe(bp_loss loss, int64_t batch) {
    return (bp_recipe){.loss = loss,
                       .optimiser = BP_SGD,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .epsilon = 1e-8,
                       .batch = batch,
                       .epochs = 1,
                       .seed = 7};
}

bp_model *kit_model(const bp_layer *layers, const bp_recipe *recipe, const int64_t shape[3]) {
    bp_error error;
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (; layers->kind; layers++) {
        bp_layer layer = *layers;
        layer.skip_from = bp_model_n_layers(model) - layer.n_branch;
        if (bp_model_add_layer(model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    }
    if (bp_model_set_input(model, shape, &error) != BP_OK) fail_msg("%s", error.text);
    bp_model_set_recipe(model, recipe);
    return model;
}

bp_dataset *kit_data(const int64_t shape[3], int64_t n_outputs, bool has_classes, int64_t n) {
    const size_t units = (size_t)(shape[0] * shape[1] * shape[2]);
    const size_t n_inputs = (size_t)n * units, n_targets = (size_t)(n * n_outputs);
    bp_real *inputs = calloc(n_inputs, sizeof *inputs);
    bp_real *targets = calloc(n_targets, sizeof *targets);
    int32_t *classes = calloc((size_t)n, sizeof *classes);
    const bp_random_key key = {.seed = 99, .purpose = 0xffffffffu};
    for (size_t i = 0; i < n_inputs; i++) inputs[i] = (bp_real)bp_random_normal(&key, i);
    for (size_t i = 0; i < n_targets; i++)
        targets[i] = (bp_real)bp_random_normal(&key, 1000000 + i);
    for (int64_t i = 0; i < n; i++)
        classes[i] =
            (int32_t)(bp_random_uniform(&key, (uint64_t)(2000000 + i)) * (double)n_outputs);
    const bp_part part = {n, inputs, has_classes ? classes : NULL, has_classes ? NULL : targets};
    bp_error error;
    bp_dataset *dataset;
    if (bp_dataset_from_memory(&dataset, "random", shape, n_outputs, &part, &part, NULL, NULL,
                               &error) != BP_OK)
        fail_msg("%s", error.text);
    free(inputs);
    free(targets);
    free(classes);
    return dataset;
}

bp_trainer *kit_trainer(bp_model *model, const bp_dataset *dataset) {
    bp_error error;
    bp_trainer *trainer;
    if (bp_trainer_open(&trainer, model, dataset, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    return trainer;
}

kit_operator kit_operator_open(bp_layer layer, const int64_t in_shape[3], int64_t n) {
    const bp_recipe recipe = kit_recipe(BP_MSE, n);
    kit_operator alone = {.model = kit_model((bp_layer[]){layer, {0}}, &recipe, in_shape)};
    alone.op = bp_operator_of(bp_model_layer(alone.model, 1), in_shape);
    if (!alone.op.class->lay_out) return alone;
    bp_error error;
    alone.op.class->lay_out(&alone.op, n, n, &alone.arena);
    assert_int_equal(bp_arena_fill(&alone.arena, "an operator", &bp_allocator_system, &error),
                     BP_OK);
    alone.op.class->lay_out(&alone.op, n, n, &alone.arena);
    return alone;
}

void kit_operator_close(kit_operator *alone) {
    bp_arena_release(&alone->arena, &bp_allocator_system);
    bp_model_close(alone->model);
}

void kit_random(uint32_t purpose, int64_t count, bp_real *values) {
    const bp_random_key key = {.seed = 31, .purpose = purpose};
    for (int64_t i = 0; i < count; i++) values[i] = (bp_real)bp_random_normal(&key, (uint64_t)i);
}

bp_real *kit_own(const bp_real *values) {
    union {
        const bp_real *seen;
        bp_real *own;
    } data = {.seen = values};
    return data.own;
}

bp_real *kit_values(const bp_tensor *tensor) {
    return kit_own(tensor->data);
}
