/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked: a path and the words behind its '?'. Strict: the page needs letters, digits and
 * "_.-" only, so all else, percent signs too, is a mistake. */
#ifndef BP_SERVER_QUERY_H
#define BP_SERVER_QUERY_H

#include "base/base.h"

#define BP_RUN_ID_BYTES 17 /* 16 hexadecimal digits */
#define BP_QUERY_MAX_RUNS 16u
#define BP_QUERY_MAX_COLUMNS 4096
#define BP_QUERY_WORD_BYTES 48

typedef enum bp_route {
    BP_ROUTE_NONE,
    BP_ROUTE_PAGE,
    BP_ROUTE_ICON,
    BP_ROUTE_RUNS,
    BP_ROUTE_RUN,
    BP_ROUTE_TILE,
    BP_ROUTE_HISTOGRAM,
    BP_ROUTE_EVENTS
} bp_route;

typedef struct bp_query {
    bp_route route;
    char id[BP_RUN_ID_BYTES]; /* of the path */
    char series[BP_QUERY_WORD_BYTES], role[BP_QUERY_WORD_BYTES];
    uint32_t layer, columns;
    int64_t first, last; /* all steps unless told */
    char runs[BP_QUERY_MAX_RUNS][BP_RUN_ID_BYTES];
    uint32_t n_runs;
    unsigned seen; /* a bit for each key */
} bp_query;

bool bp_run_id_is_good(const char *id);
/* The route of a path and its defaults. BP_ROUTE_NONE is no failure. */
void bp_query_begin(bp_query *query, const char *path);
/* A key of the query and its value, of n bytes; value may be NULL. */
BP_MUST_USE bp_status bp_query_take(bp_query *query, const char *key, const char *value, size_t n,
                                    bp_error *error);
/* After the last key: whether the route has all that it needs. */
BP_MUST_USE bp_status bp_query_end(const bp_query *query, bp_error *error);

#endif
