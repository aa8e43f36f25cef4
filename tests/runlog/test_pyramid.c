/* SPDX-License-Identifier: Apache-2.0 */
/* A pyramid beside a plain reckoning over all records: built at once or while the log grows, from
 * whatever its files hold. */
#include "plain.h"

#include <fcntl.h>
#include <unistd.h>

static const bp_series recorded[] = {LOSS, GRADIENT_RMS, ACTIVATION_NAN, WEIGHT_RMS};
enum { N_RECORDED = sizeof recorded / sizeof *recorded };

/* --- as the plain reckoning ------------------------------------------------------------------- */

static void random_logs(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        plain_log b;
        int64_t step = (int64_t)seed * 1000;
        plain_start(&b, seed);
        for (int i = 0; i < 3; i++) {
            plain_put_some(&b, &step, 400);
            plain_next_segment(&b, false);
        }
        plain_put_some(&b, &step, seed ? 300 : 0);
        for (int q = 0; q < N_RECORDED; q++) {
            plain_assert_pyramid(b.folder, recorded[q], true); /* built */
            plain_assert_pyramid(b.folder, recorded[q], true); /* from what was kept */
            bp_pyramid *pyramid =
                plain_open(b.folder, recorded[q], &(bp_pyramid_options){.in_memory = true});
            plain_assert_views(pyramid, b.folder, recorded[q]);
            bp_pyramid_close(pyramid);
        }
        plain_stop(&b);
    }
}

static void a_log_without_it(void **state) {
    (void)state;
    plain_log b;
    plain_start(&b, 9);
    plain_assert_pyramid(b.folder, LOSS, true); /* no step at all */
    craft_fixture_step(&b.segment, 5);
    craft_write(&b.segment, b.folder);
    plain_assert_pyramid(b.folder, BIAS_RMS, true);
    plain_assert_pyramid(b.folder, LOSS, true);
    plain_stop(&b);
}

/* Steps that lie so far apart that no bins of neighbours could be kept for all. */
static void steps_far_apart(void **state) {
    (void)state;
    plain_log b;
    bp_pyramid *pyramid;
    bp_view view = {0};
    plain_start(&b, 10);
    const int64_t steps[] = {0, 1, 1000000, (int64_t)1 << 40, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) plain_put_step(&b, steps[i]);
    craft_write(&b.segment, b.folder);
    for (int again = 0; again < 2; again++) {
        pyramid = plain_open(b.folder, WEIGHT_RMS, NULL);
        plain_read(b.folder, WEIGHT_RMS);
        for (uint32_t n = 1; n < 2000; n += 333) {
            plain_assert_view(pyramid, 0, INT64_MAX, n, WEIGHT_RMS);
            plain_assert_view(pyramid, 0, 1000000, n, WEIGHT_RMS);
            plain_assert_view(pyramid, INT64_MAX - 5, INT64_MAX, n, WEIGHT_RMS);
        }
        assert_int_equal(bp_pyramid_view(pyramid, &view, 0, INT64_MAX, UINT32_MAX, NULL),
                         BP_ERROR_LIMIT);
        assert_int_equal(bp_pyramid_view(pyramid, &view, 5, 4, 1, NULL), BP_ERROR_ARGUMENT);
        assert_int_equal(bp_pyramid_view(pyramid, &view, -1, 4, 1, NULL), BP_ERROR_ARGUMENT);
        assert_int_equal(bp_pyramid_view(pyramid, &view, 0, 4, 0, NULL), BP_ERROR_ARGUMENT);
        bp_pyramid_close(pyramid);
    }
    bp_view_free(&view);
    plain_stop(&b);
}

/* --- a log that grows --------------------------------------------------------------------------
 */

static void growth_in_pieces(void **state) {
    (void)state;
    for (int q = 0; q < N_RECORDED; q++)
        for (int reopened = 0; reopened < 2; reopened++) {
            plain_log b;
            int64_t step = 0;
            plain_start(&b, 20 + (uint64_t)q);
            bp_pyramid *pyramid = plain_open(b.folder, recorded[q], NULL);
            for (int piece = 0; piece < 25; piece++) {
                if (piece % 6 == 5) plain_next_segment(&b, false);
                plain_put_some(&b, &step, (int)plain_draw(&b, 60));
                if (reopened) {
                    bp_pyramid_close(pyramid);
                    pyramid = plain_open(b.folder, recorded[q], NULL);
                } else {
                    assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
                }
                assert_true(bp_pyramid_is_kept(pyramid));
                plain_assert_views(pyramid, b.folder, recorded[q]);
            }
            bp_pyramid_close(pyramid);
            plain_stop(&b);
        }
}

static void a_run_that_is_resumed(void **state) {
    (void)state;
    for (int reopened = 0; reopened < 2; reopened++) {
        plain_log b;
        int64_t step = 0;
        plain_start(&b, 30);
        plain_put_some(&b, &step, 500);
        bp_pyramid *pyramid = plain_open(b.folder, WEIGHT_RMS, NULL);
        plain_assert_views(pyramid, b.folder, WEIGHT_RMS);
        for (int i = 0; i < 3; i++) {
            plain_next_segment(&b, true);
            step = step / 2;
            craft_rewind(&b.segment, step);
            plain_put_some(&b, &step, 100);
            if (reopened) {
                bp_pyramid_close(pyramid);
                pyramid = plain_open(b.folder, WEIGHT_RMS, NULL);
            } else {
                assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
            }
            assert_true(bp_pyramid_is_kept(pyramid));
            plain_assert_views(pyramid, b.folder, WEIGHT_RMS);
        }
        bp_pyramid_close(pyramid);
        plain_stop(&b);
    }
}

/* --- files that are not what they should be ----------------------------------------------------
 */

static void pyramid_path(char path[2 * FIXTURE_PATH_BYTES], const plain_log *b, bp_series series,
                         unsigned level) {
    snprintf(path, 2 * FIXTURE_PATH_BYTES, "%s/pyramid/%s-%u.pyramid", b->folder,
             bp_series_name(series), level);
}

static void small_log(plain_log *b) {
    int64_t step = 0;
    plain_start(b, 40);
    plain_put_some(b, &step, 60);
    for (int q = 0; q < 2; q++) plain_assert_pyramid(b->folder, recorded[q], true);
}

static void every_truncation_and_flip(void **state) {
    (void)state;
    for (int q = 0; q < 2; q++)
        for (unsigned level = 0; level < 3; level++) {
            plain_log b;
            char path[2 * FIXTURE_PATH_BYTES];
            small_log(&b);
            pyramid_path(path, &b, recorded[q], level);
            fixture_bytes good = fixture_read_file(path);
            assert_true(good.length > 64);
            for (size_t length = 0; length < good.length; length += 41) {
                fixture_write_file(path, good.bytes, length);
                plain_assert_pyramid(b.folder, recorded[q], true);
            }
            for (size_t bit = 0; bit < 8 * good.length; bit += 149) {
                good.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                fixture_write_file(path, good.bytes, good.length);
                good.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                plain_assert_pyramid(b.folder, recorded[q], true);
            }
            bp_release(NULL, good.bytes, good.length + 1, 1);
            plain_stop(&b);
        }
}

/* A row is damaged while the pyramid is open. */
static void damage_under_our_hands(void **state) {
    (void)state;
    for (unsigned level = 0; level < 3; level++) {
        plain_log b;
        char path[2 * FIXTURE_PATH_BYTES];
        small_log(&b);
        bp_pyramid *pyramid = plain_open(b.folder, LOSS, NULL);
        pyramid_path(path, &b, LOSS, level);
        fixture_bytes file = fixture_read_file(path);
        const int handle = open(path, O_WRONLY);
        file.bytes[64 + 45] ^= 1;
        assert_int_equal(pwrite(handle, file.bytes, file.length, 0), (ssize_t)file.length);
        close(handle);
        plain_assert_views(pyramid, b.folder, LOSS);
        assert_int_equal(truncate(path, 0), 0);
        plain_assert_views(pyramid, b.folder, LOSS);
        bp_release(NULL, file.bytes, file.length + 1, 1);
        bp_pyramid_close(pyramid);
        plain_stop(&b);
    }
}

static void files_of_another(void **state) {
    (void)state;
    plain_log b, other;
    char from[2 * FIXTURE_PATH_BYTES], to[2 * FIXTURE_PATH_BYTES];
    small_log(&b);
    int64_t step = 0;
    plain_start(&other, 41);
    plain_put_some(&other, &step, 90);
    plain_assert_pyramid(other.folder, GRADIENT_RMS, true);
    for (unsigned level = 0; level < 3; level++) { /* of another run */
        pyramid_path(from, &other, GRADIENT_RMS, level);
        pyramid_path(to, &b, GRADIENT_RMS, level);
        fixture_bytes file = fixture_read_file(from);
        fixture_write_file(to, file.bytes, file.length);
        bp_release(NULL, file.bytes, file.length + 1, 1);
        plain_assert_pyramid(b.folder, GRADIENT_RMS, true);
    }
    pyramid_path(from, &b, WEIGHT_RMS, 0); /* of another series */
    pyramid_path(to, &b, GRADIENT_RMS, 0);
    plain_assert_pyramid(b.folder, WEIGHT_RMS, true);
    assert_int_equal(rename(from, to), 0);
    plain_assert_pyramid(b.folder, GRADIENT_RMS, true);
    pyramid_path(from, &b, GRADIENT_RMS, 1); /* of another level */
    pyramid_path(to, &b, GRADIENT_RMS, 2);
    assert_int_equal(rename(from, to), 0);
    plain_assert_pyramid(b.folder, GRADIENT_RMS, true);
    plain_stop(&b);
    plain_stop(&other);
}

/* Slots out of their order, or without one in the middle. */
static void slots_that_were_moved(void **state) {
    (void)state;
    plain_log b;
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
        plain_assert_pyramid(b.folder, LOSS, true);
        memcpy(bytes, good.bytes, good.length);
        memcpy(bytes + at, good.bytes + at + slot, slot);
        memcpy(bytes + at + slot, good.bytes + at, slot);
        fixture_write_file(path, bytes, good.length);
        plain_assert_pyramid(b.folder, LOSS, true);
    }
    free(bytes);
    bp_release(NULL, good.bytes, good.length + 1, 1);
    plain_stop(&b);
}

static void deleted_files(void **state) {
    (void)state;
    plain_log b;
    char path[2 * FIXTURE_PATH_BYTES];
    small_log(&b);
    for (unsigned level = 0; level < 4; level++) {
        pyramid_path(path, &b, LOSS, level);
        (void)unlink(path);
        plain_assert_pyramid(b.folder, LOSS, true);
    }
    bp_pyramid *pyramid = plain_open(b.folder, LOSS, NULL);
    plain_remove_pyramid(b.folder); /* while it is open */
    int64_t step = 5000;
    plain_put_some(&b, &step, 30);
    assert_int_equal(bp_pyramid_update(pyramid, NULL), BP_OK);
    plain_assert_views(pyramid, b.folder, LOSS);
    bp_pyramid_close(pyramid);
    plain_assert_pyramid(b.folder, LOSS, true);
    plain_stop(&b);
}

/* --- where nothing can be kept -----------------------------------------------------------------
 */

static void links_are_not_followed(void **state) {
    (void)state;
    plain_log b;
    char path[2 * FIXTURE_PATH_BYTES], elsewhere[FIXTURE_PATH_BYTES];
    int64_t step = 0;
    plain_start(&b, 50);
    plain_put_some(&b, &step, 60);
    fixture_make_folder(elsewhere);
    snprintf(path, sizeof path, "%s/pyramid", b.folder);
    char target[FIXTURE_PATH_BYTES + 8];
    snprintf(target, sizeof target, "../%s", elsewhere);
    assert_int_equal(symlink(target, path), 0);
    plain_assert_pyramid(b.folder, LOSS, false);
    fixture_remove_folder(elsewhere); /* it is empty, or this removes what was written */
    assert_int_equal(unlink(path), 0);
    fixture_write_file(path, (const uint8_t *)"x", 1); /* a file of that name */
    plain_assert_pyramid(b.folder, LOSS, false);
    assert_int_equal(unlink(path), 0);
    plain_stop(&b);
}

static void only_one_writes(void **state) {
    (void)state;
    plain_log b;
    small_log(&b);
    bp_pyramid *first = plain_open(b.folder, LOSS, NULL);
    plain_assert_pyramid(b.folder, LOSS, false);
    assert_true(bp_pyramid_is_kept(first));
    bp_pyramid_close(first);
    plain_assert_pyramid(b.folder, LOSS, true);
    plain_stop(&b);
}

static void little_memory(void **state) {
    (void)state;
    plain_log b;
    int64_t step = 0;
    bp_view view = {0};
    plain_start(&b, 60);
    plain_put_some(&b, &step, 3000);
    const bp_pyramid_options options = {.in_memory = true, .memory_bytes = 64 << 10};
    bp_pyramid *pyramid = plain_open(b.folder, LOSS, &options);
    plain_read(b.folder, LOSS);
    plain_assert_view(pyramid, 0, step, 3, LOSS); /* as exact as ever where it is coarse */
    assert_int_equal(bp_pyramid_view(pyramid, &view, 0, step, 1000000, NULL), BP_OK);
    assert_true(view.n_columns < (uint32_t)step / 3); /* coarser than asked for */
    bp_view_free(&view);
    bp_pyramid_close(pyramid);
    plain_stop(&b);
}

static void every_failing_call(void **state) {
    (void)state;
    plain_log b;
    small_log(&b);
    fixture_faults faults = {.failed = 1};
    for (int persistent = 0; persistent < 2; persistent++) {
        faults.failed = 1;
        for (int64_t k = 0; faults.failed > 0; k++) {
            faults = (fixture_faults){.fail_at = k, .persistent = persistent};
            fixture_memory memory = {.left = -1};
            const bp_io io = fixture_io(&faults);
            const bp_pyramid_options options = {.io = &io, .allocator = fixture_allocator(&memory)};
            if (k % 2) plain_remove_pyramid(b.folder);
            bp_pyramid *pyramid;
            bp_error error;
            const bp_status status = bp_pyramid_open(&pyramid, b.folder, LOSS, &options, &error);
            if (status == BP_OK) {
                faults.fail_at = -1;
                plain_assert_views(pyramid, b.folder, LOSS);
                bp_pyramid_close(pyramid);
            } else {
                assert_int_equal(status, BP_ERROR_IO);
            }
            assert_int_equal(faults.open_files, 0);
            assert_int_equal(memory.in_use, 0);
            assert_true(k < 500);
        }
    }
    plain_stop(&b);
}

static void every_failing_allocation(void **state) {
    (void)state;
    plain_log b;
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
    plain_stop(&b);
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
