/* SPDX-License-Identifier: Apache-2.0 */
/* A replay that follows a run says at each time what a new one says of the same log, whatever the
 * run does meanwhile: it goes on, is resumed, its network grows, its ranks write one after another.
 */
#include "diagnosis/chain.h"
#include "record/event.h"
#include "replay/replay.h"
#include "report/tile.h"
#include "runlog/runlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LAYERS = 12, PATH_BYTES = 128, RANKS = 2 };

/* --- a run ------------------------------------------------------------------------------------ */

typedef struct run {
    char folders[RANKS][PATH_BYTES];
    unsigned n_ranks;
    chain chain; /* what the next record says */
    bp_runlog_writer *writers[RANKS];
    double wall_time;
} run;

static void open_writer(run *r, unsigned rank, int64_t resume_step) {
    const bp_runlog_options options = {
        .direct = true, .resumes = resume_step > 0, .resume_step = resume_step};
    bp_error error;
    if (bp_runlog_writer_open(&r->writers[rank], r->folders[rank], r->chain.model, &options,
                              &error) != BP_OK)
        fail_msg("%s", error.text);
}

/* Its first layers do not learn. */
static void start(run *r, unsigned n_ranks) {
    *r = (run){.n_ranks = n_ranks};
    snprintf(r->folders[0], PATH_BYTES, "replay-test-XXXXXX");
    assert_non_null(mkdtemp(r->folders[0]));
    snprintf(r->folders[1], PATH_BYTES, "%.*s/rank-1", (int)sizeof "replay-test-XXXXXX" - 1,
             r->folders[0]);
    if (n_ranks > 1) assert_int_equal(mkdir(r->folders[1], 0700), 0);
    chain_open(&r->chain, LAYERS, BP_ACTIVATION_SIGMOID, BP_NORM_NONE);
    chain_all_gains(&r->chain, 0.14);
    chain_starve_below(&r->chain, LAYERS - 2);
    r->chain.loss = 2.303;
    for (unsigned rank = 0; rank < n_ranks; rank++) open_writer(r, rank, 0);
}

static void put(run *r, unsigned rank, int64_t step) {
    uint8_t bytes[1 << 14];
    bp_writer encoded;
    bp_error error;
    chain_fill(&r->chain, step);
    r->chain.record.wall_time = r->wall_time;
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_record_encode(&r->chain.record, &encoded);
    assert_false(encoded.cut);
    if (bp_runlog_writer_step(r->writers[rank], step, bytes, encoded.length, &error) != BP_OK)
        fail_msg("%s", error.text);
}

static void put_some(run *r, unsigned rank, int64_t from, int64_t to) {
    for (int64_t step = from; step < to; step++) put(r, rank, step);
}

static void end(run *r, bp_run_end how) {
    for (unsigned rank = 0; rank < r->n_ranks; rank++)
        assert_int_equal(bp_runlog_writer_close(r->writers[rank], how, NULL), BP_OK);
}

static void add_layer(run *r) {
    const bp_layer layer = {.kind = BP_LAYER_DENSE, .output_shape = {CHAIN_UNITS, 1, 1}};
    chain *c = &r->chain;
    assert_int_equal(bp_model_add_layer(c->model, &layer, NULL, NULL), BP_OK);
    c->n_layers++;
    bp_record_finish(&c->record, NULL);
    assert_int_equal(bp_record_init(&c->record, c->n_layers, NULL), BP_OK);
    c->gain[c->n_layers] = c->activation_part[c->n_layers] = c->effect[c->n_layers] = 1;
    assert_int_equal(bp_runlog_writer_model(r->writers[0], c->model, NULL), BP_OK);
}

static void stop(run *r) {
    char command[2 * PATH_BYTES];
    chain_close(&r->chain);
    snprintf(command, sizeof command, "rm -r %s", r->folders[0]);
    assert_int_equal(system(command), 0);
}

/* --- what replays say of it ------------------------------------------------------------------- */

static char *json_of(bp_replay *replay) {
    char *text;
    const bp_report_run report = bp_replay_report(replay);
    assert_int_equal(bp_report_json(&text, &report, false, NULL), BP_OK);
    return text;
}

static uint64_t take_all(bp_replay *replay, uint64_t a_time) {
    uint64_t n_all = 0, n;
    bp_error error;
    do {
        if (bp_replay_take(replay, a_time, &n, &error) != BP_OK) fail_msg("%s", error.text);
        n_all += n;
    } while (n == a_time);
    return n_all;
}

/* Returns how many findings. */
static uint32_t assert_as_new(bp_replay *replay, const run *r) {
    bp_replay anew;
    bp_error error;
    if (bp_replay_open(&anew, r->folders[0], &error) != BP_OK) fail_msg("%s", error.text);
    char *followed = json_of(replay), *read = json_of(&anew);
    assert_string_equal(followed, read);
    assert_true(replay->columns == anew.columns);
    assert_true(bp_replay_read_fraction(replay) == 1.0);
    const uint32_t n = bp_diagnosis_n_findings(anew.diagnosis);
    free(followed);
    free(read);
    bp_replay_close(&anew);
    return n;
}

static void begin(bp_replay *replay, const run *r) {
    bp_error error;
    if (bp_replay_begin(replay, r->folders[0], &error) != BP_OK) fail_msg("%s", error.text);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void a_run_that_goes_on(void **state) {
    (void)state;
    run r;
    bp_replay replay;
    uint32_t n_findings = 0;
    start(&r, 1);
    begin(&replay, &r);
    for (int64_t step = 0; step < 70; step += 7) {
        put_some(&r, 0, step, step + 7);
        assert_int_equal(take_all(&replay, 3), 7);
        n_findings = assert_as_new(&replay, &r);
    }
    assert_int_equal(n_findings, 1);
    end(&r, BP_RUN_FINISHED);
    assert_int_equal(take_all(&replay, 3), 0);
    assert_as_new(&replay, &r);
    bp_replay_close(&replay);
    stop(&r);
}

static void how_much_was_read(void **state) {
    (void)state;
    run r;
    bp_replay replay;
    uint64_t n;
    start(&r, 1);
    put_some(&r, 0, 0, 2000);
    end(&r, BP_RUN_FINISHED);
    begin(&replay, &r);
    for (int i = 0; i < 4; i++) {
        const double fraction = bp_replay_read_fraction(&replay);
        assert_true(fraction > 0.25 * i - 0.02 && fraction < 0.25 * i + 0.02);
        assert_int_equal(bp_replay_take(&replay, 500, &n, NULL), BP_OK);
    }
    assert_int_equal(n, 500);
    assert_int_equal(take_all(&replay, 500), 0);
    assert_true(bp_replay_read_fraction(&replay) == 1.0);
    bp_replay_close(&replay);
    stop(&r);
}

/* From step 20 on with layers that learn: the finding was of steps that are void. */
static void a_run_that_is_resumed(void **state) {
    (void)state;
    for (unsigned n_ranks = 1; n_ranks <= RANKS; n_ranks++) {
        run r;
        bp_replay replay;
        start(&r, n_ranks);
        for (unsigned rank = 0; rank < n_ranks; rank++) put_some(&r, rank, 0, 60);
        end(&r, BP_RUN_INTERRUPTED);
        begin(&replay, &r);
        assert_int_equal(take_all(&replay, 1000), 60);
        assert_int_equal(assert_as_new(&replay, &r), 1);
        chain_all_gains(&r.chain, 0.9);
        chain_starve_below(&r.chain, 0);
        for (unsigned rank = 0; rank < n_ranks; rank++) {
            open_writer(&r, rank, 10);
            put_some(&r, rank, 10, 30);
        }
        assert_int_equal(take_all(&replay, 1000), 30);
        assert_int_equal(assert_as_new(&replay, &r), 0);
        for (unsigned rank = 0; rank < n_ranks; rank++) put_some(&r, rank, 30, 50);
        assert_int_equal(take_all(&replay, 1000), 20);
        assert_as_new(&replay, &r);
        end(&r, BP_RUN_FINISHED);
        bp_replay_close(&replay);
        stop(&r);
    }
}

static void a_network_that_grows(void **state) {
    (void)state;
    run r;
    bp_replay replay;
    start(&r, 1);
    put_some(&r, 0, 0, 40);
    begin(&replay, &r);
    for (int64_t step = 40; step < 160; step += 40) {
        take_all(&replay, 1000);
        add_layer(&r);
        put_some(&r, 0, step, step + 40);
        assert_int_equal(take_all(&replay, 1000), step + 40);
        assert_int_equal(bp_model_n_layers(bp_replay_report(&replay).model), r.chain.n_layers);
        assert_as_new(&replay, &r);
    }
    end(&r, BP_RUN_FINISHED);
    bp_replay_close(&replay);
    stop(&r);
}

/* A step that only one rank told of waits for the other while it is fresh. */
static void ranks_that_write_one_after_another(void **state) {
    (void)state;
    run r;
    bp_replay replay;
    start(&r, 2);
    begin(&replay, &r);
    r.wall_time = (double)time(NULL);
    for (int64_t step = 0; step < 60; step += 10) {
        put_some(&r, 0, step, step + 10);
        put_some(&r, 1, step, step + 5);
        assert_int_equal(take_all(&replay, 4), 5);
        put_some(&r, 1, step + 5, step + 10);
        assert_int_equal(take_all(&replay, 4), 5);
        assert_as_new(&replay, &r);
    }
    r.wall_time = 0; /* rank 1 tells no more */
    put_some(&r, 0, 60, 70);
    assert_int_equal(take_all(&replay, 4), 10);
    assert_as_new(&replay, &r);
    end(&r, BP_RUN_FINISHED);
    bp_replay_close(&replay);
    stop(&r);
}

/* What is drawn column by column is what a view gives. */
static void tiles_of_it(void **state) {
    (void)state;
    static const uint32_t columns[] = {1, 7, 31, 32, 33, 64, 150, 1000};
    run r;
    start(&r, 1);
    put_some(&r, 0, 0, 70);
    r.chain.loss = (double)NAN;
    put_some(&r, 0, 90, 180);
    end(&r, BP_RUN_FINISHED);
    for (int s = 0; s < 3; s++) {
        const bp_series series[] = {bp_series_of(BP_Q_LOSS), bp_series_of(BP_Q_ERROR_NORM),
                                    BP_SERIES_GAIN};
        bp_pyramid *pyramid;
        bp_view view = {0};
        assert_int_equal(bp_pyramid_open(&pyramid, r.folders[0], series[s], NULL, NULL), BP_OK);
        for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
            uint8_t *drawn, *encoded;
            size_t n_drawn, n_encoded;
            const bool log16 = bp_series_is_log16(series[s]);
            assert_int_equal(bp_tile_draw(&drawn, &n_drawn, pyramid, 3, 200, columns[i], NULL),
                             BP_OK);
            assert_int_equal(bp_pyramid_view(pyramid, &view, 3, 200, columns[i], NULL), BP_OK);
            assert_int_equal(bp_tile_encode(&encoded, &n_encoded, &view, log16, 179, 0, NULL),
                             BP_OK);
            assert_int_equal(n_drawn, n_encoded);
            assert_memory_equal(drawn, encoded, n_drawn);
            free(drawn);
            free(encoded);
        }
        bp_view_free(&view);
        bp_pyramid_close(pyramid);
    }
    stop(&r);
}

static void put_histogram(run *r, int64_t step, uint32_t role) {
    const bp_event event = {
        .kind = BP_EVENT_HISTOGRAM,
        .as.histogram = {.step = step, .layer = 1, .role = role, .histogram = {.zeros = 5}}};
    uint8_t bytes[BP_RUNLOG_EVENT_BYTES];
    bp_writer encoded;
    bp_writer_init(&encoded, bytes, sizeof bytes);
    bp_event_encode(&event, &encoded);
    assert_int_equal(
        bp_runlog_writer_event(r->writers[0], BP_RUNLOG_HISTOGRAM, bytes, encoded.length, NULL),
        BP_OK);
}

static void which_histograms_there_are(void **state) {
    (void)state;
    run r;
    bp_replay replay;
    start(&r, 1);
    put(&r, 0, 0);
    begin(&replay, &r);
    assert_int_equal(take_all(&replay, 10), 1);
    assert_int_equal(replay.histogram_roles, 0);
    put_histogram(&r, 0, 6);
    put_histogram(&r, 0, 0);
    put(&r, 0, 1);
    assert_int_equal(take_all(&replay, 10), 1);
    assert_int_equal(replay.histogram_roles, 1u << 6 | 1u);
    end(&r, BP_RUN_FINISHED);
    bp_replay_close(&replay);
    stop(&r);
}

static void what_is_no_run(void **state) {
    (void)state;
    run r;
    bp_replay replay;
    bp_error error;
    uint64_t n;
    assert_int_not_equal(bp_replay_begin(&replay, "replay-none", &error), BP_OK);
    assert_non_null(strstr(error.text, "replay-none"));
    bp_replay_close(&replay); /* of nothing */
    start(&r, 1);
    put(&r, 0, 0);
    begin(&replay, &r);
    assert_int_equal(bp_replay_take(&replay, 0, &n, &error), BP_OK);
    assert_int_equal(n, 0);
    assert_int_equal(take_all(&replay, 10), 1);
    end(&r, BP_RUN_FINISHED);
    stop(&r); /* its folder is gone */
    if (bp_replay_take(&replay, 10, &n, &error) != BP_OK)
        assert_non_null(strstr(error.text, "replay-test"));
    assert_int_equal(n, 0);
    bp_replay_close(&replay);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_goes_on),
        cmocka_unit_test(how_much_was_read),
        cmocka_unit_test(a_run_that_is_resumed),
        cmocka_unit_test(a_network_that_grows),
        cmocka_unit_test(ranks_that_write_one_after_another),
        cmocka_unit_test(tiles_of_it),
        cmocka_unit_test(which_histograms_there_are),
        cmocka_unit_test(what_is_no_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
