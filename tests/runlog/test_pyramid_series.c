/* SPDX-License-Identifier: Apache-2.0 */
/* Pyramids of series that are derived, beside a plain reckoning over the decoded records: exact at
 * every zoom, not quotients of means. */
#include "plain.h"

static void assert_all(const plain_log *b, bool in_memory) {
    for (unsigned i = BP_N_QUANTITIES; i < BP_N_SERIES; i++) {
        bp_pyramid *pyramid =
            plain_open(b->folder, (bp_series)i, &(bp_pyramid_options){.in_memory = in_memory});
        assert_int_equal(bp_pyramid_is_kept(pyramid), !in_memory);
        plain_assert_views(pyramid, b->folder, (bp_series)i);
        bp_pyramid_close(pyramid);
    }
}

static void random_logs(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        plain_log b;
        int64_t step = (int64_t)seed * 1000;
        plain_start(&b, 70 + seed);
        for (int i = 0; i < 3; i++) {
            plain_put_some(&b, &step, 300);
            plain_next_segment(&b, false);
        }
        plain_put_some(&b, &step, 200);
        assert_all(&b, false); /* built */
        assert_all(&b, false); /* from what was kept */
        assert_all(&b, true);
        plain_stop(&b);
    }
}

static void growth_in_pieces(void **state) {
    (void)state;
    for (unsigned i = BP_N_QUANTITIES; i < BP_N_SERIES; i++) {
        plain_log b;
        int64_t step = 0;
        plain_start(&b, 80 + i);
        bp_pyramid *pyramid = plain_open(b.folder, (bp_series)i, NULL);
        for (int piece = 0; piece < 12; piece++) {
            if (piece % 5 == 4) plain_next_segment(&b, false);
            plain_put_some(&b, &step, (int)plain_draw(&b, 60));
            assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
            assert_true(bp_pyramid_is_kept(pyramid));
            plain_assert_views(pyramid, b.folder, (bp_series)i);
        }
        bp_pyramid_close(pyramid);
        plain_stop(&b);
    }
}

static void a_run_that_is_resumed(void **state) {
    (void)state;
    plain_log b;
    int64_t step = 0;
    plain_start(&b, 90);
    plain_put_some(&b, &step, 400);
    bp_pyramid *pyramid = plain_open(b.folder, BP_SERIES_GAIN, NULL);
    for (int i = 0; i < 3; i++) {
        plain_next_segment(&b, true);
        step = step / 2;
        craft_rewind(&b.segment, step);
        plain_put_some(&b, &step, 100);
        assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
        plain_assert_views(pyramid, b.folder, BP_SERIES_GAIN);
    }
    bp_pyramid_close(pyramid);
    assert_all(&b, false);
    plain_stop(&b);
}

/* --- one bad step ----------------------------------------------------------------------------- */

enum { STEPS = 5000, NAN_STEP = 1234, SPIKE_STEP = 3777 };

/* Error signals that keep their size, but for two steps. */
static void put_even_steps(plain_log *b) {
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS, NULL), BP_OK);
    for (int64_t step = 0; step < STEPS; step++) {
        record.step = step;
        for (uint32_t row = 0; row < ROWS; row++)
            bp_record_set(&record, BP_Q_ERROR_NORM, row,
                          step == SPIKE_STEP && row < 2 ? 0x1p40 : 1.0);
        if (step == NAN_STEP) bp_record_set(&record, BP_Q_ERROR_NORM, 2, (double)NAN);
        craft_step(&b->segment, &record);
    }
    bp_record_finish(&record, NULL);
    craft_write(&b->segment, b->folder);
}

static const bp_view_cell *cell_of(const bp_view *view, uint64_t step, uint32_t row) {
    uint32_t c = 0;
    while (view->starts[c + 1] <= step) c++;
    return &view->cells[c * view->n_rows + row];
}

static void one_bad_step_at_every_zoom(void **state) {
    (void)state;
    plain_log b;
    bp_view view = {0};
    plain_start(&b, 91);
    put_even_steps(&b);
    bp_pyramid *pyramid = plain_open(b.folder, BP_SERIES_GAIN, NULL);
    for (uint32_t n = 1; n <= STEPS; n = 3 * n / 2 + 1) {
        assert_int_equal(bp_pyramid_view(pyramid, &view, 0, STEPS - 1, n, NULL), BP_OK);
        for (uint32_t row = 1; row < ROWS; row++) {
            const unsigned flags = cell_of(&view, NAN_STEP, row)->flags;
            assert_int_equal(flags, row == 1 ? 0 : BP_VIEW_HAS_NAN); /* into layer 2 and out */
            assert_true(cell_of(&view, SPIKE_STEP, row)->max == (row == 2 ? 0x1p40 : 1.0));
        }
    }
    bp_view_free(&view);
    bp_pyramid_close(pyramid);
    plain_stop(&b);
}

/* --- a network that grows --------------------------------------------------------------------- */

static void add_layers(plain_log *b) {
    bp_error error;
    for (int i = 0; i < 2; i++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE, .output_shape = {3, 1, 1}, .fan_in = 3};
        if (bp_model_add_layer(b->model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
    }
    craft_model_delta(&b->segment, b->model, FIXTURE_LAYERS + 1);
}

static void put_wide_steps(plain_log *b, int64_t *step) {
    bp_record record;
    assert_int_equal(bp_record_init(&record, FIXTURE_LAYERS + 2, NULL), BP_OK);
    for (int i = 0; i < 50; i++) {
        record.step = (*step)++;
        for (uint32_t row = 0; row < ROWS + 2; row++)
            bp_record_set(&record, BP_Q_ERROR_NORM, row, ldexp(1.0, (int)plain_draw(b, 20)));
        craft_step(&b->segment, &record);
    }
    bp_record_finish(&record, NULL);
    craft_write(&b->segment, b->folder);
}

static void layers_that_were_added(void **state) {
    (void)state;
    plain_log b;
    int64_t step = 0;
    plain_start(&b, 92);
    plain_put_some(&b, &step, 100);
    bp_pyramid *pyramid = plain_open(b.folder, BP_SERIES_GAIN, NULL);
    plain_assert_views(pyramid, b.folder, BP_SERIES_GAIN);
    add_layers(&b);
    put_wide_steps(&b, &step);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
        plain_assert_views(pyramid, b.folder, BP_SERIES_GAIN);
        assert_true(bp_pyramid_is_kept(pyramid));
        put_wide_steps(&b, &step);
    }
    bp_pyramid_close(pyramid);
    plain_assert_pyramid(b.folder, BP_SERIES_GAIN, true);
    plain_stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_logs),
        cmocka_unit_test(growth_in_pieces),
        cmocka_unit_test(a_run_that_is_resumed),
        cmocka_unit_test(one_bad_step_at_every_zoom),
        cmocka_unit_test(layers_that_were_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
