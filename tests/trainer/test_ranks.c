/* SPDX-License-Identifier: Apache-2.0 */
/* Several processes, here threads, train as one with the whole batch. */
#include "kit.h"
#include "trainer/batches.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANKS = 3, STEPS = 40, SAMPLES = 50 };

/* Sums in the order of the ranks, as an all-reduce gives the same bits to all. */
typedef struct meeting {
    pthread_barrier_t barrier;
    int32_t n_ranks;
    const void *values[MAX_RANKS];
    double sums[1 << 14];
} meeting;

typedef struct member {
    meeting *all;
    int32_t rank;
} member;

#define DEFINE_SUM(name, type)                                                   \
    static void name(void *context, type *values, int64_t n) {                   \
        const member *m = context;                                               \
        assert_true(n <= (int64_t)(sizeof m->all->sums / sizeof(double)));       \
        m->all->values[m->rank] = values;                                        \
        pthread_barrier_wait(&m->all->barrier);                                  \
        for (int64_t i = 0; i < n && m->rank == 0; i++) {                        \
            m->all->sums[i] = 0;                                                 \
            for (int32_t r = 0; r < m->all->n_ranks; r++)                        \
                m->all->sums[i] += (double)((const type *)m->all->values[r])[i]; \
        }                                                                        \
        pthread_barrier_wait(&m->all->barrier);                                  \
        for (int64_t i = 0; i < n; i++) values[i] = (type)m->all->sums[i];       \
        pthread_barrier_wait(&m->all->barrier);                                  \
    }
DEFINE_SUM(sum, bp_real)
DEFINE_SUM(sum_f64, double)

typedef struct run {
    member who;
    int64_t batch;
    uint64_t seed;
    double loss[STEPS];
    int64_t epoch_steps;
    bp_real *values;
    size_t n_values;
} run;

static const int64_t shape[3] = {5, 1, 1};

static void *train(void *context) {
    run *r = context;
    const bp_layer layers[] = {kit_dense(8, BP_ACTIVATION_TANH),
                               kit_dropout(0.2), /* one mask, whoever draws it */
                               kit_dense(3, BP_ACTIVATION_LINEAR),
                               {0}};
    bp_recipe recipe = kit_recipe(BP_CROSS_ENTROPY, r->batch);
    recipe.momentum = 0.9; /* Adam would hide a wrong scale of the gradients */
    recipe.learning_rate = 0.05;
    recipe.seed = r->seed;
    bp_model *model = kit_model(layers, &recipe, shape);
    bp_dataset *dataset = kit_data(shape, 3, true, SAMPLES);
    const bp_ranks ranks = {r->who.rank, r->who.all ? r->who.all->n_ranks : 1, &r->who, sum,
                            sum_f64};
    bp_error error;
    bp_trainer *trainer;
    if (bp_trainer_open_ranked(&trainer, model, dataset, r->who.all ? &ranks : NULL, NULL,
                               &error) != BP_OK)
        fail_msg("%s", error.text);
    r->epoch_steps = bp_model_recipe(model)->epoch_steps;
    for (int i = 0; i < STEPS; i++) r->loss[i] = bp_trainer_step(trainer);
    const bp_parameter *first = bp_trainer_parameter(trainer, 0);
    r->n_values = (size_t)bp_tensor_count(&first->value);
    r->values = calloc(r->n_values, sizeof *r->values);
    memcpy(r->values, first->value.data, r->n_values * sizeof *r->values);
    bp_trainer_close(trainer);
    bp_dataset_close(dataset);
    bp_model_close(model);
    return NULL;
}

/* Trains with n_ranks threads; runs[rank]. */
static void train_together(run *runs, int32_t n_ranks, int64_t batch) {
    static meeting all;
    pthread_t threads[MAX_RANKS];
    all.n_ranks = n_ranks;
    assert_int_equal(pthread_barrier_init(&all.barrier, NULL, (unsigned)n_ranks), 0);
    for (int32_t r = 0; r < n_ranks; r++) {
        runs[r] = (run){.who = {&all, r}, .batch = batch, .seed = 7};
        assert_int_equal(pthread_create(&threads[r], NULL, train, &runs[r]), 0);
    }
    for (int32_t r = 0; r < n_ranks; r++) pthread_join(threads[r], NULL);
    pthread_barrier_destroy(&all.barrier);
}

/* 50 samples: with 2 x 16 the last batch has 18 rows, with 3 x 7 it has 8, with 3 x 16 it has 2, so
 * that one process has none. */
static void check_equal(int32_t n_ranks, int64_t batch) {
    run together[MAX_RANKS], alone = {.batch = batch * n_ranks, .seed = 7};
    train_together(together, n_ranks, batch);
    train(&alone);
    for (int32_t r = 0; r < n_ranks; r++) {
        assert_int_equal(together[r].epoch_steps, alone.epoch_steps);
        assert_memory_equal(together[r].loss, together[0].loss, sizeof alone.loss);
        assert_memory_equal(together[r].values, together[0].values,
                            alone.n_values * sizeof *alone.values);
    }
    double worst = 0;
    for (int i = 0; i < STEPS; i++)
        worst = fmax(worst, fabs(together[0].loss[i] / alone.loss[i] - 1));
    print_message("%d x %lld: losses differ by %.1e at most\n", (int)n_ranks, (long long)batch,
                  worst);
    assert_true(worst < 1e-5);
    assert_true(alone.loss[STEPS - 1] < alone.loss[0]);
    for (int32_t r = 0; r < n_ranks; r++) free(together[r].values);
    free(alone.values);
}

static void several_train_as_one(void **state) {
    (void)state;
    check_equal(2, 16);
    check_equal(2, 25);
    check_equal(3, 7);
    check_equal(3, 16);
    check_equal(1, 16);
}

/* Every sample once an epoch, whoever has it. */
static void shares_cover_the_data(void **state) {
    (void)state;
    bp_dataset *dataset = kit_data(shape, 3, true, SAMPLES);
    const bp_recipe recipe = {.batch = 7, .epoch_steps = 3, .seed = 1};
    uint8_t seen[SAMPLES] = {0};
    for (int32_t rank = 0; rank < 3; rank++) {
        const bp_ranks ranks = {.rank = rank, .n_ranks = 3};
        bp_batches batches;
        assert_int_equal(
            bp_batches_open(&batches, dataset, &recipe, &ranks, bp_allocator_or_system(NULL), NULL),
            BP_OK);
        for (int64_t step = 0; step < 3; step++) {
            bp_share share;
            const bp_part part = bp_batches_gather(&batches, step, &share);
            assert_int_equal(part.n, share.n);
            assert_true(share.n <= 7 && share.first + share.n <= share.whole);
            for (int64_t i = 0; i < part.n; i++)
                for (int64_t k = 0; k < SAMPLES; k++)
                    if (memcmp(part.inputs + 5 * i, dataset->train.inputs + 5 * k,
                               5 * sizeof(bp_real)) == 0)
                        seen[k]++;
        }
        bp_batches_close(&batches, bp_allocator_or_system(NULL));
    }
    for (int k = 0; k < SAMPLES; k++) assert_int_equal(seen[k], 1);
    bp_dataset_close(dataset);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_train_as_one),
        cmocka_unit_test(shares_cover_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
