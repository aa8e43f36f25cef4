/* SPDX-License-Identifier: Apache-2.0 */
/* The formats of others, byte by byte, with names that mean something there. Whether documents are
 * what their schemas say is tested in tests/cli/test_formats.py. */
#include "fixture.h"

static void print_run(FILE *out, void *context) {
    const bp_report_format *format = bp_report_format_named(context);
    const bp_report_style style = {false, 100};
    if (format->begin) format->begin(out);
    assert_int_equal(format->run(out, &style, &fixture_now->run, 0, NULL), BP_OK);
    if (format->end) format->end(out);
}

static char *printed_as(const char *format) {
    char name[16];
    snprintf(name, sizeof name, "%s", format);
    return fixture_printed(print_run, name);
}

static void expect_in(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static void test_names(void **state) {
    (void)state;
    char words[] = BP_REPORT_FORMATS;
    for (const char *word = strtok(words, "|"); word; word = strtok(NULL, "|")) {
        assert_non_null(bp_report_format_named(word));
        assert_string_equal(bp_report_format_named(word)->name, word);
    }
    assert_null(bp_report_format_named("xml"));
}

static void test_github(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.run.name = "runs/a:b,c\n100%";
    f.run.network_path = "runs/a,1/network.yaml";
    f.findings[0].title = "100% of layers: none\r\n::error::learn";
    char *text = printed_as("github");
    assert_string_equal(
        text, "::error file=runs/a%2C1/network.yaml,title=vanishing-gradient in "
              "runs/a%3Ab%2Cc\\x0a100%25::100%25 of layers: none\\x0d\\x0a::error::learn%0A"
              "since step 0 · now step 340%0Acause: the chain rule multiplies the layers' gains, "
              "about 0.1 each; of it sigmoid passes on 0.24 (at most 0.25), the weights 0.58%0A"
              "note: Adam would not help: nothing arrives%0Ahelp: use tanh with Xavier "
              "initialisation%0Aconsequence: non-finite: NaN first in the loss\n");
    free(text);
    f.run.network_path = NULL;
    f.findings[0].severity = BP_HINT;
    text = printed_as("github");
    assert_int_equal(strncmp(text, "::notice title=", 15), 0);
    free(text);
    fixture_close(&f);
}

static void test_markdown(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, "a`|b");
    char *text = printed_as("markdown");
    expect_in(text, "## Backprobe: `runs/deep-1`\n\n2 findings · 341 steps · loss 2.31 → 2.3 · "
                    "finished\n\n### error: vanishing-gradient\n\n**layers 1–4 of 20 do not "
                    "learn** · since step 0 · now step 340\n\n| | layer | error signal |");
    expect_in(text, "| **1** | `dense_1` | 1e-21 | – | 0 |\n");
    expect_in(text, "\n7 of 20 layers are shown.\n\n**Cause:** the chain rule");
    expect_in(text, "\n```diff\n@@ line 2 @@\n-net: [20 x dense 64 sigmoid]\n"
                    "+net: [20 x dense 64 tanh]\n@@ line 3 @@\n-init: pytorch_default\n"
                    "+init: xavier\n```\n\n**Consequences**\n\n- warning `non-finite`: NaN first "
                    "in the loss. what went in was finite\n");
    free(text);
    f.findings[0].n_gains = 0;
    text = printed_as("markdown");
    expect_in(text, "| 1 | `dense_1` | error\\_norm NaN |\n| 2 | `` a`\\|b `` | "
                    "error\\_norm Infinity |\n| 3 | `dense_3` |  |\n");
    free(text);
    fixture_close(&f);
}

/* Nobody is mentioned, nothing is linked, nothing ends a fence or begins a tag. */
static void test_markdown_of_hostile_names(void **state) {
    (void)state;
    static const char *const lines[] = {"````", "model.get_submodule(\"\x1b`````\")"};
    fixture f;
    fixture_open(&f, NULL);
    f.run.name = "r`\n# x";
    f.findings[0].title = "@team #12 <img src=x> [a](http://b) www.c *d* \x1b &amp;";
    f.remedy.n_edits = 0;
    f.remedy.lines = lines;
    f.remedy.n_lines = 2;
    char *text = printed_as("markdown");
    expect_in(text, "## Backprobe: `` r`\\x0a# x ``\n");
    expect_in(text, "**@<!-- -->team \\#<!-- -->12 \\<img src=x\\> \\[a\\](http\\://b) www\\.c "
                    "\\*d\\* \\\\x1b \\&amp;** · since");
    expect_in(text, "\n``````python\n````\nmodel.get_submodule(\"\\x1b`````\")\n``````\n");
    free(text);
    fixture_close(&f);
}

static void test_junit(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.run.name = "a<b>&\"c\"\x01\xef\xbf\xbe\xef\xbf\xbf";
    f.run.fail_on = BP_ERROR;
    f.unjudged = BP_PROBLEM_OVERFITTING;
    bp_choice choice = {0};
    f.findings[2] = f.findings[1];
    f.findings[2].problem = BP_PROBLEM_PLATEAU;
    f.n_findings = 3;
    assert_int_equal(bp_choice_add(&choice, "plateau", true, NULL), BP_OK);
    f.run.choice = &choice;
    char *text = printed_as("junit");
    expect_in(text,
              "<testsuite name=\"a&lt;b&gt;&amp;&quot;c&quot;\\x01\\ufffe\\uffff\" tests=\"32\" "
              "failures=\"1\" errors=\"0\" skipped=\"2\">");
    expect_in(text,
              "<testcase name=\"vanishing-gradient\" classname=\"a&lt;b&gt;&amp;&quot;c&quot;"
              "\\x01\\ufffe\\uffff\"><failure type=\"error\" message=\"layers 1–4 of 20 do not "
              "learn\">layers 1–4");
    expect_in(text, "help: use tanh with Xavier initialisation\npredicted gain 0.94 a layer "
                    "instead of 0.14\nnet[0].activation: tanh\ninit: xavier\n</failure>");
    expect_in(text, "<system-out>warning: NaN first in the loss\nfrom step 7 to step 9 · over\n"
                    "cause: what went in was finite\nconsequence of: vanishing-gradient\n"
                    "</system-out>");
    expect_in(text, "<skipped message=\"a finding of it is ignored\"/></testcase>");
    expect_in(text, "<skipped message=\"not judged, not there: validation\"/></testcase>");
    free(text);
    f.run.fail_on = 0;
    text = printed_as("junit");
    assert_null(strstr(text, "<failure"));
    expect_in(text, "failures=\"0\"");
    free(text);
    bp_choice_free(&choice);
    fixture_close(&f);
}

/* What stands for a link or a placeholder in a message, and what a URI cannot have. */
static void test_sarif(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    f.run.network_path = "a b/é%.yaml";
    f.findings[0].title = "[0](x) {1}";
    char *text = printed_as("sarif");
    expect_in(text, "\"text\":\"\\\\[0\\\\](x) {{1}}. since step 0");
    expect_in(text, "\"uri\":\"a%20b/%C3%A9%25.yaml\"");
    expect_in(text, "\"fullyQualifiedName\":\"dense_4\"");
    expect_in(text, "\"consequenceOf\":\"vanishing-gradient\"");
    free(text);
    f.run.network_path = "/tmp/net.yaml";
    text = printed_as("sarif");
    expect_in(text, "\"uri\":\"file:///tmp/net.yaml\"");
    free(text);
    fixture_close(&f);
}

static void test_jsonl(void **state) {
    (void)state;
    fixture f;
    fixture_open(&f, NULL);
    char *text = printed_as("jsonl");
    char *second = strchr(text, '\n') + 1;
    expect_in(text, "{\"schema\":\"backprobe.finding/1\",\"run\":\"runs/deep-1\",\"index\":0,"
                    "\"parent\":null,\"finding\":{\"problem\":\"vanishing-gradient\",");
    expect_in(second, "{\"schema\":\"backprobe.finding/1\",\"run\":\"runs/deep-1\",\"index\":1,"
                      "\"parent\":0,\"finding\":{\"problem\":\"non-finite\",");
    assert_ptr_equal(strchr(second, '\n'), second + strlen(second) - 1);
    free(text);
    f.n_findings = 0;
    text = printed_as("jsonl");
    assert_string_equal(text, "");
    free(text);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_github),
        cmocka_unit_test(test_markdown), cmocka_unit_test(test_markdown_of_hostile_names),
        cmocka_unit_test(test_junit),    cmocka_unit_test(test_sarif),
        cmocka_unit_test(test_jsonl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
