/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that writes: from the ring into segments, about every 20 ms. It blocks all signals,
 * allocates nothing but to thin the log, and what the disk does not take stays in the ring. For the
 * files of this room and its tests only. */
#ifndef BP_RUNLOG_DRAIN_H
#define BP_RUNLOG_DRAIN_H

#include "runlog/budget.h"
#include "runlog/pour.h"
#include "runlog/ring_file.h"

#include <pthread.h>

#define BP_DRAIN_SECONDS 0.02
#define BP_DRAIN_CLOSE_SECONDS 2.0

/* Memory for the network as it is, and for the larger ones that it becomes: the caller's thread
 * adds at the end of the list, the writing one walks along it. Nothing is freed before both are
 * done. */
typedef struct bp_drain_memory {
    bp_segment_memory memory;
    uint64_t at; /* position in the ring behind the last record before the network grew */
    _Atomic(struct bp_drain_memory *) next;
} bp_drain_memory;

typedef struct bp_drain {
    const bp_io *io;           /* borrowed */
    bp_segment_writer *writer; /* the thread's while it runs */
    bp_ring_file *ring;
    bp_budget *budget;
    bp_pour pour;
    uint64_t position;       /* in the ring: what is behind was given to the writer */
    unsigned n_failed;       /* passes in a row that met trouble */
    double passed_at;        /* steady clock: begin of the last pass */
    bool has_more;           /* it ended with a segment, and the ring was not empty */
    bp_drain_memory *memory; /* borrowed; the one in use */
    bool finished;           /* all is written */
    atomic_uint bell;        /* changes when the thread shall look at once */
    atomic_uint closing;     /* nothing more comes */
    atomic_uint done;        /* the thread has ended, or is about to */
    atomic_int late;         /* errno of a segment that was closed and may not be durable */
    atomic_uint n_damaged;   /* places of the ring that a stray write of the host damaged */
    pthread_t thread;
} bp_drain;

/* io, writer, ring, budget and memory of *what are set; they are borrowed until the thread is done.
 * False: there is no thread. */
bool bp_drain_start(bp_drain *drain, const bp_drain *what);

typedef enum bp_drain_end {
    BP_DRAIN_FINISHED, /* all is written, the ring is gone */
    BP_DRAIN_GAVE_UP,  /* the disk takes nothing; the rest stays in the ring */
    BP_DRAIN_STUCK     /* the thread hangs in a call: all that it uses must stay for ever */
} bp_drain_end;
/* After the end of the run was put into the ring (or found no room). Takes at most about
 * BP_DRAIN_CLOSE_SECONDS. */
bp_drain_end bp_drain_close(bp_drain *drain);

#endif
