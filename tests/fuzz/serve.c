/* SPDX-License-Identifier: Apache-2.0 */
/* What the server is told by others: a findings.json, a path with its query, a Host header. The
 * first byte says which. */
#include "property.h"
#include "server/gate.h"
#include "server/runs.h"

#include <string.h>
#include <strings.h>

static void check_summary(const char *text, size_t n) {
    bp_run_summary s;
    bp_run_summary_parse(&s, text, n);
    PROPERTY(s.end >= BP_RUN_OPEN && s.end <= BP_RUN_STOPPED);
    PROPERTY(s.severity >= 0 && s.severity <= BP_ERROR);
    PROPERTY((s.severity > 0) == (s.problem != NULL));
    PROPERTY(s.known || (s.last_step == -1 && !s.has_loss && s.n_findings == 0));
    char name[] = "run", path[] = "run", *json = NULL;
    bp_run run = {.id = "0123456789abcdef", .name = name, .path = path, .summary = s};
    const bp_runs runs = {.list = &run, .n = 1};
    PROPERTY(bp_runs_json(&json, &runs, "folder", NULL) == BP_OK);
    for (const char *at = json; *at && at[1]; at++) PROPERTY((uint8_t)*at >= 0x20);
    free(json);
}

static bool is_word(const char *word) {
    return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
           strlen(word);
}

/* "path?key=value&key=value", taken apart as the library does it. */
static void check_query(char *text) {
    bp_query q;
    bp_error error = {.status = BP_OK};
    char *rest = strchr(text, '?');
    if (rest) *rest++ = '\0';
    bp_query_begin(&q, text);
    PROPERTY(!q.id[0] || q.route == BP_ROUTE_NONE || bp_run_id_is_good(q.id));
    bp_status status = BP_OK;
    while (q.route != BP_ROUTE_NONE && rest && status == BP_OK) {
        char *key = strsep(&rest, "&"), *value = strchr(key, '=');
        if (value) *value++ = '\0';
        status = bp_query_take(&q, key, value, value ? strlen(value) : 0, &error);
    }
    if (status == BP_OK) status = bp_query_end(&q, &error);
    PROPERTY(status == BP_OK || (status == BP_ERROR_ARGUMENT && error.text[0]));
    if (status != BP_OK) return;
    PROPERTY(q.columns >= 1 && q.columns <= BP_QUERY_MAX_COLUMNS);
    PROPERTY(q.first >= 0 && q.first <= q.last && q.n_runs <= BP_QUERY_MAX_RUNS);
    PROPERTY(is_word(q.series) && is_word(q.role));
    for (uint32_t i = 0; i < q.n_runs; i++) PROPERTY(bp_run_id_is_good(q.runs[i]));
}

/* A host of another port or name is never ours; none is added that holds more than a host. */
static void check_host(const char *text) {
    bp_gate gate;
    bp_gate_init(&gate, "0.0.0.0", 6336);
    const char *const cookies[] = {"0123456789abcdef0123456789abcdef"};
    strcpy(gate.token, cookies[0]);
    bp_asked asked = {.version = "HTTP/1.1",
                      .method = "GET",
                      .path = "/",
                      .host = text,
                      .cookies = cookies,
                      .n_cookies = 1,
                      .n_hosts = 1};
    const bool ours = bp_gate_judge(&gate, &asked).pass == BP_PASS_GOOD;
    const size_t n = strlen(text);
    PROPERTY(!ours || (n > 5 && strcmp(text + n - 5, ":6336") == 0));
    PROPERTY(!ours || text[0] == '[' || (text[0] >= '0' && text[0] <= '9') ||
             strcasecmp(text, "localhost:6336") == 0);
    if (bp_gate_add_host(&gate, text)) {
        PROPERTY(strpbrk(text, " /\\@?#%\r\n\t<>\"'") == NULL);
        PROPERTY(bp_gate_judge(&gate, &asked).pass == BP_PASS_GOOD || !strchr(text, ':') ||
                 text[n - 1] == ']');
    }
    PROPERTY(!bp_token_is_good(text) || (n >= BP_TOKEN_MIN_LENGTH && is_word(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    char text[4096];
    if (n_bytes == 0) return 0;
    if (bytes[0] % 3 == 0) {
        check_summary((const char *)bytes + 1, n_bytes - 1);
        return 0;
    }
    snprintf(text, sizeof text, "%.*s", (int)n_bytes - 1, (const char *)bytes + 1);
    if (bytes[0] % 3 == 1)
        check_query(text);
    else
        check_host(text);
    return 0;
}
