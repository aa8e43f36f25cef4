/* SPDX-License-Identifier: Apache-2.0 */
/* A pyramid beside a plain reckoning over all records: on logs with gaps, NaN and Inf, sparse
 * steps, light steps and resumes, built at once or while the log grows, from whatever its files
 * hold. */
#include "craft.h"
#include "runlog/pyramid.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUN = 4711, MAX_RECORDS = 6000, ROWS = FIXTURE_LAYERS + 1 };
#define LOSS ((bp_series)BP_Q_LOSS)
#define GRADIENT_RMS ((bp_series)BP_Q_GRADIENT_RMS)
#define ACTIVATION_NAN ((bp_series)BP_Q_ACTIVATION_NAN)
#define WEIGHT_RMS ((bp_series)BP_Q_WEIGHT_RMS)
#define BIAS_RMS ((bp_series)BP_Q_BIAS_RMS)

/* --- a log under construction ---------------------------------------------------------------- */

typedef struct bench {
    char folder[FIXTURE_PATH_BYTES];
    bp_model *model;
    craft segment;
    uint64_t draws;
} bench;

static uint32_t draw(bench *b, uint32_t below) {
    const bp_random_key key = {.seed = 11, .purpose = 5};
    uint32_t block[4];
    bp_random_block(&key, b->draws++, block);
    return block[0] % below;
}

static void start(bench *b, uint64_t seed) {
    *b = (bench){.draws = seed << 32};
    fixture_make_folder(b->folder);
    b->model = fixture_model();
    craft_begin(&b->segment, RUN + seed, 1, 0, true, false);
    craft_model(&b->segment, b->model);
    craft_write(&b->segment, b->folder);
}

static void next_segment(bench *b, bool rewinds) {
    const bp_segment_id id = b->segment.salt;
    const uint64_t sequence = b->segment.sequence;
    craft_write(&b->segment, b->folder);
    craft_free(&b->segment);
    craft_begin(&b->segment, id.run, id.index + 1, sequence, true, rewinds);
    craft_model(&b->segment, b->model);
}

static void remove_pyramid(const char *folder) {
    char path[2 * FIXTURE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/pyramid", folder);
    struct stat found;
    if (lstat(path, &found) == 0 && S_ISDIR(found.st_mode)) fixture_remove_folder(path);
}

static void stop(bench *b) {
    craft_free(&b->segment);
    bp_model_close(b->model);
    remove_pyramid(b->folder);
    fixture_remove_folder(b->folder);
}

static double some_value(bench *b) {
    const uint32_t kind = draw(b, 40);
    if (kind == 0) return (double)NAN;
    if (kind == 1) return (double)INFINITY;
    if (kind == 2) return 0.0;
    return ldexp(1.0 + draw(b, 1000) / 1000.0, (int)draw(b, 40) - 20);
}

static void put_step(bench *b, int64_t step) {
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    record.step = step;
    bp_record_set(&record, BP_Q_LOSS, 0, draw(b, 9) ? some_value(b) - 3.0 : -some_value(b));
    if (draw(b, 3))
        for (uint32_t row = 1; row < ROWS; row++)
            if (draw(b, 8)) bp_record_set(&record, BP_Q_GRADIENT_RMS, row, some_value(b));
    if (draw(b, 2))
        for (uint32_t row = 0; row < ROWS; row++)
            bp_record_set(&record, BP_Q_ACTIVATION_NAN, row, draw(b, 4) ? 0.0 : draw(b, 100000));
    for (uint32_t row = 1; row < ROWS; row++)
        bp_record_set(&record, BP_Q_WEIGHT_RMS, row, 0.5 + draw(b, 100));
    craft_step(&b->segment, &record);
    bp_record_finish(&record, NULL);
}

/* Steps from *step on: dense, sparse, light and lost ones. */
static void put_some(bench *b, int64_t *step, int n) {
    for (int i = 0; i < n; i++) {
        const uint32_t kind = draw(b, 30);
        if (kind == 0) { /* light ones */
            const double loss[] = {1.5, (double)NAN, -2.5};
            craft_losses(&b->segment, *step, loss, 3);
            *step += 3;
        } else if (kind == 1) { /* lost */
            b->segment.sequence += 2;
            *step += 2;
        } else if (kind == 2) { /* not watched for a while */
            *step += draw(b, 200);
        } else {
            put_step(b, (*step)++);
        }
    }
    craft_write(&b->segment, b->folder);
}

/* --- the plain reckoning ---------------------------------------------------------------------- */

typedef struct plain {
    size_t n;
    int64_t step[MAX_RECORDS];
    double value[MAX_RECORDS][ROWS];
    bool has[MAX_RECORDS][ROWS];
} plain;

static plain all;

static void read_plainly(const char *folder, bp_series series) {
    bp_runlog_reader *reader;
    const bp_record *record;
    all.n = 0;
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    for (;;) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        if (!record) break;
        bool any = false;
        assert_true(all.n < MAX_RECORDS);
        for (uint32_t row = 0; row < ROWS; row++) {
            all.has[all.n][row] = bp_record_has(record, (bp_quantity)series, row);
            all.value[all.n][row] = bp_record_get(record, (bp_quantity)series, row);
            any = any || all.has[all.n][row];
        }
        all.step[all.n] = record->step;
        all.n += any;
    }
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

static void assert_view(bp_pyramid *pyramid, int64_t first, int64_t last, uint32_t n_columns,
                        bp_series series) {
    bp_view view = {0};
    bp_error error;
    if (bp_pyramid_view(pyramid, &view, first, last, n_columns, &error) != BP_OK)
        fail_msg("%s", error.text);
    assert_int_equal(view.n_rows, series == LOSS ? 1 : ROWS);
    assert_true(view.n_columns >= 1 && view.n_columns <= n_columns);
    assert_true(view.starts[0] <= (uint64_t)first);
    assert_true(view.starts[view.n_columns] > (uint64_t)last);
    /* Hardly more than was asked for: a column at each side. */
    const uint64_t width = (uint64_t)(last - first) / (n_columns - n_columns / 4) + 1;
    assert_true((uint64_t)first - view.starts[0] <= width);
    assert_true(view.starts[view.n_columns] - (uint64_t)last <= width + 1);
    const bool exact = series == LOSS || series == ACTIVATION_NAN;
    for (uint32_t c = 0; c < view.n_columns; c++) {
        assert_true(view.starts[c] < view.starts[c + 1]);
        for (uint32_t row = 0; row < view.n_rows; row++) {
            const bp_view_cell expected = plain_cell(view.starts[c], view.starts[c + 1], row);
            assert_cell(&view.cells[c * view.n_rows + row], &expected, exact ? 1e-12 : 4e-3);
        }
    }
    bp_view_free(&view);
}

static void assert_views(bp_pyramid *pyramid, const char *folder, bp_series series) {
    static const uint32_t columns[] = {1, 2, 3, 10, 57, 400};
    read_plainly(folder, series);
    const int64_t last = all.n ? all.step[all.n - 1] : -1;
    assert_int_equal(bp_pyramid_last_step(pyramid), last);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        assert_view(pyramid, 0, last < 0 ? 99 : last, columns[i], series);
        assert_view(pyramid, last / 3 + 1, last / 2 + 2, columns[i], series);
        assert_view(pyramid, last + 1, last + 1000, columns[i], series);
    }
    for (int64_t at = 0; at < last; at += last / 7 + 1)
        assert_view(pyramid, at, at + last / 9, 20, series);
}

static bp_pyramid *open_pyramid(const char *folder, bp_series series,
                                const bp_pyramid_options *options) {
    bp_pyramid *pyramid;
    bp_error error;
    if (bp_pyramid_open(&pyramid, folder, series, options, &error) != BP_OK)
        fail_msg("%s", error.text);
    return pyramid;
}

/* Opens, compares, closes. */
static void assert_pyramid(const char *folder, bp_series series, bool kept) {
    bp_pyramid *pyramid = open_pyramid(folder, series, NULL);
    assert_int_equal(bp_pyramid_is_kept(pyramid), kept);
    assert_views(pyramid, folder, series);
    bp_pyramid_close(pyramid);
}

static const bp_series all_series[] = {LOSS, GRADIENT_RMS, ACTIVATION_NAN, WEIGHT_RMS};
enum { N_ALL = sizeof all_series / sizeof *all_series };

/* --- as the plain reckoning ------------------------------------------------------------------- */

static void random_logs(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        bench b;
        int64_t step = (int64_t)seed * 1000;
        start(&b, seed);
        for (int i = 0; i < 3; i++) {
            put_some(&b, &step, 400);
            next_segment(&b, false);
        }
        put_some(&b, &step, seed ? 300 : 0);
        for (int q = 0; q < N_ALL; q++) {
            assert_pyramid(b.folder, all_series[q], true); /* built */
            assert_pyramid(b.folder, all_series[q], true); /* from what was kept */
            bp_pyramid *pyramid =
                open_pyramid(b.folder, all_series[q], &(bp_pyramid_options){.in_memory = true});
            assert_views(pyramid, b.folder, all_series[q]);
            bp_pyramid_close(pyramid);
        }
        stop(&b);
    }
}

static void a_log_without_it(void **state) {
    (void)state;
    bench b;
    start(&b, 9);
    assert_pyramid(b.folder, LOSS, true); /* no step at all */
    craft_fixture_step(&b.segment, 5);
    craft_write(&b.segment, b.folder);
    assert_pyramid(b.folder, BIAS_RMS, true);
    assert_pyramid(b.folder, LOSS, true);
    stop(&b);
}

/* Steps that lie so far apart that no bins of neighbours could be kept for all. */
static void steps_far_apart(void **state) {
    (void)state;
    bench b;
    bp_pyramid *pyramid;
    bp_view view = {0};
    start(&b, 10);
    const int64_t steps[] = {0, 1, 1000000, (int64_t)1 << 40, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) put_step(&b, steps[i]);
    craft_write(&b.segment, b.folder);
    for (int again = 0; again < 2; again++) {
        pyramid = open_pyramid(b.folder, WEIGHT_RMS, NULL);
        read_plainly(b.folder, WEIGHT_RMS);
        for (uint32_t n = 1; n < 2000; n += 333) {
            assert_view(pyramid, 0, INT64_MAX, n, WEIGHT_RMS);
            assert_view(pyramid, 0, 1000000, n, WEIGHT_RMS);
            assert_view(pyramid, INT64_MAX - 5, INT64_MAX, n, WEIGHT_RMS);
        }
        assert_int_equal(bp_pyramid_view(pyramid, &view, 0, INT64_MAX, UINT32_MAX, NULL),
                         BP_ERROR_LIMIT);
        assert_int_equal(bp_pyramid_view(pyramid, &view, 5, 4, 1, NULL), BP_ERROR_ARGUMENT);
        assert_int_equal(bp_pyramid_view(pyramid, &view, -1, 4, 1, NULL), BP_ERROR_ARGUMENT);
        assert_int_equal(bp_pyramid_view(pyramid, &view, 0, 4, 0, NULL), BP_ERROR_ARGUMENT);
        bp_pyramid_close(pyramid);
    }
    bp_view_free(&view);
    stop(&b);
}

/* --- a log that grows --------------------------------------------------------------------------
 */

static void growth_in_pieces(void **state) {
    (void)state;
    for (int q = 0; q < N_ALL; q++)
        for (int reopened = 0; reopened < 2; reopened++) {
            bench b;
            int64_t step = 0;
            start(&b, 20 + (uint64_t)q);
            bp_pyramid *pyramid = open_pyramid(b.folder, all_series[q], NULL);
            for (int piece = 0; piece < 25; piece++) {
                if (piece % 6 == 5) next_segment(&b, false);
                put_some(&b, &step, (int)draw(&b, 60));
                if (reopened) {
                    bp_pyramid_close(pyramid);
                    pyramid = open_pyramid(b.folder, all_series[q], NULL);
                } else {
                    assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
                }
                assert_true(bp_pyramid_is_kept(pyramid));
                assert_views(pyramid, b.folder, all_series[q]);
            }
            bp_pyramid_close(pyramid);
            stop(&b);
        }
}

static void a_run_that_is_resumed(void **state) {
    (void)state;
    for (int reopened = 0; reopened < 2; reopened++) {
        bench b;
        int64_t step = 0;
        start(&b, 30);
        put_some(&b, &step, 500);
        bp_pyramid *pyramid = open_pyramid(b.folder, WEIGHT_RMS, NULL);
        assert_views(pyramid, b.folder, WEIGHT_RMS);
        for (int i = 0; i < 3; i++) {
            next_segment(&b, true);
            step = step / 2;
            craft_rewind(&b.segment, step);
            put_some(&b, &step, 100);
            if (reopened) {
                bp_pyramid_close(pyramid);
                pyramid = open_pyramid(b.folder, WEIGHT_RMS, NULL);
            } else {
                assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
            }
            assert_true(bp_pyramid_is_kept(pyramid));
            assert_views(pyramid, b.folder, WEIGHT_RMS);
        }
        bp_pyramid_close(pyramid);
        stop(&b);
    }
}

/* --- files that are not what they should be ----------------------------------------------------
 */

static void pyramid_path(char path[2 * FIXTURE_PATH_BYTES], const bench *b, bp_series series,
                         unsigned level) {
    snprintf(path, 2 * FIXTURE_PATH_BYTES, "%s/pyramid/%s-%u.pyramid", b->folder,
             bp_series_name(series), level);
}

static void small_log(bench *b) {
    int64_t step = 0;
    start(b, 40);
    put_some(b, &step, 60);
    for (int q = 0; q < 2; q++) assert_pyramid(b->folder, all_series[q], true);
}

static void every_truncation_and_flip(void **state) {
    (void)state;
    for (int q = 0; q < 2; q++)
        for (unsigned level = 0; level < 3; level++) {
            bench b;
            char path[2 * FIXTURE_PATH_BYTES];
            small_log(&b);
            pyramid_path(path, &b, all_series[q], level);
            fixture_bytes good = fixture_read_file(path);
            assert_true(good.length > 64);
            for (size_t length = 0; length < good.length; length += 41) {
                fixture_write_file(path, good.bytes, length);
                assert_pyramid(b.folder, all_series[q], true);
            }
            for (size_t bit = 0; bit < 8 * good.length; bit += 149) {
                good.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                fixture_write_file(path, good.bytes, good.length);
                good.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                assert_pyramid(b.folder, all_series[q], true);
            }
            bp_release(NULL, good.bytes, good.length + 1, 1);
            stop(&b);
        }
}

/* A row is damaged while the pyramid is open. */
static void damage_under_our_hands(void **state) {
    (void)state;
    for (unsigned level = 0; level < 3; level++) {
        bench b;
        char path[2 * FIXTURE_PATH_BYTES];
        small_log(&b);
        bp_pyramid *pyramid = open_pyramid(b.folder, LOSS, NULL);
        pyramid_path(path, &b, LOSS, level);
        fixture_bytes file = fixture_read_file(path);
        const int handle = open(path, O_WRONLY);
        file.bytes[64 + 45] ^= 1;
        assert_int_equal(pwrite(handle, file.bytes, file.length, 0), (ssize_t)file.length);
        close(handle);
        assert_views(pyramid, b.folder, LOSS);
        assert_int_equal(truncate(path, 0), 0);
        assert_views(pyramid, b.folder, LOSS);
        bp_release(NULL, file.bytes, file.length + 1, 1);
        bp_pyramid_close(pyramid);
        stop(&b);
    }
}

static void files_of_another(void **state) {
    (void)state;
    bench b, other;
    char from[2 * FIXTURE_PATH_BYTES], to[2 * FIXTURE_PATH_BYTES];
    small_log(&b);
    int64_t step = 0;
    start(&other, 41);
    put_some(&other, &step, 90);
    assert_pyramid(other.folder, GRADIENT_RMS, true);
    for (unsigned level = 0; level < 3; level++) { /* of another run */
        pyramid_path(from, &other, GRADIENT_RMS, level);
        pyramid_path(to, &b, GRADIENT_RMS, level);
        fixture_bytes file = fixture_read_file(from);
        fixture_write_file(to, file.bytes, file.length);
        bp_release(NULL, file.bytes, file.length + 1, 1);
        assert_pyramid(b.folder, GRADIENT_RMS, true);
    }
    pyramid_path(from, &b, WEIGHT_RMS, 0); /* of another series */
    pyramid_path(to, &b, GRADIENT_RMS, 0);
    assert_pyramid(b.folder, WEIGHT_RMS, true);
    assert_int_equal(rename(from, to), 0);
    assert_pyramid(b.folder, GRADIENT_RMS, true);
    pyramid_path(from, &b, GRADIENT_RMS, 1); /* of another level */
    pyramid_path(to, &b, GRADIENT_RMS, 2);
    assert_int_equal(rename(from, to), 0);
    assert_pyramid(b.folder, GRADIENT_RMS, true);
    stop(&b);
    stop(&other);
}

/* Slots out of their order, or without one in the middle. */
static void slots_that_were_moved(void **state) {
    (void)state;
    bench b;
    char path[2 * FIXTURE_PATH_BYTES];
    small_log(&b);
    pyramid_path(path, &b, LOSS, 0);
    fixture_bytes good = fixture_read_file(path);
    const size_t slot = 40 + 8, first = 64;
    uint8_t *bytes = malloc(good.length);
    assert_non_null(bytes);
    for (size_t at = first; at + 2 * slot < good.length; at += slot) {
        memcpy(bytes, good.bytes, good.length);
        memmove(bytes + at, bytes + at + slot, good.length - at - slot);
        fixture_write_file(path, bytes, good.length - slot);
        assert_pyramid(b.folder, LOSS, true);
        memcpy(bytes, good.bytes, good.length);
        memcpy(bytes + at, good.bytes + at + slot, slot);
        memcpy(bytes + at + slot, good.bytes + at, slot);
        fixture_write_file(path, bytes, good.length);
        assert_pyramid(b.folder, LOSS, true);
    }
    free(bytes);
    bp_release(NULL, good.bytes, good.length + 1, 1);
    stop(&b);
}

static void deleted_files(void **state) {
    (void)state;
    bench b;
    char path[2 * FIXTURE_PATH_BYTES];
    small_log(&b);
    for (unsigned level = 0; level < 4; level++) {
        pyramid_path(path, &b, LOSS, level);
        (void)unlink(path);
        assert_pyramid(b.folder, LOSS, true);
    }
    bp_pyramid *pyramid = open_pyramid(b.folder, LOSS, NULL);
    remove_pyramid(b.folder); /* while it is open */
    int64_t step = 5000;
    put_some(&b, &step, 30);
    assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
    assert_views(pyramid, b.folder, LOSS);
    bp_pyramid_close(pyramid);
    assert_pyramid(b.folder, LOSS, true);
    stop(&b);
}

/* --- where nothing can be kept -----------------------------------------------------------------
 */

static void links_are_not_followed(void **state) {
    (void)state;
    bench b;
    char path[2 * FIXTURE_PATH_BYTES], elsewhere[FIXTURE_PATH_BYTES];
    int64_t step = 0;
    start(&b, 50);
    put_some(&b, &step, 60);
    fixture_make_folder(elsewhere);
    snprintf(path, sizeof path, "%s/pyramid", b.folder);
    char target[FIXTURE_PATH_BYTES + 8];
    snprintf(target, sizeof target, "../%s", elsewhere);
    assert_int_equal(symlink(target, path), 0);
    assert_pyramid(b.folder, LOSS, false);
    fixture_remove_folder(elsewhere); /* it is empty, or this removes what was written */
    assert_int_equal(unlink(path), 0);
    fixture_write_file(path, (const uint8_t *)"x", 1); /* a file of that name */
    assert_pyramid(b.folder, LOSS, false);
    assert_int_equal(unlink(path), 0);
    stop(&b);
}

static void only_one_writes(void **state) {
    (void)state;
    bench b;
    small_log(&b);
    bp_pyramid *first = open_pyramid(b.folder, LOSS, NULL);
    assert_pyramid(b.folder, LOSS, false);
    assert_true(bp_pyramid_is_kept(first));
    bp_pyramid_close(first);
    assert_pyramid(b.folder, LOSS, true);
    stop(&b);
}

static void little_memory(void **state) {
    (void)state;
    bench b;
    int64_t step = 0;
    bp_view view = {0};
    start(&b, 60);
    put_some(&b, &step, 3000);
    const bp_pyramid_options options = {.in_memory = true, .memory_bytes = 64 << 10};
    bp_pyramid *pyramid = open_pyramid(b.folder, LOSS, &options);
    read_plainly(b.folder, LOSS);
    assert_view(pyramid, 0, step, 3, LOSS); /* as exact as ever where it is coarse */
    assert_int_equal(bp_pyramid_view(pyramid, &view, 0, step, 1000000, NULL), BP_OK);
    assert_true(view.n_columns < (uint32_t)step / 3); /* coarser than asked for */
    bp_view_free(&view);
    bp_pyramid_close(pyramid);
    stop(&b);
}

static void every_failing_call(void **state) {
    (void)state;
    bench b;
    small_log(&b);
    fixture_faults faults = {.failed = 1};
    for (int persistent = 0; persistent < 2; persistent++) {
        faults.failed = 1;
        for (int64_t k = 0; faults.failed > 0; k++) {
            faults = (fixture_faults){.fail_at = k, .persistent = persistent};
            fixture_memory memory = {.left = -1};
            const bp_io io = fixture_io(&faults);
            const bp_pyramid_options options = {.io = &io, .allocator = fixture_allocator(&memory)};
            if (k % 2) remove_pyramid(b.folder);
            bp_pyramid *pyramid;
            bp_error error;
            const bp_status status = bp_pyramid_open(&pyramid, b.folder, LOSS, &options, &error);
            if (status == BP_OK) {
                faults.fail_at = -1;
                assert_views(pyramid, b.folder, LOSS);
                bp_pyramid_close(pyramid);
            } else {
                assert_int_equal(status, BP_ERROR_IO);
            }
            assert_int_equal(faults.open_files, 0);
            assert_int_equal(memory.in_use, 0);
            assert_true(k < 500);
        }
    }
    stop(&b);
}

static void every_failing_allocation(void **state) {
    (void)state;
    bench b;
    small_log(&b);
    bp_status status = BP_ERROR_MEMORY;
    for (int64_t n = 0; status != BP_OK; n++) {
        fixture_memory memory = {.left = n};
        const bp_pyramid_options options = {.allocator = fixture_allocator(&memory)};
        bp_pyramid *pyramid;
        bp_error error;
        status = bp_pyramid_open(&pyramid, b.folder, GRADIENT_RMS, &options, &error);
        assert_true(status == BP_OK || status == BP_ERROR_MEMORY);
        if (status == BP_OK) bp_pyramid_close(pyramid);
        assert_int_equal(memory.in_use, 0);
        assert_true(n < 500);
    }
    stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_logs),
        cmocka_unit_test(a_log_without_it),
        cmocka_unit_test(steps_far_apart),
        cmocka_unit_test(growth_in_pieces),
        cmocka_unit_test(a_run_that_is_resumed),
        cmocka_unit_test(every_truncation_and_flip),
        cmocka_unit_test(damage_under_our_hands),
        cmocka_unit_test(files_of_another),
        cmocka_unit_test(slots_that_were_moved),
        cmocka_unit_test(deleted_files),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(only_one_writes),
        cmocka_unit_test(little_memory),
        cmocka_unit_test(every_failing_call),
        cmocka_unit_test(every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
