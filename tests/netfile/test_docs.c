/* SPDX-License-Identifier: Apache-2.0 */
/* docs/network-file.md and examples/ keep their word: every example parses, every edit applies,
 * and every key of the schema table has a row that says its range and default. */
#include "fixture.h"
#include "netfile/init.h"

#define DOCUMENT BP_SOURCE_ROOT "/docs/network-file.md"
#define EXAMPLES BP_SOURCE_ROOT "/examples"

static bp_netfile *parse(const char *path, const char *text) {
    bp_netfile *netfile = NULL;
    bp_error error = {.text = ""};
    if (bp_netfile_parse(&netfile, path, text, strlen(text), NULL, &error) != BP_OK)
        fail_msg("%s:%d:%d: %s\n%s", path, error.line, error.column, error.text, text);
    return netfile;
}

/* --- examples/ ------------------------------------------------------------------------------ */

/* What each example is about; depth, rate and epochs may be tuned. */
static const struct {
    const char *name;
    uint32_t least_layers;
    bp_layer_kind kind;       /* of layer 1 */
    bp_activation activation; /* of layer 1 */
    bp_norm norm;
    bp_init_kind init;
    double gain;
    bool residual; /* the last but one layer is the sum of a block */
    bp_optimiser optimiser;
} examples[] = {
    {"vanishing", 21, BP_LAYER_DENSE, BP_ACTIVATION_SIGMOID, BP_NORM_NONE, BP_INIT_PYTORCH_DEFAULT,
     0, false, BP_SGD},
    {"exploding", 11, BP_LAYER_DENSE, BP_ACTIVATION_RELU, BP_NORM_NONE, BP_INIT_HE, 3, false,
     BP_SGD},
    {"healthy", 3, BP_LAYER_DENSE, BP_ACTIVATION_RELU, BP_NORM_NONE, BP_INIT_HE, 1, false, BP_SGD},
    {"residual", 10, BP_LAYER_DENSE, BP_ACTIVATION_RELU, BP_NORM_NONE, BP_INIT_HE, 1, true, BP_SGD},
    {"batch_norm_40", 41, BP_LAYER_DENSE, BP_ACTIVATION_RELU, BP_NORM_BATCH, BP_INIT_HE, 1, false,
     BP_SGD},
    {"lenet", 5, BP_LAYER_CONV, BP_ACTIVATION_RELU, BP_NORM_NONE, BP_INIT_HE, 1, false, BP_ADAM},
    {"lstm", 3, BP_LAYER_LSTM, BP_ACTIVATION_LINEAR, BP_NORM_NONE, BP_INIT_PYTORCH_DEFAULT, 0,
     false, BP_ADAM},
};

static void test_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        char path[FIXTURE_PATH_BYTES];
        size_t n_bytes;
        snprintf(path, sizeof path, EXAMPLES "/%s.yaml", examples[i].name);
        char *text = fixture_read(path, &n_bytes);
        assert_true(text[0] == '#'); /* it says what it shows */
        bp_netfile *netfile = parse(path, text);
        bp_model *model = NULL;
        bp_error error;
        assert_int_equal(bp_netfile_model(netfile, &model, &error), BP_OK);
        assert_string_equal(bp_netfile_data(netfile, NULL, NULL)->name, "digits");
        const uint32_t n_layers = bp_model_n_layers(model);
        assert_true(n_layers >= examples[i].least_layers);
        const bp_layer *first = bp_model_layer(model, 1);
        const bp_layer *last = bp_model_layer(model, n_layers);
        assert_int_equal(first->kind, examples[i].kind);
        assert_int_equal(first->activation, examples[i].activation);
        assert_int_equal(first->norm, examples[i].norm);
        assert_int_equal(first->weight_init.kind, examples[i].init);
        assert_true(first->weight_init.parameter == examples[i].gain);
        assert_int_equal(bp_model_layer(model, n_layers - 1)->kind == BP_LAYER_RESIDUAL,
                         examples[i].residual);
        assert_int_equal(last->activation, BP_ACTIVATION_LINEAR);
        assert_int_equal(last->output_shape[0], 10);
        const bp_recipe *recipe = bp_model_recipe(model);
        assert_int_equal(recipe->optimiser, examples[i].optimiser);
        assert_int_equal(recipe->loss, BP_CROSS_ENTROPY);
        assert_true(recipe->seed == 1);
        assert_int_equal(bp_model_set_input(model, (const int64_t[]){1, 8, 8}, &error), BP_OK);
        bp_model_close(model);
        bp_netfile_close(netfile);
        free(text);
    }
}

static void parse_example(const char *path) {
    size_t n_bytes;
    char *text = fixture_read(path, &n_bytes);
    bp_netfile_close(parse(path, text));
    free(text);
}

static void test_every_file_in_examples(void **state) {
    (void)state;
    assert_true(fixture_each(EXAMPLES, parse_example) >= sizeof examples / sizeof *examples);
}

/* --- the document's examples ---------------------------------------------------------------- */

/* Cuts the next fenced block of a language out of the text; moves *at behind it. Freed by the
 * caller; NULL when there is none. */
static char *next_block(const char **at, const char *fence) {
    const char *start = strstr(*at, fence);
    if (!start) return NULL;
    start += strlen(fence);
    const char *end = strstr(start, "\n```\n");
    assert_non_null(end);
    *at = end + 5;
    char *block = calloc(1, (size_t)(end - start) + 2);
    assert_non_null(block);
    memcpy(block, start, (size_t)(end - start) + 1);
    return block;
}

/* A part of a file is completed by what must be there. */
static char *completed(const char *part) {
    const bool whole = strstr(part, "version:") != NULL, has_net = strstr(part, "net:") != NULL;
    const bool has_data = strncmp(part, "data:", 5) == 0;
    char *text = calloc(1, strlen(part) + 128);
    assert_non_null(text);
    sprintf(text, "%s%s%s%s", whole ? "" : "version: 1\n",
            whole || has_data ? "" : "data: digits\n", has_net ? "" : "net: [dense 10]\n", part);
    return text;
}

static void test_every_example_of_the_document(void **state) {
    (void)state;
    size_t n_bytes, n_blocks = 0;
    char *document = fixture_read(DOCUMENT, &n_bytes);
    const char *at = document;
    for (char *block; (block = next_block(&at, "\n```yaml\n")); free(block), n_blocks++) {
        char *text = completed(block);
        bp_netfile_close(parse(DOCUMENT, text));
        free(text);
        at--; /* the next fence may follow at once */
    }
    assert_true(n_blocks >= 9);
    free(document);
}

/* The two networks of "is one layer" are the same. */
static void test_the_document_says_same_of_what_is_the_same(void **state) {
    (void)state;
    size_t n_bytes;
    char *document = fixture_read(DOCUMENT, &n_bytes);
    const char *at = strstr(document, "These two networks are the same:");
    assert_non_null(at);
    bp_model *models[2] = {NULL, NULL};
    for (size_t i = 0; i < 2; i++, at--) {
        char *block = next_block(&at, "\n```yaml\n");
        assert_non_null(block);
        char *text = completed(block);
        bp_netfile *netfile = parse(DOCUMENT, text);
        assert_int_equal(bp_netfile_model(netfile, &models[i], NULL), BP_OK);
        bp_netfile_close(netfile);
        free(text);
        free(block);
    }
    assert_int_equal(bp_model_n_layers(models[0]), 2);
    assert_int_equal(bp_model_n_layers(models[1]), 2);
    const bp_layer *short_form = bp_model_layer(models[0], 1);
    const bp_layer *long_form = bp_model_layer(models[1], 1);
    assert_int_equal(short_form->norm, BP_NORM_BATCH);
    assert_int_equal(long_form->norm, BP_NORM_BATCH);
    assert_int_equal(short_form->activation, BP_ACTIVATION_RELU);
    assert_int_equal(long_form->activation, BP_ACTIVATION_RELU);
    assert_int_equal(short_form->norm_after_activation, long_form->norm_after_activation);
    bp_model_close(models[0]);
    bp_model_close(models[1]);
    free(document);
}

/* "--set KEY=VALUE" or "--set 'KEY=VALUE'" on each line, for the first file of the document. */
static void test_every_edit_of_the_document(void **state) {
    (void)state;
    size_t n_bytes, n_edits = 0;
    char *document = fixture_read(DOCUMENT, &n_bytes);
    const char *at = document, *commands_at = document;
    char *text = next_block(&at, "\n```yaml\n");
    char *commands = next_block(&commands_at, "\n```sh\n");
    assert_non_null(text);
    assert_non_null(commands);
    for (char *line = strtok(commands, "\n"); line; line = strtok(NULL, "\n"), n_edits++) {
        char *key = strstr(line, "--set ");
        assert_non_null(key);
        key += strlen("--set ");
        if (*key == '\'') {
            key++;
            assert_true(line[strlen(line) - 1] == '\'');
            line[strlen(line) - 1] = '\0';
        }
        char *equals = strchr(key, '=');
        assert_non_null(equals);
        *equals = '\0';
        const bp_netfile_edit edit = {key, equals + 1};
        char *edited = NULL;
        bp_error error = {.text = ""};
        if (bp_netfile_apply("net.yaml", text, &edit, 1, NULL, &edited, &error) != BP_OK)
            fail_msg("%s=%s: %s", key, equals + 1, error.text);
        assert_string_not_equal(edited, text);
        bp_netfile_release(NULL, edited);
    }
    assert_true(n_edits >= 10);
    free(commands);
    free(text);
    free(document);
}

/* --- the document's tables ------------------------------------------------------------------ */

/* Some line of the document begins with `start` and holds the two texts. */
static bool has_row(const char *document, const char *start, const char *first,
                    const char *second) {
    for (const char *at = document; (at = strstr(at, start)); at++) {
        const char *end = strchr(at, '\n');
        char line[1024];
        snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
        if (at[-1] == '\n' && strstr(line, first) && strstr(line, second)) return true;
    }
    return false;
}

static void expect_rows(const char *document, const bp_schema *schema) {
    assert_true(schema->n_keys > 0);
    for (size_t i = 0; i < schema->n_keys; i++) {
        const bp_key *key = &schema->keys[i];
        char start[64], expected[256];
        bp_text text;
        bp_text_init(&text, expected, sizeof expected);
        bp_key_expectation(key, &text);
        snprintf(start, sizeof start, "| `%s` |", key->name);
        const bool is_version = strcmp(key->name, "version") == 0;
        const char *fallback = key->fallback ? key->fallback : key->required ? "required" : "";
        if (!has_row(document, start, is_version ? "1, the version" : expected, fallback))
            fail_msg("no row says that `%s` is %s and its default '%s'", key->name, expected,
                     fallback);
    }
}

static void test_every_key_has_a_row(void **state) {
    (void)state;
    size_t n_bytes;
    char *document = fixture_read(DOCUMENT, &n_bytes);
    expect_rows(document, &bp_schema_top);
    expect_rows(document, &bp_schema_data);
    expect_rows(document, &bp_schema_item);
    expect_rows(document, &bp_schema_init);
    expect_rows(document, &bp_schema_train);
    for (const bp_word *word = bp_init_words; word->name; word++) {
        const bp_key *parameter = bp_init_parameter(word->number);
        char start[64], expected[256] = "", name[64] = "";
        bp_text text;
        bp_text_init(&text, expected, sizeof expected);
        if (parameter) bp_key_expectation(parameter, &text);
        if (parameter) snprintf(name, sizeof name, "`%s`", parameter->name);
        snprintf(start, sizeof start, "| `%s` |", word->name);
        if (!has_row(document, start, expected, name))
            fail_msg("no row says that %s has the parameter %s, %s", word->name, name, expected);
    }
    for (const bp_word *word = bp_activation_words; word->name; word++) {
        char name[64];
        snprintf(name, sizeof name, "`%s`", word->name);
        assert_non_null(strstr(document, name));
    }
    free(document);
}

static void test_the_limits_are_those_of_the_program(void **state) {
    (void)state;
    size_t n_bytes;
    char *document = fixture_read(DOCUMENT, &n_bytes);
    assert_int_equal(BP_NETFILE_MAX_BYTES, (size_t)4 << 20);
    assert_non_null(strstr(document, "at most 4 MiB"));
    assert_int_equal(BP_NETFILE_MAX_DEPTH, 64);
    assert_non_null(strstr(document, "at most 64 levels"));
    assert_int_equal(BP_TREE_MAX_NODES, 100000);
    assert_non_null(strstr(document, "100,000\nvalues"));
    assert_int_equal(BP_MODEL_MAX_LAYERS, 10000);
    assert_non_null(strstr(document, "at most 10,000 layers"));
    free(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_file_in_examples),
        cmocka_unit_test(test_every_example_of_the_document),
        cmocka_unit_test(test_the_document_says_same_of_what_is_the_same),
        cmocka_unit_test(test_every_edit_of_the_document),
        cmocka_unit_test(test_every_key_has_a_row),
        cmocka_unit_test(test_the_limits_are_those_of_the_program),
    };
    return cmocka_run_group_tests_name("netfile_docs", tests, NULL, NULL);
}
