/* SPDX-License-Identifier: Apache-2.0 */
/* What helps against each problem: the edits, which are applied to a network file, and with the
 * argument --python the lines for a network of PyTorch, which python_cures.py parses. */
#include "../diagnosis/chain.h"

#include <backprobe/netfile.h>

#include "remedy/remedy.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_NUMBERS 3

typedef struct number {
    const char *name;
    double value;
} number;

typedef struct example {
    bp_problem problem;
    const char *file; /* behind "version: 1\ndata: digits\n", or as a whole when it begins so */
    number numbers[MAX_NUMBERS];
    int64_t since_step;
    const char *title;
    const char *changed; /* a line of the edited file; NULL: it is not changed */
} example;

#define RELU_NET "net: [2 x dense 16 relu, dense 10]\ninit: he\ntrain: {learning_rate: 0.5}\n"

static const example examples[] = {
    {BP_PROBLEM_LEARNING_RATE_TOO_HIGH,
     RELU_NET,
     {{"update_ratio", 0.4}},
     0,
     "lower the learning rate to 0.01",
     "train: {learning_rate: 0.01}"},
    {BP_PROBLEM_LEARNING_RATE_TOO_LOW,
     "net: [dense 10]\ntrain: {learning_rate: 1e-6}\n",
     {{"raise_by", 600}, {"update_ratio", 1e-6}},
     0,
     "raise the learning rate to 0.0006",
     "train: {learning_rate: 0.0006}"},
    {BP_PROBLEM_OSCILLATING_LOSS,
     RELU_NET,
     {{0}},
     0,
     "lower the learning rate to 0.2",
     "train: {learning_rate: 0.2}"},
    {BP_PROBLEM_CONSTANT_INIT,
     "net: [2 x dense 16 relu, dense 10]\ninit: {constant: 0.1}\n",
     {{0}},
     0,
     "draw the weights at random: He initialisation",
     "init: he"},
    {BP_PROBLEM_ZERO_INIT,
     "net: [dense 16 tanh, {dense: 16, activation: tanh, init: zeros}, dense 10]\ninit: xavier\n",
     {{"only", 2}},
     0,
     "draw the weights at random: Xavier initialisation",
     "net: [dense 16 tanh, {dense: 16, activation: tanh, init: xavier}, dense 10]"},
    {BP_PROBLEM_SYMMETRIC_UNITS,
     "net: [dense 16 relu, dense 10]\n",
     {{0}},
     0,
     "draw the weights at random: He initialisation",
     "init: he"},
    {BP_PROBLEM_DEAD_UNITS,
     RELU_NET,
     {{"dead_fraction", 0.9}, {"update_ratio", 3}},
     40,
     "lower the learning rate to 0.01",
     "train: {learning_rate: 0.01}"},
    {BP_PROBLEM_DEAD_UNITS,
     RELU_NET,
     {{"dead_fraction", 0.9}},
     0,
     "use leaky ReLU",
     "net: [2 x dense 16 leaky_relu, dense 10]"},
    {BP_PROBLEM_SATURATED_UNITS,
     "net: [2 x dense 16 tanh, dense 10]\ninit: {normal: 3}\n",
     {{"saturated_fraction", 0.9}},
     0,
     "use Xavier initialisation",
     "init: xavier"},
    {BP_PROBLEM_INPUT_NOT_NORMALISED,
     "version: 1\ndata: {name: spirals, normalise: none}\nnet: [dense 2]\n",
     {{"feature_scales", 1e4}},
     0,
     "standardise the inputs",
     "data: {name: spirals, normalise: standard}"},
    {BP_PROBLEM_WRONG_LAST_LAYER,
     "net: [dense 16 relu, dense 10 softmax]\n",
     {{0}},
     0,
     "leave the softmax of the last layer away",
     "net: [dense 16 relu, dense 10 linear]"},
    {BP_PROBLEM_WRONG_LAST_LAYER,
     "net: [dense 16 relu, dense 10, softmax]\n",
     {{0}},
     0,
     "leave the softmax of the last layer away",
     "net: [dense 16 relu, dense 10, linear]"},
    {BP_PROBLEM_LABELS_OUT_OF_RANGE,
     RELU_NET,
     {{0}},
     0,
     "check the targets and the number of outputs",
     NULL},
    {BP_PROBLEM_OVERFITTING,
     "net: [dense 10]\ntrain: {epochs: 40}\n",
     {{"best_step", 399}},
     399,
     "stop at step 399, where it was best",
     "train: {epochs: 10}"},
    {BP_PROBLEM_MEMORISING,
     "net: [dense 10]\ntrain: {epochs: 40}\n",
     {{0}},
     0,
     "use weight decay of 0.0001",
     "train: {epochs: 40, l2: 0.0001}"},
    {BP_PROBLEM_MEMORISING,
     "net: [dense 10]\ntrain: {optimiser: adamw, weight_decay: 0.02}\n",
     {{0}},
     0,
     "use weight decay of 0.2",
     "train: {optimiser: adamw, weight_decay: 0.2}"},
    {BP_PROBLEM_LOSS_SPIKE,
     RELU_NET,
     {{"spike_ratio", 9}},
     5,
     "clip the norm of the gradients to 1 and warm up over an epoch",
     "train: {learning_rate: 0.5, clip_norm: 1, warm_up_epochs: 1}"},
    {BP_PROBLEM_LOSS_SPIKE,
     RELU_NET,
     {{"spike_ratio", 9}},
     500,
     "clip the norm of the gradients to 1",
     "train: {learning_rate: 0.5, clip_norm: 1}"},
    {BP_PROBLEM_CLIP_TO_ZERO,
     RELU_NET,
     {{0}},
     0,
     "do not divide by a norm that is not finite",
     NULL},
    {BP_PROBLEM_STALLED_UPDATE,
     RELU_NET,
     {{"precision", 8}},
     0,
     "keep the parameters in float32",
     NULL},
    {BP_PROBLEM_STALLED_UPDATE,
     "net: [dense 10]\ntrain: {learning_rate: 1e-9}\n",
     {{"precision", 24}, {"update_ratio", 1e-8}},
     0,
     "raise the learning rate to 1e-6",
     "train: {learning_rate: 1e-6}"},
    {BP_PROBLEM_LOW_PRECISION_UNDERFLOW,
     RELU_NET,
     {{"loss_scale", 1}},
     0,
     "use bfloat16, or scale the loss",
     NULL},
    {BP_PROBLEM_LOW_PRECISION_OVERFLOW, RELU_NET, {{"loss_scale", 65536}}, 0, "use bfloat16", NULL},
    {BP_PROBLEM_FROZEN_PARAMETER,
     RELU_NET,
     {{0}},
     0,
     "let the optimiser have only what is to be trained",
     NULL},
    {BP_PROBLEM_UNUSED_PARAMETER,
     RELU_NET,
     {{0}},
     0,
     "use these layers in forward(), or take them out",
     NULL},
    {BP_PROBLEM_UPDATE_IMBALANCE, RELU_NET, {{0}}, 0, "use Adam, or learning rates by layer", NULL},
    {BP_PROBLEM_UNDERFITTING, RELU_NET, {{0}}, 0, "give the network more to learn with", NULL},
    {BP_PROBLEM_PLATEAU, RELU_NET, {{0}}, 0, "try another learning rate, up and down by 3", NULL},
    {BP_PROBLEM_SLOW_CONVERGENCE,
     RELU_NET,
     {{0}},
     0,
     "try momentum, Adam or a higher learning rate",
     NULL},
    {BP_PROBLEM_CONSTANT_OUTPUT,
     RELU_NET,
     {{0}},
     0,
     "let differences between samples reach the output",
     NULL},
    {BP_PROBLEM_VANISHING_GRADIENT,
     "net: [rnn 16, dense 10]\n",
     {{"through_time", 1}},
     0,
     "use an LSTM in place of rnn_1",
     "net: [{lstm: 16, forget_bias: 1}, dense 10]"},
    {BP_PROBLEM_VANISHING_GRADIENT,
     "net: [{lstm: 16}, dense 10]\n",
     {{"through_time", 1}},
     0,
     "add 1 to the forget gates' biases of lstm_1",
     "net: [{lstm: 16, forget_bias: 1}, dense 10]"},
    {BP_PROBLEM_EXPLODING_GRADIENT,
     "net: [rnn 16, dense 10]\n",
     {{"through_time", 1}, {"update_ratio", 5}},
     0,
     "clip the norm of the gradients to 1",
     "train: {clip_norm: 1}"},
};

#define N_EXAMPLES (sizeof examples / sizeof *examples)

static void whole_file(const example *e, char *text, size_t capacity) {
    const bool whole = strncmp(e->file, "version", 7) == 0;
    snprintf(text, capacity, "%s%s", whole ? "" : "version: 1\ndata: digits\n", e->file);
}

static bp_model *model_of(const char *text) {
    bp_netfile *file;
    bp_model *model;
    bp_error error;
    if (bp_netfile_parse(&file, "net.yaml", text, strlen(text), NULL, &error) != BP_OK)
        fail_msg("%s\n%s", error.text, text);
    assert_int_equal(bp_netfile_model(file, &model, NULL), BP_OK);
    const bool pictures = strstr(text, "digits") != NULL;
    const int64_t input[3] = {pictures ? 1 : 2, pictures ? 8 : 1, pictures ? 8 : 1};
    assert_int_equal(bp_model_set_input(model, input, &error), BP_OK);
    bp_recipe recipe = *bp_model_recipe(model);
    recipe.epoch_steps = 40;
    bp_model_set_recipe(model, &recipe);
    bp_netfile_close(file);
    return model;
}

/* All layers with weights, or the only one. */
static uint32_t layers_of(const example *e, const bp_model *model, uint32_t *layers) {
    uint32_t n = 0;
    for (uint32_t id = 1; id <= bp_model_n_layers(model); id++)
        if (bp_layer_is_trained(bp_model_layer(model, id))) layers[n++] = id;
    for (int i = 0; i < MAX_NUMBERS; i++)
        if (e->numbers[i].name && strcmp(e->numbers[i].name, "only") == 0) {
            layers[0] = (uint32_t)e->numbers[i].value;
            return 1;
        }
    return n;
}

static bp_remedy *remedy_with(const example *e, const bp_model *model, bp_severity severity) {
    uint32_t layers[16];
    bp_evidence evidence[MAX_NUMBERS];
    uint32_t n = 0;
    for (int i = 0; i < MAX_NUMBERS; i++)
        if (e->numbers[i].name)
            evidence[n++] = (bp_evidence){
                .name = e->numbers[i].name, .value = e->numbers[i].value, .measured = true};
    const bp_finding finding = {.problem = e->problem,
                                .severity = severity,
                                .since_step = e->since_step,
                                .n_layers = layers_of(e, model, layers),
                                .layers = layers,
                                .n_evidence = n,
                                .evidence = evidence,
                                .parent = -1};
    bp_remedy *remedy = NULL;
    assert_int_equal(bp_remedy_open(&remedy, model, &finding, NULL, NULL), BP_OK);
    return remedy;
}

static char *edited_by(const bp_remedy *remedy, const char *text) {
    bp_netfile_edit edits[16];
    char *edited = NULL;
    bp_error error;
    assert_true(remedy->n_edits <= 16);
    for (uint32_t i = 0; i < remedy->n_edits; i++)
        edits[i] = (bp_netfile_edit){remedy->edits[i].key, remedy->edits[i].value};
    if (bp_netfile_apply("net.yaml", text, edits, remedy->n_edits, NULL, &edited, &error) != BP_OK)
        fail_msg("%s: %s\n%s", remedy->title, error.text, text);
    return edited;
}

static void has_line(const char *text, const char *line) {
    char wanted[256];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (!strstr(text, wanted)) fail_msg("no line '%s' in:\n%s", line, text);
}

static void edits_apply_to_the_file(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        const example *e = &examples[i];
        char text[512];
        whole_file(e, text, sizeof text);
        bp_model *model = model_of(text);
        bp_remedy *remedy = remedy_with(e, model, BP_ERROR);
        if (!remedy) fail_msg("%zu: no remedy of %s", i, bp_problem_name(e->problem));
        assert_string_equal(remedy->title, e->title);
        assert_true(strlen(remedy->reason) > 20);
        assert_true(remedy->reason[strlen(remedy->reason) - 1] != '.');
        assert_int_equal(remedy->n_edits > 0, e->changed != NULL);
        char *edited = edited_by(remedy, text);
        if (e->changed) has_line(edited, e->changed);
        bp_netfile_release(NULL, edited);
        bp_remedy_close(remedy);
        bp_model_close(model);
    }
}

/* A hint says: look. It asks for no change. */
static void a_hint_asks_for_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        char text[512];
        whole_file(&examples[i], text, sizeof text);
        bp_model *model = model_of(text);
        assert_null(remedy_with(&examples[i], model, BP_HINT));
        bp_model_close(model);
    }
}

/* Each problem of the table has an example; those that have none are known by name. */
static void every_problem_is_thought_of(void **state) {
    (void)state;
    static const bp_problem others[] = {BP_PROBLEM_NON_FINITE, BP_PROBLEM_WEIGHTS_TOO_SMALL,
                                        BP_PROBLEM_WEIGHTS_TOO_LARGE, BP_PROBLEM_RANK_MISMATCH,
                                        BP_PROBLEM_OVERCONFIDENT};
    for (int problem = 1; problem < BP_N_PROBLEMS; problem++) {
        bool found = false;
        for (size_t i = 0; i < N_EXAMPLES; i++) found |= (int)examples[i].problem == problem;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            found |= (int)others[i] == problem;
        if (!found) fail_msg("no example of %s", bp_problem_name((bp_problem)problem));
    }
}

/* Key paths do not reach into blocks: a remedy that would need one is none. */
static void what_is_inside_a_block_is_not_edited(void **state) {
    (void)state;
    static const char text[] =
        "version: 1\ndata: digits\nnet:\n  - dense 16 relu\n"
        "  - {residual: [{dense: 16, init: zeros}]}\n  - dense 10\ninit: he\n";
    bp_model *model = model_of(text);
    const uint32_t inside = 2;
    assert_true(bp_model_layer(model, inside)->depth_in_blocks > 0);
    const bp_finding finding = {
        .problem = BP_PROBLEM_ZERO_INIT, .severity = BP_ERROR, .n_layers = 1, .layers = &inside};
    bp_remedy *remedy = NULL;
    assert_int_equal(bp_remedy_open(&remedy, model, &finding, NULL, NULL), BP_OK);
    assert_null(remedy);
    bp_model_close(model);
}

/* The lines for each problem, between lines of dashes. */
static int print_python(void) {
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        char text[512];
        whole_file(&examples[i], text, sizeof text);
        bp_model *model = model_of(text);
        assert_int_equal(bp_model_set_origin(model, "pytorch"), BP_OK);
        bp_remedy *remedy = remedy_with(&examples[i], model, BP_ERROR);
        printf("---- %s\n", bp_problem_name(examples[i].problem));
        for (uint32_t k = 0; remedy && k < remedy->n_lines; k++) puts(remedy->lines[k]);
        if (remedy && remedy->n_edits > 0) return 1;
        bp_remedy_close(remedy);
        bp_model_close(model);
    }
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_apply_to_the_file),
        cmocka_unit_test(a_hint_asks_for_nothing),
        cmocka_unit_test(every_problem_is_thought_of),
        cmocka_unit_test(what_is_inside_a_block_is_not_edited),
    };
    if (argc > 1 && strcmp(argv[1], "--python") == 0) return print_python();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
