/* SPDX-License-Identifier: Apache-2.0 */
/* What vanishes through time is not learnt: over 50 steps gated layers solve the adding problem, a
 * simple recurrent one trained the same way stays where guessing is. */
#include "kit.h"

#define STEPS 1250

static double validation_loss(bp_layer layer) {
    bp_error error;
    bp_dataset *dataset;
    if (bp_dataset_open(&dataset, "adding", NULL, &error) != BP_OK) fail_msg("%s", error.text);
    bp_recipe recipe = kit_recipe(BP_MSE, 32);
    recipe.optimiser = BP_ADAM;
    recipe.learning_rate = 0.01;
    recipe.beta1 = 0.9;
    recipe.beta2 = 0.999;
    recipe.epsilon = 1e-8;
    recipe.clip_norm = 1;
    recipe.seed = 1;
    const bp_layer layers[] = {layer, kit_dense(1, BP_ACTIVATION_LINEAR), {0}};
    bp_model *model = kit_model(layers, &recipe, dataset->input_shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    for (int step = 0; step < STEPS; step++) bp_trainer_step(trainer);
    const double loss = bp_trainer_evaluate(trainer, &dataset->validation).loss;
    print_message("%-4s after %d steps: %.5f\n", bp_layer_kind_name(layer.kind), STEPS, loss);
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
    return loss;
}

static void test_lstm_adds(void **state) {
    (void)state;
    bp_layer layer = kit_recurrent(BP_LAYER_LSTM, 32, false);
    layer.forget_bias = 1;
    assert_true(validation_loss(layer) < 0.02);
}

static void test_gru_adds(void **state) {
    (void)state;
    assert_true(validation_loss(kit_recurrent(BP_LAYER_GRU, 32, false)) < 0.02);
}

static void test_rnn_guesses(void **state) {
    (void)state;
    const double loss = validation_loss(kit_recurrent(BP_LAYER_RNN, 32, false));
    assert_true(loss > 0.9 / 6 && loss < 1.2 / 6); /* the targets' variance is 1/6 */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lstm_adds),
                                       cmocka_unit_test(test_gru_adds),
                                       cmocka_unit_test(test_rnn_guesses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
