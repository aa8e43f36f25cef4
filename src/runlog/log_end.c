/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/log_end.h"
#include "model/model.h"
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
    bp_model *model; /* of the last segment that describes it */
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

/* The network with all layers that were added up to the segment's end. BP_ERROR_MEMORY is the one
 * trouble: a description that is damaged tells nothing. */
static bp_status take_model(finder *find, const bp_scan_event *event) {
    bp_model *model = NULL;
    bp_cursor cursor;
    bp_cursor_init(&cursor, event->payload, event->frame.n_bytes);
    if (event->frame.type == BP_RUNLOG_MODEL) {
        const bp_status status = bp_model_decode(&model, &cursor, find->allocator, NULL);
        if (status != BP_OK) return status == BP_ERROR_MEMORY ? status : BP_OK;
        bp_model_close(find->model);
        find->model = model;
        return BP_OK;
    }
    const uint64_t first = bp_read_varint(&cursor), n = bp_read_varint(&cursor);
    if (!find->model || cursor.bad || n > BP_MODEL_MAX_LAYERS ||
        first != (uint64_t)bp_model_n_layers(find->model) + 1)
        return BP_OK;
    const bp_status status = bp_model_decode_layers(find->model, (uint32_t)n, &cursor, NULL);
    return status == BP_ERROR_MEMORY ? status : BP_OK;
}

static bool tells_of_the_model(const bp_scan_event *event) {
    return event->frame.type == BP_RUNLOG_MODEL || event->frame.type == BP_RUNLOG_MODEL_DELTA;
}

static bp_status keep_model(finder *find, const char *folder, bp_error *error) {
    if (!find->model) return BP_OK;
    bp_log_end *end = find->end;
    end->model_capacity = bp_model_max_bytes(find->model);
    end->model = bp_allocate(find->allocator, end->model_capacity, 1);
    if (!end->model)
        return bp_fail(error, BP_ERROR_MEMORY, "no memory for the network of %s", folder);
    bp_writer bytes;
    bp_writer_init(&bytes, end->model, end->model_capacity);
    bp_model_encode(find->model, &bytes);
    end->model_bytes = bytes.length;
    return BP_OK;
}

static bp_status read_frames(finder *find, bp_scan *scan, const bp_segment_header *header,
                             bp_error *error) {
    const bool numbers_data = (header->incompatible & BP_RUNLOG_NUMBERS_DATA) != 0;
    uint64_t sequence = header->first_sequence;
    bp_scan_event event;
    do {
        const bp_status status = bp_scan_next(scan, &event, error);
        if (status != BP_OK) return status;
        if (event.kind != BP_SCAN_FRAME) continue;
        const uint64_t next = event.frame.sequence + numbers_of(&event, numbers_data);
        if (next > sequence) sequence = next;
        if (tells_of_the_model(&event) && take_model(find, &event) != BP_OK)
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
    for (size_t i = segments.n; status == BP_OK && i-- > 0 && !find.model;) {
        char name[BP_SEGMENT_NAME_BYTES];
        snprintf(path, path_bytes, "%s/%s", folder, bp_segment_name(name, segments.index[i]));
        status = read_segment(&find, path, error);
    }
    if (status == BP_OK) status = keep_model(&find, folder, error);
    bp_model_close(find.model);
    bp_release(allocator, path, path_bytes, 1);
    bp_segments_free(&segments, allocator);
    if (status != BP_OK) bp_log_end_free(end, allocator);
    return status;
}

void bp_log_end_free(bp_log_end *end, const bp_allocator *allocator) {
    bp_release(allocator, end->model, end->model_capacity, 1);
    end->model = NULL;
}
