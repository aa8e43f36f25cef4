/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "watch/watch.h"

#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two layers of four units, batches of 32: the host tells what a trainer would. */
typedef struct host {
    bp_model *model;
    bp_watch *watch;
    char folder[64];
    int n_messages, n_findings;
    float planted; /* in the last layer's error signal */
    int n_asked;   /* tensors that the last step was asked for */
} host;

static void on_message(void *context, const char *text) {
    (void)text;
    ((host *)context)->n_messages++;
}

static void on_finding(void *context, const bp_finding *finding) {
    (void)finding;
    ((host *)context)->n_findings++;
}

static void open_host_through(host *h, int64_t every, const bp_allocator *allocator,
                              const bp_io *io) {
    memset(h, 0, sizeof *h);
    strcpy(h->folder, "/tmp/backprobe-watch-XXXXXX");
    assert_non_null(mkdtemp(h->folder));
    assert_int_equal(bp_model_open(&h->model, NULL), BP_OK);
    for (int i = 0; i < 2; i++) {
        const bp_layer layer = {.kind = BP_LAYER_DENSE,
                                .activation = i == 0 ? BP_ACTIVATION_TANH : BP_ACTIVATION_LINEAR,
                                .has_bias = true,
                                .output_shape = {4, 1, 1}};
        assert_int_equal(bp_model_add_layer(h->model, &layer, NULL, NULL), BP_OK);
    }
    const int64_t input[3] = {4, 1, 1};
    assert_int_equal(bp_model_set_input(h->model, input, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_CROSS_ENTROPY,
                              .optimiser = BP_SGD,
                              .learning_rate = 0.1,
                              .epoch_steps = 40,
                              .trivial_loss = 1.386};
    bp_model_set_recipe(h->model, &recipe);
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.run_folder = h->folder;
    options.every = every;
    options.on_message = on_message;
    options.on_finding = on_finding;
    options.context = h;
    if (allocator) options.allocator = *allocator;
    assert_int_equal(bp_watch_open_with(&h->watch, h->model, &options, io, NULL), BP_OK);
}

static void open_host(host *h, int64_t every, const bp_allocator *allocator) {
    open_host_through(h, every, allocator, NULL);
}

static void remove_folder(const char *folder) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void close_host(host *h) {
    bp_model_close(h->model);
    remove_folder(h->folder);
}

static void tell_step(host *h, int64_t step, double loss) {
    const bp_observer *o = bp_watch_observer(h->watch);
    float x[32 * 4], delta[32 * 4], w[16], after[16], g[16];
    for (int i = 0; i < 32 * 4; i++) {
        x[i] = (float)(i % 7) - 3;
        delta[i] = (float)(i % 5 - 2) / 32;
    }
    for (int i = 0; i < 16; i++) {
        w[i] = (float)i / 16;
        g[i] = 0.5f;
        after[i] = w[i] - 0.05f;
    }
    const bp_step info = {sizeof info, step, 32, 32, 0.1, 0};
    const bp_plan plan = o->step_begin(o->context, &info);
    const bp_tensor tx = bp_tensor_matrix(x, BP_F32, 32, 4);
    const bp_tensor td = bp_tensor_matrix(delta, BP_F32, 32, 4);
    const bp_tensor tw = bp_tensor_matrix(w, BP_F32, 4, 4);
    const bp_tensor ta = bp_tensor_matrix(after, BP_F32, 4, 4);
    const bp_tensor tg = bp_tensor_matrix(g, BP_F32, 4, 4);
    h->n_asked = 0;
    for (uint32_t layer = 0; layer <= 2; layer++) {
        if (!bp_plan_wants(&plan, layer, BP_ROLE_ACTIVATION)) continue;
        o->tensor(o->context, layer, BP_ROLE_ACTIVATION, 0, &tx);
        h->n_asked++;
    }
    o->scalar(o->context, BP_METRIC_LOSS, loss);
    if (h->planted != 0) delta[17] = h->planted;
    for (uint32_t layer = 2; layer >= 1; layer--) {
        if (bp_plan_wants(&plan, layer, BP_ROLE_ERROR_OUTPUT)) {
            o->tensor(o->context, layer, BP_ROLE_ERROR_OUTPUT, 0, &td);
            h->n_asked++;
        }
        if (bp_plan_wants(&plan, layer, BP_ROLE_PARAMETER))
            o->tensor(o->context, layer, BP_ROLE_PARAMETER, BP_SLOT_WEIGHT, &tw);
        if (bp_plan_wants(&plan, layer, BP_ROLE_UPDATE))
            o->update(o->context, layer, BP_SLOT_WEIGHT, &tg, &tw, &ta);
    }
    o->step_end(o->context);
}

static bp_runlog_reader *read_back(const host *h) {
    bp_runlog_reader *reader;
    assert_int_equal(bp_runlog_reader_open(&reader, h->folder, NULL, NULL), BP_OK);
    return reader;
}

static void what_was_told_stands_in_the_log(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, NULL);
    tell_step(&h, 0, 1.25);
    const bp_observer *o = bp_watch_observer(h.watch);
    o->scalar(o->context, BP_METRIC_VALIDATION_LOSS, 1.5); /* after the step: belongs to it */
    tell_step(&h, 1, 1.0);
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_runlog_reader *reader = read_back(&h);
    const bp_record *r;
    assert_int_equal(bp_runlog_reader_next(reader, &r, NULL), BP_OK);
    assert_non_null(r);
    assert_true(bp_record_get(r, BP_Q_LOSS, 0) == 1.25);
    assert_true(bp_record_get(r, BP_Q_VALIDATION_LOSS, 0) == 1.5);
    /* delta = (-2 ... 2)/32, scaled by 32 terms: rms of {-2 ... 2} is sqrt(2), norm of 4 units 2 */
    assert_true(fabs(bp_record_get(r, BP_Q_ERROR_RMS, 2) - sqrt(2)) < 0.02);
    assert_true(fabs(bp_record_get(r, BP_Q_ERROR_NORM, 1) / sqrt(8) - 1) < 0.02);
    /* effect = -sum g dw = 16 * 0.5 * 0.05 */
    assert_true(fabs(bp_record_get(r, BP_Q_EFFECT, 1) - 0.4) < 1e-6);
    assert_true(fabs(bp_record_get(r, BP_Q_UPDATE_RMS, 1) - 0.05) < 1e-4);
    assert_true(bp_record_has(r, BP_Q_VARIATION, 1));
    assert_int_equal(bp_runlog_reader_next(reader, &r, NULL), BP_OK);
    assert_non_null(r);
    assert_int_equal(r->step, 1);
    assert_false(bp_record_has(r, BP_Q_VALIDATION_LOSS, 0));
    assert_int_equal(bp_runlog_reader_next(reader, &r, NULL), BP_OK);
    assert_null(r);
    assert_int_equal(bp_runlog_reader_end(reader), BP_RUN_FINISHED);
    bp_runlog_reader_close(reader);
    close_host(&h);
}

/* The next record; its step is as expected. */
static const bp_record *next_step(bp_runlog_reader *reader, int64_t step) {
    const bp_record *r;
    assert_int_equal(bp_runlog_reader_next(reader, &r, NULL), BP_OK);
    assert_non_null(r);
    assert_int_equal(r->step, step);
    return r;
}

static void between_full_steps_the_loss_alone_is_kept(void **state) {
    (void)state;
    host h;
    open_host(&h, 4, NULL);
    for (int64_t step = 0; step < 8; step++) {
        tell_step(&h, step, 1 + (double)step);
        assert_int_equal(h.n_asked, step % 4 == 0 ? 5 : 1); /* else the tripwire's */
    }
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_runlog_reader *reader = read_back(&h);
    for (int64_t step = 0; step < 8; step++) {
        const bp_record *r = next_step(reader, step);
        assert_true(bp_record_get(r, BP_Q_LOSS, 0) == 1 + (double)step);
        assert_int_equal(bp_record_has(r, BP_Q_WEIGHT_RMS, 1), step % 4 == 0);
        assert_int_equal(bp_record_has(r, BP_Q_SAMPLES, 0), step % 4 == 0);
    }
    bp_runlog_reader_close(reader);
    close_host(&h);
}

static void the_tripwire_of_a_light_step_is_kept(void **state) {
    (void)state;
    host h;
    open_host(&h, 100, NULL);
    for (int64_t step = 0; step < 8; step++) {
        h.planted = step == 3 ? NAN : step == 5 ? INFINITY : 0;
        tell_step(&h, step, step == 6 ? (double)NAN : 1);
    }
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_runlog_reader *reader = read_back(&h);
    for (int64_t step = 0; step < 8; step++) {
        const bp_record *r = next_step(reader, step);
        assert_int_equal(bp_record_has(r, BP_Q_ERROR_NAN, 2),
                         step == 0 || step == 3 || step == 5 || step == 6);
        if (step == 3) assert_true(bp_record_get(r, BP_Q_ERROR_NAN, 2) == 1);
        if (step == 5) assert_true(bp_record_get(r, BP_Q_ERROR_INF, 2) == 1);
        assert_true(isnan(bp_record_get(r, BP_Q_LOSS, 0)) == (step == 6));
    }
    bp_runlog_reader_close(reader);
    close_host(&h);
}

static void a_validation_after_a_light_step_is_its_own(void **state) {
    (void)state;
    host h;
    open_host(&h, 100, NULL);
    for (int64_t step = 0; step < 4; step++) {
        tell_step(&h, step, (double)step);
        const bp_observer *o = bp_watch_observer(h.watch);
        if (step == 2) o->scalar(o->context, BP_METRIC_VALIDATION_LOSS, 7);
    }
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_runlog_reader *reader = read_back(&h);
    for (int64_t step = 0; step < 4; step++) {
        const bp_record *r = next_step(reader, step);
        assert_true(bp_record_get(r, BP_Q_LOSS, 0) == (double)step);
        assert_int_equal(bp_record_has(r, BP_Q_VALIDATION_LOSS, 0), step == 2);
        if (step == 2) assert_true(bp_record_get(r, BP_Q_VALIDATION_LOSS, 0) == 7);
    }
    bp_runlog_reader_close(reader);
    close_host(&h);
}

/* Each look at this clock takes 0.1 ms: full steps, which look often, are dear. The thread that
 * writes looks, too. */
static atomic_uint slow_looks;
static double slow_clock(void *context) {
    (void)context;
    return 1e-4 * (atomic_fetch_add(&slow_looks, 1) + 1);
}

static void a_leap_of_the_loss_brings_full_steps_back(void **state) {
    (void)state;
    host h;
    bp_io io = bp_io_system;
    io.steady_clock = slow_clock;
    open_host_through(&h, 0, NULL, &io);
    int64_t step = 0;
    for (int n_light = 0; n_light < 100; step++) {
        tell_step(&h, step, 1);
        n_light = h.n_asked == 5 ? 0 : n_light + 1;
        assert_true(step < 1000000);
    }
    tell_step(&h, step++, 100);
    assert_int_equal(h.n_asked, 1);
    for (int i = 0; i < 16; i++) {
        tell_step(&h, step++, 1);
        assert_int_equal(h.n_asked, 5);
    }
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    close_host(&h);
}

/* What was looked at depends on a clock; what is found depends on the records alone. */
static void live_and_replay_agree(void **state) {
    (void)state;
    host h;
    bp_io io = bp_io_system;
    io.steady_clock = slow_clock;
    open_host_through(&h, 0, NULL, &io);
    for (int64_t step = 0; step < 3000; step++) {
        const bp_random_key key = {.seed = 5};
        h.planted = step == 2950 ? NAN : 0;
        tell_step(&h, step, 2 + bp_random_uniform(&key, (uint64_t)step) + (step % 900 == 899) * 30);
    }
    bp_diagnosis_overview live, replayed;
    bp_diagnosis *diagnosis = bp_watch_diagnosis(h.watch), *again = NULL;
    bp_diagnosis_overview_of(diagnosis, &live);
    const uint32_t n = bp_diagnosis_n_findings(diagnosis);
    const bp_finding *finding = bp_diagnosis_finding(diagnosis, 0);
    assert_int_equal(finding->problem, BP_PROBLEM_NON_FINITE);
    assert_true(n <= 3); /* and how its loss looks */
    bp_runlog_reader *reader;
    const bp_record *r;
    const int64_t since = finding->since_step, last = finding->last_step;
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    reader = read_back(&h);
    assert_int_equal(bp_diagnosis_open(&again, bp_runlog_reader_model(reader), NULL, NULL), BP_OK);
    while (bp_runlog_reader_next(reader, &r, NULL) == BP_OK && r) bp_diagnosis_step(again, r);
    bp_diagnosis_overview_of(again, &replayed);
    assert_int_equal(bp_diagnosis_n_findings(again), n);
    finding = bp_diagnosis_finding(again, 0);
    assert_int_equal(finding->since_step, since);
    assert_int_equal(finding->last_step, last);
    assert_int_equal(last, 2999);
    assert_int_equal(replayed.n_records, 3000);
    assert_int_equal(live.n_records, 3000);
    assert_int_equal(replayed.last_step, live.last_step);
    assert_true(replayed.first_loss == live.first_loss && replayed.last_loss == live.last_loss &&
                replayed.best_loss == live.best_loss);
    const bp_event_watch *watching = bp_runlog_reader_watching(reader);
    assert_non_null(watching);
    assert_int_equal(watching->mode, BP_WATCH_BUDGET);
    assert_int_equal(watching->full_steps + watching->light_steps, 3000);
    assert_true(watching->light_steps > 1000 && watching->full_steps > 50);
    assert_true(watching->watch_seconds > 0 && watching->run_seconds > 0);
    bp_diagnosis_close(again);
    bp_runlog_reader_close(reader);
    close_host(&h);
}

static void events_stand_in_the_log(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, NULL);
    for (int64_t step = 0; step < 5; step++) {
        tell_step(&h, step, step >= 3 ? (double)NAN : 1);
        if (step == 1) bp_watch_note_checkpoint(h.watch, 2, "step-2.safetensors");
    }
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_runlog_reader *reader = read_back(&h);
    bp_runlog_entry entry;
    int n_checkpoints = 0, n_findings = 0, n_costs = 0;
    int64_t step = -1;
    while (bp_runlog_reader_next_entry(reader, &entry, NULL) == BP_OK &&
           (entry.record || entry.event)) {
        if (entry.record) step = entry.record->step;
        if (!entry.event) continue;
        const bp_event *event = entry.event;
        if (event->kind == BP_EVENT_CHECKPOINT) {
            n_checkpoints++;
            assert_int_equal(step, 1);
            assert_int_equal(event->as.checkpoint.step, 2);
            assert_string_equal(event->as.checkpoint.file, "step-2.safetensors");
        } else if (event->kind == BP_EVENT_FINDING) {
            n_findings++;
            assert_int_equal(event->as.finding.step, 3);
            assert_int_equal(event->as.finding.since_step, 3);
            assert_int_equal(event->as.finding.problem, BP_PROBLEM_NON_FINITE);
            assert_int_equal(event->as.finding.severity, BP_ERROR);
            assert_int_equal(event->as.finding.state, BP_FINDING_OPENED);
        } else if (event->kind == BP_EVENT_WATCH) {
            n_costs++;
        }
    }
    assert_int_equal(n_checkpoints, 1);
    assert_int_equal(n_findings, 1);
    assert_true(n_costs >=
                4); /* a checkpoint, the end, and each time that the run is twice as long */
    bp_runlog_reader_close(reader);
    close_host(&h);
}

/* That of the network's input would cost the trainer a product that nobody reads. */
static void an_input_is_asked_for_where_a_block_begins(void **state) {
    (void)state;
    const bp_layer dense = {
        .kind = BP_LAYER_DENSE, .activation = BP_ACTIVATION_LINEAR, .output_shape = {4, 1, 1}};
    const bp_layer sum = {.kind = BP_LAYER_RESIDUAL,
                          .activation = BP_ACTIVATION_LINEAR,
                          .branch_scale = 1,
                          .skip_from = 2,
                          .n_branch = 1};
    const bp_layer *layers[] = {&dense, &dense, &dense, &sum};
    const int64_t input[3] = {4, 1, 1};
    bp_model *model;
    bp_watch *watch;
    assert_int_equal(bp_model_open(&model, NULL), BP_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(bp_model_add_layer(model, layers[i], NULL, NULL), BP_OK);
    assert_int_equal(bp_model_set_input(model, input, NULL), BP_OK);
    const bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    assert_int_equal(bp_watch_open(&watch, model, &options, NULL), BP_OK);
    const bp_observer *o = bp_watch_observer(watch);
    const bp_step info = {sizeof info, 0, 32, 32, 0.1, 0};
    const bp_plan plan = o->step_begin(o->context, &info);
    for (uint32_t layer = 0; layer <= 4; layer++) {
        assert_int_equal(bp_plan_wants(&plan, layer, BP_ROLE_ERROR_INPUT), layer == 3);
        assert_true(bp_plan_wants(&plan, layer, BP_ROLE_ACTIVATION));
    }
    o->step_end(o->context);
    assert_int_equal(bp_watch_close(watch, BP_RUN_FINISHED, NULL), BP_OK);
    bp_model_close(model);
}

static int64_t n_allocations;
static void *counting_resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    n_allocations++;
    return bp_allocator_system.resize(context, block, old_bytes, new_bytes);
}

static void a_step_allocates_nothing(void **state) {
    (void)state;
    host h;
    const bp_allocator counting = {counting_resize, NULL};
    open_host(&h, 1, &counting);
    assert_true(n_allocations > 0);
    const int64_t before = n_allocations;
    for (int64_t step = 0; step < 100; step++) tell_step(&h, step, step == 50 ? (double)NAN : 1);
    assert_int_equal(n_allocations, before);
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    close_host(&h);
}

static int64_t allocations_left;
static void *failing_resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    if (new_bytes && allocations_left-- <= 0) return NULL;
    return bp_allocator_system.resize(context, block, old_bytes, new_bytes);
}

static void every_failing_allocation_is_a_clean_error(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, NULL);
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.allocator = (bp_allocator){failing_resize, NULL};
    bool opened = false;
    for (int64_t n = 0; n < 1000 && !opened; n++) {
        bp_watch *watch = NULL;
        bp_error error = {0};
        allocations_left = n;
        const bp_status status = bp_watch_open(&watch, h.model, &options, &error);
        opened = status == BP_OK;
        if (!opened) assert_int_equal(status, BP_ERROR_MEMORY);
        if (opened) bp_watch_close(watch, BP_RUN_FINISHED, NULL);
    }
    assert_true(opened);
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    close_host(&h);
}

static int failing_writes;
static ssize_t failing_write(void *context, int file, const void *bytes, size_t n_bytes) {
    (void)context;
    if (failing_writes) {
        errno = ENOSPC;
        return -1;
    }
    return bp_io_system.write(NULL, file, bytes, n_bytes);
}

static void fill_the_disk(bool direct) {
    host h;
    open_host(&h, 1, NULL);
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    remove_folder(h.folder);
    strcpy(h.folder, "/tmp/backprobe-watch-XXXXXX");
    assert_non_null(mkdtemp(h.folder));
    bp_io io = bp_io_system;
    io.write = failing_write;
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.every = 1;
    options.run_folder = h.folder;
    options.on_message = on_message;
    options.context = &h;
    options.direct = direct;
    assert_int_equal(bp_watch_open_with(&h.watch, h.model, &options, &io, NULL), BP_OK);
    bp_error error = {0};
    int64_t step = 0;
    for (; step < 5; step++) tell_step(&h, step, 1);
    failing_writes = 1;
    while (bp_watch_status(h.watch, &error) == BP_OK) { /* a thread needs a while to meet it */
        assert_true(step < 5000);
        tell_step(&h, step++, 1);
        if (!direct) usleep(1000);
    }
    for (int i = 0; i < 10; i++) tell_step(&h, step++, 1);
    assert_int_equal(bp_watch_status(h.watch, &error), BP_ERROR_BLIND);
    assert_non_null(strstr(error.text, "No space left"));
    assert_int_equal(h.n_messages, 1);
    bp_diagnosis_overview overview;
    bp_diagnosis_overview_of(bp_watch_diagnosis(h.watch), &overview);
    assert_int_equal(overview.n_records, step); /* the diagnosis goes on without the disk */
    assert_int_not_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, &error), BP_OK);
    failing_writes = 0;
    close_host(&h);
}

static void a_full_disk_blinds_the_watch_and_nobody_else(void **state) {
    (void)state;
    fill_the_disk(true);
    fill_the_disk(false);
}

/* A host that traps on invalid operations and overflow is not killed by what we reckon. */
static void floating_point_traps_of_the_host_are_left_alone(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, NULL);
    feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
    for (int64_t step = 0; step < 40; step++) tell_step(&h, step, step == 30 ? (double)NAN : 1);
    bp_watch_diagnosis(h.watch);
    const int enabled = fegetexcept();
    fedisableexcept(FE_ALL_EXCEPT);
    assert_int_equal(enabled, FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_FINISHED, NULL), BP_OK);
    close_host(&h);
}

static void a_finding_is_told_once(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, NULL);
    for (int64_t step = 0; step < 5; step++) tell_step(&h, step, step >= 2 ? (double)NAN : 1);
    bp_watch_diagnosis(h.watch);
    assert_int_equal(h.n_findings, 1);
    assert_int_equal(bp_watch_close(h.watch, BP_RUN_STOPPED, NULL), BP_OK);
    close_host(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_told_stands_in_the_log),
        cmocka_unit_test(between_full_steps_the_loss_alone_is_kept),
        cmocka_unit_test(the_tripwire_of_a_light_step_is_kept),
        cmocka_unit_test(a_validation_after_a_light_step_is_its_own),
        cmocka_unit_test(a_leap_of_the_loss_brings_full_steps_back),
        cmocka_unit_test(live_and_replay_agree),
        cmocka_unit_test(events_stand_in_the_log),
        cmocka_unit_test(an_input_is_asked_for_where_a_block_begins),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(every_failing_allocation_is_a_clean_error),
        cmocka_unit_test(a_full_disk_blinds_the_watch_and_nobody_else),
        cmocka_unit_test(floating_point_traps_of_the_host_are_left_alone),
        cmocka_unit_test(a_finding_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
