/* SPDX-License-Identifier: Apache-2.0 */
#include "../diagnosis/chain.h"

#include "remedy/remedy.h"

/* A chain whose layers carry the initialiser that the measured weights come from. */
static bp_model *model_of(uint32_t n_layers, bp_activation activation, bp_init init) {
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (uint32_t i = 1; i <= n_layers; i++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .activation = i < n_layers ? activation : BP_ACTIVATION_LINEAR,
                                .has_bias = true,
                                .output_shape = {i < n_layers ? 64 : 10, 1, 1},
                                .weight_init = init,
                                .bias_init = {init.kind == BP_INIT_PYTORCH_DEFAULT
                                                  ? BP_INIT_PYTORCH_DEFAULT
                                                  : BP_INIT_ZEROS,
                                              0},
                                .item = i < n_layers ? 0 : 1};
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    const int64_t input[3] = {64, 1, 1};
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    const bp_recipe recipe = {.learning_rate = 0.1};
    bp_model_set_recipe(model, &recipe);
    return model;
}

static bp_remedy *remedy_of(const bp_model *model, bp_problem problem, const bp_evidence *evidence,
                            uint32_t n_evidence) {
    const bp_finding finding = {.problem = problem, .evidence = evidence, .n_evidence = n_evidence};
    bp_remedy *remedy = NULL;
    assert_int_equal(bp_remedy_open(&remedy, model, &finding, NULL, NULL), BP_OK);
    return remedy;
}

static void assert_edit(const bp_remedy *remedy, uint32_t i, const char *key, const char *value) {
    assert_non_null(remedy);
    assert_true(i < remedy->n_edits);
    assert_string_equal(remedy->edits[i].key, key);
    assert_string_equal(remedy->edits[i].value, value);
}

static void deep_sigmoid_becomes_tanh_with_xavier(void **state) {
    (void)state;
    for (uint32_t depth = 10; depth <= 40; depth += 10) {
        bp_model *model =
            model_of(depth, BP_ACTIVATION_SIGMOID, (bp_init){BP_INIT_PYTORCH_DEFAULT, 1});
        bp_remedy *remedy = remedy_of(model, BP_PROBLEM_VANISHING_GRADIENT, NULL, 0);
        assert_edit(remedy, 0, "net[0].activation", "tanh");
        assert_edit(remedy, 1, "init", "xavier");
        assert_int_equal(remedy->n_edits, 2);
        assert_string_equal(remedy->title, "use tanh with Xavier initialisation");
        bp_remedy_close(remedy);
        bp_model_close(model);
    }
}

static void weights_get_the_activations_critical_initialiser(void **state) {
    (void)state;
    static const struct {
        bp_activation activation;
        bp_init init;
        const char *value;
    } cases[] = {
        {BP_ACTIVATION_RELU, {BP_INIT_HE, 3}, "he"},
        {BP_ACTIVATION_RELU, {BP_INIT_PYTORCH_DEFAULT, 1}, "he"},
        {BP_ACTIVATION_LEAKY_RELU, {BP_INIT_NORMAL, 0.01}, "he"},
        {BP_ACTIVATION_TANH, {BP_INIT_NORMAL, 0.01}, "xavier"},
        {BP_ACTIVATION_TANH, {BP_INIT_XAVIER, 4}, "xavier"},
        {BP_ACTIVATION_GELU, {BP_INIT_PYTORCH_DEFAULT, 1}, "he"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bp_model *model = model_of(21, cases[i].activation, cases[i].init);
        bp_remedy *remedy = remedy_of(model, BP_PROBLEM_WEIGHTS_TOO_SMALL, NULL, 0);
        assert_edit(remedy, 0, "init", cases[i].value);
        assert_int_equal(remedy->n_edits, 1);
        bp_remedy_close(remedy);
        bp_model_close(model);
    }
}

/* Eight sigmoids between rectifiers: they are changed, and nothing else. */
static void sigmoids_among_others_are_what_to_change(void **state) {
    (void)state;
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (uint32_t i = 0; i < 21; i++) {
        const bool sigmoid = i >= 6 && i < 14;
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .activation = i == 20   ? BP_ACTIVATION_LINEAR
                                              : sigmoid ? BP_ACTIVATION_SIGMOID
                                                        : BP_ACTIVATION_RELU,
                                .output_shape = {64, 1, 1},
                                .weight_init = {BP_INIT_HE, 1},
                                .bias_init = {BP_INIT_ZEROS, 0},
                                .item = i < 6     ? 0
                                        : sigmoid ? 1
                                        : i < 20  ? 2
                                                  : 3};
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    const int64_t input[3] = {64, 1, 1};
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    bp_remedy *remedy = remedy_of(model, BP_PROBLEM_VANISHING_GRADIENT, NULL, 0);
    assert_non_null(remedy);
    assert_string_equal(remedy->edits[0].key, "net[1].activation");
    assert_int_equal(remedy->n_edits, 2);
    bp_remedy_close(remedy);
    bp_model_close(model);
}

static void what_passed_needs_no_remedy(void **state) {
    (void)state;
    bp_model *model = model_of(21, BP_ACTIVATION_SIGMOID, (bp_init){BP_INIT_PYTORCH_DEFAULT, 1});
    const bp_finding finding = {.problem = BP_PROBLEM_VANISHING_GRADIENT, .severity = BP_HINT};
    bp_remedy *remedy = NULL;
    assert_int_equal(bp_remedy_open(&remedy, model, &finding, NULL, NULL), BP_OK);
    assert_null(remedy);
    bp_model_close(model);
}

static void a_single_layer_is_mended_alone(void **state) {
    (void)state;
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (uint32_t i = 0; i < 3; i++) {
        const bp_layer layer = {
            .kind = BP_LAYER_DENSE,
            .activation = BP_ACTIVATION_TANH,
            .output_shape = {64, 1, 1},
            .own_init = i == 1,
            .frozen = i == 1,
            .item = i,
            .weight_init = {i == 1 ? BP_INIT_NORMAL : BP_INIT_XAVIER, i == 1 ? 1e-5 : 1}};
        assert_int_equal(bp_model_add_layer(model, &layer, NULL, NULL), BP_OK);
    }
    const int64_t input[3] = {64, 1, 1};
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    const bp_evidence evidence = {.name = "blamed_layer", .value = 2, .measured = true};
    bp_remedy *remedy = remedy_of(model, BP_PROBLEM_WEIGHTS_TOO_SMALL, &evidence, 1);
    assert_edit(remedy, 0, "net[1].init", "xavier");
    assert_int_equal(remedy->n_edits, 1);
    bp_remedy_close(remedy);
    bp_model_close(model);
}

static void a_step_that_is_too_long_is_shortened(void **state) {
    (void)state;
    bp_model *model = model_of(3, BP_ACTIVATION_RELU, (bp_init){BP_INIT_HE, 1});
    const bp_evidence evidence[] = {{.name = "over_steps", .value = 1, .measured = true},
                                    {.name = "update_ratio", .value = 5, .measured = true}};
    bp_remedy *remedy = remedy_of(model, BP_PROBLEM_EXPLODING_GRADIENT, evidence, 2);
    assert_edit(remedy, 0, "train.learning_rate", "0.001");
    bp_remedy_close(remedy);
    bp_model_close(model);
}

static void nothing_is_proposed_where_nothing_is_known_to_help(void **state) {
    (void)state;
    bp_model *model = model_of(21, BP_ACTIVATION_RELU, (bp_init){BP_INIT_HE, 1});
    assert_null(remedy_of(model, BP_PROBLEM_VANISHING_GRADIENT, NULL, 0));
    assert_null(remedy_of(model, BP_PROBLEM_NON_FINITE, NULL, 0));
    bp_model_close(model);
}

/* A gradient that grows through time inside one layer grows at any learning rate. */
static void growth_through_time_is_no_matter_of_the_learning_rate(void **state) {
    (void)state;
    static const bp_layer_kind kinds[] = {BP_LAYER_DENSE, BP_LAYER_RNN};
    for (size_t k = 0; k < 2; k++) {
        bp_model *model;
        const bp_layer first = {.kind = kinds[k],
                                .activation = BP_ACTIVATION_TANH,
                                .output_shape = {32, 1, 1},
                                .weight_init = {BP_INIT_XAVIER, 1}};
        const bp_layer last = {.kind = BP_LAYER_DENSE,
                               .activation = BP_ACTIVATION_LINEAR,
                               .output_shape = {1, 1, 1},
                               .weight_init = {BP_INIT_XAVIER, 1},
                               .item = 1};
        const int64_t input[3] = {100, 2, 1};
        assert_int_equal(bp_model_open(&model, NULL), BP_OK);
        if (kinds[k] == BP_LAYER_DENSE) {
            const bp_layer flat = {.kind = BP_LAYER_FLATTEN};
            assert_int_equal(bp_model_add_layer(model, &flat, NULL, NULL), BP_OK);
        }
        uint32_t id;
        assert_int_equal(bp_model_add_layer(model, &first, &id, NULL), BP_OK);
        assert_int_equal(bp_model_add_layer(model, &last, NULL, NULL), BP_OK);
        assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
        const bp_recipe recipe = {.learning_rate = 0.1};
        bp_model_set_recipe(model, &recipe);
        const bp_evidence evidence[] = {{.name = "blamed_layer", .value = id, .measured = true},
                                        {.name = "update_ratio", .value = 5, .measured = true}};
        bp_remedy *remedy = remedy_of(model, BP_PROBLEM_EXPLODING_GRADIENT, evidence, 2);
        if (kinds[k] == BP_LAYER_RNN)
            assert_edit(remedy, 0, "train.clip_norm", "1");
        else
            assert_edit(remedy, 0, "net[0].init", "xavier");
        bp_remedy_close(remedy);
        bp_model_close(model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep_sigmoid_becomes_tanh_with_xavier),
        cmocka_unit_test(weights_get_the_activations_critical_initialiser),
        cmocka_unit_test(sigmoids_among_others_are_what_to_change),
        cmocka_unit_test(what_passed_needs_no_remedy),
        cmocka_unit_test(a_single_layer_is_mended_alone),
        cmocka_unit_test(a_step_that_is_too_long_is_shortened),
        cmocka_unit_test(growth_through_time_is_no_matter_of_the_learning_rate),
        cmocka_unit_test(nothing_is_proposed_where_nothing_is_known_to_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
