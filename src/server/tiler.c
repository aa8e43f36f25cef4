/* SPDX-License-Identifier: Apache-2.0 */
/* The worker that owns pyramids and histograms: it opens those that are asked for, brings them up
 * to date, and closes those that were not used for the longest time. */
#include "record/series.h"
#include "report/run_document.h"
#include "report/tile.h"
#include "runlog/histograms.h"
#include "server/state.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#define MAX_OPEN 24u
#define UNUSED_SECONDS 120.0
#define PYRAMID_MEMORY_BYTES ((uint64_t)16 << 20) /* where none can be kept beside the run */

/* Something of a run that is open: a pyramid of one series, or all its histograms. */
typedef struct drawer {
    bool used;
    char id[BP_RUN_ID_BYTES];
    uint64_t device, inode;
    bp_series series;
    bp_pyramid *pyramid;
    bp_histograms *histograms;
    double used_at;
} drawer;

typedef struct tiler {
    bp_server *server;
    bp_io io; /* the system's, which fails when the server stops: nobody waits for a long build */
    drawer drawers[MAX_OPEN];
} tiler;

static ssize_t read_at(void *context, int file, void *bytes, size_t n_bytes, uint64_t place) {
    const bp_server *server = context;
    if (!server->stopping)
        return bp_io_system.read_at(bp_io_system.context, file, bytes, n_bytes, place);
    errno = ECANCELED;
    return -1;
}

static ssize_t read_on(void *context, int file, void *bytes, size_t n_bytes) {
    const bp_server *server = context;
    if (!server->stopping) return bp_io_system.read(bp_io_system.context, file, bytes, n_bytes);
    errno = ECANCELED;
    return -1;
}

/* --- drawers ---------------------------------------------------------------------------------- */

static void close_drawer(drawer *d) {
    bp_pyramid_close(d->pyramid);
    bp_histograms_close(d->histograms);
    *d = (drawer){0};
}

static drawer *oldest(tiler *t) {
    drawer *found = NULL;
    for (uint32_t i = 0; i < MAX_OPEN; i++) {
        drawer *d = &t->drawers[i];
        if (d->used && (!found || d->used_at < found->used_at)) found = d;
    }
    return found;
}

static void make_room(tiler *t) {
    const double now = bp_server_now();
    for (uint32_t i = 0; i < MAX_OPEN; i++) {
        drawer *d = &t->drawers[i];
        if (d->used && now - d->used_at > UNUSED_SECONDS) close_drawer(d);
    }
    while (bp_resident_bytes() > BP_MAX_RESIDENT_BYTES) {
        drawer *d = oldest(t);
        if (d) close_drawer(d);
        malloc_trim(0);
        if (!d) break;
    }
}

/* The drawer of a run's series (BP_N_SERIES: of its histograms), or a free one. Those of a run that
 * was made anew are closed. */
static drawer *find_drawer(tiler *t, const bp_run_place *place, bp_series series) {
    drawer *free_one = NULL;
    for (uint32_t i = 0; i < MAX_OPEN; i++) {
        drawer *d = &t->drawers[i];
        const bool same = d->used && strcmp(d->id, place->id) == 0;
        if (same && (d->device != place->device || d->inode != place->inode)) close_drawer(d);
        if (d->used && same && d->series == series) return d;
        if (!d->used) free_one = d;
    }
    if (!free_one) {
        free_one = oldest(t);
        close_drawer(free_one);
    }
    return free_one;
}

static bp_status open_drawer(tiler *t, drawer *d, const bp_run_place *place, bp_series series,
                             bp_error *error) {
    const bp_pyramid_options options = {.io = &t->io, .memory_bytes = PYRAMID_MEMORY_BYTES};
    const bp_status status =
        series == BP_N_SERIES ? bp_histograms_open(&d->histograms, place->path, &t->io, NULL, error)
                              : bp_pyramid_open(&d->pyramid, place->path, series, &options, error);
    if (status != BP_OK) return status;
    memcpy(d->id, place->id, BP_RUN_ID_BYTES);
    d->used = true;
    d->device = place->device;
    d->inode = place->inode;
    d->series = series;
    return BP_OK;
}

static bp_status freshen(drawer *d, bp_error *error) {
    return d->pyramid ? bp_pyramid_update(d->pyramid, error)
                      : bp_histograms_update(d->histograms, error);
}

/* An open drawer that is up to date. What cannot be brought up to date is opened anew, once. */
static bp_status draw(tiler *t, drawer **drawn, const bp_run_place *place, bp_series series,
                      bp_error *error) {
    drawer *d = *drawn = find_drawer(t, place, series);
    bp_status status = BP_OK;
    if (d->used) {
        status = freshen(d, error);
        if (status != BP_OK) close_drawer(d);
    }
    if (!d->used) status = open_drawer(t, d, place, series, error);
    d->used_at = bp_server_now();
    return status;
}

/* --- tiles ------------------------------------------------------------------------------------ */

static bp_status draw_tile(drawer *d, const bp_query *query, uint8_t **bytes, size_t *n_bytes,
                           bp_error *error) {
    const uint32_t rows = bp_pyramid_n_rows(d->pyramid);
    const uint32_t most = rows > 0 ? BP_MAX_CELLS / rows : BP_MAX_CELLS;
    const int64_t end = bp_pyramid_last_step(d->pyramid), last = end > 0 ? end : 0;
    return bp_tile_draw(bytes, n_bytes, d->pyramid, query->first < last ? query->first : last,
                        query->last < last ? query->last : last,
                        query->columns < most ? query->columns
                        : most                ? most
                                              : 1,
                        error);
}

static bp_status make_tile(tiler *t, const bp_run_place *place, const bp_query *query,
                           uint8_t **bytes, size_t *n_bytes, bp_error *error) {
    bp_series series;
    drawer *d;
    if (!bp_series_find(&series, query->series))
        return bp_fail(error, BP_ERROR_ARGUMENT, "there is no such series");
    const bp_status status = draw(t, &d, place, series, error);
    if (status != BP_OK) return status;
    bp_news_reach(t->server, place->id, bp_pyramid_last_step(d->pyramid));
    return draw_tile(d, query, bytes, n_bytes, error);
}

static bp_status make_histogram(tiler *t, const bp_run_place *place, const bp_query *query,
                                uint8_t **bytes, size_t *n_bytes, bp_error *error) {
    uint32_t role;
    drawer *d;
    bp_view view = {0};
    int32_t first_octave = 0;
    if (!bp_histogram_role_find(&role, query->role))
        return bp_fail(error, BP_ERROR_ARGUMENT, "there is no such role");
    bp_status status = draw(t, &d, place, BP_N_SERIES, error);
    const int64_t end = status == BP_OK ? bp_histograms_last_step(d->histograms, role) : -1;
    const int64_t last = end > 0 ? end : 0;
    if (status == BP_OK)
        status = bp_histograms_view(d->histograms, &view, &first_octave, role, query->layer,
                                    query->first < last ? query->first : last,
                                    query->last < last ? query->last : last, query->columns, error);
    if (status == BP_OK)
        status = bp_tile_encode(bytes, n_bytes, &view, true, end, first_octave, error);
    bp_view_free(&view);
    return status;
}

static void answer(tiler *t, bp_job *job) {
    bp_server *server = t->server;
    const bp_query *query = &job->query;
    bp_run_place place = {0};
    bp_error error = {.status = BP_OK};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    if (atomic_load(&server->bytes_underway) > BP_MAX_BYTES_UNDERWAY) {
        bp_job_fail(server, job, 503, "too many answers are on their way");
        return;
    }
    bp_status status = bp_server_find_run(server, &place, query->id, &error);
    if (status == BP_OK)
        status = query->route == BP_ROUTE_TILE
                     ? make_tile(t, &place, query, &bytes, &n_bytes, &error)
                     : make_histogram(t, &place, query, &bytes, &n_bytes, &error);
    bp_run_place_free(&place);
    if (status == BP_OK)
        bp_job_give(server, job, 200,
                    bp_answer_bytes(server, bytes, n_bytes, "application/octet-stream"));
    else
        bp_job_fail(server, job, status == BP_ERROR_ARGUMENT ? 404 : 422, error.text);
}

void *bp_tiler(void *context) {
    bp_server *server = context;
    tiler t = {.server = server, .io = bp_io_system};
    t.io.read = read_on;
    t.io.read_at = read_at;
    t.io.context = server;
    while (!server->stopping) {
        bp_job *job = bp_job_next(server, &server->tiler, UNUSED_SECONDS / 4);
        if (job) answer(&t, job);
        make_room(&t);
    }
    bp_jobs_end(server, &server->tiler);
    for (uint32_t i = 0; i < MAX_OPEN; i++) close_drawer(&t.drawers[i]);
    return NULL;
}
