/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
#include "runlog/keep.h"

enum { N = 4096, FAR = 1000000 };

static bp_walk_step record_of(bp_runlog_type type, uint64_t sequence, uint64_t n_numbers) {
    return (bp_walk_step){.kind = BP_WALK_FRAME,
                          .frame = {.type = (uint16_t)type, .sequence = sequence},
                          .n_numbers = n_numbers,
                          .may_go = type == BP_RUNLOG_STEP || type == BP_RUNLOG_LOSSES ||
                                    type == BP_RUNLOG_HISTOGRAM,
                          .first_step = (int64_t)sequence,
                          .last_step = (int64_t)(sequence + n_numbers - 1)};
}

/* Asks for N records of a type, far from all findings; asked[i] says which stand there. */
static size_t ask(bool *stands, bp_runlog_type type, unsigned from, unsigned level) {
    bp_keep keep = {.from = from, .level = level, .first = 0, .last = N - 1};
    size_t n = 0;
    for (uint64_t i = 0; i < N; i++) {
        if (!stands[i]) continue;
        const bp_walk_step step = record_of(type, i, 1);
        stands[i] = bp_keep_asks(&keep, &step, FAR);
        n += stands[i];
    }
    assert_true(stands[0] && stands[N - 1]);
    return n;
}

static void steps_are_halved_from_level_to_level(void **state) {
    (void)state;
    bool direct[N], again[N];
    memset(again, 1, sizeof again);
    for (unsigned level = 1; level <= BP_KEEP_MAX_LEVEL; level++) {
        memset(direct, 1, sizeof direct);
        const size_t n = ask(direct, BP_RUNLOG_STEP, 0, level);
        /* of the N - 2 between the first and the last */
        assert_int_equal(n, 2 + (((size_t)N - 2) >> level));
        ask(again, BP_RUNLOG_STEP, level - 1, level);
        assert_memory_equal(direct, again, sizeof direct);
        if (level > 3) continue;
        for (size_t i = 1; i + 1 < N; i++)
            assert_int_equal(direct[i], i % ((size_t)1 << level) == 0);
    }
}

static void losses_are_thinned_later(void **state) {
    (void)state;
    bool direct[N], again[N];
    memset(again, 1, sizeof again);
    for (unsigned level = 1; level <= BP_KEEP_MAX_LEVEL; level++) {
        memset(direct, 1, sizeof direct);
        const size_t n = ask(direct, BP_RUNLOG_LOSSES, 0, level);
        const unsigned doublings = level > BP_KEEP_LOSSES_LEVEL ? level - BP_KEEP_LOSSES_LEVEL : 0;
        assert_int_equal(n, 2 + (((size_t)N - 2) >> doublings));
        ask(again, BP_RUNLOG_LOSSES, level - 1, level);
        assert_memory_equal(direct, again, sizeof direct);
    }
}

enum { MOMENTS = 512, LAYERS = 3 };

/* MOMENTS steps with histograms of LAYERS layers each, with the numbers from 1 on. */
static size_t ask_histograms(bool *stands, unsigned from, unsigned level) {
    bp_keep keep = {.from = from, .level = level, .first = 0, .last = UINT64_MAX};
    size_t n = 0;
    for (uint64_t i = 0; i < (uint64_t)MOMENTS * LAYERS; i++) {
        bp_walk_step step = record_of(BP_RUNLOG_HISTOGRAM, i + 1, 1);
        step.first_step = step.last_step = (int64_t)(i / LAYERS);
        if (!stands[i]) continue;
        const bool is_near = i / LAYERS >= 100 && i / LAYERS < 103;
        stands[i] = bp_keep_asks(&keep, &step, is_near ? 0 : FAR);
        n += stands[i];
    }
    return n;
}

static void histograms_are_thinned_by_steps(void **state) {
    (void)state;
    bool direct[MOMENTS * LAYERS], again[MOMENTS * LAYERS];
    memset(again, 1, sizeof again);
    for (unsigned level = 1; level <= BP_KEEP_MAX_LEVEL; level++) {
        memset(direct, 1, sizeof direct);
        const size_t n = ask_histograms(direct, 0, level);
        const unsigned doublings = level > BP_KEEP_LOSSES_LEVEL ? level - BP_KEEP_LOSSES_LEVEL : 0;
        assert_int_equal(n, LAYERS * (3 + (((size_t)MOMENTS - 3) >> doublings)));
        ask_histograms(again, level - 1, level);
        assert_memory_equal(direct, again, sizeof direct);
        for (size_t i = 0; i < MOMENTS * LAYERS; i++)
            assert_int_equal(direct[i], direct[i / LAYERS * LAYERS]);
    }
}

/* Their numbers may stand between those of steps: what one record does, the other does not mind. */
static void histograms_do_not_count_among_steps(void **state) {
    (void)state;
    bp_keep keep = {.from = 0, .level = 4, .first = 0, .last = N};
    size_t n = 0;
    for (uint64_t i = 1; i <= 320; i++) {
        const bp_walk_step step = record_of(BP_RUNLOG_STEP, 2 * i, 1);
        const bp_walk_step histogram = record_of(BP_RUNLOG_HISTOGRAM, 2 * i + 1, 1);
        assert_int_equal(bp_keep_asks(&keep, &step, FAR), i % 16 == 0);
        n += bp_keep_asks(&keep, &histogram, FAR);
    }
    assert_int_equal(n, 160);
}

/* The last frame of losses ends at the last number, and does not begin with it. */
static void the_last_losses_stay(void **state) {
    (void)state;
    bp_keep keep = {.from = 0, .level = 4, .first = 0, .last = 29};
    for (uint64_t i = 0; i < 3; i++) {
        const bp_walk_step step = record_of(BP_RUNLOG_LOSSES, 10 * i, 10);
        assert_int_equal(bp_keep_asks(&keep, &step, FAR), i != 1);
    }
}

static void all_else_stays(void **state) {
    (void)state;
    const int types[] = {BP_RUNLOG_MODEL,
                         BP_RUNLOG_GAP,
                         BP_RUNLOG_END,
                         BP_RUNLOG_HEADER,
                         BP_RUNLOG_REWIND,
                         BP_RUNLOG_FINDING,
                         BP_RUNLOG_WATCH,
                         BP_RUNLOG_CHECKPOINT,
                         BP_RUNLOG_MODEL_DELTA,
                         BP_RUNLOG_THINNED,
                         999};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        bp_keep keep = {.from = 0, .level = BP_KEEP_MAX_LEVEL, .first = 0, .last = N};
        for (uint64_t j = 1; j < 9; j++) {
            const bp_walk_step step = record_of((bp_runlog_type)types[i], j, 1);
            assert_true(bp_keep_asks(&keep, &step, FAR));
        }
    }
}

static bool stays(unsigned level, int64_t distance, bool non_finite) {
    bp_keep keep = {.from = 0, .level = level, .first = 0, .last = N};
    bp_walk_step step = record_of(BP_RUNLOG_STEP, 1, 1);
    step.non_finite = non_finite;
    return bp_keep_asks(&keep, &step, distance);
}

static void windows_are_whole_then_shrink(void **state) {
    (void)state;
    for (unsigned level = 1; level <= BP_KEEP_MAX_LEVEL; level++) {
        int64_t steps = 64;
        for (unsigned above = 10; above < level; above++) steps /= 2;
        assert_true(stays(level, steps, false));
        assert_false(stays(level, steps + 1, false));
        assert_true(stays(level, 0, false));
    }
    assert_true(stays(16, 1, false));
    assert_false(stays(17, 1, false));
}

static void non_finite_records_stay(void **state) {
    (void)state;
    for (unsigned level = 1; level <= BP_KEEP_MAX_LEVEL; level++) {
        assert_int_equal(stays(level, FAR, true), level <= 16);
        assert_false(stays(level, FAR, false));
    }
    /* A stretch of them: whole at first, then its begin and what follows its end. */
    for (unsigned level = 10; level <= 11; level++) {
        bp_keep keep = {.from = 0, .level = level, .first = 0, .last = N};
        for (uint64_t i = 1; i < 100; i++) {
            bp_walk_step step = record_of(BP_RUNLOG_STEP, i, 1);
            bp_walk_step losses = record_of(BP_RUNLOG_LOSSES, i, 1);
            losses.non_finite = i == 50; /* does not break the stretch of the other kind */
            step.non_finite = i >= 20 && i < 80;
            const bool expected = level == 10 ? step.non_finite : i == 20 || i == 80;
            assert_int_equal(bp_keep_asks(&keep, &step, FAR), expected);
            (void)bp_keep_asks(&keep, &losses, FAR);
        }
    }
}

static void what_a_rule_keeps_is_not_counted(void **state) {
    (void)state;
    bp_keep keep = {.from = 0, .level = 1, .first = 0, .last = N};
    for (uint64_t i = 1; i < 100; i++) {
        const bp_walk_step step = record_of(BP_RUNLOG_STEP, i, 1);
        const bool near = i >= 31 && i < 40; /* 9 of them */
        const uint64_t counted = i < 40 ? i : i - 9;
        assert_int_equal(bp_keep_asks(&keep, &step, near ? 64 : 65), near || counted % 2 == 0);
    }
}

static void distances_to_points(void **state) {
    (void)state;
    bp_keep_points points = {0};
    const int64_t steps[] = {500, 100, 900, 100, 500, INT64_MAX, 0};
    assert_true(bp_keep_distance(&points, 3, 7) == INT64_MAX);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        assert_int_equal(bp_keep_add(&points, steps[i], &bp_allocator_system), BP_OK);
    const int64_t expected[] = {0, 100, 500, 900, INT64_MAX};
    assert_int_equal(points.n, 5);
    assert_memory_equal(points.step, expected, sizeof expected);
    const int64_t cases[][3] = {{100, 100, 0},  {101, 101, 1},  {99, 99, 1},
                                {90, 110, 0},   {110, 490, 10}, {300, 300, 200},
                                {950, 960, 50}, {0, 0, 0},      {INT64_MAX, INT64_MAX, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(bp_keep_distance(&points, cases[i][0], cases[i][1]) == cases[i][2]);
    bp_keep_free(&points, &bp_allocator_system);
}

static void points_are_bounded(void **state) {
    (void)state;
    fixture_memory memory = {.left = -1};
    const bp_allocator allocator = fixture_allocator(&memory);
    bp_keep_points points = {0};
    for (int64_t step = 0; step < 300000; step++)
        assert_int_equal(bp_keep_add(&points, step, &allocator), BP_OK);
    assert_true(points.n > BP_KEEP_MAX_POINTS / 8 && points.n <= BP_KEEP_MAX_POINTS);
    for (size_t i = 1; i < points.n; i++) assert_true(points.step[i - 1] < points.step[i]);
    for (int64_t step = 0; step < 300000; step++) /* the windows still cover all */
        assert_true(bp_keep_distance(&points, step, step) <= 8);
    assert_true(memory.peak <= (int64_t)(BP_KEEP_MAX_POINTS * sizeof(int64_t) * 3 / 2));
    bp_keep_free(&points, &allocator);
    assert_int_equal(memory.in_use, 0);
    memory.left = 0;
    assert_int_equal(bp_keep_add(&points, 1, &allocator), BP_ERROR_MEMORY);
    assert_int_equal(points.n, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_halved_from_level_to_level),
        cmocka_unit_test(losses_are_thinned_later),
        cmocka_unit_test(histograms_are_thinned_by_steps),
        cmocka_unit_test(histograms_do_not_count_among_steps),
        cmocka_unit_test(the_last_losses_stay),
        cmocka_unit_test(all_else_stays),
        cmocka_unit_test(windows_are_whole_then_shrink),
        cmocka_unit_test(non_finite_records_stay),
        cmocka_unit_test(what_a_rule_keeps_is_not_counted),
        cmocka_unit_test(distances_to_points),
        cmocka_unit_test(points_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
