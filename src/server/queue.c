/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs on their way from the thread that answers to a worker, and back. */
#include "server/state.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#define TOO_LATE "the client has gone"
#define STOPPING "the server stops"

bool bp_socket_is_closed(int file) {
    struct pollfd asked = {.fd = file, .events = POLLRDHUP};
    return poll(&asked, 1, 0) == 1 && asked.revents != 0;
}

bool bp_job_ask(bp_server *server, bp_worker *worker, bp_job *job) {
    pthread_mutex_lock(&server->lock);
    const bool takes = !server->stopping && worker->n < BP_MAX_WAITING;
    if (takes) {
        job->next = NULL;
        if (worker->last)
            worker->last->next = job;
        else
            worker->first = job;
        worker->last = job;
        worker->n++;
        server->n_requests++;
        MHD_suspend_connection(job->connection);
        pthread_cond_signal(&worker->wake);
    }
    pthread_mutex_unlock(&server->lock);
    return takes;
}

static bp_job *take_first(bp_worker *worker) {
    bp_job *job = worker->first;
    if (!job) return NULL;
    worker->first = job->next;
    if (!worker->first) worker->last = NULL;
    worker->n--;
    return job;
}

static struct timespec moment_in(double seconds) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const double whole = (double)(time_t)seconds;
    now.tv_sec += (time_t)seconds;
    now.tv_nsec += (long)((seconds - whole) * 1e9);
    if (now.tv_nsec >= 1000000000) {
        now.tv_nsec -= 1000000000;
        now.tv_sec++;
    }
    return now;
}

static bp_job *wait_for_job(bp_server *server, bp_worker *worker, double seconds) {
    const struct timespec until = moment_in(seconds > 0 ? seconds : 0);
    pthread_mutex_lock(&server->lock);
    bp_job *job = take_first(worker);
    if (!job && !server->stopping && seconds < 0)
        pthread_cond_wait(&worker->wake, &server->lock);
    else if (!job && !server->stopping && seconds > 0)
        (void)pthread_cond_timedwait(&worker->wake, &server->lock, &until);
    if (!job) job = take_first(worker);
    pthread_mutex_unlock(&server->lock);
    return job;
}

bp_job *bp_job_next(bp_server *server, bp_worker *worker, double seconds) {
    bp_job *job;
    while ((job = wait_for_job(server, worker, seconds)) && bp_socket_is_closed(job->socket))
        bp_job_fail(server, job, 503, TOO_LATE);
    return job;
}

void bp_job_answer(bp_server *server, bp_job *job, unsigned code, struct MHD_Response *response) {
    pthread_mutex_lock(&server->lock);
    if (response) (void)MHD_queue_response(job->connection, code, response);
    job->done = true;
    server->n_requests--;
    MHD_resume_connection(job->connection);
    pthread_mutex_unlock(&server->lock);
}

void bp_job_give(bp_server *server, bp_job *job, unsigned code, struct MHD_Response *response) {
    bp_job_answer(server, job, code, response);
    if (response) MHD_destroy_response(response);
}

void bp_job_fail(bp_server *server, bp_job *job, unsigned code, const char *sentence) {
    bp_job_give(server, job, code, bp_answer_error(sentence));
}

void bp_jobs_end(bp_server *server, bp_worker *worker) {
    bp_job *job;
    while ((job = wait_for_job(server, worker, 0))) bp_job_fail(server, job, 503, STOPPING);
}
