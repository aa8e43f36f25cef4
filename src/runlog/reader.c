/* SPDX-License-Identifier: Apache-2.0 */
/* The reading side: from a run folder or a segment file to step records and events, and an account
 * of what was lost. */
#include "runlog/reader.h"
#include "model/model.h"
#include "record/event.h"
#include "runlog/account.h"
#include "runlog/order.h"
#include "runlog/run.h"

#include <errno.h>
#include <string.h>

#define TABLE_AFTER_STEPS 1000u

/* A frame of losses that is given step by step. */
typedef struct loss_run {
    uint64_t place;   /* of the frame */
    bp_cursor values; /* into the frame's payload: it stays until the scan goes on */
    double wall_time;
    int64_t step; /* of the next value */
    uint64_t left;
} loss_run;

struct bp_runlog_reader {
    bp_run run;
    size_t current; /* segment; n_segments: none is left */
    bp_scan scan;   /* of the current segment; file -1 between segments */
    bp_order order;
    bp_account account;
    bp_record record;
    double *table; /* of log16 codes, once so many steps were read that it pays */
    uint64_t steps_read;
    loss_run losses;
    bp_event event;
    bp_runlog_position event_at;
    bool seeks_histograms; /* and gives no steps */
    bool peeks;            /* gives sources of a series */
    bp_series peeked;
    bp_sources sources;
    uint32_t histogram_roles; /* a bit each */
    bp_event_watch watching;
    bool has_watching;
    bool at_end;      /* of what is there; more may come */
    bool torn_before; /* account.damage.torn_tail without the tail that may still grow */
    bp_run_end end;
};

/* --- damage --------------------------------------------------------------------------------- */

static const bp_run_segment *segment_of(const bp_runlog_reader *reader) {
    return &reader->run.segments[reader->current];
}

static void note_damage(bp_runlog_reader *reader, uint64_t place, uint64_t n_bytes,
                        const char *found) {
    bp_account_damage(&reader->account, reader->run.file, place, n_bytes, found);
}

static void note_record_damage(bp_runlog_reader *reader, const bp_scan_event *event,
                               const char *found) {
    note_damage(reader, event->place, event->n_bytes, found);
    reader->account.damage.lost_records++;
}

/* --- segments ------------------------------------------------------------------------------- */

/* The damage of a segment's first bytes. A segment that a kill cut there is a torn tail. */
static void judge_start(bp_runlog_reader *reader, const bp_scan_start *start) {
    if (start->n_bytes < BP_SEGMENT_START && bp_run_may_be_torn(&reader->run, reader->current)) {
        reader->account.damage.torn_tail = true;
        return;
    }
    if (start->n_bytes == 0) note_damage(reader, 0, 0, "an empty file");
    for (size_t i = 0; i * BP_SEGMENT_HEADER_BYTES < start->n_bytes; i++) {
        const size_t place = i * BP_SEGMENT_HEADER_BYTES, rest = start->n_bytes - place;
        if (start->good[i]) continue;
        note_damage(reader, place, rest < BP_SEGMENT_HEADER_BYTES ? rest : BP_SEGMENT_HEADER_BYTES,
                    "a damaged segment header");
    }
}

static bool is_last(const bp_runlog_reader *reader) {
    return reader->current + 1 == reader->run.n_segments;
}

/* The last segment stays open: it may grow. */
static void reach_end(bp_runlog_reader *reader) {
    reader->at_end = true;
    bp_account_end(&reader->account);
}

static bp_status begin_segment(bp_runlog_reader *reader, bp_error *error) {
    bp_scan_start start;
    const bp_status status =
        bp_run_open_segment(&reader->run, reader->current, &reader->scan, &start, error);
    if (status != BP_OK) return status;
    /* Payloads that nobody looks into need no checksum. */
    if (reader->seeks_histograms) reader->scan.only = ~(UINT64_C(1) << BP_RUNLOG_STEP);
    bp_order_init(&reader->order);
    bp_account_begin_segment(&reader->account);
    judge_start(reader, &start);
    if (start.n_bytes == BP_SEGMENT_START || !is_last(reader)) return BP_OK;
    bp_scan_close(&reader->scan); /* its header is still being written: it is opened anew */
    reach_end(reader);
    return BP_OK;
}

static void end_segment(bp_runlog_reader *reader) {
    bp_scan_close(&reader->scan);
    bp_order_finish(&reader->order);
    reader->current++;
}

/* Whether something was written since the end was reached. A new segment is looked for first, so
 * that what is read of the old one then is all that it will ever hold. */
static bp_status go_on(bp_runlog_reader *reader, bp_error *error) {
    const bp_status status = bp_run_look_again(&reader->run, error);
    if (reader->current < reader->run.n_segments)
        bp_run_name_file(&reader->run, reader->current); /* for messages */
    if (status != BP_OK) return status;
    reader->at_end = false;
    reader->account.damage.torn_tail = reader->torn_before;
    bp_account_go_on(&reader->account);
    if (reader->scan.file >= 0) bp_scan_go_on(&reader->scan);
    return BP_OK;
}

/* --- opening -------------------------------------------------------------------------------- */

static bp_status open_all(bp_runlog_reader *reader, const bp_io *io, const char *path,
                          const bp_allocator *allocator, bp_error *error) {
    bp_status status = bp_run_open(&reader->run, io, path, allocator, error);
    if (status != BP_OK) return status;
    /* One segment of many is read for itself: what lies before it is not missing. */
    reader->account.expected = reader->run.is_folder ? 0 : reader->run.first.first_sequence;
    status = bp_record_init(&reader->record, bp_model_n_layers(reader->run.model), allocator);
    return status == BP_OK ? BP_OK : bp_fail(error, status, "no memory to read %s", path);
}

bp_status bp_runlog_reader_open_through(bp_runlog_reader **reader, const bp_io *io,
                                        const char *path, const bp_allocator *allocator,
                                        bp_error *error) {
    const int saved = errno;
    allocator = bp_allocator_or_system(allocator);
    bp_runlog_reader *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", path);
    opened->run.allocator = *allocator;
    opened->scan.file = -1;
    bp_order_init(&opened->order);
    const bp_status status = open_all(opened, io, path, allocator, error);
    if (status == BP_OK)
        *reader = opened;
    else
        bp_runlog_reader_close(opened);
    errno = saved;
    return status;
}

bp_status bp_runlog_reader_open(bp_runlog_reader **reader, const char *path,
                                const bp_allocator *allocator, bp_error *error) {
    return bp_runlog_reader_open_through(reader, &bp_io_system, path, allocator, error);
}

bp_status bp_runlog_find_tail(bp_runlog_tail *tail, const bp_io *io, const char *folder,
                              const bp_allocator *allocator, bp_error *error) {
    bp_runlog_reader *reader;
    bp_status status = bp_runlog_reader_open_through(&reader, io, folder, allocator, error);
    if (status != BP_OK) return status;
    const bp_record *record = NULL;
    do status = bp_runlog_reader_next(reader, &record, error);
    while (status == BP_OK && record);
    if (status == BP_OK) {
        const bp_segment_id last = reader->run.segments[reader->run.n_segments - 1].id;
        const bp_account *account = &reader->account;
        const uint64_t spent = account->expected + account->may_be_spent;
        *tail = (bp_runlog_tail){.run = last.run,
                                 .sequence = account->seen > spent ? account->seen : spent,
                                 .segment = last.index};
    }
    bp_runlog_reader_close(reader);
    return status;
}

void bp_runlog_reader_close(bp_runlog_reader *reader) {
    if (!reader) return;
    const int saved = errno;
    const bp_allocator allocator = reader->run.allocator;
    bp_scan_close(&reader->scan);
    bp_order_finish(&reader->order);
    bp_record_finish(&reader->record, &allocator);
    bp_release(&allocator, reader->table, BP_LOG16_CODES, sizeof *reader->table);
    bp_run_close(&reader->run);
    bp_release(&allocator, reader, 1, sizeof *reader);
    errno = saved;
}

/* --- what a frame says ---------------------------------------------------------------------- */

typedef enum given { NOTHING, A_STEP, AN_EVENT } given;

/* A later segment has this step again. */
static bool is_void(const bp_runlog_reader *reader, int64_t step) {
    const int64_t limit = segment_of(reader)->limit;
    return limit != INT64_MAX && step >= limit;
}

static given peek_step(bp_runlog_reader *reader, const bp_scan_event *event) {
    bool found;
    if (bp_sources_find(&reader->sources, &found, reader->peeked, event->payload,
                        event->frame.n_bytes) != BP_OK) {
        note_record_damage(reader, event, "a step whose columns cannot be told apart");
        return NOTHING;
    }
    return found && !is_void(reader, reader->sources.step) ? A_STEP : NOTHING;
}

/* Without memory for it reading goes on as before. */
static void make_table(bp_runlog_reader *reader) {
    reader->table = bp_allocate(&reader->run.allocator, BP_LOG16_CODES, sizeof *reader->table);
    if (reader->table) bp_log16_fill_table(reader->table);
}

static given take_step(bp_runlog_reader *reader, const bp_scan_event *event) {
    bp_cursor cursor;
    bp_error why;
    if (reader->seeks_histograms) return NOTHING;
    if (reader->peeks) return peek_step(reader, event);
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    if (reader->steps_read++ == TABLE_AFTER_STEPS) make_table(reader);
    if (bp_record_decode_by(reader->table, &reader->record, &cursor, &why) != BP_OK) {
        note_record_damage(reader, event, why.text);
        return NOTHING;
    }
    return is_void(reader, reader->record.step) ? NOTHING : A_STEP;
}

/* Its numbers are taken here, for only the payload tells how many. */
static void take_losses(bp_runlog_reader *reader, const bp_scan_event *event) {
    loss_run found = {.place = event->place};
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    found.wall_time = bp_read_f64(&cursor);
    const uint64_t step = bp_read_varint(&cursor);
    found.left = bp_read_varint(&cursor);
    const uint64_t room = cursor.length - cursor.position;
    if (cursor.bad || found.left == 0 || found.left > room / 8 || found.left * 8 != room ||
        step > INT64_MAX || found.left - 1 > INT64_MAX - step) {
        bp_account_take(&reader->account, event->frame.sequence, 1);
        note_record_damage(reader, event, "losses that are not as many as they say");
        return;
    }
    const uint64_t known = bp_account_take(&reader->account, event->frame.sequence, found.left);
    (void)bp_read_bytes(&cursor, (size_t)known * 8);
    found.step = (int64_t)(step + known);
    found.left -= known;
    found.values = cursor;
    reader->losses = found;
}

/* The next of the losses that is not void. */
static bool give_loss(bp_runlog_reader *reader) {
    loss_run *losses = &reader->losses;
    if (reader->seeks_histograms || (reader->peeks && reader->peeked != bp_series_of(BP_Q_LOSS)))
        losses->left = 0;
    while (losses->left > 0) {
        const int64_t step = losses->step;
        const uint8_t *at = losses->values.bytes + losses->values.position;
        const double loss = bp_read_f64(&losses->values);
        losses->left--;
        if (losses->left > 0) losses->step++;
        if (is_void(reader, step)) continue;
        if (reader->peeks) {
            bp_sources_of_loss(&reader->sources, step, at);
            return true;
        }
        bp_record_clear(&reader->record);
        reader->record.step = step;
        reader->record.wall_time = losses->wall_time;
        bp_record_set(&reader->record, BP_Q_LOSS, 0, loss);
        return true;
    }
    return false;
}

static void take_end(bp_runlog_reader *reader, const bp_scan_event *event) {
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    const uint64_t end = bp_read_varint(&cursor);
    if (cursor.bad || end < BP_RUN_FINISHED || end > BP_RUN_STOPPED)
        note_record_damage(reader, event, "an end of the run that has no meaning");
    else
        reader->end = (bp_run_end)end;
}

static given take_event(bp_runlog_reader *reader, const bp_scan_event *event) {
    bp_cursor cursor;
    bp_error why;
    bp_event *decoded = &reader->event;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    if (bp_event_decode(decoded, (bp_event_kind)event->frame.type, &cursor, &why) != BP_OK) {
        note_damage(reader, event->place, event->n_bytes, why.text);
        if (bp_runlog_is_data(event->frame.type)) reader->account.damage.lost_records++;
        return NOTHING;
    }
    reader->event_at =
        (bp_runlog_position){segment_of(reader)->id.index, event->place, event->frame.sequence};
    if (decoded->kind == BP_EVENT_THINNED)
        bp_account_thinned(&reader->account, &decoded->as.thinned);
    if (decoded->kind == BP_EVENT_WATCH) {
        reader->watching = decoded->as.watch;
        reader->has_watching = true;
    }
    /* The checkpoint from which the run was resumed is not void: it was written before its step. A
     * histogram is of a step that comes again. */
    const int64_t step = bp_event_step(decoded) - (decoded->kind == BP_EVENT_HISTOGRAM ? 0 : 1);
    if (is_void(reader, step)) return NOTHING;
    if (decoded->kind == BP_EVENT_HISTOGRAM && decoded->as.histogram.role < 32)
        reader->histogram_roles |= 1u << decoded->as.histogram.role;
    return AN_EVENT;
}

/* A record of the last size would not hold the new layers. */
static bp_status fit_record(bp_runlog_reader *reader, bp_error *error) {
    const bp_allocator *allocator = &reader->run.allocator;
    bp_record grown;
    const bp_status status =
        bp_record_init(&grown, bp_model_n_layers(reader->run.model), allocator);
    if (status != BP_OK) return bp_fail(error, status, "no memory to read %s", reader->run.path);
    bp_record_finish(&reader->record, allocator);
    reader->record = grown;
    return BP_OK;
}

static bp_status take_model(bp_runlog_reader *reader, const bp_scan_event *event, given *what,
                            bp_error *error) {
    bool grew;
    bp_error why;
    const bp_status status = bp_run_take_model(&reader->run, event, &grew, &why);
    if (status == BP_ERROR_MEMORY)
        return bp_fail(error, status, "no memory for the network of %s", reader->run.file);
    if (status != BP_OK && event->frame.type == BP_RUNLOG_MODEL_DELTA)
        note_record_damage(reader, event, why.text);
    else if (event->frame.type == BP_RUNLOG_MODEL_DELTA)
        *what = take_event(reader, event);
    return grew ? fit_record(reader, error) : BP_OK;
}

/* False when the record was given before. */
static bool take_number(bp_runlog_reader *reader, const bp_scan_event *event) {
    bp_account *account = &reader->account;
    const uint64_t sequence = event->frame.sequence;
    const bool numbers_data = segment_of(reader)->numbers_data;
    const bool is_data = !numbers_data || bp_runlog_is_data(event->frame.type);
    if (!is_data) {
        bp_account_next_is(account, sequence);
        return true;
    }
    if (numbers_data && event->frame.type == BP_RUNLOG_LOSSES) return true;
    if (numbers_data && event->frame.type > BP_RUNLOG_HISTOGRAM) {
        bp_account_take_unknown(account, sequence);
        return true;
    }
    if (bp_account_take(account, sequence, 1) == 0) return true;
    /* What is salvaged of a killed run may have been written twice. */
    if (!numbers_data || sequence >= account->begun)
        note_damage(reader, event->place, event->n_bytes, "a record for the second time");
    return false;
}

static bp_status take_frame(bp_runlog_reader *reader, const bp_scan_event *event, given *what,
                            bp_error *error) {
    if (!take_number(reader, event)) return BP_OK;
    switch ((bp_runlog_type)event->frame.type) {
    case BP_RUNLOG_STEP:
        *what = take_step(reader, event);
        return BP_OK;
    case BP_RUNLOG_LOSSES:
        take_losses(reader, event);
        return BP_OK;
    case BP_RUNLOG_END:
        take_end(reader, event);
        return BP_OK;
    case BP_RUNLOG_REWIND:
        reader->end = BP_RUN_OPEN; /* until it ends again */
        return BP_OK;
    case BP_RUNLOG_MODEL:
    case BP_RUNLOG_MODEL_DELTA:
        return take_model(reader, event, what, error);
    case BP_RUNLOG_HEADER:
        return BP_OK;
    case BP_RUNLOG_GAP:
    case BP_RUNLOG_FINDING:
    case BP_RUNLOG_CHECKPOINT:
    case BP_RUNLOG_WATCH:
    case BP_RUNLOG_THINNED:
    case BP_RUNLOG_HISTOGRAM:
        *what = take_event(reader, event);
        return BP_OK;
    }
    reader->account.damage.unknown++;
    return BP_OK;
}

static void take_damage(bp_runlog_reader *reader, const bp_scan_event *event) {
    const bool in_payload = event->has_header && event->header_place == event->place;
    note_damage(reader, event->place, event->n_bytes,
                in_payload ? "one whose checksum does not match" : "bytes that are none");
    if (!event->has_header) return;
    const int64_t shift = (int64_t)event->header_place - (int64_t)event->frame.offset;
    if (shift != reader->order.shift) return;
    if (segment_of(reader)->numbers_data && !bp_runlog_is_data(event->frame.type))
        bp_account_next_is(&reader->account, event->frame.sequence);
    else
        bp_account_saw(&reader->account, event->frame.sequence);
}

/* --- reading -------------------------------------------------------------------------------- */

/* One event of the open segment. */
static bp_status advance(bp_runlog_reader *reader, given *what, bp_error *error) {
    bp_scan_event event;
    bp_status status = bp_scan_next(&reader->scan, &event, error);
    if (status != BP_OK) return status;
    bool belongs = false;
    switch (event.kind) {
    case BP_SCAN_FRAME:
        status = bp_order_check(&reader->order, &reader->scan, &event, reader->account.expected,
                                &belongs, error);
        if (status != BP_OK) return status;
        if (belongs) return take_frame(reader, &event, what, error);
        note_damage(reader, event.place, event.n_bytes, "one that belongs elsewhere");
        break;
    case BP_SCAN_DAMAGE:
        take_damage(reader, &event);
        break;
    case BP_SCAN_CUT:
        if (!bp_run_may_be_torn(&reader->run, reader->current)) {
            note_damage(reader, event.place, event.n_bytes, "one that is cut");
            break;
        }
        reader->account.damage.torn_tail = true;
        if (!is_last(reader)) reader->torn_before = true;
        break;
    case BP_SCAN_END:
        if (is_last(reader))
            reach_end(reader);
        else
            end_segment(reader);
        break;
    }
    return BP_OK;
}

static bp_status read_segment(bp_runlog_reader *reader, given *what, bp_error *error) {
    if (reader->scan.file < 0) {
        const bp_status status = begin_segment(reader, error);
        if (status != BP_OK || reader->at_end) return status;
    }
    if (!segment_of(reader)->is_foreign) return advance(reader, what, error);
    note_damage(reader, 0, 0, "a segment of another run");
    end_segment(reader);
    return BP_OK;
}

static bp_status next_entry(bp_runlog_reader *reader, given *what, bp_error *error) {
    *what = NOTHING;
    if (reader->at_end) {
        const bp_status status = go_on(reader, error);
        if (status != BP_OK) return status;
    }
    while (*what == NOTHING && !reader->at_end) {
        if (give_loss(reader)) {
            *what = A_STEP;
            break;
        }
        if (reader->current == reader->run.n_segments) {
            reach_end(reader);
            break;
        }
        const bp_status status = read_segment(reader, what, error);
        if (status != BP_OK) return status;
    }
    return BP_OK;
}

bp_status bp_runlog_reader_next_entry(bp_runlog_reader *reader, bp_runlog_entry *entry,
                                      bp_error *error) {
    const int saved = errno;
    given what;
    const bp_status status = next_entry(reader, &what, error);
    if (status == BP_OK)
        *entry = (bp_runlog_entry){.record = what == A_STEP ? &reader->record : NULL,
                                   .event = what == AN_EVENT ? &reader->event : NULL};
    errno = saved;
    return status;
}

bp_status bp_runlog_reader_next(bp_runlog_reader *reader, const bp_record **record,
                                bp_error *error) {
    bp_runlog_entry entry;
    bp_status status;
    do status = bp_runlog_reader_next_entry(reader, &entry, error);
    while (status == BP_OK && entry.event);
    if (status == BP_OK) *record = entry.record;
    return status;
}

/* --- one series of many steps ----------------------------------------------------------------- */

bp_status bp_runlog_reader_next_sources(bp_runlog_reader *reader, bp_series series,
                                        const bp_sources **sources, bp_error *error) {
    const int saved = errno;
    given what;
    bp_status status;
    reader->peeks = true;
    reader->peeked = series;
    do status = next_entry(reader, &what, error);
    while (status == BP_OK && what == AN_EVENT);
    if (status == BP_OK) *sources = what == A_STEP ? &reader->sources : NULL;
    errno = saved;
    return status;
}

bp_runlog_position bp_runlog_reader_tell(const bp_runlog_reader *reader) {
    const uint64_t left = reader->losses.left;
    return (bp_runlog_position){
        .segment = segment_of(reader)->id.index,
        .place = left > 0 ? reader->losses.place : reader->scan.place,
        .sequence = reader->account.expected - left,
    };
}

/* Where the place is none of a frame any more, say in a segment that was thinned since, the whole
 * segment is read again: what was given before is known by its numbers. */
static bp_status jump_inside(bp_runlog_reader *reader, const bp_runlog_position *position,
                             bp_error *error) {
    bool fits;
    bp_frame frame;
    bp_status status = bp_scan_jump(&reader->scan, position->place, &fits, &frame, error);
    if (status == BP_OK && (!fits || frame.sequence > position->sequence))
        status = bp_scan_jump(&reader->scan, BP_SEGMENT_START, &fits, &frame, error);
    return status;
}

bp_status bp_runlog_reader_jump(bp_runlog_reader *reader, const bp_runlog_position *position,
                                bp_error *error) {
    const int saved = errno;
    size_t i = 0;
    while (i < reader->run.n_segments && reader->run.segments[i].id.index != position->segment) i++;
    if (i == reader->run.n_segments)
        return bp_fail(error, BP_ERROR_INPUT, "%s has no segment %u", reader->run.path,
                       (unsigned)position->segment);
    reader->current = i;
    reader->account.expected = position->sequence;
    bp_status status = begin_segment(reader, error);
    if (status == BP_OK && reader->scan.file >= 0) status = jump_inside(reader, position, error);
    errno = saved;
    return status;
}

/* --- histograms ------------------------------------------------------------------------------ */

bp_status bp_runlog_reader_next_histogram(bp_runlog_reader *reader,
                                          const bp_event_histogram **histogram,
                                          bp_runlog_position *place, bp_error *error) {
    const int saved = errno;
    given what;
    bp_status status;
    reader->seeks_histograms = true;
    do status = next_entry(reader, &what, error);
    while (status == BP_OK && what == AN_EVENT && reader->event.kind != BP_EVENT_HISTOGRAM);
    if (status == BP_OK) {
        *histogram = what == AN_EVENT ? &reader->event.as.histogram : NULL;
        *place = reader->event_at;
    }
    errno = saved;
    return status;
}

/* Opens the segment unless it is the one that is being read. */
static bp_status enter_segment(bp_runlog_reader *reader, size_t index, bp_error *error) {
    if (reader->current == index && reader->scan.file >= 0 && !reader->at_end) return BP_OK;
    bp_scan_close(&reader->scan);
    bp_order_finish(&reader->order);
    reader->current = index;
    reader->at_end = false;
    return begin_segment(reader, error);
}

bp_status bp_runlog_reader_seek_histogram(bp_runlog_reader *reader, const bp_runlog_position *place,
                                          bool *found, bp_error *error) {
    const int saved = errno;
    const bp_run *run = &reader->run;
    bp_frame frame;
    size_t i = 0;
    reader->seeks_histograms = true;
    *found = false;
    while (i < run->n_segments && run->segments[i].id.index != place->segment) i++;
    if (i == run->n_segments || run->segments[i].is_foreign) return BP_OK;
    bp_status status = enter_segment(reader, i, error);
    reader->losses.left = 0;
    reader->account.expected = place->sequence;
    if (status == BP_OK && reader->scan.file >= 0)
        status = bp_scan_jump(&reader->scan, place->place, found, &frame, error);
    *found = *found && frame.sequence == place->sequence && frame.type == BP_RUNLOG_HISTOGRAM;
    errno = saved;
    return status;
}

uint64_t bp_runlog_reader_run(const bp_runlog_reader *reader) {
    return reader->run.first.id.run;
}

bp_runlog_progress bp_runlog_reader_progress(bp_runlog_reader *reader) {
    bp_run *run = &reader->run;
    bp_runlog_progress progress = {0};
    const int saved = errno;
    for (size_t i = 0; i < run->n_segments; i++) {
        const uint64_t n = bp_run_segment_bytes(run, i);
        const uint64_t place = reader->scan.file >= 0 ? reader->scan.place : 0;
        const bool before = i < reader->current || (i == reader->current && reader->at_end);
        progress.there += n;
        if (before)
            progress.read += n;
        else if (i == reader->current)
            progress.read += place < n ? place : n;
    }
    if (reader->current < run->n_segments) bp_run_name_file(run, reader->current);
    errno = saved;
    return progress;
}

uint32_t bp_runlog_reader_histogram_roles(const bp_runlog_reader *reader) {
    return reader->histogram_roles;
}

uint32_t bp_runlog_reader_n_rewinds(const bp_runlog_reader *reader) {
    uint32_t n = 0;
    for (size_t i = 0; i < reader->run.n_segments; i++) n += reader->run.segments[i].rewinds;
    return n;
}

const bp_model *bp_runlog_reader_model(const bp_runlog_reader *reader) {
    return reader->run.model;
}

const bp_event_watch *bp_runlog_reader_watching(const bp_runlog_reader *reader) {
    return reader->has_watching ? &reader->watching : NULL;
}

bp_run_end bp_runlog_reader_end(const bp_runlog_reader *reader) {
    return reader->end;
}

const bp_runlog_damage *bp_runlog_reader_damage(const bp_runlog_reader *reader) {
    return &reader->account.damage;
}
