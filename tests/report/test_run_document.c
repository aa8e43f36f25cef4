/* SPDX-License-Identifier: Apache-2.0 */
/* What the page is told of a run: every key of web/src/source/types.ts, and nothing of a name that
 * could do harm. */
#include "fixture.h"
#include "report/run_document.h"

#include <json-c/json.h>

#define HAS(id) (UINT64_C(1) << BP_Q_##id)

static json_object *parsed(const fixture *f, const bp_run_facts *facts) {
    char *text = NULL;
    assert_int_equal(bp_run_document(&text, &f->run, facts, NULL), BP_OK);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_object *document = json_tokener_parse(text);
    assert_non_null(document);
    free(text);
    return document;
}

static json_object *get(json_object *object, const char *key) {
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, key, &value)) fail_msg("no %s", key);
    return value;
}

static const char *text_of(json_object *object, const char *key) {
    return json_object_get_string(get(object, key));
}

static void the_document(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    const bp_run_facts facts = {.id = "3f",
                                .live = true,
                                .read_fraction = 0.25,
                                .columns = HAS(LOSS) | HAS(ERROR_NORM) | HAS(UNITS),
                                .view_columns = 800,
                                .histogram_roles = 1u << 6 | 1u << 5 | 1u << 7};
    json_object *document = parsed(&f, &facts);
    assert_int_equal(json_object_object_length(document), 10);
    assert_string_equal(text_of(document, "schema"), "backprobe.run/1");
    assert_string_equal(text_of(document, "id"), "3f");
    assert_string_equal(text_of(document, "name"), "runs/deep-1");
    assert_string_equal(text_of(document, "live"), "true");
    assert_string_equal(text_of(document, "read_fraction"), "0.25");
    assert_string_equal(text_of(document, "view_columns"), "800");
    assert_string_equal(text_of(document, "histograms"), "[ \"parameter\", \"gradient\" ]");
    json_object *path = get(document, "path");
    assert_int_equal(json_object_array_length(path), FIXTURE_LAYERS + 1);
    for (size_t i = 0; i <= FIXTURE_LAYERS; i++)
        assert_int_equal(json_object_get_int(json_object_array_get_idx(path, i)), i);
    json_object_put(document);
    fixture_close(&f);
}

static void roles_of_histograms(void **state) {
    (void)state;
    uint32_t role, n = 0;
    for (uint32_t i = 0; i < 40; i++) {
        const char *name = bp_histogram_role_name(i);
        if (!name) continue;
        n++;
        assert_true(bp_histogram_role_find(&role, name));
        assert_int_equal(role, i);
    }
    assert_int_equal(n, 4);
    assert_string_equal(bp_histogram_role_name(6), "gradient");
    assert_false(bp_histogram_role_find(&role, "update"));
}

/* Quantities that were recorded, and what can be derived from them. */
static void its_series(void **state) {
    (void)state;
    static const struct {
        const char *name, *of;
    } expected[] = {{"loss", "network"},      {"units", "layers"}, {"dead_units", "layers"},
                    {"error_norm", "layers"}, {"gain", "layers"},  {"dead_fraction", "layers"}};
    fixture f;
    fixture_open(&f, NULL);
    const bp_run_facts facts = {
        .id = "1", .columns = HAS(LOSS) | HAS(ERROR_NORM) | HAS(UNITS) | HAS(DEAD_UNITS)};
    json_object *document = parsed(&f, &facts), *series = get(document, "series");
    assert_int_equal(json_object_array_length(series), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        json_object *one = json_object_array_get_idx(series, i);
        assert_string_equal(text_of(one, "name"), expected[i].name);
        assert_string_equal(text_of(one, "of"), expected[i].of);
        assert_true(strlen(text_of(one, "meaning")) > 5);
    }
    assert_null(get(document, "view_columns"));
    assert_int_equal(json_object_array_length(get(document, "histograms")), 0);
    json_object_put(document);
    fixture_close(&f);
}

/* The findings are the very document that `check` prints. */
static void its_findings(void **state) {
    (void)state;
    fixture f;
    char *text = NULL;
    fixture_open(&f, "</script><script>\x1b\xff");
    json_object *document = parsed(&f, &(bp_run_facts){.id = "1"});
    assert_int_equal(bp_report_json(&text, &f.run, false, NULL), BP_OK);
    json_object *alone = json_tokener_parse(text);
    assert_int_equal(json_object_equal(get(document, "findings"), alone), 1);
    json_object_put(alone);
    json_object_put(document);
    free(text);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document),
        cmocka_unit_test(roles_of_histograms),
        cmocka_unit_test(its_series),
        cmocka_unit_test(its_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
