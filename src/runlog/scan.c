/* SPDX-License-Identifier: Apache-2.0 */
#include "runlog/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FIRST_BUFFER_BYTES ((size_t)64 << 10)
/* Read at once behind a payload that was passed over: the next one may be, too. */
#define BEHIND_BYTES ((size_t)8 << 10)

/* Behind a bad payload the search goes on inside it. A hostile file could nest so many headers in
 * one another that this takes quadratic time: above this the lengths are believed. */
#define MAX_RECHECKED_BYTES ((uint64_t)256 << 20)

/* Where a copy of a lost segment header is looked for: a large file that is no log at all must not
 * be read to its end. */
#define MAX_SEARCH_BYTES ((uint64_t)64 << 20)

/* What stands at the window's start. */
typedef struct sight {
    enum { NO_BYTES, GOOD, BAD_HEADER, BAD_PAYLOAD, CUT_OFF } verdict;
    bp_frame frame;         /* GOOD, BAD_PAYLOAD */
    const uint8_t *payload; /* GOOD */
} sight;

bp_status bp_scan_open(bp_scan *scan, const bp_io *io, const char *path,
                       const bp_allocator *allocator, bp_error *error) {
    /* O_NONBLOCK: a pipe of that name must not hang us. */
    const int file = io->open(io->context, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (file < 0) return bp_fail_os(error, errno, "cannot open the run log %s", path);
    *scan = (bp_scan){.io = io, .allocator = allocator, .path = path, .file = file};
    return BP_OK;
}

void bp_scan_open_memory(bp_scan *scan, uint8_t *bytes, size_t n_bytes, const char *path,
                         const bp_allocator *allocator) {
    *scan = (bp_scan){.allocator = allocator,
                      .path = path,
                      .in_memory = true,
                      .buffer = bytes,
                      .capacity = n_bytes,
                      .end = n_bytes,
                      .at_eof = true};
}

void bp_scan_close(bp_scan *scan) {
    if (scan->file < 0) return;
    if (!scan->in_memory) {
        scan->io->close(scan->io->context, scan->file);
        bp_release(scan->allocator, scan->buffer, scan->capacity, 1);
    }
    scan->buffer = NULL;
    scan->file = -1;
}

/* --- the window ----------------------------------------------------------------------------- */

static size_t available(const bp_scan *scan) {
    return scan->end - scan->start;
}

/* Room behind `end`: by moving what is left down when that at least halves it, else by doubling. */
static bp_status make_room(bp_scan *scan, bp_error *error) {
    if (scan->end < scan->capacity) return BP_OK;
    if (scan->start >= scan->capacity / 2 && scan->start > 0) {
        memmove(scan->buffer, scan->buffer + scan->start, available(scan));
        scan->end -= scan->start;
        scan->start = 0;
        return BP_OK;
    }
    const size_t wanted = scan->capacity ? 2 * scan->capacity : FIRST_BUFFER_BYTES;
    uint8_t *grown =
        scan->allocator->resize(scan->allocator->context, scan->buffer, scan->capacity, wanted);
    if (!grown) return bp_fail(error, BP_ERROR_MEMORY, "no memory to read %s", scan->path);
    scan->buffer = grown;
    scan->capacity = wanted;
    return BP_OK;
}

static ssize_t read_more(const bp_scan *scan) {
    uint8_t *to = scan->buffer + scan->end;
    size_t room = scan->capacity - scan->end;
    if (scan->passes && room > BEHIND_BYTES) room = BEHIND_BYTES;
    if (!scan->jumped) return scan->io->read(scan->io->context, scan->file, to, room);
    return scan->io->read_at(scan->io->context, scan->file, to, room,
                             scan->place + available(scan));
}

/* Reads until n_bytes are available or the file ends. */
static bp_status need(bp_scan *scan, size_t n_bytes, bp_error *error) {
    while (available(scan) < n_bytes && !scan->at_eof) {
        const bp_status status = make_room(scan, error);
        if (status != BP_OK) return status;
        const ssize_t n = read_more(scan);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return bp_fail_os(error, errno, "cannot read the run log %s", scan->path);
        if (n == 0) scan->at_eof = true;
        scan->end += (size_t)n;
    }
    return BP_OK;
}

/* What was not read is passed over. */
static void consume(bp_scan *scan, size_t n_bytes) {
    const bool was_read = n_bytes <= available(scan);
    scan->place += n_bytes;
    scan->start += n_bytes;
    if (was_read) return;
    scan->start = scan->end = 0;
    scan->jumped = scan->passes = true;
    scan->at_eof = false;
}

/* --- headers and frames --------------------------------------------------------------------- */

bp_status bp_scan_header(bp_scan *scan, bp_scan_start *start, bp_error *error) {
    *start = (bp_scan_start){0};
    const bp_status status = need(scan, BP_SEGMENT_START, error);
    if (status != BP_OK) return status;
    start->n_bytes = available(scan) < BP_SEGMENT_START ? available(scan) : BP_SEGMENT_START;
    memcpy(start->bytes, scan->buffer + scan->start, start->n_bytes);
    for (size_t i = 0; (i + 1) * BP_SEGMENT_HEADER_BYTES <= start->n_bytes; i++) {
        bp_segment_header header;
        start->good[i] = bp_segment_header_get(&header, start->bytes + i * BP_SEGMENT_HEADER_BYTES);
        if (start->good[i] && !start->found) start->header = header;
        start->found = start->found || start->good[i];
    }
    consume(scan, start->n_bytes);
    return BP_OK;
}

/* To the next place where these bytes stand, this one too; else to the few last bytes, in which
 * they could be cut, or to the limit. */
static bp_status skip_to(bp_scan *scan, const void *bytes, size_t n_bytes, uint64_t limit,
                         bp_error *error) {
    while (scan->place < limit) {
        const bp_status status = need(scan, n_bytes, error);
        if (status != BP_OK) return status;
        const size_t n = available(scan);
        if (n < n_bytes) return BP_OK;
        const uint8_t *window = scan->buffer + scan->start;
        const uint8_t *found = memmem(window, n, bytes, n_bytes);
        consume(scan, found ? (size_t)(found - window) : n - (n_bytes - 1));
        if (found) return BP_OK;
    }
    return BP_OK;
}

bp_status bp_scan_find_header(bp_scan *scan, bp_segment_header *header, bool *found,
                              bp_error *error) {
    *found = false;
    while (!*found && scan->place < MAX_SEARCH_BYTES) {
        bp_status status =
            skip_to(scan, BP_SEGMENT_MAGIC, BP_SEGMENT_MAGIC_BYTES, MAX_SEARCH_BYTES, error);
        if (status == BP_OK) status = need(scan, BP_SEGMENT_HEADER_BYTES, error);
        if (status != BP_OK) return status;
        if (available(scan) < BP_SEGMENT_HEADER_BYTES) return BP_OK;
        *found = bp_segment_header_get(header, scan->buffer + scan->start);
        consume(scan, 1);
    }
    return BP_OK;
}

bp_status bp_scan_jump(bp_scan *scan, uint64_t place, bool *fits, bp_frame *frame,
                       bp_error *error) {
    scan->jumped = true;
    scan->place = place;
    scan->start = scan->end = 0;
    scan->at_eof = scan->in_memory;
    if (scan->in_memory) { /* all of it is there */
        scan->end = scan->capacity;
        scan->start = place < scan->capacity ? (size_t)place : scan->capacity;
    }
    const bp_status status = need(scan, BP_FRAME_HEADER_BYTES, error);
    if (status != BP_OK) return status;
    *frame = (bp_frame){0};
    *fits = available(scan) == 0 ||
            (available(scan) >= BP_FRAME_HEADER_BYTES &&
             bp_frame_get(frame, scan->buffer + scan->start, scan->salt) && frame->offset == place);
    return BP_OK;
}

static void put_magic(uint8_t magic[4]) {
    bp_put_u32(magic, BP_FRAME_MAGIC);
}

static bool is_wanted(const bp_scan *scan, unsigned type) {
    return scan->only == 0 || (type < 64 && scan->only >> type & 1);
}

/* Whether nobody looks into the payload, and the file has all of it: it need not be read. */
static bool may_pass(const bp_scan *scan, const bp_frame *frame) {
    uint8_t last;
    const uint64_t n_bytes = BP_FRAME_HEADER_BYTES + (uint64_t)frame->n_bytes;
    if (scan->in_memory || is_wanted(scan, frame->type) || available(scan) >= n_bytes) return false;
    return scan->io->read_at(scan->io->context, scan->file, &last, 1, scan->place + n_bytes - 1) ==
           1;
}

static bp_status look(bp_scan *scan, sight *seen, bp_error *error) {
    bp_status status = need(scan, BP_FRAME_HEADER_BYTES, error);
    if (status != BP_OK) return status;
    const size_t n = available(scan);
    if (n < BP_FRAME_HEADER_BYTES) {
        uint8_t magic[4];
        put_magic(magic);
        const bool begins = memcmp(scan->buffer + scan->start, magic, n < 4 ? n : 4) == 0;
        seen->verdict = n == 0 ? NO_BYTES : begins ? CUT_OFF : BAD_HEADER;
        return BP_OK;
    }
    bp_frame *frame = &seen->frame;
    if (!bp_frame_get(frame, scan->buffer + scan->start, scan->salt)) {
        seen->verdict = BAD_HEADER;
        return BP_OK;
    }
    if (may_pass(scan, frame)) {
        seen->verdict = GOOD;
        return BP_OK;
    }
    status = need(scan, BP_FRAME_HEADER_BYTES + (size_t)frame->n_bytes, error);
    if (status != BP_OK) return status;
    seen->payload = scan->buffer + scan->start + BP_FRAME_HEADER_BYTES;
    if (available(scan) - BP_FRAME_HEADER_BYTES < frame->n_bytes)
        seen->verdict = CUT_OFF;
    else if (is_wanted(scan, frame->type) &&
             bp_crc32c(0, seen->payload, frame->n_bytes) != frame->payload_crc)
        seen->verdict = BAD_PAYLOAD;
    else
        seen->verdict = GOOD;
    return BP_OK;
}

/* To the next place where a header may begin. */
static bp_status skip(bp_scan *scan, bp_error *error) {
    uint8_t magic[4];
    put_magic(magic);
    consume(scan, 1);
    return skip_to(scan, magic, sizeof magic, UINT64_MAX, error);
}

static bp_status skip_bad_payload(bp_scan *scan, const bp_frame *frame, bp_error *error) {
    scan->rechecked += frame->n_bytes;
    if (scan->rechecked <= MAX_RECHECKED_BYTES) return skip(scan, error);
    consume(scan, BP_FRAME_HEADER_BYTES + (size_t)frame->n_bytes);
    return BP_OK;
}

/* Damage up to `until`; a cut frame there is told of by the next call. */
static void end_of_file(bp_scan *scan, bp_scan_event *event, uint64_t cut_place) {
    const uint64_t until = cut_place ? cut_place : scan->place;
    event->kind = until > event->place ? BP_SCAN_DAMAGE : cut_place ? BP_SCAN_CUT : BP_SCAN_END;
    event->n_bytes = (event->kind == BP_SCAN_CUT ? scan->place : until) - event->place;
    scan->cut_place = event->kind == BP_SCAN_DAMAGE ? cut_place : 0;
}

/* What may be a cut frame is still in the buffer: nothing was read behind it. */
void bp_scan_go_on(bp_scan *scan) {
    scan->start -= (size_t)scan->torn;
    scan->place -= scan->torn;
    scan->torn = 0;
    scan->at_eof = scan->in_memory;
}

/* The good frame, or first the damage before it. */
static void give(bp_scan *scan, bp_scan_event *event, const sight *seen) {
    if (scan->place > event->place) {
        event->kind = BP_SCAN_DAMAGE;
        event->n_bytes = scan->place - event->place;
        return;
    }
    event->kind = BP_SCAN_FRAME;
    event->frame = seen->frame;
    event->payload = seen->payload;
    event->n_bytes = BP_FRAME_HEADER_BYTES + (uint64_t)seen->frame.n_bytes;
    consume(scan, (size_t)event->n_bytes);
}

bp_status bp_scan_next(bp_scan *scan, bp_scan_event *event, bp_error *error) {
    *event = (bp_scan_event){.place = scan->place};
    if (scan->cut_place) {
        event->place = scan->cut_place;
        end_of_file(scan, event, scan->cut_place);
        return BP_OK;
    }
    uint64_t cut_place = 0, torn_place = 0;
    for (;;) {
        sight seen = {0};
        bp_status status = look(scan, &seen, error);
        if (status != BP_OK) return status;
        if (seen.verdict == NO_BYTES) {
            if (torn_place) scan->torn = scan->place - torn_place;
            end_of_file(scan, event, cut_place);
            return BP_OK;
        }
        if (seen.verdict == GOOD) {
            give(scan, event, &seen);
            return BP_OK;
        }
        if (seen.verdict == CUT_OFF && !torn_place) torn_place = scan->place;
        if (seen.verdict == CUT_OFF && !cut_place &&
            (scan->place == event->place || available(scan) >= sizeof(uint32_t)))
            cut_place = scan->place;
        if (seen.verdict == BAD_PAYLOAD) {
            event->has_header = true;
            event->header_place = scan->place;
            event->frame = seen.frame;
        }
        status = seen.verdict == BAD_PAYLOAD ? skip_bad_payload(scan, &seen.frame, error)
                                             : skip(scan, error);
        if (status != BP_OK) return status;
    }
}
