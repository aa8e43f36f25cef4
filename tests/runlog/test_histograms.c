/* SPDX-License-Identifier: Apache-2.0 */
/* Histograms of a log over time, as somebody looks at them. */
#include "craft.h"
#include "runlog/histograms.h"
#include "thin_fixture.h"

#include <unistd.h>

enum { RUN = 4711, ROLE = 6, OTHER_ROLE = 5 };

typedef struct bench {
    char folder[FIXTURE_PATH_BYTES];
    bp_model *model;
    craft segment;
    bp_histograms *histograms;
    bp_view view;
    int32_t first_octave;
} bench;

static void begin_segment(bench *b, uint32_t index, uint64_t sequence, int64_t rewind) {
    craft_begin(&b->segment, RUN, index, sequence, true, rewind >= 0);
    craft_model(&b->segment, b->model);
    if (rewind >= 0) craft_rewind(&b->segment, rewind);
}

static void start(bench *b) {
    *b = (bench){0};
    fixture_make_folder(b->folder);
    b->model = fixture_model();
    begin_segment(b, 1, 0, -1);
}

static void write_segment(bench *b) {
    craft_write(&b->segment, b->folder);
}

static void next_segment(bench *b, int64_t rewind) {
    const uint64_t sequence = b->segment.sequence;
    const uint32_t index = b->segment.salt.index + 1;
    write_segment(b);
    craft_free(&b->segment);
    begin_segment(b, index, sequence, rewind);
}

static void open_histograms(bench *b) {
    bp_error error;
    write_segment(b);
    if (bp_histograms_open(&b->histograms, b->folder, NULL, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
}

static void stop(bench *b) {
    bp_histograms_close(b->histograms);
    bp_view_free(&b->view);
    craft_free(&b->segment);
    bp_model_close(b->model);
    fixture_remove_folder(b->folder);
}

static void put_into(craft *segment, int64_t step, uint32_t layer, uint32_t role,
                     bp_histogram histogram) {
    const bp_event event = {.kind = BP_EVENT_HISTOGRAM,
                            .as.histogram = {step, layer, role, histogram}};
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    bp_writer payload;
    bp_writer_init(&payload, bytes, sizeof bytes);
    bp_event_encode(&event, &payload);
    assert_false(payload.cut);
    craft_frame(segment, BP_RUNLOG_HISTOGRAM, bytes, payload.length, 1);
}

static void put(bench *b, int64_t step, uint32_t layer, uint32_t role, bp_histogram histogram) {
    put_into(&b->segment, step, layer, role, histogram);
}

/* All of its elements in this octave but `zeros` of 100. */
static bp_histogram in_octave(int32_t octave, uint64_t zeros) {
    return (bp_histogram){
        .zeros = zeros, .first_octave = octave, .n_octaves = zeros < 100, .count = {100 - zeros}};
}

static void look(bench *b, unsigned role, uint32_t layer, int64_t first, int64_t last,
                 uint32_t n_columns) {
    bp_error error;
    if (bp_histograms_view(b->histograms, &b->view, &b->first_octave, role, layer, first, last,
                           n_columns, &error) != BP_OK)
        fail_msg("%s", error.text);
    assert_int_equal(b->view.starts[0], first);
    assert_int_equal(b->view.starts[b->view.n_columns], last + 1);
}

static bp_view_cell cell(const bench *b, uint32_t column, int32_t octave) {
    const int32_t row = octave - b->first_octave;
    assert_true(column < b->view.n_columns && row >= 0 && row < (int32_t)b->view.n_rows);
    return b->view.cells[column * b->view.n_rows + (uint32_t)row];
}

/* One that says the same in all its numbers, of a column with one histogram. */
static void assert_share(const bench *b, uint32_t column, int32_t octave, double share) {
    const bp_view_cell c = cell(b, column, octave);
    assert_int_equal(c.count, 1);
    assert_true(c.mean == share && c.min == share && c.max == share && c.last == share);
}

static void assert_empty(const bench *b, uint32_t column) {
    for (uint32_t row = 0; row < b->view.n_rows; row++) {
        const bp_view_cell c = b->view.cells[column * b->view.n_rows + row];
        assert_true(c.count == 0 && isnan(c.mean) && isnan(c.min) && isnan(c.max));
    }
}

/* --- what is shown ---------------------------------------------------------------------------- */

static void shares_of_all_elements(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 3, 2, ROLE,
        (bp_histogram){.zeros = 10,
                       .non_finite = 30,
                       .first_octave = -20,
                       .n_octaves = 3,
                       .count = {5, 0, 55}});
    craft_fixture_step(&b.segment, 3);
    put(&b, 4, 2, ROLE, in_octave(-19, 50));
    open_histograms(&b);
    assert_int_equal(bp_histograms_last_step(b.histograms, ROLE), 4);
    assert_int_equal(bp_histograms_last_step(b.histograms, OTHER_ROLE), -1);
    assert_int_equal(bp_histograms_last_step(b.histograms, 4711), -1);
    look(&b, ROLE, 2, 2, 5, 4);
    assert_int_equal(b.view.n_columns, 4);
    assert_int_equal(b.view.n_rows, 3);
    assert_int_equal(b.first_octave, -20);
    assert_empty(&b, 0);
    assert_share(&b, 1, -20, 0.05);
    assert_share(&b, 1, -19, 0);
    assert_share(&b, 1, -18, 0.55);
    assert_share(&b, 2, -20, 0);
    assert_share(&b, 2, -19, 0.5);
    assert_empty(&b, 3);
    stop(&b);
}

static void columns_have_means_and_extremes(void **state) {
    (void)state;
    bench b;
    start(&b);
    for (int64_t step = 0; step < 100; step++)
        put(&b, step, 1, ROLE, in_octave(step < 50 ? 0 : 1, (uint64_t)step % 10));
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 99, 3); /* 0 ... 32, 33 ... 65, 66 ... 99 */
    assert_int_equal(b.view.starts[1], 33);
    assert_int_equal(b.view.starts[2], 66);
    assert_int_equal(cell(&b, 0, 0).count, 33);
    assert_true(cell(&b, 0, 0).max == 1 && cell(&b, 0, 0).min == 0.91);
    assert_true(cell(&b, 0, 1).max == 0);
    assert_int_equal(cell(&b, 1, 0).count, 33);
    assert_true(cell(&b, 1, 0).min == 0 && cell(&b, 1, 0).last == 0 && cell(&b, 1, 0).max == 1);
    assert_true(cell(&b, 1, 1).min == 0 && cell(&b, 1, 1).max == 1);
    assert_true(cell(&b, 2, 1).last == 0.91);
    double sum = 0;
    for (int step = 33; step < 50; step++) sum += (100 - step % 10) / 100.0;
    assert_true(fabs(cell(&b, 1, 0).mean - sum / 33) < 1e-12);
    look(&b, ROLE, 1, 40, 41, 800); /* never more columns than steps */
    assert_int_equal(b.view.n_columns, 2);
    assert_int_equal(b.view.n_rows, 1); /* only octaves in use in this span */
    assert_share(&b, 0, 0, 1);
    assert_share(&b, 1, 0, 0.99);
    stop(&b);
}

static void layers_and_roles_are_apart(void **state) {
    (void)state;
    bench b;
    start(&b);
    for (int64_t step = 0; step < 4; step++)
        for (uint32_t role = OTHER_ROLE; role <= ROLE; role++)
            for (uint32_t layer = 0; layer <= FIXTURE_LAYERS; layer++)
                put(&b, step, layer, role, in_octave((int32_t)(10 * role + layer), 0));
    put(&b, 3, 1, 99, in_octave(0, 0)); /* of a later version */
    open_histograms(&b);
    for (uint32_t role = OTHER_ROLE; role <= ROLE; role++)
        for (uint32_t layer = 0; layer <= FIXTURE_LAYERS; layer++) {
            look(&b, role, layer, 0, 3, 1);
            assert_int_equal(b.view.n_rows, 1);
            assert_int_equal(b.first_octave, 10 * role + layer);
            assert_int_equal(cell(&b, 0, b.first_octave).count, 4);
        }
    stop(&b);
}

static void nothing_to_show_has_no_rows(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 0, 1, ROLE, (bp_histogram){.zeros = 7});
    put(&b, 1, 2, ROLE, (bp_histogram){0});
    put(&b, 3, 2, ROLE, in_octave(4, 0));
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 9, 5); /* zeros alone */
    assert_int_equal(b.view.n_rows, 0);
    assert_int_equal(b.view.n_columns, 5);
    look(&b, ROLE, 3, 0, 9, 5);
    assert_int_equal(b.view.n_rows, 0);
    look(&b, ROLE, 2, 0, 3, 4);
    assert_empty(&b, 1); /* a tensor without elements has no shares */
    assert_share(&b, 3, 4, 1);
    stop(&b);
}

static void zeros_count_where_others_have_values(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 0, 1, ROLE, in_octave(2, 0));
    put(&b, 1, 1, ROLE, in_octave(2, 100));
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 1, 1);
    assert_true(cell(&b, 0, 2).mean == 0.5 && cell(&b, 0, 2).min == 0 && cell(&b, 0, 2).last == 0);
    stop(&b);
}

/* What lies below counts in the first of them. */
static void rows_are_bounded(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 0, 1, ROLE, in_octave(BP_EXPONENT_MIN, 0));
    put(&b, 1, 1, ROLE, in_octave(BP_EXPONENT_MAX, 0));
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 1, 2);
    assert_int_equal(b.view.n_rows, 128);
    assert_int_equal(b.first_octave, BP_EXPONENT_MAX - 127);
    assert_share(&b, 0, BP_EXPONENT_MAX - 127, 1);
    assert_share(&b, 1, BP_EXPONENT_MAX, 1);
    stop(&b);
}

static void what_cannot_be_asked(void **state) {
    (void)state;
    bench b;
    bp_error error;
    start(&b);
    open_histograms(&b);
    const struct {
        unsigned role;
        int64_t first, last;
        uint32_t n_columns;
    } bad[] = {{ROLE, -1, 3, 4}, {ROLE, 4, 3, 4}, {ROLE, 0, 3, 0}, {32, 0, 3, 4}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(bp_histograms_view(b.histograms, &b.view, &b.first_octave, bad[i].role, 1,
                                            bad[i].first, bad[i].last, bad[i].n_columns, &error),
                         BP_ERROR_ARGUMENT);
    look(&b, ROLE, 1, 0, INT64_MAX - 1, 1000);
    assert_int_equal(bp_histograms_open(&b.histograms, "/nowhere", NULL, NULL, &error),
                     BP_ERROR_IO);
    stop(&b);
}

/* --- logs that change ------------------------------------------------------------------------- */

static void a_run_that_goes_on(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 0, 1, ROLE, in_octave(0, 0));
    open_histograms(&b);
    for (int64_t step = 1; step < 6; step++) {
        if (step == 3) next_segment(&b, -1);
        craft_fixture_step(&b.segment, step);
        put(&b, step, 1, ROLE, in_octave((int32_t)step, 0));
        write_segment(&b);
        assert_int_equal(bp_histograms_last_step(b.histograms, ROLE), step - 1);
        assert_int_equal(bp_histograms_update(b.histograms, NULL), BP_OK);
        assert_int_equal(bp_histograms_last_step(b.histograms, ROLE), step);
        look(&b, ROLE, 1, 0, step, 100);
        for (int64_t i = 0; i <= step; i++) assert_share(&b, (uint32_t)i, (int32_t)i, 1);
    }
    stop(&b);
}

/* Steps from 2 on come again. */
static void a_run_that_is_resumed(void **state) {
    (void)state;
    for (int live = 0; live <= 1; live++) {
        bench b;
        start(&b);
        for (int64_t step = 0; step < 4; step++) put(&b, step, 1, ROLE, in_octave(0, 0));
        if (live) open_histograms(&b);
        next_segment(&b, 2);
        for (int64_t step = 2; step < 4; step++) put(&b, step, 1, ROLE, in_octave(9, 0));
        if (live) {
            write_segment(&b);
            assert_int_equal(bp_histograms_update(b.histograms, NULL), BP_OK);
        } else {
            open_histograms(&b);
        }
        look(&b, ROLE, 1, 0, 3, 4);
        assert_share(&b, 1, 0, 1);
        assert_share(&b, 2, 0, 0);
        assert_share(&b, 2, 9, 1);
        assert_share(&b, 3, 9, 1);
        stop(&b);
    }
}

/* Its rewind record is damaged, and so many histograms stand before the first step. */
static void a_resumed_run_whose_begin_is_damaged(void **state) {
    (void)state;
    bench b;
    start(&b);
    for (int64_t step = 0; step < 4; step++) put(&b, step, 1, ROLE, in_octave(0, 0));
    next_segment(&b, 2);
    b.segment.bytes[b.segment.length - 1] ^= 1; /* the end of the rewind record */
    for (uint32_t i = 0; i < 20; i++) put(&b, 2, 1, ROLE, in_octave(9, 0));
    craft_fixture_step(&b.segment, 2);
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 3, 4);
    assert_share(&b, 1, 0, 1);
    assert_share(&b, 2, 9, 1);
    assert_empty(&b, 3);
    stop(&b);
}

static void told_twice_the_last_counts(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 1, 1, ROLE, in_octave(0, 0));
    put(&b, 1, 2, ROLE, in_octave(0, 0));
    put(&b, 1, 1, ROLE, in_octave(3, 0));
    open_histograms(&b);
    look(&b, ROLE, 1, 1, 1, 1);
    assert_share(&b, 0, 3, 1);
    stop(&b);
}

/* Of a log that lies: each step is given once, and in its column. */
static void steps_that_go_back_are_passed_over(void **state) {
    (void)state;
    bench b;
    start(&b);
    static const int64_t steps[] = {5, 9, 2, 7, 9, 12, 0};
    for (int i = 0; i < 33001; i++) put(&b, 0, 2, ROLE, in_octave(0, 0)); /* several are one */
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        put(&b, steps[i], 1, ROLE, in_octave((int32_t)i, 0));
    open_histograms(&b);
    assert_int_equal(bp_histograms_update(b.histograms, NULL), BP_OK);
    look(&b, ROLE, 1, 0, 12, 13);
    for (uint32_t c = 0; c < 13; c++)
        if (c != 5 && c != 9 && c != 12) assert_empty(&b, c);
    assert_share(&b, 5, 0, 1);
    assert_share(&b, 9, 4, 1);
    assert_share(&b, 12, 5, 1);
    stop(&b);
}

static void what_is_damaged_is_missing(void **state) {
    (void)state;
    bench b;
    start(&b);
    size_t place = 0;
    for (int64_t step = 0; step < 10; step++) {
        if (step == 5) place = b.segment.length;
        put(&b, step, 1, ROLE, in_octave(0, 0));
        craft_fixture_step(&b.segment, step);
    }
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 9, 10);
    assert_share(&b, 5, 0, 1);
    for (int again = 0; again <= 1; again++) { /* damaged while it is open, and before */
        b.segment.bytes[place + 40] ^= 1;
        write_segment(&b);
        b.segment.bytes[place + 40] ^= 1;
        look(&b, ROLE, 1, 0, 9, 10);
        assert_empty(&b, 5);
        for (uint32_t c = 0; c < 10; c++)
            if (c != 5) assert_share(&b, c, 0, 1);
        bp_histograms_close(b.histograms);
        write_segment(&b);
        assert_int_equal(bp_histograms_open(&b.histograms, b.folder, NULL, NULL, NULL), BP_OK);
        look(&b, ROLE, 1, 0, 9, 10);
        assert_share(&b, 5, 0, 1);
    }
    stop(&b);
}

/* Whatever byte is damaged: no share that was not written. */
static void each_byte_damaged(void **state) {
    (void)state;
    bench b;
    start(&b);
    const size_t begin = b.segment.length;
    for (int64_t step = 0; step < 3; step++) put(&b, step, 1, ROLE, in_octave((int32_t)step, 0));
    open_histograms(&b);
    bp_histograms_close(b.histograms);
    for (size_t at = begin; at < b.segment.length; at++) {
        b.segment.bytes[at] ^= 0x55;
        open_histograms(&b);
        b.segment.bytes[at] ^= 0x55;
        look(&b, ROLE, 1, 0, 2, 3);
        size_t n = 0;
        for (uint32_t c = 0; c < 3; c++) {
            if (b.view.cells[c * b.view.n_rows].count == 0) continue;
            assert_share(&b, c, (int32_t)c, 1);
            n++;
        }
        assert_true(n >= 2);
        bp_histograms_close(b.histograms);
    }
    b.histograms = NULL;
    stop(&b);
}

/* Steps that are larger than what is read at once, and at the end one that is still being written.
 */
static void large_steps_are_passed_over(void **state) {
    (void)state;
    enum { LARGE = 300000 };
    static uint8_t junk[LARGE];
    bench b;
    start(&b);
    for (int64_t step = 0; step < 5; step++) {
        put(&b, step, 1, ROLE, in_octave(0, (uint64_t)step));
        craft_frame(&b.segment, BP_RUNLOG_STEP, junk, LARGE - (size_t)step, 1);
    }
    const size_t whole = b.segment.length;
    put(&b, 5, 1, ROLE, in_octave(0, 5));
    const size_t all = b.segment.length;
    static const size_t cuts[] = {1, 35, 36, 37, 8192, LARGE - 1000, LARGE + 20};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        b.segment.length = whole - cuts[i];
        open_histograms(&b);
        assert_int_equal(bp_histograms_last_step(b.histograms, ROLE), 4);
        b.segment.length = all;
        write_segment(&b);
        assert_int_equal(bp_histograms_update(b.histograms, NULL), BP_OK);
        assert_int_equal(bp_histograms_last_step(b.histograms, ROLE), 5);
        look(&b, ROLE, 1, 0, 5, 6);
        for (uint32_t c = 0; c < 6; c++) assert_share(&b, c, 0, (100 - c) / 100.0);
        bp_histograms_close(b.histograms);
    }
    b.histograms = NULL;
    stop(&b);
}

/* --- thinned while somebody looks ------------------------------------------------------------- */

enum { THIN_STEPS = 40 };

static void put_moment(craft *segment, int64_t step) {
    for (uint32_t layer = 1; layer <= FIXTURE_LAYERS; layer++)
        put_into(segment, step, layer, ROLE, in_octave((int32_t)(step % 30), layer));
}

static void thinned_since(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    uint64_t sequence = 0;
    bp_histograms *histograms;
    bp_view view = {0};
    int32_t octave;
    bp_error error;
    fixture_make_folder(folder);
    for (uint32_t i = 0; i < 10; i++) {
        craft segment = {0};
        thin_begin(&segment, i + 1, sequence, -1);
        for (int64_t step = i * THIN_STEPS; step < (i + 1) * THIN_STEPS; step++) {
            put_moment(&segment, step);
            thin_add_step(&segment, step, 1.0);
        }
        sequence = thin_write(&segment, folder);
    }
    assert_int_equal(bp_histograms_open(&histograms, folder, NULL, NULL, NULL), BP_OK);
    assert_int_equal(bp_histograms_view(histograms, &view, &octave, ROLE, 1, 0, 9, 10, NULL),
                     BP_OK);
    const bp_status status = thin_once(folder, NULL, thin_folder_bytes(folder) / 8, 11, &error);
    if (status != BP_OK && status != BP_ERROR_LIMIT) fail_msg("%s", error.text);
    assert_true(thin_assert_reads(folder) > 0);
    for (uint32_t layer = 1; layer <= FIXTURE_LAYERS; layer++) {
        assert_int_equal(bp_histograms_view(histograms, &view, &octave, ROLE, layer, 0,
                                            10 * THIN_STEPS - 1, 10 * THIN_STEPS, &error),
                         BP_OK);
        size_t n = 0;
        for (uint32_t c = 0; c < view.n_columns; c++) {
            if (view.cells[c * view.n_rows].count == 0) continue;
            n++;
            assert_true(view.cells[c * view.n_rows + c % 30 - (uint32_t)octave].mean ==
                        (100 - layer) / 100.0);
        }
        assert_in_range(n, 20, 10 * THIN_STEPS / 2);
    }
    bp_view_free(&view);
    bp_histograms_close(histograms);
    fixture_remove_folder(folder);
}

/* --- bounds ----------------------------------------------------------------------------------- */

/* More than are remembered one by one. */
static void very_many(void **state) {
    (void)state;
    enum { STEPS = 2000, LAYERS = 20 };
    bench b;
    start(&b);
    for (int64_t step = 0; step < STEPS; step++)
        for (uint32_t layer = 1; layer <= LAYERS; layer++)
            put(&b, step, layer, ROLE, in_octave((int32_t)layer, (uint64_t)step % 64));
    open_histograms(&b);
    for (uint32_t layer = 1; layer <= LAYERS; layer += LAYERS - 1) {
        look(&b, ROLE, layer, 0, STEPS - 1, STEPS);
        assert_int_equal(b.view.n_rows, 1);
        for (uint32_t c = 0; c < STEPS; c++)
            assert_share(&b, c, (int32_t)layer, (100 - c % 64) / 100.0);
    }
    stop(&b);
}

static void one_in_each_of_many_segments(void **state) {
    (void)state;
    bench b;
    start(&b);
    for (int64_t step = 0; step < 600; step++) {
        if (step > 0) next_segment(&b, -1);
        put(&b, step, 1, ROLE, in_octave(0, 0));
    }
    open_histograms(&b);
    look(&b, ROLE, 1, 0, 599, 600);
    for (uint32_t c = 0; c < 600; c++) assert_share(&b, c, 0, 1);
    stop(&b);
}

static void no_memory_is_an_error(void **state) {
    (void)state;
    bench b;
    start(&b);
    put(&b, 0, 1, ROLE, in_octave(0, 0));
    put(&b, 1, 1, ROLE, in_octave(1, 0));
    open_histograms(&b);
    bp_histograms_close(b.histograms);
    b.histograms = NULL;
    fixture_memory memory = {.left = 0};
    const bp_allocator allocator = fixture_allocator(&memory);
    bool done = false;
    for (int64_t n = 0; !done; n++) {
        bp_histograms *histograms = NULL;
        bp_view view = {0};
        bp_error error;
        int32_t octave;
        memory.left = n;
        bp_status status = bp_histograms_open(&histograms, b.folder, NULL, &allocator, &error);
        if (status == BP_OK)
            status = bp_histograms_view(histograms, &view, &octave, ROLE, 1, 0, 1, 2, &error);
        done = status == BP_OK;
        if (!done) assert_int_equal(status, BP_ERROR_MEMORY);
        if (!done) assert_int_equal(error.status, BP_ERROR_MEMORY);
        memory.left = -1;
        bp_view_free(&view);
        bp_histograms_close(histograms);
        assert_int_equal(memory.in_use, 0);
        assert_true(n < 1000);
    }
    stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_of_all_elements),
        cmocka_unit_test(columns_have_means_and_extremes),
        cmocka_unit_test(layers_and_roles_are_apart),
        cmocka_unit_test(nothing_to_show_has_no_rows),
        cmocka_unit_test(zeros_count_where_others_have_values),
        cmocka_unit_test(rows_are_bounded),
        cmocka_unit_test(what_cannot_be_asked),
        cmocka_unit_test(a_run_that_goes_on),
        cmocka_unit_test(a_run_that_is_resumed),
        cmocka_unit_test(a_resumed_run_whose_begin_is_damaged),
        cmocka_unit_test(told_twice_the_last_counts),
        cmocka_unit_test(steps_that_go_back_are_passed_over),
        cmocka_unit_test(what_is_damaged_is_missing),
        cmocka_unit_test(each_byte_damaged),
        cmocka_unit_test(large_steps_are_passed_over),
        cmocka_unit_test(thinned_since),
        cmocka_unit_test(very_many),
        cmocka_unit_test(one_in_each_of_many_segments),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
