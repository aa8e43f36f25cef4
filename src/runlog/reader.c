/* SPDX-License-Identifier: Apache-2.0 */
/* The reading side: from a run folder or a segment file to step records, and an account of what
 * was lost. */
#include "runlog/reader.h"
#include "model/model.h"
#include "runlog/order.h"
#include "runlog/scan.h"
#include "runlog/segments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct segment_file {
    uint32_t name;    /* number in the file's name; 0 for a file that was named by the caller */
    bp_segment_id id; /* as its header says, or as its neighbours let us guess */
    bool has_header;
    bool is_foreign; /* of another run */
    bool rewinds;    /* the run was resumed here */
    int64_t rewind;  /* rewinds: the first step that comes again */
    int64_t limit;   /* a later segment has the steps from here on */
} segment_file;

struct bp_runlog_reader {
    const bp_io *io;
    bp_allocator allocator;
    char *path; /* as the caller gave it */
    char *file; /* path of the open segment */
    size_t file_bytes;
    segment_file *segments;
    size_t n_segments, current; /* current == n_segments: at the end */
    bp_scan scan;               /* of the current segment; file -1 between segments */
    bp_order order;
    bp_model *model;
    bp_record record;
    uint64_t expected;   /* the next sequence number */
    uint64_t seen;       /* one above the highest number in a header whose payload is damaged */
    uint64_t damage_end; /* in the current segment; damage that goes on there is the same place */
    bp_runlog_damage damage;
    bp_run_end end;
};

/* --- damage --------------------------------------------------------------------------------- */

static void note_damage(bp_runlog_reader *reader, uint64_t place, uint64_t n_bytes,
                        const char *found) {
    bp_runlog_damage *damage = &reader->damage;
    const bool goes_on = reader->damage_end == place && damage->damaged_places > 0 && place > 0;
    damage->lost_bytes += n_bytes;
    reader->damage_end = place + n_bytes;
    if (goes_on) return;
    if (damage->damaged_places++ > 0) return;
    bp_fail(&damage->first, BP_ERROR_INPUT,
            "%s is damaged at byte %llu: expected a whole record, "
            "found %s",
            reader->file, (unsigned long long)place, found);
    damage->first.offset = (int64_t)place;
}

static void note_record_damage(bp_runlog_reader *reader, const bp_scan_event *event,
                               const char *found) {
    note_damage(reader, event->place, event->n_bytes, found);
    reader->damage.lost_records++;
}

/* A kill may have cut the current segment: nothing comes behind it, or a run that was resumed. */
static bool may_be_torn(const bp_runlog_reader *reader) {
    const size_t next = reader->current + 1;
    return next == reader->n_segments || reader->segments[next].rewinds;
}

/* --- segments ------------------------------------------------------------------------------- */

static bp_status open_segment(bp_runlog_reader *reader, size_t index, bp_scan_start *start,
                              bp_error *error) {
    const segment_file *segment = &reader->segments[index];
    char name[BP_SEGMENT_NAME_BYTES];
    if (segment->name)
        snprintf(reader->file, reader->file_bytes, "%s/%s", reader->path,
                 bp_segment_name(name, segment->name));
    bp_status status =
        bp_scan_open(&reader->scan, reader->io, reader->file, &reader->allocator, error);
    if (status != BP_OK) return status;
    reader->scan.salt = segment->id;
    status = bp_scan_header(&reader->scan, start, error);
    if (status != BP_OK) bp_scan_close(&reader->scan);
    return status;
}

/* The damage of a segment's first bytes. A segment that a kill cut there is a torn tail. */
static void judge_start(bp_runlog_reader *reader, const bp_scan_start *start) {
    if (start->n_bytes < BP_SEGMENT_START && may_be_torn(reader)) {
        reader->damage.torn_tail = true;
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

static bp_status begin_segment(bp_runlog_reader *reader, bp_error *error) {
    bp_scan_start start;
    const bp_status status = open_segment(reader, reader->current, &start, error);
    if (status != BP_OK) return status;
    bp_order_init(&reader->order);
    reader->damage_end = 0;
    judge_start(reader, &start);
    return BP_OK;
}

static void end_segment(bp_runlog_reader *reader) {
    bp_scan_close(&reader->scan);
    bp_order_finish(&reader->order);
    reader->current++;
    if (reader->current < reader->n_segments || reader->seen <= reader->expected) return;
    /* Records that were damaged behind the last good one. */
    reader->damage.lost_records += reader->seen - reader->expected;
    reader->expected = reader->seen;
}

/* --- opening -------------------------------------------------------------------------------- */

static bp_status check_version(const char *path, const bp_segment_header *header, bp_error *error) {
    if (header->major != BP_RUNLOG_MAJOR)
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                       "%s is a run log of format version %u, expected version %d", path,
                       (unsigned)header->major, BP_RUNLOG_MAJOR);
    const uint32_t unknown = header->incompatible & ~BP_RUNLOG_KNOWN_INCOMPATIBLE;
    if (unknown)
        return bp_fail(error, BP_ERROR_NOT_SUPPORTED,
                       "%s needs a newer Backprobe: it uses the format's features 0x%08x, which "
                       "this version does not know",
                       path, (unsigned)unknown);
    return BP_OK;
}

static bp_status fail_no_log(const char *path, const bp_scan_start *start, bp_error *error) {
    if (start->n_bytes == 0)
        return bp_fail(error, BP_ERROR_INPUT, "%s is empty, expected a run log", path);
    for (size_t at = 0; at + BP_SEGMENT_MAGIC_BYTES <= start->n_bytes;
         at += BP_SEGMENT_HEADER_BYTES)
        if (memcmp(start->bytes + at, BP_SEGMENT_MAGIC, BP_SEGMENT_MAGIC_BYTES) == 0)
            return bp_fail(error, BP_ERROR_INPUT,
                           "the header of the run log %s is damaged in all of its copies", path);
    char found[3 * BP_SEGMENT_MAGIC_BYTES + 1] = "";
    for (size_t i = 0; i < BP_SEGMENT_MAGIC_BYTES && i < start->n_bytes; i++)
        snprintf(found + 3 * i, 4, " %02x", start->bytes[i]);
    return bp_fail(error, BP_ERROR_INPUT,
                   "%s is no run log: expected it to begin with 89 42 50 4c 4f 47 0d 0a, found%s",
                   path, found);
}

static int by_index(const void *a, const void *b) {
    const segment_file *left = a, *right = b;
    return (left->id.index > right->id.index) - (left->id.index < right->id.index);
}

/* The rewind record that stands near a segment's begin; damaged, its steps come twice. */
static bp_status read_rewind(bp_runlog_reader *reader, segment_file *segment, bp_error *error) {
    enum { NEAR = 8 };
    bp_scan_event event = {.kind = BP_SCAN_FRAME};
    for (int i = 0; i < NEAR && event.kind != BP_SCAN_END; i++) {
        const bp_status status = bp_scan_next(&reader->scan, &event, error);
        if (status != BP_OK) return status;
        if (event.kind != BP_SCAN_FRAME || event.frame.type != BP_RUNLOG_REWIND) continue;
        bp_cursor cursor;
        bp_cursor_init(&cursor, event.payload, event.frame.n_bytes);
        (void)bp_read_varint(&cursor); /* why: of no consequence */
        const uint64_t step = bp_read_varint(&cursor);
        if (cursor.bad || step > INT64_MAX) return BP_OK;
        segment->rewinds = true;
        segment->rewind = (int64_t)step;
        return BP_OK;
    }
    return BP_OK;
}

static void set_limits(bp_runlog_reader *reader) {
    int64_t limit = INT64_MAX;
    for (size_t i = reader->n_segments; i-- > 0;) {
        segment_file *segment = &reader->segments[i];
        segment->limit = limit;
        if (segment->rewinds && !segment->is_foreign && segment->rewind < limit)
            limit = segment->rewind;
    }
}

/* Reads each segment's header; one with none left takes the run of the others. */
static bp_status read_headers(bp_runlog_reader *reader, bp_error *error) {
    bool found = false;
    bp_segment_header first = {0};
    bp_scan_start start = {0};
    for (size_t i = 0; i < reader->n_segments; i++) {
        segment_file *segment = &reader->segments[i];
        bp_status status = open_segment(reader, i, &start, error);
        if (status != BP_OK) return status;
        if (start.found) reader->scan.salt = start.header.id;
        if (!start.found)
            status = bp_scan_find_header(&reader->scan, &start.header, &start.found, error);
        else if (start.header.compatible & BP_RUNLOG_REWINDS)
            status = read_rewind(reader, segment, error);
        bp_scan_close(&reader->scan);
        if (status != BP_OK) return status;
        if (!start.found) continue;
        status = check_version(reader->file, &start.header, error);
        if (status != BP_OK) return status;
        if (!found) first = start.header;
        found = true;
        segment->has_header = true;
        segment->id = start.header.id;
        segment->is_foreign = start.header.id.run != first.id.run;
    }
    if (!found) return fail_no_log(reader->file, &start, error);
    for (size_t i = 0; i < reader->n_segments; i++)
        if (!reader->segments[i].has_header) reader->segments[i].id.run = first.id.run;
    qsort(reader->segments, reader->n_segments, sizeof *reader->segments, by_index);
    set_limits(reader);
    /* One segment of many is read for itself: what lies before it is not missing. */
    reader->expected = reader->segments[0].name ? 0 : first.first_sequence;
    return BP_OK;
}

static bp_status list_folder(bp_runlog_reader *reader, bp_error *error) {
    bp_segments list;
    const bp_status status = bp_segments_list(&list, reader->path, &reader->allocator, error);
    if (status != BP_OK) return status;
    const size_t n = list.n;
    reader->segments = n ? bp_allocate(&reader->allocator, n, sizeof *reader->segments) : NULL;
    if (reader->segments) reader->n_segments = n;
    for (size_t i = 0; i < reader->n_segments; i++)
        reader->segments[i] = (segment_file){.name = list.index[i], .id = {0, list.index[i]}};
    bp_segments_free(&list, &reader->allocator);
    if (n == 0)
        return bp_fail(error, BP_ERROR_INPUT,
                       "%s holds no run log: expected files named log-000001.bplog, found none",
                       reader->path);
    return reader->segments ? BP_OK
                            : bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", reader->path);
}

static bp_status list_segments(bp_runlog_reader *reader, const char *path, bp_error *error) {
    struct stat kind;
    if (stat(path, &kind) != 0)
        return bp_fail_os(error, errno, "cannot open %s, expected a run folder or a run log", path);
    reader->path = bp_copy_text(&reader->allocator, path);
    reader->file_bytes = strlen(path) + 1 + BP_SEGMENT_NAME_BYTES;
    reader->file = bp_allocate(&reader->allocator, reader->file_bytes, 1);
    if (!reader->path || !reader->file)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", path);
    memcpy(reader->file, path, strlen(path) + 1);
    if (S_ISDIR(kind.st_mode)) return list_folder(reader, error);
    reader->segments = bp_allocate(&reader->allocator, 1, sizeof *reader->segments);
    if (!reader->segments) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", path);
    reader->n_segments = 1;
    return BP_OK;
}

/* The model of the open segment; none is no error. */
static bp_status scan_for_model(bp_runlog_reader *reader, bp_error *error) {
    bp_scan_event event;
    do {
        bp_status status = bp_scan_next(&reader->scan, &event, error);
        if (status != BP_OK) return status;
        if (event.kind != BP_SCAN_FRAME || event.frame.type != BP_RUNLOG_MODEL) continue;
        bp_cursor cursor;
        bp_cursor_init(&cursor, event.payload, event.frame.n_bytes);
        status = bp_model_decode(&reader->model, &cursor, &reader->allocator, NULL);
        if (status == BP_ERROR_MEMORY)
            return bp_fail(error, status, "no memory for the network of %s", reader->file);
        if (status == BP_OK) return status;
    } while (event.kind != BP_SCAN_END);
    return BP_OK;
}

static bp_status find_model(bp_runlog_reader *reader, bp_error *error) {
    for (size_t i = 0; i < reader->n_segments; i++) {
        if (reader->segments[i].is_foreign) continue;
        bp_scan_start start;
        bp_status status = open_segment(reader, i, &start, error);
        if (status != BP_OK) return status;
        status = scan_for_model(reader, error);
        bp_scan_close(&reader->scan);
        if (status != BP_OK || reader->model) return status;
    }
    return bp_fail(error, BP_ERROR_INPUT,
                   "the run log %s has no readable description of its network: expected it in the "
                   "first record of a segment, found it damaged or cut in each",
                   reader->path);
}

static bp_status open_all(bp_runlog_reader *reader, const char *path, bp_error *error) {
    bp_status status = list_segments(reader, path, error);
    if (status == BP_OK) status = read_headers(reader, error);
    if (status == BP_OK) status = find_model(reader, error);
    if (status != BP_OK) return status;
    status = bp_record_init(&reader->record, bp_model_n_layers(reader->model), &reader->allocator);
    return status == BP_OK ? BP_OK : bp_fail(error, status, "no memory to read %s", path);
}

bp_status bp_runlog_reader_open_through(bp_runlog_reader **reader, const bp_io *io,
                                        const char *path, const bp_allocator *allocator,
                                        bp_error *error) {
    const int saved = errno;
    allocator = bp_allocator_or_system(allocator);
    bp_runlog_reader *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", path);
    opened->allocator = *allocator;
    opened->io = io;
    opened->scan.file = -1;
    bp_order_init(&opened->order);
    const bp_status status = open_all(opened, path, error);
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
        const bp_segment_id last = reader->segments[reader->n_segments - 1].id;
        const uint64_t seen = reader->seen > reader->expected ? reader->seen : reader->expected;
        *tail = (bp_runlog_tail){.run = last.run, .sequence = seen, .segment = last.index};
    }
    bp_runlog_reader_close(reader);
    return status;
}

void bp_runlog_reader_close(bp_runlog_reader *reader) {
    if (!reader) return;
    const int saved = errno;
    const bp_allocator allocator = reader->allocator;
    bp_scan_close(&reader->scan);
    bp_order_finish(&reader->order);
    bp_model_close(reader->model);
    bp_record_finish(&reader->record, &allocator);
    bp_release(&allocator, reader->segments, reader->n_segments, sizeof *reader->segments);
    bp_release(&allocator, reader->file, reader->file_bytes, 1);
    bp_release_text(&allocator, reader->path);
    bp_release(&allocator, reader, 1, sizeof *reader);
    errno = saved;
}

/* --- reading -------------------------------------------------------------------------------- */

static void take_end(bp_runlog_reader *reader, const bp_scan_event *event) {
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    const uint64_t end = bp_read_varint(&cursor);
    if (cursor.bad || end < BP_RUN_FINISHED || end > BP_RUN_STOPPED)
        note_record_damage(reader, event, "an end of the run that has no meaning");
    else
        reader->end = (bp_run_end)end;
}

static bool take_step(bp_runlog_reader *reader, const bp_scan_event *event) {
    bp_cursor cursor;
    bp_error why;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    if (bp_record_decode(&reader->record, &cursor, &why) == BP_OK)
        return reader->record.step < reader->segments[reader->current].limit;
    note_record_damage(reader, event, why.text);
    return false;
}

/* True when it gave a step. */
static bool take_frame(bp_runlog_reader *reader, const bp_scan_event *event) {
    const uint64_t sequence = event->frame.sequence;
    if (sequence < reader->expected) {
        note_damage(reader, event->place, event->n_bytes, "a record for the second time");
        return false;
    }
    reader->damage.lost_records += sequence - reader->expected;
    reader->expected = sequence + 1;
    switch ((bp_runlog_type)event->frame.type) {
    case BP_RUNLOG_STEP:
        return take_step(reader, event);
    case BP_RUNLOG_END:
        take_end(reader, event);
        return false;
    case BP_RUNLOG_REWIND:
        reader->end = BP_RUN_OPEN; /* until it ends again */
        return false;
    case BP_RUNLOG_MODEL:
    case BP_RUNLOG_HEADER:
    case BP_RUNLOG_GAP:
        return false; /* the missing numbers tell of the gap */
    }
    reader->damage.unknown++;
    return false;
}

static void take_damage(bp_runlog_reader *reader, const bp_scan_event *event) {
    const bool in_payload = event->has_header && event->header_place == event->place;
    note_damage(reader, event->place, event->n_bytes,
                in_payload ? "one whose checksum does not match" : "bytes that are none");
    if (!event->has_header) return;
    const int64_t shift = (int64_t)event->header_place - (int64_t)event->frame.offset;
    if (shift == reader->order.shift && event->frame.sequence >= reader->seen)
        reader->seen = event->frame.sequence + 1;
}

/* One event of the open segment; *given when it was a step. */
static bp_status advance(bp_runlog_reader *reader, bool *given, bp_error *error) {
    bp_scan_event event;
    bp_status status = bp_scan_next(&reader->scan, &event, error);
    if (status != BP_OK) return status;
    bool belongs = false;
    switch (event.kind) {
    case BP_SCAN_FRAME:
        status = bp_order_check(&reader->order, &reader->scan, &event, reader->expected, &belongs,
                                error);
        if (status != BP_OK) return status;
        if (belongs)
            *given = take_frame(reader, &event);
        else
            note_damage(reader, event.place, event.n_bytes, "one that belongs elsewhere");
        break;
    case BP_SCAN_DAMAGE:
        take_damage(reader, &event);
        break;
    case BP_SCAN_CUT:
        if (may_be_torn(reader))
            reader->damage.torn_tail = true;
        else
            note_damage(reader, event.place, event.n_bytes, "one that is cut");
        break;
    case BP_SCAN_END:
        end_segment(reader);
        break;
    }
    return BP_OK;
}

static bp_status next_step(bp_runlog_reader *reader, const bp_record **record, bp_error *error) {
    while (reader->current < reader->n_segments) {
        bp_status status = BP_OK;
        bool given = false;
        if (reader->scan.file < 0) status = begin_segment(reader, error);
        if (status != BP_OK) return status;
        if (reader->segments[reader->current].is_foreign) {
            note_damage(reader, 0, 0, "a segment of another run");
            end_segment(reader);
            continue;
        }
        status = advance(reader, &given, error);
        if (status != BP_OK) return status;
        if (given) {
            *record = &reader->record;
            return BP_OK;
        }
    }
    *record = NULL;
    return BP_OK;
}

bp_status bp_runlog_reader_next(bp_runlog_reader *reader, const bp_record **record,
                                bp_error *error) {
    const int saved = errno;
    const bp_status status = next_step(reader, record, error);
    errno = saved;
    return status;
}

const bp_model *bp_runlog_reader_model(const bp_runlog_reader *reader) {
    return reader->model;
}

bp_run_end bp_runlog_reader_end(const bp_runlog_reader *reader) {
    return reader->end;
}

const bp_runlog_damage *bp_runlog_reader_damage(const bp_runlog_reader *reader) {
    return &reader->damage;
}
