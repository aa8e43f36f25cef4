/* SPDX-License-Identifier: Apache-2.0 */
/* Good network files give the networks that good/NAME.txt puts in words; damaged ones and failing
 * memory give an error and nothing else. */
#include "../faults.h"
#include "fixture.h"

#define GOOD BP_SOURCE_ROOT "/tests/netfile/good"

/* libyaml takes its memory from these; the ones here come first and can fail. */
static size_t yaml_requests, yaml_fail_at;
void *yaml_malloc(size_t n_bytes);
void *yaml_realloc(void *block, size_t n_bytes);
void yaml_free(void *block);
unsigned char *yaml_strdup(const unsigned char *text);

static bool yaml_refuses(void) {
    return ++yaml_requests == yaml_fail_at;
}
void *yaml_malloc(size_t n_bytes) {
    return yaml_refuses() ? NULL : malloc(n_bytes ? n_bytes : 1);
}
void *yaml_realloc(void *block, size_t n_bytes) {
    return yaml_refuses() ? NULL : realloc(block, n_bytes ? n_bytes : 1);
}
void yaml_free(void *block) {
    free(block);
}
unsigned char *yaml_strdup(const unsigned char *text) {
    return text && !yaml_refuses() ? (unsigned char *)strdup((const char *)text) : NULL;
}

/* --- what good files say -------------------------------------------------------------------- */

static void compare_with_words(const char *path) {
    size_t n_bytes;
    char *text = fixture_read(path, &n_bytes), *expected = fixture_expected(path);
    bp_netfile *netfile = NULL;
    bp_error error = {.text = ""};
    if (bp_netfile_parse(&netfile, path, text, n_bytes, NULL, &error) != BP_OK)
        fail_msg("%s:%d:%d: %s", path, error.line, error.column, error.text);
    static char words[65536];
    bp_text found;
    bp_text_init(&found, words, sizeof words);
    fixture_describe(&found, netfile);
    assert_false(found.cut);
    if (strcmp(words, expected) != 0)
        fail_msg("%s says\n%sbut expected is\n%s", path, words, expected);
    assert_string_equal(bp_netfile_text(netfile), text);
    bp_netfile_close(netfile);
    free(expected);
    free(text);
}

static void test_good_files(void **state) {
    (void)state;
    assert_true(fixture_each(GOOD, compare_with_words) >= 10);
}

static void test_short_and_long_forms_are_the_same(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"dense 8 leaky_relu 0.2", "{dense: 8, activation: leaky_relu, slope: 0.2}"},
        {"conv 6 5", "{conv: 6, kernel: 5}"},
        {"conv 6 5 elu 2",
         "{conv: 6, kernel: 5, stride: 1, padding: 0, activation: elu, alpha: 2}"},
        {"avg_pool 3", "{avg_pool: 3}"},
        {"max_pool 3", "{max_pool: 3}"},
        {"global_avg_pool", "{global_avg_pool: true}"},
        {"flatten", "{flatten: true}"},
        {"dropout 0.3", "{dropout: 0.3}"},
        {"embedding 100 8", "{embedding: 8, vocabulary: 100}"},
        {"rnn 8", "{rnn: 8, activation: tanh, return_sequences: false}"},
        {"rnn 8 relu", "{rnn: 8, activation: relu}"},
        {"gru 8", "{gru: 8, bias: true}"},
        {"lstm 8", "{lstm: 8, forget_bias: 0}"},
        {"layer_norm", "{norm: layer_norm}"},
        {"silu", "{activation: silu}"},
        {"elu", "{activation: elu, alpha: 1}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        bp_model *models[2];
        for (size_t form = 0; form < 2; form++) {
            char text[256];
            bp_netfile *netfile = NULL;
            bp_error error = {.text = ""};
            snprintf(text, sizeof text, "version: 1\ndata: d\nnet: [%s]\n", pairs[i][form]);
            if (bp_netfile_parse(&netfile, "a", text, strlen(text), NULL, &error) != BP_OK)
                fail_msg("%s: %s", pairs[i][form], error.text);
            assert_int_equal(bp_netfile_model(netfile, &models[form], &error), BP_OK);
            assert_int_equal(bp_model_n_layers(models[form]), 1);
            bp_netfile_close(netfile);
        }
        const bp_layer *left = bp_model_layer(models[0], 1), *right = bp_model_layer(models[1], 1);
        assert_string_equal(left->name, right->name);
        fixture_expect_same_layer(left, right);
        bp_model_close(models[0]);
        bp_model_close(models[1]);
    }
}

static void test_what_the_data_decide_is_unknown(void **state) {
    (void)state;
    const char *text = "version: 1\ndata: digits\nnet: [dense 10]\n";
    bp_netfile *netfile = NULL;
    bp_model *model = NULL;
    assert_int_equal(bp_netfile_parse(&netfile, "a", text, strlen(text), NULL, NULL), BP_OK);
    assert_int_equal(bp_netfile_model(netfile, &model, NULL), BP_OK);
    bp_netfile_close(netfile); /* the model does not need the file */
    const bp_recipe *recipe = bp_model_recipe(model);
    assert_int_equal(recipe->epoch_steps, 0);
    assert_int_equal(recipe->train_samples, 0);
    assert_int_equal(recipe->n_outputs, 0);
    assert_true(recipe->trivial_loss != recipe->trivial_loss);
    assert_true(recipe->chance_accuracy != recipe->chance_accuracy);
    bp_error error;
    assert_int_equal(bp_model_set_input(model, (const int64_t[]){64, 1, 1}, &error), BP_OK);
    assert_int_equal(bp_model_layer(model, 1)->fan_in, 64);
    bp_model_close(model);
}

static void test_shape_errors_have_the_place_of_the_item(void **state) {
    (void)state;
    const char *text = "version: 1\ndata: digits\nnet:\n  - dense 10\n  - avg_pool 3\n";
    bp_netfile *netfile = NULL;
    bp_model *model = NULL;
    bp_error error;
    assert_int_equal(bp_netfile_parse(&netfile, "a", text, strlen(text), NULL, &error), BP_OK);
    assert_int_equal(bp_netfile_model(netfile, &model, &error), BP_OK);
    assert_int_equal(bp_model_set_input(model, (const int64_t[]){64, 1, 1}, &error),
                     BP_ERROR_INPUT);
    assert_int_equal(error.line, 5);
    assert_int_equal(error.column, 5);
    bp_model_close(model);
    bp_netfile_close(netfile);
}

/* --- damage --------------------------------------------------------------------------------- */

/* Whatever the bytes are: a network, or an error with a place in the text and a sentence. Where it
 * is a network an edit of it changes what it says and no more. */
static void survive(const char *text, size_t n_bytes) {
    bp_netfile *netfile = NULL;
    bp_error error = {.text = ""};
    const bp_status status = bp_netfile_parse(&netfile, "a", text, n_bytes, NULL, &error);
    if (status != BP_OK) {
        assert_null(netfile);
        assert_true(status == BP_ERROR_INPUT || status == BP_ERROR_NOT_SUPPORTED);
        assert_int_equal(error.status, status);
        assert_true(error.line >= 1 && error.line <= 40 && error.column >= 1);
        assert_true(strlen(error.text) > 0);
        return;
    }
    const bp_netfile_edit edits[] = {{"train.seed", "77"}, {"net[0]", "dense 5"}};
    char *edited = NULL;
    assert_int_equal(
        bp_netfile_apply("a", bp_netfile_text(netfile), edits, 2, NULL, &edited, &error), BP_OK);
    bp_netfile *after = NULL;
    bp_model *model = NULL;
    assert_int_equal(bp_netfile_parse(&after, "a", edited, strlen(edited), NULL, &error), BP_OK);
    assert_int_equal(bp_netfile_model(after, &model, &error), BP_OK);
    assert_true(bp_model_recipe(model)->seed == 77);
    assert_int_equal(bp_model_layer(model, 1)->output_shape[0], 5);
    bp_model_close(model);
    bp_netfile_close(after);
    bp_netfile_release(NULL, edited);
    bp_netfile_close(netfile);
}

static const char *const everything[] = {GOOD "/everything.yaml", GOOD "/everything_more.yaml"};
#define N_EVERYTHING (sizeof everything / sizeof *everything)

static void test_every_truncation(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EVERYTHING; i++) {
        size_t n_bytes;
        char *text = fixture_read(everything[i], &n_bytes);
        assert_true(n_bytes > 500);
        for (size_t n = 0; n <= n_bytes; n++) {
            char *cut = malloc(n + 1); /* of its own, so that the sanitizer sees reads behind it */
            assert_non_null(cut);
            memcpy(cut, text, n);
            survive(cut, n);
            free(cut);
        }
        free(text);
    }
}

static void test_every_flipped_bit(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EVERYTHING; i++) {
        size_t n_bytes;
        char *text = fixture_read(everything[i], &n_bytes);
        for (size_t bit = 0; bit < n_bytes * 8; bit++) {
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            survive(text, n_bytes);
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        }
        free(text);
    }
}

/* --- memory --------------------------------------------------------------------------------- */

static bp_status read_and_edit(const char *text, const bp_allocator *allocator) {
    bp_netfile *netfile = NULL;
    bp_model *model = NULL;
    char *edited = NULL;
    bp_error error;
    const bp_netfile_edit edits[] = {{"net[0].activation", "leaky_relu 0.2"},
                                     {"net[0].frozen", "true"},
                                     {"net[2].init", "{he: 2}"},
                                     {"net[4].activation", "relu"},
                                     {"train.batch", "16"}};
    bp_status status = bp_netfile_parse(&netfile, "a", text, strlen(text), allocator, &error);
    if (status == BP_OK) status = bp_netfile_model(netfile, &model, &error);
    if (status == BP_OK) status = bp_netfile_apply("a", text, edits, 5, allocator, &edited, &error);
    if (status != BP_OK) {
        assert_int_equal(error.status, status);
        assert_true(strlen(error.text) > 0);
    }
    bp_netfile_release(allocator, edited);
    bp_model_close(model);
    bp_netfile_close(netfile);
    return status;
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    size_t n_bytes, n_failed = 0;
    char *text = fixture_read(GOOD "/everything.yaml", &n_bytes);
    bp_status status;
    do {
        faulty_memory memory = {.fail_at = n_failed + 1};
        const bp_allocator allocator = faulty_allocator(&memory);
        status = read_and_edit(text, &allocator);
        assert_true(status == BP_OK || status == BP_ERROR_MEMORY);
        assert_int_equal(memory.live_blocks, 0);
        assert_int_equal(memory.wrong_sizes, 0);
    } while (status != BP_OK && ++n_failed < 100000);
    assert_true(n_failed > 50 && n_failed < 100000);
    free(text);
}

static void test_every_failing_allocation_of_libyaml(void **state) {
    (void)state;
    size_t n_bytes, n_failed = 0;
    char *text = fixture_read(GOOD "/everything.yaml", &n_bytes);
    bp_status status;
    do {
        faulty_memory memory = {.fail_at = 0};
        const bp_allocator allocator = faulty_allocator(&memory);
        yaml_requests = 0;
        yaml_fail_at = n_failed + 1;
        status = read_and_edit(text, &allocator);
        assert_true(status == BP_OK || status == BP_ERROR_MEMORY);
        assert_int_equal(memory.live_blocks, 0);
    } while (status != BP_OK && ++n_failed < 100000);
    yaml_fail_at = 0;
    assert_true(n_failed > 200 && n_failed < 100000);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_files),
        cmocka_unit_test(test_short_and_long_forms_are_the_same),
        cmocka_unit_test(test_what_the_data_decide_is_unknown),
        cmocka_unit_test(test_shape_errors_have_the_place_of_the_item),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_failing_allocation),
        cmocka_unit_test(test_every_failing_allocation_of_libyaml),
    };
    return cmocka_run_group_tests_name("netfile", tests, NULL, NULL);
}
