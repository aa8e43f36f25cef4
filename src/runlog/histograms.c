/* SPDX-License-Identifier: Apache-2.0 */
/* Where a log has histograms, and a view that reads those it needs. */
#include "runlog/histograms.h"
#include "runlog/reader.h"

#include <errno.h>
#include <math.h>

#define MAX_STRETCHES ((size_t)32768)
#define MAX_ROLES 32u
#define MAX_ROWS 128

/* Histograms that stand behind one another in a segment. */
typedef struct stretch {
    bp_runlog_position place; /* of the first */
    int64_t first_step, last_step;
    uint32_t first_layer, last_layer; /* lowest, highest */
    uint32_t roles;                   /* a bit each */
    uint32_t n;
    uint64_t last_sequence;
} stretch;

struct bp_histograms {
    const bp_io *io;
    bp_allocator allocator;
    char *run;
    bp_runlog_reader *reader; /* stands behind what the stretches tell of */
    bp_runlog_reader *looker; /* reads those that are looked at; NULL: not yet */
    stretch *stretches;       /* ascending in steps */
    size_t n, capacity;
    uint32_t most; /* histograms of a stretch; doubled as they become too many */
    int64_t last_step, last_of_role[MAX_ROLES];
    bool is_torn; /* places are not found however often they are looked for */
};

/* --- where they are --------------------------------------------------------------------------- */

static bool can_join(const bp_histograms *h, const stretch *a, const stretch *b) {
    return a->place.segment == b->place.segment && a->n + b->n <= h->most;
}

static void join(stretch *into, const stretch *other) {
    into->last_step = other->last_step;
    if (other->first_layer < into->first_layer) into->first_layer = other->first_layer;
    if (other->last_layer > into->last_layer) into->last_layer = other->last_layer;
    into->roles |= other->roles;
    into->n += other->n;
    into->last_sequence = other->last_sequence;
}

/* Half of them or less: neighbours are joined; of segments with next to nothing in them every
 * second is forgotten. */
static void make_fewer(bp_histograms *h) {
    size_t n = 0;
    h->most *= 2;
    for (size_t i = 0; i < h->n; i++) {
        if (n > 0 && can_join(h, &h->stretches[n - 1], &h->stretches[i]))
            join(&h->stretches[n - 1], &h->stretches[i]);
        else
            h->stretches[n++] = h->stretches[i];
    }
    h->n = n;
    if (n <= MAX_STRETCHES / 4 * 3) return;
    for (h->n = 0; 2 * h->n < n; h->n++) h->stretches[h->n] = h->stretches[2 * h->n];
}

static bool has_room(bp_histograms *h) {
    if (h->n == MAX_STRETCHES) make_fewer(h);
    if (h->n < h->capacity) return true;
    const size_t wanted = h->capacity ? 2 * h->capacity : 256;
    stretch *grown = h->allocator.resize(h->allocator.context, h->stretches,
                                         h->capacity * sizeof *grown, wanted * sizeof *grown);
    if (!grown) return false;
    h->stretches = grown;
    h->capacity = wanted;
    return true;
}

/* False: no memory. */
static bool remember(bp_histograms *h, const bp_event_histogram *event,
                     const bp_runlog_position *place) {
    const stretch one = {.place = *place,
                         .first_step = event->step,
                         .last_step = event->step,
                         .first_layer = event->layer,
                         .last_layer = event->layer,
                         .roles = 1u << event->role,
                         .n = 1,
                         .last_sequence = place->sequence};
    stretch *last = h->n > 0 ? &h->stretches[h->n - 1] : NULL;
    h->last_step = h->last_of_role[event->role] = event->step;
    if (last && can_join(h, last, &one)) {
        join(last, &one);
        return true;
    }
    if (!has_room(h)) return false;
    h->stretches[h->n++] = one;
    return true;
}

static void forget(bp_histograms *h) {
    bp_runlog_reader_close(h->reader);
    bp_runlog_reader_close(h->looker);
    h->reader = h->looker = NULL;
    h->n = 0;
    h->most = 1;
    h->last_step = -1;
    for (unsigned role = 0; role < MAX_ROLES; role++) h->last_of_role[role] = -1;
}

/* What the reader has still to give. *stale: the run was resumed meanwhile, and steps come again.
 */
static bp_status take_all(bp_histograms *h, bool *stale, bp_error *error) {
    for (;;) {
        const bp_event_histogram *event;
        bp_runlog_position place;
        const bp_status status = bp_runlog_reader_next_histogram(h->reader, &event, &place, error);
        if (status != BP_OK || !event) return status;
        if (event->step < h->last_step) *stale = true; /* passed over */
        if (event->role >= MAX_ROLES || event->step < h->last_step) continue;
        if (!remember(h, event, &place))
            return bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", h->run);
    }
}

static bp_status build(bp_histograms *h, bp_error *error) {
    bool stale = false; /* of a log that was read from its begin nothing better will come */
    forget(h);
    const bp_status status =
        bp_runlog_reader_open_through(&h->reader, h->io, h->run, &h->allocator, error);
    return status == BP_OK ? take_all(h, &stale, error) : status;
}

/* --- opening ---------------------------------------------------------------------------------- */

bp_status bp_histograms_open(bp_histograms **histograms, const char *run, const bp_io *io,
                             const bp_allocator *allocator, bp_error *error) {
    const int saved = errno;
    allocator = bp_allocator_or_system(allocator);
    bp_histograms *opened = bp_allocate(allocator, 1, sizeof *opened);
    if (!opened) return bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", run);
    opened->allocator = *allocator;
    opened->io = io ? io : &bp_io_system;
    opened->run = bp_copy_text(allocator, run);
    const bp_status status = opened->run
                                 ? build(opened, error)
                                 : bp_fail(error, BP_ERROR_MEMORY, "no memory to view %s", run);
    if (status == BP_OK)
        *histograms = opened;
    else
        bp_histograms_close(opened);
    errno = saved;
    return status;
}

void bp_histograms_close(bp_histograms *histograms) {
    if (!histograms) return;
    const int saved = errno;
    const bp_allocator allocator = histograms->allocator;
    bp_runlog_reader_close(histograms->reader);
    bp_runlog_reader_close(histograms->looker);
    bp_release(&allocator, histograms->stretches, histograms->capacity,
               sizeof *histograms->stretches);
    bp_release_text(&allocator, histograms->run);
    bp_release(&allocator, histograms, 1, sizeof *histograms);
    errno = saved;
}

bp_status bp_histograms_update(bp_histograms *histograms, bp_error *error) {
    const int saved = errno;
    bool stale = !histograms->reader; /* the last update failed */
    bp_status status = stale ? BP_OK : take_all(histograms, &stale, error);
    if (status == BP_OK && stale) status = build(histograms, error);
    errno = saved;
    return status;
}

int64_t bp_histograms_last_step(const bp_histograms *histograms, unsigned role) {
    return role < MAX_ROLES ? histograms->last_of_role[role] : -1;
}

/* --- reading those of a layer ----------------------------------------------------------------- */

typedef struct viewing {
    bp_view *view;
    unsigned role;
    uint32_t layer;
    int64_t first, last;
    bp_event_histogram waiting; /* of a step that may be told of again */
    bool waits;
    bool misses; /* something does not stand where it stood */
    int32_t low, high;
    uint32_t column;
    void (*take)(struct viewing *job, const bp_histogram *histogram);
} viewing;

static void take_waiting(viewing *job) {
    if (job->waits && bp_histogram_elements(&job->waiting.histogram) > 0)
        job->take(job, &job->waiting.histogram);
    job->waits = false;
}

static bool is_asked(const viewing *job, const stretch *s) {
    return s->roles >> job->role & 1 && s->first_layer <= job->layer &&
           s->last_layer >= job->layer && s->last_step >= job->first && s->first_step <= job->last;
}

/* Steps ascend, but for a log that lies. */
static void look_at(viewing *job, const bp_event_histogram *event) {
    if (event->role != job->role || event->layer != job->layer) return;
    if (event->step < job->first || event->step > job->last) return;
    if (event->step < job->waiting.step) return;
    if (event->step != job->waiting.step) take_waiting(job);
    job->waiting = *event;
    job->waits = true;
}

static bp_status read_stretch(const bp_histograms *h, viewing *job, const stretch *s,
                              bp_error *error) {
    const bp_event_histogram *event = NULL;
    bp_runlog_position place;
    bool found;
    bp_status status = bp_runlog_reader_seek_histogram(h->looker, &s->place, &found, error);
    if (!found) job->misses = true;
    while (status == BP_OK && found) {
        status = bp_runlog_reader_next_histogram(h->looker, &event, &place, error);
        if (status != BP_OK || !event || place.sequence > s->last_sequence) break;
        look_at(job, event);
        found = place.sequence < s->last_sequence; /* there is more of it */
    }
    return status;
}

/* Calls take for each step that has one. */
static bp_status read_all(const bp_histograms *h, viewing *job, bp_error *error) {
    bp_status status = BP_OK;
    job->waiting.step = -1;
    for (size_t i = 0; i < h->n && status == BP_OK; i++)
        if (is_asked(job, &h->stretches[i])) status = read_stretch(h, job, &h->stretches[i], error);
    take_waiting(job);
    return status;
}

/* --- the view --------------------------------------------------------------------------------- */

static void take_range(viewing *job, const bp_histogram *histogram) {
    const int32_t first = histogram->first_octave;
    const int32_t last = first + (int32_t)histogram->n_octaves - 1;
    if (histogram->n_octaves == 0) return;
    if (first < job->low) job->low = first;
    if (last > job->high) job->high = last;
}

static void take_shares(viewing *job, const bp_histogram *histogram) {
    const bp_view *view = job->view;
    uint64_t counts[MAX_ROWS] = {0};
    const double elements = (double)bp_histogram_elements(histogram);
    const uint64_t step = (uint64_t)job->waiting.step;
    while (step >= view->starts[job->column + 1]) job->column++;
    for (uint32_t i = 0; i < histogram->n_octaves; i++) {
        const int32_t row = histogram->first_octave + (int32_t)i - job->low;
        if (row < (int32_t)view->n_rows) counts[row < 0 ? 0 : row] += histogram->count[i];
    }
    bp_view_cell *cells = view->cells + (size_t)job->column * view->n_rows;
    for (uint32_t row = 0; row < view->n_rows; row++) {
        bp_view_cell *cell = &cells[row];
        cell->last = (double)counts[row] / elements;
        cell->min = fmin(cell->min, cell->last);
        cell->max = fmax(cell->max, cell->last);
        cell->mean = cell->count == 0 ? cell->last
                                      : cell->mean + (cell->last - cell->mean) / (cell->count + 1);
        cell->count++;
    }
}

/* Rows, columns and empty cells. */
static bp_status lay_out(const bp_histograms *h, viewing *job, uint32_t n_columns,
                         bp_error *error) {
    bp_view *view = job->view;
    const uint64_t first = (uint64_t)job->first, n_steps = (uint64_t)job->last - first + 1;
    const double nothing = (double)NAN;
    if (job->low > job->high) job->high = job->low - 1;
    if (job->high - job->low >= MAX_ROWS) job->low = job->high - MAX_ROWS + 1;
    const uint32_t n_rows = (uint32_t)(job->high - job->low + 1);
    if (n_columns > n_steps) n_columns = (uint32_t)n_steps;
    if (!view->cells && !view->starts) view->allocator = h->allocator;
    const bp_status status = bp_view_reserve(view, n_rows, n_columns, error);
    if (status != BP_OK) return status;
    for (uint64_t c = 0; c <= n_columns; c++) /* c * n_steps / n_columns, without overflow */
        view->starts[c] = first + c * (n_steps / n_columns) + c * (n_steps % n_columns) / n_columns;
    for (size_t i = 0; i < (size_t)n_columns * n_rows; i++)
        view->cells[i] = (bp_view_cell){nothing, nothing, nothing, nothing, 0, 0};
    return BP_OK;
}

/* Once to learn which octaves are in use, and once to fill them. */
static bp_status fill(bp_histograms *h, viewing *job, uint32_t n_columns, bp_error *error) {
    job->low = BP_EXPONENT_MAX;
    job->high = BP_EXPONENT_MIN;
    job->column = 0;
    job->misses = false;
    job->take = take_range;
    bp_status status = BP_OK;
    if (!h->looker)
        status = bp_runlog_reader_open_through(&h->looker, h->io, h->run, &h->allocator, error);
    if (status != BP_OK) return status;
    status = read_all(h, job, error);
    if (status == BP_OK) status = lay_out(h, job, n_columns, error);
    job->take = take_shares;
    if (status == BP_OK && job->view->n_rows > 0) status = read_all(h, job, error);
    return status;
}

/* What does not stand where it stood is looked for in segments that came since, then, when the log
 * was thinned, by reading all again. */
static bp_status fill_surely(bp_histograms *h, viewing *job, uint32_t n_columns, bp_error *error) {
    const bool was_open = h->looker != NULL;
    bp_status status = fill(h, job, n_columns, error);
    if (status == BP_OK && job->misses && was_open) {
        bp_runlog_reader_close(h->looker);
        h->looker = NULL;
        status = fill(h, job, n_columns, error);
    }
    if (status != BP_OK || !job->misses || h->is_torn) return status;
    status = build(h, error);
    if (status == BP_OK) status = fill(h, job, n_columns, error);
    h->is_torn = status == BP_OK && job->misses;
    return status;
}

bp_status bp_histograms_view(bp_histograms *histograms, bp_view *view, int32_t *first_octave,
                             unsigned role, uint32_t layer, int64_t first, int64_t last,
                             uint32_t n_columns, bp_error *error) {
    if (first < 0 || last < first || n_columns == 0 || role >= MAX_ROLES)
        return bp_fail(error, BP_ERROR_ARGUMENT,
                       "a view has steps from 0 on, columns, and the role of a tensor");
    const int saved = errno;
    viewing job = {.view = view, .role = role, .layer = layer, .first = first, .last = last};
    const bp_status status = fill_surely(histograms, &job, n_columns, error);
    if (status == BP_OK) *first_octave = view->n_rows > 0 ? job.low : 0;
    errno = saved;
    return status;
}
