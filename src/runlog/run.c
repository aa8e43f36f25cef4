/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/run.h"
#include "model/model.h"
#include "record/event.h"
#include "runlog/segments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- one segment ---------------------------------------------------------------------------- */

void bp_run_name_file(bp_run *run, size_t index) {
    const bp_run_segment *segment = &run->segments[index];
    char name[BP_SEGMENT_NAME_BYTES];
    if (segment->name)
        snprintf(run->file, run->file_bytes, "%s/%s", run->path,
                 bp_segment_name(name, segment->name));
}

bp_status bp_run_open_segment(bp_run *run, size_t index, bp_scan *scan, bp_scan_start *start,
                              bp_error *error) {
    const bp_run_segment *segment = &run->segments[index];
    bp_run_name_file(run, index);
    bp_status status = BP_OK;
    if (segment->is_image)
        bp_scan_open_memory(scan, run->image, run->image_bytes, run->path, &run->allocator);
    else
        status = bp_scan_open(scan, run->io, run->file, &run->allocator, error);
    if (status != BP_OK) return status;
    scan->salt = segment->id;
    status = bp_scan_header(scan, start, error);
    if (status != BP_OK) bp_scan_close(scan);
    return status;
}

bool bp_run_may_be_torn(const bp_run *run, size_t index) {
    if (index + 1 == run->n_segments) return true;
    const bp_run_segment *next = &run->segments[index + 1];
    return next->rewinds || next->is_salvaged;
}

uint64_t bp_run_segment_bytes(bp_run *run, size_t index) {
    struct stat found;
    bp_run_name_file(run, index);
    if (run->segments[index].is_image) return run->image_bytes;
    return stat(run->file, &found) == 0 && found.st_size > 0 ? (uint64_t)found.st_size : 0;
}

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

/* The step that a record near a segment's begin says that the run went back to: a rewind record,
 * or, where that is damaged, the first record of steps or a histogram. Negative: neither. */
static int64_t rewound_to(const bp_scan_event *event) {
    const unsigned type = event->frame.type;
    if (type != BP_RUNLOG_REWIND && type != BP_RUNLOG_STEP && type != BP_RUNLOG_LOSSES &&
        type != BP_RUNLOG_HISTOGRAM)
        return -1;
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    if (type == BP_RUNLOG_LOSSES)
        (void)bp_read_f64(&cursor); /* the wall time */
    else if (type != BP_RUNLOG_HISTOGRAM)
        (void)bp_read_varint(&cursor); /* why, or the number of layers */
    const uint64_t step = bp_read_varint(&cursor);
    return cursor.bad || step > INT64_MAX ? -1 : (int64_t)step;
}

static bp_status read_rewind(bp_run_segment *segment, bp_scan *scan, bp_error *error) {
    enum { NEAR = 8 };
    bp_scan_event event = {.kind = BP_SCAN_FRAME};
    for (int i = 0; i < NEAR && event.kind != BP_SCAN_END; i++) {
        const bp_status status = bp_scan_next(scan, &event, error);
        if (status != BP_OK) return status;
        segment->is_begun = event.kind == BP_SCAN_END;
        const int64_t step = event.kind == BP_SCAN_FRAME ? rewound_to(&event) : -1;
        if (step < 0) continue;
        segment->rewinds = true;
        segment->rewind = step;
        return BP_OK;
    }
    return BP_OK;
}

static bp_status read_header(bp_run *run, size_t index, bp_scan_start *start, bp_error *error) {
    bp_run_segment *segment = &run->segments[index];
    bp_scan scan;
    bp_status status = bp_run_open_segment(run, index, &scan, start, error);
    if (status != BP_OK) return status;
    if (start->found) scan.salt = start->header.id;
    if (!start->found)
        status = bp_scan_find_header(&scan, &start->header, &start->found, error);
    else if (start->header.compatible & BP_RUNLOG_REWINDS)
        status = read_rewind(segment, &scan, error);
    bp_scan_close(&scan);
    if (status == BP_OK && start->found) status = check_version(run->file, &start->header, error);
    if (status != BP_OK || !start->found) return status;
    segment->has_header = true;
    segment->id = start->header.id;
    segment->first_sequence = start->header.first_sequence;
    segment->numbers_data = (start->header.incompatible & BP_RUNLOG_NUMBERS_DATA) != 0;
    segment->is_salvaged = (start->header.compatible & BP_RUNLOG_SALVAGED) != 0;
    return BP_OK;
}

/* --- their order ---------------------------------------------------------------------------- */

static int by_index(const void *a, const void *b) {
    const bp_run_segment *left = a, *right = b;
    return (left->id.index > right->id.index) - (left->id.index < right->id.index);
}

static void set_limits(bp_run *run) {
    int64_t limit = INT64_MAX;
    for (size_t i = run->n_segments; i-- > 0;) {
        bp_run_segment *segment = &run->segments[i];
        segment->limit = limit;
        if (segment->rewinds && !segment->is_foreign && segment->rewind < limit)
            limit = segment->rewind;
    }
}

/* Reads each segment's header; one with none left takes the run of the others. */
static bp_status read_headers(bp_run *run, bp_error *error) {
    bool found = false;
    bp_scan_start start = {0};
    for (size_t i = 0; i < run->n_segments; i++) {
        const bp_status status = read_header(run, i, &start, error);
        if (status != BP_OK) return status;
        if (start.found && !found) run->first = start.header;
        found = found || start.found;
        run->segments[i].is_foreign = start.found && start.header.id.run != run->first.id.run;
    }
    if (!found) return fail_no_log(run->file, &start, error);
    for (size_t i = 0; i < run->n_segments; i++) {
        bp_run_segment *segment = &run->segments[i];
        if (segment->has_header) continue;
        segment->id.run = run->first.id.run;
        segment->numbers_data = (run->first.incompatible & BP_RUNLOG_NUMBERS_DATA) != 0;
    }
    qsort(run->segments, run->n_segments, sizeof *run->segments, by_index);
    set_limits(run);
    return BP_OK;
}

/* --- the list ------------------------------------------------------------------------------- */

static bp_status add_segment(bp_run *run, uint32_t name, bp_error *error) {
    if (run->n_segments == run->capacity) {
        const size_t wanted = run->capacity ? 2 * run->capacity : 16;
        bp_run_segment *grown =
            run->allocator.resize(run->allocator.context, run->segments,
                                  run->capacity * sizeof *grown, wanted * sizeof *grown);
        if (!grown) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", run->path);
        run->segments = grown;
        run->capacity = wanted;
    }
    run->segments[run->n_segments++] = (bp_run_segment){.name = name, .id = {0, name}};
    return BP_OK;
}

/* What a killed run had not yet written becomes a segment of its folder; where that cannot be
 * written, one that is read from memory. */
static bp_status salvage(bp_run *run, bp_error *error) {
    uint64_t n_records;
    bp_status status = bp_runlog_salvage(run->io, run->path, &run->allocator, &n_records, error);
    if (status == BP_ERROR_IO)
        status = bp_runlog_salvage_image(run->io, run->path, &run->allocator, &run->image,
                                         &run->image_bytes, error);
    /* A ring that does not fit the segments is none of theirs; what cannot be read is not passed
     * over in silence. */
    return status == BP_ERROR_INPUT ? BP_OK : status;
}

static bp_status add_image(bp_run *run, const bp_segments *list, bp_error *error) {
    if (!run->image) return BP_OK;
    const bp_status status = add_segment(run, list->index[list->n - 1] + 1, error);
    if (status == BP_OK) run->segments[run->n_segments - 1].is_image = true;
    return status;
}

static bp_status list_folder(bp_run *run, bp_error *error) {
    bp_segments list;
    bp_status status = salvage(run, error);
    if (status != BP_OK) return status;
    status = bp_segments_list(&list, run->path, &run->allocator, error);
    if (status != BP_OK) return status;
    for (size_t i = 0; i < list.n && status == BP_OK; i++)
        status = add_segment(run, list.index[i], error);
    if (status == BP_OK && list.n == 0)
        status = bp_fail(error, BP_ERROR_INPUT,
                         "%s holds no run log: expected files named log-000001.bplog, found none",
                         run->path);
    if (status == BP_OK) status = add_image(run, &list, error);
    bp_segments_free(&list, &run->allocator);
    return status;
}

static bp_status list_segments(bp_run *run, const char *path, bp_error *error) {
    struct stat kind;
    if (stat(path, &kind) != 0)
        return bp_fail_os(error, errno, "cannot open %s, expected a run folder or a run log", path);
    run->path = bp_copy_text(&run->allocator, path);
    run->file_bytes = strlen(path) + 1 + BP_SEGMENT_NAME_BYTES;
    run->file = bp_allocate(&run->allocator, run->file_bytes, 1);
    if (!run->path || !run->file)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", path);
    memcpy(run->file, path, strlen(path) + 1);
    run->is_folder = S_ISDIR(kind.st_mode);
    return run->is_folder ? list_folder(run, error) : add_segment(run, 0, error);
}

static bool is_known(const bp_run *run, uint32_t name) {
    for (size_t i = 0; i < run->n_segments; i++)
        if (run->segments[i].name == name) return true;
    return false;
}

/* The segment that was added last is of the run and comes behind the others. */
static bp_status keep_if_next(bp_run *run, bp_error *error) {
    const size_t last = run->n_segments - 1;
    bp_run_segment *segment = &run->segments[last];
    bp_scan_start start;
    const bp_status status = read_header(run, last, &start, error);
    segment->is_foreign = start.found && segment->id.run != run->first.id.run;
    if (status != BP_OK || !start.found || segment->id.index <= run->segments[last - 1].id.index)
        run->n_segments--;
    return status;
}

/* Of the last segment all may be known now that was still to be written. */
static bp_status read_last_again(bp_run *run, bp_error *error) {
    const size_t last = run->n_segments - 1;
    bp_run_segment *segment = &run->segments[last];
    bp_scan_start start;
    if (segment->has_header && !segment->is_begun) return BP_OK;
    const bp_status status = read_header(run, last, &start, error);
    if (status != BP_OK || !start.found) return status;
    segment->is_foreign = segment->id.run != run->first.id.run;
    set_limits(run);
    return BP_OK;
}

bp_status bp_run_look_again(bp_run *run, bp_error *error) {
    uint64_t n_records;
    bp_segments list;
    if (!run->is_folder) return BP_OK;
    /* The run may have been killed since; what cannot be salvaged now is another reader's. */
    if (!run->image)
        (void)!bp_runlog_salvage(run->io, run->path, &run->allocator, &n_records, NULL);
    bp_status status = read_last_again(run, error);
    if (status != BP_OK) return status;
    status = bp_segments_list(&list, run->path, &run->allocator, error);
    if (status != BP_OK) return status;
    const size_t before = run->n_segments;
    for (size_t i = 0; i < list.n && status == BP_OK; i++) {
        if (is_known(run, list.index[i])) continue;
        status = add_segment(run, list.index[i], error);
        if (status == BP_OK) status = keep_if_next(run, error);
    }
    bp_segments_free(&list, &run->allocator);
    if (run->n_segments > before) set_limits(run);
    return status;
}

/* --- the network ---------------------------------------------------------------------------- */

static bp_status take_layers(bp_run *run, const bp_scan_event *event, bool *grew, bp_error *error) {
    bp_event delta;
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    const bp_status status = bp_event_decode(&delta, BP_EVENT_MODEL_DELTA, &cursor, error);
    if (status != BP_OK) return status;
    const uint32_t known = bp_model_n_layers(run->model);
    const uint32_t first = delta.as.model_delta.first_layer;
    if (first <= known) return BP_OK; /* as the model of the segment's begin says already */
    if (first > known + 1)
        return bp_fail(error, BP_ERROR_INPUT,
                       "a record of layers that were added begins with layer %u, expected %u",
                       (unsigned)first, (unsigned)known + 1);
    *grew = true;
    return bp_model_decode_layers(run->model, delta.as.model_delta.n_layers, &cursor, error);
}

/* A later segment's model has the layers that came meanwhile. */
static bp_status take_model(bp_run *run, const bp_scan_event *event, bool *grew, bp_error *error) {
    bp_model *found;
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    const bp_status status = bp_model_decode(&found, &cursor, &run->allocator, error);
    if (status != BP_OK) return status;
    *grew = !run->model || bp_model_n_layers(found) > bp_model_n_layers(run->model);
    if (!run->model) {
        run->model = found;
        return BP_OK;
    }
    if (*grew) bp_model_swap(run->model, found);
    bp_model_close(found);
    return BP_OK;
}

bp_status bp_run_take_model(bp_run *run, const bp_scan_event *event, bool *grew, bp_error *error) {
    *grew = false;
    if (event->frame.type == BP_RUNLOG_MODEL) return take_model(run, event, grew, error);
    if (!run->model) return BP_OK; /* layers added to a network that is unknown */
    const bp_status status = take_layers(run, event, grew, error);
    if (status != BP_OK) *grew = false;
    return status;
}

/* All that a segment says of the network; nothing is no error. */
static bp_status scan_for_model(bp_run *run, bp_scan *scan, bp_error *error) {
    bp_scan_event event;
    do {
        bool grew;
        bp_status status = bp_scan_next(scan, &event, error);
        if (status != BP_OK) return status;
        if (event.kind != BP_SCAN_FRAME ||
            (event.frame.type != BP_RUNLOG_MODEL && event.frame.type != BP_RUNLOG_MODEL_DELTA))
            continue;
        status = bp_run_take_model(run, &event, &grew, NULL);
        if (status == BP_ERROR_MEMORY)
            return bp_fail(error, status, "no memory for the network of %s", run->file);
    } while (event.kind != BP_SCAN_END);
    return BP_OK;
}

/* The last segment knows all layers; where it can say nothing, the one before knows most. */
static bp_status find_model(bp_run *run, bp_error *error) {
    for (size_t i = run->n_segments; i-- > 0;) {
        if (run->segments[i].is_foreign) continue;
        bp_scan scan;
        bp_scan_start start;
        bp_status status = bp_run_open_segment(run, i, &scan, &start, error);
        if (status != BP_OK) return status;
        scan.only = UINT64_C(1) << BP_RUNLOG_MODEL | UINT64_C(1) << BP_RUNLOG_MODEL_DELTA;
        status = scan_for_model(run, &scan, error);
        bp_scan_close(&scan);
        if (status != BP_OK || run->model) return status;
    }
    return bp_fail(error, BP_ERROR_INPUT,
                   "the run log %s has no readable description of its network: expected it in the "
                   "first record of a segment, found it damaged or cut in each",
                   run->path);
}

/* --- open and close ------------------------------------------------------------------------- */

bp_status bp_run_open(bp_run *run, const bp_io *io, const char *path, const bp_allocator *allocator,
                      bp_error *error) {
    *run = (bp_run){.io = io, .allocator = *bp_allocator_or_system(allocator)};
    bp_status status = list_segments(run, path, error);
    if (status == BP_OK) status = read_headers(run, error);
    if (status == BP_OK) status = find_model(run, error);
    if (status != BP_OK) bp_run_close(run);
    return status;
}

void bp_run_close(bp_run *run) {
    const bp_allocator allocator = run->allocator;
    bp_model_close(run->model);
    bp_release(&allocator, run->segments, run->capacity, sizeof *run->segments);
    bp_release(&allocator, run->file, run->file_bytes, 1);
    bp_release(&allocator, run->image, run->image_bytes, 1);
    bp_release_text(&allocator, run->path);
    *run = (bp_run){.allocator = allocator};
}
