/* SPDX-License-Identifier: Apache-2.0 */
/* A request from its head to its answer: judged, understood, then answered at once or handed to a
 * worker. */
#include "server/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_COOKIES 8u

/* --- what is asked ---------------------------------------------------------------------------- */

typedef struct head {
    const bp_gate *gate;
    bp_asked asked;
    const char *cookies[MAX_COOKIES];
} head;

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *key,
                                   const char *value) {
    head *h = context;
    (void)kind;
    const struct {
        const char *name;
        const char **value;
    } single[] = {{"Origin", &h->asked.origin},
                  {"Sec-Fetch-Site", &h->asked.site},
                  {"Sec-Fetch-Mode", &h->asked.mode},
                  {"Sec-Fetch-Dest", &h->asked.dest}};
    if (!value) value = "";
    if (strcasecmp(key, "Host") == 0) {
        h->asked.host = value;
        h->asked.n_hosts++;
    }
    if (strcasecmp(key, "Transfer-Encoding") == 0 ||
        (strcasecmp(key, "Content-Length") == 0 && strcmp(value, "0") != 0))
        h->asked.has_body = true;
    /* Twice is neither: a value that no rule lets pass. */
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        if (strcasecmp(key, single[i].name) == 0) *single[i].value = *single[i].value ? "" : value;
    return MHD_YES;
}

static enum MHD_Result take_cookie(void *context, enum MHD_ValueKind kind, const char *key,
                                   const char *value) {
    head *h = context;
    (void)kind;
    if (strcmp(key, h->gate->cookie) == 0 && value && h->asked.n_cookies < MAX_COOKIES)
        h->cookies[h->asked.n_cookies++] = value;
    return MHD_YES;
}

static void judge(bp_server *server, bp_job *job, const char *path, const char *method,
                  const char *version) {
    head h = {.gate = &server->gate, .asked = {.version = version, .method = method, .path = path}};
    h.asked.cookies = h.cookies;
    MHD_get_connection_values(job->connection, MHD_HEADER_KIND, take_header, &h);
    MHD_get_connection_values(job->connection, MHD_COOKIE_KIND, take_cookie, &h);
    h.asked.token = MHD_lookup_connection_value(job->connection, MHD_GET_ARGUMENT_KIND, "token");
    job->judgement = bp_gate_judge(&server->gate, &h.asked);
}

static enum MHD_Result take_argument(void *context, enum MHD_ValueKind kind, const char *key,
                                     size_t key_bytes, const char *value, size_t value_bytes) {
    bp_job *job = context;
    bp_error *error = &job->error;
    (void)kind;
    if (strlen(key) != key_bytes) return MHD_NO;
    return bp_query_take(&job->query, key, value, value_bytes, error) == BP_OK ? MHD_YES : MHD_NO;
}

static void understand(bp_job *job, const char *path) {
    bp_query_begin(&job->query, path);
    if (job->query.route == BP_ROUTE_NONE) return;
    MHD_get_connection_values_n(job->connection, MHD_GET_ARGUMENT_KIND, take_argument, job);
    if (job->error.status == BP_OK) job->error.status = bp_query_end(&job->query, &job->error);
}

/* --- answers ---------------------------------------------------------------------------------- */

static enum MHD_Result send_response(bp_job *job, unsigned code, struct MHD_Response *response) {
    if (!response) return MHD_NO; /* no memory: the connection is closed */
    const enum MHD_Result result = MHD_queue_response(job->connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_error(bp_job *job, unsigned code, const char *sentence) {
    struct MHD_Response *response = bp_answer_error(sentence);
    if (response && code == 405) MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (response && code == 503) MHD_add_response_header(response, "Retry-After", "1");
    return send_response(job, code, response);
}

/* Before the token was shown: a sentence, and nothing else. */
static enum MHD_Result refuse(bp_job *job) {
    const bp_judgement *judgement = &job->judgement;
    struct MHD_Response *response =
        bp_answer_static(judgement->why, strlen(judgement->why), "text/plain; charset=utf-8");
    if (response && judgement->code == 405) MHD_add_response_header(response, "Allow", "GET, HEAD");
    return send_response(job, judgement->code, response);
}

/* The cookie, and on to the address without the token, which then is in no bookmark. From another
 * site's link by a page: what this page asks for comes from ourselves. */
static enum MHD_Result enter(bp_server *server, bp_job *job) {
    static const char onwards[] =
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url=/\"><title>Backprobe</title>";
    const bool elsewhere = job->judgement.pass == BP_PASS_ENTER_FROM_ELSEWHERE;
    char cookie[sizeof server->gate.cookie + BP_TOKEN_MAX_LENGTH + 64];
    snprintf(cookie, sizeof cookie, "%s=%s; HttpOnly; SameSite=Strict; Path=/", server->gate.cookie,
             server->gate.token);
    struct MHD_Response *response =
        bp_answer_static(onwards, elsewhere ? sizeof onwards - 1 : 0, "text/html; charset=utf-8");
    if (response &&
        (MHD_add_response_header(response, "Set-Cookie", cookie) != MHD_YES ||
         (!elsewhere && MHD_add_response_header(response, "Location", "/") != MHD_YES))) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return send_response(job, elsewhere ? 200 : 303, response);
}

static enum MHD_Result ask(bp_server *server, bp_worker *worker, bp_job *job) {
    if (bp_job_ask(server, worker, job)) return MHD_YES;
    return send_error(job, 503, "too many requests wait");
}

static enum MHD_Result open_stream(bp_server *server, bp_job *job) {
    if (job->is_head) return send_response(job, 200, bp_answer_static("", 0, "text/event-stream"));
    struct MHD_Response *response = bp_stream_open(server, job->connection, &job->query);
    return response ? send_response(job, 200, response)
                    : send_error(job, 503, "too many streams of events are open");
}

static enum MHD_Result answer(bp_server *server, bp_job *job) {
    switch (job->query.route) {
    case BP_ROUTE_PAGE:
        return MHD_queue_response(job->connection, 200, server->page);
    case BP_ROUTE_ICON:
        return send_response(job, 204, bp_answer_static("", 0, NULL));
    case BP_ROUTE_RUNS:
        return ask(server, &server->lister, job);
    case BP_ROUTE_RUN:
        return ask(server, &server->follower, job);
    case BP_ROUTE_TILE:
    case BP_ROUTE_HISTOGRAM:
        return ask(server, &server->tiler, job);
    case BP_ROUTE_EVENTS:
        return open_stream(server, job);
    case BP_ROUTE_NONE:
        break;
    }
    return send_error(job, 404, "there is nothing at this address");
}

static enum MHD_Result respond(bp_server *server, bp_job *job) {
    if (job->judgement.pass == BP_PASS_REFUSED) return refuse(job);
    if (job->judgement.pass != BP_PASS_GOOD) return enter(server, job);
    if (job->error.status != BP_OK) return send_error(job, 400, job->error.text);
    return answer(server, job);
}

/* --- libmicrohttpd's side --------------------------------------------------------------------- */

static bp_job *begin(bp_server *server, struct MHD_Connection *connection, const char *path,
                     const char *method, const char *version) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    bp_job *job = info ? calloc(1, sizeof *job) : NULL;
    if (!job) return NULL;
    job->connection = connection;
    job->socket = info->connect_fd;
    job->is_head = strcmp(method, "HEAD") == 0;
    bp_socket_busy(server, connection, true);
    judge(server, job, path, method, version);
    if (job->judgement.pass == BP_PASS_GOOD) understand(job, path);
    return job;
}

enum MHD_Result bp_route_request(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_data_size, void **con_cls) {
    bp_server *server = cls;
    bp_job *job = *con_cls;
    (void)upload_data;
    if (!job) {
        *con_cls = job = begin(server, connection, url, method, version);
        if (!job) return MHD_NO;
        /* An answer at the first call ends the connection: right where a body would follow. */
        return job->judgement.pass == BP_PASS_REFUSED ? refuse(job) : MHD_YES;
    }
    if (*upload_data_size > 0) return MHD_NO;
    return job->done ? MHD_NO : respond(server, job);
}

void bp_route_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode code) {
    (void)code;
    bp_socket_busy(cls, connection, false);
    free(*con_cls);
    *con_cls = NULL;
}
