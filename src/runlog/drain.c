/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/drain.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define RETRY_SECONDS 0.1 /* after trouble; a disk that is full stays so for a while */
#define PASS_SECONDS 1.0  /* at least one pass in so many, whatever else is done */
#define LAST_TRIES 5u     /* passes with trouble in a row, once the run has ended */
#define CLOSE_SLICES 400
#define LEAST_SLICES 40

/* --- one pass ------------------------------------------------------------------------------- */

/* What the writer took whole need not come again. */
static void free_room(bp_drain *drain) {
    atomic_store_explicit(&drain->ring->header->tail, drain->writer->settled, memory_order_release);
}

/* The network grew here: what comes next goes into a segment with its new description. */
static int grow(bp_drain *drain) {
    bp_drain_memory *next = atomic_load_explicit(&drain->memory->next, memory_order_acquire);
    if (!next || drain->position < next->at) return 0;
    int trouble = bp_pour_finish(&drain->pour);
    if (!trouble) trouble = bp_segment_writer_flush(drain->writer);
    if (trouble) return trouble;
    bp_segment_writer_grow(drain->writer, &next->memory);
    drain->memory = next;
    return 0;
}

/* Something else wrote over our memory: nothing up to `head` can be told apart. */
static void skip_damage(bp_drain *drain, uint64_t head) {
    drain->position = head;
    drain->writer->mark = head;
    atomic_fetch_add(&drain->n_damaged, 1);
}

static int pour_all(bp_drain *drain, uint64_t head) {
    const bp_ring_file *ring = drain->ring;
    const uint8_t *items = bp_ring_items(ring->header);
    const uint64_t capacity = ring->n_bytes - BP_RING_HEADER_BYTES;
    const uint32_t segment = drain->writer->segment;
    drain->pour.wall_time = drain->io->wall_clock(drain->io->context);
    drain->has_more = true;
    while (drain->writer->segment == segment) {
        bp_ring_item item;
        int trouble = grow(drain);
        if (trouble) return trouble;
        const bp_ring_verdict verdict =
            bp_ring_next(items, capacity, &drain->position, head, &item);
        drain->has_more = verdict == BP_RING_ITEM;
        if (verdict == BP_RING_BAD) skip_damage(drain, head);
        if (!drain->has_more) break;
        trouble = bp_pour_item(&drain->pour, &item, drain->position);
        if (trouble) return trouble;
    }
    if (drain->pour.n_too_long) atomic_fetch_add(&drain->n_damaged, 1);
    drain->pour.n_too_long = 0;
    const int trouble = bp_pour_finish(&drain->pour);
    return trouble ? trouble : bp_segment_writer_flush(drain->writer);
}

/* Up to the end of the ring or of a segment: the log may have to be thinned before the next one.
 * Returns how much was in the ring. */
static uint64_t pass(bp_drain *drain) {
    drain->passed_at = drain->io->steady_clock(drain->io->context);
    const uint64_t before = drain->writer->settled;
    const uint64_t head = atomic_load_explicit(&drain->ring->header->head, memory_order_acquire);
    const int trouble = pour_all(drain, head);
    if (trouble) { /* what was not settled comes again, in a new segment */
        bp_pour_forget(&drain->pour);
        drain->position = drain->writer->settled;
    } else {
        drain->writer->settled = drain->position; /* pads and skipped bytes, too */
    }
    free_room(drain);
    const int unsynced = trouble ? 0 : bp_segment_writer_sync(drain->writer);
    if (drain->writer->late || unsynced)
        atomic_store(&drain->late, unsynced ? unsynced : drain->writer->late);
    drain->writer->late = 0;
    drain->n_failed = trouble ? drain->n_failed + 1 : 0;
    atomic_int *told = &drain->ring->header->trouble;
    if (atomic_load_explicit(told, memory_order_relaxed) != trouble) atomic_store(told, trouble);
    return head - before;
}

/* --- the thread ----------------------------------------------------------------------------- */

static double pause_after(const bp_drain *drain, uint64_t n_bytes) {
    const uint64_t capacity = drain->ring->n_bytes - BP_RING_HEADER_BYTES;
    if (drain->n_failed) return RETRY_SECONDS;
    if (drain->has_more || n_bytes > capacity / 4) return 0;
    return n_bytes > capacity / 16 ? BP_DRAIN_SECONDS / 10 : BP_DRAIN_SECONDS;
}

/* closing: nothing was put into the ring since before the pass. */
static bool is_over(const bp_drain *drain, bool closing) {
    if (drain->n_failed > 0) return closing && drain->n_failed >= LAST_TRIES;
    return closing && !drain->has_more;
}

static void finish(bp_drain *drain) {
    const int trouble = bp_segment_writer_close(drain->writer);
    if (trouble) atomic_store(&drain->late, trouble);
    drain->finished = drain->n_failed == 0;
    if (drain->finished) bp_ring_file_remove(drain->ring);
    atomic_store_explicit(&drain->done, 1, memory_order_release);
    drain->io->wake(drain->io->context, &drain->done);
}

/* While old segments are thinned, records still come; they wait in the ring as long as they may,
 * for each makes the log longer. False: the thinning must wait. */
static bool go_on(void *context) {
    bp_drain *drain = context;
    const bp_ring_header *header = drain->ring->header;
    const uint64_t head = atomic_load_explicit(&header->head, memory_order_acquire);
    const uint64_t capacity = drain->ring->n_bytes - BP_RING_HEADER_BYTES;
    const double now = drain->io->steady_clock(drain->io->context);
    if (now - drain->passed_at >= PASS_SECONDS || head - drain->writer->settled > capacity / 4)
        (void)pass(drain);
    return atomic_load(&drain->closing) == 0 && drain->n_failed == 0;
}

static void *run(void *context) {
    bp_drain *drain = context;
    for (;;) {
        const unsigned bell = atomic_load(&drain->bell);
        const bool closing = atomic_load(&drain->closing) != 0;
        const uint64_t n_bytes = pass(drain);
        if (is_over(drain, closing)) break;
        if (!closing && !drain->n_failed)
            bp_budget_look(drain->budget, drain->writer, (bp_meanwhile){go_on, drain});
        const double seconds = pause_after(drain, n_bytes);
        if (seconds > 0) drain->io->wait(drain->io->context, &drain->bell, bell, seconds);
    }
    finish(drain);
    return NULL;
}

/* The mask is an attribute of the new thread: that of the host's thread is not touched. */
static bool start_thread(bp_drain *drain) {
    pthread_attr_t attributes;
    sigset_t all;
    sigfillset(&all);
    if (pthread_attr_init(&attributes) != 0) return false;
    bool started = pthread_attr_setsigmask_np(&attributes, &all) == 0;
    started = started && pthread_create(&drain->thread, &attributes, run, drain) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

bool bp_drain_start(bp_drain *drain, const bp_drain *what) {
    memset(drain, 0, sizeof *drain);
    drain->io = what->io;
    drain->writer = what->writer;
    drain->ring = what->ring;
    drain->budget = what->budget;
    drain->memory = what->memory;
    bp_pour_init(&drain->pour, drain->writer);
    if (!start_thread(drain)) return false;
    (void)pthread_setname_np(drain->thread, "backprobe-log");
    return true;
}

/* A clock that stands still must not make this wait for ever, nor one that leaps cut it short; nor
 * must a storm of signals. */
static bool wait_for_end(bp_drain *drain) {
    const bp_io *io = drain->io;
    const double begin = io->steady_clock(io->context);
    double passed = 0;
    for (int i = 0; (i < LEAST_SLICES || !(passed >= BP_DRAIN_CLOSE_SECONDS)) &&
                    (i < CLOSE_SLICES || passed > 0);
         i++) {
        if (atomic_load_explicit(&drain->done, memory_order_acquire)) return true;
        io->wait(io->context, &drain->done, 0, BP_DRAIN_CLOSE_SECONDS / CLOSE_SLICES);
        passed = io->steady_clock(io->context) - begin;
    }
    return atomic_load_explicit(&drain->done, memory_order_acquire) != 0;
}

bp_drain_end bp_drain_close(bp_drain *drain) {
    atomic_store(&drain->closing, 1);
    atomic_fetch_add(&drain->bell, 1);
    drain->io->wake(drain->io->context, &drain->bell);
    if (!wait_for_end(drain)) {
        pthread_detach(drain->thread);
        return BP_DRAIN_STUCK;
    }
    pthread_join(drain->thread, NULL);
    return drain->finished ? BP_DRAIN_FINISHED : BP_DRAIN_GAVE_UP;
}
