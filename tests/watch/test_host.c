/* SPDX-License-Identifier: Apache-2.0 */
/* What a host of another framework needs of the watch: to know of a step before it begins, to tell
 * what it measured itself and what that took. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "watch/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct host {
    bp_model *model;
    bp_watch *watch;
    bp_io io;
    char folder[64];
    double now; /* of its clock */
    int n_looks;
} host;

static double clock_of_host(void *context) {
    host *h = context;
    h->n_looks++;
    return h->now;
}

static int64_t most_bytes; /* of the largest block since it was set to 0 */
static void *noting_resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    if ((int64_t)new_bytes > most_bytes) most_bytes = (int64_t)new_bytes;
    return bp_allocator_system.resize(context, block, old_bytes, new_bytes);
}

/* One layer of 100,000 units, for which only the fans are told. */
static void open_host(host *h, int64_t every, bool summaries_only) {
    *h = (host){.io = bp_io_system};
    strcpy(h->folder, "/tmp/backprobe-host-XXXXXX");
    assert_non_null(mkdtemp(h->folder));
    assert_int_equal(bp_model_open(&h->model, NULL), BP_OK);
    const bp_layer layer = {
        .kind = BP_LAYER_DENSE, .fan_in = 4, .fan_out = 100000, .output_shape = {100000, 1, 1}};
    assert_int_equal(bp_model_add_layer(h->model, &layer, NULL, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_MSE, .optimiser = BP_SGD, .trivial_loss = 1};
    bp_model_set_recipe(h->model, &recipe);
    h->io.steady_clock = clock_of_host;
    h->io.context = h;
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.run_folder = h->folder;
    options.every = every;
    options.direct = true;
    options.summaries_only = summaries_only;
    options.allocator = (bp_allocator){noting_resize, NULL};
    assert_int_equal(bp_watch_open_with(&h->watch, h->model, &options, &h->io, NULL), BP_OK);
}

static bp_plan begin(host *h, int64_t step, uint32_t flags) {
    const bp_observer *o = bp_watch_observer(h->watch);
    const bp_step info = {.struct_size = sizeof info,
                          .step = step,
                          .samples = 8,
                          .loss_terms = 8,
                          .learning_rate = 0.1,
                          .flags = flags};
    return o->step_begin(o->context, &info);
}

static void end(host *h) {
    const bp_observer *o = bp_watch_observer(h->watch);
    o->scalar(o->context, BP_METRIC_LOSS, 1);
    o->step_end(o->context);
}

static bp_runlog_reader *close_and_read(host *h) {
    bp_runlog_reader *reader;
    assert_int_equal(bp_watch_close(h->watch, BP_RUN_FINISHED, NULL), BP_OK);
    assert_int_equal(bp_runlog_reader_open(&reader, h->folder, NULL, NULL), BP_OK);
    return reader;
}

static const bp_record *next(bp_runlog_reader *reader) {
    const bp_record *record;
    assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
    assert_non_null(record);
    return record;
}

static void close_host(host *h, bp_runlog_reader *reader) {
    char command[128];
    bp_runlog_reader_close(reader);
    bp_model_close(h->model);
    snprintf(command, sizeof command, "rm -rf '%s'", h->folder);
    assert_int_equal(system(command), 0);
}

static void a_step_keeps_to_the_decision(void **state) {
    (void)state;
    host h;
    open_host(&h, 3, true);
    for (int64_t step = 0; step < 9; step++) {
        const bool full = bp_watch_decide(h.watch, step);
        assert_int_equal(full, step % 3 == 0);
        assert_int_equal(bp_watch_decide(h.watch, step), full);
        const int n_looks = h.n_looks;
        const bp_plan plan = begin(&h, step, 0);
        if (step == 0) assert_int_equal(h.n_looks, n_looks); /* nothing to hand on yet */
        assert_int_equal(bp_plan_wants(&plan, 1, BP_ROLE_ACTIVATION), full);
        end(&h);
        const bp_event_watch cost = bp_watch_cost(h.watch);
        assert_int_equal(cost.full_steps, step / 3 + 1);
        assert_int_equal(cost.full_steps + cost.light_steps, step + 1);
        bp_watch_decide(h.watch, step + 1);
        assert_int_equal(bp_watch_cost(h.watch).full_steps, cost.full_steps); /* not begun */
        assert_int_equal(bp_watch_cost(h.watch).light_steps, cost.light_steps);
    }
    close_host(&h, close_and_read(&h));
}

/* Asked about one step, another one begins: it is decided anew. */
static void another_step_is_decided_anew(void **state) {
    (void)state;
    host h;
    open_host(&h, 3, true);
    assert_true(bp_watch_decide(h.watch, 0));
    const bp_plan plan = begin(&h, 1, 0);
    assert_false(bp_plan_wants(&plan, 1, BP_ROLE_ACTIVATION));
    end(&h);
    assert_true(bp_watch_decide(h.watch, -7)); /* no step comes before the first */
    close_host(&h, close_and_read(&h));
}

/* A validation told after the decision still belongs to the step before. */
static void the_step_before_waits_for_the_next_to_begin(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, true);
    const bp_observer *o = bp_watch_observer(h.watch);
    for (int64_t step = 0; step < 2; step++) {
        begin(&h, step, 0);
        end(&h);
        bp_watch_decide(h.watch, step + 1);
        o->scalar(o->context, BP_METRIC_VALIDATION_LOSS, 5 + (double)step);
    }
    bp_runlog_reader *reader = close_and_read(&h);
    for (int64_t step = 0; step < 2; step++)
        assert_true(bp_record_get(next(reader), BP_Q_VALIDATION_LOSS, 0) == 5 + (double)step);
    close_host(&h, reader);
}

static void what_is_charged_is_paid_from_the_budget(void **state) {
    (void)state;
    host h;
    open_host(&h, 0, true);
    assert_true(bp_watch_decide(h.watch, 0));
    assert_true(bp_watch_is_timed(h.watch));
    bp_watch_charge(h.watch, 10); /* of a step of 20 seconds: the budget is 1% */
    begin(&h, 0, 0);
    end(&h);
    h.now = 20;
    assert_false(bp_watch_decide(h.watch, 1));
    assert_true(bp_watch_cost(h.watch).watch_seconds == 10);
    bp_watch_charge(h.watch, -1); /* no clock tells that */
    bp_watch_charge(h.watch, (double)NAN);
    for (int64_t step = 1; step < 32; step++) {
        begin(&h, step, 0);
        end(&h);
        h.now += 1;
        if (step > 1) assert_false(bp_watch_is_timed(h.watch));
        if (step > 1) bp_watch_charge(h.watch, 100); /* counts in timed steps only */
        assert_false(bp_watch_decide(h.watch, step + 1));
    }
    assert_true(bp_watch_cost(h.watch).watch_seconds == 10);
    close_host(&h, close_and_read(&h));
}

static void readings_of_the_host_stand_in_the_record(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, true);
    bp_watch_tell(h.watch, BP_Q_VARIATION, 1, 9); /* in no step */
    begin(&h, 0, 0);
    bp_watch_tell(h.watch, BP_Q_VARIATION, 1, 0.5);
    bp_watch_tell(h.watch, BP_Q_EFFECT, 1, 3);
    bp_watch_tell(h.watch, BP_Q_EFFECT, 1, 0.25); /* replaces */
    bp_watch_tell(h.watch, BP_Q_EFFECT, 2, 1);    /* no such layer */
    bp_watch_tell(h.watch, BP_N_QUANTITIES, 0, 1);
    end(&h);
    bp_runlog_reader *reader = close_and_read(&h);
    const bp_record *record = next(reader);
    assert_true(fabs(bp_record_get(record, BP_Q_VARIATION, 1) - 0.5) < 0.001);
    assert_true(bp_record_get(record, BP_Q_EFFECT, 1) == 0.25);
    assert_int_equal(record->flags, 0);
    close_host(&h, reader);
}

static void in_a_light_step_only_what_is_not_finite_is_told(void **state) {
    (void)state;
    static const bp_quantity counts[] = {
        BP_Q_ACTIVATION_NAN, BP_Q_ACTIVATION_INF, BP_Q_ERROR_NAN,
        BP_Q_ERROR_INF,      BP_Q_PARAMETER_NAN,  BP_Q_PARAMETER_INF,
        BP_Q_GRADIENT_NAN,   BP_Q_GRADIENT_INF,   BP_Q_UPDATE_BAD};
    const int64_t n = sizeof counts / sizeof *counts;
    host h;
    open_host(&h, 100, true);
    for (int64_t step = 0; step <= n; step++) {
        begin(&h, step, 0);
        bp_watch_tell(h.watch, BP_Q_EFFECT, 1, 1);
        if (step > 0) bp_watch_tell(h.watch, counts[step - 1], 1, step % 2 ? 3 : 0);
        end(&h);
    }
    bp_runlog_reader *reader = close_and_read(&h);
    assert_true(bp_record_has(next(reader), BP_Q_EFFECT, 1));
    for (int64_t step = 1; step <= n; step++) {
        const bp_record *record = next(reader);
        assert_false(bp_record_has(record, BP_Q_EFFECT, 1));
        assert_int_equal(bp_record_has(record, counts[step - 1], 1), step % 2);
        assert_int_equal(bp_record_has(record, BP_Q_SAMPLES, 0), step % 2);
    }
    close_host(&h, reader);
}

/* By budget, the next steps are looked at in full. */
static void what_is_not_finite_calls_for_full_steps(void **state) {
    (void)state;
    host h;
    open_host(&h, 0, true);
    int64_t step = 0;
    for (bool full = true; full; step++) {
        full = bp_watch_decide(h.watch, step);
        bp_watch_charge(h.watch, 1);
        begin(&h, step, 0);
        end(&h);
        h.now += 10;
        assert_true(step < 100);
    }
    for (int i = 0; i < 300; i++, step++) {
        h.now += 10;
        if (bp_watch_decide(h.watch, step)) bp_watch_charge(h.watch, 0.001);
        begin(&h, step, 0);
        if (i == 299) bp_watch_tell(h.watch, BP_Q_ERROR_NAN, 1, 1);
        end(&h);
    }
    assert_true(bp_watch_decide(h.watch, step));
    close_host(&h, close_and_read(&h));
}

static void a_skipped_update_is_marked(void **state) {
    (void)state;
    for (int64_t every = 1; every <= 100; every += 99) {
        host h;
        open_host(&h, every, true);
        for (int64_t step = 0; step < 3; step++) {
            begin(&h, step, step == 1 ? BP_STEP_UPDATE_SKIPPED : 0);
            bp_watch_tell(h.watch, BP_Q_LOSS_SCALE, 0, 8);
            end(&h);
        }
        bp_runlog_reader *reader = close_and_read(&h);
        for (int64_t step = 0; step < 3; step++) {
            const bp_record *record = next(reader);
            assert_int_equal(record->flags, step == 1 ? BP_RECORD_UPDATE_SKIPPED : 0);
            assert_int_equal(bp_record_has(record, BP_Q_LOSS_SCALE, 0), every == 1 || step < 2);
            assert_true(bp_record_get(record, BP_Q_LOSS, 0) == 1);
        }
        close_host(&h, reader);
    }
}

/* Of a version without flags. */
static void an_older_host_tells_less(void **state) {
    (void)state;
    host h;
    open_host(&h, 1, true);
    const bp_observer *o = bp_watch_observer(h.watch);
    const bp_step old = {.struct_size = offsetof(bp_step, flags),
                         .samples = 8,
                         .loss_terms = 8,
                         .learning_rate = 0.1,
                         .flags = BP_STEP_UPDATE_SKIPPED};
    o->step_begin(o->context, &old);
    end(&h);
    bp_runlog_reader *reader = close_and_read(&h);
    const bp_record *record = next(reader);
    assert_int_equal(record->flags, 0);
    assert_true(bp_record_get(record, BP_Q_LEARNING_RATE, 0) == 0.1);
    close_host(&h, reader);
}

static void the_last_record_is_given_as_the_log_has_it(void **state) {
    (void)state;
    host h;
    open_host(&h, 2, true);
    assert_null(bp_watch_record(h.watch));
    begin(&h, 0, 0);
    bp_watch_tell(h.watch, BP_Q_VARIATION, 1, 0.3);
    end(&h);
    const bp_record *record = bp_watch_record(h.watch);
    assert_non_null(record);
    assert_int_equal(record->step, 0);
    const double told = bp_record_get(record, BP_Q_VARIATION, 1);
    assert_true(told != 0.3 && fabs(told - 0.3) < 1e-3); /* as a logarithm in 16 bits */
    begin(&h, 1, 0);                                     /* a light step has none */
    end(&h);
    assert_int_equal(bp_watch_record(h.watch)->step, 0);
    begin(&h, 2, 0);
    end(&h);
    assert_int_equal(bp_watch_record(h.watch)->step, 2);
    assert_false(bp_record_has(bp_watch_record(h.watch), BP_Q_VARIATION, 1));
    close_host(&h, close_and_read(&h));
}

static void summaries_alone_need_no_memory_for_units(void **state) {
    (void)state;
    for (int only = 0; only < 2; only++) {
        host h;
        most_bytes = 0;
        open_host(&h, 1, only);
        assert_int_equal(most_bytes >= 24 * 100000, !only);
        const bp_observer *o = bp_watch_observer(h.watch);
        static float x[64 * 100000];
        const bp_tensor tensor = bp_tensor_matrix(x, BP_F32, 64, 100000);
        begin(&h, 0, 0);
        o->tensor(o->context, 1, BP_ROLE_ACTIVATION, BP_SLOT_WEIGHT, &tensor);
        end(&h);
        bp_runlog_reader *reader = close_and_read(&h);
        const bp_record *record = next(reader);
        assert_true(bp_record_has(record, BP_Q_ACTIVATION_RMS, 1));
        assert_int_equal(bp_record_has(record, BP_Q_VARIATION, 1), !only);
        close_host(&h, reader);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_keeps_to_the_decision),
        cmocka_unit_test(another_step_is_decided_anew),
        cmocka_unit_test(the_step_before_waits_for_the_next_to_begin),
        cmocka_unit_test(what_is_charged_is_paid_from_the_budget),
        cmocka_unit_test(readings_of_the_host_stand_in_the_record),
        cmocka_unit_test(in_a_light_step_only_what_is_not_finite_is_told),
        cmocka_unit_test(what_is_not_finite_calls_for_full_steps),
        cmocka_unit_test(a_skipped_update_is_marked),
        cmocka_unit_test(the_last_record_is_given_as_the_log_has_it),
        cmocka_unit_test(an_older_host_tells_less),
        cmocka_unit_test(summaries_alone_need_no_memory_for_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
