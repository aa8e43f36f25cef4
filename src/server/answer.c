/* SPDX-License-Identifier: Apache-2.0 */
/* Responses with the headers that each of ours has. */
#include "report/json.h"
#include "report/page_html.h"
#include "server/state.h"

#include <stdlib.h>
#include <string.h>

bool bp_answer_guard(struct MHD_Response *response, const char *type) {
    static const char *const headers[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cache-Control", "no-store"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
    };
    char *policy = NULL;
    if (!response || asprintf(&policy, "%s; frame-ancestors 'none'", bp_page_csp()) < 0)
        return false;
    bool good = MHD_add_response_header(response, "Content-Security-Policy", policy) == MHD_YES;
    free(policy);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        good = good && MHD_add_response_header(response, headers[i][0], headers[i][1]) == MHD_YES;
    if (type) good = good && MHD_add_response_header(response, "Content-Type", type) == MHD_YES;
    return good;
}

/* Without its headers a response is not sent. */
static struct MHD_Response *guarded(struct MHD_Response *response, const char *type) {
    if (bp_answer_guard(response, type)) return response;
    if (response) MHD_destroy_response(response);
    return NULL;
}

/* In front of the bytes, so that they are counted until they are freed. */
typedef struct parcel {
    bp_server *server;
    void *bytes;
    size_t n_bytes;
} parcel;

static void free_parcel(void *context) {
    parcel *p = context;
    atomic_fetch_sub(&p->server->bytes_underway, p->n_bytes);
    free(p->bytes);
    free(p);
}

struct MHD_Response *bp_answer_bytes(bp_server *server, void *bytes, size_t n_bytes,
                                     const char *type) {
    parcel *p = malloc(sizeof *p);
    if (!p) {
        free(bytes);
        return NULL;
    }
    *p = (parcel){server, bytes, n_bytes};
    atomic_fetch_add(&server->bytes_underway, n_bytes);
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(n_bytes, bytes, free_parcel, p);
    if (!response) free_parcel(p);
    return guarded(response, type);
}

struct MHD_Response *bp_answer_static(const char *text, size_t n_bytes, const char *type) {
    static char nothing[1];
    /* The library takes void * for what it only reads. */
    union {
        const char *given;
        void *taken;
    } bytes = {text ? text : nothing};
    return guarded(MHD_create_response_from_buffer(n_bytes, bytes.taken, MHD_RESPMEM_PERSISTENT),
                   type);
}

struct MHD_Response *bp_answer_error(const char *sentence) {
    bp_json_builder b = {false};
    char *text = NULL;
    json_object *document = bp_json_checked(&b, json_object_new_object());
    bp_json_add(&b, document, "error", bp_json_text(&b, sentence));
    if (bp_json_finish(&b, document, false, &text, NULL) != BP_OK) return NULL;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!response) free(text);
    return guarded(response, "application/json");
}
