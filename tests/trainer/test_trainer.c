/* SPDX-License-Identifier: Apache-2.0 */
/* A training run as its caller sees it: learning, determinism, memory, refusals. */
#include "../faults.h"
#include "kit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bp_dataset *open_digits(void) {
    bp_error error;
    bp_dataset *digits;
    if (bp_dataset_open(&digits, "digits", NULL, &error) != BP_OK) fail_msg("%s", error.text);
    return digits;
}

static bp_recipe digits_recipe(uint64_t seed) {
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 32);
    recipe.learning_rate = 0.05;
    recipe.momentum = 0.9;
    recipe.seed = seed;
    return recipe;
}

/* --- learning --------------------------------------------------------------------------------- */

static double train_digits(const bp_layer *layers, const bp_recipe *recipe, int epochs) {
    bp_dataset *digits = open_digits();
    bp_model *model = kit_model(layers, recipe, digits->input_shape);
    bp_trainer *trainer = kit_trainer(model, digits);
    const bp_recipe *completed = bp_model_recipe(model);
    assert_int_equal(completed->train_samples, 1257);
    assert_int_equal(completed->epoch_steps, 40);
    assert_int_equal(completed->n_outputs, 10);
    assert_true(fabs(completed->trivial_loss - log(10)) < 1e-3);
    assert_true(completed->chance_accuracy > 0.1 && completed->chance_accuracy < 0.103);
    const double first = bp_trainer_step(trainer);
    assert_true(first > 0.5 * completed->trivial_loss && first < 2 * completed->trivial_loss);
    while (bp_trainer_steps_done(trainer) < epochs * completed->epoch_steps)
        bp_trainer_step(trainer);
    const bp_score score = bp_trainer_evaluate(trainer, &digits->test);
    assert_true(bp_trainer_evaluate(trainer, &digits->train).loss < 0.3 * first);
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(digits);
    return score.accuracy;
}

static void test_learns_digits(void **state) {
    (void)state;
    const bp_layer plain[] = {kit_dense(64, BP_ACTIVATION_RELU),
                              kit_dense(64, BP_ACTIVATION_RELU),
                              kit_dense(10, BP_ACTIVATION_LINEAR),
                              {0}};
    const bp_recipe sgd = digits_recipe(1);
    const double by_sgd = train_digits(plain, &sgd, 4);
    bp_recipe adam = digits_recipe(1);
    adam.optimiser = BP_ADAM;
    adam.learning_rate = 0.002;
    const double by_adam = train_digits(plain, &adam, 4);
    const bp_layer normed[] = {kit_pool(2),
                               kit_normed(64, BP_ACTIVATION_RELU, BP_NORM_BATCH, false),
                               kit_dense(64, BP_ACTIVATION_GELU),
                               kit_residual(1, 1),
                               kit_norm(BP_NORM_LAYER),
                               kit_dense(10, BP_ACTIVATION_LINEAR),
                               {0}};
    const double by_normed = train_digits(normed, &sgd, 6);
    const bp_layer convolutional[] = {kit_conv(8, 3, 1, 1, BP_ACTIVATION_RELU),
                                      kit_max_pool(2),
                                      kit_conv(16, 3, 1, 0, BP_ACTIVATION_RELU),
                                      {.kind = BP_LAYER_GLOBAL_AVG_POOL},
                                      kit_dropout(0.1),
                                      kit_dense(10, BP_ACTIVATION_LINEAR),
                                      {0}};
    const double by_convolution = train_digits(convolutional, &adam, 12);
    print_message("accuracy on the test part: sgd %.3f, adam %.3f, pooled and normed %.3f, "
                  "convolutional %.3f\n",
                  by_sgd, by_adam, by_normed, by_convolution);
    assert_true(by_convolution > 0.85);
    assert_true(by_sgd > 0.9);
    assert_true(by_adam > 0.9);
    assert_true(by_normed > 0.85);
}

/* --- determinism ------------------------------------------------------------------------------ */

static const bp_layer *mixed_layers(void) {
    static bp_layer layers[10];
    layers[0] = kit_conv(4, 3, 1, 1, BP_ACTIVATION_RELU);
    layers[0].norm = BP_NORM_BATCH;
    layers[1] = kit_max_pool(2);
    layers[2] = kit_dropout(0.1);
    layers[3] = (bp_layer){.kind = BP_LAYER_FLATTEN};
    layers[4] = kit_normed(24, BP_ACTIVATION_TANH, BP_NORM_BATCH, false);
    layers[5] = kit_normed(24, BP_ACTIVATION_GELU, BP_NORM_LAYER, true);
    layers[6] = kit_residual(1, 0.5);
    layers[7] = kit_dense(10, BP_ACTIVATION_LINEAR);
    return layers;
}

typedef struct outcome {
    double loss, score;
    size_t n_values;
    bp_real values[16384];
} outcome;

static void run(outcome *out, uint64_t seed) {
    bp_dataset *digits = open_digits();
    const bp_recipe recipe = digits_recipe(seed);
    bp_model *model = kit_model(mixed_layers(), &recipe, digits->input_shape);
    bp_trainer *trainer = kit_trainer(model, digits);
    memset(out, 0, sizeof *out);
    for (int step = 0; step < 50; step++) out->loss = bp_trainer_step(trainer);
    out->score = bp_trainer_evaluate(trainer, &digits->validation).loss;
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_tensor *value = &bp_trainer_parameter(trainer, p)->value;
        const size_t count = (size_t)bp_tensor_count(value);
        assert_true(out->n_values + count <= 16384);
        memcpy(out->values + out->n_values, value->data, count * sizeof(bp_real));
        out->n_values += count;
    }
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(digits);
}

static void test_same_seed_same_bits(void **state) {
    (void)state;
    static outcome first, second, other;
    run(&first, 3);
    run(&second, 3);
    run(&other, 4);
    assert_true(first.n_values > 1000);
    assert_memory_equal(&first, &second, sizeof first);
    assert_memory_not_equal(first.values, other.values, sizeof first.values);
}

/* An evaluation between steps must not move the run. */
static void test_evaluation_changes_nothing(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    const bp_recipe recipe = digits_recipe(1);
    double losses[2][30];
    for (int with = 0; with < 2; with++) {
        bp_model *model = kit_model(mixed_layers(), &recipe, digits->input_shape);
        bp_trainer *trainer = kit_trainer(model, digits);
        for (int step = 0; step < 30; step++) {
            losses[with][step] = bp_trainer_step(trainer);
            if (with) bp_trainer_evaluate(trainer, &digits->train);
        }
        bp_trainer_close(trainer);
        bp_model_close(model);
    }
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    bp_dataset_close(digits);
}

/* Frozen statistics: what a sample scores does not depend on its neighbours. */
static void test_evaluation_by_sample(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    const bp_recipe recipe = digits_recipe(1);
    bp_model *model = kit_model(mixed_layers(), &recipe, digits->input_shape);
    bp_trainer *trainer = kit_trainer(model, digits);
    for (int step = 0; step < 40; step++) bp_trainer_step(trainer);
    const bp_part *test = &digits->test;
    const bp_score whole = bp_trainer_evaluate(trainer, test);
    double loss = 0, accuracy = 0;
    for (int64_t i = 0; i < test->n; i++) {
        const bp_part one = {1, test->inputs + 64 * i, test->classes + i, test->targets + 10 * i};
        const bp_score score = bp_trainer_evaluate(trainer, &one);
        loss += score.loss / (double)test->n;
        accuracy += score.accuracy / (double)test->n;
    }
    assert_true(fabs(loss / whole.loss - 1) < 1e-5);
    assert_true(fabs(accuracy - whole.accuracy) < 1e-9);
    const bp_part none = {0, test->inputs, test->classes, test->targets};
    assert_true(isnan(bp_trainer_evaluate(trainer, &none).loss));
    assert_true(isnan(bp_trainer_evaluate(trainer, &none).accuracy));
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(digits);
}

/* An image has statistics of its own, so a batch of one is enough for its channels. */
static void test_batch_norm_of_one_image(void **state) {
    (void)state;
    const int64_t shape[3] = {2, 3, 3};
    bp_dataset *dataset = kit_data(shape, 2, true, 3);
    const bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 1);
    const bp_layer layers[] = {kit_norm(BP_NORM_BATCH), kit_dense(2, BP_ACTIVATION_LINEAR), {0}};
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    for (int i = 0; i < 6; i++) assert_true(isfinite(bp_trainer_step(trainer)));
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
}

/* --- losses ----------------------------------------------------------------------------------- */

/* A network of zeros says 0 to everything. The digits as ten yes-or-no questions: the loss is
 * log 2, and 0 is on the side of "no", which is right nine times of ten. */
static void test_binary_cross_entropy(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    bp_recipe recipe = digits_recipe(1);
    recipe.loss = BP_BINARY_CROSS_ENTROPY;
    bp_layer layers[2] = {kit_dense(10, BP_ACTIVATION_LINEAR)};
    layers[0].weight_init.kind = layers[0].bias_init.kind = BP_INIT_ZEROS;
    bp_model *model = kit_model(layers, &recipe, digits->input_shape);
    bp_trainer *trainer = kit_trainer(model, digits);
    const bp_score score = bp_trainer_evaluate(trainer, &digits->test);
    assert_true(fabs(score.loss - log(2)) < 1e-6);
    assert_true(fabs(score.accuracy - 0.9) < 1e-9);
    assert_true(isnan(bp_model_recipe(model)->chance_accuracy)); /* that of classes is another */
    for (int i = 0; i < 120; i++) bp_trainer_step(trainer);
    assert_true(bp_trainer_evaluate(trainer, &digits->test).accuracy > 0.95);
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(digits);
}

/* --- batches ---------------------------------------------------------------------------------- */

typedef struct batch_log {
    uint32_t wanted[3];
    int64_t sizes[64], terms[64];
    int n_steps;
    bp_real first_inputs[64];
    int n_inputs;
} batch_log;

static bp_plan log_begin(void *context, const bp_step *step) {
    batch_log *log = context;
    assert_int_equal(step->step, log->n_steps);
    log->sizes[log->n_steps] = step->samples;
    log->terms[log->n_steps++] = step->loss_terms;
    return (bp_plan){log->wanted, 2};
}

static void log_inputs(void *context, uint32_t layer, bp_role role, bp_slot slot,
                       const bp_tensor *tensor) {
    (void)slot;
    batch_log *log = context;
    assert_int_equal(layer, 0);
    assert_int_equal(role, BP_ROLE_ACTIVATION);
    const bp_real *data = tensor->data;
    for (int64_t i = 0; i < tensor->shape[0]; i++)
        log->first_inputs[log->n_inputs++] = data[i * tensor->shape[1]];
}

static void run_batches(batch_log *log, bp_norm norm, bp_loss loss, int64_t batch, int steps) {
    const int64_t shape[3] = {3, 1, 1};
    bp_dataset *dataset = kit_data(shape, 2, loss == BP_CROSS_ENTROPY, 10);
    const bp_recipe recipe = kit_recipe(loss, batch);
    const bp_layer layers[] = {
        kit_normed(4, BP_ACTIVATION_TANH, norm, false), kit_dense(2, BP_ACTIVATION_LINEAR), {0}};
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    memset(log, 0, sizeof *log);
    log->wanted[0] = 1u << BP_ROLE_ACTIVATION;
    const bp_observer observer = {.context = log, .step_begin = log_begin, .tensor = log_inputs};
    bp_trainer_observe(trainer, &observer);
    for (int i = 0; i < steps; i++) assert_true(isfinite(bp_trainer_step(trainer)));
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
}

static int by_value(const void *a, const void *b) {
    const bp_real x = *(const bp_real *)a, y = *(const bp_real *)b;
    return (x > y) - (x < y);
}

/* Each epoch takes every sample once, in an order of its own. */
static void test_epochs(void **state) {
    (void)state;
    batch_log log;
    run_batches(&log, BP_NORM_NONE, BP_CROSS_ENTROPY, 4, 6);
    const int64_t sizes[6] = {4, 4, 2, 4, 4, 2};
    assert_memory_equal(log.sizes, sizes, sizeof sizes);
    assert_memory_equal(log.terms, sizes, sizeof sizes);
    assert_int_equal(log.n_inputs, 20);
    assert_memory_not_equal(log.first_inputs, log.first_inputs + 10, 10 * sizeof(bp_real));
    qsort(log.first_inputs, 10, sizeof(bp_real), by_value);
    qsort(log.first_inputs + 10, 10, sizeof(bp_real), by_value);
    assert_memory_equal(log.first_inputs, log.first_inputs + 10, 10 * sizeof(bp_real));
    for (int i = 1; i < 10; i++) assert_true(log.first_inputs[i] > log.first_inputs[i - 1]);
}

/* Terms are samples, of losses by output samples times outputs; batch norm drops a last batch of
 * one. */
static void test_short_batches(void **state) {
    (void)state;
    batch_log log;
    run_batches(&log, BP_NORM_LAYER, BP_MSE, 3, 4);
    const int64_t all[4] = {3, 3, 3, 1}, terms[4] = {6, 6, 6, 2};
    assert_memory_equal(log.sizes, all, sizeof all);
    assert_memory_equal(log.terms, terms, sizeof terms);
    run_batches(&log, BP_NORM_LAYER, BP_MAE, 3, 4);
    assert_memory_equal(log.terms, terms, sizeof terms);
    run_batches(&log, BP_NORM_BATCH, BP_MSE, 3, 4);
    const int64_t dropped[4] = {3, 3, 3, 3};
    assert_memory_equal(log.sizes, dropped, sizeof dropped);
    run_batches(&log, BP_NORM_NONE, BP_MSE, 1000, 2);
    assert_int_equal(log.sizes[0], 10);
    assert_int_equal(log.sizes[1], 10);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void test_step_allocates_nothing(void **state) {
    (void)state;
    faulty_memory memory = {0};
    const bp_allocator allocator = faulty_allocator(&memory);
    bp_dataset *digits = open_digits();
    bp_recipe recipe = digits_recipe(1);
    recipe.optimiser = BP_ADAM;
    bp_model *model = kit_model(mixed_layers(), &recipe, digits->input_shape);
    bp_trainer *trainer;
    assert_int_equal(bp_trainer_open(&trainer, model, digits, &allocator, NULL), BP_OK);
    const size_t opened = memory.requests;
    assert_true(opened > 0);
    for (int step = 0; step < 45; step++) bp_trainer_step(trainer);
    bp_trainer_evaluate(trainer, &digits->train);
    assert_int_equal(memory.requests, opened);
    bp_trainer_close(trainer);
    assert_int_equal(memory.live_blocks, 0);
    assert_int_equal(memory.wrong_sizes, 0);
    bp_model_close(model);
    bp_dataset_close(digits);
}

static void test_nth_allocation_fails(void **state) {
    (void)state;
    bp_dataset *digits = open_digits();
    const bp_recipe recipe = digits_recipe(1);
    bp_model *model = kit_model(mixed_layers(), &recipe, digits->input_shape);
    size_t n = 1;
    for (;; n++) {
        faulty_memory memory = {.fail_at = n};
        const bp_allocator allocator = faulty_allocator(&memory);
        bp_trainer *trainer = NULL;
        bp_error error = {0};
        const bp_status status = bp_trainer_open(&trainer, model, digits, &allocator, &error);
        if (status == BP_OK) bp_trainer_close(trainer);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
        if (status == BP_OK) break;
        assert_int_equal(status, BP_ERROR_MEMORY);
        assert_non_null(strstr(error.text, "memory"));
        assert_null(trainer);
    }
    assert_true(n > 4);
    bp_model_close(model);
    bp_dataset_close(digits);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refuse(const bp_layer *layers, const bp_recipe *recipe, const int64_t *shape,
                   bp_dataset *dataset, bp_status expected, int32_t line, const char *words) {
    bp_model *model = kit_model(layers, recipe, shape);
    bp_trainer *trainer = NULL;
    bp_error error = {0};
    assert_int_equal(bp_trainer_open(&trainer, model, dataset, NULL, &error), expected);
    assert_null(trainer);
    assert_int_equal(error.line, line);
    if (!strstr(error.text, words)) fail_msg("expected '%s' in '%s'", words, error.text);
    bp_model_close(model);
}

static void test_refused_networks(void **state) {
    (void)state;
    const int64_t shape[3] = {5, 1, 1}, other[3] = {6, 1, 1};
    bp_dataset *classes = kit_data(shape, 3, true, 20), *targets = kit_data(shape, 3, false, 20);
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 4);
    bp_layer layers[4] = {kit_dense(4, BP_ACTIVATION_TANH), kit_dense(3, BP_ACTIVATION_LINEAR)};
    layers[1].line = 12;
    layers[1].column = 5;
    const bp_status input = BP_ERROR_INPUT, argument = BP_ERROR_ARGUMENT;
    refuse(layers, &recipe, other, classes, argument, 0, "6 x 1 x 1");
    refuse(layers, &recipe, shape, targets, argument, 0, "cross_entropy needs classes");
    layers[1].output_shape[0] = 7;
    refuse(layers, &recipe, shape, classes, input, 12, "(dense_2), the last one, has 7 units");
    refuse(layers, &recipe, shape, classes, input, 12, "3 classes");
    layers[1].output_shape[0] = 3;
    layers[1].weight_init.kind = BP_INIT_UNKNOWN;
    refuse(layers, &recipe, shape, classes, input, 12, "no initialiser");
    layers[1] = kit_normed(3, BP_ACTIVATION_LINEAR, BP_NORM_BATCH, false);
    recipe.batch = 1;
    refuse(layers, &recipe, shape, classes, input, 0, "batch_norm needs batches of at least 2");
    recipe.batch = 4;
    layers[1] = kit_dropout(1);
    layers[1].line = 4;
    refuse(layers, &recipe, shape, classes, input, 4, "less than 1 of the units, found 1");
    layers[1] = (bp_layer){.kind = BP_LAYER_OTHER, .line = 3};
    refuse(layers, &recipe, shape, classes, input, 3, "cannot compute");
    const bp_layer none[1] = {{0}};
    refuse(none, &recipe, shape, classes, argument, 0, "no layers");
    bp_dataset_close(classes);
    bp_dataset_close(targets);
}

/* Layers of images behind a sequence of 3 time steps of 4 numbers; where each is a vector again, a
 * batch norm may follow. */
static void test_refused_sequences(void **state) {
    (void)state;
    const int64_t shape[3] = {3, 4, 1};
    bp_dataset *data = kit_data(shape, 3, true, 20);
    const bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 4);
    const bp_layer refused[] = {kit_norm(BP_NORM_BATCH), kit_max_pool(1), kit_pool(1),
                                (bp_layer){.kind = BP_LAYER_GLOBAL_AVG_POOL},
                                kit_conv(2, 1, 1, 0, BP_ACTIVATION_LINEAR)};
    bp_layer layers[5] = {kit_recurrent(BP_LAYER_GRU, 4, true), kit_dropout(0.1), {0}, {0}, {0}};
    layers[3] = kit_dense(3, BP_ACTIVATION_LINEAR);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        layers[2] = refused[i];
        layers[2].line = 8;
        refuse(layers, &recipe, shape, data, BP_ERROR_INPUT, 8, "not on the sequence that layer 2");
    }
    layers[0] = kit_embedding(9, 4); /* 12 tokens */
    refuse(layers, &recipe, shape, data, BP_ERROR_INPUT, 8, "works on images and vectors");
    layers[0] = kit_recurrent(BP_LAYER_GRU, 4, false);
    layers[2] = kit_norm(BP_NORM_BATCH);
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_trainer_close(kit_trainer(model, data));
    bp_model_close(model);
    bp_dataset_close(data);
}

static void test_refused_recipes(void **state) {
    (void)state;
    const int64_t shape[3] = {5, 1, 1};
    bp_dataset *data = kit_data(shape, 3, true, 20);
    const bp_layer layers[] = {kit_dense(3, BP_ACTIVATION_LINEAR), {0}};
    const bp_recipe good = kit_recipe(BP_CROSS_ENTROPY, 4);
    bp_recipe recipe = good;
    recipe.loss = BP_LOSS_OTHER;
    refuse(layers, &recipe, shape, data, BP_ERROR_NOT_SUPPORTED, 0, "losses");
    recipe.loss = BP_HUBER;
    refuse(layers, &recipe, shape, data, BP_ERROR_ARGUMENT, 0, "huber_delta must be above 0");
    recipe.loss = BP_BINARY_CROSS_ENTROPY;
    bp_dataset *anything = kit_data(shape, 3, false, 20);
    refuse(layers, &recipe, shape, anything, BP_ERROR_ARGUMENT, 0, "targets from 0 to 1");
    bp_dataset_close(anything);
    recipe = good;
    recipe.optimiser = BP_OPTIMISER_OTHER;
    refuse(layers, &recipe, shape, data, BP_ERROR_NOT_SUPPORTED, 0, "optimisers");
    recipe = good;
    recipe.batch = 0;
    refuse(layers, &recipe, shape, data, BP_ERROR_ARGUMENT, 0, "at least 1 sample");
    recipe = good;
    recipe.learning_rate = NAN;
    refuse(layers, &recipe, shape, data, BP_ERROR_ARGUMENT, 0, "learning_rate");
    recipe = good;
    recipe.momentum = -0.1;
    refuse(layers, &recipe, shape, data, BP_ERROR_ARGUMENT, 0, "momentum");
    recipe = good;
    recipe.beta2 = 1;
    refuse(layers, &recipe, shape, data, BP_ERROR_ARGUMENT, 0, "beta2");
    bp_dataset_close(data);
}

/* Sizes whose product overflows 64 bits, and sizes that merely are too large. */
static void test_refused_sizes(void **state) {
    (void)state;
    const int64_t shape[3] = {5, 1, 1};
    bp_dataset *data = kit_data(shape, 3, true, 20);
    const bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 4);
    const int64_t largest = (int64_t)1 << 31;
    const bp_layer huge[] = {kit_dense(largest, BP_ACTIVATION_TANH),
                             kit_dense(largest, BP_ACTIVATION_TANH),
                             kit_dense(largest, BP_ACTIVATION_TANH),
                             kit_dense(3, BP_ACTIVATION_LINEAR),
                             {0}};
    bp_layer placed[5];
    memcpy(placed, huge, sizeof huge);
    placed[0].line = 4;
    refuse(placed, &recipe, shape, data, BP_ERROR_INPUT, 4, "limit");
    const bp_layer wide[] = {kit_dense(30000, BP_ACTIVATION_TANH),
                             kit_dense(30000, BP_ACTIVATION_TANH),
                             kit_dense(3, BP_ACTIVATION_LINEAR),
                             {0}};
    refuse(wide, &recipe, shape, data, BP_ERROR_LIMIT, 0, "GiB");
    bp_dataset_close(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns_digits),
        cmocka_unit_test(test_same_seed_same_bits),
        cmocka_unit_test(test_evaluation_changes_nothing),
        cmocka_unit_test(test_evaluation_by_sample),
        cmocka_unit_test(test_batch_norm_of_one_image),
        cmocka_unit_test(test_binary_cross_entropy),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_short_batches),
        cmocka_unit_test(test_step_allocates_nothing),
        cmocka_unit_test(test_nth_allocation_fails),
        cmocka_unit_test(test_refused_networks),
        cmocka_unit_test(test_refused_sequences),
        cmocka_unit_test(test_refused_recipes),
        cmocka_unit_test(test_refused_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
