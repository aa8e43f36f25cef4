/* SPDX-License-Identifier: Apache-2.0 */
/* Records of several ranks become one: by hand-made values, and against the summary of the whole.
 */
#include "record/merge.h"
#include "record/quantity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LAYERS 3u
#define RANKS 3u

typedef struct kit {
    bp_record record[RANKS], merged;
    const bp_record *pointers[RANKS];
    uint32_t ranks[RANKS], n_ranks;
} kit;

static void make(kit *k) {
    memset(k, 0, sizeof *k);
    k->n_ranks = RANKS;
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(bp_record_init(&k->record[i], LAYERS, NULL), BP_OK);
        k->pointers[i] = &k->record[i];
        k->ranks[i] = i;
        k->record[i].step = 7;
    }
    assert_int_equal(bp_record_init(&k->merged, LAYERS, NULL), BP_OK);
}

static void unmake(kit *k) {
    for (uint32_t i = 0; i < RANKS; i++) bp_record_finish(&k->record[i], NULL);
    bp_record_finish(&k->merged, NULL);
}

static void merge_first(kit *k, uint32_t n) {
    const bp_rank_records from = {k->pointers, k->ranks, n, k->n_ranks};
    bp_record_merge(&k->merged, &from);
}

static void merge(kit *k) {
    merge_first(k, RANKS);
}

/* A value a rank; NaN: not measured there. */
static void put(kit *k, bp_quantity quantity, uint32_t row, double a, double b, double c) {
    const double values[RANKS] = {a, b, c};
    for (uint32_t i = 0; i < RANKS; i++)
        if (!isnan(values[i])) bp_record_set(&k->record[i], quantity, row, values[i]);
}

static double got(const kit *k, bp_quantity quantity, uint32_t row) {
    return bp_record_get(&k->merged, quantity, row);
}

static void assert_got(const kit *k, bp_quantity quantity, uint32_t row, double expected) {
    if (!bp_record_has(&k->merged, quantity, row))
        fail_msg("%s of row %u is not measured", bp_quantity_name(quantity), (unsigned)row);
    const double found = got(k, quantity, row);
    if (!(fabs(found - expected) <= 1e-12 * fabs(expected)))
        fail_msg("%s of row %u: %.17g, expected %.17g", bp_quantity_name(quantity), (unsigned)row,
                 found, expected);
}

static void assert_none(const kit *k, bp_quantity quantity, uint32_t row) {
    if (bp_record_has(&k->merged, quantity, row))
        fail_msg("%s of row %u is measured", bp_quantity_name(quantity), (unsigned)row);
}

static void every_quantity_has_a_rule(void **state) {
    (void)state;
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        if (bp_quantity_rank_rule((bp_quantity)q) == BP_RANKS_NO_RULE)
            fail_msg("no rule for %s", bp_quantity_name((bp_quantity)q));
    assert_int_equal(bp_quantity_rank_rule(BP_N_QUANTITIES), BP_RANKS_NO_RULE);
}

static void numbers_of_the_network(void **state) {
    (void)state;
    kit k;
    make(&k);
    put(&k, BP_Q_LOSS, 0, 1, 2, 4);
    put(&k, BP_Q_LOSS_TERMS, 0, 10, 20, 30);
    put(&k, BP_Q_SAMPLES, 0, 1, 2, 5);
    put(&k, BP_Q_TRAIN_ACCURACY, 0, 0.5, 0.25, 1);
    put(&k, BP_Q_LEARNING_RATE, 0, 0.5, 0.5, 0.5);
    put(&k, BP_Q_VALIDATION_LOSS, 0, 3, (double)NAN, 6);
    put(&k, BP_Q_GRADIENT_NORM, 0, 3, 3, 3);
    merge(&k);
    assert_int_equal(k.merged.step, 7);
    assert_got(&k, BP_Q_LOSS, 0, (10 + 40 + 120) / 60.0);
    assert_got(&k, BP_Q_LOSS_TERMS, 0, 60);
    assert_got(&k, BP_Q_SAMPLES, 0, 8);
    assert_got(&k, BP_Q_TRAIN_ACCURACY, 0, (0.5 + 0.5 + 5) / 8);
    assert_got(&k, BP_Q_LEARNING_RATE, 0, 0.5);
    assert_got(&k, BP_Q_VALIDATION_LOSS, 0, 4.5);
    assert_got(&k, BP_Q_GRADIENT_NORM, 0, 3);
    unmake(&k);
}

/* Of a light step the losses alone are known, and nothing else may appear: the diagnosis takes it
 * for light by that. */
static void a_light_step(void **state) {
    (void)state;
    kit k;
    make(&k);
    put(&k, BP_Q_LOSS, 0, 1, 2, 6);
    merge(&k);
    assert_got(&k, BP_Q_LOSS, 0, 3);
    for (unsigned q = 0; q < BP_N_QUANTITIES; q++)
        for (uint32_t row = 0; row <= LAYERS; row++)
            if (q != BP_Q_LOSS) assert_none(&k, (bp_quantity)q, row);
    /* One rank looked at it in full: how many samples all had is not known. */
    bp_record_set(&k.record[1], BP_Q_LOSS_TERMS, 0, 1000);
    bp_record_set(&k.record[1], BP_Q_SAMPLES, 0, 1000);
    bp_record_set(&k.record[1], BP_Q_ERROR_NORM, 2, 5);
    merge(&k);
    assert_got(&k, BP_Q_LOSS, 0, 3);
    assert_none(&k, BP_Q_SAMPLES, 0);
    assert_got(&k, BP_Q_ERROR_NORM, 2, 5);
    unmake(&k);
}

/* rms over all samples, from ranks with 4, 0 and 12 of them. */
static void what_samples_gave(void **state) {
    (void)state;
    static const bp_quantity sizes[] = {BP_Q_ACTIVATION_NORM, BP_Q_ACTIVATION_RMS,
                                        BP_Q_ERROR_NORM,      BP_Q_ERROR_RMS,
                                        BP_Q_VARIATION,       BP_Q_ERROR_PRE_ACTIVATION,
                                        BP_Q_ERROR_PRE_NORM,  BP_Q_ERROR_INPUT_NORM};
    kit k;
    make(&k);
    put(&k, BP_Q_SAMPLES, 0, 4, 1, 12);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        put(&k, sizes[i], 2, 3, (double)NAN, 5);
    put(&k, BP_Q_ACTIVATION_MAX, 2, 3, 9, 5);
    put(&k, BP_Q_TARGET_MIN, 0, 3, -9, 5); /* one rank alone has the label that is out of range */
    put(&k, BP_Q_DEAD_UNITS, 2, 3, 9, 5);  /* dead is what is so in every rank */
    put(&k, BP_Q_ERROR_MAX, 2, 3, 1, 2);
    put(&k, BP_Q_ACTIVATION_NAN, 2, 0, 7, 1);
    put(&k, BP_Q_ERROR_INF, 1, 2, (double)NAN, 1);
    merge(&k);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_got(&k, sizes[i], 2, sqrt((4 * 9 + 12 * 25) / 16.0));
    assert_got(&k, BP_Q_ACTIVATION_MAX, 2, 9);
    assert_got(&k, BP_Q_TARGET_MIN, 0, -9);
    assert_got(&k, BP_Q_DEAD_UNITS, 2, 3);
    assert_got(&k, BP_Q_ERROR_MAX, 2, 3);
    assert_got(&k, BP_Q_ACTIVATION_NAN, 2, 8);
    assert_got(&k, BP_Q_ERROR_INF, 1, 3);
    unmake(&k);
}

static void copies_count_once(void **state) {
    (void)state;
    kit k;
    make(&k);
    put(&k, BP_Q_WEIGHT_RMS, 1, 0.5, 0.5, 0.5);
    put(&k, BP_Q_EFFECT, 1, 0.25, 0.25, 0.25);
    put(&k, BP_Q_STALLED, 1, 4, 4, 4);
    put(&k, BP_Q_PARAMETER_NAN, 1, 0, 0, 2); /* one rank's copy is broken: it must not be lost */
    put(&k, BP_Q_UPDATE_RMS, 1, 1, 1, 1);
    merge(&k);
    assert_got(&k, BP_Q_WEIGHT_RMS, 1, 0.5);
    assert_got(&k, BP_Q_EFFECT, 1, 0.25);
    assert_got(&k, BP_Q_STALLED, 1, 4);
    assert_got(&k, BP_Q_PARAMETER_NAN, 1, 2);
    assert_got(&k, BP_Q_PARAMETER_SPREAD, 1, 0);
    assert_got(&k, BP_Q_GRADIENT_SPREAD, 1, 0);
    assert_got(&k, BP_Q_RANKS, 0, 3);
    assert_none(&k, BP_Q_RANK_APART, 1);
    assert_none(&k, BP_Q_PARAMETER_SPREAD, 2);
    unmake(&k);
}

static void copies_that_differ_are_told(void **state) {
    (void)state;
    kit k;
    make(&k);
    k.ranks[1] = 4; /* ranks 1 ... 3 left nothing */
    k.ranks[2] = 5;
    put(&k, BP_Q_WEIGHT_RMS, 1, 2, 2, 2);
    put(&k, BP_Q_WEIGHT_MAX, 1, 4, 5, 4);
    put(&k, BP_Q_GRADIENT_RMS, 1, 1, 1, 8);
    put(&k, BP_Q_WEIGHT_RMS, 2, 1, 1, 1);
    put(&k, BP_Q_GRADIENT_MAX, 2, 0, 0, 1e-30);
    put(&k, BP_Q_UNCLIPPED_RMS, 3, 1, 2, 3); /* may be what each rank had before the mean */
    put(&k, BP_Q_ERROR_NORM, 3, 1, 2, 3);
    merge(&k);
    assert_got(&k, BP_Q_PARAMETER_SPREAD, 1, 0.2);
    assert_got(&k, BP_Q_GRADIENT_SPREAD, 1, 7.0 / 8);
    assert_got(&k, BP_Q_RANK_APART, 1, 4); /* parameters before gradients */
    assert_got(&k, BP_Q_PARAMETER_SPREAD, 2, 0);
    assert_got(&k, BP_Q_GRADIENT_SPREAD, 2, 1);
    assert_got(&k, BP_Q_RANK_APART, 2, 5);
    assert_none(&k, BP_Q_PARAMETER_SPREAD, 3);
    assert_none(&k, BP_Q_GRADIENT_SPREAD, 3);
    /* Of two that differ it is the other than rank 0. */
    merge_first(&k, 2);
    assert_got(&k, BP_Q_RANK_APART, 1, 4);
    assert_got(&k, BP_Q_RANKS, 0, 2);
    put(&k, BP_Q_WEIGHT_MAX, 1, 6, 5, 4);
    merge_first(&k, 2);
    assert_got(&k, BP_Q_RANK_APART, 1, 4);
    /* What one rank alone looked at is compared with nothing. */
    put(&k, BP_Q_WEIGHT_RMS, 3, 1, (double)NAN, (double)NAN);
    merge(&k);
    assert_none(&k, BP_Q_PARAMETER_SPREAD, 3);
    /* Rank 0 is alone with its value. */
    put(&k, BP_Q_WEIGHT_RMS, 2, 1.5, 1, 1);
    merge(&k);
    assert_got(&k, BP_Q_RANK_APART, 2, 0);
    assert_got(&k, BP_Q_WEIGHT_RMS, 2, 1.5); /* its value is taken all the same */
    put(&k, BP_Q_WEIGHT_RMS, 2, 0.5, 1, 1);
    merge(&k);
    assert_got(&k, BP_Q_RANK_APART, 2, 0);
    assert_got(&k, BP_Q_WEIGHT_RMS, 2, 0.5);
    unmake(&k);
}

/* More than are asked for what is usual. */
static void many_ranks(void **state) {
    (void)state;
    enum { MANY = 150 };
    bp_record records[MANY], merged;
    const bp_record *pointers[MANY];
    uint32_t ranks[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(bp_record_init(&records[i], 1, NULL), BP_OK);
        bp_record_set(&records[i], BP_Q_WEIGHT_RMS, 1, i % 3 ? 2 : i == 147 ? 8 : 1);
        pointers[i] = &records[i];
        ranks[i] = i;
    }
    assert_int_equal(bp_record_init(&merged, 1, NULL), BP_OK);
    const bp_rank_records from = {pointers, ranks, MANY, MANY};
    bp_record_merge(&merged, &from);
    assert_true(bp_record_get(&merged, BP_Q_PARAMETER_SPREAD, 1) == 0.75);
    assert_true(bp_record_get(&merged, BP_Q_RANK_APART, 1) == 147);
    assert_true(bp_record_get(&merged, BP_Q_RANKS, 0) == MANY);
    for (uint32_t i = 0; i < MANY; i++) bp_record_finish(&records[i], NULL);
    bp_record_finish(&merged, NULL);
}

static void parts_are_put_together(void **state) {
    (void)state;
    kit k;
    make(&k);
    put(&k, BP_Q_SHARD_WEIGHTS, 1, 6, 2, 0);
    put(&k, BP_Q_WEIGHT_RMS, 1, 1, 3, 100); /* of no elements: whatever it says */
    put(&k, BP_Q_BIAS_RMS, 1, 2, 2, (double)NAN);
    put(&k, BP_Q_WEIGHT_MAX, 1, 1.5, 4, 0);
    put(&k, BP_Q_GRADIENT_RMS, 1, 2, 6, 0);
    put(&k, BP_Q_GRADIENT_MAX, 1, 7, 6, 0);
    put(&k, BP_Q_GRADIENT_NAN, 1, 0, 1, 0);
    put(&k, BP_Q_UPDATE_RMS, 1, 1, 1, 0);
    put(&k, BP_Q_EFFECT, 1, 0.5, -0.125, 0);
    put(&k, BP_Q_PARAMETERS, 1, 8, 3, 0);
    put(&k, BP_Q_ADAPTIVITY, 1, 1, 0.5, 0);
    put(&k, BP_Q_GRADIENT_NORM, 0, 3, 4, 0);
    merge(&k);
    assert_got(&k, BP_Q_SHARD_WEIGHTS, 1, 8);
    assert_got(&k, BP_Q_WEIGHT_RMS, 1, sqrt((6 * 1 + 2 * 9) / 8.0));
    assert_got(&k, BP_Q_BIAS_RMS, 1, 2);
    assert_got(&k, BP_Q_WEIGHT_MAX, 1, 4);
    assert_got(&k, BP_Q_GRADIENT_RMS, 1, sqrt((6 * 4 + 2 * 36) / 8.0));
    assert_got(&k, BP_Q_GRADIENT_MAX, 1, 7);
    assert_got(&k, BP_Q_GRADIENT_NAN, 1, 1);
    assert_got(&k, BP_Q_UPDATE_RMS, 1, 1);
    assert_got(&k, BP_Q_EFFECT, 1, 0.375);
    assert_got(&k, BP_Q_PARAMETERS, 1, 11);
    assert_got(&k, BP_Q_ADAPTIVITY, 1, (6 + 1) / 8.0);
    assert_got(&k, BP_Q_GRADIENT_NORM, 0, 5);
    assert_none(&k, BP_Q_PARAMETER_SPREAD, 1); /* parts differ */
    assert_none(&k, BP_Q_GRADIENT_SPREAD, 1);
    unmake(&k);
}

/* A rank that stopped, or looked at a light step: what is left is no whole. */
static void parts_that_are_not_all_there(void **state) {
    (void)state;
    kit k;
    make(&k);
    put(&k, BP_Q_SHARD_WEIGHTS, 1, 6, 2, 4);
    put(&k, BP_Q_WEIGHT_RMS, 1, 1, 3, 1);
    put(&k, BP_Q_PARAMETER_NAN, 1, 0, 1, 0);
    put(&k, BP_Q_GRADIENT_NORM, 0, 3, 4, 1);
    put(&k, BP_Q_ERROR_NORM, 1, 2, 2, 2);
    put(&k, BP_Q_WEIGHT_RMS, 2, 4, 4, 4); /* copies all the same */
    merge_first(&k, 2);
    assert_none(&k, BP_Q_WEIGHT_RMS, 1);
    assert_none(&k, BP_Q_PARAMETER_NAN, 1);
    assert_none(&k, BP_Q_SHARD_WEIGHTS, 1);
    assert_none(&k, BP_Q_GRADIENT_NORM, 0);
    assert_got(&k, BP_Q_ERROR_NORM, 1, 2);
    assert_got(&k, BP_Q_WEIGHT_RMS, 2, 4);
    unmake(&k);
}

/* Some layers sharded, some replicated: no sum of norms is the whole's. */
static void norms_over_both_kinds_are_not_told(void **state) {
    (void)state;
    kit k;
    make(&k);
    put(&k, BP_Q_SHARD_WEIGHTS, 1, 6, 2, 4);
    put(&k, BP_Q_GRADIENT_MAX, 1, 1, 1, 1);
    put(&k, BP_Q_GRADIENT_MAX, 2, 1, 1, 1);
    put(&k, BP_Q_GRADIENT_NORM, 0, 3, 4, 1);
    merge(&k);
    assert_none(&k, BP_Q_GRADIENT_NORM, 0);
    for (uint32_t i = 0; i < RANKS; i++) bp_record_clear(&k.record[i]);
    put(&k, BP_Q_SHARD_WEIGHTS, 1, 6, 2, 4);
    put(&k, BP_Q_UNCLIPPED_NORM, 0, 2, 2, 1);
    merge(&k);
    assert_got(&k, BP_Q_UNCLIPPED_NORM, 0, 3);
    unmake(&k);
}

/* Exact where codes are: the merged record of parts goes through the codec to the codes of the
 * whole. */
static void parts_give_the_codes_of_the_whole(void **state) {
    (void)state;
    kit k;
    make(&k);
    const double value[12] = {1, -2, 3, 0.5, 7, -7.5, 0.25, 2, 2, -1, 4, 0};
    const uint32_t end[RANKS] = {5, 5, 12}; /* rank 1 holds nothing */
    double whole = 0;
    for (uint32_t i = 0, at = 0; i < RANKS; i++) {
        double sum = 0, largest = 0;
        const uint32_t first = at;
        for (; at < end[i]; at++) {
            sum += value[at] * value[at];
            largest = fmax(largest, fabs(value[at]));
        }
        whole += sum;
        bp_record_set(&k.record[i], BP_Q_SHARD_WEIGHTS, 1, at - first);
        if (at == first) continue;
        bp_record_set(&k.record[i], BP_Q_WEIGHT_RMS, 1, sqrt(sum / (at - first)));
        bp_record_set(&k.record[i], BP_Q_WEIGHT_MAX, 1, bp_log16_decode(bp_log16_encode(largest)));
    }
    merge(&k);
    assert_got(&k, BP_Q_WEIGHT_RMS, 1, sqrt(whole / 12));
    assert_int_equal(bp_log16_encode(got(&k, BP_Q_WEIGHT_MAX, 1)), bp_log16_encode(7.5));
    unmake(&k);
}

static void heads(void **state) {
    (void)state;
    kit k;
    make(&k);
    for (uint32_t i = 0; i < RANKS; i++) {
        k.record[i].flags = BP_RECORD_UPDATE_SKIPPED;
        k.record[i].stream = 5;
        k.record[i].micro_step = 6;
        k.record[i].wall_time = 10.0 - i;
    }
    bp_record_set(&k.merged, BP_Q_WEIGHT_RMS, 1, 1); /* of the step before */
    merge(&k);
    assert_true(k.merged.flags & BP_RECORD_UPDATE_SKIPPED);
    assert_true(k.merged.wall_time == 10.0);
    assert_none(&k, BP_Q_WEIGHT_RMS, 1);
    assert_int_equal(k.merged.stream, 5);
    assert_int_equal(k.merged.micro_step, 6);
    /* An update that one rank made was none that all skipped. */
    k.record[1].flags = 0;
    k.record[1].wall_time = 11;
    bp_record_set(&k.record[0], BP_Q_ERROR_NORM, 1, 3); /* of rank 0 alone */
    merge(&k);
    assert_int_equal(k.merged.flags, 0);
    assert_true(k.merged.wall_time == 11);
    assert_got(&k, BP_Q_ERROR_NORM, 1, 3);
    k.record[1].flags = BP_RECORD_UPDATE_SKIPPED;
    k.record[2].flags = 0;
    merge(&k);
    assert_int_equal(k.merged.flags, 0);
    unmake(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_quantity_has_a_rule),
        cmocka_unit_test(numbers_of_the_network),
        cmocka_unit_test(a_light_step),
        cmocka_unit_test(what_samples_gave),
        cmocka_unit_test(copies_count_once),
        cmocka_unit_test(copies_that_differ_are_told),
        cmocka_unit_test(many_ranks),
        cmocka_unit_test(parts_are_put_together),
        cmocka_unit_test(parts_that_are_not_all_there),
        cmocka_unit_test(norms_over_both_kinds_are_not_told),
        cmocka_unit_test(parts_give_the_codes_of_the_whole),
        cmocka_unit_test(heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
