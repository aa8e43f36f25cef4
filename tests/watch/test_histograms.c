/* SPDX-License-Identifier: Apache-2.0 */
/* Which steps leave histograms of exponents in the log, and what they tell. */
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

enum { N = 64, MOST = 512 };

/* One layer with 16 x 4 weights. */
typedef struct host {
    bp_model *model;
    bp_watch *watch;
    char folder[64];
} host;

/* A histogram as it was read. */
typedef struct told {
    bp_event_histogram event[MOST];
    size_t n;
} told;

static int64_t n_requests;
static void *counting_resize(void *context, void *block, size_t old_bytes, size_t new_bytes) {
    n_requests++;
    return bp_allocator_system.resize(context, block, old_bytes, new_bytes);
}

static void open_watch(host *h, int64_t every, int64_t resume_step) {
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.run_folder = h->folder;
    options.every = every;
    options.direct = true;
    options.resumes = resume_step > 0;
    options.resume_step = resume_step;
    options.allocator = (bp_allocator){counting_resize, NULL};
    bp_error error;
    if (bp_watch_open(&h->watch, h->model, &options, &error) != BP_OK) fail_msg("%s", error.text);
}

static void open_host(host *h, int64_t every) {
    *h = (host){0};
    strcpy(h->folder, "/tmp/backprobe-histograms-XXXXXX");
    assert_non_null(mkdtemp(h->folder));
    assert_int_equal(bp_model_open(&h->model, NULL), BP_OK);
    const bp_layer layer = {.kind = BP_LAYER_DENSE, .has_bias = true, .output_shape = {16, 1, 1}};
    const int64_t input[3] = {4, 1, 1};
    assert_int_equal(bp_model_add_layer(h->model, &layer, NULL, NULL), BP_OK);
    assert_int_equal(bp_model_set_input(h->model, input, NULL), BP_OK);
    const bp_recipe recipe = {.loss = BP_MSE, .optimiser = BP_SGD, .trivial_loss = 1};
    bp_model_set_recipe(h->model, &recipe);
    open_watch(h, every, 0);
}

static void stop(host *h) {
    char command[128];
    bp_model_close(h->model);
    snprintf(command, sizeof command, "rm -rf '%s'", h->folder);
    assert_int_equal(system(command), 0);
}

static void fill(float *numbers, int64_t step, float scale) {
    for (int i = 0; i < N; i++) numbers[i] = ldexpf(1 + (float)(i % 3) / 4, i % 40 - 30) * scale;
    numbers[step % N] = 0;
    numbers[7] = -numbers[7];
}

static void tell(const bp_observer *o, bp_role role, bp_slot slot, const float *numbers) {
    const bp_tensor tensor = bp_tensor_matrix(numbers, BP_F32, 16, slot == BP_SLOT_BIAS ? 1 : 4);
    o->tensor(o->context, 1, role, slot, &tensor);
}

static bp_plan begin(host *h, int64_t step) {
    const bp_observer *o = bp_watch_observer(h->watch);
    const bp_step info = {sizeof info, step, 8, 8, 0.1, 0};
    return o->step_begin(o->context, &info);
}

static void end(host *h) {
    const bp_observer *o = bp_watch_observer(h->watch);
    o->scalar(o->context, BP_METRIC_LOSS, 1);
    o->step_end(o->context);
}

static void train(host *h, int64_t first, int64_t last) {
    const bp_observer *o = bp_watch_observer(h->watch);
    for (int64_t step = first; step <= last; step++) {
        float numbers[N];
        const bp_plan plan = begin(h, step);
        fill(numbers, step, 1);
        if (bp_plan_wants(&plan, 1, BP_ROLE_ACTIVATION)) {
            tell(o, BP_ROLE_ACTIVATION, BP_SLOT_WEIGHT, numbers);
            tell(o, BP_ROLE_PARAMETER, BP_SLOT_WEIGHT, numbers);
            tell(o, BP_ROLE_PARAMETER, BP_SLOT_BIAS, numbers);
            fill(numbers, step, 0x1p-20f);
            tell(o, BP_ROLE_GRADIENT, BP_SLOT_WEIGHT, numbers);
            tell(o, BP_ROLE_GRADIENT, BP_SLOT_BIAS, numbers);
        }
        end(h);
    }
}

static void close_watch(host *h) {
    assert_int_equal(bp_watch_close(h->watch, BP_RUN_FINISHED, NULL), BP_OK);
}

static void read_back(const host *h, told *found) {
    bp_runlog_reader *reader;
    bp_runlog_entry entry;
    found->n = 0;
    assert_int_equal(bp_runlog_reader_open(&reader, h->folder, NULL, NULL), BP_OK);
    do {
        assert_int_equal(bp_runlog_reader_next_entry(reader, &entry, NULL), BP_OK);
        if (!entry.event || entry.event->kind != BP_EVENT_HISTOGRAM) continue;
        assert_true(found->n < MOST);
        found->event[found->n++] = entry.event->as.histogram;
    } while (entry.record || entry.event);
    bp_runlog_reader_close(reader);
}

/* --- what they tell --------------------------------------------------------------------------- */

static void assert_histogram_of(const bp_event_histogram *event, float scale) {
    float numbers[N];
    uint64_t zeros = 0, count[200] = {0}; /* of octave k: [k + 100] */
    fill(numbers, event->step, scale);
    for (int i = 0; i < N; i++) {
        int exponent;
        zeros += numbers[i] == 0;
        if (numbers[i] != 0) (void)frexpf(numbers[i], &exponent);
        if (numbers[i] != 0) count[exponent - 1 + 100]++;
    }
    assert_int_equal(event->layer, 1);
    assert_int_equal(event->histogram.zeros, zeros);
    assert_int_equal(event->histogram.non_finite, 0);
    assert_int_equal(bp_histogram_elements(&event->histogram), N);
    for (int k = 0; k < 200; k++) {
        const int64_t i = k - 100 - event->histogram.first_octave;
        const bool inside = i >= 0 && i < event->histogram.n_octaves;
        assert_int_equal(inside ? event->histogram.count[i] : 0, count[k]);
    }
}

static void weights_and_their_gradients(void **state) {
    (void)state;
    static told found;
    host h;
    open_host(&h, 1);
    train(&h, 0, 15);
    close_watch(&h);
    read_back(&h, &found);
    assert_int_equal(found.n, 32);
    for (size_t i = 0; i < found.n; i++) {
        assert_int_equal(found.event[i].step, i / 2);
        assert_int_equal(found.event[i].role, i % 2 ? BP_ROLE_GRADIENT : BP_ROLE_PARAMETER);
        assert_histogram_of(&found.event[i], i % 2 ? 0x1p-20f : 1);
    }
    stop(&h);
}

/* --- which steps have them -------------------------------------------------------------------- */

/* Of n full steps, by hand: all up to 16, each 8th up to 64, each 16th up to 256. */
static size_t expected_moments(const told *found, int64_t n_full, int64_t every) {
    size_t n = 0;
    for (int64_t i = 0; i < n_full; i++) {
        if (i >= 16 && i % (i < 64 ? 8 : i < 256 ? 16 : 32) != 0) continue;
        assert_true(2 * n + 1 < found->n);
        assert_int_equal(found->event[2 * n].step, i * every);
        assert_int_equal(found->event[2 * n + 1].step, i * every);
        n++;
    }
    return n;
}

static void they_become_rare(void **state) {
    (void)state;
    static told found;
    for (int64_t every = 1; every <= 3; every += 2) {
        host h;
        open_host(&h, every);
        train(&h, 0, 300 * every);
        close_watch(&h);
        read_back(&h, &found);
        const size_t n = expected_moments(&found, 301, every);
        assert_int_equal(n, 16 + 6 + 12 + 2);
        assert_int_equal(found.n, 2 * n);
        stop(&h);
    }
}

/* As the uninterrupted one; what was written behind the checkpoint is void. */
static void a_run_that_is_resumed_goes_on(void **state) {
    (void)state;
    static told found;
    host h;
    open_host(&h, 1);
    train(&h, 0, 99);
    bp_watch_note_checkpoint(h.watch, 100, "step-100.safetensors");
    train(&h, 100, 150);
    close_watch(&h);
    open_watch(&h, 1, 100);
    train(&h, 100, 300);
    close_watch(&h);
    read_back(&h, &found);
    const size_t n = expected_moments(&found, 301, 1);
    assert_int_equal(found.n, 2 * n);
    stop(&h);
}

/* At a step that is one of them the same is recorded as at one that is not. */
static void the_record_is_the_same(void **state) {
    (void)state;
    host h;
    bp_runlog_reader *reader;
    bp_record first;
    const bp_record *record;
    open_host(&h, 1);
    train(&h, 0, 199);
    close_watch(&h);
    assert_int_equal(bp_runlog_reader_open(&reader, h.folder, NULL, NULL), BP_OK);
    assert_int_equal(bp_record_init(&first, 1, NULL), BP_OK);
    int n_compared = 0;
    for (int64_t step = 0; step < 200; step++) {
        assert_int_equal(bp_runlog_reader_next(reader, &record, NULL), BP_OK);
        assert_non_null(record);
        if (step != 80 && step != 80 + N) continue; /* the same numbers, and 80 has histograms */
        for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
            for (uint32_t row = 0; row <= 1; row++) {
                const double value = bp_record_get(record, (bp_quantity)q, row);
                if (step == 80 && bp_record_has(record, (bp_quantity)q, row))
                    bp_record_set(&first, (bp_quantity)q, row, value);
                assert_int_equal(bp_record_has(&first, (bp_quantity)q, row),
                                 bp_record_has(record, (bp_quantity)q, row));
                const double before = bp_record_get(&first, (bp_quantity)q, row);
                assert_memory_equal(&before, &value, sizeof value);
                n_compared++;
            }
    }
    assert_int_equal(n_compared, 4 * BP_N_QUANTITIES);
    bp_record_finish(&first, NULL);
    bp_runlog_reader_close(reader);
    stop(&h);
}

static void a_step_allocates_nothing(void **state) {
    (void)state;
    host h;
    open_host(&h, 1);
    train(&h, 0, 0);
    n_requests = 0;
    train(&h, 1, 20);
    assert_int_equal(n_requests, 0);
    close_watch(&h);
    stop(&h);
}

static void without_a_log_none_are_wanted(void **state) {
    (void)state;
    host h;
    open_host(&h, 1);
    close_watch(&h);
    bp_watch_options options = BP_WATCH_OPTIONS_INIT;
    options.every = 1;
    assert_int_equal(bp_watch_open(&h.watch, h.model, &options, NULL), BP_OK);
    assert_true(bp_watch_decide(h.watch, 0));
    assert_false(bp_watch_wants_histograms(h.watch));
    train(&h, 0, 3);
    close_watch(&h);
    stop(&h);
}

/* --- from a host that has them itself --------------------------------------------------------- */

static void what_a_host_tells(void **state) {
    (void)state;
    static told found;
    host h;
    bp_histogram histogram = {3, 1, -7, 2, {5, 6}};
    open_host(&h, 2);
    assert_true(bp_watch_decide(h.watch, 0));
    assert_true(bp_watch_wants_histograms(h.watch)); /* before the step begins, and in it */
    bp_watch_tell_histogram(h.watch, 1, BP_ROLE_GRADIENT, &histogram); /* no step yet */
    begin(&h, 0);
    assert_true(bp_watch_wants_histograms(h.watch));
    bp_watch_tell_histogram(h.watch, 1, BP_ROLE_GRADIENT, &histogram);
    bp_watch_tell_histogram(h.watch, 2, BP_ROLE_GRADIENT, &histogram); /* no such layer */
    end(&h);
    bp_watch_tell_histogram(h.watch, 1, BP_ROLE_GRADIENT, &histogram); /* it is over */
    assert_false(bp_watch_decide(h.watch, 1));
    assert_false(bp_watch_wants_histograms(h.watch));
    begin(&h, 1); /* a light step */
    bp_watch_tell_histogram(h.watch, 1, BP_ROLE_GRADIENT, &histogram);
    end(&h);
    close_watch(&h);
    read_back(&h, &found);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.event[0].step, 0);
    assert_int_equal(found.event[0].role, BP_ROLE_GRADIENT);
    assert_memory_equal(&found.event[0].histogram, &histogram, sizeof histogram);
    stop(&h);
}

static void what_cannot_be_is_ignored(void **state) {
    (void)state;
    static told found;
    static const bp_histogram bad[] = {
        {0, 0, 0, BP_HISTOGRAM_OCTAVES + 1, {1}},
        {0, 0, 0, UINT32_MAX, {1}},
        {0, 0, BP_EXPONENT_MIN - 1, 1, {1}},
        {0, 0, BP_EXPONENT_MAX, 2, {1, 1}},
        {0, 0, INT32_MAX, 2, {1, 1}},
        {0, 0, 0, 2, {0, 1}},
        {0, 0, 0, 2, {1, 0}},
    };
    host h;
    open_host(&h, 1);
    begin(&h, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        bp_watch_tell_histogram(h.watch, 1, BP_ROLE_GRADIENT, &bad[i]);
    end(&h);
    close_watch(&h);
    read_back(&h, &found);
    assert_int_equal(found.n, 0);
    stop(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_and_their_gradients),
        cmocka_unit_test(they_become_rare),
        cmocka_unit_test(a_run_that_is_resumed_goes_on),
        cmocka_unit_test(the_record_is_the_same),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(without_a_log_none_are_wanted),
        cmocka_unit_test(what_a_host_tells),
        cmocka_unit_test(what_cannot_be_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
