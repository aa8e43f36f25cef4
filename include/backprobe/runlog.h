/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log that a run left. Every file is hostile: damaged records are skipped, counted and
 * described, never guessed. docs/runlog-format.md has the bytes. */
#ifndef BACKPROBE_RUNLOG_H
#define BACKPROBE_RUNLOG_H

#include <backprobe/base.h>
#include <backprobe/model.h>
#include <backprobe/record.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bp_runlog_reader bp_runlog_reader;

/* How a run ended, as far as its log tells. Pinned. */
typedef enum bp_run_end {
    BP_RUN_OPEN = 0, /* no end record: still running, or killed */
    BP_RUN_FINISHED = 1,
    BP_RUN_INTERRUPTED = 2,
    BP_RUN_STOPPED = 3 /* by an error; the training could not go on */
} bp_run_end;

/* What a reader met besides good records. */
typedef struct bp_runlog_damage {
    uint64_t lost_records;    /* sequence numbers that are missing */
    uint64_t damaged_places;  /* runs of bytes that were no valid record */
    uint64_t lost_bytes;      /* in those */
    uint64_t unknown;         /* whole records of a type that this version does not know; skipped */
    bool torn_tail;           /* the last record was cut: normal after a kill */
    bp_error first;           /* the first damaged place, with its offset; status BP_OK when none */
    uint64_t thinned_records; /* dropped on purpose, so that the log stays within its limit */
} bp_runlog_damage;

/* path: a run folder or one segment file. Reads up to the model. allocator may be NULL. */
BP_API BP_MUST_USE bp_status bp_runlog_reader_open(bp_runlog_reader **reader, const char *path,
                                                   const bp_allocator *allocator, bp_error *error);
BP_API void bp_runlog_reader_close(bp_runlog_reader *reader);

/* The network and recipe of the run, with all layers that it has up to the last record; borrowed
 * until close. When the run goes on and its network grows, so does this. */
BP_API const bp_model *bp_runlog_reader_model(const bp_runlog_reader *reader);

/* The next step record in the order of its writing, decoded; *record is borrowed until the next
 * call. *record is NULL at the end. A damaged record is no error: see bp_runlog_reader_damage. Of a
 * light step the loss alone was measured. */
BP_API BP_MUST_USE bp_status bp_runlog_reader_next(bp_runlog_reader *reader,
                                                   const bp_record **record, bp_error *error);

/* What a log tells, in the order of its writing: a step, or an event. */
typedef struct bp_runlog_entry {
    const bp_record *record; /* borrowed until the next call; NULL when it is none */
    const bp_event *event;   /* the same */
} bp_runlog_entry;
/* As bp_runlog_reader_next, which passes over events. Both are NULL at the end. */
BP_API BP_MUST_USE bp_status bp_runlog_reader_next_entry(bp_runlog_reader *reader,
                                                         bp_runlog_entry *entry, bp_error *error);
/* The last event of this kind that was read: what watching has cost so far. Borrowed until the next
 * call; NULL when there was none. */
BP_API const bp_event_watch *bp_runlog_reader_watching(const bp_runlog_reader *reader);

/* Valid after bp_runlog_reader_next gave NULL. */
BP_API bp_run_end bp_runlog_reader_end(const bp_runlog_reader *reader);
BP_API const bp_runlog_damage *bp_runlog_reader_damage(const bp_runlog_reader *reader);

/* --- several processes ------------------------------------------------------------------------ */

/* A training of several processes leaves one log a rank: rank 0 in the run folder, rank N in
 * `rank-N` below it. This reads them together and gives each step once, merged: what ranks saw of
 * other samples is put together, of copies of the parameters one is taken and the others are
 * compared with it, of sharded parameters the parts are put together. A run of one process is read
 * as bp_runlog_reader does. */
typedef struct bp_runlog_ranks bp_runlog_ranks;

/* What the log of one rank gave. */
typedef struct bp_runlog_rank {
    uint32_t rank;
    bp_error error; /* why its log takes no part (any more); status BP_OK when it does */
    uint64_t n_steps;
    uint64_t missing_steps;         /* that others have and it has not, before its last */
    int64_t first_step, last_step;  /* -1 before the first */
    bp_run_end end;                 /* as far as it was read */
    const bp_runlog_damage *damage; /* NULL when nothing of it could be read */
} bp_runlog_rank;

/* path: as for bp_runlog_reader_open. Rank 0 must be readable; of the others one that is not, or
 * that trained another network, takes no part. allocator may be NULL. */
BP_API BP_MUST_USE bp_status bp_runlog_ranks_open(bp_runlog_ranks **ranks, const char *path,
                                                  const bp_allocator *allocator, bp_error *error);
BP_API void bp_runlog_ranks_close(bp_runlog_ranks *ranks);

/* The next step that a rank has, in ascending order, merged over those that have it; *record is
 * borrowed until the next call. *record is NULL at the end. */
BP_API BP_MUST_USE bp_status bp_runlog_ranks_next(bp_runlog_ranks *ranks, const bp_record **record,
                                                  bp_error *error);

/* How many logs there are; 1: of one process. */
BP_API uint32_t bp_runlog_ranks_n(const bp_runlog_ranks *ranks);
/* Of the index-th log, in the order of ranks; NULL outside. Borrowed until the next call. */
BP_API const bp_runlog_rank *bp_runlog_ranks_rank(bp_runlog_ranks *ranks, uint32_t index);

/* As those of a reader: the model, the cost and the end are rank 0's, the damage is everybody's. */
BP_API const bp_model *bp_runlog_ranks_model(const bp_runlog_ranks *ranks);
BP_API const bp_event_watch *bp_runlog_ranks_watching(const bp_runlog_ranks *ranks);
BP_API bp_run_end bp_runlog_ranks_end(const bp_runlog_ranks *ranks);
BP_API const bp_runlog_damage *bp_runlog_ranks_damage(bp_runlog_ranks *ranks);

#ifdef __cplusplus
}
#endif
#endif
