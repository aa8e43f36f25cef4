/* SPDX-License-Identifier: Apache-2.0 */
#include "server/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define TOKEN "0123456789abcdef0123456789abcdef"
#define OTHER "0123456789abcdef0123456789abcdee"
#define HERE "127.0.0.1:6336"

static bp_gate gate;

static int open_gate(void **state) {
    (void)state;
    bp_gate_init(&gate, NULL, 6336);
    strcpy(gate.token, TOKEN);
    return 0;
}

/* A request that is let in, but for what a test changes. */
static bp_asked good(const char *const *cookie) {
    return (bp_asked){.version = "HTTP/1.1",
                      .method = "GET",
                      .path = "/api/runs",
                      .host = HERE,
                      .cookies = cookie,
                      .n_cookies = 1,
                      .n_hosts = 1};
}

static const char *const cookie[] = {TOKEN};

static void assert_refused(bp_asked asked, unsigned code) {
    const bp_judgement judgement = bp_gate_judge(&gate, &asked);
    assert_int_equal(judgement.pass, BP_PASS_REFUSED);
    assert_int_equal(judgement.code, code);
    assert_non_null(judgement.why);
}

static void assert_pass(bp_asked asked, bp_pass pass) {
    assert_int_equal(bp_gate_judge(&gate, &asked).pass, pass);
}

static void cookie_lets_in(void **state) {
    (void)state;
    const char *const wrong[] = {OTHER}, *const cut[] = {"0123456789abcdef0123456789abcde"},
                      *const longer[] = {TOKEN "0"}, *const empty[] = {""},
                      *const second[] = {OTHER, TOKEN};
    assert_pass(good(cookie), BP_PASS_GOOD);
    bp_asked asked = good(second);
    asked.n_cookies = 2;
    assert_pass(asked, BP_PASS_GOOD);
    assert_refused(good(wrong), 401);
    assert_refused(good(cut), 401);
    assert_refused(good(longer), 401);
    assert_refused(good(empty), 401);
    asked = good(NULL);
    asked.n_cookies = 0;
    assert_refused(asked, 401);
    gate.token[0] = '\0'; /* without a token nobody is let in, not even who shows none */
    assert_refused(good(empty), 401);
}

static void token_lets_in_at_the_door(void **state) {
    (void)state;
    bp_asked asked = good(NULL);
    asked.n_cookies = 0;
    asked.token = TOKEN;
    assert_refused(asked, 401); /* /api/runs is no door */
    asked.path = "/";
    assert_pass(asked, BP_PASS_ENTER);
    asked.method = "HEAD";
    assert_refused(asked, 401);
    asked.method = "GET";
    asked.token = OTHER;
    assert_refused(asked, 401);
    asked.token = "";
    assert_refused(asked, 401);
}

static void ticket_is_good_once(void **state) {
    (void)state;
    bp_asked asked = good(NULL);
    asked.n_cookies = 0;
    asked.path = "/";
    asked.token = OTHER;
    strcpy(gate.ticket, OTHER);
    assert_pass(asked, BP_PASS_ENTER);
    assert_refused(asked, 401);
    asked.token = "";
    assert_refused(asked, 401);
    asked.token = TOKEN;
    assert_pass(asked, BP_PASS_ENTER);
}

static void hosts_are_a_list(void **state) {
    (void)state;
    static const char *const ours[] = {HERE, "localhost:6336", "LOCALHOST:6336", "[::1]:6336"};
    static const char *const others[] = {"evil.example:6336",
                                         "127.0.0.1",
                                         "127.0.0.1:6337",
                                         "127.0.0.1:6336.",
                                         "127.0.0.1:06336",
                                         "localhost.:6336",
                                         "evil.example",
                                         "",
                                         " " HERE,
                                         HERE ",x",
                                         "127.1:6336",
                                         "10.0.0.1:6336",
                                         "user@127.0.0.1:6336"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        bp_asked asked = good(cookie);
        asked.host = ours[i];
        assert_pass(asked, BP_PASS_GOOD);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        bp_asked asked = good(cookie);
        asked.host = others[i];
        assert_refused(asked, 403);
    }
    bp_asked asked = good(cookie);
    asked.n_hosts = 2;
    assert_refused(asked, 403);
    asked.n_hosts = 0;
    asked.host = NULL;
    assert_refused(asked, 403);
}

static void hosts_of_other_addresses(void **state) {
    (void)state;
    bp_asked asked = good(cookie);
    bp_gate_init(&gate, "192.168.1.7", 6336);
    strcpy(gate.token, TOKEN);
    assert_string_equal(gate.hosts[gate.home], "192.168.1.7:6336");
    asked.host = "192.168.1.7:6336";
    assert_pass(asked, BP_PASS_GOOD);
    asked.host = "192.168.1.8:6336";
    assert_refused(asked, 403);
    bp_gate_init(&gate, "::1", 6336);
    assert_string_equal(gate.hosts[gate.home], "[::1]:6336");
    bp_gate_init(&gate, "127.0.0.1", 80); /* browsers leave this port out */
    strcpy(gate.token, TOKEN);
    asked.host = "localhost";
    assert_pass(asked, BP_PASS_GOOD);
}

/* Of all addresses: any number, never a name, which somebody could rebind. */
static void hosts_of_any_address(void **state) {
    (void)state;
    static const char *const numbers[] = {"10.1.2.3:6336", "[fe80::1]:6336", HERE};
    static const char *const names[] = {
        "evil.example:6336", "10.1.2.3:6337", "10.1.2.3", "10.1.2:6336",
        "[fe80::1:6336",     "fe80::1]:6336", ":6336",    "[]:6336"};
    bp_gate_init(&gate, "0.0.0.0", 6336);
    strcpy(gate.token, TOKEN);
    assert_string_equal(gate.hosts[gate.home], HERE);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bp_asked asked = good(cookie);
        asked.host = numbers[i];
        assert_pass(asked, BP_PASS_GOOD);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bp_asked asked = good(cookie);
        asked.host = names[i];
        assert_refused(asked, 403);
    }
}

static void hosts_that_users_add(void **state) {
    (void)state;
    static const char *const bad[] = {"",           "a b",  "a:",     "a:b",   "a/b", "a:123456",
                                      "http://a:1", "[::1", "[zz]:1", "a:1:2", "a\n", ":80"};
    bp_asked asked = good(cookie);
    assert_true(bp_gate_add_host(&gate, "box.example"));
    assert_true(bp_gate_add_host(&gate, "proxy.example:8443"));
    assert_true(bp_gate_add_host(&gate, "[fe80::7]:80"));
    assert_true(bp_gate_add_host(&gate, "one.example:1"));
    assert_true(bp_gate_add_host(&gate, "last.example:65535"));
    asked.host = "box.example:6336";
    assert_pass(asked, BP_PASS_GOOD);
    asked.host = "proxy.example:8443";
    assert_pass(asked, BP_PASS_GOOD);
    asked.host = "proxy.example:6336";
    assert_refused(asked, 403);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(bp_gate_add_host(&gate, bad[i]));
    uint32_t n = 0;
    while (bp_gate_add_host(&gate, "x:1")) n++;
    assert_true(n < BP_GATE_MAX_HOSTS);
}

static void methods_versions_bodies(void **state) {
    (void)state;
    static const char *const methods[] = {"POST",  "PUT", "DELETE",  "OPTIONS", "TRACE",
                                          "PATCH", "get", "CONNECT", "",        "GETT"};
    bp_asked asked = good(cookie);
    asked.method = "HEAD";
    assert_pass(asked, BP_PASS_GOOD);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        asked.method = methods[i];
        assert_refused(asked, 405);
    }
    asked = good(cookie);
    asked.version = "HTTP/1.0";
    assert_pass(asked, BP_PASS_GOOD);
    asked.version = "HTTP/2.0";
    assert_refused(asked, 505);
    asked.version = "";
    assert_refused(asked, 505);
    asked = good(cookie);
    asked.has_body = true;
    assert_refused(asked, 400);
}

static void other_sites_get_nothing(void **state) {
    (void)state;
    static const char *const origins[] = {"null",
                                          "",
                                          "http://evil.example",
                                          "https://" HERE,
                                          "http://127.0.0.1:6337",
                                          "http://localhost:6336"};
    static const char *const sites[] = {"cross-site", "same-site", "", "SAME-ORIGIN"};
    bp_asked asked = good(cookie);
    asked.origin = "http://" HERE;
    asked.site = "same-origin";
    assert_pass(asked, BP_PASS_GOOD);
    asked.site = "none";
    assert_pass(asked, BP_PASS_GOOD);
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        asked.origin = origins[i];
        assert_refused(asked, 403);
    }
    asked.origin = NULL;
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        asked.site = sites[i];
        assert_refused(asked, 403);
    }
}

/* The printed address as a link: in a notebook, in a mail. */
static void link_with_the_token(void **state) {
    (void)state;
    bp_asked asked = good(NULL);
    asked.n_cookies = 0;
    asked.path = "/";
    asked.token = TOKEN;
    asked.site = "cross-site";
    asked.mode = "navigate";
    asked.dest = "document";
    assert_pass(asked, BP_PASS_ENTER_FROM_ELSEWHERE);
    asked.dest = "iframe";
    assert_refused(asked, 403);
    asked.dest = "document";
    asked.mode = "no-cors";
    assert_refused(asked, 403);
    asked.mode = "navigate";
    asked.path = "/api/runs";
    assert_refused(asked, 403);
    asked.path = "/";
    asked.token = OTHER;
    assert_refused(asked, 401);
    asked.token = NULL; /* the cookie is no token: another site's link is not let in with it */
    asked.cookies = cookie;
    asked.n_cookies = 1;
    assert_refused(asked, 403);
    asked.token = OTHER;
    assert_refused(asked, 401);
}

static void tokens(void **state) {
    (void)state;
    char a[BP_TOKEN_MAX_LENGTH + 1], b[BP_TOKEN_MAX_LENGTH + 1];
    assert_true(bp_token_make(a) && bp_token_make(b));
    assert_true(bp_token_is_good(a) && bp_token_is_good(b));
    assert_int_equal(strlen(a), 32);
    assert_string_not_equal(a, b);
    assert_true(bp_token_is_good("abcdefghijklmnopqrstuvwxyz-_AZ0189"));
    assert_false(bp_token_is_good(""));
    assert_false(bp_token_is_good("0123456789abcdef0123456789abcde"));
    assert_false(bp_token_is_good("0123456789abcdef0123456789abcdef;"));
    assert_false(bp_token_is_good("0123456789abcdef 0123456789abcdef"));
    assert_false(bp_token_is_good("0123456789abcdef0123456789abcde\xc3\xa9"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cookie_lets_in, open_gate),
        cmocka_unit_test_setup(token_lets_in_at_the_door, open_gate),
        cmocka_unit_test_setup(ticket_is_good_once, open_gate),
        cmocka_unit_test_setup(hosts_are_a_list, open_gate),
        cmocka_unit_test_setup(hosts_of_other_addresses, open_gate),
        cmocka_unit_test_setup(hosts_of_any_address, open_gate),
        cmocka_unit_test_setup(hosts_that_users_add, open_gate),
        cmocka_unit_test_setup(methods_versions_bodies, open_gate),
        cmocka_unit_test_setup(other_sites_get_nothing, open_gate),
        cmocka_unit_test_setup(link_with_the_token, open_gate),
        cmocka_unit_test(tokens),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
