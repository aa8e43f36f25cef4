/* SPDX-License-Identifier: Apache-2.0 */
/* The whole server, asked by several clients at once while runs appear, grow and vanish. */
#include "server/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN SOURCE_ROOT "/tests/golden/runlog-1c/log-000001.bplog"
#define REPLY_BYTES 65536

static char top[64], cookie[256], ids[8][17];
static uint32_t n_ids;
static bp_server *server;

/* --- a client --------------------------------------------------------------------------------- */

static int dial(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(bp_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0 || connect(file, (struct sockaddr *)&address, sizeof address) != 0) return -1;
    return file;
}

static bool say(int file, const char *path, const char *more) {
    char request[1024];
    const int n = snprintf(request, sizeof request,
                           "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nCookie: %s\r\n%s\r\n", path,
                           (unsigned)bp_server_port(server), cookie, more);
    return write(file, request, (size_t)n) == n;
}

/* All until the other side closes; how many bytes. */
static size_t hear(int file, char *reply) {
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < REPLY_BYTES - 1; n += got > 0 ? (size_t)got : 0)
        got = read(file, reply + n, REPLY_BYTES - 1 - n);
    reply[n] = '\0';
    return n;
}

/* The status, 0 when there was no answer. */
static int ask(const char *path, char *reply) {
    int status = 0;
    const int file = dial();
    if (file < 0) return 0;
    if (say(file, path, "Connection: close\r\n") && hear(file, reply) > 12)
        status = atoi(reply + 9); /* NOLINT: "HTTP/1.1 200" */
    close(file);
    return status;
}

/* --- a folder of runs ------------------------------------------------------------------------- */

static void make_run(const char *name) {
    char path[256];
    uint8_t *bytes = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s", top, name);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/%s/log-000001.bplog", top, name);
    assert_int_equal(
        bp_io_read_file(&bp_io_system, GOLDEN, (size_t)1 << 24, NULL, &bytes, &n, NULL), BP_OK);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    fclose(out);
    bp_release(NULL, bytes, n + 1, 1);
}

static void remove_run(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s/log-000001.bplog", top, name);
    unlink(path);
    snprintf(path, sizeof path, "rm -rf '%s/%s'", top, name);
    assert_int_equal(system(path), 0); /* NOLINT: a name of ours */
}

static void read_ids(void) {
    static char reply[REPLY_BYTES];
    assert_int_equal(ask("/api/runs", reply), 200);
    n_ids = 0;
    for (char *at = reply; n_ids < 8 && (at = strstr(at, "\"id\":\"")); at += 6)
        snprintf(ids[n_ids++], sizeof ids[0], "%.16s", at + 6);
}

static int open_all(void **state) {
    (void)state;
    static char reply[REPLY_BYTES];
    strcpy(top, "/tmp/backprobe-test-XXXXXX");
    assert_non_null(mkdtemp(top));
    make_run("a");
    make_run("b");
    bp_error error;
    const bp_server_options options = {.folder = top, .port = 0};
    assert_int_equal(bp_server_open(&server, &options, &error), BP_OK);
    const char *token = strstr(bp_server_url(server), "/?token=");
    assert_non_null(token);
    assert_int_equal(ask(token, reply), 303);
    const char *given = strstr(reply, "Set-Cookie: ");
    assert_non_null(given);
    snprintf(cookie, sizeof cookie, "%.*s", (int)strcspn(given + 12, ";"), given + 12);
    read_ids();
    assert_int_equal(n_ids, 2);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    char command[128];
    bp_server_close(server);
    server = NULL;
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command); /* NOLINT: a name of ours */
}

/* --- tests ------------------------------------------------------------------------------------ */

static void answers(void **state) {
    (void)state;
    static char reply[REPLY_BYTES];
    char path[128];
    assert_int_equal(ask("/", reply), 200);
    assert_non_null(strstr(reply, "frame-ancestors 'none'"));
    snprintf(path, sizeof path, "/api/runs/%s", ids[0]);
    assert_int_equal(ask(path, reply), 200);
    assert_non_null(strstr(reply, "\"schema\":\"backprobe.run/1\""));
    assert_non_null(strstr(reply, "\"name\":\"a\""));
    assert_null(strstr(reply, top)); /* a run is no path */
    assert_int_equal(ask("/api/runs/0000000000000000", reply), 404);
    assert_int_equal(ask("/api/runs/0000000000000000/tile?series=loss", reply), 404);
    snprintf(path, sizeof path, "/api/runs/%s/tile?series=nothing", ids[0]);
    assert_int_equal(ask(path, reply), 404);
    snprintf(path, sizeof path, "/api/runs/%s/tile?series=loss&columns=4", ids[0]);
    assert_int_equal(ask(path, reply), 200);
    cookie[strlen(cookie) - 1] ^= 1;
    assert_int_equal(ask(path, reply), 401);
    assert_null(strstr(reply, "BPT1"));
    cookie[strlen(cookie) - 1] ^= 1;
}

static void *ask_much(void *context) {
    char *reply = malloc(REPLY_BYTES), path[160];
    const unsigned seed = *(const unsigned *)context;
    intptr_t bad = reply ? 0 : 1;
    static const char *const series[] = {"loss", "gradient_rms", "gain", "learning_rate"};
    for (unsigned i = seed; reply && i < seed + 40; i++) {
        const char *id = ids[i % 2];
        if (i % 5 == 0)
            strcpy(path, "/api/runs");
        else if (i % 5 == 1)
            snprintf(path, sizeof path, "/api/runs/%s", id);
        else
            snprintf(path, sizeof path, "/api/runs/%s/tile?series=%s&columns=%u", id, series[i % 4],
                     1 + i % 50);
        const int status = ask(path, reply);
        if (status != 200 && status != 503) bad++;
        if (i % 7 == 0) { /* one that goes before its answer comes */
            const int file = dial();
            if (file < 0 || !say(file, path, "")) bad++;
            if (file >= 0) close(file);
        }
    }
    free(reply);
    return (void *)bad;
}

static bool hears(int file, const char *word) {
    char text[4096];
    size_t n = 0;
    struct pollfd asked = {.fd = file, .events = POLLIN};
    while (n < sizeof text - 1 && poll(&asked, 1, 20000) == 1) {
        const ssize_t got = read(file, text + n, sizeof text - 1 - n);
        if (got <= 0) return false;
        text[n += (size_t)got] = '\0';
        if (strstr(text, word)) return true;
    }
    return false;
}

static void many_at_once(void **state) {
    (void)state;
    pthread_t threads[4];
    unsigned seeds[4] = {0, 1000, 2003, 3007};
    char path[160];
    int streams[8];
    snprintf(path, sizeof path, "/api/events?run=%s&run=%s", ids[0], ids[1]);
    for (int i = 0; i < 8; i++) {
        streams[i] = dial();
        assert_true(streams[i] >= 0 && say(streams[i], path, ""));
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_much, &seeds[i]), 0);
    make_run("c");
    assert_true(hears(streams[0], "\"type\":\"run\""));
    assert_true(hears(streams[1], "\"type\":\"runs\""));
    close(streams[2]); /* the server finds out by itself */
    remove_run("c");
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_int_equal((intptr_t)bad, 0);
    }
    for (int i = 3; i < 8; i++) close(streams[i]);
    close(streams[0]);
    close(streams[1]);
}

static void *wait_to_the_end(void *context) {
    char *text = malloc(REPLY_BYTES);
    const int file = *(const int *)context;
    const size_t n = text ? hear(file, text) : 0;
    /* The last chunk: the stream was ended, not cut. */
    const bool whole = n >= 5 && strcmp(text + n - 5, "0\r\n\r\n") == 0;
    free(text);
    return (void *)(intptr_t)whole;
}

/* Half-open connections, streams and requests are underway when it ends. */
static void ends_in_the_middle(void **state) {
    (void)state;
    pthread_t thread;
    char path[160];
    int half_open[20];
    for (int i = 0; i < 20; i++) {
        half_open[i] = dial();
        assert_true(half_open[i] >= 0 && write(half_open[i], "GET / HT", 8) == 8);
    }
    int stream = dial();
    snprintf(path, sizeof path, "/api/events?run=%s", ids[0]);
    assert_true(stream >= 0 && say(stream, path, ""));
    assert_true(hears(stream, "\"type\":\"run\""));
    assert_int_equal(pthread_create(&thread, NULL, wait_to_the_end, &stream), 0);
    const int waiting = dial();
    snprintf(path, sizeof path, "/api/runs/%s", ids[1]);
    assert_true(waiting >= 0 && say(waiting, path, ""));
    bp_server_close(server);
    server = NULL;
    void *whole = NULL;
    pthread_join(thread, &whole);
    assert_true((intptr_t)whole);
    for (int i = 0; i < 20; i++) close(half_open[i]);
    close(stream);
    close(waiting);
}

static void cannot_open(void **state) {
    (void)state;
    bp_server *other = NULL;
    bp_error error;
    const uint16_t taken = bp_server_port(server);
    const char *const bad_host[] = {"a b"};
    const bp_server_options wrong[] = {
        {.folder = "/nowhere/at/all"},
        {.folder = top, .address = "192.0.2.1"}, /* of nobody */
        {.folder = top, .address = "no.such.name.invalid"},
        {.folder = top, .port = taken},
        {.folder = top, .token = "short"},
        {.folder = top, .hosts = bad_host, .n_hosts = 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error.text[0] = '\0';
        assert_int_not_equal(bp_server_open(&other, &wrong[i], &error), BP_OK);
        assert_true(strlen(error.text) > 10);
    }
    const bp_server_options next = {.folder = top, .port = taken, .n_ports = 20};
    assert_int_equal(bp_server_open(&other, &next, &error), BP_OK);
    assert_int_not_equal(bp_server_port(other), taken);
    bp_server_close(other);
    bp_server_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers, open_all, close_all),
        cmocka_unit_test_setup_teardown(many_at_once, open_all, close_all),
        cmocka_unit_test_setup_teardown(ends_in_the_middle, open_all, close_all),
        cmocka_unit_test_setup_teardown(cannot_open, open_all, close_all),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
