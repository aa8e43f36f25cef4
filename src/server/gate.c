/* SPDX-License-Identifier: Apache-2.0 */
#include "server/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

static bool is_token_character(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

bool bp_token_is_good(const char *token) {
    const size_t length = strlen(token);
    for (size_t i = 0; i < length; i++)
        if (!is_token_character(token[i])) return false;
    return length >= BP_TOKEN_MIN_LENGTH && length <= BP_TOKEN_MAX_LENGTH;
}

bool bp_token_make(char token[BP_TOKEN_MAX_LENGTH + 1]) {
    uint8_t random[BP_TOKEN_MIN_LENGTH / 2];
    ssize_t n;
    do n = getrandom(random, sizeof random, 0);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof random) return false;
    for (size_t i = 0; i < sizeof random; i++) snprintf(token + 2 * i, 3, "%02x", random[i]);
    return true;
}

/* Takes the same time whatever is given: how far it is right cannot be measured. */
static bool is_same_token(const char *token, const char *given) {
    if (!given || !*token) return false;
    const size_t length = strlen(token), n = strlen(given);
    volatile unsigned differs = n != length;
    for (size_t i = 0; i < length; i++)
        differs = differs | (unsigned)(token[i] ^ given[i < n ? i : n]);
    return differs == 0;
}

/* --- names of this server --------------------------------------------------------------------- */

static bool is_host_character(char c) {
    return is_token_character(c) || c == '.';
}

/* "name", "name:port", "[::1]", "[::1]:port"; no port where a browser leaves it out. */
static bool is_host(const char *text) {
    const char *at = text;
    if (*at == '[') {
        struct in6_addr address;
        char inside[INET6_ADDRSTRLEN];
        const char *end = strchr(at, ']');
        if (!end || (size_t)(end - at) > sizeof inside) return false;
        snprintf(inside, sizeof inside, "%.*s", (int)(end - at - 1), at + 1);
        if (inet_pton(AF_INET6, inside, &address) != 1) return false;
        at = end + 1;
    } else {
        while (is_host_character(*at)) at++;
        if (at == text) return false;
    }
    if (!*at) return true;
    if (*at++ != ':') return false;
    const size_t n = strspn(at, "0123456789");
    return n > 0 && n <= 5 && !at[n];
}

static void add(bp_gate *gate, const char *name) {
    if (gate->n_hosts == BP_GATE_MAX_HOSTS) return;
    char *host = gate->hosts[gate->n_hosts++];
    snprintf(host, BP_HOST_BYTES, "%s:%u", name, (unsigned)gate->port);
    if (gate->port != 80 || gate->n_hosts == BP_GATE_MAX_HOSTS) return;
    snprintf(gate->hosts[gate->n_hosts++], BP_HOST_BYTES, "%s", name);
}

void bp_gate_init(bp_gate *gate, const char *address, uint16_t port) {
    *gate = (bp_gate){.port = port};
    snprintf(gate->cookie, sizeof gate->cookie, "backprobe_%u", (unsigned)port);
    add(gate, "127.0.0.1");
    add(gate, "localhost");
    add(gate, "[::1]");
    if (!address) return;
    char name[BP_HOST_BYTES - 8];
    const bool six = strchr(address, ':') != NULL;
    snprintf(name, sizeof name, six ? "[%s]" : "%s", address);
    gate->any_address = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
    if (gate->any_address) return;
    gate->home = gate->n_hosts;
    add(gate, name);
}

bool bp_gate_add_host(bp_gate *gate, const char *host) {
    if (gate->n_hosts == BP_GATE_MAX_HOSTS || strlen(host) > BP_HOST_BYTES - 8 || !is_host(host))
        return false;
    const char *end = strrchr(host, ']');
    if (strchr(end ? end : host, ':'))
        snprintf(gate->hosts[gate->n_hosts++], BP_HOST_BYTES, "%s", host);
    else
        add(gate, host);
    return true;
}

/* "10.0.0.7:6336": an address in numbers, with our port. */
static bool is_address_here(const bp_gate *gate, const char *host) {
    char port[8], name[INET6_ADDRSTRLEN + 2];
    uint8_t address[sizeof(struct in6_addr)];
    snprintf(port, sizeof port, ":%u", (unsigned)gate->port);
    const size_t length = strlen(host), n = strlen(port);
    if (length <= n || length - n >= sizeof name || strcmp(host + length - n, port) != 0)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(length - n), host);
    const size_t end = strlen(name) - 1;
    if (name[0] != '[') return inet_pton(AF_INET, name, address) == 1;
    if (name[end] != ']') return false;
    name[end] = '\0';
    return inet_pton(AF_INET6, name + 1, address) == 1;
}

static bool is_our_host(const bp_gate *gate, const char *host) {
    for (uint32_t i = 0; i < gate->n_hosts; i++)
        if (strcasecmp(gate->hosts[i], host) == 0) return true;
    return gate->any_address && is_address_here(gate, host);
}

/* --- the rules -------------------------------------------------------------------------------- */

static bp_judgement refuse(unsigned code, const char *why) {
    return (bp_judgement){BP_PASS_REFUSED, code, why};
}

static bool is(const char *text, const char *word) {
    return text && strcmp(text, word) == 0;
}

/* Pages of ours, addresses that were typed, programs that are no browser. */
static bool is_own_site(const bp_asked *asked) {
    return !asked->site || is(asked->site, "same-origin") || is(asked->site, "none");
}

static bool is_own_origin(const bp_asked *asked) {
    static const char scheme[] = "http://";
    const size_t n = sizeof scheme - 1;
    return !asked->origin || (strncmp(asked->origin, scheme, n) == 0 &&
                              strcasecmp(asked->origin + n, asked->host) == 0);
}

/* A link that was followed, into a window of its own: no frame, no script looks at the answer. */
static bool is_navigation(const bp_asked *asked) {
    return is(asked->mode, "navigate") && is(asked->dest, "document");
}

static bool shows_cookie(const bp_gate *gate, const bp_asked *asked) {
    bool shown = false;
    for (uint32_t i = 0; i < asked->n_cookies; i++)
        if (is_same_token(gate->token, asked->cookies[i])) shown = true;
    return shown;
}

static bool shows_token(bp_gate *gate, const bp_asked *asked) {
    if (is_same_token(gate->token, asked->token)) return true;
    if (!is_same_token(gate->ticket, asked->token)) return false;
    gate->ticket[0] = '\0';
    return true;
}

bp_judgement bp_gate_judge(bp_gate *gate, const bp_asked *asked) {
    if (!is(asked->version, "HTTP/1.1") && !is(asked->version, "HTTP/1.0"))
        return refuse(505, "this server speaks HTTP/1.1 and HTTP/1.0");
    if (asked->n_hosts != 1 || !asked->host || !is_our_host(gate, asked->host))
        return refuse(403, "this server is not asked under this name; see backprobe serve --help");
    if (!is(asked->method, "GET") && !is(asked->method, "HEAD"))
        return refuse(405, "this server answers GET and HEAD");
    if (asked->has_body) return refuse(400, "a request with a body");
    if (!is_own_origin(asked)) return refuse(403, "a request of another site's page");
    const bool at_door = is(asked->path, "/") && is(asked->method, "GET");
    const bool own = is_own_site(asked);
    if (!own && !(at_door && asked->token && is_navigation(asked)))
        return refuse(403, "a request of another site's page");
    if (at_door && asked->token && shows_token(gate, asked))
        return (bp_judgement){own ? BP_PASS_ENTER : BP_PASS_ENTER_FROM_ELSEWHERE, 0, NULL};
    if (own && shows_cookie(gate, asked)) return (bp_judgement){BP_PASS_GOOD, 0, NULL};
    return refuse(401, "open the address with the token that backprobe serve printed");
}
