/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUN = 4711 };

/* --- a log under construction ---------------------------------------------------------------- */

uint32_t plain_draw(plain_log *b, uint32_t below) {
    const bp_random_key key = {.seed = 11, .purpose = 5};
    uint32_t block[4];
    bp_random_block(&key, b->draws++, block);
    return block[0] % below;
}

void plain_start(plain_log *b, uint64_t seed) {
    *b = (plain_log){.draws = seed << 32};
    fixture_make_folder(b->folder);
    b->model = fixture_model();
    craft_begin(&b->segment, RUN + seed, 1, 0, true, false);
    craft_model(&b->segment, b->model);
    craft_write(&b->segment, b->folder);
}

void plain_next_segment(plain_log *b, bool rewinds) {
    const bp_segment_id id = b->segment.salt;
    const uint64_t sequence = b->segment.sequence;
    craft_write(&b->segment, b->folder);
    craft_free(&b->segment);
    craft_begin(&b->segment, id.run, id.index + 1, sequence, true, rewinds);
    craft_model(&b->segment, b->model);
}

void plain_remove_pyramid(const char *folder) {
    char path[2 * FIXTURE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/pyramid", folder);
    struct stat found;
    if (lstat(path, &found) == 0 && S_ISDIR(found.st_mode)) fixture_remove_folder(path);
}

void plain_stop(plain_log *b) {
    craft_free(&b->segment);
    bp_model_close(b->model);
    plain_remove_pyramid(b->folder);
    fixture_remove_folder(b->folder);
}

static double some_value(plain_log *b) {
    const uint32_t kind = plain_draw(b, 40);
    if (kind == 0) return (double)NAN;
    if (kind == 1) return (double)INFINITY;
    if (kind == 2) return 0.0;
    return ldexp(1.0 + plain_draw(b, 1000) / 1000.0, (int)plain_draw(b, 40) - 20);
}

/* Of the series that are derived. */
static void put_sources(plain_log *b, bp_record *record) {
    const bool errors = plain_draw(b, 4), updates = plain_draw(b, 5), units = plain_draw(b, 3);
    for (uint32_t row = 0; row < ROWS; row++) {
        if (errors && plain_draw(b, 9)) bp_record_set(record, BP_Q_ERROR_NORM, row, some_value(b));
        if (updates && row) bp_record_set(record, BP_Q_UPDATE_RMS, row, some_value(b));
        if (plain_draw(b, 9) == 0)
            bp_record_set(record, BP_Q_ERROR_INF, row, plain_draw(b, 2) ? 0.0 : plain_draw(b, 50));
        if (plain_draw(b, 9) == 0)
            bp_record_set(record, BP_Q_GRADIENT_NAN, row, plain_draw(b, 2) ? 0.0 : 7.0);
        if (!units || plain_draw(b, 5) == 0) continue;
        bp_record_set(record, BP_Q_UNITS, row, plain_draw(b, 20));
        bp_record_set(record, BP_Q_DEAD_UNITS, row, plain_draw(b, 20));
        if (plain_draw(b, 2)) bp_record_set(record, BP_Q_SATURATED_UNITS, row, plain_draw(b, 20));
    }
}

void plain_put_step(plain_log *b, int64_t step) {
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    record.step = step;
    bp_record_set(&record, BP_Q_LOSS, 0, plain_draw(b, 9) ? some_value(b) - 3.0 : -some_value(b));
    if (plain_draw(b, 3))
        for (uint32_t row = 1; row < ROWS; row++)
            if (plain_draw(b, 8)) bp_record_set(&record, BP_Q_GRADIENT_RMS, row, some_value(b));
    if (plain_draw(b, 2))
        for (uint32_t row = 0; row < ROWS; row++)
            bp_record_set(&record, BP_Q_ACTIVATION_NAN, row,
                          plain_draw(b, 4) ? 0.0 : plain_draw(b, 100000));
    for (uint32_t row = 1; row < ROWS; row++)
        bp_record_set(&record, BP_Q_WEIGHT_RMS, row, 0.5 + plain_draw(b, 100));
    put_sources(b, &record);
    craft_step(&b->segment, &record);
    bp_record_finish(&record, NULL);
}

/* Steps from *step on: dense, sparse, light and lost ones. */
void plain_put_some(plain_log *b, int64_t *step, int n) {
    for (int i = 0; i < n; i++) {
        const uint32_t kind = plain_draw(b, 30);
        if (kind == 0) { /* light ones */
            const double loss[] = {1.5, (double)NAN, -2.5};
            craft_losses(&b->segment, *step, loss, 3);
            *step += 3;
        } else if (kind == 1) { /* lost */
            b->segment.sequence += 2;
            *step += 2;
        } else if (kind == 2) { /* not watched for a while */
            *step += plain_draw(b, 200);
        } else {
            plain_put_step(b, (*step)++);
        }
    }
    craft_write(&b->segment, b->folder);
}

/* --- the plain reckoning ---------------------------------------------------------------------- */

enum { MAX_RECORDS = 6000, MAX_ROWS = FIXTURE_LAYERS + 3 };

static struct {
    size_t n;
    uint32_t rows;
    int64_t step[MAX_RECORDS];
    double value[MAX_RECORDS][MAX_ROWS];
    bool has[MAX_RECORDS][MAX_ROWS];
} all;

/* As the log keeps it. */
static double kept(double value) {
    return bp_log16_decode(bp_log16_encode(value));
}

static bool counts(const bp_record *record, bp_quantity quantity, uint32_t row) {
    return bp_record_has(record, quantity, row) && bp_record_get(record, quantity, row) > 0;
}

/* Of those counts that the logs here have. */
static bool show(const bp_record *record, bp_quantity quantity, uint32_t row, double *value) {
    const bool is_error = quantity == BP_Q_ERROR_NORM, is_gradient = quantity == BP_Q_GRADIENT_RMS;
    *value = bp_record_get(record, quantity, row);
    if (is_error && counts(record, BP_Q_ERROR_INF, row))
        *value = (double)INFINITY;
    else if (is_gradient && counts(record, BP_Q_GRADIENT_NAN, row))
        *value = (double)NAN;
    else
        return bp_record_has(record, quantity, row);
    return true;
}

static bool divide(const bp_record *record, bp_quantity above, uint32_t above_row,
                   bp_quantity below, uint32_t row, double *value) {
    double a, b;
    if (!show(record, above, above_row, &a) || !show(record, below, row, &b)) return false;
    *value = kept(a / b);
    return b != 0.0 || !isfinite(a);
}

static bool add_up(const bp_record *record, uint32_t row, double *value) {
    static const bp_quantity terms[] = {BP_Q_ACTIVATION_NAN, BP_Q_ERROR_INF,
                                        BP_Q_GRADIENT_NAN}; /* that there are */
    bool any = false;
    double sum = 0.0;
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        if (!bp_record_has(record, terms[i], row)) continue;
        any = true;
        sum += bp_record_get(record, terms[i], row);
    }
    *value = kept(sum);
    return any;
}

/* Of the fixture's chain of layers. False: not measured. */
static bool reckon(const bp_record *record, bp_series series, uint32_t row, double *value) {
    switch ((int)series) {
    case BP_SERIES_GAIN:
        return row > 0 && divide(record, BP_Q_ERROR_NORM, row - 1, BP_Q_ERROR_NORM, row, value);
    case BP_SERIES_UPDATE_RATIO:
        return divide(record, BP_Q_UPDATE_RMS, row, BP_Q_WEIGHT_RMS, row, value);
    case BP_SERIES_DEAD_FRACTION:
        return divide(record, BP_Q_DEAD_UNITS, row, BP_Q_UNITS, row, value);
    case BP_SERIES_SATURATED_FRACTION:
        return divide(record, BP_Q_SATURATED_UNITS, row, BP_Q_UNITS, row, value);
    case BP_SERIES_NON_FINITE:
        return add_up(record, row, value);
    default:
        return show(record, (bp_quantity)series, row, value);
    }
}

void plain_read(const char *folder, bp_series series) {
    bp_runlog_reader *reader;
    const bp_record *record;
    all.n = 0;
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    for (;;) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        if (!record) break;
        bool any = false;
        assert_true(all.n < MAX_RECORDS && record->n_layers < MAX_ROWS);
        for (uint32_t row = 0; row <= record->n_layers; row++) {
            all.has[all.n][row] = reckon(record, series, row, &all.value[all.n][row]);
            any = any || all.has[all.n][row];
        }
        all.step[all.n] = record->step;
        all.n += any;
    }
    all.rows = bp_model_n_layers(bp_runlog_reader_model(reader)) + 1;
    bp_runlog_reader_close(reader);
}

static bp_view_cell plain_cell(uint64_t from, uint64_t to, uint32_t row) {
    bp_view_cell cell = {
        .min = (double)NAN, .max = (double)NAN, .mean = (double)NAN, .last = (double)NAN};
    double sum = 0.0;
    uint32_t finite = 0;
    for (size_t i = 0; i < all.n; i++) {
        const uint64_t step = (uint64_t)all.step[i];
        if (step < from || step >= to || !all.has[i][row]) continue;
        const double value = all.value[i][row];
        cell.count++;
        cell.last = value;
        if (isnan(value)) cell.flags |= BP_VIEW_HAS_NAN;
        if (isinf(value)) cell.flags |= BP_VIEW_HAS_INF;
        if (!isfinite(value)) continue;
        finite++;
        sum += value;
        cell.min = finite == 1 ? value : fmin(cell.min, value);
        cell.max = finite == 1 ? value : fmax(cell.max, value);
    }
    if (finite) cell.mean = sum / finite;
    return cell;
}

/* --- columns that are given away -------------------------------------------------------------- */

/* A view, and what of it was drawn so far. */
typedef struct drawing {
    const bp_view *view;
    bool codes;
    uint32_t n_given;
} drawing;

static bp_status begin_drawing(void *context, uint32_t n_rows, uint32_t n_columns,
                               const uint64_t *starts, bp_error *error) {
    drawing *d = context;
    (void)error;
    assert_int_equal(n_rows, d->view->n_rows);
    assert_int_equal(n_columns, d->view->n_columns);
    assert_memory_equal(starts, d->view->starts, (n_columns + 1) * sizeof *starts);
    d->n_given = 0;
    return BP_OK;
}

static void assert_element(const drawing *d, const void *plane, uint32_t row,
                           const bp_view_cell *cell, double expected) {
    uint64_t bits = 0;
    double value;
    memcpy(&bits, (const uint8_t *)plane + row * (d->codes ? 2 : 8), d->codes ? 2 : 8);
    memcpy(&value, &bits, sizeof value);
    assert_int_equal(bits == (d->codes ? BP_CODE_ABSENT : BP_BITS_ABSENT), cell->count == 0);
    if (cell->count == 0) return;
    if (d->codes)
        assert_int_equal(bits, bp_log16_encode(expected));
    else
        assert_true(value == expected || (isnan(value) && isnan(expected)));
}

static void assert_strip(void *context, uint32_t column, const bp_view_strip *strip) {
    drawing *d = context;
    const bp_view_cell *cells = d->view->cells + (size_t)column * d->view->n_rows;
    assert_int_equal(column, d->n_given++);
    for (uint32_t row = 0; row < d->view->n_rows; row++) {
        assert_element(d, strip->mean, row, &cells[row], cells[row].mean);
        assert_element(d, strip->min, row, &cells[row], cells[row].min);
        assert_element(d, strip->max, row, &cells[row], cells[row].max);
        assert_int_equal(strip->flags[row], cells[row].flags);
    }
}

static void assert_drawn(bp_pyramid *pyramid, const bp_view *view, int64_t first, int64_t last,
                         uint32_t n_columns) {
    drawing d = {.view = view, .codes = bp_series_is_log16(bp_pyramid_series(pyramid))};
    const bp_view_sink sink = {&d, begin_drawing, assert_strip};
    assert_int_equal(bp_pyramid_draw(pyramid, &sink, first, last, n_columns, NULL), BP_OK);
    assert_int_equal(d.n_given, view->n_columns);
}

/* --- views ------------------------------------------------------------------------------------ */

static void assert_same(double found, double expected) {
    if (isnan(found) && isnan(expected)) return;
    if (found != expected) fail_msg("%.17g is not %.17g", found, expected);
}

/* tolerance: relative to the largest magnitude. */
static void assert_cell(const bp_view_cell *found, const bp_view_cell *expected, double tolerance) {
    assert_int_equal(found->count, expected->count);
    assert_int_equal(found->flags, expected->flags);
    assert_same(found->min, expected->min);
    assert_same(found->max, expected->max);
    assert_same(found->last, expected->last);
    const double scale = fmax(fabs(expected->min), fabs(expected->max));
    if (isnan(expected->mean))
        assert_true(isnan(found->mean));
    else
        assert_true(fabs(found->mean - expected->mean) <= tolerance * scale);
}

void plain_assert_view(bp_pyramid *pyramid, int64_t first, int64_t last, uint32_t n_columns,
                       bp_series series) {
    bp_view view = {0};
    bp_error error;
    if (bp_pyramid_view(pyramid, &view, first, last, n_columns, &error) != BP_OK)
        fail_msg("%s", error.text);
    assert_int_equal(view.n_rows, series == LOSS ? 1 : all.rows);
    assert_true(view.n_columns >= 1 && view.n_columns <= n_columns);
    assert_true(view.starts[0] <= (uint64_t)first);
    assert_true(view.starts[view.n_columns] > (uint64_t)last);
    /* Hardly more than was asked for: a column at each side. */
    const uint64_t width = (uint64_t)(last - first) / (n_columns - n_columns / 4) + 1;
    assert_true((uint64_t)first - view.starts[0] <= width);
    assert_true(view.starts[view.n_columns] - (uint64_t)last <= width + 1);
    const bool exact = !bp_series_is_log16(series);
    for (uint32_t c = 0; c < view.n_columns; c++) {
        assert_true(view.starts[c] < view.starts[c + 1]);
        for (uint32_t row = 0; row < view.n_rows; row++) {
            const bp_view_cell expected = plain_cell(view.starts[c], view.starts[c + 1], row);
            assert_cell(&view.cells[c * view.n_rows + row], &expected, exact ? 1e-12 : 4e-3);
        }
    }
    assert_drawn(pyramid, &view, first, last, n_columns);
    bp_view_free(&view);
}

void plain_assert_views(bp_pyramid *pyramid, const char *folder, bp_series series) {
    static const uint32_t columns[] = {1, 2, 3, 10, 57, 400};
    plain_read(folder, series);
    const int64_t last = all.n ? all.step[all.n - 1] : -1;
    assert_int_equal(bp_pyramid_last_step(pyramid), last);
    assert_int_equal(bp_pyramid_n_rows(pyramid), bp_series_is_of_layers(series) ? all.rows : 1);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        plain_assert_view(pyramid, 0, last < 0 ? 99 : last, columns[i], series);
        plain_assert_view(pyramid, last / 3 + 1, last / 2 + 2, columns[i], series);
        plain_assert_view(pyramid, last + 1, last + 1000, columns[i], series);
    }
    for (int64_t at = 0; at < last; at += last / 7 + 1)
        plain_assert_view(pyramid, at, at + last / 9, 20, series);
}

bp_pyramid *plain_open(const char *folder, bp_series series, const bp_pyramid_options *options) {
    bp_pyramid *pyramid;
    bp_error error;
    if (bp_pyramid_open(&pyramid, folder, series, options, &error) != BP_OK)
        fail_msg("%s", error.text);
    return pyramid;
}

/* Opens, compares, closes. */
void plain_assert_pyramid(const char *folder, bp_series series, bool kept) {
    bp_pyramid *pyramid = plain_open(folder, series, NULL);
    assert_int_equal(bp_pyramid_is_kept(pyramid), kept);
    plain_assert_views(pyramid, folder, series);
    bp_pyramid_close(pyramid);
}
