/* SPDX-License-Identifier: Apache-2.0 */
#include "record/event.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

/* --- encode --------------------------------------------------------------------------------- */

static void write_finding(bp_writer *writer, const bp_event_finding *finding) {
    bp_write_varint(writer, (uint64_t)finding->step);
    bp_write_varint(writer, (uint64_t)finding->since_step);
    bp_write_varint(writer, finding->problem);
    bp_write_varint(writer, finding->severity);
    bp_write_varint(writer, (uint64_t)finding->state);
}

static void write_watch(bp_writer *writer, const bp_event_watch *watch) {
    bp_write_varint(writer, (uint64_t)watch->step);
    bp_write_varint(writer, (uint64_t)watch->mode);
    bp_write_varint(writer, watch->every);
    bp_write_f64(writer, watch->budget_fraction);
    bp_write_varint(writer, watch->full_steps);
    bp_write_varint(writer, watch->light_steps);
    bp_write_f64(writer, watch->watch_seconds);
    bp_write_f64(writer, watch->run_seconds);
}

static void write_histogram(bp_writer *writer, const bp_event_histogram *event) {
    const bp_histogram *histogram = &event->histogram;
    bp_write_varint(writer, (uint64_t)event->step);
    bp_write_varint(writer, event->layer);
    bp_write_varint(writer, event->role);
    bp_write_varint(writer, histogram->zeros);
    bp_write_varint(writer, histogram->non_finite);
    bp_write_varint(writer, histogram->n_octaves);
    if (histogram->n_octaves == 0) return;
    bp_write_varint(writer, (uint64_t)((int64_t)histogram->first_octave - BP_EXPONENT_MIN));
    for (uint32_t i = 0; i < histogram->n_octaves; i++)
        bp_write_varint(writer, histogram->count[i]);
}

void bp_event_encode(const bp_event *event, bp_writer *writer) {
    switch (event->kind) {
    case BP_EVENT_GAP:
        bp_write_varint(writer, event->as.gap.reason);
        bp_write_varint(writer, event->as.gap.n_steps);
        bp_write_varint(writer, (uint64_t)event->as.gap.first_step);
        bp_write_varint(writer, (uint64_t)event->as.gap.last_step);
        break;
    case BP_EVENT_FINDING:
        write_finding(writer, &event->as.finding);
        break;
    case BP_EVENT_CHECKPOINT:
        bp_write_varint(writer, (uint64_t)event->as.checkpoint.step);
        bp_write_text(writer, event->as.checkpoint.file);
        break;
    case BP_EVENT_MODEL_DELTA:
        bp_write_varint(writer, event->as.model_delta.first_layer);
        bp_write_varint(writer, event->as.model_delta.n_layers);
        break;
    case BP_EVENT_WATCH:
        write_watch(writer, &event->as.watch);
        break;
    case BP_EVENT_THINNED:
        bp_write_varint(writer, event->as.thinned.every);
        bp_write_varint(writer, event->as.thinned.first_sequence);
        bp_write_varint(writer, event->as.thinned.last_sequence);
        bp_write_varint(writer, event->as.thinned.n_dropped);
        break;
    case BP_EVENT_HISTOGRAM:
        write_histogram(writer, &event->as.histogram);
        break;
    }
}

/* --- decode --------------------------------------------------------------------------------- */

static void expect(bp_cursor *cursor, bool good) {
    if (!good) cursor->bad = true;
}

static uint64_t read_up_to(bp_cursor *cursor, uint64_t most) {
    const uint64_t value = bp_read_varint(cursor);
    expect(cursor, value <= most);
    return cursor->bad ? 0 : value;
}

static int64_t read_step(bp_cursor *cursor) {
    return (int64_t)read_up_to(cursor, INT64_MAX);
}

/* A time, or a share up to `most`. */
static double read_amount(bp_cursor *cursor, double most) {
    const double value = bp_read_f64(cursor);
    expect(cursor, value >= 0.0 && value <= most); /* false with NaN, too */
    return value;
}

static void read_gap(bp_cursor *cursor, bp_event_gap *gap) {
    gap->reason = bp_read_varint(cursor);
    gap->n_steps = bp_read_varint(cursor);
    gap->first_step = read_step(cursor);
    gap->last_step = read_step(cursor);
}

static void read_finding(bp_cursor *cursor, bp_event_finding *finding) {
    finding->step = read_step(cursor);
    finding->since_step = (int64_t)read_up_to(cursor, (uint64_t)finding->step);
    finding->problem = (uint32_t)read_up_to(cursor, UINT32_MAX);
    finding->severity = (uint32_t)read_up_to(cursor, UINT32_MAX);
    const uint64_t state = read_up_to(cursor, BP_FINDING_CLOSED);
    expect(cursor, state >= BP_FINDING_OPENED);
    finding->state = (bp_finding_state)state;
}

/* What a reader may join to the folder of the run, and nothing that leads elsewhere. */
static bool is_file_name(const char *name) {
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
    for (const char *c = name; *c; c++)
        if (*c == '/' || (unsigned char)*c < ' ') return false;
    return true;
}

static void read_checkpoint(bp_cursor *cursor, bp_event_checkpoint *checkpoint) {
    checkpoint->step = read_step(cursor);
    bp_read_text(cursor, checkpoint->file, sizeof checkpoint->file);
    if (!cursor->bad) expect(cursor, is_file_name(checkpoint->file));
}

static void read_model_delta(bp_cursor *cursor, bp_event_model_delta *delta) {
    delta->first_layer = (uint32_t)read_up_to(cursor, BP_MODEL_MAX_LAYERS);
    delta->n_layers = (uint32_t)read_up_to(cursor, BP_MODEL_MAX_LAYERS);
    expect(cursor, delta->first_layer > 0 && delta->n_layers > 0);
}

static void read_watch(bp_cursor *cursor, bp_event_watch *watch) {
    watch->step = read_step(cursor);
    const uint64_t mode = read_up_to(cursor, BP_WATCH_BUDGET);
    expect(cursor, mode >= BP_WATCH_EVERY);
    watch->mode = (bp_watch_mode)mode;
    watch->every = bp_read_varint(cursor);
    watch->budget_fraction = read_amount(cursor, 1.0);
    watch->full_steps = bp_read_varint(cursor);
    watch->light_steps = bp_read_varint(cursor);
    watch->watch_seconds = read_amount(cursor, HUGE_VAL);
    watch->run_seconds = read_amount(cursor, HUGE_VAL);
    expect(cursor, isfinite(watch->watch_seconds) && isfinite(watch->run_seconds));
}

static void read_thinned(bp_cursor *cursor, bp_event_thinned *thinned) {
    thinned->every = bp_read_varint(cursor);
    thinned->first_sequence = bp_read_varint(cursor);
    thinned->last_sequence = bp_read_varint(cursor);
    thinned->n_dropped = bp_read_varint(cursor);
    expect(cursor, thinned->every > 0 && thinned->first_sequence <= thinned->last_sequence);
    expect(cursor, thinned->last_sequence < UINT64_MAX &&
                       thinned->n_dropped <= thinned->last_sequence - thinned->first_sequence + 1);
}

/* Within all elements that were told of before. */
static uint64_t read_elements(bp_cursor *cursor, uint64_t *left) {
    const uint64_t n = read_up_to(cursor, *left);
    *left -= n;
    return n;
}

static void read_histogram(bp_cursor *cursor, bp_event_histogram *event) {
    bp_histogram *histogram = &event->histogram;
    uint64_t left = UINT64_MAX; /* so that the sum of all is a number */
    event->step = read_step(cursor);
    event->layer = (uint32_t)read_up_to(cursor, BP_MODEL_MAX_LAYERS);
    event->role = (uint32_t)read_up_to(cursor, UINT32_MAX);
    histogram->zeros = read_elements(cursor, &left);
    histogram->non_finite = read_elements(cursor, &left);
    histogram->n_octaves = (uint32_t)read_up_to(cursor, BP_HISTOGRAM_OCTAVES);
    const uint32_t n = histogram->n_octaves;
    if (n == 0) return;
    const uint64_t most = (uint64_t)(BP_EXPONENT_MAX - BP_EXPONENT_MIN) + 1 - n;
    histogram->first_octave = (int32_t)read_up_to(cursor, most) + BP_EXPONENT_MIN;
    for (uint32_t i = 0; i < n; i++) histogram->count[i] = read_elements(cursor, &left);
    expect(cursor, histogram->count[0] > 0 && histogram->count[n - 1] > 0);
}

bp_status bp_event_decode(bp_event *event, bp_event_kind kind, bp_cursor *cursor, bp_error *error) {
    bp_event decoded = {.kind = kind};
    switch (kind) {
    case BP_EVENT_GAP:
        read_gap(cursor, &decoded.as.gap);
        break;
    case BP_EVENT_FINDING:
        read_finding(cursor, &decoded.as.finding);
        break;
    case BP_EVENT_CHECKPOINT:
        read_checkpoint(cursor, &decoded.as.checkpoint);
        break;
    case BP_EVENT_MODEL_DELTA:
        read_model_delta(cursor, &decoded.as.model_delta);
        break;
    case BP_EVENT_WATCH:
        read_watch(cursor, &decoded.as.watch);
        break;
    case BP_EVENT_THINNED:
        read_thinned(cursor, &decoded.as.thinned);
        break;
    case BP_EVENT_HISTOGRAM:
        read_histogram(cursor, &decoded.as.histogram);
        break;
    }
    if (kind != BP_EVENT_MODEL_DELTA) expect(cursor, cursor->position == cursor->length);
    if (cursor->bad)
        return bp_fail(error, BP_ERROR_INPUT,
                       "an event of type %u is damaged at its byte %zu of %zu, expected numbers in "
                       "their ranges and nothing behind them",
                       (unsigned)kind, cursor->position, cursor->length);
    *event = decoded;
    return BP_OK;
}

int64_t bp_event_step(const bp_event *event) {
    switch (event->kind) {
    case BP_EVENT_FINDING:
        return event->as.finding.step;
    case BP_EVENT_CHECKPOINT:
        return event->as.checkpoint.step;
    case BP_EVENT_WATCH:
        return event->as.watch.step;
    case BP_EVENT_HISTOGRAM:
        return event->as.histogram.step;
    case BP_EVENT_GAP:
    case BP_EVENT_MODEL_DELTA:
    case BP_EVENT_THINNED:
        break;
    }
    return -1;
}
