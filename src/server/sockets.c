/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are open and ask nothing: half-open ones, those that send a byte now and then,
 * those kept alive. However many there are, a new client finds a place. */
#include "server/state.h"

#include <stdlib.h>
#include <sys/socket.h>

static void append(bp_sockets *sockets, bp_socket *s) {
    s->idle = true;
    s->since = bp_server_now();
    s->before = sockets->newest;
    s->behind = NULL;
    if (sockets->newest)
        sockets->newest->behind = s;
    else
        sockets->oldest = s;
    sockets->newest = s;
    sockets->n_idle++;
}

static void take_out(bp_sockets *sockets, bp_socket *s) {
    if (!s->idle) return;
    s->idle = false;
    if (s->before)
        s->before->behind = s->behind;
    else
        sockets->oldest = s->behind;
    if (s->behind)
        s->behind->before = s->before;
    else
        sockets->newest = s->before;
    sockets->n_idle--;
}

/* The library sees the end of the connection and closes it. It tells us before it closes the file,
 * so that this never meets another one of the same number. */
static void end_oldest(bp_sockets *sockets) {
    bp_socket *s = sockets->oldest;
    take_out(sockets, s);
    shutdown(s->file, SHUT_RDWR);
}

void bp_sockets_notify(void *cls, struct MHD_Connection *connection, void **socket_context,
                       enum MHD_ConnectionNotificationCode code) {
    bp_server *server = cls;
    bp_socket *s = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = s = info ? calloc(1, sizeof *s) : NULL;
        if (!s) return; /* the library's own time limit ends it */
        s->file = info->connect_fd;
        pthread_mutex_lock(&server->lock);
        if (server->sockets.n_idle >= server->sockets.max_idle) end_oldest(&server->sockets);
        append(&server->sockets, s);
        pthread_mutex_unlock(&server->lock);
    } else if (s) {
        pthread_mutex_lock(&server->lock);
        take_out(&server->sockets, s);
        pthread_mutex_unlock(&server->lock);
        free(s);
        *socket_context = NULL;
    }
}

void bp_socket_busy(bp_server *server, struct MHD_Connection *connection, bool busy) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    bp_socket *s = info ? info->socket_context : NULL;
    if (!s) return;
    pthread_mutex_lock(&server->lock);
    take_out(&server->sockets, s);
    if (!busy) append(&server->sockets, s);
    pthread_mutex_unlock(&server->lock);
}

void bp_sockets_sweep(bp_server *server) {
    bp_sockets *sockets = &server->sockets;
    const double before = bp_server_now() - BP_HEAD_SECONDS;
    while (sockets->oldest && sockets->oldest->since < before) end_oldest(sockets);
}
