/* SPDX-License-Identifier: Apache-2.0 */
/* A segment of a run log. The first byte says how the rest is taken: as the file itself, or as
 * records (type, numbers skipped, length, payload) that are framed here with good checksums, which
 * a fuzzer would hardly find. */
#include "model/model.h"
#include "property.h"
#include "runlog/frame.h"
#include "runlog/histograms.h"
#include "runlog/reader.h"

#include <string.h>

enum { FRAMED = 1, NUMBERS_DATA = 2, REWINDS = 4 };
enum { MOST_OPEN = 4 };
#define A_FILE "/dev/null" /* exists, and is never opened */

/* --- a file in memory ------------------------------------------------------------------------ */

typedef struct memory_file {
    const uint8_t *bytes;
    size_t length, position[MOST_OPEN];
    bool is_open[MOST_OPEN];
} memory_file;

static int memory_open(void *context, const char *path, int flags, mode_t mode) {
    memory_file *file = context;
    (void)path, (void)flags, (void)mode;
    int handle = 0;
    while (handle < MOST_OPEN - 1 && file->is_open[handle]) handle++;
    PROPERTY(!file->is_open[handle]);
    file->is_open[handle] = true;
    file->position[handle] = 0;
    return handle;
}

static ssize_t memory_read(void *context, int handle, void *bytes, size_t n_bytes) {
    memory_file *file = context;
    const size_t rest = file->length - file->position[handle], n = n_bytes < rest ? n_bytes : rest;
    memcpy(bytes, file->bytes + file->position[handle], n);
    file->position[handle] += n;
    return (ssize_t)n;
}

static ssize_t memory_read_at(void *context, int handle, void *bytes, size_t n_bytes,
                              uint64_t place) {
    memory_file *file = context;
    PROPERTY(file->is_open[handle]);
    if (place > file->length) return 0;
    const size_t rest = file->length - (size_t)place, n = n_bytes < rest ? n_bytes : rest;
    memcpy(bytes, file->bytes + place, n);
    return (ssize_t)n;
}

static int memory_close(void *context, int handle) {
    memory_file *file = context;
    PROPERTY(file->is_open[handle]);
    file->is_open[handle] = false;
    return 0;
}

/* --- framing ---------------------------------------------------------------------------------- */

static void put_frame(bp_writer *out, unsigned type, uint64_t sequence, const uint8_t *payload,
                      size_t n_bytes) {
    uint8_t header[BP_FRAME_HEADER_BYTES];
    const bp_frame frame = {.type = (uint16_t)type,
                            .n_bytes = (uint32_t)n_bytes,
                            .payload_crc = bp_crc32c(0, payload, n_bytes),
                            .sequence = sequence,
                            .offset = out->length};
    bp_frame_put(header, &frame, (bp_segment_id){1, 1});
    bp_write_bytes(out, header, sizeof header);
    bp_write_bytes(out, payload, n_bytes);
}

static void frame_records(bp_writer *out, uint8_t how, const uint8_t *bytes, size_t n_bytes) {
    uint8_t header[BP_SEGMENT_HEADER_BYTES];
    uint64_t sequence = 0;
    const bp_segment_header begin = {.major = BP_RUNLOG_MAJOR,
                                     .compatible = how & REWINDS ? BP_RUNLOG_REWINDS : 0,
                                     .incompatible =
                                         how & NUMBERS_DATA ? BP_RUNLOG_NUMBERS_DATA : 0,
                                     .id = {1, 1}};
    bp_segment_header_put(header, &begin);
    for (int i = 0; i < BP_SEGMENT_HEADER_COPIES; i++) bp_write_bytes(out, header, sizeof header);
    bp_cursor cursor;
    bp_cursor_init(&cursor, bytes, n_bytes);
    while (cursor.length - cursor.position >= 4) {
        const unsigned type = bp_read_u8(&cursor);
        sequence += bp_read_u8(&cursor) % 4;
        const size_t said = bp_read_u16(&cursor), left = cursor.length - cursor.position;
        const size_t n = said < left ? said : left;
        put_frame(out, type, sequence, bp_read_bytes(&cursor, n), n);
        sequence += how & NUMBERS_DATA ? bp_runlog_is_data(type) : 1;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static void check_record(const bp_runlog_reader *reader, const bp_record *record) {
    PROPERTY(record->step >= 0);
    PROPERTY(record->n_layers == bp_model_n_layers(bp_runlog_reader_model(reader)));
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row <= record->n_layers; row++) {
            const bool has = bp_record_has(record, (bp_quantity)q, row);
            const double value = bp_record_get(record, (bp_quantity)q, row);
            PROPERTY(has || value != value);
            PROPERTY(!has || record->columns >> q & 1);
        }
}

static void check_event(const bp_event *event) {
    if (event->kind == BP_EVENT_FINDING)
        PROPERTY(event->as.finding.since_step <= event->as.finding.step);
    if (event->kind == BP_EVENT_CHECKPOINT) PROPERTY(!strchr(event->as.checkpoint.file, '/'));
    if (event->kind == BP_EVENT_WATCH) PROPERTY(event->as.watch.watch_seconds >= 0);
    if (event->kind != BP_EVENT_HISTOGRAM) return;
    const bp_histogram *histogram = &event->as.histogram.histogram;
    const int64_t first = histogram->first_octave, n = histogram->n_octaves;
    PROPERTY(n <= BP_HISTOGRAM_OCTAVES && bp_histogram_elements(histogram) >= histogram->zeros);
    PROPERTY(n == 0 || (first >= BP_EXPONENT_MIN && first + n - 1 <= BP_EXPONENT_MAX));
}

/* Entries; each takes a byte of the file at least. */
static void read_all(memory_file *file, const bp_io *io) {
    bp_runlog_reader *reader;
    bp_runlog_entry entry;
    bp_error error = {.status = BP_OK};
    size_t n = 0;
    const bp_status status = bp_runlog_reader_open_through(&reader, io, A_FILE, NULL, &error);
    if (status != BP_OK) {
        check_refusal(status, &error);
        return;
    }
    do {
        PROPERTY(bp_runlog_reader_next_entry(reader, &entry, &error) == BP_OK);
        if (entry.record) check_record(reader, entry.record);
        if (entry.event) check_event(entry.event);
        PROPERTY(n++ <= file->length);
    } while (entry.record || entry.event);
    PROPERTY(bp_runlog_reader_damage(reader)->lost_bytes <= 2 * file->length);
    bp_runlog_reader_close(reader);
}

/* A series that is picked out has the steps in their order, as records have. */
static void read_series(const bp_io *io, bp_series series) {
    bp_runlog_reader *reader;
    bp_series_maker maker;
    const bp_sources *sources;
    if (bp_runlog_reader_open_through(&reader, io, A_FILE, NULL, NULL) != BP_OK) return;
    PROPERTY(bp_series_maker_init(&maker, series, bp_runlog_reader_model(reader), NULL));
    double *elements = malloc(maker.n_rows * sizeof *elements);
    PROPERTY(elements);
    for (;;) {
        PROPERTY(bp_runlog_reader_next_sources(reader, series, &sources, NULL) == BP_OK);
        if (!sources) break;
        PROPERTY(sources->step >= 0);
        (void)!bp_series_make(&maker, sources, elements);
    }
    free(elements);
    bp_series_maker_finish(&maker, NULL);
    bp_runlog_reader_close(reader);
}

/* Shares of the last steps of a role and layer. */
static void view_histograms(const bp_io *io, unsigned role, uint32_t layer) {
    bp_histograms *histograms;
    bp_view view = {0};
    int32_t octave;
    if (bp_histograms_open(&histograms, A_FILE, io, NULL, NULL) != BP_OK) return;
    PROPERTY(bp_histograms_update(histograms, NULL) == BP_OK);
    const int64_t last = bp_histograms_last_step(histograms, role);
    const int64_t first = last > 99 ? last - 99 : 0;
    if (last >= 0) {
        PROPERTY(bp_histograms_view(histograms, &view, &octave, role, layer, first, last, 9,
                                    NULL) == BP_OK);
        PROPERTY(view.n_rows == 0 || (octave >= BP_EXPONENT_MIN && octave <= BP_EXPONENT_MAX));
    }
    for (size_t i = 0; i < (size_t)view.n_rows * view.n_columns; i++) {
        const bp_view_cell *cell = &view.cells[i];
        PROPERTY(cell->count == 0 || (cell->min >= 0 && cell->min <= cell->max && cell->max <= 1));
    }
    bp_view_free(&view);
    bp_histograms_close(histograms);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    if (n_bytes == 0) return 0;
    const uint8_t how = bytes[0];
    bp_writer framed = {0};
    memory_file file = {.bytes = bytes + 1, .length = n_bytes - 1};
    if (how & FRAMED) {
        const size_t capacity = 2 * BP_SEGMENT_HEADER_BYTES + 10 * n_bytes;
        bp_writer_init(&framed, malloc(capacity), capacity);
        PROPERTY(framed.bytes);
        frame_records(&framed, how, bytes + 1, n_bytes - 1);
        PROPERTY(!framed.cut);
        file.bytes = framed.bytes;
        file.length = framed.length;
    }
    bp_io io = bp_io_system;
    io.open = memory_open;
    io.read = memory_read;
    io.read_at = memory_read_at;
    io.close = memory_close;
    io.context = &file;
    read_all(&file, &io);
    read_series(&io, bp_series_of(BP_Q_LOSS));
    read_series(&io, bp_series_of(BP_Q_GRADIENT_RMS));
    for (unsigned i = BP_N_QUANTITIES; i < BP_N_SERIES; i++) read_series(&io, (bp_series)i);
    view_histograms(&io, 6, 2);
    for (int i = 0; i < MOST_OPEN; i++) PROPERTY(!file.is_open[i]);
    free(framed.bytes);
    return 0;
}
