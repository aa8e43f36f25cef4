/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in: the rules by which a request is judged before anything of a run is looked at. It
 * knows no sockets and no HTTP library, so that every rule is a line of a test. */
#ifndef BP_SERVER_GATE_H
#define BP_SERVER_GATE_H

#include "base/base.h"

#define BP_TOKEN_MIN_LENGTH 32u
#define BP_TOKEN_MAX_LENGTH 128u
#define BP_GATE_MAX_HOSTS 32u
#define BP_HOST_BYTES 272

typedef struct bp_gate {
    char token[BP_TOKEN_MAX_LENGTH + 1];
    char ticket[BP_TOKEN_MAX_LENGTH + 1]; /* a token that is good once; "" when it was used */
    char cookie[32];                      /* its name: cookies do not tell ports apart */
    char hosts[BP_GATE_MAX_HOSTS][BP_HOST_BYTES]; /* as a Host header has them, with port */
    uint32_t n_hosts, home;                       /* home: the one that its address is given with */
    bool any_address; /* Host may be any numeric address: those cannot be rebound as names can */
    uint16_t port;
} bp_gate;

/* Tokens are letters, digits, '-' and '_', at least BP_TOKEN_MIN_LENGTH of them. */
bool bp_token_is_good(const char *token);
/* 128 bits of the system's randomness as 32 hexadecimal digits; false when there is none. */
BP_MUST_USE bool bp_token_make(char token[BP_TOKEN_MAX_LENGTH + 1]);

/* Hosts of a server that listens at `address` (as the user gave it; NULL: loopback) and port. */
void bp_gate_init(bp_gate *gate, const char *address, uint16_t port);
/* Another name under which the server may be asked, "name" or "name:port"; false: no such name, or
 * too many. */
BP_MUST_USE bool bp_gate_add_host(bp_gate *gate, const char *host);

/* What a request's head says. NULL: it does not say it. */
typedef struct bp_asked {
    const char *version, *method, *path;
    const char *host, *origin;
    const char *site, *mode, *dest; /* Sec-Fetch-... */
    const char *token;              /* in the query */
    const char *const *cookies;     /* values of cookies of the gate's name */
    uint32_t n_cookies;
    uint32_t n_hosts; /* Host headers */
    bool has_body;
} bp_asked;

typedef enum bp_pass {
    BP_PASS_REFUSED,
    BP_PASS_GOOD,
    BP_PASS_ENTER, /* it showed the token: it gets the cookie and is sent to / */
    /* The same, but it came from another site's link: its next request must come from a page of
     * ours, or the browser would keep the cookie back. */
    BP_PASS_ENTER_FROM_ELSEWHERE
} bp_pass;

typedef struct bp_judgement {
    bp_pass pass;
    unsigned code;   /* refused: the HTTP status */
    const char *why; /* refused: a sentence; static */
} bp_judgement;

/* Not const: a ticket is used up. */
bp_judgement bp_gate_judge(bp_gate *gate, const bp_asked *asked);

#endif
