/* SPDX-License-Identifier: Apache-2.0 */
/* Edits change their value and leave every other byte. A case is a text, a key, a value and the
 * lines that change: "old" becomes "new" and nothing else does. */
#include "fixture.h"

/* Comments everywhere, every style of item; ends in the middle of a comment. */
static const char file[] =
    "# größe €\n"
    "version: 1   # one\n"
    "data: digits\n"
    "\n"
    "net:         # the layers\n"
    "  - 20 x dense 64 sigmoid # deep ü\n"
    "  - dense: 32          # block\n"
    "    activation: leaky_relu\n"
    "    slope: 0.1         # soft\n"
    "    name: b\n"
    "  # between\n"
    "  - {dense: 16, activation: leaky_relu, slope: 0.3} # flow\n"
    "  - {residual: [dense 16 relu, layer_norm, {dense: 16, init: he}], scale: 0.5}\n"
    "  - 2 x [dense 16 tanh, dense 16]\n"
    "  - dense 8\n"
    "  - batch_norm\n"
    "  - relu # after the norm\n"
    "  - dense 10 leaky_relu 0.2\n"
    "loss: cross_entropy # behind\n"
    "# about training\n"
    "train:   # the knobs\n"
    "  batch: 32 # small\n"
    "  epochs: 10 # few\n"
    "# the end";

typedef struct edit_case {
    const char *key, *value;
    const char *old, *new; /* old stands once in file */
} edit_case;

static const edit_case cases[] = {
    /* short items */
    {"net[0].activation", "tanh", "dense 64 sigmoid # deep", "dense 64 tanh # deep"},
    {"net[0].activation", "leaky_relu 0.1", "64 sigmoid #", "64 leaky_relu 0.1 #"},
    {"net[8].activation", "relu", "dense 10 leaky_relu 0.2", "dense 10 relu"},
    {"net[8].activation", "leaky_relu", "version: 1 ", "version: 1 "},
    {"net[0].frozen", "true", "20 x dense 64 sigmoid",
     "{repeat: 20, dense: 64, activation: sigmoid, frozen: true}"},
    {"net[0].init", "{he: 2}", "20 x dense 64 sigmoid",
     "{repeat: 20, dense: 64, activation: sigmoid, init: {he: 2}}"},
    {"net[0].repeat", "5", "20 x dense 64 sigmoid", "{repeat: 5, dense: 64, activation: sigmoid}"},
    {"net[0].dense", "32", "20 x dense 64 sigmoid", "{repeat: 20, dense: 32, activation: sigmoid}"},
    {"net[8].slope", "0.4", "dense 10 leaky_relu 0.2",
     "{dense: 10, activation: leaky_relu, slope: 0.4}"},
    {"net[8].name", "head", "dense 10 leaky_relu 0.2",
     "{dense: 10, activation: leaky_relu, slope: 0.2, name: head}"},
    {"net[6].frozen", "true", "- batch_norm", "- {norm: batch_norm, frozen: true}"},
    {"net[7].name", "gate", "- relu", "- {activation: relu, name: gate}"},
    /* an activation that is an item of its own belongs to the dense layer before it */
    {"net[5].activation", "tanh", "- relu #", "- tanh #"},
    {"net[7].activation", "gelu", "- relu #", "- gelu #"},
    /* block items */
    {"net[1].activation", "relu", "activation: leaky_relu\n    slope: 0.1         # soft\n",
     "activation: relu\n"},
    {"net[1].activation", "leaky_relu 0.2", "slope: 0.1  ", "slope: 0.2  "},
    {"net[1].activation", "leaky_relu", "version: 1 ", "version: 1 "},
    {"net[1].frozen", "true", "    name: b\n", "    name: b\n    frozen: true\n"},
    {"net[1].init", "xavier", "    name: b\n", "    name: b\n    init: xavier\n"},
    {"net[1].dense", "48", "dense: 32   ", "dense: 48   "},
    /* flow items */
    {"net[2].activation", "tanh", "activation: leaky_relu, slope: 0.3}", "activation: tanh}"},
    {"net[2].activation", "leaky_relu 0.9", "slope: 0.3}", "slope: 0.9}"},
    {"net[2].frozen", "true", "slope: 0.3}", "slope: 0.3, frozen: true}"},
    /* whole items, lists, nested ones */
    {"net[0]", "dense 5", "20 x dense 64 sigmoid", "dense 5"},
    {"net[0]", " {dense: 5, bias: false} ", "20 x dense 64 sigmoid", "{dense: 5, bias: false}"},
    {"net[3].scale", "0.1", "scale: 0.5", "scale: 0.1"},
    {"net[3].residual[2].init", "{normal: 0.1}", "init: he", "init: {normal: 0.1}"},
    {"net[3].residual[0].activation", "gelu", "dense 16 relu", "dense 16 gelu"},
    {"net[3].residual[1]", "batch_norm", "layer_norm", "batch_norm"},
    {"net[3].residual", "[dense 16]", "[dense 16 relu, layer_norm, {dense: 16, init: he}]",
     "[dense 16]"},
    {"net[4].net[0].activation", "relu", "dense 16 tanh", "dense 16 relu"},
    {"net[4].net[1]", "dense 16 relu", "tanh, dense 16]", "tanh, dense 16 relu]"},
    {"net[4].net[0].init", "he", "2 x [dense 16 tanh, dense 16]",
     "{repeat: 2, net: [{dense: 16, activation: tanh, init: he}, dense 16]}"},
    {"net[4].net[1]", "{dense: 16, bias: false}", "2 x [dense 16 tanh, dense 16]",
     "{repeat: 2, net: [dense 16 tanh, {dense: 16, bias: false}]}"},
    {"net[4].repeat", "3", "2 x [dense 16 tanh, dense 16]",
     "{repeat: 3, net: [dense 16 tanh, dense 16]}"},
    /* a block named as a whole: all layers in it that have such a thing */
    {"net[3].activation", "tanh", "dense 16 relu", "dense 16 tanh"},
    {"net[4].activation", "gelu", "dense 16 tanh", "dense 16 gelu"},
    {"net[3].init", "xavier", "[dense 16 relu, layer_norm, {dense: 16, init: he}]",
     "[{dense: 16, activation: relu, init: xavier}, layer_norm, {dense: 16, init: xavier}]"},
    {"net[4].frozen", "true", "2 x [dense 16 tanh, dense 16]",
     "{repeat: 2, net: [{dense: 16, activation: tanh, frozen: true}, {dense: 16, frozen: true}]}"},
    /* the top level: missing keys in their usual place */
    {"init", "{xavier: {gain: 1.2}}", "leaky_relu 0.2\n",
     "leaky_relu 0.2\ninit: {xavier: {gain: 1.2}}\n"},
    {"loss", "mse", "cross_entropy", "mse"},
    {"data", "{name: digits}", "data: digits", "data: {name: digits}"},
    {"train.batch", "16", "batch: 32", "batch: 16"},
    {"train.learning_rate", "1e-3", "epochs: 10 # few\n",
     "epochs: 10 # few\n  learning_rate: 1e-3\n"},
    {"train", "{epochs: 2}", "train:   # the knobs\n  batch: 32 # small\n  epochs: 10 # few",
     "train: {epochs: 2}   # the knobs # few"},
};

static char *apply(const char *text, const char *key, const char *value) {
    const bp_netfile_edit edit = {key, value};
    char *edited = NULL;
    bp_error error = {.text = ""};
    if (bp_netfile_apply("a", text, &edit, 1, NULL, &edited, &error) != BP_OK)
        fail_msg("%s = %s: %d:%d: %s", key, value, error.line, error.column, error.text);
    return edited;
}

/* The text with the one place of `old` replaced; freed by the caller. */
static char *with(const char *text, const char *old, const char *new) {
    const char *at = strstr(text, old);
    if (!at || strstr(at + 1, old)) fail_msg("'%s' must stand once in the file", old);
    const size_t capacity = strlen(text) + strlen(new) + 1;
    char *built = calloc(1, capacity);
    assert_non_null(built);
    bp_text all;
    bp_text_init(&all, built, capacity);
    bp_text_add(&all, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    return built;
}

static void expect_edit(const char *text, const edit_case *expected) {
    char *edited = apply(text, expected->key, expected->value);
    char *wanted = with(text, expected->old, expected->new);
    if (strcmp(edited, wanted) != 0)
        fail_msg("%s = %s gives\n%s\nbut expected is\n%s", expected->key, expected->value, edited,
                 wanted);
    free(wanted);
    bp_netfile_release(NULL, edited);
}

static void test_each_edit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_edit(file, &cases[i]);
}

/* "\n" becomes "\r\n" or "\r"; freed by the caller. */
static char *with_line_ends(const char *text, const char *line_end) {
    char *built = calloc(2, strlen(text) + 1);
    assert_non_null(built);
    size_t length = 0;
    for (; *text; text++) {
        if (*text != '\n')
            built[length++] = *text;
        else
            for (const char *end = line_end; *end; end++) built[length++] = *end;
    }
    return built;
}

/* Items of every kind, short and long. */
static const char kinds[] = "version: 1\n"
                            "data: digits\n"
                            "net:\n"
                            "  - conv 6 3 relu\n"
                            "  - {conv: 8, kernel: 3, padding: same, activation: elu, alpha: 0.5}\n"
                            "  - conv 4 1\n"
                            "  - batch_norm\n"
                            "  - tanh\n"
                            "  - max_pool 2\n"
                            "  - global_avg_pool\n"
                            "  - flatten\n"
                            "  - 2 x dropout 0.25\n"
                            "  - dense 12 elu 0.7\n"
                            "  - embedding 100 16\n"
                            "  - 2 x rnn 8 relu\n"
                            "  - gru 8\n"
                            "  - lstm 9\n"
                            "  - dense 10\n";

static const edit_case kind_cases[] = {
    {"net[0].activation", "elu 2", "conv 6 3 relu", "conv 6 3 elu 2"},
    {"net[0].stride", "2", "conv 6 3 relu", "{conv: 6, kernel: 3, activation: relu, stride: 2}"},
    {"net[0].kernel", "5", "conv 6 3 relu", "{conv: 6, kernel: 5, activation: relu}"},
    {"net[1].activation", "leaky_relu 0.2", "elu, alpha: 0.5}", "leaky_relu, slope: 0.2}"},
    {"net[1].activation", "relu", "elu, alpha: 0.5}", "relu}"},
    {"net[1].activation", "elu 0.1", "alpha: 0.5", "alpha: 0.1"},
    {"net[1].padding", "2", "same", "2"},
    {"net[2].activation", "silu", "tanh", "silu"},
    {"net[2].init", "orthogonal", "conv 4 1", "{conv: 4, kernel: 1, init: orthogonal}"},
    {"net[5].name", "half", "max_pool 2", "{max_pool: 2, name: half}"},
    {"net[6].name", "mean", "global_avg_pool", "{global_avg_pool: true, name: mean}"},
    {"net[7].name", "flat", "flatten", "{flatten: true, name: flat}"},
    {"net[8].dropout", "0.5", "2 x dropout 0.25", "{repeat: 2, dropout: 0.5}"},
    {"net[9].activation", "elu", "version: 1", "version: 1"},
    {"net[9].frozen", "true", "dense 12 elu 0.7",
     "{dense: 12, activation: elu, alpha: 0.7, frozen: true}"},
    {"net[10].embedding", "32", "embedding 100 16", "{vocabulary: 100, embedding: 32}"},
    {"net[11].activation", "tanh", "2 x rnn 8 relu", "2 x rnn 8 tanh"},
    {"net[12].return_sequences", "true", "gru 8", "{gru: 8, return_sequences: true}"},
    {"net[13].forget_bias", "1", "lstm 9", "{lstm: 9, forget_bias: 1}"},
    {"net[13].init", "{lecun: 2}", "lstm 9", "{lstm: 9, init: {lecun: 2}}"},
};

static bp_model *model_of(const char *text) {
    bp_netfile *netfile = NULL;
    bp_model *model = NULL;
    bp_error error = {.text = ""};
    if (bp_netfile_parse(&netfile, "a", text, strlen(text), NULL, &error) != BP_OK)
        fail_msg("%d:%d: %s\n%s", error.line, error.column, error.text, text);
    assert_int_equal(bp_netfile_model(netfile, &model, NULL), BP_OK);
    bp_netfile_close(netfile);
    return model;
}

/* Any item made long says the same as before: names apart. */
static void test_every_kind_of_item(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof kind_cases / sizeof *kind_cases; i++)
        expect_edit(kinds, &kind_cases[i]);
    bp_model *before = model_of(kinds);
    for (uint32_t item = 0; item < 15; item++) {
        char key[32], name[32];
        snprintf(key, sizeof key, "net[%u].name", item);
        snprintf(name, sizeof name, "new_%u", item);
        if (item == 3 || item == 4) continue; /* with a name they are layers of their own */
        char *edited = apply(kinds, key, name);
        bp_model *after = model_of(edited);
        assert_int_equal(bp_model_n_layers(after), bp_model_n_layers(before));
        for (uint32_t id = 1; id <= bp_model_n_layers(before); id++) {
            fixture_expect_same_layer(bp_model_layer(before, id), bp_model_layer(after, id));
        }
        bp_model_close(after);
        bp_netfile_release(NULL, edited);
    }
    bp_model_close(before);
}

static void test_other_line_ends(void **state) {
    (void)state;
    const char *const line_ends[] = {"\r\n", "\r"};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const edit_case *expected = &cases[i / 2];
        char *text = with_line_ends(file, line_ends[i % 2]);
        char *old = with_line_ends(expected->old, line_ends[i % 2]);
        char *new = with_line_ends(expected->new, line_ends[i % 2]);
        expect_edit(text, &(edit_case){expected->key, expected->value, old, new});
        free(new);
        free(old);
        free(text);
    }
}

/* Whole small files: styles of the top level, places of insertion, ends of files. */
static void test_small_files(void **state) {
    (void)state;
    static const struct {
        const char *text, *key, *value, *edited;
    } small[] = {
        /* without a last line end */
        {"version: 1\ndata: d\nnet: [dense 1]", "train.epochs", "3",
         "version: 1\ndata: d\nnet: [dense 1]\ntrain: {epochs: 3}"},
        {"version: 1\ndata: d\nnet: [dense 1]", "init", "he",
         "version: 1\ndata: d\nnet: [dense 1]\ninit: he"},
        /* keys in an unusual order */
        {"train: {seed: 2}\nnet: [dense 1] # n\ndata: d\nversion: 1\n", "loss", "mse",
         "train: {seed: 2}\nnet: [dense 1] # n\nloss: mse\ndata: d\nversion: 1\n"},
        /* the top level in braces, the items in one line */
        {"{version: 1, data: d, net: [dense 1]}\n", "init", "he",
         "{version: 1, data: d, net: [dense 1], init: he}\n"},
        {"{version: 1, data: d, net: [dense 1], train: {seed: 2}}\n", "loss", "mse",
         "{version: 1, data: d, net: [dense 1], loss: mse, train: {seed: 2}}\n"},
        {"version: 1\ndata: d\nnet: [dense: 1, relu]\n", "net[0].frozen", "true",
         "version: 1\ndata: d\nnet: [{dense: 1, frozen: true}, relu]\n"},
        {"version: 1\ndata: d\nnet: [dense 1, relu]\ntrain: {}\n", "train.seed", "3",
         "version: 1\ndata: d\nnet: [dense 1, relu]\ntrain: {seed: 3}\n"},
        /* a list that is not indented, replaced by one in brackets */
        {"version: 1\ndata: d\nnet: # here\n# there\n- dense 1\n- relu # r\n# end\n", "net",
         "[dense 2]", "version: 1\ndata: d\nnet: [dense 2] # here\n# there # r\n# end\n"},
        /* quoted and folded short items */
        {"version: 1\ndata: d\nnet: ['dense 1 relu', dense\n  2  tanh]\n", "net[0].activation",
         "tanh", "version: 1\ndata: d\nnet: [dense 1 tanh, dense\n  2  tanh]\n"},
        {"version: 1\ndata: d\nnet: [dense 1, dense\n  2  tanh]\n", "net[1].activation", "relu",
         "version: 1\ndata: d\nnet: [dense 1, dense 2  relu]\n"},
        {"version: 1\ndata: d\nnet:\n- >\n  dense 1\n  relu\n- dense 2\n", "net[0].activation",
         "tanh", "version: 1\ndata: d\nnet:\n- dense 1 tanh\n- dense 2\n"},
        /* both spellings of a key */
        {"version: 1\ndata: d\nnet: [dense 1]\ntrain: {optimizer: sgd}\n", "train.optimiser",
         "adam", "version: 1\ndata: d\nnet: [dense 1]\ntrain: {optimizer: adam}\n"},
        /* a slope that goes away with its activation */
        {"version: 1\ndata: d\nnet: [{slope: 0.1, activation: leaky_relu, dense: 1}]\n",
         "net[0].activation", "relu", "version: 1\ndata: d\nnet: [{activation: relu, dense: 1}]\n"},
        {"version: 1\ndata: d\nnet:\n- slope: 0.1\n  activation: leaky_relu\n  dense: 1\n",
         "net[0].activation", "relu",
         "version: 1\ndata: d\nnet:\n- activation: relu\n  dense: 1\n"},
        /* block values */
        {"version: 1\ndata: d\nnet: [dense 1]\ninit:\n  weights: he # w\n  biases: zeros # b\n",
         "init.biases", "{constant: 0.1}",
         "version: 1\ndata: d\nnet: [dense 1]\ninit:\n  weights: he # w\n  biases: {constant: 0.1} "
         "# b\n"},
        {"version: 1\ndata: d\nnet: [dense 1]\ninit:  # how\n  weights: he\n  biases: zeros # b\n",
         "init", "xavier", "version: 1\ndata: d\nnet: [dense 1]\ninit: xavier  # how # b\n"},
        {"version: 1\ndata: |\n  d\nnet: [dense 1]\n", "data", "e",
         "version: 1\ndata: e\nnet: [dense 1]\n"},
        /* a byte order mark and a document between its markers */
        {"\xef\xbb\xbf--- # é\nversion: 1\ndata: d\nnet: [dense 1]\n...\n", "init", "he",
         "\xef\xbb\xbf--- # é\nversion: 1\ndata: d\nnet: [dense 1]\ninit: he\n...\n"},
        /* the activation of a layer that stands in three items; no further than its layer */
        {"version: 1\ndata: d\nnet: [dense 1, {norm: layer_norm}, {activation: relu}]\n",
         "net[0].activation", "tanh",
         "version: 1\ndata: d\nnet: [dense 1, {norm: layer_norm}, {activation: tanh}]\n"},
        {"version: 1\ndata: d\nnet: [dense 1, dense 2, relu]\n", "net[0].activation", "tanh",
         "version: 1\ndata: d\nnet: [dense 1 tanh, dense 2, relu]\n"},
        {"version: 1\ndata: d\nnet: [{dense: 1}, avg_pool 1, relu]\n", "net[0].activation", "tanh",
         "version: 1\ndata: d\nnet: [{dense: 1, activation: tanh}, avg_pool 1, relu]\n"},
    };
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        char *edited = apply(small[i].text, small[i].key, small[i].value);
        assert_string_equal(edited, small[i].edited);
        bp_netfile_release(NULL, edited);
    }
}

static void test_edits_come_one_after_the_other(void **state) {
    (void)state;
    const char *text = "version: 1\ndata: d\nnet: [3 x dense 1 sigmoid]\ntrain: {momentum: 0.9}\n";
    /* between the first and the second the file is no valid one */
    const bp_netfile_edit edits[] = {{"train.optimiser", "adam"},
                                     {"train", "{optimiser: adam}"},
                                     {"net[0].init", "xavier"},
                                     {"net[0].activation", "tanh"},
                                     {"init", "he"}};
    char *edited = NULL;
    bp_error error;
    assert_int_equal(bp_netfile_apply("a", text, edits, 5, NULL, &edited, &error), BP_OK);
    assert_string_equal(edited, "version: 1\ndata: d\n"
                                "net: [{repeat: 3, dense: 1, activation: tanh, init: xavier}]\n"
                                "init: he\ntrain: {optimiser: adam}\n");
    bp_netfile_release(NULL, edited);
    assert_int_equal(bp_netfile_apply("a", text, NULL, 0, NULL, &edited, &error), BP_OK);
    assert_string_equal(edited, text);
    bp_netfile_release(NULL, edited);
}

static void test_refused_edits(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *sentence;
    } refused[] = {
        {"init", "xavier # c", "the value must be one YAML value"},
        {"init", "he\nloss: mse", "the value must be one YAML value"},
        {"init", "he, xavier", "the value must be one YAML value"},
        {"init", "he]#", "the value must be one YAML value"},
        {"init", "weights: he", "the value must be one YAML value"},
        {"init", "[he", "the value must be one YAML value"},
        {"init", "", "the value must be one YAML value"},
        {"init", "&a he", "the value must be one YAML value"},
        {"init", "\xff", "the value must be one YAML value"},
        {"init", "hee", "init must be an initialiser, found 'hee'"},
        {"", "1", "a key is a path such as"},
        {"net[", "1", "a key is a path such as"},
        {"net[1", "1", "a key is a path such as"},
        {"net[-1]", "1", "a key is a path such as"},
        {"net[0]x", "1", "a key is a path such as"},
        {"net[0].", "1", "a key is a path such as"},
        {"net.[0]", "1", "a key is a path such as"},
        {"net[9999999]", "1", "a key is a path such as"},
        {"Net", "1", "a key is a path such as"},
        {"[0]", "1", "a path begins with a key of the file"},
        {"net[9]", "dense 1", "the list has no such item"},
        {"net[9].activation", "relu", "the file has nothing at that path"},
        {"net.activation", "relu", "what holds that key is not a mapping"},
        {"loss.kind", "mse", "what holds that key is not a mapping"},
        {"train.a.b", "1", "the file has nothing at that path"},
        {"train.lerning_rate", "1", "did you mean 'learning_rate'?"},
        {"train.batch", "many",
         "train.batch must be a whole number from 1 to 1000000, found 'many'"},
        {"los", "mse", "unknown key 'los'; did you mean 'loss'?"},
        {"net[0].activation", "tahn", "did you mean 'tanh'?"},
        {"net[0].activation", "relu 0.1", "only leaky_relu and elu have a number"},
        {"net[0].activation", "leaky_relu 7", "must be a number from 0 to 1, found '7'"},
        {"net[0].activation", "leaky_relu 0.1 0.2", "a word and perhaps a number"},
        {"net[0].activation", "\"relu\\n- dense 3\"", "a word and perhaps a number"},
        {"net[0].activation", "{a: b}", "must be linear, sigmoid"},
        {"net[6].activation", "relu", "the item should end here"},
        {"net[7].init", "he", "net[7].init does not go with 'activation'"},
        {"version", "2", "version must be 1, found 2"},
        {"net[3].residual[1].activation", "relu", "the item should end here"},
        {"net[0].residual[0]", "relu", "the file has nothing at that path"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const bp_netfile_edit edit = {refused[i].key, refused[i].value};
        char *edited = NULL;
        bp_error error = {.text = ""};
        const bp_status status = bp_netfile_apply("a", file, &edit, 1, NULL, &edited, &error);
        if (status == BP_OK)
            fail_msg("%s = %s gives\n%s", refused[i].key, refused[i].value, edited);
        assert_null(edited);
        if (!strstr(error.text, refused[i].sentence))
            fail_msg("%s = %s says '%s', expected '%s'", refused[i].key, refused[i].value,
                     error.text, refused[i].sentence);
        assert_int_equal(bp_netfile_apply("a", file, &edit, 1, NULL, &edited, NULL), status);
    }
}

static void test_long_paths_and_deep_places(void **state) {
    (void)state;
    char key[4096] = "net[0]";
    for (size_t i = 0; i < 200; i++) strcat(key, ".net[0]");
    const bp_netfile_edit edit = {key, "dense 1"};
    char *edited = NULL;
    bp_error error = {.text = ""};
    assert_int_equal(bp_netfile_apply("a", file, &edit, 1, NULL, &edited, &error), BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "the path is too long"));
    char text[2048];
    snprintf(text, sizeof text, "version: 1\ndata: d\nnet: [dense 1]\ntrain:\n%400sseed: 1\n", "");
    const bp_netfile_edit far = {"train.batch", "3"};
    assert_int_equal(bp_netfile_apply("a", text, &far, 1, NULL, &edited, &error), BP_ERROR_INPUT);
    assert_non_null(strstr(error.text, "indented too far"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_edit),
        cmocka_unit_test(test_every_kind_of_item),
        cmocka_unit_test(test_other_line_ends),
        cmocka_unit_test(test_small_files),
        cmocka_unit_test(test_edits_come_one_after_the_other),
        cmocka_unit_test(test_refused_edits),
        cmocka_unit_test(test_long_paths_and_deep_places),
    };
    return cmocka_run_group_tests_name("netfile_edit", tests, NULL, NULL);
}
