/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back through time: the error signal of a recurrent layer's input sequence, told by the
 * trainer as ERROR_INPUT of the first layer, by the number of steps to the last one. Prints the
 * table of docs/evidence/recurrent.md. */
#include "kit.h"

#include <math.h>
#include <string.h>

#define STEPS 101
#define FEATURES 2
#define UNITS 64
#define SAMPLES 64

typedef struct listener {
    uint32_t wanted[3];
    double rms[STEPS]; /* by lag: 0 is the last time step */
} listener;

static bp_plan on_begin(void *context, const bp_step *step) {
    listener *l = context;
    (void)step;
    return (bp_plan){.wanted = l->wanted, .n_layers = 2};
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    listener *l = context;
    const bp_real *error = tensor->data;
    (void)slot;
    assert_int_equal(layer, 1);
    assert_int_equal(role, BP_ROLE_ERROR_INPUT);
    assert_int_equal(tensor->shape[0], SAMPLES);
    assert_int_equal(tensor->shape[1], STEPS * FEATURES);
    for (int64_t t = 0; t < STEPS; t++) {
        double sum = 0;
        for (int64_t i = 0; i < SAMPLES; i++)
            for (int64_t j = 0; j < FEATURES; j++) {
                const double e = (double)error[(i * STEPS + t) * FEATURES + j];
                sum += e * e;
            }
        l->rms[STEPS - 1 - t] = sqrt(sum / (SAMPLES * FEATURES));
    }
}

/* One step at initialisation on the adding problem: an example of layer and a dense unit. */
static listener measure(bp_layer layer) {
    listener l = {.wanted = {0, 1u << BP_ROLE_ERROR_INPUT, 0}};
    bp_error error;
    bp_dataset *dataset;
    const bp_data_source source = {.name = "adding", .steps = 101, .seed = 1};
    if (bp_dataset_open_source(&dataset, &source, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
    bp_recipe recipe = kit_recipe(BP_MSE, SAMPLES);
    recipe.seed = 1;
    const bp_layer layers[] = {layer, kit_dense(1, BP_ACTIVATION_LINEAR), {0}};
    bp_model *model = kit_model(layers, &recipe, dataset->input_shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    const bp_observer observer = {.context = &l, .step_begin = on_begin, .tensor = on_tensor};
    bp_trainer_observe(trainer, &observer);
    bp_trainer_step(trainer);
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
    return l;
}

static const bp_layer_kind kinds[] = {BP_LAYER_RNN, BP_LAYER_GRU, BP_LAYER_LSTM};

static bp_layer lstm(double forget_bias) {
    bp_layer layer = kit_recurrent(BP_LAYER_LSTM, UNITS, false);
    layer.forget_bias = forget_bias;
    return layer;
}

static bp_layer rnn(bp_init_kind kind, double parameter) {
    bp_layer layer = kit_recurrent(BP_LAYER_RNN, UNITS, false);
    if (kind) layer.weight_init = (bp_init){.kind = kind, .parameter = parameter};
    return layer;
}

static double fraction(const listener *l, int lag) {
    return l->rms[lag] / l->rms[0];
}

static void test_by_lag(void **state) {
    (void)state;
    enum { RNN, RNN_ORTHOGONAL, RNN_LARGE, GRU, LSTM, LSTM_1, LSTM_3, N };
    const struct {
        const char *name;
        bp_layer layer;
    } cases[N] = {{"rnn, pytorch_default", rnn(0, 0)},
                  {"rnn, orthogonal", rnn(BP_INIT_ORTHOGONAL, 1)},
                  {"rnn, orthogonal, gain 2", rnn(BP_INIT_ORTHOGONAL, 2)},
                  {"gru, pytorch_default", kit_recurrent(BP_LAYER_GRU, UNITS, false)},
                  {"lstm, pytorch_default", lstm(0)},
                  {"  and forget_bias 1", lstm(1)},
                  {"  and forget_bias 3", lstm(3)}};
    const int lags[] = {1, 5, 10, 20, 50, 100};
    listener of[N];
    print_message("%-26s", "rms(dL/dx) by lag / lag 0");
    for (size_t i = 0; i < sizeof lags / sizeof *lags; i++) print_message(" %8d", lags[i]);
    print_message("\n");
    for (int c = 0; c < N; c++) {
        of[c] = measure(cases[c].layer);
        assert_true(of[c].rms[0] > 0);
        print_message("%-26s", cases[c].name);
        for (size_t i = 0; i < sizeof lags / sizeof *lags; i++)
            print_message(" %8.1e", fraction(&of[c], lags[i]));
        print_message("\n");
    }
    /* Uniform weights of variance 1 / (3 H) have a spectral radius of 1 / sqrt 3: by theory
     * 3^(-lag/2), and less by tanh'. */
    assert_true(fraction(&of[RNN], 20) < pow(3, -0.5 * 20) * 10);
    assert_true(fraction(&of[RNN], 50) < 1e-9);
    /* Rotations lose by tanh' alone. */
    assert_true(fraction(&of[RNN_ORTHOGONAL], 20) > 100 * fraction(&of[RNN], 20));
    /* c loses by its forget gate f alone: near sigmoid(forget_bias) a step. */
    assert_true(fraction(&of[LSTM], 50) < 1e-6);
    for (int c = LSTM; c < LSTM_3; c++)
        assert_true(fraction(&of[c], 50) < fraction(&of[c + 1], 50));
    assert_true(fraction(&of[LSTM_3], 50) > 0.1 * pow(1 / (1 + exp(-3.0)), 50));
}

/* Nothing of the training depends on who asks. */
static void test_steps_are_the_same(void **state) {
    (void)state;
    const int64_t shape[3] = {7, 3, 1};
    bp_dataset *dataset = kit_data(shape, 2, false, 24);
    for (size_t k = 0; k < 3; k++) {
        const bp_layer layers[] = {
            kit_recurrent(kinds[k], 5, false), kit_dense(2, BP_ACTIVATION_LINEAR), {0}};
        bp_recipe recipe = kit_recipe(BP_MSE, 8);
        recipe.learning_rate = 0.1;
        double losses[2][30];
        for (int run = 0; run < 2; run++) {
            bp_model *model = kit_model(layers, &recipe, shape);
            bp_trainer *trainer = kit_trainer(model, dataset);
            for (int step = 0; step < 30; step++) {
                losses[run][step] = bp_trainer_step(trainer);
                /* An evaluation in between has more rows and leaves nothing behind. */
                if (run == 1)
                    assert_true(isfinite(bp_trainer_evaluate(trainer, &dataset->train).loss));
            }
            bp_trainer_close(trainer);
            bp_model_close(model);
        }
        assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
        assert_true(losses[0][29] < losses[0][0]);
    }
    bp_dataset_close(dataset);
}

/* States begin at 0, whatever a batch of another size has left in the same memory. */
static void test_evaluation_forgets_the_batch(void **state) {
    (void)state;
    const int64_t shape[3] = {7, 3, 1};
    const bp_recipe recipe = kit_recipe(BP_MSE, 8); /* a step changes nothing */
    bp_dataset *dataset = kit_data(shape, 2, false, 24);
    for (size_t k = 0; k < 3; k++) {
        const bp_layer layers[] = {
            kit_recurrent(kinds[k], 5, false), kit_dense(2, BP_ACTIVATION_LINEAR), {0}};
        bp_model *model = kit_model(layers, &recipe, shape);
        bp_trainer *trainer = kit_trainer(model, dataset);
        const bp_score before = bp_trainer_evaluate(trainer, &dataset->train);
        bp_trainer_step(trainer);
        const bp_score after = bp_trainer_evaluate(trainer, &dataset->train);
        assert_true(before.loss > 0 && before.loss == after.loss);
        bp_trainer_close(trainer);
        bp_model_close(model);
    }
    bp_dataset_close(dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_lag),
                                       cmocka_unit_test(test_steps_are_the_same),
                                       cmocka_unit_test(test_evaluation_forgets_the_batch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
