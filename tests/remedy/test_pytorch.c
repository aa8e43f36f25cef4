/* SPDX-License-Identifier: Apache-2.0 */
/* Remedies for a network of PyTorch: the lines of Python, to the letter. That they mend is shown by
 * tests/pytorch/test_words.py. */
#include "../diagnosis/chain.h"

#include "remedy/plan.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct shape {
    bp_layer_kind kind;
    const char *name, *activation_name;
    bp_activation activation;
    uint32_t depth;
    bool frozen, no_bias;
} shape;

static void add(bp_model *model, const shape *s, bp_init init) {
    const bool residual = s->kind == BP_LAYER_RESIDUAL;
    const bp_layer layer = {.name = s->name,
                            .kind = s->kind ? s->kind : BP_LAYER_DENSE,
                            .activation = s->activation ? s->activation : BP_ACTIVATION_LINEAR,
                            .activation_name = s->activation_name,
                            .depth_in_blocks = s->depth,
                            .frozen = s->frozen,
                            .has_bias = !s->no_bias,
                            .fan_in = 64,
                            .fan_out = 64,
                            .output_shape = {64, 1, 1},
                            .n_branch = residual ? 1 : 0,
                            .branch_scale = 1,
                            .weight_init = init,
                            .bias_init = {BP_INIT_ZEROS, 0}};
    bp_error error;
    if (bp_model_add_layer(model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
}

static bp_model *open_model(const bp_recipe *recipe) {
    bp_model *model;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    assert_int_equal(bp_model_set_origin(model, "pytorch"), BP_OK);
    if (recipe) bp_model_set_recipe(model, recipe);
    return model;
}

static bp_model *model_of(const shape *shapes, uint32_t n, bp_init init) {
    bp_model *model = open_model(NULL);
    for (uint32_t i = 0; i < n; i++) add(model, &shapes[i], init);
    return model;
}

/* net.0, net.2 … with sigmoids between them, as nn.Sequential has it. */
static bp_model *deep_sigmoid(uint32_t n, bool modules) {
    bp_model *model = open_model(NULL);
    for (uint32_t i = 0; i < n; i++) {
        char name[32], activation_name[32];
        snprintf(name, sizeof name, "net.%u", 2 * i);
        snprintf(activation_name, sizeof activation_name, "net.%u", 2 * i + 1);
        const bool last = i + 1 == n;
        const shape s = {.name = name,
                         .activation_name = last || !modules ? NULL : activation_name,
                         .activation = last ? BP_ACTIVATION_LINEAR : BP_ACTIVATION_SIGMOID};
        add(model, &s, (bp_init){BP_INIT_PYTORCH_DEFAULT, 1});
    }
    return model;
}

/* The code as one text; "" without any; to be freed. */
static char *code_of(const bp_model *model, const bp_finding *finding) {
    bp_remedy *remedy = NULL;
    assert_int_equal(bp_remedy_open(&remedy, model, finding, NULL, NULL), BP_OK);
    assert_non_null(remedy);
    assert_int_equal(remedy->n_edits, 0);
    assert_true(strlen(remedy->title) > 0);
    size_t length = 1;
    for (uint32_t i = 0; i < remedy->n_lines; i++) length += strlen(remedy->lines[i]) + 1;
    char *code = calloc(length, 1);
    for (uint32_t i = 0; i < remedy->n_lines; i++) {
        strcat(code, remedy->lines[i]);
        strcat(code, "\n");
    }
    bp_remedy_close(remedy);
    return code;
}

static void assert_code(bp_model *model, const bp_finding *finding, const char *expected) {
    char *code = code_of(model, finding);
    assert_string_equal(code, expected);
    free(code);
    bp_model_close(model);
}

static const bp_finding vanishing = {.problem = BP_PROBLEM_VANISHING_GRADIENT};
static const bp_finding too_small = {.problem = BP_PROBLEM_WEIGHTS_TOO_SMALL};
static const bp_init tiny = {BP_INIT_NORMAL, 1e-3};

static void a_deep_sigmoid_gets_tanh_and_xavier(void **state) {
    (void)state;
    assert_code(deep_sigmoid(20, true), &vanishing,
                "for i in range(1, 38, 2):\n"
                "    model.net[i] = nn.Tanh()\n"
                "# once, before training\n"
                "for i in range(0, 39, 2):\n"
                "    nn.init.xavier_normal_(model.net[i].weight)\n"
                "    nn.init.zeros_(model.net[i].bias)\n");
}

/* Functions in forward() cannot be changed from outside. */
static void functions_are_left_to_the_reader(void **state) {
    (void)state;
    assert_code(deep_sigmoid(20, false), &vanishing,
                "# torch.tanh in place of torch.sigmoid after \"net.0\", \"net.2\", \"net.4\" "
                "and 16 more\n"
                "# once, before training\n"
                "for i in range(0, 39, 2):\n"
                "    nn.init.xavier_normal_(model.net[i].weight)\n"
                "    nn.init.zeros_(model.net[i].bias)\n");
}

/* One nn.Sigmoid for all, of the output as well: replacing it would change the output. */
static void a_module_that_the_output_needs_stays(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        bp_model *model = open_model(NULL);
        for (uint32_t i = 0; i < 12; i++) {
            char name[32];
            snprintf(name, sizeof name, "fc%u", i);
            const shape s = {.name = name,
                             .activation_name = i < 11 || shared ? "act" : "out",
                             .activation = BP_ACTIVATION_SIGMOID};
            add(model, &s, (bp_init){BP_INIT_PYTORCH_DEFAULT, 1});
        }
        char *code = code_of(model, &vanishing);
        const char *expected = shared ? "# torch.tanh in place of torch.sigmoid after \"fc0\", "
                                        "\"fc1\", \"fc2\" and 8 more\n#"
                                      : "model.act = nn.Tanh()\n#";
        assert_int_equal(strncmp(code, expected, strlen(expected)), 0);
        assert_non_null(strstr(code, "for i in range(12):\n"
                                     "    nn.init.xavier_normal_(model.get_submodule("
                                     "f\"fc{i}\").weight)\n"));
        free(code);
        bp_model_close(model);
    }
}

/* What was never called stands behind the output, and is no reason to change that. */
static void the_output_is_the_last_that_was_called(void **state) {
    (void)state;
    bp_model *model = deep_sigmoid(12, true);
    const bp_layer output = {.name = "out",
                             .kind = BP_LAYER_DENSE,
                             .activation = BP_ACTIVATION_SIGMOID,
                             .activation_name = "last",
                             .output_shape = {1, 1, 1},
                             .fan_in = 64,
                             .fan_out = 1,
                             .weight_init = {BP_INIT_XAVIER, 1}};
    const bp_layer unused = {.name = "unused", .kind = BP_LAYER_DENSE, .fan_in = 4, .fan_out = 4};
    assert_int_equal(bp_model_add_layer(model, &output, NULL, NULL), BP_OK);
    assert_int_equal(bp_model_add_layer(model, &unused, NULL, NULL), BP_OK);
    char *code = code_of(model, &vanishing);
    assert_null(strstr(code, "last"));
    assert_non_null(strstr(code, "range(1, 22, 2)"));
    free(code);
    bp_model_close(model);
}

/* A residual network: blocks of two convolutions, a projection here and there, a head. */
static void branches_are_reached_by_name(void **state) {
    (void)state;
    bp_model *model = open_model(NULL);
    const shape stem = {.name = "stem", .activation = BP_ACTIVATION_RELU, .no_bias = true};
    add(model, &stem, tiny);
    for (uint32_t i = 0; i < 8; i++) {
        char a[32], b[32], sum[32];
        snprintf(a, sizeof a, "layer%u.%u.conv1", i / 4 + 1, i % 4);
        snprintf(b, sizeof b, "layer%u.%u.conv2", i / 4 + 1, i % 4);
        snprintf(sum, sizeof sum, "layer%u.%u", i / 4 + 1, i % 4);
        const shape in = {.name = a, .activation = BP_ACTIVATION_RELU, .depth = 1, .no_bias = true};
        const shape out = {.name = b, .depth = 1, .no_bias = true};
        const shape end = {
            .name = sum, .kind = BP_LAYER_RESIDUAL, .activation = BP_ACTIVATION_RELU};
        add(model, &in, tiny);
        add(model, &out, tiny);
        add(model, &end, tiny);
    }
    const shape neck = {.name = "neck", .activation = BP_ACTIVATION_RELU};
    const shape head = {.name = "head"};
    add(model, &neck, tiny);
    add(model, &head, tiny);
    assert_code(model, &too_small,
                "# once, before training\n"
                "for name in [\n"
                "    \"stem\", *(f\"layer1.{i}.conv1\" for i in range(4)),\n"
                "    *(f\"layer1.{i}.conv2\" for i in range(4)), "
                "*(f\"layer2.{i}.conv1\" for i in range(4)),\n"
                "    *(f\"layer2.{i}.conv2\" for i in range(4)), \"neck\", \"head\",\n"
                "]:\n"
                "    nn.init.kaiming_normal_(model.get_submodule(name).weight, "
                "nonlinearity=\"relu\")\n"
                "    if model.get_submodule(name).bias is not None:\n"
                "        nn.init.zeros_(model.get_submodule(name).bias)\n");
}

static void one_layer_is_named_even_in_a_branch(void **state) {
    (void)state;
    const shape shapes[] = {{.name = "net.0", .activation = BP_ACTIVATION_TANH},
                            {.name = "blocks.3.fc", .activation = BP_ACTIVATION_TANH, .depth = 1},
                            {.name = "blocks.3", .kind = BP_LAYER_RESIDUAL},
                            {.name = "head"}};
    const bp_evidence evidence = {.name = "blamed_layer", .value = 2, .measured = true};
    const bp_finding finding = {
        .problem = BP_PROBLEM_WEIGHTS_TOO_SMALL, .evidence = &evidence, .n_evidence = 1};
    assert_code(model_of(shapes, 4, tiny), &finding,
                "# once, before training\n"
                "nn.init.xavier_normal_(model.blocks[3].fc.weight)\n"
                "nn.init.zeros_(model.blocks[3].fc.bias)\n");
}

/* Pretrained weights are not thrown away. */
static void frozen_layers_keep_their_weights(void **state) {
    (void)state;
    shape shapes[24] = {0};
    char names[24][16];
    for (uint32_t i = 0; i < 24; i++) {
        snprintf(names[i], sizeof names[i], "l.%u", i);
        shapes[i] = (shape){
            .name = names[i], .activation = BP_ACTIVATION_TANH, .frozen = i < 3, .no_bias = true};
    }
    assert_code(model_of(shapes, 24, tiny), &too_small,
                "# once, before training\n"
                "for i in range(3, 24):\n"
                "    nn.init.xavier_normal_(model.l[i].weight)\n");
}

/* A name may hold anything: it stays inside its literal. */
static void hostile_names_stay_literals(void **state) {
    (void)state;
    const char *const odd[] = {
        "a\"); import os; (\"", "b\\", "c\nd", "{e}", "class", "x-1", "0", "\xc3\xa4"};
    shape shapes[8] = {0};
    for (uint32_t i = 0; i < 8; i++)
        shapes[i] = (shape){.name = odd[i], .activation = BP_ACTIVATION_TANH, .no_bias = true};
    assert_code(model_of(shapes, 8, tiny), &too_small,
                "# once, before training\n"
                "for name in [\n"
                "    \"a\\\"); import os; (\\\"\", \"b\\\\\", \"c\\x0ad\", \"{e}\", "
                "\"class\", \"x-1\", \"0\", \"\xc3\xa4\",\n"
                "]:\n"
                "    nn.init.xavier_normal_(model.get_submodule(name).weight)\n");
}

/* A path that may have been cut leads nowhere: words only. */
static void a_name_that_may_be_cut_is_not_used(void **state) {
    (void)state;
    char name[BP_LAYER_NAME_BYTES + 1];
    memset(name, 'n', sizeof name);
    name[BP_LAYER_NAME_BYTES] = '\0';
    const shape shapes[] = {{.name = name, .activation = BP_ACTIVATION_TANH},
                            {.name = "b", .activation = BP_ACTIVATION_TANH},
                            {.name = "c", .activation = BP_ACTIVATION_TANH},
                            {.name = "d"}};
    assert_code(model_of(shapes, 4, tiny), &too_small, "");
}

static const bp_evidence long_step[] = {{.name = "over_steps", .value = 1, .measured = true},
                                        {.name = "update_ratio", .value = 5, .measured = true},
                                        {.name = "clipping", .value = 3, .measured = true}};

static void the_optimiser_is_made_with_a_lower_rate(void **state) {
    (void)state;
    static const struct {
        bp_recipe recipe;
        const char *line;
    } cases[] = {
        {{.optimiser = BP_SGD, .learning_rate = 1, .momentum = 0.9, .nesterov = true},
         "optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)"
         "  # lr was 1\n"},
        {{.optimiser = BP_ADAMW, .learning_rate = 0.5, .weight_decay = 0.01},
         "optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)  # lr was 0.5\n"},
        {{.optimiser = BP_ADAM, .learning_rate = 0.5, .weight_decay = 0.1},
         "optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)"
         "  # lr was 0.5\n"},
        {{.optimiser = BP_OPTIMISER_OTHER, .learning_rate = 1},
         "for group in optimizer.param_groups:\n    group[\"lr\"] = 0.01  # was 1\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t clipped = 0; clipped < 2; clipped++) {
            const shape layer = {.name = "a"};
            const bp_finding finding = {.problem = BP_PROBLEM_EXPLODING_GRADIENT,
                                        .evidence = long_step,
                                        .n_evidence = 2 + clipped};
            bp_model *model = open_model(&cases[i].recipe);
            add(model, &layer, tiny);
            char expected[512];
            snprintf(expected, sizeof expected, "%s%s", cases[i].line,
                     clipped ? ""
                             : "# in every step, between loss.backward() and optimizer.step()\n"
                               "torch.nn.utils.clip_grad_norm_(model.parameters(), 1)\n");
            assert_code(model, &finding, expected);
        }
}

static void growth_through_time_is_clipped(void **state) {
    (void)state;
    const shape shapes[] = {{.name = "rnn", .kind = BP_LAYER_RNN, .activation = BP_ACTIVATION_TANH},
                            {.name = "head"}};
    const bp_evidence evidence[] = {{.name = "blamed_layer", .value = 1, .measured = true},
                                    {.name = "update_ratio", .value = 5, .measured = true}};
    const bp_finding finding = {
        .problem = BP_PROBLEM_EXPLODING_GRADIENT, .evidence = evidence, .n_evidence = 2};
    assert_code(model_of(shapes, 2, (bp_init){BP_INIT_XAVIER, 1}), &finding,
                "# in every step, between loss.backward() and optimizer.step()\n"
                "torch.nn.utils.clip_grad_norm_(model.parameters(), 1)\n");
}

/* Where the weights were not found to be wrong and the initialiser is not known, another one is no
 * more than a guess. */
static void unknown_initialisers_are_not_blamed(void **state) {
    (void)state;
    shape shapes[12] = {0};
    char names[12][16];
    for (uint32_t i = 0; i < 12; i++) {
        snprintf(names[i], sizeof names[i], "l.%u", i);
        shapes[i] = (shape){.name = names[i], .activation = BP_ACTIVATION_RELU};
    }
    bp_model *model = model_of(shapes, 12, (bp_init){BP_INIT_UNKNOWN, 0});
    bp_remedy *remedy = NULL;
    assert_int_equal(bp_remedy_open(&remedy, model, &vanishing, NULL, NULL), BP_OK);
    assert_null(remedy);
    char *code = code_of(model, &too_small);
    assert_non_null(strstr(code, "kaiming_normal_"));
    free(code);
    bp_model_close(model);
}

static char *loop_over(char (*list)[24], uint32_t n, const char *expected_one) {
    bp_code code = {.allocator = bp_allocator_system}, one = {.allocator = bp_allocator_system};
    bp_names names = {0};
    for (uint32_t i = 0; i < n; i++) bp_names_add(&names, &code.allocator, list[i]);
    bp_names_add_loop(&code, &one, &names);
    assert_false(code.failed || one.failed || names.failed);
    assert_string_equal(one.bytes, expected_one);
    char *text = strdup(code.bytes);
    bp_names_finish(&names, &code.allocator);
    bp_code_finish(&code);
    bp_code_finish(&one);
    return text;
}

/* Ten thousand layers are as few words as ten where their names are regular; and no name
 * is lost where they are not. */
static void many_names_are_few_words(void **state) {
    (void)state;
    static char list[10000][24];
    const uint32_t n = 10000;
    for (uint32_t i = 0; i < n; i++)
        snprintf(list[i], sizeof list[i], "b.%u.%s", i / 2, i % 2 ? "x" : "y");
    char *text = loop_over(list, n, "name");
    assert_string_equal(text, "for name in [*(f\"b.{i}.y\" for i in range(5000)), "
                              "*(f\"b.{i}.x\" for i in range(5000))]:\n");
    free(text);
    for (uint32_t i = 0; i < n; i++)
        snprintf(list[i], sizeof list[i], "n%c%c%u", 'a' + (char)(i % 26), 'a' + (char)(i % 23),
                 i * i);
    text = loop_over(list, n, "name");
    uint32_t n_names = 0;
    for (const char *at = text; *at; at++) n_names += *at == '"';
    assert_true(n_names > 2 * 9000);
    free(text);
}

static void ranges_are_exact(void **state) {
    (void)state;
    static const struct {
        const char *names; /* separated by spaces */
        const char *loop, *one;
    } cases[] = {
        {"a.3 a.5 a.7", "for i in range(3, 8, 2):\n", "model.a[i]"},
        {"a.3 a.5 a.8", "for name in [\"a.3\", \"a.5\", \"a.8\"]:\n", "name"},
        {"a.0 a.1", "for i in range(2):\n", "model.a[i]"},
        {"a.0 a.1 a.2 a.4", "for name in [*(f\"a.{i}\" for i in range(3)), \"a.4\"]:\n", "name"},
        {"a.00 a.01 a.02", "for name in [\"a.00\", \"a.01\", \"a.02\"]:\n", "name"},
        {"fc1 fc2 fc3", "for i in range(1, 4):\n", "f\"fc{i}\""},
        {"a.0.b.1 a.1.b.1 a.2.b.1", "for i in range(3):\n", "model.a[i].b[1]"},
        {"a.0.1x a.1.1x a.2.1x", "for i in range(3):\n", "f\"a.{i}.1x\""},
        {"a.9999999999 a.1 a.2", "for name in [\"a.9999999999\", \"a.1\", \"a.2\"]:\n", "name"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char list[8][24], all[128];
        uint32_t n = 0;
        snprintf(all, sizeof all, "%s", cases[c].names);
        for (char *name = strtok(all, " "); name; name = strtok(NULL, " "))
            snprintf(list[n++], sizeof list[0], "%s", name);
        char *text = loop_over(list, n, cases[c].one);
        assert_string_equal(text, cases[c].loop);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deep_sigmoid_gets_tanh_and_xavier),
        cmocka_unit_test(functions_are_left_to_the_reader),
        cmocka_unit_test(a_module_that_the_output_needs_stays),
        cmocka_unit_test(the_output_is_the_last_that_was_called),
        cmocka_unit_test(branches_are_reached_by_name),
        cmocka_unit_test(one_layer_is_named_even_in_a_branch),
        cmocka_unit_test(frozen_layers_keep_their_weights),
        cmocka_unit_test(hostile_names_stay_literals),
        cmocka_unit_test(a_name_that_may_be_cut_is_not_used),
        cmocka_unit_test(the_optimiser_is_made_with_a_lower_rate),
        cmocka_unit_test(growth_through_time_is_clipped),
        cmocka_unit_test(unknown_initialisers_are_not_blamed),
        cmocka_unit_test(many_names_are_few_words),
        cmocka_unit_test(ranges_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
