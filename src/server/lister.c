/* SPDX-License-Identifier: Apache-2.0 */
/* The worker that looks for runs and keeps the time: it ends connections that take too long, and
 * lets streams beat. It scans only while somebody looks, and spends at most a twentieth of its time
 * with it, however slow the disk. */
#include "server/state.h"

#include <stdlib.h>
#include <string.h>

#define SHARE_OF_TIME 20.0
#define QUIET_SECONDS 1.0 /* between two ticks when nobody listens to events */

typedef struct lister {
    bp_server *server;
    double next_scan;
    struct MHD_Response *list; /* of the last scan; NULL: nobody asked for it yet */
} lister;

static void forget_list(lister *l) {
    if (l->list) MHD_destroy_response(l->list);
    l->list = NULL;
}

static void scan(lister *l) {
    bp_server *server = l->server;
    bp_runs found;
    bp_error error = {.status = BP_OK};
    const double begin = bp_server_now(), now = bp_io_system.wall_clock(bp_io_system.context);
    /* Only this thread changes the list: to read it here needs no lock. */
    const bp_status status =
        bp_runs_scan(&found, server->folder_file, server->folder_name, &server->runs, now, &error);
    const double end = bp_server_now(), pause = SHARE_OF_TIME * (end - begin);
    l->next_scan = end + (pause > BP_LIST_SECONDS ? pause : BP_LIST_SECONDS);
    if (status != BP_OK) {
        bp_server_say(server, "%s", error.text);
        return;
    }
    pthread_mutex_lock(&server->lock);
    bp_runs old = server->runs;
    const bool differs = bp_runs_differ(&old, &found);
    server->runs = found;
    if (differs) server->list_version++;
    if (differs) bp_streams_wake(server);
    pthread_mutex_unlock(&server->lock);
    bp_runs_free(&old);
    forget_list(l);
}

/* The same one until runs are looked for again. */
static void answer(lister *l, bp_job *job) {
    bp_server *server = l->server;
    char *text = NULL;
    if (bp_server_now() >= l->next_scan) scan(l);
    if (!l->list && bp_runs_json(&text, &server->runs, server->folder_name, NULL) == BP_OK)
        l->list = bp_answer_bytes(server, text, strlen(text), "application/json");
    if (l->list)
        bp_job_answer(server, job, 200, l->list);
    else
        bp_job_fail(server, job, 503, "out of memory for the list of runs");
}

/* Whether somebody listens to events. */
static bool tick(bp_server *server) {
    pthread_mutex_lock(&server->lock);
    bp_sockets_sweep(server);
    bp_streams_sweep(server);
    const bool listens = server->n_streams > 0;
    pthread_mutex_unlock(&server->lock);
    return listens;
}

void *bp_lister(void *context) {
    lister l = {.server = context};
    bp_server *server = l.server;
    while (!server->stopping) {
        const bool listens = tick(server);
        if (listens && bp_server_now() >= l.next_scan) scan(&l);
        bp_job *job =
            bp_job_next(server, &server->lister, listens ? BP_TICK_SECONDS : QUIET_SECONDS);
        if (job) answer(&l, job);
    }
    bp_jobs_end(server, &server->lister);
    forget_list(&l);
    return NULL;
}
