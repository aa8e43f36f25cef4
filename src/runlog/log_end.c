/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/log_end.h"
#include "runlog/scan.h"
#include "runlog/segments.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct finder {
    bp_log_end *end;
    const bp_io *io;
    const bp_allocator *allocator;
    uint64_t run;
    bool knows_sequence;
} finder;

/* Numbers that a good frame spends. */
static uint64_t numbers_of(const bp_scan_event *event, bool numbers_data) {
    if (!numbers_data) return 1;
    if (!bp_runlog_is_data(event->frame.type)) return 0;
    if (event->frame.type != BP_RUNLOG_LOSSES) return 1;
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    (void)bp_read_f64(&cursor);
    (void)bp_read_varint(&cursor);
    const uint64_t n = bp_read_varint(&cursor);
    return cursor.bad || n > event->frame.n_bytes / sizeof(double) ? 1 : n;
}

static bool keep_model(finder *find, const bp_scan_event *event) {
    bp_log_end *end = find->end;
    if (event->frame.n_bytes == 0) return true;
    bp_release(find->allocator, end->model, end->model_bytes, 1);
    end->model_bytes = event->frame.n_bytes;
    end->model = bp_allocate(find->allocator, end->model_bytes, 1);
    if (end->model) memcpy(end->model, event->payload, end->model_bytes);
    return end->model != NULL;
}

static bp_status read_frames(finder *find, bp_scan *scan, const bp_segment_header *header,
                             bp_error *error) {
    const bool numbers_data = (header->incompatible & BP_RUNLOG_NUMBERS_DATA) != 0;
    const bool wants_model = !find->end->model;
    uint64_t sequence = header->first_sequence;
    bp_scan_event event;
    do {
        const bp_status status = bp_scan_next(scan, &event, error);
        if (status != BP_OK) return status;
        if (event.kind != BP_SCAN_FRAME) continue;
        const uint64_t next = event.frame.sequence + numbers_of(&event, numbers_data);
        if (next > sequence) sequence = next;
        if (event.frame.type == BP_RUNLOG_MODEL && wants_model && !keep_model(find, &event))
            return bp_fail(error, BP_ERROR_MEMORY, "no memory for the network of %s", scan->path);
    } while (event.kind != BP_SCAN_END);
    if (!find->knows_sequence) find->end->sequence = sequence;
    find->knows_sequence = true;
    return BP_OK;
}

static void note_time(bp_log_end *end, const char *path) {
    struct stat found;
    if (stat(path, &found) == 0 && (double)found.st_mtim.tv_sec > end->written)
        end->written = (double)found.st_mtim.tv_sec;
}

/* A segment that tells nothing of this run changes nothing. */
static bp_status read_segment(finder *find, const char *path, bp_error *error) {
    bp_scan scan;
    bp_scan_start start;
    bp_status status = bp_scan_open(&scan, find->io, path, find->allocator, error);
    if (status != BP_OK) return status;
    status = bp_scan_header(&scan, &start, error);
    if (status == BP_OK && start.found && start.header.id.run == find->run &&
        start.header.major == BP_RUNLOG_MAJOR) {
        if (start.header.id.index > find->end->last_index)
            find->end->last_index = start.header.id.index;
        scan.salt = start.header.id;
        note_time(find->end, path);
        status = read_frames(find, &scan, &start.header, error);
    }
    bp_scan_close(&scan);
    return status;
}

bp_status bp_log_end_find(bp_log_end *end, const bp_io *io, const char *folder, uint64_t run,
                          const bp_allocator *allocator, bp_error *error) {
    bp_segments segments;
    finder find = {.end = end, .io = io, .allocator = allocator, .run = run};
    *end = (bp_log_end){0};
    bp_status status = bp_segments_list(&segments, folder, allocator, error);
    if (status != BP_OK) return status;
    if (segments.n) end->last_index = segments.index[segments.n - 1];
    const size_t path_bytes = strlen(folder) + 1 + BP_SEGMENT_NAME_BYTES;
    char *path = bp_allocate(allocator, path_bytes, 1);
    if (!path) status = bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", folder);
    for (size_t i = segments.n; status == BP_OK && i-- > 0 && !end->model;) {
        char name[BP_SEGMENT_NAME_BYTES];
        snprintf(path, path_bytes, "%s/%s", folder, bp_segment_name(name, segments.index[i]));
        status = read_segment(&find, path, error);
    }
    bp_release(allocator, path, path_bytes, 1);
    bp_segments_free(&segments, allocator);
    if (status != BP_OK) bp_log_end_free(end, allocator);
    return status;
}

void bp_log_end_free(bp_log_end *end, const bp_allocator *allocator) {
    bp_release(allocator, end->model, end->model_bytes, 1);
    end->model = NULL;
}
