/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers in whole training steps, against their formulas in f64: each step's own gradient is
 * read from the trainer, the reference keeps its own state. */
#include "kit.h"
#include "trainer/operators.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 7
#define VALUES 64

static const int64_t shape[3] = {5, 1, 1};

typedef struct reference { /* of all parameters, one after the other */
    double w[VALUES], m[VALUES], v[VALUES];
} reference;

static void sgd(const bp_recipe *recipe, reference *r, int i, double g, int t) {
    r->v[i] = t == 1 ? g : recipe->momentum * r->v[i] + g; /* as PyTorch begins */
    r->w[i] -= recipe->learning_rate * r->v[i];
}

static void adam(const bp_recipe *recipe, reference *r, int i, double g, int t) {
    r->m[i] = recipe->beta1 * r->m[i] + (1 - recipe->beta1) * g;
    r->v[i] = recipe->beta2 * r->v[i] + (1 - recipe->beta2) * g * g;
    const double m_hat = r->m[i] / (1 - pow(recipe->beta1, t));
    const double v_hat = r->v[i] / (1 - pow(recipe->beta2, t));
    r->w[i] -= recipe->learning_rate * m_hat / (sqrt(v_hat) + recipe->epsilon);
}

static int read_all(bp_trainer *trainer, double *values, bool gradients) {
    int n = 0;
    for (size_t p = 0; p < bp_trainer_n_parameters(trainer); p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        const bp_tensor *from = gradients ? &parameter->gradient : &parameter->value;
        const bp_real *data = from->data;
        for (int64_t i = 0; i < bp_tensor_count(from); i++) values[n++] = data[i];
        assert_true(n <= VALUES);
    }
    return n;
}

static void check(const bp_recipe *recipe,
                  void (*update)(const bp_recipe *, reference *, int, double, int)) {
    const bp_layer layers[] = {
        kit_dense(4, BP_ACTIVATION_TANH), kit_dense(3, BP_ACTIVATION_LINEAR), {0}};
    bp_model *model = kit_model(layers, recipe, shape);
    bp_dataset *dataset = kit_data(shape, 3, true, 20);
    bp_trainer *trainer = kit_trainer(model, dataset);
    reference r = {0};
    double gradient[VALUES], found[VALUES];
    const int n = read_all(trainer, r.w, false);
    assert_int_equal(n, 4 * 5 + 4 + 3 * 4 + 3);
    for (int t = 1; t <= STEPS; t++) {
        bp_trainer_step(trainer);
        read_all(trainer, gradient, true);
        read_all(trainer, found, false);
        for (int i = 0; i < n; i++) {
            update(recipe, &r, i, gradient[i], t);
            assert_true(fabs(found[i] - r.w[i]) < 1e-13);
        }
    }
    bp_trainer_close(trainer);
    bp_dataset_close(dataset);
    bp_model_close(model);
}

static void test_sgd(void **state) {
    (void)state;
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 8);
    recipe.learning_rate = 0.3;
    check(&recipe, sgd);
}

static void test_momentum(void **state) {
    (void)state;
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 8);
    recipe.learning_rate = 0.1;
    recipe.momentum = 0.9;
    check(&recipe, sgd);
}

static void test_adam(void **state) {
    (void)state;
    bp_recipe recipe = kit_recipe(BP_MSE, 8);
    recipe.optimiser = BP_ADAM;
    recipe.learning_rate = 0.01;
    recipe.beta1 = 0.8;
    recipe.beta2 = 0.95;
    recipe.epsilon = 1e-3;
    check(&recipe, adam);
}

static void test_frozen_layer_stays(void **state) {
    (void)state;
    bp_layer frozen = kit_normed(4, BP_ACTIVATION_TANH, BP_NORM_LAYER, false);
    frozen.frozen = true;
    const bp_layer layers[] = {
        kit_dense(4, BP_ACTIVATION_TANH), frozen, kit_dense(3, BP_ACTIVATION_LINEAR), {0}};
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, 8);
    recipe.learning_rate = 0.1;
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_dataset *dataset = kit_data(shape, 3, true, 20);
    bp_trainer *trainer = kit_trainer(model, dataset);
    bp_real before[8][32];
    assert_int_equal(bp_trainer_n_parameters(trainer), 8);
    for (size_t p = 0; p < 8; p++) {
        const bp_tensor *value = &bp_trainer_parameter(trainer, p)->value;
        memcpy(before[p], value->data, (size_t)bp_tensor_count(value) * sizeof(bp_real));
    }
    bp_trainer_step(trainer);
    for (size_t p = 0; p < 8; p++) {
        const bp_parameter *parameter = bp_trainer_parameter(trainer, p);
        const size_t n_bytes = (size_t)bp_tensor_count(&parameter->value) * sizeof(bp_real);
        assert_int_equal(parameter->trained, parameter->layer != 2);
        assert_int_equal(memcmp(before[p], parameter->value.data, n_bytes) != 0,
                         parameter->trained);
    }
    bp_trainer_close(trainer);
    bp_dataset_close(dataset);
    bp_model_close(model);
}

/* PyTorch reckons the norm in f32: with gradients of 1e30 it is Inf, and all become 0. */
static void test_clipping(void **state) {
    (void)state;
    const bp_recipe by_norm = {.clip_norm = 5}, by_value = {.clip_value = 2};
    bp_real huge[2] = {(bp_real)3e30, (bp_real)-4e30};
    bp_clip_gradients(&by_norm, 2, huge, NULL);
    assert_true(fabs(huge[0] - 3) < 1e-6 && fabs(huge[1] + 4) < 1e-6);
    bp_real small[2] = {3, 2}; /* norm 3.6: left as it is */
    bp_clip_gradients(&by_norm, 2, small, NULL);
    assert_true(small[0] == 3 && small[1] == 2);
    bp_real bad[3] = {NAN, INFINITY, 100};
    bp_clip_gradients(&by_norm, 3, bad, NULL); /* the producer stays to be seen */
    assert_true(isnan(bad[0]) && isinf(bad[1]) && bad[2] == 100);
    bp_clip_gradients(&by_value, 3, bad, NULL);
    assert_true(isnan(bad[0]) && bad[1] == 2 && bad[2] == 2);
    const bp_recipe none = {0};
    bp_clip_gradients(&none, 2, huge, NULL);
    assert_true(fabs(huge[0] - 3) < 1e-6);
}

/* More parameters than a block of the penalties' scratch. */
static void test_penalties_of_many(void **state) {
    (void)state;
    enum { MANY = 1000 };
    static bp_real w[MANY], gradient[MANY], velocity[MANY];
    const bp_recipe recipe = {.optimiser = BP_SGD, .momentum = 0.5, .l1 = 0.1, .l2 = 0.01};
    const bp_update update = {&recipe, 0.5, 1};
    for (int i = 0; i < MANY; i++) {
        w[i] = i - 500;
        gradient[i] = 0.001 * i;
    }
    for (int step = 0; step < 2; step++) bp_optimise(&update, MANY, gradient, velocity, NULL, w);
    for (int i = 0; i < MANY; i++) {
        double expected = i - 500, v = 0;
        for (int step = 0; step < 2; step++) {
            v = 0.5 * v + 0.001 * i + 0.01 * expected + 0.1 * ((expected > 0) - (expected < 0));
            expected -= 0.5 * v;
        }
        assert_true(fabs(w[i] - expected) < 1e-12 * 500);
        assert_true(gradient[i] == 0.001 * i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sgd),      cmocka_unit_test(test_momentum),
        cmocka_unit_test(test_adam),     cmocka_unit_test(test_frozen_layer_stays),
        cmocka_unit_test(test_clipping), cmocka_unit_test(test_penalties_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
