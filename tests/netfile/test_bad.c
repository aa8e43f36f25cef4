/* SPDX-License-Identifier: Apache-2.0 */
/* Bad network files: bad/NAME.yaml is refused with the "LINE:COLUMN: sentence" in bad/NAME.txt.
 * What is too large for a file in the tree is made here. */
#include "fixture.h"

#define BAD BP_SOURCE_ROOT "/tests/netfile/bad"

static void compare_with_sentence(const char *path) {
    size_t n_bytes;
    char *text = fixture_read(path, &n_bytes), *expected = fixture_expected(path);
    bp_netfile *netfile = NULL;
    bp_error error = {.text = ""};
    if (bp_netfile_parse(&netfile, path, text, n_bytes, NULL, &error) == BP_OK)
        fail_msg("%s is taken for a network file", path);
    assert_null(netfile);
    char found[BP_ERROR_TEXT_BYTES + 64];
    snprintf(found, sizeof found, "%d:%d: %s\n", error.line, error.column, error.text);
    if (strcmp(found, expected) != 0)
        fail_msg("%s says\n%sbut expected is\n%s", path, found, expected);
    /* an edit of a file that is bad elsewhere is refused too, and nothing leaks */
    char *edited = NULL;
    if (strlen(text) == n_bytes) {
        const bp_netfile_edit edit = {"train.seed", "3"};
        (void)!bp_netfile_apply(path, text, &edit, 1, NULL, &edited, &error);
        bp_netfile_release(NULL, edited);
    }
    free(expected);
    free(text);
}

static void test_bad_files(void **state) {
    (void)state;
    assert_true(fixture_each(BAD, compare_with_sentence) >= 100);
}

static void expect_refusal(const char *text, size_t n_bytes, const char *sentence) {
    bp_netfile *netfile = NULL;
    bp_error error = {.text = ""};
    const bp_status status = bp_netfile_parse(&netfile, "big.yaml", text, n_bytes, NULL, &error);
    assert_int_not_equal(status, BP_OK);
    if (!strstr(error.text, sentence)) fail_msg("found '%s', expected '%s'", error.text, sentence);
}

/* head, then unit as often as fits into a megabyte. */
static void expect_refusal_of_many(const char *head, const char *unit, const char *sentence) {
    const size_t limit = (size_t)1 << 20, width = strlen(unit);
    char *text = malloc(limit + 1);
    assert_non_null(text);
    size_t length = strlen(head);
    memcpy(text, head, length);
    for (; length + width <= limit; length += width) memcpy(text + length, unit, width);
    expect_refusal(text, length, sentence);
    free(text);
}

static void test_a_megabyte_of_nesting(void **state) {
    (void)state;
    expect_refusal_of_many("version: 1\ndata: digits\nnet: ", "[", "nested deeper than 64 levels");
    expect_refusal_of_many(
        "version: 1\ndata: digits\nnet: ", "{a: ", "nested deeper than 64 levels");
    expect_refusal_of_many(
        "version: 1\ndata: digits\nnet: ", "[{residual: ", "nested deeper than 64 levels");
    expect_refusal_of_many("", "- ", "nested deeper than 64 levels");
    expect_refusal_of_many("", "? ", "a key must be a word");
    expect_refusal_of_many("", "a: ", "mapping values are not allowed");
    expect_refusal_of_many("", "!", "anchors (&) and tags (!) are not used");
    expect_refusal_of_many("", "*a ", "aliases (*) are not used");
    expect_refusal_of_many("", "\"", "unexpected text behind");
    expect_refusal_of_many("", "\xff", "is not UTF-8");
    expect_refusal_of_many("net: ", "]", "not valid YAML");
}

static void test_a_megabyte_of_values(void **state) {
    (void)state;
    const char *start = "version: 1\ndata: digits\nnet: [";
    expect_refusal_of_many(start, "1,", "more than 100000 values");
    expect_refusal_of_many("version: 1\n", "a: 1\n", "more than 100000 values");
    expect_refusal_of_many("version: 1\ndata: ", "a", "net is missing");
    expect_refusal_of_many("", "\n", "the file is empty");
    expect_refusal_of_many("", " ", "the file is empty");
}

/* Deep mappings in block style, one blank further in on each line. */
static void test_deep_mappings(void **state) {
    (void)state;
    static char text[200 * 210];
    size_t length = 0;
    for (size_t i = 0; i < 200; i++) {
        memset(text + length, ' ', i);
        memcpy(text + length + i, "a:\n", 3);
        length += i + 3;
    }
    expect_refusal(text, length, "nested deeper than 64 levels");
}

/* The deepest file that is allowed works in every walk over it. */
static void test_the_deepest_network(void **state) {
    (void)state;
    static char text[4096];
    bp_text built;
    bp_text_init(&built, text, sizeof text);
    bp_text_add(&built, "version: 1\ndata: digits\nnet: ");
    const int n_blocks = (BP_NETFILE_MAX_DEPTH - 2) / 2; /* the file and net take two levels */
    for (int i = 0; i < n_blocks; i++) bp_text_add(&built, "[{residual: ");
    bp_text_add(&built, "[dense 3 tanh]");
    for (int i = 0; i < n_blocks; i++) bp_text_add(&built, "}]");
    bp_netfile *netfile = NULL;
    bp_error error;
    assert_int_equal(bp_netfile_parse(&netfile, "deep", text, strlen(text), NULL, &error), BP_OK);
    bp_model *model = NULL;
    assert_int_equal(bp_netfile_model(netfile, &model, &error), BP_OK);
    assert_int_equal(bp_model_n_layers(model), n_blocks + 1);
    assert_int_equal(bp_model_layer(model, 1)->depth_in_blocks, n_blocks);
    bp_model_close(model);
    bp_netfile_close(netfile);
    const bp_netfile_edit edit = {"net[0].activation", "relu"};
    char *edited = NULL;
    assert_int_equal(bp_netfile_apply("deep", text, &edit, 1, NULL, &edited, &error), BP_OK);
    assert_non_null(strstr(edited, "[dense 3 relu]"));
    bp_netfile_release(NULL, edited);
}

static void test_too_large(void **state) {
    (void)state;
    char *text = malloc(BP_NETFILE_MAX_BYTES + 2);
    assert_non_null(text);
    memset(text, '#', BP_NETFILE_MAX_BYTES + 1);
    text[BP_NETFILE_MAX_BYTES + 1] = '\0';
    expect_refusal(text, BP_NETFILE_MAX_BYTES + 1, "big.yaml is larger than 4194304 bytes");
    expect_refusal(text, BP_NETFILE_MAX_BYTES, "the file is empty");
    char *edited = NULL;
    assert_int_equal(bp_netfile_apply("big.yaml", text, NULL, 0, NULL, &edited, NULL),
                     BP_ERROR_INPUT);
    assert_null(edited);
    free(text);
}

static void test_without_an_error_to_fill(void **state) {
    (void)state;
    const char *const texts[] = {"", "\xff", "[", "version: 2\ndata: a\nnet: [dense 1]",
                                 "version: 1\ndata: {format: csv}\nnet: [dense 1]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        bp_netfile *netfile = NULL;
        assert_int_not_equal(
            bp_netfile_parse(&netfile, "a", texts[i], strlen(texts[i]), NULL, NULL), BP_OK);
        assert_null(netfile);
    }
    bp_netfile_close(NULL);
    bp_netfile_release(NULL, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_a_megabyte_of_nesting),
        cmocka_unit_test(test_a_megabyte_of_values),
        cmocka_unit_test(test_deep_mappings),
        cmocka_unit_test(test_the_deepest_network),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_without_an_error_to_fill),
    };
    return cmocka_run_group_tests_name("netfile_bad", tests, NULL, NULL);
}
