/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of all ranks of a training, read side by side: of each one record is held, those of the
 * lowest step are merged and given. A rank that stops early, or lost records, holds nobody up. */
#include "runlog/ranks.h"
#include "model/model.h"
#include "record/merge.h"
#include "runlog/rank_folders.h"
#include "runlog/reader.h"

#include <errno.h>
#include <math.h>
#include <string.h>

typedef struct rank_log {
    bp_runlog_rank told;
    bp_runlog_reader *reader; /* NULL: takes no part */
    const bp_record *record;  /* read and not yet given; NULL: none */
    bool at_end;              /* of what was there */
} rank_log;

struct bp_runlog_ranks {
    bp_allocator allocator;
    const bp_io *io;
    rank_log *logs;
    uint32_t n;
    bp_record merged;        /* of several ranks */
    const bp_record **group; /* those of the lowest step, and whose they are */
    uint32_t *group_ranks;
    int64_t given; /* the last step; -1: none */
    bool at_end;
    double wait_seconds;
    bp_runlog_damage damage;
};

/* --- opening ---------------------------------------------------------------------------------- */

/* The same operators in the same order. What else is known of them may differ: initialisers are
 * recognised from the shard that a rank holds, shapes are those of its own samples. */
static bool same_layers(const bp_model *a, const bp_model *b) {
    const uint32_t n = bp_model_n_layers(a);
    if (bp_model_n_layers(b) != n) return false;
    for (uint32_t id = 1; id <= n; id++) {
        const bp_layer *first = bp_model_layer(a, id), *second = bp_model_layer(b, id);
        if (first->kind != second->kind || first->fan_in != second->fan_in ||
            first->fan_out != second->fan_out || strcmp(first->name, second->name) != 0)
            return false;
    }
    return true;
}

static void leave_out(rank_log *log) {
    bp_runlog_reader_close(log->reader);
    log->reader = NULL;
    log->record = NULL;
    log->told.damage = NULL;
}

static bp_status open_log(bp_runlog_ranks *ranks, uint32_t index, uint32_t rank, const char *path,
                          bp_error *error) {
    rank_log *log = &ranks->logs[index];
    log->told = (bp_runlog_rank){.rank = rank, .first_step = -1, .last_step = -1};
    const bp_status status =
        bp_runlog_reader_open_through(&log->reader, ranks->io, path, &ranks->allocator, error);
    if (status != BP_OK) return status;
    log->told.damage = bp_runlog_reader_damage(log->reader);
    if (index == 0) return BP_OK;
    const bp_model *own = bp_runlog_reader_model(log->reader);
    if (same_layers(own, bp_runlog_reader_model(ranks->logs[0].reader))) return BP_OK;
    leave_out(log);
    return bp_fail(error, BP_ERROR_INPUT, "%s is of another network than rank 0's log", path);
}

/* Rank 0 must be there; what another's log lacks is its own affair. */
static bp_status open_others(bp_runlog_ranks *ranks, const char *path,
                             const bp_rank_folders *folders, bp_error *error) {
    const size_t n_bytes = strlen(path) + BP_RANK_FOLDER_BYTES;
    char *folder = bp_allocate(&ranks->allocator, n_bytes, 1);
    if (!folder) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the logs of %s", path);
    bp_status status = BP_OK;
    for (uint32_t i = 0; status == BP_OK && i < folders->n; i++) {
        bp_error why = {.status = BP_OK};
        bp_rank_folder_path(folder, path, folders->rank[i]);
        status = open_log(ranks, i + 1, folders->rank[i], folder, &why);
        ranks->logs[i + 1].told.error = why;
        if (status == BP_ERROR_MEMORY)
            *error = why;
        else
            status = BP_OK;
    }
    bp_release(&ranks->allocator, folder, n_bytes, 1);
    return status;
}

static bp_status open_memory(bp_runlog_ranks *ranks) {
    const bp_allocator *allocator = &ranks->allocator;
    if (ranks->n == 1) return BP_OK;
    ranks->group = bp_allocate(allocator, ranks->n, sizeof *ranks->group);
    ranks->group_ranks = bp_allocate(allocator, ranks->n, sizeof *ranks->group_ranks);
    if (!ranks->group || !ranks->group_ranks) return BP_ERROR_MEMORY;
    return bp_record_init(&ranks->merged, bp_model_n_layers(bp_runlog_ranks_model(ranks)),
                          allocator);
}

static bp_status open_all(bp_runlog_ranks *ranks, const char *path, const bp_rank_folders *folders,
                          bp_error *error) {
    ranks->n = folders->n + 1;
    ranks->logs = bp_allocate(&ranks->allocator, ranks->n, sizeof *ranks->logs);
    if (!ranks->logs) {
        ranks->n = 0;
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for the logs of %s", path);
    }
    bp_status status = open_log(ranks, 0, 0, path, error);
    if (status == BP_OK) status = open_others(ranks, path, folders, error);
    if (status != BP_OK) return status;
    status = open_memory(ranks);
    return status == BP_OK ? BP_OK : bp_fail(error, status, "no memory for the logs of %s", path);
}

bp_status bp_runlog_ranks_open_through(bp_runlog_ranks **ranks, const bp_io *io, const char *path,
                                       const bp_allocator *allocator, bp_error *error) {
    const int saved = errno;
    bp_rank_folders folders = {0};
    allocator = bp_allocator_or_system(allocator);
    bp_runlog_ranks *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory for the logs of %s", path);
    opened->allocator = *allocator;
    opened->io = io;
    opened->given = -1;
    bp_status status = bp_rank_folders_list(&folders, path, allocator, error);
    if (status == BP_OK) status = open_all(opened, path, &folders, error);
    bp_rank_folders_free(&folders, allocator);
    if (status == BP_OK)
        *ranks = opened;
    else
        bp_runlog_ranks_close(opened);
    errno = saved;
    return status;
}

bp_status bp_runlog_ranks_open(bp_runlog_ranks **ranks, const char *path,
                               const bp_allocator *allocator, bp_error *error) {
    return bp_runlog_ranks_open_through(ranks, &bp_io_system, path, allocator, error);
}

void bp_runlog_ranks_close(bp_runlog_ranks *ranks) {
    if (!ranks) return;
    const bp_allocator allocator = ranks->allocator;
    for (uint32_t i = 0; i < ranks->n; i++) bp_runlog_reader_close(ranks->logs[i].reader);
    bp_release(&allocator, ranks->logs, ranks->n, sizeof *ranks->logs);
    bp_release(&allocator, ranks->group, ranks->n, sizeof *ranks->group);
    bp_release(&allocator, ranks->group_ranks, ranks->n, sizeof *ranks->group_ranks);
    bp_record_finish(&ranks->merged, &allocator);
    bp_release(&allocator, ranks, 1, sizeof *ranks);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bp_status read_on(bp_runlog_ranks *ranks, rank_log *log, bp_error *error) {
    do {
        bp_error why = {.status = BP_OK};
        const bp_status status = bp_runlog_reader_next(log->reader, &log->record, &why);
        if (status != BP_OK && (log == ranks->logs || status == BP_ERROR_MEMORY)) {
            *error = why;
            return status;
        }
        if (status != BP_OK) {
            log->told.error = why;
            leave_out(log);
            return BP_OK;
        }
        log->at_end = !log->record;
        /* While a run goes on one rank's records may come after others' of the same step. */
    } while (log->record && log->record->step <= ranks->given);
    if (!log->record) return BP_OK;
    if (log->told.first_step < 0) log->told.first_step = log->record->step;
    return BP_OK;
}

static bp_status fill(bp_runlog_ranks *ranks, bp_error *error) {
    for (uint32_t i = 0; i < ranks->n; i++) {
        rank_log *log = &ranks->logs[i];
        if (ranks->at_end) log->at_end = false; /* more may have come */
        if (!log->reader || log->record || log->at_end) continue;
        const bp_status status = read_on(ranks, log, error);
        if (status != BP_OK) return status;
    }
    ranks->at_end = false;
    return BP_OK;
}

static bool lowest_step(const bp_runlog_ranks *ranks, int64_t *step) {
    bool any = false;
    for (uint32_t i = 0; i < ranks->n; i++) {
        const bp_record *record = ranks->logs[i].record;
        if (!record || (any && record->step >= *step)) continue;
        *step = record->step;
        any = true;
    }
    return any;
}

/* Whether a log that has nothing now may bring this step yet. */
static bool may_come(const bp_runlog_ranks *ranks, int64_t step) {
    bool late = false;
    double told = -(double)INFINITY; /* when others told of it */
    if (ranks->wait_seconds <= 0) return false;
    for (uint32_t i = 0; i < ranks->n; i++) {
        const rank_log *log = &ranks->logs[i];
        if (log->record && log->record->step == step) told = fmax(told, log->record->wall_time);
        late = late ||
               (log->reader && !log->record && bp_runlog_reader_end(log->reader) == BP_RUN_OPEN);
    }
    return late && fabs(ranks->io->wall_clock(ranks->io->context) - told) < ranks->wait_seconds;
}

/* Takes the records of the step off the logs; they stay until these are read on. */
static bp_rank_records take(bp_runlog_ranks *ranks, int64_t step) {
    bp_rank_records found = {.record = ranks->group, .rank = ranks->group_ranks};
    found.n_ranks = ranks->n;
    for (uint32_t i = 0; i < ranks->n; i++) {
        rank_log *log = &ranks->logs[i];
        if (!log->record) continue;
        if (log->record->step != step) {
            log->told.missing_steps++;
            continue;
        }
        ranks->group[found.n] = log->record;
        ranks->group_ranks[found.n++] = log->told.rank;
        log->record = NULL;
        log->told.n_steps++;
        log->told.last_step = step;
    }
    ranks->given = step;
    return found;
}

/* A record of the last size would not hold the new layers. */
static bp_status fit_merged(bp_runlog_ranks *ranks, bp_error *error) {
    bp_record grown;
    const uint32_t n_layers = bp_model_n_layers(bp_runlog_ranks_model(ranks));
    if (ranks->merged.n_layers == n_layers) return BP_OK;
    const bp_status status = bp_record_init(&grown, n_layers, &ranks->allocator);
    if (status != BP_OK) return bp_fail(error, status, "no memory to merge logs");
    bp_record_finish(&ranks->merged, &ranks->allocator);
    ranks->merged = grown;
    return BP_OK;
}

static bp_status next_of_one(bp_runlog_ranks *ranks, const bp_record **record, bp_error *error) {
    bp_runlog_rank *told = &ranks->logs[0].told;
    const bp_status status = bp_runlog_reader_next(ranks->logs[0].reader, record, error);
    if (status != BP_OK || !*record) return status;
    if (told->first_step < 0) told->first_step = (*record)->step;
    told->last_step = (*record)->step;
    told->n_steps++;
    return BP_OK;
}

static bp_status next_of_several(bp_runlog_ranks *ranks, const bp_record **record,
                                 bp_error *error) {
    int64_t step = 0;
    bp_status status = fill(ranks, error);
    *record = NULL;
    if (status != BP_OK) return status;
    if (!lowest_step(ranks, &step) || may_come(ranks, step)) {
        ranks->at_end = true;
        return BP_OK;
    }
    status = fit_merged(ranks, error);
    if (status != BP_OK) return status;
    const bp_rank_records found = take(ranks, step);
    bp_record_merge(&ranks->merged, &found);
    *record = &ranks->merged;
    return BP_OK;
}

bp_status bp_runlog_ranks_next(bp_runlog_ranks *ranks, const bp_record **record, bp_error *error) {
    const int saved = errno;
    const bp_status status =
        ranks->n == 1 ? next_of_one(ranks, record, error) : next_of_several(ranks, record, error);
    errno = saved;
    return status;
}

/* --- while a run goes on ---------------------------------------------------------------------- */

void bp_runlog_ranks_wait(bp_runlog_ranks *ranks, double seconds) {
    ranks->wait_seconds = seconds;
}

double bp_runlog_ranks_read_fraction(const bp_runlog_ranks *ranks) {
    bp_runlog_progress all = {0};
    for (uint32_t i = 0; i < ranks->n; i++) {
        if (!ranks->logs[i].reader) continue;
        const bp_runlog_progress one = bp_runlog_reader_progress(ranks->logs[i].reader);
        all.read += one.read;
        all.there += one.there;
    }
    return all.there > 0 ? (double)all.read / (double)all.there : 1.0;
}

uint32_t bp_runlog_ranks_histogram_roles(const bp_runlog_ranks *ranks) {
    return bp_runlog_reader_histogram_roles(ranks->logs[0].reader);
}

uint32_t bp_runlog_ranks_n_rewinds(const bp_runlog_ranks *ranks) {
    return bp_runlog_reader_n_rewinds(ranks->logs[0].reader); /* it is always there */
}

/* --- what was met ----------------------------------------------------------------------------- */

uint32_t bp_runlog_ranks_n(const bp_runlog_ranks *ranks) {
    return ranks->n;
}

const bp_runlog_rank *bp_runlog_ranks_rank(bp_runlog_ranks *ranks, uint32_t index) {
    if (index >= ranks->n) return NULL;
    rank_log *log = &ranks->logs[index];
    if (log->reader) log->told.end = bp_runlog_reader_end(log->reader);
    return &log->told;
}

const bp_model *bp_runlog_ranks_model(const bp_runlog_ranks *ranks) {
    return bp_runlog_reader_model(ranks->logs[0].reader);
}

const bp_event_watch *bp_runlog_ranks_watching(const bp_runlog_ranks *ranks) {
    return bp_runlog_reader_watching(ranks->logs[0].reader);
}

bp_run_end bp_runlog_ranks_end(const bp_runlog_ranks *ranks) {
    return bp_runlog_reader_end(ranks->logs[0].reader);
}

const bp_runlog_damage *bp_runlog_ranks_damage(bp_runlog_ranks *ranks) {
    bp_runlog_damage all = {.first = {.status = BP_OK}};
    for (uint32_t i = 0; i < ranks->n; i++) {
        const bp_runlog_damage *of_one = ranks->logs[i].told.damage;
        if (!of_one) continue;
        all.lost_records += of_one->lost_records;
        all.damaged_places += of_one->damaged_places;
        all.lost_bytes += of_one->lost_bytes;
        all.unknown += of_one->unknown;
        all.thinned_records += of_one->thinned_records;
        all.torn_tail = all.torn_tail || of_one->torn_tail;
        if (all.first.status == BP_OK) all.first = of_one->first;
    }
    ranks->damage = all;
    return &ranks->damage;
}
