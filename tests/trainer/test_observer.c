/* SPDX-License-Identifier: Apache-2.0 */
/* What an observer is told in a step, in which order, and that nothing is told that it did not ask
 * for. That the tensors hold what they should is test_gradients.c's matter. */
#include "kit.h"
#include "observe/observe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct diary {
    uint32_t wanted[8];
    uint32_t n_layers;
    bool tells_steps, tells_scalars;
    char text[4096];
} diary;

static void note(diary *d, const char *format, ...) BP_PRINTF(2, 3);
static void note(diary *d, const char *format, ...) {
    const size_t length = strlen(d->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(d->text + length, sizeof d->text - length, format, arguments);
    va_end(arguments);
}

static bp_plan on_begin(void *context, const bp_step *step) {
    diary *d = context;
    assert_int_equal(step->struct_size, sizeof *step);
    if (d->tells_steps)
        note(d, "begin %lld samples %lld terms %lld rate %d/1000\n", (long long)step->step,
             (long long)step->samples, (long long)step->loss_terms,
             (int)lrint(1000 * step->learning_rate));
    return (bp_plan){d->wanted, d->n_layers};
}

static void on_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                      const bp_tensor *tensor) {
    note(context, "%u %s %d [%lld", layer, bp_role_name(role), (int)slot,
         (long long)tensor->shape[0]);
    if (tensor->ndim == 2) note(context, ", %lld", (long long)tensor->shape[1]);
    note(context, "]\n");
}

static void on_update(void *context, uint32_t layer, bp_slot slot, const bp_tensor *gradient,
                      const bp_tensor *before, const bp_tensor *after) {
    diary *d = context;
    note(d, "%u update %d\n", layer, (int)slot);
    const bp_real *g = gradient->data, *old = before->data, *new = after->data;
    assert_true(old != new && bp_tensor_count(before) == bp_tensor_count(after));
    for (int64_t i = 0; i < bp_tensor_count(after); i++)
        assert_true(fabs((double)(new[i] - (old[i] - (bp_real)0.5 * g[i]))) < 1e-6);
}

static void on_scalar(void *context, bp_metric metric, double value) {
    assert_true(isfinite(value));
    if (((diary *)context)->tells_scalars) note(context, "%s\n", bp_metric_name(metric));
}

static void on_end(void *context) {
    if (((diary *)context)->tells_steps) note(context, "end\n");
}

static void run_step(diary *d, const bp_layer *layers, bp_loss loss) {
    const int64_t shape[3] = {4, 1, 1};
    bp_recipe recipe = kit_recipe(loss, 5);
    recipe.learning_rate = 0.5;
    bp_dataset *dataset = kit_data(shape, 2, loss == BP_CROSS_ENTROPY, 10);
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    const bp_observer observer = {.context = d,
                                  .step_begin = on_begin,
                                  .tensor = on_tensor,
                                  .update = on_update,
                                  .scalar = on_scalar,
                                  .step_end = on_end};
    d->n_layers = bp_model_n_layers(model);
    bp_trainer_observe(trainer, &observer);
    bp_trainer_step(trainer);
    d->text[0] = '\0';
    bp_trainer_step(trainer);
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
}

static void want_everything(diary *d) {
    for (int layer = 0; layer < 8; layer++) d->wanted[layer] = (1u << BP_N_ROLES) - 1;
    d->tells_steps = d->tells_scalars = true;
}

static void test_order(void **state) {
    (void)state;
    bp_layer branch = kit_normed(3, BP_ACTIVATION_TANH, BP_NORM_LAYER, true);
    bp_layer frozen = kit_dense(3, BP_ACTIVATION_RELU);
    frozen.frozen = true;
    const bp_layer layers[] = {frozen,
                               branch,
                               kit_residual(1, 1),
                               kit_pool(3),
                               kit_normed(2, BP_ACTIVATION_TANH, BP_NORM_BATCH, false),
                               {0}};
    diary d = {0};
    want_everything(&d);
    run_step(&d, layers, BP_CROSS_ENTROPY);
    assert_string_equal(d.text, "begin 1 samples 5 terms 5 rate 500/1000\n"
                                "0 activation 0 [5, 4]\n"
                                "1 parameter 0 [3, 4]\n"
                                "1 parameter 1 [3]\n"
                                "2 parameter 0 [3, 3]\n"
                                "2 parameter 1 [3]\n"
                                "2 parameter 2 [3]\n"
                                "2 parameter 3 [3]\n"
                                "5 parameter 0 [2, 1]\n"
                                "5 parameter 1 [2]\n"
                                "5 parameter 2 [2]\n"
                                "5 parameter 3 [2]\n"
                                "smallest target\n"
                                "largest target\n"
                                "1 activation 0 [5, 3]\n"
                                "2 activation 0 [5, 3]\n"
                                "3 activation 0 [5, 3]\n"
                                "4 activation 0 [5, 1]\n"
                                "5 activation 0 [5, 2]\n"
                                "loss\n"
                                "train accuracy\n"
                                "5 error signal 0 [5, 2]\n"
                                "5 error signal before the activation 0 [5, 2]\n"
                                "5 error signal before the normalisation 0 [5, 2]\n"
                                "4 error signal 0 [5, 1]\n"
                                "3 error signal 0 [5, 3]\n"
                                "2 error signal 0 [5, 3]\n"
                                "2 error signal before the normalisation 0 [5, 3]\n"
                                "2 error signal before the activation 0 [5, 3]\n"
                                "2 error signal of the layer's input 0 [5, 3]\n"
                                "1 error signal 0 [5, 3]\n"
                                "1 error signal before the activation 0 [5, 3]\n"
                                "1 error signal of the layer's input 0 [5, 4]\n"
                                "2 gradient 0 [3, 3]\n"
                                "2 gradient 1 [3]\n"
                                "2 gradient 2 [3]\n"
                                "2 gradient 3 [3]\n"
                                "5 gradient 0 [2, 1]\n"
                                "5 gradient 1 [2]\n"
                                "5 gradient 2 [2]\n"
                                "5 gradient 3 [2]\n"
                                "2 update 0\n"
                                "2 update 1\n"
                                "2 update 2\n"
                                "2 update 3\n"
                                "5 update 0\n"
                                "5 update 1\n"
                                "5 update 2\n"
                                "5 update 3\n"
                                "end\n");
}

/* Only what the plan wants; loss and accuracy always come. Without classes there is no accuracy. */
static void test_plan(void **state) {
    (void)state;
    const bp_layer layers[] = {
        kit_dense(3, BP_ACTIVATION_TANH), kit_dense(2, BP_ACTIVATION_LINEAR), {0}};
    diary d = {.tells_steps = true, .tells_scalars = true};
    d.wanted[1] = 1u << BP_ROLE_UPDATE;
    d.wanted[2] = 1u << BP_ROLE_ERROR_OUTPUT;
    run_step(&d, layers, BP_MSE);
    assert_string_equal(d.text, "begin 1 samples 5 terms 10 rate 500/1000\n"
                                "loss\n"
                                "2 error signal 0 [5, 2]\n"
                                "1 update 0\n"
                                "1 update 1\n"
                                "end\n");
}

/* --- scalars of full steps -------------------------------------------------------------------- */

typedef struct numbers {
    uint32_t wanted[2];
    double last[BP_N_METRICS];
    double rate, squares; /* of all gradients */
} numbers;

static bp_plan numbers_begin(void *context, const bp_step *step) {
    numbers *n = context;
    n->rate = step->learning_rate;
    n->squares = 0;
    for (int i = 0; i < BP_N_METRICS; i++) n->last[i] = NAN;
    return (bp_plan){n->wanted, 1};
}

static void numbers_tensor(void *context, uint32_t layer, bp_role role, bp_slot slot,
                           const bp_tensor *tensor) {
    (void)layer, (void)slot;
    const bp_real *values = tensor->data;
    for (int64_t i = 0; role == BP_ROLE_GRADIENT && i < bp_tensor_count(tensor); i++)
        ((numbers *)context)->squares += (double)values[i] * (double)values[i];
}

static void numbers_scalar(void *context, bp_metric metric, double value) {
    ((numbers *)context)->last[metric] = value;
}

/* Three steps; the learning rate rises over two epochs of two. */
static numbers run_numbers(double clip_norm, double clip_value, bp_loss loss) {
    const int64_t shape[3] = {4, 1, 1};
    bp_recipe recipe = kit_recipe(loss, 5);
    recipe.learning_rate = 0.5;
    recipe.warm_up_epochs = 2;
    recipe.clip_norm = clip_norm;
    recipe.clip_value = clip_value;
    const bp_layer layers[] = {kit_dense(3, BP_ACTIVATION_LINEAR), {0}};
    bp_dataset *dataset = kit_data(shape, 3, loss == BP_CROSS_ENTROPY, 10);
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    numbers n = {.wanted = {1u << BP_ROLE_ACTIVATION, 1u << BP_ROLE_GRADIENT}};
    const bp_observer observer = {.context = &n,
                                  .step_begin = numbers_begin,
                                  .tensor = numbers_tensor,
                                  .scalar = numbers_scalar};
    bp_trainer_observe(trainer, &observer);
    for (int step = 0; step < 3; step++) {
        bp_trainer_step(trainer);
        /* of this update, not the recipe's */
        assert_true(n.rate == bp_recipe_learning_rate(bp_model_recipe(model), step));
    }
    const bp_part *train = &dataset->train;
    double least = INFINITY, most = -INFINITY; /* step 2 begins the second epoch: half of them */
    for (int64_t i = 0; i < train->n * 3; i++) {
        least = fmin(least, (double)train->targets[i]);
        most = fmax(most, (double)train->targets[i]);
    }
    if (loss == BP_CROSS_ENTROPY) {
        assert_true(n.last[BP_METRIC_TARGET_MIN] >= 0 && n.last[BP_METRIC_TARGET_MAX] == 2);
    } else {
        assert_true(n.last[BP_METRIC_TARGET_MIN] >= least && least < -1);
        assert_true(n.last[BP_METRIC_TARGET_MAX] <= most && most > 1);
        assert_true(n.last[BP_METRIC_TARGET_MIN] < 0 && n.last[BP_METRIC_TARGET_MAX] > 0);
    }
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
    return n;
}

static void test_scalars_of_full_steps(void **state) {
    (void)state;
    const numbers plain = run_numbers(0, 0, BP_CROSS_ENTROPY);
    assert_true(isnan(plain.last[BP_METRIC_UNCLIPPED_NORM])); /* nothing is clipped */
    run_numbers(0, 0, BP_MSE);
    const numbers by_norm = run_numbers(0.01, 0, BP_CROSS_ENTROPY);
    assert_true(fabs(sqrt(by_norm.squares) - 0.01) < 1e-5);
    assert_true(by_norm.last[BP_METRIC_UNCLIPPED_NORM] > 0.1);
    const numbers by_value = run_numbers(0, 0.001, BP_MSE);
    assert_true(sqrt(by_value.squares) <= 0.001 * sqrt(15) + 1e-9);
    assert_true(by_value.last[BP_METRIC_UNCLIPPED_NORM] > 0.1);
    const numbers in_vain = run_numbers(1e6, 0, BP_CROSS_ENTROPY);
    assert_true(fabs(in_vain.last[BP_METRIC_UNCLIPPED_NORM] / sqrt(in_vain.squares) - 1) < 1e-6);
    const numbers by_both = run_numbers(0.01, 0.001, BP_MSE);
    assert_true(by_both.squares == by_value.squares); /* then the norm is below its limit */
}

/* Watching must not change what is watched. */
static void test_watched_run_is_the_same(void **state) {
    (void)state;
    const int64_t shape[3] = {4, 1, 1};
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 5);
    recipe.learning_rate = 0.5;
    recipe.momentum = 0.9;
    const bp_layer layers[] = {kit_dense(3, BP_ACTIVATION_TANH),
                               kit_dense(3, BP_ACTIVATION_GELU),
                               kit_residual(1, 1),
                               kit_dense(2, BP_ACTIVATION_LINEAR),
                               {0}};
    bp_dataset *dataset = kit_data(shape, 2, true, 10);
    double losses[2][12];
    static diary d;
    want_everything(&d);
    d.tells_steps = d.tells_scalars = false;
    d.n_layers = 4;
    for (int layer = 0; layer < 8; layer++) d.wanted[layer] &= ~(1u << BP_ROLE_UPDATE);
    const bp_observer observer = {
        .context = &d, .step_begin = on_begin, .tensor = on_tensor, .step_end = on_end};
    for (int watched = 0; watched < 2; watched++) {
        bp_model *model = kit_model(layers, &recipe, shape);
        bp_trainer *trainer = kit_trainer(model, dataset);
        if (watched) bp_trainer_observe(trainer, &observer);
        for (int step = 0; step < 12; step++) losses[watched][step] = bp_trainer_step(trainer);
        bp_trainer_close(trainer);
        bp_model_close(model);
    }
    assert_true(strlen(d.text) > 100);
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    bp_dataset_close(dataset);
}

/* An observer may leave out any function. */
static void test_empty_observer(void **state) {
    (void)state;
    const int64_t shape[3] = {4, 1, 1};
    const bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 5);
    const bp_layer layers[] = {kit_dense(2, BP_ACTIVATION_LINEAR), {0}};
    bp_dataset *dataset = kit_data(shape, 2, true, 10);
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_trainer *trainer = kit_trainer(model, dataset);
    const bp_observer nothing = {0};
    bp_trainer_observe(trainer, &nothing);
    assert_true(isfinite(bp_trainer_step(trainer)));
    diary d = {.n_layers = 1};
    want_everything(&d);
    const bp_observer asked_only = {.context = &d, .step_begin = on_begin};
    bp_trainer_observe(trainer, &asked_only);
    assert_true(isfinite(bp_trainer_step(trainer)));
    bp_trainer_close(trainer);
    bp_model_close(model);
    bp_dataset_close(dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_scalars_of_full_steps),
        cmocka_unit_test(test_watched_run_is_the_same),
        cmocka_unit_test(test_empty_observer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
