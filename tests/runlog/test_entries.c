/* SPDX-License-Identifier: Apache-2.0 */
/* What a log tells besides full steps, and how its records are numbered. */
#include "craft.h"

enum { RUN = 4711 };

typedef struct bench {
    char folder[FIXTURE_PATH_BYTES];
    bp_model *model;
    craft segment;
    bp_runlog_reader *reader;
} bench;

static void start(bench *b) {
    fixture_make_folder(b->folder);
    b->model = fixture_model();
    craft_begin(&b->segment, RUN, 1, 0, true, false);
    craft_model(&b->segment, b->model);
}

/* The next segment, numbered as if `skipped` records between were lost. */
static void next_segment(bench *b, uint64_t skipped, bool rewinds) {
    const uint64_t sequence = b->segment.sequence + skipped;
    const uint32_t index = b->segment.salt.index + 1;
    craft_write(&b->segment, b->folder);
    craft_free(&b->segment);
    craft_begin(&b->segment, RUN, index, sequence, true, rewinds);
    craft_model(&b->segment, b->model);
}

static void open_reader(bench *b) {
    bp_error error;
    craft_write(&b->segment, b->folder);
    craft_free(&b->segment);
    if (bp_runlog_reader_open(&b->reader, b->folder, NULL, &error) != BP_OK)
        fail_msg("%s", error.text);
}

static void stop(bench *b) {
    craft_free(&b->segment);
    bp_runlog_reader_close(b->reader);
    bp_model_close(b->model);
    fixture_remove_folder(b->folder);
}

static bp_runlog_entry next(bench *b) {
    bp_runlog_entry entry;
    bp_error error;
    if (bp_runlog_reader_next_entry(b->reader, &entry, &error) != BP_OK) fail_msg("%s", error.text);
    assert_true(!entry.record || !entry.event);
    return entry;
}

static void expect_step(bench *b, int64_t step) {
    const bp_runlog_entry entry = next(b);
    assert_non_null(entry.record);
    assert_int_equal(entry.record->step, step);
}

static const bp_event *expect_event(bench *b, bp_event_kind kind) {
    const bp_runlog_entry entry = next(b);
    assert_non_null(entry.event);
    assert_int_equal(entry.event->kind, kind);
    return entry.event;
}

static void expect_end(bench *b, uint64_t lost_records, uint64_t damaged_places) {
    const bp_runlog_entry entry = next(b);
    assert_true(!entry.record && !entry.event);
    assert_int_equal(bp_runlog_reader_damage(b->reader)->lost_records, lost_records);
    assert_int_equal(bp_runlog_reader_damage(b->reader)->damaged_places, damaged_places);
}

static const bp_event finding = {.kind = BP_EVENT_FINDING,
                                 .as.finding = {3, 1, 1, 2, BP_FINDING_OPENED}};
static const bp_event checkpoint = {.kind = BP_EVENT_CHECKPOINT,
                                    .as.checkpoint = {4, "step-000000004.safetensors"}};

static bp_event histogram_of_step(int64_t step) {
    return (bp_event){.kind = BP_EVENT_HISTOGRAM, .as.histogram = {step, 1, 6, {0, 0, -3, 1, {7}}}};
}

static bp_event watch_event(int64_t step, double seconds) {
    return (bp_event){
        .kind = BP_EVENT_WATCH,
        .as.watch = {step, BP_WATCH_BUDGET, 0, 0.01, 7, 93, seconds, 100.0 * seconds}};
}

/* --- events ---------------------------------------------------------------------------------- */

static void events_stand_between_steps(void **state) {
    (void)state;
    bench b = {0};
    start(&b);
    craft_fixture_step(&b.segment, 0);
    craft_event(&b.segment, &finding);
    craft_fixture_step(&b.segment, 1);
    craft_event(&b.segment, &checkpoint);
    bp_event watch = watch_event(1, 0.25);
    craft_event(&b.segment, &watch);
    watch = watch_event(9, 0.75);
    craft_event(&b.segment, &watch);
    craft_end(&b.segment, BP_RUN_FINISHED);
    open_reader(&b);
    assert_null(bp_runlog_reader_watching(b.reader));
    expect_step(&b, 0);
    assert_int_equal(expect_event(&b, BP_EVENT_FINDING)->as.finding.since_step, 1);
    expect_step(&b, 1);
    assert_string_equal(expect_event(&b, BP_EVENT_CHECKPOINT)->as.checkpoint.file,
                        checkpoint.as.checkpoint.file);
    assert_int_equal(expect_event(&b, BP_EVENT_WATCH)->as.watch.light_steps, 93);
    expect_event(&b, BP_EVENT_WATCH);
    expect_end(&b, 0, 0);
    assert_int_equal(bp_runlog_reader_end(b.reader), BP_RUN_FINISHED);
    assert_non_null(bp_runlog_reader_watching(b.reader));
    assert_true(bp_runlog_reader_watching(b.reader)->watch_seconds == 0.75);
    stop(&b);
}

static void who_asks_for_steps_gets_steps(void **state) {
    (void)state;
    bench b = {0};
    const bp_record *record;
    start(&b);
    craft_event(&b.segment, &finding);
    craft_fixture_step(&b.segment, 0);
    craft_event(&b.segment, &checkpoint);
    open_reader(&b);
    assert_int_equal(bp_runlog_reader_next(b.reader, &record, NULL), BP_OK);
    assert_non_null(record);
    assert_int_equal(bp_runlog_reader_next(b.reader, &record, NULL), BP_OK);
    assert_null(record);
    stop(&b);
}

static void an_event_that_means_nothing_is_damage(void **state) {
    (void)state;
    bench b = {0};
    const uint8_t bad[] = {3, 5, 1, 1, 1}; /* since a later step */
    start(&b);
    craft_frame(&b.segment, BP_RUNLOG_FINDING, bad, sizeof bad, 1);
    craft_fixture_step(&b.segment, 0);
    open_reader(&b);
    expect_step(&b, 0);
    expect_end(&b, 1, 1);
    assert_non_null(strstr(bp_runlog_reader_damage(b.reader)->first.text, "event of type 7"));
    stop(&b);
}

/* --- losses ---------------------------------------------------------------------------------- */

static void losses_are_steps(void **state) {
    (void)state;
    bench b = {0};
    const double loss[] = {2.5, (double)NAN, -0.0};
    start(&b);
    craft_fixture_step(&b.segment, 10);
    craft_losses(&b.segment, 11, loss, 3);
    craft_fixture_step(&b.segment, 14);
    open_reader(&b);
    expect_step(&b, 10);
    for (int64_t i = 0; i < 3; i++) {
        const bp_record *record = next(&b).record;
        assert_non_null(record);
        assert_int_equal(record->step, 11 + i);
        assert_true(record->wall_time == 1700000000.0);
        assert_memory_equal(&record->value[bp_record_cell(record, BP_Q_LOSS, 0)], &loss[i], 8);
        size_t n_measured = 0;
        for (size_t cell = 0; cell < BP_N_QUANTITIES * (FIXTURE_LAYERS + 1u); cell++)
            n_measured += record->measured[cell];
        assert_int_equal(n_measured, 1);
    }
    expect_step(&b, 14);
    expect_end(&b, 0, 0);
    stop(&b);
}

static void put_losses(bench *b, int64_t step, uint64_t said, size_t given, size_t trailing) {
    uint8_t bytes[256];
    bp_writer writer;
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_write_f64(&writer, 1.0);
    bp_write_varint(&writer, (uint64_t)step);
    bp_write_varint(&writer, said);
    for (size_t i = 0; i < 8 * given + trailing; i++) bp_write_u8(&writer, 0);
    craft_frame(&b->segment, BP_RUNLOG_LOSSES, bytes, writer.length, 1);
}

static void losses_that_lie_are_damage(void **state) {
    (void)state;
    bench b = {0};
    start(&b);
    put_losses(&b, 0, 0, 0, 0);
    put_losses(&b, 0, 2, 1, 0);
    put_losses(&b, 0, 1, 1, 1);
    put_losses(&b, 0, UINT64_MAX / 8 + 2, 1, 0);
    put_losses(&b, -1, 1, 1, 0);
    put_losses(&b, INT64_MAX, 2, 2, 0); /* a step above the largest */
    put_losses(&b, INT64_MAX, 1, 1, 0); /* the largest is one */
    craft_fixture_step(&b.segment, 5);
    open_reader(&b);
    expect_step(&b, INT64_MAX);
    expect_step(&b, 5);
    expect_end(&b, 6, 1); /* they lie side by side: one place */
    stop(&b);
}

/* --- numbers --------------------------------------------------------------------------------- */

static void what_is_missing_is_counted(void **state) {
    (void)state;
    bench b = {0};
    const double loss[] = {1, 2, 3, 4};
    start(&b);
    craft_fixture_step(&b.segment, 0);
    b.segment.sequence += 2; /* lost before a record that spends one */
    craft_losses(&b.segment, 1, loss, 4);
    next_segment(&b, 3, false); /* and before one that does not */
    craft_fixture_step(&b.segment, 5);
    next_segment(&b, 7, false); /* and at the end */
    open_reader(&b);
    for (int64_t step = 0; step <= 5; step++) expect_step(&b, step);
    expect_end(&b, 2 + 3 + 7, 0);
    expect_end(&b, 2 + 3 + 7, 0); /* however often one asks */
    stop(&b);
}

/* Two readers that salvaged the same ring at once leave its records twice. */
static void salvaged_twice_is_given_once(void **state) {
    (void)state;
    bench b = {0};
    const double loss[] = {1, 2, 3, 4};
    start(&b);
    craft_fixture_step(&b.segment, 0);
    craft_fixture_step(&b.segment, 1);
    next_segment(&b, 0, false);
    craft_fixture_step(&b.segment, 2);
    craft_losses(&b.segment, 3, loss, 2);
    next_segment(&b, 0, false);
    b.segment.sequence -= 3;
    craft_fixture_step(&b.segment, 2);
    craft_losses(&b.segment, 3, loss, 4); /* two of them are new */
    craft_fixture_step(&b.segment, 7);
    open_reader(&b);
    for (int64_t step = 0; step <= 7; step++) expect_step(&b, step);
    expect_end(&b, 0, 0);
    stop(&b);
}

static void twice_in_a_segment_is_damage(void **state) {
    (void)state;
    bench b = {0};
    start(&b);
    craft_fixture_step(&b.segment, 0);
    b.segment.sequence--;
    craft_fixture_step(&b.segment, 1);
    craft_fixture_step(&b.segment, 2);
    open_reader(&b);
    expect_step(&b, 0);
    expect_step(&b, 2);
    expect_end(&b, 0, 1);
    stop(&b);
}

/* Only what comes behind a record of a later version tells whether it spends a number. */
static void unknown_types_do_not_count_as_lost(void **state) {
    (void)state;
    for (uint64_t spends = 0; spends <= 1; spends++) {
        bench b = {0};
        start(&b);
        craft_fixture_step(&b.segment, 0);
        craft_frame(&b.segment, 4711, "?", 1, spends);
        craft_fixture_step(&b.segment, 1);
        craft_frame(&b.segment, 4711, "?", 1, spends);
        craft_frame(&b.segment, 4711, "?", 1, spends);
        craft_fixture_step(&b.segment, 2);
        b.segment.sequence++;
        craft_fixture_step(&b.segment, 4);
        open_reader(&b);
        for (int64_t step = 0; step <= 2; step++) expect_step(&b, step);
        expect_step(&b, 4);
        expect_end(&b, 1, 0);
        assert_int_equal(bp_runlog_reader_damage(b.reader)->unknown, 3);
        stop(&b);
    }
}

/* A run that an older version began and this one resumed. */
static void segments_of_both_numberings(void **state) {
    (void)state;
    bench b = {0};
    fixture_make_folder(b.folder);
    b.model = fixture_model();
    craft_begin(&b.segment, RUN, 1, 0, false, false);
    craft_model(&b.segment, b.model);
    for (int64_t step = 0; step < 4; step++) craft_fixture_step(&b.segment, step);
    next_segment(&b, 0, true);
    craft_rewind(&b.segment, 2);
    craft_fixture_step(&b.segment, 2);
    craft_end(&b.segment, BP_RUN_FINISHED);
    open_reader(&b);
    for (int64_t step = 0; step <= 2; step++) expect_step(&b, step);
    expect_end(&b, 0, 0);
    stop(&b);
}

static void void_steps_and_events_are_not_given(void **state) {
    (void)state;
    bench b = {0};
    const double loss[] = {1, 2, 3, 4};
    start(&b);
    craft_losses(&b.segment, 0, loss, 4);
    craft_event(&b.segment, &finding);    /* of step 3 */
    craft_event(&b.segment, &checkpoint); /* of step 4 */
    for (int64_t step = 2; step <= 4; step++) {
        const bp_event histogram = histogram_of_step(step);
        craft_event(&b.segment, &histogram);
    }
    next_segment(&b, 0, true);
    craft_rewind(&b.segment, 3); /* the checkpoint is later */
    craft_losses(&b.segment, 3, loss, 1);
    open_reader(&b);
    for (int64_t step = 0; step <= 2; step++) expect_step(&b, step);
    expect_event(&b, BP_EVENT_FINDING);
    assert_int_equal(expect_event(&b, BP_EVENT_HISTOGRAM)->as.histogram.step, 2);
    expect_step(&b, 3);
    expect_end(&b, 0, 0);
    stop(&b);
}

/* --- thinning -------------------------------------------------------------------------------- */

static void thinned(bool one_more_is_lost) {
    bench b = {0};
    start(&b);
    /* Of steps 0 ... 29 each tenth is there. */
    const bp_event event = {.kind = BP_EVENT_THINNED, .as.thinned = {10, 0, 29, 27}};
    craft_event(&b.segment, &event);
    for (int64_t step = 0; step < 30; step += 10) {
        if (step != 10 || !one_more_is_lost) craft_fixture_step(&b.segment, step);
        b.segment.sequence = (uint64_t)step + 10;
    }
    next_segment(&b, 0, false);
    craft_fixture_step(&b.segment, 30);
    b.segment.sequence++;
    craft_fixture_step(&b.segment, 32);
    open_reader(&b);
    assert_int_equal(expect_event(&b, BP_EVENT_THINNED)->as.thinned.n_dropped, 27);
    expect_step(&b, 0);
    if (!one_more_is_lost) expect_step(&b, 10);
    expect_step(&b, 20);
    expect_step(&b, 30);
    expect_step(&b, 32);
    expect_end(&b, one_more_is_lost ? 2 : 1, 0);
    assert_int_equal(bp_runlog_reader_damage(b.reader)->thinned_records, 27);
    stop(&b);
}

static void what_was_thinned_is_not_lost(void **state) {
    (void)state;
    thinned(false);
    thinned(true);
}

static void a_thinned_end_is_not_lost(void **state) {
    (void)state;
    bench b = {0};
    start(&b);
    const bp_event event = {.kind = BP_EVENT_THINNED, .as.thinned = {10, 0, 9, 9}};
    craft_event(&b.segment, &event);
    craft_fixture_step(&b.segment, 0);
    next_segment(&b, 9, false); /* begun, with nothing in it yet */
    open_reader(&b);
    expect_event(&b, BP_EVENT_THINNED);
    expect_step(&b, 0);
    expect_end(&b, 0, 0);
    assert_int_equal(bp_runlog_reader_damage(b.reader)->thinned_records, 9);
    stop(&b);
}

/* --- a network that grows --------------------------------------------------------------------- */

static void add_layer(bp_model *model, const char *name) {
    const bp_layer layer = {
        .name = name, .kind = BP_LAYER_DENSE, .output_shape = {3, 1, 1}, .fan_in = 3, .fan_out = 3};
    bp_error error;
    if (bp_model_add_layer(model, &layer, NULL, &error) != BP_OK) fail_msg("%s", error.text);
}

static void craft_wide_step(bench *b, int64_t step) {
    bp_record record;
    const uint32_t n_layers = bp_model_n_layers(b->model);
    assert_int_equal(bp_record_init(&record, n_layers, NULL), BP_OK);
    record.step = step;
    for (uint32_t row = 0; row <= n_layers; row++)
        bp_record_set(&record, BP_Q_ACTIVATION_RMS, row, (double)(1u << row));
    craft_step(&b->segment, &record);
    bp_record_finish(&record, NULL);
}

static void expect_wide_step(bench *b, int64_t step, uint32_t n_layers) {
    const bp_record *record = next(b).record;
    assert_non_null(record);
    assert_int_equal(record->step, step);
    for (uint32_t row = 0; row <= record->n_layers; row++) {
        assert_int_equal(bp_record_has(record, BP_Q_ACTIVATION_RMS, row), row <= n_layers);
        if (row <= n_layers)
            assert_true(bp_record_get(record, BP_Q_ACTIVATION_RMS, row) == (double)(1u << row));
    }
}

static void layers_that_were_added(void **state) {
    (void)state;
    for (int rotated = 0; rotated <= 1; rotated++) {
        bench b = {0};
        start(&b);
        craft_wide_step(&b, 0);
        add_layer(b.model, "fourth");
        add_layer(b.model, "fifth");
        craft_model_delta(&b.segment, b.model, FIXTURE_LAYERS + 1);
        craft_wide_step(&b, 1);
        if (rotated) next_segment(&b, 0, false);
        add_layer(b.model, "sixth");
        craft_model_delta(&b.segment, b.model, FIXTURE_LAYERS + 3);
        craft_wide_step(&b, 2);
        open_reader(&b);
        const bp_model *model = bp_runlog_reader_model(b.reader);
        assert_int_equal(bp_model_n_layers(model), FIXTURE_LAYERS + 3);
        assert_string_equal(bp_model_layer(model, FIXTURE_LAYERS + 2)->name, "fifth");
        assert_string_equal(bp_model_layer(model, FIXTURE_LAYERS + 3)->name, "sixth");
        expect_wide_step(&b, 0, FIXTURE_LAYERS);
        const bp_event *event = expect_event(&b, BP_EVENT_MODEL_DELTA);
        assert_int_equal(event->as.model_delta.first_layer, FIXTURE_LAYERS + 1);
        assert_int_equal(event->as.model_delta.n_layers, 2);
        expect_wide_step(&b, 1, FIXTURE_LAYERS + 2);
        expect_event(&b, BP_EVENT_MODEL_DELTA);
        expect_wide_step(&b, 2, FIXTURE_LAYERS + 3);
        expect_end(&b, 0, 0);
        stop(&b);
    }
}

/* All or none of its layers; what comes behind is read on. */
static void layers_that_cannot_be_read(void **state) {
    (void)state;
    bench b = {0};
    uint8_t bytes[1024];
    bp_writer writer;
    start(&b);
    add_layer(b.model, "fourth");
    const bp_event delta = {.kind = BP_EVENT_MODEL_DELTA, .as.model_delta = {4, 2}};
    bp_writer_init(&writer, bytes, sizeof bytes);
    bp_event_encode(&delta, &writer);
    bp_model_encode_layers(b.model, 4, &writer);
    bp_model_encode_layers(b.model, 4, &writer); /* two layers of one name */
    craft_frame(&b.segment, BP_RUNLOG_MODEL_DELTA, bytes, writer.length, 1);
    craft_fixture_step(&b.segment, 0);
    open_reader(&b);
    assert_fixture_model(bp_runlog_reader_model(b.reader));
    expect_step(&b, 0);
    expect_end(&b, 1, 1);
    stop(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_stand_between_steps),
        cmocka_unit_test(who_asks_for_steps_gets_steps),
        cmocka_unit_test(an_event_that_means_nothing_is_damage),
        cmocka_unit_test(losses_are_steps),
        cmocka_unit_test(losses_that_lie_are_damage),
        cmocka_unit_test(what_is_missing_is_counted),
        cmocka_unit_test(salvaged_twice_is_given_once),
        cmocka_unit_test(twice_in_a_segment_is_damage),
        cmocka_unit_test(unknown_types_do_not_count_as_lost),
        cmocka_unit_test(segments_of_both_numberings),
        cmocka_unit_test(void_steps_and_events_are_not_given),
        cmocka_unit_test(what_was_thinned_is_not_lost),
        cmocka_unit_test(a_thinned_end_is_not_lost),
        cmocka_unit_test(layers_that_were_added),
        cmocka_unit_test(layers_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
