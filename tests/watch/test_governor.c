/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "watch/governor.h"

#include <math.h>

/* A host with a clock of its own: a plain step takes `plain` seconds, our calls in a full one
 * `called`, and the host loses `beside` more in it. */
typedef struct host {
    bp_governor governor;
    double now, plain, called, beside;
    double after; /* what the step behind a full one takes longer */
    bool was_full;
    int64_t step;
    double watched; /* seconds that watching really took */
    uint64_t n_readings;
} host;

static host open_host(int64_t every, double budget, double plain, double called, double beside) {
    host h = {.now = 1000, .plain = plain, .called = called, .beside = beside};
    bp_governor_init(&h.governor, every, budget, h.now);
    return h;
}

static bool take_step(host *h) {
    const bool reads = bp_governor_wants_clock(&h->governor, h->step);
    h->n_readings += reads;
    bp_governor_begin(&h->governor, h->step++, reads ? h->now : (double)NAN);
    h->now += h->plain;
    if (h->was_full && !h->governor.full) {
        h->now += h->after;
        h->watched += h->after;
    }
    h->was_full = h->governor.full;
    if (h->governor.full) {
        bp_governor_charge(&h->governor, h->called);
        h->now += h->called + h->beside;
        h->watched += h->called + h->beside;
    }
    return h->governor.full;
}

static double run_for(host *h, double seconds) {
    const double begin = h->now, watched = h->watched;
    while (h->now - begin < seconds) take_step(h);
    return (h->watched - watched) / (h->now - begin);
}

static void a_fixed_distance_is_kept(void **state) {
    (void)state;
    host h = open_host(7, 0.02, 1e-3, 1, 1);
    for (int64_t step = 0; step < 100; step++) assert_int_equal(take_step(&h), step % 7 == 0);
    assert_int_equal(h.governor.n_full, 15);
    assert_int_equal(h.governor.n_light, 85);
    bp_governor_alarm(&h.governor); /* decides nothing here */
    for (int64_t step = 100; step < 120; step++) assert_int_equal(take_step(&h), step % 7 == 0);
}

/* Over networks from 10 us to 10 s a step, and watches from a tenth to ten times that. */
static void the_budget_is_spent_and_not_overspent(void **state) {
    (void)state;
    for (double plain = 1e-5; plain < 20; plain *= 10)
        for (double cost = 0.1; cost < 20; cost *= 10)
            for (double budget = 0.005; budget < 0.1; budget *= 4) {
                const double full = plain * cost;
                host h = open_host(0, budget, plain, full / 2, full / 4);
                h.after = full / 4;
                run_for(&h, fmax(40, 400 * plain));
                const double paid = budget * (h.now - 1000) + BP_GOVERNOR_FREE_SECONDS;
                /* What the first ones cost beside is not known at once. */
                assert_true(h.watched <= paid + BP_GOVERNOR_FREE_SECONDS + 2 * full);
                assert_true(h.watched >= 0.8 * paid - 2 * full);
            }
}

static void a_cheap_watch_sees_almost_every_step(void **state) {
    (void)state;
    host h = open_host(0, 0.02, 1, 0.01, 0.005);
    for (int i = 0; i < 500; i++) take_step(&h);
    assert_true(h.governor.n_light <= 9); /* to learn how long a plain step is */
    for (int i = 0; i < 500; i++) assert_true(take_step(&h));
}

static void a_short_run_is_seen_almost_whole(void **state) {
    (void)state;
    host h = open_host(0, 0.02, 1e-4, 1e-4, 0);
    for (int i = 0; i < 1000; i++) take_step(&h);
    assert_true(h.governor.n_light <= 9);
    while (take_step(&h)) assert_true(h.step < 4000);
}

/* Ranks make their steps together, but measure what theirs cost themselves. */
static void ranks_look_at_the_same_steps(void **state) {
    (void)state;
    static const double called[] = {1e-4, 1.07e-4, 1.3e-4, 1.9e-4};
    enum { RANKS = sizeof called / sizeof *called, STEPS = 40000 };
    host hosts[RANKS];
    uint64_t common = 0;
    for (int i = 0; i < RANKS; i++) {
        hosts[i] = open_host(0, 0.01, 1e-3, called[i], called[i] / 3);
        bp_governor_share(&hosts[i].governor);
    }
    for (int64_t step = 0; step < STEPS; step++) {
        int n_full = 0;
        for (int i = 0; i < RANKS; i++) n_full += take_step(&hosts[i]);
        common += n_full == RANKS;
        if (step == 0) assert_int_equal(n_full, RANKS);
    }
    for (int i = 0; i < RANKS; i++) {
        const host *h = &hosts[i];
        assert_true(h->watched <= 0.01 * (h->now - 1000) + BP_GOVERNOR_FREE_SECONDS + 1e-3);
        assert_true(h->watched >= 0.4 * (0.01 * (h->now - 1000)));
    }
    /* Nearly all that the slowest can afford. */
    assert_true((double)common >= 0.9 * (double)hosts[RANKS - 1].governor.n_full);
    assert_true(common >= 1000);
}

static void light_steps_seldom_ask_the_clock(void **state) {
    (void)state;
    host h = open_host(0, 0.001, 1e-5, 1e-3, 0);
    run_for(&h, 60);
    const uint64_t readings = h.n_readings, steps = h.governor.n_light;
    run_for(&h, 1);
    assert_true(h.n_readings - readings <= (h.governor.n_light - steps) / 6);
}

static void exhaust(host *h) {
    run_for(h, 60);
    while (take_step(h)) {}
}

static void an_alarm_brings_full_steps_at_once(void **state) {
    (void)state;
    host h = open_host(0, 0.02, 1e-3, 5e-3, 0);
    exhaust(&h);
    bp_governor_alarm(&h.governor);
    for (int i = 0; i < BP_GOVERNOR_LOOK_STEPS; i++) assert_true(take_step(&h));
    int n_full = 0;
    for (int i = 0; i < 20; i++) n_full += take_step(&h);
    assert_true(n_full <= 1);
}

/* A host whose loss leaps all the time is not slowed down for ever. */
static void alarms_without_end_are_paid_twice_at_most(void **state) {
    (void)state;
    host h = open_host(0, 0.02, 1e-3, 5e-3, 0);
    double watched = 0, begin = 0;
    for (int i = 0; i < 200000; i++) {
        if (i == 100000) {
            watched = h.watched;
            begin = h.now;
        }
        bp_governor_alarm(&h.governor);
        take_step(&h);
    }
    const double share = (h.watched - watched) / (h.now - begin);
    assert_true(share > 0.03 && share <= 0.042);
}

static bool is_alarmed(const bp_governor *g) {
    return g->look > 0;
}

static void a_loss_that_leaps_is_an_alarm_and_noise_is_none(void **state) {
    (void)state;
    bp_governor g;
    bp_governor_init(&g, 0, 0.02, 0);
    for (int i = 0; i < 1000; i++) {
        const bp_random_key key = {.seed = 1};
        bp_governor_note_loss(&g,
                              2.3 * exp(-i / 300.0) + 0.2 * bp_random_normal(&key, (uint64_t)i));
        assert_false(is_alarmed(&g));
    }
    bp_governor_note_loss(&g, (double)NAN);
    bp_governor_note_loss(&g, (double)INFINITY);
    assert_false(is_alarmed(&g)); /* that is the tripwire's */
    bp_governor_note_loss(&g, 20);
    assert_true(is_alarmed(&g));
}

/* A loss that hardly moves has no noise to measure a leap by. */
static void a_quiet_loss_may_rise_a_little(void **state) {
    (void)state;
    bp_governor g;
    bp_governor_init(&g, 0, 0.02, 0);
    for (int i = 0; i < 100; i++) bp_governor_note_loss(&g, 2.302585);
    bp_governor_note_loss(&g, 2.4);
    assert_false(is_alarmed(&g));
    bp_governor_note_loss(&g, 4);
    assert_true(is_alarmed(&g));
}

/* A validation between two steps, or a page fault in one, is not what statistics cost. */
static void pauses_are_not_charged(void **state) {
    (void)state;
    host h = open_host(0, 0.02, 1e-3, 1e-4, 0);
    for (int i = 0; i < 20000; i++) {
        take_step(&h);
        if (i % 100 == 0) h.now += 1;
    }
    assert_true(h.governor.watching < 2.1 * h.watched);
}

/* A clock that stands still or goes back costs nothing and stops nothing. */
static void odd_clocks(void **state) {
    (void)state;
    host h = open_host(0, 0.02, 0, 0, 0);
    for (int i = 0; i < 1000; i++) take_step(&h);
    h.plain = -1e-3;
    for (int i = 0; i < 1000; i++) take_step(&h);
    assert_true(isfinite(h.governor.watching) && h.governor.watching >= 0);
    assert_true(bp_governor_run_seconds(&h.governor) >= 0);
    const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        bp_governor g;
        bp_governor_init(&g, 0, 0.02, odd[i]);
        for (int64_t step = 0; step < 100; step++) {
            bp_governor_begin(&g, step, odd[i]);
            bp_governor_charge(&g, odd[i]);
        }
        assert_true(g.watching == 0 && bp_governor_run_seconds(&g) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_distance_is_kept),
        cmocka_unit_test(the_budget_is_spent_and_not_overspent),
        cmocka_unit_test(a_cheap_watch_sees_almost_every_step),
        cmocka_unit_test(a_short_run_is_seen_almost_whole),
        cmocka_unit_test(ranks_look_at_the_same_steps),
        cmocka_unit_test(light_steps_seldom_ask_the_clock),
        cmocka_unit_test(an_alarm_brings_full_steps_at_once),
        cmocka_unit_test(alarms_without_end_are_paid_twice_at_most),
        cmocka_unit_test(a_loss_that_leaps_is_an_alarm_and_noise_is_none),
        cmocka_unit_test(a_quiet_loss_may_rise_a_little),
        cmocka_unit_test(pauses_are_not_charged),
        cmocka_unit_test(odd_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
