/* SPDX-License-Identifier: Apache-2.0 */
/* A training session leaves in its log what it measured, the validation at the end of each epoch
 * too; and one that is interrupted before its first step is whole all the same. */
#include "cli/folder.h"
#include "cli/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char text[] = "version: 1\n"
                           "data: digits\n"
                           "net: [2 x dense 16 relu, dense 10]\n"
                           "init: he\n"
                           "train: {epochs: 3}\n";

typedef struct heard {
    int64_t steps, epochs;
    bp_score validation[8];
} heard;

static void on_step(void *context, const bp_session *session) {
    heard *h = context;
    h->steps++;
    assert_int_equal(session->step, h->steps);
}

static void on_epoch(void *context, const bp_session *session) {
    heard *h = context;
    h->validation[h->epochs++] = session->validation;
}

static void on_finding(void *context, const bp_session *session, const bp_finding *finding) {
    (void)context, (void)session;
    fail_msg("%s", finding->title);
}

static void on_message(void *context, const bp_session *session, const char *message) {
    (void)context, (void)session;
    fail_msg("%s", message);
}

/* A whole session in a folder of its own; the folder's path is released with free(). */
static char *train(heard *h, const volatile sig_atomic_t *interrupted) {
    char *folder = strdup("/tmp/backprobe-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    bp_session session;
    bp_network network;
    bp_session_listener listener = {h, on_step, on_epoch, on_finding, on_message};
    bp_session_options options = {folder, NULL, true, 1, &listener};
    assert_int_equal(bp_network_copy(&network, "net.yaml", text, NULL), BP_OK);
    assert_int_equal(bp_session_open(&session, &network, &options, NULL), BP_OK);
    bp_session_train(&session, interrupted);
    assert_int_equal(bp_session_save(&session, NULL), BP_OK);
    assert_int_equal(bp_session_n_open_errors(&session), 0);
    assert_int_equal(bp_session_close(&session, NULL), BP_OK);
    return folder;
}

static void test_log(void **state) {
    (void)state;
    static const volatile sig_atomic_t never = 0;
    heard h = {0};
    char *folder = train(&h, &never);
    assert_int_equal(h.epochs, 3);
    bp_runlog_reader *reader = NULL;
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    int64_t epoch_steps = bp_model_recipe(bp_runlog_reader_model(reader))->epoch_steps;
    assert_int_equal(h.steps, 3 * epoch_steps);
    const bp_record *record;
    int64_t step = 0;
    for (;; step++) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        if (!record) break;
        assert_int_equal(record->step, step);
        assert_true(bp_record_has(record, BP_Q_LOSS, 0));
        bool last = step % epoch_steps == epoch_steps - 1;
        assert_int_equal(bp_record_has(record, BP_Q_VALIDATION_LOSS, 0), last);
        assert_int_equal(bp_record_has(record, BP_Q_VALIDATION_ACCURACY, 0), last);
        const bp_score *validation = &h.validation[step / epoch_steps];
        if (last && bp_record_get(record, BP_Q_VALIDATION_LOSS, 0) != validation->loss)
            fail_msg("the validation loss of step %lld is another one", (long long)step);
    }
    assert_int_equal(step, h.steps);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_FINISHED);
    bp_runlog_reader_close(reader);
    bp_folder_remove(folder, 0);
    free(folder);
}

static void test_interrupted_at_once(void **state) {
    (void)state;
    static const volatile sig_atomic_t already = 1;
    heard h = {0};
    char *folder = train(&h, &already);
    assert_int_equal(h.steps, 0);
    bp_runlog_reader *reader = NULL;
    const bp_record *record;
    assert_int_equal(bp_runlog_reader_open(&reader, folder, NULL, NULL), BP_OK);
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_null(record);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_INTERRUPTED);
    bp_runlog_reader_close(reader);
    bp_folder_remove(folder, 0);
    assert_false(bp_path_is_folder(folder));
    free(folder);
}

static void test_names_of_folders(void **state) {
    (void)state;
    char name[16];
    assert_int_equal(bp_folder_name_of(name, sizeof name, "a/b/net.yaml", NULL), BP_OK);
    assert_string_equal(name, "net");
    assert_int_equal(bp_folder_name_of(name, sizeof name, ".hidden", NULL), BP_OK);
    assert_string_equal(name, ".hidden");
    assert_int_equal(bp_folder_name_of(name, sizeof name, "net.v2.yaml", NULL), BP_OK);
    assert_string_equal(name, "net.v2");
    assert_int_equal(bp_folder_name_of(name, sizeof name, "a/", NULL), BP_ERROR_ARGUMENT);
    assert_int_equal(bp_folder_name_of(name, sizeof name, "0123456789012345", NULL),
                     BP_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_interrupted_at_once),
        cmocka_unit_test(test_names_of_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
