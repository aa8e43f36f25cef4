/* SPDX-License-Identifier: Apache-2.0 */
/* Room server: the page over HTTP, with the runs below a folder as JSON, tiles and live events. A
 * process of its own that only reads logs (and keeps pyramids beside them). Invariants: a run is an
 * id, never a path; no byte of a file is sent before who asks showed the token; work that takes
 * time is never done in the thread that answers. Called by cli. */
#ifndef BP_SERVER_SERVER_H
#define BP_SERVER_SERVER_H

#include "base/base.h"

#define BP_SERVER_PORT 6336

typedef struct bp_server bp_server;

typedef struct bp_server_options {
    const char *folder;       /* copied; runs are looked for below it */
    const char *address;      /* copied; a name or number of this machine; NULL: 127.0.0.1 */
    uint16_t port;            /* 0: any that is free */
    uint32_t n_ports;         /* how many are tried, from `port` on; 0: one */
    const char *token;        /* copied; NULL: a new one of 128 random bits */
    const char *const *hosts; /* copied; other names under which it is asked, "name[:port]" */
    size_t n_hosts;
    void (*say)(void *context, const char *text); /* what went wrong, from any thread; or NULL */
    void *context;
} bp_server_options;

/* Answers from then on, in threads of its own. */
BP_MUST_USE bp_status bp_server_open(bp_server **server, const bp_server_options *options,
                                     bp_error *error);
/* Borrowed until close: "http://127.0.0.1:6336/?token=…". */
const char *bp_server_url(const bp_server *server);
/* The same with a token that is good once: for who would show it to others on the way. */
const char *bp_server_url_once(const bp_server *server);
uint16_t bp_server_port(const bp_server *server);
void bp_server_close(bp_server *server);

/* Of tokens that users choose: long enough, and nothing in it that a URL would change. */
bool bp_server_token_is_good(const char *token);

#endif
