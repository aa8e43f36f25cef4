/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/walk.h"
#include "record/event.h"

#include <math.h>
#include <string.h>

static bool is_ours(const bp_scan_start *start, bp_segment_id id) {
    const bp_segment_header *header = &start->header;
    return memcmp(start->bytes, start->bytes + BP_SEGMENT_HEADER_BYTES, BP_SEGMENT_HEADER_BYTES) ==
               0 &&
           header->major == BP_RUNLOG_MAJOR && header->incompatible == BP_RUNLOG_NUMBERS_DATA &&
           header->id.run == id.run && header->id.index == id.index;
}

bp_status bp_walk_open(bp_walk *walk, const bp_io *io, const char *path, bp_segment_id id,
                       const bp_allocator *allocator, bp_meanwhile meanwhile, bool *found,
                       bp_error *error) {
    *walk = (bp_walk){.scan = {.file = -1}, .meanwhile = meanwhile};
    bp_status status = bp_scan_open(&walk->scan, io, path, allocator, error);
    if (status != BP_OK) return status;
    walk->scan.salt = id;
    status = bp_scan_header(&walk->scan, &walk->start, error);
    *found = status == BP_OK && is_ours(&walk->start, id);
    walk->expected = walk->start.header.first_sequence;
    if (!*found) bp_walk_close(walk);
    return status;
}

void bp_walk_close(bp_walk *walk) {
    bp_scan_close(&walk->scan);
}

static bool take_step(bp_walk_step *step) {
    bp_cursor cursor;
    bp_record_glance glance;
    bp_cursor_init(&cursor, step->payload, step->frame.n_bytes);
    if (!bp_record_look(&glance, &cursor)) return false;
    step->may_go = true;
    step->n_numbers = 1;
    step->first_step = step->last_step = glance.step;
    step->non_finite = glance.non_finite;
    return true;
}

static bool take_losses(bp_walk_step *step) {
    bp_cursor cursor;
    bp_cursor_init(&cursor, step->payload, step->frame.n_bytes);
    (void)bp_read_f64(&cursor); /* wall time */
    const uint64_t first = bp_read_varint(&cursor), n = bp_read_varint(&cursor);
    if (cursor.bad || n == 0 || n > (cursor.length - cursor.position) / sizeof(double) ||
        first > (uint64_t)INT64_MAX - n)
        return false;
    step->may_go = true;
    step->n_numbers = n;
    step->first_step = (int64_t)first;
    step->last_step = (int64_t)(first + n - 1);
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(bp_read_f64(&cursor))) step->non_finite = true;
    return cursor.position == cursor.length;
}

static bool take_histogram(bp_walk_step *step) {
    bp_cursor cursor;
    bp_event event;
    bp_cursor_init(&cursor, step->payload, step->frame.n_bytes);
    if (bp_event_decode(&event, BP_EVENT_HISTOGRAM, &cursor, NULL) != BP_OK) return false;
    step->may_go = true;
    step->n_numbers = 1;
    step->first_step = step->last_step = bp_event_step(&event);
    return true;
}

/* False where the payload is not what its type says. */
static bool take(bp_walk_step *step) {
    switch ((bp_runlog_type)step->frame.type) {
    case BP_RUNLOG_STEP:
        return take_step(step);
    case BP_RUNLOG_LOSSES:
        return take_losses(step);
    case BP_RUNLOG_HISTOGRAM:
        return take_histogram(step);
    case BP_RUNLOG_END:
    case BP_RUNLOG_FINDING:
    case BP_RUNLOG_CHECKPOINT:
    case BP_RUNLOG_MODEL_DELTA:
    case BP_RUNLOG_WATCH:
        step->n_numbers = 1;
        return true;
    case BP_RUNLOG_MODEL:
    case BP_RUNLOG_HEADER:
    case BP_RUNLOG_GAP:
    case BP_RUNLOG_REWIND:
    case BP_RUNLOG_THINNED:
        return true;
    }
    return true; /* unknown: whether it spends a number is seen from the next */
}

/* At the begin, too: a hundred small segments take as long as a large one. */
static bool must_stop(bp_walk *walk, uint64_t place) {
    if (!walk->meanwhile.go_on || place < walk->ask_at) return false;
    walk->ask_at = place + BP_MEANWHILE_BYTES;
    return !walk->meanwhile.go_on(walk->meanwhile.context);
}

bp_status bp_walk_next(bp_walk *walk, bp_walk_step *step, bp_error *error) {
    bp_scan_event event;
    *step = (bp_walk_step){.kind = BP_WALK_FOREIGN};
    bp_status status = bp_scan_next(&walk->scan, &event, error);
    if (status != BP_OK) return status;
    if (must_stop(walk, event.place)) {
        step->kind = BP_WALK_STOPPED;
        return BP_OK;
    }
    if (event.kind == BP_SCAN_CUT) {
        status = bp_scan_next(&walk->scan, &event, error);
        if (status != BP_OK) return status;
    }
    if (event.kind == BP_SCAN_END) step->kind = BP_WALK_END;
    if (event.kind != BP_SCAN_FRAME || event.frame.offset != event.place ||
        event.frame.sequence < walk->expected)
        return BP_OK;
    step->frame = event.frame;
    step->payload = event.payload;
    if (!take(step)) return BP_OK;
    step->kind = BP_WALK_FRAME;
    walk->expected = event.frame.sequence + step->n_numbers;
    return BP_OK;
}
