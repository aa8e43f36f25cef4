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
    int64_t steps, epochs, stop_after; /* 0: never */
    volatile sig_atomic_t interrupted;
    bp_score validation[8];
    double loss[256];
    int checkpoints, best;
} heard;

static void on_step(void *context, const bp_session *session) {
    heard *h = context;
    h->steps++;
    assert_int_equal(session->standing.step, h->steps);
    h->loss[h->steps - 1] = session->loss;
    if (h->steps == h->stop_after) h->interrupted = 1;
}

static void on_epoch(void *context, const bp_session *session) {
    heard *h = context;
    h->validation[h->epochs++] = session->standing.validation;
}

static void on_finding(void *context, const bp_session *session, const bp_finding *finding) {
    (void)context, (void)session;
    fail_msg("%s", finding->title);
}

static void on_message(void *context, const bp_session *session, const char *message) {
    (void)context, (void)session;
    fail_msg("%s", message);
}

static void on_checkpoint(void *context, const bp_session *session, const char *path, bool best) {
    heard *h = context;
    (void)session;
    assert_int_equal(access(path, R_OK), 0);
    *(best ? &h->best : &h->checkpoints) += 1;
}

static char *new_folder(void) {
    char *folder = strdup("/tmp/backprobe-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void train_in(const char *folder, bool resume, heard *h,
                     const volatile sig_atomic_t *interrupted) {
    bp_session session;
    bp_network network;
    bp_error error = {.text = ""};
    const bp_session_listener listener = {h,          on_step,    on_epoch,
                                          on_finding, on_message, on_checkpoint};
    const bp_session_options options = {.run_folder = folder,
                                        .watch = true,
                                        .every = 1,
                                        .resume = resume,
                                        .checkpoint_every = 1,
                                        .listener = &listener};
    assert_int_equal(bp_network_copy(&network, "net.yaml", text, NULL), BP_OK);
    if (bp_session_open(&session, &network, &options, &error) != BP_OK) fail_msg("%s", error.text);
    bp_session_train(&session, interrupted);
    assert_int_equal(bp_session_save(&session, NULL), BP_OK);
    assert_int_equal(bp_session_n_open(&session, NULL, BP_ERROR), 0);
    assert_int_equal(bp_session_close(&session, NULL), BP_OK);
}

/* A whole session in a folder of its own; the folder's path is released with free(). */
static char *train(heard *h, const volatile sig_atomic_t *interrupted) {
    char *folder = new_folder();
    train_in(folder, false, h, interrupted);
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
    bp_folder_remove(folder, 1);
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
    bp_folder_remove(folder, 1);
    assert_false(bp_path_is_folder(folder));
    free(folder);
}

/* --- runs that go on ----------------------------------------------------------------------------
 */

static char *contents(const char *folder, const char *name, long *n) {
    char *path = bp_path_join(folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = ftell(file);
    rewind(file);
    char *bytes = calloc(1, (size_t)*n + 1);
    assert_int_equal(fread(bytes, 1, (size_t)*n, file), (size_t)*n);
    fclose(file);
    free(path);
    return bytes;
}

/* What watching took is never the same. */
static long without_watching(char *json, long n) {
    char *from = strstr(json, "\"watching\""), *to = from ? strchr(from, '}') : NULL;
    if (!to) return n;
    memmove(from, to, (size_t)(json + n - to) + 1);
    return n - (to - from);
}

static void assert_same_file(const char *a, const char *b, const char *name) {
    long n_a, n_b;
    char *of_a = contents(a, name, &n_a), *of_b = contents(b, name, &n_b);
    n_a = without_watching(of_a, n_a);
    n_b = without_watching(of_b, n_b);
    assert_int_equal(strlen(a), strlen(b)); /* the one name in findings.json that may differ */
    for (char *at = of_b; (at = strstr(at, b));) memcpy(at, a, strlen(a));
    if (n_a != n_b || memcmp(of_a, of_b, (size_t)n_a) != 0) fail_msg("%s differs", name);
    free(of_a);
    free(of_b);
}

/* What batches of fewer than 32 samples make together begins anew. */
static bool is_of_many_samples(bp_quantity quantity) {
    switch (quantity) {
    case BP_Q_VARIATION:
    case BP_Q_SILENT_UNITS:
    case BP_Q_DEAD_UNITS:
    case BP_Q_SATURATED_UNITS:
    case BP_Q_DISTINCT_UNITS:
        return true;
    default:
        return false;
    }
}

/* The last gradient, and when the input was looked at last. */
static bool is_forgotten(bp_quantity quantity) {
    return quantity == BP_Q_GRADIENT_COSINE || quantity == BP_Q_FEATURE_SCALES;
}

/* The log of b has the records of a's, each step once, but for the clock. */
static void assert_same_log(const char *a, const char *b) {
    bp_runlog_reader *of_a, *of_b;
    const bp_record *left, *right;
    assert_int_equal(bp_runlog_reader_open(&of_a, a, NULL, NULL), BP_OK);
    assert_int_equal(bp_runlog_reader_open(&of_b, b, NULL, NULL), BP_OK);
    int64_t n = 0;
    for (;; n++) {
        assert_int_equal(bp_runlog_reader_next(of_a, &left, NULL), BP_OK);
        assert_int_equal(bp_runlog_reader_next(of_b, &right, NULL), BP_OK);
        assert_int_equal(left == NULL, right == NULL);
        if (!left) break;
        assert_int_equal(left->step, right->step);
        const size_t cells = (size_t)BP_N_QUANTITIES * (left->n_layers + 1);
        for (size_t cell = 0; cell < cells; cell++) {
            const bp_quantity quantity = (bp_quantity)(cell / (left->n_layers + 1));
            if (is_forgotten(quantity)) continue;
            assert_int_equal(left->measured[cell], right->measured[cell]);
            if (is_of_many_samples(quantity)) continue;
            if (memcmp(&left->value[cell], &right->value[cell], sizeof *left->value) != 0)
                fail_msg("%s of step %lld differs", bp_quantity_name(quantity),
                         (long long)left->step);
        }
    }
    assert_int_equal(n, 3 * 40);
    assert_int_equal(bp_runlog_reader_end(of_b), BP_RUN_FINISHED);
    assert_int_equal(bp_runlog_reader_damage(of_b)->damaged_places, 0);
    assert_int_equal(bp_runlog_reader_damage(of_b)->lost_records, 0);
    bp_runlog_reader_close(of_a);
    bp_runlog_reader_close(of_b);
}

/* Interrupted at any step, within an epoch too, and resumed: the same run, bit for bit. */
static void test_resumed(void **state) {
    (void)state;
    static const volatile sig_atomic_t never = 0;
    heard whole = {0};
    char *uninterrupted = train(&whole, &never);
    assert_int_equal(whole.checkpoints, 3);
    assert_true(whole.best >= 1);
    const int64_t stops[] = {1, 39, 40, 41, 77};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        heard first = {.stop_after = stops[i]};
        char *folder = train(&first, &first.interrupted);
        assert_int_equal(first.steps, stops[i]);
        heard second = {.steps = first.steps};
        train_in(folder, true, &second, &never);
        assert_int_equal(second.steps, whole.steps);
        assert_memory_equal(whole.loss, first.loss, (size_t)stops[i] * sizeof *whole.loss);
        assert_memory_equal(whole.loss + stops[i], second.loss + stops[i],
                            (size_t)(whole.steps - stops[i]) * sizeof *whole.loss);
        assert_same_file(uninterrupted, folder, "weights.safetensors");
        assert_same_file(uninterrupted, folder, "findings.json");
        assert_same_log(uninterrupted, folder);
        bp_folder_remove(folder, 1);
        free(folder);
    }
    bp_folder_remove(uninterrupted, 1);
    free(uninterrupted);
}

/* What the log has of steps behind the checkpoint comes again: the later writer counts. */
static void test_resumed_from_an_older_checkpoint(void **state) {
    (void)state;
    static const volatile sig_atomic_t never = 0;
    heard whole = {0}, first = {.stop_after = 100};
    char *uninterrupted = train(&whole, &never), *folder = train(&first, &first.interrupted);
    char *newest = bp_path_join(folder, "checkpoints/step-000000100.safetensors");
    assert_int_equal(unlink(newest), 0);
    heard second = {.steps = 80};
    train_in(folder, true, &second, &never);
    assert_memory_equal(whole.loss + 80, second.loss + 80, 40 * sizeof *whole.loss);
    assert_same_file(uninterrupted, folder, "weights.safetensors");
    assert_same_file(uninterrupted, folder, "findings.json");
    assert_same_log(uninterrupted, folder);
    free(newest);
    bp_folder_remove(folder, 1);
    bp_folder_remove(uninterrupted, 1);
    free(folder);
    free(uninterrupted);
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
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_resumed_from_an_older_checkpoint),
        cmocka_unit_test(test_names_of_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
