/* SPDX-License-Identifier: Apache-2.0 */
#include "thin_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

enum { STEPS = 40 };

static thin_content before, after;

/* --- the budget ----------------------------------------------------------------------------- */

static void within_the_budget_nothing_is_touched(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    assert_int_equal(thin_once(folder, NULL, thin_folder_bytes(folder), THIN_SEGMENTS, &error),
                     BP_OK);
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) assert_true(thin_is_as_before(&taken, folder, i));
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

static void old_segments_are_thinned_first(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    const uint64_t max = thin_folder_bytes(folder) * 6 / 10;
    assert_int_equal(thin_once(folder, NULL, max, THIN_SEGMENTS, &error), BP_OK);
    assert_true(thin_folder_bytes(folder) <= max - max / 10);
    assert_true(thin_folder_bytes(folder) > max / 2); /* and not more than needed */
    assert_false(thin_has_aside(folder));
    uint64_t every_before = UINT64_MAX;
    size_t n_thinned = 0;
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) {
        thin_read(&after, fixture_segment(path, folder, i));
        const uint64_t every = after.n_thinned ? after.every : 1;
        assert_true(every <= every_before);
        every_before = every;
        n_thinned += every > 1;
        if (every > 1)
            thin_assert_thinned(taken.file[i], folder, i, &after);
        else
            assert_true(thin_is_as_before(&taken, folder, i));
    }
    uint64_t dropped = 0;
    for (uint32_t i = 1; i <= n_thinned; i++) {
        thin_read(&after, fixture_segment(path, folder, i));
        dropped += after.dropped;
    }
    assert_int_equal(thin_assert_reads(folder), dropped);
    assert_true(n_thinned >= 4 && n_thinned <= THIN_SEGMENTS - 2);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

static void the_thinned_record_says_what_is_gone(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, 1, STEPS);
    const uint64_t bytes = thin_folder_bytes(folder);
    assert_int_equal(thin_once(folder, NULL, bytes - 1, 2, &error), BP_OK);
    thin_read(&after, fixture_segment(path, folder, 1));
    assert_int_equal(after.n_thinned, 1);
    assert_int_equal(after.thinned_at, 1); /* behind the model */
    assert_int_equal(after.thinned_sequence, 0);
    assert_int_equal(after.every, 2);
    assert_int_equal(after.first, 0);
    assert_int_equal(after.last, STEPS - 1);
    assert_int_equal(after.dropped, (STEPS - 2) / 2);
    for (int64_t step = 0; step < STEPS; step++)
        assert_int_equal(thin_has_step(&after, step), step % 2 == 0 || step == STEPS - 1);
    assert_int_equal(thin_assert_reads(folder), after.dropped);
    /* Once more: every fourth, and one record that says so. */
    thin_snapshot taken = {.file[1] = thin_read_segment(folder, 1)};
    assert_int_equal(thin_once(folder, NULL, thin_folder_bytes(folder) - 1, 2, &error), BP_OK);
    thin_assert_thinned(taken.file[1], folder, 1, &after);
    assert_int_equal(after.every, 4);
    for (int64_t step = 0; step < STEPS; step++)
        assert_int_equal(thin_has_step(&after, step), step % 4 == 0 || step == STEPS - 1);
    thin_free(taken.file[1]);
    fixture_remove_folder(folder);
}

static void the_segment_being_written_is_not_touched(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    thin_snapshot taken = thin_take(folder);
    assert_int_equal(thin_once(folder, NULL, 1000, 5, &error), BP_ERROR_LIMIT);
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++)
        assert_int_equal(thin_is_as_before(&taken, folder, i), i >= 5);
    thin_free_snapshot(&taken);
    fixture_remove_folder(folder);
}

static bp_status run(bp_thinner *thinner, uint64_t max, uint64_t reserved, uint32_t current,
                     bp_error *error) {
    return bp_thinner_run(
        thinner,
        &(bp_thin_budget){.max_bytes = max, .reserved_bytes = reserved, .current = current}, error);
}

static void a_budget_that_cannot_be_met_is_told_once(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    const bp_io quick = thin_io();
    bp_thinner thinner;
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    assert_int_equal(bp_thinner_init(&thinner, &quick, folder, THIN_RUN, NULL, &error), BP_OK);
    assert_int_equal(run(&thinner, 500, 4000, THIN_SEGMENTS + 1, &error), BP_ERROR_LIMIT);
    assert_non_null(strstr(error.text, folder));
    assert_non_null(strstr(error.text, "500"));
    assert_int_equal(run(&thinner, 500, 4000, THIN_SEGMENTS + 1, &error), BP_OK);
    assert_int_equal(run(&thinner, (uint64_t)1 << 40, 0, THIN_SEGMENTS + 1, &error), BP_OK);
    assert_int_equal(run(&thinner, 500, 4000, THIN_SEGMENTS + 1, &error), BP_ERROR_LIMIT);
    /* What stays whatever comes: model, the record that tells, first and last step. */
    for (uint32_t i = 1; i <= THIN_SEGMENTS; i++) {
        char path[FIXTURE_PATH_BYTES];
        thin_read(&after, fixture_segment(path, folder, i));
        assert_true(after.n >= 4 && after.n <= 6);
    }
    bp_thinner_finish(&thinner);
    fixture_remove_folder(folder);
}

/* As a run goes on: never above the budget but for what the newest segments need. */
static void a_long_run_stays_within(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    const bp_io quick = thin_io();
    bp_thinner thinner;
    bp_error error;
    enum { MANY = 100 };
    fixture_make_folder(folder);
    thin_write_run(folder, 1, STEPS);
    const uint64_t segment_bytes = thin_folder_bytes(folder), max = 32 * segment_bytes;
    uint64_t sequence = STEPS;
    assert_int_equal(bp_thinner_init(&thinner, &quick, folder, THIN_RUN, NULL, &error), BP_OK);
    for (uint32_t index = 2; index <= MANY; index++) {
        craft segment;
        thin_begin(&segment, index, sequence, -1);
        for (int64_t i = 0; i < STEPS; i++)
            thin_add_step(&segment, (int64_t)(index - 1) * STEPS + i, 0.5);
        sequence = thin_write(&segment, folder);
        assert_int_equal(run(&thinner, max, segment_bytes, index, &error), BP_OK);
        assert_true(thin_folder_bytes(folder) <= max - segment_bytes);
    }
    /* Resolution falls with age, and the last segments are whole. */
    uint64_t expected = 0, every_before = UINT64_MAX;
    for (uint32_t index = 1; index <= MANY; index++) {
        thin_read(&after, fixture_segment(path, folder, index));
        const uint64_t every = after.n_thinned ? after.every : 1;
        assert_true(every <= 2 * every_before);
        if (index + 5 > MANY) assert_int_equal(every, 1);
        every_before = every;
        assert_int_equal(after.n_thinned ? after.first : expected, expected);
        expected += STEPS;
    }
    thin_read(&after, fixture_segment(path, folder, 1));
    assert_true(after.every >= 16);
    assert_true(thin_assert_reads(folder) > MANY * STEPS / 2);
    bp_thinner_finish(&thinner);
    fixture_remove_folder(folder);
}

/* --- what stays ----------------------------------------------------------------------------- */

static void windows_around_findings_stay(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    craft segment;
    thin_begin(&segment, 1, 0, -1);
    for (int64_t step = 0; step < 1000; step++) thin_add_step(&segment, step, 0.5);
    uint64_t sequence = thin_write(&segment, folder);
    thin_begin(&segment, 2, sequence, -1);
    for (int64_t step = 1000; step < 1600; step++) {
        thin_add_step(&segment, step, 0.5);
        if (step == 1300) thin_add_finding(&segment, 1300, 500); /* since the segment before */
    }
    thin_write(&segment, folder);
    assert_int_equal(thin_once(folder, NULL, thin_folder_bytes(folder) * 6 / 10, 3, &error), BP_OK);
    const int64_t points[] = {500, 1300};
    for (uint32_t i = 0; i < 2; i++) {
        thin_read(&after, fixture_segment(path, folder, i + 1));
        assert_int_equal(after.every, i == 0 ? 4 : 2);
        for (int64_t step = points[i] - 64; step <= points[i] + 64; step++)
            assert_true(thin_has_step(&after, step));
        thin_assert_reads(folder);
        const int64_t outside = points[i] - 65 - (points[i] - 65 + 1) % 2;
        assert_false(thin_has_step(&after, outside) && thin_has_step(&after, outside - 1));
        assert_false(thin_has_step(&after, points[i] + 65) &&
                     thin_has_step(&after, points[i] + 66));
    }
    fixture_remove_folder(folder);
}

static void events_and_non_finite_records_stay(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    const bp_runlog_type events[] = {BP_RUNLOG_GAP,   BP_RUNLOG_CHECKPOINT, BP_RUNLOG_MODEL_DELTA,
                                     BP_RUNLOG_WATCH, BP_RUNLOG_HEADER,     BP_RUNLOG_MODEL,
                                     BP_RUNLOG_END,   (bp_runlog_type)77};
    const size_t n_events = sizeof events / sizeof events[0];
    bp_error error;
    fixture_make_folder(folder);
    craft segment;
    thin_begin(&segment, 1, 10, 500);
    for (int64_t step = 500; step < 900; step += 10) {
        thin_add_step(&segment, step, step == 700 ? (double)NAN : 0.5);
        thin_add_losses(&segment, step + 1, 9, step == 800 ? (double)INFINITY : 0.5);
        const size_t i = (size_t)(step - 500) / 40;
        if (step % 40 == 20 && i < n_events)
            craft_frame(&segment, events[i], "payload", 7,
                        events[i] != BP_RUNLOG_GAP && events[i] != BP_RUNLOG_HEADER &&
                            events[i] != BP_RUNLOG_MODEL);
    }
    thin_write(&segment, folder);
    const fixture_bytes old = thin_read_segment(folder, 1);
    assert_int_equal(thin_once(folder, NULL, old.length * 55 / 100, 2, &error), BP_OK);
    thin_assert_thinned(old, folder, 1, &after);
    thin_free(old);
    assert_int_equal(after.frame[0].type, BP_RUNLOG_MODEL);
    assert_int_equal(after.frame[1].type, BP_RUNLOG_REWIND);
    assert_int_equal(after.frame[2].type, BP_RUNLOG_THINNED);
    assert_int_equal(after.first, 10);
    size_t found = 0, n_losses = 0;
    for (size_t i = 3; i < after.n; i++) {
        if (found < n_events && after.frame[i].type == events[found]) found++;
        n_losses += after.frame[i].type == BP_RUNLOG_LOSSES;
    }
    assert_int_equal(found, n_events);
    assert_true(after.every >= 4);
    assert_int_equal(n_losses, after.every <= 8 ? 40 : n_losses);
    assert_true(thin_has_step(&after, 700) && thin_has_step(&after, 801));
    assert_true(thin_has_step(&after, 500) && thin_has_step(&after, 891));
    assert_false(thin_has_step(&after, 510));
    fixture_remove_folder(folder);
}

/* Nothing gentle helps against a log of a run that diverged. */
static void a_run_of_nan_is_thinned_in_the_end(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    fixture_make_folder(folder);
    craft segment;
    thin_begin(&segment, 1, 0, -1);
    for (int64_t step = 0; step < 400; step++)
        thin_add_step(&segment, step, step < 100 ? 0.5 : (double)NAN);
    const uint64_t sequence = thin_write(&segment, folder);
    thin_begin(&segment, 2, sequence, -1);
    for (int64_t step = 400; step < 800; step++) thin_add_step(&segment, step, (double)NAN);
    thin_write(&segment, folder);
    assert_int_equal(thin_once(folder, NULL, thin_folder_bytes(folder) / 10, 3, &error), BP_OK);
    thin_read(&after, fixture_segment(path, folder, 1));
    assert_int_equal(after.every, 2048);
    assert_true(thin_has_step(&after, 0) && thin_has_step(&after, 100));
    assert_true(after.n < 10);
    fixture_remove_folder(folder);
}

/* --- what is left as it is ------------------------------------------------------------------ */

enum damage {
    FLIPPED,
    FIRST_HEADER,
    SECOND_HEADER,
    MOVED,
    OLD_FORMAT,
    FOREIGN,
    RENUMBERED,
    EMPTY,
    N_DAMAGES
};

static void damage_segment(const char *folder, uint32_t index, enum damage kind) {
    char path[FIXTURE_PATH_BYTES];
    const fixture_bytes file = thin_read_segment(folder, index);
    size_t length = kind == EMPTY ? 0 : file.length;
    bp_segment_header header;
    assert_true(bp_segment_header_get(&header, file.bytes));
    if (kind == FLIPPED) file.bytes[file.length / 2] ^= 1;
    if (kind == FIRST_HEADER) file.bytes[20] ^= 1;
    if (kind == SECOND_HEADER) file.bytes[BP_SEGMENT_HEADER_BYTES + 20] ^= 1;
    if (kind == MOVED) { /* the first step is gone, all else is whole */
        thin_read(&before, fixture_segment(path, folder, index));
        const size_t at = BP_SEGMENT_START + BP_FRAME_HEADER_BYTES + before.frame[0].n_bytes;
        const size_t gone = BP_FRAME_HEADER_BYTES + before.frame[1].n_bytes;
        length -= gone;
        memmove(file.bytes + at, file.bytes + at + gone, length - at);
    }
    if (kind == OLD_FORMAT) header.incompatible = 0;
    if (kind == FOREIGN) header.id.run++;
    if (kind == RENUMBERED) header.id.index++;
    if (kind >= OLD_FORMAT)
        for (int i = 0; i < 2; i++)
            bp_segment_header_put(file.bytes + i * BP_SEGMENT_HEADER_BYTES, &header);
    fixture_write_file(fixture_segment(path, folder, index), file.bytes, length);
    thin_free(file);
}

static void damaged_and_foreign_segments_are_left(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES];
    bp_error error;
    for (int kind = 0; kind < N_DAMAGES; kind++) {
        fixture_make_folder(folder);
        thin_write_run(folder, THIN_SEGMENTS, STEPS);
        damage_segment(folder, 2, (enum damage)kind);
        thin_snapshot taken = thin_take(folder);
        const bp_status status = thin_once(folder, NULL, 100, THIN_SEGMENTS, &error);
        assert_int_equal(status, BP_ERROR_LIMIT);
        for (uint32_t i = 1; i <= THIN_SEGMENTS; i++)
            assert_int_equal(thin_is_as_before(&taken, folder, i), i == 2 || i == THIN_SEGMENTS);
        thin_free_snapshot(&taken);
        fixture_remove_folder(folder);
    }
}

/* What a kill cut at the end of a segment can be read by nobody. */
static void a_torn_tail_does_not_hinder(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES];
    bp_error error;
    const size_t cuts[] = {1, 3, 4, 35, 36, 37, 100};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        fixture_make_folder(folder);
        thin_write_run(folder, 1, STEPS);
        fixture_bytes file = thin_read_segment(folder, 1);
        thin_read(&before, fixture_segment(path, folder, 1));
        const size_t last = BP_FRAME_HEADER_BYTES + before.frame[before.n - 1].n_bytes;
        fixture_write_file(path, file.bytes, file.length - last + cuts[i]);
        assert_int_equal(thin_once(folder, NULL, file.length / 2, 2, &error), BP_OK);
        thin_read(&after, path);
        assert_int_equal(after.n_thinned, 1);
        assert_int_equal(after.last, STEPS - 2);
        assert_true(thin_has_step(&after, STEPS - 2));
        thin_free(file);
        fixture_remove_folder(folder);
    }
}

static void other_files_are_left(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES], to[FIXTURE_PATH_BYTES + 16];
    const char *others[] = {"notes.txt", "log-000001.bplog.old", "log-1.bplog",
                            "log-000099.bplog.thin", "ring"};
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, THIN_SEGMENTS, STEPS);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(to, sizeof to, "%s/%s", folder, others[i]);
        fixture_write_file(to, (const uint8_t *)"mine", 4);
    }
    /* A folder and a link with names of segments; a leftover of a thinning that was killed. */
    assert_int_equal(unlink(fixture_segment(path, folder, 3)), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(to, sizeof to, "%s.kept", folder);
    assert_int_equal(rename(fixture_segment(path, folder, 4), to), 0);
    const fixture_bytes kept = fixture_read_file(to);
    char link_to[FIXTURE_PATH_BYTES + 32];
    snprintf(link_to, sizeof link_to, "../%s", to);
    assert_int_equal(symlink(link_to, path), 0);
    char leftover[FIXTURE_PATH_BYTES + 16]; /* of one that is not thinned this time */
    snprintf(leftover, sizeof leftover, "%s.thin", fixture_segment(path, folder, THIN_SEGMENTS));
    fixture_write_file(leftover, (const uint8_t *)"half", 4);
    assert_int_equal(thin_once(folder, NULL, 100, THIN_SEGMENTS, &error), BP_ERROR_LIMIT);
    assert_int_equal(access(leftover, F_OK), -1);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char other[FIXTURE_PATH_BYTES + 32];
        snprintf(other, sizeof other, "%s/%s", folder, others[i]);
        const fixture_bytes file = fixture_read_file(other);
        assert_int_equal(file.length, 4);
        thin_free(file);
    }
    const fixture_bytes still = fixture_read_file(to);
    assert_true(thin_same(kept, still));
    struct stat found;
    assert_int_equal(lstat(fixture_segment(path, folder, 4), &found), 0);
    assert_true(S_ISLNK(found.st_mode));
    thin_free(kept);
    thin_free(still);
    assert_int_equal(unlink(to), 0);
    assert_int_equal(rmdir(fixture_segment(path, folder, 3)), 0);
    fixture_remove_folder(folder);
}

/* Where it could not be removed at the time, say on a disk that failed. */
static void a_leftover_does_not_hinder(void **state) {
    (void)state;
    char folder[FIXTURE_PATH_BYTES], path[FIXTURE_PATH_BYTES], leftover[FIXTURE_PATH_BYTES + 16];
    const bp_io quick = thin_io();
    bp_thinner thinner;
    bp_error error;
    fixture_make_folder(folder);
    thin_write_run(folder, 2, STEPS);
    const uint64_t bytes = thin_folder_bytes(folder);
    assert_int_equal(bp_thinner_init(&thinner, &quick, folder, THIN_RUN, NULL, &error), BP_OK);
    assert_int_equal(run(&thinner, bytes, 0, 3, &error), BP_OK);
    snprintf(leftover, sizeof leftover, "%s.thin", fixture_segment(path, folder, 1));
    fixture_write_file(leftover, (const uint8_t *)"half", 4);
    assert_int_equal(run(&thinner, bytes - 1, 0, 3, &error), BP_OK);
    assert_true(thin_folder_bytes(folder) < bytes);
    assert_int_equal(access(leftover, F_OK), -1);
    bp_thinner_finish(&thinner);
    fixture_remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(within_the_budget_nothing_is_touched),
        cmocka_unit_test(old_segments_are_thinned_first),
        cmocka_unit_test(the_thinned_record_says_what_is_gone),
        cmocka_unit_test(the_segment_being_written_is_not_touched),
        cmocka_unit_test(a_budget_that_cannot_be_met_is_told_once),
        cmocka_unit_test(a_long_run_stays_within),
        cmocka_unit_test(windows_around_findings_stay),
        cmocka_unit_test(events_and_non_finite_records_stay),
        cmocka_unit_test(a_run_of_nan_is_thinned_in_the_end),
        cmocka_unit_test(damaged_and_foreign_segments_are_left),
        cmocka_unit_test(a_torn_tail_does_not_hinder),
        cmocka_unit_test(other_files_are_left),
        cmocka_unit_test(a_leftover_does_not_hinder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
