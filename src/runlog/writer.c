/* SPDX-License-Identifier: Apache-2.0 */
/* The writing side as its caller sees it: numbers, and the way to the disk, through the ring or
 * directly. */
#include "model/model.h"
#include "runlog/drain.h"
#include "runlog/fork_guard.h"
#include "runlog/frame.h"
#include "runlog/salvage.h"
#include "runlog/segments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RUN_ID_PURPOSE 0x72756e6cu /* "runl" */
#define TOKEN_PURPOSE 0x72696e67u  /* "ring" */
#define MOST_RING_BYTES ((uint64_t)64 << 20)
/* Room that events leave for a gap record and the end of the run. */
#define END_BYTES ((uint64_t)256)

/* What each record needs, in the page that a forked child does not have: some 64 bytes, for they
 * are cold when a step ends. */
typedef struct hot {
    bp_fork_guard guard;
    uint32_t n_layers, most_bytes; /* of a step record */
    uint64_t sequence;             /* of the next data record */
    bp_ring_producer producer;
    bool lacks; /* `lost` is not empty */
    int told;   /* trouble of the thread that the caller knows of */
} hot;

struct bp_runlog_writer {
    hot *hot;
    bp_runlog_transport transport;
    const bp_io *io;
    bp_allocator allocator;
    char *folder, *path;
    size_t path_bytes;
    bp_segment_writer segments;             /* with a ring the thread's */
    bp_drain_memory *first_memory, *memory; /* of the segments: the first, and the largest */
    bp_budget budget;
    /* with a ring */
    bp_ring_file ring;
    bp_drain drain;
    bp_gap lost; /* since the last item */
};

/* The first gives way first when the disk does not keep up. */
typedef enum priority { STATISTICS, LOSSES, EVENTS } priority;

typedef struct data_record {
    bp_runlog_type type;
    priority priority;
    int64_t step; /* -1: of none */
    const void *payload;
    size_t n_bytes;
} data_record;

/* --- directly ------------------------------------------------------------------------------- */

static void note_lost(bp_gap *gap, uint64_t reason, int64_t step) {
    if (step < 0) return;
    if (gap->n_lost++ == 0) gap->first_step = step;
    gap->last_step = step;
    gap->reason = reason;
}

static bp_status fail_record(const bp_runlog_writer *writer, const data_record *record, int trouble,
                             bp_error *error) {
    const char *path = writer->transport.ring ? writer->folder : writer->path;
    if (record->step < 0)
        return bp_fail_os(error, trouble, "cannot write what was found into the run log %s", path);
    return bp_fail_os(error, trouble, "cannot write step %lld into the run log %s",
                      (long long)record->step, path);
}

static bp_status write_directly(bp_runlog_writer *writer, const data_record *record,
                                bp_error *error) {
    bp_segment_writer *segments = &writer->segments;
    const uint64_t sequence =
        writer->hot->sequence++; /* spent even if it is lost, so that it counts */
    const bp_segment_record put = {.type = record->type,
                                   .sequence = sequence,
                                   .payload = record->payload,
                                   .n_bytes = record->n_bytes,
                                   .mark = sequence + 1};
    int trouble = bp_segment_writer_put(segments, &put);
    if (!trouble) trouble = bp_segment_writer_flush(segments);
    const int late = segments->late;
    segments->late = 0;
    bp_budget_look(&writer->budget, segments, (bp_meanwhile){0});
    if (trouble) {
        if (segments->settled != put.mark)
            note_lost(&segments->gap, BP_GAP_WRITE_FAILED, record->step);
        return fail_record(writer, record, trouble, error);
    }
    return late ? bp_fail_os(error, late, "cannot make the run log in %s durable", writer->folder)
                : BP_OK;
}

/* --- through the ring ----------------------------------------------------------------------- */

static int trouble_of(const bp_runlog_writer *writer) {
    return atomic_load_explicit(&writer->hot->producer.header->trouble, memory_order_relaxed);
}

/* What gives way first when the disk does not keep up: bytes of the ring that may be in use. */
static uint64_t limit_of(const bp_runlog_writer *writer, priority least) {
    const uint64_t capacity = writer->hot->producer.capacity;
    if (least == STATISTICS) return capacity - capacity / 4;
    return least == LOSSES ? capacity - capacity / 16 : capacity - END_BYTES;
}

static bp_status drop(bp_runlog_writer *writer, const data_record *record, bp_error *error) {
    const int trouble = trouble_of(writer);
    bp_ring_header *header = writer->ring.header;
    note_lost(&writer->lost, BP_GAP_DISK_SLOW, record->step);
    writer->hot->lacks = writer->lost.n_lost > 0;
    atomic_store_explicit(&header->n_lost, writer->lost.n_lost, memory_order_relaxed);
    atomic_store_explicit(&header->first_lost, (uint64_t)writer->lost.first_step,
                          memory_order_relaxed);
    atomic_store_explicit(&header->last_lost, (uint64_t)writer->lost.last_step,
                          memory_order_relaxed);
    bp_ring_spend(&writer->hot->producer, ++writer->hot->sequence);
    if (trouble) return fail_record(writer, record, trouble, error);
    if (record->step < 0)
        return bp_fail(error, BP_ERROR_IO,
                       "the disk does not keep up: the run log in %s loses "
                       "what was found",
                       writer->folder);
    return bp_fail(error, BP_ERROR_IO,
                   "the disk does not keep up: the run log in %s loses step %lld", writer->folder,
                   (long long)record->step);
}

static void put_gap(bp_runlog_writer *writer) {
    uint8_t payload[BP_SMALL_PAYLOAD_BYTES];
    const bp_ring_item item = {.type = BP_RUNLOG_GAP,
                               .n_bytes = (uint32_t)bp_gap_encode(&writer->lost, payload),
                               .sequence = writer->hot->sequence,
                               .step = writer->lost.last_step,
                               .payload = payload};
    bp_ring_put(&writer->hot->producer, &item);
    writer->lost = (bp_gap){0};
    writer->hot->lacks = false;
}

/* Once for each time that it begins. */
static bp_status tell_trouble(bp_runlog_writer *writer, int trouble, bp_error *error) {
    writer->hot->told = trouble;
    if (!trouble) return BP_OK;
    return bp_fail_os(error, trouble, "cannot write the run log in %s, what comes waits in memory",
                      writer->folder);
}

static bp_status hand_over(bp_runlog_writer *writer, const data_record *record, uint64_t limit,
                           bp_error *error) {
    uint64_t n_bytes = bp_ring_item_bytes((uint32_t)record->n_bytes);
    if (writer->hot->lacks) n_bytes += bp_ring_item_bytes(BP_SMALL_PAYLOAD_BYTES);
    if (!bp_ring_has_room(&writer->hot->producer, n_bytes, limit))
        return drop(writer, record, error);
    if (writer->hot->lacks) put_gap(writer);
    const bp_ring_item item = {.type = (uint16_t)record->type,
                               .n_bytes = (uint32_t)record->n_bytes,
                               .sequence = writer->hot->sequence++,
                               .step = record->step < 0 ? 0 : record->step,
                               .payload = record->payload};
    bp_ring_put(&writer->hot->producer, &item);
    bp_ring_spend(&writer->hot->producer, writer->hot->sequence);
    const int trouble = trouble_of(writer);
    return trouble == writer->hot->told ? BP_OK : tell_trouble(writer, trouble, error);
}

/* --- records -------------------------------------------------------------------------------- */

static bp_status append(bp_runlog_writer *writer, const data_record *record, bp_error *error) {
    if (bp_fork_guard_is_child(&writer->hot->guard)) return BP_OK;
    if (writer->transport.ring)
        return hand_over(writer, record, limit_of(writer, record->priority), error);
    const int saved = errno;
    const bp_status status = write_directly(writer, record, error);
    errno = saved;
    return status;
}

static bp_status refuse(const char *what, size_t n_bytes, size_t most, bp_error *error) {
    return bp_fail(error, BP_ERROR_ARGUMENT,
                   "%s of %zu bytes is too long for a run log: at most %zu", what, n_bytes, most);
}

bp_status bp_runlog_writer_step(bp_runlog_writer *writer, int64_t step, const void *bytes,
                                size_t n_bytes, bp_error *error) {
    bp_cursor cursor;
    if (bp_fork_guard_is_child(&writer->hot->guard)) return BP_OK;
    bp_cursor_init(&cursor, bytes, n_bytes);
    const uint64_t n_layers = bp_read_varint(&cursor);
    if (cursor.bad || n_layers != writer->hot->n_layers)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "a record of %llu layers cannot go into the run log of a network of %u",
                       (unsigned long long)n_layers, (unsigned)writer->hot->n_layers);
    if (n_bytes > writer->hot->most_bytes)
        return refuse("a record", n_bytes, writer->hot->most_bytes, error);
    const data_record record = {BP_RUNLOG_STEP, STATISTICS, step < 0 ? 0 : step, bytes, n_bytes};
    return append(writer, &record, error);
}

static bp_status write_loss(bp_runlog_writer *writer, int64_t step, double loss, bp_error *error) {
    uint8_t payload[BP_LOSSES_BYTES(1)];
    const double now = writer->io->wall_clock(writer->io->context);
    const data_record record = {BP_RUNLOG_LOSSES, LOSSES, step, payload,
                                bp_losses_encode(payload, now, step, &loss, 1)};
    return append(writer, &record, error);
}

bp_status bp_runlog_writer_loss(bp_runlog_writer *writer, int64_t step, double loss,
                                bp_error *error) {
    if (step < 0) step = 0;
    if (!writer->transport.ring) return write_loss(writer, step, loss, error);
    const data_record record = {BP_RUNLOG_LOSSES, LOSSES, step, &loss, sizeof loss};
    return append(writer, &record, error);
}

bp_status bp_runlog_writer_event(bp_runlog_writer *writer, bp_runlog_type type, const void *payload,
                                 size_t n_bytes, bp_error *error) {
    const bool is_histogram = type == BP_RUNLOG_HISTOGRAM;
    if (type != BP_RUNLOG_FINDING && type != BP_RUNLOG_CHECKPOINT && type != BP_RUNLOG_WATCH &&
        !is_histogram)
        return bp_fail(error, BP_ERROR_ARGUMENT, "a record of type %d is no event", (int)type);
    if (n_bytes > BP_RUNLOG_EVENT_BYTES)
        return refuse("an event", n_bytes, BP_RUNLOG_EVENT_BYTES, error);
    const data_record record = {type, is_histogram ? STATISTICS : EVENTS, -1, payload, n_bytes};
    return append(writer, &record, error);
}

static void set_layers(bp_runlog_writer *writer, uint32_t n_layers) {
    const size_t most = bp_record_max_bytes(n_layers);
    writer->hot->n_layers = n_layers;
    writer->hot->most_bytes = most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

/* --- the network grows ---------------------------------------------------------------------- */

static bp_drain_memory *open_memory(const bp_runlog_writer *writer, const bp_model *model,
                                    bp_status *status) {
    bp_drain_memory *memory = bp_allocate(&writer->allocator, 1, sizeof *memory);
    *status = BP_ERROR_MEMORY;
    if (memory) *status = bp_segment_memory_open(&memory->memory, model, &writer->allocator);
    if (*status == BP_OK) return memory;
    bp_release(&writer->allocator, memory, 1, sizeof *memory);
    return NULL;
}

static bp_status fail_model(const bp_runlog_writer *writer, bp_status status, bp_error *error) {
    if (status == BP_ERROR_MEMORY)
        return bp_fail(error, status, "no memory to write the run log in %s", writer->folder);
    return bp_fail(error, status,
                   "the description of the network is larger than a record of %s may be",
                   writer->folder);
}

/* The record of the new layers begins a segment that has the whole network; until that is written
 * it tells who salvages the ring. */
static bp_status put_layers(bp_runlog_writer *writer, const bp_model *model, uint8_t *bytes,
                            size_t capacity, bp_error *error) {
    const uint32_t n_layers = bp_model_n_layers(model), first = writer->hot->n_layers + 1;
    bp_writer payload;
    bp_writer_init(&payload, bytes, capacity);
    bp_write_varint(&payload, first);
    bp_write_varint(&payload, n_layers - writer->hot->n_layers);
    bp_model_encode_layers(model, first, &payload);
    const data_record record = {BP_RUNLOG_MODEL_DELTA, EVENTS, -1, bytes, payload.length};
    return append(writer, &record, error);
}

static void link_memory(bp_runlog_writer *writer, bp_drain_memory *memory) {
    bp_drain_memory *before = writer->memory;
    memory->at = writer->transport.ring ? writer->hot->producer.head : 0;
    writer->memory = memory;
    if (!writer->transport.ring) bp_segment_writer_grow(&writer->segments, &memory->memory);
    atomic_store_explicit(&before->next, memory, memory_order_release);
}

bp_status bp_runlog_writer_model(bp_runlog_writer *writer, const bp_model *model, bp_error *error) {
    const uint32_t n_layers = bp_model_n_layers(model);
    if (bp_fork_guard_is_child(&writer->hot->guard) || n_layers == writer->hot->n_layers)
        return BP_OK;
    if (n_layers < writer->hot->n_layers)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "a network of %u layers cannot follow one of %u in a run log",
                       (unsigned)n_layers, (unsigned)writer->hot->n_layers);
    bp_status status;
    const int saved = errno;
    bp_drain_memory *memory = open_memory(writer, model, &status);
    if (!memory) return fail_model(writer, status, error);
    const size_t capacity = memory->memory.model_capacity;
    uint8_t *bytes = bp_allocate(&writer->allocator, capacity, 1);
    link_memory(writer, memory); /* first: the old buffer may be too small for the new layers */
    status = bytes ? put_layers(writer, model, bytes, capacity, error)
                   : fail_model(writer, BP_ERROR_MEMORY, error);
    bp_release(&writer->allocator, bytes, capacity, 1);
    set_layers(writer, n_layers);
    errno = saved;
    return status;
}

/* --- opening -------------------------------------------------------------------------------- */

/* From clocks and the process, never from the host's random state. */
static uint64_t draw_id(const bp_io *io, uint32_t purpose) {
    const double wall = io->wall_clock(io->context), steady = io->steady_clock(io->context);
    bp_random_key key = {.purpose = purpose, .step = (uint32_t)getpid()};
    uint64_t index;
    memcpy(&key.seed, &wall, sizeof key.seed);
    memcpy(&index, &steady, sizeof index);
    uint32_t block[4];
    bp_random_block(&key, index, block);
    return (uint64_t)block[1] << 32 | block[0];
}

static void release(bp_runlog_writer *writer) {
    const bp_allocator allocator = writer->allocator;
    bp_drain_memory *next;
    for (bp_drain_memory *memory = writer->first_memory; memory; memory = next) {
        next = atomic_load(&memory->next);
        bp_segment_memory_close(&memory->memory, &allocator);
        bp_release(&allocator, memory, 1, sizeof *memory);
    }
    bp_budget_finish(&writer->budget);
    bp_ring_file_close(&writer->ring, &allocator);
    if (writer->hot) bp_fork_guard_close(&writer->hot->guard);
    bp_release_text(&allocator, writer->folder);
    bp_release(&allocator, writer->path, writer->path_bytes, 1);
    bp_release(&allocator, writer, 1, sizeof *writer);
}

static bp_status check_folder(const char *folder, const bp_allocator *allocator, bp_error *error) {
    bp_segments segments;
    const bp_status status = bp_segments_list(&segments, folder, allocator, error);
    if (status != BP_OK) return status;
    const size_t n = segments.n;
    const uint32_t first = n ? segments.index[0] : 0;
    bp_segments_free(&segments, allocator);
    char name[BP_SEGMENT_NAME_BYTES];
    return n == 0 ? BP_OK
                  : bp_fail(error, BP_ERROR_INPUT,
                            "%s already holds a run log (%s), expected a folder without one",
                            folder, bp_segment_name(name, first));
}

bool bp_runlog_exists(const char *folder, const bp_allocator *allocator) {
    bp_segments segments;
    if (bp_segments_list(&segments, folder, allocator, NULL) != BP_OK) return false;
    const bool holds = segments.n > 0;
    bp_segments_free(&segments, allocator);
    return holds;
}

/* What a killed run left comes first; one that is still writing must not be disturbed. */
static bp_status salvage(const bp_runlog_writer *writer, bp_error *error) {
    bp_ring_state state;
    uint64_t n_records;
    const bp_status status = bp_salvage_folder(writer->io, writer->folder, &writer->allocator,
                                               &state, &n_records, error);
    if (status != BP_OK || state != BP_RING_ALIVE) return status;
    return bp_fail(error, BP_ERROR_INPUT, "another process is still writing the run log in %s",
                   writer->folder);
}

/* A run that was not watched before it is resumed begins a log like any other. */
static bp_status go_on(bp_runlog_writer *writer, int64_t step, bp_error *error) {
    bp_runlog_tail tail;
    if (!bp_runlog_exists(writer->folder, &writer->allocator)) return BP_OK;
    const bp_status status =
        bp_runlog_find_tail(&tail, writer->io, writer->folder, &writer->allocator, error);
    if (status != BP_OK) return status;
    writer->segments.run = tail.run;
    writer->segments.segment = tail.segment;
    writer->segments.rewind_step = step;
    writer->hot->sequence = tail.sequence;
    return BP_OK;
}

static bp_status open_segments(bp_runlog_writer *writer, const bp_model *model,
                               uint64_t max_log_bytes, bp_error *error) {
    bp_status status;
    writer->memory = writer->first_memory = open_memory(writer, model, &status);
    if (!writer->memory) return fail_model(writer, status, error);
    bp_segment_writer *segments = &writer->segments;
    bp_budget_init(&writer->budget, writer->folder, max_log_bytes);
    segments->io = writer->io;
    segments->folder = writer->folder;
    segments->path = writer->path;
    segments->path_bytes = writer->path_bytes;
    segments->memory = writer->memory->memory;
    if (segments->segment_bytes == 0)
        segments->segment_bytes =
            bp_budget_segment_bytes(&writer->budget, segments->memory.model_bytes);
    /* Half of it, for the last record may be a long one. */
    const uint64_t most = bp_io_file_limit() / 2;
    if (segments->segment_bytes > most) segments->segment_bytes = most;
    const int trouble = bp_segment_writer_start(segments, writer->hot->sequence);
    return trouble ? bp_fail_os(error, trouble, "cannot begin the run log %s", writer->path)
                   : BP_OK;
}

static bp_status open_first(bp_runlog_writer *writer, const char *folder, const bp_model *model,
                            const bp_runlog_options *options, bp_error *error) {
    writer->hot = (hot *)bp_fork_guard_open(sizeof(hot));
    writer->path_bytes = strlen(folder) + 1 + BP_SEGMENT_NAME_BYTES;
    writer->folder = bp_copy_text(&writer->allocator, folder);
    writer->path = bp_allocate(&writer->allocator, writer->path_bytes, 1);
    if (!writer->hot || !writer->folder || !writer->path)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to write the run log in %s", folder);
    set_layers(writer, bp_model_n_layers(model));
    writer->segments.run = draw_id(writer->io, RUN_ID_PURPOSE);
    writer->segments.rewind_step = -1;
    writer->segments.segment_bytes = options->segment_bytes;
    bp_status status = options->resumes ? BP_OK : check_folder(folder, &writer->allocator, error);
    if (status == BP_OK) status = salvage(writer, error);
    if (status == BP_OK && options->resumes) status = go_on(writer, options->resume_step, error);
    return status == BP_OK ? open_segments(writer, model, options->max_log_bytes, error) : status;
}

/* --- the ring ------------------------------------------------------------------------------- */

static uint64_t ring_capacity(const bp_runlog_writer *writer, const bp_runlog_options *options) {
    if (options->ring_bytes) return bp_ring_capacity(options->ring_bytes);
    const uint64_t some_steps = 4 * (uint64_t)bp_record_max_bytes(writer->hot->n_layers);
    const uint64_t wished = some_steps > BP_RUNLOG_RING_BYTES ? some_steps : BP_RUNLOG_RING_BYTES;
    return bp_ring_capacity(wished < MOST_RING_BYTES ? wished : MOST_RING_BYTES);
}

/* Without a ring the caller writes: slower, but nothing else changes. */
static const char *open_ring(bp_runlog_writer *writer, const bp_runlog_options *options) {
    const char *ring_folder = options->ring_folder ? options->ring_folder : BP_RING_FOLDER;
    const uint64_t capacity = ring_capacity(writer, options);
    bp_salvage_sweep(writer->io, ring_folder, &writer->allocator);
    if (bp_ring_file_bytes(capacity) > bp_io_file_limit())
        return "the limit on the size of files is below that of the ring";
    const char *why = bp_ring_file_create(&writer->ring, writer->io, ring_folder, writer->folder,
                                          writer->segments.run, draw_id(writer->io, TOKEN_PURPOSE),
                                          capacity, &writer->allocator);
    if (why) return why;
    bp_ring_producer_init(&writer->hot->producer, writer->ring.header);
    bp_ring_spend(&writer->hot->producer, writer->hot->sequence);
    const bp_drain what = {.io = writer->io,
                           .writer = &writer->segments,
                           .ring = &writer->ring,
                           .budget = &writer->budget,
                           .memory = writer->memory};
    if (bp_drain_start(&writer->drain, &what)) return NULL;
    bp_ring_file_remove(&writer->ring);
    bp_ring_file_close(&writer->ring, &writer->allocator);
    return "no thread can be started";
}

bp_status bp_runlog_writer_open(bp_runlog_writer **writer, const char *folder,
                                const bp_model *model, const bp_runlog_options *options,
                                bp_error *error) {
    static const bp_runlog_options usual = {0};
    const int saved = errno;
    if (!options) options = &usual;
    const bp_allocator *allocator = bp_allocator_or_system(&options->allocator);
    bp_runlog_writer *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to write the run log in %s", folder);
    opened->allocator = *allocator;
    opened->io = options->io ? options->io : &bp_io_system;
    opened->ring.file = -1;
    const bp_status status = open_first(opened, folder, model, options, error);
    if (status == BP_OK) {
        const char *why = options->direct ? "it was asked for" : open_ring(opened, options);
        opened->transport = (bp_runlog_transport){.ring = !why, .reason = why};
        *writer = opened;
    } else {
        release(opened);
    }
    errno = saved;
    return status;
}

bp_runlog_transport bp_runlog_writer_transport(const bp_runlog_writer *writer) {
    return writer->transport;
}

/* --- closing -------------------------------------------------------------------------------- */

/* A copy in a forked child: its files are the parent's, too, and stay as they are. */
static void close_child(bp_runlog_writer *writer) {
    /* Of a segment that the parent's thread had open, nothing certain is known here. */
    if (!writer->transport.ring && writer->segments.is_open) {
        writer->segments.file.failed = true; /* no fsync for the parent */
        writer->segments.sink.close(writer->segments.sink.context);
    }
    if (writer->transport.ring) {
        writer->ring.header = NULL;                        /* not mapped in a child */
        memset(&writer->budget, 0, sizeof writer->budget); /* the thread may have been at it */
    }
    release(writer);
}

/* The log may be larger than it should: no record is lost by that, so it is told at the end. */
static bp_status tell_budget(const bp_runlog_writer *writer, bp_error *error) {
    if (writer->budget.error.status != BP_OK && error) *error = writer->budget.error;
    return writer->budget.error.status;
}

static bp_status close_directly(bp_runlog_writer *writer, const data_record *end, bp_error *error) {
    bp_status status = write_directly(writer, end, error);
    const int trouble = bp_segment_writer_close(&writer->segments);
    if (status == BP_OK && trouble)
        status = bp_fail_os(error, trouble, "cannot finish the run log %s", writer->path);
    if (status == BP_OK) status = tell_budget(writer, error);
    release(writer);
    return status;
}

static bp_status close_ring(bp_runlog_writer *writer, const data_record *end, bp_error *error) {
    const uint64_t capacity = writer->hot->producer.capacity;
    writer->hot->told = trouble_of(writer);
    bp_status status = hand_over(writer, end, capacity, error);
    const bp_drain_end drained = bp_drain_close(&writer->drain);
    const int trouble = trouble_of(writer);
    const int late = atomic_load(&writer->drain.late);
    if (drained == BP_DRAIN_STUCK)
        return bp_fail(error, BP_ERROR_IO,
                       "the disk hangs: the end of the run log in %s is in memory alone",
                       writer->folder); /* the thread has the writer now */
    if (drained == BP_DRAIN_GAVE_UP)
        status = bp_fail_os(error, trouble ? trouble : EIO,
                            "cannot finish the run log in %s, its end is in memory alone",
                            writer->folder);
    else if (atomic_load(&writer->drain.n_damaged))
        status = bp_fail(error, BP_ERROR_IO,
                         "something wrote over the memory of the run log in %s: records are lost",
                         writer->folder);
    else if (late && status == BP_OK)
        status = bp_fail_os(error, late, "cannot make the run log in %s durable", writer->folder);
    if (status == BP_OK) status = tell_budget(writer, error);
    release(writer);
    return status;
}

bp_status bp_runlog_writer_close(bp_runlog_writer *writer, bp_run_end end, bp_error *error) {
    if (!writer) return BP_OK;
    const int saved = errno;
    uint8_t payload[BP_SMALL_PAYLOAD_BYTES];
    bp_writer bytes;
    bp_writer_init(&bytes, payload, sizeof payload);
    bp_write_varint(&bytes, (uint64_t)end);
    bp_write_f64(&bytes, writer->io->wall_clock(writer->io->context));
    const data_record record = {BP_RUNLOG_END, EVENTS, -1, payload, bytes.length};
    bp_status status = BP_OK;
    if (bp_fork_guard_is_child(&writer->hot->guard))
        close_child(writer);
    else if (writer->transport.ring)
        status = close_ring(writer, &record, error);
    else
        status = close_directly(writer, &record, error);
    errno = saved;
    return status;
}
