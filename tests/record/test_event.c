/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"
#include "record/event.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const bp_event examples[] = {
    {.kind = BP_EVENT_GAP, .as.gap = {2, 1000, 17, INT64_MAX}},
    {.kind = BP_EVENT_FINDING, .as.finding = {12345, 300, 1, 3, BP_FINDING_OPENED}},
    {.kind = BP_EVENT_FINDING,
     .as.finding = {INT64_MAX, INT64_MAX, UINT32_MAX, UINT32_MAX, BP_FINDING_CLOSED}},
    {.kind = BP_EVENT_CHECKPOINT, .as.checkpoint = {1200, "step-000001200.safetensors"}},
    {.kind = BP_EVENT_MODEL_DELTA, .as.model_delta = {4, 2}},
    {.kind = BP_EVENT_WATCH, .as.watch = {99, BP_WATCH_BUDGET, 0, 0.01, 20, 80, 0.5, 61.25}},
    {.kind = BP_EVENT_WATCH, .as.watch = {0, BP_WATCH_EVERY, 10, 0.0, 0, 0, 0.0, 0.0}},
    {.kind = BP_EVENT_THINNED, .as.thinned = {10, 5, 104, 90}},
    {.kind = BP_EVENT_HISTOGRAM, .as.histogram = {7, 3, 6, {5, 1, -12, 4, {1, 0, 300, 2}}}},
    {.kind = BP_EVENT_HISTOGRAM, .as.histogram = {0, 0, 0, {.zeros = 64}}},
    {.kind = BP_EVENT_HISTOGRAM,
     .as.histogram = {INT64_MAX,
                      BP_MODEL_MAX_LAYERS,
                      UINT32_MAX,
                      {1, 2, BP_EXPONENT_MAX, 1, {UINT64_MAX - 3}}}},
    {.kind = BP_EVENT_HISTOGRAM, .as.histogram = {1, 1, 6, {0, 0, BP_EXPONENT_MIN, 1, {1}}}},
};
enum { N_EXAMPLES = sizeof examples / sizeof *examples };

typedef struct encoded {
    uint8_t bytes[BP_EVENT_MAX_BYTES];
    size_t length;
} encoded;

static encoded encode(const bp_event *event) {
    encoded made;
    bp_writer writer;
    bp_writer_init(&writer, made.bytes, sizeof made.bytes);
    bp_event_encode(event, &writer);
    assert_false(writer.cut);
    made.length = writer.length;
    return made;
}

static bp_status decode(bp_event *event, bp_event_kind kind, const uint8_t *bytes, size_t length) {
    bp_cursor cursor;
    bp_error error;
    uint8_t *copy = malloc(length ? length : 1); /* so that a sanitizer sees a byte too many */
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    bp_cursor_init(&cursor, copy, length);
    const bp_status status = bp_event_decode(event, kind, &cursor, &error);
    if (status != BP_OK) assert_int_equal(error.status, status);
    free(copy);
    return status;
}

static void what_goes_in_comes_out(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        const encoded first = encode(&examples[i]);
        bp_event decoded;
        assert_int_equal(decode(&decoded, examples[i].kind, first.bytes, first.length), BP_OK);
        assert_int_equal(decoded.kind, examples[i].kind);
        const encoded second = encode(&decoded);
        assert_int_equal(first.length, second.length);
        assert_memory_equal(first.bytes, second.bytes, first.length);
    }
}

static void some_fields_by_hand(void **state) {
    (void)state;
    static const uint8_t finding[] = {0xb9, 0x60, 7, 1, 2, 3};
    static const uint8_t checkpoint[] = {5, 3, 'a', '.', 'b'};
    bp_event event;
    assert_int_equal(decode(&event, BP_EVENT_FINDING, finding, sizeof finding), BP_OK);
    assert_int_equal(event.as.finding.step, 12345);
    assert_int_equal(event.as.finding.since_step, 7);
    assert_int_equal(event.as.finding.problem, 1);
    assert_int_equal(event.as.finding.severity, 2);
    assert_int_equal(event.as.finding.state, BP_FINDING_CLOSED);
    assert_int_equal(bp_event_step(&event), 12345);
    assert_int_equal(decode(&event, BP_EVENT_CHECKPOINT, checkpoint, sizeof checkpoint), BP_OK);
    assert_int_equal(event.as.checkpoint.step, 5);
    assert_string_equal(event.as.checkpoint.file, "a.b");
    const encoded watch = encode(&examples[5]);
    assert_int_equal(decode(&event, BP_EVENT_WATCH, watch.bytes, watch.length), BP_OK);
    assert_true(event.as.watch.budget_fraction == 0.01 && event.as.watch.watch_seconds == 0.5);
    assert_true(event.as.watch.full_steps == 20 && event.as.watch.light_steps == 80);
    assert_true(event.as.watch.run_seconds == 61.25);
}

static void truncated_and_trailing_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        encoded made = encode(&examples[i]);
        bp_event untouched = {.kind = BP_EVENT_THINNED, .as.thinned.every = 77};
        for (size_t length = 0; length < made.length; length++)
            assert_int_equal(decode(&untouched, examples[i].kind, made.bytes, length),
                             BP_ERROR_INPUT);
        assert_true(untouched.as.thinned.every == 77);
        made.bytes[made.length] = 0;
        const bool may_follow = examples[i].kind == BP_EVENT_MODEL_DELTA;
        assert_int_equal(decode(&untouched, examples[i].kind, made.bytes, made.length + 1),
                         may_follow ? BP_OK : BP_ERROR_INPUT);
    }
}

static void assert_event_in_range(const bp_event *event) {
    assert_true(bp_event_step(event) >= -1);
    switch (event->kind) {
    case BP_EVENT_FINDING:
        assert_true(event->as.finding.since_step >= 0 &&
                    event->as.finding.since_step <= event->as.finding.step);
        assert_true(event->as.finding.state >= BP_FINDING_OPENED &&
                    event->as.finding.state <= BP_FINDING_CLOSED);
        break;
    case BP_EVENT_CHECKPOINT:
        assert_null(strchr(event->as.checkpoint.file, '/'));
        assert_true(strlen(event->as.checkpoint.file) > 0);
        break;
    case BP_EVENT_WATCH:
        assert_true(event->as.watch.budget_fraction >= 0 && event->as.watch.budget_fraction <= 1);
        assert_true(isfinite(event->as.watch.watch_seconds));
        assert_true(isfinite(event->as.watch.run_seconds));
        break;
    case BP_EVENT_THINNED:
        assert_true(event->as.thinned.first_sequence <= event->as.thinned.last_sequence);
        break;
    case BP_EVENT_HISTOGRAM: {
        const bp_histogram *histogram = &event->as.histogram.histogram;
        const uint32_t n = histogram->n_octaves;
        assert_true(event->as.histogram.layer <= BP_MODEL_MAX_LAYERS);
        assert_true(n <= BP_HISTOGRAM_OCTAVES);
        assert_true(n == 0 || (histogram->count[0] > 0 && histogram->count[n - 1] > 0));
        assert_in_range(histogram->first_octave - BP_EXPONENT_MIN, 0,
                        BP_EXPONENT_MAX - BP_EXPONENT_MIN + 1 - (int)n);
        assert_true(bp_histogram_elements(histogram) >= n);
        break;
    }
    case BP_EVENT_MODEL_DELTA:
        assert_true(event->as.model_delta.first_layer > 0);
        break;
    case BP_EVENT_GAP:
        break;
    }
}

static void every_flip_is_refused_or_in_range(void **state) {
    (void)state;
    for (size_t i = 0; i < N_EXAMPLES; i++) {
        encoded made = encode(&examples[i]);
        for (size_t bit = 0; bit < 8 * made.length; bit++) {
            bp_event event;
            made.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            const bp_status status = decode(&event, examples[i].kind, made.bytes, made.length);
            made.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (status == BP_OK)
                assert_event_in_range(&event);
            else
                assert_int_equal(status, BP_ERROR_INPUT);
        }
    }
}

static void assert_refused(bp_event event) {
    const encoded made = encode(&event);
    bp_event decoded;
    assert_int_equal(decode(&decoded, event.kind, made.bytes, made.length), BP_ERROR_INPUT);
}

#define FINDING(...) ((bp_event){.kind = BP_EVENT_FINDING, .as.finding = {__VA_ARGS__}})
#define CHECKPOINT(...) ((bp_event){.kind = BP_EVENT_CHECKPOINT, .as.checkpoint = {__VA_ARGS__}})
#define WATCH(...) ((bp_event){.kind = BP_EVENT_WATCH, .as.watch = {__VA_ARGS__}})
#define THINNED(...) ((bp_event){.kind = BP_EVENT_THINNED, .as.thinned = {__VA_ARGS__}})
#define MODEL_DELTA(...) ((bp_event){.kind = BP_EVENT_MODEL_DELTA, .as.model_delta = {__VA_ARGS__}})

#define HISTOGRAM(...) ((bp_event){.kind = BP_EVENT_HISTOGRAM, .as.histogram = {__VA_ARGS__}})

/* The fullest one that there can be. */
static void the_longest_fits(void **state) {
    (void)state;
    bp_event event = HISTOGRAM(INT64_MAX, BP_MODEL_MAX_LAYERS, UINT32_MAX,
                               {UINT64_MAX >> 7,
                                UINT64_MAX >> 7,
                                BP_EXPONENT_MAX - BP_HISTOGRAM_OCTAVES + 1,
                                BP_HISTOGRAM_OCTAVES,
                                {0}});
    for (uint32_t i = 0; i < BP_HISTOGRAM_OCTAVES; i++)
        event.as.histogram.histogram.count[i] = UINT64_MAX >> 7;
    const encoded made = encode(&event);
    bp_event decoded;
    assert_true(made.length > 580);
    assert_int_equal(decode(&decoded, event.kind, made.bytes, made.length), BP_OK);
    assert_memory_equal(&decoded.as.histogram, &event.as.histogram, sizeof event.as.histogram);
}

static void impossible_histograms_are_refused(void **state) {
    (void)state;
    assert_refused(HISTOGRAM(-1, 1, 6, {0, 0, 0, 1, {1}}));
    assert_refused(HISTOGRAM(1, BP_MODEL_MAX_LAYERS + 1, 6, {0, 0, 0, 1, {1}}));
    assert_refused(HISTOGRAM(1, 1, 6, {0, 0, BP_EXPONENT_MAX + 1, 1, {1}}));
    assert_refused(HISTOGRAM(1, 1, 6, {0, 0, BP_EXPONENT_MAX, 2, {1, 1}}));
    assert_refused(HISTOGRAM(1, 1, 6, {0, 0, BP_EXPONENT_MIN - 1, 2, {1, 1}}));
    assert_refused(HISTOGRAM(1, 1, 6, {0, 0, 0, 3, {0, 1, 1}})); /* empty at its ends */
    assert_refused(HISTOGRAM(1, 1, 6, {0, 0, 0, 3, {1, 1, 0}}));
    assert_refused(HISTOGRAM(1, 1, 6, {UINT64_MAX, 1, 0, 0, {0}})); /* more than a number holds */
    assert_refused(HISTOGRAM(1, 1, 6, {1, 0, 0, 2, {UINT64_MAX - 1, 1}}));
    static const uint8_t many[] = {1, 1, 6, 0, 0, BP_HISTOGRAM_OCTAVES + 1, 1, 1, 1, 1, 1, 1};
    bp_event decoded;
    assert_int_equal(decode(&decoded, BP_EVENT_HISTOGRAM, many, sizeof many), BP_ERROR_INPUT);
}

static void impossible_values_are_refused(void **state) {
    (void)state;
    assert_refused(FINDING(-1, 0, 1, 1, BP_FINDING_OPENED));
    assert_refused(FINDING(5, 6, 1, 1, BP_FINDING_OPENED)); /* since a later step */
    assert_refused(FINDING(5, 5, 1, 1, (bp_finding_state)0));
    assert_refused(FINDING(5, 5, 1, 1, (bp_finding_state)4));
    static const char *const names[] = {"", ".", "..", "a/b", "/etc/passwd", "a\nb", "\x1b[1m"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bp_event event = CHECKPOINT(1, "");
        strcpy(event.as.checkpoint.file, names[i]);
        assert_refused(event);
    }
    const double nan = (double)NAN, inf = (double)INFINITY;
    assert_refused(WATCH(1, (bp_watch_mode)0, 1, 0.0, 0, 0, 0.0, 0.0));
    assert_refused(WATCH(1, (bp_watch_mode)3, 1, 0.0, 0, 0, 0.0, 0.0));
    assert_refused(WATCH(1, BP_WATCH_BUDGET, 1, nan, 0, 0, 0.0, 0.0));
    assert_refused(WATCH(1, BP_WATCH_BUDGET, 1, 1.5, 0, 0, 0.0, 0.0));
    assert_refused(WATCH(1, BP_WATCH_BUDGET, 1, -0.5, 0, 0, 0.0, 0.0));
    assert_refused(WATCH(1, BP_WATCH_BUDGET, 1, 0.5, 0, 0, -1.0, 0.0));
    assert_refused(WATCH(1, BP_WATCH_BUDGET, 1, 0.5, 0, 0, 1.0, inf));
    assert_refused(THINNED(0, 1, 2, 0));
    assert_refused(THINNED(1, 3, 2, 0));
    assert_refused(THINNED(1, 3, 4, 3)); /* more dropped than there were */
    assert_refused(THINNED(1, 0, UINT64_MAX, 0));
    assert_refused(MODEL_DELTA(0, 1));
    assert_refused(MODEL_DELTA(1, 0));
    assert_refused(MODEL_DELTA(1, 10001));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(some_fields_by_hand),
        cmocka_unit_test(truncated_and_trailing_are_refused),
        cmocka_unit_test(every_flip_is_refused_or_in_range),
        cmocka_unit_test(the_longest_fits),
        cmocka_unit_test(impossible_histograms_are_refused),
        cmocka_unit_test(impossible_values_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
