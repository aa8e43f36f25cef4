/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of events. A stream keeps no queue: it remembers which versions it has told, and says the
 * latest when its client takes it. Between events its connection is suspended. */
#include "server/state.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define EVENT_BYTES 256u        /* more than any of them has */
#define SEND_BUFFER_BYTES 16384 /* what the system keeps for a client that takes nothing */
#define BLOCK_BYTES 4096u       /* of the library, at a time */

static const bp_news *news_of(const bp_server *server, const char *id) {
    for (uint32_t i = 0; i < BP_MAX_FOLLOWED; i++)
        if (strcmp(server->news[i].id, id) == 0) return &server->news[i];
    return NULL;
}

void bp_news_reach(bp_server *server, const char *id, int64_t last_step) {
    pthread_mutex_lock(&server->lock);
    for (uint32_t i = 0; i < BP_MAX_FOLLOWED; i++) {
        bp_news *news = &server->news[i];
        if (strcmp(news->id, id) != 0 || news->last_step >= last_step) continue;
        news->last_step = last_step;
        news->version = ++server->version;
        bp_streams_wake(server);
    }
    pthread_mutex_unlock(&server->lock);
}

static bool has_news(const bp_server *server, const bp_stream *stream) {
    if (!stream->greeted || stream->gone || server->stopping) return true;
    if (stream->list_version != server->list_version) return true;
    if (bp_server_now() - stream->spoke_at >= BP_BEAT_SECONDS) return true;
    for (uint32_t i = 0; i < stream->n_runs; i++) {
        const bp_news *news = news_of(server, stream->runs[i].id);
        if (news && news->version != stream->runs[i].version) return true;
    }
    return false;
}

/* --- what is said ----------------------------------------------------------------------------- */

static void say_run(bp_text *text, bp_stream *stream, uint32_t i, const bp_news *news) {
    char fraction[40];
    const bool changed = news->findings_version != stream->runs[i].findings_version;
    bp_text_add(text,
                "data: {\"type\":\"run\",\"id\":\"%s\",\"last_step\":%" PRId64
                ",\"findings\":%s,\"read_fraction\":%s}\n\n",
                news->id, news->last_step, changed ? "true" : "false",
                bp_number_exact(fraction, sizeof fraction, news->read_fraction));
    stream->runs[i].version = news->version;
    stream->runs[i].findings_version = news->findings_version;
}

/* All that is new, as far as there is room; the rest comes the next time. */
static void say_all(const bp_server *server, bp_stream *stream, bp_text *text) {
    if (!stream->greeted) bp_text_add(text, "retry: 2000\n\n");
    stream->greeted = true;
    if (stream->list_version != server->list_version)
        bp_text_add(text, "data: {\"type\":\"runs\"}\n\n");
    stream->list_version = server->list_version;
    for (uint32_t i = 0; i < stream->n_runs; i++) {
        const bp_news *news = news_of(server, stream->runs[i].id);
        if (text->length + EVENT_BYTES > text->capacity) return;
        if (news && news->version != stream->runs[i].version) say_run(text, stream, i, news);
    }
    if (text->length == 0) bp_text_add(text, ": still here\n\n");
}

static ssize_t read_stream(void *context, uint64_t position, char *bytes, size_t max) {
    bp_stream *stream = context;
    bp_server *server = stream->server;
    ssize_t n = 0;
    (void)position;
    pthread_mutex_lock(&server->lock);
    if (server->stopping) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (stream->gone) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (max > EVENT_BYTES && has_news(server, stream)) {
        bp_text text;
        bp_text_init(&text, bytes, max);
        say_all(server, stream, &text);
        stream->spoke_at = bp_server_now();
        n = (ssize_t)text.length;
    } else {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&server->lock);
    return n;
}

/* --- streams ---------------------------------------------------------------------------------- */

static void close_stream(void *context) {
    bp_stream *stream = context;
    bp_server *server = stream->server;
    pthread_mutex_lock(&server->lock);
    if (stream->before)
        stream->before->behind = stream->behind;
    else
        server->streams = stream->behind;
    if (stream->behind) stream->behind->before = stream->before;
    server->n_streams--;
    server->n_requests--;
    pthread_mutex_unlock(&server->lock);
    free(stream);
}

/* A client that takes nothing: neither the system nor the library waits for ever. */
static void limit_client(struct MHD_Connection *connection, int file) {
    const int bytes = SEND_BUFFER_BYTES;
    const unsigned milliseconds = BP_STREAM_SECONDS * 1000u;
    (void)setsockopt(file, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    (void)setsockopt(file, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
    (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, BP_STREAM_SECONDS);
}

/* False: there are too many, or the server stops. */
static bool enter(bp_server *server, bp_stream *stream) {
    pthread_mutex_lock(&server->lock);
    const bool takes = !server->stopping && server->n_streams < BP_MAX_STREAMS;
    if (takes) {
        stream->list_version = server->list_version;
        stream->behind = server->streams;
        if (server->streams) server->streams->before = stream;
        server->streams = stream;
        server->n_streams++;
        server->n_requests++;
        pthread_cond_signal(&server->lister.wake);
        pthread_cond_signal(&server->follower.wake);
    }
    pthread_mutex_unlock(&server->lock);
    return takes;
}

struct MHD_Response *bp_stream_open(bp_server *server, struct MHD_Connection *connection,
                                    const bp_query *query) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    bp_stream *stream = info ? calloc(1, sizeof *stream) : NULL;
    if (!stream) return NULL;
    *stream = (bp_stream){.server = server,
                          .connection = connection,
                          .socket = info->connect_fd,
                          .spoke_at = bp_server_now(),
                          .n_runs = query->n_runs};
    for (uint32_t i = 0; i < query->n_runs; i++)
        memcpy(stream->runs[i].id, query->runs[i], BP_RUN_ID_BYTES);
    if (!enter(server, stream)) {
        free(stream);
        return NULL;
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, stream, close_stream);
    if (!response) {
        close_stream(stream);
        return NULL;
    }
    limit_client(connection, stream->socket);
    if (bp_answer_guard(response, "text/event-stream")) return response;
    MHD_destroy_response(response);
    return NULL;
}

static void wake(bp_stream *stream) {
    if (!stream->suspended) return;
    stream->suspended = false;
    MHD_resume_connection(stream->connection);
}

void bp_streams_wake(bp_server *server) {
    for (bp_stream *s = server->streams; s; s = s->behind)
        if (s->suspended && has_news(server, s)) wake(s);
}

void bp_streams_sweep(bp_server *server) {
    for (bp_stream *s = server->streams; s; s = s->behind) {
        if (!s->suspended) continue;
        s->gone = s->gone || bp_socket_is_closed(s->socket);
        if (has_news(server, s)) wake(s);
    }
}

uint32_t bp_streams_wanted(const bp_server *server, char (*ids)[BP_RUN_ID_BYTES], uint32_t n) {
    uint32_t n_ids = 0;
    for (const bp_stream *s = server->streams; s; s = s->behind) {
        for (uint32_t i = 0; i < s->n_runs && n_ids < n; i++) {
            uint32_t k = 0;
            while (k < n_ids && strcmp(ids[k], s->runs[i].id) != 0) k++;
            if (k == n_ids) memcpy(ids[n_ids++], s->runs[i].id, BP_RUN_ID_BYTES);
        }
    }
    return n_ids;
}
