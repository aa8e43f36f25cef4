/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: the port, the folder, the library that speaks HTTP, the workers. */
#include "report/page_html.h"
#include "server/state.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOPBACK "127.0.0.1"
#define MAX_CONNECTIONS 3072u
#define MAX_IDLE 2048u          /* of them */
#define FILES_OF_OURS 768u      /* logs, pyramids */
#define CONNECTION_BYTES 32768u /* of the library for one: a request's head must fit into it */
#define NICE 5                  /* of a thread with work without end */
#define LAST_BYTES_SECONDS 0.5  /* in which clients may take their last bytes */

double bp_server_now(void) {
    return bp_io_system.steady_clock(bp_io_system.context);
}

void bp_server_say(bp_server *server, const char *format, ...) {
    char text[BP_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (server->say) server->say(server->context, text);
}

uint64_t bp_resident_bytes(void) {
    unsigned long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    const bool told = file && fscanf(file, "%llu %llu", &all, &resident) == 2;
    if (file) fclose(file);
    return told ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void bp_server_step_back(void) {
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* of this thread alone, on Linux */
}

bool bp_server_token_is_good(const char *token) {
    return bp_token_is_good(token);
}

/* --- runs of the list ------------------------------------------------------------------------- */

bp_status bp_server_find_run(bp_server *server, bp_run_place *place, const char *id,
                             bp_error *error) {
    struct stat found;
    *place = (bp_run_place){0};
    pthread_mutex_lock(&server->lock);
    const bp_run *run = bp_runs_find(&server->runs, id);
    if (run) {
        *place = (bp_run_place){.device = run->device, .inode = run->inode, .live = run->live};
        memcpy(place->id, id, BP_RUN_ID_BYTES);
        place->name = strdup(run->name);
        if (asprintf(&place->path, "%s/%s", server->folder, run->path) < 0) place->path = NULL;
    }
    pthread_mutex_unlock(&server->lock);
    const bool whole = place->name && place->path;
    if (run && !whole) {
        bp_run_place_free(place);
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a path");
    }
    if (run && lstat(place->path, &found) == 0 && (uint64_t)found.st_dev == place->device &&
        (uint64_t)found.st_ino == place->inode)
        return BP_OK;
    bp_run_place_free(place);
    return bp_fail(error, BP_ERROR_ARGUMENT, "there is no such run (any more)");
}

void bp_run_place_free(bp_run_place *place) {
    free(place->path);
    free(place->name);
    *place = (bp_run_place){0};
}

/* --- the port --------------------------------------------------------------------------------- */

static int listen_at(const struct addrinfo *where) {
    const int yes = 1;
    const int file = socket(where->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (file < 0) return -1;
    (void)setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(file, where->ai_addr, where->ai_addrlen) == 0 && listen(file, SOMAXCONN) == 0)
        return file;
    const int reason = errno;
    close(file);
    errno = reason;
    return -1;
}

static uint16_t port_of(int file) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    if (getsockname(file, (struct sockaddr *)&address, &length) != 0) return 0;
    uint8_t port[2];
    const size_t place = address.ss_family == AF_INET6 ? offsetof(struct sockaddr_in6, sin6_port)
                                                       : offsetof(struct sockaddr_in, sin_port);
    memcpy(port, (const uint8_t *)&address + place, sizeof port);
    return (uint16_t)(port[0] << 8 | port[1]);
}

static int listen_on_port(const char *address, unsigned port, bp_error *error) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const int reason = getaddrinfo(address, service, &hints, &found);
    if (reason != 0) {
        bp_fail(error, BP_ERROR_ARGUMENT, "%s: cannot listen there: %s", address,
                gai_strerror(reason));
        errno = EINVAL;
        return -1;
    }
    const int file = listen_at(found);
    const int why = errno;
    freeaddrinfo(found);
    if (file < 0) bp_fail_os(error, why, "cannot listen at %s, port %u", address, port);
    errno = why;
    return file;
}

static int listen_somewhere(const bp_server_options *options, bp_error *error) {
    const char *address = options->address ? options->address : LOOPBACK;
    const unsigned n = options->n_ports > 0 ? options->n_ports : 1;
    int file = -1;
    errno = EADDRINUSE;
    for (unsigned i = 0; file < 0 && errno == EADDRINUSE && i < n && options->port + i <= 65535;
         i++)
        file = listen_on_port(address, options->port + i, error);
    return file;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The name of the folder: of its path, or where that ends in none ("."), of where it is. */
static char *name_of(const char *folder) {
    char *whole = realpath(folder, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    char *name = strdup(slash && slash[1] ? slash + 1 : folder);
    free(whole);
    return name;
}

static bp_status open_folder(bp_server *server, const char *folder, bp_error *error) {
    server->folder = strdup(folder);
    server->folder_name = name_of(folder);
    if (!server->folder || !server->folder_name)
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a path");
    server->folder_file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (server->folder_file < 0)
        return bp_fail_os(error, errno, "%s: cannot open the folder", folder);
    const double now = bp_io_system.wall_clock(bp_io_system.context);
    return bp_runs_scan(&server->runs, server->folder_file, server->folder_name, NULL, now, error);
}

static bp_status make_gate(bp_server *server, const bp_server_options *options, uint16_t port,
                           bp_error *error) {
    bp_gate *gate = &server->gate;
    bp_gate_init(gate, options->address, port);
    for (size_t i = 0; i < options->n_hosts; i++)
        if (!bp_gate_add_host(gate, options->hosts[i]))
            return bp_fail(error, BP_ERROR_ARGUMENT, "%s: expected a name, or name:port",
                           options->hosts[i]);
    if (options->token && !bp_token_is_good(options->token))
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "the token: expected %u to %u letters, digits, '-' and '_'",
                       BP_TOKEN_MIN_LENGTH, BP_TOKEN_MAX_LENGTH);
    if (options->token) snprintf(gate->token, sizeof gate->token, "%s", options->token);
    if ((!options->token && !bp_token_make(gate->token)) || !bp_token_make(gate->ticket))
        return bp_fail(error, BP_ERROR_IO, "the system gives no random numbers for a token");
    const char *host = gate->hosts[gate->home];
    snprintf(server->url, sizeof server->url, "http://%s/?token=%s", host, gate->token);
    snprintf(server->url_once, sizeof server->url_once, "http://%s/?token=%s", host, gate->ticket);
    return BP_OK;
}

/* As many connections as the system lets us have beside our own files. */
static unsigned allow_connections(bp_server *server) {
    struct rlimit files;
    unsigned n = 256;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        const rlim_t wanted = MAX_CONNECTIONS + FILES_OF_OURS;
        if (files.rlim_cur < wanted) {
            files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
            (void)setrlimit(RLIMIT_NOFILE, &files);
        }
        if (files.rlim_cur > FILES_OF_OURS + n) n = (unsigned)(files.rlim_cur - FILES_OF_OURS);
    }
    if (n > MAX_CONNECTIONS) n = MAX_CONNECTIONS;
    server->sockets.max_idle = n / 3 * 2;
    return n;
}

/* The queries' words come as they are: percent signs are no words of ours. */
static size_t keep_escaped(void *cls, struct MHD_Connection *connection, char *text) {
    (void)cls;
    (void)connection;
    return strlen(text);
}

static bp_status start_daemon(bp_server *server, int *file, bp_error *error) {
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, bp_route_request, server, MHD_OPTION_LISTEN_SOCKET, *file,
        MHD_OPTION_CONNECTION_LIMIT, allow_connections(server), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)BP_HEAD_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        bp_sockets_notify, server, MHD_OPTION_NOTIFY_COMPLETED, bp_route_completed, server,
        MHD_OPTION_END);
    if (!server->daemon)
        return bp_fail_os(error, errno, "the library that speaks HTTP does not start");
    *file = -1; /* the library's */
    return BP_OK;
}

static bp_status start_worker(bp_server *server, bp_worker *worker, void *(*work)(void *),
                              bp_error *error) {
    const int reason = pthread_create(&worker->thread, NULL, work, server);
    worker->runs = reason == 0;
    return worker->runs ? BP_OK : bp_fail_os(error, reason, "cannot start a thread");
}

static bool make_locks(bp_server *server) {
    pthread_condattr_t steady;
    bp_worker *const workers[] = {&server->lister, &server->follower, &server->tiler};
    bool good = pthread_mutex_init(&server->lock, NULL) == 0 && pthread_condattr_init(&steady) == 0;
    if (!good) return false;
    (void)pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        good = pthread_cond_init(&workers[i]->wake, &steady) == 0 && good;
    pthread_condattr_destroy(&steady);
    return good;
}

static bp_status start(bp_server *server, const bp_server_options *options, bp_error *error) {
    size_t n_bytes = 0;
    const char *page = bp_page_html(&n_bytes);
    server->page = bp_answer_static(page, n_bytes, "text/html; charset=utf-8");
    if (!server->page) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for the page");
    bp_status status = open_folder(server, options->folder, error);
    if (status != BP_OK) return status;
    int file = listen_somewhere(options, error);
    if (file < 0) return error && error->status != BP_OK ? error->status : BP_ERROR_IO;
    status = make_gate(server, options, port_of(file), error);
    if (status == BP_OK) status = start_worker(server, &server->lister, bp_lister, error);
    if (status == BP_OK) status = start_worker(server, &server->follower, bp_follower, error);
    if (status == BP_OK) status = start_worker(server, &server->tiler, bp_tiler, error);
    if (status == BP_OK) status = start_daemon(server, &file, error);
    if (file >= 0) close(file);
    return status;
}

bp_status bp_server_open(bp_server **server, const bp_server_options *options, bp_error *error) {
    bp_server *s = calloc(1, sizeof *s);
    if (!s || !make_locks(s)) {
        free(s);
        return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a server");
    }
    s->folder_file = -1;
    s->say = options->say;
    s->context = options->context;
    const bp_status status = start(s, options, error);
    if (status == BP_OK)
        *server = s;
    else
        bp_server_close(s);
    return status;
}

const char *bp_server_url(const bp_server *server) {
    return server->url;
}

const char *bp_server_url_once(const bp_server *server) {
    return server->url_once;
}

uint16_t bp_server_port(const bp_server *server) {
    return server->gate.port;
}

/* --- closing ---------------------------------------------------------------------------------- */

static void stop_workers(bp_server *server) {
    bp_worker *const workers[] = {&server->lister, &server->follower, &server->tiler};
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        pthread_cond_broadcast(&workers[i]->wake);
    bp_streams_wake(server);
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++)
        if (workers[i]->runs) pthread_join(workers[i]->thread, NULL);
}

/* Streams end with their last chunk, those who wait get an answer: in a moment, or not at all. */
static void let_go(bp_server *server) {
    const double until = bp_server_now() + LAST_BYTES_SECONDS;
    const struct timespec moment = {.tv_nsec = 5000000};
    bool busy = true;
    while (busy && bp_server_now() < until) {
        pthread_mutex_lock(&server->lock);
        busy = server->n_requests > 0;
        pthread_mutex_unlock(&server->lock);
        if (busy) nanosleep(&moment, NULL);
    }
}

void bp_server_close(bp_server *server) {
    if (!server) return;
    stop_workers(server);
    if (server->daemon) {
        let_go(server);
        MHD_stop_daemon(server->daemon);
    }
    if (server->page) MHD_destroy_response(server->page);
    bp_runs_free(&server->runs);
    if (server->folder_file >= 0) close(server->folder_file);
    free(server->folder);
    free(server->folder_name);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->lister.wake);
    pthread_cond_destroy(&server->follower.wake);
    pthread_cond_destroy(&server->tiler.wake);
    free(server);
}
