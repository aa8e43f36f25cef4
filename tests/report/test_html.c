/* SPDX-License-Identifier: Apache-2.0 */
/* The page with runs inside, around a page that is made by hand. Reports of real runs are in
 * tests/cli/test_report.py. */
#include "fixture.h"
#include "report/html.h"
#include "report/pack.h"
#include "report/page_html.h"

#include <json-c/json.h>
#include <zlib.h>

#define BEFORE "<body>"
#define AFTER "<script>show()</script>"
#define BEGIN "<script type=\"application/json\" id=\"backprobe-data\">"
#define END "</script>"

const char *__wrap_bp_page_html(size_t *n_bytes);
bool __wrap_bp_page_is_whole(void);

static bool page_is_whole = true;

const char *__wrap_bp_page_html(size_t *n_bytes) {
    static const char page[] = BEFORE BP_PAGE_MARKER AFTER;
    *n_bytes = sizeof page - 1;
    return page;
}

bool __wrap_bp_page_is_whole(void) {
    return page_is_whole;
}

/* Of runs without a step: nothing is read. */
static bp_status make(bp_html *html, fixture *f, uint32_t n_runs, uint64_t max_bytes,
                      bp_error *error) {
    const bp_html_run run = {.report = f->run, .folder = "nowhere"};
    f->overview.last_step = -1;
    const bp_html_run runs[] = {run, run};
    const bp_html_options options = {.max_bytes = max_bytes};
    return bp_html_make(html, runs, n_runs, &options, error);
}

/* The data, parsed; all around it must be the page. */
static json_object *data_of(const bp_html *html) {
    const size_t before = strlen(BEFORE BEGIN), after = strlen(END AFTER);
    assert_int_equal(strlen(html->text), html->n_bytes);
    assert_int_equal(strncmp(html->text, BEFORE BEGIN, before), 0);
    assert_string_equal(html->text + html->n_bytes - after, END AFTER);
    char *data = strndup(html->text + before, html->n_bytes - before - after);
    assert_non_null(data);
    assert_null(strchr(data, '<')); /* nothing in it can end the element */
    json_object *parsed = json_tokener_parse(data);
    if (!parsed) fail_msg("no JSON: %s", data);
    free(data);
    return parsed;
}

static const char *text_at(json_object *object, const char *pointer) {
    json_object *value = NULL;
    if (json_pointer_get(object, pointer, &value) != 0) fail_msg("no %s", pointer);
    return json_object_get_string(value);
}

static void two_runs(void **state) {
    (void)state;
    fixture f;
    bp_html html;
    fixture_open(&f, NULL);
    assert_int_equal(make(&html, &f, 2, 1 << 20, NULL), BP_OK);
    json_object *data = data_of(&html);
    assert_string_equal(text_at(data, "/schema"), "backprobe.page/1");
    assert_string_equal(text_at(data, "/version"), BP_VERSION);
    assert_string_equal(text_at(data, "/note"), "");
    assert_string_equal(text_at(data, "/runs/0/run/id"), "1");
    assert_string_equal(text_at(data, "/runs/1/run/id"), "2");
    assert_string_equal(text_at(data, "/runs/1/run/name"), "runs/deep-1");
    assert_string_equal(text_at(data, "/runs/1/run/live"), "false");
    assert_string_equal(text_at(data, "/runs/0/tiles"), "{ }");
    assert_string_equal(text_at(data, "/runs/0/histograms"), "{ }");
    json_object_put(data);
    bp_html_free(&html);
    fixture_close(&f);
}

static void names_that_are_markup(void **state) {
    (void)state;
    static const char evil[] = "</script><!--<script>\"\\\x1b\xff\u2028]]>&lt;";
    fixture f;
    bp_html html;
    fixture_open(&f, evil);
    f.run.name = evil;
    f.findings[0].title = evil;
    assert_int_equal(make(&html, &f, 1, 1 << 20, NULL), BP_OK);
    json_object *data = data_of(&html);
    static const char shown[] = "</script><!--<script>\"\\\x1b\xef\xbf\xbd\u2028]]>&lt;";
    assert_string_equal(text_at(data, "/runs/0/run/name"), shown);
    assert_string_equal(text_at(data, "/runs/0/run/findings/findings/0/title"), shown);
    json_object_put(data);
    bp_html_free(&html);
    fixture_close(&f);
}

static void too_large(void **state) {
    (void)state;
    fixture f;
    bp_html html;
    bp_error error;
    fixture_open(&f, NULL);
    assert_int_equal(make(&html, &f, 1, 1000, &error), BP_ERROR_LIMIT);
    assert_string_equal(error.text, "the report cannot be as small as 1000 bytes: the page alone "
                                    "has 50");
    assert_null(html.text);
    assert_int_equal(make(&html, &f, 1, 1 << 20, NULL), BP_OK);
    const size_t exactly = html.n_bytes;
    bp_html_free(&html);
    assert_int_equal(make(&html, &f, 1, exactly, NULL), BP_OK);
    bp_html_free(&html);
    /* What is drawn less finely has fewer digits in the document: the last level decides. */
    assert_int_equal(make(&html, &f, 1, exactly - 3, &error), BP_ERROR_LIMIT);
    fixture_close(&f);
}

static void without_a_page(void **state) {
    (void)state;
    fixture f;
    bp_html html;
    bp_error error;
    fixture_open(&f, NULL);
    page_is_whole = false;
    assert_int_equal(make(&html, &f, 1, 1 << 20, &error), BP_ERROR_NOT_SUPPORTED);
    page_is_whole = true;
    assert_non_null(strstr(error.text, "tools/page.sh"));
    assert_null(html.text);
    fixture_close(&f);
}

/* --- packed bytes: undone here by another's inflate and by an own base64 -------------------------
 */

static size_t unbase64(uint8_t *bytes, const char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0, n_bits = 0;
    size_t n = 0;
    assert_int_equal(strlen(text) % 4, 0);
    for (; *text && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        assert_non_null(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        bytes[n++] = (uint8_t)(bits >> n_bits);
    }
    return n;
}

static void packed_bytes(void **state) {
    (void)state;
    uint8_t bytes[3000], packed[4000], again[3000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * i >> 5);
    for (size_t n = 0; n <= sizeof bytes; n = n < 40 ? n + 1 : n * 2) {
        char *text = NULL;
        uLongf n_again = sizeof again;
        assert_int_equal(bp_pack(&text, bytes, n, NULL), BP_OK);
        const size_t n_packed = unbase64(packed, text);
        assert_int_equal(uncompress(again, &n_again, packed, n_packed), Z_OK);
        assert_int_equal(n_again, n);
        assert_memory_equal(again, bytes, n);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_runs),     cmocka_unit_test(names_that_are_markup),
        cmocka_unit_test(too_large),    cmocka_unit_test(without_a_page),
        cmocka_unit_test(packed_bytes),
    };
    return cmocka_run_group_tests_name("report_html", tests, NULL, NULL);
}
