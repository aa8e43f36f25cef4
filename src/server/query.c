/* SPDX-License-Identifier: Apache-2.0 */
#include "server/query.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_COLUMNS 800

bool bp_run_id_is_good(const char *id) {
    return strspn(id, "0123456789abcdef") == BP_RUN_ID_BYTES - 1 && !id[BP_RUN_ID_BYTES - 1];
}

/* "/api/runs/ID" and what may stand behind it. */
static bp_route route_of_run(bp_query *query, const char *behind) {
    if (strlen(behind) < BP_RUN_ID_BYTES - 1) return BP_ROUTE_NONE;
    memcpy(query->id, behind, BP_RUN_ID_BYTES - 1);
    if (!bp_run_id_is_good(query->id)) return BP_ROUTE_NONE;
    behind += BP_RUN_ID_BYTES - 1;
    if (!*behind) return BP_ROUTE_RUN;
    if (strcmp(behind, "/tile") == 0) return BP_ROUTE_TILE;
    return strcmp(behind, "/histogram") == 0 ? BP_ROUTE_HISTOGRAM : BP_ROUTE_NONE;
}

void bp_query_begin(bp_query *query, const char *path) {
    static const char runs[] = "/api/runs";
    *query = (bp_query){.first = 0, .last = INT64_MAX, .columns = DEFAULT_COLUMNS};
    if (strcmp(path, "/") == 0) query->route = BP_ROUTE_PAGE;
    if (strcmp(path, "/favicon.ico") == 0) query->route = BP_ROUTE_ICON;
    if (strcmp(path, runs) == 0) query->route = BP_ROUTE_RUNS;
    if (strcmp(path, "/api/events") == 0) query->route = BP_ROUTE_EVENTS;
    if (strncmp(path, runs, sizeof runs - 1) == 0 && path[sizeof runs - 1] == '/')
        query->route = route_of_run(query, path + sizeof runs);
}

/* --- keys ------------------------------------------------------------------------------------- */

static bool is_word(const char *value, size_t n) {
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return n > 0 && n < BP_QUERY_WORD_BYTES && strlen(value) == n && strspn(value, good) == n;
}

static bool take_word(char *word, const char *value) {
    snprintf(word, BP_QUERY_WORD_BYTES, "%s", value);
    return true;
}

/* Digits alone: no sign, no space, no fraction. */
static bool take_number(int64_t *number, const char *value, int64_t min, int64_t max) {
    int64_t n = 0;
    if (strspn(value, "0123456789") != strlen(value)) return false;
    if (!bp_parse_integer(value, &n) || n < min || n > max) return false;
    *number = n;
    return true;
}

static bool take_count(uint32_t *count, const char *value, int64_t min, int64_t max) {
    int64_t n = 0;
    if (!take_number(&n, value, min, max)) return false;
    *count = (uint32_t)n;
    return true;
}

static bool take_run(bp_query *query, const char *value) {
    if (query->n_runs == BP_QUERY_MAX_RUNS || !bp_run_id_is_good(value)) return false;
    memcpy(query->runs[query->n_runs++], value, BP_RUN_ID_BYTES);
    return true;
}

enum { TOKEN, RUN, SERIES, ROLE, LAYER, FIRST, LAST, COLUMNS, N_KEYS };
static const char *const keys[N_KEYS] = {"token", "run",   "series", "role",
                                         "layer", "first", "last",   "columns"};

#define BIT(key) (1u << (key))
#define SPAN (BIT(FIRST) | BIT(LAST) | BIT(COLUMNS))

/* Which keys a route knows, and which of them it needs. */
static unsigned known_keys(bp_route route) {
    switch (route) {
    case BP_ROUTE_PAGE:
        return BIT(TOKEN);
    case BP_ROUTE_TILE:
        return BIT(SERIES) | SPAN;
    case BP_ROUTE_HISTOGRAM:
        return BIT(ROLE) | BIT(LAYER) | SPAN;
    case BP_ROUTE_EVENTS:
        return BIT(RUN);
    case BP_ROUTE_NONE:
    case BP_ROUTE_ICON:
    case BP_ROUTE_RUNS:
    case BP_ROUTE_RUN:
        break;
    }
    return 0;
}

static unsigned needed_keys(bp_route route) {
    if (route == BP_ROUTE_TILE) return BIT(SERIES);
    return route == BP_ROUTE_HISTOGRAM ? BIT(ROLE) | BIT(LAYER) : 0;
}

static bool take_value(bp_query *query, int key, const char *value) {
    switch (key) {
    case TOKEN:
        return true; /* the gate's */
    case RUN:
        return take_run(query, value);
    case SERIES:
        return take_word(query->series, value);
    case ROLE:
        return take_word(query->role, value);
    case LAYER:
        return take_count(&query->layer, value, 0, UINT32_MAX);
    case FIRST:
        return take_number(&query->first, value, 0, INT64_MAX);
    case LAST:
        return take_number(&query->last, value, 0, INT64_MAX);
    default:
        return take_count(&query->columns, value, 1, BP_QUERY_MAX_COLUMNS);
    }
}

bp_status bp_query_take(bp_query *query, const char *key, const char *value, size_t n,
                        bp_error *error) {
    int k = 0;
    while (k < N_KEYS && strcmp(keys[k], key) != 0) k++;
    if (k == N_KEYS || !(known_keys(query->route) & BIT(k)))
        return bp_fail(error, BP_ERROR_ARGUMENT, "a key that is not known here");
    if (k != RUN && (query->seen & BIT(k)))
        return bp_fail(error, BP_ERROR_ARGUMENT, "%s is given twice", keys[k]);
    query->seen |= BIT(k);
    if (k == TOKEN) return BP_OK;
    if (value && is_word(value, n) && take_value(query, k, value)) return BP_OK;
    return bp_fail(error, BP_ERROR_ARGUMENT, "%s has a value that it cannot have", keys[k]);
}

bp_status bp_query_end(const bp_query *query, bp_error *error) {
    const unsigned missing = needed_keys(query->route) & ~query->seen;
    for (int k = 0; k < N_KEYS; k++)
        if (missing & BIT(k)) return bp_fail(error, BP_ERROR_ARGUMENT, "%s is missing", keys[k]);
    if (query->first > query->last)
        return bp_fail(error, BP_ERROR_ARGUMENT, "the last step lies before the first");
    return BP_OK;
}
