/* SPDX-License-Identifier: Apache-2.0 */
/* The worker that reads logs through the diagnosis: of runs that somebody looks at, in slices, so
 * that many can be begun at once and each is answered with what was read of it so far. It goes on
 * while a run grows and somebody follows it. */
#include "replay/replay.h"
#include "report/run_document.h"
#include "server/state.h"

#include <malloc.h>
#include <string.h>

#define SLICE_SECONDS 0.025
#define FIRST_SLICE_SECONDS 0.3 /* before the first document: most logs are read whole by then */
#define RECORDS_AT_ONCE 16u
#define UNUSED_SECONDS 120.0
#define RETRY_SECONDS 2.0
#define FINDINGS_SECONDS 1.0 /* between two calls to ask for a document anew */

/* Of which state a document tells. */
typedef struct edition {
    uint64_t n_records;
    bp_run_end end;
    bool live, at_end;
} edition;

/* A run that is read again. */
typedef struct followed {
    bool used;
    char id[BP_RUN_ID_BYTES];
    bp_run_place place;
    bool open;
    bp_replay replay;
    bp_error error; /* why it is not open */
    double tried_at, looked_at;
    double told_at, signed_at; /* streams; of the findings */
    uint64_t n_records;
    int64_t last_step;
    bool at_end;
    uint64_t signature; /* of findings, as they were told */
    struct MHD_Response *document;
    edition document_of;
} followed;

typedef struct follower {
    bp_server *server;
    followed runs[BP_MAX_FOLLOWED]; /* the news of each stand at the same index */
} follower;

/* --- open and closed -------------------------------------------------------------------------- */

static void close_run(follower *f, followed *run) {
    if (run->open) bp_replay_close(&run->replay);
    if (run->document) MHD_destroy_response(run->document);
    bp_run_place_free(&run->place);
    *run = (followed){0};
    pthread_mutex_lock(&f->server->lock);
    f->server->news[run - f->runs] = (bp_news){0};
    pthread_mutex_unlock(&f->server->lock);
}

static void open_run(follower *f, followed *run) {
    run->tried_at = bp_server_now();
    run->error = (bp_error){.status = BP_OK};
    bp_status status = bp_server_find_run(f->server, &run->place, run->id, &run->error);
    if (status == BP_OK) {
        status = bp_replay_begin(&run->replay, run->place.path, &run->error);
        if (status != BP_OK) bp_run_place_free(&run->place);
    }
    run->open = status == BP_OK;
}

/* The one that was not looked at for the longest time; NULL when all are being looked at. */
static followed *oldest(follower *f, bool only_open) {
    followed *found = NULL;
    for (uint32_t i = 0; i < BP_MAX_FOLLOWED; i++) {
        followed *run = &f->runs[i];
        if (run->used && (run->open || !only_open) && (!found || run->looked_at < found->looked_at))
            found = run;
    }
    return found;
}

static followed *hold(follower *f, const char *id) {
    followed *free_place = NULL, *run = NULL;
    for (uint32_t i = 0; i < BP_MAX_FOLLOWED; i++) {
        if (f->runs[i].used && strcmp(f->runs[i].id, id) == 0) run = &f->runs[i];
        if (!f->runs[i].used) free_place = &f->runs[i];
    }
    const double now = bp_server_now();
    if (!run) {
        run = free_place ? free_place : oldest(f, false);
        close_run(f, run);
        run->used = true;
        memcpy(run->id, id, BP_RUN_ID_BYTES);
        open_run(f, run);
    } else if (!run->open && now - run->tried_at > RETRY_SECONDS) {
        open_run(f, run);
    }
    run->looked_at = bp_server_now();
    return run;
}

/* --- what is new ------------------------------------------------------------------------------ */

static void mix(uint64_t *hash, uint64_t value) {
    *hash = (*hash ^ value) * 0x100000001b3u;
}

static void mix_text(uint64_t *hash, const char *text) {
    for (; *text; text++) mix(hash, (uint8_t)*text);
    mix(hash, 0);
}

/* Of all that a document tells but for how far the run is. */
static uint64_t signature_of(followed *run) {
    uint64_t hash = 0xcbf29ce484222325u;
    const bp_report_run report = bp_replay_report(&run->replay);
    mix(&hash, (uint64_t)report.end);
    mix(&hash, run->replay.columns);
    mix(&hash, bp_model_n_layers(report.model));
    const uint32_t n = bp_diagnosis_n_findings(report.diagnosis);
    for (uint32_t i = 0; i < n; i++) {
        const bp_finding *finding = bp_diagnosis_finding(report.diagnosis, i);
        if (!finding) break;
        mix(&hash, (uint64_t)finding->problem << 8 | (uint64_t)finding->severity << 1 |
                       (finding->open ? 1 : 0));
        mix(&hash, (uint64_t)(int64_t)finding->parent);
        mix_text(&hash, finding->title);
        mix_text(&hash, finding->cause);
        mix_text(&hash, finding->note);
    }
    return hash;
}

static double fraction_of(const followed *run) {
    return run->at_end ? 1 : bp_replay_read_fraction(&run->replay);
}

/* Tells streams, when there is something to tell. */
static void publish(follower *f, followed *run) {
    bp_server *server = f->server;
    bp_news *news = &server->news[run - f->runs];
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(run->replay.diagnosis, &overview);
    const double now = bp_server_now(), fraction = fraction_of(run);
    bool findings = false;
    if (!run->at_end && now - run->told_at < BP_TICK_SECONDS) return;
    run->told_at = now;
    if (now - run->signed_at >= FINDINGS_SECONDS) {
        const uint64_t signature = signature_of(run);
        findings = signature != run->signature;
        run->signature = signature;
        run->signed_at = now;
    }
    pthread_mutex_lock(&server->lock);
    /* A pyramid may know more, unless the run went back. */
    const bool back = overview.last_step < run->last_step;
    const int64_t known = news->id[0] && !back ? news->last_step : -1;
    const int64_t last = overview.last_step > known ? overview.last_step : known;
    run->last_step = overview.last_step;
    if (run->at_end && news->read_fraction < 1) findings = true; /* now of the whole run */
    const bool is_new = !news->id[0] || findings || news->last_step != last ||
                        news->read_fraction < fraction || news->read_fraction > fraction;
    if (is_new) {
        memcpy(news->id, run->id, BP_RUN_ID_BYTES);
        news->version = ++server->version;
        if (findings) news->findings_version = news->version;
        news->last_step = last;
        news->read_fraction = fraction;
        bp_streams_wake(server);
    }
    pthread_mutex_unlock(&server->lock);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A run that was deleted, or made anew under its name, is another. */
static bool is_still_there(follower *f, const followed *run) {
    bp_run_place place;
    const bool there = bp_server_find_run(f->server, &place, run->id, NULL) == BP_OK;
    const bool same = there && place.inode == run->place.inode && place.device == run->place.device;
    if (there) bp_run_place_free(&place);
    return same;
}

/* Reads on for so long; whether there was more than that. */
static bool read_on(follower *f, followed *run, double seconds) {
    if (!run->open) return false;
    const double until = bp_server_now() + seconds;
    bp_status status = BP_OK;
    do {
        uint64_t n = 0;
        status = bp_replay_take(&run->replay, RECORDS_AT_ONCE, &n, &run->error);
        run->n_records += n;
        run->at_end = n < RECORDS_AT_ONCE;
    } while (status == BP_OK && !run->at_end && bp_server_now() < until && !f->server->stopping);
    if (status != BP_OK) { /* what was read of it goes: it is begun anew a little later */
        bp_replay_close(&run->replay);
        run->open = false;
        return false;
    }
    publish(f, run);
    return !run->at_end;
}

static void make_room(follower *f) {
    const double now = bp_server_now();
    bool closed = false;
    for (uint32_t i = 0; i < BP_MAX_FOLLOWED; i++) {
        followed *run = &f->runs[i];
        if (!run->used || now - run->looked_at < UNUSED_SECONDS) continue;
        close_run(f, run);
        closed = true;
    }
    while (bp_resident_bytes() > BP_MAX_RESIDENT_BYTES) {
        followed *run = oldest(f, true);
        if (!run || now - run->looked_at < RETRY_SECONDS) break;
        close_run(f, run);
        malloc_trim(0);
    }
    if (closed) malloc_trim(0);
}

/* --- documents -------------------------------------------------------------------------------- */

static edition edition_of(follower *f, followed *run) {
    bp_run_place place;
    const bp_run_end end = bp_replay_report(&run->replay).end;
    edition now = {.n_records = run->n_records, .end = end, .at_end = run->at_end};
    if (bp_server_find_run(f->server, &place, run->id, NULL) == BP_OK) {
        now.live = place.live && end == BP_RUN_OPEN;
        bp_run_place_free(&place);
    }
    return now;
}

static bool is_out_of_date(follower *f, followed *run) {
    const edition now = edition_of(f, run), then = run->document_of;
    return now.n_records != then.n_records || now.end != then.end || now.live != then.live ||
           now.at_end != then.at_end;
}

static struct MHD_Response *make_document(follower *f, followed *run, bp_error *error) {
    char *text = NULL;
    bp_report_run report = bp_replay_report(&run->replay);
    const bp_run_facts facts = {.id = run->id,
                                .live = run->document_of.live,
                                .read_fraction = fraction_of(run),
                                .columns = run->replay.columns,
                                .histogram_roles = run->replay.histogram_roles};
    report.name = run->place.name;
    if (bp_run_document(&text, &report, &facts, error) != BP_OK) return NULL;
    return bp_answer_bytes(f->server, text, strlen(text), "application/json");
}

static void answer(follower *f, bp_job *job) {
    followed *run = hold(f, job->query.id);
    if (run->open && !is_still_there(f, run)) {
        close_run(f, run);
        run = hold(f, job->query.id);
    }
    (void)read_on(f, run, run->n_records == 0 ? FIRST_SLICE_SECONDS : SLICE_SECONDS);
    if (!run->open) {
        bp_job_fail(f->server, job, run->error.status == BP_ERROR_ARGUMENT ? 404 : 422,
                    run->error.text);
        return;
    }
    if (run->document && is_out_of_date(f, run)) {
        MHD_destroy_response(run->document);
        run->document = NULL;
    }
    if (!run->document) {
        run->document_of = edition_of(f, run);
        run->document = make_document(f, run, &run->error);
    }
    if (run->document)
        bp_job_answer(f->server, job, 200, run->document);
    else
        bp_job_fail(f->server, job, 503, run->error.text);
}

/* Whether some run has more that can be read at once. */
static bool follow(follower *f, uint32_t *n_wanted) {
    char ids[BP_MAX_FOLLOWED][BP_RUN_ID_BYTES];
    bool more = false;
    pthread_mutex_lock(&f->server->lock);
    *n_wanted = bp_streams_wanted(f->server, ids, BP_MAX_FOLLOWED);
    pthread_mutex_unlock(&f->server->lock);
    for (uint32_t i = 0; i < *n_wanted && !f->server->stopping; i++) {
        followed *run = hold(f, ids[i]);
        if (run->open && !is_still_there(f, run))
            close_run(f, run);
        else if (read_on(f, run, SLICE_SECONDS))
            more = true;
    }
    return more;
}

void *bp_follower(void *context) {
    bp_server *server = context;
    bp_server_step_back();
    follower f = {.server = server};
    while (!server->stopping) {
        uint32_t n_wanted = 0;
        const bool more = follow(&f, &n_wanted);
        bp_job *job = bp_job_next(server, &server->follower,
                                  more           ? 0
                                  : n_wanted > 0 ? BP_TICK_SECONDS
                                                 : UNUSED_SECONDS / 4);
        if (job) answer(&f, job);
        make_room(&f);
    }
    bp_jobs_end(server, &server->follower);
    for (uint32_t i = 0; i < BP_MAX_FOLLOWED; i++) close_run(&f, &f.runs[i]);
    return NULL;
}
