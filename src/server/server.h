/* SPDX-License-Identifier: Apache-2.0 */
/* Room server: the page over HTTP, with the runs below a folder as JSON, tiles and live events. A
 * process of its own that only reads logs (and keeps pyramids beside them). Invariants: a run is an
 * id, never a path; no byte of a file is sent before who asks showed the token; work that takes
 * time is never done in the thread that answers. Called by cli. */
#ifndef BP_SERVER_SERVER_H
#define BP_SERVER_SERVER_H

#include "base/base.h"

typedef struct bp_server bp_server;

typedef struct bp_server_options {
    const char *folder;                           /* copied; runs are looked for below it */
    const char *address;                          /* copied; NULL: 127.0.0.1 */
    uint16_t port;                                /* 0: any that is free */
    const char *token;                            /* copied; NULL: a new one of 128 random bits */
    void (*say)(void *context, const char *text); /* what went wrong, from any thread; or NULL */
    void *context;
} bp_server_options;

/* Answers from then on, in threads of its own. */
BP_MUST_USE bp_status bp_server_open(bp_server **server, const bp_server_options *options,
                                     bp_error *error);
/* Borrowed until close: "http://127.0.0.1:6336/?token=…". */
const char *bp_server_url(const bp_server *server);
void bp_server_close(bp_server *server);

#endif
