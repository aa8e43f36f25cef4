/* SPDX-License-Identifier: Apache-2.0 */
/* Onset by change point: the step where the evidence changes, not where a threshold was crossed,
 * and how certain that is. */
#include "chain.h"
#include "diagnosis/state.h"

#define RING 50

typedef struct series {
    int64_t step[RING];
    uint8_t flags[RING];
    uint64_t n;
} series;

static void add(series *s, const char *flags, int64_t distance) {
    for (const char *c = flags; *c; c++) {
        s->flags[s->n % RING] = *c == '1';
        s->step[s->n % RING] = (int64_t)s->n * distance;
        s->n++;
    }
}

static bp_onset onset_of(const char *flags, int64_t distance) {
    series s = {.n = 0};
    add(&s, flags, distance);
    return bp_onset_of_flags(s.step, s.flags, RING, s.n);
}

static void a_clean_change_is_one_step(void **state) {
    (void)state;
    const bp_onset onset = onset_of("0000000000111111111111", 1);
    assert_int_equal(onset.step, 10);
    assert_int_equal(onset.earliest, 10);
    assert_int_equal(onset.latest, 10);
}

static void rare_records_leave_the_gap_before(void **state) {
    (void)state;
    const bp_onset onset = onset_of("0000000000111111111111", 25);
    assert_int_equal(onset.step, 250);
    assert_int_equal(onset.earliest, 226);
    assert_int_equal(onset.latest, 250);
}

static void what_held_from_the_first_record_began_there(void **state) {
    (void)state;
    const bp_onset onset = onset_of("1111111111", 5);
    assert_int_equal(onset.step, 0);
    assert_int_equal(onset.earliest, 0);
    assert_int_equal(onset.latest, 0);
}

/* A stray yes long before does not move it; readings that waver about the change widen it. */
static void doubt_is_as_wide_as_the_readings_waver(void **state) {
    (void)state;
    bp_onset onset = onset_of("000100000000000011111111111111", 1);
    assert_int_equal(onset.step, 16);
    assert_in_range(onset.earliest, 14, 16);
    onset = onset_of("00000000001010101101111011111111", 1);
    assert_int_equal(onset.step, 10);
    assert_int_equal(onset.earliest, 10);
    assert_in_range(onset.latest, 14, 21);
    /* Where three in ten readings are wrong, one vote more or less decides nothing. */
    onset = onset_of("001100000010010000101100100110111100011111011111", 1);
    assert_int_equal(onset.step, 27);
    assert_int_equal(onset.earliest, 18);
    assert_int_equal(onset.latest, 30);
    onset = onset_of("00000000000110011111111", 1); /* both splits are as likely */
    assert_int_equal(onset.step, 11);
    assert_int_equal(onset.earliest, 11);
    assert_int_equal(onset.latest, 15);
}

static void a_ring_that_has_turned_is_read_in_order(void **state) {
    (void)state;
    series s = {.n = 0};
    for (int i = 0; i < 7; i++) add(&s, "0000000000", 1);
    add(&s, "1111111111", 1);
    const bp_onset onset = bp_onset_of_flags(s.step, s.flags, RING, s.n);
    assert_int_equal(onset.step, 70);
    assert_int_equal(onset.earliest, 70);
}

static void nothing_that_holds_is_now(void **state) {
    (void)state;
    const bp_onset onset = onset_of("0000", 3);
    assert_int_equal(onset.step, 9);
    assert_true(onset.earliest <= onset.step && onset.step <= onset.latest);
}

/* --- of findings -------------------------------------------------------------------------------
 */

static void run_every(chain *c, int64_t from, int64_t to, int64_t distance) {
    for (int64_t step = from; step < to; step += distance) chain_step(c, step);
}

static void a_finding_lies_between_two_full_records(void **state) {
    (void)state;
    chain c;
    chain_open(&c, 6, BP_ACTIVATION_SIGMOID, BP_NORM_NONE);
    run_every(&c, 0, 600, 20);
    chain_all_gains(&c, 0.1);
    chain_starve_below(&c, 5);
    run_every(&c, 600, 3000, 20);
    const bp_finding *f = chain_find(&c, BP_PROBLEM_VANISHING_GRADIENT);
    assert_non_null(f);
    assert_int_equal(f->since_step, 600);
    assert_int_equal(f->since_earliest, 581);
    assert_int_equal(f->since_latest, 600);
    chain_close(&c);
}

static void a_nan_that_was_watched_is_certain(void **state) {
    (void)state;
    for (int watched = 0; watched < 2; watched++) {
        chain c;
        chain_open(&c, 6, BP_ACTIVATION_TANH, BP_NORM_NONE);
        chain_run(&c, 0, 10);
        if (watched) {
            chain_fill(&c, 10);
        } else {
            bp_record_clear(&c.record); /* a light record */
            c.record.step = 10;
        }
        bp_record_set(&c.record, BP_Q_LOSS, 0, (double)NAN);
        bp_diagnosis_step(c.diagnosis, &c.record);
        const bp_finding *f = chain_find(&c, BP_PROBLEM_NON_FINITE);
        assert_int_equal(f->since_step, 10);
        assert_int_equal(f->since_earliest, watched ? 10 : 9);
        assert_int_equal(f->since_latest, 10);
        chain_close(&c);
    }
}

static void a_bound_holds_for_any_series(void **state) {
    (void)state;
    uint32_t random = 1;
    for (int run = 0; run < 2000; run++) {
        series s = {.n = 0};
        const int length = 1 + run % 90;
        for (int i = 0; i < length; i++) {
            random = random * 1664525u + 1013904223u;
            add(&s, random >> 31 ? "1" : "0", 1 + run % 7);
        }
        const bp_onset onset = bp_onset_of_flags(s.step, s.flags, RING, s.n);
        assert_true(onset.earliest <= onset.step && onset.step <= onset.latest);
        assert_true(onset.latest <= s.step[(s.n - 1) % RING]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_change_is_one_step),
        cmocka_unit_test(rare_records_leave_the_gap_before),
        cmocka_unit_test(what_held_from_the_first_record_began_there),
        cmocka_unit_test(doubt_is_as_wide_as_the_readings_waver),
        cmocka_unit_test(a_ring_that_has_turned_is_read_in_order),
        cmocka_unit_test(nothing_that_holds_is_now),
        cmocka_unit_test(a_finding_lies_between_two_full_records),
        cmocka_unit_test(a_nan_that_was_watched_is_certain),
        cmocka_unit_test(a_bound_holds_for_any_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
