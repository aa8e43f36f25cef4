/* SPDX-License-Identifier: Apache-2.0 */
/* `backprobe serve [FOLDER]`: the runs of a folder as a page, live. */
#include "cli/cli.h"
#include "cli/folder.h"
#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTS_TRIED 20u
#define LARGE_BYTES (1 << 20) /* blocks of this size go back to the system at once */
#define TOKEN_FILE_BYTES ((size_t)1024)

extern char **environ;

typedef struct serve_options {
    bp_common_options common;
    int64_t port; /* -1: the first of several that is free */
    const char *listen, *token_file;
    bp_words hosts;
    bool open, json;
} serve_options;

#define AT(member) offsetof(serve_options, member)

static const bp_option options[] = {
    {"port", 'p', BP_OPTION_INTEGER, "N", NULL, 0, 65535,
     "port to listen on, 0 for any that is free; else 6336, or the next free one behind it",
     AT(port)},
    {"listen", 0, BP_OPTION_TEXT, "ADDRESS", NULL, 0, 0,
     "address to listen on; else 127.0.0.1, which other machines do not reach. Any but the "
     "loopback wants a token of yours",
     AT(listen)},
    {"token-file", 0, BP_OPTION_FILE, "FILE", NULL, 0, 0,
     "take the token from this file: 32 or more letters, digits, '-' and '_'; else from "
     "BACKPROBE_TOKEN, else a new one is made",
     AT(token_file)},
    {"host", 0, BP_OPTION_LIST, "NAME[:PORT]", NULL, 0, 0,
     "answer under this name, too, as behind a tunnel or a proxy; may be given several times",
     AT(hosts)},
    {"open", 0, BP_OPTION_FLAG, NULL, NULL, 0, 0, "open the page in the browser (xdg-open)",
     AT(open)},
    {"json", 0, BP_OPTION_FLAG, NULL, NULL, 0, 0, "print the address as JSON: url, folder",
     AT(json)},
    BP_COMMON_OPTIONS,
};

static const bp_example examples[] = {
    {"backprobe serve", "the runs below runs; open the address that it prints"},
    {"backprobe serve ~/experiments --open", "all runs below a folder, and a browser on them"},
    {"ssh -t -L 6336:127.0.0.1:6336 machine backprobe serve work/runs --port 6336",
     "runs on another machine, looked at on this one"},
    {NULL, NULL},
};

static void told(void *context, const char *text) {
    (void)context;
    bp_say("%s", text);
}

/* --- the token -------------------------------------------------------------------------------- */

static bool is_loopback(const char *address) {
    struct in_addr four;
    struct in6_addr six;
    if (!address || strcmp(address, "localhost") == 0) return true;
    if (inet_pton(AF_INET, address, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static void warn_of_readers(const char *path) {
    struct stat found;
    if (stat(path, &found) == 0 && (found.st_mode & (S_IRGRP | S_IROTH)))
        bp_say("%s: others can read this token; chmod 600 keeps it yours", path);
}

/* *token is released with free(); NULL: there is none. */
static bp_status read_token(char **token, const serve_options *given, bp_error *error) {
    const char *named = getenv("BACKPROBE_TOKEN");
    uint8_t *bytes = NULL;
    size_t n = 0;
    *token = NULL;
    if (given->token_file) {
        const bp_status status = bp_io_read_file(&bp_io_system, given->token_file, TOKEN_FILE_BYTES,
                                                 NULL, &bytes, &n, error);
        if (status != BP_OK) return status;
        warn_of_readers(given->token_file);
        *token = strndup((const char *)bytes, strcspn((const char *)bytes, "\r\n"));
        bp_release(NULL, bytes, n + 1, 1);
    } else if (named && *named) {
        *token = strdup(named);
    } else if (!is_loopback(given->listen)) {
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "--listen %s: other machines may reach it, so it wants a token of yours: "
                       "--token-file FILE, or BACKPROBE_TOKEN",
                       given->listen);
    } else {
        return BP_OK;
    }
    if (!*token) return bp_fail(error, BP_ERROR_MEMORY, "out of memory for a token");
    if (bp_server_token_is_good(*token)) return BP_OK;
    return bp_fail(error, BP_ERROR_ARGUMENT,
                   "%s: expected 32 or more letters, digits, '-' and '_', and nothing else",
                   given->token_file ? given->token_file : "BACKPROBE_TOKEN");
}

/* --- the browser ------------------------------------------------------------------------------ */

/* Its address is seen by all users of the machine in the list of processes: its token is good once.
 */
static void open_browser(const char *url) {
    char program[] = "xdg-open", *address = strdup(url);
    posix_spawn_file_actions_t files;
    pid_t child;
    if (!address || posix_spawn_file_actions_init(&files) != 0) {
        free(address);
        return;
    }
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    char *const words[] = {program, address, NULL};
    const int reason = posix_spawnp(&child, program, &files, NULL, words, environ);
    if (reason != 0)
        bp_say("cannot start %s (%s): open the address yourself", program, strerror(reason));
    posix_spawn_file_actions_destroy(&files);
    free(address);
}

/* --- until somebody ends it ------------------------------------------------------------------- */

static volatile sig_atomic_t ended_by;
static sem_t ended;

static void on_end(int number) {
    ended_by = number;
    sem_post(&ended);
}

/* Not those that it was started to ignore (nohup). A second one ends it at once. Threads of
 * libraries may get the signal, so none is blocked. */
static void expect_end(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = on_end,
                                     .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    sem_init(&ended, 0, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

static int wait_for_end(void) {
    while (sem_wait(&ended) != 0) {}
    return ended_by == SIGINT ? BP_EXIT_INTERRUPTED : BP_EXIT_GOOD;
}

static void tell_address(const bp_server *server, const serve_options *given, const char *folder) {
    bp_json_line line = {stdout, false};
    if (given->json) {
        bp_json_line_text(&line, "url", bp_server_url(server));
        bp_json_line_text(&line, "folder", folder);
        bp_json_line_end(&line);
    } else {
        printf("%s\n", bp_server_url(server));
    }
    fflush(stdout);
}

static int serve(const serve_options *given, const char *folder, const char *token) {
    bp_error error = {.status = BP_OK};
    bp_server *server = NULL;
    const bool any = given->port < 0;
    const bp_server_options wanted = {.folder = folder,
                                      .address = given->listen,
                                      .port = any ? BP_SERVER_PORT : (uint16_t)given->port,
                                      .n_ports = any ? PORTS_TRIED : 1,
                                      .token = token,
                                      .hosts = (const char *const *)given->hosts.items,
                                      .n_hosts = given->hosts.n,
                                      .say = told};
    expect_end();
    mallopt(M_ARENA_MAX, 2); /* else every thread keeps what it freed */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    if (bp_server_open(&server, &wanted, &error) != BP_OK) {
        bp_say_error(NULL, &error);
        return BP_EXIT_FAILED;
    }
    if (any && bp_server_port(server) != BP_SERVER_PORT)
        bp_say("port %d is taken; listening on %d", BP_SERVER_PORT, bp_server_port(server));
    if (!is_loopback(given->listen))
        bp_say("what goes over the network is not encrypted: the token, too");
    bp_say("the runs below %s; Ctrl-C ends it", folder);
    tell_address(server, given, folder);
    if (given->open) open_browser(bp_server_url_once(server));
    const int code = wait_for_end();
    bp_server_close(server);
    return code;
}

static int run(int argc, char **argv) {
    serve_options given = {.common = BP_COMMON_DEFAULTS, .port = -1};
    bp_words folders;
    bp_error error = {.status = BP_OK};
    char *token = NULL;
    int code = bp_options_parse(&bp_command_serve, argc, argv, &given, &folders);
    if (code < 0 && read_token(&token, &given, &error) != BP_OK) {
        bp_say_error(NULL, &error);
        code = BP_EXIT_FAILED;
    }
    if (code < 0)
        code = serve(&given,
                     folders.n > 0               ? folders.items[0]
                     : bp_path_is_folder("runs") ? "runs"
                                                 : ".",
                     token);
    free(token);
    bp_options_free(&bp_command_serve, &given);
    return code;
}

const bp_command bp_command_serve = {
    .name = "serve",
    .summary = "the runs of a folder as a page, live",
    .arguments = "[FOLDER]",
    .description =
        "Shows all runs below a folder (runs, or where there is none, this one) in a browser: "
        "findings, map, curves, live while they train. It prints an address with a token, without "
        "which nobody gets in, and answers this machine only; on another one, let ssh forward the "
        "port. It reads logs, and keeps what it derives from them in their folders "
        "(RUN/pyramid). It goes on until it is ended.",
    .exits = "0 ended by SIGTERM or SIGHUP, 130 by Ctrl-C, 2 could not",
    .options = options,
    .examples = examples,
    .max_arguments = 1,
    .run = run,
};
