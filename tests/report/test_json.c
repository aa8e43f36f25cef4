/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <json-c/json.h>
#include <locale.h>

static char *json_of(fixture *f, bool pretty) {
    char *text = NULL;
    assert_int_equal(bp_report_json(&text, &f->run, pretty, NULL), BP_OK);
    return text;
}

static json_object *parsed(fixture *f) {
    char *text = json_of(f, false);
    json_object *document = json_tokener_parse(text);
    assert_non_null(document);
    free(text);
    return document;
}

/* document.path[0].path[1] ...; a number is an index. */
static json_object *at(json_object *value, const char *path) {
    char copy[128];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *key = strtok(copy, "."); key; key = strtok(NULL, ".")) {
        if (*key >= '0' && *key <= '9')
            value = json_object_array_get_idx(value, (size_t)atoi(key));
        else
            assert_true(json_object_object_get_ex(value, key, &value));
    }
    return value;
}

static void expect_text(json_object *document, const char *path, const char *expected) {
    assert_string_equal(json_object_get_string(at(document, path)), expected);
}

static void test_document(void **state) {
    (void)state;
    fixture f;
    bp_runlog_damage damage = {.lost_records = 2, .damaged_places = 1, .lost_bytes = 90};
    damage.first = (bp_error){.status = BP_ERROR_INPUT, .offset = 77};
    strcpy(damage.first.text, "log-000001.bplog: bad checksum at 77");
    fixture_open(&f, NULL);
    f.unjudged = BP_PROBLEM_MEMORISING;
    f.run.damage = &damage;
    json_object *document = parsed(&f);
    expect_text(document, "schema", "backprobe.findings/1");
    expect_text(document, "run", "runs/deep-1");
    expect_text(document, "end", "finished");
    expect_text(document, "steps.records", "341");
    expect_text(document, "loss.last", "2.3034");
    expect_text(document, "not_judged.0.problem", "memorising");
    expect_text(document, "not_judged.0.missing", "validation");
    assert_int_equal(json_object_array_length(at(document, "not_judged")), 1);
    expect_text(document, "damage.lost_records", "2");
    expect_text(document, "damage.first", "log-000001.bplog: bad checksum at 77");
    assert_int_equal(json_object_array_length(at(document, "network.layers")), FIXTURE_LAYERS);
    expect_text(document, "network.layers.1.name", "dense_2");
    assert_int_equal(json_object_array_length(at(document, "findings")), 1);
    expect_text(document, "findings.0.problem", "vanishing-gradient");
    expect_text(document, "findings.0.severity", "error");
    expect_text(document, "findings.0.layers.3.name", "dense_4");
    expect_text(document, "findings.0.symptoms.0.speaks_for_vanishing", "true");
    expect_text(document, "findings.0.remedy.edits.0.key", "net[0].activation");
    expect_text(document, "findings.0.consequences.0.problem", "non-finite");
    assert_null(at(document, "findings.0.consequences.0.remedy"));
    assert_int_equal(json_object_array_length(at(document, "findings.0.consequences.0."
                                                           "consequences")),
                     0);
    json_object_put(document);
    fixture_close(&f);
}

/* A measured NaN is the string "NaN"; what was not measured is null. */
static void test_non_finite(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.overview.last_loss = -(double)INFINITY;
    f.overview.first_loss = (double)NAN;
    json_object *document = parsed(&f);
    expect_text(document, "loss.last", "-Infinity");
    expect_text(document, "loss.first", "NaN");
    expect_text(document, "findings.0.evidence.1.value", "NaN");
    expect_text(document, "findings.0.evidence.2.value", "Infinity");
    assert_int_equal(json_object_get_type(at(document, "findings.0.evidence.1.value")),
                     json_type_string);
    assert_null(at(document, "findings.0.evidence.3.value"));
    assert_null(at(document, "findings.0.gains.0.gain"));
    assert_null(at(document, "damage"));
    assert_null(at(document, "ranks"));
    json_object_put(document);
    fixture_close(&f);
}

static void test_ranks(void **state) {
    (void)state;
    fixture f;
    bp_runlog_rank ranks[] = {
        {.n_steps = 9, .missing_steps = 1, .last_step = 9, .end = BP_RUN_FINISHED},
        {.rank = 4, .first_step = -1, .last_step = -1},
    };
    bp_fail(&ranks[1].error, BP_ERROR_INPUT, "no log");
    fixture_open(&f, NULL);
    f.run.ranks = ranks;
    f.run.n_ranks = 2;
    json_object *document = parsed(&f);
    assert_int_equal(json_object_array_length(at(document, "ranks")), 2);
    expect_text(document, "ranks.0.first", "0");
    expect_text(document, "ranks.0.last", "9");
    expect_text(document, "ranks.0.records", "9");
    expect_text(document, "ranks.0.missing", "1");
    expect_text(document, "ranks.0.end", "finished");
    assert_null(at(document, "ranks.0.error"));
    expect_text(document, "ranks.1.rank", "4");
    assert_null(at(document, "ranks.1.last"));
    expect_text(document, "ranks.1.end", "open");
    expect_text(document, "ranks.1.error", "no log");
    json_object_put(document);
    fixture_close(&f);
}

/* The shortest digits that read back as the same double, whatever the locale. */
static void test_numbers(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.overview.first_loss = 0.1;
    f.overview.last_loss = 1.0 / 3;
    f.overview.best_loss = 5e-324;
    (void)setlocale(LC_ALL, "de_DE.UTF-8");
    char *text = json_of(&f, false);
    assert_non_null(strstr(text, "\"first\":0.1,\"last\":0.3333333333333333,\"best\":5e-324,"));
    free(text);
    (void)setlocale(LC_ALL, "C");
    fixture_close(&f);
}

static void test_one_line(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char *text = json_of(&f, false);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
    text = json_of(&f, true);
    assert_true(strchr(text, '\n') < text + strlen(text) - 1);
    free(text);
    fixture_close(&f);
}

/* Markup, quotes, control characters and bad UTF-8 in names: valid JSON, nothing for a terminal to
 * obey, and what was valid reads back unchanged. */
static void test_hostile_names(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, "a\"\\</script>\x1b\xc2\x9b\xff");
    f.findings[0].cause = "\x7f \xe2\x80\xae \xf3\xa0\x81\x81";
    char *text = json_of(&f, false);
    assert_non_null(strstr(text, "a\\\"\\\\</script>\\u001b\\u009b\xef\xbf\xbd"));
    assert_non_null(strstr(text, "\\u007f \\u202e \\udb40\\udc41"));
    for (const char *c = text; *c; c++) assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
    free(text);
    json_object *document = parsed(&f);
    expect_text(document, "network.layers.1.name", "a\"\\</script>\x1b\xc2\x9b\xef\xbf\xbd");
    expect_text(document, "findings.0.cause", f.findings[0].cause);
    json_object_put(document);
    fixture_close(&f);
}

static void test_code(void **state) {
    (void)state;
    static const char *const lines[] = {"for i in range(3):", "    draw(model.net[i], \"\xff\")"};
    fixture f;
    fixture_open(&f, NULL);
    json_object *document = parsed(&f);
    assert_null(at(document, "findings.0.remedy.code"));
    assert_null(at(document, "network.origin"));
    json_object_put(document);
    f.remedy.n_edits = 0;
    f.remedy.lines = lines;
    f.remedy.n_lines = 2;
    assert_int_equal(bp_model_set_origin(f.model, "pytorch"), BP_OK);
    document = parsed(&f);
    expect_text(document, "findings.0.remedy.code",
                "for i in range(3):\n    draw(model.net[i], \"\xef\xbf\xbd\")\n");
    expect_text(document, "network.origin", "pytorch");
    json_object_put(document);
    fixture_close(&f);
}

static const char *no_text(void *context, const bp_edit *edits, uint32_t n_edits) {
    (void)edits, (void)n_edits;
    return context;
}

static void expect_no_diff(fixture *f) {
    json_object *document = parsed(f);
    assert_null(at(document, "findings.0.remedy.diff"));
    json_object_put(document);
}

/* The lines of the network file that the remedy's edits remove and add. */
static void test_diff(void **state) {
    (void)state;
    fixture f;
    char many[2 * 60 + 1] = "";
    fixture_open(&f, NULL);
    json_object *document = parsed(&f);
    assert_int_equal(json_object_array_length(at(document, "findings.0.remedy.diff")), 4);
    expect_text(document, "findings.0.remedy.diff.0.added", "false");
    expect_text(document, "findings.0.remedy.diff.0.line", "2");
    expect_text(document, "findings.0.remedy.diff.0.text", "net: [20 x dense 64 sigmoid]");
    expect_text(document, "findings.0.remedy.diff.1.added", "true");
    expect_text(document, "findings.0.remedy.diff.1.text", "net: [20 x dense 64 tanh]");
    expect_text(document, "findings.0.remedy.diff.3.line", "3");
    expect_text(document, "findings.0.remedy.diff.3.text", "init: xavier");
    json_object_put(document);
    f.run.edited = no_text; /* they do not apply */
    expect_no_diff(&f);
    for (size_t i = 0; i < sizeof many / 2; i++) memcpy(many + 2 * i, "x\n", 2);
    f.run.context = many; /* 3 lines are replaced by 60 */
    document = parsed(&f);
    assert_int_equal(json_object_array_length(at(document, "findings.0.remedy.diff")), 63);
    json_object_put(document);
    char more[2 * 98 + 1] = "";
    for (size_t i = 0; i < sizeof more / 2; i++) memcpy(more + 2 * i, "x\n", 2);
    f.run.context = more; /* one line too many */
    expect_no_diff(&f);
    f.run.network_text = NULL;
    f.run.edited = NULL;
    expect_no_diff(&f);
    fixture_close(&f);
}

static void print_event(FILE *out, void *context) {
    (void)context;
    bp_json_line line = {out, false};
    bp_json_line_text(&line, "event", "a\"b\x1b\n");
    bp_json_line_integer(&line, "steps", -5);
    bp_json_line_number(&line, "loss", (double)NAN);
    bp_json_line_number(&line, "rate", 0.1);
    bp_json_line_json(&line, "finding", "{\"a\":1}\n");
    bp_json_line_end(&line);
}

static void test_event(void **state) {
    (void)state;
    char *text = fixture_printed(print_event, NULL);
    assert_string_equal(text, "{\"event\":\"a\\\"b\\u001b\\u000a\",\"steps\":-5,\"loss\":\"NaN\","
                              "\"rate\":0.1,\"finding\":{\"a\":1}}\n");
    free(text);
}

static void test_finding_alone(void **state) {
    (void)state;
    fixture f;
    char *text = NULL;
    fixture_open(&f, NULL);
    assert_int_equal(bp_report_finding_json(&text, &f.run, &f.findings[0], NULL), BP_OK);
    assert_int_equal(strncmp(text, "{\"problem\":\"vanishing-gradient\",", 32), 0);
    free(text);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document), cmocka_unit_test(test_non_finite),
        cmocka_unit_test(test_ranks),    cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_one_line), cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_event),    cmocka_unit_test(test_finding_alone),
        cmocka_unit_test(test_code),     cmocka_unit_test(test_diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
