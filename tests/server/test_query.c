/* SPDX-License-Identifier: Apache-2.0 */
#include "server/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define ID "0123456789abcdef"

static bp_query query;
static bp_error error;

static bp_status take(const char *key, const char *value) {
    return bp_query_take(&query, key, value, value ? strlen(value) : 0, &error);
}

static void routes(void **state) {
    (void)state;
    static const struct {
        const char *path;
        bp_route route;
    } paths[] = {
        {"/", BP_ROUTE_PAGE},
        {"/favicon.ico", BP_ROUTE_ICON},
        {"/api/runs", BP_ROUTE_RUNS},
        {"/api/events", BP_ROUTE_EVENTS},
        {"/api/runs/" ID, BP_ROUTE_RUN},
        {"/api/runs/" ID "/tile", BP_ROUTE_TILE},
        {"/api/runs/" ID "/histogram", BP_ROUTE_HISTOGRAM},
        {"", BP_ROUTE_NONE},
        {"//", BP_ROUTE_NONE},
        {"/api", BP_ROUTE_NONE},
        {"/api/runs/", BP_ROUTE_NONE},
        {"/api/runs/..", BP_ROUTE_NONE},
        {"/api/runs/../../etc/passwd", BP_ROUTE_NONE},
        {"/api/runs/%2e%2e%2f%2e%2e", BP_ROUTE_NONE},
        {"/api/runs/0123456789ABCDEF", BP_ROUTE_NONE},
        {"/api/runs/0123456789abcde", BP_ROUTE_NONE},
        {"/api/runs/" ID "0", BP_ROUTE_NONE},
        {"/api/runs/" ID "/", BP_ROUTE_NONE},
        {"/api/runs/" ID "/tile/", BP_ROUTE_NONE},
        {"/api/runs/" ID "/../tile", BP_ROUTE_NONE},
        {"/api/runs/" ID "/network.yaml", BP_ROUTE_NONE},
        {"/index.html", BP_ROUTE_NONE},
        {"http://127.0.0.1:6336/", BP_ROUTE_NONE},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        bp_query_begin(&query, paths[i].path);
        assert_int_equal(query.route, paths[i].route);
    }
}

static void whole_tile(void **state) {
    (void)state;
    bp_query_begin(&query, "/api/runs/" ID "/tile");
    assert_string_equal(query.id, ID);
    assert_int_equal(take("series", "gradient_rms"), BP_OK);
    assert_int_equal(bp_query_end(&query, &error), BP_OK);
    assert_true(query.first == 0 && query.last == INT64_MAX && query.columns == 800);
    assert_int_equal(take("first", "12"), BP_OK);
    assert_int_equal(take("last", "9223372036854775807"), BP_OK);
    assert_int_equal(take("columns", "4096"), BP_OK);
    assert_true(query.first == 12 && query.last == INT64_MAX && query.columns == 4096);
    assert_int_equal(bp_query_end(&query, &error), BP_OK);
}

static void needs(void **state) {
    (void)state;
    bp_query_begin(&query, "/api/runs/" ID "/tile");
    assert_int_equal(bp_query_end(&query, &error), BP_ERROR_ARGUMENT);
    assert_non_null(strstr(error.text, "series"));
    bp_query_begin(&query, "/api/runs/" ID "/histogram");
    assert_int_equal(take("role", "gradient"), BP_OK);
    assert_int_equal(bp_query_end(&query, &error), BP_ERROR_ARGUMENT);
    assert_int_equal(take("layer", "7"), BP_OK);
    assert_int_equal(bp_query_end(&query, &error), BP_OK);
    assert_int_equal(query.layer, 7);
    assert_int_equal(take("first", "8"), BP_OK);
    assert_int_equal(take("last", "7"), BP_OK);
    assert_int_equal(bp_query_end(&query, &error), BP_ERROR_ARGUMENT);
}

static void smallest_numbers(void **state) {
    (void)state;
    bp_query_begin(&query, "/api/runs/" ID "/histogram");
    assert_int_equal(take("role", "gradient"), BP_OK);
    assert_int_equal(take("layer", "0"), BP_OK);
    assert_int_equal(take("columns", "1"), BP_OK);
    assert_int_equal(take("first", "0"), BP_OK);
    assert_int_equal(take("last", "0"), BP_OK);
    assert_int_equal(bp_query_end(&query, &error), BP_OK);
}

static void bad_numbers(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      "1.5",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "0x10",
                                      "4097",
                                      "0",
                                      "NaN",
                                      "١",
                                      "9223372036854775808",
                                      "99999999999999999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bp_query_begin(&query, "/api/runs/" ID "/tile");
        assert_int_equal(take("columns", bad[i]), BP_ERROR_ARGUMENT);
    }
    static const char *const first[] = {"-1", "9223372036854775808", "1,2", "1%30"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        bp_query_begin(&query, "/api/runs/" ID "/tile");
        assert_int_equal(take("first", first[i]), BP_ERROR_ARGUMENT);
    }
    bp_query_begin(&query, "/api/runs/" ID "/histogram");
    assert_int_equal(take("layer", "4294967296"), BP_ERROR_ARGUMENT);
}

static void bad_words(void **state) {
    (void)state;
    char long_word[200];
    memset(long_word, 'a', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    const char *const bad[] = {"",        "a/b", "../x", "a b", "<b>", "a%20b",
                               "\x1b[0m", "\"",  "a\n",  "é",   NULL,  long_word};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bp_query_begin(&query, "/api/runs/" ID "/tile");
        assert_int_equal(take("series", bad[i]), BP_ERROR_ARGUMENT);
    }
    bp_query_begin(&query, "/api/runs/" ID "/tile"); /* a NUL inside */
    assert_int_equal(bp_query_take(&query, "series", "gain\0x", 6, &error), BP_ERROR_ARGUMENT);
}

static void keys(void **state) {
    (void)state;
    bp_query_begin(&query, "/api/runs/" ID "/tile");
    assert_int_equal(take("series", "gain"), BP_OK);
    assert_int_equal(take("series", "gain"), BP_ERROR_ARGUMENT); /* twice */
    assert_int_equal(take("layer", "1"), BP_ERROR_ARGUMENT);     /* another route's */
    assert_int_equal(take("path", "x"), BP_ERROR_ARGUMENT);
    assert_int_equal(take("", "x"), BP_ERROR_ARGUMENT);
    assert_int_equal(take("token", "x"), BP_ERROR_ARGUMENT);
    bp_query_begin(&query, "/");
    assert_int_equal(take("token", NULL), BP_OK);
    bp_query_begin(&query, "/api/runs");
    assert_int_equal(take("run", ID), BP_ERROR_ARGUMENT);
}

static void runs_of_a_stream(void **state) {
    (void)state;
    bp_query_begin(&query, "/api/events");
    assert_int_equal(bp_query_end(&query, &error), BP_OK);
    for (uint32_t i = 0; i < BP_QUERY_MAX_RUNS; i++) assert_int_equal(take("run", ID), BP_OK);
    assert_int_equal(query.n_runs, BP_QUERY_MAX_RUNS);
    assert_int_equal(take("run", ID), BP_ERROR_ARGUMENT);
    bp_query_begin(&query, "/api/events");
    assert_int_equal(take("run", "0123456789abcdeg"), BP_ERROR_ARGUMENT);
    assert_int_equal(take("run", "../../../../etc/"), BP_ERROR_ARGUMENT);
    assert_int_equal(take("run", ""), BP_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes),      cmocka_unit_test(whole_tile),
        cmocka_unit_test(needs),       cmocka_unit_test(smallest_numbers),
        cmocka_unit_test(bad_numbers), cmocka_unit_test(bad_words),
        cmocka_unit_test(keys),        cmocka_unit_test(runs_of_a_stream),
    };
    return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
