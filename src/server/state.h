/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads of the server share. One thread answers (libmicrohttpd's); three work: `lister`
 * looks for runs and keeps the time, `follower` reads logs through the diagnosis, `tiler` owns the
 * pyramids. One lock guards all that is shared, and is held for moments only. For the files of this
 * room. */
#ifndef BP_SERVER_STATE_H
#define BP_SERVER_STATE_H

#include "server/gate.h"
#include "server/runs.h"
#include "server/server.h"

#include <microhttpd.h>
#include <pthread.h>

#define BP_MAX_WAITING 64u                       /* jobs of a worker */
#define BP_MAX_STREAMS 256u                      /* of events */
#define BP_MAX_FOLLOWED 8u                       /* runs that are read again at a time */
#define BP_MAX_CELLS ((uint32_t)1 << 20)         /* of a tile */
#define BP_MAX_BYTES_UNDERWAY ((size_t)48 << 20) /* of answers that clients have not taken */
#define BP_MAX_RESIDENT_BYTES \
    ((uint64_t)64 << 20)      /* above it, what was not used lately is closed */
#define BP_HEAD_SECONDS 10.0  /* in which a request's head must be there */
#define BP_STREAM_SECONDS 30u /* in which a client must take what it is sent */
#define BP_BEAT_SECONDS 15.0
#define BP_TICK_SECONDS 0.25
#define BP_LIST_SECONDS 2.0

/* --- requests --------------------------------------------------------------------------------- */

/* A request from its head to its end. While it waits for a worker its connection is suspended. */
typedef struct bp_job {
    bp_query query;
    bp_judgement judgement;
    bp_error error; /* of the query */
    bool is_head;
    struct MHD_Connection *connection;
    int socket;
    bool done; /* by a worker; when it is asked again, it could not be answered */
    struct bp_job *next;
} bp_job;

typedef struct bp_worker {
    pthread_t thread;
    bool runs;
    pthread_cond_t wake;
    bp_job *first, *last;
    uint32_t n;
} bp_worker;

/* --- connections (sockets.c) ------------------------------------------------------------------ */

/* A connection that has sent no whole head yet, or is between requests, is idle: these are ended
 * when they take too long, the oldest also when there are too many. */
typedef struct bp_socket {
    struct bp_socket *before, *behind;
    int file;
    bool idle;
    double since;
} bp_socket;

typedef struct bp_sockets {
    bp_socket *oldest, *newest; /* of the idle ones */
    uint32_t n_idle, max_idle;
} bp_sockets;

/* --- events (events.c) ------------------------------------------------------------------------ */

/* What is new of a run that is followed. A version grows with every change; a stream remembers
 * which it has told, so that a slow client gets the latest state, never a queue. */
typedef struct bp_news {
    char id[BP_RUN_ID_BYTES]; /* "": free */
    uint64_t version, findings_version;
    int64_t last_step; /* of the log: as far as the follower has read, or a pyramid knows */
    double read_fraction;
} bp_news;

typedef struct bp_stream {
    struct bp_stream *before, *behind;
    struct bp_server *server;
    struct MHD_Connection *connection;
    int socket;
    bool suspended, greeted, gone;
    double spoke_at;
    uint64_t list_version;
    uint32_t n_runs;
    struct {
        char id[BP_RUN_ID_BYTES];
        uint64_t version, findings_version;
    } runs[BP_QUERY_MAX_RUNS];
} bp_stream;

/* --- the server ------------------------------------------------------------------------------- */

struct bp_server {
    char *folder, *folder_name;
    int folder_file;
    bp_gate gate; /* the answering thread's alone */
    char url[BP_HOST_BYTES + BP_TOKEN_MAX_LENGTH + 32], url_once[BP_HOST_BYTES + 80];
    void (*say)(void *context, const char *text);
    void *context;
    struct MHD_Daemon *daemon;
    struct MHD_Response *page;
    atomic_size_t bytes_underway;
    atomic_bool stopping;

    pthread_mutex_t lock; /* of all that follows */
    bp_worker lister, follower, tiler;
    uint32_t n_requests; /* jobs that wait, and streams */
    bp_runs runs;
    uint64_t list_version;
    bp_sockets sockets;
    bp_stream *streams;
    uint32_t n_streams;
    bp_news news[BP_MAX_FOLLOWED];
    uint64_t version; /* the last that was given to any of them */
};

double bp_server_now(void); /* seconds of a steady clock */
void bp_server_say(bp_server *server, const char *format, ...) BP_PRINTF(2, 3);
/* The calling thread lets others go first: those that somebody waits for, and whoever trains here.
 */
void bp_server_step_back(void);
/* What this process holds in memory; 0 where the system does not tell. */
uint64_t bp_resident_bytes(void);

/* A run of the list, copied, so that it may change meanwhile. */
typedef struct bp_run_place {
    char id[BP_RUN_ID_BYTES];
    char *path; /* of the run folder, with the server's folder in front */
    char *name;
    uint64_t device, inode;
    bool live;
} bp_run_place;
/* BP_ERROR_ARGUMENT when there is none, or another folder lies there. */
BP_MUST_USE bp_status bp_server_find_run(bp_server *server, bp_run_place *place, const char *id,
                                         bp_error *error);
void bp_run_place_free(bp_run_place *place);

/* --- queue.c ---------------------------------------------------------------------------------- */

/* By the answering thread: hands the job over and suspends its connection. False: too many wait, or
 * the server stops. */
BP_MUST_USE bool bp_job_ask(bp_server *server, bp_worker *worker, bp_job *job);
/* By a worker. The next job, or NULL after `seconds` (below 0: no limit), when woken, or when the
 * server stops. Jobs whose clients have gone are answered on the way. */
bp_job *bp_job_next(bp_server *server, bp_worker *worker, double seconds);
/* The job is gone then. The response stays the caller's; NULL: the connection is closed. */
void bp_job_answer(bp_server *server, bp_job *job, unsigned code, struct MHD_Response *response);
/* The same with a response that is not used again: it is taken. */
void bp_job_give(bp_server *server, bp_job *job, unsigned code, struct MHD_Response *response);
void bp_job_fail(bp_server *server, bp_job *job, unsigned code, const char *sentence);
/* Answers all that wait: the worker ends. */
void bp_jobs_end(bp_server *server, bp_worker *worker);
/* Whether the other side has closed, or sent the end of what it has to say. */
bool bp_socket_is_closed(int file);

/* --- answer.c --------------------------------------------------------------------------------- */

/* A response with all headers that each of ours has; bytes: from malloc, taken, freed when the last
 * client has them. NULL: no memory. */
struct MHD_Response *bp_answer_bytes(bp_server *server, void *bytes, size_t n_bytes,
                                     const char *type);
/* text is static. */
struct MHD_Response *bp_answer_static(const char *text, size_t n_bytes, const char *type);
struct MHD_Response *bp_answer_error(const char *sentence);
/* Headers of all responses; false: no memory. */
BP_MUST_USE bool bp_answer_guard(struct MHD_Response *response, const char *type);

/* --- route.c ---------------------------------------------------------------------------------- */

/* libmicrohttpd's callbacks; cls is the server. */
enum MHD_Result bp_route_request(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_data_size, void **con_cls);
void bp_route_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode code);

/* --- sockets.c -------------------------------------------------------------------------------- */

void bp_sockets_notify(void *cls, struct MHD_Connection *connection, void **socket_context,
                       enum MHD_ConnectionNotificationCode code);
/* By the answering thread: a request's head is there, or its answer is sent. */
void bp_socket_busy(bp_server *server, struct MHD_Connection *connection, bool busy);
void bp_sockets_sweep(bp_server *server); /* the lock is held */

/* --- events.c --------------------------------------------------------------------------------- */

/* A response that goes on until one side ends it; NULL: no memory, or too many. */
struct MHD_Response *bp_stream_open(bp_server *server, struct MHD_Connection *connection,
                                    const bp_query *query);
/* With the lock held: lets those speak that have something to say. */
void bp_streams_wake(bp_server *server);
/* A pyramid has this step: often long before the run is read so far. */
void bp_news_reach(bp_server *server, const char *id, int64_t last_step);
/* With the lock held: heartbeats are due, clients are gone. */
void bp_streams_sweep(bp_server *server);
/* With the lock held: runs that somebody looks at, each once, at most n. */
uint32_t bp_streams_wanted(const bp_server *server, char (*ids)[BP_RUN_ID_BYTES], uint32_t n);

/* --- the workers ------------------------------------------------------------------------------ */

void *bp_lister(void *server);
void *bp_follower(void *server);
void *bp_tiler(void *server);

#endif
